//! The site's own copies, wherever they are, as everything here uses them that needs files: a folder gives the files
//! themselves, of a bucket this machine keeps some (see `kept`).

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use content::Object;
use model::PackageName;
use policy::{Event, PlaceId, RetryScope};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{Point, PointError};
use tokio::sync::watch;

use crate::{
    Desk, Folder, Server, SiteError, SiteSettings,
    copy::{hash_of, is_whole},
    kept::{Held, Kept},
    locations,
    server::log,
};

/// Where a bucket says whose it is.
pub(crate) const OWNER: &str = "site.json";
/// Objects of a bucket take so many bytes here while they are not used, unless somebody says otherwise.
const MOST_KEPT: u64 = 10 << 30;

/// Who takes a bucket says so first, under this and its own code.
const CLAIM: &str = "claim-of-";

/// What helps where a bucket refuses.
const KEYS: &str = "it takes other keys: those of buckets, such as `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, are read from the \
environment of this command and of the service";

/// A bucket that is silent is asked again after this.
pub(crate) const PAUSE: Duration = Duration::from_secs(5);

/// The store with the site's own copies.
#[derive(Debug)]
pub(crate) struct Master {
    location: String,
    point: Point,
    kind: Kind,
    /// Sees whenever there is more of something that comes.
    grown: watch::Sender<u64>,
}

#[derive(Debug)]
enum Kind {
    Folder(PathBuf),
    Bucket {
        kept: Kept,
        /// What is being fetched because somebody reads it already.
        coming: Mutex<HashSet<PathBuf>>,
    },
}

/// An object as a file of this machine, every byte of it hashed. It stays as long as this does.
#[derive(Debug)]
pub(crate) enum Sound {
    Own(PathBuf),
    Kept(Held),
}

/// Whose bucket it is.
#[derive(Serialize, Deserialize)]
struct Owner {
    site: String,
}

impl Sound {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Own(path) => path,
            Self::Kept(held) => &held.path,
        }
    }
}

fn damaged(object: &Object) -> PointError {
    let reason = "its hash does not fit".to_owned();
    PointError::Damaged { path: object.path(), reason }
}

/// The own store as a point, without anything kept of it.
pub(crate) fn open_point(folder: &Folder, settings: &SiteSettings) -> Result<Point, SiteError> {
    open_point_in(folder, settings, std::env::vars())
}

