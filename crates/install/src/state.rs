//! Our own folder on a machine: made when the first package comes, gone with the last.

use change::{Machine, MachineError, Node, Observe, Paths, RawMeta, RecoverError, Recovered};
use model::{MachinePath, Time};

use crate::kept;

/// The state folder while it is being made or removed.
const PASSING: &str = ".packhorse-state";
/// In the state folder: the first path that was missing when it was made, and the time of the folder above.
const ORIGIN: &str = "origin";
/// On that folder, while its time is in danger: making and removing ours changes it, and this, which
/// changes no time, says what it was. Where a file system has no such attributes, a crash in these
/// few moments costs the old time of that folder.
const TIME: &[u8] = b"trusted.packhorse.time";

/// Where a machine's state is: `/var/lib/packhorse` on Linux, links followed.
pub fn state_paths(machine: &(impl Observe + ?Sized)) -> Result<Paths, MachineError> {
    Ok(Paths { state: machine.resolve(&machine.state_folder())? })
}

/// Makes the state folder, if it is not there.
pub fn open_state(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
    now: Time,
) -> Result<(), MachineError> {
    if machine.look(&paths.state)?.is_some() {
        return Ok(());
    }
    let (parent, missing) = first_missing(machine, &paths.state)?;
    let time = machine.look(&parent)?.map(|found| found.meta.modified);
    let made = make_state(machine, paths, now, &parent, &missing);
    if made.is_err() {
        // As it was; where even that cannot be done, the next start does it.
        let _ = pass(machine, &parent, time);
    }
    made
}

fn make_state(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
    now: Time,
    parent: &MachinePath,
    missing: &MachinePath,
) -> Result<(), MachineError> {
    let time = machine.look(parent)?.map_or(now, |found| found.meta.modified);
    note_time(machine, parent, Some(time))?;
    machine.sync()?;
    let making = child(parent, PASSING);
    let private = |mode| RawMeta::private(mode, now);
    machine.make_directory(&making, &private(0o755))?;
    let rest = paths.state.below(missing).unwrap_or_default().to_vec();
    let mut folder = making.clone();
    for part in rest.split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
        folder = child(&folder, &model::escape(part));
        machine.make_directory(&folder, &private(0o755))?;
    }
    machine.set_meta(&folder, &private(0o700))?;
    for name in ["transactions", "saved", "receipts"] {
        machine.make_directory(&child(&folder, name), &private(0o700))?;
    }
    let origin = format!("{missing}\n{time}\n");
    machine.make_file(&child(&folder, ORIGIN), &private(0o600), &mut |sink| {
        sink.data(origin.as_bytes())
    })?;
    machine.sync()?;
    machine.rename(&making, missing)?;
    machine.sync()?;
    note_time(machine, parent, None)
}

/// Notes the time of `folder` on the folder itself, or takes the note away.
fn note_time(
    machine: &mut (impl Machine + ?Sized),
    folder: &MachinePath,
    time: Option<Time>,
) -> Result<(), MachineError> {
    let Some(found) = machine.look(folder)? else { return Ok(()) };
    let mut meta = found.meta.clone();
    match time {
        Some(time) => {
            meta.xattrs.insert(
                TIME.into(),
                format!("@{}.{:09}", time.seconds, time.nanoseconds).into_bytes().into(),
            );
        }
        None => {
            meta.xattrs.remove(TIME);
        }
    }
    if meta == found.meta {
        return Ok(());
    }
    match machine.set_meta(folder, &meta) {
        Err(error) if time.is_some() && error.is_unsupported() => Ok(()),
        other => other,
    }
}

