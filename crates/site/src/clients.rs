//! Clients: machines that are managed from this site, what is deployed to them, what they say.
//!
//! What is known is a [`fleet::Fleet`] in memory and records in the database; whoever changes it writes the records first. A check-in
//! reads memory and writes nothing.

mod api;
mod asked;
mod ddi;
mod deploy;
mod enrol;
pub(crate) mod fleet;
mod line;
mod requests;
mod row;
mod said;
mod shown;
#[cfg(test)]
mod tests;
mod time;
mod windows;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use deployment::{ClientId, SiteNow};
use jiff::Timestamp;
use model::Hash;
use policy::{Moment, SiteCode};
use serde_json::json;
use tokio::sync::watch;

use crate::{Folder, SiteError, SiteSettings, Storage, StorageError, chance, server::log};
use fleet::Fleet;
use row::{Change, SeenRow};

pub use deploy::{Deployed, NewDeployment};
pub use requests::ClientRequest;
pub use row::{SiteWindow, Target};
pub use shown::{
    ClientDetails, ClientSummary, CollectionStatus, DeploymentOnClient, DeploymentStatus, Told,
};
pub use windows::WindowStatus;

pub use api::OnClient;
pub(crate) use api::routes;
pub(crate) use ddi::router as device_router;
pub(crate) use line::{caller, routes as line_routes};

/// The clients of a site.
pub(crate) struct Clients {
    code: SiteCode,
    epoch: u32,
    /// One writes at a time; whoever does decides by what nobody else changes meanwhile.
    storage: Mutex<Box<dyn Storage>>,
    fleet: RwLock<Fleet>,
    live: Mutex<HashMap<ClientId, Live>>,
    /// Wakes those who wait for news; it is the number of the policies.
    news: watch::Sender<u64>,
    /// The site's moment when this process began, and when that was.
    began: (u64, Instant),
    /// Seconds between check-ins.
    check_in: u32,
    /// The most bytes per second they fetch with, and the most bytes they keep.
    rate: Option<u64>,
    cache: Option<u64>,
    /// Seconds a certificate counts.
    life: i64,
    /// The name of this process.
    process: String,
    /// Since when some process of the site listened at any time.
    since: Moment,
}

/// What is known of a client for as long as this process runs.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// When it was heard of, and whether the tables know.
    seen: SeenRow,
    is_written: bool,
    /// Whether its rollouts know.
    is_heard: bool,
    /// What its document says, as of which number of the policies.
    content: Option<(u64, Hash)>,
    /// Starts of the machine it spoke of: the last one, and those before.
    boots: Vec<u64>,
    /// Why it was refused last, and how often.
    refused: Option<(String, u64)>,
    /// What else somebody should know.
    note: Option<String>,
}

/// Seconds since 1970 by this machine's clock: data, and what certificates are held against.
pub(crate) fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl Clients {
    /// Reads what the tables have.
    pub(crate) fn open(
        folder: &Folder,
        settings: &SiteSettings,
        (code, epoch, moment): (SiteCode, u32, Moment),
        alone: bool,
    ) -> Result<Self, SiteError> {
        let mut storage = folder.storage(settings)?;
        let mut fleet = Fleet::default();
        fleet.number = storage.load(&mut |records| fleet.take(records))?;
        let since = time::listened_since(&fleet, moment);
        for rollout in fleet.rollouts.values_mut() {
            rollout.was_deaf(since);
        }
        for damaged in &fleet.damaged {
            log("set-aside", &json!({ "record": damaged }));
        }
        let clients = Self {
            code,
            epoch,
            storage: Mutex::new(storage),
            news: watch::Sender::new(fleet.policies),
            fleet: RwLock::new(fleet),
            live: Mutex::default(),
            began: (moment.0, Instant::now()),
            check_in: settings.client_check_in(),
            rate: settings.client_rate,
            cache: settings.client_cache,
            life: settings.client_certificate(),
            process: chance::hex(&chance::random::<8>()?),
            since,
        };
        clients.forget_ended(moment, alone)?;
        Ok(clients)
    }

    /// What is known.
    pub(crate) fn fleet(&self) -> RwLockReadGuard<'_, Fleet> {
        self.fleet.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn fleet_mut(&self) -> RwLockWriteGuard<'_, Fleet> {
        self.fleet.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> MutexGuard<'_, HashMap<ClientId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn storage(&self) -> MutexGuard<'_, Box<dyn Storage>> {
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Both clocks of the site.
    pub(crate) fn now(&self) -> SiteNow {
        let since = u64::try_from(self.began.1.elapsed().as_millis()).unwrap_or(u64::MAX);
        let at = Moment(self.began.0.saturating_add(since));
        SiteNow { at, wall: Timestamp::from_second(wall()).unwrap_or_default() }
    }

    /// Decides by what is known, writes what follows, and takes it in then. If another process wrote meanwhile, that is read
    /// and decided upon again.
    pub(crate) fn write<T>(
        &self,
        decide: impl Fn(&Fleet) -> Result<(T, Vec<Change>), SiteError>,
    ) -> Result<T, SiteError> {
        let mut storage = self.storage();
        loop {
            let (answer, changes) = decide(&self.fleet())?;
            if changes.is_empty() {
                return Ok(answer);
            }
            let records: Vec<_> = changes.iter().map(Change::record).collect();
            let known = self.fleet().number;
            match storage.record(known, &records) {
                Ok(number) => {
                    let mut fleet = self.fleet_mut();
                    for change in changes {
                        fleet.apply(change);
                    }
                    fleet.number = number;
                    self.tell_news(&fleet);
                    return Ok(answer);
                }
                Err(StorageError::Overtaken) => self.read_more(&mut **storage)?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes in what other processes wrote.
    pub(crate) fn catch_up(&self) -> Result<(), SiteError> {
        self.read_more(&mut **self.storage())
    }

    fn read_more(&self, storage: &mut dyn Storage) -> Result<(), SiteError> {
        let read = storage.records(self.fleet().number)?;
        let mut fleet = self.fleet_mut();
        fleet.take(&read.records);
        fleet.number = read.number;
        self.tell_news(&fleet);
        Ok(())
    }

    fn tell_news(&self, fleet: &Fleet) {
        self.news
            .send_if_modified(|known| std::mem::replace(known, fleet.policies) != fleet.policies);
    }

    /// When clients were heard of, in seconds since 1970: by this process, or by any, as the tables know.
    pub(crate) fn seen(&self) -> BTreeMap<ClientId, i64> {
        let known = self.fleet();
        let mut seen: BTreeMap<ClientId, i64> =
            known.seen.iter().map(|(client, seen)| (*client, seen.wall)).collect();
        drop(known);
        for (client, live) in &*self.live() {
            let at = seen.entry(*client).or_default();
            *at = live.seen.wall.max(*at);
        }
        seen
    }
}

impl crate::Server {
    /// Its clients.
    pub(crate) fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }
}
