//! Windows under Wine: the registry's walk, a small capture, an installer against NSIS's solid LZMA.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Row, median, ratio, remove, seconds, table, trees};
use crate::{
    command::{command, output, run_quietly},
    debian,
    prove_windows::{
        NEEDS,
        wine::{Prefixes, Screen, run_in, screen, settle, wine},
    },
    windows, workspace,
};

/// Real files of the tree, and its bytes.
const FILES: usize = 4000;
const BYTES: u64 = 190_000_000;
/// Files of the tree's folders.
const IN_ONE: usize = 200;
/// A project that installs the tree.
const SCRIPT: &str = "format = 1\n\n[package]\nname = \"bench\"\nversion = \"1\"\narchitecture = \"x86-64\"\n\n\
[[step]]\ninstall-tree = \"files/tree\"\nto = '${program-files}\\Bench'\n";
const SMALL: &str = "Target amd64-unicode\nName small\nSilentInstall silent\nInstallDir \"$PROGRAMFILES64\\Small\"\n\
Section\nSetOutPath $INSTDIR\nFile small.nsi\nWriteRegStr HKLM Software\\Small Folder $INSTDIR\nSectionEnd\n";

#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask bench windows --turns 3")]
pub(crate) struct Args {
    /// Turns each contestant has.
    #[arg(long, default_value = "3", value_name = "N")]
    turns: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    debian::ensure_files(&NEEDS)?;
    windows::stub()?;
    // What is measured is the Windows program, built as it is shipped; ours here captures and compiles, in whatever time.
    workspace::build_programs()?;
    let folder = workspace::root().join("target/bench/windows");
    remove(&folder)?;
    fs::create_dir_all(&folder)?;
    let rows = rows(&folder, args.turns);
    remove(&folder)?;
    let rows = rows?;
    let text = table(&rows);
    println!("\n{text}");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut document = String::from("# Windows installers: speed and size\n\n");
    let _ = write!(
        document,
        "Written by `cargo xtask bench windows --turns {}`, under Wine on a machine with {cores} cores. Figures are medians; contestants\n\
         took turns. Times of installations include Wine's start and end with what was written on disk. The Windows programs are\n\
         built as they are shipped; the capture is that of a development build. The bare walk opens each key and asks for each\n\
         value with its data, and remembers nothing; ours keeps all of it and finds what differs from an earlier one.\n\n{text}",
        args.turns
    );
    fs::write(workspace::root().join("docs/bench-windows.md"), document)?;
    let missed = rows.iter().filter(|row| !row.is_met()).count();
    ensure!(missed == 0, "{missed} bars missed");
    Ok(())
}

fn rows(folder: &Path, turns: usize) -> Result<Vec<Row>> {
    let _screen = Screen::open()?;
    let prefixes = Prefixes::new(folder)?;
    let mut rows = vec![walk(&prefixes, turns)?, small(folder, &prefixes, turns)?];
    let installers = Installers::prepare(folder)?;
    rows.push(installers.size()?);
    rows.push(installers.install(&prefixes, turns)?);
    Ok(rows)
}

/// The registry of a clean prefix walked inside Windows and compared, against a walk that remembers nothing.
fn walk(prefixes: &Prefixes, turns: usize) -> Result<Row> {
    println!("the registry's walk");
    let program = windows::walk()?;
    let prefix = prefixes.fresh("walk")?;
    let turns = (turns * 5).to_string();
    let words = [program.to_str().context("a plain path")?, &turns];
    let said = output(&mut wine(&prefix, words))?;
    settle(&prefix)?;
    let (mut ours, mut bare, mut seen) = (Vec::new(), Vec::new(), "");
    for line in said.lines() {
        let (what, numbers) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "turn" => {
                let (one, other) = numbers.split_once(' ').context("two times")?;
                ours.push(Duration::from_micros(one.parse()?));
                bare.push(Duration::from_micros(other.trim().parse()?));
            }
            "seen" => seen = numbers.split(' ').next().unwrap_or_default(),
            _ => {}
        }
    }
    ensure!(!ours.is_empty() && !seen.is_empty(), "the walk says nothing: {said}");
    println!("{said}");
    let (ours, bare) = (median(ours), median(bare));
    Ok(Row {
        what: "registry of a clean prefix, walked by the Win32 interface and compared".to_owned(),
        measured: format!("{} for {seen} keys and values", seconds(ours)),
        peer: format!("{} a bare walk by the same interface", seconds(bare)),
        ratio: ratio(ours, bare),
        bar: 1.5,
        unit: "",
    })
}

/// A small installer captured, less what it takes by itself.
fn small(folder: &Path, prefixes: &Prefixes, turns: usize) -> Result<Row> {
    println!("a small capture");
    let script = folder.join("small.nsi");
    fs::write(&script, SMALL)?;
    let setup = folder.join("small.exe");
    make(&script, &setup)?;
    let setup = setup.to_str().context("a plain path")?.to_owned();
    let (mut with, mut bare) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        let prefix = prefixes.fresh(&format!("captured-{turn}"))?;
        let begun = Instant::now();
        let mut capture = command(&packhorse(), ["capture", "run"]);
        capture.arg("--wine").arg(&prefix).arg("-o").arg(folder.join(format!("project-{turn}")));
        capture.env("DISPLAY", screen()).args(["--", &setup, "/S"]);
        run_quietly(&mut capture)?;
        with.push(begun.elapsed());
        let prefix = prefixes.fresh(&format!("small-{turn}"))?;
        let begun = Instant::now();
        run_in(&prefix, [setup.as_str(), "/S"])?;
        settle(&prefix)?;
        bare.push(begun.elapsed());
    }
    let (with, bare) = (median(with), median(bare));
    let own = with.saturating_sub(bare);
    Ok(Row {
        what: "small installer captured, our own time".to_owned(),
        measured: seconds(own),
        peer: format!("{} in all, {} by itself", seconds(with), seconds(bare)),
        ratio: own.as_secs_f64(),
        bar: 10.0,
        unit: " s",
    })
}

