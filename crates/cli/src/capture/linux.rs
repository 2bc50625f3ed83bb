//! An installer run on Linux: in an overlay, between two snapshots, or in a Wine prefix.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command as Program, ExitCode},
};

use machine_linux::{
    namespaces::{self, Bind, Enclosed},
    session::{RunSettings, SecondObserver, begin_overlay, begin_snapshots},
};
use model::MachinePath;
use operate::Exit;
use session::{KEEP, SnapshotSettings};

use super::{
    Answer, CaptureError, Into, answer::say, count, finish_into, fresh_folder, packaged, spinner,
    wine,
};

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Run {
    /// The root folder of the machine the installer shall see.
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(super) root: PathBuf,
    /// The Wine prefix in which a Windows installer runs.
    #[arg(long, value_name = "PREFIX", conflicts_with = "root")]
    pub(super) wine: Option<PathBuf>,
    /// Give a Windows installer up that has done nothing for so long: it waits for a person.
    #[arg(long, value_name = "SECONDS", requires = "wine")]
    pub(super) give_up_when_idle: Option<u32>,
    /// The session's folder, on a file system that can hold an overlay.
    #[arg(long, value_name = "DIR")]
    pub(super) session: Option<PathBuf>,
    /// Show a file or folder inside, read-only.
    #[arg(long, value_name = "SOURCE:TARGET", value_parser = bind)]
    pub(super) bind: Vec<Bind>,
    /// Set a variable of the installer's environment.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub(super) env: Vec<(String, String)>,
    /// Run on the real root, between two snapshots, instead of in an overlay.
    #[arg(long)]
    pub(super) snapshots: bool,
    /// Hash all content for the baseline of snapshots.
    #[arg(long)]
    pub(super) hash: bool,
    /// Observe the run by snapshots too, and fail where both differ.
    #[arg(long, conflicts_with = "snapshots")]
    pub(super) compare_observers: bool,
    /// Run a package file's own installation although it could be taken as it is.
    #[arg(long)]
    pub(super) even_so: bool,
    #[command(flatten)]
    pub(super) into: Into,
    /// Answer with one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    /// The installer and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
}

#[derive(clap::Args)]
pub(crate) struct Inside {
    file: PathBuf,
}

pub(super) fn run_installer(run: Run) -> Result<Answer, CaptureError> {
    if !run.even_so
        && let Some(advice) = packaged::advice(&run.command)
    {
        return Err(CaptureError::Packaged(advice));
    }
    if let Some(prefix) = run.wine.clone() {
        return wine::run(&prefix, run);
    }
    let is_root = rustix::process::geteuid().is_root();
    let snapshots = run.snapshots || !is_root;
    let temporary = run.session.is_none();
    let folder = run.session.clone().unwrap_or_else(|| fresh_folder(&run.into));
    let mut notes = Vec::new();
    if snapshots {
        if !is_root && !run.snapshots {
            notes.push(
                "without root there is no overlay: the installer runs on the real machine, between two snapshots; \
                 it changes that machine, and what else changes meanwhile is recorded too"
                    .to_owned(),
            );
            say(&notes[0]);
        }
        let settings = SnapshotSettings { hash: run.hash, keep: KEEP };
        let bar = spinner("recording the machine as it is");
        let session = begin_snapshots(&folder, &run.root, &settings, &mut |paths| {
            count(&bar, paths);
        })?;
        bar.finish_and_clear();
        let code = start(&run.root, &run.command)?;
        session.note_exit(code)?;
        return finish_into(session, &run.into, temporary, notes);
    }
    let session = begin_overlay(&folder, &run.root)?;
    let outcome = machine_linux::session::run(
        &session,
        &RunSettings {
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("packhorse")),
            root: run.root,
            command: run.command,
            binds: run.bind,
            environment: run.env.into_iter().collect(),
            compare: run.compare_observers,
        },
    );
    let error = match outcome {
        Ok(Enclosed::Ended(_)) => return finish_into(session, &run.into, temporary, notes),
        Ok(Enclosed::Refused(why)) => CaptureError::Refused { why },
        Ok(Enclosed::Failed) => CaptureError::NotRun,
        Err(error) => error.into(),
    };
    if temporary {
        drop(session.discard());
    }
    Err(error)
}

/// Runs a command on the real root, or in another by chroot(1).
fn start(root: &Path, command: &[OsString]) -> Result<i32, CaptureError> {
    let mut words = command.iter();
    let first = words.next().cloned().unwrap_or_default();
    let mut program = if root == Path::new("/") {
        Program::new(&first)
    } else {
        let mut program = Program::new("chroot");
        program.arg(root).arg(&first);
        program
    };
    let status = program.args(words).status().map_err(|reason| CaptureError::Start {
        command: first.to_string_lossy().into_owned(),
        reason,
    })?;
    Ok(status.code().unwrap_or(-1))
}

fn bind(text: &str) -> Result<Bind, String> {
    let (source, target) =
        text.split_once(':').ok_or_else(|| format!("`{text}` is not SOURCE:TARGET"))?;
    let target = MachinePath::new(target).map_err(|error| error.to_string())?;
    Ok(Bind { source: source.into(), target })
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The part of a run between its namespaces and its command.
pub(crate) fn enter(inside: &Inside) -> ExitCode {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("packhorse"));
    let mut observer = SecondObserver::of(&inside.file).ok();
    let observer = observer.as_mut().map(|observer| observer as &mut dyn namespaces::Observer);
    match namespaces::enter(&program, &inside.file, observer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Answer::of_error(Exit::Failed, &error).tell(false),
    }
}

/// The first process inside.
pub(crate) fn init(inside: &Inside) -> ExitCode {
    match namespaces::init(&inside.file) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => Answer::of_error(Exit::Failed, &error).tell(false),
    }
}
