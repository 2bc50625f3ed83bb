//! An installer run on Windows itself, between two looks at a drive and at the registry. Between them the machine or this
//! program may be started again.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use capture::{Registry, State};
use machine_windows::{
    run_all,
    session::{drive_of, finish as finish_snapshots, keep_registry, unread_registry},
    walk_registry,
};
use session::{Finished, KEEP, Session, Skip, SnapshotSettings};

use super::{
    Answer, CaptureError, Into,
    answer::say,
    count,
    drive::{self, AFTER, Drive, DriveError, HIVES, registry},
    fresh_folder, packaged, spinner,
};
use crate::source;

/// What could not be read of the registry.
const UNREAD: &str = "unread.json";

#[derive(clap::Args)]
pub(super) struct Run {
    /// The drive the installer writes to, or a folder of one; the system's when unsaid.
    #[arg(long, value_name = "DIR", default_value_os_t = source::system_drive())]
    root: PathBuf,
    /// The session's folder.
    #[arg(long, value_name = "DIR")]
    session: Option<PathBuf>,
    /// Hash all content for the baseline.
    #[arg(long)]
    hash: bool,
    /// Run a package file's own installation although it could be taken as it is.
    #[arg(long)]
    even_so: bool,
    #[command(flatten)]
    into: Into,
    /// Answer with one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// The installer and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the installer and writes the project.
pub(super) fn run_installer(run: Run) -> Result<Answer, CaptureError> {
    if !run.even_so
        && let Some(advice) = packaged::advice(&run.command)
    {
        return Err(CaptureError::Packaged(advice));
    }
    let temporary = run.session.is_none();
    let folder = run.session.clone().unwrap_or_else(|| fresh_folder(&run.into));
    let settings = SnapshotSettings { hash: run.hash, keep: KEEP };
    let bar = spinner("recording the machine as it is");
    let session =
        source::begin_snapshots(&folder, &run.root, &settings, &mut |paths| count(&bar, paths));
    bar.finish_and_clear();
    let session = session?;
    record(&session)?;
    let status = match execute(&run.command) {
        Ok(code) => code,
        Err(error) => {
            if temporary {
                session.discard().map_err(|reason| CaptureError::Discard { folder, reason })?;
            }
            return Err(error);
        }
    };
    session.note_exit(status)?;
    finish(session, &run.into, temporary)
}

/// Runs an installer to its end, and to that of all it started.
fn execute(command: &[OsString]) -> Result<i32, CaptureError> {
    let mut words = command.iter();
    let program = words.next().cloned().unwrap_or_default();
    let ended = run_all(Command::new(&program).args(words), &mut |others| {
        let numbers: Vec<String> = others.iter().map(ToString::to_string).collect();
        say(&format!(
            "the installer has ended; waiting for programs it started (processes {}): close them, or end them in the Task \
             Manager; what they do till then is recorded too",
            numbers.join(", ")
        ));
    });
    let command = program.to_string_lossy().into_owned();
    let status = ended.map_err(|reason| CaptureError::Start { command, reason })?;
    Ok(status.code().unwrap_or(-1))
}

/// Keeps the registry as it is in a session that was just begun.
pub(super) fn record(session: &Session) -> Result<(), CaptureError> {
    Ok(keep_registry(session, &files(""), UNREAD)?)
}

fn files(when: &str) -> Vec<(String, &'static str)> {
    HIVES.map(|(name, hive)| (format!("{when}{name}"), hive)).into()
}

/// Reads what became of the machine and writes the project, if one is wanted.
pub(super) fn finish(
    session: Session,
    into: &Into,
    temporary: bool,
) -> Result<Answer, CaptureError> {
    drive::check_recorded(&session)?;
    let after_unread = format!("{AFTER}{UNREAD}");
    let finished = if session.state().0 == State::Finished {
        Finished::open(session)?
    } else {
        keep_registry(&session, &files(AFTER), &after_unread)?;
        let bar = spinner("looking for what changed");
        let finished = finish_snapshots(session, &mut |paths| count(&bar, paths));
        bar.finish_and_clear();
        finished?
    };
    let kept = finished.session();
    let (mut before, mut after) = (registry(kept.folder(), "")?, registry(kept.folder(), AFTER)?);
    let mut unread: Vec<Skip> = unread_registry(kept, UNREAD)?;
    unread.extend(unread_registry(kept, &after_unread)?);
    unread.sort();
    unread.dedup();
    let places: Vec<_> = unread.iter().map(|skip| skip.path.clone()).collect();
    before.forget(&places);
    after.forget(&places);
    let root = kept.beginning().root.clone();
    let drive = drive_of(&root).map_err(|reason| DriveError::Read { path: root, reason })?;
    let notes =
        unread.iter().map(|skip| format!("left out `{}`: {}", skip.path.shown(), skip.reason));
    let notes = notes.collect();
    let known = drive::Known {
        finished,
        drive: Drive { place: drive, more: None },
        before,
        after,
        user: None,
        notes,
    };
    drive::answer(known, into, temporary)
}

/// Runs an installer on this machine; answers the registry before and after, and how it ended.
pub(super) fn around(
    _: &Path,
    setup: &Path,
    switches: &[&str],
) -> Result<(Registry, Registry, i32), CaptureError> {
    let look = || -> Result<Registry, CaptureError> {
        let mut all = Registry::default();
        let unread = walk_registry(&mut |walked| all.add(&walked.key, walked.values));
        unread.map_err(|reason| DriveError::Read { path: "HKLM".into(), reason })?;
        Ok(all)
    };
    let before = look()?;
    let words = switches.iter().map(OsString::from);
    let command: Vec<OsString> =
        std::iter::once(setup.as_os_str().to_owned()).chain(words).collect();
    let code = execute(&command)?;
    Ok((before, look()?, code))
}