struct Installers {
    ours: PathBuf,
    nsis: PathBuf,
}

impl Installers {
    fn prepare(folder: &Path) -> Result<Self> {
        let real = folder.join("real");
        fs::create_dir_all(&real)?;
        let bytes = trees::copy_real(&real, FILES, BYTES)?;
        let project = folder.join("project");
        let tree = project.join("files/tree");
        // Names Windows holds, none but for its case another's.
        let mut number = 0;
        plain(&real, &tree, &mut number)?;
        println!("installers of {number} files, {} MB", bytes / 1_000_000);
        fs::write(project.join("package.toml"), SCRIPT)?;
        let (ours, nsis) = (folder.join("ours.exe"), folder.join("nsis.exe"));
        let mut compile = command(&packhorse(), ["compile"]);
        run_quietly(compile.arg(&project).args(["--target", "windows", "-o"]).arg(&ours))?;
        let script = folder.join("bench.nsi");
        let text = format!(
            "Target amd64-unicode\nName bench\nSilentInstall silent\nSetCompressor /SOLID lzma\n\
             InstallDir \"$PROGRAMFILES64\\Bench\"\nSection\nSetOutPath $INSTDIR\nFile /r \"{}/*\"\nSectionEnd\n",
            tree.display()
        );
        fs::write(&script, text)?;
        make(&script, &nsis)?;
        Ok(Self { ours, nsis })
    }

    fn size(&self) -> Result<Row> {
        let (ours, nsis) = (fs::metadata(&self.ours)?.len(), fs::metadata(&self.nsis)?.len());
        Ok(Row {
            what: "installer size".to_owned(),
            measured: format!("{:.1} MB", ours as f64 / 1e6),
            peer: format!("{:.1} MB NSIS, solid LZMA", nsis as f64 / 1e6),
            ratio: ours as f64 / nsis as f64,
            bar: 1.12,
            unit: "",
        })
    }

    fn install(&self, prefixes: &Prefixes, turns: usize) -> Result<Row> {
        println!("install against NSIS");
        // Nothing is taken off in between: ext4 passes by what was freed a moment ago, at a price for whoever comes next.
        let turn = |name: String, installer: &Path, switch: &str| -> Result<Duration> {
            let prefix = prefixes.fresh(&name)?;
            // Wine is up before the clock starts, and the copy of the prefix on disk.
            run_in(&prefix, ["cmd", "/c", "ver"])?;
            run_quietly(command("sync", ["--file-system"]).arg(&prefix))?;
            let begun = Instant::now();
            run_quietly(&mut wine(&prefix, [installer.to_str().unwrap_or_default(), switch]))?;
            run_quietly(command("sync", ["--file-system"]).arg(&prefix))?;
            let time = begun.elapsed();
            settle(&prefix)?;
            let there = prefix.join("drive_c/Program Files/Bench/0/0");
            ensure!(there.exists(), "`{}` is not there", there.display());
            Ok(time)
        };
        let (mut ours, mut nsis) = (Vec::new(), Vec::new());
        for number in 0..turns {
            ours.push(turn(format!("ours-{number}"), &self.ours, "--silent")?);
            nsis.push(turn(format!("nsis-{number}"), &self.nsis, "/S")?);
        }
        println!("ours {ours:.2?}, NSIS {nsis:.2?}");
        let (ours, nsis) = (median(ours), median(nsis));
        Ok(Row {
            what: format!("install {FILES} files, durable"),
            measured: seconds(ours),
            peer: format!("{} NSIS, solid LZMA, and `sync`", seconds(nsis)),
            ratio: ratio(ours, nsis),
            bar: 1.0 / 3.0,
            unit: "",
        })
    }
}

/// The files of one folder in another, by numbers.
fn plain(from: &Path, to: &Path, number: &mut usize) -> Result<()> {
    let mut entries = fs::read_dir(from)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            plain(&path, to, number)?;
            continue;
        }
        let folder = to.join((*number / IN_ONE).to_string());
        fs::create_dir_all(&folder)?;
        fs::rename(&path, folder.join((*number % IN_ONE).to_string()))?;
        *number += 1;
    }
    Ok(())
}

/// The command, as `run` built it.
fn packhorse() -> String {
    workspace::built("packhorse").to_string_lossy().into_owned()
}

fn make(script: &Path, out: &Path) -> Result<()> {
    let mut make = command("makensis", ["-V1", "-INPUTCHARSET", "UTF8"]);
    let folder = script.parent().context("a folder")?;
    run_quietly(make.current_dir(folder).arg(script).arg(format!("-XOutFile {}", out.display())))
}
