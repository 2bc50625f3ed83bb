mod work;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use model::PackageName;
use policy::{
    Effect, Event, Features, Fence, Moment, Observed, PackageId, PlaceId, RetryScope, Scrub,
};
use serde_json::json;
use store::{Point, PublishOptions};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    Desk, Folder, SiteError, Status,
    authority::Authority,
    called,
    calling::Calls,
    clients::Clients,
    decide::Decider,
    folder::Presence,
    incoming::Incoming,
    link::Children,
    locations,
    master::{self, Master},
    receive::Transfer,
    relaying::Relaying,
    shared,
    tree::Sending,
    uplink::{Uplink, is_enrolled},
};

/// Seconds between two words about progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// Between two looks at whether the database still knows of this process.
const PRESENCE: Duration = Duration::from_secs(20);
/// Where that was lost, it is tried again after this.
const RETURN: Duration = Duration::from_secs(1);
/// Readers of an older release have so long.
const GRACE: Duration = Duration::from_hours(168);
/// Bytes of copies hashed per second when nobody asks.
const SCRUB: u64 = 20 << 20;

/// Work under way, by place and package: its fence, and whether it was cancelled.
pub(crate) type Works = HashMap<(PlaceId, PackageId), (Fence, Arc<AtomicBool>)>;

/// A site at work: events in, effects carried out by threads of its own.
pub struct Server {
    folder: Folder,
    pub(crate) decider: Decider,
    /// The epoch the folder knows.
    pub(crate) epoch: AtomicU32,
    /// Wakes the timer when there is an earlier moment to wait for.
    pub(crate) changed: Condvar,
    cancelled: Mutex<Works>,
    stopping: AtomicBool,
    pub(crate) stop_word: watch::Sender<bool>,
    master: Master,
    pub(crate) authority: Authority,
    pub(crate) children: Mutex<Children>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) sending: Mutex<Sending>,
    /// Children that this site calls, because they cannot.
    pub(crate) calls: watch::Sender<Calls>,
    pub(crate) began: Instant,
    incoming: Incoming,
    uplink: OnceLock<Arc<Uplink>>,
    transfers: Mutex<Transfers>,
    pub(crate) relaying: Relaying,
    /// What is wrong with the database, if anything is.
    pub(crate) database: Mutex<Option<String>>,
    /// What is wrong with the bucket that has the own copies, if anything is.
    pub(crate) store_trouble: Mutex<Option<String>>,
    /// Bytes hashed per second when nobody asks.
    scrub: u64,
    /// Where else objects may be found, besides points.
    mend_from: Vec<String>,
    components: Mutex<Components>,
}

