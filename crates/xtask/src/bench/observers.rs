//! What observing costs: the overlay's difference, a snapshot, a second scan.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{self, File},
    io::BufWriter,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use capture::{BothNames, SnapshotHeader};
use machine_linux::{
    namespaces::{mount_layer, own_mounts},
    overlay::{Layer, differences, make},
    owners::read_names,
    session::{Root, begin_snapshots, finish},
};
use model::MachinePath;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags, openat, statx};
use rustix::process::fchdir;
use session::{Session, SnapshotSettings, snapshot_of};

use super::{Bench, Row, median, ratio, seconds, trees};
use crate::command::{command, run_quietly};

/// The size of the small tree.
const SMALL: usize = 10_000;
/// Changes made in each overlay.
const CHANGES: usize = 1_000;
/// Differences are quick: so many turns.
const QUICK_TURNS: usize = 31;

pub(super) fn rows(bench: &Bench) -> Result<Vec<Row>> {
    let (small, large) = (bench.folder.join("small"), bench.folder.join("large"));
    println!("making trees of {SMALL} and {} files", bench.files);
    trees::make(&small, SMALL)?;
    trees::make(&large, bench.files)?;
    let mut rows = overlays(bench, &small, &large)?;
    rows.extend(snapshots(bench, &large)?);
    super::remove(&small)?;
    super::remove(&large)?;
    Ok(rows)
}

/// Differences of overlays over both trees with the same changes.
fn overlays(bench: &Bench, small: &Path, large: &Path) -> Result<Vec<Row>> {
    println!("overlay differences");
    let layers = [
        overlay(&bench.folder.join("small-overlay"), small)?,
        overlay(&bench.folder.join("large-overlay"), large)?,
    ];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..QUICK_TURNS {
        for (layer, times) in layers.iter().zip(&mut times) {
            let begun = Instant::now();
            let names = both_names(&layer.lower)?;
            let found = differences(std::slice::from_ref(layer), &names, &BTreeSet::new())?;
            times.push(begun.elapsed());
            let count = found.changes.changes.len();
            ensure!(count >= CHANGES, "only {count} changes were found");
        }
    }
    let [small, large] = times.map(median);
    let per_hundred = large.as_secs_f64() * 1e3 / (CHANGES as f64 / 100.0);
    Ok(vec![
        Row {
            what: "overlay diff, per 100 changes".to_owned(),
            measured: format!("{} for {CHANGES} changes", seconds(large)),
            peer: "–".to_owned(),
            ratio: per_hundred,
            bar: 5.0,
            unit: " ms",
        },
        Row {
            what: format!("overlay diff, root of {} ÷ root of {SMALL} files", bench.files),
            measured: seconds(large),
            peer: seconds(small),
            ratio: ratio(large, small),
            bar: 1.2,
            unit: "",
        },
    ])
}

/// An overlay over `lower` in which files were made, changed and removed.
fn overlay(folder: &Path, lower: &Path) -> Result<Layer> {
    let layer = Layer {
        path: MachinePath::root(),
        lower: lower.to_owned(),
        upper: folder.join("upper"),
        work: folder.join("work"),
    };
    make(&layer)?;
    let merged = folder.join("merged");
    fs::create_dir_all(&merged)?;
    let inside = layer.clone();
    // The mount belongs to the thread, and goes with it.
    let done = std::thread::spawn(move || -> Result<()> {
        own_mounts()?;
        mount_layer(&inside, &merged)?;
        change(&merged, CHANGES, 10)
    });
    done.join().map_err(|_| anyhow::anyhow!("the thread with the overlay died"))??;
    Ok(layer)
}

