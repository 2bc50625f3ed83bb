mod batch;
pub(crate) mod presence;
mod tls;

use std::time::Duration;

use policy::{Key, PackageId, PlaceId, Row};
use postgres::{
    Client, Config, NoTls, SimpleQueryMessage, config::Host,
    fallible_iterator::FallibleIterator as _, types::ToSql,
};

use tokio_postgres_rustls::MakeRustlsConnect;

use self::batch::{Batch, Keys, Session};
use crate::{
    Change, Record, RecordKind, Records, Storage, StorageError, Tables, Turn,
    storage::{Hearing, failed},
};

/// A step of the schema; the number of steps taken is in the table `schema_steps`.
const MIGRATIONS: [&str; 4] = [
    "CREATE TABLE clock (one INTEGER PRIMARY KEY CHECK (one = 1), generation BIGINT NOT NULL, moment BIGINT NOT NULL,
        wall BIGINT NOT NULL);
     INSERT INTO clock VALUES (1, 0, 0, 0);
     CREATE TABLE site (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL);
     CREATE TABLE package (package BIGINT PRIMARY KEY, body TEXT NOT NULL);
     CREATE TABLE place (place BIGINT PRIMARY KEY, body TEXT NOT NULL);
     CREATE TABLE copy (place BIGINT NOT NULL, package BIGINT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (place, package));
     CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
     CREATE TABLE job (place BIGINT NOT NULL, package BIGINT NOT NULL, kind TEXT NOT NULL, epoch BIGINT NOT NULL,
        version BIGINT NOT NULL, phase TEXT NOT NULL, attempts BIGINT NOT NULL, until BIGINT NOT NULL,
        fence BIGINT NOT NULL, PRIMARY KEY (place, package), UNIQUE (kind, package, epoch, version, place),
        FOREIGN KEY (place, package) REFERENCES copy (place, package) DEFERRABLE INITIALLY DEFERRED);
     CREATE UNIQUE INDEX fences ON job (fence) WHERE fence > 0;",
    // What is known of clients; gone where there is no body, so that other processes hear of it.
    "CREATE TABLE records (one INTEGER PRIMARY KEY CHECK (one = 1), number BIGINT NOT NULL);
     INSERT INTO records VALUES (1, 0);
     CREATE TABLE record (kind TEXT NOT NULL, name TEXT COLLATE \"C\" NOT NULL, number BIGINT NOT NULL, body BYTEA,
        PRIMARY KEY (kind, name));
     CREATE INDEX record_numbers ON record (number) WHERE kind <> 'message';",
    // Which rows each transaction wrote: others read those, and no others. A sort of 0 is the transaction itself.
    "CREATE TABLE change (generation BIGINT NOT NULL, sort BIGINT NOT NULL, place BIGINT NOT NULL, package BIGINT NOT NULL,
        name TEXT NOT NULL);
     CREATE INDEX change_generations ON change (generation);",
    // A line for each transaction, with the keys of its rows: it costs a decision a tenth of what a line for each row did.
    "DROP TABLE change;
     CREATE TABLE change (generation BIGINT PRIMARY KEY, keys TEXT NOT NULL);",
];

/// Where processes tell each other that there is something new.
const CHANNEL: &str = "packhorse_site";

/// A process that is frozen in the middle of a transaction loses it after ten seconds; nobody waits longer than twenty.
const SETTINGS: &str = "SET idle_in_transaction_session_timeout = '10s'; SET lock_timeout = '20s';
    SET client_min_messages = warning; SET standard_conforming_strings = on; SET synchronous_commit = on; SET default_transaction_isolation = 'read committed'";

/// Tables in a PostgreSQL database. Any number of processes may be on it: whoever holds the row of the clock decides.
pub struct Postgres {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    client: Option<Session>,
    turn: Option<(Turn, i64)>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("at", &address(&self.config)).finish_non_exhaustive()
    }
}

/// Where it is, without anything secret.
fn address(config: &Config) -> String {
    let host = config.get_hosts().first().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let name = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("{}/{name}", host.unwrap_or_default())
}

impl Postgres {
    /// Connects to a database, such as `postgres://site@/top?host=/run/postgresql`, and takes its schema to the newest.
    /// With `sslrootcert=FILE` the connection is encrypted, and only a server that this authority signed, by the name in the
    /// URL, counts; over a network, without it, it is not encrypted.
    pub fn open(url: &str) -> Result<Self, StorageError> {
        let (mut config, tls) = tls::read(url)?;
        config
            .application_name("packhorse site")
            .connect_timeout(Duration::from_secs(5))
            .tcp_user_timeout(Duration::from_secs(20))
            .keepalives_idle(Duration::from_secs(10));
        let mut new = Self { config, tls, client: None, turn: None };
        let mut client = new.connect()?;
        migrate(&mut client)?;
        new.client = Some(Session::new(client));
        Ok(new)
    }

