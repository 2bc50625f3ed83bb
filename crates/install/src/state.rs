//! Our own folder on a machine: made when the first package comes, gone with the last.

use change::{Machine, MachineError, Node, Observe, Paths, RawMeta, RecoverError, Recovered};
use model::{MachinePath, Time};

use crate::kept;

const STATE: &str = "/var/lib/packhorse";
/// The folder being made carries its parent's time in its name, since making it changes that time:
/// a crash right after leaves all that is needed to put it back.
const MAKING: &str = ".packhorse-state-";
/// In the state folder: the parent's time, and the path that was first missing.
const ORIGIN: &str = "origin";

/// Where a machine's state is: `/var/lib/packhorse`, links followed.
pub fn state_paths(machine: &(impl Observe + ?Sized)) -> Result<Paths, MachineError> {
    let state = MachinePath::new(STATE).unwrap_or_else(|_| MachinePath::root());
    Ok(Paths { state: machine.resolve(&state)? })
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
    let time = machine.look(&parent)?.map_or(now, |found| found.meta.modified);
    let making = child(&parent, &format!("{MAKING}{}.{:09}", time.seconds, time.nanoseconds));
    let private = |mode| RawMeta::private(mode, now);
    machine.make_directory(&making, &private(0o755))?;
    let rest = paths.state.below(&missing).unwrap_or_default().to_vec();
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
    machine.rename(&making, &missing)?;
    machine.sync()
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
    let leaving = child(&parent, &format!("{MAKING}{}.{:09}", time.seconds, time.nanoseconds));
    machine.rename(&goes, &leaving)?;
    machine.sync()?;
    remove_tree(machine, &leaving)?;
    if only_ours { set_time(machine, &parent, time) } else { Ok(()) }
}

/// Ends what a crash interrupted: a state folder half made or half removed, then every transaction.
pub fn recover(
    machine: &mut (impl Machine + ?Sized),
    paths: &Paths,
) -> Result<Vec<Recovered>, RecoverError> {
    for ancestor in paths.state.ancestors() {
        if machine.look(&ancestor)?.is_none_or(|found| !found.node.is_directory()) {
            continue;
        }
        for name in machine.list(&ancestor)? {
            let text = String::from_utf8_lossy(&name).into_owned();
            let Some(time) = text.strip_prefix(MAKING) else { continue };
            remove_tree(machine, &child(&ancestor, &text))?;
            if let Ok(time) = format!("@{time}").parse() {
                set_time(machine, &ancestor, time)?;
            }
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
