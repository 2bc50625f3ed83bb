//! Installers against tar and makeself, with ten thousand real files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{Bench, Row, built, median, ratio, remove, seconds, trees};
use crate::command::{command, run_quietly};

const FILES: usize = 10_000;
const BYTES: u64 = 200_000_000;

/// A project that installs one tree.
const SCRIPT: &str = "format = 1\n\n[package]\nname = \"bench\"\nversion = \"1\"\narchitecture = \"x86-64\"\n\n\
[[step]]\ninstall-tree = \"files/opt/bench\"\nto = \"/opt/bench\"\n";

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let contest = Contest::prepare(bench)?;
    Ok(vec![contest.install(bench)?, contest.size()?, contest.unpack(bench)?])
}

struct Contest {
    installer: PathBuf,
    archive: PathBuf,
    makeself: PathBuf,
    /// Where all of them put things.
    target: PathBuf,
}

impl Contest {
    fn prepare(bench: &Bench) -> Result<Self> {
        let project = bench.folder.join("project");
        let tree = project.join("files/opt/bench");
        fs::create_dir_all(&tree)?;
        let bytes = trees::copy_real(&tree, FILES, BYTES)?;
        println!("installers of {FILES} files, {} MB", bytes / 1_000_000);
        fs::write(project.join("package.toml"), SCRIPT)?;
        let at = |name: &str| bench.folder.join(name);
        let (installer, archive, makeself) =
            (at("bench.run"), at("bench.tar.zst"), at("bench.makeself"));
        let ours = built("packhorse");
        run_quietly(
            command(&ours.to_string_lossy(), ["compile"]).arg(&project).arg("-o").arg(&installer),
        )?;
        run_quietly(command("tar", ["--zstd", "-cf"]).arg(&archive).arg("-C").arg(&tree).arg("."))?;
        run_quietly(
            command("makeself", ["--xz", "--complevel", "9", "--nox11"])
                .arg(&tree)
                .arg(&makeself)
                .args(["bench", "true"]),
        )?;
        remove(&project)?;
        Ok(Self { installer, archive, makeself, target: at("target") })
    }

    /// Durable at the end, both of them: ours by itself, tar's by a sync of the file system.
    fn install(&self, bench: &Bench) -> Result<Row> {
        println!("install against tar");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..bench.turns {
            ours.push(self.turn(|target| {
                let mut one = Command::new(&self.installer);
                one.arg("--silent").arg("--root").arg(target);
                vec![one]
            })?);
            theirs.push(self.turn(|target| {
                let mut tar = command("tar", ["--zstd", "-xf"]);
                tar.arg(&self.archive).arg("-C").arg(target);
                let mut sync = command("sync", ["--file-system"]);
                sync.arg(target);
                vec![tar, sync]
            })?);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        Ok(Row {
            what: format!("install {FILES} files, durable"),
            measured: seconds(ours),
            peer: format!("{} `tar --zstd -x` and `sync`", seconds(theirs)),
            ratio: ratio(ours, theirs),
            bar: 1.5,
            unit: "",
        })
    }

    fn size(&self) -> Result<Row> {
        let (ours, theirs) =
            (fs::metadata(&self.installer)?.len(), fs::metadata(&self.makeself)?.len());
        Ok(Row {
            what: "installer size".to_owned(),
            measured: format!("{:.1} MB", ours as f64 / 1e6),
            peer: format!("{:.1} MB makeself with xz -9", theirs as f64 / 1e6),
            ratio: ours as f64 / theirs as f64,
            bar: 1.12,
            unit: "",
        })
    }

    fn unpack(&self, bench: &Bench) -> Result<Row> {
        println!("unpack against makeself");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..bench.turns {
            ours.push(self.turn(|target| {
                let mut one = Command::new(&self.installer);
                one.arg("--silent").arg("--extract").arg(target.join("new"));
                vec![one]
            })?);
            theirs.push(self.turn(|target| {
                let mut one = command("sh", [&self.makeself]);
                one.args(["--quiet", "--noexec", "--nox11", "--target"]).arg(target.join("new"));
                vec![one]
            })?);
        }
        let (ours, theirs) = (median(ours), median(theirs));
        Ok(Row {
            what: "unpack".to_owned(),
            measured: seconds(ours),
            peer: format!("{} makeself with xz -9", seconds(theirs)),
            ratio: ratio(ours, theirs),
            bar: 0.25,
            unit: "",
        })
    }

    /// How long the commands take on an empty target, with nothing left to write from before.
    fn turn(&self, commands: impl FnOnce(&Path) -> Vec<Command>) -> Result<Duration> {
        remove(&self.target)?;
        fs::create_dir_all(&self.target)?;
        run_quietly(command("sync", ["--file-system"]).arg(&self.target))?;
        let mut commands = commands(&self.target);
        let begun = Instant::now();
        for one in &mut commands {
            run_quietly(one)?;
        }
        Ok(begun.elapsed())
    }
}