fn open_point_in(
    folder: &Folder,
    settings: &SiteSettings,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Point, SiteError> {
    Ok(match &settings.store {
        Some(location) => Point::open(location, environment)?,
        None => Point::open(&folder.store().to_string_lossy(), [])?,
    })
}

/// Why a bucket is of no use, and what helps.
pub(crate) fn why(error: &SiteError) -> String {
    match error {
        SiteError::Point(error) => why_of(error),
        error => model::with_causes(error),
    }
}

pub(crate) fn why_of(error: &PointError) -> String {
    let why = model::with_causes(error);
    if error.is_denied() { format!("{why}: {KEYS}") } else { why }
}

/// What was said about a bucket while nothing else depends on it, with what helps.
pub(crate) fn refused(location: &str) -> impl FnOnce(SiteError) -> SiteError {
    move |error| match error {
        SiteError::Point(error) => {
            let message =
                format!("`{location}` cannot be the site's own store: {}", why_of(&error));
            SiteError::Said { message, conflict: false }
        }
        error => error,
    }
}

/// Makes a bucket a site's own, unless it is another's.
pub(crate) fn claim(point: &Point, location: &str, site: &str) -> Result<(), SiteError> {
    if is_of(point, location, site)? {
        return Ok(());
    }
    let is_free = |own: Option<&str>| {
        let listed = point.list("")?;
        let Some(other) = listed.iter().find(|one| Some(&*one.path) != own) else { return Ok(()) };
        let said = match other.path.strip_prefix(CLAIM) {
            Some(site) => format!(
                "`{location}` is being taken by site {site} at this moment: say it again, or, if that was interrupted, \
                 delete `{}` there",
                other.path
            ),
            None => format!(
                "`{location}` holds `{}` and is no site's own store: name an empty folder of the bucket",
                other.path
            ),
        };
        Err(SiteError::refused(said))
    };
    let own = format!("{CLAIM}{site}");
    is_free(Some(&own))?;
    // Some stores overwrite what was to be made new. Of two that come at the same instant the later sees what the earlier wrote,
    // and goes back; it may be that both do.
    point.write_small(&own, Vec::new())?;
    let taken = is_free(Some(&own)).and_then(|()| {
        let owner = Owner { site: site.to_owned() };
        Ok(point.create_small(OWNER, serde_json::to_vec(&owner).unwrap_or_default())?)
    });
    point.delete(&own)?;
    // It says whose it is where there was somebody before us.
    if is_of(point, location, site)? {
        return Ok(());
    }
    taken?;
    let said = format!("`{location}` does not keep what is written to it: name another bucket");
    Err(SiteError::refused(said))
}

/// Whether a bucket says that it is this site's; an error if it is another's.
fn is_of(point: &Point, location: &str, site: &str) -> Result<bool, SiteError> {
    let Some(bytes) = point.read_limited(OWNER, 1 << 16)? else { return Ok(false) };
    let owner: Owner = serde_json::from_slice(&bytes).map_err(|error| {
        SiteError::refused(format!("`{location}` has a `{OWNER}` nobody can read: {error}"))
    })?;
    if owner.site == site {
        return Ok(true);
    }
    let said = format!("`{location}` belongs to site {}: name another folder", owner.site);
    Err(SiteError::refused(said))
}

impl Master {
    /// The store of the site in a folder.
    pub(crate) fn open(
        folder: &Folder,
        settings: &SiteSettings,
        grown: watch::Sender<u64>,
    ) -> Result<Self, SiteError> {
        Self::open_in(folder, settings, std::env::vars(), grown)
    }

    /// The same, with what a service's own tools find in the environment.
    fn open_in(
        folder: &Folder,
        settings: &SiteSettings,
        environment: impl IntoIterator<Item = (String, String)>,
        grown: watch::Sender<u64>,
    ) -> Result<Self, SiteError> {
        let point = open_point_in(folder, settings, environment)?;
        let kind = if settings.store.is_some() {
            let root = settings.cache.clone().unwrap_or_else(|| folder.cache());
            let most = settings.cache_size.unwrap_or(MOST_KEPT);
            Kind::Bucket { kept: Kept::new(root, most)?, coming: Mutex::default() }
        } else {
            Kind::Folder(folder.store())
        };
        let location = settings.store.clone();
        let location = location.unwrap_or_else(|| folder.store().to_string_lossy().into_owned());
        Ok(Self { location, point, kind, grown })
    }

    /// Where it is, as a point's location is written.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// The store, for all that needs no files.
    pub(crate) fn point(&self) -> &Point {
        &self.point
    }

    /// Whether processes of other machines may use it, too.
    pub(crate) fn is_bucket(&self) -> bool {
        matches!(self.kind, Kind::Bucket { .. })
    }

    /// Whether an object is there, every byte of it hashed.
    pub(crate) fn has_whole(&self, object: &Object) -> Result<bool, PointError> {
        is_whole(&self.point, object)
    }

    fn grew(&self) {
        self.grown.send_modify(|count| *count += 1);
    }

    /// An object as a file, hashed just now.
    pub(crate) fn sound(&self, object: &Object) -> Result<Sound, PointError> {
        let path = match &self.kind {
            Kind::Folder(folder) => folder.join(object.path()),
            Kind::Bucket { kept, .. } => {
                return kept.sound(&self.point, object, &mut || self.grew()).map(Sound::Kept);
            }
        };
        match hash_of(&path) {
            Ok(hash) if hash == object.hash => Ok(Sound::Own(path)),
            Ok(_) => Err(damaged(object)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(PointError::Missing { path: object.path() })
            }
            Err(error) => Err(PointError::file("reading", &path)(error)),
        }
    }

    /// Makes a file part of the store in one step. It is whole, sound and synced: whoever calls has seen to it. Afterwards it
    /// is no longer where it was.
    pub(crate) fn adopt(&self, file: &Path, object: &Object) -> Result<(), PointError> {
        let to = match &self.kind {
            Kind::Folder(folder) => folder.join(object.path()),
            Kind::Bucket { kept, .. } => {
                self.point.write_object(object, file, &mut |_| {})?;
                kept.keep(file, object);
                return Ok(());
            }
        };
        let moved = || -> std::io::Result<()> {
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder)?;
                std::fs::rename(file, &to)?;
                File::open(folder)?.sync_all()?;
            }
            Ok(())
        };
        moved().map_err(PointError::file("writing", &to))
    }

    /// What was fetched at the same time may be more than is to be kept.
    pub(crate) fn tidy(&self) {
        if let Kind::Bucket { kept, .. } = &self.kind {
            kept.make_room(0);
        }
    }

    /// What is kept here of objects is not believed any more.
    pub(crate) fn doubt(&self, objects: impl Iterator<Item = Object>) {
        if let Kind::Bucket { kept, .. } = &self.kind {
            objects.for_each(|object| kept.forget(&object));
        }
    }
}

