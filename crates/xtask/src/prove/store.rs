//! The content store on real software: published, updated, cut off, damaged, killed; and never a wrong byte.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};

use super::{azurite::Azurite, garage::Garage, random::Random};
use crate::{
    bench::store::data::{self, Series, package, series},
    command::{captured, command, run_quietly, tail},
    debian,
};

const NEEDS: [debian::Need; 1] = [("/usr/bin/time", "time")];

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask prove store\n  cargo xtask prove store --only typescript --kills 10\n  \
cargo xtask prove store --only typescript --at garage"
)]
pub(crate) struct Args {
    /// One of them: kernel, pyside, ziglang, typescript.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// At how many random moments a publish and a collection are killed, and a fetch is.
    #[arg(long, default_value = "50", value_name = "N")]
    kills: u64,
    /// Where the random moments come from.
    #[arg(long, default_value = "1", value_name = "N")]
    seed: u64,
    /// Buckets of a server instead of folders; what needs to reach into them is left out.
    #[arg(long, value_name = "SERVER")]
    at: Option<Server>,
    /// With optimised programs: the large ones take hours otherwise.
    #[arg(long)]
    release: bool,
}

impl Args {
    /// What every test run proves: one series, few kills.
    pub(crate) fn short() -> Self {
        Self { only: Some("typescript".to_owned()), kills: 4, seed: 1, at: None, release: false }
    }
}

/// A server with a bucket.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Server {
    /// S3, and no more than the least of it.
    Garage,
    /// Azure's storage.
    Azurite,
    /// Google's storage, as an S3 server speaks it behind a token and their condition.
    Google,
}

/// A bucket of a server that runs.
struct Bucket {
    /// Where points in it begin.
    location: &'static str,
    /// What a client's environment says for it to get in.
    settings: Vec<(String, String)>,
    /// Ends with this.
    _server: Box<dyn std::any::Any + Send + Sync>,
}

impl Bucket {
    fn start(server: Server) -> Result<Self> {
        let named = |all: &[(&str, String)]| {
            all.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        Ok(match server {
            Server::Garage => {
                let one = Garage::start()?;
                let settings = named(&one.settings);
                Self { location: "s3://packages", settings, _server: Box::new(one) }
            }
            Server::Azurite => {
                let one = Azurite::start()?;
                let settings = named(&one.settings);
                Self { location: "az://packages", settings, _server: Box::new(one) }
            }
            Server::Google => {
                let one = testkit::S3Server::start_as_google()?;
                let settings = one.google_settings();
                Self { location: "gs://packages", settings, _server: Box::new(one) }
            }
        })
    }
}

/// What is proved on.
struct Stage {
    program: PathBuf,
    run: tempfile::TempDir,
    /// The oldest, the one between, the newest.
    first: PathBuf,
    old: PathBuf,
    new: PathBuf,
    random: Random,
    bucket: Option<Bucket>,
}

/// Runs the proof.
pub(crate) fn run(args: &Args) -> Result<()> {
    debian::ensure(&NEEDS)?;
    let program = super::build(!args.release)?;
    let folder = data::folder()?;
    let all = series(&folder, args.only.as_deref())?;
    ensure!(!all.is_empty(), "there is no software of that name");
    println!(
        "| software | updates are the same | cut and gone on | installs killed | damaged and mended | publishers and readers | killed |"
    );
    println!("|---|---|---|---|---|---|---|");
    for one in all {
        let mut stage = stage(&one, &folder, &program, args)?;
        stage.updates()?;
        let cuts = stage.cuts(args.kills)?;
        if args.at.is_some() {
            let installs = stage.installs(args.kills)?;
            let readers = stage.at_once()?;
            stage.must(&["dp", "collect", &stage.point("crowd"), "--grace", "0"])?;
            stage.must(&["dp", "verify", &stage.point("crowd")])?;
            println!("| {} | yes | {cuts} | {installs} | – | {readers} | – |", one.name);
            continue;
        }
        let installs = stage.installs(args.kills)?;
        let mended = stage.repairs()?;
        let readers = stage.at_once()?;
        let kills = stage.kills(args.kills)?;
        println!("| {} | yes | {cuts} | {installs} | {mended} | {readers} | {kills} |", one.name);
    }
    Ok(())
}

fn stage(series: &Series, folder: &Path, program: &Path, args: &Args) -> Result<Stage> {
    let run = tempfile::tempdir_in(folder)?;
    let made = |number: usize| -> Result<PathBuf> {
        Ok(package(program, &series.versions[number], &(number + 1).to_string(), run.path())?.0)
    };
    let (first, old, new) = (made(0)?, made(1)?, made(2)?);
    let bucket = args.at.map(Bucket::start).transpose()?;
    fs::create_dir(run.path().join("scratch"))?;
    let program = program.to_owned();
    Ok(Stage { program, run, first, old, new, random: Random::new(args.seed), bucket })
}

impl Stage {
    fn packhorse(&self, words: &[&str]) -> Command {
        let mut command = command(&self.program.to_string_lossy(), words);
        command.current_dir(self.run.path()).envs(self.settings());
        command
    }

