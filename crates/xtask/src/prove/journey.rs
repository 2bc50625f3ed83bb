//! One program's journey: captured, compiled, installed elsewhere, run, taken off, killed on the way.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    expected::{Announced, changed, outside_of_state, without_mount_points},
    kill::run_until,
    programs::{Program, SUPPLIES},
    random::Random,
    roots::{Mounted, Workshop, copy, network_files, network_settings, remove},
    services,
    tree::{Difference, Known, Tree, listed},
};
use crate::command::{captured, command, run_quietly, tail};

/// What a journey showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// Paths the installer changed, and files of the reference tree.
    pub(crate) changes: usize,
    pub(crate) excluded: usize,
    pub(crate) installer_bytes: u64,
    pub(crate) capture: Duration,
    pub(crate) install: Duration,
    pub(crate) uninstall: Duration,
    pub(crate) calls: u64,
    pub(crate) kills: usize,
    /// Of the kills: how many led to the old tree, the others to the new one.
    pub(crate) back: usize,
    pub(crate) service: Option<String>,
    /// What was not as it should be, and at which step.
    pub(crate) failures: Vec<String>,
}

/// How a journey is made.
pub(crate) struct Settings {
    /// The `packhorse` to try.
    pub(crate) packhorse: PathBuf,
    /// Pack quickly instead of small.
    pub(crate) fast: bool,
    /// How many times it is killed.
    pub(crate) kills: usize,
    /// Where the random points come from.
    pub(crate) seed: u64,
    /// Whether services are proved under a booted systemd.
    pub(crate) services: bool,
    /// Whether folders of the journey stay, to be looked at.
    pub(crate) keep: bool,
}

struct Journey<'a> {
    settings: &'a Settings,
    program: &'a Program,
    /// Its own folder.
    folder: PathBuf,
    /// The clean root.
    target: PathBuf,
    known: Known,
    outcome: Outcome,
}

/// Takes `program` through; what goes wrong stands in the outcome.
pub(crate) fn travel(workshop: &Workshop, program: &Program, settings: &Settings) -> Outcome {
    let folder = workshop.runs().join(program.name);
    let mut journey = Journey {
        settings,
        program,
        target: folder.join("target"),
        folder,
        known: Known::default(),
        outcome: Outcome { name: program.name.to_owned(), ..Outcome::default() },
    };
    if let Err(error) = journey.whole(workshop) {
        journey.outcome.failures.push(format!("{error:#}"));
    }
    if !settings.keep
        && let Err(error) = remove(&journey.folder)
    {
        journey.outcome.failures.push(format!("{error:#}"));
    }
    journey.outcome
}

