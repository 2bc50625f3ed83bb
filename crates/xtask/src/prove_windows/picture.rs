//! What a prefix holds, read without the product's code, and where two differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Result, bail};

/// What Wine changes by itself at every start, wherever it is met in a key or path.
const NOISE: [&str; 8] = [
    "NetworkCards",
    r"Control\\Class\\{",
    r"Software\\Wine\\",
    "Packhorse",
    "/Temp/",
    "/temp/",
    // Left out on purpose: it names accounts of the reference machine.
    r"Services\\Everything\\Security",
    // And devices a driver found there.
    r"Services\\EverythingDriver\\Enum",
];

/// Lines of a key that are no part of it: when it was written, and that our own entry among the programs stands in its place.
const LEFT_OUT: [&str; 2] = ["#time", "\"SystemComponent\""];

/// All a prefix holds: files by content and time, keys by their values.
pub(super) struct Picture(pub(super) BTreeMap<String, String>);

impl Picture {
    pub(super) fn of(prefix: &Path) -> Result<Self> {
        let mut all = BTreeMap::new();
        files(&prefix.join("drive_c"), "", &mut all)?;
        for name in ["system.reg", "user.reg"] {
            let text = String::from_utf8_lossy(&fs::read(prefix.join(name))?).into_owned();
            let mut key = String::new();
            let mut values: BTreeSet<&str> = BTreeSet::new();
            for line in text.lines().chain(["["]) {
                if let Some(rest) = line.strip_prefix('[') {
                    if !key.is_empty() {
                        let values = std::mem::take(&mut values);
                        all.insert(key, values.into_iter().collect::<Vec<_>>().join("\n"));
                    }
                    let end = rest.rfind(']').unwrap_or(0);
                    key = if end == 0 { String::new() } else { format!("{name} {}", &rest[..end]) };
                } else if !line.is_empty() && !LEFT_OUT.iter().any(|start| line.starts_with(start))
                {
                    values.insert(line);
                }
            }
        }
        all.retain(|place, _| !NOISE.iter().any(|noise| place.contains(noise)));
        Ok(Self(all))
    }
}

fn files(folder: &Path, place: &str, all: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let place = format!("{place}/{}", entry.file_name().to_string_lossy());
        let known = entry.path().symlink_metadata()?;
        if known.is_dir() {
            all.insert(place.clone(), "folder".to_owned());
            files(&entry.path(), &place, all)?;
        } else if known.is_file() {
            let hash = blake3::hash(&fs::read(entry.path())?);
            let time = (known.mtime(), known.mtime_nsec() / 100);
            all.insert(place, format!("{hash} {time:?}"));
        }
    }
    Ok(())
}

pub(super) fn expect_same(what: &str, one: &Picture, other: &Picture) -> Result<()> {
    let places: BTreeSet<&String> = one.0.keys().chain(other.0.keys()).collect();
    let differ: Vec<String> = places
        .into_iter()
        .filter(|place| one.0.get(*place) != other.0.get(*place))
        .map(|place| format!("{place}: {:?} != {:?}", one.0.get(place), other.0.get(place)))
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    bail!(
        "{what} differ at {} places:\n{}",
        differ.len(),
        differ[..differ.len().min(10)].join("\n")
    )
}
