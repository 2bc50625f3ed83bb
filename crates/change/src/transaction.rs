use std::collections::BTreeSet;

use model::{Hash, MachinePath};

use crate::{
    CommandEnd, Damaged, FrameReader, Intent, JournalRecord, Machine, MachineError, Observe, Saved,
    TransactionHeader, Undo, frame, tree,
};

/// Frames are gathered up to this many bytes before they are appended.
const GATHER: usize = 1 << 18;

/// Where a machine keeps our own state. Described in docs/formats/state.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The state folder, canonical: `/var/lib/packhorse`.
    pub state: MachinePath,
}

/// A transaction could not go on.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// The machine refused.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// Our own journal does not read back.
    #[error("the journal cannot be read back")]
    Journal(#[from] Damaged),
    /// Something appeared where nothing was when the plan was made.
    #[error("`{path}` appeared while the package was being installed")]
    Appeared {
        /// Where.
        path: MachinePath,
    },
    /// A setting is no longer what it was when the plan was made.
    #[error("the {setting} changed while the package was being installed")]
    Changed {
        /// Which.
        setting: model::Setting,
    },
    /// A program did not do what the package needs.
    #[error("{command} {why}")]
    Command {
        /// The command as people read it.
        command: String,
        /// How it ended: `ended with exit code 1`.
        why: String,
        /// The last of what it wrote.
        output: String,
    },
}

/// Where something that shall come to a path is made first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staging {
    /// The name beside the path.
    pub at: MachinePath,
}

/// A change of a machine in the making. Intents are gathered into batches: each batch is made durable
/// in the journal, staged, made durable again, and only then switched into place.
///
/// Dropped without [`commit`](Self::commit), it stays open for [`crate::recover`] or [`crate::roll_back`].
pub struct Transaction<'m, M: Machine + ?Sized> {
    machine: &'m mut M,
    paths: Paths,
    number: u64,
    package: model::PackageName,
    intents: u64,
    gathered: Vec<u8>,
    /// Where the open batch starts in the journal, and the number of its first intent.
    batch: (u64, u64),
    written: u64,
    folders: BTreeSet<MachinePath>,
}

impl Paths {
    /// The folder of the transaction that is under way.
    pub fn open(&self, number: u64) -> MachinePath {
        self.below(&format!("transactions/open-{number}"))
    }

    /// The folder of a transaction that came to its end.
    pub fn closed(&self, number: u64) -> MachinePath {
        self.below(&format!("transactions/{number}"))
    }

    /// The folder of all transactions.
    pub fn transactions(&self) -> MachinePath {
        self.below("transactions")
    }

    /// The kept copy of this name.
    pub fn saved(&self, name: &Hash) -> MachinePath {
        self.below(&format!("saved/{name}"))
    }

    /// The folder of kept copies.
    pub fn all_saved(&self) -> MachinePath {
        self.below("saved")
    }

    /// The receipt of a package.
    pub fn receipt(&self, package: &model::PackageName) -> MachinePath {
        self.below(&format!("receipts/{package}"))
    }

    /// The folder of receipts.
    pub fn receipts(&self) -> MachinePath {
        self.below("receipts")
    }

    fn below(&self, name: &str) -> MachinePath {
        self.state.join(name).unwrap_or_else(|_| self.state.clone())
    }
}

/// The name beside `path` that intent `number` of transaction `transaction` stages or sets aside at.
pub fn staged_name(path: &MachinePath, transaction: u64, number: u64) -> MachinePath {
    let folder = path.parent().unwrap_or_else(MachinePath::root);
    tree::child(&folder, format!(".packhorse-{transaction}-{number}").as_bytes())
}

