//! Real Windows installers through the whole journey, each in fresh Wine prefixes.
//!
//! The comparison of prefixes uses none of the product's code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    command::{captured, command, run, run_quietly},
    debian, windows, workspace,
};

/// What the proof needs of the distribution, by its files.
const NEEDS: [debian::Need; 6] = [
    ("/usr/bin/x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64-posix"),
    (WINE, "wine64"),
    ("/usr/bin/wineserver", "wine"),
    ("/usr/bin/Xvfb", "xvfb"),
    ("/usr/bin/makensis", "nsis"),
    ("/usr/share/doc/nsis/Examples/example2.nsi", "nsis-doc"),
];
const WINE: &str = "/usr/lib/wine/wine64";
/// The screen nobody looks at.
const SCREEN: &str = ":97";
/// NSIS's own examples, built for 64 bits, and an installer of ours that does all an installer may do.
const INSTALLERS: [&str; 3] = ["example2", "bigtest", OURS];
const OURS: &str = "everything";
/// Its script, and the odd values of its registry.
const OUR_SCRIPT: &str = include_str!("../windows/everything.nsi");
const OUR_REGISTRY: &str = include_str!("../windows/everything.reg");
/// Bytes of a large value.
const LARGE: u32 = 1 << 20;
/// What Wine changes by itself at every start, wherever it is met in a key or path.
const NOISE: [&str; 7] = [
    "NetworkCards",
    r"Control\\Class\\{",
    r"Software\\Wine\\",
    "Packhorse",
    "/Temp/",
    "/temp/",
    // Left out on purpose: it names accounts of the reference machine.
    r"Services\\Everything\\Security",
];
/// A function Wine 8 lacks and Rust's standard library needs; it is never shipped.
const MISSING: &str = "#include <windows.h>\nBOOLEAN NTAPI SystemFunction036(PVOID, ULONG);\n\
    __declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {\n\
    return SystemFunction036(data, (ULONG)length);\n}\n";

#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask prove windows --kills 30")]
pub(crate) struct Args {
    /// Only this installer.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// At how many random moments installing is killed.
    #[arg(long, default_value = "30", value_name = "N")]
    kills: u32,
    /// Take the Windows programs as they were built last.
    #[arg(long)]
    no_build: bool,
}

struct Screen(Child);

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn prove(args: &Args) -> Result<()> {
    debian::ensure_files(&NEEDS)?;
    if !args.no_build {
        windows::stub()?;
        run(command(&workspace::cargo(), ["build", "--locked", "--package", "cli"])
            .current_dir(workspace::root()))?;
    }
    let folder = tempfile::Builder::new().prefix("packhorse-windows-").tempdir()?;
    let screen = command("Xvfb", [SCREEN]).stderr(std::process::Stdio::null()).spawn()?;
    let _screen = Screen(screen);
    let proof = Proof {
        packhorse: workspace::root().join("target/debug/packhorse"),
        folder: folder.path().to_owned(),
        kills: args.kills,
    };
    proof.make_base()?;
    let mut table =
        "| installer | files and keys | as the reference | pristine after | killed | recovered |\n\
                     |---|---|---|---|---|---|\n"
            .to_owned();
    for name in
        INSTALLERS.into_iter().filter(|name| args.only.as_deref().is_none_or(|only| only == *name))
    {
        let line = proof.travel(name).with_context(|| format!("`{name}`"))?;
        println!("{line}");
        let _ = writeln!(table, "{line}");
    }
    let text = format!(
        "# Proof on Windows installers\n\nThe last output of `cargo xtask prove windows`: NSIS's examples, built for 64 bits, under Wine.\n\n{table}"
    );
    fs::write(workspace::root().join("docs/proof-windows.md"), text)?;
    Ok(())
}

struct Proof {
    packhorse: PathBuf,
    folder: PathBuf,
    kills: u32,
}

impl Proof {
    fn base(&self) -> PathBuf {
        self.folder.join("base")
    }

    fn make_base(&self) -> Result<()> {
        let source = self.folder.join("missing.c");
        fs::write(&source, MISSING)?;
        let library = self.folder.join("bcryptprimitives.dll");
        run_quietly(
            command("x86_64-w64-mingw32-gcc", ["-shared", "-O2", "-o"])
                .arg(&library)
                .arg(&source)
                .arg("-ladvapi32"),
        )?;
        let base = self.base();
        fs::create_dir(&base)?;
        run_quietly(&mut wine(&base, ["wineboot", "-i"]))?;
        settle(&base)?;
        let system = base.join("drive_c/windows/system32/bcryptprimitives.dll");
        fs::copy(library, system)?;
        // What every later start does too.
        run_quietly(&mut wine(&base, ["cmd", "/c", "ver"]))?;
        settle(&base)
    }

