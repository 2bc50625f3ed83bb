//! What is on this machine, as its site hears of it.

use std::path::Path;

use deployment::{Inventory, InventoryKey, InventoryPart, InventoryReport, MachineField};
use install::Facts as _;
use operate::LocalMachine;

use crate::{
    durable, platform,
    site::{Site, SiteError},
};

/// Everything that can be found out. What cannot is left out, and then unknown.
pub(crate) fn collect(root: &Path) -> Inventory {
    let mut inventory = Inventory::default();
    let Ok(machine) = platform::machine::open(root) else { return inventory };
    hardware(&mut inventory, &machine, root);
    if let Ok(paths) = install::state_paths(&machine)
        && let Ok((installed, damaged)) = install::installed(&machine, &paths)
        // Who cannot read all does not know what is missing.
        && damaged.is_empty()
    {
        inventory.report(InventoryPart::Packages);
        for one in &installed {
            let header = &one.receipt.header;
            inventory.text(InventoryKey::package(header.name.as_str()), header.version.as_str());
        }
    }
    platform::inventory::add(&mut inventory, root);
    inventory
}

fn hardware(inventory: &mut Inventory, machine: &LocalMachine, root: &Path) {
    let facts = platform::machine::facts(machine);
    let mut text = |field, text: String| {
        if !text.is_empty() {
            inventory.text(InventoryKey::Machine(field), &text);
        }
    };
    text(MachineField::Os, facts.os());
    text(MachineField::Arch, facts.architecture());
    text(MachineField::Distribution, facts.distribution());
    text(MachineField::Release, facts.release());
    text(MachineField::Kernel, facts.kernel());
    text(MachineField::HostName, facts.host_name());
    for (field, said) in platform::inventory::hardware(root) {
        text(field, said);
    }
    let mut number = |field, number: u64| {
        if let Ok(number) = i64::try_from(number) {
            inventory.number(InventoryKey::Machine(field), number);
        }
    };
    number(MachineField::Memory, facts.memory());
    if let Ok(count) = std::thread::available_parallelism() {
        number(MachineField::Cpus, count.get() as u64);
    }
    if let Some(disk) = platform::inventory::disk(root) {
        number(MachineField::Disk, disk);
    }
}

/// Delivers what changed since the site knew last, or everything where that is not known. Nothing, where nothing changed.
pub(crate) fn deliver(site: &mut dyn Site, root: &Path, kept: &Path) -> Result<(), SiteError> {
    let now = collect(root);
    let known = durable::read(kept).ok().flatten();
    let known = known.and_then(|bytes| match InventoryReport::read(&bytes) {
        Ok(InventoryReport::Whole(known)) => Some(known),
        _ => None,
    });
    let whole = InventoryReport::Whole(now.clone());
    let mut taken = false;
    if let Some(known) = known {
        if known == now {
            return Ok(());
        }
        taken = site.deliver_inventory(&InventoryReport::Delta(known.delta(&now)).write())?;
    }
    if !taken && !site.deliver_inventory(&whole.write())? {
        return Err(SiteError::Refused {
            address: "the site".to_owned(),
            reason: "it takes no inventory, not even a whole one".to_owned(),
        });
    }
    // What is not kept is sent whole next time.
    let _ = durable::write(kept, &whole.write());
    Ok(())
}
