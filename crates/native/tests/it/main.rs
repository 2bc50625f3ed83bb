//! Packages exported in memory and read again; the program that edits files, against the engine.

#![allow(clippy::disallowed_methods, reason = "the tools of a real machine are what is tried")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod edits;
mod exports;
mod msi;
mod refusals;
mod support;
