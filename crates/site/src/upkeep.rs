//! What is done to a site's tables as a whole: checked, backed up, put back, moved elsewhere.

use std::{collections::BTreeSet, fs::OpenOptions, path::Path};

use content::{Object, ObjectKind};
use policy::{Event, Settings};
use store::Point;

use crate::{
    Desk, Folder, SiteError, SiteSettings, Sqlite, Storage, folder::write_durably, master, shared,
};

/// Reads everything that can be read without the site running; what is wrong, in sentences.
pub fn check(folder: &Folder) -> Result<Vec<String>, SiteError> {
    let settings = folder.settings()?;
    let mut wrong = folder.storage(&settings)?.check()?;
    let desk = folder.desk()?;
    let epoch = folder.epoch();
    if desk.site().epoch() < epoch {
        wrong.push(format!(
            "the tables are of epoch {} and epoch {epoch} has begun: `packhorse site restore` was not used",
            desk.site().epoch()
        ));
    }
    if let Err(error) = shared::check(&settings, &desk) {
        wrong.push(model::with_causes(&error));
    }
    wrong.extend(check_store(folder, &settings));
    for (name, location) in desk.facts() {
        let Some(point) = name.strip_prefix("point:") else { continue };
        if let Some(path) = crate::locations::folder(location).filter(|path| !path.is_dir()) {
            wrong.push(format!("the point `{point}` is not there: `{}`", path.display()));
        }
    }
    Ok(wrong)
}

/// What is wrong with the own store, as far as it can be seen without reading all of it.
fn check_store(folder: &Folder, settings: &SiteSettings) -> Option<String> {
    let Some(location) = &settings.store else {
        let path = folder.store();
        return (!path.is_dir())
            .then(|| format!("the site's own store is not there: `{}`", path.display()));
    };
    let answers = master::open_point(folder, settings)
        .and_then(|store| Ok(store.read_limited(master::OWNER, 1 << 16)?));
    let why = master::why(&answers.err()?);
    Some(format!("the site's own store `{location}` does not answer as it should: {why}"))
}

/// Writes all tables into one new file, while the site works. It is a `site.db`, wherever the tables are.
pub fn backup(folder: &Folder, to: &Path) -> Result<(), SiteError> {
    if to.exists() {
        let exists = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(SiteError::file("writing", to)(exists));
    }
    let settings = folder.settings()?;
    if settings.database.is_none() {
        return Ok(Sqlite::open(&folder.database())?.back_up(to)?);
    }
    write_sqlite(folder, &mut *folder.storage(&settings)?, to)
}

/// Copies tables into one file that is there whole or not at all.
fn write_sqlite(folder: &Folder, from: &mut dyn Storage, to: &Path) -> Result<(), SiteError> {
    let trial = folder.spool().join("copy.db");
    forget(&trial)?;
    let mut copy = Sqlite::open(&trial)?;
    Desk::copy(from, &mut copy)?;
    let done = copy.back_up(to);
    drop(copy);
    forget(&trial)?;
    Ok(done?)
}

/// Takes a database's files away.
fn forget(database: &Path) -> Result<(), SiteError> {
    for end in ["-wal", "-shm", ""] {
        let mut path = database.as_os_str().to_owned();
        path.push(end);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SiteError::file("deleting", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes the tables of a backup in place of those there are, and begins a new epoch. The site must not run.
pub fn restore(folder: &Folder, from: &Path) -> Result<u32, SiteError> {
    let settings = folder.settings()?;
    let _alone = folder.alone(&settings)?;
    let bytes = std::fs::read(from).map_err(SiteError::file("reading", from))?;
    // What is no site's backup is refused before anything is replaced.
    let trial = folder.spool().join("restore.db");
    forget(&trial)?;
    write_durably(&trial, &bytes, 0o600)?;
    let mut desk = Desk::open(Box::new(Sqlite::open(&trial)?), Settings::default())?;
    let above = folder.epoch().max(folder.desk().map_or(0, |desk| desk.site().epoch()));
    // What is said here of where the own copies are is of now, and the backup's of then.
    let store = (shared::STORE.to_owned(), settings.store.clone());
    desk.event_with(Event::Restored { above }, vec![store])?;
    let epoch = desk.site().epoch();
    drop(desk);
    folder.note_epoch(epoch)?;
    let mut whole = Sqlite::open(&trial)?;
    if settings.database.is_some() {
        Desk::copy(&mut whole, &mut *folder.storage(&settings)?)?;
    } else {
        put_in_place(folder, &whole)?;
    }
    drop(whole);
    forget(&trial)?;
    Ok(epoch)
}

/// Makes a database the site's own, in one switch.
fn put_in_place(folder: &Folder, whole: &Sqlite) -> Result<(), SiteError> {
    let database = folder.database();
    let merged = folder.spool().join("restored.db");
    forget(&merged)?;
    whole.back_up(&merged)?;
    // Written ahead lines of the old tables must not meet the new ones.
    for end in ["-wal", "-shm"] {
        let path = folder.path().join(format!("site.db{end}"));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SiteError::file("deleting", path)(error));
            }
            _ => {}
        }
    }
    std::fs::rename(&merged, &database).map_err(SiteError::file("replacing", &database))
}

