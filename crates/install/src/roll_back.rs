use change::{
    FrameReader, Intent, JournalRecord, Machine, MachineError, Observe, Operation, Paths,
    RecoverError, TransactionHeader,
};
use model::{MachinePath, PackageName};
use serde::{Deserialize, Serialize};

use crate::{
    Before, Difference, InstallError, Installed, ReadReceiptError, Receipt, ReceiptRecord, Stands,
    installed,
    kept::{self, header_of},
    polite::check_kept,
    verify,
};

/// What became of a roll-back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RolledBack {
    /// The transaction that was taken back.
    pub header: TransactionHeader,
    /// What could not be taken back.
    pub notes: Vec<String>,
}

/// A package could not be rolled back. Nothing was changed, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum RollBackError {
    /// The machine refused.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A receipt could not be read.
    #[error(transparent)]
    Receipt(#[from] ReadReceiptError),
    /// A journal could not be read.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The way back ended before its end. The machine is between two states.
    #[error(
        "{name} is only partly rolled back: end what keeps it from going on, then run `packhorse recover`"
    )]
    Stuck {
        /// The package.
        name: PackageName,
        /// Why it did not go on.
        #[source]
        why: RecoverError,
    },
    /// What would come back is missing or damaged.
    #[error(transparent)]
    Kept(InstallError),
    /// A package that came later changed the same places.
    #[error(
        "{later} came later and changed `{path}` too: roll {later} back first, or uninstall it"
    )]
    Later {
        /// The later package.
        later: PackageName,
        /// A place both changed.
        path: MachinePath,
    },
    /// A package that went since left something to this one, which going back exactly would leave behind.
    #[error(
        "`{path}` came with a package that has gone since, and {name} is the last to have it: uninstall {name} instead"
    )]
    Inherited {
        /// The package.
        name: PackageName,
        /// The first such place.
        path: MachinePath,
    },
    /// Places were changed since.
    #[error(
        "{count} places were changed since it was installed, `{first}` the first: add `--discard-changes` to lose these changes"
    )]
    Changed {
        /// How many.
        count: usize,
        /// The first.
        first: MachinePath,
        /// All.
        differences: Vec<Difference>,
    },
}

/// Takes the last transaction of a package back, exactly: an update back to the version before, an
/// installation back to nothing. `None` when there is nothing to take back.
pub fn roll_back<M: Machine + ?Sized>(
    machine: &mut M,
    paths: &Paths,
    name: &PackageName,
    discard_changes: bool,
) -> Result<Option<RolledBack>, RollBackError> {
    let (all, damaged) = installed(machine, paths)?;
    let (own, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|one| one.receipt.header.name == *name);
    let Some(own) = own.into_iter().next() else {
        return match damaged.into_iter().next() {
            Some(damaged) => Err(damaged.into()),
            None => Ok(None),
        };
    };
    let number = own.receipt.header.number;
    let folder = paths.closed(number);
    let Some(header) = header_of(machine, &folder)? else { return Ok(None) };
    check_whole(machine, &folder)?;
    check_later(machine, paths, number, &folder)?;
    check_relied_on(machine, number, &folder, &others)?;
    check_inherited(machine, &own.receipt, &others, &folder)?;
    check_all_kept(machine, paths, &folder)?;
    if !discard_changes {
        let differences: Vec<_> = verify(machine, &own.receipt, &others)?
            .into_iter()
            .filter(Difference::would_be_lost)
            .collect();
        if let Some(first) = differences.first() {
            return Err(RollBackError::Changed {
                count: differences.len(),
                first: first.path.clone(),
                differences,
            });
        }
    }
    let notes = match change::roll_back(machine, paths, number) {
        Ok(notes) => notes,
        // Whole as it was, since nothing says that it goes back.
        Err(why) if !change::is_rolling_back(machine, paths, number)? => return Err(why.into()),
        Err(why) => return Err(RollBackError::Stuck { name: name.clone(), why }),
    };
    if header.operation == Operation::Install {
        kept::collect(machine, paths)?;
    }
    Ok(Some(RolledBack { header, notes }))
}

