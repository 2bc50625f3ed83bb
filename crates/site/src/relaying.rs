//! Trust metadata on its way through the tree: down from the parent, verified from the pinned root, into the own store, to points and
//! children; up, what teams of this site signed, to where the online key is.
//!
//! **Invariant:** what a site has from above is in its own store only if the metadata there vouches for it. Whether metadata is in
//! time is for those to judge who install.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use content::Release;
use model::{Hash, PackageName};
use policy::{Cause, Event, PlaceId, PlaceKind, RetryScope};
use serde_json::json;
use store::{Point, PointError, TrustError, TrustLock};
use trust::{Edit, FOLDER, Refusal, TIMESTAMP, Trusted, UpdateError, Verified, Want};

use crate::{
    Folder, Server, SiteError,
    copy::{Stopped, of_own},
    folder::write_durably,
    server::log,
    shared,
    uplink::{Line, LineError},
};

/// What somebody else wrote into the own store is noticed within this.
const TICK: Duration = Duration::from_secs(5);
/// The same where each look is a request to a bucket; other processes say sooner that there is news.
const FAR_TICK: Duration = Duration::from_mins(1);
/// A point that cannot be written is tried again after this.
const PAUSE: Duration = Duration::from_mins(1);
/// How often all of it is read, whatever is known: what was damaged since is mended then.
const LOOK: Duration = Duration::from_hours(1);
/// The most that is read of a timestamp, in bytes.
const MOST_TIMESTAMP: u64 = 1 << 20;

/// What a site knows of trust on its way.
#[derive(Debug, Default)]
pub(crate) struct Relaying {
    /// One pull at a time.
    pull: Mutex<()>,
    pub(crate) due: AtomicBool,
    /// What is known is not believed any more.
    doubt: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// What the parent's switch is.
    above: Option<Hash>,
    /// What the own one was.
    here: Option<Hash>,
    /// What those of points are, or when they are tried again.
    points: BTreeMap<PlaceId, Result<Hash, Instant>>,
    /// When all of it was read last.
    looked: Option<Instant>,
    /// Files the parent has taken.
    sent: BTreeSet<Hash>,
    /// What the folder looked like when roles that wait were looked for.
    listed: Option<Hash>,
    /// Roles that wait for the online key.
    waiting: Vec<String>,
    /// Until when all of it is good.
    until: Option<String>,
    /// What is wrong with the own store's metadata.
    own_trouble: Option<String>,
    /// What does not work.
    trouble: Option<String>,
}

/// How the site's trust stands.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrustStatus {
    /// Until when what is signed is good.
    pub until: Option<String>,
    /// Roles whose releases wait for `packhorse trust refresh` where the online key is.
    pub waiting: Vec<String>,
    /// What does not work.
    pub why: Option<String>,
}

impl Folder {
    /// What trust was seen last, and the pinned root.
    fn trust(&self) -> PathBuf {
        self.path().join("trust")
    }

    fn pinned_root(&self) -> PathBuf {
        self.trust().join("root.json")
    }