impl Journey<'_> {
    fn whole(&mut self, workshop: &Workshop) -> Result<()> {
        let (prepared, supplies) = self.program.root(workshop)?;
        fs::create_dir_all(&self.folder)?;
        let source = self.folder.join("source");
        copy(&prepared, &source)?;
        copy(&prepared, &self.target)?;
        let project = self.capture(&source, supplies.as_deref())?;
        let session = self.folder.join("session");
        let reference = {
            let mounted = Mounted::session(&session, &source)?;
            let mut tree = Tree::of(mounted.folder(), &mut Known::default())?;
            without_mount_points(&mut tree, &session)?;
            tree
        };
        let pristine = self.look()?;
        self.outcome.changes = changed(&pristine, &reference);
        let installer = self.compile(&project)?;
        remove(&session)?;
        remove(&source)?;
        let announced = Announced::of(&project)?;
        self.outcome.excluded = announced.excluded();
        let complete = self.install(&installer, &reference, &announced)?;
        self.program.check(&self.target, &self.folder.join("check"))?;
        if let (true, Some(unit)) = (self.settings.services, self.program.service) {
            services::prove_active(&self.target, unit)?;
            self.outcome.service = Some(format!("{unit} active"));
        }
        let drift = self.uninstall(&installer, &pristine)?;
        if let (true, Some(unit)) = (self.settings.services, self.program.service) {
            services::prove_absent(&self.target, unit)?;
        }
        self.kill_everywhere(&mut Expected {
            installer: &installer,
            announced: &announced,
            pristine,
            complete,
            drift,
            restless: BTreeSet::new(),
        })
    }

    fn look(&mut self) -> Result<Tree> {
        Tree::of(&self.target, &mut self.known)
    }

    /// A difference is a failure of the proof, and no reason to stop it.
    fn demand(&mut self, step: &str, differences: &[Difference]) {
        if !differences.is_empty() {
            self.outcome.failures.push(format!("{step}: {}", listed(differences)));
        }
    }

    /// Captures the installer with both observers, and returns the project it became.
    fn capture(&mut self, source: &Path, supplies: Option<&Path>) -> Result<PathBuf> {
        let mut known = Known::default();
        let before = Tree::of(source, &mut known)?;
        let project = self.folder.join("project");
        let mut ours = command(&self.settings.packhorse.to_string_lossy(), ["capture", "run"]);
        ours.arg("--root").arg(source).arg("--session").arg(self.folder.join("session"));
        ours.arg("--compare-observers").arg("-o").arg(&project);
        for (from, to) in network_files() {
            ours.arg("--bind").arg(format!("{}:{}", from.display(), to.display()));
        }
        if let Some(supplies) = supplies {
            ours.arg("--bind").arg(format!("{}:{SUPPLIES}", supplies.display()));
        }
        ours.arg("--").arg("env").arg("DEBIAN_FRONTEND=noninteractive");
        ours.args(network_settings().iter().map(|(name, value)| format!("{name}={value}")));
        ours.args(["sh", "-ec", self.program.install]);
        let begun = Instant::now();
        run_quietly(ours.current_dir("/")).context("capture")?;
        self.outcome.capture = begun.elapsed();
        let after = Tree::of(source, &mut known)?;
        self.demand("the captured root was touched", &before.differences(&after));
        Ok(project)
    }

    fn compile(&mut self, project: &Path) -> Result<PathBuf> {
        run_quietly(self.ours(["script", "check"]).arg(project)).context("script check")?;
        let installer = self.folder.join("installer.run");
        let mut compile = self.ours(["compile"]);
        compile.arg(project).arg("-o").arg(&installer);
        if self.settings.fast {
            compile.arg("--fast");
        }
        run_quietly(&mut compile).context("compile")?;
        self.outcome.installer_bytes = fs::metadata(&installer)?.len();
        Ok(installer)
    }

    /// Installs on the clean root, compares with the reference, and returns the complete tree.
    fn install(
        &mut self,
        installer: &Path,
        reference: &Tree,
        announced: &Announced,
    ) -> Result<Tree> {
        self.settle()?;
        let begun = Instant::now();
        run_quietly(&mut self.installing(installer)).context("install")?;
        self.outcome.install = begun.elapsed();
        let complete = self.look()?;
        self.demand(
            "installed, and not as the reference",
            &announced.unannounced(reference, &complete),
        );
        Ok(complete)
    }

    /// Takes it off. Returns the paths whose times did not come back: a failure, and known from then on.
    fn uninstall(&mut self, installer: &Path, pristine: &Tree) -> Result<BTreeSet<OsString>> {
        self.settle()?;
        let begun = Instant::now();
        run_quietly(&mut self.uninstalling(installer)).context("uninstall")?;
        self.outcome.uninstall = begun.elapsed();
        let mut left = pristine.differences(&self.look()?);
        self.demand("uninstalled, and not pristine", &left);
        Ok(only_times(&mut left))
    }

    /// Waits until nothing is left to write from before: the times are the act's own.
    fn settle(&self) -> Result<()> {
        run_quietly(command("sync", ["--file-system"]).arg(&self.target))
    }

    fn installing(&self, installer: &Path) -> Command {
        let mut ours = Command::new(installer);
        ours.arg("--silent").arg("--root").arg(&self.target).current_dir("/");
        ours
    }

    fn uninstalling(&self, installer: &Path) -> Command {
        let mut ours = self.installing(installer);
        ours.arg("--uninstall");
        ours
    }

    fn ours<'s>(&self, words: impl IntoIterator<Item = &'s str>) -> Command {
        command(&self.settings.packhorse.to_string_lossy(), words)
    }

    /// Kills install and uninstall in turn at random points, recovers, and compares.
    fn kill_everywhere(&mut self, expected: &mut Expected<'_>) -> Result<()> {
        let installing = run_until(&mut self.installing(expected.installer), None)?;
        ensure!(installing.code == Some(0), "install, traced: exit code {:?}", installing.code);
        let again = self.look()?;
        let mut unlike =
            expected.announced.of_packages(outside_of_state(&expected.complete, &again));
        expected.restless = only_times(&mut unlike);
        self.demand("installed twice, and not the same", &unlike);
        let uninstalling = run_until(&mut self.uninstalling(expected.installer), None)?;
        ensure!(uninstalling.code == Some(0), "uninstall, traced: {:?}", uninstalling.code);
        self.outcome.calls = installing.calls + uninstalling.calls;
        let mut random = Random::new(self.settings.seed);
        for round in 0..self.settings.kills {
            let (act, calls) = match round % 2 {
                0 => (Act::Install, installing.calls),
                _ => (Act::Uninstall, uninstalling.calls),
            };
            let kill_at = 1 + random.below(calls);
            self.kill_once(act, kill_at, expected)
                .with_context(|| format!("{act:?} killed at call {kill_at} of {calls}"))?;
        }
        Ok(())
    }

    fn kill_once(&mut self, act: Act, kill_at: u64, expected: &Expected<'_>) -> Result<()> {
        let mut victim = match act {
            Act::Install => self.installing(expected.installer),
            Act::Uninstall => {
                run_quietly(&mut self.installing(expected.installer))?;
                self.uninstalling(expected.installer)
            }
        };
        run_until(&mut victim, Some(kill_at))?;
        let output = captured(self.ours(["recover", "--root"]).arg(&self.target))?;
        // Nine says that there was nothing to recover from.
        if !matches!(output.status.code(), Some(0 | 3 | 9)) {
            bail!("recover: {}\n{}", output.status, tail(&output));
        }
        let seen = self.look()?;
        self.outcome.kills += 1;
        let to_pristine = expected.to_pristine(&seen);
        if to_pristine.is_empty() {
            self.outcome.back += 1;
            return Ok(());
        }
        let to_complete = expected.to_complete(&seen);
        ensure!(
            to_complete.is_empty(),
            "neither pristine nor complete\nto pristine: {}\nto complete: {}",
            listed(&to_pristine),
            listed(&to_complete)
        );
        run_quietly(&mut self.uninstalling(expected.installer))
            .context("uninstall after recovery")?;
        let left = expected.to_pristine(&self.look()?);
        ensure!(left.is_empty(), "recovered, uninstalled, and not pristine: {}", listed(&left));
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Install,
    Uninstall,
}

