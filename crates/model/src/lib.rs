//! The glossary as types: what paths, names, versions, metadata and conditions are, on every platform.
//!
//! Four nouns carry the crate:
//!
//! - a [`MachinePath`] is where something is on a machine, whatever machine we run on;
//! - an [`Entry`] is what such a path holds: its [`Kind`] and its [`Meta`]data;
//! - a [`Template`] is text with variables in it, a [`Condition`] a question about a machine: both in
//!   the closed form that needs no expression language to evaluate;
//! - a [`Hash`] names content.
//!
//! **Invariant:** values only. Nothing here reads a clock, a disk, an environment or a network.

#![forbid(unsafe_code)]

mod acl;
mod acl_bytes;
mod action;
mod bytes;
mod causes;
mod condition;
mod entry;
mod export;
mod hash;
mod meta;
mod name;
mod path;
mod registry_step;
mod setting;
mod shortcut;
mod shown;
mod task;
mod template;
mod time;
mod users;
mod version;
mod words;

pub use acl::{Acl, AclEntry, AclTag, ParseAclError};
pub use acl_bytes::{BadAclBytes, UnknownAclOwner};
pub use action::{
    AccountStep, Alternative, EditStep, ExitMeaning, Hook, LineEdit, Program, ReplaceRule, RunStep,
    ServiceStep, StartType, Undo, Variable,
};
pub use bytes::{ParseTextError, escape, unescape};
pub use causes::with_causes;
pub use condition::{Comparison, Condition, Fact, Value};
pub use entry::{Content, Entry, Extent, Kind};
pub use export::Export;
pub use hash::{Hash, Hasher, ParseHashError};
pub use meta::{Meta, Owner, Xattrs};
pub use name::{Architecture, InvalidName, PackageName};
pub use path::{InvalidPath, MachinePath};
pub use registry_step::{
    Failure, LibraryStep, Recovery, RecoveryAction, RegistryStep, ServiceStart, SetupStep,
    ValueEdit,
};
pub use setting::{InvalidKey, RegistryKey, RegistryValue, ServiceSetup, Setting, SettingState};
pub use shortcut::{NoShortcut, Shortcut, Window};
pub use shown::Shown;
pub use task::{TaskStep, plain_task, task_name};
pub use template::{ExpandError, ParseTemplateError, Part, Template};
pub use time::{ParseTimeError, Time};
pub use users::Users;
pub use version::Version;
pub use words::{bytes_of, words_of};
