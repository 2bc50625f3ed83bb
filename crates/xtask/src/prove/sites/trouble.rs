//! Faults at random, and their ends.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use testkit::Wire;

use super::{SITES, Stage, WIRE};
use crate::prove::random::Random;

/// Between two faults, in milliseconds.
const PAUSE: (u64, u64) = (400, 2_000);
/// How long a fault lasts, in milliseconds.
const LASTS: (u64, u64) = (500, 9_000);

/// What ends a fault.
enum End {
    Wire(usize),
    Process(usize, usize),
    Disk(PathBuf),
    Postgres,
    Bucket(usize),
}

/// Where faults come from, and how many there were.
pub(super) struct Trouble {
    random: Random,
    ends: Vec<(Instant, End)>,
    told: BTreeMap<&'static str, u32>,
}

impl Trouble {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), ends: Vec::new(), told: BTreeMap::new() }
    }

    /// Makes trouble for so long, then ends all of it. What was done, and how often.
    pub(super) fn make(
        mut self,
        stage: &mut Stage,
        lasts: Duration,
    ) -> Result<BTreeMap<&'static str, u32>> {
        let until = Instant::now() + lasts;
        self.publish(stage, 0)?;
        let mut round = 0_usize;
        while Instant::now() < until {
            let pause = self.random.between(PAUSE);
            self.wait(stage, Instant::now() + pause)?;
            round += 1;
            let what = self.one(stage, round)?;
            *self.told.entry(what).or_default() += 1;
        }
        for (_, end) in std::mem::take(&mut self.ends) {
            undo(stage, end)?;
        }
        for (site, process) in stage.tree.dead()? {
            stage.tree.start(site, process)?;
        }
        Ok(self.told)
    }

    /// Ends faults whose time is over, until a moment.
    fn wait(&mut self, stage: &mut Stage, moment: Instant) -> Result<()> {
        while Instant::now() < moment {
            let now = Instant::now();
            let (over, under_way) =
                std::mem::take(&mut self.ends).into_iter().partition(|(until, _)| *until <= now);
            self.ends = under_way;
            let over: Vec<(Instant, End)> = over;
            for (_, end) in over {
                undo(stage, end)?;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    fn one(&mut self, stage: &mut Stage, round: usize) -> Result<&'static str> {
        if round.is_multiple_of(6) {
            self.publish(stage, round)?;
            return Ok("published");
        }
        let until = Instant::now() + self.random.between(LASTS);
        Ok(match self.random.below(11) {
            0 | 1 => {
                let site = 1 + self.random.index(SITES.len() - 1);
                if let Some(parent) = stage.tree.parent(site) {
                    stage.tree.network.cut(parent, site);
                }
                self.ends.push((until, End::Wire(site)));
                "a wire cut"
            }
            2 => {
                let site = 1 + self.random.index(SITES.len() - 1);
                if let Some(parent) = stage.tree.parent(site) {
                    let slow = Wire { rate: 1_000_000, loss: 0.02, ..WIRE };
                    stage.tree.network.connect(parent, site, slow);
                }
                self.ends.push((until, End::Wire(site)));
                "a wire made slow and lossy"
            }
            3..=5 => {
                let site = self.random.index(stage.tree.sites());
                let process = self.random.index(stage.tree.processes(site));
                if stage.tree.kill(site, process)? {
                    self.ends.push((until, End::Process(site, process)));
                }
                "a process killed"
            }
            6 => {
                let site = self.random.index(SITES.len());
                // The central site is on two machines.
                let parts = ["", "-points", "-1"];
                let part = parts[self.random.index(if site == 0 { 3 } else { 2 })];
                let ballast = stage.home.join(format!("{}{part}/ballast", SITES[site].0));
                fill(&ballast);
                self.ends.push((until, End::Disk(ballast)));
                "a disk filled"
            }
            7 => {
                stage.postgres.kill();
                self.ends.push((until, End::Postgres));
                "the database killed"
            }
            8 => {
                let server = self.random.index(stage.servers.len());
                stage.servers[server].set_silent(true);
                self.ends.push((until, End::Bucket(server)));
                "a bucket made silent"
            }
            _ => {
                let point = self.random.index(stage.points.len());
                let folder = stage.points[point].folder.clone();
                match self.victim(&folder) {
                    Some(file) => self.damage(&file)?,
                    None => return Ok("nothing to be damaged"),
                }
                "an object damaged or deleted"
            }
        })
    }

    /// A new version of something, or a package that comes and goes; the central site may be in no state to take it.
    fn publish(&mut self, stage: &mut Stage, round: usize) -> Result<()> {
        let small = stage.next_small()?;
        if !stage.publish(&small, "small")? {
            // It may have been taken all the same: its number is not used again.
            *self.told.entry("a version not taken at once").or_default() += 1;
        }
        let older = (round / 18).min(stage.software.len() - 2);
        let file = stage.software[older].clone();
        stage.publish(&file, "bench")?;
        if round.is_multiple_of(12) {
            let mut sample = testkit::Sample::new("passing", &round.to_string());
            let folder = sample.tree("/opt/passing");
            sample.file(folder, "data", round.to_string().repeat(50_000).as_bytes());
            let file = stage.home.join("passing.package");
            fs::write(&file, sample.bytes())?;
            stage.publish(&file, "passing")?;
        } else {
            stage.tree.say(0, &["retire", "passing"])?;
        }
        Ok(())
    }

    /// One of a point's objects; never what is being written.
    fn victim(&mut self, folder: &Path) -> Option<PathBuf> {
        let mut files = Vec::new();
        for part in ["packs", "manifests", "deltas"] {
            let mut folders = vec![folder.join(part)];
            while let Some(folder) = folders.pop() {
                let Ok(entries) = fs::read_dir(&folder) else { continue };
                for entry in entries.filter_map(Result::ok) {
                    match entry.file_type() {
                        Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                        Ok(kind) if kind.is_file() => files.push(entry.path()),
                        _ => {}
                    }
                }
            }
        }
        files.sort();
        let chosen = self.random.index(files.len());
        files.into_iter().nth(chosen)
    }

    fn damage(&mut self, file: &Path) -> Result<()> {
        // It may be gone by now, which is no less of a fault.
        if self.random.below(3) == 0 {
            let _ = fs::remove_file(file);
            return Ok(());
        }
        let Ok(mut file) = fs::OpenOptions::new().read(true).write(true).open(file) else {
            return Ok(());
        };
        let length = file.metadata()?.len();
        let at = self.random.below(length);
        let mut byte = [0];
        file.seek(SeekFrom::Start(at))?;
        if file.read(&mut byte)? == 1 {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&[byte[0] ^ 0x40])?;
        }
        Ok(())
    }
}

/// Takes all room there is.
fn fill(ballast: &Path) {
    let Ok(mut file) = fs::File::create(ballast) else { return };
    let block = vec![0; 1 << 20];
    while file.write_all(&block).is_ok() {}
}

fn undo(stage: &mut Stage, end: End) -> Result<()> {
    match end {
        End::Wire(site) => {
            let parent = stage.tree.parent(site).context("a child")?;
            stage.tree.network.connect(parent, site, WIRE);
        }
        End::Process(site, process) => stage.tree.start(site, process)?,
        End::Disk(ballast) => {
            let _ = fs::remove_file(ballast);
        }
        End::Bucket(server) => stage.servers[server].set_silent(false),
        End::Postgres => stage.postgres.go_on().context("PostgreSQL")?,
    }
    Ok(())
}
