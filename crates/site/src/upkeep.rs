//! What is done to a site's tables as a whole: checked, backed up, put back, moved elsewhere.

use std::path::Path;

use policy::{Event, Settings};

use crate::{Desk, Folder, SiteError, SiteSettings, Sqlite, Storage, folder::write_durably};

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
    for (name, location) in desk.facts() {
        let Some(point) = name.strip_prefix("point:") else { continue };
        if let Some(path) = crate::locations::folder(location).filter(|path| !path.is_dir()) {
            wrong.push(format!("the point `{point}` is not there: `{}`", path.display()));
        }
    }
    Ok(wrong)
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
    let _lock = folder.lock()?;
    let settings = folder.settings()?;
    let bytes = std::fs::read(from).map_err(SiteError::file("reading", from))?;
    // What is no site's backup is refused before anything is replaced.
    let trial = folder.spool().join("restore.db");
    forget(&trial)?;
    write_durably(&trial, &bytes, 0o600)?;
    let mut desk = Desk::open(Box::new(Sqlite::open(&trial)?), Settings::default())?;
    let above = folder.epoch().max(folder.desk().map_or(0, |desk| desk.site().epoch()));
    desk.event(Event::Restored { above })?;
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

/// Takes the tables to the newest schema, and into another database if one is named: `postgres://…`, or `sqlite` for the
/// folder's own file. What is in that database gives way; what was left stays as it is. The site must not run.
pub fn migrate(folder: &Folder, to: Option<&str>) -> Result<(), SiteError> {
    let _lock = folder.lock()?;
    let settings = folder.settings()?;
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