impl Server {
    /// A file of this machine that has an object of a package, or that grows to be it; not yet checked. None, if the store does
    /// not have it, or nobody knows.
    pub(crate) fn here(
        self: &Arc<Self>,
        name: &PackageName,
        object: &Object,
    ) -> Result<Option<PathBuf>, PointError> {
        let master = self.master();
        let (kept, coming) = match &master.kind {
            Kind::Folder(folder) => {
                let path = folder.join(object.path());
                return match std::fs::metadata(&path) {
                    Ok(_) => Ok(Some(path)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(PointError::file("reading", &path)(error)),
                };
            }
            Kind::Bucket { kept, coming } => (kept, coming),
        };
        let (whole, arriving) = (kept.path(object), kept.arriving(object));
        if whole.is_file() {
            return Ok(Some(whole));
        }
        match master.point.has(object) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => {
                self.note_store(Some(why_of(&error)));
                return Ok(None);
            }
        }
        let lock = |coming: &Mutex<HashSet<PathBuf>>,
                    change: &dyn Fn(&mut HashSet<PathBuf>) -> bool| {
            change(&mut coming.lock().unwrap_or_else(PoisonError::into_inner))
        };
        if lock(coming, &|coming| coming.insert(arriving.clone())) {
            let (server, object, path) = (Arc::clone(self), *object, arriving.clone());
            let name = name.clone();
            std::thread::spawn(move || {
                let master = server.master();
                let Kind::Bucket { kept, coming } = &master.kind else { return };
                let fetched = kept.fetch(&master.point, &object, &mut || master.grew());
                lock(coming, &|coming| coming.remove(&path));
                match fetched {
                    Ok(()) => master.grew(),
                    Err(error) if error.is_of_content() => {
                        let id = server.desk().site().package_id(&name);
                        if let Some(id) = id {
                            server.look_at(PlaceId::OWN, id);
                        }
                    }
                    // Whoever reads it asks again.
                    Err(error) => server.note_store(Some(why_of(&error))),
                }
            });
        }
        Ok(Some(arriving))
    }

    /// What is wrong with the bucket that has the own copies, if anything is.
    pub(crate) fn store_trouble(&self) -> Option<String> {
        self.store_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How the bucket answered last.
    pub(crate) fn note_store(&self, trouble: Option<String>) {
        let store = self.master().location();
        let mut known = self.store_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &trouble) {
            (None, Some(why)) => log("store-silent", &json!({ "store": store, "why": why })),
            (Some(_), None) => log("store-answers", &json!({ "store": store })),
            _ => {}
        }
        *known = trouble;
        drop(known);
        self.changed.notify_all();
    }

    /// Asks a bucket that was silent until it answers; then what waited for it goes on.
    pub(crate) fn look_after_store(self: &Arc<Self>) {
        while !self.is_stopping() {
            let is_well = |_: &mut Desk| !self.is_stopping() && self.store_trouble().is_none();
            drop(self.changed.wait_while(self.desk(), is_well));
            let goes_on = |_: &mut Desk| !self.is_stopping();
            drop(self.changed.wait_timeout_while(self.desk(), PAUSE, goes_on));
            if self.is_stopping() {
                return;
            }
            // It may have been silent from the start: whose it is was not looked at.
            match claim(self.store(), self.master().location(), self.code().as_str()) {
                Ok(()) => {
                    self.note_store(None);
                    self.tell(Event::RetryNow(RetryScope::All));
                }
                Err(error) => self.note_store(Some(why(&error))),
            }
        }
    }

