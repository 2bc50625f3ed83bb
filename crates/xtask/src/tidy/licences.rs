//! The licences of everything we link or test with, held against `deny.toml`: what `cargo deny` does, on every run.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Complaint;
use crate::{
    command::{command, output},
    workspace::cargo,
};

/// The same graph `deny.toml` names.
const TARGET: &str = "x86_64-unknown-linux-gnu";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
}

pub(super) fn complaints(root: &Path) -> Result<Vec<Complaint>> {
    let allowed = allowed(&fs::read_to_string(root.join("deny.toml"))?)?;
    let words = ["metadata", "--format-version", "1", "--filter-platform", TARGET];
    let text = output(command(&cargo(), words).current_dir(root))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata")?;
    let used: BTreeSet<&str> = metadata.resolve.nodes.iter().map(|node| &*node.id).collect();
    let refused = |package: &&Package| {
        let licence = package.license.as_deref().unwrap_or_default();
        used.contains(&*package.id) && !is_allowed(licence, &allowed)
    };
    let complain = |package: &Package| {
        let licence = package.license.as_deref().unwrap_or("none");
        let text = format!("`{} {}` has the licence `{licence}`", package.name, package.version);
        Complaint::new("deny.toml", text)
    };
    Ok(metadata.packages.iter().filter(refused).map(complain).collect())
}

fn allowed(text: &str) -> Result<BTreeSet<String>> {
    let file: toml_edit::DocumentMut = text.parse().context("deny.toml")?;
    let list = file["licenses"]["allow"].as_array().context("deny.toml has no licenses.allow")?;
    Ok(list.iter().filter_map(|one| Some(one.as_str()?.to_owned())).collect())
}

/// Whether an expression such as `(MIT OR Apache-2.0) AND Unicode-3.0` can be met with what is allowed.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any_of(&words, &mut at, allowed) && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all_of(words, at, allowed);
    }
    met
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = any_of(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return met && closed;
    }
    let mut licence = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        licence += &format!(" WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&licence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_or_not() {
        let allowed = allowed("[licenses]\nallow = [\"MIT\", \"ISC\", \"A WITH B\"]\n").unwrap();
        for good in ["MIT", "MIT OR GPL-3.0", "GPL-2.0/MIT", "(GPL-3.0 OR MIT) AND ISC", "A WITH B"]
        {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND AGPL-3.0", "(MIT", "MIT ISC", "A", "A WITH C"] {
            // What does not parse is no licence, even if it begins as one.
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn ours_allow_nothing_that_binds_what_links_it() {
        let text = fs::read_to_string(crate::workspace::root().join("deny.toml")).unwrap();
        let bound: Vec<String> =
            allowed(&text).unwrap().into_iter().filter(|one| one.contains("GPL")).collect();
        assert_eq!(bound, [""; 0]);
    }
}
