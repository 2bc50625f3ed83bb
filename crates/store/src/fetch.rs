use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use content::{Catalogue, Cost, Index, Object, Plan, Release, Route, Way};
use model::{Hash, PackageName, Version};
use package::{Header, PackageReader, Record};
use trust::Standing;

use crate::{
    FetchError, Point, PointError, Progress,
    assembly::{Assembly, as_frame, only},
    at::sync,
    cache::Cache,
    catalogues::{catalogue, missing},
    follow::follow,
    frames::Frames,
    partial::{discard, fetch_object},
    point::damaged,
    signed::{Admitted, TrustSettings, admitted},
    unpacked::Unpacked,
    waiting::Waiting,
};

/// What is fetched, and from what.
#[derive(Clone, Debug, Default)]
pub struct FetchOptions {
    /// The version; `None` stands for the newest.
    pub version: Option<Version>,
    /// Package files this machine has already.
    pub have: Vec<PathBuf>,
    /// Where manifests are kept from one update to the next, and what comes waits.
    pub cache: Option<Cache>,
    /// Whether every way is looked into, and not only as many as it takes to find the cheapest.
    pub explain: bool,
    /// Whose releases count; `None` takes whatever the point has.
    pub trust: Option<TrustSettings>,
}

/// The same package, installed on this machine.
pub struct Installed<'m> {
    /// Its version.
    pub version: Version,
    /// Where the file of a record is, if it is one whose content is that of the package.
    pub place: &'m dyn Fn(&Header, &Record) -> Option<PathBuf>,
}

/// A release, and the ways to it from what is here.
pub struct Wanted<'p> {
    point: &'p Point,
    index: Index,
    release: Release,
    plan: Plan,
    have: Vec<(Hash, PathBuf)>,
    installed: Option<Base>,
    assembly: Option<(Assembly<'p>, Cost)>,
    cache: Option<Cache>,
    waiting: Option<Waiting>,
    notes: Vec<String>,
    before: (u64, u64),
    signed: Option<Admitted>,
}

/// What is installed, hashed.
struct Base {
    identity: Hash,
    catalogue: Option<Catalogue>,
    unpacked: Arc<Unpacked>,
    /// Positions of records whose files are not as the package has them.
    altered: Vec<usize>,
    /// What fetching those costs.
    repair: Cost,
}

/// What came of a fetch.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Bytes that came, the index included.
    pub received: u64,
    /// Requests that were made.
    pub requests: u64,
    /// The way that led there last; those before it failed, and why.
    pub routes: Vec<String>,
}

/// A release that is ready to be installed.
pub enum Ready<'w, 'p> {
    /// A package file; it is whole.
    File(PathBuf),
    /// What is missing comes while it is installed.
    Streamed(&'w mut Assembly<'p>),
}

/// Finds a release, and decides how to get it.
pub fn wanted<'p>(
    point: &'p Point,
    name: &PackageName,
    options: &FetchOptions,
    installed: Option<&Installed<'_>>,
) -> Result<Wanted<'p>, FetchError> {
    let before = point.counted();
    let (index, signed) = admitted(point, name, options)?
        .ok_or_else(|| FetchError::NoPackage { name: name.clone() })?;
    let release = choose(&index, options)?.clone();
    // A file that is no package is of no use; that is all there is to it.
    let have: Vec<_> =
        options.have.iter().filter_map(|path| Some((identity_of(path)?, path.clone()))).collect();
    let mut wanted = Wanted {
        point,
        plan: Plan::decide(&index, &release, &[], None),
        index,
        release,
        have,
        installed: None,
        assembly: None,
        cache: options.cache.clone(),
        waiting: options.cache.as_ref().map(|cache| Waiting::claim(cache.folder())).transpose()?,
        notes: Vec::new(),
        before,
        signed,
    };
    if let Some(installed) = installed {
        wanted.installed = wanted.base(installed)?;
    }
    wanted.decide();
    let first = wanted.plan.routes().first();
    let is_sure = first.is_some_and(|route| !matches!(route.way, Way::Whole { .. }))
        || (wanted.have.is_empty() && wanted.installed.is_none() && first.is_some());
    if options.explain || !is_sure {
        wanted.look_into_frames()?;
    }
    Ok(wanted)
}