    fn prefix(&self, name: &str) -> Result<PathBuf> {
        let prefix = self.folder.join(name);
        if prefix.exists() {
            fs::remove_dir_all(&prefix)?;
        }
        run_quietly(command("cp", ["-a"]).arg(self.base()).arg(&prefix))?;
        Ok(prefix)
    }

    fn travel(&self, name: &str) -> Result<String> {
        let setup = self.build_example(name)?;
        let reference = self.prefix("reference")?;
        let project = self.folder.join(name);
        let mut capture = command(self.packhorse.to_str().unwrap_or_default(), ["capture", "run"]);
        capture.arg("--wine").arg(&reference).arg("-o").arg(&project);
        capture.arg("--session").arg(self.folder.join(format!("session-{name}")));
        run_quietly(capture.env("DISPLAY", SCREEN).arg("--").arg(&setup).arg("/S"))?;
        let installer = self.folder.join(format!("{name}.exe"));
        let mut compile = command(self.packhorse.to_str().unwrap_or_default(), ["compile"]);
        run_quietly(compile.arg(&project).args(["--target", "windows", "-o"]).arg(&installer))?;
        let installer = installer.to_str().context("a plain path")?.to_owned();

        let target = self.prefix("target")?;
        run_quietly(&mut wine(&target, [installer.as_str(), "--silent"]))?;
        settle(&target)?;
        let wanted = Picture::of(&reference)?;
        let base = Picture::of(&self.base())?;
        expect_same("the reference and the target", &wanted, &Picture::of(&target)?)?;
        let count =
            wanted.0.iter().filter(|(place, what)| base.0.get(*place) != Some(*what)).count();
        run_quietly(&mut wine(&target, [installer.as_str(), "--uninstall"]))?;
        settle(&target)?;
        expect_same("the pristine prefix and the target", &base, &Picture::of(&target)?)?;
        let (killed, recovered) = self.kill(&installer, &target, &base)?;
        Ok(format!("| {name} | {count} | yes | yes | {killed} | {recovered} |"))
    }

    fn build_example(&self, name: &str) -> Result<PathBuf> {
        let examples = self.folder.join("examples");
        if !examples.exists() {
            run_quietly(command("cp", ["-r", "/usr/share/doc/nsis/Examples"]).arg(&examples))?;
        }
        let script = examples.join(format!("{name}.nsi"));
        if name == OURS {
            fs::write(&script, OUR_SCRIPT)?;
            fs::write(examples.join("everything.reg"), our_registry())?;
            run_quietly(command("makensis", ["-V1", "-INPUTCHARSET", "UTF8"]).arg(&script))?;
            return Ok(examples.join("everything.exe"));
        }
        let text = fs::read_to_string(&script).with_context(|| script.display().to_string())?;
        fs::write(&script, format!("Target amd64-unicode\n{text}"))?;
        run_quietly(command("makensis", ["-V1"]).arg(&script))?;
        Ok(examples.join(format!("{name}.exe")))
    }

    /// Kills installations, lets the next start mend them, and compares with the pristine prefix.
    fn kill(&self, installer: &str, target: &Path, base: &Picture) -> Result<(u32, u32)> {
        let (mut killed, mut open) = (0, 0);
        for round in 0..self.kills {
            let mut child = wine(target, [installer, "--silent"]).spawn()?;
            // The moment comes when so many files of the installation have come to be, or its end does.
            let mark = u64::from(round * 7 % 23);
            while child.try_wait()?.is_none() && written(target) < mark {
                thread::yield_now();
            }
            if child.try_wait()?.is_none() {
                child.kill()?;
                killed += 1;
            }
            child.wait()?;
            let transactions = target.join("drive_c/ProgramData/Packhorse/transactions");
            let is_open = fs::read_dir(transactions).is_ok_and(|mut all| {
                all.any(|one| {
                    one.is_ok_and(|one| one.file_name().to_string_lossy().starts_with("open-"))
                })
            });
            open += u32::from(is_open);
            let mended = captured(&mut wine(target, [installer, "--uninstall"]))?;
            ensure!(mended.status.success(), "round {round}: {}", crate::command::tail(&mended));
            settle(target)?;
            expect_same(
                &format!("round {round}: pristine and mended"),
                base,
                &Picture::of(target)?,
            )?;
        }
        Ok((killed, open))
    }
}

