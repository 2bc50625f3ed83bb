use std::{
    fs::{self, File},
    io::{self, Seek as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use native::{Rpm, RpmIndex, read_rpm, rpm_index_of_indexes, sign_rpm};

use crate::{
    ExportRepositoryError, Key, Repository,
    files::{
        find, fresh_beside, gzip, listed, listed_bytes, lock, put, put_bytes, switch, unreadable,
        unwritable,
    },
    key::seconds_now,
};

/// Where packages are.
const PACKAGES: &str = "packages";
/// How long readers of older lists find what those name.
const GRACE: Duration = Duration::from_hours(7 * 24);

/// Adds .rpm files to the repository in `folder`, each signed, and signs the repository anew.
///
/// # Errors
/// What is wrong with a file, the folder or the key; the repository is then as it was.
pub fn export_rpm(
    folder: &Path,
    files: &[impl AsRef<Path>],
    key: &Key,
) -> Result<Repository, ExportRepositoryError> {
    let _locked = lock(folder)?;
    let mut meant = Vec::new();
    for path in files {
        let path = path.as_ref();
        let rpm = read(path)?;
        let Rpm { name, version, release, architecture, .. } = &rpm;
        let file = format!("{name}-{version}-{release}.{architecture}.rpm");
        let target = folder.join(PACKAGES).join(file);
        if target.exists() {
            if !is_same(path, &rpm, &target)? {
                return Err(ExportRepositoryError::Taken { path: target });
            }
            continue;
        }
        meant.push((path, target));
    }
    let added = meant.len();
    for (path, target) in meant {
        put(&target, |out| {
            let mut source = File::open(path).map_err(unreadable(path))?;
            let mut sign =
                |bytes: &[u8]| Ok((key.sign(bytes).map_err(io::Error::other)?, key.is_rsa()));
            sign_rpm(&mut source, out, &mut sign)
                .map_err(|source| ExportRepositoryError::Rpm { path: path.to_owned(), source })
        })?;
    }
    let mut packages = Vec::new();
    for path in find(&folder.join(PACKAGES), ".rpm")? {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        let when = fs::metadata(&path).map_err(unreadable(&path))?.mtime();
        packages.push((read(&path)?, listed(&path, &name)?, when));
    }
    let lists = folder.join("repodata");
    let fresh = fresh_beside(&lists)?;
    keep_older(&lists, &fresh)?;
    write_lists(&fresh, &packages, key)?;
    put_bytes(&folder.join("packhorse.asc"), key.public()?.0.as_bytes())?;
    switch(&fresh, &lists)?;
    Ok(Repository { added, packages: packages.len(), fingerprint: key.fingerprint() })
}

fn read(path: &Path) -> Result<Rpm, ExportRepositoryError> {
    let mut file = File::open(path).map_err(unreadable(path))?;
    read_rpm(&mut file)
        .map_err(|source| ExportRepositoryError::Rpm { path: path.to_owned(), source })
}

/// Whether two files differ in their signatures at most.
fn is_same(path: &Path, rpm: &Rpm, other: &Path) -> Result<bool, ExportRepositoryError> {
    let theirs = read(other)?;
    let mut here = File::open(path).map_err(unreadable(path))?;
    let mut there = File::open(other).map_err(unreadable(other))?;
    here.seek(io::SeekFrom::Start(rpm.header.0)).map_err(unreadable(path))?;
    there.seek(io::SeekFrom::Start(theirs.header.0)).map_err(unreadable(other))?;
    let (mut one, mut two) = (io::BufReader::new(here), io::BufReader::new(there));
    loop {
        let (left, right) = (
            io::BufRead::fill_buf(&mut one).map_err(unreadable(path))?,
            io::BufRead::fill_buf(&mut two).map_err(unreadable(other))?,
        );
        let count = left.len().min(right.len());
        if count == 0 || left[..count] != right[..count] {
            return Ok(left.is_empty() && right.is_empty());
        }
        io::BufRead::consume(&mut one, count);
        io::BufRead::consume(&mut two, count);
    }
}

fn write_lists(
    fresh: &Path,
    packages: &[(Rpm, native::Listed, i64)],
    key: &Key,
) -> Result<(), ExportRepositoryError> {
    let RpmIndex { primary, filelists, other } = RpmIndex::new(packages);
    let mut lists = Vec::new();
    for (kind, text) in [("primary", primary), ("filelists", filelists), ("other", other)] {
        let packed = gzip(&text);
        let open = listed_bytes(text.as_bytes(), "");
        let mut listed = listed_bytes(&packed, "");
        listed.path = format!("repodata/{}-{kind}.xml.gz", listed.sha256);
        put_bytes(&fresh.join(listed.path.trim_start_matches("repodata/")), &packed)?;
        lists.push((kind, listed, open.length, open.sha256));
    }
    let text = rpm_index_of_indexes(&lists, seconds_now());
    put_bytes(&fresh.join("repomd.xml"), text.as_bytes())?;
    put_bytes(&fresh.join("repomd.xml.asc"), key.sign_armored(text.as_bytes())?.as_bytes())?;
    put_bytes(&fresh.join("repomd.xml.key"), key.public()?.0.as_bytes())
}

/// Lists that readers of an older `repomd.xml` may still ask for.
fn keep_older(old: &Path, fresh: &Path) -> Result<(), ExportRepositoryError> {
    let now = SystemTime::now();
    for path in find(old, ".xml.gz")? {
        let modified =
            fs::metadata(&path).and_then(|it| it.modified()).map_err(unreadable(&path))?;
        if now.duration_since(modified).is_ok_and(|age| age > GRACE) {
            continue;
        }
        let target = fresh.join(path.file_name().unwrap_or_default());
        fs::hard_link(&path, &target).map_err(unwritable(&target))?;
    }
    Ok(())
}
