//! The files of a package, as they are: what devices fetch that know no packages.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use deployment::PackageRef;
use md5::{Digest as _, Md5};
use package::{NoRecall, Node, PackageReader};
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::Sha256;
use store::{FetchOptions, Point};

use crate::{Folder, SiteError, chance::hex};

/// Packages are unpacked one at a time.
static TURN: Mutex<()> = Mutex::new(());
/// The list beside the files.
const LIST: &str = "list.json";
/// An identity has so many digits.
const IDENTITY: usize = 64;
/// What was begun so long ago nobody goes on with.
const LEFT: Duration = Duration::from_hours(24);

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Artifact {
    /// Its name: the last part of its path, or all of it where two have the same.
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    pub(super) sha1: String,
    pub(super) md5: String,
    pub(super) sha256: String,
}

fn all_of(folder: &Folder) -> PathBuf {
    folder.path().join("artifacts")
}

fn folder_of(folder: &Folder, package: &PackageRef) -> PathBuf {
    all_of(folder).join(package.identity.to_string())
}

/// Removes the files of packages that are deployed no longer, and what an unpacking that was cut off left.
pub(super) fn sweep(folder: &Folder, deployed: &BTreeSet<String>) -> Result<(), SiteError> {
    let all = all_of(folder);
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let entries = match fs::read_dir(&all) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(SiteError::file("reading", &all))?,
    };
    for entry in entries {
        let path = entry.map_err(SiteError::file("reading", &all))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_package =
            name.len() == IDENTITY && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        // Another process may be unpacking into what is young.
        let is_left = || {
            let changed = fs::metadata(&path).and_then(|found| found.modified()).ok();
            changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFT)
        };
        let goes = if is_package { !deployed.contains(&name) } else { is_left() };
        if goes {
            // Without its list it is no longer there, however far the rest comes.
            let _ = fs::remove_file(path.join(LIST));
            fs::remove_dir_all(&path).map_err(SiteError::file("deleting", &path))?;
        }
    }
    Ok(())
}

/// Where a file of a package lies once it was unpacked.
pub(super) fn path(folder: &Folder, package: &PackageRef, name: &str) -> PathBuf {
    folder_of(folder, package).join("files").join(name)
}

/// The files of a package, unpacked beside the store where they were not: whole, or not at all.
pub(super) fn of(
    folder: &Folder,
    point: &Point,
    package: &PackageRef,
) -> Result<Vec<Artifact>, SiteError> {
    let own = folder_of(folder, package);
    let list = own.join(LIST);
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match fs::read(&list) {
        Ok(bytes) => {
            return serde_json::from_slice(&bytes)
                .map_err(|error| SiteError::file("reading", &list)(error.into()));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(SiteError::file("reading", &list)(error)),
    }
    let all = all_of(folder);
    fs::create_dir_all(&all).map_err(SiteError::file("making", &all))?;
    let beside = tempfile::tempdir_in(&all).map_err(SiteError::file("making", &all))?;
    let version = Some(package.version.clone());
    let options = FetchOptions { version, ..FetchOptions::default() };
    let packed = beside.path().join("package");
    store::wanted(point, &package.name, &options, None)
        .and_then(|mut wanted| wanted.fetch(&packed, &mut |_, _, _| {}))
        .map_err(|error| {
            let why = model::with_causes(&error);
            SiteError::Said { message: format!("`{}`: {why}", package.name), conflict: false }
        })?;
    let unpacked = beside.path().join("unpacked");
    let files = unpacked.join("files");
    fs::create_dir_all(&files).map_err(SiteError::file("making", &files))?;
    let artifacts =
        unpack(&packed, package, &files).map_err(SiteError::file("unpacking", &packed))?;
    let text = serde_json::to_vec(&artifacts).unwrap_or_default();
    let beside_list = unpacked.join(LIST);
    fs::write(&beside_list, text).map_err(SiteError::file("writing", &beside_list))?;
    // What has no list is what was being removed.
    let _ = fs::remove_dir_all(&own);
    fs::rename(&unpacked, &own).map_err(SiteError::file("renaming", &own))?;
    Ok(artifacts)
}

fn unpack(file: &Path, package: &PackageRef, to: &Path) -> std::io::Result<Vec<Artifact>> {
    let other = |error: &dyn std::error::Error| std::io::Error::other(model::with_causes(error));
    let file = BufReader::with_capacity(1 << 20, File::open(file)?);
    let mut reader = PackageReader::open(file).map_err(|error| other(&error))?;
    if reader.identity() != package.identity {
        return Err(std::io::Error::other("it is another release than was meant"));
    }
    let mut contents = reader.contents();
    let mut names: Vec<String> = Vec::new();
    while let Some(record) = contents.next_record().map_err(|error| other(&error))? {
        let Node::File(content) = &record.node else { continue };
        let path = String::from_utf8_lossy(&record.path).into_owned();
        let short = path.rsplit('/').next().unwrap_or_default().to_owned();
        let is_taken = names.contains(&short);
        let name =
            if is_taken { format!("{}-{}", record.tree, path.replace('/', "-")) } else { short };
        let mut file = File::create_new(to.join(&name))?;
        file.set_len(content.length)?;
        while let Some(piece) = contents.piece(&mut NoRecall).map_err(|error| other(&error))? {
            // Holes stay holes.
            file.seek(SeekFrom::Start(piece.offset))?;
            file.write_all(piece.data)?;
        }
        file.sync_all()?;
        names.push(name);
    }
    names.into_iter().map(|name| summed(to, name)).collect()
}

fn summed(folder: &Path, name: String) -> std::io::Result<Artifact> {
    let mut file = File::open(folder.join(&name))?;
    let (mut sha1, mut md5, mut sha256) = (Sha1::new(), Md5::new(), Sha256::new());
    let mut block = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let read = file.read(&mut block)?;
        let Some(bytes) = block.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        sha1.update(bytes);
        md5.update(bytes);
        sha256.update(bytes);
        size += read as u64;
    }
    let (sha1, md5) = (hex(&sha1.finalize()), hex(&md5.finalize()));
    Ok(Artifact { name, size, sha1, md5, sha256: hex(&sha256.finalize()) })
}
