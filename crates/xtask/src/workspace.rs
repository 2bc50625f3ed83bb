//! The workspace as `cargo metadata` and the crates' own words describe it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::command::{self, command, output};

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds the programs of Linux, quick to build and not as they are shipped. Together always, so that nothing they share is built twice.
pub(crate) fn build_programs() -> Result<()> {
    let packages = ["--package", "cli", "--package", "agent", "--package", "guardian"];
    let mut build = command(&cargo(), ["build", "--quiet", "--locked"]);
    command::run(build.args(packages).current_dir(root()))
}

/// A program [`build_programs`] has built.
pub(crate) fn built(name: &str) -> PathBuf {
    target().join("debug").join(name)
}

/// The program that started us, or the one on the path.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// Where a crate stands, from what may use least to what may use most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layer {
    /// No disk, clock, network, environment, process or randomness.
    Pure,
    /// Touches one part of the outside.
    Edge,
    /// Something people start.
    Program,
    /// For tests and chores.
    Support,
}

/// One crate of ours.
#[derive(Clone, Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) layer: Option<Layer>,
    pub(crate) folder: PathBuf,
    /// Every dependency that is no dev-dependency: ours and others'.
    pub(crate) dependencies: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
    metadata: Option<PackageMetadata>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct PackageMetadata {
    layer: Option<Layer>,
}

/// All crates, by name.
pub(crate) fn crates(root: &Path) -> Result<Vec<Crate>> {
    let text = output(
        command(&cargo(), ["metadata", "--no-deps", "--format-version", "1"]).current_dir(root),
    )?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata")?;
    let mut crates: Vec<Crate> = metadata.packages.into_iter().map(Crate::of).collect();
    crates.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(crates)
}

impl Crate {
    fn of(package: Package) -> Self {
        let folder = package.manifest_path.parent().unwrap_or(Path::new("/")).to_owned();
        let dependencies = package
            .dependencies
            .into_iter()
            .filter(|dependency| dependency.kind.as_deref() != Some("dev"))
            .map(|dependency| dependency.name)
            .collect();
        let layer = package.metadata.and_then(|metadata| metadata.layer);
        Self { name: package.name, layer, folder, dependencies }
    }

    /// The first sentence of the crate's `//!`, if it has one.
    pub(crate) fn first_sentence(&self) -> Option<String> {
        let text = ["src/lib.rs", "src/main.rs"]
            .iter()
            .find_map(|file| fs::read_to_string(self.folder.join(file)).ok())?;
        first_sentence(&text)
    }
}

/// The text of the first paragraph of a file's `//!` up to the end of its first sentence.
fn first_sentence(text: &str) -> Option<String> {
    let words: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .take_while(|line| !line.trim().is_empty())
        .map(str::trim)
        .collect();
    let paragraph = words.join(" ");
    if paragraph.is_empty() {
        return None;
    }
    let end = paragraph.find(". ").map_or(paragraph.len(), |at| at + 1);
    Some(paragraph[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::first_sentence;

    #[test]
    fn the_first_sentence_may_span_lines() {
        let text = "//! One thing\n//! and another. More.\n//!\n//! - not this\n";
        assert_eq!(first_sentence(text).as_deref(), Some("One thing and another."));
        assert_eq!(first_sentence("use std::fs;\n"), None);
    }
}
