//! Whole trees on a machine: removed, kept, put back. Each can be interrupted and begun again.

use model::{MachinePath, Setting};

use crate::{Machine, MachineError, Node};

/// Removes whatever `path` holds, a folder with all below it. Nothing there is fine.
pub(crate) fn remove_tree(
    machine: &mut (impl Machine + ?Sized),
    path: &MachinePath,
) -> Result<(), MachineError> {
    let Some(found) = machine.look(path)? else { return Ok(()) };
    if found.node.is_directory() {
        for name in machine.list(path)? {
            remove_tree(machine, &child(path, &name))?;
        }
    }
    machine.remove(path)
}

/// Removes all that a registry key holds; any other setting holds nothing.
pub(crate) fn clear_key(
    machine: &mut (impl Machine + ?Sized),
    setting: &Setting,
) -> Result<(), MachineError> {
    let Setting::Key(key) = setting else { return Ok(()) };
    if machine.setting(setting)?.is_none() {
        return Ok(());
    }
    for inner in machine.settings_in(key)? {
        clear_key(machine, &inner)?;
        machine.set(&inner, None)?;
    }
    Ok(())
}

/// Makes `to` a second copy of whatever `from` holds: files as further names of the same file where
/// the file system allows, as copies elsewhere.
pub fn keep_tree(
    machine: &mut (impl Machine + ?Sized),
    from: &MachinePath,
    to: &MachinePath,
) -> Result<(), MachineError> {
    let Some(found) = machine.look(from)? else { return Ok(()) };
    if !found.node.is_directory() {
        return keep_one(machine, from, to, &found.node);
    }
    machine.make_directory(to, &found.meta)?;
    for name in machine.list(from)? {
        keep_tree(machine, &child(from, &name), &child(to, &name))?;
    }
    machine.set_meta(to, &found.meta)
}

fn keep_one(
    machine: &mut (impl Machine + ?Sized),
    from: &MachinePath,
    to: &MachinePath,
    node: &Node,
) -> Result<(), MachineError> {
    if matches!(node, Node::File { .. }) && machine.link(from, to).is_ok() {
        return Ok(());
    }
    machine.copy(from, to)
}

/// Renames whatever `path` holds to `aside`. Where a layered file system cannot rename a folder, a
/// whole second copy is made durable under that name before the first is removed.
pub(crate) fn set_aside(
    machine: &mut (impl Machine + ?Sized),
    path: &MachinePath,
    aside: &MachinePath,
) -> Result<(), MachineError> {
    match machine.rename(path, aside) {
        Err(error) if error.is_across() => {}
        other => return other,
    }
    let part = partial(aside);
    keep_tree(machine, path, &part)?;
    machine.sync()?;
    machine.rename(&part, aside)?;
    machine.sync()?;
    remove_tree(machine, path)
}

/// Undoes [`set_aside`], however far it came.
pub(crate) fn bring_back(
    machine: &mut (impl Machine + ?Sized),
    path: &MachinePath,
    aside: &MachinePath,
) -> Result<(), MachineError> {
    remove_tree(machine, &partial(aside))?;
    if machine.look(aside)?.is_some() {
        remove_tree(machine, path)?;
        machine.rename(aside, path)?;
    }
    Ok(())
}

/// Removes what [`set_aside`] may have left.
pub(crate) fn discard_aside(
    machine: &mut (impl Machine + ?Sized),
    aside: &MachinePath,
) -> Result<(), MachineError> {
    remove_tree(machine, &partial(aside))?;
    remove_tree(machine, aside)
}

/// Renames what is kept at `saved` to `path`, whatever that holds now. Answers `false`, nothing done, where
/// that cannot be: on another file system or layer, or where nothing is kept.
pub(crate) fn move_back(
    machine: &mut (impl Machine + ?Sized),
    saved: &MachinePath,
    path: &MachinePath,
) -> Result<bool, MachineError> {
    let Some(kept) = machine.look(saved)? else { return Ok(false) };
    // A folder would have to go before another comes: only a copy is safe then, should that fail.
    let is_folder = |found: &crate::Found| found.node.is_directory();
    if is_folder(&kept) || machine.look(path)?.as_ref().is_some_and(is_folder) {
        return Ok(false);
    }
    match machine.rename(saved, path) {
        Ok(()) => Ok(true),
        Err(error) if error.is_across() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes `path` hold what is kept at `saved`, whatever it holds now, through a name made of `beside`.
/// The kept copy stays, so that this can be done again.
pub(crate) fn put_back(
    machine: &mut (impl Machine + ?Sized),
    saved: &MachinePath,
    path: &MachinePath,
    beside: &MachinePath,
) -> Result<(), MachineError> {
    // Not `beside` itself: its being there says that a staged file was never renamed.
    let back = suffixed(beside, b"-back");
    remove_tree(machine, &back)?;
    // Nothing kept: an earlier attempt came to its end, and was interrupted while tidying.
    let Some(kept) = machine.look(saved)? else { return Ok(()) };
    keep_tree(machine, saved, &back)?;
    let now = machine.look(path)?;
    if kept.node.is_directory() || now.is_some_and(|now| now.node.is_directory()) {
        remove_tree(machine, path)?;
    }
    machine.rename(&back, path)?;
    // A rename between two names of one file does nothing.
    remove_tree(machine, &back)
}

fn partial(aside: &MachinePath) -> MachinePath {
    suffixed(aside, b"-part")
}

fn suffixed(path: &MachinePath, suffix: &[u8]) -> MachinePath {
    MachinePath::new([path.as_bytes(), suffix].concat()).unwrap_or_else(|_| path.clone())
}

/// `path/name`. Names come from the machine itself, so they are never `..`.
pub(crate) fn child(path: &MachinePath, name: &[u8]) -> MachinePath {
    path.join(name).unwrap_or_else(|_| path.clone())
}