    fn connect(&self) -> Result<Client, StorageError> {
        let connected = match &self.tls {
            Some(tls) => self.config.connect(tls.clone()),
            None => self.config.connect(NoTls),
        };
        let mut client = connected.map_err(failed("connecting to it"))?;
        client.batch_execute(SETTINGS).map_err(failed("setting it up"))?;
        Ok(client)
    }

    /// A connection that lives, as far as anybody knows.
    fn client(&mut self) -> Result<&mut Client, StorageError> {
        let alive = self.client.take().filter(|session| !session.is_closed());
        let session = if let Some(session) = alive {
            session
        } else {
            let mut client = self.connect()?;
            // Somebody newer may have come meanwhile.
            known_schema(&mut client)?;
            Session::new(client)
        };
        Ok(&mut self.client.insert(session).client)
    }

    fn begin_once(&mut self) -> Result<(Turn, i64), StorageError> {
        let doing = "beginning a transaction";
        let sql = "BEGIN; SELECT generation, moment, wall, (extract(epoch FROM clock_timestamp()) * 1000)::BIGINT
             FROM clock FOR UPDATE";
        let answer = self.client()?.simple_query(sql).map_err(failed(doing))?;
        let row = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let number = |column: usize| -> Option<i64> { row?.get(column)?.parse().ok() };
        let (Some(generation), Some(moment), Some(wall), Some(now)) =
            (number(0), number(1), number(2), number(3))
        else {
            return Err(failed(doing)("there is no row of the clock"));
        };
        // A clock that was set back stands still for a moment; ours never goes back.
        let moment = moment.saturating_add(now.saturating_sub(wall).max(0));
        let turn = Turn {
            generation: generation.try_into().unwrap_or_default(),
            moment: moment.try_into().unwrap_or_default(),
        };
        Ok((turn, now))
    }

    fn write(
        &mut self,
        changes: &[Change],
        generation: u64,
        last: &str,
    ) -> Result<(), StorageError> {
        let doing = "writing";
        let Some(session) = self.client.as_mut() else { return Err(StorageError::Overtaken) };
        let batch = Batch::of(changes).map_err(failed(doing))?;
        let generation = i64::try_from(generation).unwrap_or(i64::MAX);
        let last = format!("{}; {last}", batch.note(generation).map_err(failed(doing))?);
        let written = batch.write(session).and_then(|()| session.client.batch_execute(&last));
        written.map_err(|error| {
            let _ = session.client.batch_execute("ROLLBACK");
            failed(doing)(error)
        })
    }
}

fn migrate(client: &mut Client) -> Result<(), StorageError> {
    let doing = "taking it to the newest schema";
    let mut transaction = client.transaction().map_err(failed(doing))?;
    transaction
        .batch_execute(
            "SELECT pg_advisory_xact_lock(hashtext('packhorse site schema'));
             CREATE TABLE IF NOT EXISTS schema_steps (taken BIGINT NOT NULL);",
        )
        .map_err(failed(doing))?;
    let row =
        transaction.query_opt("SELECT taken FROM schema_steps", &[]).map_err(failed(doing))?;
    let found: i64 = row.as_ref().map_or(0, |row| row.get(0));
    newer(found)?;
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or_default()) {
        transaction.batch_execute(step).map_err(failed(doing))?;
    }
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let sql = if row.is_some() {
        "UPDATE schema_steps SET taken = $1"
    } else {
        "INSERT INTO schema_steps VALUES ($1)"
    };
    transaction.execute(sql, &[&known]).map_err(failed(doing))?;
    transaction.commit().map_err(failed(doing))
}

fn newer(found: i64) -> Result<(), StorageError> {
    let (found, known) = (
        u32::try_from(found).unwrap_or(u32::MAX),
        u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX),
    );
    if found > known { Err(StorageError::Newer { found, known }) } else { Ok(()) }
}

fn known_schema(client: &mut Client) -> Result<(), StorageError> {
    let doing = "reading its schema";
    let row = client.query_one("SELECT taken FROM schema_steps", &[]).map_err(failed(doing))?;
    newer(row.get(0))
}