    fn settings(&self) -> Vec<(String, String)> {
        let mut all = self.bucket.as_ref().map(|one| one.settings.clone()).unwrap_or_default();
        all.push(("TMPDIR".to_owned(), self.scratch().to_string_lossy().into_owned()));
        all
    }

    /// Where the programs make what lies nowhere in the end.
    fn scratch(&self) -> PathBuf {
        self.run.path().join("scratch")
    }

    /// A point: a folder, or a part of the bucket.
    fn point(&self, name: &str) -> String {
        match &self.bucket {
            Some(Bucket { location, .. }) => format!("{location}/{name}"),
            None => name.to_owned(),
        }
    }

    /// Must succeed, or have had nothing to do.
    fn must(&self, words: &[&str]) -> Result<()> {
        let output = captured(&mut self.packhorse(words))?;
        match output.status.code() {
            Some(0 | 9) => Ok(()),
            _ => bail!("packhorse {}: {}\n{}", words.join(" "), output.status, tail(&output)),
        }
    }

    fn publish(&self, file: &Path) -> Result<()> {
        self.publish_to(file, "dp")
    }

    fn publish_to(&self, file: &Path, point: &str) -> Result<()> {
        self.must(&["publish", &file.to_string_lossy(), "--to", &self.point(point)])
    }

    /// What is fetched holds, entry by entry and byte by byte, what was published.
    fn compare(&self, made: &Path, wanted: &Path) -> Result<()> {
        let roots = ["made", "wanted"].map(|name| self.run.path().join(name));
        for (package, root) in [made, wanted].iter().zip(&roots) {
            fs::create_dir(root)?;
            self.must(&[
                "install",
                &package.to_string_lossy(),
                "--root",
                &root.to_string_lossy(),
                "--silent",
            ])?;
        }
        let [made, wanted] = roots.each_ref().map(|root| root.join("opt"));
        let same = run_quietly(command("diff", ["-r", "--no-dereference"]).args([&made, &wanted]));
        roots.iter().try_for_each(fs::remove_dir_all)?;
        same
    }

    /// From each version to each later one, over deltas and, from a point without them, over frames; as a file and straight
    /// onto a machine.
    fn updates(&self) -> Result<()> {
        for file in [&self.first, &self.old, &self.new] {
            self.publish(file)?;
            let plain = self.point("plain");
            self.must(&["publish", &file.to_string_lossy(), "--to", &plain, "--no-base"])?;
        }
        for point in ["dp", "plain"].map(|name| self.point(name)) {
            let point = point.as_str();
            for base in [&self.first, &self.old] {
                let base = base.to_string_lossy();
                self.must(&["fetch", "bench", "--from", point, "-o", "updated", "--have", &base])?;
                self.compare(&self.run.path().join("updated"), &self.new)?;
            }
            self.older_installed(point)?;
            self.must(&["install", "bench", "--from", point, "--root", "machine", "--silent"])?;
            self.compare_installed()?;
        }
        self.must(&["fetch", "bench@1", "--from", &self.point("dp"), "-o", "first"])?;
        ensure!(
            fs::read(self.run.path().join("first"))? == fs::read(&self.first)?,
            "another first"
        );
        Ok(())
    }

