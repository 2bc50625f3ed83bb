use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use content::{DeltaEntry, Index, Manifest, Object, ObjectKind, Release};
use model::{Hash, Hasher, PackageName, Version};
use package::PackageReader;
use tempfile::NamedTempFile;

/// Deltas are made from so many releases, unless somebody says which.
const LAST: usize = 3;

use crate::{
    Point, PointError, Progress, PublishError,
    collect::Lock,
    make_delta::{Making, make_delta},
    partial::fetch_object,
    releases::{record, recorded},
    unpacked::Unpacked,
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
    let pack = hash_file(package)?;
    let manifest = Manifest::of(&mut reader, pack)
        .map_err(|source| PublishError::Read { path: package.to_owned(), source })?;
    let bytes = manifest.to_bytes();
    let deltas = deltas(point, &name, &known, identity, package, pack, options, progress)?;
    let release = Release {
        version,
        architecture: reader.header().architecture.clone(),
        identity,
        manifest: Object::of(ObjectKind::Manifest, &bytes),
        totals: reader.header().totals,
        packs: vec![pack],
        deltas: deltas.iter().map(|(entry, _)| entry.clone()).collect(),
    };
    let mut written = 0;
    if !point.has(&pack)? {
        let mut done = 0;
        point.write_object(&pack, package, &mut |bytes| {
            done += bytes;
            progress("writing content", done, pack.length);
        })?;
        written += pack.length;
    }
    for (entry, file) in &deltas {
        if !point.has(&entry.object)? {
            written += entry.object.length;
            point.write_object(&entry.object, file.path(), &mut |_| {})?;
        }
    }
    if !point.has(&release.manifest)? {
        written += release.manifest.length;
        point.write_small(&release.manifest.path(), bytes)?;
    }
    let already = written == 0 && known.releases.contains(&release);
    if !already {
        record(point, &name, &release, &replaced)?;
    }
    Ok(Published { release, written, already })
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
    pack: Object,
    options: &PublishOptions,
    progress: Progress<'_>,
) -> Result<Vec<(DeltaEntry, NamedTempFile)>, PublishError> {
    let bases = choose_bases(name, known, identity, options)?;
    if bases.is_empty() {
        return Ok(Vec::new());
    }
    let folder = tempfile::tempdir().map_err(|source| scratch(&std::env::temp_dir(), source))?;
    let unpack = |path: &Path| {
        Unpacked::open(path, folder.path())
            .map_err(|source| PublishError::Unpack { path: path.to_owned(), source })
    };
    let new = unpack(package)?;
    let mut made = Vec::new();
    let began = Instant::now();
    for (number, base) in bases.iter().enumerate() {
        let Some(base_pack) = base.packs.first() else { continue };
        let file = fetch_object(point, base_pack, folder.path(), &mut |_| {})?;
        let old = unpack(&file)?;
        std::fs::remove_file(&file).map_err(|source| scratch(&file, source))?;
        let out = NamedTempFile::new().map_err(|source| scratch(&std::env::temp_dir(), source))?;
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
        if length < pack.length - pack.length / 20 {
            let object = Object { kind: ObjectKind::Delta, hash, length };
            made.push((DeltaEntry { base: base.identity, object }, out));
        }
    }
    Ok(made)
}

fn scratch(path: &Path, source: std::io::Error) -> PointError {
    PointError::File { doing: "using", path: path.to_owned(), source }
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
    file.seek(SeekFrom::Start(0)).map_err(cannot)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        let read = file.read(&mut buffer).map_err(cannot)?;
        if read == 0 {
            return Ok(Object { kind: ObjectKind::Pack, hash: hasher.finish(), length });
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}
