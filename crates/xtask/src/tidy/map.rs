//! The code map of ARCHITECTURE.md: every crate with the first sentence of its own words.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::Complaint;
use crate::workspace::{Crate, Layer};

const FILE: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- map: `cargo xtask tidy --write` -->";
const END: &str = "<!-- end of the map -->";
/// A map longer than that is not read.
const WORDS: usize = 1500;

pub(super) fn complaints(root: &Path, crates: &[Crate]) -> Result<Vec<Complaint>> {
    let mut complaints: Vec<Complaint> = crates
        .iter()
        .filter(|one| one.first_sentence().is_none())
        .map(|one| {
            Complaint::new(
                format!("crates/{}/src", one.name),
                "the crate does not begin with `//!`",
            )
        })
        .collect();
    let text = fs::read_to_string(root.join(FILE)).context(FILE)?;
    let words = text.split_whitespace().count();
    if words > WORDS {
        complaints
            .push(Complaint::new(FILE, format!("{words} words, and at most {WORDS} are read")));
    }
    if with_map(&text, &map(crates)).as_deref() != Some(&*text) {
        complaints.push(Complaint::new(FILE, "the map is out of date: `cargo xtask tidy --write`"));
    }
    Ok(complaints)
}

pub(super) fn write(root: &Path, crates: &[Crate]) -> Result<()> {
    let file = root.join(FILE);
    let text = fs::read_to_string(&file).context(FILE)?;
    let text = with_map(&text, &map(crates)).with_context(|| format!("{FILE} has no `{BEGIN}`"))?;
    fs::write(&file, text).context(FILE)
}

/// `text` with `map` between the marks, if it has them.
fn with_map(text: &str, map: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{map}{END}{after}"))
}

fn map(crates: &[Crate]) -> String {
    let mut map = String::new();
    for layer in [Layer::Pure, Layer::Edge, Layer::Program, Layer::Support] {
        map.push_str(&format!("\n**{layer:?}**\n\n"));
        for one in crates.iter().filter(|one| one.layer == Some(layer)) {
            let sentence = one.first_sentence().unwrap_or_default();
            map.push_str(&format!("- `{}`: {sentence}\n", one.name));
        }
    }
    map.push('\n');
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_replaces_what_stood_between_the_marks() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let new = with_map(&text, "new\n").unwrap();
        assert_eq!(new, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(with_map("no marks", "new"), None);
    }
}
