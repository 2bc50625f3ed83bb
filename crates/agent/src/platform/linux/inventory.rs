//! What only this kind of machine has, for its inventory.

use std::{fs, path::Path};

use deployment::{Inventory, InventoryKey, InventoryPart, MachineField};

use super::services::services;

/// Accounts of people begin with this number; below are those of the system, but for root.
const FIRST_USER: u32 = 1000;
/// `nobody`, and above only what is no account of a person.
const LAST_USER: u32 = 65_533;

/// What the machine's own installer has installed, accounts, services.
pub(crate) fn add(inventory: &mut Inventory, root: &Path) {
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
}

/// What it is made of, as words.
pub(crate) fn hardware(root: &Path) -> Vec<(MachineField, String)> {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| {
        line.strip_prefix("model name")?.trim_start().strip_prefix(':').map(str::trim)
    });
    vec![
        (MachineField::Vendor, line("/sys/class/dmi/id/sys_vendor")),
        (MachineField::Model, line("/sys/class/dmi/id/product_name")),
        (MachineField::Processor, processor.unwrap_or_default().to_owned()),
        (MachineField::TimeZone, zone(root)),
    ]
}

/// The bytes its disk has.
pub(crate) fn disk(root: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(root).ok()?;
    Some(disk.f_blocks.saturating_mul(disk.f_frsize))
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
