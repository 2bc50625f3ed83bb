//! Which processes are on a database: each holds a lock of the database, which ends with its connection.

use std::time::{Duration, Instant};

use postgres::Client;

use super::{Postgres, address};
use crate::{StorageError, storage::failed};

/// The lock that processes share, as the database has it: `packhors`.
const LOCK: i64 = 0x7061_636b_686f_7273;
/// To have a database alone is hoped for so long.
const HOPE: Duration = Duration::from_secs(1);
/// Between two tries.
const BREATH: Duration = Duration::from_millis(50);

/// The part of one process, until it is let go of.
pub(crate) struct OnDatabase {
    of: Postgres,
    client: Client,
}

impl std::fmt::Debug for OnDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnDatabase").field("of", &self.of).finish_non_exhaustive()
    }
}

fn ask(client: &mut Client, function: &str) -> Result<bool, StorageError> {
    let sql = format!("SELECT {function}({LOCK})");
    let row = client.query_one(&sql, &[]).map_err(failed("locking it"))?;
    Ok(row.try_get(0).unwrap_or(true))
}

impl OnDatabase {
    /// Takes part; with it, whether nobody else does, and until [`OnDatabase::open_up`] nobody else can. To have it alone is
    /// hoped for a moment: the connection of one that was killed ends a little later. None, if somebody has it alone for longer
    /// than `patience`.
    pub(crate) fn enter(
        url: &str,
        patience: Duration,
    ) -> Result<Option<(Self, bool)>, StorageError> {
        let mut of = Postgres::open(url)?;
        // One connection is enough.
        of.client = None;
        let mut client = of.connect()?;
        let began = Instant::now();
        loop {
            if ask(&mut client, "pg_try_advisory_lock")? {
                return Ok(Some((Self { of, client }, true)));
            }
            if began.elapsed() >= HOPE && ask(&mut client, "pg_try_advisory_lock_shared")? {
                return Ok(Some((Self { of, client }, false)));
            }
            if began.elapsed() >= HOPE.max(patience) {
                return Ok(None);
            }
            std::thread::park_timeout(BREATH);
        }
    }

    /// Where it is, without anything secret.
    pub(crate) fn address(&self) -> String {
        address(&self.of.config)
    }

    /// Lets others in.
    pub(crate) fn open_up(&mut self) -> Result<(), StorageError> {
        ask(&mut self.client, "pg_try_advisory_lock_shared")?;
        ask(&mut self.client, "pg_advisory_unlock").map(drop)
    }

    /// Takes part again, where the connection was lost; whether it does now. Somebody who has the database alone for a moment is
    /// left to it.
    pub(crate) fn keep(&mut self) -> Result<bool, StorageError> {
        if self.client.batch_execute("SELECT 1").is_ok() {
            return Ok(true);
        }
        let mut client = self.of.connect()?;
        let is_in = ask(&mut client, "pg_try_advisory_lock_shared")?;
        if is_in {
            self.client = client;
        }
        Ok(is_in)
    }
}
