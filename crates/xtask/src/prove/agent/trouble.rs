//! What happens to machines, their agents, their site and the wires between them.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{POINTS, SITE, Stage, WIRE};
use crate::prove::random::Random;

/// Between two faults, in milliseconds.
const PAUSE: (u64, u64) = (200, 1_500);
/// How long a fault lasts, in milliseconds.
const LASTS: (u64, u64) = (1_000, 15_000);
/// Between two deployments.
const DEPLOYS: Duration = Duration::from_secs(12);

/// What ends a fault.
enum End {
    Wires(usize),
    Power(usize),
    Site,
    Disk(PathBuf),
    Clock(usize),
}

/// Faults at random, and how many there were.
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
        let mut deployed = Instant::now();
        while Instant::now() < until {
            if deployed.elapsed() > DEPLOYS && stage.deploy_command()? {
                deployed = Instant::now();
                *self.told.entry("commands deployed").or_default() += 1;
            }
            let pause = Instant::now() + self.random.between(PAUSE);
            while Instant::now() < pause {
                self.end(stage, Instant::now())?;
                stage.go_on()?;
                std::thread::park_timeout(Duration::from_millis(20));
            }
            let what = self.one(stage)?;
            *self.told.entry(what).or_default() += 1;
        }
        self.end(stage, until + Duration::from_hours(1))?;
        Ok(self.told)
    }

    /// Ends faults whose time is over at a moment.
    fn end(&mut self, stage: &mut Stage, now: Instant) -> Result<()> {
        let all = std::mem::take(&mut self.ends);
        let (over, under_way): (Vec<_>, Vec<_>) = all.into_iter().partition(|(end, _)| *end <= now);
        self.ends = under_way;
        for (_, end) in over {
            match end {
                End::Wires(machine) => stage.connect(machine),
                End::Power(machine) => stage.machines[machine].start(&stage.tree.network)?,
                End::Site => stage.tree.start(SITE, 0)?,
                End::Disk(ballast) => drop(fs::remove_file(ballast)),
                End::Clock(machine) => stage.machines[machine].set_clock(0)?,
            }
        }
        Ok(())
    }

    fn one(&mut self, stage: &mut Stage) -> Result<&'static str> {
        let until = Instant::now() + self.random.between(LASTS);
        let machine = self.random.index(stage.machines.len());
        let host = stage.machines[machine].host;
        Ok(match self.random.below(12) {
            0 | 1 => {
                for other in [SITE].into_iter().chain(POINTS) {
                    stage.tree.network.cut(other, host);
                }
                self.ends.push((until, End::Wires(machine)));
                "machines cut off"
            }
            2 => {
                for other in [SITE].into_iter().chain(POINTS) {
                    let slow = testkit::Wire { rate: 500_000, loss: 0.03, ..WIRE };
                    stage.tree.network.connect(other, host, slow);
                }
                self.ends.push((until, End::Wires(machine)));
                "wires made slow and lossy"
            }
            3..=5 => {
                // The guardian, the agent, or both.
                let whom = ["--kill-whom=main", "--kill-whom=all", "--kill-whom=all"];
                let whom = whom[self.random.index(3)];
                let unit = "packhorse-agent.service";
                stage.machines[machine].run(&["systemctl", "kill", "-s", "KILL", whom, unit])?;
                "agents killed"
            }
            6 | 7 => {
                if stage.machines[machine].cut_power()? {
                    self.ends.push((until, End::Power(machine)));
                }
                "machines without power"
            }
            8 => {
                let words = ["systemctl", "--no-block", "reboot"];
                stage.machines[machine].run(&words)?;
                "machines restarted"
            }
            9 => {
                if stage.tree.kill(SITE, 0)? {
                    self.ends.push((until, End::Site));
                }
                "the site killed"
            }
            10 => {
                let ballast = stage.machines[machine].ballast();
                fill(&ballast);
                self.ends.push((until, End::Disk(ballast)));
                "disks filled"
            }
            _ => {
                let years = i32::try_from(self.random.below(11)).unwrap_or(0) - 5;
                stage.machines[machine].set_clock(years)?;
                self.ends.push((until, End::Clock(machine)));
                "clocks moved by years"
            }
        })
    }
}

fn fill(ballast: &Path) {
    let Ok(mut file) = fs::File::create(ballast) else { return };
    let block = vec![0; 1 << 20];
    while file.write_all(&block).is_ok() {}
    let _ = file.sync_all();
}
