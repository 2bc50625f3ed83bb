//! What only this kind of machine has, for its inventory.

use std::path::Path;

use deployment::{Inventory, MachineField};

/// Installed programs and services are told later.
pub(crate) fn add(_: &mut Inventory, _: &Path) {}

/// What it is made of, as words.
pub(crate) fn hardware(_: &Path) -> Vec<(MachineField, String)> {
    let processor = std::env::var("PROCESSOR_IDENTIFIER").unwrap_or_default();
    vec![(MachineField::Processor, processor)]
}

/// The bytes its disk has.
pub(crate) fn disk(_: &Path) -> Option<u64> {
    None
}
