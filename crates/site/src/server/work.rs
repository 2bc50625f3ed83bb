//! Work that was decided on, carried out.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use content::{Index, Object, Release};
use model::{Hash, PackageName};
use policy::{Cause, Event, JobKind, Observed, Outcome, PlaceId, VersionNumber, Work};
use serde_json::json;
use store::{Point, PointError};

use super::{GRACE, PROGRESS, Server, log};
use crate::{
    Desk,
    copy::{GoOn, Stopped, at_own, complete, look_while, of_own, remove_fenced},
    locations,
};

/// What a worker needs to know of its work.
struct Order {
    name: PackageName,
    content: Option<(VersionNumber, Hash)>,
    location: Option<String>,
}

impl Server {
    pub(super) fn begin(self: &Arc<Self>, work: Work) {
        let flag = Arc::new(AtomicBool::new(false));
        let copy = (work.place, work.package);
        self.works().insert(copy, (work.fence, Arc::clone(&flag)));
        let server = Arc::clone(self);
        thread::spawn(move || {
            let outcome = server.work(work, &flag);
            let mut works = server.works();
            if works.get(&copy).is_some_and(|(fence, _)| *fence == work.fence) {
                works.remove(&copy);
            }
            drop(works);
            let Some(outcome) = outcome else { return };
            let Work { place, package, fence, .. } = work;
            server.tell(Event::Finished { place, package, fence, outcome });
        });
    }

    fn order(&self, work: &Work) -> Option<Order> {
        let desk = self.desk();
        let package = desk.site().package(work.package)?;
        let newest = package.newest.filter(|newest| newest.number == work.version);
        Some(Order {
            name: package.name.clone(),
            content: newest.map(|newest| (newest.number, newest.manifest)),
            location: self.location(&desk, work.place),
        })
    }

    pub(crate) fn location(&self, desk: &Desk, place: PlaceId) -> Option<String> {
        match &desk.site().place(place)?.kind {
            policy::PlaceKind::Own => Some(self.master.location().to_owned()),
            policy::PlaceKind::Point(name) => {
                desk.fact(&format!("point:{}", name.name)).map(str::to_owned)
            }
            policy::PlaceKind::Child { .. } => None,
        }
    }

    /// One attempt; nothing if nobody needs to hear of it.
    fn work(self: &Arc<Self>, work: Work, flag: &AtomicBool) -> Option<Outcome> {
        let Order { name, content, location } = self.order(&work)?;
        let result = self.attempt(&work, &name, content, location.as_deref(), flag);
        let (word, why, outcome) = match result {
            Ok(observed) => ("seen", format!("{observed:?}"), Some(Outcome::Seen(observed))),
            Err(Stopped::Cancelled) => ("cancelled", String::new(), None),
            Err(Stopped::Source(why)) => {
                self.tell(Event::Looked {
                    place: PlaceId::OWN,
                    package: work.package,
                    observed: Observed::Damaged(work.version),
                });
                ("failed", why, Some(Outcome::Failed(Cause::ContentDamaged)))
            }
            Err(Stopped::Failed(cause, why)) => {
                let is_news = self.master.is_bucket() && self.store_trouble().is_none();
                if cause == Cause::OwnStore && is_news {
                    self.note_store(Some(why.clone()));
                }
                ("failed", why, Some(Outcome::Failed(self.measured(&work, cause))))
            }
        };
        let kind = if work.kind == JobKind::Complete { "complete" } else { "remove" };
        let line = json!({
            "job": kind, "package": name, "number": work.version.to_string(),
            "place": location, "attempt": work.attempt, "why": why,
        });
        log(word, &line);
        outcome
    }

    /// A full disk with its numbers.
    fn measured(&self, work: &Work, cause: Cause) -> Cause {
        let Cause::NoSpace { .. } = cause else { return cause };
        let desk = self.desk();
        let package = desk.site().package(work.package);
        let needs = package.and_then(|package| package.newest).map_or(0, |newest| newest.bytes);
        let has = self.filling(&desk, work.place).and_then(|location| free(&location));
        Cause::NoSpace { needs, has: has.unwrap_or(0) }
    }

