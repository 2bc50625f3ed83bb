use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use model::{
    AccountStep, Alternative, Architecture, Condition, EditStep, Export, LibraryStep, Meta,
    PackageName, Program, RegistryStep, ReplaceRule, RunStep, ServiceStep, SetupStep, TaskStep,
    Template, Users, Variable, Version,
};
use serde::{Deserialize, Serialize};

/// What a package is and does, whole but for its payload: small, and read first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Header {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// Its version.
    #[n(1)]
    pub version: Version,
    /// The machines it is for.
    #[n(2)]
    pub architecture: Architecture,
    /// One line for lists; may be empty.
    #[n(3)]
    pub summary: String,
    /// Patterns over target paths of files an administrator may change.
    #[n(4)]
    pub configuration: Vec<String>,
    /// Patterns over target paths of what the program makes for itself and nobody misses.
    #[n(5)]
    pub generated: Vec<Template>,
    /// Variables by name.
    #[n(6)]
    pub variables: BTreeMap<Box<str>, Variable>,
    /// Where the payload goes; a [`Record`](crate::Record) names its tree by position.
    #[n(7)]
    pub trees: Vec<Tree>,
    /// What to do, in order.
    #[n(8)]
    pub steps: Vec<Step>,
    /// Named ways to run the package.
    #[n(9)]
    pub programs: BTreeMap<Box<str>, Program>,
    /// How much payload there is.
    #[n(10)]
    pub totals: Totals,
    /// What a .deb or .rpm says beside, if anything.
    #[n(11)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Box<Export>>,
}

/// A root of payload entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Tree {
    /// Where its root entry, the record with the empty path, goes.
    #[n(0)]
    pub to: Template,
    /// What happens where something is already.
    #[n(1)]
    pub replace: ReplaceRule,
    /// The version of its files, if they have one of their own.
    #[n(2)]
    pub version: Option<Version>,
}

/// One thing to do, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Step {
    /// The step is left out where this is not so.
    #[n(0)]
    pub when: Option<Condition>,
    /// What to do.
    #[n(1)]
    pub action: Action,
    /// Whose part it changes, where every user has one; `None` is whoever installs.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<Users>>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The entries of the tree at this position come to be.
    #[n(0)]
    Tree(#[n(0)] u32),
    /// What is at the path goes, with all below it.
    #[n(1)]
    Remove {
        /// What goes.
        #[n(0)]
        path: Template,
    },
    /// Metadata of something that is there already.
    #[n(2)]
    SetMetadata {
        /// What changes.
        #[n(0)]
        path: Template,
        /// All it shall have.
        #[n(1)]
        meta: Box<Meta>,
    },
    /// A text file shared with others.
    #[n(3)]
    Edit(#[n(0)] EditStep),
    /// Users and groups.
    #[n(4)]
    Account(#[n(0)] AccountStep),
    /// A systemd unit.
    #[n(5)]
    Service(#[n(0)] ServiceStep),
    /// A candidate of the alternatives system.
    #[n(6)]
    Alternative(#[n(0)] Alternative),
    /// Something derived is made anew, by a known trigger's name.
    #[n(7)]
    Trigger(#[n(0)] Box<str>),
    /// A program.
    #[n(8)]
    Run(#[n(0)] RunStep),
    /// A registry key and its values.
    #[n(9)]
    Registry(#[n(0)] RegistryStep),
    /// A Windows service or driver.
    #[n(10)]
    Setup(#[n(0)] SetupStep),
    /// A scheduled task of Windows.
    #[n(11)]
    Task(#[n(0)] TaskStep),
    /// A library of Windows registers itself.
    #[n(12)]
    Library(#[n(0)] LibraryStep),
}

/// How much payload a package has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Totals {
    /// Records of all kinds.
    #[n(0)]
    pub records: u64,
    /// Regular files, further names of hard links not counted.
    #[n(1)]
    pub files: u64,
    /// Bytes of data in regular files, holes not counted.
    #[n(2)]
    pub bytes: u64,
}