    /// The root this site believes: the one that is pinned, or, at the top, the first of its own store.
    pub fn root(&self, is_child: bool) -> Result<Option<Vec<u8>>, SiteError> {
        let path = self.pinned_root();
        match std::fs::read(&path) {
            Ok(root) => return Ok(Some(root)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // Unknown is not empty: a root that cannot be read is no reason to believe anybody.
            Err(error) => return Err(SiteError::file("reading", path)(error)),
        }
        if is_child { Ok(None) } else { first_root(&self.own_store()?) }
    }
}

/// The first root of a store's own metadata.
fn first_root(store: &Point) -> Result<Option<Vec<u8>>, SiteError> {
    Ok(store.read_limited(&trust::root_path(1), MOST_TIMESTAMP)?)
}

/// Believes a root from now on: what comes from above has to be signed. Another repository's root is refused, unless it is to be
/// replaced.
pub fn pin(folder: &Folder, root: &[u8], replace: bool) -> Result<(), SiteError> {
    let refuse = |message: String| SiteError::Said { message, conflict: true };
    let new = Trusted::pinned(root, None)
        .map_err(|error| refuse(format!("that is no root to pin: {error}")))?;
    let path = folder.pinned_root();
    let old = folder.root(true)?.and_then(|old| Trusted::pinned(&old, None).ok());
    if let Some(old) = old.filter(|_| !replace)
        && old.repository() != new.repository()
    {
        return Err(refuse(format!(
            "the root of another repository is pinned in `{}`: `packhorse site pin --replace` pins this one instead",
            path.display()
        )));
    }
    let trust = folder.trust();
    std::fs::create_dir_all(&trust).map_err(SiteError::file("making", &trust))?;
    write_durably(&path, root, 0o644)?;
    let facts = shared::facts_of(folder, &folder.settings()?, &["trust/root.json"])?;
    folder.desk()?.keep(facts)
}

fn unsigned(why: String) -> Stopped {
    Stopped::Failed(Cause::Unsigned, why)
}

/// Whom to believe is not known: a store that is silent has signed nothing, and refused nothing.
fn no_root(error: SiteError) -> Stopped {
    match error {
        SiteError::Point(error) => of_own(error),
        error => unsigned(model::with_causes(&error)),
    }
}

fn of_trust(error: TrustError) -> Stopped {
    match error {
        TrustError::Point(error) => error.into(),
        error => unsigned(model::with_causes(&error)),
    }
}

/// What a line does not answer is as what a file does not have.
fn off_the_line(path: &str, error: LineError) -> PointError {
    let source = std::io::Error::other(error.message());
    PointError::File { doing: "asking the parent for", path: path.into(), source }
}

impl Server {
    /// The root this site believes.
    pub(crate) fn root(&self) -> Result<Option<Vec<u8>>, SiteError> {
        let is_child = self.desk().site().parent().is_some();
        match self.folder().root(true)? {
            None if !is_child => first_root(self.store()),
            root => Ok(root),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.relaying.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What switches the own store's metadata, if it has any.
    pub(crate) fn trust_word(&self) -> Option<Hash> {
        let switch = self.store().read_limited(TIMESTAMP, MOST_TIMESTAMP).ok().flatten()?;
        Some(Hash::of(&switch))
    }

    /// The parent's word of its own.
    pub(crate) fn heard_of_trust(&self, above: Option<Hash>) {
        let mut known = self.known();
        known.above = above.or(known.above);
        if known.above != known.here {
            self.relaying.due.store(true, Ordering::Relaxed);
            self.changed.notify_all();
        }
    }

    /// All metadata is looked at again: what is damaged or missing, here or at points, is mended.
    pub(crate) fn doubt_trust(&self) {
        self.relaying.doubt.store(true, Ordering::Relaxed);
        self.relaying.due.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    pub(crate) fn trust_status(&self) -> Option<TrustStatus> {
        let Known { waiting, until, trouble, .. } = self.known().clone();
        let has = until.is_some() || trouble.is_some() || !waiting.is_empty();
        has.then_some(TrustStatus { until, waiting, why: trouble })
    }

    /// A file of the own store's metadata.
    pub(crate) fn trust_file(&self, file: &str) -> Result<Option<Vec<u8>>, SiteError> {
        Ok(self.store().read_limited(&format!("{FOLDER}/{file}"), 64 << 20)?)
    }

    /// Brings trust on, as long as the site runs.
    pub(crate) fn relay(self: &Arc<Self>) {
        while !self.is_stopping() {
            let trouble = self.relay_once().err().map(|error| model::with_causes(&error));
            let mut known = self.known();
            let trouble = trouble.or_else(|| known.own_trouble.clone());
            if let Some(why) = trouble.as_ref().filter(|_| known.trouble != trouble) {
                log("trust-waits", &json!({ "why": why }));
            }
            known.trouble = trouble;
            drop(known);
            let is_idle = |_: &mut crate::Desk| {
                !self.is_stopping() && !self.relaying.due.swap(false, Ordering::Relaxed)
            };
            let tick = if self.master().is_bucket() { FAR_TICK } else { TICK };
            drop(self.changed.wait_timeout_while(self.desk(), tick, is_idle));
        }
    }

    fn relay_once(self: &Arc<Self>) -> Result<(), SiteError> {
        let Some(root) = self.root()? else { return Ok(()) };
        let doubts = self.relaying.doubt.swap(false, Ordering::Relaxed);
        let (above, before, doubts) = {
            let mut known = self.known();
            let doubts = doubts || known.looked.is_none_or(|looked| looked.elapsed() > LOOK);
            if doubts {
                known.looked = Some(Instant::now());
                known.points.clear();
            }
            (known.above, known.here, doubts)
        };
        let mut trouble = None;
        if above.is_some() && (doubts || above != self.trust_word()) {
            trouble = self.pull(&root).err();
            if doubts && trouble.is_some() {
                self.relaying.doubt.store(true, Ordering::Relaxed);
            }
        }
        let here = self.trust_word();
        if here.is_some() && (doubts || here != before) {
            let why = self.look_at_own(&root).err().map(|error| model::with_causes(&error));
            self.known().own_trouble = why;
        }
        if here != before {
            self.known().here = here;
            self.children().wake_all();
            // What waited for a signature may have it.
            self.event(Event::RetryNow(RetryScope::Place(PlaceId::OWN)))?;
        }
        if let Some(here) = here {
            self.bring_to_points(&root, here);
        }
        self.bring_up(&root)?;
        trouble.map_or(Ok(()), Err)
    }

    fn look_at_own(&self, root: &[u8]) -> Result<(), SiteError> {
        let verified = self.believed(root, Want::Everything)?;
        let until = match &verified.standing {
            trust::Standing::Fresh { until: (_, until) } => until.to_string(),
            trust::Standing::Stale { at, .. } => at.to_string(),
        };
        self.known().until = Some(until);
        if verified.points_may_lag() {
            return Ok(());
        }
        let message = "the metadata says that points have everything, and those of sites do not: `packhorse trust refresh --points may-lag` with the \
                       owner's key and the online key, at the site that signs";
        Err(SiteError::Said { message: message.to_owned(), conflict: true })
    }

    /// What the own store's metadata says.
    fn believed(&self, root: &[u8], want: Want<'_>) -> Result<Verified, TrustError> {
        store::believed(self.store(), root, want)
    }

    /// Takes the parent's metadata into the own store.
    fn pull(self: &Arc<Self>, root: &[u8]) -> Result<(), SiteError> {
        let Some(uplink) = self.uplink() else { return Ok(()) };
        let line = uplink.line().map_err(|error| off_the_line(FOLDER, error))?;
        self.take_trust(root, &mut |path, most| {
            let file = path.rsplit('/').next().unwrap_or(path);
            match uplink.handle.block_on(line.trust(file, most)) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(LineError::Gone(_)) => Ok(None),
                Err(error) => Err(off_the_line(path, error)),
            }
        })
    }

    /// The same from wherever it is read.
    fn take_trust(&self, root: &[u8], read: trust::Read<'_, PointError>) -> Result<(), SiteError> {
        let _one = self.relaying.pull.lock().unwrap_or_else(PoisonError::into_inner);
        let _lock = TrustLock::take(self.store())?;
        store::relay_trust(self.store(), root, Some(&self.folder().trust()), read)?;
        Ok(())
    }

    /// Refuses a release from above that nobody signed who may, as far as the parent itself can say by now.
    pub(crate) fn vouched(
        self: &Arc<Self>,
        name: &PackageName,
        release: &Release,
    ) -> Result<(), Stopped> {
        let root = self.root().map_err(no_root)?;
        let Some(root) = root else { return Ok(()) };
        if self.is_signed(&root, name, release).is_ok_and(|is_signed| is_signed) {
            return Ok(());
        }
        if let Err(error) = self.pull(&root) {
            return Err(match error {
                SiteError::Point(error) => error.into(),
                error => unsigned(model::with_causes(&error)),
            });
        }
        if self.is_signed(&root, name, release).map_err(of_trust)? {
            return Ok(());
        }
        Err(unsigned(format!(
            "version `{}` of `{name}` is signed by nobody who may: publish it with `packhorse site publish --key`; what a team signed waits for \
             `packhorse trust refresh` with the online key",
            release.version
        )))
    }

    fn is_signed(
        &self,
        root: &[u8],
        name: &PackageName,
        release: &Release,
    ) -> Result<bool, TrustError> {
        match self.believed(root, Want::Package(name)) {
            Ok(verified) => {
                let signed = verified.releases(name)?;
                Ok(signed.iter().any(|signed| signed.is(release)))
            }
            // Nothing came yet.
            Err(TrustError::Refused(Refusal::Missing { role, .. })) if role == "timestamp" => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// A point has metadata that vouches for what it is about to show.
    pub(crate) fn bring_trust(&self, place: PlaceId, point: &Point) -> Result<(), Stopped> {
        let root = self.root().map_err(no_root)?;
        let (Some(root), Some(here)) = (root, self.trust_word()) else { return Ok(()) };
        if self.known().points.get(&place) == Some(&Ok(here)) {
            return Ok(());
        }
        self.bring_to(point, &root).map_err(of_trust)?;
        self.known().points.insert(place, Ok(here));
        Ok(())
    }

    fn bring_to(&self, point: &Point, root: &[u8]) -> Result<(), TrustError> {
        let read = &mut |path: &str, most| self.store().read_limited(path, most);
        store::relay_trust(point, root, None, read).map(drop)
    }

    fn bring_to_points(&self, root: &[u8], here: Hash) {
        let points: Vec<(PlaceId, String)> = {
            let desk = self.desk();
            let places = desk.site().places();
            let points = places.filter(|(_, place)| matches!(place.kind, PlaceKind::Point(_)));
            points.filter_map(|(id, _)| Some((id, self.location(&desk, id)?))).collect()
        };
        for (place, location) in points {
            match self.known().points.get(&place) {
                Some(Ok(there)) if *there == here => continue,
                Some(Err(next)) if *next > Instant::now() => continue,
                _ => {}
            }
            let result = self.bring_to_point(&location, root);
            if let Err(why) = &result {
                log("trust-waits", &json!({ "point": location, "why": why }));
            }
            let result = result.map(|()| here).map_err(|_| Instant::now() + PAUSE);
            self.known().points.insert(place, result);
        }
    }

    fn bring_to_point(&self, location: &str, root: &[u8]) -> Result<(), String> {
        // A folder that is not there is a share that is not mounted: it is not made anew.
        if crate::locations::folder(location).is_some_and(|path| !path.is_dir()) {
            return Err("it is not there".to_owned());
        }
        let point = Point::open(location, std::env::vars());
        let point = point.map_err(|error| model::with_causes(&error))?;
        self.bring_to(&point, root).map_err(|error| model::with_causes(&error))
    }

    /// What teams signed here goes up, until somebody with the online key takes it in.
    fn bring_up(self: &Arc<Self>, root: &[u8]) -> Result<(), SiteError> {
        let listed = self.store().list(FOLDER)?;
        let listed = format!(
            "{:?}",
            listed.iter().map(|one| (&one.path, one.length)).collect::<BTreeSet<_>>()
        );
        let listed = Hash::of(listed.as_bytes());
        let is_known = self.known().listed == Some(listed);
        let uplink = self.uplink();
        if is_known && (self.known().waiting.is_empty() || uplink.is_none()) {
            return Ok(());
        }
        if self.trust_word().is_none() {
            return Ok(());
        }
        let edit = store::edit_trust(self.store(), Some(root))?;
        self.known().waiting =
            edit.roles().into_iter().filter(|role| edit.is_staged(role)).collect();
        if let Some(uplink) = uplink {
            for (path, bytes) in edit.staged_files() {
                let hash = Hash::of(bytes);
                if self.known().sent.contains(&hash) {
                    continue;
                }
                let line = uplink.line().map_err(|error| off_the_line(path, error))?;
                let file = path.rsplit('/').next().unwrap_or(path);
                uplink
                    .handle
                    .block_on(line.put_trust(file, bytes.clone()))
                    .map_err(|error| off_the_line(path, error))?;
                self.known().sent.insert(hash);
            }
        }
        self.known().listed = Some(listed);
        Ok(())
    }

    /// What a team of a child signed: kept for the online key, if it is signed by whom it should be.
    pub(crate) fn take_staged(&self, file: &str, bytes: &[u8]) -> Result<(), SiteError> {
        let refuse = |message: String| SiteError::Said { message, conflict: true };
        let Some(root) = self.root()? else {
            let why = "this site believes no root: `packhorse site pin ROOT` pins one";
            return Err(refuse(why.to_owned()));
        };
        let path = format!("{FOLDER}/{file}");
        let _lock = TrustLock::take(self.store())?;
        let mut read = |wanted: &str, most| {
            if wanted == path {
                Ok(Some(bytes.to_vec()))
            } else {
                self.store().read_limited(wanted, most)
            }
        };
        let edit = Edit::begin(Some(&root), &mut read).map_err(|error| match error {
            UpdateError::Read(error) => SiteError::Point(error),
            UpdateError::Refused(refusal) => refuse(refusal.to_string()),
        })?;
        if edit.staged_files().get(&path).is_some_and(|staged| staged == bytes) {
            if self.store().read_limited(&path, bytes.len() as u64)?.as_deref() != Some(bytes) {
                self.store().write_small(&path, bytes.to_vec())?;
                self.relaying.due.store(true, Ordering::Relaxed);
                self.changed.notify_all();
            }
            return Ok(());
        }
        // It was taken in meanwhile.
        if self.store().read_limited(&path, bytes.len() as u64)?.as_deref() == Some(bytes) {
            return Ok(());
        }
        Err(refuse(format!("`{file}` is not what a team may sign next")))
    }

    /// Metadata for a medium, and what waits for the online key.
    pub(crate) fn carry_trust(&self, to: &Path) -> Result<(), SiteError> {
        let Some(root) = self.root()? else { return Ok(()) };
        if self.trust_word().is_none() {
            return Ok(());
        }
        let medium = Point::open(&to.to_string_lossy(), [])?;
        self.bring_to(&medium, &root)?;
        let edit = store::edit_trust(self.store(), Some(&root))?;
        for (path, bytes) in edit.staged_files() {
            medium.write_small(path, bytes.clone())?;
        }
        Ok(())
    }

    /// Metadata from a medium the parent wrote.
    pub(crate) fn take_carried_trust(&self, from: &Path) -> Result<(), SiteError> {
        let Some(root) = self.root()? else { return Ok(()) };
        if !from.join(TIMESTAMP).is_file() {
            return Ok(());
        }
        let medium = Point::open(&from.to_string_lossy(), [])?;
        self.take_trust(&root, &mut |path, most| medium.read_limited(path, most))
    }

    /// What teams of a child signed, from a medium the child wrote: each file is its own matter.
    pub(crate) fn take_carried_staged(&self, from: &Path, left: &mut Vec<String>) {
        let Ok(files) = std::fs::read_dir(from.join(FOLDER)) else { return };
        let mut files: Vec<_> = files.filter_map(Result::ok).map(|file| file.file_name()).collect();
        files.sort();
        for file in files.iter().filter_map(|file| file.to_str()) {
            if file == "timestamp.json" || self.trust_file(file).is_ok_and(|known| known.is_some())
            {
                continue;
            }
            let taken = match std::fs::read(from.join(FOLDER).join(file)) {
                Ok(bytes) => self.take_staged(file, &bytes),
                Err(error) => Err(SiteError::file("reading", file)(error)),
            };
            left.extend(taken.err().map(|error| model::with_causes(&error)));
        }
    }
}

impl Line {
    /// A file of the parent's metadata, no more than one byte beyond `most`.
    async fn trust(&self, file: &str, most: u64) -> Result<Vec<u8>, LineError> {
        let mut answer = self.get(&format!("trust/{file}")).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut answer).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > most {
                break;
            }
        }
        Ok(bytes)
    }

    async fn put_trust(&self, file: &str, bytes: Vec<u8>) -> Result<(), LineError> {
        self.put(&format!("trust/{file}"), bytes).await
    }
}
