//! A tree of sites at work while its wires are cut, its processes killed, its disks filled and its objects damaged;
//! afterwards every distribution point holds the newest version, and every status is true.

mod contract;
mod trouble;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testkit::{PostgresServer, S3Server, Sample, Wire};

use crate::{
    bench::store::data,
    command::{command, run_quietly, tail},
    debian,
    tree::{Plan, Tree},
    workspace,
};
use trouble::Trouble;

const NEEDS: [debian::Need; 2] = [("ip", "iproute2"), ("pg_createcluster", "postgresql")];
/// After the last fault everything is right by then.
const PATIENCE: Duration = Duration::from_mins(10);
/// What each disk of a site can hold: the versions of the software, and what is under way.
const DISK: &str = "size=400m";
/// A wire as a branch has it.
const WIRE: Wire =
    Wire { rate: 50_000_000, round_trip: Duration::from_millis(30), loss: 0.001, seed: 1 };
/// Where the central site has its own copies: beside its point in a bucket.
const STORE: &str = "s3://packages/top";
/// Sites and their parents: the central one, two children, three grandchildren.
const SITES: [(&str, Option<usize>); 6] = [
    ("TOP", None),
    ("NORTH", Some(0)),
    ("SOUTH", Some(0)),
    ("OSLO", Some(1)),
    ("TURKU", Some(1)),
    ("ROME", Some(2)),
];
/// Points by site, and whether they are buckets.
const POINTS: [(usize, &str, bool); 10] = [
    (0, "office", false),
    (0, "bucket", true),
    (1, "office", false),
    (1, "lab", false),
    (2, "office", false),
    (2, "bucket", true),
    (3, "office", false),
    (4, "office", false),
    (4, "lab", false),
    (5, "office", false),
];

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask prove sites\n  cargo xtask prove sites --seconds 60 --seed 7\n\n\
Software comes through this machine's own npm, and is kept below target/bench/store, or where PACKHORSE_BENCH_DIR says."
)]
pub(crate) struct Args {
    /// For how long there is trouble.
    #[arg(long, default_value = "600", value_name = "S")]
    seconds: u64,
    /// Requests schemathesis makes of each operation.
    #[arg(long, default_value = "100", value_name = "N")]
    examples: u32,
    /// Where the trouble comes from.
    #[arg(long, default_value = "1", value_name = "N")]
    seed: u64,
    /// Leave the sites' folders and logs behind, to be looked at.
    #[arg(long)]
    keep: bool,
}

impl Args {
    /// What CI runs.
    pub(crate) fn short() -> Self {
        Self { seconds: 180, examples: 15, seed: 1, keep: false }
    }
}

/// A point, and where it is.
struct Point {
    site: usize,
    name: &'static str,
    /// As it was given to the site.
    location: String,
    /// Its objects on disk.
    folder: PathBuf,
}

/// Disks of their own for sites; they are taken away in the end.
struct Disks(Vec<PathBuf>);

impl Disks {
    fn mount(&mut self, folder: PathBuf) -> Result<()> {
        fs::create_dir_all(&folder)?;
        let mount = ["-t", "tmpfs", "-o", DISK, "packhorse"];
        run_quietly(command("mount", mount).arg(&folder))?;
        self.0.push(folder);
        Ok(())
    }

    /// What takes the room of each.
    fn tell(&self) {
        for folder in &self.0 {
            let all = files(folder);
            let size = |path: &PathBuf| fs::metadata(path).map_or(0, |found| found.len());
            let mut sizes: Vec<(u64, &PathBuf)> =
                all.iter().map(|path| (size(path), path)).collect();
            sizes.sort();
            let sum: u64 = sizes.iter().map(|(size, _)| size).sum();
            let free = rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_bavail * stat.f_frsize);
            eprintln!("{}: {} files of {sum} bytes, {free} free", folder.display(), all.len());
            for (size, path) in sizes.iter().rev().take(5) {
                eprintln!("  {size} {}", path.display());
            }
        }
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = run_quietly(command("umount", ["--lazy"]).arg(folder));
        }
    }
}

/// All that the proof is about.
struct Stage {
    tree: Tree,
    points: Vec<Point>,
    postgres: PostgresServer,
    /// Where packages are made.
    home: PathBuf,
    /// Versions of real software, oldest first.
    software: Vec<PathBuf>,
    /// Versions of the small package that were published.
    count: u32,
    /// Held by their sites; gone with the proof, last of all.
    servers: Vec<S3Server>,
    disks: Disks,
}

