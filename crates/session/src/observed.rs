//! What a run leaves behind that was watched while it ran.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use model::MachinePath;
use serde::{Deserialize, Serialize};

/// One overlay: a file system of the machine below, and the folder that takes what changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Where it is mounted on the machine.
    pub path: MachinePath,
    /// The folder that is not written to.
    pub lower: PathBuf,
    /// The folder that takes what changes.
    pub upper: PathBuf,
    /// Overlayfs's own folder beside it.
    pub work: PathBuf,
}

/// How often a path was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opens {
    /// To read, or to write.
    pub opened: u64,
    /// To be executed.
    pub executed: u64,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The command's exit code; 128 and the number of the signal that ended it.
    pub exit_code: i32,
    /// The options overlayfs accepted.
    pub options: String,
    /// Processes that were still running when the command ended, and were ended with it.
    pub left_running: Vec<LeftRunning>,
    /// What was opened.
    pub opens: BTreeMap<MachinePath, Opens>,
    /// Why opens could not be watched, or that some were lost.
    pub unwatched: Option<String>,
    /// Paths made inside to mount on.
    pub made: BTreeSet<MachinePath>,
}

/// A process that outlived the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftRunning {
    /// Its number inside.
    pub process: u32,
    /// Its name.
    pub name: String,
}
