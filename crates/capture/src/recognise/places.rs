//! Files that work only once something is made anew from them: where they lie says what.

use model::Kind;

use super::{Meaning, View, is_below, is_file, name_of};
use crate::{Change, DraftError, Side};

/// Files below a folder, by the end of their name, and the trigger they need.
const PLACES: [(&[&str], &[&str], &str); 14] = [
    (&["/etc/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"], &[".conf"], "sysctl"),
    (&["/etc/tmpfiles.d", "/usr/lib/tmpfiles.d", "/lib/tmpfiles.d"], &[".conf"], "tmpfiles"),
    (&["/etc/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"], &[".rules"], "udev"),
    (&["/etc/udev/hwdb.d", "/usr/lib/udev/hwdb.d", "/lib/udev/hwdb.d"], &[".hwdb"], "udev"),
    (&["/usr/lib/modules", "/lib/modules"], &[".ko", ".ko.xz", ".ko.zst", ".ko.gz"], "depmod"),
    (
        &[
            "/usr/local/share/ca-certificates",
            "/usr/share/ca-certificates",
            "/etc/pki/ca-trust/source/anchors",
            "/usr/share/pki/ca-trust-source/anchors",
        ],
        &[".crt", ".pem", ".p11-kit"],
        "ca-certificates",
    ),
    (
        &["/usr/share/applications", "/usr/local/share/applications"],
        &[".desktop"],
        "desktop-database",
    ),
    (&["/usr/share/mime/packages", "/usr/local/share/mime/packages"], &[".xml"], "mime-database"),
    (
        &["/usr/share/icons", "/usr/local/share/icons"],
        &[".png", ".svg", ".svgz", ".xpm"],
        "icon-cache",
    ),
    (
        &["/usr/share/glib-2.0/schemas", "/usr/local/share/glib-2.0/schemas"],
        &[".xml", ".override"],
        "glib-schemas",
    ),
    (
        &["/usr/share/fonts", "/usr/local/share/fonts"],
        &[".ttf", ".otf", ".ttc", ".pfb", ".pcf.gz"],
        "fontconfig",
    ),
    (
        &[
            "/usr/share/dbus-1/system.d",
            "/etc/dbus-1/system.d",
            "/usr/share/dbus-1/system-services",
        ],
        &[".conf", ".service"],
        "dbus-reload",
    ),
    (&["/usr/share/man", "/usr/local/share/man", "/usr/local/man"], &[""], "mandb"),
    (&["/usr/share/info", "/usr/local/share/info"], &[".info", ".info.gz"], "info-dir"),
];

/// Folders the dynamic linker looks into wherever it is set up as usual.
const LIBRARIES: [&str; 8] = [
    "/lib",
    "/lib64",
    "/lib32",
    "/usr/lib",
    "/usr/lib64",
    "/usr/lib32",
    "/usr/local/lib",
    "/usr/local/lib64",
];

/// Names the triggers of what is carried; takes nothing.
pub(super) fn recognise(view: &View<'_>) -> Result<Meaning, DraftError> {
    let mut meaning = Meaning::default();
    let library_folders = library_folders(view)?;
    for (&path, &change) in view.changes {
        if !matters(change) {
            continue;
        }
        let name = name_of(path).unwrap_or_default();
        for (folders, endings, wanted) in PLACES {
            if folders.iter().any(|folder| is_below(path, folder))
                && endings.iter().any(|ending| name.ends_with(ending))
            {
                meaning.triggers.insert(wanted);
            }
        }
        let linked = is_below(path, "/etc/ld.so.conf.d") || path.as_bytes() == b"/etc/ld.so.conf";
        let library = is_library(name)
            && path.parent().is_some_and(|parent| {
                library_folders.iter().any(|folder| folder.as_bytes() == parent.as_bytes())
            });
        if linked || library {
            meaning.triggers.insert("ldconfig");
        }
    }
    Ok(meaning)
}

fn matters(change: &Change) -> bool {
    let entry = change.after.as_ref().or(change.before.as_ref());
    is_file(entry) || matches!(entry.map(|entry| &entry.kind), Some(Kind::Symlink(_)))
}

/// `libz.so`, `libz.so.1.2`
fn is_library(name: &str) -> bool {
    name.strip_suffix(".so").is_some()
        || name.split_once(".so.").is_some_and(|(stem, version)| {
            !stem.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        })
}

/// The usual folders with their multi-architecture ones, and those named in new files of `ld.so.conf.d`.
fn library_folders(view: &View<'_>) -> Result<Vec<String>, DraftError> {
    let mut folders: Vec<String> = Vec::new();
    for library in LIBRARIES {
        folders.push(library.to_owned());
        for machine in ["x86_64-linux-gnu", "aarch64-linux-gnu", "i386-linux-gnu"] {
            folders.push(format!("{library}/{machine}"));
        }
    }
    for (path, change) in view.below("/etc/ld.so.conf.d") {
        if !is_file(change.after.as_ref()) {
            continue;
        }
        let text = view.text(path, Side::After)?.unwrap_or_default();
        let lines = String::from_utf8_lossy(&text).into_owned();
        let named = lines.lines().map(str::trim).filter(|line| line.starts_with('/'));
        folders.extend(named.map(|line| line.trim_end_matches('/').to_owned()));
    }
    Ok(folders)
}
