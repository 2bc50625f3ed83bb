use std::collections::BTreeMap;

use change::{
    CommandEnd, JOURNAL_FORMAT, Machine, Observe, Operation, Paths, Transaction, TransactionHeader,
    Undo,
};
use model::{Hook, MachinePath, PackageName, Time};
use serde::{Deserialize, Serialize};

use crate::{
    Before, EditClaim, Facts, InstallError, Installed, Leftover, Output, Progress, Ran,
    ReadReceiptError, Receipt, ReceiptRecord, Stage,
    glob::literal_folder,
    install::{is_generated, next_number, untidied},
    installed,
    installed::times_at,
    kept,
    polite::{Leaving, Polite, is_disposable},
    settings,
    work::go_on,
};

/// What became of an uninstallation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Uninstalled {
    /// Its transaction.
    pub header: TransactionHeader,
    /// Entries removed.
    pub removed: u64,
    /// What stays, and why.
    pub leftovers: Vec<Leftover>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// Takes a package off the machine, politely: what others changed or added stays and is reported.
/// `None` when it is not installed.
pub fn uninstall<M: Machine + ?Sized>(
    machine: &mut M,
    paths: &Paths,
    name: &PackageName,
    facts: &dyn Facts,
    began: Time,
    progress: &mut dyn Progress,
) -> Result<Option<Uninstalled>, InstallError> {
    let (all, damaged) = installed(machine, paths)?;
    if let Some(damaged) = damaged.into_iter().find(|error| is_of(error, paths, name)) {
        return Err(damaged.into());
    }
    let (own, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|one| one.receipt.header.name == *name);
    let Some(own) = own.into_iter().next() else { return Ok(None) };
    let number = next_number(machine, paths)?;
    let header = TransactionHeader {
        format: JOURNAL_FORMAT,
        number,
        operation: Operation::Uninstall,
        package: name.clone(),
        from: Some(own.receipt.header.version.clone()),
        to: None,
        began,
    };
    let transaction = Transaction::begin(&mut *machine, paths.clone(), header.clone())?;
    let mut notes = Vec::new();
    let done =
        perform(transaction, paths, &own.receipt, &others, facts, began, progress, &mut notes);
    match done {
        Ok((leftovers, removed)) => {
            // What is left of it costs space and nothing else; the next start tries again.
            if let Err(error) = kept::collect(machine, paths) {
                notes.push(format!("kept copies could not be removed: {error}"));
            }
            Ok(Some(Uninstalled { header, removed, leftovers, notes }))
        }
        Err(reason) => {
            progress.progress(Stage::RollingBack, 0, 0, "");
            let reason = Box::new(reason);
            match change::roll_back(machine, paths, number) {
                Ok(notes) => Err(InstallError::RolledBack { reason, notes }),
                Err(why) => Err(InstallError::Stuck { reason, why }),
            }
        }
    }
}

fn is_of(error: &ReadReceiptError, paths: &Paths, name: &PackageName) -> bool {
    let newer = matches!(error, ReadReceiptError::Newer { .. });
    newer || error.receipt().is_none_or(|path| *path == paths.receipt(name))
}

