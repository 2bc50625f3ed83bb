//! Changes as a few statements.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

use policy::{JobKind, JobRow, Key};
use postgres::{Client, Statement, types::ToSql};

use crate::{Change, storage::phase_word};

const DELETE_JOBS: &str = "DELETE FROM job USING unnest($1::BIGINT[], $2::BIGINT[]) AS gone (a, b)
    WHERE place = a AND package = b";
const DELETE_COPIES: &str =
    "DELETE FROM copy USING unnest($1::BIGINT[], $2::BIGINT[]) AS gone (a, b)
    WHERE place = a AND package = b";
const PUT_COPIES: &str =
    "INSERT INTO copy SELECT * FROM unnest($1::BIGINT[], $2::BIGINT[], $3::TEXT[])
    ON CONFLICT (place, package) DO UPDATE SET body = excluded.body";
const PUT_JOBS: &str = "INSERT INTO job SELECT * FROM unnest($1::BIGINT[], $2::BIGINT[], $3::TEXT[], $4::BIGINT[],
        $5::BIGINT[], $6::TEXT[], $7::BIGINT[], $8::BIGINT[], $9::BIGINT[])
    ON CONFLICT (place, package) DO UPDATE SET kind = excluded.kind, epoch = excluded.epoch, version = excluded.version,
        phase = excluded.phase, attempts = excluded.attempts, until = excluded.until, fence = excluded.fence";

/// So many transactions are remembered at least, and so often older ones are forgotten.
const REMEMBERED: i64 = 16_384;
const TRIM: i64 = 1_024;