impl Storage for Postgres {
    fn begin(&mut self) -> Result<Turn, StorageError> {
        self.abandon();
        let begun = match self.begin_once() {
            // The connection may have ended long ago: one that is new may do.
            Err(_) if self.client.as_ref().is_none_or(Session::is_closed) => self.begin_once(),
            Err(error) => {
                // Whatever it is, no half of a transaction stays.
                self.client = None;
                Err(error)
            }
            done => done,
        }?;
        self.turn = Some(begun);
        Ok(begun.0)
    }

    fn tables(&mut self) -> Result<Tables, StorageError> {
        let doing = "reading its tables";
        let client = self.client()?;
        let mut tables = Tables::default();
        let mut read = |sql: &str, key: fn(u32, u32) -> Key| -> Result<(), StorageError> {
            let mut rows =
                client.query_raw(sql, std::iter::empty::<i64>()).map_err(failed(doing))?;
            while let Some(row) = rows.next().map_err(failed(doing))? {
                let number =
                    |column: usize| u32::try_from(row.get::<_, i64>(column)).unwrap_or(u32::MAX);
                let key = key(number(0), number(1));
                tables.rows.push((key, read_row(key, row.get(2))?));
            }
            Ok(())
        };
        read("SELECT 0::BIGINT, 0::BIGINT, body FROM site", |_, _| Key::Site)?;
        read("SELECT 0::BIGINT, package, body FROM package", |_, id| Key::Package(PackageId(id)))?;
        read("SELECT place, 0::BIGINT, body FROM place", |id, _| Key::Place(PlaceId(id)))?;
        read("SELECT place, package, body FROM copy", |place, package| {
            Key::Copy(PlaceId(place), PackageId(package))
        })?;
        let facts = client.query("SELECT name, value FROM fact", &[]).map_err(failed(doing))?;
        tables.facts = facts.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(tables)
    }

    fn changes_since(
        &mut self,
        known: u64,
        turn: Turn,
    ) -> Result<Option<Vec<Change>>, StorageError> {
        let doing = "reading what changed";
        let client = self.client()?;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (from, to) = (number(known), number(turn.generation));
        let sql = "SELECT keys FROM change WHERE generation > $1 AND generation <= $2";
        let lines = client.query(sql, &[&from, &to]).map_err(failed(doing))?;
        // A transaction that left no line was written by an older Packhorse, or is forgotten.
        if known > turn.generation || i64::try_from(lines.len()).ok() != Some(to - from) {
            return Ok(None);
        }
        let mut keys = Keys::default();
        for line in &lines {
            keys.append(serde_json::from_str(line.get(0)).map_err(failed(doing))?);
        }
        let mut changes = Vec::new();
        let mut read = |sql: &str,
                        ids: &[&(dyn ToSql + Sync)],
                        key: fn(u32, u32) -> Key|
         -> Result<(), StorageError> {
            for row in client.query(sql, ids).map_err(failed(doing))? {
                let number =
                    |column: usize| u32::try_from(row.get::<_, i64>(column)).unwrap_or(u32::MAX);
                let key = key(number(0), number(1));
                let body = row.get::<_, Option<&str>>(2);
                let body = body.map(|body| read_row(key, body)).transpose()?;
                changes.push(Change::Row(key, body, None));
            }
            Ok(())
        };
        if keys.site {
            let sql =
                "SELECT 0::BIGINT, 0::BIGINT, body FROM (SELECT) AS one LEFT JOIN site ON true";
            read(sql, &[], |_, _| Key::Site)?;
        }
        let packages: Vec<i64> = keys.packages.into_iter().collect();
        let sql = "SELECT 0::BIGINT, package, body FROM unnest($1::BIGINT[]) AS one (package)
             LEFT JOIN package USING (package)";
        read(sql, &[&packages], |_, id| Key::Package(PackageId(id)))?;
        let places: Vec<i64> = keys.places.into_iter().collect();
        let sql = "SELECT place, 0::BIGINT, body FROM unnest($1::BIGINT[]) AS one (place)
             LEFT JOIN place USING (place)";
        read(sql, &[&places], |id, _| Key::Place(PlaceId(id)))?;
        let (places, packages): (Vec<i64>, Vec<i64>) = keys.copies.into_iter().unzip();
        let sql = "SELECT place, package, body FROM unnest($1::BIGINT[], $2::BIGINT[]) AS one (place, package)
             LEFT JOIN copy USING (place, package)";
        read(sql, &[&places, &packages], |place, package| {
            Key::Copy(PlaceId(place), PackageId(package))
        })?;
        let names: Vec<String> = keys.facts.into_iter().collect();
        let sql =
            "SELECT name, value FROM unnest($1::TEXT[]) AS one (name) LEFT JOIN fact USING (name)";
        for row in client.query(sql, &[&names]).map_err(failed(doing))? {
            changes.push(Change::Fact(row.get(0), row.get(1)));
        }
        Ok(Some(changes))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
        let Some((turn, wall)) = self.turn.take() else { return Err(StorageError::Overtaken) };
        let moment = i64::try_from(turn.moment).unwrap_or(i64::MAX);
        let last = format!(
            "UPDATE clock SET generation = generation + 1, moment = {moment}, wall = {wall};
             NOTIFY {CHANNEL}, '{}'; COMMIT",
            turn.generation + 1
        );
        self.write(changes, turn.generation + 1, &last)
    }