/// Values of every type, whole and odd, and a large one, as regedit reads them.
fn our_registry() -> Vec<u8> {
    let mut text = OUR_REGISTRY.replace('\n', "\r\n");
    text.push_str("\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Everything\\Large]\r\n\"1 MiB\"=hex:00");
    for number in 1..LARGE {
        let _ = write!(text, ",{:02x}", (number.wrapping_mul(7) + number / 256) & 0xff);
        if number % 24 == 0 {
            text.push_str("\\\r\n  ");
        }
    }
    text.push_str("\r\n");
    text.encode_utf16().fold(vec![0xff, 0xfe], |mut bytes, word| {
        bytes.extend(word.to_le_bytes());
        bytes
    })
}

/// How far an installation has come: a number that grows with what it wrote of its journal.
fn written(prefix: &Path) -> u64 {
    let folder = prefix.join("drive_c/ProgramData/Packhorse/transactions/open-1");
    match fs::metadata(folder.join("journal")) {
        Ok(journal) => 2 + journal.len() / 80,
        Err(_) => u64::from(folder.parent().is_some_and(Path::exists)),
    }
}

fn wine<'a>(prefix: &Path, words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut wine = command(WINE, words);
    wine.env("WINEPREFIX", prefix).env("DISPLAY", SCREEN).env("WINEDEBUG", "-all");
    wine.env("WINEDLLOVERRIDES", "winemenubuilder.exe=d");
    wine
}

/// Ends what runs in a prefix; its registry is on disk then.
fn settle(prefix: &Path) -> Result<()> {
    // It answers with an error where nothing runs.
    captured(command("wineserver", ["-k"]).env("WINEPREFIX", prefix))?;
    run_quietly(command("wineserver", ["-w"]).env("WINEPREFIX", prefix))
}

/// All a prefix holds: files by content and time, keys by their values.
struct Picture(BTreeMap<String, String>);

impl Picture {
    fn of(prefix: &Path) -> Result<Self> {
        let mut all = BTreeMap::new();
        files(&prefix.join("drive_c"), "", &mut all)?;
        for name in ["system.reg", "user.reg"] {
            let text = String::from_utf8_lossy(&fs::read(prefix.join(name))?).into_owned();
            let mut key = String::new();
            let mut values: BTreeSet<&str> = BTreeSet::new();
            for line in text.lines().chain(["["]) {
                if let Some(rest) = line.strip_prefix('[') {
                    if !key.is_empty() {
                        let values = std::mem::take(&mut values);
                        all.insert(key, values.into_iter().collect::<Vec<_>>().join("\n"));
                    }
                    let end = rest.rfind(']').unwrap_or(0);
                    key = if end == 0 { String::new() } else { format!("{name} {}", &rest[..end]) };
                } else if !line.is_empty() && !line.starts_with("#time") {
                    values.insert(line);
                }
            }
        }
        all.retain(|place, _| !NOISE.iter().any(|noise| place.contains(noise)));
        Ok(Self(all))
    }
}

fn files(folder: &Path, place: &str, all: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let place = format!("{place}/{}", entry.file_name().to_string_lossy());
        let known = entry.path().symlink_metadata()?;
        if known.is_dir() {
            all.insert(place.clone(), "folder".to_owned());
            files(&entry.path(), &place, all)?;
        } else if known.is_file() {
            let hash = blake3::hash(&fs::read(entry.path())?);
            let time = (known.mtime(), known.mtime_nsec() / 100);
            all.insert(place, format!("{hash} {time:?}"));
        }
    }
    Ok(())
}

fn expect_same(what: &str, one: &Picture, other: &Picture) -> Result<()> {
    let places: BTreeSet<&String> = one.0.keys().chain(other.0.keys()).collect();
    let differ: Vec<String> = places
        .into_iter()
        .filter(|place| one.0.get(*place) != other.0.get(*place))
        .map(|place| format!("{place}: {:?} != {:?}", one.0.get(place), other.0.get(place)))
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    bail!(
        "{what} differ at {} places:\n{}",
        differ.len(),
        differ[..differ.len().min(10)].join("\n")
    )
}