    /// Whether a location is, holds or is inside the own store.
    pub(crate) fn is_own_store(&self, location: &str) -> bool {
        let own = self.master().location();
        let plain = |location: &str| format!("{}/", location.trim_end_matches('/'));
        let (one, other) = (plain(own), plain(location));
        locations::folder(own).is_none() && (one.starts_with(&other) || other.starts_with(&one))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use content::{Object, ObjectKind};
    use store::PointError;
    use testkit::S3Server;
    use tokio::sync::watch;

    use super::{Kind, Master, Sound, claim};
    use crate::{Folder, SiteSettings};

    /// Bytes of all objects of these tests, and what a bucket may keep of them here.
    const LENGTH: u64 = 100_000;
    const MOST: u64 = 250_000;

    /// A store, and its objects on disk.
    struct Made {
        master: Master,
        objects: std::path::PathBuf,
        home: tempfile::TempDir,
        _server: Option<S3Server>,
    }

    fn made(server: Option<S3Server>) -> Made {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(&home.path().join("site"));
        folder.make().unwrap();
        let store = server.as_ref().map(|_| "s3://packages/top".to_owned());
        let settings = SiteSettings { store, cache_size: Some(MOST), ..SiteSettings::default() };
        let environment = server.as_ref().map(S3Server::settings).unwrap_or_default();
        let grown = watch::Sender::new(0);
        let master = Master::open_in(&folder, &settings, environment, grown).unwrap();
        let objects = server.as_ref().map_or(folder.store(), |server| server.bucket().join("top"));
        Made { master, objects, home, _server: server }
    }

    impl Made {
        /// A file with content of its own, and the object it is.
        fn file(&self, seed: u8) -> (std::path::PathBuf, Object) {
            let path = self.home.path().join(format!("file-{seed}"));
            let bytes = vec![seed; usize::try_from(LENGTH).unwrap()];
            fs::write(&path, &bytes).unwrap();
            (path, Object::of(ObjectKind::Pack, &bytes))
        }

        fn put(&self, seed: u8) -> Object {
            let (path, object) = self.file(seed);
            self.master.adopt(&path, &object).unwrap();
            assert!(!path.exists(), "it was moved");
            object
        }
    }

    fn damage(path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        bytes[7] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    /// What every store has to do.
    fn keeps_its_promises(made: &Made) {
        let Made { master, objects, .. } = made;
        let (_, absent) = made.file(9);
        assert!(!master.has_whole(&absent).unwrap());
        assert!(matches!(master.sound(&absent), Err(PointError::Missing { .. })));
        let one = made.put(1);
        assert!(master.has_whole(&one).unwrap());
        let sound = master.sound(&one).unwrap();
        assert_eq!(Object::of(ObjectKind::Pack, &fs::read(sound.path()).unwrap()), one);
        assert_eq!(made.put(1), one, "twice is once");
        // Damaged where it is: what is kept here is one thing, what the store has is another.
        drop(sound);
        damage(&objects.join(one.path()));
        master.doubt([one].into_iter());
        assert!(!master.has_whole(&one).unwrap());
        assert!(matches!(master.sound(&one), Err(PointError::Damaged { .. })));
        assert_eq!(made.put(1), one);
        assert!(master.sound(&one).is_ok(), "mended");
        // A part of what was.
        fs::write(objects.join(one.path()), b"short").unwrap();
        master.doubt([one].into_iter());
        assert!(!master.has_whole(&one).unwrap());
        assert!(matches!(master.sound(&one), Err(PointError::Damaged { .. })));
        made.put(1);
        assert!(master.sound(&one).is_ok());
    }

    #[test]
    fn a_folder_keeps_its_promises() {
        let made = made(None);
        keeps_its_promises(&made);
        let object = made.put(2);
        let sound = made.master.sound(&object).unwrap();
        assert_eq!(sound.path(), made.objects.join(object.path()), "the file itself");
    }

    #[test]
    fn a_bucket_keeps_the_same_promises() {
        let made = made(Some(S3Server::start().unwrap()));
        keeps_its_promises(&made);
    }

    #[test]
    fn of_a_bucket_no_more_is_kept_than_may_be_and_nothing_goes_that_is_used() {
        let made = made(Some(S3Server::start().unwrap()));
        let Kind::Bucket { kept, .. } = &made.master.kind else { panic!("a bucket") };
        let here = || {
            let files = fs::read_dir(made.home.path().join("site/cache")).unwrap();
            files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
        };
        let first = made.put(1);
        let held = made.master.sound(&first).unwrap();
        assert_eq!(kept.fetched(), 0, "what was put is kept");
        let others = [2, 3, 4].map(|seed| made.put(seed));
        assert!(here() <= MOST, "{}", here());
        assert!(held.path().is_file(), "it is used");
        let path = held.path().to_owned();
        let all: Vec<Sound> =
            others.iter().map(|object| made.master.sound(object).unwrap()).collect();
        assert_eq!(here(), 4 * LENGTH, "more than may be is here as long as it is used");
        drop((held, all));
        made.master.tidy();
        assert!(here() <= MOST, "what is not used any more goes by itself: {}", here());
        made.put(5);
        assert!(here() <= MOST && !path.exists(), "the oldest went first");
        // What is kept is hashed before it is used, and fetched again if it is not what it was.
        let before = kept.fetched();
        made.master.sound(&others[2]).unwrap();
        damage(&kept.path(&others[2]));
        made.master.sound(&others[2]).unwrap();
        assert!(kept.fetched() > before);
        // A fetch that was cut is gone on from; one that began wrong begins again.
        for begun in [&[3; 400][..], b"something else"] {
            made.master.doubt([others[1]].into_iter());
            fs::write(kept.arriving(&others[1]), begun).unwrap();
            assert!(made.master.sound(&others[1]).is_ok());
            assert!(!kept.arriving(&others[1]).exists());
        }
    }

    #[test]
    fn who_comes_second_does_not_wait_for_who_uses_it() {
        let made = made(Some(S3Server::start().unwrap()));
        let Kind::Bucket { kept, .. } = &made.master.kind else { panic!("a bucket") };
        let object = made.put(1);
        let held = made.master.sound(&object).unwrap();
        // As if it was opened a moment before it had its name, and is locked now by its user.
        fs::hard_link(held.path(), kept.arriving(&object)).unwrap();
        kept.fetch(made.master.point(), &object, &mut || {}).unwrap();
        assert!(held.path().is_file());
    }

    #[test]
    fn a_bucket_is_one_sites() {
        let made = made(Some(S3Server::start().unwrap()));
        let claim = |site| claim(made.master.point(), "s3://packages/top", site);
        claim("TOP").unwrap();
        claim("TOP").unwrap();
        let said = claim("OTHER").unwrap_err().to_string();
        assert!(said.contains("belongs to site TOP"), "{said}");
        fs::remove_file(made.objects.join("site.json")).unwrap();
        fs::write(made.objects.join("letter"), "").unwrap();
        let said = claim("TOP").unwrap_err().to_string();
        assert!(said.contains("`letter`"), "{said}");
    }

    #[test]
    fn of_sites_that_want_a_bucket_at_once_one_has_it() {
        let made = made(Some(S3Server::start().unwrap()));
        let names = ["ONE", "TWO", "THREE", "FOUR"];
        let start = std::sync::Barrier::new(names.len());
        let claim = |site| claim(made.master.point(), "s3://packages/top", site).is_ok();
        let mut taken = std::thread::scope(|scope| {
            let claims = names.map(|site| {
                let (start, claim) = (&start, &claim);
                scope.spawn(move || {
                    start.wait();
                    claim(site)
                })
            });
            claims.map(|claim| claim.join().unwrap())
        });
        assert!(taken.iter().filter(|taken| **taken).count() <= 1, "{taken:?}");
        // Where all went back, who says it again has it; nobody else does.
        for (site, taken) in names.into_iter().zip(&mut taken) {
            *taken = claim(site);
        }
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
    }
}