#[expect(clippy::too_many_arguments, reason = "everything an uninstallation rests on, given once")]
fn perform<M: Machine + ?Sized>(
    mut transaction: Transaction<'_, M>,
    paths: &Paths,
    receipt: &Receipt,
    others: &[Installed],
    facts: &dyn Facts,
    now: Time,
    progress: &mut dyn Progress,
    notes: &mut Vec<String>,
) -> Result<(Vec<Leftover>, u64), InstallError> {
    hooks(&mut transaction, receipt, Hook::BeforeUninstall, notes)?;
    let (edits, ran, folders) = shared_records(transaction.machine(), receipt)?;
    for ran in ran.iter().rev().filter(|ran| ran.outputs.is_empty()) {
        stop(&mut transaction, ran, facts, notes)?;
    }
    // The times folders had before go first, since they are set last.
    let mut times = BTreeMap::new();
    for (path, before, after) in folders {
        let found = transaction.machine().look(&path)?;
        let time = found.map(|found| found.meta.modified);
        let others = times_at(transaction.machine(), others, &path)?;
        let ours = time == Some(after) || time == Some(before);
        let untouched = ours || others.iter().any(|(_, left)| time == Some(*left));
        // As the latest of those that stay left it; as it was before all of them.
        let time = match others.last() {
            _ if !untouched => now,
            Some((_, left)) => *left,
            None => before,
        };
        transaction.enter(&path, Some(time))?;
        times.insert(path, time);
    }
    progress.progress(Stage::Removing, 0, 0, "");
    let (mut leftovers, mut removed) = {
        let mut leaving = Leaving {
            transaction: &mut transaction,
            paths,
            receipt,
            others,
            now,
            entered: BTreeMap::new(),
            times: &times,
            progress: &*progress,
            keep: false,
            stays: &mut |_| false,
        };
        let mut polite = Polite::decide(&mut leaving)?;
        for edit in edits.iter().rev() {
            polite.take_back(&mut leaving, edit)?;
        }
        remove_generated(&mut polite, &mut leaving)?;
        let settings = settings::take_back(&mut transaction, receipt, others, &|_| false)?;
        polite.flush(transaction.machine())?;
        transaction.seal()?;
        let mut gone = polite.stage(&mut transaction, &*progress)?;
        gone.0.extend(settings);
        go_on(&*progress)?;
        transaction.switch()?;
        gone
    };
    for ran in ran.iter().rev().filter(|ran| !ran.outputs.is_empty()) {
        let (left, count) = derive_again(
            &mut transaction,
            paths,
            receipt,
            others,
            ran,
            now,
            &times,
            &*progress,
            notes,
        )?;
        leftovers.extend(left);
        removed += count;
    }
    hooks(&mut transaction, receipt, Hook::AfterUninstall, notes)?;
    go_on(&*progress)?;
    notes.extend(transaction.commit()?.map(untidied));
    Ok((leftovers, removed))
}

type Shared = (Vec<EditClaim>, Vec<Ran>, Vec<(MachinePath, Time, Time)>);

fn shared_records(
    machine: &(impl Observe + ?Sized),
    receipt: &Receipt,
) -> Result<Shared, InstallError> {
    let (mut edits, mut all_ran, mut folders) = (Vec::<EditClaim>::new(), Vec::new(), Vec::new());
    receipt.records(machine, 0, |record| {
        match record {
            // Edited in several batches, it is taken back in one.
            ReceiptRecord::Edit(edit) => match edits.iter_mut().find(|one| one.path == edit.path) {
                Some(first) => {
                    // Nothing had changed then.
                    if matches!(first.before, Before::Same(_)) {
                        first.before = edit.before;
                    }
                    first.edits.extend(edit.edits);
                }
                None => edits.push(edit),
            },
            ReceiptRecord::Ran(ran) => all_ran.push(ran),
            ReceiptRecord::Folder { path, before, after } => folders.push((path, before, after)),
            _ => {}
        }
        true
    })?;
    Ok((edits, all_ran, folders))
}