impl<'m, M: Machine + ?Sized> Transaction<'m, M> {
    /// Opens a transaction. Our state folder and its four subfolders exist.
    pub fn begin(
        machine: &'m mut M,
        paths: Paths,
        header: TransactionHeader,
    ) -> Result<Self, TransactionError> {
        let number = header.number;
        let folder = paths.open(number);
        machine.make_directory(&folder, &crate::RawMeta::private(0o700, header.began))?;
        let package = header.package.clone();
        let first = frame(&JournalRecord::Header(header));
        let batch = (first.len() as u64, 0);
        let folders = BTreeSet::new();
        Ok(Self {
            machine,
            paths,
            number,
            package,
            intents: 0,
            gathered: first,
            batch,
            written: 0,
            folders,
        })
    }

    /// The machine being changed: to look at it, and to make what is staged.
    pub fn machine(&mut self) -> &mut M {
        self.machine
    }

    /// The machine being changed, only to look at.
    pub fn observe(&self) -> &M {
        self.machine
    }

    /// The folder of this transaction, for files that belong to it.
    pub fn folder(&self) -> MachinePath {
        self.paths.open(self.number)
    }

    /// This transaction's place in the order of all.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many intents it has so far.
    pub fn intents(&self) -> u64 {
        self.intents
    }

    /// Adds an intent to the open batch. What `Create` and `Replace` bring is to be made at the answer,
    /// after [`seal`](Self::seal).
    pub fn intend(&mut self, intent: Intent) -> Result<Staging, TransactionError> {
        let at = intent
            .path()
            .map_or_else(|| self.folder(), |path| staged_name(path, self.number, self.intents));
        self.intents += 1;
        self.record(&JournalRecord::Intent(intent))?;
        Ok(Staging { at })
    }

    /// Adds the intent that makes names come and go in `folder`, once per batch.
    pub fn enter(
        &mut self,
        folder: &MachinePath,
        new: Option<model::Time>,
    ) -> Result<(), TransactionError> {
        if self.folders.contains(folder) {
            return Ok(());
        }
        if let Some(found) = self.machine.look(folder)? {
            self.intend(Intent::Folder { path: folder.clone(), old: found.meta.modified, new })?;
        }
        self.folders.insert(folder.clone());
        Ok(())
    }

    /// The open batch's intents; it is then closed without having been done. For plans that are only shown.
    pub fn undone_batch(&mut self) -> Result<Vec<Intent>, TransactionError> {
        let mut intents = Vec::new();
        self.each_of_batch(|_, _, intent| {
            intents.push(intent);
            Ok(())
        })?;
        self.folders.clear();
        self.batch = (self.written, self.intents);
        Ok(intents)
    }

    /// Makes the batch's intents durable, then keeps copies of all they will replace.
    pub fn seal(&mut self) -> Result<(), TransactionError> {
        self.flush()?;
        self.machine.sync_file(&self.journal())?;
        self.each_of_batch(|this, _, intent| {
            let (Intent::Replace { path, saved } | Intent::Remove { path, saved: Some(saved) }) =
                &intent
            else {
                return Ok(());
            };
            this.keep(path, saved)
        })
    }

    /// Makes everything staged durable, then switches the batch into place.
    pub fn switch(&mut self) -> Result<(), TransactionError> {
        self.machine.sync()?;
        self.record(&JournalRecord::Staged)?;
        self.flush()?;
        self.machine.sync_file(&self.journal())?;
        self.each_of_batch(Self::rename_into_place)?;
        self.each_of_batch(Self::settle)?;
        self.record(&JournalRecord::Done)?;
        self.folders.clear();
        self.batch = (self.written + self.gathered.len() as u64, self.intents);
        Ok(())
    }

