use std::{
    collections::BTreeMap,
    io::{Read, Seek},
};

use change::{Machine, Observe, Operation};
use install::{InstallError, Options};
use model::{MachinePath, PackageName, ReplaceRule};
use package::PackageReader;

use crate::{Exit, Listed, Report, Show, Target, ahead::Ahead, in_use, target::now};

/// How to install a package.
#[derive(Clone, Debug, Default)]
pub struct InstallSettings {
    /// Values for variables.
    pub variables: BTreeMap<Box<str>, String>,
    /// What happens where something is already, over what the script says.
    pub replace: Option<ReplaceRule>,
    /// Whether an older version may take the place of a newer one.
    pub downgrade: bool,
    /// Whether to install the same version once more.
    pub again: bool,
    /// Words for the package's own programs.
    pub arguments: Vec<Vec<u8>>,
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Installs a package whose every byte has been checked.
pub fn install_package<R: Read + Seek + Send>(
    target: &mut Target,
    package: &mut PackageReader<R>,
    settings: &InstallSettings,
    show: &mut Show,
) -> Report {
    let options = Options {
        variables: settings.variables.clone(),
        replace: settings.replace,
        downgrade: settings.downgrade,
        again: settings.again,
        arguments: settings.arguments.clone(),
        began: now(),
    };
    let header = package.header();
    let name = format!("{} {}", header.name, header.version);
    let Target { machine: linux, paths, facts, .. } = target;
    // One engine for all machines keeps an installer small.
    let machine: &mut dyn Machine = linux;
    let package = &mut Ahead(package);
    if settings.dry_run {
        return match install::plan(machine, paths, package, facts, &options, show) {
            Ok(plan) => {
                let mut report = Report::new(
                    Exit::Done,
                    format!("{name} would be installed; nothing was changed"),
                );
                report.plan = plan.steps;
                report.notes = plan.notes;
                report
            }
            Err(error) => Report::of_error(Exit::of_install(&error), &error),
        };
    }
    let done = install::open_state(machine, paths, options.began)
        .map_err(InstallError::from)
        .and_then(|()| install::install(machine, paths, package, facts, &options, show));
    show.clear();
    let closed = install::close_state(machine, paths);
    match done {
        Ok(outcome) => {
            let used = in_use(linux, paths, &[outcome.header.number]);
            let restart = outcome.restart || !used.is_empty();
            let word = match (outcome.header.operation, &outcome.header.from) {
                (Operation::Update, Some(from)) => {
                    format!("{name} is installed, in place of {from}")
                }
                _ => format!("{name} is installed"),
            };
            let message = if restart { format!("{word}; done, restart pending") } else { word };
            let mut report = Report::new(if restart { Exit::Restart } else { Exit::Done }, message);
            report.counts = Some(outcome.counts);
            report.notes = outcome.notes;
            report.notes.extend(foreign_restart(linux));
            report.in_use = used;
            report
        }
        Err(error) => {
            let mut report = Report::of_error(Exit::of_install(&error), &error);
            if let InstallError::RolledBack { notes, .. } = &error {
                report.notes.clone_from(notes);
            }
            if let InstallError::RolledBack { reason, .. } | InstallError::Stuck { reason, .. } =
                &error
                && let InstallError::Transaction(change::TransactionError::Command {
                    output, ..
                }) = &**reason
                && !output.is_empty()
            {
                report.notes.push(format!("the program wrote: {}", output.trim_end()));
            }
            if let Err(error) = closed {
                report.notes.push(format!("our own folder could not be tidied: {error}"));
            }
            report
        }
    }
}

/// A mark others left that the machine should restart: theirs, and no word about this package.
fn foreign_restart(machine: &machine_linux::LinuxMachine) -> Option<String> {
    const MARK: &str = "/run/reboot-required";
    let found = machine.look(&MachinePath::new(MARK).ok()?).ok()??;
    Some(format!("others asked for a restart before (`{MARK}`, a {})", found.node.word()))
}

/// Takes a package off the machine.
pub fn uninstall_package(target: &mut Target, name: &PackageName, show: &mut Show) -> Report {
    let Target { machine: linux, paths, facts, .. } = target;
    // One engine for all machines keeps an installer small.
    let machine: &mut dyn Machine = linux;
    let done = install::uninstall(machine, paths, name, facts, now(), show);
    show.clear();
    let closed = install::close_state(machine, paths);
    match done {
        Ok(None) => Report::new(Exit::Nothing, format!("{name} is not installed")),
        Ok(Some(gone)) => {
            let (exit, message) = if gone.leftovers.is_empty() {
                (Exit::Done, format!("{name} is uninstalled"))
            } else {
                (
                    Exit::Leftovers,
                    match gone.leftovers.len() {
                        1 => format!("{name} is uninstalled; one thing stays"),
                        count => format!("{name} is uninstalled; {count} things stay"),
                    },
                )
            };
            let mut report = Report::new(exit, message);
            report.leftovers = gone.leftovers;
            report.notes = gone.notes;
            if let Err(error) = closed {
                report.notes.push(format!("our own folder could not be removed: {error}"));
            }
            report
        }
        Err(error) => Report::of_error(Exit::of_install(&error), &error),
    }
}

/// Takes the last change of a package back.
pub fn roll_back_package(target: &mut Target, name: &PackageName, discard_changes: bool) -> Report {
    // Asked for once more after it was interrupted, it has been done already.
    if let Some(header) = target.taken_back(name) {
        return Report::new(Exit::Done, back_at(name, &header));
    }
    let Target { machine: linux, paths, .. } = target;
    let machine: &mut dyn Machine = linux;
    if let Ok(None) = change::Observe::look(machine, &paths.state) {
        return Report::new(
            Exit::Nothing,
            format!("{name} is not installed: there is nothing to roll back"),
        );
    }
    let done = install::roll_back(machine, paths, name, discard_changes);
    let closed = install::close_state(machine, paths);
    match done {
        Ok(None) => Report::new(
            Exit::Nothing,
            format!("{name} is not installed: there is nothing to roll back"),
        ),
        Ok(Some(back)) => {
            let mut report = Report::new(Exit::Done, back_at(name, &back.header));
            report.notes = back.notes;
            if let Err(error) = closed {
                report.notes.push(format!("our own folder could not be removed: {error}"));
            }
            report
        }
        Err(error) => {
            let mut report = Report::of_error(Exit::of_roll_back(&error), &error);
            if let install::RollBackError::Changed { differences, .. } = error {
                report.differences = differences;
            }
            report
        }
    }
}

fn back_at(name: &PackageName, header: &change::TransactionHeader) -> String {
    match &header.from {
        Some(from) => format!("{name} is back at {from}"),
        None => format!("{name} is gone, as if it had never been installed"),
    }
}

/// Compares the machine with what a package left there.
pub fn verify_package(target: &Target, name: &PackageName) -> Report {
    let found = install::installed(&target.machine as &dyn Machine, &target.paths);
    let (all, damaged) = match found {
        Ok(found) => found,
        Err(error) => return Report::of_error(Exit::Failed, &error),
    };
    let (own, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|one| one.receipt.header.name == *name);
    let Some(own) = own.into_iter().next() else {
        return match damaged.into_iter().next() {
            Some(error) => Report::of_error(Exit::Failed, &error),
            None => Report::new(Exit::Nothing, format!("{name} is not installed")),
        };
    };
    match install::verify(&target.machine, &own.receipt, &others) {
        Ok(differences) if differences.is_empty() => Report::new(
            Exit::Done,
            format!("{name} {} is as it was installed", own.receipt.header.version),
        ),
        Ok(differences) => {
            let message = match differences.len() {
                1 => format!("{name} differs in one place from what was installed"),
                count => format!("{name} differs in {count} places from what was installed"),
            };
            let mut report = Report::new(Exit::Failed, message);
            report.differences = differences;
            report
        }
        Err(error) => Report::of_error(Exit::Failed, &error),
    }
}

/// What is installed, and what waits for a restart.
pub fn list_packages(target: &Target) -> Report {
    let (all, damaged) = match install::installed(&target.machine as &dyn Machine, &target.paths) {
        Ok(found) => found,
        Err(error) => return Report::of_error(Exit::Failed, &error),
    };
    let listed: Vec<Listed> = all
        .into_iter()
        .map(|one| Listed {
            name: one.receipt.header.name.clone(),
            version: one.receipt.header.version.clone(),
            summary: one.receipt.header.summary.clone(),
            installed: one.receipt.header.installed,
            restart_pending: in_use(&target.machine, &target.paths, &[one.receipt.header.number]),
        })
        .collect();
    let exit = if damaged.is_empty() { Exit::Done } else { Exit::Failed };
    let message = match listed.len() {
        0 => "no packages are installed".to_owned(),
        1 => "1 package is installed".to_owned(),
        count => format!("{count} packages are installed"),
    };
    let mut report = Report::new(exit, message);
    report.packages = Some(listed);
    report.notes = damaged
        .iter()
        .map(|error| format!("{error}: reinstall its package with `--again`"))
        .collect();
    report
}

/// Says what opening the machine had to end.
pub fn recover_machine(target: &Target) -> Report {
    if target.recovered.is_empty() {
        Report::new(Exit::Nothing, "nothing had been interrupted")
    } else {
        Report::new(Exit::Done, "what had been interrupted is ended")
    }
}
