use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use policy::SiteCode;
use rustix::fs::FlockOperation;

use store::Point;

use crate::{
    Desk, Postgres, SiteError, SiteSettings, Sqlite, Status, Storage, chance, master,
    postgres::presence::OnDatabase, seal, shared,
};

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

    /// What this machine keeps of a bucket with the own copies.
    pub(crate) fn cache(&self) -> PathBuf {
        self.0.join("cache")
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

    /// Where processes of this site that are running listen, each named by a lock of its own.
    pub(crate) fn processes(&self) -> PathBuf {
        self.0.join("processes")
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

    /// The right to change this site as a whole: no process of it runs, on whatever machine.
    pub(crate) fn alone(&self, settings: &SiteSettings) -> Result<Presence, SiteError> {
        let lock = self.lock()?;
        let Some(url) = &settings.database else {
            return Ok(Presence { lock, alone: true, database: None });
        };
        match OnDatabase::enter(url, Duration::ZERO)? {
            Some((database, true)) => Ok(Presence { lock, alone: true, database: Some(database) }),
            Some((database, false)) => {
                Err(SiteError::InUse { path: PathBuf::from(database.address()) })
            }
            None => Err(SiteError::InUse { path: PathBuf::from(url_without_secrets(url)) }),
        }
    }

    /// Takes part in this site as one process of it. On PostgreSQL there may be others, on this machine and elsewhere.
    pub(crate) fn enter(&self, settings: &SiteSettings) -> Result<Presence, SiteError> {
        std::fs::create_dir_all(&self.0).map_err(SiteError::file("making", &self.0))?;
        let presence = self.enter_folder(settings)?;
        let Some(url) = &settings.database else { return Ok(presence) };
        let Some((database, alone)) = OnDatabase::enter(url, ENTRANCE)? else {
            return Err(SiteError::InUse { path: PathBuf::from(url_without_secrets(url)) });
        };
        Ok(Presence { alone: presence.alone && alone, database: Some(database), ..presence })
    }

    fn enter_folder(&self, settings: &SiteSettings) -> Result<Presence, SiteError> {
        match self.lock() {
            Ok(lock) => Ok(Presence { lock, alone: true, database: None }),
            Err(SiteError::InUse { path }) if settings.database.is_some() => {
                // Whoever has it alone for a moment has just begun.
                let began = Instant::now();
                loop {
                    let lock = File::open(&path).map_err(SiteError::file("opening", &path))?;
                    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
                        Ok(()) => return Ok(Presence { lock, alone: false, database: None }),
                        Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < ENTRANCE => {
                            std::thread::park_timeout(Duration::from_millis(50));
                        }
                        Err(rustix::io::Errno::WOULDBLOCK) => {
                            return Err(SiteError::InUse { path });
                        }
                        Err(error) => return Err(SiteError::file("locking", path)(error.into())),
                    }
                }
            }
            Err(error) => Err(error),
        }
    }

    /// What is written in `site.toml`.
    pub fn settings(&self) -> Result<SiteSettings, SiteError> {
        let path = self.0.join("site.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(SiteError::file("reading", path)(error)),
        };
        SiteSettings::parse(path, &text)
    }

    pub(crate) fn write_settings(&self, settings: &SiteSettings) -> Result<(), SiteError> {
        // It may hold a password.
        write_durably(&self.0.join("site.toml"), settings.to_text().as_bytes(), 0o600)
    }

    pub(crate) fn storage(&self, settings: &SiteSettings) -> Result<Box<dyn Storage>, SiteError> {
        Ok(match &settings.database {
            Some(url) => Box::new(Postgres::open(url)?),
            None => Box::new(Sqlite::open(&self.database())?),
        })
    }

    /// Makes the folders a process works in.
    pub(crate) fn make(&self) -> Result<(), SiteError> {
        for path in [self.0.clone(), self.store(), self.spool()] {
            std::fs::create_dir_all(&path).map_err(SiteError::file("making", &path))?;
        }
        Ok(())
    }

    /// The site's own store, wherever it is, as a distribution point.
    pub fn own_store(&self) -> Result<Point, SiteError> {
        master::open_point(self, &self.settings()?)
    }

    /// The decisions, from the tables.
    pub fn desk(&self) -> Result<Desk, SiteError> {
        let settings = self.settings()?;
        Desk::open(self.storage(&settings)?, settings.policy())
    }

    /// The status as the tables have it, whether or not the site runs.
    pub fn status(&self) -> Result<Status, SiteError> {
        let desk = self.desk()?;
        Ok(Status::of(desk.site(), desk.moment(), |name| desk.fact(name)))
    }
}

