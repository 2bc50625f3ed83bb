//! Kept copies: which are still needed, and the rest removed.

use std::collections::BTreeSet;

use change::{
    FrameReader, Intent, JournalRecord, Machine, Observe, Paths, RecoverError, TransactionHeader,
};
use model::{Hash, MachinePath};

use crate::{Before, ReceiptRecord, Stands, installed, state::remove_tree};

/// Removes transactions of packages that are not installed any more, and kept copies that no receipt
/// and no transaction speaks of. Does nothing while a receipt is damaged, or a transaction is open.
pub(crate) fn collect<M: Machine + ?Sized>(
    machine: &mut M,
    paths: &Paths,
) -> Result<(), RecoverError> {
    let (all, damaged) = installed(machine, paths)?;
    let names = machine.list(&paths.transactions())?;
    let open = names.iter().any(|name| name.starts_with(b"open-"));
    if open || !damaged.is_empty() {
        return Ok(());
    }
    let mut needed = BTreeSet::new();
    for name in names {
        let Ok(folder) = paths.transactions().join(&name) else { continue };
        let header = header_of(machine, &folder)?;
        let is_installed = header
            .is_some_and(|header| all.iter().any(|one| one.receipt.header.name == header.package));
        if is_installed {
            needed_by_journal(machine, &folder, &mut needed)?;
        } else {
            remove_tree(machine, &folder)?;
        }
    }
    for one in &all {
        let read = one.receipt.records(machine, 0, |record| {
            needed_by_record(&record, &mut needed);
            true
        });
        if read.is_err() {
            return Ok(());
        }
    }
    for name in machine.list(&paths.all_saved())? {
        let hash = std::str::from_utf8(&name).ok().and_then(|name| name.parse::<Hash>().ok());
        if let Some(hash) = hash
            && !needed.contains(&hash)
        {
            remove_tree(machine, &paths.saved(&hash))?;
        }
    }
    Ok(())
}

/// The header of the transaction whose folder this is.
pub(crate) fn header_of(
    machine: &(impl Observe + ?Sized),
    folder: &MachinePath,
) -> Result<Option<TransactionHeader>, RecoverError> {
    let mut reader = FrameReader::open(machine, crate::state::child(folder, "journal"))?;
    match reader.forward::<JournalRecord>()? {
        Some(JournalRecord::Header(header)) => {
            header.check_format(reader.path())?;
            Ok(Some(header))
        }
        _ => Ok(None),
    }
}

fn needed_by_journal(
    machine: &(impl Observe + ?Sized),
    folder: &MachinePath,
    needed: &mut BTreeSet<Hash>,
) -> Result<(), RecoverError> {
    let mut reader = FrameReader::open(machine, crate::state::child(folder, "journal"))?;
    while let Some(record) = reader.forward::<JournalRecord>()? {
        if let JournalRecord::Intent(
            Intent::Replace { saved, .. }
            | Intent::Store { saved, .. }
            | Intent::Remove { saved: Some(saved), .. }
            | Intent::Keep { saved: Some(saved), .. },
        ) = record
        {
            needed.insert(saved.name);
        }
    }
    Ok(())
}

fn needed_by_record(record: &ReceiptRecord, needed: &mut BTreeSet<Hash>) {
    let mut before = |before: &Before| {
        if let Before::Kept(saved) = before {
            needed.insert(saved.name);
        }
    };
    match record {
        ReceiptRecord::Claim(claim) => {
            before(&claim.before);
            if let Stands::Newer(saved) = &claim.stands {
                needed.insert(saved.name);
            }
            // Another's content may stand in the place of this one.
            needed.insert(change::saved_name_of(&claim.path, &claim.node, &claim.meta, claim.hash));
        }
        ReceiptRecord::Edit(edit) => before(&edit.before),
        ReceiptRecord::Removed { before: gone, .. } => before(gone),
        ReceiptRecord::Ran(ran) => {
            needed.extend(
                ran.outputs
                    .iter()
                    .filter_map(|output| output.before.as_ref())
                    .map(|saved| saved.name),
            );
        }
        ReceiptRecord::Header(_)
        | ReceiptRecord::Folder { .. }
        | ReceiptRecord::Set(_)
        | ReceiptRecord::End(_) => {}
    }
}