    fn abandon(&mut self) {
        if self.turn.take().is_some()
            && let Some(session) = &mut self.client
            && session.client.batch_execute("ROLLBACK").is_err()
        {
            self.client = None;
        }
    }

    fn replace(&mut self, turn: Turn, changes: &[Change]) -> Result<(), StorageError> {
        self.begin()?;
        let Some((own, wall)) = self.turn.take() else { return Err(StorageError::Overtaken) };
        let sql = "TRUNCATE job, copy, place, package, site, fact, record, change";
        self.client()?.batch_execute(sql).map_err(failed("emptying it"))?;
        let generation = turn.generation.max(own.generation) + 1;
        let moment = i64::try_from(turn.moment.max(own.moment)).unwrap_or(i64::MAX);
        let last = format!(
            "UPDATE clock SET generation = {generation}, moment = {moment}, wall = {wall};
             NOTIFY {CHANNEL}, '{generation}'; COMMIT"
        );
        self.write(changes, generation, &last)
    }

    fn records(&mut self, since: u64) -> Result<Records, StorageError> {
        let doing = "reading its records";
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        let client = self.client()?;
        // Both are of one moment.
        let mut reading = client
            .build_transaction()
            .read_only(true)
            .isolation_level(postgres::IsolationLevel::RepeatableRead)
            .start()
            .map_err(failed(doing))?;
        let row = reading.query_one("SELECT number FROM records", &[]).map_err(failed(doing))?;
        let number = u64::try_from(row.get::<_, i64>(0)).unwrap_or_default();
        let sql = "SELECT kind, name, body FROM record WHERE number > $1 AND kind <> 'message'";
        let rows = reading.query(sql, &[&since]).map_err(failed(doing))?;
        reading.commit().map_err(failed(doing))?;
        let records = rows.iter().filter_map(|row| {
            let kind = RecordKind::of_word(row.get(0))?;
            Some(Record { kind, name: row.get(1), body: row.get(2) })
        });
        Ok(Records { number, records: records.collect() })
    }

    fn load(&mut self, each: &mut dyn FnMut(&[Record])) -> Result<u64, StorageError> {
        let doing = "reading its records";
        let client = self.client()?;
        let mut reading = client
            .build_transaction()
            .read_only(true)
            .isolation_level(postgres::IsolationLevel::RepeatableRead)
            .start()
            .map_err(failed(doing))?;
        let row = reading.query_one("SELECT number FROM records", &[]).map_err(failed(doing))?;
        let number = u64::try_from(row.get::<_, i64>(0)).unwrap_or_default();
        let sql = "SELECT name, body FROM record WHERE kind = $1 AND body IS NOT NULL";
        let statement = reading.prepare(sql).map_err(failed(doing))?;
        for kind in RecordKind::LOADED {
            let mut rows = reading.query_raw(&statement, [kind.word()]).map_err(failed(doing))?;
            let mut batch = Vec::new();
            while let Some(row) = rows.next().map_err(failed(doing))? {
                batch.push(Record { kind, name: row.get(0), body: row.get(1) });
                if batch.len() >= kind.at_once() {
                    each(&batch);
                    batch.clear();
                }
            }
            each(&batch);
        }
        reading.commit().map_err(failed(doing))?;
        Ok(number)
    }

    fn records_of(&mut self, kind: RecordKind, prefix: &str) -> Result<Vec<Record>, StorageError> {
        let doing = "reading its records";
        let sql = "SELECT name, body FROM record WHERE kind = $1 AND name >= $2 AND starts_with(name, $2) ORDER BY name";
        let rows = self.client()?.query(sql, &[&kind.word(), &prefix]).map_err(failed(doing))?;
        Ok(rows.iter().map(|row| Record { kind, name: row.get(0), body: row.get(1) }).collect())
    }

