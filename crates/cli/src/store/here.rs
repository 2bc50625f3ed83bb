//! What is installed, as a fetch starts from it.

use std::{collections::BTreeMap, path::PathBuf};

use change::{Observe, Paths};
use machine_linux::LinuxMachine;
use model::{MachinePath, PackageName, Version};
use package::{Header, Record};

/// A package that is installed on a machine.
pub(crate) struct Here<'m> {
    machine: &'m LinuxMachine,
    pub(crate) version: Version,
    variables: BTreeMap<Box<str>, String>,
}

impl<'m> Here<'m> {
    /// Finds it. Receipts that cannot be read are no reason not to fetch all of it.
    pub(crate) fn find(
        machine: &'m LinuxMachine,
        paths: &Paths,
        name: &PackageName,
    ) -> Option<Self> {
        let (all, _) = install::installed(machine, paths).ok()?;
        let one = all.into_iter().find(|one| one.receipt.header.name == *name)?;
        let header = one.receipt.header;
        Some(Self { machine, version: header.version, variables: header.variables })
    }

    /// Where the file of a record is.
    pub(crate) fn place(&self, header: &Header, record: &Record) -> Option<PathBuf> {
        let tree = header.trees.get(usize::try_from(record.tree).ok()?)?;
        let root = tree.to.expand(|name| self.variables.get(name).map(String::as_str)).ok()?;
        let root = MachinePath::new(root).ok()?;
        let path = if record.path.is_empty() { root } else { root.join(&record.path).ok()? };
        Some(self.machine.host(&self.machine.resolve(&path).ok()?))
    }
}