/// What came of taking own copies elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Moved {
    /// Objects written.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already.
    pub already: usize,
    /// What was damaged, and not taken along: the site mends it as it can.
    pub left: Vec<String>,
}

/// Takes the own copies elsewhere: into a bucket, or with `folder` into the site's folder. The site must not run. Interrupted
/// anywhere, it is done again; what was left stays as it is.
pub fn move_store(folder: &Folder, to: &str) -> Result<Moved, SiteError> {
    let settings = folder.settings()?;
    let _alone = folder.alone(&settings)?;
    let store = (to != "folder").then(|| to.to_owned());
    let wanted = SiteSettings { store, ..settings.clone() }.checked()?;
    if wanted.store == settings.store {
        return Ok(Moved::default());
    }
    folder.make()?;
    let mut desk = folder.desk()?;
    if shared::is_moved(&desk, wanted.store.as_deref()) {
        // A kill between the tables and `site.toml`, or another machine took them there.
        folder.write_settings(&wanted)?;
        return Ok(Moved::default());
    }
    shared::settle(folder, &settings, &mut desk)?;
    let from = master::open_point(folder, &settings)?;
    let target = master::open_point(folder, &wanted)?;
    if let Some(location) = &wanted.store {
        let code = desk.site().code();
        master::claim(&target, location, code.as_str()).map_err(master::refused(location))?;
    }
    let moved = copy_store(&from, &target, &folder.spool())?;
    // From here on the other store counts, wherever this is interrupted: `site.toml` is written again by the next.
    desk.keep(vec![(shared::STORE.to_owned(), wanted.store.clone())])?;
    folder.write_settings(&wanted)?;
    Ok(moved)
}

/// Objects first, each hashed on its way, then what names them.
fn copy_store(from: &Point, to: &Point, scratch: &Path) -> Result<Moved, SiteError> {
    let mut moved = Moved::default();
    let path = scratch.join("moved");
    for kind in ObjectKind::ALL {
        for listed in from.list(kind.folder())? {
            let Ok((kind, hash)) = ObjectKind::parse_path(&listed.path) else { continue };
            let object = Object { kind, hash, length: listed.length };
            if to.has(&object)? {
                moved.already += 1;
                continue;
            }
            let cannot = || SiteError::file("writing", &path);
            let options = &mut OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(true);
            let mut file = options.open(&path).map_err(cannot())?;
            match from.read_into(&object, &mut file, &path, &mut |_| {}) {
                Ok(()) => {}
                Err(error) if error.is_of_content() => {
                    moved.left.push(model::with_causes(&error));
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            to.write_object(&object, &path, &mut |_| {})?;
            moved.objects += 1;
            moved.bytes += object.length;
        }
    }
    let _ = std::fs::remove_file(&path);
    for folder in ["releases", "names", "hints", "site", "courier", "trust"] {
        let mut files: Vec<String> =
            from.list(folder)?.into_iter().map(|listed| listed.path).collect();
        let known: BTreeSet<String> = files.iter().cloned().collect();
        // What switches trust metadata over comes last.
        files.sort_by_key(|path| (path.ends_with(trust::TIMESTAMP), path.clone()));
        for path in files {
            if let Some(bytes) = from.read_small(&path)? {
                to.write_small(&path, bytes)?;
            }
        }
        // What is left of an earlier time there is not offered again.
        for listed in to.list(folder)?.into_iter().filter(|listed| !known.contains(&listed.path)) {
            to.delete(&listed.path)?;
        }
    }
    Ok(moved)
}

/// Takes the tables to the newest schema, and into another database if one is named: `postgres://…`, or `sqlite` for the
/// folder's own file. What is in that database gives way; what was left stays as it is. The site must not run.
pub fn migrate(folder: &Folder, to: Option<&str>) -> Result<(), SiteError> {
    let settings = folder.settings()?;
    let _alone = folder.alone(&settings)?;
    let mut from = folder.storage(&settings)?;
    let Some(to) = to else { return Ok(()) };
    let database = (to != "sqlite").then(|| to.to_owned());
    if database == settings.database {
        return Ok(());
    }
    let moved = SiteSettings { database, ..settings };
    let mut target = folder.storage(&moved)?;
    if moved.database.is_some() && crate::folder::has_site(&mut *target) {
        let said = "there are tables of a site in that database: name an empty one".to_owned();
        return Err(SiteError::Said { message: said, conflict: true });
    }
    Desk::copy(&mut *from, &mut *target)?;
    drop((from, target));
    // From here on the other tables count.
    folder.write_settings(&moved)
}
