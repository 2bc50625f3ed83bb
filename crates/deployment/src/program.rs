use minicbor::{Decode, Encode};
use model::{Condition, Hash, PackageName, Version};
use serde::{Deserialize, Serialize};

use crate::ExitMap;

/// One release of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct PackageRef {
    /// Its name.
    #[n(0)]
    pub name: PackageName,
    /// Its version.
    #[n(1)]
    pub version: Version,
    /// Its identity (docs/formats/package.md §6.3): content is held against this.
    #[n(2)]
    pub identity: Hash,
}

/// What is done with a package on a client, and how its end is understood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Program {
    /// Its name in the package: `install`.
    #[n(0)]
    pub name: Box<str>,
    /// What is done.
    #[n(1)]
    pub action: Action,
    /// On whose account.
    #[n(2)]
    pub run_as: RunAs,
    /// So where it is done already; asked before and after. It beats the exit code.
    #[n(3)]
    pub detection: Option<Condition>,
    /// What the client must be or have; *not applicable* where it is not so.
    #[n(4)]
    pub requirement: Option<Condition>,
    /// What exit codes mean.
    #[n(5)]
    pub exit_codes: ExitMap,
    /// How long it takes, in seconds; it starts only where a maintenance window is open that long.
    #[n(6)]
    pub estimate: Option<u32>,
    /// Its whole process tree is ended after so many seconds; never where unsaid.
    #[n(7)]
    pub limit: Option<u32>,
    /// What becomes of a restart.
    #[n(8)]
    pub restart: RestartRule,
    /// Whether a run that was cut off, and is not detected, may simply be run again.
    #[n(9)]
    pub rerunnable: bool,
    /// The least rate in bytes per second its content is fetched at; it waits on slower links.
    #[n(10)]
    pub least_rate: Option<u64>,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// By our own engine: planned, journalled, with a way back.
    #[n(0)]
    Package(#[n(0)] PackageAction),
    /// A program of the package's payload, or of the client.
    #[n(1)]
    Command(#[n(0)] CommandLine),
}

/// What our engine does with a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum PackageAction {
    /// It is there afterwards, in this version.
    #[n(0)]
    Install,
    /// It is gone afterwards.
    #[n(1)]
    Uninstall,
    /// What differs from its receipt is put right.
    #[n(2)]
    Repair,
}

/// How a program is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum CommandLine {
    /// The program and its arguments exactly; nothing in between reads them.
    #[n(0)]
    Direct(#[n(0)] Vec<String>),
    /// A line for the shell of the client, redirections and variables included.
    #[n(1)]
    Shell(#[n(0)] String),
}

/// On whose account a program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum RunAs {
    /// The system's.
    #[default]
    #[n(0)]
    System,
    /// That of the user it runs for.
    #[n(1)]
    User,
}

/// What becomes of a restart after a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum RestartRule {
    /// Where the exit code asks for one, it is owed and shown; a person or another deployment does it.
    #[n(0)]
    Leave,
    /// Where the exit code asks for one, after a countdown.
    #[n(1)]
    IfAsked {
        /// Seconds.
        #[n(0)]
        countdown: u32,
    },
    /// Always, after a countdown.
    #[n(2)]
    Always {
        /// Seconds.
        #[n(0)]
        countdown: u32,
    },
    /// The program does it itself: that is written down before it starts.
    #[n(3)]
    ByItself,
}

impl Program {
    /// A program that does this as the system, and says nothing about itself.
    pub fn new(name: &str, action: Action) -> Self {
        Self {
            name: name.into(),
            action,
            run_as: RunAs::System,
            detection: None,
            requirement: None,
            exit_codes: ExitMap::default(),
            estimate: None,
            limit: None,
            restart: RestartRule::Leave,
            rerunnable: false,
            least_rate: None,
        }
    }
}

impl Action {
    /// Whether it is a command without a program.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Package(_) => false,
            Self::Command(CommandLine::Direct(words)) => words.first().is_none_or(String::is_empty),
            Self::Command(CommandLine::Shell(line)) => line.trim().is_empty(),
        }
    }
}
