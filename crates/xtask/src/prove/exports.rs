//! A package without our agent: made a .deb and an .rpm, served from signed repositories, installed, updated and removed
//! by the real apt-get and dnf.

mod apt;
mod dnf;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{build, roots::Workshop, tree::Difference};
use crate::{
    command::{captured, command, run_quietly, tail},
    debian, workspace,
};

/// Programs of the distribution this proof needs beside.
const NEEDS: [debian::Need; 6] = [
    ("debootstrap", "debootstrap"),
    ("lintian", "lintian"),
    ("rpmlint", "rpmlint"),
    ("rpmbuild", "rpm"),
    ("systemd-nspawn", "systemd-container"),
    ("unshare", "util-linux"),
];

#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask prove exports")]
pub(crate) struct Args {
    /// Leave the roots of this run behind, to be looked at.
    #[arg(long)]
    keep: bool,
}

/// What was found, line by line.
#[derive(Default)]
pub(super) struct Findings {
    lines: Vec<(String, Result<String>)>,
}

impl Findings {
    /// Notes what came of one thing that was tried.
    pub(super) fn note(&mut self, what: &str, found: Result<String>) {
        match &found {
            Ok(said) => println!("{what}: {said}"),
            Err(error) => eprintln!("{what}: {error:#}"),
        }
        self.lines.push((what.to_owned(), found));
    }

    fn table(&self) -> String {
        let mut text = String::from("| what | found |\n|---|---|\n");
        for (what, found) in &self.lines {
            let said = match found {
                Ok(said) => said.clone(),
                Err(error) => format!("**{}**", format!("{error:#}").replace(['\n', '|'], " ")),
            };
            let _ = writeln!(text, "| {what} | {said} |");
        }
        text
    }
}

/// The program to try, its key, and where everything of this run is.
pub(super) struct Shop {
    packhorse: PathBuf,
    key: PathBuf,
    folder: PathBuf,
}

impl Shop {
    fn packhorse(&self, words: &[&str]) -> Result<()> {
        run_quietly(command(&self.packhorse.to_string_lossy(), words).current_dir(&self.folder))
    }

    /// Puts files into a repository; `kind` is `--apt` or `--rpm`.
    pub(super) fn publish(&self, kind: &str, repository: &Path, files: &[&Path]) -> Result<()> {
        let (key, repository) = (self.key.to_string_lossy(), repository.to_string_lossy());
        let files: Vec<_> = files.iter().map(|file| file.to_string_lossy()).collect();
        let mut words = vec!["export", kind, &repository, "--key", &key];
        words.extend(files.iter().map(|file| &**file));
        self.packhorse(&words)
    }

    /// A file of this run.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(debian::is_root(), "the proof mounts, changes owners and boots: run it as root");
    debian::ensure(&NEEDS)?;
    let packhorse = build(true)?;
    let workshop = Workshop::open()?;
    let folder = workshop.runs().join("exports");
    fs::create_dir_all(&folder)?;
    let shop = Shop { packhorse, key: folder.join("key"), folder };
    let mut findings = Findings::default();
    make(&shop, &mut findings)?;
    apt::prove(&workshop, &shop, &mut findings)?;
    dnf::prove(&workshop, &shop, &mut findings)?;
    if !args.keep {
        super::roots::remove(&shop.folder)?;
    }
    let text = findings.table();
    let file = workspace::root().join("docs/proof-exports.md");
    fs::write(&file, document(&text)).with_context(|| file.display().to_string())?;
    println!("\n{text}");
    let failed = findings.lines.iter().filter(|(_, found)| found.is_err()).count();
    if failed > 0 {
        bail!("{failed} of {} not as it should be", findings.lines.len());
    }
    Ok(())
}

