//! Real software in two versions, through the machine's own package clients.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::command::{command, output, run_quietly};

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

impl Pair {
    pub(crate) fn of_folders(old: &Path, new: &Path) -> Self {
        Self { name: "folders".to_owned(), old: old.to_owned(), new: new.to_owned() }
    }
}

/// The pairs, fetched where they are not there yet.
pub(crate) fn pairs(folder: &Path, only: Option<&str>) -> Result<Vec<Pair>> {
    PAIRS
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

/// A package of a folder.
pub(crate) fn package(program: &Path, tree: &Path, version: &str, run: &Path) -> Result<PathBuf> {
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
    run_quietly(
        command(name, ["compile", "--format", "package"]).arg(project.path()).arg("-o").arg(&file),
    )?;
    Ok(file)
}

/// Bytes of the regular files of a tree.
pub(crate) fn size(tree: &Path) -> Result<u64> {
    let sizes =
        output(command("find", [tree.as_os_str()]).args(["-type", "f", "-printf", "%s\n"]))?;
    Ok(sizes.lines().filter_map(|size| size.parse::<u64>().ok()).sum())
}
