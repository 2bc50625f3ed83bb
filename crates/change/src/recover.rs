use model::MachinePath;

use crate::{
    CommandEnd, Damaged, FrameReader, Intent, JOURNAL_FORMAT, JournalRecord, Machine, MachineError,
    Observe, Operation, Paths, TransactionHeader, Undo, staged_name,
    transaction::{journal_of, set_time},
    tree,
};

/// What the end of an interrupted transaction was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// It had not begun to change anything.
    Forgotten,
    /// The machine is as it was before.
    RolledBack(Box<TransactionHeader>, Vec<String>),
    /// A finished transaction was being taken back, on request; the machine is as it was before it.
    TakenBack(Box<TransactionHeader>, Vec<String>),
    /// The machine is as it was meant to be.
    Finished(Box<TransactionHeader>),
}

/// A transaction could not be brought to an end.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The machine refused.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The journal holds what this version cannot read.
    #[error(transparent)]
    Journal(#[from] Damaged),
    /// The journal was written by a newer version of the product.
    #[error(
        "the journal `{path}` has format {found}, this version reads up to {JOURNAL_FORMAT}: update packhorse"
    )]
    Newer {
        /// The journal.
        path: MachinePath,
        /// Its format.
        found: u32,
    },
    /// The journal of a transaction that came to its end does not reach to its end.
    #[error("the journal `{path}` is damaged: its end is missing")]
    Short {
        /// The journal.
        path: MachinePath,
    },
}

/// What a journal says, read once from front to end.
struct Summary {
    header: Option<TransactionHeader>,
    intents: u64,
    /// Intents before this number were staged: their renames may have happened.
    staged: u64,
    committed: bool,
    rolling_back: bool,
    end: u64,
}

/// Brings every transaction that a crash left open to an end, newest first.
pub fn recover(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
) -> Result<Vec<Recovered>, RecoverError> {
    for number in numbers(machine, paths, "gone-")? {
        tree::remove_tree(
            machine,
            &tree::child(&paths.transactions(), format!("gone-{number}").as_bytes()),
        )?;
    }
    let mut open: Vec<u64> = numbers(machine, paths, "open-")?;
    open.sort_unstable_by(|one, other| other.cmp(one));
    open.into_iter().map(|number| recover_one(machine, paths, number)).collect()
}

/// The transactions in the state folder whose names start with `prefix` and end with their number.
pub(crate) fn numbers(
    machine: &(impl Observe + ?Sized),
    paths: &Paths,
    prefix: &str,
) -> Result<Vec<u64>, MachineError> {
    if machine.look(&paths.transactions())?.is_none() {
        return Ok(Vec::new());
    }
    let names = machine.list(&paths.transactions())?;
    Ok(names
        .iter()
        .filter_map(|name| std::str::from_utf8(name).ok()?.strip_prefix(prefix)?.parse().ok())
        .collect())
}

fn recover_one(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
    number: u64,
) -> Result<Recovered, RecoverError> {
    let summary = summarise(machine, &paths.open(number))?;
    let Some(header) = summary.header.clone() else {
        tree::remove_tree(machine, &paths.open(number))?;
        return Ok(Recovered::Forgotten);
    };
    if summary.committed && !summary.rolling_back {
        finish(machine, paths, number)?;
        return Ok(Recovered::Finished(Box::new(header)));
    }
    let notes = undo(machine, paths, number, &summary)?;
    let header = Box::new(header);
    Ok(if summary.rolling_back {
        Recovered::TakenBack(header, notes)
    } else {
        Recovered::RolledBack(header, notes)
    })
}

/// Takes the transaction `number` back, finished or not: the machine is exactly as it was before it.
/// May be interrupted; [`recover`] goes on. Answers what could not be taken back.
pub fn roll_back(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
    number: u64,
) -> Result<Vec<String>, RecoverError> {
    let open = paths.open(number);
    if machine.look(&open)?.is_none() {
        let closed = paths.closed(number);
        // Short of its end, it would only be taken back in part.
        if !summarise(machine, &closed)?.committed {
            return Err(RecoverError::Short { path: journal_of(&closed) });
        }
        machine.rename(&closed, &open)?;
        machine.sync_file(&journal_of(&open))?;
    }
    let summary = summarise(machine, &open)?;
    if summary.committed && !summary.rolling_back {
        let marker = rolling_back(&open);
        machine.append(&marker, b"rolling back\n")?;
        machine.sync_file(&marker)?;
    }
    undo(machine, paths, number, &summary)
}

/// Whether the transaction `number` is being taken back after its commit.
pub fn is_rolling_back(
    machine: &(impl Observe + ?Sized),
    paths: &Paths,
    number: u64,
) -> Result<bool, MachineError> {
    Ok(machine.look(&rolling_back(&paths.open(number)))?.is_some())
}

/// The file that says that a committed transaction is being taken back. It is no record, since
/// nothing may be appended behind the torn end of an interrupted attempt.
fn rolling_back(folder: &MachinePath) -> MachinePath {
    tree::child(folder, b"rolling-back")
}

