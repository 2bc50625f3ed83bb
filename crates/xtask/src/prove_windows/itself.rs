//! `packhorse.exe` captures, compiles and looks after packages on Windows itself, and comes to what Linux comes to.
//!
//! The projects are compared as texts and bytes; what may differ is named here, each with its reason.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    OURS, Proof, RESTART, installers,
    picture::{Picture, expect_same},
    wine::{run_in, screen, settle, wine},
};
use crate::{
    command::{captured, command, run_quietly, tail},
    workspace,
};

pub(super) const NAME: &str = "itself";
/// What `recover` ends with where nothing was interrupted.
const NOTHING: i32 = 9;
/// What is captured both ways: one of NSIS's examples, and the one that does all.
const CAPTURED: [&str; 2] = ["example2", OURS];

impl Proof {
    /// What was seen, in a sentence.
    pub(super) fn itself(&self) -> Result<String> {
        let built =
            workspace::root().join("target/windows/x86_64-pc-windows-gnu/stub/packhorse.exe");
        let program = self.folder.join("packhorse.exe");
        fs::copy(&built, &program).with_context(|| format!("`{}`", built.display()))?;
        let mut files = 0;
        for name in CAPTURED {
            files += self.both_ways(name, &program).with_context(|| format!("`{name}`"))?;
        }
        self.says_where(&program)?;
        Ok(format!(
            "{} installers, each killed in the middle of `finish`, {files} files of projects as captured from \
             Linux, installers of them byte for byte those compiled on Linux; all installed, verified, taken off by the command",
            CAPTURED.len()
        ))
    }

    /// Captures an installer from Linux and from Windows, and compares; answers how many files a project has.
    fn both_ways(&self, name: &str, program: &Path) -> Result<usize> {
        let setup = installers::build(name, &self.folder)?;
        let words = installers::silently(name, &setup);
        let is_restart = name == OURS;
        let from_linux = self.folder.join("from-linux").join(name);
        self.on_linux(&words, is_restart, &from_linux)?;
        let from_windows = self.folder.join("from-windows").join(name);
        self.on_windows(program, &words, is_restart, &from_windows)?;
        let (wanted, found) = (Project::of(&from_linux)?, Project::of(&from_windows)?);
        wanted.expect_same(&found)?;

        let checked = self.say(program, "reference", &["script", "check", &on_z(&from_windows)])?;
        ensure!(!checked.contains("error"), "`script check` says\n{checked}");
        let (here, there) = (
            self.folder.join(format!("{name}-here.exe")),
            self.folder.join(format!("{name}-there.exe")),
        );
        let mut compile = command(self.program(), ["compile", "--target", "windows"]);
        run_quietly(compile.arg(&from_windows).arg("-o").arg(&here))?;
        let words = ["compile", &on_z(&from_windows), "--target", "windows", "-o", &on_z(&there)];
        self.say(program, "reference", &words)?;
        ensure!(fs::read(&here)? == fs::read(&there)?, "compiled on Windows are other bytes");
        self.look_after(program, name, &there)?;
        Ok(wanted.0.len())
    }

    pub(super) fn on_linux(
        &self,
        words: &[String],
        is_restart: bool,
        project: &Path,
    ) -> Result<()> {
        let prefix = self.prefixes.fresh("reference")?;
        let session = project.with_extension("session");
        let mut begin = command(self.program(), ["capture", "begin", "--wine"]);
        run_quietly(begin.arg(&prefix).arg("--session").arg(&session).env("DISPLAY", screen()))?;
        execute(&prefix, words, is_restart)?;
        let mut finish = command(self.program(), ["capture", "finish", "--session"]);
        run_quietly(finish.arg(&session).arg("-o").arg(project))
    }

