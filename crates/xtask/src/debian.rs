//! Debian as this machine has it: where its packages come from, and programs it lacks installed.
//!
//! Every address is taken from the machine's own apt configuration.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::command::{command, output, run};

/// A program, and the package that brings it.
pub(crate) type Need = (&'static str, &'static str);

/// Installs the packages of programs that are not on the path; says so.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing = needs.iter().filter(|(program, _)| !is_on_path(program));
    install(missing.map(|(_, package)| *package).collect())
}

/// Installs the packages of files, by their full paths, that are not there; says so.
pub(crate) fn ensure_files(needs: &[Need]) -> Result<()> {
    let missing = needs.iter().filter(|(file, _)| !Path::new(file).exists());
    install(missing.map(|(_, package)| *package).collect())
}

/// Installs packages that are missing; says so.
pub(crate) fn install(missing: BTreeSet<&str>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.iter().copied().collect::<Vec<_>>();
    println!("installing what the tests need: {}", list.join(" "));
    if !is_on_path("apt-get") {
        bail!("there is no apt-get here: install {} by hand", list.join(", "));
    }
    run(&mut as_root("apt-get", &["update", "-qq"]))?;
    let words = ["install", "-y", "-qq", "--no-install-recommends"];
    run(&mut as_root("apt-get", &[&words[..], &list].concat()))
}

/// Whether we may do everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn as_root(program: &str, args: &[&str]) -> std::process::Command {
    let mut ours = if is_root() {
        command(program, args)
    } else {
        command("sudo", std::iter::once(&program).chain(args))
    };
    ours.env("DEBIAN_FRONTEND", "noninteractive");
    ours
}

pub(crate) fn is_on_path(program: &str) -> bool {
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(Path::new);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_user: Vec<_> = std::env::split_paths(&path).collect();
    system
        .into_iter()
        .chain(of_user.iter().map(AsRef::as_ref))
        .any(|folder| folder.join(program).is_file())
}

/// Where packages of Debian itself come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// The release: `bookworm`.
    pub(crate) codename: String,
    /// Its archive.
    pub(crate) archive: String,
    /// All archives of this release as (address, suite, component): updates and security, too.
    pub(crate) sources: BTreeSet<(String, String, String)>,
}

impl Mirror {
    /// The machine's own.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let format = "$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(CREATED_BY)";
        let text = output(&mut command("apt-get", ["indextargets", "--format", format]))?;
        Self::parse(&text).context(
            "apt knows no archive of Debian: run `apt-get update`, look at `apt-get indextargets`",
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut sources = BTreeSet::new();
        for line in text.lines() {
            if let ["Debian", codename, component, archive, "Packages"] =
                line.split('|').collect::<Vec<_>>()[..]
            {
                sources.insert((archive.to_owned(), codename.to_owned(), component.to_owned()));
            }
        }
        let plain = sources.iter().find(|(_, codename, component)| {
            component == "main" && !codename.contains(['-', '/'])
        })?;
        let (archive, codename) = (plain.0.clone(), plain.1.clone());
        Some(Self { codename, archive, sources })
    }

    /// The text of a `sources.list` with all of it; `kind` is `deb` or `deb-src`.
    pub(crate) fn list(&self, kind: &str) -> String {
        self.sources
            .iter()
            .map(|(archive, suite, component)| format!("{kind} {archive} {suite} {component}\n"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_itself_is_found_among_its_updates_and_strangers() {
        let text = "Debian|stone-security|main|http://one.example/security/|Packages\n\
                    Debian|stone-updates|main|http://one.example/debian/|Packages\n\
                    Debian|stone|main|http://one.example/debian/|DEP-11\n\
                    Debian|stone|main|http://one.example/debian/|Packages\n\
                    Other|nodistro|main|http://two.example/|Packages\n";
        let mirror = Mirror::parse(text).unwrap();
        assert_eq!((&*mirror.codename, &*mirror.archive), ("stone", "http://one.example/debian/"));
        assert_eq!(mirror.sources.len(), 3);
        assert!(mirror.list("deb-src").contains("deb-src http://one.example/debian/ stone main\n"));
        assert_eq!(Mirror::parse("Other|nodistro|main|http://two.example/|Packages\n"), None);
    }
}