    /// Where what comes to a place takes room: of the own copies, where they arrive.
    fn filling(&self, desk: &Desk, place: PlaceId) -> Option<String> {
        match place {
            PlaceId::OWN => Some(self.folder.spool().to_string_lossy().into_owned()),
            place => self.location(desk, place),
        }
    }

    fn attempt(
        self: &Arc<Self>,
        work: &Work,
        name: &PackageName,
        content: Option<(VersionNumber, Hash)>,
        location: Option<&str>,
        flag: &AtomicBool,
    ) -> Result<Observed, Stopped> {
        let unreachable = |why: String| Stopped::Failed(Cause::Unreachable, why);
        let location =
            location.ok_or_else(|| unreachable("nobody knows where it is".to_owned()))?;
        let mut said = Instant::now();
        let mut go_on = |_| {
            if said.elapsed() >= PROGRESS {
                said = Instant::now();
                let Work { place, package, fence, .. } = *work;
                // Whoever hears that its lease is over has lost its right, and stops.
                if !self.tell(Event::Progress { place, package, fence }) {
                    flag.store(true, Ordering::Relaxed);
                }
            }
            !flag.load(Ordering::Relaxed) && !self.stopping.load(Ordering::Relaxed)
        };
        if work.place == PlaceId::OWN {
            return self.own(work, name, content, &mut go_on);
        }
        // A folder that is not there is a share that is not mounted: it is not made anew.
        if locations::folder(location).is_some_and(|path| !path.is_dir()) {
            return Err(unreachable(format!("`{location}` is not there")));
        }
        let point = Point::open(location, std::env::vars())
            .map_err(|error| unreachable(model::with_causes(&error)))?;
        match (work.kind, content) {
            (JobKind::Remove, _) => remove_fenced(&point, name, work.fence)?,
            (JobKind::Complete, Some(content)) => {
                self.bring_trust(work.place, &point)?;
                complete(&self.master, &point, name, content, work.fence, &mut go_on)?;
                // Readers of what was there before have a week. What cannot be taken away now is with the next copy.
                let _ = store::collect(&point, GRACE);
            }
            (JobKind::Complete, None) => return Err(Stopped::Cancelled),
        }
        look_while(&point, name, &mut go_on)?.ok_or(Stopped::Cancelled)
    }

    /// The site's own copy: taken away, or mended from points that have it whole.
    fn own(
        self: &Arc<Self>,
        work: &Work,
        name: &PackageName,
        content: Option<(VersionNumber, Hash)>,
        go_on: GoOn<'_>,
    ) -> Result<Observed, Stopped> {
        if work.kind == JobKind::Remove {
            self.incoming.forget(name);
            remove_fenced(self.store(), name, work.fence).map_err(at_own)?;
            return Ok(Observed::Absent);
        }
        let Some(content) = content else { return Err(Stopped::Cancelled) };
        let comes_from_above =
            self.desk().site().package(work.package).is_some_and(|package| !package.ours);
        if !comes_from_above {
            store::mend_indexes(self.store()).map_err(of_own)?;
            return if self.mend_release(name, content.1, go_on)? {
                Ok(Observed::Holds(content.0))
            } else {
                let why = format!("no point has it whole: publish `{name}` again");
                Err(Stopped::Failed(Cause::Gone, why))
            };
        }
        if !self.mend_release(name, content.1, go_on)? {
            self.receive(work, name, content.1, go_on)?;
            // Readers of what was there before have a week.
            let _ = store::collect(self.store(), GRACE);
            match self.holds(name, content.1, go_on).map_err(of_own)? {
                None => return Err(Stopped::Cancelled),
                Some(false) => return Ok(Observed::Damaged(content.0)),
                Some(true) => {}
            }
        }
        self.note_version(name, content.1);
        Ok(Observed::Holds(content.0))
    }