    /// Begun in one life of the machine, finished in another, killed in between.
    fn on_windows(
        &self,
        program: &Path,
        words: &[String],
        is_restart: bool,
        project: &Path,
    ) -> Result<()> {
        let prefix = self.prefixes.fresh("reference")?;
        let session = project.with_extension("session");
        let program = text(program)?;
        let on_windows = on_z(&session);
        run_in(&prefix, [program, "capture", "begin", "--session", &on_windows])?;
        execute(&prefix, words, is_restart)?;
        let status = self.say(
            Path::new(program),
            "reference",
            &["capture", "status", "--session", &on_windows],
        )?;
        ensure!(status.contains("observing"), "`status` says\n{status}");
        let output = on_z(project);
        let finish = [program, "capture", "finish", "--session", &on_windows, "-o", &output];
        let mut child = wine(&prefix, finish).spawn()?;
        // The registry afterwards is kept, and the change set not yet.
        while child.try_wait()?.is_none() && !session.join("after-unread.json").exists() {
            thread::yield_now();
        }
        ensure!(child.try_wait()?.is_none(), "`finish` ended before it was killed");
        child.kill()?;
        child.wait()?;
        ensure!(!session.join("changes.jsonl").exists(), "it was killed too late");
        ensure!(!project.exists(), "a project of half a capture");
        run_in(&prefix, finish)?;
        run_in(&prefix, [program, "capture", "discard", "--session", &on_windows])?;
        ensure!(!session.exists(), "`discard` leaves the session");
        settle(&prefix)
    }

    /// Installs by the command, verifies, lists, takes off; nothing stays.
    fn look_after(&self, program: &Path, name: &str, installer: &Path) -> Result<()> {
        let base = Picture::of(&self.prefixes.base())?;
        let prefix = self.prefixes.fresh("target")?;
        let program = text(program)?;
        run_in(&prefix, [program, "install", &on_z(installer), "--silent"])?;
        let said = self.say(Path::new(program), "target", &["list"])?;
        let package = said.split_whitespace().next().context("`list` says nothing")?.to_owned();
        let installed = name == package || said.contains(name);
        ensure!(installed, "`list` says\n{said}");
        run_in(&prefix, [program, "verify", name])?;
        let recovered = captured(&mut wine(&prefix, [program, "recover", "--silent"]))?;
        ensure!(recovered.status.code() == Some(NOTHING), "`recover` says\n{}", tail(&recovered));
        let gone = captured(&mut wine(&prefix, [program, "uninstall", name]))?;
        ensure!(gone.status.success(), "`uninstall` ends with {}:\n{}", gone.status, tail(&gone));
        settle(&prefix)?;
        expect_same("the pristine prefix and the target", &base, &Picture::of(&prefix)?)
    }

    /// What is a server's says where it can be run.
    fn says_where(&self, program: &Path) -> Result<()> {
        let prefix = self.prefixes.fresh("target")?;
        let said = captured(&mut wine(&prefix, [text(program)?, "site", "init"]))?;
        ensure!(said.status.code() == Some(2), "`site` ends with {}", said.status);
        ensure!(tail(&said).contains("Linux"), "`site` says\n{}", tail(&said));
        settle(&prefix)
    }

    /// What the program says in a prefix.
    fn say(&self, program: &Path, prefix: &str, words: &[&str]) -> Result<String> {
        let line = [&[text(program)?], words].concat();
        let said = captured(&mut wine(&self.folder.join(prefix), line))?;
        ensure!(said.status.success(), "`{}`: {}\n{}", words.join(" "), said.status, tail(&said));
        Ok(String::from_utf8_lossy(&said.stdout).into_owned())
    }
}

/// Runs an installer in a prefix, and the restart it wants.
pub(super) fn execute(prefix: &Path, words: &[String], is_restart: bool) -> Result<()> {
    let words = words.iter().map(String::as_str);
    if !is_restart {
        run_in(prefix, words)?;
        return settle(prefix);
    }
    let ended = captured(&mut wine(prefix, words))?;
    ensure!(ended.status.code() == Some(RESTART & 0xff), "no restart wanted: {}", ended.status);
    settle(prefix)?;
    run_in(prefix, ["wineboot", "-r"])?;
    settle(prefix)
}

/// A path of this machine as programs in a prefix name it.
fn on_z(path: &Path) -> String {
    format!("Z:{}", path.display()).replace('/', "\\")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a plain path")
}

/// A project by its files, each a text or what its bytes are.
pub(super) struct Project(BTreeMap<PathBuf, String>);

