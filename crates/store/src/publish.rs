use std::{
    fs::File,
    io::BufReader,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use content::{Catalogue, Composed, DeltaEntry, Index, Object, ObjectKind, Release};
use model::{Hash, Hasher, PackageName, Version};
use package::PackageReader;
use tempfile::NamedTempFile;

/// Deltas are made from so many releases, unless somebody says which.
const LAST: usize = 3;
/// A manifest goes back to no more parts than this.
const MOST_PARTS: usize = 8;

use crate::{
    FetchError, Point, PointError, Progress, PublishError,
    assembly::Assembly,
    catalogues::catalogue,
    collect::{Lock, spare},
    compose::{Composition, NewPack, Scanned, compose},
    known::{Hints, Known, release_of, sample},
    make_delta::{Making, make_delta},
    releases::{record, recorded, releases},
    signed::{Signed, Signing},
    unpacked::Unpacked,
    waiting::Waiting,
};

/// How a package is published.
#[derive(Clone, Debug, Default)]
pub struct PublishOptions {
    /// The versions to make deltas from; `None` stands for the last three.
    pub bases: Option<Vec<Version>>,
    /// How long making deltas may take; what is not done by then is left to cheaper methods.
    pub budget: Option<Duration>,
    /// Whether other content under the same version is replaced.
    pub replace: bool,
    /// Threads that compare files, each with up to 400 MiB of memory; `None` stands for one for each processor.
    pub workers: Option<usize>,
    /// Who signs the release; `None` leaves it unsigned.
    pub signing: Option<Arc<Signing>>,
}

/// What came of a publish.
#[derive(Clone, Debug)]
pub struct Published {
    /// The release, as the index has it now.
    pub release: Release,
    /// Bytes of objects that were not there before.
    pub written: u64,
    /// Whether all of it was there already.
    pub already: bool,
    /// What came of signing it.
    pub signed: Option<Signed>,
}

/// Makes a package file a release: its objects first, then its record, then the index.
///
/// Interrupted anywhere, the point has the release whole or not at all, and publishing again goes on with what is there.
pub fn publish(
    point: &Point,
    package: &Path,
    options: &PublishOptions,
    progress: Progress<'_>,
) -> Result<Published, PublishError> {
    let _lock = Lock::shared(point)?;
    let mut reader = open(package)?;
    reader
        .verify(&mut |done, of| progress("verifying", done, of))
        .map_err(|source| PublishError::Read { path: package.to_owned(), source })?;
    let name = reader.header().name.clone();
    let known = recorded(point, &name)?;
    let identity = reader.identity();
    let version = reader.header().version.clone();
    let same_version = |release: &&Release| {
        release.version.as_str() == version.as_str() && release.identity != identity
    };
    let replaced: Vec<Release> = known.releases.iter().filter(same_version).cloned().collect();
    if !replaced.is_empty() && !options.replace {
        return Err(PublishError::Taken { name, version });
    }
    let object = hash_file(package)?;
    let scanned = Scanned::of(&mut reader)
        .map_err(|source| PublishError::Read { path: package.to_owned(), source })?;
    let sampled = sample(scanned.hashes());
    let hints = Hints::read(point)?;
    let before: Vec<(Release, Catalogue)> = neighbours(point, &known, identity)?;
    let content = content_known(point, &name, &before, &hints, &sampled)?;
    // The version right before, in the order of versions, is what most clients come from.
    let parent = before.first().filter(|(release, _)| may_go_back(release));
    let file = open_file(package)?;
    let parent_catalogue = parent.map(|(_, catalogue)| catalogue);
    let scratch = Waiting::scratch()?;
    let scratch = scratch.folder();
    let composition = compose(&scanned, &file, object, &content, parent_catalogue, scratch)?;
    let deltas =
        deltas(point, &name, &known, identity, package, &composition, options, scratch, progress)?;
    let older = match parent.filter(|_| composition.goes_back) {
        Some((release, _)) => {
            std::iter::once(&release.manifest).chain(release.older()).copied().collect()
        }
        None => Vec::new(),
    };
    let is_whole = matches!(composition.pack, Some(NewPack::Package(_)));
    let plain = is_whole && older.is_empty();
    let release = Release {
        version,
        architecture: reader.header().architecture.clone(),
        identity,
        manifest: Object::of(ObjectKind::Manifest, &composition.part),
        totals: reader.header().totals,
        packs: composition.packs.clone(),
        deltas: deltas.iter().map(|(entry, _)| entry.clone()).collect(),
        composed: (!plain).then_some(Composed { older, whole: is_whole }),
    };
    let mut written = 0;
    let pack = match &composition.pack {
        Some(NewPack::Package(pack)) => Some((pack, package)),
        Some(NewPack::Made(pack, file)) => Some((pack, file.path())),
        None => None,
    };
    if let Some((pack, file)) = pack
        && !is_kept(point, pack)?
    {
        let mut done = 0;
        point.write_object(pack, file, &mut |bytes| {
            done += bytes;
            progress("writing content", done, pack.length);
        })?;
        written += pack.length;
    }
    for (entry, file) in &deltas {
        if !is_kept(point, &entry.object)? {
            written += entry.object.length;
            point.write_object(&entry.object, file.path(), &mut |_| {})?;
        }
    }
    if !is_kept(point, &release.manifest)? {
        written += release.manifest.length;
        point.write_small(&release.manifest.path(), composition.part)?;
    }
    // A kill between the record and the index leaves the one without the other.
    let listed = releases(point, &name).ok().flatten();
    let is_listed = listed.is_some_and(|index| index.releases.contains(&release));
    let already = written == 0 && known.releases.contains(&release) && is_listed;
    // Until readers are switched over, those of before need what is replaced.
    let gone = if options.signing.is_some() { &[] } else { &replaced[..] };
    if !already {
        record(point, &name, &release, gone)?;
        hints.add(point, &name, identity, sampled)?;
    }
    let signing = options.signing.as_ref();
    let signed = signing.map(|signing| signing.sign(point, &name, &release)).transpose()?;
    let already = already && signed.as_ref().is_none_or(|signed| signed.already);
    Ok(Published { release, written, already, signed })
}

/// Whether an object is there, and stays.
fn is_kept(point: &Point, object: &Object) -> Result<bool, PointError> {
    spare(point, object)?;
    point.has(object)
}

/// The manifests of the releases a new one is likely like: those right before it first.
fn neighbours(
    point: &Point,
    known: &Index,
    identity: Hash,
) -> Result<Vec<(Release, Catalogue)>, PublishError> {
    let mut all = Vec::new();
    let others = known.releases.iter().filter(|release| release.identity != identity);
    for release in others.rev().take(LAST) {
        // Without it more is written than must be, no more.
        match catalogue(point, release, None) {
            Ok(catalogue) => all.push((release.clone(), catalogue)),
            Err(FetchError::Point(error @ PointError::Request { .. })) => return Err(error.into()),
            Err(_) => {}
        }
    }
    Ok(all)
}

/// A manifest does not go back without end: every so many releases one stands alone.
fn may_go_back(release: &Release) -> bool {
    let older: u64 = release.older().iter().map(|object| object.length).sum();
    let first = release.older().last().map_or(0, |first| first.length);
    release.older().len() < MOST_PARTS && older <= first * 2
}

/// All chunks the point is known to have: of the same package, and of others that likely share some.
fn content_known(
    point: &Point,
    name: &PackageName,
    before: &[(Release, Catalogue)],
    hints: &Hints,
    sampled: &[u64],
) -> Result<Known, PublishError> {
    let mut known = Known::default();
    let unusable = |error: content::ReadManifestError| PublishError::Manifest {
        name: name.clone(),
        source: error,
    };
    for (_, catalogue) in before {
        known.take(catalogue).map_err(unusable)?;
    }
    for (name, identity) in hints.champions(name, sampled) {
        let Some(release) = release_of(point, &name, identity)? else { continue };
        if let Ok(catalogue) = catalogue(point, &release, None) {
            known.take(&catalogue).map_err(unusable)?;
        }
    }
    Ok(known)
}

/// The name of the package in a file.
pub fn package_name(package: &Path) -> Result<PackageName, PublishError> {
    Ok(open(package)?.header().name.clone())
}

/// The releases to make deltas from.
fn choose_bases<'k>(
    name: &PackageName,
    known: &'k Index,
    identity: Hash,
    options: &PublishOptions,
) -> Result<Vec<&'k Release>, PublishError> {
    let others = || known.releases.iter().filter(|release| release.identity != identity);
    match &options.bases {
        None => Ok(others().rev().take(LAST).collect()),
        Some(versions) => versions
            .iter()
            .map(|version| {
                others().find(|release| release.version.as_str() == version.as_str()).ok_or_else(
                    || PublishError::NoBase { name: name.clone(), version: version.clone() },
                )
            })
            .collect(),
    }
}