fn summarise(
    machine: &(impl Observe + ?Sized),
    folder: &MachinePath,
) -> Result<Summary, RecoverError> {
    let mut reader = FrameReader::open(machine, journal_of(folder))?;
    let mut summary = Summary {
        header: None,
        intents: 0,
        staged: 0,
        committed: false,
        rolling_back: false,
        end: 0,
    };
    while let Some(record) = reader.forward::<JournalRecord>()? {
        match record {
            JournalRecord::Header(header) => {
                header.check_format(reader.path())?;
                summary.header = Some(header);
            }
            JournalRecord::Intent(_) => summary.intents += 1,
            JournalRecord::Staged | JournalRecord::Done => summary.staged = summary.intents,
            JournalRecord::Commit => summary.committed = true,
        }
    }
    summary.end = reader.position();
    summary.rolling_back = machine.look(&rolling_back(folder))?.is_some();
    Ok(summary)
}

impl TransactionHeader {
    /// Refuses a journal at `path` of a newer format than this version knows.
    pub fn check_format(&self, path: &MachinePath) -> Result<(), RecoverError> {
        if self.format > JOURNAL_FORMAT {
            return Err(RecoverError::Newer { path: path.clone(), found: self.format });
        }
        Ok(())
    }
}

fn undo(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
    number: u64,
    summary: &Summary,
) -> Result<Vec<String>, RecoverError> {
    let mut notes = Vec::new();
    let folder = paths.open(number);
    let mut index = summary.intents;
    let mut position = summary.end;
    loop {
        let mut reader = FrameReader::open(&*machine, journal_of(&folder))?;
        reader.seek(position);
        let mut run = Vec::new();
        while run.len() < 4096
            && let Some(record) = reader.backward::<JournalRecord>()?
        {
            run.push(record);
        }
        position = reader.position();
        if run.is_empty() {
            break;
        }
        for record in run {
            if let JournalRecord::Intent(intent) = record {
                index -= 1;
                let mut undoing =
                    Undoing { machine, paths, number, index, staged: index < summary.staged };
                undoing.undo(intent, &mut notes)?;
            }
        }
    }
    let before = tree::child(&folder, b"receipt-before");
    if let (true, Some(header)) = (summary.committed, &summary.header) {
        let receipt = paths.receipt(&header.package);
        if machine.look(&before)?.is_some() {
            machine.rename(&before, &receipt)?;
            tree::remove_tree(machine, &before)?;
        } else if header.operation == Operation::Install {
            tree::remove_tree(machine, &receipt)?;
        }
    }
    machine.sync()?;
    tidy(machine, paths, number, &folder, Tidy::Kept)?;
    // The journal must not outlive the marker that says which way it is to be read.
    let gone = tree::child(&paths.transactions(), format!("gone-{number}").as_bytes());
    machine.rename(&folder, &gone)?;
    machine.sync()?;
    tree::remove_tree(machine, &gone)?;
    Ok(notes)
}

/// One intent on its way back.
struct Undoing<'a, M: ?Sized> {
    machine: &'a mut M,
    paths: &'a Paths,
    number: u64,
    index: u64,
    /// Whether its rename may have happened.
    staged: bool,
}