    /// Runs a program. Paths in `outputs` are kept before it, so that they can be put back.
    pub fn run(
        &mut self,
        command: &crate::CommandRequest,
        outputs: &[MachinePath],
        undo: Undo,
    ) -> Result<CommandEnd, TransactionError> {
        for output in outputs {
            if let Some(folder) = output.parent() {
                self.enter(&folder, None)?;
            }
        }
        for output in outputs {
            let saved = self.saved_name(output)?;
            self.intend(Intent::Keep { path: output.clone(), saved })?;
        }
        self.intend(Intent::Run { command: command.clone(), undo })?;
        self.flush()?;
        self.machine.sync_file(&self.journal())?;
        self.each_of_batch(|this, _, intent| match &intent {
            Intent::Keep { path, saved: Some(saved) } => this.keep(path, saved),
            _ => Ok(()),
        })?;
        self.machine.sync()?;
        let end = self.machine.run(command)?;
        self.record(&JournalRecord::Staged)?;
        self.record(&JournalRecord::Done)?;
        self.folders.clear();
        self.batch = (self.written + self.gathered.len() as u64, self.intents);
        Ok(end)
    }

    /// How `path` would be kept: `None` where there is nothing to keep.
    pub fn saved_name(&mut self, path: &MachinePath) -> Result<Option<Saved>, TransactionError> {
        let Some(name) = saved_name(self.machine, path)? else { return Ok(None) };
        let fresh = self.machine.look(&self.paths.saved(&name))?.is_none();
        Ok(Some(Saved { name, fresh }))
    }

    /// Makes the new state the true one, with `receipt` (made in [`folder`](Self::folder) under the name
    /// `receipt-new`) in place of the package's old one, or none. Everything before is durable when the
    /// commit is; what is left is tidying, done here and again after a crash. Answers why tidying stopped, if it did: the
    /// transaction stands, and [`recover`](crate::recover) goes on.
    pub fn commit(mut self) -> Result<Option<crate::RecoverError>, TransactionError> {
        self.flush()?;
        let before = tree::child(&self.folder(), b"receipt-before");
        tree::keep_tree(self.machine, &self.paths.receipt(&self.package), &before)?;
        self.machine.sync()?;
        self.record(&JournalRecord::Commit)?;
        self.flush()?;
        self.machine.sync_file(&self.journal())?;
        let (machine, paths, number) = (self.machine, self.paths, self.number);
        Ok(crate::recover::finish(machine, &paths, number).err())
    }

    fn keep(&mut self, path: &MachinePath, saved: &Saved) -> Result<(), TransactionError> {
        let to = self.paths.saved(&saved.name);
        // Not fresh: the same thing of the same place is kept already.
        if saved.fresh && self.machine.look(&to)?.is_none() {
            tree::keep_tree(self.machine, path, &to)?;
        }
        Ok(())
    }

    fn rename_into_place(&mut self, number: u64, intent: Intent) -> Result<(), TransactionError> {
        match &intent {
            Intent::Create { path } => {
                if self.machine.look(path)?.is_some() {
                    return Err(TransactionError::Appeared { path: path.clone() });
                }
                self.machine.rename(&staged_name(path, self.number, number), path)?;
            }
            Intent::Replace { path, .. } => {
                self.machine.rename(&staged_name(path, self.number, number), path)?;
            }
            Intent::Remove { path, .. } => {
                tree::set_aside(self.machine, path, &staged_name(path, self.number, number))?;
            }
            Intent::Folder { .. }
            | Intent::SetMeta { .. }
            | Intent::Keep { .. }
            | Intent::Store { .. }
            | Intent::Set { .. }
            | Intent::Run { .. } => {}
        }
        Ok(())
    }

