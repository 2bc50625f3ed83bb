use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use native::{Deb, Listed, apt_index, apt_release, read_deb};

use crate::{
    ExportRepositoryError, Key, Repository,
    files::{
        find, fresh_beside, gzip, listed, listed_bytes, lock, put, put_bytes, switch, unreadable,
        unwritable,
    },
    key::seconds_now,
};

/// Where packages are.
const POOL: &str = "pool/main";
/// How long readers of older indexes find what those name.
const GRACE: Duration = Duration::from_hours(7 * 24);

/// Adds .deb files to the apt repository in `folder`, suite `suite`, and signs it anew.
///
/// # Errors
/// What is wrong with a file, the folder or the key; the repository is then as it was.
pub fn export_apt(
    folder: &Path,
    suite: &str,
    files: &[impl AsRef<Path>],
    key: &Key,
) -> Result<Repository, ExportRepositoryError> {
    let _locked = lock(folder)?;
    let mut added = 0;
    let mut meant = Vec::new();
    for path in files {
        let path = path.as_ref();
        let deb = read(path)?;
        let version = deb.version.rsplit_once(':').map_or(&*deb.version, |(_, version)| version);
        let initial = if deb.name.starts_with("lib") { 4 } else { 1 };
        let (shelf, name) = (deb.name.get(..initial).unwrap_or(&deb.name), &deb.name);
        let file = format!("{name}_{version}_{}.deb", deb.architecture);
        let target = folder.join(POOL).join(shelf).join(name).join(file);
        if target.exists() {
            if listed(&target, "")? != listed(path, "")? {
                return Err(ExportRepositoryError::Taken { path: target });
            }
            continue;
        }
        meant.push((path, target));
    }
    for (path, target) in meant {
        put(&target, |file| {
            let mut source = File::open(path).map_err(unreadable(path))?;
            io::copy(&mut source, file).map(drop).map_err(unwritable(&target))
        })?;
        added += 1;
    }
    let mut packages = Vec::new();
    for path in find(&folder.join(POOL), ".deb")? {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        packages.push((read(&path)?, listed(&path, &name)?));
    }
    let suite_folder = folder.join("dists").join(suite);
    fs::create_dir_all(folder.join("dists")).map_err(unwritable(folder))?;
    let fresh = fresh_beside(&suite_folder)?;
    keep_older(&suite_folder, &fresh)?;
    write_indexes(&fresh, suite, &packages, key)?;
    let (text, bare) = key.public()?;
    put_bytes(&folder.join("packhorse.asc"), text.as_bytes())?;
    put_bytes(&folder.join("packhorse.gpg"), &bare)?;
    switch(&fresh, &suite_folder)?;
    Ok(Repository { added, packages: packages.len(), fingerprint: key.fingerprint() })
}

fn read(path: &Path) -> Result<Deb, ExportRepositoryError> {
    let file = File::open(path).map_err(unreadable(path))?;
    read_deb(io::BufReader::new(file))
        .map_err(|source| ExportRepositoryError::Deb { path: path.to_owned(), source })
}

fn write_indexes(
    fresh: &Path,
    suite: &str,
    packages: &[(Deb, Listed)],
    key: &Key,
) -> Result<(), ExportRepositoryError> {
    let mut architectures = BTreeSet::from(["amd64", "arm64"]);
    architectures.extend(packages.iter().map(|(deb, _)| &*deb.architecture));
    let mut indexes = Vec::new();
    for architecture in architectures.iter().filter(|one| **one != "all") {
        let text = apt_index(packages.iter().map(|(deb, listed)| (deb, listed)), architecture);
        for (name, bytes) in [("Packages", text.clone().into_bytes()), ("Packages.gz", gzip(&text))]
        {
            let folder = format!("main/binary-{architecture}");
            let listed = listed_bytes(&bytes, &format!("{folder}/{name}"));
            let by_hash = format!("{folder}/by-hash/SHA256/{}", listed.sha256);
            put_bytes(&fresh.join(by_hash), &bytes)?;
            put_bytes(&fresh.join(&listed.path), &bytes)?;
            indexes.push(listed);
        }
    }
    architectures.insert("all");
    let architectures: Vec<&str> = architectures.into_iter().collect();
    let release = apt_release(suite, &architectures, &indexes, seconds_now());
    put_bytes(&fresh.join("Release"), release.as_bytes())?;
    put_bytes(&fresh.join("Release.gpg"), key.sign_armored(release.as_bytes())?.as_bytes())?;
    put_bytes(&fresh.join("InRelease"), key.sign_text(&release)?.as_bytes())
}

/// Indexes by hash that readers of an older `InRelease` may still ask for.
fn keep_older(old: &Path, fresh: &Path) -> Result<(), ExportRepositoryError> {
    let now = SystemTime::now();
    for path in find(old, "")? {
        let Ok(below) = path.strip_prefix(old) else { continue };
        if !below.components().any(|part| part.as_os_str() == "by-hash") {
            continue;
        }
        let modified =
            fs::metadata(&path).and_then(|it| it.modified()).map_err(unreadable(&path))?;
        if now.duration_since(modified).is_ok_and(|age| age > GRACE) {
            continue;
        }
        let target = fresh.join(below);
        let made = target.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::hard_link(&path, &target)).map_err(unwritable(&target))?;
    }
    Ok(())
}
