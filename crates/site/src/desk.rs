use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use policy::{Effect, Event, Key, Moment, Now, Refused, Settings, Site, SiteCode};

use crate::{Change, RecordKind, SiteError, Storage, Turn, storage::Hearing};

/// What is known by name and changes along with an event.
pub type Facts = Vec<(String, Option<String>)>;
/// What follows from an event.
pub type Decided = Result<Vec<Effect>, Refused>;

/// Where events become decisions: one transaction for those that wait.
pub struct Desk {
    storage: Box<dyn Storage>,
    settings: Settings,
    site: Site,
    facts: BTreeMap<String, String>,
    /// What the database's generation is if nobody else wrote; nothing, if ours did not come to its end.
    generation: Option<u64>,
    moment: u64,
    looked: Instant,
}

impl Desk {
    /// Writes the first rows of a site into an empty database.
    pub fn found(storage: &mut dyn Storage, code: SiteCode) -> Result<(), SiteError> {
        storage.begin()?;
        if storage.tables()?.rows.iter().any(|(key, _)| *key == Key::Site) {
            storage.abandon();
            return Err(SiteError::Exists);
        }
        let site = Site::new(code, None, Settings::default());
        let changes: Vec<Change> =
            site.keys().map(|key| Change::Row(key, site.row(key), None)).collect();
        storage.commit(&changes)?;
        Ok(())
    }

    /// Everything one database has, in place of all that another had.
    pub(crate) fn copy(from: &mut dyn Storage, to: &mut dyn Storage) -> Result<(), SiteError> {
        let turn = from.begin()?;
        let tables = from.tables();
        from.abandon();
        let tables = tables?;
        let site = Site::from_rows(Settings::default(), tables.rows)?;
        let rows = site.keys().map(|key| {
            let job = match key {
                Key::Copy(place, package) => site.job(place, package),
                _ => None,
            };
            Change::Row(key, site.row(key), job)
        });
        let facts = tables.facts.into_iter().map(|(name, value)| Change::Fact(name, Some(value)));
        let changes: Vec<Change> = rows.chain(facts).collect();
        to.replace(turn, &changes)?;
        let known = to.records(u64::MAX)?.number;
        let mut records = from.records(0)?.records;
        records.extend(from.records_of(RecordKind::Message, "")?);
        to.record(known, &records)?;
        Ok(())
    }

    /// The site that is in a database.
    pub fn open(mut storage: Box<dyn Storage>, settings: Settings) -> Result<Self, SiteError> {
        let turn = storage.begin()?;
        let tables = storage.tables();
        storage.abandon();
        let tables = tables?;
        let site = Site::from_rows(settings, tables.rows)?;
        let facts = tables.facts.into_iter().collect();
        let generation = Some(turn.generation);
        Ok(Self {
            storage,
            settings,
            site,
            facts,
            generation,
            moment: turn.moment,
            looked: Instant::now(),
        })
    }

    /// What is decided upon.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The same, once the tables have it: nothing else is told to anybody who remembers.
    pub fn durable(&mut self) -> Result<&Site, SiteError> {
        if self.generation.is_none() {
            let turn = self.begin()?;
            self.storage.abandon();
            self.generation = Some(turn.generation);
        }
        Ok(&self.site)
    }

