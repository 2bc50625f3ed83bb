//! `packhorse capture idle`: what a machine does to itself, as rules.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use capture::propose;
use indicatif::{ProgressBar, ProgressStyle};
use machine_linux::session::{RunError, begin_snapshots, finish};
use session::{AdvanceError, ObserveError, SnapshotSettings};

use crate::{
    capture::{count, spinner},
    project::{self, WriteProjectError},
};

/// Watch a machine with no installer running, and propose noise rules.
///
/// Takes a snapshot, waits, takes another, and writes a rules file for what changed by itself and is
/// not left out already.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  packhorse capture idle --for 5min -o rules.toml\n  packhorse capture idle --root /srv/root --for 0s\n\nExit codes: 0 rules were proposed, 1 failed, 9 nothing changed by itself"
)]
pub(crate) struct Args {
    /// The root to watch.
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// How long to wait between the two snapshots: `90s`, `10min`.
    #[arg(long = "for", default_value = "60s", value_parser = duration)]
    wait: Duration,
    /// Where to write the rules; standard output when not said.
    #[arg(short)]
    output: Option<PathBuf>,
    /// Say what happened as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum IdleError {
    #[error("cannot make a folder for the snapshots")]
    Folder(#[source] io::Error),
    #[error(transparent)]
    Begin(#[from] ObserveError),
    #[error(transparent)]
    Observe(#[from] RunError),
    #[error(transparent)]
    Discard(#[from] AdvanceError),
    #[error(transparent)]
    Rules(#[from] WriteProjectError),
    #[error("cannot write `{}`", .0.display())]
    Write(PathBuf, #[source] io::Error),
}

const NOTHING: u8 = 9;

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    match watch(args, || wait(args)) {
        Ok(count) => {
            if args.json {
                let _ = writeln!(io::stderr(), "{}", serde_json::json!({ "rules": count }));
            }
            if count == 0 { ExitCode::from(NOTHING) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            let text = model::with_causes(&error);
            let _ = if args.json {
                writeln!(io::stderr(), "{}", serde_json::json!({ "error": text }))
            } else {
                writeln!(io::stderr(), "error: {text}")
            };
            ExitCode::FAILURE
        }
    }
}

/// The length of time is what was asked for: there is no event to wait for. How much of it is over is shown.
fn wait(args: &Args) {
    let bar = if args.json || !io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(args.wait.as_secs())
    };
    if let Ok(style) = ProgressStyle::with_template("watching {bar:40} {elapsed}, {eta} left") {
        bar.set_style(style);
    }
    let began = Instant::now();
    while let Some(left) = args.wait.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        bar.set_position(began.elapsed().as_secs());
        std::thread::park_timeout(left.min(Duration::from_secs(1)));
    }
    bar.finish_and_clear();
}

/// Gives back how many rules were proposed.
fn watch(args: &Args, wait: impl FnOnce()) -> Result<usize, IdleError> {
    let rules = project::rules_for(None)?;
    let folder = tempfile::Builder::new()
        .prefix("packhorse-idle-")
        .tempdir_in("/var/tmp")
        .map_err(IdleError::Folder)?;
    let at = folder.path().join("session");
    let settings = SnapshotSettings { keep: 0, ..SnapshotSettings::default() };
    let bar = if args.json { ProgressBar::hidden() } else { spinner("before") };
    let session = begin_snapshots(&at, &args.root, &settings, &mut |paths| count(&bar, paths))?;
    bar.finish_and_clear();
    wait();
    let bar = if args.json { ProgressBar::hidden() } else { spinner("after") };
    let finished = finish(session, &mut |paths| count(&bar, paths))?;
    bar.finish_and_clear();
    let text = propose(&finished.changes, &rules);
    finished.into_session().discard()?;
    let count = text.matches("[[rule]]").count();
    match &args.output {
        Some(file) => {
            fs::write(file, &text).map_err(|error| IdleError::Write(file.clone(), error))?;
        }
        None => io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| IdleError::Write("standard output".into(), error))?,
    }
    Ok(count)
}

fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let refuse = || format!("`{text}` is no length of time (like `90s`, `10min`, `2h`)");
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let seconds = match unit.trim() {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(refuse()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::{Args, duration, watch};

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10min"), Ok(Duration::from_mins(10)));
        assert!(duration("s").is_err() && duration("5 days").is_err());
    }

    #[test]
    fn what_a_machine_does_to_itself_is_proposed() {
        let root = tempfile::tempdir().unwrap();
        let spool = root.path().join("var/lib/agent");
        fs::create_dir_all(&spool).unwrap();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        let output = root.path().with_extension("rules");
        let args = Args {
            root: root.path().to_owned(),
            wait: Duration::ZERO,
            output: Some(output.clone()),
            json: false,
        };
        assert_eq!(watch(&args, || {}).unwrap(), 0);
        let proposed = watch(&args, || fs::write(spool.join("state"), "x").unwrap());
        assert_eq!(proposed.unwrap(), 1);
        let text = fs::read_to_string(&output).unwrap();
        assert!(text.contains("pattern = \"/var/lib/agent/state\""), "{text}");
        fs::remove_file(output).unwrap();
    }
}