    fn record(&mut self, known: u64, records: &[Record]) -> Result<u64, StorageError> {
        let doing = "writing records";
        self.abandon();
        let client = self.client()?;
        let mut writing = client.transaction().map_err(failed(doing))?;
        let row = writing
            .query_one("SELECT number FROM records FOR UPDATE", &[])
            .map_err(failed(doing))?;
        if u64::try_from(row.get::<_, i64>(0)).unwrap_or_default() != known {
            return Err(StorageError::Overtaken);
        }
        let number = i64::try_from(known).unwrap_or(i64::MAX).saturating_add(1);
        let is_deleted = |one: &&Record| one.kind.goes_without_trace() && one.body.is_none();
        let gone = records.iter().filter(is_deleted);
        let (kinds, names): (Vec<&str>, Vec<&str>) =
            gone.map(|one| (one.kind.word(), one.name.as_str())).unzip();
        if !kinds.is_empty() {
            let sql = "DELETE FROM record USING unnest($1::TEXT[], $2::TEXT[]) AS gone (of, named)
                 WHERE kind = of AND name = named";
            writing.execute(sql, &[&kinds, &names]).map_err(failed(doing))?;
        }
        // The last of a name counts; a statement takes each name once.
        let put: std::collections::BTreeMap<(&str, &str), Option<&[u8]>> = records
            .iter()
            .filter(|one| !is_deleted(one))
            .map(|one| ((one.kind.word(), one.name.as_str()), one.body.as_deref()))
            .collect();
        let (keys, bodies): (Vec<_>, Vec<Option<&[u8]>>) = put.into_iter().unzip();
        let (kinds, names): (Vec<&str>, Vec<&str>) = keys.into_iter().unzip();
        let sql = "INSERT INTO record SELECT kind, name, $4, body
             FROM unnest($1::TEXT[], $2::TEXT[], $3::BYTEA[]) AS put (kind, name, body)
             ON CONFLICT (kind, name) DO UPDATE SET number = excluded.number, body = excluded.body";
        writing.execute(sql, &[&kinds, &names, &bodies, &number]).map_err(failed(doing))?;
        let sql = "UPDATE records SET number = $1";
        writing.execute(sql, &[&number]).map_err(failed(doing))?;
        // Others hear that there is something, and look.
        writing.batch_execute(&format!("NOTIFY {CHANNEL}, '0'")).map_err(failed(doing))?;
        writing.commit().map_err(failed(doing))?;
        Ok(known + 1)
    }

    fn check(&mut self) -> Result<Vec<String>, StorageError> {
        // Reading is all there is: PostgreSQL looks after its pages itself.
        self.tables().map(|_| Vec::new())
    }

    fn hearing(&self) -> Option<Box<dyn Hearing>> {
        let (config, tls) = (self.config.clone(), self.tls.clone());
        let of = Self { config, tls, client: None, turn: None };
        Some(Box::new(Heard { of, client: None }))
    }
}

fn read_row(key: Key, text: &str) -> Result<Row, StorageError> {
    serde_json::from_str(text).map_err(|error| StorageError::Damaged {
        key: format!("{key:?}"),
        reason: error.to_string(),
    })
}

/// A connection that only listens.
struct Heard {
    of: Postgres,
    client: Option<Client>,
}

/// How often the tables were written.
fn generation(client: &mut Client) -> Result<Option<u64>, StorageError> {
    let row =
        client.query_one("SELECT generation FROM clock", &[]).map_err(failed("listening to it"))?;
    Ok(u64::try_from(row.get::<_, i64>(0)).ok())
}

impl Hearing for Heard {
    fn next(&mut self, patience: Duration) -> Result<Option<u64>, StorageError> {
        let doing = "listening to it";
        if self.client.as_ref().is_none_or(Client::is_closed) {
            let mut client = self.of.connect()?;
            client.batch_execute(&format!("LISTEN {CHANNEL}")).map_err(failed(doing))?;
            // What was said before is read from the clock.
            let generation = generation(&mut client)?;
            self.client = Some(client);
            return Ok(generation);
        }
        let Some(client) = self.client.as_mut() else { return Ok(None) };
        let mut said = client.notifications();
        let first = said.timeout_iter(patience).next().map_err(failed(doing))?;
        let more: Vec<_> = said.iter().collect().unwrap_or_default();
        drop(said);
        if first.is_none() {
            // A line that is dead says nothing either.
            return generation(client);
        }
        let last = more.into_iter().chain(first).filter_map(|one| one.payload().parse().ok()).max();
        Ok(last)
    }
}
