//! What only this kind of machine has, for its inventory.

use std::path::Path;

use deployment::{Inventory, InventoryKey, InventoryPart, MachineField};

/// What others installed, services. What cannot be read is left out, and then unknown.
pub(crate) fn add(inventory: &mut Inventory, _: &Path) {
    if let Ok(programs) = machine_windows::installed_programs() {
        inventory.report(InventoryPart::SystemPackages);
        for (name, version) in programs {
            inventory.text(InventoryKey::system_package(&name), &version);
        }
    }
    if let Ok(services) = machine_windows::all_services() {
        inventory.report(InventoryPart::Services);
        for (name, state) in services {
            inventory.text(InventoryKey::service(&name), state);
        }
    }
}

/// What it is made of, as words.
pub(crate) fn hardware(_: &Path) -> Vec<(MachineField, String)> {
    let processor = std::env::var("PROCESSOR_IDENTIFIER").unwrap_or_default();
    vec![(MachineField::Processor, processor)]
}

/// The bytes its disk has: that is not found out yet.
pub(crate) fn disk(_: &Path) -> Option<u64> {
    None
}
