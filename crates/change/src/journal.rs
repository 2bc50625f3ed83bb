use minicbor::{Decode, Encode};
use model::{PackageName, Time, Version};
use serde::{Deserialize, Serialize};

use crate::Intent;

/// The version of the journal's format this crate writes, and the newest it reads.
pub const JOURNAL_FORMAT: u32 = 1;

/// One record of a journal. Described in docs/formats/journal.md.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum JournalRecord {
    /// The first record: what this is about.
    #[n(0)]
    Header(#[n(0)] TransactionHeader),
    /// About to be done. Intents are numbered from 0 in the order they stand.
    #[n(1)]
    Intent(#[n(0)] Intent),
    /// Everything the intents so far need is staged and durable: renames may begin.
    #[n(2)]
    Staged,
    /// Every intent so far is done and durable.
    #[n(3)]
    Done,
    /// The new state is the true one: what is left is tidying.
    #[n(4)]
    Commit,
}

/// What a transaction is about.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct TransactionHeader {
    /// [`JOURNAL_FORMAT`] of the writer.
    #[n(0)]
    pub format: u32,
    /// Its place in the order of all transactions of the machine.
    #[n(1)]
    pub number: u64,
    /// What is done.
    #[n(2)]
    pub operation: Operation,
    /// To which package.
    #[n(3)]
    pub package: PackageName,
    /// The version installed before, if any.
    #[n(4)]
    pub from: Option<Version>,
    /// The version installed after, if any.
    #[n(5)]
    pub to: Option<Version>,
    /// When it began, by the machine's clock. Data, never an order.
    #[n(6)]
    pub began: Time,
}

/// What a transaction does to a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cbor(index_only)]
pub enum Operation {
    /// It comes.
    #[n(0)]
    Install,
    /// One version gives way to another.
    #[n(1)]
    Update,
    /// It goes.
    #[n(2)]
    Uninstall,
}