/// How long somebody may have the site alone before another process is told that it is in use.
const ENTRANCE: Duration = Duration::from_secs(10);

/// The part of one process in a site, until it is let go of.
#[derive(Debug)]
pub(crate) struct Presence {
    lock: File,
    /// Nobody else is there, so that attempts of earlier processes are over.
    pub(crate) alone: bool,
    database: Option<OnDatabase>,
}

impl Presence {
    /// Lets others in, where there may be others.
    pub(crate) fn open_up(&mut self) -> Result<(), SiteError> {
        let Some(database) = &mut self.database else { return Ok(()) };
        if self.alone {
            database.open_up()?;
        }
        rustix::fs::flock(&self.lock, FlockOperation::NonBlockingLockShared)
            .map_err(|error| SiteError::file("sharing", "lock")(error.into()))
    }

    /// Takes part again, where the connection to the database was lost; whether it does.
    pub(crate) fn keep(&mut self) -> Result<bool, SiteError> {
        match &mut self.database {
            Some(database) => Ok(database.keep()?),
            None => Ok(true),
        }
    }
}

/// A database's URL as it may be shown.
fn url_without_secrets(url: &str) -> &str {
    url.rsplit('@').next().unwrap_or(url)
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

/// Makes a folder a site, with its tables in `database` if that is said.
pub fn init(folder: &Folder, code: &str, database: Option<&str>) -> Result<(), SiteError> {
    let database = database.map(str::to_owned);
    init_with(folder, code, SiteSettings { database, ..SiteSettings::default() })
}

/// Makes a folder a site, with its tables and its own copies where `said` says.
pub fn init_with(folder: &Folder, code: &str, said: SiteSettings) -> Result<(), SiteError> {
    let code = SiteCode::new(code)?;
    folder.make()?;
    let _lock = folder.lock()?;
    if folder.path().join("token").exists() {
        return Err(SiteError::Exists);
    }
    let is_said = said != SiteSettings::default();
    let settings = folder.settings()?.with(said).checked()?;
    let mut storage = folder.storage(&settings)?;
    if crate::folder::has_site(&mut *storage) {
        return Err(SiteError::Exists);
    }
    if let Some(path) = &settings.key_file {
        seal::make_key(path)?;
    }
    if let Some(location) = &settings.store {
        let store = master::open_point(folder, &settings)?;
        master::claim(&store, location, code.as_str()).map_err(master::refused(location))?;
    }
    if is_said {
        folder.write_settings(&settings)?;
    }
    Desk::found(&mut *storage, code)?;
    drop(storage);
    write_durably(&folder.path().join("token"), chance::secret()?.as_bytes(), 0o600)?;
    shared::settle(folder, &settings, &mut folder.desk()?)
}

/// Makes a folder of this machine another one of a site whose tables and own copies are elsewhere. What `said` does not say is
/// as the tables have it. Answers with the site's code.
pub fn join(folder: &Folder, said: SiteSettings) -> Result<SiteCode, SiteError> {
    folder.make()?;
    let _lock = folder.lock()?;
    if folder.path().join("token").exists() {
        return Err(SiteError::Exists);
    }
    let mut settings = folder.settings()?.with(said);
    if settings.database.is_none() {
        let said = "which site? `--database` says where its tables are".to_owned();
        return Err(SiteError::Said { message: said, conflict: true });
    }
    let mut desk = Desk::open(folder.storage(&settings)?, settings.policy())?;
    settings.store = settings.store.or_else(|| desk.fact(shared::STORE).map(str::to_owned));
    let settings = settings.checked()?;
    shared::settle(folder, &settings, &mut desk)?;
    folder.write_settings(&settings)?;
    Ok(desk.site().code().clone())
}

/// Whether a storage has a site, for tests of storages.
pub(crate) fn has_site(storage: &mut dyn Storage) -> bool {
    storage.tables().is_ok_and(|tables| !tables.rows.is_empty())
}
