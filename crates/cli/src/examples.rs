//! Examples of the commands whose words differ from system to system.

#[cfg(unix)]
mod linux;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use linux::{ALL, BEGIN, CAPTURE, DISCARD, FINISH, RUN};
#[cfg(windows)]
pub(crate) use windows::{ALL, BEGIN, CAPTURE, DISCARD, FINISH, RUN};