    /// Something known by name.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts.get(name).map(String::as_str)
    }

    /// Everything known by name.
    pub fn facts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.facts.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The database's moment.
    pub fn moment(&self) -> Moment {
        Moment(self.event_moment())
    }

    /// The database's moment now, as far as it is known without asking: that of the last transaction, and the time
    /// since.
    pub(crate) fn event_moment(&self) -> u64 {
        let since = u64::try_from(self.looked.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moment.saturating_add(since)
    }

    /// What follows from an event. When this returns, everything that changed is durable.
    pub fn event(&mut self, event: Event) -> Result<Vec<Effect>, SiteError> {
        self.event_with(event, Vec::new())
    }

    /// The same, with facts that change along.
    pub fn event_with(&mut self, event: Event, facts: Facts) -> Result<Vec<Effect>, SiteError> {
        let decided = self.events(vec![(event, facts)])?.pop();
        Ok(decided.unwrap_or(Ok(Vec::new()))?)
    }

    /// What follows from several events, each on its own, in one transaction. One that is refused changes nothing.
    pub fn events(&mut self, events: Vec<(Event, Facts)>) -> Result<Vec<Decided>, SiteError> {
        let turn = self.begin()?;
        let mut all = Vec::new();
        let mut known = Vec::new();
        for (event, facts) in events {
            let now = Now { at: Moment(turn.moment), dice: dice() };
            let decided = self.site.next(now, event);
            if decided.is_ok() {
                known.extend(facts);
            }
            all.push(decided);
        }
        let changes = self.changes(all.iter().flatten().flatten(), &known);
        if changes.is_empty() {
            self.storage.abandon();
            self.generation = Some(turn.generation);
            return Ok(all);
        }
        // Until it is known to be durable, what is in memory is ahead of the tables.
        self.generation = None;
        self.storage.commit(&changes)?;
        self.generation = Some(turn.generation + 1);
        self.know(known);
        Ok(all)
    }

    /// Facts that change without an event.
    pub fn keep(&mut self, facts: Vec<(String, Option<String>)>) -> Result<(), SiteError> {
        self.keep_after(|_| Ok(((), facts)))
    }

    /// The same, where which facts follows from what the tables have, in the same transaction.
    pub(crate) fn keep_after<T>(
        &mut self,
        decide: impl FnOnce(&Self) -> Result<(T, Vec<(String, Option<String>)>), SiteError>,
    ) -> Result<T, SiteError> {
        let turn = self.begin()?;
        let (answer, facts) = match decide(self) {
            Ok(decided) => decided,
            Err(error) => {
                self.storage.abandon();
                self.generation = Some(turn.generation);
                return Err(error);
            }
        };
        self.generation = None;
        self.storage.commit(&self.changes([], &facts))?;
        self.generation = Some(turn.generation + 1);
        self.know(facts);
        Ok(answer)
    }

    /// Begins a transaction; what others wrote is known then.
    fn begin(&mut self) -> Result<Turn, SiteError> {
        let turn = self.storage.begin()?;
        if self.generation != Some(turn.generation) && !self.read_changes(turn)? {
            self.read_again()?;
        }
        (self.moment, self.looked) = (turn.moment, Instant::now());
        Ok(turn)
    }

    /// Reads what others wrote, if it is not known yet that the tables are at `generation`; whether it was not.
    pub(crate) fn catch_up(&mut self, generation: u64) -> Result<bool, SiteError> {
        if self.generation.is_some_and(|known| known >= generation) {
            return Ok(false);
        }
        let turn = self.begin()?;
        self.storage.abandon();
        self.generation = Some(turn.generation);
        Ok(true)
    }

    /// A way to hear of what other processes write.
    pub(crate) fn hearing(&self) -> Option<Box<dyn Hearing>> {
        self.storage.hearing()
    }

    fn know(&mut self, facts: Vec<(String, Option<String>)>) {
        for (name, value) in facts {
            match value {
                Some(value) => drop(self.facts.insert(name, value)),
                None => drop(self.facts.remove(&name)),
            }
        }
    }

    fn changes<'e>(
        &self,
        effects: impl IntoIterator<Item = &'e Effect>,
        facts: &[(String, Option<String>)],
    ) -> Vec<Change> {
        let keys: BTreeSet<Key> = effects
            .into_iter()
            .filter_map(|effect| match effect {
                Effect::Keep(key) => Some(*key),
                _ => None,
            })
            .collect();
        let rows = keys.into_iter().map(|key| {
            let job = match key {
                Key::Copy(place, package) => self.site.job(place, package),
                _ => None,
            };
            Change::Row(key, self.site.row(key), job)
        });
        let facts = facts.iter().map(|(name, value)| Change::Fact(name.clone(), value.clone()));
        rows.chain(facts).collect()
    }

    /// Reads what others wrote since this knew everything, if the database can say; whether it could.
    fn read_changes(&mut self, turn: Turn) -> Result<bool, SiteError> {
        let Some(known) = self.generation.take() else { return Ok(false) };
        let changes = match self.storage.changes_since(known, turn) {
            Ok(Some(changes)) => changes,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.storage.abandon();
                return Err(error.into());
            }
        };
        let (mut rows, mut facts) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Row(key, row, _) => rows.push((key, row)),
                Change::Fact(name, value) => facts.push((name, value)),
            }
        }
        self.know(facts);
        // Rows that do not fit those that are known: all of them are read.
        Ok(self.site.take_rows(rows).is_ok())
    }

    fn read_again(&mut self) -> Result<(), SiteError> {
        self.generation = None;
        let read = self.storage.tables().map_err(SiteError::from).and_then(|tables| {
            let site = Site::from_rows(self.settings, tables.rows)?;
            Ok((site, tables.facts.into_iter().collect()))
        });
        match read {
            Ok((mut site, facts)) => {
                site.remember_room(&self.site);
                (self.site, self.facts) = (site, facts);
                Ok(())
            }
            Err(error) => {
                self.storage.abandon();
                Err(error)
            }
        }
    }
}