/// Two versions of the project, as .deb and .rpm.
fn make(shop: &Shop, findings: &mut Findings) -> Result<()> {
    let project = workspace::root().join("crates/xtask/exports");
    for version in ["1.0", "2.0"] {
        let to = shop.file(version);
        run_quietly(command("cp", ["-r"]).arg(&project).arg(&to))?;
        let script = to.join("package.toml");
        let text = fs::read_to_string(&script)?.replace("\"1.0\"", &format!("\"{version}\""));
        fs::write(&script, text)?;
        if version == "2.0" {
            fs::write(to.join("files/hello.conf"), "greeting = hello again\n")?;
            fs::remove_file(to.join("files/opt/hello/share/dropped"))?;
            fs::write(to.join("files/opt/hello/share/added"), "only in the second version\n")?;
        }
        for format in ["deb", "rpm"] {
            let file = format!("{version}.{format}");
            shop.packhorse(&["compile", version, "--format", format, "-o", &file])?;
            shop.packhorse(&["compile", version, "--format", format, "-o", "again"])?;
            let same = fs::read(shop.file(&file))? == fs::read(shop.file("again"))?;
            findings.note(
                &format!(".{format} of version {version}"),
                if same {
                    Ok(format!(
                        "{} bytes, the same bytes twice",
                        fs::metadata(shop.file(&file))?.len()
                    ))
                } else {
                    Err(anyhow::anyhow!("different bytes when made again"))
                },
            );
        }
    }
    let key = shop.key.to_string_lossy();
    shop.packhorse(&["export", "--create-key", "Proof <proof@example.com>", "--key", &key])?;
    findings.note("lintian", lintian(&shop.file("2.0.deb")));
    findings.note("rpmlint", rpmlint(&shop.file("2.0.rpm")));
    Ok(())
}

/// No error but those the package itself overrides with a reason.
fn lintian(deb: &Path) -> Result<String> {
    let mut lintian = command("lintian", ["--allow-root", "--show-overrides"]);
    let output = captured(lintian.arg(deb))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("E:")).collect();
    ensure!(errors.is_empty() && text.contains("O:"), "{}", tail(&output));
    let count = |mark: &str| text.lines().filter(|line| line.starts_with(mark)).count();
    Ok(format!(
        "no errors, {} warnings, {} overridden (`dir-or-file-in-opt`: /opt is where it goes)",
        count("W:"),
        count("O:")
    ))
}

/// Errors of rpmlint that are meant, and why.
const MEANT: [(&str, &str); 5] = [
    ("dir-or-file-in-opt", "/opt is where it goes"),
    ("no-signature", "the repository signs"),
    (
        "update-alternatives-",
        "asks for SUSE's spelling; the script takes the candidate away before its file goes",
    ),
    (
        "alternative-link-missing",
        "the links are of all candidates: as %ghost of one, they would go with it",
    ),
    ("alternative-generic-name-missing", "the same"),
];

fn rpmlint(rpm: &Path) -> Result<String> {
    let output = captured(&mut command("rpmlint", [rpm]))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors: Vec<&str> = text.lines().filter(|line| line.contains(": E: ")).collect();
    let meant = |line: &&&str| MEANT.iter().any(|(tag, _)| line.contains(&format!(": E: {tag}")));
    let others: Vec<&&str> = errors.iter().filter(|line| !meant(line)).collect();
    ensure!(
        others.is_empty() && text.contains("packages and 0 specfiles checked"),
        "{others:?}\n{text}"
    );
    let reasons: Vec<String> = MEANT
        .iter()
        .filter(|(tag, _)| errors.iter().any(|line| line.contains(tag)))
        .map(|(tag, why)| format!("`{tag}`: {why}"))
        .collect();
    Ok(format!("no errors but {} meant ({})", errors.len(), reasons.join("; ")))
}

/// What is different but for paths that are nobody's business here.
pub(super) fn left<'d>(differences: &'d [Difference], ignored: &[&str]) -> Vec<&'d Difference> {
    let is_ignored = |one: &Difference| {
        let path = one.path.to_string_lossy();
        // The times of folders tell that something came and went.
        one.what == ["time"]
            || ignored.iter().any(|start| {
                path.strip_prefix(start)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    };
    differences.iter().filter(|one| !is_ignored(one)).collect()
}

/// The files account programs keep beside the databases they change.
pub(super) const KEPT_BY_SHADOW: [&str; 4] =
    ["/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-"];

/// Demands that `text` is in a file of a root, or is not.
pub(super) fn expect(root: &Path, path: &str, text: &str, there: bool) -> Result<()> {
    let file = root.join(path.trim_start_matches('/'));
    let content = fs::read_to_string(&file).unwrap_or_default();
    ensure!(
        content.contains(text) == there,
        "`{path}` {} `{text}`:\n{content}",
        if there { "lacks" } else { "still has" }
    );
    Ok(())
}

fn document(table: &str) -> String {
    format!(
        "# Proof of exports\n\n\
         Written by `cargo xtask prove exports`. One project with a user, a service, a configuration file, edits of \
         shared files, an alternative and a `run` step, in two versions, was compiled to .deb and .rpm and published in \
         signed repositories by `packhorse export`; on fresh roots of Debian the real `apt-get` and `dnf` installed, \
         updated and removed it, with signatures checked, while somebody else edited the same files. Trees \
         were compared before and after in all that `lstat` tells but times and inode numbers.\n\n{table}"
    )
}