/// A connection, and what was prepared on it.
pub(super) struct Session {
    pub(super) client: Client,
    prepared: HashMap<String, Statement>,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self { client, prepared: HashMap::new() }
    }

    fn run(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<(), postgres::Error> {
        let statement = if let Some(statement) = self.prepared.get(sql) {
            statement.clone()
        } else {
            let statement = self.client.prepare(sql)?;
            self.prepared.insert(sql.to_owned(), statement.clone());
            statement
        };
        self.client.execute(&statement, params).map(drop)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// Which rows transactions wrote.
#[derive(Default, serde::Deserialize, serde::Serialize)]
#[serde(default)]
pub(super) struct Keys {
    pub(super) site: bool,
    pub(super) packages: BTreeSet<i64>,
    pub(super) places: BTreeSet<i64>,
    /// Places and packages.
    pub(super) copies: BTreeSet<(i64, i64)>,
    pub(super) facts: BTreeSet<String>,
}

impl Keys {
    pub(super) fn append(&mut self, mut other: Self) {
        self.site |= other.site;
        self.packages.append(&mut other.packages);
        self.places.append(&mut other.places);
        self.copies.append(&mut other.copies);
        self.facts.append(&mut other.facts);
    }
}

/// A copy's body and its job.
type Copy = (Option<String>, Option<JobRow>);
/// Columns of places and packages.
type Columns = (Vec<i64>, Vec<i64>);

/// Changes by table: as many statements as tables, whatever the number of rows.
#[derive(Default)]
pub(super) struct Batch {
    site: BTreeMap<(), Option<String>>,
    packages: BTreeMap<i64, Option<String>>,
    places: BTreeMap<i64, Option<String>>,
    copies: BTreeMap<(i64, i64), Copy>,
    facts: BTreeMap<String, Option<String>>,
}

impl Batch {
    pub(super) fn of(changes: &[Change]) -> Result<Self, serde_json::Error> {
        let mut batch = Self::default();
        for change in changes {
            match change {
                Change::Fact(name, value) => drop(batch.facts.insert(name.clone(), value.clone())),
                Change::Row(key, row, job) => {
                    let body = row.as_ref().map(serde_json::to_string).transpose()?;
                    match *key {
                        Key::Site => drop(batch.site.insert((), body)),
                        Key::Package(id) => drop(batch.packages.insert(id.0.into(), body)),
                        Key::Place(id) => drop(batch.places.insert(id.0.into(), body)),
                        Key::Copy(place, package) => {
                            let at = (place.0.into(), package.0.into());
                            batch.copies.insert(at, (body, *job));
                        }
                    }
                }
            }
        }
        Ok(batch)
    }

    pub(super) fn write(&self, session: &mut Session) -> Result<(), postgres::Error> {
        match self.site.get(&()) {
            None => {}
            Some(None) => session.run("DELETE FROM site", &[])?,
            Some(Some(body)) => {
                let sql = "INSERT INTO site VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET body = excluded.body";
                session.run(sql, &[body])?;
            }
        }
        numbered(session, "package", &self.packages)?;
        numbered(session, "place", &self.places)?;
        self.write_copies(session)?;
        let there = |value: &&String| Some((**value).clone());
        let (names, values): (Vec<&String>, Vec<String>) = self
            .facts
            .iter()
            .filter_map(|(name, value)| Some((name, there(&value.as_ref()?)?)))
            .unzip();
        if !names.is_empty() {
            let sql = "INSERT INTO fact SELECT * FROM unnest($1::TEXT[], $2::TEXT[])
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            session.run(sql, &[&names, &values])?;
        }
        let gone: Vec<&String> =
            self.facts.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        if !gone.is_empty() {
            session.run("DELETE FROM fact WHERE name = ANY($1::TEXT[])", &[&gone])?;
        }
        Ok(())
    }

    /// The statement that notes what this writes, for processes that know everything before. It has no parameters, so that it goes
    /// with the end of the transaction and costs no round trip.
    pub(super) fn note(&self, generation: i64) -> Result<String, serde_json::Error> {
        let keys = Keys {
            site: !self.site.is_empty(),
            packages: self.packages.keys().copied().collect(),
            places: self.places.keys().copied().collect(),
            copies: self.copies.keys().copied().collect(),
            facts: self.facts.keys().cloned().collect(),
        };
        let keys = serde_json::to_string(&keys)?.replace('\'', "''");
        let mut sql = format!("INSERT INTO change VALUES ({generation}, '{keys}')");
        if generation % TRIM == 0 {
            let kept = generation - REMEMBERED;
            let _ = write!(sql, "; DELETE FROM change WHERE generation <= {kept}");
        }
        Ok(sql)
    }

    fn write_copies(&self, session: &mut Session) -> Result<(), postgres::Error> {
        let pick = |is_so: &dyn Fn(&Copy) -> bool| -> Columns {
            self.copies.iter().filter(|(_, copy)| is_so(copy)).map(|(at, _)| *at).unzip()
        };
        let jobless = pick(&|(_, job)| job.is_none());
        if !jobless.0.is_empty() {
            session.run(DELETE_JOBS, &[&jobless.0, &jobless.1])?;
        }
        let gone = pick(&|(body, _)| body.is_none());
        if !gone.0.is_empty() {
            session.run(DELETE_COPIES, &[&gone.0, &gone.1])?;
        }
        let there = pick(&|(body, _)| body.is_some());
        if !there.0.is_empty() {
            let bodies: Vec<&String> =
                self.copies.values().filter_map(|(body, _)| body.as_ref()).collect();
            session.run(PUT_COPIES, &[&there.0, &there.1, &bodies])?;
        }
        let jobs: Vec<((i64, i64), JobRow)> = self
            .copies
            .iter()
            .filter_map(|(at, (body, job))| Some((*at, (*job).filter(|_| body.is_some())?)))
            .collect();
        if jobs.is_empty() { Ok(()) } else { put_jobs(session, &jobs) }
    }
}

fn put_jobs(session: &mut Session, jobs: &[((i64, i64), JobRow)]) -> Result<(), postgres::Error> {
    fn column<T>(jobs: &[((i64, i64), JobRow)], of: impl Fn(&JobRow) -> T) -> Vec<T> {
        jobs.iter().map(|(_, job)| of(job)).collect()
    }
    let (places, packages): (Vec<i64>, Vec<i64>) = jobs.iter().map(|(at, _)| *at).unzip();
    let wide = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let kinds = column(jobs, |job| match job.kind {
        JobKind::Complete => "complete",
        JobKind::Remove => "remove",
    });
    let epochs = column(jobs, |job| i64::from(job.version.epoch));
    let versions = column(jobs, |job| i64::from(job.version.count));
    let phases = column(jobs, |job| phase_word(job.phase));
    let attempts = column(jobs, |job| i64::from(job.attempts));
    let untils = column(jobs, |job| wide(job.until.0));
    let fences = column(jobs, |job| wide(job.fence));
    session.run(
        PUT_JOBS,
        &[&places, &packages, &kinds, &epochs, &versions, &phases, &attempts, &untils, &fences],
    )
}

/// Rows of a table whose key is one number, and whose columns are that and the body.
fn numbered(
    session: &mut Session,
    table: &str,
    rows: &BTreeMap<i64, Option<String>>,
) -> Result<(), postgres::Error> {
    let (ids, bodies): (Vec<i64>, Vec<&String>) =
        rows.iter().filter_map(|(id, body)| Some((*id, body.as_ref()?))).unzip();
    if !ids.is_empty() {
        let sql = format!(
            "INSERT INTO {table} SELECT * FROM unnest($1::BIGINT[], $2::TEXT[])
             ON CONFLICT ({table}) DO UPDATE SET body = excluded.body"
        );
        session.run(&sql, &[&ids, &bodies])?;
    }
    let gone: Vec<i64> =
        rows.iter().filter(|(_, body)| body.is_none()).map(|(id, _)| *id).collect();
    if !gone.is_empty() {
        session.run(&format!("DELETE FROM {table} WHERE {table} = ANY($1::BIGINT[])"), &[&gone])?;
    }
    Ok(())
}
