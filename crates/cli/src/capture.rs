//! `capture`: an installer is watched, and what it did becomes a project.

mod answer;
mod packaged;
mod waiting;
mod wine;

use std::{
    ffi::OsString,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::{Command as Program, ExitCode},
};

use capture::State;
use indicatif::{ProgressBar, ProgressStyle};
use machine_linux::{
    namespaces::{self, Bind, Enclosed},
    session::{
        BeginError, Finished, KEEP, OpenSessionError, RunError, RunSettings, SESSIONS,
        SecondObserver, Session, SnapshotSettings, discard_damaged, sessions_in,
    },
};
use model::{MachinePath, PackageName, Version};
use operate::Exit;

use crate::project::{self, WriteProjectError};
use answer::{Answer, Summary};

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  packhorse capture run -o redis -- ./redis-installer.run --unattended"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Run an installer in an overlay and record what it does.
    #[command(
        after_help = "Examples:\n  packhorse capture run -o redis -- ./redis-installer.run\n  packhorse capture run --root /srv/reference -o nginx -- apt-get install -y nginx"
    )]
    Run(Run),
    /// Record the machine as it is, before an installer is run by hand.
    #[command(
        after_help = "Examples:\n  packhorse capture begin --session /var/tmp/capture\n  packhorse capture begin --wine ~/.wine-reference --session /var/tmp/capture"
    )]
    Begin(Begin),
    /// Record what changed since `begin`, also after a restart.
    #[command(
        after_help = "Example:\n  packhorse capture finish --session /var/tmp/capture -o redis"
    )]
    Finish(Finish),
    /// Say which captures are pending, since when, and what ends them.
    #[command(after_help = "Example:\n  packhorse capture status --json")]
    Status(Named),
    /// Take a capture away; what an installer did to a real root stays.
    #[command(after_help = "Example:\n  packhorse capture discard --session /var/tmp/capture")]
    Discard(Named),
    /// Watch the machine with no installer running and propose noise rules.
    Idle(crate::idle::Args),
}

#[derive(clap::Args)]
struct Named {
    /// The session's folder.
    #[arg(long, value_name = "DIR")]
    session: Option<PathBuf>,
    /// Answer with one JSON object.
    #[arg(long)]
    json: bool,
}

