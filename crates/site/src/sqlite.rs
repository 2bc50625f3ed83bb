use std::{
    fs::{OpenOptions, Permissions},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use policy::{JobKind, JobRow, Key, PackageId, PlaceId, Row};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use crate::{
    Change, Record, RecordKind, Records, Storage, StorageError, Tables, Turn,
    storage::{Hearing, failed, phase_word},
};

/// A step of the schema; the number of steps taken is in `user_version`.
const MIGRATIONS: [&str; 3] = [
    "CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL, moment INTEGER NOT NULL,
        wall INTEGER NOT NULL);
     INSERT INTO clock VALUES (1, 0, 0, 0);
     CREATE TABLE site (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL);
     CREATE TABLE package (package INTEGER PRIMARY KEY, body TEXT NOT NULL);
     CREATE TABLE place (place INTEGER PRIMARY KEY, body TEXT NOT NULL);
     CREATE TABLE copy (place INTEGER NOT NULL, package INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (place, package)) WITHOUT ROWID;
     CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
    // At most one live job for its kind, version and place; the row says who has the lease and until when.
    "CREATE TABLE job (place INTEGER NOT NULL, package INTEGER NOT NULL, kind TEXT NOT NULL, epoch INTEGER NOT NULL,
        version INTEGER NOT NULL, phase TEXT NOT NULL, attempts INTEGER NOT NULL, until INTEGER NOT NULL,
        fence INTEGER NOT NULL, PRIMARY KEY (place, package), UNIQUE (kind, package, epoch, version, place),
        FOREIGN KEY (place, package) REFERENCES copy (place, package) DEFERRABLE INITIALLY DEFERRED) WITHOUT ROWID;
     CREATE UNIQUE INDEX fences ON job (fence) WHERE fence > 0;",
    // What is known of clients; gone where there is no body, so that other processes hear of it.
    "CREATE TABLE records (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
     INSERT INTO records VALUES (1, 0);
     CREATE TABLE record (kind TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, body BLOB,
        PRIMARY KEY (kind, name)) WITHOUT ROWID;
     CREATE INDEX record_numbers ON record (number) WHERE kind <> 'message';",
];

/// Tables in one file, written ahead and synced with each transaction.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
    turn: Option<(Turn, i64)>,
}

/// Keys are in it, too: nobody else may read it. What is there stays.
fn make_private(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let for_others = file.metadata()?.permissions().mode() & 0o077;
    if for_others == 0 {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(0o600))
}