impl<M: Machine + ?Sized> Undoing<'_, M> {
    fn undo(&mut self, intent: Intent, notes: &mut Vec<String>) -> Result<(), MachineError> {
        let beside = intent.path().map(|path| staged_name(path, self.number, self.index));
        let beside = beside.unwrap_or_else(MachinePath::root);
        match intent {
            Intent::Folder { path, old, .. } => set_time(self.machine, &path, old),
            Intent::Create { path } => self.undo_create(&path, &beside),
            Intent::Replace { path, saved } => {
                if !self.staged || self.machine.look(&beside)?.is_some() {
                    tree::remove_tree(self.machine, &beside)?;
                    // Where a file in use cannot give way at once, there is a moment with nothing in its place.
                    if !self.staged || self.machine.look(&path)?.is_some() {
                        return Ok(());
                    }
                }
                self.put_back(&saved, &path, &beside)
            }
            Intent::Remove { path, saved } => {
                tree::bring_back(self.machine, &path, &beside)?;
                let Some(saved) = saved.filter(|_| self.staged) else { return Ok(()) };
                // Set aside, committed and tidied, only the kept copy is left; and an earlier attempt may
                // have been cut off before all of what it put back was durable.
                if crate::transaction::saved_name(self.machine, &path)? == Some(saved.name) {
                    return Ok(());
                }
                self.put_back(&saved, &path, &beside)
            }
            Intent::SetMeta { path, old, .. } => match self.machine.look(&path)? {
                Some(found) if self.staged && found.meta != *old => {
                    self.machine.set_meta(&path, &old)
                }
                _ => Ok(()),
            },
            Intent::Keep { path, saved } => self.undo_keep(&path, saved, &beside),
            Intent::Store { .. } => Ok(()),
            Intent::Set { setting, old, .. } => {
                if self.staged && self.machine.setting(&setting)? != old {
                    if old.is_none() {
                        tree::clear_key(self.machine, &setting)?;
                    }
                    self.machine.set(&setting, old.as_ref())?;
                }
                Ok(())
            }
            Intent::Run { command, undo } => {
                notes.extend(self.undo_run(&command, undo)?);
                Ok(())
            }
        }
    }

    fn undo_create(
        &mut self,
        path: &MachinePath,
        beside: &MachinePath,
    ) -> Result<(), MachineError> {
        if self.machine.look(beside)?.is_some() {
            return tree::remove_tree(self.machine, beside);
        }
        if self.staged { tree::remove_tree(self.machine, path) } else { Ok(()) }
    }

    fn undo_keep(
        &mut self,
        path: &MachinePath,
        saved: Option<crate::Saved>,
        beside: &MachinePath,
    ) -> Result<(), MachineError> {
        let Some(saved) = saved else { return tree::remove_tree(self.machine, path) };
        if crate::transaction::saved_name(self.machine, path)? == Some(saved.name) {
            return Ok(());
        }
        self.put_back(&saved, path, beside)
    }

    /// A copy that this transaction made goes back itself, which takes no space; one that others rely
    /// on stays kept.
    fn put_back(
        &mut self,
        saved: &crate::Saved,
        path: &MachinePath,
        beside: &MachinePath,
    ) -> Result<(), MachineError> {
        let kept = self.paths.saved(&saved.name);
        if saved.fresh && tree::move_back(self.machine, &kept, path)? {
            return Ok(());
        }
        tree::put_back(self.machine, &kept, path, beside)
    }

    fn undo_run(
        &mut self,
        command: &crate::CommandRequest,
        undo: Undo,
    ) -> Result<Option<String>, MachineError> {
        let undoing = match undo {
            Undo::Kept => return Ok(None),
            Undo::Irreversible => return Ok(Some(format!("nothing takes back {command}"))),
            Undo::Run(undoing) => undoing,
        };
        let end = self.machine.run(&undoing)?;
        Ok(match end {
            CommandEnd::Exited { code: 0, .. } | CommandEnd::Started => None,
            CommandEnd::Exited { code, .. } => {
                Some(format!("{undoing} ended with exit code {code}"))
            }
            CommandEnd::TimedOut => Some(format!("{undoing} took too long and was stopped")),
            CommandEnd::Missing => Some(format!("{undoing} is not on this machine")),
            CommandEnd::Refused { reason } => Some(format!("{undoing} could not run: {reason}")),
        })
    }
}

/// Does what is left after the commit of transaction `number`: can be interrupted and begun again.
pub(crate) fn finish(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
    number: u64,
) -> Result<(), RecoverError> {
    let open = paths.open(number);
    let summary = summarise(machine, &open)?;
    let Some(header) = summary.header else { return Ok(()) };
    let receipt = paths.receipt(&header.package);
    let new = tree::child(&open, b"receipt-new");
    if machine.look(&new)?.is_some() {
        machine.rename(&new, &receipt)?;
    } else if header.operation == Operation::Uninstall {
        tree::remove_tree(machine, &receipt)?;
    }
    tidy(machine, paths, number, &open, Tidy::Aside)?;
    tidy(machine, paths, number, &open, Tidy::Times)?;
    machine.sync()?;
    if header.operation == Operation::Uninstall {
        tree::remove_tree(machine, &open)?;
    } else {
        machine.rename(&open, &paths.closed(number))?;
    }
    Ok(())
}

/// What is tidied, in one pass over a journal.
#[derive(Clone, Copy)]
enum Tidy {
    /// What was renamed aside.
    Aside,
    /// The times folders were meant to have.
    Times,
    /// Kept copies nobody needs after a roll-back.
    Kept,
}

fn tidy(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
    number: u64,
    folder: &MachinePath,
    what: Tidy,
) -> Result<(), RecoverError> {
    let (mut position, mut index) = (0, 0);
    loop {
        let mut reader = FrameReader::open(&*machine, journal_of(folder))?;
        reader.seek(position);
        let mut run = Vec::new();
        while run.len() < 4096
            && let Some(record) = reader.forward::<JournalRecord>()?
        {
            run.push(record);
        }
        position = reader.position();
        if run.is_empty() {
            return Ok(());
        }
        for record in run {
            let JournalRecord::Intent(intent) = record else { continue };
            match (what, intent) {
                (Tidy::Aside, Intent::Remove { path, .. }) => {
                    tree::discard_aside(machine, &staged_name(&path, number, index))?;
                }
                (Tidy::Times, Intent::Folder { path, new: Some(time), .. }) => {
                    set_time(machine, &path, time)?;
                }
                (
                    Tidy::Kept,
                    Intent::Replace { saved, .. }
                    | Intent::Store { saved, .. }
                    | Intent::Remove { saved: Some(saved), .. }
                    | Intent::Keep { saved: Some(saved), .. },
                ) if saved.fresh => tree::remove_tree(machine, &paths.saved(&saved.name))?,
                _ => {}
            }
            index += 1;
        }
    }
}
