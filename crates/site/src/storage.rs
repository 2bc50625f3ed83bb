use policy::{JobRow, Key, Row};

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
}