impl Project {
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let mut all = BTreeMap::new();
        let mut ahead = vec![folder.to_owned()];
        while let Some(one) = ahead.pop() {
            for entry in fs::read_dir(&one)? {
                let path = entry?.path();
                let below = path.strip_prefix(folder)?.to_owned();
                if path.is_dir() {
                    all.insert(below, "folder".to_owned());
                    ahead.push(path);
                } else if below.starts_with("files") {
                    all.insert(below, blake3::hash(&fs::read(&path)?).to_string());
                } else {
                    all.insert(below, without_times(&fs::read_to_string(&path)?));
                }
            }
        }
        Ok(Self(all))
    }

    /// The same with the tops of hives named as Windows names them.
    pub(super) fn named_by_windows(mut self) -> Self {
        for text in self.0.values_mut() {
            *text = text
                .replace(r"HKLM\Software\", r"HKLM\SOFTWARE\")
                .replace(r"HKLM\System\", r"HKLM\SYSTEM\");
        }
        self
    }

    pub(super) fn expect_same(&self, other: &Self) -> Result<()> {
        for path in self.0.keys().chain(other.0.keys()) {
            let (wanted, found) = (self.0.get(path), other.0.get(path));
            let name = path.to_string_lossy();
            if DIFFERENT.contains(&&*name) || wanted == found {
                continue;
            }
            let lines = |one: Option<&String>| -> Vec<String> {
                one.map_or_else(Vec::new, |text| text.lines().map(str::to_owned).collect())
            };
            let (wanted, found) = (lines(wanted), lines(found));
            let mut only: Vec<String> = Vec::new();
            only.extend(
                wanted.iter().filter(|line| !found.contains(line)).map(|line| format!("- {line}")),
            );
            only.extend(
                found.iter().filter(|line| !wanted.contains(line)).map(|line| format!("+ {line}")),
            );
            only.retain(|line| !is_expected(&name, line));
            ensure!(only.is_empty(), "`{name}` differs:\n{}", only.join("\n"));
        }
        Ok(())
    }
}

/// A text with its times made one: each run of an installer writes its files anew.
fn without_times(text: &str) -> String {
    const FORM: &[u8] = b"0000-00-00T00:00:00";
    let is_time = |bytes: &[u8]| {
        bytes.len() >= FORM.len()
            && FORM.iter().zip(bytes).all(|(form, byte)| match form {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if is_time(rest.as_bytes()) {
            let end = rest.find('Z').map_or(rest.len(), |at| at + 1);
            out.push_str("TIME");
            rest = &rest[end..];
        } else {
            out.push(letter);
            rest = &rest[letter.len_utf8()..];
        }
    }
    out
}

/// Files of a project that are of the machine that captured: one is Linux, with its host name and addresses.
const DIFFERENT: [&str; 1] = ["capture/facts.toml"];

/// Lines that may differ, and why.
fn is_expected(file: &str, line: &str) -> bool {
    EXPECTED.iter().any(|(of, part, _)| *of == file && line.contains(part))
}

/// By file, what stands in the line, and the reason.
const EXPECTED: [(&str, &str, &str); 10] = [
    ("capture/report.toml", "NTUSER.DAT", HIVES),
    ("capture/report.toml", "System32/config", HIVES),
    ("capture/report.toml", r"system32\config", HIVES),
    ("capture/report.toml", "hives: the registry", HIVES),
    ("capture/report.toml", "ServiceCurrent", VOLATILE),
    ("capture/report.toml", "servicecurrent", VOLATILE),
    ("capture/report.toml", "counts processes by", VOLATILE),
    ("capture/report.toml", "{4d36e968-e325-11ce-bfc1-08002be10318}", SCREEN),
    ("capture/report.toml", "changes = ", "with it, the number of changes"),
    ("capture/report.toml", "excluded = ", "and of those left out"),
];
/// Why the class of display adapters is left out by other names.
const SCREEN: &str =
    "Wine describes its screen anew at a start, and that may come before a look or after it";
/// Why there is more in the report of Windows itself.
const HIVES: &str = "only a prefix whose registry was written as hives has these files";
const VOLATILE: &str =
    "a key that is never on disk: the interface shows it, and Wine's files do not have it";