impl Sqlite {
    /// Opens the file, made if it is not there, and takes its schema to the newest.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        make_private(path).map_err(failed("making it"))?;
        let connection = Connection::open(path).map_err(failed("opening it"))?;
        Self::new(connection)
    }

    /// Tables that are gone with the process.
    pub fn in_memory() -> Result<Self, StorageError> {
        Self::new(Connection::open_in_memory().map_err(failed("opening it"))?)
    }

    fn new(mut connection: Connection) -> Result<Self, StorageError> {
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
                 PRAGMA busy_timeout = 10000;",
            )
            .map_err(failed("setting it up"))?;
        migrate(&mut connection)?;
        Ok(Self { connection, turn: None })
    }

    /// A copy of everything in one new file, while others work.
    pub fn back_up(&self, to: &Path) -> Result<(), StorageError> {
        make_private(to).map_err(failed("the backup"))?;
        self.connection
            .execute("VACUUM INTO ?1", params![to.to_string_lossy()])
            .map(drop)
            .map_err(failed("the backup"))
    }

    fn write(&self, change: &Change) -> Result<(), rusqlite::Error> {
        let run = |sql: &str, params: &[&dyn ToSql]| {
            self.connection.prepare_cached(sql)?.execute(params).map(drop)
        };
        match change {
            Change::Fact(name, Some(value)) => {
                run("INSERT OR REPLACE INTO fact VALUES (?1, ?2)", &[name, value])
            }
            Change::Fact(name, None) => run("DELETE FROM fact WHERE name = ?1", &[name]),
            Change::Row(key, row, job) => {
                let body = row.as_ref().map(body).transpose()?;
                match (*key, body) {
                    (Key::Site, Some(body)) => {
                        run("INSERT OR REPLACE INTO site VALUES (1, ?1)", &[&body])
                    }
                    (Key::Site, None) => run("DELETE FROM site", &[]),
                    (Key::Package(id), Some(body)) => {
                        run("INSERT OR REPLACE INTO package VALUES (?1, ?2)", params![id.0, body])
                    }
                    (Key::Package(id), None) => {
                        run("DELETE FROM package WHERE package = ?1", &[&id.0])
                    }
                    (Key::Place(id), Some(body)) => {
                        run("INSERT OR REPLACE INTO place VALUES (?1, ?2)", params![id.0, body])
                    }
                    (Key::Place(id), None) => run("DELETE FROM place WHERE place = ?1", &[&id.0]),
                    (Key::Copy(place, package), body) => {
                        let at: [&dyn ToSql; 2] = [&place.0, &package.0];
                        run("DELETE FROM job WHERE place = ?1 AND package = ?2", &at)?;
                        let Some(body) = body else {
                            return run("DELETE FROM copy WHERE place = ?1 AND package = ?2", &at);
                        };
                        run(
                            "INSERT INTO copy VALUES (?1, ?2, ?3)
                             ON CONFLICT (place, package) DO UPDATE SET body = excluded.body",
                            params![place.0, package.0, body],
                        )?;
                        job.as_ref().map_or(Ok(()), |job| self.write_job(place, package, job))
                    }
                }
            }
        }
    }

    fn write_job(
        &self,
        place: PlaceId,
        package: PackageId,
        job: &JobRow,
    ) -> Result<(), rusqlite::Error> {
        let kind = match job.kind {
            JobKind::Complete => "complete",
            JobKind::Remove => "remove",
        };
        let sql = "INSERT INTO job VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let until = i64::try_from(job.until.0).unwrap_or(i64::MAX);
        let fence = i64::try_from(job.fence).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached(sql)?
            .execute(params![
                place.0,
                package.0,
                kind,
                job.version.epoch,
                job.version.count,
                phase_word(job.phase),
                job.attempts,
                until,
                fence
            ])
            .map(drop)
    }

    fn write_records(&self, number: i64, records: &[Record]) -> Result<(), rusqlite::Error> {
        let put = "INSERT INTO record VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number, body = excluded.body";
        let gone = "DELETE FROM record WHERE kind = ?1 AND name = ?2";
        for Record { kind, name, body } in records {
            let word = kind.word();
            if kind.goes_without_trace() && body.is_none() {
                self.connection.prepare_cached(gone)?.execute(params![word, name])?;
            } else {
                self.connection.prepare_cached(put)?.execute(params![word, name, number, body])?;
            }
        }
        self.connection
            .prepare_cached("UPDATE records SET number = ?1")?
            .execute(params![number])
            .map(drop)
    }

    fn rows(
        &self,
        sql: &str,
        key: impl Fn(u32, u32) -> Key,
        into: &mut Vec<(Key, Row)>,
    ) -> Result<(), StorageError> {
        let doing = "reading its tables";
        let mut statement = self.connection.prepare(sql).map_err(failed(doing))?;
        let mut rows = statement.query([]).map_err(failed(doing))?;
        while let Some(row) = rows.next().map_err(failed(doing))? {
            let get = || -> Result<(u32, u32, String), rusqlite::Error> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            };
            let (one, other, text) = get().map_err(failed(doing))?;
            let key = key(one, other);
            let row = serde_json::from_str(&text).map_err(|error| StorageError::Damaged {
                key: format!("{key:?}"),
                reason: error.to_string(),
            })?;
            into.push((key, row));
        }
        Ok(())
    }
}

fn body(row: &Row) -> Result<String, rusqlite::Error> {
    serde_json::to_string(row)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn migrate(connection: &mut Connection) -> Result<(), StorageError> {
    let doing = "taking it to the newest schema";
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found: u32 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed(doing))?;
    if found > known {
        return Err(StorageError::Newer { found, known });
    }
    for (number, step) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction().map_err(failed(doing))?;
        transaction.execute_batch(step).map_err(failed(doing))?;
        transaction.pragma_update(None, "user_version", number).map_err(failed(doing))?;
        transaction.commit().map_err(failed(doing))?;
    }
    Ok(())
}