/// Makes the deltas that are not there yet, each in a file of its own.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a thing of its own, and there is one caller"
)]
fn deltas(
    point: &Point,
    name: &PackageName,
    known: &Index,
    identity: Hash,
    package: &Path,
    composition: &Composition,
    options: &PublishOptions,
    scratch: &Path,
    progress: Progress<'_>,
) -> Result<Vec<(DeltaEntry, NamedTempFile)>, PublishError> {
    let bases = choose_bases(name, known, identity, options)?;
    if bases.is_empty() {
        return Ok(Vec::new());
    }
    let unpack = |path: &Path| {
        Unpacked::open(path, scratch)
            .map_err(|source| PublishError::Unpack { path: path.to_owned(), source })
    };
    // Unpacking counts, too.
    let began = Instant::now();
    let new = Arc::new(unpack(package)?);
    let mut made = Vec::new();
    for (number, base) in bases.iter().enumerate() {
        let of_base = |source: FetchError| PublishError::Base {
            version: base.version.clone(),
            source: Box::new(source),
        };
        let manifest = catalogue(point, base, None).map_err(of_base)?;
        // What both have is at hand.
        let mut assembly = Assembly::new(point, scratch, manifest, vec![Arc::clone(&new)])
            .map_err(|error| of_base(error.into()))?;
        let old = assembly.unpack(scratch, &mut || {}).map_err(of_base)?;
        assembly.discard()?;
        let out = NamedTempFile::new_in(scratch).map_err(|source| PointError::File {
            doing: "making a delta in",
            path: scratch.to_owned(),
            source,
        })?;
        // Each delta has its share of the time that is left.
        let share = options.budget.map(|budget| {
            let left = bases.len() - number;
            budget.saturating_sub(began.elapsed()) / u32::try_from(left).unwrap_or(1)
        });
        let making = Making {
            workers: options
                .workers
                .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)),
            budget: share.map(|share| (Instant::now(), share)),
        };
        let doing = format!("delta from {}", base.version);
        let (hash, length) = make_delta(&old, &new, out.as_file(), &making, &mut |done| {
            progress(&doing, done, new.length);
        })
        .map_err(PublishError::Delta)?;
        // One that saves next to nothing is not worth its place.
        let frames = composition.without(&old);
        if length < frames - frames / 20 {
            let object = Object { kind: ObjectKind::Delta, hash, length };
            made.push((DeltaEntry { base: base.identity, object }, out));
        }
    }
    Ok(made)
}

fn open_file(path: &Path) -> Result<File, PointError> {
    File::open(path).map_err(|source| PointError::File {
        doing: "reading",
        path: path.to_owned(),
        source,
    })
}

fn open(path: &Path) -> Result<PackageReader<BufReader<File>>, PublishError> {
    let refuse = |source| PublishError::Open { path: path.to_owned(), source };
    let file =
        File::open(path).map_err(|source| refuse(package::OpenError::Read { at: 0, source }))?;
    PackageReader::open(BufReader::with_capacity(1 << 20, file)).map_err(refuse)
}

/// The object a file is.
fn hash_file(path: &Path) -> Result<Object, PointError> {
    let cannot = |source| PointError::File { doing: "reading", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(cannot)?;
    let mut hasher = Hasher::new();
    let length = hasher.read_all(&mut file).map_err(cannot)?;
    Ok(Object { kind: ObjectKind::Pack, hash: hasher.finish(), length })
}