fn identity_of(path: &Path) -> Option<Hash> {
    let reader = PackageReader::open(BufReader::new(File::open(path).ok()?)).ok()?;
    Some(reader.identity())
}

impl std::fmt::Debug for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted")
            .field("release", &self.release)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl<'p> Wanted<'p> {
    /// What was found.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// Who signed it; `None` if nobody was asked.
    pub fn signed(&self) -> Option<(&str, &Standing)> {
        let signed = self.signed.as_ref()?;
        let release = signed.releases.iter().find(|signed| signed.is(&self.release))?;
        Some((&release.role, &signed.standing))
    }

    /// How it will be fetched.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What people should know of what is here: files that are of no use as they are, and the like.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        let newer = self.signed.as_ref().and_then(|signed| signed.newer.as_ref());
        notes.extend(newer.filter(|newer| **newer > self.release.version).map(|newer| {
            format!("version `{newer}` is signed and not at this distribution point yet")
        }));
        let strayed = self.assembly.as_ref().and_then(|(assembly, _)| assembly.strayed());
        notes.extend(strayed.map(|reason| format!("the delta was of no use: {reason}")));
        notes
    }

    /// What came so far.
    pub fn counted(&self) -> Cost {
        let after = self.point.counted();
        Cost { bytes: after.1 - self.before.1, requests: after.0 - self.before.0 }
    }

    /// Where what comes waits; before that is settled, where files without a name go.
    fn folder(&self) -> PathBuf {
        self.waiting.as_ref().map_or_else(std::env::temp_dir, |waiting| waiting.folder().to_owned())
    }

    /// Settles where what comes waits.
    fn wait_in(&mut self, waiting: Waiting) {
        if let Some((assembly, _)) = &mut self.assembly {
            assembly.wait_in(waiting.folder());
        }
        self.waiting = Some(waiting);
    }

    /// What is installed, as a base: its manifest is fetched unless it is in the cache.
    fn base(&mut self, installed: &Installed<'_>) -> Result<Option<Base>, FetchError> {
        let of_version = |release: &&Release| {
            release.version.as_str() == installed.version.as_str()
                && release.architecture == self.release.architecture
        };
        let Some(release) = self.index.releases.iter().find(of_version).cloned() else {
            self.notes.push(format!(
                "version {} is installed, and the distribution point does not know it",
                installed.version
            ));
            return Ok(None);
        };
        let catalogue = catalogue(self.point, &release, self.cache.as_ref())?;
        let folder = self.folder();
        let header = catalogue.header().clone();
        let place = |record: &Record| (installed.place)(&header, record);
        let (unpacked, altered) = Unpacked::installed(&catalogue, &place, &folder)?;
        let mut repair = Cost::default();
        let mut of = None;
        if !altered.is_empty() {
            self.notes.push(format!(
                "{} installed files are not as version {} has them, and are not started from",
                altered.len(),
                installed.version
            ));
            let filling = only(self.point, &folder, catalogue, &altered)?;
            repair = filling.cost();
            of = Some(filling.into_catalogue());
        }
        let (identity, unpacked) = (release.identity, Arc::new(unpacked));
        Ok(Some(Base { identity, catalogue: of, unpacked, altered, repair }))
    }

    /// Decides anew with what is known by now.
    fn decide(&mut self) {
        let mut have: Vec<_> = self.have.iter().map(|(identity, _)| *identity).collect();
        // What is installed is no package file: it cannot be copied, but started from.
        let installed =
            self.installed.as_ref().filter(|base| base.identity != self.release.identity);
        have.extend(installed.map(|base| base.identity));
        let frames = self.assembly.as_ref().map(|(assembly, manifest)| {
            let (frames, packs, here) = assembly.shape();
            let cost = assembly.cost();
            Route {
                way: Way::Frames { frames, packs, here },
                cost: Cost {
                    bytes: cost.bytes + manifest.bytes,
                    requests: cost.requests + manifest.requests,
                },
            }
        });
        self.plan = Plan::decide(&self.index, &self.release, &have, frames);
        if let Some(base) = &self.installed {
            self.plan.burden(base.identity, base.repair);
        }
    }

    /// Finds out what the way over frames costs.
    fn look_into_frames(&mut self) -> Result<(), FetchError> {
        if self.assembly.is_some() {
            return Ok(());
        }
        let manifest = missing(&self.release, self.cache.as_ref());
        let catalogue = catalogue(self.point, &self.release, self.cache.as_ref())?;
        let folder = self.folder();
        let mut bases: Vec<_> =
            self.installed.iter().map(|base| Arc::clone(&base.unpacked)).collect();
        for (_, path) in &self.have {
            // One that is damaged is of no use.
            match Unpacked::open(path, &folder) {
                Ok(unpacked) => bases.push(Arc::new(unpacked)),
                Err(error) => self.notes.push(format!("`{}`: {error}", path.display())),
            }
        }
        let assembly = Assembly::new(self.point, &folder, catalogue, bases)?;
        self.assembly = Some((assembly, manifest));
        self.decide();
        Ok(())
    }

    /// Makes the package of the release: `to`, a package file, verified.
    ///
    /// A way that fails is left for the next cheapest: an altered base, a damaged delta. What came before a cut waits, and is
    /// gone on from.
    pub fn fetch(&mut self, to: &Path, progress: Progress<'_>) -> Result<Fetched, FetchError> {
        let mut routes = Vec::new();
        if self.waiting.is_none() {
            self.wait_in(Waiting::claim(folder_of(to))?);
        }
        self.try_all(&mut routes, &mut |wanted, way| wanted.go(way, to, progress))?;
        let Cost { bytes, requests } = self.counted();
        Ok(Fetched { received: bytes, requests, routes })
    }

    /// Makes the release ready to be installed: a delta, or what else is missing, comes while it is installed.
    pub fn ready(&mut self) -> Result<Ready<'_, 'p>, FetchError> {
        if self.waiting.is_none() {
            self.wait_in(Waiting::scratch()?);
        }
        if let Some((_, path)) =
            self.have.iter().find(|(have, _)| *have == self.release.identity).cloned()
        {
            return Ok(Ready::File(path));
        }
        let first = self.plan.routes().first().map(|route| route.way.clone());
        if let Some(Way::Delta { base, object, .. }) = first {
            let folder = self.folder();
            let old = self.old(base, &object, &folder)?;
            let manifest = missing(&self.release, self.cache.as_ref());
            let catalogue = catalogue(self.point, &self.release, self.cache.as_ref())?;
            let following = Assembly::following(self.point, &folder, catalogue, &object, old)?;
            self.assembly = Some((following, manifest));
        }
        self.look_into_frames()?;
        match &mut self.assembly {
            Some((assembly, _)) => Ok(Ready::Streamed(assembly)),
            None => Err(FetchError::NotTheRelease { object: self.release.manifest }),
        }
    }

    /// What came and is not needed any more goes; the cache keeps its limit.
    pub fn tidy(&self) -> Result<(), PointError> {
        if let Some((assembly, _)) = &self.assembly {
            assembly.discard()?;
        }
        let Some(cache) = &self.cache else { return Ok(()) };
        let cannot =
            |source| PointError::File { doing: "tidying", path: cache.folder().to_owned(), source };
        // Whoever came second leaves the files of the first alone.
        match &self.waiting {
            Some(waiting) if waiting.lasts() => cache.trim().map(drop).map_err(cannot),
            _ => Ok(()),
        }
    }

    /// A way that failed is not gone again.
    fn forget(&mut self, way: &Way) {
        match way {
            Way::Delta { object, .. } => {
                self.release.deltas.retain(|delta| delta.object != *object);
            }
            Way::Copy => self.have.retain(|(have, _)| *have != self.release.identity),
            Way::Frames { .. } | Way::Whole { .. } => {}
        }
        self.decide();
    }

    fn try_all(
        &mut self,
        routes: &mut Vec<String>,
        go: &mut dyn FnMut(&mut Self, &Way) -> Result<(), FetchError>,
    ) -> Result<(), FetchError> {
        let mut failed = None;
        let mut tried: Vec<Way> = Vec::new();
        loop {
            let untried = |route: &&Route| !tried.contains(&route.way);
            let Some(way) = self.plan.routes().iter().find(untried).map(|route| route.way.clone())
            else {
                let is_new = self.assembly.is_none();
                // What looked dearer may be the last that is left.
                if is_new && self.look_into_frames().is_ok() && self.assembly.is_some() {
                    continue;
                }
                return Err(
                    failed.unwrap_or(FetchError::NotTheRelease { object: self.release.manifest })
                );
            };
            match go(self, &way) {
                Ok(()) => {
                    routes.push(way_name(&way).to_owned());
                    return Ok(());
                }
                Err(error) if error.ends_all() => return Err(error),
                Err(error) => {
                    routes.push(format!("{}: {error}", way_name(&way)));
                    failed = Some(error);
                    tried.push(way.clone());
                    self.forget(&way);
                    if matches!(way, Way::Delta { .. }) {
                        // The base may still have most of it.
                        let _ = self.look_into_frames();
                    }
                }
            }
        }
    }

    fn go(&mut self, way: &Way, to: &Path, progress: Progress<'_>) -> Result<(), FetchError> {
        match way {
            Way::Copy => self.copy(to),
            Way::Delta { base, object, .. } => self.delta(*base, object, to, progress),
            Way::Frames { .. } => self.frames(to, progress),
            Way::Whole { object } => {
                let folder = self.folder();
                fetch_whole(self.point, &self.release, object, &folder, to, progress)
            }
        }
    }

    /// Puts the release together from what is here and from frames.
    fn frames(&mut self, to: &Path, progress: Progress<'_>) -> Result<(), FetchError> {
        let Some((assembly, _)) = &mut self.assembly else {
            return Err(FetchError::NotTheRelease { object: self.release.manifest });
        };
        let folder = folder_of(to);
        let cannot =
            |source| PointError::File { doing: "writing", path: folder.to_owned(), source };
        let made = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
        progress("fetching", 0, assembly.cost().bytes);
        let came = AtomicU64::new(0);
        assembly.write(made.as_file(), &|bytes| {
            came.fetch_add(bytes, Ordering::Relaxed);
        })?;
        let made = made.into_temp_path();
        finish(&made, to)?;
        let _ = made.keep();
        assembly.discard()?;
        Ok(())
    }

    fn delta(
        &self,
        base: Hash,
        object: &Object,
        to: &Path,
        progress: Progress<'_>,
    ) -> Result<(), FetchError> {
        let folder = self.folder();
        let old = self.old(base, object, &folder)?;
        let coming = Frames::new(self.point, &folder, &[*object], &[as_frame(object)]);
        let beside = tempfile::Builder::new().suffix(".made").tempfile_in(folder_of(to));
        let cannot = |source| PointError::File { doing: "writing", path: to.to_owned(), source };
        let made = beside.map_err(cannot)?.into_temp_path();
        let (mut done, of) = (0, self.release.totals.bytes);
        let missing = coming.missing(&[0]);
        coming.begin();
        let result = std::thread::scope(|scope| {
            scope.spawn(|| coming.fetch(&missing, &mut |_| {}));
            let input = BufReader::with_capacity(256 << 10, coming.open(0));
            let result = follow(input, &old, self.release.identity, &made, &mut |bytes| {
                done += bytes;
                progress("fetching and applying", done, of);
            });
            coming.stop();
            result
        });
        if let Err(error) = result {
            // A cut is gone on from; what came whole and leads nowhere is not.
            if let Some(cut) = coming.failed() {
                return Err(cut.into());
            }
            coming.forget(0)?;
            return Err(FetchError::Follow(error));
        }
        finish(&made, to)?;
        let _ = made.keep();
        coming.forget(0)?;
        Ok(())
    }

    /// The base of a delta, whole.
    fn old(&self, base: Hash, object: &Object, folder: &Path) -> Result<Arc<Unpacked>, FetchError> {
        if let Some((_, path)) = self.have.iter().find(|(have, _)| *have == base) {
            return Unpacked::open(path, folder)
                .map(Arc::new)
                .map_err(|source| FetchError::Base { path: path.clone(), source });
        }
        let Some(installed) = self.installed.as_ref().filter(|one| one.identity == base) else {
            return Err(FetchError::NotTheRelease { object: *object });
        };
        if let Some(parts) = &installed.catalogue {
            let again = parts.clone();
            let mut filling = only(self.point, folder, again, &installed.altered)?;
            filling.fill(&installed.unpacked, &installed.altered)?;
            filling.discard()?;
        }
        Ok(Arc::clone(&installed.unpacked))
    }

    fn copy(&self, to: &Path) -> Result<(), FetchError> {
        let Some((_, from)) = self.have.iter().find(|(have, _)| *have == self.release.identity)
        else {
            return Err(FetchError::NotTheRelease { object: self.release.manifest });
        };
        let cannot = |source| PointError::File { doing: "copying", path: from.clone(), source };
        let file = File::open(from).map_err(cannot)?;
        let mut reader = PackageReader::open(BufReader::new(file))
            .map_err(|_| FetchError::NotTheRelease { object: self.release.manifest })?;
        reader
            .verify(&mut |_, _| {})
            .map_err(|_| FetchError::NotTheRelease { object: self.release.manifest })?;
        let partial = to.with_extension("partial");
        std::fs::copy(from, &partial).map_err(cannot)?;
        finish(&partial, to)?;
        Ok(())
    }
}