impl Storage for Sqlite {
    fn begin(&mut self) -> Result<Turn, StorageError> {
        let doing = "beginning a transaction";
        self.abandon();
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed(doing))?;
        let sql = "SELECT generation, moment, wall, CAST(unixepoch('subsec') * 1000 AS INTEGER) FROM clock";
        let row: Option<(i64, i64, i64, i64)> = self
            .connection
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .optional()
            .map_err(failed(doing))?;
        let (generation, moment, wall, now) = row.unwrap_or_default();
        // A clock that was set back stands still for a moment; ours never goes back.
        let moment = moment.saturating_add(now.saturating_sub(wall).max(0));
        let turn = Turn {
            generation: generation.try_into().unwrap_or_default(),
            moment: moment.try_into().unwrap_or_default(),
        };
        self.turn = Some((turn, now));
        Ok(turn)
    }

    fn tables(&mut self) -> Result<Tables, StorageError> {
        let doing = "reading its tables";
        let mut tables = Tables::default();
        let rows = &mut tables.rows;
        self.rows("SELECT 0, 0, body FROM site", |_, _| Key::Site, rows)?;
        let package = |_, id| Key::Package(PackageId(id));
        self.rows("SELECT 0, package, body FROM package", package, rows)?;
        let place = |id, _| Key::Place(PlaceId(id));
        self.rows("SELECT place, 0, body FROM place", place, rows)?;
        let copy = |place, package| Key::Copy(PlaceId(place), PackageId(package));
        self.rows("SELECT place, package, body FROM copy", copy, rows)?;
        let mut statement =
            self.connection.prepare("SELECT name, value FROM fact").map_err(failed(doing))?;
        let facts =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed(doing))?;
        tables.facts = facts.collect::<Result<_, _>>().map_err(failed(doing))?;
        Ok(tables)
    }

    fn changes_since(&mut self, _: u64, _: Turn) -> Result<Option<Vec<Change>>, StorageError> {
        // One process has it, and knows.
        Ok(None)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let doing = "writing";
        let Some((turn, wall)) = self.turn.take() else { return Err(StorageError::Overtaken) };
        let written = changes.iter().try_for_each(|change| self.write(change)).and_then(|()| {
            let sql = "UPDATE clock SET generation = generation + 1, moment = ?1, wall = ?2";
            let moment = i64::try_from(turn.moment).unwrap_or(i64::MAX);
            self.connection.prepare_cached(sql)?.execute(params![moment, wall])?;
            self.connection.execute_batch("COMMIT")
        });
        written.map_err(|error| {
            let _ = self.connection.execute_batch("ROLLBACK");
            failed(doing)(error)
        })
    }

    fn abandon(&mut self) {
        if self.turn.take().is_some() {
            // If even this fails, the next begin says so.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    fn replace(&mut self, turn: Turn, changes: &[Change]) -> Result<(), StorageError> {
        let doing = "replacing everything";
        let own = self.begin()?;
        let emptied = self.connection.execute_batch(
            "DELETE FROM job; DELETE FROM copy; DELETE FROM place; DELETE FROM package; DELETE FROM site; DELETE FROM fact;
             DELETE FROM record;",
        );
        if let Err(error) = emptied {
            self.abandon();
            return Err(failed(doing)(error));
        }
        let generation = i64::try_from(turn.generation.max(own.generation)).unwrap_or(i64::MAX);
        let set = self.connection.execute("UPDATE clock SET generation = ?1", params![generation]);
        if let Err(error) = set {
            self.abandon();
            return Err(failed(doing)(error));
        }
        if let Some((own, _)) = &mut self.turn {
            own.moment = own.moment.max(turn.moment);
        }
        self.commit(changes)
    }

    fn records(&mut self, since: u64) -> Result<Records, StorageError> {
        let doing = "reading its records";
        // Both are of one moment.
        let reading = self.connection.transaction().map_err(failed(doing))?;
        let number: i64 = reading
            .query_row("SELECT number FROM records", [], |row| row.get(0))
            .map_err(failed(doing))?;
        let sql = "SELECT kind, name, body FROM record WHERE number > ?1 AND kind <> 'message'";
        let records = {
            let mut statement = reading.prepare_cached(sql).map_err(failed(doing))?;
            let since = i64::try_from(since).unwrap_or(i64::MAX);
            let rows = statement
                .query_map(params![since], |row| {
                    let (kind, name, body) = (row.get::<_, String>(0)?, row.get(1)?, row.get(2)?);
                    Ok(RecordKind::of_word(&kind).map(|kind| Record { kind, name, body }))
                })
                .map_err(failed(doing))?;
            rows.collect::<Result<Vec<_>, _>>().map_err(failed(doing))?
        };
        let number = number.try_into().unwrap_or_default();
        // Of a kind a newer one writes nothing is known here.
        Ok(Records { number, records: records.into_iter().flatten().collect() })
    }

    fn load(&mut self, each: &mut dyn FnMut(&[Record])) -> Result<u64, StorageError> {
        let doing = "reading its records";
        let reading = self.connection.transaction().map_err(failed(doing))?;
        let number: i64 = reading
            .query_row("SELECT number FROM records", [], |row| row.get(0))
            .map_err(failed(doing))?;
        let sql = "SELECT name, body FROM record WHERE kind = ?1 AND body IS NOT NULL";
        let mut statement = reading.prepare_cached(sql).map_err(failed(doing))?;
        for kind in RecordKind::LOADED {
            let mut rows = statement.query(params![kind.word()]).map_err(failed(doing))?;
            let mut batch = Vec::new();
            while let Some(row) = rows.next().map_err(failed(doing))? {
                let name = row.get(0).map_err(failed(doing))?;
                let body = row.get(1).map_err(failed(doing))?;
                batch.push(Record { kind, name, body });
                if batch.len() >= kind.at_once() {
                    each(&batch);
                    batch.clear();
                }
            }
            each(&batch);
        }
        Ok(number.try_into().unwrap_or_default())
    }

    fn records_of(&mut self, kind: RecordKind, prefix: &str) -> Result<Vec<Record>, StorageError> {
        let doing = "reading its records";
        let sql = "SELECT name, body FROM record WHERE kind = ?1 AND name >= ?2 AND substr(name, 1, length(?2)) = ?2
             ORDER BY name";
        let mut statement = self.connection.prepare_cached(sql).map_err(failed(doing))?;
        let rows = statement
            .query_map(params![kind.word(), prefix], |row| {
                Ok(Record { kind, name: row.get(0)?, body: row.get(1)? })
            })
            .map_err(failed(doing))?;
        let rows: Result<Vec<Record>, _> = rows.collect();
        rows.map_err(failed(doing))
    }

    fn record(&mut self, known: u64, records: &[Record]) -> Result<u64, StorageError> {
        let doing = "writing records";
        self.abandon();
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed(doing))?;
        let end = |how: &str| self.connection.execute_batch(how);
        let held: Result<i64, _> =
            self.connection.query_row("SELECT number FROM records", [], |row| row.get(0));
        let held = held.map(|held| u64::try_from(held).unwrap_or_default());
        match held {
            Ok(held) if held == known => {}
            held => {
                let _ = end("ROLLBACK");
                return Err(held.map_or_else(failed(doing), |_| StorageError::Overtaken));
            }
        }
        let number = i64::try_from(known).unwrap_or(i64::MAX).saturating_add(1);
        let written = self.write_records(number, records).and_then(|()| end("COMMIT"));
        written.map_err(|error| {
            let _ = end("ROLLBACK");
            failed(doing)(error)
        })?;
        Ok(known + 1)
    }

    fn check(&mut self) -> Result<Vec<String>, StorageError> {
        let doing = "the check";
        let mut statement =
            self.connection.prepare("PRAGMA integrity_check").map_err(failed(doing))?;
        let lines = statement.query_map([], |row| row.get(0)).map_err(failed(doing))?;
        let lines: Result<Vec<String>, _> = lines.collect();
        Ok(lines.map_err(failed(doing))?.into_iter().filter(|line| line != "ok").collect())
    }

    fn hearing(&self) -> Option<Box<dyn Hearing>> {
        None
    }
}
