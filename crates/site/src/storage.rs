use std::time::Duration;

use policy::{JobRow, Key, Phase, Row};

/// Why a database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// It said no, or is not there.
    #[error("the site's database: {doing} stopped")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It was made by a newer Packhorse.
    #[error(
        "the site's database has schema {found}, and this Packhorse knows up to {known}: use a newer one"
    )]
    Newer {
        /// What it has.
        found: u32,
        /// What is known.
        known: u32,
    },
    /// A row nobody can read.
    #[error(
        "the row `{key}` of the site's database is damaged: {reason}; `packhorse site restore` takes a backup"
    )]
    Damaged {
        /// Which.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Somebody wrote in between.
    #[error("another process wrote to the site's database meanwhile")]
    Overtaken,
}

/// A transaction has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Rises with each transaction of anybody: if it is not what one wrote last, the tables are to be read again.
    pub generation: u64,
    /// Milliseconds on the steady clock of all processes on this database. It never goes back.
    pub moment: u64,
}

/// One row that changed, or went.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A row of the site's tables, and its live job if it is a copy's.
    Row(Key, Option<Row>, Option<JobRow>),
    /// Something known by name that is no part of decisions: where a point is, which version a manifest is of.
    Fact(String, Option<String>),
}

/// Everything a database has of a site.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// The site's rows.
    pub rows: Vec<(Key, Row)>,
    /// What is known by name.
    pub facts: Vec<(String, String)>,
}

/// Where a site's tables are kept. One transaction at a time, over all processes; time is the database's.
pub trait Storage: Send {
    /// Begins a transaction; others wait.
    fn begin(&mut self) -> Result<Turn, StorageError>;
    /// Everything there is, inside the transaction or outside.
    fn tables(&mut self) -> Result<Tables, StorageError>;
    /// Writes and ends the transaction: all of it or nothing, durable when this returns. The generation has risen by one.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError>;
    /// Ends the transaction without a trace.
    fn abandon(&mut self);
    /// Everything there was gives way to this, in a transaction of its own. Generation and moment go on from `turn`, if
    /// they were not further already.
    fn replace(&mut self, turn: Turn, changes: &[Change]) -> Result<(), StorageError>;
    /// Reads everything; says what is wrong.
    fn check(&mut self) -> Result<Vec<String>, StorageError>;
    /// A way to hear of what other processes write; none, if there cannot be any.
    fn hearing(&self) -> Option<Box<dyn Hearing>>;
}

/// What other processes write, as they do.
pub trait Hearing: Send {
    /// Waits until somebody wrote, at most for `patience`; the latest generation heard of.
    fn next(&mut self, patience: Duration) -> Result<Option<u64>, StorageError>;
}

pub(crate) fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    doing: &'static str,
) -> impl FnOnce(E) -> StorageError {
    move |source| StorageError::Database { doing, source: source.into() }
}

/// A phase as the job table has it.
pub(crate) fn phase_word(phase: Phase) -> String {
    format!("{phase:?}").to_lowercase()
}
