//! What a site is known by, the same for all of its processes on all machines: its authority, its own key and certificate, whom it
//! believes, and the token. It is in the tables; the files in the folder are this machine's copies.

use std::{io, path::PathBuf};

use crate::{
    Desk, Folder, SiteError, SiteSettings, authority::Authority, desk::Facts,
    folder::write_durably, seal::Seal,
};

/// The fact that says where the own copies are, if they are not in a folder.
pub(crate) const STORE: &str = "store";
/// What stands before a file's name in the name of its fact.
const FILE: &str = "file:";

/// Files that all machines of a site have alike, and whether they are nobody else's to read.
const FILES: [(&str, bool); 8] = [
    ("authority/key.pem", true),
    ("authority/certificate.pem", false),
    ("link/key.pem", true),
    ("link/certificate.pem", false),
    ("link/parent.pem", false),
    ("link/secret", true),
    ("trust/root.json", false),
    ("token", true),
];

/// A file's name as a fact.
pub(crate) fn fact(name: &str) -> String {
    format!("{FILE}{name}")
}

/// Whether a fact is a file of all machines.
pub(crate) fn is_file(fact: &str) -> bool {
    fact.starts_with(FILE)
}

/// What this machine's folder has of a file.
fn read(folder: &Folder, name: &str) -> Result<Option<Vec<u8>>, SiteError> {
    let path: PathBuf = folder.path().join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SiteError::file("reading", path)(error)),
    }
}

/// The folder has what the tables say, and the tables what only the folder has. Whoever is first makes the authority.
pub(crate) fn settle(
    folder: &Folder,
    settings: &SiteSettings,
    desk: &mut Desk,
) -> Result<(), SiteError> {
    let seal = Seal::of(settings)?;
    let here = settings.store.clone();
    let known = desk.fact(STORE).map(str::to_owned);
    if desk.fact(&fact("token")).is_some() {
        let is_new = read(folder, "token")?.is_none();
        if known != here || (here.is_none() && is_new) {
            return Err(elsewhere(known.as_deref(), here.as_deref()));
        }
    }
    take(folder, &seal, desk)?;
    Authority::of(folder, desk.site().code())?;
    let lacking = |desk: &Desk| -> Result<Facts, SiteError> {
        let mut facts = Facts::new();
        for (name, is_secret) in FILES {
            let known = desk.fact(&fact(name));
            // What was written before there was a key is sealed now.
            if known.is_none_or(|value| is_secret && seal.is_to_close(value))
                && let Some(bytes) = read(folder, name)?
            {
                facts.push((fact(name), Some(seal.close(&fact(name), &bytes, is_secret)?)));
            }
        }
        if desk.fact(STORE) != here.as_deref() {
            facts.push((STORE.to_owned(), here.clone()));
        }
        Ok(facts)
    };
    if !lacking(desk)?.is_empty() {
        desk.keep_after(|desk| Ok(((), lacking(desk)?)))?;
    }
    // Somebody else may have been first.
    take(folder, &seal, desk)
}

/// Whether the tables say that the own copies are in that bucket, or, without one, in the folder.
pub(crate) fn is_moved(desk: &Desk, store: Option<&str>) -> bool {
    desk.fact(&fact("token")).is_some() && desk.fact(STORE) == store
}

fn elsewhere(known: Option<&str>, here: Option<&str>) -> SiteError {
    let of = |place: Option<&str>| match place {
        Some(url) => format!("in `{url}`"),
        None => "in the site's folder, on one machine".to_owned(),
    };
    let message = format!(
        "the tables say that the own copies are {}, and `site.toml` of this folder that they are {}: set `store` right there, or take \
         them elsewhere with `packhorse site migrate --store`",
        of(known),
        of(here)
    );
    SiteError::Said { message, conflict: true }
}

/// Whether what the tables say can be read here, and fits what this folder says.
pub(crate) fn check(settings: &SiteSettings, desk: &Desk) -> Result<(), SiteError> {
    let seal = Seal::of(settings)?;
    for (name, _) in FILES {
        if let Some(value) = desk.fact(&fact(name)) {
            seal.open(&fact(name), value)?;
        }
    }
    let known = desk.fact(STORE);
    if desk.fact(&fact("token")).is_some() && known != settings.store.as_deref() {
        return Err(elsewhere(known, settings.store.as_deref()));
    }
    Ok(())
}

/// The folder has what the tables say.
pub(crate) fn take(folder: &Folder, seal: &Seal, desk: &Desk) -> Result<(), SiteError> {
    for (name, is_secret) in FILES {
        let Some(value) = desk.fact(&fact(name)) else { continue };
        let bytes = seal.open(&fact(name), value)?;
        if read(folder, name)?.as_deref() == Some(&*bytes) {
            continue;
        }
        let path = folder.path().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(SiteError::file("making", parent))?;
        }
        write_durably(&path, &bytes, if is_secret { 0o600 } else { 0o644 })?;
    }
    Ok(())
}

/// Files of this folder as facts, for all machines to have them.
pub(crate) fn facts_of(
    folder: &Folder,
    settings: &SiteSettings,
    names: &[&str],
) -> Result<Facts, SiteError> {
    let seal = Seal::of(settings)?;
    let mut facts = Facts::new();
    for (name, is_secret) in FILES.into_iter().filter(|(name, _)| names.contains(name)) {
        if let Some(bytes) = read(folder, name)? {
            facts.push((fact(name), Some(seal.close(&fact(name), &bytes, is_secret)?)));
        }
    }
    Ok(facts)
}
