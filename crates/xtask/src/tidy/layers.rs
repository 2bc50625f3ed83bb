//! Dependencies point up only: pure crates know pure crates, and the installer's stub stays small.

use std::{collections::BTreeSet, path::Path};

use anyhow::Result;

use super::Complaint;
use crate::{
    command::{command, output},
    workspace::{Crate, Layer, cargo},
};

/// What a pure crate has no business with: these exist to touch the outside.
const IMPURE: [&str; 14] = [
    "anyhow",
    "async-std",
    "clap",
    "getrandom",
    "hyper",
    "indicatif",
    "libc",
    "nix",
    "rand",
    "reqwest",
    "rustix",
    "tempfile",
    "tokio",
    "tracing-subscriber",
];

/// What must never be linked into an installer: it would double its size.
const TOO_BIG_FOR_SETUP: [&str; 10] = [
    "capture",
    "cel",
    "clap",
    "compile",
    "globset",
    "regex",
    "script",
    "tokio",
    "toml",
    "toml_edit",
];

/// Layers that are missing, and dependencies that point down.
pub(super) fn complaints(crates: &[Crate]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for one in crates {
        let place = format!("crates/{}/Cargo.toml", one.name);
        let Some(layer) = one.layer else {
            let text = "no `layer` in [package.metadata]: write pure, edge, program or support";
            complaints.push(Complaint::new(place, text));
            continue;
        };
        for name in &one.dependencies {
            let ours =
                crates.iter().find(|other| other.name == *name).and_then(|other| other.layer);
            let wrong = match ours {
                Some(below) => below > layer,
                None => layer == Layer::Pure && IMPURE.contains(&name.as_str()),
            };
            if wrong {
                let text = format!("a {layer:?} crate must not depend on `{name}`").to_lowercase();
                complaints.push(Complaint::new(place.clone(), text));
            }
        }
    }
    complaints
}

/// What the installer's stub links and should not.
pub(super) fn of_the_installer(root: &Path) -> Result<Vec<Complaint>> {
    let tree = ["tree", "-p", "setup", "-e", "normal", "--prefix", "none", "--format", "{p}"];
    let text = output(command(&cargo(), tree).current_dir(root))?;
    let linked: BTreeSet<&str> =
        text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    Ok(too_big(&linked))
}

fn too_big(linked: &BTreeSet<&str>) -> Vec<Complaint> {
    TOO_BIG_FOR_SETUP
        .iter()
        .filter(|name| linked.contains(**name))
        .map(|name| {
            let text =
                format!("the installer's stub links `{name}`: `cargo tree -p setup -i {name}`");
            Complaint::new("crates/setup/Cargo.toml", text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn one(name: &str, layer: Option<Layer>, dependencies: &[&str]) -> Crate {
        let dependencies = dependencies.iter().map(ToString::to_string).collect();
        Crate { name: name.into(), layer, folder: PathBuf::new(), dependencies }
    }

    #[test]
    fn a_pure_crate_depends_on_pure_crates() {
        let crates = [
            one("model", Some(Layer::Pure), &["serde"]),
            one("disk", Some(Layer::Edge), &["model", "rustix"]),
            one("wrong", Some(Layer::Pure), &["model", "disk", "rustix"]),
            one("program", Some(Layer::Program), &["disk", "clap"]),
            one("bare", None, &[]),
        ];
        let texts: Vec<String> = complaints(&crates).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "crates/wrong/Cargo.toml: a pure crate must not depend on `disk`",
                "crates/wrong/Cargo.toml: a pure crate must not depend on `rustix`",
                "crates/bare/Cargo.toml: no `layer` in [package.metadata]: write pure, edge, program or support",
            ]
        );
    }

    #[test]
    fn the_stub_links_no_expression_language() {
        assert_eq!(too_big(&BTreeSet::from(["zstd", "blake3"])), []);
        assert_eq!(too_big(&BTreeSet::from(["zstd", "cel"])).len(), 1);
    }
}