    /// A machine below `machine` that has the oldest version.
    fn older_installed(&self, point: &str) -> Result<()> {
        fs::create_dir(self.run.path().join("machine"))?;
        self.must(&["install", "bench@1", "--from", point, "--root", "machine", "--silent"])
    }

    /// What is installed below `machine` is what the newest package installs; then it goes.
    fn compare_installed(&self) -> Result<()> {
        let [machine, wanted] = ["machine", "wanted"].map(|name| self.run.path().join(name));
        fs::create_dir(&wanted)?;
        let (file, root) = (self.new.to_string_lossy(), wanted.to_string_lossy());
        self.must(&["install", &file, "--root", &root, "--silent"])?;
        let [there, here] = [&machine, &wanted].map(|root| root.join("opt"));
        let same = run_quietly(command("diff", ["-r", "--no-dereference"]).args([&there, &here]));
        fs::remove_dir_all(&machine)?;
        fs::remove_dir_all(&wanted)?;
        same
    }

    /// An install straight from the point, killed at random moments; the last one goes on and comes through.
    fn installs(&mut self, count: u64) -> Result<u64> {
        let plain = self.point("plain");
        let words = ["install", "bench", "--from", &plain, "--root", "machine", "--silent"];
        self.older_installed(&plain)?;
        let whole = self.takes(&words)?;
        let mut killed = 0;
        while killed < count {
            // Where it came through there is nothing to kill: the machine has the older version again.
            fs::remove_dir_all(self.run.path().join("machine"))?;
            self.older_installed(&plain)?;
            let mut after = self.moment(whole);
            while killed < count && self.killed(&words, after)? {
                killed += 1;
                after = self.moment(whole);
            }
        }
        self.must(&words)?;
        self.compare_installed()?;
        Ok(killed)
    }

    /// Two publishers and twenty readers at once: no reader fails, no release is lost.
    fn at_once(&self) -> Result<&'static str> {
        let crowd = self.point("crowd");
        self.publish_to(&self.first, "crowd")?;
        std::thread::scope(|scope| {
            let publishers =
                [&self.old, &self.new].map(|file| scope.spawn(|| self.publish_to(file, "crowd")));
            let readers: Vec<_> = (0..20)
                .map(|number| {
                    let (to, from) = (format!("reader-{number}"), &crowd);
                    scope.spawn(move || self.must(&["fetch", "bench", "--from", from, "-o", &to]))
                })
                .collect();
            publishers.into_iter().chain(readers).try_for_each(|thread| {
                thread.join().map_err(|_| anyhow::anyhow!("a thread ended"))?
            })
        })?;
        for number in 0..20 {
            fs::remove_file(self.run.path().join(format!("reader-{number}")))?;
        }
        self.must(&["fetch", "bench@2", "--from", &crowd, "-o", "second"])?;
        self.compare(&self.run.path().join("second"), &self.old)?;
        self.must(&["dp", "verify", &crowd])?;
        Ok("2 and 20")
    }

    /// A fetch, killed at random moments; what it leaves is gone on from, and only what is whole has the name.
    fn cuts(&mut self, count: u64) -> Result<u64> {
        let (mut cut, to) = (0, self.run.path().join("cut"));
        let dp = self.point("dp");
        let words = ["fetch", "bench", "--from", &dp, "-o", "cut"];
        let whole = self.takes(&words)?;
        fs::remove_file(&to)?;
        while cut < count {
            let after = self.moment(whole);
            cut += u64::from(self.killed(&words, after)?);
            if to.exists() {
                self.compare(&to, &self.new)?;
                fs::remove_file(&to)?;
            }
        }
        self.must(&words)?;
        self.compare(&to, &self.new)?;
        Ok(cut)
    }