    /// Metadata comes after every name has come and gone, since that sets the times of folders.
    fn settle(&mut self, _: u64, intent: Intent) -> Result<(), TransactionError> {
        match intent {
            Intent::SetMeta { path, new, .. } => Ok(self.machine.set_meta(&path, &new)?),
            Intent::Folder { path, new: Some(time), .. } => {
                Ok(set_time(self.machine, &path, time)?)
            }
            Intent::Set { setting, old, new } => {
                let now = self.machine.setting(&setting)?;
                if now != old && now != new {
                    return Err(TransactionError::Changed { setting });
                }
                if now != new {
                    self.machine.set(&setting, new.as_ref())?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads the open batch's intents back and hands each to `act` with its number.
    fn each_of_batch(
        &mut self,
        mut act: impl FnMut(&mut Self, u64, Intent) -> Result<(), TransactionError>,
    ) -> Result<(), TransactionError> {
        self.flush()?;
        let (mut position, mut number) = self.batch;
        while position < self.written {
            // A run of records at a time, since the reader borrows the machine that `act` changes.
            let mut reader = FrameReader::open(&*self.machine, self.journal())?;
            reader.seek(position);
            let mut run = Vec::new();
            while run.len() < 4096
                && let Some(record) = reader.forward::<JournalRecord>()?
            {
                run.push(record);
            }
            position = reader.position();
            if run.is_empty() {
                break;
            }
            for record in run {
                if let JournalRecord::Intent(intent) = record {
                    act(self, number, intent)?;
                    number += 1;
                }
            }
        }
        Ok(())
    }

    fn record(&mut self, record: &JournalRecord) -> Result<(), TransactionError> {
        self.gathered.extend_from_slice(&frame(record));
        if self.gathered.len() >= GATHER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), TransactionError> {
        if !self.gathered.is_empty() {
            self.machine.append(&journal_of(&self.paths.open(self.number)), &self.gathered)?;
            self.written += self.gathered.len() as u64;
            self.gathered.clear();
        }
        Ok(())
    }

    fn journal(&self) -> MachinePath {
        journal_of(&self.folder())
    }
}

/// The journal of the transaction whose folder this is.
pub(crate) fn journal_of(folder: &MachinePath) -> MachinePath {
    tree::child(folder, b"journal")
}

/// Sets the time of a folder, if it is still there.
pub(crate) fn set_time(
    machine: &mut (impl Machine + ?Sized),
    path: &MachinePath,
    time: model::Time,
) -> Result<(), MachineError> {
    match machine.look(path)? {
        Some(found) if found.node.is_directory() && found.meta.modified != time => {
            machine.set_meta(path, &crate::RawMeta { modified: time, ..found.meta })
        }
        _ => Ok(()),
    }
}

/// The name under which what `path` holds is kept: the hash of where it is, what it is, its metadata
/// and its content; for a folder, of all below it too.
pub(crate) fn saved_name(
    machine: &(impl Observe + ?Sized),
    path: &MachinePath,
) -> Result<Option<Hash>, MachineError> {
    saved_name_as(machine, path, path)
}

/// The name under which what `at` holds would be kept, were it at `path`.
pub fn saved_name_as(
    machine: &(impl Observe + ?Sized),
    at: &MachinePath,
    path: &MachinePath,
) -> Result<Option<Hash>, MachineError> {
    let mut hasher = model::Hasher::new();
    Ok(describe(machine, at, path, &mut hasher)?.then(|| hasher.finish()))
}

/// The name under which a file, link or special file of this description is kept.
pub fn saved_name_of(
    path: &MachinePath,
    node: &crate::Node,
    meta: &crate::RawMeta,
    content: Option<Hash>,
) -> Hash {
    Hash::of(&description(path, node, meta, content))
}

fn description(
    path: &MachinePath,
    node: &crate::Node,
    meta: &crate::RawMeta,
    content: Option<Hash>,
) -> Vec<u8> {
    minicbor::to_vec((path, node, meta, content)).unwrap_or_default()
}

fn describe(
    machine: &(impl Observe + ?Sized),
    at: &MachinePath,
    path: &MachinePath,
    hasher: &mut model::Hasher,
) -> Result<bool, MachineError> {
    let Some(found) = machine.look(at)? else { return Ok(false) };
    let content = match found.node {
        crate::Node::File { .. } => Some(machine.hash(at)?),
        _ => None,
    };
    hasher.update(&description(path, &found.node, &found.meta, content));
    if found.node.is_directory() {
        let mut names = machine.list(at)?;
        names.sort();
        for name in names {
            describe(machine, &tree::child(at, &name), &tree::child(path, &name), hasher)?;
        }
    }
    Ok(true)
}
