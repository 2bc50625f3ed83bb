//! The change engine and installation, on simulated and real disks.

#![expect(clippy::unwrap_used, reason = "tests")]

mod crash;
mod damage;
mod installing;
mod on_linux;
mod random;
mod registry;
mod rolling_back;
mod root;
mod shared;
mod support;
mod uninstalling;
mod volumes;
mod wan;
mod windows;
