use std::{
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use content::{Manifest, Object, ObjectKind, Release};
use model::{Hasher, Version};
use package::PackageReader;

use crate::{
    Point, PointError, Progress, PublishError,
    collect::Lock,
    releases::{record, recorded},
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
    let release = Release {
        version,
        architecture: reader.header().architecture.clone(),
        identity,
        manifest: Object::of(ObjectKind::Manifest, &bytes),
        totals: reader.header().totals,
        packs: vec![pack],
        deltas: Vec::new(),
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