    /// Where objects may be found again, each by its hash: the site's points, and what its settings name; folders first.
    fn sources(&self) -> Vec<Point> {
        let points: Vec<String> = {
            let desk = self.desk();
            let places = desk.site().places().filter(|(id, _)| *id != PlaceId::OWN);
            places.filter_map(|(id, _)| self.location(&desk, id)).collect()
        };
        let there =
            |location: &&String| locations::folder(location).is_none_or(|path| path.is_dir());
        let mut all: Vec<_> = points.iter().chain(&self.mend_from).filter(there).collect();
        all.sort_by_key(|location| locations::folder(location).is_none());
        all.into_iter()
            .filter_map(|location| Point::open(location, std::env::vars()).ok())
            .collect()
    }

    /// Finds again what is damaged or lost of a release the own store once had whole, and of the older ones beside it, which deltas
    /// lead from. Whether it is whole now: otherwise all that was not found has to come over the line.
    fn mend_release(
        &self,
        name: &PackageName,
        identity: Hash,
        go_on: GoOn<'_>,
    ) -> Result<bool, Stopped> {
        let Some(index) = self.index(name).map_err(of_own)? else { return Ok(false) };
        let Some(release) = index.releases.iter().find(|one| one.identity == identity) else {
            return Ok(false);
        };
        let needed: HashSet<Object> = release.objects().collect();
        let all: HashSet<Object> = index.objects().collect();
        let mut lost = Vec::new();
        for object in all {
            if !go_on(object.length) {
                return Err(Stopped::Cancelled);
            }
            if !self.master.has_whole(&object).map_err(of_own)? {
                lost.push(object);
            }
        }
        let opened = if lost.is_empty() { Vec::new() } else { self.sources() };
        let mut sources: Vec<&Point> = opened.iter().collect();
        let mut is_whole = true;
        for object in &lost {
            let mut goes_on = true;
            let mut beat = |bytes| goes_on = goes_on && go_on(bytes);
            let mended = store::mend(self.store(), object, &mut sources, &mut beat);
            let mended = mended.map_err(of_own)?;
            if !goes_on {
                return Err(Stopped::Cancelled);
            }
            let is_there = mended && self.master.has_whole(object).map_err(of_own)?;
            is_whole &= is_there || !needed.contains(object);
        }
        Ok(is_whole)
    }

    /// What people call a release that came over the line.
    fn note_version(&self, name: &PackageName, identity: Hash) {
        let release = self.release(name, identity).ok().flatten();
        let version = release.map(|release| release.version.as_str().to_owned());
        if let Err(error) = self.desk().keep(vec![(format!("version:{identity}"), version)]) {
            log("failed", &json!({ "error": model::with_causes(&error) }));
        }
    }

    /// What the own store has of a package. An index nobody can read says nothing.
    fn index(&self, name: &PackageName) -> Result<Option<Index>, PointError> {
        match store::releases(self.store(), name) {
            Err(PointError::Index { .. }) => Ok(None),
            index => index,
        }
    }

    /// A release of the own store, by its identity.
    fn release(&self, name: &PackageName, identity: Hash) -> Result<Option<Release>, PointError> {
        let all = self.index(name)?.into_iter().flat_map(|index| index.releases);
        Ok(all.into_iter().find(|one| one.identity == identity))
    }

    /// Whether the own store has a release whole; nothing if it was stopped.
    pub(super) fn holds(
        &self,
        name: &PackageName,
        identity: Hash,
        go_on: GoOn<'_>,
    ) -> Result<Option<bool>, PointError> {
        let Some(release) = self.release(name, identity)? else { return Ok(Some(false)) };
        for object in release.objects() {
            if !go_on(object.length) {
                return Ok(None);
            }
            if !self.master.has_whole(&object)? {
                return Ok(Some(false));
            }
        }
        Ok(Some(true))
    }

    pub(super) fn measure(self: &Arc<Self>, place: PlaceId) {
        let location = self.filling(&self.desk(), place);
        // Where nobody can say, an attempt does.
        if let Some(location) = location {
            self.tell(Event::Space { place, free: free(&location).unwrap_or(u64::MAX) });
        }
    }
}

/// Free bytes where a folder is, a twentieth left out as a reserve.
fn free(location: &str) -> Option<u64> {
    let stat = rustix::fs::statvfs(&locations::folder(location)?).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let reserve = (stat.f_blocks.saturating_mul(stat.f_frsize) / 20).min(1 << 30);
    Some(free.saturating_sub(reserve))
}