/// Refuses a journal that was damaged since its transaction came to its end.
fn check_whole<M: Machine + ?Sized>(machine: &M, folder: &MachinePath) -> Result<(), RecoverError> {
    let path = crate::state::child(folder, "journal");
    let mut reader = FrameReader::open(machine, path.clone())?;
    let mut last = None;
    while let Some(record) = reader.forward::<JournalRecord>()? {
        last = Some(record);
    }
    if reader.has_torn_end() || last != Some(JournalRecord::Commit) {
        return Err(RecoverError::Short { path });
    }
    Ok(())
}

/// Refuses when a transaction with a higher number speaks of a path this one speaks of, or of one
/// above or below it.
fn check_later<M: Machine + ?Sized>(
    machine: &M,
    paths: &Paths,
    number: u64,
    folder: &MachinePath,
) -> Result<(), RollBackError> {
    let mine = changed_paths(machine, folder)?;
    for name in machine.list(&paths.transactions())? {
        let later = std::str::from_utf8(&name).ok().and_then(|name| name.parse::<u64>().ok());
        let Some(later) = later.filter(|later| *later > number) else { continue };
        let folder = paths.closed(later);
        let Some(header) = header_of(machine, &folder)? else { continue };
        for path in changed_paths(machine, &folder)? {
            if touches(&mine, &path) {
                return Err(RollBackError::Later { later: header.package, path });
            }
        }
    }
    Ok(())
}

/// Refuses when a package that came later answers for something this transaction brought: it found it as it
/// wanted it, and has no change of its own there.
fn check_relied_on<M: Machine + ?Sized>(
    machine: &M,
    number: u64,
    folder: &MachinePath,
    others: &[Installed],
) -> Result<(), RollBackError> {
    let mine = changed_paths(machine, folder)?;
    for later in others.iter().filter(|other| other.receipt.header.number > number) {
        let mut position = Some(0);
        while let Some(from) = position {
            let (run, next) = later.receipt.run(machine, from)?;
            position = next;
            for record in run {
                let path = match record {
                    ReceiptRecord::Claim(claim) => claim.path,
                    ReceiptRecord::Edit(edit) => edit.path,
                    ReceiptRecord::Removed { path, .. } => path,
                    ReceiptRecord::Set(claim) => claim.setting.path(),
                    _ => continue,
                };
                if is_brought(&mine, &path) {
                    let later = later.receipt.header.name.clone();
                    return Err(RollBackError::Later { later, path });
                }
            }
        }
    }
    Ok(())
}

/// Those who may answer for a place once a transaction is taken back: the package's version before, and others.
struct Heirs<'h> {
    former: Option<Receipt>,
    others: &'h [Installed],
}

