//! `tour`: the whole journey on real software, in folders that are gone afterwards.

mod roots;

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use operate::Exit;

/// The program that makes the journey.
const PROGRAM: &str = "nginx-light";
/// Lines of the captured script that are shown.
const SHOWN: usize = 60;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  packhorse tour\n\nNeeds root, Debian or a system like it, and the machine's own package sources."
)]
pub(crate) struct Args {
    /// Where the roots are made; everything in it is removed at the end.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    work: PathBuf,
    #[arg(long, hide = true)]
    inside: Option<PathBuf>,
}

/// A step of the journey went wrong.
#[derive(Debug, thiserror::Error)]
enum TourError {
    /// A program did not do what it should.
    #[error("`{command}` ended with {end}{}", if log.is_empty() { String::new() } else { format!("; it wrote:\n{log}") })]
    Command { command: String, end: String, log: String },
    /// Something the tour needs is not there.
    #[error("{what}: {hint}")]
    Missing { what: String, hint: &'static str },
    /// A file could not be read or written.
    #[error("cannot use `{}`", path.display())]
    File {
        path: PathBuf,
        #[source]
        reason: io::Error,
    },
    /// Two trees that should be the same are not.
    #[error("{count} paths differ, `{first}` the first")]
    Differ { count: usize, first: String },
    /// A machine could not be read.
    #[error(transparent)]
    Machine(#[from] change::MachineError),
}

/// Shows the journey. The one who works is a child, so that what it leaves is removed even when it is
/// interrupted.
pub(crate) fn run(args: &Args) -> ExitCode {
    if let Some(folder) = &args.inside {
        return match Tour::new(folder).journey() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("\nthe tour ends here: {}", model::with_causes(&error)));
                Exit::Failed.into()
            }
        };
    }
    if !rustix::process::geteuid().is_root() {
        return as_root();
    }
    let folder = match tempfile::Builder::new().prefix("packhorse-tour-").tempdir_in(&args.work) {
        Ok(folder) => folder,
        Err(error) => {
            say(&format!("cannot make a folder in `{}`: {error}", args.work.display()));
            return Exit::Failed.into();
        }
    };
    let child = itself().arg("tour").arg("--inside").arg(folder.path()).spawn();
    // An interrupt from the terminal is for the child; this one tidies up when the child has ended.
    let _ = rustix::process::setsid();
    let waited = child.and_then(|mut child| child.wait());
    let gone = folder.close();
    match (waited, gone) {
        (Ok(status), Ok(())) if status.success() => {
            say("Everything the tour made is gone again.");
            ExitCode::SUCCESS
        }
        (waited, gone) => {
            if let Err(error) = gone {
                say(&format!("the work folder could not be removed: {error}"));
            }
            if let Err(error) = waited {
                say(&format!("the tour could not start: {error}"));
            }
            Exit::Failed.into()
        }
    }
}

/// Overlays, devices and other people's files are root's: the same command once more, by sudo.
fn as_root() -> ExitCode {
    say(
        "The tour makes root folders of its own and needs to be root: starting it again with sudo.",
    );
    match Command::new("sudo").arg(program()).arg("tour").status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => Exit::Failed.into(),
        Err(error) => {
            say(&format!("cannot run `sudo` ({error}): run the tour as root"));
            Exit::Failed.into()
        }
    }
}

fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("packhorse"))
}

fn itself() -> Command {
    Command::new(program())
}

/// The folders of the journey.
struct Tour {
    folder: PathBuf,
    started: Instant,
    station: usize,
}