/// Runs what takes a program back that left no files: a started service is stopped.
fn stop<M: Machine + ?Sized>(
    transaction: &mut Transaction<'_, M>,
    ran: &Ran,
    facts: &dyn Facts,
    notes: &mut Vec<String>,
) -> Result<(), InstallError> {
    match &ran.undo {
        Undo::Irreversible => {
            notes.push(format!("nothing takes back what this did: {}", ran.sentence));
        }
        Undo::Kept => {}
        Undo::Run(back) => {
            let is_systemctl = back.command.first().is_some_and(|program| program == b"systemctl");
            if is_systemctl && !facts.has_running_systemd() {
                return Ok(());
            }
            // Should the rest fail, what was stopped is started again.
            let end = transaction.run(back, &[], Undo::Run(ran.command.clone()))?;
            note_end(&back.to_string(), &end, notes);
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "everything an uninstallation rests on, given once")]
/// What a program derived comes back as it was, or is derived again from what is left.
fn derive_again<M: Machine + ?Sized>(
    transaction: &mut Transaction<'_, M>,
    paths: &Paths,
    receipt: &Receipt,
    others: &[Installed],
    ran: &Ran,
    now: Time,
    times: &BTreeMap<MachinePath, Time>,
    progress: &dyn Progress,
    notes: &mut Vec<String>,
) -> Result<(Vec<Leftover>, u64), InstallError> {
    let mut as_left = true;
    for output in &ran.outputs {
        let now = change::saved_name_as(transaction.machine(), &output.path, &output.path)?;
        as_left &= now == output.after;
    }
    if as_left {
        let changed: Vec<&Output> = ran
            .outputs
            .iter()
            .filter(|output| output.before.as_ref().map(|saved| saved.name) != output.after)
            .collect();
        let mut leaving = Leaving {
            transaction,
            paths,
            receipt,
            others,
            now,
            entered: BTreeMap::new(),
            times,
            progress,
            keep: false,
            stays: &mut |_| false,
        };
        let mut polite = Polite::empty(&leaving, "derived");
        for output in changed {
            match &output.before {
                Some(saved) => polite.bring_back(&mut leaving, &output.path, saved)?,
                None => polite.remove(&mut leaving, &output.path)?,
            }
        }
        polite.flush(transaction.machine())?;
        transaction.seal()?;
        let gone = polite.stage(transaction, progress)?;
        transaction.switch()?;
        return Ok(gone);
    }
    let command = match &ran.undo {
        Undo::Run(back) => back,
        _ => &ran.command,
    };
    let outputs: Vec<MachinePath> = ran.outputs.iter().map(|output| output.path.clone()).collect();
    let end = transaction.run(command, &outputs, Undo::Kept)?;
    note_end(&command.to_string(), &end, notes);
    Ok((Vec::new(), 0))
}

fn hooks<M: Machine + ?Sized>(
    transaction: &mut Transaction<'_, M>,
    receipt: &Receipt,
    at: Hook,
    notes: &mut Vec<String>,
) -> Result<(), InstallError> {
    for hook in receipt.header.hooks.iter().filter(|hook| hook.at == at) {
        let value = |name: &str| receipt.header.variables.get(name).map(String::as_str);
        let expand = |template: &model::Template| {
            template.expand(value).map_err(|error| InstallError::Variable { name: error.variable })
        };
        let words =
            |list: &[model::Template]| list.iter().map(expand).collect::<Result<Vec<_>, _>>();
        let request =
            |command| change::CommandRequest { command, limit: hook.limit, wait: hook.wait };
        let undo = match &hook.undo {
            model::Undo::Outputs => Undo::Kept,
            model::Undo::Irreversible => Undo::Irreversible,
            model::Undo::Command(back) => Undo::Run(request(words(back)?)),
        };
        let outputs = hook
            .outputs
            .iter()
            .map(|output| crate::trees::path_of(expand(output)?, output))
            .collect::<Result<Vec<_>, _>>()?;
        let command = request(words(&hook.command)?);
        let end = transaction.run(&command, &outputs, undo)?;
        note_end(&command.to_string(), &end, notes);
    }
    Ok(())
}

/// A program that fails while a package goes does not keep the package from going.
fn note_end(command: &str, end: &CommandEnd, notes: &mut Vec<String>) {
    match end {
        CommandEnd::Exited { code: 0, .. } | CommandEnd::Started | CommandEnd::Missing => {}
        CommandEnd::Exited { code, .. } => {
            notes.push(format!("{command} ended with exit code {code}"));
        }
        CommandEnd::TimedOut => notes.push(format!("{command} took too long and was stopped")),
        CommandEnd::Refused { reason } => notes.push(format!("{command} could not run: {reason}")),
    }
}

/// What the program made for itself outside the package's own folders.
fn remove_generated<M: Machine + ?Sized>(
    polite: &mut Polite,
    leaving: &mut Leaving<'_, '_, M>,
) -> Result<(), InstallError> {
    for pattern in &leaving.receipt.header.generated {
        let Some(folder) = literal_folder(pattern) else { continue };
        let folder = leaving.transaction.machine().resolve(&folder)?;
        remove_matching(polite, leaving, &folder)?;
    }
    Ok(())
}

fn remove_matching<M: Machine + ?Sized>(
    polite: &mut Polite,
    leaving: &mut Leaving<'_, '_, M>,
    path: &MachinePath,
) -> Result<(), InstallError> {
    if polite.goes(path) {
        return Ok(());
    }
    let Some(found) = leaving.transaction.machine().look(path)? else { return Ok(()) };
    let generated = &leaving.receipt.header.generated;
    let machine = leaving.transaction.machine();
    if is_disposable(machine, generated, path)? {
        let claimed = leaving.receipt.claim(machine, path)?.is_some();
        if !claimed {
            return polite.remove(leaving, path);
        }
        if is_generated(generated, path) {
            return Ok(());
        }
    }
    if found.node.is_directory() {
        for name in leaving.transaction.machine().list(path)? {
            if let Ok(inner) = path.join(name) {
                remove_matching(polite, leaving, &inner)?;
            }
        }
    }
    Ok(())
}
