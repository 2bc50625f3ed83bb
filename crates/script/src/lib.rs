//! The script: what people read and edit. Text ⇄ [`Script`], check, format, schema.
//!
//! A [`Script`] is the meaning of a project's `package.toml`; [`FileMeta`] that of the `files.meta`
//! beside it. What a step does to a machine is decided by the `package` crate; here it is only said.
//!
//! **Invariant:** text in, values out. The files of a project folder are read by the caller.

#![forbid(unsafe_code)]

mod tree;

pub use tree::{FileMeta, Script, Step, StepKind, TextReplacement, TreeSource, TreeStep};