impl Tour {
    fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), started: Instant::now(), station: 0 }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn journey(&mut self) -> Result<(), TourError> {
        self.say_station("Two clean machines: Debian in a folder, made by debootstrap from this machine's own sources");
        roots::install_debootstrap()?;
        roots::debootstrap(&self.at("pristine"))?;
        for name in ["reference", "target"] {
            roots::copy(&self.at("pristine"), &self.at(name))?;
        }
        let count = roots::count(&self.at("pristine"))?;
        say(&format!("  {count} files and folders in each."));

        self.say_station(&format!("Capture: {PROGRAM} is installed on the first machine, in an overlay that keeps every change apart"));
        let install =
            format!("apt-get update -q && apt-get install -y -q --no-install-recommends {PROGRAM}");
        let project = self.at("nginx");
        self.packhorse(&[
            "capture",
            "run",
            "--root",
            &text(&self.at("reference")),
            "--session",
            &text(&self.at("session")),
            "-o",
            &text(&project),
            "--",
            "/bin/sh",
            "-c",
            &install,
        ])?;
        roots::must_be_same(&self.at("pristine"), &self.at("reference"))?;
        say("  The first machine itself was not touched: all of its paths are as before.");

        self.say_station("The script: what the installer did, for people to read and edit");
        Self::show_script(&project)?;
        // What the program makes for itself while it runs, and nobody misses when it goes.
        add_generated(&project.join("package.toml"))?;
        self.packhorse(&["script", "check", &text(&project)])?;

        self.say_station("Compile: one file that needs nothing else");
        let installer = self.at("nginx.run");
        self.packhorse(&["compile", &text(&project), "-o", &text(&installer)])?;

        self.say_station("Install on the second, clean machine");
        let target = self.at("target");
        self.installer(&installer, &["--root", &text(&target)])?;
        self.packhorse(&["verify", &Self::package_name(&project)?, "--root", &text(&target)])?;
        self.shown(
            Command::new("chroot").arg(&target).args(["nginx", "-v"]),
            "chroot target nginx -v",
        )?;

        self.say_station("Uninstall: the second machine is as if nothing had happened");
        self.installer(&installer, &["--uninstall", "--root", &text(&target)])?;
        roots::must_be_same(&self.at("pristine"), &target)?;
        say(&format!(
            "  Compared {count} paths with the untouched machine, content, owners, modes, times and attributes: 0 differences."
        ));

        self.say_station(
            "Once more, and the power fails in the middle (kill -9); then the next start",
        );
        self.kill_midway(&installer, &target)?;
        self.packhorse(&["recover", "--root", &text(&target)])?;
        roots::must_be_same(&self.at("pristine"), &target)?;
        say("  0 differences again.");
        say(&format!("\nThe journey took {} seconds.", self.started.elapsed().as_secs()));
        Ok(())
    }

    fn say_station(&mut self, text: &str) {
        self.station += 1;
        say(&format!("\n{}. {text}.", self.station));
    }

    /// Runs one of our own commands, shown as a person would type it.
    fn packhorse(&self, arguments: &[&str]) -> Result<(), TourError> {
        self.shown(itself().args(arguments), &format!("packhorse {}", arguments.join(" ")))
    }

    fn installer(&self, installer: &Path, arguments: &[&str]) -> Result<(), TourError> {
        self.shown(
            Command::new(installer).args(arguments),
            &format!("./{} {}", text(installer), arguments.join(" ")),
        )
    }

    /// Runs a command, what it writes indented, the middle of a long answer left out.
    fn shown(&self, command: &mut Command, typed: &str) -> Result<(), TourError> {
        let typed = typed.replace(&format!("{}/", text(&self.folder)), "").replace(".//", "./");
        say(&format!("  $ {typed}"));
        let log = self.at("log");
        let file = fs::File::create(&log)
            .map_err(|reason| TourError::File { path: log.clone(), reason })?;
        let errors =
            file.try_clone().map_err(|reason| TourError::File { path: log.clone(), reason })?;
        let status = command.stdin(Stdio::null()).stdout(file).stderr(errors).status();
        let written = fs::read(&log).unwrap_or_default();
        let written = String::from_utf8_lossy(&written).into_owned();
        let lines: Vec<&str> = written.lines().filter(|line| !line.trim().is_empty()).collect();
        let failed =
            |end: String| TourError::Command { command: typed.clone(), end, log: written.clone() };
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(failed(status.to_string())),
            Err(error) => return Err(failed(error.to_string())),
        }
        let skipped = lines.len().saturating_sub(12);
        if skipped > 0 {
            say(&format!("    … {skipped} lines …"));
        }
        lines[skipped..].iter().for_each(|line| say(&format!("    {line}")));
        Ok(())
    }

    fn show_script(project: &Path) -> Result<(), TourError> {
        let path = project.join("package.toml");
        let script =
            fs::read_to_string(&path).map_err(|reason| TourError::File { path, reason })?;
        let lines: Vec<&str> = script.lines().collect();
        lines.iter().take(SHOWN).for_each(|line| say(&format!("    {line}")));
        if lines.len() > SHOWN {
            say(&format!("    … {} lines more …", lines.len() - SHOWN));
        }
        Ok(())
    }

    fn package_name(project: &Path) -> Result<String, TourError> {
        let path = project.join("package.toml");
        let script = fs::read_to_string(&path)
            .map_err(|reason| TourError::File { path: path.clone(), reason })?;
        match ::script::parse(&script) {
            Ok(script) => Ok(script.name.to_string()),
            Err(_) => Err(TourError::Missing {
                what: text(&path),
                hint: "the captured script does not parse",
            }),
        }
    }

    /// Kills the installer when it says that it runs the first program, after the files were switched.
    fn kill_midway(&self, installer: &Path, target: &Path) -> Result<(), TourError> {
        let failed =
            |end: String| TourError::Command { command: text(installer), end, log: String::new() };
        let mut child = Command::new(installer)
            .args(["--root", &text(target)])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(errors) = child.stderr.take() {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                say(&format!("    {line}"));
                if line.starts_with("running") {
                    break;
                }
            }
        }
        child.kill().and_then(|()| child.wait()).map_err(|error| failed(error.to_string()))?;
        let differences = roots::differences(&self.at("pristine"), target)?;
        say(&format!("    killed: {} paths are new or changed", differences.len()));
        Ok(())
    }
}

/// Declares what nginx writes while it runs, as its packager would.
fn add_generated(path: &Path) -> Result<(), TourError> {
    let refused = |reason| TourError::File { path: path.to_owned(), reason };
    let script = fs::read_to_string(path).map_err(refused)?;
    if script.contains("/var/log/nginx/*") {
        return Ok(());
    }
    let wanted = "generated = [\"/var/log/nginx/*\", \"/var/lib/nginx/*\", \"/run/nginx.pid\"";
    let script = match script.split_once("generated = [") {
        Some((before, after)) => format!("{before}{wanted}, {after}"),
        None => script.replacen("\n[[step]]", &format!("\n{wanted}]\n\n[[step]]"), 1),
    };
    fs::write(path, script).map_err(refused)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn say(text: &str) {
    // A reader that went away is no reason to leave things behind.
    let _ = writeln!(io::stdout(), "{text}");
}
