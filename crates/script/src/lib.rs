//! The script: what people read and edit. Text ⇄ [`Script`], check, format, schema.
//!
//! A [`Script`] is the meaning of a project's `package.toml`; [`FileMeta`] that of the `files.meta`
//! beside it. What a step does to a machine is decided by the `package` crate; here it is only said.
//!
//! - [`parse`] and [`print`] turn a script's text into its meaning and back;
//! - [`parse_condition`] and [`print_condition`] do so for CEL;
//! - [`parse_files_meta`] and [`print_files_meta`] do so for `files.meta`;
//! - [`format()`] lays a text out, [`check()`] looks for what will not work, [`explain`] says it in
//!   sentences, [`schema`] tells editors what may be written;
//! - a [`Problem`] says what is wrong, where, and what to type instead.
//!
//! **Invariant:** text in, values out. The files of a project folder are read by the caller.

#![forbid(unsafe_code)]

mod check;
mod condition;
mod duration;
mod explain;
mod files_meta;
mod format;
mod print;
mod problem;
mod read;
mod schema;
mod tree;
mod visit;
pub mod vocabulary;

pub use check::{Payload, PayloadKind, ProjectView, check, check_files_meta};
pub use condition::{ConditionError, parse_condition, print_condition};
pub use explain::{explain, explain_step};
pub use files_meta::{
    format_files_meta, parse_files_meta, print_files_meta, read_files_meta, write_files_meta,
};
pub use format::format;
pub use print::{Comments, print, print_with_comments};
pub use problem::{Part, Place, Position, Problem, Severity};
pub use read::{Spans, parse, parse_with_spans};
pub use schema::schema;
pub use tree::{
    FileMeta, Script, ShortcutStep, Step, StepKind, TextReplacement, TreeSource, TreeStep,
};
