//! What steps do, as far as the script's text and the compiled package say it in the same words.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Condition, Template};

/// A value the script leaves open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Variable {
    /// What it is unless told otherwise; `None` where somebody must say.
    #[n(0)]
    pub default: Option<Template>,
    /// The question to a person, if one may be asked.
    #[n(1)]
    pub prompt: Option<String>,
    /// Why no other value works, for a value the payload has baked in.
    #[n(2)]
    pub fixed: Option<String>,
}

/// What happens where a tree step finds something already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum ReplaceRule {
    /// `newer`: the version decides where both have one; otherwise replace, keeping what was there.
    #[default]
    #[n(0)]
    Newer,
    /// `always`: replace, even a newer one.
    #[n(1)]
    Always,
    /// `never`: leave what is there.
    #[n(2)]
    Never,
}

/// Changes to a text file others change too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct EditStep {
    /// The file.
    #[n(0)]
    pub file: Template,
    /// What to change.
    #[n(1)]
    pub edits: Vec<LineEdit>,
    /// Whether a missing file is made (root, 0644) or an error.
    #[n(2)]
    pub create: bool,
}

/// One change to a text file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum LineEdit {
    /// `edit-lines`, `add`: the line is there, once; after `after` where that stands, else at the end.
    #[n(0)]
    Add {
        /// The line without its end.
        #[n(0)]
        line: Template,
        /// A line it follows, if that stands in the file.
        #[n(1)]
        after: Option<Template>,
    },
    /// `edit-lines`, `remove`: no such line is there.
    #[n(1)]
    Remove {
        /// The line without its end.
        #[n(0)]
        line: Template,
    },
    /// `edit-ini`: `key = value` stands in `[section]`.
    #[n(2)]
    Ini {
        /// The section; empty for the part before the first.
        #[n(0)]
        section: Template,
        /// The key.
        #[n(1)]
        key: Template,
        /// The value, or `None` to take the key away.
        #[n(2)]
        value: Option<Template>,
    },
    /// `edit-assignments`: `KEY=value` as shells and sysctl read it.
    #[n(3)]
    Assignment {
        /// The key.
        #[n(0)]
        key: Template,
        /// The value with its quotes, or `None` to take the key away.
        #[n(1)]
        value: Option<Template>,
    },
    /// `edit-path-list`: a folder in a list like `PATH="a:b"`.
    #[n(4)]
    PathList {
        /// The key, `PATH`.
        #[n(0)]
        key: Template,
        /// The folder.
        #[n(1)]
        folder: Template,
        /// Whether it comes first instead of last.
        #[n(2)]
        first: bool,
    },
}

/// Users and groups. Numbers are chosen on the machine unless the script insists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum AccountStep {
    /// `create-group`
    #[n(0)]
    Group {
        /// Its name.
        #[n(0)]
        name: Box<str>,
        /// Whether its number comes from the system's range.
        #[n(1)]
        system: bool,
        /// A number that must be had.
        #[n(2)]
        id: Option<u32>,
    },
    /// `create-user`
    #[n(1)]
    User {
        /// Its name.
        #[n(0)]
        name: Box<str>,
        /// Whether its number comes from the system's range.
        #[n(1)]
        system: bool,
        /// A number that must be had.
        #[n(2)]
        id: Option<u32>,
        /// Its first group; one of its own name when unsaid.
        #[n(3)]
        group: Option<Box<str>>,
        /// Its home folder, which is not made.
        #[n(4)]
        home: Template,
        /// Its shell.
        #[n(5)]
        shell: Template,
        /// The comment field.
        #[n(6)]
        comment: String,
    },
    /// `add-to-group`
    #[n(2)]
    Membership {
        /// Who.
        #[n(0)]
        user: Box<str>,
        /// Where.
        #[n(1)]
        group: Box<str>,
    },
}

/// A systemd unit. The unit file is part of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct ServiceStep {
    /// The unit's full name, `redis.service`, `redis.timer`, `user` units not among them.
    #[n(0)]
    pub unit: Box<str>,
    /// When it starts by itself.
    #[n(1)]
    pub start: StartType,
    /// Whether it is started now, on a machine that runs, and must be seen running.
    #[n(2)]
    pub now: bool,
}

/// When a service starts by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum StartType {
    /// `automatic`: enabled, as its `[Install]` section says.
    #[default]
    #[n(0)]
    Automatic,
    /// `manual`: when somebody starts it.
    #[n(1)]
    Manual,
    /// `disabled`: masked; nobody can start it.
    #[n(2)]
    Disabled,
}

/// A program that is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct RunStep {
    /// The program and its arguments; no shell in between.
    #[n(0)]
    pub command: Vec<Template>,
    /// When in the package's life.
    #[n(1)]
    pub at: Hook,
    /// How it is undone.
    #[n(2)]
    pub undo: Undo,
    /// How long it may take, in seconds.
    #[n(3)]
    pub limit: u32,
    /// Whether the next step waits for its end.
    #[n(4)]
    pub wait: bool,
    /// What its exit codes mean; 0 is done and all else failed where unsaid.
    #[n(5)]
    pub exit_codes: BTreeMap<i32, ExitMeaning>,
    /// Paths it changes: saved before, put back when it is undone.
    #[n(6)]
    pub outputs: Vec<Template>,
}

/// When a `run` step runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// Among the other steps, when installing.
    #[default]
    #[n(0)]
    Install,
    /// Before anything is uninstalled.
    #[n(1)]
    BeforeUninstall,
    /// After everything is uninstalled.
    #[n(2)]
    AfterUninstall,
}

/// How a `run` step is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// Its declared outputs are put back as they were.
    #[n(0)]
    Outputs,
    /// Another command takes it back.
    #[n(1)]
    Command(#[n(0)] Vec<Template>),
    /// Nothing takes it back; people are told before it runs.
    #[n(2)]
    Irreversible,
}

/// What an exit code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum ExitMeaning {
    /// Done.
    #[n(0)]
    Done,
    /// Done, and the machine must restart.
    #[n(1)]
    Restart,
    /// Worth trying again later.
    #[n(2)]
    Retry,
    /// It did not work.
    #[n(3)]
    Failed,
}

/// A named way to run a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Program {
    /// So where the package is installed and whole.
    #[n(0)]
    pub detect: Option<Condition>,
    /// What the machine must be or have; checked before anything changes.
    #[n(1)]
    pub requires: Option<Condition>,
    /// What exit codes mean to the machine's administrator.
    #[n(2)]
    pub exit_codes: BTreeMap<i32, ExitMeaning>,
    /// How long it takes, in seconds, for maintenance windows.
    #[n(3)]
    pub estimate: Option<u32>,
}

/// A candidate of Debian's alternatives system, update-alternatives(1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Alternative {
    /// The generic name, `editor`.
    #[n(0)]
    pub name: Box<str>,
    /// The generic path, `/usr/bin/editor`.
    #[n(1)]
    pub link: Template,
    /// Our candidate.
    #[n(2)]
    pub path: Template,
    /// How much we want to be chosen.
    #[n(3)]
    pub priority: i32,
    /// Links that follow the choice: generic name, generic path, our candidate.
    #[n(4)]
    pub followers: Vec<(Box<str>, Template, Template)>,
}
