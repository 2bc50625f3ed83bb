//! The rules no compiler knows.
//!
//! Each check looks at the workspace and says what is wrong with it; nothing stops at the first complaint.

mod layers;
mod licences;
mod map;
mod purity;
mod texts;

use std::{fmt, path::Path};

use anyhow::{Result, bail};

use crate::workspace::{self, Crate};

#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask tidy --write")]
pub(crate) struct Args {
    /// Write what is generated instead of complaining that it is out of date.
    #[arg(long)]
    write: bool,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Complaint {
    /// Where: a path in the repository, with a line if there is one.
    pub(crate) place: String,
    /// What, and what to do.
    pub(crate) text: String,
}

impl Complaint {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = workspace::root();
    let crates = workspace::crates(&root)?;
    if args.write {
        purity::write(&crates)?;
        map::write(&root, &crates)?;
    }
    let complaints = complaints(&root, &crates)?;
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    match complaints.len() {
        0 => {
            println!("tidy: {} crates, nothing to complain about", crates.len());
            Ok(())
        }
        count => bail!("tidy: {count} complaints"),
    }
}

fn complaints(root: &Path, crates: &[Crate]) -> Result<Vec<Complaint>> {
    let mut all = layers::complaints(crates);
    all.extend(layers::of_the_installer(root)?);
    all.extend(purity::complaints(crates));
    all.extend(map::complaints(root, crates)?);
    all.extend(licences::complaints(root)?);
    all.extend(texts::complaints(root)?);
    all.sort();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let root = workspace::root();
        let crates = workspace::crates(&root).unwrap();
        let complaints: Vec<String> =
            complaints(&root, &crates).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(complaints, Vec::<String>::new());
    }
}
