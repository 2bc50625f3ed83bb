//! Wine: a screen nobody looks at, prefixes made in no time, programs that end in time.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::command::{captured, command, run_quietly, words};

pub(crate) const WINE: &str = "/usr/lib/wine/wine64";
/// The screen nobody looks at, once it is open: `:1` or whichever is free.
static SCREEN: OnceLock<String> = OnceLock::new();
/// Seconds a program may take. Everything here is silent: one that takes longer waits for a person.
const LIMIT: u32 = 600;
/// A function Wine 8 lacks and Rust's standard library needs; it is never shipped.
const MISSING: &str = "#include <windows.h>\nBOOLEAN NTAPI SystemFunction036(PVOID, ULONG);\n\
    __declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {\n\
    return SystemFunction036(data, (ULONG)length);\n}\n";

/// A screen, gone with this.
pub(crate) struct Screen(Child);

impl Screen {
    pub(crate) fn open() -> Result<Self> {
        let mut server = command("Xvfb", ["-displayfd", "1"]);
        let mut server = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut number = String::new();
        if let Some(said) = server.stdout.take() {
            BufReader::new(said).read_line(&mut number)?;
        }
        let opened = Self(server);
        ensure!(!number.trim().is_empty(), "Xvfb opens no screen");
        SCREEN.get_or_init(|| format!(":{}", number.trim()));
        Ok(opened)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The name of the open screen, empty for none.
pub(crate) fn screen() -> &'static str {
    SCREEN.get().map_or("", String::as_str)
}

/// A pristine prefix, and copies of it.
pub(crate) struct Prefixes {
    folder: PathBuf,
}

impl Prefixes {
    /// Makes the pristine one below `folder`.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let all = Self { folder: folder.to_owned() };
        let source = folder.join("missing.c");
        fs::write(&source, MISSING)?;
        let library = folder.join("bcryptprimitives.dll");
        run_quietly(
            command("x86_64-w64-mingw32-gcc", ["-shared", "-O2", "-o"])
                .arg(&library)
                .arg(&source)
                .arg("-ladvapi32"),
        )?;
        let base = all.base();
        fs::create_dir(&base)?;
        run_in(&base, ["wineboot", "-i"])?;
        settle(&base)?;
        keep_inside(&base.join("drive_c/users"))?;
        fs::copy(library, base.join("drive_c/windows/system32/bcryptprimitives.dll"))?;
        // What every later start does too.
        run_in(&base, ["cmd", "/c", "ver"])?;
        settle(&base)?;
        Ok(all)
    }

    /// The pristine one.
    pub(crate) fn base(&self) -> PathBuf {
        self.folder.join("base")
    }

    /// A copy that was made before.
    pub(crate) fn existing(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A copy.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let prefix = self.folder.join(name);
        if prefix.exists() {
            fs::remove_dir_all(&prefix)?;
        }
        run_quietly(command("cp", ["-a"]).arg(self.base()).arg(&prefix))?;
        Ok(prefix)
    }
}

/// Makes folders of what Wine leads out of the prefix: desktops and documents would be those of whoever runs this.
fn keep_inside(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_symlink() {
            fs::remove_file(&path)?;
            fs::create_dir(&path)?;
        } else if path.is_dir() {
            keep_inside(&path)?;
        }
    }
    Ok(())
}

/// A Windows program in a prefix, not yet started.
pub(crate) fn wine<'a>(prefix: &Path, words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut wine = command(WINE, words);
    wine.env("WINEPREFIX", prefix).env("DISPLAY", screen()).env("WINEDEBUG", "-all");
    wine.env("WINEDLLOVERRIDES", "winemenubuilder.exe,winedbg.exe=d");
    wine
}

/// Runs a Windows program that must succeed, and in time.
pub(crate) fn run_in<'a>(prefix: &Path, line: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut program = wine(prefix, line);
    let said = prefix.with_extension("said");
    let file = File::create(&said)?;
    let text = words(&program);
    program.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = program.spawn().with_context(|| format!("cannot start `{text}`"))?;
    let Some(status) = wait(&mut child, LIMIT)? else {
        settle(prefix)?;
        child.wait()?;
        bail!("`{text}` was ended after {LIMIT} s: it seems to wait for a person");
    };
    let said = fs::read(&said)?;
    ensure!(status.success(), "`{text}`: {status}\n{}", String::from_utf8_lossy(&said));
    Ok(())
}

/// How a program ended; `None` when it still runs after so many seconds.
fn wait(child: &mut Child, seconds: u32) -> Result<Option<ExitStatus>> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    // By the second: a machine that is put to sleep on the way takes nothing from the program's time.
    for _ in 0..seconds {
        if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&second))? > 0 {
            return Ok(Some(child.wait()?));
        }
    }
    Ok(None)
}

/// Ends what runs in a prefix; its registry is on disk then.
pub(crate) fn settle(prefix: &Path) -> Result<()> {
    // It answers with an error where nothing runs.
    captured(command("wineserver", ["-k"]).env("WINEPREFIX", prefix))?;
    run_quietly(command("wineserver", ["-w"]).env("WINEPREFIX", prefix))
}