fn way_name(way: &Way) -> &'static str {
    match way {
        Way::Copy => "copy",
        Way::Delta { .. } => "delta",
        Way::Frames { .. } => "frames",
        Way::Whole { .. } => "whole",
    }
}

fn choose<'i>(index: &'i Index, options: &FetchOptions) -> Result<&'i Release, FetchError> {
    let version = options.version.as_ref();
    index.release(version).ok_or_else(|| match version {
        None => FetchError::NoPackage { name: index.name.clone() },
        Some(version) => FetchError::NoVersion {
            name: index.name.clone(),
            version: version.clone(),
            known: index
                .releases
                .iter()
                .map(|known| format!("`{}`", known.version))
                .collect::<Vec<_>>()
                .join(", "),
        },
    })
}

fn fetch_whole(
    point: &Point,
    release: &Release,
    pack: &Object,
    folder: &Path,
    to: &Path,
    progress: Progress<'_>,
) -> Result<(), FetchError> {
    let mut done = 0;
    let partial = fetch_object(point, pack, folder, &mut |bytes| {
        done += bytes;
        progress("fetching", done, pack.length);
    })?;
    let cannot = |source| PointError::File { doing: "reading", path: partial.clone(), source };
    let input = BufReader::with_capacity(1 << 20, File::open(&partial).map_err(cannot)?);
    let mut reader =
        PackageReader::open(input).map_err(|_| FetchError::NotTheRelease { object: *pack })?;
    // The pack's hash is the index's word; the identity may be a signed one. So all of it is read.
    let is_it = reader.identity() == release.identity
        && reader.verify(&mut |done, of| progress("verifying", done, of)).is_ok();
    if !is_it {
        discard(&partial)?;
        return Err(damaged(pack).into());
    }
    drop(reader);
    finish(&partial, to)?;
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Gives what is whole and durable its name.
pub(crate) fn finish(from: &Path, to: &Path) -> Result<(), PointError> {
    let cannot = |source| PointError::File { doing: "writing", path: to.to_owned(), source };
    sync(from).map_err(cannot)?;
    match std::fs::rename(from, to) {
        // The cache may be on another file system.
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            let beside = to.with_extension("partial");
            std::fs::copy(from, &beside).map_err(cannot)?;
            sync(&beside).map_err(cannot)?;
            std::fs::rename(&beside, to).map_err(cannot)?;
            std::fs::remove_file(from).map_err(cannot)
        }
        result => result.map_err(cannot),
    }
}
