//! Projects compiled, installers run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod damaged;
mod exports;
mod kernel;
mod large;
mod names;
mod projects;
mod sandbox;
mod start;
mod windows;
