//! Payload down a chain of sites over thin wires, beside rsync from hop to hop; and a site that has nothing to do.

use std::{
    cell::Cell,
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use testkit::{Network, Sample, Wire};

use super::Row;
use crate::{
    bench::{built, store::data},
    command::{self, command, run_quietly},
    debian,
    tree::{Plan, Tree},
    workspace,
};

const NEEDS: [debian::Need; 2] = [("ip", "iproute2"), ("rsync", "rsync")];
const CODES: [&str; 5] = ["TOP", "A", "B", "C", "D"];
const RATE: u64 = 10_000_000;
const WIRE: Wire = Wire { rate: RATE, round_trip: Duration::from_millis(50), loss: 0.0, seed: 1 };
const UPDATE_WIRE: Wire =
    Wire { rate: RATE, round_trip: Duration::from_millis(50), loss: 0.0, seed: 2 };
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_mins(30);
/// Until the top has heard of a point far below.
const SOON: Duration = Duration::from_mins(1);
/// Packages an idle site knows.
const KNOWN: usize = 1_000;

/// Bytes that compress to nothing less.
fn noise(length: usize, seed: &str) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(seed.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn package(folder: &Path, name: &str, bytes: usize) -> Result<std::path::PathBuf> {
    let mut sample = Sample::new(name, "1");
    let tree = sample.tree("/opt/app");
    sample.file(tree, "data", &noise(bytes, name));
    let file = folder.join(format!("{name}.package"));
    fs::write(&file, sample.bytes())?;
    Ok(file)
}

/// `megabytes` over four wires.
pub(super) fn chain(megabytes: usize) -> Result<Vec<Row>> {
    ensure!(debian::is_root(), "namespaces: run it as root");
    debian::ensure(&NEEDS)?;
    let build = ["build", "--quiet", "--release", "--package", "cli"];
    command::run(command(&workspace::cargo(), build).current_dir(workspace::root()))?;
    let home = tempfile::tempdir()?;
    let plans = CODES
        .iter()
        .enumerate()
        .map(|(number, code)| Plan::new(code, number.checked_sub(1)))
        .collect();
    let mut tree = Tree::new(&built("packhorse"), home.path(), plans, WIRE)?;
    // What kernels have by themselves; others leave wires idle to measure them.
    tree.network.control_congestion("cubic")?;
    tree.begin()?;
    let last = CODES.len() - 1;
    for site in [1, last] {
        let folder = home.path().join(format!("point-{site}"));
        fs::create_dir(&folder)?;
        tree.must(site, &["dp", "add", "point", &folder.to_string_lossy()])?;
    }
    // The way there is known before anything is measured.
    bring(&tree, &package(home.path(), "warm", 1_000)?, "warm", last)?;
    let before = tree.network.carried(0, 1).bytes;
    let one = package(home.path(), "one", megabytes * 1_000_000)?;
    let payload = fs::metadata(&one)?.len();
    let (hop, on_line) = bring_over(&tree, &one, "one", 1)?;
    let carried = tree.network.carried(0, 1).bytes - before;
    let all = package(home.path(), "all", megabytes * 1_000_000)?;
    let whole = bring(&tree, &all, "all", last)?;
    let rsync = by_rsync(&tree.network, &all, home.path())?;
    let ratio = whole.as_secs_f64() / hop.as_secs_f64();
    let used = payload as f64 * 8.0 / RATE as f64 / on_line.as_secs_f64();
    Ok(vec![
        Row {
            what: "a chain of four sites, 10 Mbit/s and 50 ms each",
            measured: format!(
                "{megabytes} MB in {:.1} s, one hop in {:.1} s: {ratio:.2}; rsync from hop to hop {:.1} s: {:.2}",
                whole.as_secs_f64(),
                hop.as_secs_f64(),
                rsync.as_secs_f64(),
                rsync.as_secs_f64() / hop.as_secs_f64(),
            ),
            bar: "≤ 1.15 of one hop",
            met: ratio <= 1.15,
        },
        Row {
            what: "a link's use by payload",
            measured: format!(
                "{:.1} % of its bits in the {:.1} s until the child had all of it, {:.1} % of the bytes it carried",
                used * 100.0,
                on_line.as_secs_f64(),
                payload as f64 / carried as f64 * 100.0
            ),
            bar: "≥ 95 %",
            met: used >= 0.95,
        },
    ])
}

/// An update of real software over a wire: what travels, beside what a client needs for it in any case.
pub(super) fn update() -> Result<Row> {
    let pair = data::pairs(&data::folder()?, false, Some("kernel"))?.pop().context("no kernel")?;
    let home = tempfile::tempdir()?;
    let program = built("packhorse");
    let (first, _) = data::package(&program, &pair.old, "1", home.path())?;
    let (second, _) = data::package(&program, &pair.new, "2", home.path())?;
    let plans = (0..2_usize).map(|number| Plan::new(CODES[number], number.checked_sub(1)));
    let mut tree = Tree::new(&program, home.path(), plans.collect(), UPDATE_WIRE)?;
    tree.begin()?;
    let folder = home.path().join("point");
    fs::create_dir(&folder)?;
    tree.must(1, &["dp", "add", "point", &folder.to_string_lossy()])?;
    let whole = bring(&tree, &first, "bench", 1)?;
    let store = |kind: &str| {
        let folder = tree.data(0).join("store").join(kind);
        if folder.exists() { data::size(&folder) } else { Ok(0) }
    };
    let (packs, rest) = (store("packs")?, store("deltas")? + store("manifests")?);
    let before = tree.network.carried(0, 1).bytes;
    tree.must(0, &["publish", &second.to_string_lossy()])?;
    let began = Instant::now();
    tree.wait(PATIENCE, "the update is at the end", || {
        let status = tree.status(1)?;
        let is_known = status["packages"][0]["version"] == "2";
        Ok(is_known && status["points"][0]["copies"][0]["state"] == "done")
    })?;
    let took = began.elapsed();
    let carried = (tree.network.carried(0, 1).bytes - before) as f64;
    let packs = (store("packs")? - packs) as f64;
    let needed = (store("deltas")? + store("manifests")? - rest) as f64;
    Ok(Row {
        what: "an update of a kernel, a wire of 10 Mbit/s and 50 ms",
        measured: format!(
            "{:.1} MB over a wire, for a delta and a manifest of {:.1} MB: {:.3}; not sent: packs of {:.1} MB; {:.0} s, the first version {:.0} s",
            carried / 1e6,
            needed / 1e6,
            carried / needed,
            packs / 1e6,
            took.as_secs_f64(),
            whole.as_secs_f64()
        ),
        bar: "≤ 1.10 of what clients need",
        met: carried <= 1.1 * needed,
    })
}

/// Publishes at the top and waits until the point of a site holds it.
fn bring(tree: &Tree, file: &Path, name: &str, site: usize) -> Result<Duration> {
    bring_over(tree, file, name, site).map(|(whole, _)| whole)
}

/// The same, and how long it took until the site itself had it.
fn bring_over(tree: &Tree, file: &Path, name: &str, site: usize) -> Result<(Duration, Duration)> {
    tree.must(0, &["publish", &file.to_string_lossy()])?;
    let point = format!("{}/point", CODES[site]);
    // A point below is heard of a moment after it was made.
    let began = Cell::new(Instant::now());
    tree.wait(SOON, &format!("{name} is assigned"), || {
        began.set(Instant::now());
        Ok(tree.must(0, &["assign", name, "--dp", &point]).is_ok())
    })?;
    let began = began.get();
    tree.wait(PATIENCE, &format!("{name} is at {}", CODES[site]), || {
        let status = tree.status(site)?;
        let packages = status["packages"].as_array().context("no packages")?;
        Ok(packages.iter().any(|one| one["name"] == name && one["master"]["state"] == "done"))
    })?;
    let on_line = began.elapsed();
    tree.wait(PATIENCE, &format!("{name} is at {point}"), || {
        let status = tree.status(site)?;
        let points = status["points"].as_array().context("no points")?;
        let copies = points.iter().filter_map(|point| point["copies"].as_array()).flatten();
        Ok(copies.into_iter().any(|copy| copy["package"] == name && copy["state"] == "done"))
    })?;
    Ok((began.elapsed(), on_line))
}

/// The same file from host to host, each when it has all of it.
fn by_rsync(network: &Network, file: &Path, home: &Path) -> Result<Duration> {
    let mut source = file.to_owned();
    let began = Instant::now();
    for host in 1..CODES.len() {
        let folder = home.join(format!("rsync-{host}"));
        fs::create_dir(&folder)?;
        let from = source.parent().context("a folder")?;
        let config = folder.join("rsyncd.conf");
        let text = format!("use chroot = no\nuid = root\n[files]\npath = {}\n", from.display());
        fs::write(&config, text)?;
        let mut daemon = command("rsync", ["--daemon", "--no-detach", "--port=873", "--config"]);
        daemon.arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let mut daemon = network.spawn(host - 1, &mut daemon)?;
        let name = source.file_name().context("a name")?.to_string_lossy().into_owned();
        let url = format!("rsync://{}/files/{name}", Network::address(host - 1));
        let copied = network.inside(host, || -> Result<()> {
            // The server needs a moment to listen.
            let began = Instant::now();
            loop {
                match run_quietly(command("rsync", ["--whole-file", &url]).arg(&folder)) {
                    Err(_) if began.elapsed() < Duration::from_secs(5) => {}
                    done => return done,
                }
            }
        });
        daemon.kill()?;
        daemon.wait()?;
        copied??;
        source = folder.join(name);
    }
    Ok(began.elapsed())
}

/// What a site with many packages needs when nothing is to be done.
pub(super) fn idle() -> Result<Row> {
    let home = tempfile::tempdir()?;
    let mut tree = Tree::new(&built("packhorse"), home.path(), vec![Plan::new("TOP", None)], WIRE)?;
    tree.begin()?;
    let folder = home.path().join("point");
    fs::create_dir(&folder)?;
    tree.must(0, &["dp", "add", "point", &folder.to_string_lossy()])?;
    for number in 0..KNOWN {
        let name = format!("p{number}");
        let file = package(home.path(), &name, 1_000)?;
        tree.must(0, &["publish", &file.to_string_lossy()])?;
        tree.must(0, &["assign", &name, "--dp", "point"])?;
        fs::remove_file(file)?;
    }
    tree.wait(PATIENCE, "all are there", || Ok(tree.status(0)?["jobs"] == 0))?;
    tree.kill(0, 0)?;
    tree.start(0, 0)?;
    tree.answer(0)?;
    let status = tree.say(0, &["status"])?;
    ensure!(status.status.success(), "it is not at rest");
    let pid = tree.pid(0, 0).context("it does not run")?;
    let memory = |key: &str| -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(key)).context("no figure")?;
        let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes / 1024.0)
    };
    let (rss, anonymous) = (memory("Rss:")?, memory("Anonymous:")?);
    Ok(Row {
        what: "memory of an idle site, 1,000 packages at a point",
        measured: format!("{rss:.1} MiB, of them {anonymous:.1} MiB anonymous"),
        bar: "≤ 40 MiB",
        met: rss <= 40.0,
    })
}
