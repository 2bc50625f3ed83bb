//! A Windows installer captured on Linux: it runs in a Wine prefix, between two looks at the prefix. Between them the
//! prefix, this machine or this program may be started again.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use capture::{Registry, State};
use machine_linux::session::begin_snapshots;
use model::MachinePath;
use session::{Finished, KEEP, Session, SnapshotSettings};

use super::{
    Answer, CaptureError, Into, Run, count,
    drive::{self, AFTER, Drive, HIVES, registry},
    fresh_folder, spinner,
    waiting::{self, Ended, Patience, Running},
};

/// Where the prefix's files are on the machine it shows.
const DRIVE: &str = "/C:";
/// The folder of a prefix that is its drive `C:`.
const C: &str = "drive_c";
/// Who serves a prefix, while something runs there.
const SERVER: &str = "wineserver";
/// Seconds Wine's own programs get to end by themselves after others have: five is what they take.
const MOMENT: u32 = 20;
/// Where Debian has the program for 64-bit prefixes.
const PROGRAMS: [&str; 3] = ["/usr/lib/wine/wine64", "/usr/bin/wine64", "/usr/bin/wine"];

/// A capture in a Wine prefix did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WineError {
    /// The folder is no prefix.
    #[error("`{}` is no Wine prefix: `WINEPREFIX={} wineboot -i` makes one", .0.display(), .0.display())]
    Prefix(PathBuf),
    /// Wine is missing.
    #[error("there is no Wine on this machine: `apt-get install wine wine64`")]
    Missing,
    /// Nobody answers it.
    #[error(
        "the installer did nothing for {seconds} s and was ended; it seems to wait for a person: give it its switch for a \
         silent installation (`/S`, `/VERYSILENT`, `/qn`), or leave `--give-up-when-idle` out and answer it on its screen"
    )]
    Waits {
        /// How long.
        seconds: u32,
    },
    /// Somebody works in it.
    #[error(
        "`{}` is in use by {}: end what runs there, all of it with `WINEPREFIX={} wineserver -k`, and try again",
        prefix.display(), named(running), prefix.display()
    )]
    InUse {
        /// The prefix.
        prefix: PathBuf,
        /// What runs there.
        running: Vec<Running>,
    },
    /// A file of the prefix cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        reason: io::Error,
    },
}

/// Runs the installer and writes the project.
pub(super) fn run(prefix: &Path, run: Run) -> Result<Answer, CaptureError> {
    let (prefix, mut program) = prepared(prefix)?;
    let temporary = run.session.is_none();
    let folder = run.session.clone().unwrap_or_else(|| fresh_folder(&run.into));
    let settings = SnapshotSettings { hash: run.hash, keep: KEEP };
    let session = record(&prefix, &folder, &settings)?;
    program.args(&run.command);
    let status = match watched(&mut program, &prefix, &run) {
        Ok(status) => status,
        Err(error) => {
            if temporary {
                session.discard().map_err(|reason| CaptureError::Discard { folder, reason })?;
            }
            return Err(error);
        }
    };
    session.note_exit(status.code().unwrap_or(-1))?;
    let notes = end_what_is_left(&prefix)?;
    write(&prefix, session, &run.into, temporary, notes)
}

/// Records a prefix as it is, before an installer is run in it by hand.
pub(super) fn begin(
    prefix: &Path,
    folder: &Path,
    settings: &SnapshotSettings,
) -> Result<Session, CaptureError> {
    let (prefix, _) = prepared(prefix)?;
    record(&prefix, folder, settings)
}

/// The prefix a session has recorded, if that is what it has.
pub(super) fn prefix_of(session: &Session) -> Option<PathBuf> {
    let drive = &session.beginning().root;
    let prefix = drive.parent().filter(|prefix| prefix.join(HIVES[0].0).is_file())?;
    (drive.file_name()? == C).then(|| prefix.to_owned())
}

fn record(
    prefix: &Path,
    folder: &Path,
    settings: &SnapshotSettings,
) -> Result<Session, CaptureError> {
    free(prefix)?;
    let bar = spinner("recording the prefix as it is");
    let session = begin_snapshots(folder, &prefix.join(C), settings, &mut |paths| {
        count(&bar, paths);
    })?;
    bar.finish_and_clear();
    keep_registry(prefix, session.folder(), "")?;
    Ok(session)
}

/// Keeps the registry as it is; what the session needs most comes last, and whole.
fn keep_registry(prefix: &Path, folder: &Path, when: &str) -> Result<(), WineError> {
    for (name, _) in HIVES.iter().rev() {
        let path = prefix.join(name);
        if path.exists() {
            let (unfinished, kept) =
                (folder.join("hive.new"), folder.join(format!("{when}{name}")));
            fs::copy(&path, &unfinished)
                .and_then(|_| fs::File::open(&unfinished)?.sync_all())
                .and_then(|()| fs::rename(&unfinished, kept))
                .map_err(|reason| WineError::Read { path, reason })?;
        }
    }
    Ok(())
}

/// A prefix by its real place, and Wine in it, waiting for what it shall run.
fn prepared(prefix: &Path) -> Result<(PathBuf, Command), WineError> {
    if !prefix.join(C).is_dir() || !prefix.join(HIVES[0].0).is_file() {
        return Err(WineError::Prefix(prefix.to_owned()));
    }
    let prefix = fs::canonicalize(prefix)
        .map_err(|reason| WineError::Read { path: prefix.to_owned(), reason })?;
    let wine =
        PROGRAMS.iter().find(|program| Path::new(program).exists()).ok_or(WineError::Missing)?;
    let mut program = screened(wine);
    program.env("WINEPREFIX", &prefix);
    // Else Wine puts menu entries into our own home, outside the prefix.
    if std::env::var_os("WINEDLLOVERRIDES").is_none() {
        program.env("WINEDLLOVERRIDES", "winemenubuilder.exe=d");
    }
    if std::env::var_os("WINEDEBUG").is_none() {
        program.env("WINEDEBUG", "-all");
    }
    Ok((prefix, program))
}