/// What becomes of a finished capture.
#[derive(clap::Args)]
struct Into {
    /// Write the project folder here.
    #[arg(short, long = "output", value_name = "DIR")]
    output: Option<PathBuf>,
    /// The package's name; that of the project folder when unsaid.
    #[arg(long)]
    name: Option<PackageName>,
    /// The package's version.
    #[arg(long, default_value = "1.0")]
    version: String,
    /// Carry existing files, too, that the installer wrote again as they were, or only opened.
    #[arg(long, value_enum, default_value = "list")]
    touched: Touched,
    /// Carry devices and named pipes.
    #[arg(long)]
    devices: bool,
    /// The folder that may be another one on a target; found by itself when unsaid.
    #[arg(long, value_name = "DIR", conflicts_with = "no_prefix")]
    prefix: Option<MachinePath>,
    /// Nothing may be installed elsewhere than where it was captured.
    #[arg(long)]
    no_prefix: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Touched {
    /// They are listed.
    List,
    /// Those written again are carried.
    Rewritten,
    /// Those only opened are carried too.
    All,
}

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
struct Run {
    /// The root folder of the machine the installer shall see.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The Wine prefix in which a Windows installer runs.
    #[arg(long, value_name = "PREFIX", conflicts_with = "root")]
    wine: Option<PathBuf>,
    /// Give a Windows installer up that has done nothing for so long: it waits for a person.
    #[arg(long, value_name = "SECONDS", requires = "wine")]
    give_up_when_idle: Option<u32>,
    /// The session's folder, on a file system that can hold an overlay.
    #[arg(long, value_name = "DIR")]
    session: Option<PathBuf>,
    /// Show a file or folder inside, read-only.
    #[arg(long, value_name = "SOURCE:TARGET", value_parser = bind)]
    bind: Vec<Bind>,
    /// Set a variable of the installer's environment.
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    env: Vec<(String, String)>,
    /// Run on the real root, between two snapshots, instead of in an overlay.
    #[arg(long)]
    snapshots: bool,
    /// Hash all content for the baseline of snapshots.
    #[arg(long)]
    hash: bool,
    /// Observe the run by snapshots too, and fail where both differ.
    #[arg(long, conflicts_with = "snapshots")]
    compare_observers: bool,
    /// Run a package file's own installation although it could be taken as it is.
    #[arg(long)]
    even_so: bool,
    #[command(flatten)]
    into: Into,
    /// Answer with one JSON object.
    #[arg(long)]
    json: bool,
    /// The installer and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(clap::Args)]
struct Begin {
    /// The root folder to record.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The Wine prefix to record, before a Windows installer runs in it and starts it again.
    #[arg(long, value_name = "PREFIX", conflicts_with = "root")]
    wine: Option<PathBuf>,
    /// Hash all content, so that a file written again with the same content is known for what it is.
    #[arg(long)]
    hash: bool,
    /// Bytes of old text to keep outside `/etc`.
    #[arg(long, value_name = "BYTES", default_value_t = KEEP)]
    keep: u64,
    #[command(flatten)]
    named: Named,
}

#[derive(clap::Args)]
struct Finish {
    #[command(flatten)]
    into: Into,
    #[command(flatten)]
    named: Named,
}

#[derive(clap::Args)]
pub(crate) struct Inside {
    file: PathBuf,
}

/// A capture did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Open(#[from] OpenSessionError),
    #[error(transparent)]
    Project(#[from] WriteProjectError),
    #[error("cannot take session `{}` away", folder.display())]
    Discard {
        folder: PathBuf,
        #[source]
        reason: machine_linux::session::AdvanceError,
    },
    #[error("cannot list the sessions in `{SESSIONS}`")]
    Sessions(#[source] std::io::Error),
    #[error("cannot run `{command}`")]
    Start {
        command: String,
        #[source]
        reason: std::io::Error,
    },
    #[error("`{}` holds no package name: give one with `--name`", folder.display())]
    Name { folder: PathBuf },
    #[error("there are {count} captures: name one with `--session`")]
    Several { count: usize },
    #[error(
        "nothing was run: the kernel gives no overlay here ({why}); with `--snapshots` the installer runs on the \
         real machine, which keeps what it does, between two scans of the whole disk"
    )]
    Refused { why: String },
    #[error("the command was not run, and nothing has changed")]
    NotRun,
    #[error("no capture is pending")]
    None,
    #[error("{0}")]
    Packaged(String),
    #[error(transparent)]
    Wine(#[from] wine::WineError),
}

impl CaptureError {
    fn exit(&self) -> Exit {
        match self {
            Self::Run(RunError::Begin(BeginError::Pending { .. }))
            | Self::Several { .. }
            | Self::Refused { .. }
            | Self::Packaged(_) => Exit::Decision,
            Self::Open(OpenSessionError::InUse { .. })
            | Self::Wine(wine::WineError::InUse { .. }) => Exit::InUse,
            Self::None => Exit::Nothing,
            Self::Name { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

/// Does what was asked.
pub(crate) fn run(args: Args) -> ExitCode {
    let (json, done) = match args.command {
        Command::Idle(idle) => return crate::idle::run(&idle),
        Command::Run(run) => (run.json, run_installer(run)),
        Command::Begin(begin) => (begin.named.json, begin_session(&begin)),
        Command::Finish(finish) => (finish.named.json, finish_session(&finish)),
        Command::Status(named) => (named.json, status(&named)),
        Command::Discard(named) => (named.json, discard(&named)),
    };
    let answer = done.unwrap_or_else(|error| Answer::of_error(error.exit(), &error));
    answer.tell(json)
}

/// Runs an installer in a Wine prefix; answers the prefix's registry before and after, and how the installer ended.
pub(crate) fn registry_around(
    prefix: &Path,
    setup: &Path,
    switches: &[&str],
) -> Result<(capture::Registry, capture::Registry, i32), CaptureError> {
    wine::around(prefix, setup, switches)
}

fn run_installer(run: Run) -> Result<Answer, CaptureError> {
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
            crate::capture::answer::say(&notes[0]);
        }
        let settings = SnapshotSettings { hash: run.hash, keep: KEEP };
        let bar = spinner("recording the machine as it is");
        let session = Session::begin_snapshots(&folder, &run.root, &settings, &mut |paths| {
            count(&bar, paths);
        })?;
        bar.finish_and_clear();
        let code = start(&run.root, &run.command)?;
        session.note_exit(code)?;
        return finish_into(session, &run.into, temporary, notes);
    }
    let session = Session::begin_overlay(&folder, &run.root)?;
    let outcome = session.run(&RunSettings {
        program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("packhorse")),
        root: run.root,
        command: run.command,
        binds: run.bind,
        environment: run.env.into_iter().collect(),
        compare: run.compare_observers,
    });
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

fn begin_session(begin: &Begin) -> Result<Answer, CaptureError> {
    let folder = begin.named.session.clone().unwrap_or_else(|| Path::new(SESSIONS).join("capture"));
    let settings = SnapshotSettings { hash: begin.hash, keep: begin.keep };
    if let Some(prefix) = &begin.wine {
        let session = wine::begin(prefix, &folder, &settings)?;
        let (prefix, session) = (prefix.display(), session.folder().display());
        return Ok(Answer::done(format!(
            "`{prefix}` is recorded in `{session}`; run the installer in it, `WINEPREFIX={prefix} wine64 wineboot -r` where it wants \
             a restart, then `packhorse capture finish --session {session} -o PROJECT`"
        )));
    }
    let bar = spinner("recording the machine as it is");
    let session =
        Session::begin_snapshots(&folder, &begin.root, &settings, &mut |paths| count(&bar, paths));
    bar.finish_and_clear();
    let session = session?;
    Ok(Answer::done(format!(
        "`{}` is recorded in `{}`; run the installer, then `packhorse capture finish --session {} -o PROJECT`",
        begin.root.display(),
        session.folder().display(),
        session.folder().display()
    )))
}

fn finish_session(finish: &Finish) -> Result<Answer, CaptureError> {
    let session = Session::open(&the_session(&finish.named)?)?;
    if let Some(prefix) = wine::prefix_of(&session) {
        return wine::finish(&prefix, session, &finish.into);
    }
    finish_into(session, &finish.into, false, Vec::new())
}

/// Reads what the installer did and writes the project, if one is wanted.
fn finish_into(
    session: Session,
    into: &Into,
    temporary: bool,
    notes: Vec<String>,
) -> Result<Answer, CaptureError> {
    let finished = if session.state().0 == State::Finished {
        Finished::open(session)?
    } else {
        let bar = spinner("looking for what changed");
        let finished = session.finish(&mut |paths| count(&bar, paths));
        bar.finish_and_clear();
        finished?
    };
    let mut summary = Summary::of(&finished);
    summary.notes.splice(0..0, notes);
    let mut report = None;
    if let Some(folder) = &into.output {
        let draft = project::write(&finished, &options(into, folder)?, folder)?;
        report = Some(draft.report.to_string());
        summary.project = Some(folder.clone());
    }
    leave(finished, temporary && into.output.is_some(), summary, report)
}

/// Ends a capture: a session nobody asked to keep goes once its project is written.
fn leave(
    finished: Finished,
    goes: bool,
    mut summary: Summary,
    report: Option<String>,
) -> Result<Answer, CaptureError> {
    let folder = finished.session().folder().to_owned();
    if goes {
        finished
            .into_session()
            .discard()
            .map_err(|reason| CaptureError::Discard { folder, reason })?;
    } else {
        summary.session = Some(folder);
    }
    Ok(Answer::captured(summary, report))
}

fn options(into: &Into, folder: &Path) -> Result<capture::Options, CaptureError> {
    let from_folder = || {
        let name = std::path::absolute(folder).ok()?.file_name()?.to_str()?.to_lowercase();
        PackageName::new(&name).ok()
    };
    let name = into.name.clone().or_else(from_folder);
    let name = name.ok_or_else(|| CaptureError::Name { folder: folder.to_owned() })?;
    let mut options = capture::Options::new(name, Version::new(into.version.as_str()));
    options.devices = into.devices;
    options.touched = match into.touched {
        Touched::List => capture::TouchedFiles::List,
        Touched::Rewritten => capture::TouchedFiles::CarryRewritten,
        Touched::All => capture::TouchedFiles::CarryAll,
    };
    options.prefix = match &into.prefix {
        Some(prefix) => capture::Prefix::At(prefix.clone()),
        None if into.no_prefix => capture::Prefix::Never,
        None => capture::Prefix::Detect,
    };
    Ok(options)
}

fn status(named: &Named) -> Result<Answer, CaptureError> {
    let folders = match &named.session {
        Some(folder) => vec![folder.clone()],
        None => sessions_in(Path::new(SESSIONS)).map_err(CaptureError::Sessions)?,
    };
    if folders.is_empty() {
        return Err(CaptureError::None);
    }
    let lines = folders.iter().map(|folder| match Session::open(folder) {
        Ok(session) => {
            let (state, since) = session.state();
            let root = session.beginning().root.display().to_string();
            let waits =
                state.waits_for().map_or(String::new(), |waits| format!("; it waits for {waits}"));
            format!(
                "`{}` holds a capture of `{root}`, {state} since {since}{waits}",
                folder.display()
            )
        }
        Err(error) => error.to_string(),
    });
    Ok(Answer::lines(lines.collect()))
}

fn discard(named: &Named) -> Result<Answer, CaptureError> {
    let folder = the_session(named)?;
    match Session::open(&folder) {
        Ok(session) => {
            session
                .discard()
                .map_err(|reason| CaptureError::Discard { folder: folder.clone(), reason })?;
        }
        Err(OpenSessionError::Damaged { .. }) => {
            discard_damaged(&folder).map_err(RunError::from)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Answer::done(format!("`{}` is gone", folder.display())))
}

/// The session that was named, or the only one there is.
fn the_session(named: &Named) -> Result<PathBuf, CaptureError> {
    if let Some(folder) = &named.session {
        return Ok(folder.clone());
    }
    let mut folders = sessions_in(Path::new(SESSIONS)).map_err(CaptureError::Sessions)?;
    match folders.len() {
        0 => Err(CaptureError::None),
        1 => Ok(folders.remove(0)),
        count => Err(CaptureError::Several { count }),
    }
}

/// A folder for a session that nobody named.
fn fresh_folder(into: &Into) -> PathBuf {
    let name =
        into.output.as_ref().and_then(|folder| folder.file_name()?.to_str()).unwrap_or("capture");
    Path::new(SESSIONS).join(format!("{name}-{}", std::process::id()))
}

fn spinner(what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length().with_message(what);
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {msg}: {human_pos} paths in {elapsed}")
    {
        bar.set_style(style);
    }
    bar
}

fn count(bar: &ProgressBar, paths: u64) {
    bar.set_position(paths);
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
