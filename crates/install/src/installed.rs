use change::{MachineError, Observe, Paths};
use model::{MachinePath, Time};

use crate::{Before, Claim, EditClaim, ReadReceiptError, Receipt};

/// A package that is on the machine.
#[derive(Debug)]
pub struct Installed {
    /// What it brought.
    pub receipt: Receipt,
}

/// Every installed package, in the order of installation. A damaged receipt harms only its own package:
/// it comes back as an error beside the others.
pub fn installed(
    machine: &(impl Observe + ?Sized),
    paths: &Paths,
) -> Result<(Vec<Installed>, Vec<ReadReceiptError>), MachineError> {
    if machine.look(&paths.receipts())?.is_none() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut whole = Vec::new();
    let mut damaged = Vec::new();
    for name in machine.list(&paths.receipts())? {
        let Ok(path) = paths.receipts().join(&name) else { continue };
        match Receipt::open(machine, path) {
            Ok(receipt) => whole.push(Installed { receipt }),
            Err(ReadReceiptError::Machine(error)) => return Err(error),
            Err(error) => damaged.push(error),
        }
    }
    whole.sort_by_key(|one| one.receipt.header.number);
    Ok((whole, damaged))
}

/// What other packages claim at `path`, in the order of installation.
pub(crate) fn claims_at(
    machine: &(impl Observe + ?Sized),
    others: &[Installed],
    path: &MachinePath,
) -> Result<Vec<Claim>, ReadReceiptError> {
    let claims = others.iter().map(|other| other.receipt.claim(machine, path));
    claims.filter_map(Result::transpose).collect()
}

/// What was at `path` before another package took it away, if one did.
pub(crate) fn removed_at(
    machine: &(impl Observe + ?Sized),
    others: &[Installed],
    path: &MachinePath,
) -> Result<Option<Before>, ReadReceiptError> {
    for other in others {
        if let Some(before) = other.receipt.removed(machine, path)? {
            return Ok(Some(before));
        }
    }
    Ok(None)
}

/// The times other packages found the folder `path` with and left it with, in the order of installation.
pub(crate) fn times_at(
    machine: &(impl Observe + ?Sized),
    others: &[Installed],
    path: &MachinePath,
) -> Result<Vec<(Time, Time)>, ReadReceiptError> {
    let times = others.iter().map(|other| other.receipt.times(machine, path));
    times.filter_map(Result::transpose).collect()
}

/// What other packages edit at `path`, in the order of installation.
pub(crate) fn edits_at(
    machine: &(impl Observe + ?Sized),
    others: &[Installed],
    path: &MachinePath,
) -> Result<Vec<EditClaim>, ReadReceiptError> {
    let mut all = Vec::new();
    for other in others {
        all.extend(other.receipt.edits(machine, path)?);
    }
    Ok(all)
}
