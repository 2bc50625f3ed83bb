//! Who published what: trust metadata at a distribution point, and what this machine has seen of it.

mod admit;
mod publisher;

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use model::Hash;
use trust::{Refusal, Trusted, UpdateError, Verified, Want};

use crate::{Point, PointError, at::sync_folder};

pub(crate) use admit::{Admitted, admitted};
pub use admit::{mirror_trust, relay_trust, verify_trust};
pub use publisher::{SignError, Signed, Signing, TrustLock, apply_trust, edit_trust};

/// What a client goes by.
#[derive(Clone, Debug)]
pub struct TrustSettings {
    /// The root it pinned: the bytes of the file.
    pub root: Vec<u8>,
    /// The folder where what was seen last is kept; without one rollbacks are noticed within one command only.
    pub state: Option<PathBuf>,
    /// What time it is.
    pub now: Timestamp,
}

/// Trust that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The distribution point.
    #[error(transparent)]
    Point(#[from] PointError),
    /// What it offers is not believed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was seen last cannot be read or written.
    #[error("{doing} `{}`, where the trust seen last is kept, stopped: give another folder with `--trust-state DIR`", path.display())]
    State {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl From<UpdateError<PointError>> for TrustError {
    fn from(error: UpdateError<PointError>) -> Self {
        match error {
            UpdateError::Refused(refusal) => Self::Refused(refusal),
            UpdateError::Read(error) => Self::Point(error),
        }
    }
}

/// Where trust begins: [`TrustSettings`], or without a time, where nobody judges that.
struct Pin<'p> {
    root: &'p [u8],
    state: Option<&'p Path>,
    now: Option<Timestamp>,
}

/// Leads what this machine has seen to what the point offers now, and keeps it: written whole or not at all.
pub fn update_trust(
    point: &Point,
    settings: &TrustSettings,
    want: Want<'_>,
) -> Result<Verified, TrustError> {
    let pin =
        Pin { root: &settings.root, state: settings.state.as_deref(), now: Some(settings.now) };
    follow(&pin, want, &mut |path, most| point.read_limited(path, most))
}

/// What a point's metadata says, verified from a root, whether it is in time or not.
pub fn believed(point: &Point, root: &[u8], want: Want<'_>) -> Result<Verified, TrustError> {
    let pin = Pin { root, state: None, now: None };
    follow(&pin, want, &mut |path, most| point.read_limited(path, most))
}

fn follow(
    pin: &Pin<'_>,
    want: Want<'_>,
    read: trust::Read<'_, PointError>,
) -> Result<Verified, TrustError> {
    let fresh = Trusted::pinned(pin.root, None)?;
    let state = pin.state.map(|folder| State::open(folder, &fresh)).transpose()?;
    let saved = state.as_ref().map(State::read).transpose()?.flatten();
    let mut trusted = Trusted::pinned(pin.root, saved.as_deref())?;
    let result = trust::update(&mut trusted, pin.now, want, read);
    // A root that was verified is kept even if what follows it is refused.
    if let Some(state) = state {
        let bytes = trusted.to_bytes();
        if saved.as_ref() != Some(&bytes) {
            state.write(&bytes)?;
        }
    }
    Ok(result?)
}

/// The file of what was seen last of one repository. Only one process at a time has it.
struct State {
    path: PathBuf,
    _lock: File,
}

impl State {
    fn open(folder: &Path, trusted: &Trusted) -> Result<Self, TrustError> {
        let name = Hash::of(trusted.repository().as_bytes()).to_string();
        let path = folder.join(format!("{}.json", &name[..32]));
        let cannot = |source| TrustError::State { doing: "opening", path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(cannot)?;
        let lock = path.with_extension("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(lock);
        let lock = lock.map_err(cannot)?;
        lock.lock().map_err(cannot)?;
        Ok(Self { path, _lock: lock })
    }

    fn read(&self) -> Result<Option<Vec<u8>>, TrustError> {
        match std::fs::read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // Unknown is not empty.
            Err(source) => {
                Err(TrustError::State { doing: "reading", path: self.path.clone(), source })
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), TrustError> {
        write_whole(&self.path, bytes).map_err(|source| TrustError::State {
            doing: "writing",
            path: self.path.clone(),
            source,
        })
    }
}

/// Makes a file these bytes: afterwards, killed or without power at any instant, it is as before or as wanted.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}
