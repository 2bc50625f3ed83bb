use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::Template;

/// A question about a machine in closed form: what a CEL expression of a script is translated to, so
/// that an installer needs no expression language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Always so, or never.
    #[n(0)]
    Constant(#[n(0)] bool),
    /// Not so.
    #[n(1)]
    Not(#[n(0)] Box<Condition>),
    /// All of them; the first that is not so ends the asking.
    #[n(2)]
    All(#[n(0)] Vec<Condition>),
    /// One of them; the first that is so ends the asking.
    #[n(3)]
    Any(#[n(0)] Vec<Condition>),
    /// Two values stand in this relation. Values of different kinds, or one that is missing, make it an error, never a yes.
    #[n(4)]
    Compare {
        /// The left value.
        #[n(0)]
        left: Value,
        /// The relation.
        #[n(1)]
        comparison: Comparison,
        /// The right value.
        #[n(2)]
        right: Value,
    },
    /// A value that is itself a yes or a no.
    #[n(5)]
    Holds(#[n(0)] Value),
}

/// How two values relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Comparison {
    /// `==`
    #[n(0)]
    Equal,
    /// `!=`
    #[n(1)]
    NotEqual,
    /// `<`
    #[n(2)]
    Less,
    /// `<=`
    #[n(3)]
    AtMost,
    /// `>`
    #[n(4)]
    Greater,
    /// `>=`
    #[n(5)]
    AtLeast,
}

/// A value a condition speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A text, variables in it expanded.
    #[n(0)]
    Text(#[n(0)] Template),
    /// A whole number.
    #[n(1)]
    Number(#[n(0)] i64),
    /// A yes or a no.
    #[n(2)]
    Truth(#[n(0)] bool),
    /// A text read as a version, so that it compares as one (see [`crate::Version`]).
    #[n(3)]
    Version(#[n(0)] Box<Value>),
    /// Something only the machine knows.
    #[n(4)]
    Fact(#[n(0)] Fact),
}

/// Something only the machine knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// `machine.os`: `linux` or `windows`.
    #[n(0)]
    Os,
    /// `machine.arch`: `x86_64`, `aarch64`.
    #[n(1)]
    Architecture,
    /// `machine.distribution`: the `ID` of os-release, `debian`.
    #[n(2)]
    Distribution,
    /// `machine.release`: the `VERSION_ID` of os-release, a text.
    #[n(3)]
    Release,
    /// `machine.kernel`: the kernel's release, a text.
    #[n(4)]
    Kernel,
    /// `machine.memory`: bytes of memory.
    #[n(5)]
    Memory,
    /// `machine.hostname`
    #[n(6)]
    HostName,
    /// `exists(path)`: whether anything, a dangling link too, is at the path.
    #[n(7)]
    Exists(#[n(0)] Template),
    /// `free(path)`: bytes free for us on the file system that holds, or would hold, the path.
    #[n(8)]
    FreeSpace(#[n(0)] Template),
    /// `version(file(path))`: the version of a file, by the package of ours that owns it, missing if none does.
    #[n(9)]
    FileVersion(#[n(0)] Template),
    /// `installed(name)`: the version of one of our packages, empty if it is not installed.
    #[n(10)]
    Installed(#[n(0)] Box<str>),
    /// `system_package(name)`: the version dpkg or rpm knows, empty if it is not installed.
    #[n(11)]
    SystemPackage(#[n(0)] Box<str>),
    /// `user_exists(name)`
    #[n(12)]
    UserExists(#[n(0)] Box<str>),
    /// `variable`: the value of a variable of the script, a text.
    #[n(13)]
    Variable(#[n(0)] Box<str>),
    /// `registry(key, value)`: a text of the Windows registry, empty where there is none.
    #[n(14)]
    Registry {
        /// The key.
        #[n(0)]
        key: Template,
        /// The value's name; the default value has the empty one.
        #[n(1)]
        value: Template,
    },
}
