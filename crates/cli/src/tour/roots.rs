//! Root folders for the tour: made, copied, compared.

use std::{fs, path::Path, process::Command};

use change::{MachineError, Node, Observe, RawMeta};
use machine_linux::LinuxMachine;
use model::{Hash, MachinePath};

use super::{TourError, say};

/// Installs debootstrap, if it is missing, through the machine's own apt.
pub(super) fn install_debootstrap() -> Result<(), TourError> {
    if Command::new("debootstrap").arg("--version").output().is_ok() {
        return Ok(());
    }
    say("  debootstrap is missing: installing it with apt-get.");
    for arguments in
        [&["update", "-q"][..], &["install", "-y", "-q", "--no-install-recommends", "debootstrap"]]
    {
        run(Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))?;
    }
    Ok(())
}

/// A clean Debian at `root`, from the first source the machine's apt names for its own release.
pub(super) fn debootstrap(root: &Path) -> Result<(), TourError> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or("")
        .trim_matches('"');
    let targets =
        run(Command::new("apt-get").args(["indextargets", "--format", "$(RELEASE) $(SITE)"]))?;
    let site = targets.lines().find_map(|line| line.strip_prefix(&format!("{codename} ")));
    let Some(site) = site.filter(|_| !codename.is_empty()) else {
        return Err(TourError::Missing {
            what: "apt names no source for this machine's release".to_owned(),
            hint: "the tour wants Debian, or a system like it, with package sources",
        });
    };
    run(Command::new("debootstrap").args(["--variant=minbase", codename]).arg(root).arg(site))
        .map(|_| ())
}

/// A copy with everything: owners, times, attributes, hard links.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), TourError> {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).map(|_| ())
}

fn run(command: &mut Command) -> Result<String, TourError> {
    let typed = format!("{command:?}").replace('"', "");
    let failed = |end: String, log: String| TourError::Command { command: typed.clone(), end, log };
    let output = command.output().map_err(|error| failed(error.to_string(), String::new()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let log = [output.stdout, output.stderr].concat();
    Err(failed(output.status.to_string(), String::from_utf8_lossy(&log).into_owned()))
}

/// How many paths a root has.
pub(super) fn count(root: &Path) -> Result<usize, TourError> {
    let machine = open(root)?;
    let mut count = 0;
    walk(&machine, &MachinePath::root(), &mut |_| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// Fails unless both roots are the same in all that a file system keeps but access times, change times
/// and inode numbers.
pub(super) fn must_be_same(one: &Path, other: &Path) -> Result<(), TourError> {
    let differences = differences(one, other)?;
    match differences.first() {
        None => Ok(()),
        Some(first) => {
            Err(TourError::Differ { count: differences.len(), first: first.to_string() })
        }
    }
}

/// Every path at which two roots differ.
pub(super) fn differences(one: &Path, other: &Path) -> Result<Vec<MachinePath>, TourError> {
    let (one, other) = (open(one)?, open(other)?);
    let mut differences = Vec::new();
    walk(&one, &MachinePath::root(), &mut |path| {
        if seen(&one, path)? != seen(&other, path)? {
            differences.push(path.clone());
        }
        Ok(())
    })?;
    walk(&other, &MachinePath::root(), &mut |path| {
        if one.look(path)?.is_none() {
            differences.push(path.clone());
        }
        Ok(())
    })?;
    Ok(differences)
}

type Seen = Option<(Node, RawMeta, Option<Hash>)>;

fn seen(machine: &LinuxMachine, path: &MachinePath) -> Result<Seen, MachineError> {
    let Some(found) = machine.look(path)? else { return Ok(None) };
    let hash = match found.node {
        Node::File { .. } => Some(machine.hash(path)?),
        _ => None,
    };
    Ok(Some((found.node, found.meta, hash)))
}

fn open(root: &Path) -> Result<LinuxMachine, TourError> {
    LinuxMachine::new(root).map_err(|reason| TourError::File { path: root.to_owned(), reason })
}

fn walk(
    machine: &LinuxMachine,
    path: &MachinePath,
    each: &mut dyn FnMut(&MachinePath) -> Result<(), MachineError>,
) -> Result<(), MachineError> {
    each(path)?;
    if machine.look(path)?.is_some_and(|found| found.node.is_directory()) {
        for name in machine.list(path)? {
            if let Ok(inner) = path.join(name) {
                walk(machine, &inner, each)?;
            }
        }
    }
    Ok(())
}
