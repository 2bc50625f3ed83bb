//! Signing at a distribution point: read, changed, written, and switched by the timestamp, which comes last.

use std::{
    fs::{File, OpenOptions},
    io,
    sync::Arc,
};

use content::{Index, Release};
use jiff::Timestamp;
use model::PackageName;
use trust::{Change, Edit, EditError, FinishError, Lifetimes, SigningKey};

use super::TrustError;
use crate::{
    Point, PointError,
    check::package_names,
    collect::Lock,
    releases::{recorded, refresh},
};

/// Publishers of a bucket have no lock: who loses a version to another tries the next, this often.
const ATTEMPTS: u32 = 5;

/// Who signs what is published.
#[derive(Debug)]
pub struct Signing {
    /// The root that is pinned; `None` goes by the point's first.
    pub root: Option<Vec<u8>>,
    /// `targets`, or a team.
    pub role: String,
    /// The role's keys, and the online key if it is at hand.
    pub keys: Vec<SigningKey>,
    /// What time it is.
    pub now: Timestamp,
    /// How long signatures are good for.
    pub lifetimes: Lifetimes,
}

/// What came of signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The role that signed.
    pub role: String,
    /// Whether it had signed this before, and readers see it.
    pub already: bool,
    /// Whether readers see it; otherwise it waits for who has the online key.
    pub switched: bool,
}

/// Something that cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// What is there is not believed, or not readable.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// It is not the role's.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// Keys are lacking.
    #[error(transparent)]
    Finish(#[from] FinishError),
}

impl From<PointError> for SignError {
    fn from(error: PointError) -> Self {
        Self::Trust(error.into())
    }
}

impl Signing {
    /// Signs a release that is recorded, switches readers over, and takes away what it replaced.
    pub(crate) fn sign(
        self: &Arc<Self>,
        point: &Point,
        name: &PackageName,
        release: &Release,
    ) -> Result<Signed, SignError> {
        let _lock = TrustLock::take(point)?;
        let manifest = point.read_object(&release.manifest)?;
        for attempt in 1..=ATTEMPTS {
            let mut edit = edit_trust(point, self.root.as_deref())?;
            let role = self.role.clone();
            if edit.has(&role, name, release) && !edit.is_staged(&role) {
                settle(point, name, &edit, Some(release))?;
                return Ok(Signed { role, already: attempt == 1, switched: true });
            }
            let waits = edit.has(&role, name, release);
            edit.put(&role, name, release, &manifest)?;
            let signed = edit.clone();
            let change = match edit.finish(&self.keys, self.now, &self.lifetimes) {
                // It is signed, and again there is no online key.
                Err(FinishError::Keys { role: lacking, .. }) if waits && lacking != role => {
                    return Ok(Signed { role, already: true, switched: false });
                }
                result => result?,
            };
            if !apply_trust(point, &change, attempt == ATTEMPTS)? {
                continue;
            }
            if change.switch.is_none() {
                return Ok(Signed { role, already: false, switched: false });
            }
            if point.as_folder().is_some() {
                settle(point, name, &signed, Some(release))?;
                return Ok(Signed { role, already: false, switched: true });
            }
            // Without a lock another publisher may have switched to a state without this: the next round sees.
        }
        Ok(Signed { role: self.role.clone(), already: false, switched: true })
    }
}

/// Reads trust metadata to change it.
pub fn edit_trust(point: &Point, root: Option<&[u8]>) -> Result<Edit, TrustError> {
    Ok(Edit::begin(root, &mut |path, most| point.read_limited(path, most))?)
}

/// Writes a change: files first, then the switch. Says whether it did: a file that is there with other content, and is
/// not to be `replaced`, is somebody else's who was first.
pub fn apply_trust(point: &Point, change: &Change, replaced: bool) -> Result<bool, PointError> {
    // Who has the lock has found what an interrupted change left; nobody reads it.
    let replaced = replaced || point.as_folder().is_some();
    for (path, bytes) in &change.files {
        if point.create_small(path, bytes.clone())? {
            continue;
        }
        if point.read_limited(path, bytes.len() as u64)?.as_ref() == Some(bytes) {
            continue;
        }
        if !replaced {
            return Ok(false);
        }
        point.write_small(path, bytes.clone())?;
    }
    if let Some((path, bytes)) = &change.switch {
        point.write_small(path, bytes.clone())?;
    }
    Ok(true)
}

/// Takes releases of a package from the index that have the version of a signed one and are not it: only those with
/// the version of `of`, if it is given.
///
/// What another publisher has recorded and is about to sign looks the same: it must not be among them.
fn settle(
    point: &Point,
    name: &PackageName,
    edit: &Edit,
    of: Option<&Release>,
) -> Result<(), PointError> {
    let index = recorded(point, name)?;
    let is_signed =
        |release: &&Release| edit.roles().iter().any(|role| edit.has(role, name, release));
    let is_same = |one: &Release, other: &Release| {
        one.version.as_str() == other.version.as_str() && one.architecture == other.architecture
    };
    let mut gone = false;
    for release in index.releases.iter().filter(|release| of.is_none_or(|of| is_same(of, release)))
    {
        let mut same = index.releases.iter().filter(|other| is_same(other, release));
        if !is_signed(&release) && same.any(|other| is_signed(&other)) {
            point.delete(&Index::record_path(name, release.identity))?;
            gone = true;
        }
    }
    if gone { refresh(point, name) } else { Ok(()) }
}

/// Publishers of a folder change its trust metadata one after the other. A bucket has no locks.
#[derive(Debug)]
pub struct TrustLock {
    _file: Option<File>,
}

impl TrustLock {
    /// Waits for it.
    pub fn take(point: &Point) -> Result<Self, PointError> {
        let Some(folder) = point.as_folder() else { return Ok(Self { _file: None }) };
        let path = folder.join(".trust-lock");
        let cannot = |source| PointError::File { doing: "locking", path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(cannot)?;
        match file.lock() {
            Ok(()) => Ok(Self { _file: Some(file) }),
            // A share that knows no locks is as a bucket is.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(Self { _file: None }),
            Err(error) => Err(cannot(error)),
        }
    }

    /// Takes from every index what was replaced, after roles that waited were taken in. While somebody publishes, and in
    /// a bucket, where nobody knows, it stays: clients that check signatures pass over it.
    pub fn settle_all(&self, point: &Point, root: Option<&[u8]>) -> Result<(), TrustError> {
        let _alone = match Lock::exclusive(point) {
            Ok(lock) if point.as_folder().is_some() => lock,
            Ok(_) | Err(PointError::InUse { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let edit = edit_trust(point, root)?;
        for name in package_names(point)? {
            settle(point, &name, &edit, None)?;
        }
        Ok(())
    }
}