/// Runs the proof.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(debian::is_root(), "namespaces and disks of their own: run it as root");
    debian::ensure(&NEEDS)?;
    workspace::build_programs()?;
    let program = workspace::built("packhorse");
    contract::prove(&program, args.examples)?;
    let mut home = tempfile::tempdir()?;
    home.disable_cleanup(args.keep);
    let mut stage = Stage::set(&program, home.path())?;
    let told = Trouble::new(args.seed).make(&mut stage, Duration::from_secs(args.seconds))?;
    let began = Instant::now();
    if let Err(error) = stage.finish() {
        stage.disks.tell();
        return Err(error);
    }
    let took = began.elapsed();
    stage.check()?;
    stage.mend_own()?;
    println!("| trouble | how often |\n|---|---|");
    for (what, count) in told {
        println!("| {what} | {count} |");
    }
    println!(
        "after {} s of trouble all {} points hold the newest versions, {:.0} s after its end, and every status says so",
        args.seconds,
        POINTS.len(),
        took.as_secs_f64()
    );
    Ok(())
}

impl Stage {
    fn set(program: &Path, home: &Path) -> Result<Self> {
        let series = data::series(&data::folder()?, Some("typescript"))?;
        let versions = &series.first().context("the software")?.versions;
        let mut software = Vec::new();
        for (number, folder) in versions.iter().enumerate() {
            software.push(data::package(program, folder, &(number + 1).to_string(), home)?.0);
        }
        let mut disks = Disks(Vec::new());
        for (code, _) in SITES {
            disks.mount(home.join(code))?;
            disks.mount(home.join(format!("{code}-points")))?;
        }
        // The second machine of the central site.
        disks.mount(home.join(format!("{}-1", SITES[0].0)))?;
        let postgres = PostgresServer::start().context("PostgreSQL")?;
        let mut plans: Vec<Plan> =
            SITES.iter().map(|(code, parent)| Plan::new(code, *parent)).collect();
        plans[0].processes = 2;
        plans[0].database = Some(postgres.database("top")?);
        plans[0].store = Some(STORE.to_owned());
        let mut tree = Tree::new(program, home, plans, WIRE)?;
        let mut servers = Vec::new();
        let mut points = Vec::new();
        for (site, name, is_bucket) in POINTS {
            let (location, folder) = if is_bucket {
                let server = tree.network.inside(site, S3Server::start)??;
                tree.set_environment(site, server.settings());
                let folder = server.bucket().join("main");
                servers.push(server);
                ("s3://packages/main".to_owned(), folder)
            } else {
                let folder = home.join(format!("{}-points/{name}", SITES[site].0));
                fs::create_dir(&folder)?;
                (folder.to_string_lossy().into_owned(), folder)
            };
            points.push(Point { site, name, location, folder });
        }
        tree.begin()?;
        for Point { site, name, location, .. } in &points {
            tree.must(*site, &["dp", "add", name, location])?;
        }
        let stage = Self {
            tree,
            points,
            postgres,
            home: home.to_owned(),
            software,
            count: 0,
            servers,
            disks,
        };
        Ok(stage)
    }

    /// Every point, as the central site names it.
    fn names(&self) -> Vec<String> {
        let name = |point: &Point| match point.site {
            0 => point.name.to_owned(),
            site => format!("{}/{}", self.tree.code(site), point.name),
        };
        self.points.iter().map(name).collect()
    }

    /// The next version of the small package: most of it is as before.
    fn next_small(&mut self) -> Result<PathBuf> {
        self.count += 1;
        let mut sample = Sample::new("small", &self.count.to_string());
        let folder = sample.tree("/opt/small");
        let mut content = vec![0; 400_000];
        blake3::Hasher::new().update(b"small").finalize_xof().fill(&mut content);
        let mut new = vec![0; 30_000];
        blake3::Hasher::new().update(&self.count.to_be_bytes()).finalize_xof().fill(&mut new);
        content[100_000..130_000].copy_from_slice(&new);
        sample.file(folder, "data", &content);
        let file = self.home.join("small.package");
        fs::write(&file, sample.bytes())?;
        Ok(file)
    }

    /// Publishes and assigns to every point; whether the central site said it has it.
    fn publish(&self, file: &Path, name: &str) -> Result<bool> {
        let published = self.tree.say(0, &["publish", &file.to_string_lossy()])?;
        if !matches!(published.status.code(), Some(0 | 9)) {
            return Ok(false);
        }
        let names = self.names();
        let mut words = vec!["assign", name, "--dp"];
        words.extend(names.iter().map(String::as_str));
        Ok(self.tree.say(0, &words)?.status.success())
    }

    /// The last versions are published, damage is looked for, and everybody comes to rest.
    fn finish(&mut self) -> Result<()> {
        for site in 0..self.tree.sites() {
            self.tree.answer(site)?;
        }
        let small = self.next_small()?;
        let newest = self.software.last().context("the software")?.clone();
        for (file, name) in [(&small, "small"), (&newest, "bench")] {
            ensure!(self.publish(file, name)?, "the last version of {name} is not taken");
        }
        // It may have come to nothing each time.
        let retired = self.tree.say(0, &["retire", "passing"])?;
        ensure!(matches!(retired.status.code(), Some(0 | 4)), "{}", tail(&retired));
        for site in 0..self.tree.sites() {
            // It says what is wrong, if anything is; the sites mend it.
            let output = self.tree.say(site, &["verify"])?;
            ensure!(matches!(output.status.code(), Some(0 | 8)), "{}", tail(&output));
            self.tree.must(site, &["retry"])?;
        }
        let open = RefCell::new(String::new());
        let waited = self.tree.wait(PATIENCE, "every point holds what it should", || {
            *open.borrow_mut() = self.open()?;
            Ok(open.borrow().is_empty())
        });
        waited.with_context(|| open.into_inner())
    }