/// What is being received right now.
type Transfers = BTreeMap<(PlaceId, PackageId), Transfer>;
/// Threads that end when the site does, by name.
type Components = Vec<(&'static str, thread::JoinHandle<()>)>;

impl Server {
    /// The site in a folder whose lock the caller holds. Attempts of earlier processes are over.
    pub fn start(folder: Folder) -> Result<Arc<Self>, SiteError> {
        Self::open(folder, true)
    }

    /// The same; if it is not alone, attempts may be under way in other processes.
    pub(crate) fn open(folder: Folder, alone: bool) -> Result<Arc<Self>, SiteError> {
        let settings = folder.settings()?;
        folder.make()?;
        let mut desk = folder.desk()?;
        shared::settle(&folder, &settings, &mut desk)?;
        if desk.site().epoch() < folder.epoch() {
            let said = format!(
                "the tables are of epoch {}, and epoch {} has begun: put a backup in place with `packhorse site restore`",
                desk.site().epoch(),
                folder.epoch()
            );
            return Err(SiteError::Said { message: said, conflict: true });
        }
        let hearing = desk.hearing();
        let authority = Authority::of(&folder, desk.site().code())?;
        let known = (desk.site().code().clone(), desk.site().epoch(), desk.moment());
        let clients = Arc::new(Clients::open(&folder, &settings, known, alone)?);
        let incoming = Incoming::new(folder.spool().join("incoming"));
        let master = Master::open(&folder, &settings, incoming.grown())?;
        let mut silent = None;
        if let Some(location) = &settings.store {
            // Without an answer it goes on with what it can do.
            match master::claim(master.point(), location, desk.site().code().as_str()) {
                Err(SiteError::Point(error)) => silent = Some(master::why_of(&error)),
                claimed => claimed?,
            }
        }
        let server = Arc::new(Self {
            folder,
            epoch: AtomicU32::new(desk.site().epoch()),
            decider: Decider::new(desk),
            changed: Condvar::new(),
            cancelled: Mutex::default(),
            stopping: AtomicBool::new(false),
            stop_word: watch::Sender::new(false),
            master,
            authority,
            children: Mutex::default(),
            clients,
            sending: Mutex::default(),
            calls: watch::Sender::default(),
            began: Instant::now(),
            incoming,
            uplink: OnceLock::new(),
            transfers: Mutex::default(),
            relaying: Relaying::default(),
            database: Mutex::default(),
            store_trouble: Mutex::default(),
            scrub: settings.scrub.unwrap_or(SCRUB),
            mend_from: settings.mend_from.clone(),
            components: Mutex::default(),
        });
        server.set_addresses();
        if alone {
            server.sweep();
            server.event(Event::WorkersGone)?;
        }
        let places: Vec<PlaceId> = server.desk().site().places().map(|(id, _)| id).collect();
        for place in places {
            server.measure(place);
        }
        server.event(Event::Timer)?;
        server.settle_client_settings()?;
        server.component("time", Self::keep_time);
        server.component("scrub", Self::scrub);
        server.component("trust", Self::relay);
        if server.master.is_bucket() {
            if let Some(why) = silent {
                server.note_store(Some(why));
            }
            server.component("store", Self::look_after_store);
        }
        server.component("clients", Self::look_after_clients);
        if let Some(hearing) = hearing {
            server.component("hearing", move |server| server.hear(hearing));
        }
        Ok(server)
    }

    /// Work that goes on as long as the site runs.
    fn component(
        self: &Arc<Self>,
        name: &'static str,
        work: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) {
        let server = Arc::clone(self);
        let thread = thread::spawn(move || work(&server));
        self.components().push((name, thread));
    }

    /// What is to run as long as the site does.
    pub(crate) fn components(&self) -> MutexGuard<'_, Components> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stays a process of the site, for others to know of, as long as it runs.
    pub(crate) fn keep_presence(self: &Arc<Self>, mut presence: Presence) {
        self.component("presence", move |server| {
            while !server.is_stopping() {
                let is_in = presence.keep().unwrap_or_else(|error| {
                    server.note_database(Some(&error));
                    false
                });
                // Who starts when the database has just come back would take itself to be alone.
                let is_trouble = !is_in || server.database_trouble().is_some();
                let pause = if is_trouble { RETURN } else { PRESENCE };
                let goes_on = |_: &mut Desk| {
                    !server.is_stopping() && (is_trouble || server.database_trouble().is_none())
                };
                drop(server.changed.wait_timeout_while(server.desk(), pause, goes_on));
            }
        });
    }

    /// Calls the parent from now on, if the site was enrolled with one.
    pub(crate) fn connect(self: &Arc<Self>, handle: &Handle) {
        let desk = self.desk();
        let (Some(parent), Some(address)) = (desk.site().parent(), desk.fact("parent")) else {
            return;
        };
        if !is_enrolled(&self.folder) {
            let why = "its keys are gone: `packhorse site attach` with a new token";
            return log("parent-silent", &json!({ "parent": parent, "why": why }));
        }
        let (parent, address) = (parent.clone(), address.to_owned());
        drop(desk);
        let (server, runtime) = (Arc::clone(self), handle.clone());
        let Some(place) = called::waiting_place(&address) else {
            return server.keep_line(parent, address, runtime);
        };
        handle.spawn(async move {
            let here = called::wait_at_last(place, |error| {
                let why = format!("nobody can call at {place} yet: {error}");
                log("parent-silent", &json!({ "parent": parent, "why": why }));
            });
            let here = here.await;
            server.keep_line(parent, here.to_string(), runtime);
        });
    }

    fn keep_line(self: Arc<Self>, parent: policy::SiteCode, address: String, runtime: Handle) {
        let made = Uplink::new(&self.folder, parent, address, runtime.clone());
        let uplink = Arc::clone(self.uplink.get_or_init(|| Arc::new(made)));
        runtime.spawn(uplink.keep(self));
    }

    pub(crate) fn uplink(&self) -> Option<Arc<Uplink>> {
        self.uplink.get().cloned()
    }

    pub(crate) fn incoming(&self) -> &Incoming {
        &self.incoming
    }

    /// The site's own copies.
    pub(crate) fn master(&self) -> &Master {
        &self.master
    }

    pub(crate) fn store(&self) -> &Point {
        self.master.point()
    }

    pub(crate) fn transfers(&self) -> MutexGuard<'_, Transfers> {
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Pieces of what is not wanted any more go.
    fn sweep(&self) {
        let desk = self.desk();
        let site = desk.site();
        self.incoming.sweep(|name, identity| {
            let newest = site
                .package_id(name)
                .and_then(|id| site.package(id))
                .and_then(|known| known.newest);
            newest.is_some_and(|newest| {
                newest.manifest == identity && site.needs_pieces(name, newest.number)
            })
        });
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.decider.desk()
    }

    /// What is where.
    pub fn status(&self) -> Status {
        let desk = self.desk();
        let mut status = Status::of(desk.site(), desk.moment(), |name| desk.fact(name));
        drop(desk);
        status.add_lines(self);
        status
    }

    /// Decides over an event and carries out what follows.
    pub fn event(self: &Arc<Self>, event: Event) -> Result<(), SiteError> {
        self.event_with(event, Vec::new())
    }

    pub(crate) fn event_with(
        self: &Arc<Self>,
        event: Event,
        facts: Vec<(String, Option<String>)>,
    ) -> Result<(), SiteError> {
        for effect in self.decide(event, facts)? {
            self.perform(effect);
        }
        Ok(())
    }

    pub(crate) fn perform(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::Start(work) => self.begin(work),
            Effect::Cancel { place, package, fence } => self.cancel((place, package), fence),
            Effect::Measure(place) => {
                let server = Arc::clone(self);
                thread::spawn(move || server.measure(place));
            }
            Effect::Tell(note) => log("told", &json!({ "note": note })),
            Effect::Quarantine { origin, why } => {
                log("set-aside", &json!({ "origin": origin, "why": why.to_string() }));
            }
            Effect::Wake(code) => self.children().wake(&code),
            Effect::Ask => {
                if let Some(uplink) = self.uplink.get() {
                    uplink.ask();
                }
            }
            Effect::Discard(name) => self.incoming.forget(&name),
            // Rows are written, answers go back where the question came from, and earlier releases are kept for deltas.
            Effect::Keep(_) | Effect::Answer { .. } | Effect::Collect { .. } => {}
        }
    }

    pub(crate) fn works(&self) -> MutexGuard<'_, Works> {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cancel(&self, copy: (PlaceId, PackageId), fence: Fence) {
        if let Some((current, flag)) = self.works().get(&copy)
            && *current == fence
        {
            flag.store(true, Ordering::Relaxed);
        }
    }

    /// Sends the one timer event when its moment has come.
    fn keep_time(self: &Arc<Self>) {
        while !self.stopping.load(Ordering::Relaxed) {
            let desk = self.desk();
            let wake = desk.site().next_wake();
            let began = desk.event_moment();
            let wait = wake.map(|Moment(at)| Duration::from_millis(at.saturating_sub(began)));
            if wait.is_some_and(|wait| wait.is_zero()) {
                drop(desk);
                self.tell(Event::Timer);
                // The database's clock may be a moment behind, or the database is gone: no loop without a pause.
                let trouble = self.database_trouble().is_some();
                let pause = Duration::from_millis(if trouble { 1_000 } else { 5 });
                drop(self.changed.wait_timeout(self.desk(), pause));
                continue;
            }
            match wait {
                Some(wait) => drop(self.changed.wait_timeout(desk, wait)),
                None => drop(self.changed.wait(desk)),
            }
        }
    }

    /// Hashes one copy after the other, slowly.
    fn scrub(self: &Arc<Self>) {
        let mut scrub = Scrub::new(self.scrub);
        let began = Instant::now();
        let mut known = std::collections::BTreeSet::new();
        while !self.stopping.load(Ordering::Relaxed) {
            let goes_on = |_: &mut Desk| !self.stopping.load(Ordering::Relaxed);
            drop(self.changed.wait_timeout_while(self.desk(), Duration::from_mins(1), goes_on));
            if self.master.is_bucket() {
                // What another process discarded, or finished.
                self.sweep();
                self.master.tidy();
            }
            let now = Moment(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            let copies: Vec<(PlaceId, PackageId, u64)> = {
                let desk = self.desk();
                let site = desk.site();
                let bytes = |id| {
                    site.package(id).and_then(|package| package.newest).map_or(0, |one| one.bytes)
                };
                site.places()
                    .flat_map(|(id, place)| place.cells().map(move |(package, _)| (id, package)))
                    .map(|(place, package)| (place, package, bytes(package)))
                    .collect()
            };
            for (place, package, _) in &copies {
                if known.insert((*place, *package)) {
                    scrub.verified(now, *place, *package);
                }
            }
            let size = |place, package| {
                let copy = copies.iter().find(|(one, other, _)| (*one, *other) == (place, package));
                copy.map_or(0, |(_, _, bytes)| *bytes)
            };
            if let Some((place, package)) = scrub.next(now, size) {
                self.look_at(place, package);
            }
        }
    }

    /// Hashes a copy nobody works on and tells what is there.
    pub(crate) fn look_at(self: &Arc<Self>, place: PlaceId, package: PackageId) {
        let found = {
            let desk = self.desk();
            let site = desk.site();
            let settled = site.waiting(place, package).is_none();
            let known = site.package(package).filter(|_| settled);
            known.map(|known| (known.name.clone(), known.newest, self.location(&desk, place)))
        };
        let Some((name, newest, Some(location))) = found else { return };
        let seen = if place == PlaceId::OWN {
            let Some(newest) = newest else { return };
            match self.holds(&name, newest.manifest, &mut |_| true) {
                Ok(Some(true)) => Observed::Holds(newest.number),
                Ok(_) => Observed::Damaged(newest.number),
                // Unknown is not empty.
                Err(error) => {
                    if self.master.is_bucket() {
                        self.note_store(Some(master::why_of(&error)));
                    }
                    return;
                }
            }
        } else {
            if locations::folder(&location).is_some_and(|path| !path.is_dir()) {
                return;
            }
            let Ok(point) = Point::open(&location, std::env::vars()) else { return };
            match crate::copy::look(&point, &name) {
                Ok(seen) => seen,
                Err(_) => return,
            }
        };
        if !self.works().contains_key(&(place, package)) {
            self.tell(Event::Looked { place, package, observed: seen });
        }
    }

    /// Looks at every copy now; answers when all were looked at. Trust's metadata is looked at meanwhile.
    pub fn verify_all(self: &Arc<Self>) {
        self.doubt_trust();
        let copies: Vec<(PlaceId, PackageId)> = {
            let desk = self.desk();
            let places = desk.site().places();
            places
                .flat_map(|(id, place)| place.cells().map(move |(package, _)| (id, package)))
                .collect()
        };
        for (place, package) in copies {
            self.look_at(place, package);
        }
    }

    /// Takes a package file into the own store and announces it. Publishing the same again changes nothing.
    pub fn publish(self: &Arc<Self>, file: &Path, replace: bool) -> Result<bool, SiteError> {
        let name = package_name(file)?;
        let options = PublishOptions { replace, ..PublishOptions::default() };
        let published = store::publish(self.store(), file, &options, &mut |_, _, _| {});
        let published = published.map_err(|error| self.not_published(error))?;
        let release = published.release;
        let manifest = release.identity;
        let bytes = release.objects().map(|object| object.length).sum();
        let fact = (format!("version:{manifest}"), Some(release.version.as_str().to_owned()));
        let event = Event::Publish {
            package: name.clone(),
            manifest,
            bytes,
            critical: Features::default(),
            optional: Features::default(),
        };
        self.event_with(event, vec![fact])?;
        // Had the own copy been damaged, it no longer is.
        let id = self.desk().site().package_id(&name);
        let waits = id.is_some_and(|id| self.desk().site().waiting(PlaceId::OWN, id).is_some());
        if let (Some(package), true) = (id, waits) {
            let number = self.desk().site().package(package).map(|package| package.number);
            let observed = Observed::Holds(number.unwrap_or_default());
            self.tell(Event::Looked { place: PlaceId::OWN, package, observed });
        }
        Ok(!published.already)
    }

    /// What is wrong with a package, or with the bucket it should go to.
    fn not_published(&self, error: store::PublishError) -> SiteError {
        match error {
            store::PublishError::Point(source @ store::PointError::Request { .. })
                if self.master.is_bucket() =>
            {
                self.note_store(Some(master::why_of(&source)));
                let location = self.master.location().to_owned();
                SiteError::OwnStore { location, source: Box::new(source) }
            }
            error => error.into(),
        }
    }

    /// Adds a distribution point, or says why a folder cannot be one.
    pub fn add_point(self: &Arc<Self>, name: &str, location: &str) -> Result<(), SiteError> {
        self.add_point_read_at(name, location, None)
    }

    /// The same; clients read it at `read_at`, where that is said.
    pub fn add_point_read_at(
        self: &Arc<Self>,
        name: &str,
        location: &str,
        read_at: Option<&str>,
    ) -> Result<(), SiteError> {
        check_readable(read_at)?;
        let fact = format!("point:{name}");
        {
            let desk = self.desk();
            if desk.site().point_id(name).is_some() {
                return Err(policy::Refused::Exists(name.to_owned()).into());
            }
            if self.is_own_store(location) {
                let reason = "it is, holds, or is inside the site's own store".to_owned();
                return Err(SiteError::Location { location: location.to_owned(), reason });
            }
            let known: Vec<(String, std::path::PathBuf)> = desk
                .facts()
                .filter(|(name, _)| *name != fact)
                .filter_map(|(name, location)| {
                    let name = name.strip_prefix("point:")?;
                    Some((format!("the point `{name}`"), locations::folder(location)?))
                })
                .chain([("the site's own folder".to_owned(), self.folder.path().to_owned())])
                .collect();
            let others = known.iter().map(|(what, path)| (what.as_str(), path.as_path()));
            locations::check(location, others)?;
        }
        // Made once, here: later, a folder that is not there is one that cannot be reached.
        drop(Point::open(location, std::env::vars())?);
        let event = Event::AddPoint { name: name.into(), features: Features(u64::MAX) };
        // Where one of this name was read before is nothing to it.
        let read_at = read_at.map(str::to_owned);
        let facts = vec![(fact, Some(location.to_owned())), (read_fact(name), read_at)];
        self.event_with(event, facts)?;
        let place = self.desk().site().point_id(name);
        if let Some(place) = place {
            self.measure(place);
        }
        self.settle_client_settings()
    }

    /// Where clients read a point; where the site writes it, if nothing is said.
    pub fn read_point_at(&self, name: &str, location: Option<&str>) -> Result<(), SiteError> {
        check_readable(location)?;
        self.desk().keep_after(|desk| {
            if desk.site().point_id(name).is_none() {
                return Err(policy::Refused::NoPlace(name.to_owned()).into());
            }
            Ok(((), vec![(read_fact(name), location.map(str::to_owned))]))
        })?;
        self.settle_client_settings()
    }

    /// Removes a point: cleaned first, or forgotten as it is.
    pub fn remove_point(self: &Arc<Self>, name: &str, force: bool) -> Result<(), SiteError> {
        // Where it is stays known: it has to be cleaned, and a name that comes back says where anew.
        self.event(Event::RemovePoint { name: name.into(), force })
    }

    /// What these names mean: points here, or `SITE/POINT` below.
    fn named(&self, points: &[String]) -> Result<Vec<policy::PointName>, SiteError> {
        self.named_or(points, |_| false)
    }

    /// The same; points somebody still knows by their names need not be there any longer.
    fn named_or(
        &self,
        points: &[String],
        is_remembered: impl Fn(&policy::PointName) -> bool,
    ) -> Result<Vec<policy::PointName>, SiteError> {
        let desk = self.desk();
        let site = desk.site().code().clone();
        let named = |name: &String| {
            let unknown = || policy::Refused::NoPlace(name.clone());
            let (code, point) = match name.split_once('/') {
                None => (site.clone(), name.as_str()),
                Some((code, point)) => (policy::SiteCode::new(code).map_err(|_| unknown())?, point),
            };
            // Of sites below it is known that they are there; their points are theirs to know.
            let is_known = if code == site {
                desk.site().point_id(point).is_some()
            } else {
                desk.site().child_id(&code).is_some() && !point.is_empty()
            };
            let point = policy::PointName { site: code, name: point.into() };
            if is_known || is_remembered(&point) { Ok(point) } else { Err(unknown().into()) }
        };
        points.iter().map(named).collect()
    }

    /// The package is to be at these points and at all points of these groups, now and later, or not any longer. Where one of them
    /// is unknown nothing is changed.
    pub fn assign(
        self: &Arc<Self>,
        package: &PackageName,
        points: &[String],
        groups: &[String],
        wanted: bool,
    ) -> Result<(), SiteError> {
        let points = self.named(points)?;
        groups.iter().try_for_each(|group| self.has_group(group))?;
        let package = || package.clone();
        self.event(if wanted {
            Event::Assign { package: package(), points }
        } else {
            Event::Unassign { package: package(), points }
        })?;
        for group in groups {
            let group = group.as_str().into();
            self.event(if wanted {
                Event::AssignGroup { package: package(), group }
            } else {
                Event::UnassignGroup { package: package(), group }
            })?;
        }
        Ok(())
    }

    fn has_group(&self, name: &str) -> Result<(), SiteError> {
        self.members(name).map(drop)
    }

    fn members(&self, group: &str) -> Result<Vec<policy::PointName>, SiteError> {
        let desk = self.desk();
        let found = desk.site().groups().find(|(name, ..)| &***name == group);
        let (_, points, _) = found.ok_or_else(|| SiteError::NoGroup(group.to_owned()))?;
        Ok(points.iter().cloned().collect())
    }

    /// Points that belong to a group from now on, or no longer. A group is there as long as it has points or packages.
    pub fn group(
        self: &Arc<Self>,
        name: &str,
        points: &[String],
        belong: bool,
    ) -> Result<(), SiteError> {
        if belong {
            let is_name = (1..=64).contains(&name.len())
                && !name.chars().any(|one| one.is_control() || one == '/');
            is_name.then_some(()).ok_or_else(|| SiteError::GroupName(name.to_owned()))?;
        }
        let members = if belong { Vec::new() } else { self.members(name)? };
        for point in self.named_or(points, |point| members.contains(point))? {
            let group = name.into();
            self.event(if belong {
                Event::Join { group, point }
            } else {
                Event::Leave { group, point }
            })?;
        }
        Ok(())
    }

    /// Tries again at once: one job, those of a point, or all.
    pub fn retry(
        self: &Arc<Self>,
        point: Option<&str>,
        package: Option<&PackageName>,
    ) -> Result<(), SiteError> {
        let scope = {
            let desk = self.desk();
            let site = desk.site();
            let place = match point {
                None => None,
                Some(name) => Some(
                    site.point_id(name).ok_or_else(|| policy::Refused::NoPlace(name.to_owned()))?,
                ),
            };
            match (place, package) {
                (None, None) => vec![RetryScope::All],
                (Some(place), None) => vec![RetryScope::Place(place)],
                (place, Some(name)) => {
                    let id = site
                        .package_id(name)
                        .ok_or_else(|| policy::Refused::NoPackage(name.clone()))?;
                    let places = site.places().map(|(id, _)| id);
                    places
                        .filter(|one| place.is_none_or(|place| place == *one))
                        .map(|place| RetryScope::One(place, id))
                        .collect()
                }
            }
        };
        if let Some(uplink) = self.uplink.get() {
            uplink.hurry();
        }
        scope.into_iter().try_for_each(|scope| self.event(Event::RetryNow(scope)))
    }

    /// No attempt begins or goes on from here; answers when those under way have ended or `patience` is over.
    pub fn stop(&self, patience: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop_word.send_replace(true);
        self.changed.notify_all();
        let until = Instant::now() + patience;
        while !self.works().is_empty() && Instant::now() < until {
            drop(self.changed.wait_timeout(self.desk(), Duration::from_millis(10)));
        }
        self.clients().settle();
    }
}

fn package_name(file: &Path) -> Result<PackageName, SiteError> {
    store::package_name(file).map_err(SiteError::from)
}

/// A line of the log, on standard error.
pub(crate) fn log(event: &str, more: &serde_json::Value) {
    eprintln!("{}", json!({ "event": event, "more": more }));
}

/// The name of the fact where clients read a point.
pub(crate) fn read_fact(point: &str) -> String {
    format!("read:{point}")
}

/// Refuses what no client can read.
fn check_readable(location: Option<&str>) -> Result<(), SiteError> {
    let is_url = |text: &str| {
        ["http://", "https://", "s3://", "gs://", "az://"].iter().any(|one| text.starts_with(one))
    };
    match location {
        Some(location) if !is_url(location) && !location.starts_with('/') => {
            let reason =
                "clients read from `http://…`, `https://…`, a bucket (`s3://…`, `gs://…`, `az://…`) or a folder".to_owned();
            Err(SiteError::Location { location: location.to_owned(), reason })
        }
        _ => Ok(()),
    }
}