impl Heirs<'_> {
    fn has<M: Machine + ?Sized>(
        &self,
        machine: &M,
        path: &MachinePath,
    ) -> Result<bool, ReadReceiptError> {
        let receipts = self.others.iter().map(|other| &other.receipt).chain(&self.former);
        for receipt in receipts {
            if receipt.claim(machine, path)?.is_some()
                || !receipt.edits(machine, path)?.is_empty()
                || receipt.removed(machine, path)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Refuses when going back would leave behind what came with a package that has gone since: what this one
/// answers for without having brought it, or what it replaced that was not there before the first of both.
fn check_inherited<M: Machine + ?Sized>(
    machine: &M,
    receipt: &Receipt,
    others: &[Installed],
    folder: &MachinePath,
) -> Result<(), RollBackError> {
    let before = crate::state::child(folder, "receipt-before");
    let former = match machine.look(&before)? {
        Some(_) => Some(Receipt::open(machine, before)?),
        None => None,
    };
    let heirs = Heirs { former, others };
    let refused = |path| RollBackError::Inherited { name: receipt.header.name.clone(), path };
    let mine = changed_paths(machine, folder)?;
    let mut position = Some(0);
    while let Some(from) = position {
        let (run, next) = receipt.run(machine, from)?;
        position = next;
        for record in run {
            let (path, before) = match record {
                ReceiptRecord::Claim(claim) if claim.stands == Stands::Ours => {
                    (claim.path, claim.before)
                }
                ReceiptRecord::Edit(edit) => (edit.path, edit.before),
                ReceiptRecord::Removed { path, before } => (path, before),
                _ => continue,
            };
            let is_shared = !matches!(before, Before::Same(_)) && !is_brought(&mine, &path);
            if is_shared && !heirs.has(machine, &path)? {
                return Err(refused(path));
            }
        }
    }
    let mut reader = FrameReader::open(machine, crate::state::child(folder, "journal"))
        .map_err(RecoverError::from)?;
    while let Some(record) = reader.forward::<JournalRecord>().map_err(RecoverError::from)? {
        let JournalRecord::Intent(
            Intent::Replace { path, saved } | Intent::Remove { path, saved: Some(saved) },
        ) = record
        else {
            continue;
        };
        let first = match receipt.claim(machine, &path)? {
            Some(claim) => Some(claim.before),
            None => match receipt.edits(machine, &path)?.into_iter().next() {
                Some(edit) => Some(edit.before),
                None => receipt.removed(machine, &path)?,
            },
        };
        let is_first = match first {
            Some(Before::Kept(kept)) => kept.name == saved.name,
            Some(Before::Same(_)) => true,
            Some(Before::Nothing) | None => false,
        };
        if !is_first && !is_brought_twice(&mine, &path) && !heirs.has(machine, &path)? {
            return Err(refused(path));
        }
    }
    Ok(())
}

/// Whether a transaction changes `path`, or something above it, more than once: it then replaces its own.
fn is_brought_twice(paths: &[MachinePath], path: &MachinePath) -> bool {
    let from = paths.partition_point(|other| other < path);
    let times = paths[from..].iter().take_while(|other| *other == path).count();
    times > 1 || path.ancestors().any(|above| paths.binary_search(&above).is_ok())
}

/// Whether a sorted list has `path` or something above it.
fn is_brought(paths: &[MachinePath], path: &MachinePath) -> bool {
    path.ancestors().chain([path.clone()]).any(|above| paths.binary_search(&above).is_ok())
}

/// Whether a sorted list has `path`, something above it, or something below it.
fn touches(paths: &[MachinePath], path: &MachinePath) -> bool {
    let at = paths.partition_point(|other| other < path);
    let below = paths.get(at).is_some_and(|other| other.is_within(path));
    below || is_brought(paths, path)
}

fn changed_paths(
    machine: &(impl Observe + ?Sized),
    folder: &MachinePath,
) -> Result<Vec<MachinePath>, RecoverError> {
    let mut paths = Vec::new();
    let mut reader = FrameReader::open(machine, crate::state::child(folder, "journal"))?;
    while let Some(record) = reader.forward::<JournalRecord>()? {
        match record {
            JournalRecord::Intent(
                Intent::Folder { .. } | Intent::Run { .. } | Intent::Store { .. },
            ) => {}
            JournalRecord::Intent(intent) => paths.extend(intent.place()),
            _ => {}
        }
    }
    paths.sort();
    Ok(paths)
}

/// Damage among what would come back is found before anything is changed.
fn check_all_kept<M: Machine + ?Sized>(
    machine: &M,
    paths: &Paths,
    folder: &MachinePath,
) -> Result<(), RollBackError> {
    let mut reader = FrameReader::open(machine, crate::state::child(folder, "journal"))
        .map_err(RecoverError::from)?;
    while let Some(record) = reader.forward::<JournalRecord>().map_err(RecoverError::from)? {
        let JournalRecord::Intent(
            Intent::Replace { path, saved }
            | Intent::Remove { path, saved: Some(saved) }
            | Intent::Keep { path, saved: Some(saved) },
        ) = record
        else {
            continue;
        };
        check_kept(machine, &paths.saved(&saved.name), &path, &saved)
            .map_err(RollBackError::Kept)?;
    }
    Ok(())
}
