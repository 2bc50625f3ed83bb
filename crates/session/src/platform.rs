//! What std does not do alike on every system.

#[cfg_attr(windows, path = "platform/windows.rs")]
#[cfg_attr(unix, path = "platform/unix.rs")]
mod folder;

pub(crate) use folder::{make_private, put, remove_locked};