    /// Every object damaged in turn, found, and mended from a healthy point.
    fn repairs(&mut self) -> Result<usize> {
        run_quietly(command("cp", ["-a", "dp", "healthy"]).current_dir(self.run.path()))?;
        let mut objects = Vec::new();
        for kind in ["packs", "deltas", "manifests"] {
            files(&self.run.path().join("dp").join(kind), &mut objects)?;
        }
        for object in &objects {
            let whole = fs::read(object)?;
            let mut bytes = whole.clone();
            let at = usize::try_from(self.random.below(bytes.len() as u64))?;
            bytes[at] ^= 0x10;
            fs::write(object, bytes)?;
            let found = captured(&mut self.packhorse(&["dp", "verify", "dp"]))?;
            ensure!(found.status.code() == Some(5), "damage in {} went unseen", object.display());
            self.must(&["dp", "repair", "dp", "--from", "healthy"])?;
            ensure!(fs::read(object)? == whole, "{} was not mended", object.display());
        }
        Ok(objects.len())
    }

    /// A publish and a collection, killed at random moments: afterwards all that was published is whole, and the same
    /// command comes through.
    fn kills(&mut self, count: u64) -> Result<u64> {
        let new = self.new.to_string_lossy().into_owned();
        let base = self.old.to_string_lossy().into_owned();
        let (publish, collect) =
            (["publish", &new, "--to", "dp"], ["dp", "collect", "dp", "--grace", "0"]);
        fs::remove_dir_all(self.run.path().join("dp"))?;
        self.publish(&self.old)?;
        let whole = [self.takes(&publish)?, self.takes(&collect)?];
        let mut killed = 0;
        for round in 0..count {
            fs::remove_dir_all(self.run.path().join("dp"))?;
            self.publish(&self.old)?;
            for (words, whole) in [&publish[..], &collect].into_iter().zip(whole) {
                let after = self.moment(whole);
                killed += u64::from(self.killed(words, after)?);
            }
            self.must(&["dp", "collect", "dp", "--grace", "0"])?;
            self.must(&["dp", "verify", "dp"])?;
            self.must(&["fetch", "bench@2", "--from", "dp", "-o", "first"])?;
            if round % 10 == 0 {
                self.publish(&self.new)?;
                self.must(&["fetch", "bench", "--from", "dp", "-o", "updated", "--have", &base])?;
                self.must(&["dp", "verify", "dp"])?;
                let left = fs::read_dir(self.scratch())?.count();
                ensure!(left == 0, "of those killed {left} are left in the scratch folder");
            }
        }
        Ok(killed)
    }

    /// How long a command takes that nobody kills.
    fn takes(&self, words: &[&str]) -> Result<Duration> {
        let began = Instant::now();
        self.must(words)?;
        Ok(began.elapsed())
    }

    /// A random moment of something that takes so long.
    fn moment(&mut self, whole: Duration) -> Duration {
        let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.random.below(micros))
    }

    /// Runs a command that is killed after a while; says whether it was still running.
    fn killed(&self, words: &[&str], after: Duration) -> Result<bool> {
        let seconds = format!("{:.6}", after.as_secs_f64().max(0.000_1));
        let mut timed = command("timeout", ["--signal=KILL", &seconds]);
        timed.arg(&self.program).args(words).current_dir(self.run.path()).envs(self.settings());
        // `timeout` says 137 of what it killed.
        Ok(!matches!(captured(&mut timed)?.status.code(), Some(0..=10)))
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let mut entries: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() { files(&entry, found)? } else { found.push(entry) }
    }
    Ok(())
}