/// Runs an installer; answers the registry before and after, and how it ended.
pub(super) fn around(
    prefix: &Path,
    setup: &Path,
    switches: &[&str],
) -> Result<(Registry, Registry, i32), CaptureError> {
    let (prefix, mut program) = prepared(prefix)?;
    free(&prefix)?;
    let before = registry(&prefix, "")?;
    let unstarted = |reason| CaptureError::Start { command: setup.display().to_string(), reason };
    let status = program.arg(setup).args(switches).status().map_err(unstarted)?;
    end_what_is_left(&prefix)?;
    Ok((before, registry(&prefix, "")?, status.code().unwrap_or(-1)))
}

/// Ends a capture that was begun with [`begin`].
pub(super) fn finish(prefix: &Path, session: Session, into: &Into) -> Result<Answer, CaptureError> {
    if session.state().0 != State::Finished {
        free(prefix)?;
    }
    write(prefix, session, into, false, Vec::new())
}

/// Reads what became of the prefix and writes the project, if one is wanted.
fn write(
    prefix: &Path,
    session: Session,
    into: &Into,
    temporary: bool,
    notes: Vec<String>,
) -> Result<Answer, CaptureError> {
    drive::check_recorded(&session)?;
    let before = registry(session.folder(), "")?;
    let finished = if session.state().0 == State::Finished {
        Finished::open(session)?
    } else {
        keep_registry(prefix, session.folder(), AFTER)?;
        let bar = spinner("looking for what changed");
        let finished = machine_linux::session::finish(session, &mut |paths| count(&bar, paths))?;
        bar.finish_and_clear();
        finished
    };
    let after = registry(finished.session().folder(), AFTER)?;
    let drive = MachinePath::new(DRIVE).unwrap_or_else(|_| MachinePath::root());
    let known = drive::Known {
        finished,
        drive: Drive { place: drive, more: None },
        before,
        after,
        user: user_of(prefix),
        notes,
    };
    drive::answer(known, into, temporary)
}

/// Runs the installer to its end, and says when it seems to wait for a person.
fn watched(
    program: &mut Command,
    prefix: &Path,
    run: &Run,
) -> Result<std::process::ExitStatus, CaptureError> {
    let name = run.command.first().map(|one| one.to_string_lossy().into_owned());
    let unstarted =
        |reason| CaptureError::Start { command: name.clone().unwrap_or_default(), reason };
    let mut child = program.spawn().map_err(unstarted)?;
    let ended = waiting::wait(&mut child, prefix, run.give_up_when_idle, |seconds| {
        eprintln!(
            "warning: the installer has done nothing for {seconds} s; it may wait for a person: answer it on its screen, or \
             end it and give it its switch for a silent installation (`/S`, `/VERYSILENT`, `/qn`)"
        );
    });
    match ended.map_err(unstarted)? {
        Ended::By(status) => Ok(status),
        Ended::Idle(seconds) => {
            // All of the prefix: what the installer started waits too.
            let killed = Command::new(SERVER).arg("-k").env("WINEPREFIX", prefix).status();
            killed.map_err(unstarted)?;
            child.wait().map_err(unstarted)?;
            Err(WineError::Waits { seconds }.into())
        }
    }
}

/// Makes sure that nothing runs in the prefix: only then are its files what they are. What somebody else runs there is
/// given a moment to end.
fn free(prefix: &Path) -> Result<(), CaptureError> {
    match waiting::ends(prefix, Patience::Seconds(MOMENT)).map_err(no_server)? {
        None => Ok(()),
        Some(running) => Err(WineError::InUse { prefix: prefix.to_owned(), running }.into()),
    }
}

/// Waits for what an installer left running, and ends what does nothing any more: only then are the prefix's files what
/// they will be. Answers what to say of it.
fn end_what_is_left(prefix: &Path) -> Result<Vec<String>, CaptureError> {
    let left = waiting::ends(prefix, Patience::Quiet(MOMENT)).map_err(no_server)?;
    let Some(left) = left else { return Ok(Vec::new()) };
    let mut server = Command::new(SERVER);
    server.env("WINEPREFIX", prefix).arg("-k").status().map_err(no_server)?;
    free(prefix)?;
    Ok(left.iter().map(|one| format!("{one} outlived the installer and was ended")).collect())
}

fn no_server(reason: io::Error) -> CaptureError {
    CaptureError::Start { command: SERVER.to_owned(), reason }
}

fn named(running: &[Running]) -> String {
    if running.is_empty() {
        return "a program nobody here may see".to_owned();
    }
    running.iter().map(Running::to_string).collect::<Vec<_>>().join(", ")
}

/// Installers want a screen even where nobody looks at it.
fn screened(wine: &str) -> Command {
    let screen = "/usr/bin/xvfb-run";
    if std::env::var_os("DISPLAY").is_some() || !Path::new(screen).exists() {
        return Command::new(wine);
    }
    let mut command = Command::new(screen);
    command.args(["-a", wine]);
    command
}

/// The account the prefix has a folder for.
fn user_of(prefix: &Path) -> Option<String> {
    let users = fs::read_dir(prefix.join(C).join("users")).ok()?;
    let names = users.flatten().filter_map(|user| user.file_name().into_string().ok());
    names.into_iter().find(|name| name != "Public")
}