    /// What is not as it should be, and nothing if all is.
    fn open(&self) -> Result<String> {
        for site in 0..self.tree.sites() {
            let said = self.tree.say(site, &["status"])?;
            if said.status.code() != Some(0) {
                return Ok(format!("{} says {}", self.tree.code(site), said.status));
            }
        }
        let status = self.tree.status(0)?;
        let packages = status["packages"].as_array().context("packages")?;
        let open = packages.iter().find(|package| package["done"] != POINTS.len());
        Ok(open.map(ToString::to_string).unwrap_or_default())
    }

    /// What is damaged in the bucket with the central site's own copies is found by a scrub, and comes from a point.
    fn mend_own(&self) -> Result<()> {
        let own = self.servers.first().context("a bucket")?.bucket().join("top");
        let near = &self.points.first().context("a point")?.folder;
        let packs = files(&own.join("packs"));
        let shared: Vec<&PathBuf> = packs
            .iter()
            .filter(|pack| pack.strip_prefix(&own).is_ok_and(|path| near.join(path).is_file()))
            .collect();
        ensure!(!shared.is_empty(), "the bucket has none of the packs of a point: {packs:?}");
        for pack in &shared {
            let mut bytes = fs::read(pack)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x40;
            fs::write(pack, bytes)?;
        }
        let output = self.tree.say(0, &["verify"])?;
        ensure!(matches!(output.status.code(), Some(0 | 8)), "{}", tail(&output));
        self.tree.wait(PATIENCE, "the own copies are mended", || {
            let is_done = self.tree.say(0, &["status"])?.status.code() == Some(0);
            Ok(is_done && shared.iter().all(|pack| is_sound(pack)))
        })?;
        println!(
            "{} damaged objects in the bucket with the own copies were found and mended",
            shared.len()
        );
        Ok(())
    }

    /// What is on the disks is what was published last, and what the statuses say.
    fn check(&self) -> Result<()> {
        let wanted: [(&str, String); 2] =
            [("bench", self.software.len().to_string()), ("small", self.count.to_string())];
        let top = self.tree.status(0)?;
        for Point { site, name, location, folder } in &self.points {
            let at = format!("{}/{name}", self.tree.code(*site));
            let verified = self.tree.packhorse(*site, &["dp", "verify", location, "--unsigned"])?;
            ensure!(verified.status.success(), "{at}: {}", tail(&verified));
            let status = self.tree.status(*site)?;
            for (package, version) in &wanted {
                let identity = identity(&top, package)?;
                let file = self.home.join("fetched.package");
                let file = file.to_string_lossy();
                let words =
                    ["fetch", package, "--unsigned", "--json", "--from", location, "-o", &file];
                let fetched = self.tree.packhorse(*site, &words)?;
                ensure!(fetched.status.success(), "{at}: {}", tail(&fetched));
                let said: Value = serde_json::from_slice(&fetched.stdout)?;
                ensure!(
                    said["version"] == **version && said["identity"] == identity,
                    "{at} holds {said} and not version {version} of {package}"
                );
                says_done(&status, name, package).with_context(|| at.clone())?;
            }
            let names = fs::read_dir(folder.join("names"))?;
            let names: Vec<String> = names
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<Result<_>>()?;
            ensure!(
                !names.iter().any(|name| name.contains("passing")),
                "{at} still offers what was retired: {names:?}"
            );
        }
        Ok(())
    }
}

/// The name of an object is the hash of what it is.
fn is_sound(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    fs::read(file).is_ok_and(|bytes| blake3::hash(&bytes).to_hex().as_str() == name)
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() { &mut folders } else { &mut files }.push(path);
        }
    }
    files.sort();
    files
}

/// The identity of a package's newest version, as a site has it.
fn identity(status: &Value, package: &str) -> Result<Value> {
    let packages = status["packages"].as_array().context("packages")?;
    let one = packages.iter().find(|one| one["name"] == package);
    Ok(one.with_context(|| format!("no {package}"))?["identity"].clone())
}

fn says_done(status: &Value, point: &str, package: &str) -> Result<()> {
    let points = status["points"].as_array().context("points")?;
    let one = points.iter().find(|one| one["name"] == point).context("it is not listed")?;
    let copies = one["copies"].as_array().context("copies")?;
    let copy = copies.iter().find(|copy| copy["package"] == package).context("no copy")?;
    let known = status["packages"].as_array().context("packages")?;
    let number = known.iter().find(|one| one["name"] == package).map(|one| &one["number"]);
    if copy["state"] != "done" || Some(&copy["holds"]) != number {
        bail!("the status says {copy}, and the disk has the newest version {number:?}");
    }
    Ok(())
}