/// Makes, rewrites and removes files: 7, 2 and 1 of ten; spread over folders `step` apart.
fn change(root: &Path, changes: usize, step: usize) -> Result<()> {
    for number in 0..changes {
        let place = number * step;
        let file = trees::file_of(root, place);
        match number % 10 {
            0 => fs::remove_file(&file),
            1 | 2 => fs::write(&file, format!("other setting = {number}\n")),
            _ => fs::write(file.with_extension("new"), format!("new setting = {number}\n")),
        }
        .with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// A snapshot, and a second scan with its difference, against a walk that only looks.
fn snapshots(bench: &Bench, large: &Path) -> Result<Vec<Row>> {
    println!("snapshots of {} files", bench.files);
    let entries = walk(large)?;
    let session = bench.folder.join("session");
    let settings = SnapshotSettings { hash: false, keep: 0 };
    drop(begin_snapshots(&session, large, &settings, &mut |_| {})?);
    let size = fs::metadata(session.join("baseline.snapshot"))?.len();
    change(large, CHANGES, 10)?;
    let (mut walks, mut takes, mut scans) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..bench.turns {
        walks.push(timed(|| walk(large))?);
        takes.push(timed(|| take(large, &bench.folder.join("snapshot")))?);
        let copied = bench.folder.join(format!("session-{turn}"));
        run_quietly(command("cp", ["-a"]).arg(&session).arg(&copied))?;
        scans.push(timed(|| {
            let finished = finish(Session::open(&copied)?, &mut |_| {})?;
            let count = finished.changes.changes.len();
            ensure!(count >= CHANGES, "only {count} changes were found");
            Ok(())
        })?);
        super::remove(&copied)?;
    }
    let [walk, take, scan] = [walks, takes, scans].map(median);
    let peer = format!("{} bare walk of {entries} entries", seconds(walk));
    let row = |what: &str, time: Duration, bar: f64| Row {
        what: what.to_owned(),
        measured: seconds(time),
        peer: peer.clone(),
        ratio: ratio(time, walk),
        bar,
        unit: "",
    };
    Ok(vec![
        row("snapshot, warm", take, 1.3),
        row("second scan and difference", scan, 1.5),
        Row {
            what: "snapshot on disk".to_owned(),
            measured: format!("{size} bytes"),
            peer: "–".to_owned(),
            ratio: size as f64 / 1e6,
            bar: 20.0,
            unit: " MB",
        },
    ])
}

fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<Duration> {
    let begun = Instant::now();
    what()?;
    Ok(begun.elapsed())
}

fn take(root: &Path, file: &Path) -> Result<()> {
    let header = SnapshotHeader {
        names: read_names(root)?,
        started: model::Time { seconds: 0, nanoseconds: 0 },
    };
    let out = BufWriter::new(File::create(file)?);
    snapshot_of(&Root(root.to_owned()), out, &header, &mut |_| {})?;
    Ok(())
}

fn both_names(root: &Path) -> Result<BothNames> {
    Ok(BothNames { before: read_names(root)?, after: read_names(root)? })
}

/// The floor: every name is read, looked at, and asked for its extended attributes, and forgotten. One
/// thread; it goes into folders, so that no path is longer than a name.
fn walk(root: &Path) -> Result<u64> {
    let before = std::env::current_dir()?;
    let count = walk_folder(&open(CWD, &CString::new(root.as_os_str().as_encoded_bytes())?)?);
    std::env::set_current_dir(before)?;
    count
}

fn open(at: impl std::os::fd::AsFd, name: &CString) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

fn walk_folder(folder: &OwnedFd) -> Result<u64> {
    let mut folders = Vec::new();
    let mut count = 0;
    let mut space = vec![MaybeUninit::uninit(); 64 << 10];
    let mut values = [0_u8; 1024];
    fchdir(folder)?;
    let mut entries = RawDir::new(folder, &mut space);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
        rustix::fs::llistxattr(name, &mut values[..])?;
        count += 1;
        if entry.file_type() == FileType::Directory {
            folders.push(name.to_owned());
        }
    }
    for name in folders {
        count += walk_folder(&open(folder, &name)?)?;
    }
    Ok(count)
}
