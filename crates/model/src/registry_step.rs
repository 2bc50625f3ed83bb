//! Steps that change what a Windows machine keeps apart from its files.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::Template;

/// Changes to one registry key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct RegistryStep {
    /// The key, `HKLM\SOFTWARE\X`; it comes to be, empty if no values follow.
    #[n(0)]
    pub key: Template,
    /// What becomes of its values, by name; the default value has the empty name.
    #[n(1)]
    pub values: Vec<(Template, ValueEdit)>,
    /// Whether the key goes, with all below it.
    #[n(2)]
    pub remove: bool,
}

/// A library that registers itself: what it writes into the registry when it is asked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct LibraryStep {
    /// The library, where it is installed.
    #[n(0)]
    pub file: Template,
    /// Whether an installation goes on without it when it does not register.
    #[n(1)]
    pub optional: bool,
}

/// What becomes of a registry value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum ValueEdit {
    /// `"text"`: `REG_SZ`.
    #[n(0)]
    Text(#[n(0)] Template),
    /// `{ expand = "%PATH%" }`: `REG_EXPAND_SZ`, kept unexpanded.
    #[n(1)]
    Expand(#[n(0)] Template),
    /// `{ list = ["a", "b"] }`: `REG_MULTI_SZ`.
    #[n(2)]
    List(#[n(0)] Vec<Template>),
    /// `{ dword = 3 }`: `REG_DWORD`.
    #[n(3)]
    Dword(#[n(0)] u32),
    /// `{ qword = 3 }`: `REG_QWORD`.
    #[n(4)]
    Qword(#[n(0)] u64),
    /// `{ type = 3, data = "00ff" }`: any type, and its bytes as they are.
    #[n(5)]
    Raw {
        /// The type's number.
        #[n(0)]
        kind: u32,
        /// The bytes.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        data: Vec<u8>,
    },
    /// It goes.
    #[n(6)]
    Remove,
    /// `{ add = ['${prefix}\bin'] }`: texts of a list divided by `;`, like `Path`, each once.
    #[n(7)]
    AddToPath(#[n(0)] Vec<Template>),
}

/// A Windows service or driver that comes to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct SetupStep {
    /// Its name.
    #[n(0)]
    pub name: Box<str>,
    /// Its command line, or a driver's file.
    #[n(1)]
    pub program: Template,
    /// The number of its kind; 16 is a program of its own.
    #[n(2)]
    pub kind: u32,
    /// When it starts.
    #[n(3)]
    pub start: ServiceStart,
    /// What people see; empty is its name.
    #[n(4)]
    pub display_name: String,
    /// One sentence about it.
    #[n(5)]
    pub description: String,
    /// Who it runs as; empty is the machine itself.
    #[n(6)]
    pub account: String,
    /// Services, and groups behind a `+`, it needs.
    #[n(7)]
    pub dependencies: Vec<String>,
    /// Whether it is started now.
    #[n(8)]
    pub now: bool,
    /// What follows when it fails.
    #[n(9)]
    pub recovery: Option<Box<Recovery>>,
    /// The command line of [`Failure::Run`].
    #[n(10)]
    pub recovery_command: Option<Template>,
}

/// What follows when a service fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Recovery {
    /// After the first failure, the second, and so on; after the last of them, the last again.
    #[n(0)]
    pub actions: Vec<RecoveryAction>,
    /// Seconds without a failure after which the next is the first again; `None` is never.
    #[n(1)]
    pub reset: Option<u32>,
    /// What people are told before the machine restarts.
    #[n(2)]
    pub message: String,
    /// Whether an end with an error is a failure too, and not a crash alone.
    #[n(3)]
    pub errors_too: bool,
}

/// One thing that follows, and after how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct RecoveryAction {
    /// What is done.
    #[n(0)]
    pub failure: Failure,
    /// Milliseconds after the failure.
    #[n(1)]
    pub delay: u32,
}

/// What is done when a service failed, by the service control manager's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// `nothing`
    #[default]
    #[n(0)]
    Nothing,
    /// `restart`: the service starts again.
    #[n(1)]
    Restart,
    /// `reboot`: the machine starts again.
    #[n(2)]
    Reboot,
    /// `run`: a program runs.
    #[n(3)]
    Run,
}

impl Failure {
    /// All of them, by their numbers.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Restart, Self::Reboot, Self::Run];
}

impl SetupStep {
    /// Whether it is a driver: the kernel's own, which neither recovers nor starts late.
    pub fn is_driver(&self) -> bool {
        self.kind & 0b1011 != 0
    }
}

/// When a Windows service starts, by the service control manager's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceStart {
    /// `boot`: a driver the loader needs.
    #[n(0)]
    Boot,
    /// `system`: a driver the kernel needs.
    #[n(1)]
    System,
    /// `automatic`: with the machine.
    #[default]
    #[n(2)]
    Automatic,
    /// `manual`: when somebody starts it.
    #[n(3)]
    Manual,
    /// `disabled`: never.
    #[n(4)]
    Disabled,
    /// `delayed`: with the machine, after the others.
    #[n(5)]
    Delayed,
}

impl ServiceStart {
    /// The service control manager's number; one that starts late is an automatic one to it.
    pub fn number(self) -> u32 {
        match self {
            Self::Delayed => Self::Automatic as u32,
            other => other as u32,
        }
    }
}
