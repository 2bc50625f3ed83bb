//! Real Windows installers through the whole journey, each in fresh Wine prefixes.
//!
//! The comparison of prefixes uses none of the product's code.

mod agent;
mod image;
mod installers;
mod itself;
mod libraries;
mod msi;
mod picture;
mod streams;
mod stubborn;
mod thirty_two;
pub(crate) mod wine;
mod wrapping;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    command::{captured, command, output, run_quietly, tail},
    debian, windows, workspace,
};
use installers::{INSTALLERS, OURS};
use picture::{Picture, expect_same};
use wine::{Prefixes, Screen, WINE, run_in, screen, settle, wine};

/// What the proof needs of the distribution, by its files.
pub(crate) const NEEDS: [debian::Need; 12] = [
    ("/usr/bin/hivexml", "libhivex-bin"),
    ("/usr/bin/osslsigncode", "osslsigncode"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64-posix"),
    (WINE, "wine64"),
    ("/usr/bin/wineserver", "wine"),
    ("/usr/bin/Xvfb", "xvfb"),
    ("/usr/bin/wixl", "wixl"),
    ("/usr/bin/msiinfo", "msitools"),
    ("/usr/bin/ntfs-3g", "ntfs-3g"),
    ("/usr/bin/makensis", "nsis"),
    ("/usr/share/doc/nsis/Examples/example2.nsi", "nsis-doc"),
];
/// Runs what follows on a machine of another name.
const RENAMED: &str = "hostname elsewhere && exec \"$@\"";
/// Seconds of doing nothing after which an installer that is captured waits for a person.
const IDLE: &str = "60";

/// Parts by what follows: an installer carried as it is, a project compiled to an .msi.
const WRAPPED: &str = "wrapped-";
const AS_MSI: &str = "as-msi-";

/// What an installer answers that wants a restart.
const RESTART: i32 = 3010;

/// The shortcut that shows where it leads.
const NOTE: &str = "drive_c/ProgramData/Microsoft/Windows/Start Menu/Programs/Everything/Note.lnk";

#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask prove windows --kills 30")]
pub(crate) struct Args {
    /// Only this installer, `as-msi-native` the .msi of it, `wrapped-example2` it wrapped, `itself` what Windows captures itself, `agent` the agent as a service, `image` drives and hives, `libraries`, `stubborn` a service, `streams` the volumes of NTFS, `thirty-two`, `units` the Windows machine's own tests; docs/proof-windows.md stays as it is.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// At how many moments installing is killed.
    #[arg(long, default_value = "30", value_name = "N")]
    kills: u32,
    /// Take the programs as they were built last.
    #[arg(long)]
    no_build: bool,
    /// Before the rest, the Windows machine's own tests, and what is captured from drives and hives.
    #[arg(long, hide = true)]
    with_short_parts: bool,
    /// This machine has the Wine of 32 bits.
    #[arg(long, hide = true)]
    inside: bool,
}

impl Args {
    /// The proof all tests end with: one installer, which does all an installer may do.
    pub(crate) fn short() -> Self {
        let only = Some(OURS.to_owned());
        Self { only, kills: 2, no_build: false, with_short_parts: true, inside: false }
    }
}

pub(crate) fn prove(args: &Args) -> Result<()> {
    debian::ensure_files(&NEEDS)?;
    if !args.no_build {
        windows::stub()?;
        workspace::build_programs()?;
    }
    let folder = tempfile::Builder::new().prefix("packhorse-windows-").tempdir()?;
    let _screen = Screen::open()?;
    // As it is now: it may be built anew while the proof goes on.
    let packhorse = folder.path().join("packhorse");
    fs::copy(workspace::built("packhorse"), &packhorse)?;
    let proof = Proof {
        packhorse,
        folder: folder.path().to_owned(),
        prefixes: Prefixes::new(folder.path())?,
        kills: args.kills,
    };
    if let Some(said) = args.only.as_deref().and_then(|only| proof.part(only, args).transpose()) {
        println!("{}", said?);
        return Ok(());
    }
    let mut table =
        "| installer | files and keys | as the reference | pristine after | killed | recovered |\n\
                     |---|---|---|---|---|---|\n"
            .to_owned();
    if args.with_short_parts {
        println!("{}\n{}", proof.units()?, proof.image()?);
    }
    let names = args.only.as_deref().map_or(INSTALLERS.to_vec(), |only| vec![only]);
    for name in names {
        let line = proof.travel(name).with_context(|| format!("`{name}`"))?;
        println!("{line}");
        let _ = writeln!(table, "{line}");
    }
    if args.only.is_some() {
        return Ok(());
    }
    proof.others(&mut table, args)
}

struct Proof {
    packhorse: PathBuf,
    folder: PathBuf,
    prefixes: Prefixes,
    kills: u32,
}

impl Proof {
    /// What is no journey of an installer, by its name; `None` for one that is.
    fn part(&self, name: &str, args: &Args) -> Result<Option<String>> {
        let said = match name {
            "streams" => self.streams()?,
            "agent" => self.agent(args.no_build)?,
            "libraries" => self.libraries()?,
            "units" => self.units()?,
            image::NAME => self.image()?,
            stubborn::NAME => self.stubborn()?,
            itself::NAME => {
                if !args.no_build {
                    windows::packhorse()?;
                }
                self.itself()?
            }
            thirty_two::NAME if !args.inside => thirty_two::prove(&self.folder, args.kills)?,
            name => {
                if let Some(kind) = name.strip_prefix(WRAPPED) {
                    self.wrap(kind)?
                } else if let Some(kind) = name.strip_prefix(AS_MSI) {
                    self.compile_msi(kind)?
                } else {
                    return Ok(None);
                }
            }
        };
        Ok(Some(said))
    }

    /// All the parts after the journeys of `table`, and the page about them.
    fn others(&self, table: &mut String, args: &Args) -> Result<()> {
        let tell = |name: &str| -> Result<String> {
            let said = self.part(name, args).with_context(|| format!("`{name}`"))?;
            let said = said.with_context(|| format!("`{name}` is no part of its own"))?;
            println!("{said}");
            Ok(said)
        };
        let lines = |prefix: &str, kinds: &[&str]| -> Result<String> {
            kinds.iter().map(|kind| Ok(tell(&format!("{prefix}{kind}"))? + "\n")).collect()
        };
        *table += &lines("", &[thirty_two::NAME])?;
        let wrapped = lines(WRAPPED, &wrapping::KINDS)?;
        let native = lines(AS_MSI, &msi::KINDS)?;
        let units = tell("units")?;
        let (libraries, stubborn) = (tell("libraries")?, tell(stubborn::NAME)?);
        let (itself, streams) = (tell(itself::NAME)?, tell("streams")?);
        let (image, agent) = (tell(image::NAME)?, tell("agent")?);
        let text = format!(
            "# Proof on Windows installers\n\nThe last output of `cargo xtask prove windows --kills {}`, all in one go, under Wine: captured, compiled, installed in a \
             second prefix, compared by\nfiles and registry, uninstalled, compared with the pristine prefix, killed as often as the column says and mended.\n\
             `makensis` is NSIS's own installer by its full script; `example1`, `example2` and the two after are its examples; `msi` is made by wixl, with a\n\
             service in it. `everything` is written for the test: all registry types, 3,000 empty folders, a service and a driver that start on a machine of\n\
             another name, shortcuts, a scheduled task, per-user data; it restarts in the middle of its capture, and its installer is signed and verified by\n\
             `osslsigncode` before it is installed. `thirty-two` is of 32 bits, in a Debian of its own that has both Wines.\n\n{table}\n\
             Those killed and not recovered were killed before a transaction was open.\n\n\
             Wrapped and not captured: known by its bytes, carried as it is, run silently, found by its entry, taken off by its \
             own command; names and content compared, the\ntimes of files left out.\n\n\
             | installer | entry | files and keys as run by hand | pristine after |\n|---|---|---|---|\n{wrapped}\n\
             Compiled to an .msi and installed by Wine's `msiexec`; held against our own installer of the same project, times and what Wine does otherwise left\nout \
             (unproved-on-windows.md).\n\n\
             | project | files and keys | as our own installer | pristine after |\n|---|---|---|---|\n{native}\n\
             - Captured by `packhorse.exe` itself: {itself}.\n\
             - Captured from a machine that does not run: {image}.\n\
             - Libraries that register themselves: {libraries}.\n\
             - Refused: {stubborn}.\n\
             - On volumes of NTFS, by ntfs-3g: {streams}.\n\
             - The agent as a service: {agent}.\n\
             - {units}\n",
            args.kills
        );
        fs::write(workspace::root().join("docs/proof-windows.md"), text)?;
        Ok(())
    }

    /// What the crate of the Windows machine tests by itself, in a prefix.
    fn units(&self) -> Result<String> {
        let program = windows::units()?;
        let prefix = self.prefixes.fresh("units")?;
        let said = captured(&mut wine(&prefix, [program.to_str().context("a plain path")?]))?;
        settle(&prefix)?;
        ensure!(said.status.success(), "the Windows machine's own tests: {}", tail(&said));
        let text = String::from_utf8_lossy(&said.stdout);
        let result = text.lines().find(|line| line.starts_with("test result: ok"));
        Ok(format!("the Windows machine's own tests: {}", result.context("no result")?))
    }

    fn travel(&self, name: &str) -> Result<String> {
        let setup = installers::build(name, &self.folder)?;
        let reference = self.prefixes.fresh("reference")?;
        let project = self.folder.join(name);
        let session = self.folder.join(format!("session-{name}"));
        if name == OURS {
            self.restart_in_the_middle(&setup, &reference, &session, &project)?;
        } else {
            let mut capture = command(self.program(), ["capture", "run"]);
            capture.arg("--wine").arg(&reference).arg("-o").arg(&project);
            capture.args(["--give-up-when-idle", IDLE]).arg("--session").arg(&session);
            capture.env("DISPLAY", screen()).arg("--").args(installers::silently(name, &setup));
            run_quietly(&mut capture)?;
        }
        let installer = self.folder.join(format!("{name}.exe"));
        let mut compile = command(self.packhorse.to_str().unwrap_or_default(), ["compile"]);
        run_quietly(compile.arg(&project).args(["--target", "windows", "-o"]).arg(&installer))?;
        let installer = if name == OURS { self.sign(&installer)? } else { installer };
        let installer = installer.to_str().context("a plain path")?.to_owned();

        let target = self.prefixes.fresh("target")?;
        run_in(&target, [installer.as_str(), "--silent"])?;
        settle(&target)?;
        let wanted = Picture::of(&reference)?;
        let base = Picture::of(&self.prefixes.base())?;
        expect_same("the reference and the target", &wanted, &Picture::of(&target)?)?;
        let count =
            wanted.0.iter().filter(|(place, what)| base.0.get(*place) != Some(*what)).count();
        run_in(&target, [installer.as_str(), "--uninstall"])?;
        settle(&target)?;
        expect_same("the pristine prefix and the target", &base, &Picture::of(&target)?)?;
        if name == OURS {
            self.start_elsewhere(&installer)?;
        }
        let (killed, recovered) = self.kill(&installer, &target, &base)?;
        Ok(format!("| {name} | {count} | yes | yes | {killed} | {recovered} |"))
    }

    /// Captures an installer that wants a restart and goes on after it; nothing of ours runs meanwhile.
    fn restart_in_the_middle(
        &self,
        setup: &Path,
        reference: &Path,
        session: &Path,
        project: &Path,
    ) -> Result<()> {
        let mut begin = command(self.program(), ["capture", "begin", "--wine"]);
        run_quietly(begin.arg(reference).arg("--session").arg(session))?;
        let setup = setup.to_str().context("a plain path")?;
        let ended = captured(&mut wine(reference, [setup, "/S"]))?;
        // Of an exit code Linux tells the lower byte.
        ensure!(ended.status.code() == Some(RESTART & 0xff), "no restart wanted: {}", ended.status);
        settle(reference)?;
        run_in(reference, ["wineboot", "-r"])?;
        settle(reference)?;
        for late in ["late.txt", "second.txt"] {
            let place = reference.join("drive_c/Program Files/Everything").join(late);
            ensure!(place.exists(), "`{late}` did not come with the restart");
        }
        let mut finish = command(self.program(), ["capture", "finish", "--session"]);
        run_quietly(finish.arg(session).arg("-o").arg(project))
    }

    /// Signs an installer as a house does that has a certificate, and verifies it; what is signed is installed after.
    fn sign(&self, installer: &Path) -> Result<PathBuf> {
        let at = |name: &str| self.folder.join(name);
        let (key, certificate, signed) = (at("key.pem"), at("certificate.pem"), at("signed.exe"));
        let words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
        let mut request = command("openssl", words);
        request.args(["-subj", "/CN=The proof", "-addext", "extendedKeyUsage=codeSigning"]);
        run_quietly(request.arg("-keyout").arg(&key).arg("-out").arg(&certificate))?;
        let mut sign = command("osslsigncode", ["sign", "-h", "sha256", "-n", "Everything"]);
        sign.arg("-certs").arg(&certificate).arg("-key").arg(&key);
        run_quietly(sign.arg("-in").arg(installer).arg("-out").arg(&signed))?;
        let mut verify = command("osslsigncode", ["verify"]);
        run_quietly(verify.arg("-CAfile").arg(&certificate).arg("-in").arg(&signed))?;
        Ok(signed)
    }

    /// The service and the driver start on a machine of another name (Q192868), and go when the package goes.
    fn start_elsewhere(&self, installer: &str) -> Result<()> {
        let prefix = self.prefixes.fresh("elsewhere")?;
        let run = |words: &[&str]| -> Result<String> {
            let mut renamed = command("unshare", ["--uts", "sh", "-c", RENAMED, "sh", WINE]);
            renamed.args(words).env("WINEPREFIX", &prefix).env("DISPLAY", screen());
            output(renamed.env("WINEDEBUG", "-all"))
        };
        run(&[installer, "--silent"])?;
        let name = run(&["cmd", "/c", "echo %COMPUTERNAME%"])?;
        ensure!(name.trim().eq_ignore_ascii_case("elsewhere"), "the machine is called `{name}`");
        for service in ["EverythingDriver", "Everything"] {
            // In one go: when the last program ends, Wine ends its services too. And again: it may be starting them.
            let line = format!("sc start {service} & for /l %i in (1,1,50) do sc query {service}");
            let state = run(&["cmd", "/c", &line])?;
            ensure!(state.contains("RUNNING"), "`{service}` does not run:\n{state}");
        }
        // The shell starts it and does not wait; a place without blanks needs no quotes.
        fs::copy(prefix.join(NOTE), prefix.join("drive_c/note.lnk"))?;
        run(&["start", r"C:\note.lnk"])?;
        run_quietly(command("wineserver", ["-w"]).env("WINEPREFIX", &prefix))?;
        let note = prefix.join("drive_c/note.txt");
        ensure!(note.exists(), "the shortcut leads nowhere");
        fs::remove_file(note)?;
        fs::remove_file(prefix.join("drive_c/note.lnk"))?;
        run(&[installer, "--uninstall"])?;
        for service in ["EverythingDriver", "Everything"] {
            let state = run(&["sc", "query", service]);
            ensure!(state.is_err(), "`{service}` is still there:\n{}", state.unwrap_or_default());
        }
        settle(&prefix)
    }

    /// Kills installations, lets the next start mend them, and compares with the pristine prefix.
    fn kill(&self, installer: &str, target: &Path, base: &Picture) -> Result<(u32, u32)> {
        let (mut killed, mut open) = (0, 0);
        for round in 0..self.kills {
            let mut child = wine(target, [installer, "--silent"]).spawn()?;
            // The moment comes when the journal has so many bytes, or the installation's end does.
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
            ensure!(mended.status.success(), "round {round}: {}", tail(&mended));
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

/// How far an installation has come: a number that grows with what it wrote of its journal.
fn written(prefix: &Path) -> u64 {
    let folder = prefix.join("drive_c/ProgramData/Packhorse/transactions/open-1");
    match fs::metadata(folder.join("journal")) {
        Ok(journal) => 2 + journal.len() / 80,
        Err(_) => u64::from(folder.parent().is_some_and(Path::exists)),
    }
}
