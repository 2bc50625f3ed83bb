use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use policy::{Effect, Event, Key, Moment, Now, Settings, Site, SiteCode};

use crate::{Change, SiteError, Storage};

/// Where events become decisions: one transaction each.
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
    pub fn event_with(
        &mut self,
        event: Event,
        facts: Vec<(String, Option<String>)>,
    ) -> Result<Vec<Effect>, SiteError> {
        let turn = self.storage.begin()?;
        if self.generation != Some(turn.generation) {
            self.read_again()?;
        }
        (self.moment, self.looked) = (turn.moment, Instant::now());
        let now = Now { at: Moment(turn.moment), dice: dice() };
        let effects = match self.site.next(now, event) {
            Ok(effects) => effects,
            Err(refused) => {
                self.storage.abandon();
                return Err(refused.into());
            }
        };
        let changes = self.changes(&effects, &facts);
        if changes.is_empty() {
            self.storage.abandon();
            self.generation = Some(turn.generation);
            return Ok(effects);
        }
        // Until it is known to be durable, what is in memory is ahead of the tables.
        self.generation = None;
        self.storage.commit(&changes)?;
        self.generation = Some(turn.generation + 1);
        self.know(facts);
        Ok(effects)
    }

    /// Facts that change without an event.
    pub fn keep(&mut self, facts: Vec<(String, Option<String>)>) -> Result<(), SiteError> {
        let turn = self.storage.begin()?;
        if self.generation != Some(turn.generation) {
            self.read_again()?;
        }
        (self.moment, self.looked) = (turn.moment, Instant::now());
        self.generation = None;
        self.storage.commit(&self.changes(&[], &facts))?;
        self.generation = Some(turn.generation + 1);
        self.know(facts);
        Ok(())
    }

    fn know(&mut self, facts: Vec<(String, Option<String>)>) {
        for (name, value) in facts {
            match value {
                Some(value) => drop(self.facts.insert(name, value)),
                None => drop(self.facts.remove(&name)),
            }
        }
    }

    fn changes(&self, effects: &[Effect], facts: &[(String, Option<String>)]) -> Vec<Change> {
        let keys: BTreeSet<Key> = effects
            .iter()
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

    fn read_again(&mut self) -> Result<(), SiteError> {
        self.generation = None;
        let read = self.storage.tables().map_err(SiteError::from).and_then(|tables| {
            let site = Site::from_rows(self.settings, tables.rows)?;
            Ok((site, tables.facts.into_iter().collect()))
        });
        match read {
            Ok((site, facts)) => {
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