/// Sixty-four even bits.
fn dice() -> u64 {
    let mut bytes = [0; 8];
    // Before the kernel has any, pauses are less spread for a moment.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    use model::{Hash, PackageName};
    use policy::{Event, Features, Key, Settings, SiteCode};

    use super::Desk;
    use crate::{
        Change, Record, RecordKind, Records, Sqlite, Storage, StorageError, Tables, Turn,
        storage::Hearing,
    };

    /// A database whose disk may be full.
    struct Disk(Sqlite, Arc<AtomicBool>);

    impl Storage for Disk {
        fn begin(&mut self) -> Result<Turn, StorageError> {
            self.0.begin()
        }

        fn tables(&mut self) -> Result<Tables, StorageError> {
            self.0.tables()
        }

        fn changes_since(
            &mut self,
            known: u64,
            turn: Turn,
        ) -> Result<Option<Vec<Change>>, StorageError> {
            self.0.changes_since(known, turn)
        }

        fn commit(&mut self, changes: &[Change]) -> Result<(), StorageError> {
            if self.1.load(Ordering::Relaxed) {
                self.0.abandon();
                let source = std::io::Error::from(std::io::ErrorKind::StorageFull).into();
                return Err(StorageError::Database { doing: "writing", source });
            }
            self.0.commit(changes)
        }

        fn abandon(&mut self) {
            self.0.abandon();
        }

        fn replace(&mut self, turn: Turn, changes: &[Change]) -> Result<(), StorageError> {
            self.0.replace(turn, changes)
        }

        fn records(&mut self, since: u64) -> Result<Records, StorageError> {
            self.0.records(since)
        }

        fn load(&mut self, each: &mut dyn FnMut(&[Record])) -> Result<u64, StorageError> {
            self.0.load(each)
        }

        fn records_of(
            &mut self,
            kind: RecordKind,
            prefix: &str,
        ) -> Result<Vec<Record>, StorageError> {
            self.0.records_of(kind, prefix)
        }

        fn record(&mut self, known: u64, records: &[Record]) -> Result<u64, StorageError> {
            self.0.record(known, records)
        }

        fn check(&mut self) -> Result<Vec<String>, StorageError> {
            self.0.check()
        }

        fn hearing(&self) -> Option<Box<dyn Hearing>> {
            self.0.hearing()
        }
    }

    #[test]
    fn what_could_not_be_written_is_told_to_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let is_full = Arc::new(AtomicBool::new(false));
        let mut disk =
            Disk(Sqlite::open(&folder.path().join("site.db")).unwrap(), Arc::clone(&is_full));
        Desk::found(&mut disk, SiteCode::new("CHILD").unwrap()).unwrap();
        let mut desk = Desk::open(Box::new(disk), Settings::default()).unwrap();
        let parent = SiteCode::new("TOP").unwrap();
        desk.event(Event::Attach(parent)).unwrap();
        let publish = |version: &[u8]| Event::Publish {
            package: PackageName::new("app").unwrap(),
            manifest: Hash::of(version),
            bytes: 100,
            critical: Features::default(),
            optional: Features::default(),
        };
        desk.event(publish(b"1")).unwrap();
        let before = desk.durable().unwrap().exchange();
        is_full.store(true, Ordering::Relaxed);
        desk.event(publish(b"2")).unwrap_err();
        assert_ne!(desk.site().exchange(), before, "memory is ahead");
        assert_eq!(desk.durable().unwrap().exchange(), before);
        assert_eq!(desk.site().exchange(), before);
        is_full.store(false, Ordering::Relaxed);
        desk.event(publish(b"3")).unwrap();
        assert_ne!(desk.durable().unwrap().exchange(), before);
        assert!(desk.site().row(Key::Site).is_some());
    }
}
