#[cfg_attr(windows, path = "in_use/windows.rs")]
#[cfg_attr(unix, path = "in_use/linux.rs")]
mod found;

use model::MachinePath;
use serde::Serialize;

pub use found::in_use;

/// A program that still runs with a file that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct InUse {
    /// The file.
    pub path: MachinePath,
    /// The process.
    pub process: i32,
    /// Its name.
    pub program: String,
}
