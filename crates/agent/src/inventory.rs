//! What is on this machine, as its site hears of it.

use std::{fs, path::Path};

use deployment::{Inventory, InventoryKey, InventoryPart, InventoryReport, MachineField};
use install::Facts as _;
use machine_linux::{LinuxFacts, LinuxMachine};

use crate::{
    durable,
    services::services,
    site::{Site, SiteError},
};

/// Accounts of people begin with this number; below are those of the system, but for root.
const FIRST_USER: u32 = 1000;
/// `nobody`, and above only what is no account of a person.
const LAST_USER: u32 = 65_533;

/// Everything that can be found out. What cannot is left out, and then unknown.
pub(crate) fn collect(root: &Path) -> Inventory {
    let mut inventory = Inventory::default();
    let Ok(machine) = LinuxMachine::new(root) else { return inventory };
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
    if let Ok(status) = fs::read_to_string(root.join("var/lib/dpkg/status")) {
        inventory.report(InventoryPart::SystemPackages);
        for (name, version) in dpkg(&status) {
            inventory.text(InventoryKey::system_package(name), version);
        }
    }
    if let Ok(accounts) = fs::read_to_string(root.join("etc/passwd")) {
        inventory.report(InventoryPart::Users);
        for (name, number) in users(&accounts) {
            inventory.text(InventoryKey::user(name), &number.to_string());
        }
    }
    if let Some(services) = services(root) {
        inventory.report(InventoryPart::Services);
        for (name, state) in services {
            inventory.text(InventoryKey::service(&name), state);
        }
    }
    inventory
}

fn hardware(inventory: &mut Inventory, machine: &LinuxMachine, root: &Path) {
    let facts = LinuxFacts::of(machine);
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
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    text(MachineField::Vendor, line("/sys/class/dmi/id/sys_vendor"));
    text(MachineField::Model, line("/sys/class/dmi/id/product_name"));
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| {
        line.strip_prefix("model name")?.trim_start().strip_prefix(':').map(str::trim)
    });
    text(MachineField::Processor, processor.unwrap_or_default().to_owned());
    text(MachineField::TimeZone, zone(root));
    let mut number = |field, number: u64| {
        if let Ok(number) = i64::try_from(number) {
            inventory.number(InventoryKey::Machine(field), number);
        }
    };
    number(MachineField::Memory, facts.memory());
    if let Ok(count) = std::thread::available_parallelism() {
        number(MachineField::Cpus, count.get() as u64);
    }
    if let Ok(disk) = rustix::fs::statvfs(root) {
        number(MachineField::Disk, disk.f_blocks.saturating_mul(disk.f_frsize));
    }
}

/// The name of the machine's zone in the IANA database.
fn zone(root: &Path) -> String {
    if let Ok(link) = fs::read_link(root.join("etc/localtime"))
        && let Some((_, name)) = link.to_string_lossy().split_once("zoneinfo/")
    {
        return name.to_owned();
    }
    fs::read_to_string(root.join("etc/timezone")).unwrap_or_default().trim().to_owned()
}

/// Installed packages in dpkg's status file, with their versions.
fn dpkg(status: &str) -> impl Iterator<Item = (&str, &str)> {
    status.split("\n\n").filter_map(|paragraph| {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let is_installed = field("Status")?.ends_with(" installed");
        is_installed.then_some((field("Package")?, field("Version")?))
    })
}

/// Accounts of people, and root, with their numbers.
fn users(accounts: &str) -> impl Iterator<Item = (&str, u32)> {
    accounts.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == 0 || (FIRST_USER..=LAST_USER).contains(&number)).then_some((name, number))
    })
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

#[cfg(test)]
mod tests {
    use super::{dpkg, users};

    #[test]
    fn only_what_is_installed_counts() {
        let status = "Package: a\nStatus: install ok installed\nVersion: 1.0\n\nPackage: b\nStatus: deinstall ok config-files\nVersion: 2\n";
        assert_eq!(dpkg(status).collect::<Vec<_>>(), [("a", "1.0")]);
    }

    #[test]
    fn people_are_told_from_the_system() {
        let accounts = "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nanna:x:1000:1000::/home/anna:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
        assert_eq!(users(accounts).collect::<Vec<_>>(), [("root", 0), ("anna", 1000)]);
    }
}
