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

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// A client.
    Client,
    /// What a client reported of itself.
    Inventory,
    /// A deployment.
    Deployment,
    /// How a deployment reaches its clients.
    Rollout,
    /// A collection.
    Collection,
    /// A maintenance window.
    Window,
    /// How clients behave.
    Settings,
    /// What is known of a rollout on one client.
    Offer,
    /// When clients were heard of.
    Seen,
    /// A process of the site that listens to clients.
    Process,
    /// A token a machine becomes a client with.
    Token,
    /// A machine that asks to be a client.
    Request,
    /// Something a client said. Read by name alone.
    Message,
}

impl RecordKind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Client,
        Self::Inventory,
        Self::Deployment,
        Self::Rollout,
        Self::Collection,
        Self::Window,
        Self::Settings,
        Self::Offer,
        Self::Seen,
        Self::Process,
        Self::Token,
        Self::Request,
        Self::Message,
    ];

    /// Those that are loaded, in an order in which each comes after what it is about.
    pub(crate) const LOADED: [Self; 12] = [
        Self::Collection,
        Self::Inventory,
        Self::Client,
        Self::Deployment,
        Self::Rollout,
        Self::Window,
        Self::Settings,
        Self::Seen,
        Self::Process,
        Self::Token,
        Self::Request,
        Self::Offer,
    ];

    /// How many of a kind are loaded at once: of what there may be very much, a part.
    pub(crate) fn at_once(self) -> usize {
        match self {
            Self::Inventory | Self::Client | Self::Offer => 1_000,
            _ => usize::MAX,
        }
    }

    /// As the database has it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Inventory => "inventory",
            Self::Deployment => "deployment",
            Self::Rollout => "rollout",
            Self::Collection => "collection",
            Self::Window => "window",
            Self::Settings => "settings",
            Self::Offer => "offer",
            Self::Seen => "seen",
            Self::Process => "process",
            Self::Token => "token",
            Self::Request => "request",
            Self::Message => "message",
        }
    }

    /// Whether nothing stays of one that is gone: others hear of it by what it belonged to, or need not.
    pub(crate) fn goes_without_trace(self) -> bool {
        matches!(self, Self::Message | Self::Offer | Self::Process)
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Something a site knows of its clients, under a name of its kind; without a body it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub kind: RecordKind,
    /// Its name.
    pub name: String,
    /// What it says.
    pub body: Option<Vec<u8>>,
}

/// Records that were written, and the number up to which these are all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// One more with each transaction that wrote any.
    pub number: u64,
    /// The newest of each name.
    pub records: Vec<Record>,
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
    /// What was written after the transaction `known`, up to that of `turn`, which is the one under way; nothing, if the database does not
    /// remember as much: then [`Storage::tables`] has it. Jobs are not told.
    fn changes_since(
        &mut self,
        known: u64,
        turn: Turn,
    ) -> Result<Option<Vec<Change>>, StorageError>;
    /// Writes and ends the transaction: all of it or nothing, durable when this returns. The generation has risen by one.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError>;
    /// Ends the transaction without a trace.
    fn abandon(&mut self);
    /// Everything there was gives way to this, in a transaction of its own. Generation and moment go on from `turn`, if
    /// they were not further already.
    fn replace(&mut self, turn: Turn, changes: &[Change]) -> Result<(), StorageError>;
    /// Records that were written after the transaction `since`, those that are gone included; all but messages. Outside of
    /// transactions.
    fn records(&mut self, since: u64) -> Result<Records, StorageError>;
    /// Reads all records that are there, but for messages: of one moment, kind by kind in an order in which each comes after what
    /// it is about, of what there may be very much a part at a time. Gives the number up to which these are all.
    fn load(&mut self, each: &mut dyn FnMut(&[Record])) -> Result<u64, StorageError>;
    /// Records of a kind whose names begin so, in the order of their names. Outside of transactions.
    fn records_of(&mut self, kind: RecordKind, prefix: &str) -> Result<Vec<Record>, StorageError>;
    /// Writes records in a transaction of their own, durable when this returns: all of them or none. If somebody wrote records
    /// after the transaction `known`, nothing is written, and it was [`StorageError::Overtaken`]. Answers the new number.
    fn record(&mut self, known: u64, records: &[Record]) -> Result<u64, StorageError>;
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
