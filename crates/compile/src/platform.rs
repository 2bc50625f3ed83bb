//! What a project folder on this system is asked, and std does not answer alike everywhere.

#[cfg_attr(windows, path = "platform/windows.rs")]
#[cfg_attr(unix, path = "platform/unix.rs")]
mod system;

pub(crate) use system::{is_executable, is_socket, next_data};
pub use system::{os_string, set_mode};

use std::path::{Component, Path};

/// A path below a project folder as scripts write it, with `/` between its names.
pub fn project_path(path: &Path) -> Vec<u8> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.as_encoded_bytes()),
        _ => None,
    });
    names.collect::<Vec<_>>().join(&b'/')
}
