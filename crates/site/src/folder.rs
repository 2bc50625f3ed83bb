use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use policy::{Event, Settings, SiteCode};
use rustix::fs::FlockOperation;

use crate::{Desk, SiteError, Sqlite, Status, Storage};

/// A site's folder: the database, the store with its own copies, the token, and what must outlive a restore.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at a path.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.0.join("site.db")
    }

    /// Own copies: a distribution point like any other, in a folder of its own.
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// Where uploads are until they are whole.
    pub fn spool(&self) -> PathBuf {
        self.0.join("spool")
    }

    /// What the site calls its parent with.
    pub(crate) fn link(&self) -> PathBuf {
        self.0.join("link")
    }

    /// Where the site listens for children, as long as it does.
    pub fn link_address(&self) -> PathBuf {
        self.0.join("link-address")
    }

    /// Where the site listens, as long as it does.
    pub fn address(&self) -> PathBuf {
        self.0.join("address")
    }

    /// What a client has to know to change anything.
    pub fn token(&self) -> Result<String, SiteError> {
        let path = self.0.join("token");
        let text = std::fs::read_to_string(&path).map_err(SiteError::file("reading", path))?;
        Ok(text.trim().to_owned())
    }

    /// The greatest epoch there was, kept outside of the tables.
    pub fn epoch(&self) -> u32 {
        std::fs::read_to_string(self.0.join("epoch"))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or_default()
    }

    /// Notes an epoch before anybody hears of it.
    pub fn note_epoch(&self, epoch: u32) -> Result<(), SiteError> {
        write_durably(&self.0.join("epoch"), format!("{epoch}\n").as_bytes(), 0o644)
    }

    /// The right to be this site's one process; the kernel takes it back when the process ends, however it does.
    pub fn lock(&self) -> Result<File, SiteError> {
        let path = self.0.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(SiteError::file("opening", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(SiteError::InUse { path }),
            Err(error) => Err(SiteError::file("locking", path)(error.into())),
        }
    }

    /// The decisions, from the tables.
    pub fn desk(&self) -> Result<Desk, SiteError> {
        Desk::open(Box::new(Sqlite::open(&self.database())?), Settings::default())
    }

    /// The status as the tables have it, whether or not the site runs.
    pub fn status(&self) -> Result<Status, SiteError> {
        let desk = self.desk()?;
        Ok(Status::of(desk.site(), desk.moment(), |name| desk.fact(name)))
    }
}

/// Writes a file that is there whole or not at all, however this ends.
pub(crate) fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<(), SiteError> {
    let new = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(SiteError::file("writing", path))
}

/// Makes a folder a site.
pub fn init(folder: &Folder, code: &str) -> Result<(), SiteError> {
    let code = SiteCode::new(code)?;
    for path in [folder.path().to_owned(), folder.store(), folder.spool()] {
        std::fs::create_dir_all(&path).map_err(SiteError::file("making", &path))?;
    }
    let _lock = folder.lock()?;
    let mut storage = Sqlite::open(&folder.database())?;
    Desk::found(&mut storage, code)?;
    let mut secret = [0; 32];
    rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| SiteError::file("drawing", folder.path().join("token"))(error.into()))?;
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    write_durably(&folder.path().join("token"), secret.as_bytes(), 0o600)
}

/// Reads everything that can be read without the site running; what is wrong, in sentences.
pub fn check(folder: &Folder) -> Result<Vec<String>, SiteError> {
    let storage = Sqlite::open(&folder.database())?;
    let mut wrong = storage.check()?;
    let desk = folder.desk()?;
    let epoch = folder.epoch();
    if desk.site().epoch() < epoch {
        wrong.push(format!(
            "the tables are of epoch {} and epoch {epoch} has begun: `packhorse site restore` was not used",
            desk.site().epoch()
        ));
    }
    for (name, location) in desk.facts() {
        let Some(point) = name.strip_prefix("point:") else { continue };
        if let Some(path) = crate::locations::folder(location).filter(|path| !path.is_dir()) {
            wrong.push(format!("the point `{point}` is not there: `{}`", path.display()));
        }
    }
    Ok(wrong)
}

/// Writes all tables into one new file, while the site works.
pub fn backup(folder: &Folder, to: &Path) -> Result<(), SiteError> {
    if to.exists() {
        let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(SiteError::file("writing", to)(exists));
    }
    Ok(Sqlite::open(&folder.database())?.back_up(to)?)
}

/// Takes the tables of a backup in place of those there are, and begins a new epoch. The site must not run.
pub fn restore(folder: &Folder, from: &Path) -> Result<u32, SiteError> {
    let _lock = folder.lock()?;
    let database = folder.database();
    let bytes = std::fs::read(from).map_err(SiteError::file("reading", from))?;
    // What is no site's backup is refused before anything is replaced.
    let trial = folder.spool().join("restore.db");
    write_durably(&trial, &bytes, 0o600)?;
    let readable = Desk::open(Box::new(Sqlite::open(&trial)?), Settings::default());
    let mut desk = readable?;
    let above = folder.epoch().max(folder.desk().map_or(0, |desk| desk.site().epoch()));
    desk.event(Event::Restored { above })?;
    let epoch = desk.site().epoch();
    drop(desk);
    folder.note_epoch(epoch)?;
    // Written ahead lines of the old tables must not meet the new ones.
    let merged = folder.spool().join("restored.db");
    let _ = std::fs::remove_file(&merged);
    Sqlite::open(&trial)?.back_up(&merged)?;
    for end in ["-wal", "-shm"] {
        let path = folder.path().join(format!("site.db{end}"));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SiteError::file("deleting", path)(error));
            }
            _ => {}
        }
    }
    std::fs::rename(&merged, &database).map_err(SiteError::file("replacing", &database))?;
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.spool().join(format!("restore.db{end}")));
    }
    Ok(epoch)
}

/// Whether a storage has a site, for tests of storages.
pub(crate) fn has_site(storage: &mut dyn Storage) -> bool {
    storage.tables().is_ok_and(|tables| !tables.rows.is_empty())
}