/// Removes the state folder when nothing is installed any more, and gives the folder it was made in the
/// time it had, if nobody else changed that folder since.
pub fn close_state(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
) -> Result<(), MachineError> {
    if machine.look(&paths.state)?.is_none() || !machine.list(&paths.receipts())?.is_empty() {
        return Ok(());
    }
    let transactions = machine.list(&paths.transactions())?;
    if transactions.iter().any(|name| name.starts_with(b"open-")) {
        return Ok(());
    }
    let origin = child(&paths.state, ORIGIN);
    let origin = if machine.look(&origin)?.is_some() { machine.read(&origin)? } else { Vec::new() };
    let origin = String::from_utf8_lossy(&origin).into_owned();
    let mut lines = origin.lines();
    let made: Option<MachinePath> = lines.next().and_then(|line| line.parse().ok());
    let time: Option<Time> = lines.next().and_then(|line| line.parse().ok());
    let (Some(made), Some(time)) = (made, time) else {
        return remove_tree(machine, &paths.state);
    };
    // Somebody else may have put something beside ours in a folder that we made.
    let only_ours = holds_only(machine, &made, &paths.state)?;
    let goes = if only_ours { made } else { paths.state.clone() };
    let parent = goes.parent().unwrap_or_else(MachinePath::root);
    if only_ours {
        note_time(machine, &parent, Some(time))?;
        machine.sync()?;
    }
    machine.rename(&goes, &child(&parent, PASSING))?;
    machine.sync()?;
    pass(machine, &parent, only_ours.then_some(time))
}

/// Removes what was being made or removed in `folder`, and gives the folder the time noted on it, or, where a
/// file system holds no such note, the one the caller knows.
fn pass(
    machine: &mut (impl Machine + ?Sized),
    folder: &MachinePath,
    known: Option<Time>,
) -> Result<(), MachineError> {
    let Some(found) = machine.look(folder)?.filter(|found| found.node.is_directory()) else {
        return Ok(());
    };
    let noted =
        found.meta.xattrs.get(TIME).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let passing = child(folder, PASSING);
    let noted = noted.or(known);
    if noted.is_none() && machine.look(&passing)?.is_none() {
        return Ok(());
    }
    remove_tree(machine, &passing)?;
    if let Some(time) = noted {
        set_time(machine, folder, time)?;
    }
    machine.sync()?;
    note_time(machine, folder, None)
}

/// Ends what a crash interrupted: a state folder half made or half removed, then every transaction.
pub fn recover(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
) -> Result<Vec<Recovered>, RecoverError> {
    let is_there = machine.look(&paths.state)?.is_some();
    for ancestor in paths.state.ancestors() {
        if is_there {
            note_time(machine, &ancestor, None)?;
        } else {
            pass(machine, &ancestor, None)?;
        }
    }
    let recovered = change::recover(machine, paths)?;
    let nothing_installed =
        machine.look(&paths.state)?.is_some() && machine.list(&paths.receipts())?.is_empty();
    if nothing_installed || !recovered.is_empty() {
        kept::collect(machine, paths)?;
    }
    close_state(machine, paths)?;
    Ok(recovered)
}

/// The nearest folder above `path` that exists, and the path right below it.
fn first_missing(
    machine: &(impl Observe + ?Sized),
    path: &MachinePath,
) -> Result<(MachinePath, MachinePath), MachineError> {
    let mut missing = path.clone();
    loop {
        let parent = missing.parent().unwrap_or_else(MachinePath::root);
        if parent.is_root() || machine.look(&parent)?.is_some() {
            return Ok((parent, missing));
        }
        missing = parent;
    }
}

/// Whether `folder` holds nothing but the way to `path`.
fn holds_only(
    machine: &(impl Observe + ?Sized),
    folder: &MachinePath,
    path: &MachinePath,
) -> Result<bool, MachineError> {
    let mut at = folder.clone();
    while at != *path {
        let names = machine.list(&at)?;
        let [name] = names.as_slice() else { return Ok(false) };
        at = child(&at, &String::from_utf8_lossy(name));
        if !path.is_within(&at) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn set_time(
    machine: &mut (impl Machine + ?Sized),
    path: &MachinePath,
    time: Time,
) -> Result<(), MachineError> {
    match machine.look(path)? {
        Some(found) if found.meta.modified != time => {
            machine.set_meta(path, &RawMeta { modified: time, ..found.meta })
        }
        _ => Ok(()),
    }
}

pub(crate) fn remove_tree(
    machine: &mut (impl Machine + ?Sized),
    path: &MachinePath,
) -> Result<(), MachineError> {
    let Some(found) = machine.look(path)? else { return Ok(()) };
    if matches!(found.node, Node::Directory) {
        for name in machine.list(path)? {
            if let Ok(child) = path.join(name) {
                remove_tree(machine, &child)?;
            }
        }
    }
    machine.remove(path)
}

pub(crate) fn child(path: &MachinePath, name: &str) -> MachinePath {
    path.join(name).unwrap_or_else(|_| path.clone())
}
