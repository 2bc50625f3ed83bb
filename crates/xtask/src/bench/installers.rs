//! Installers against tar and makeself, with ten thousand real files.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{Bench, Row, built, median, ratio, seconds, trees};
use crate::command::{command, run_quietly};

const FILES: usize = 10_000;
const BYTES: u64 = 200_000_000;

/// A project that installs one tree.
const SCRIPT: &str = "format = 1\n\n[package]\nname = \"bench\"\nversion = \"1\"\narchitecture = \"x86-64\"\n\n\
[[step]]\ninstall-tree = \"files/opt/bench\"\nto = \"/opt/bench\"\n";

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let contest = Contest::prepare(bench)?;
    Ok(vec![contest.install(bench)?, contest.stub()?, contest.size()?, contest.unpack(bench)?])
}

struct Contest {
    installer: PathBuf,
    archive: PathBuf,
    makeself: PathBuf,
    /// Where all of them put things: a new folder each turn, none removed before the last. For minutes ext4 goes
    /// around the inodes of removed files, one by one; whoever writes thousands of files then measures that.
    targets: PathBuf,
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
        Ok(Self { installer, archive, makeself, targets: at("targets") })
    }

    /// Durable at the end, both of them: ours by itself, tar's by a sync of the file system.
    fn install(&self, bench: &Bench) -> Result<Row> {
        println!("install against tar");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for turn in 0..bench.turns {
            ours.push(self.turn("install-ours", turn, |target| {
                let mut one = Command::new(&self.installer);
                one.arg("--silent").arg("--root").arg(target);
                vec![one]
            })?);
            theirs.push(self.turn("install-theirs", turn, |target| {
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

    /// The program in front of every installer, as long as the installer's trailer says (docs/formats/package.md §3).
    fn stub(&self) -> Result<Row> {
        const TRAILER: i64 = 120;
        let mut file = File::open(&self.installer)?;
        file.seek(SeekFrom::End(8 - TRAILER))?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        Ok(Row {
            what: "stub".to_owned(),
            measured: format!("{length} bytes"),
            peer: "–".to_owned(),
            ratio: length as f64 / f64::from(1 << 20),
            bar: 2.0,
            unit: " MiB",
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
        for turn in 0..bench.turns {
            ours.push(self.turn("unpack-ours", turn, |target| {
                let mut one = Command::new(&self.installer);
                one.arg("--silent").arg("--extract").arg(target.join("new"));
                vec![one]
            })?);
            theirs.push(self.turn("unpack-theirs", turn, |target| {
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
    fn turn(
        &self,
        name: &str,
        number: usize,
        commands: impl FnOnce(&Path) -> Vec<Command>,
    ) -> Result<Duration> {
        let target = self.targets.join(format!("{name}-{number}"));
        fs::create_dir_all(&target)?;
        run_quietly(command("sync", ["--file-system"]).arg(&target))?;
        let mut commands = commands(&target);
        let begun = Instant::now();
        for one in &mut commands {
            run_quietly(one)?;
        }
        Ok(begun.elapsed())
    }
}
