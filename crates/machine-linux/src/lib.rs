//! Linux: how a root is scanned, how an installer is run over it and observed.
//!
//! - [`scan`] walks a root in path order and tells what every path holds;
//! - [`overlay`] gives an installer a root of its own, and reads what it did from the upper folder;
//! - [`session`] is a capture on disk, which survives being killed and a restart.

pub mod facts;
pub mod mounts;
pub mod namespaces;
pub mod node;
pub mod overlay;
pub mod owners;
pub mod scan;
pub mod session;
mod sys;
pub mod watch;