/// The two trees a killed journey may end in.
struct Expected<'a> {
    installer: &'a Path,
    announced: &'a Announced,
    pristine: Tree,
    complete: Tree,
    /// Paths whose times alone a whole uninstall did not give back. That is a failure, told once.
    drift: BTreeSet<OsString>,
    /// Paths whose times alone differ between two installs: what is edited, or made anew on the machine.
    restless: BTreeSet<OsString>,
}

impl Expected<'_> {
    fn to_pristine(&self, seen: &Tree) -> Vec<Difference> {
        let mut all = self.pristine.differences(seen);
        all.retain(|one| !(one.what == ["time"] && self.drift.contains(&one.path)));
        all
    }

    fn to_complete(&self, seen: &Tree) -> Vec<Difference> {
        let mut all = self.announced.of_packages(outside_of_state(&self.complete, seen));
        all.retain(|one| !(one.what == ["time"] && self.restless.contains(&one.path)));
        all
    }
}

/// Takes the differences in nothing but time out of a list, and returns their paths.
fn only_times(differences: &mut Vec<Difference>) -> BTreeSet<OsString> {
    let (times, others): (Vec<_>, Vec<_>) =
        differences.drain(..).partition(|one| one.what == ["time"]);
    *differences = others;
    times.into_iter().map(|one| one.path).collect()
}
