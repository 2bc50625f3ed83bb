//! `capture`: an installer is watched, and what it did becomes a project.

mod answer;
mod drive;
#[cfg(unix)]
mod image;
#[cfg(unix)]
mod linux;
mod packaged;
#[cfg(unix)]
mod waiting;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
mod wine;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

#[cfg(unix)]
use capture::State;
use indicatif::{ProgressBar, ProgressStyle};
use model::{MachinePath, PackageName, Version};
use operate::Exit;

use session::{
    BeginError, Finished, KEEP, ObserveError, OpenSessionError, Session, SnapshotSettings,
    discard_damaged, sessions_in,
};

use crate::{examples, project::WriteProjectError, source};
use answer::{Answer, Summary};
#[cfg(unix)]
pub(crate) use linux::{Inside, enter, init};
#[cfg(unix)]
use linux::{Run, run_installer};
#[cfg(windows)]
use windows::{Run, run_installer};

#[derive(clap::Args)]
#[command(after_help = examples::CAPTURE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Run an installer and record what it does; on Linux in an overlay.
    #[command(after_help = examples::RUN)]
    Run(Run),
    /// Record the machine as it is, before an installer is run by hand.
    #[command(after_help = examples::BEGIN)]
    Begin(Begin),
    /// Record what changed since `begin`, also after a restart.
    #[command(after_help = examples::FINISH)]
    Finish(Finish),
    /// Say which captures are pending, since when, and what ends them.
    #[command(after_help = "Example:\n  packhorse capture status --json")]
    Status(Named),
    /// Take a capture away; what an installer did to a real root stays.
    #[command(after_help = examples::DISCARD)]
    Discard(Named),
    /// Watch the machine with no installer running and propose noise rules.
    #[cfg(unix)]
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
struct Begin {
    /// The root folder to record.
    #[cfg(unix)]
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The drive to record, or a folder of one; the system's when unsaid.
    #[cfg(windows)]
    #[arg(long, value_name = "DIR", default_value_os_t = source::system_drive())]
    root: PathBuf,
    #[cfg(unix)]
    /// The Wine prefix to record, before a Windows installer runs in it and starts it again.
    #[arg(long, value_name = "PREFIX", conflicts_with = "root")]
    wine: Option<PathBuf>,
    #[cfg(unix)]
    /// The folder the drive `C:` of a Windows machine that is shut down is mounted at; it runs the installer in between.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["root", "wine"])]
    image: Option<PathBuf>,
    #[cfg(unix)]
    /// Who runs the installer there; who has the only profile when unsaid.
    #[arg(long, value_name = "NAME", requires = "image")]
    user: Option<String>,
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

/// A capture did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[cfg(unix)]
    #[error(transparent)]
    Run(#[from] source::RunError),
    #[error(transparent)]
    Open(#[from] OpenSessionError),
    #[error(transparent)]
    Project(#[from] WriteProjectError),
    #[error("cannot take session `{}` away", folder.display())]
    Discard {
        folder: PathBuf,
        #[source]
        reason: session::AdvanceError,
    },
    #[error("cannot list the sessions in `{}`", source::sessions().display())]
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
    #[cfg(unix)]
    #[error(
        "nothing was run: the kernel gives no overlay here ({why}); with `--snapshots` the installer runs on the \
         real machine, which keeps what it does, between two scans of the whole disk"
    )]
    Refused { why: String },
    #[cfg(unix)]
    #[error("the command was not run, and nothing has changed")]
    NotRun,
    #[error("no capture is pending")]
    None,
    #[error("{0}")]
    Packaged(String),
    #[error(transparent)]
    Drive(#[from] drive::DriveError),
    #[cfg(unix)]
    #[error(transparent)]
    Wine(#[from] wine::WineError),
    #[cfg(unix)]
    #[error(transparent)]
    Image(#[from] image::ImageError),
}

impl CaptureError {
    fn exit(&self) -> Exit {
        match self {
            Self::Observe(ObserveError::Begin(BeginError::Pending { .. }))
            | Self::Several { .. }
            | Self::Packaged(_) => Exit::Decision,
            #[cfg(unix)]
            Self::Refused { .. } | Self::Image(image::ImageError::Whose { .. }) => Exit::Decision,
            Self::Open(OpenSessionError::InUse { .. }) => Exit::InUse,
            #[cfg(unix)]
            Self::Wine(wine::WineError::InUse { .. }) => Exit::InUse,
            Self::None => Exit::Nothing,
            Self::Name { .. } => Exit::Usage,
            _ => Exit::Failed,
        }
    }
}

/// Does what was asked.
pub(crate) fn run(args: Args) -> ExitCode {
    let (json, done) = match args.command {
        #[cfg(unix)]
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

/// Runs an installer, on Linux in this Wine prefix; answers the registry before and after, and how the installer ended.
pub(crate) fn registry_around(
    prefix: &Path,
    setup: &Path,
    switches: &[&str],
) -> Result<(capture::Registry, capture::Registry, i32), CaptureError> {
    #[cfg(unix)]
    return wine::around(prefix, setup, switches);
    #[cfg(windows)]
    return windows::around(prefix, setup, switches);
}

fn begin_session(begin: &Begin) -> Result<Answer, CaptureError> {
    let folder = begin.named.session.clone().unwrap_or_else(|| source::sessions().join("capture"));
    let settings = SnapshotSettings { hash: begin.hash, keep: begin.keep };
    #[cfg(unix)]
    if let Some(prefix) = &begin.wine {
        let session = wine::begin(prefix, &folder, &settings)?;
        let (prefix, session) = (prefix.display(), session.folder().display());
        return Ok(Answer::done(format!(
            "`{prefix}` is recorded in `{session}`; run the installer in it, `WINEPREFIX={prefix} wine64 wineboot -r` where it wants \
             a restart, then `packhorse capture finish --session {session} -o PROJECT`"
        )));
    }
    #[cfg(unix)]
    if let Some(root) = &begin.image {
        let session = image::begin(root, begin.user.as_deref(), &folder, &settings)?;
        let (root, session) = (root.display(), session.folder().display());
        return Ok(Answer::done(format!(
            "`{root}` is recorded in `{session}`; take it off (`umount {root}`), start its machine, run the installer there, shut it \
             down whole (`shutdown /s /t 0`), mount it at the same place, then `packhorse capture finish --session {session} -o PROJECT`"
        )));
    }
    let bar = spinner("recording the machine as it is");
    let session =
        source::begin_snapshots(&folder, &begin.root, &settings, &mut |paths| count(&bar, paths));
    bar.finish_and_clear();
    let session = session?;
    #[cfg(windows)]
    windows::record(&session)?;
    Ok(Answer::done(format!(
        "`{}` is recorded in `{}`; run the installer, then `packhorse capture finish --session {} -o PROJECT`",
        begin.root.display(),
        session.folder().display(),
        session.folder().display()
    )))
}

fn finish_session(finish: &Finish) -> Result<Answer, CaptureError> {
    let session = Session::open(&the_session(&finish.named)?)?;
    #[cfg(unix)]
    if image::is_of_image(&session) {
        return image::finish(session, &finish.into);
    }
    #[cfg(unix)]
    if let Some(prefix) = wine::prefix_of(&session) {
        return wine::finish(&prefix, session, &finish.into);
    }
    // It was killed before it was told from any other root.
    #[cfg(unix)]
    if image::holds_windows(&session) {
        return image::finish(session, &finish.into);
    }
    #[cfg(windows)]
    return windows::finish(session, &finish.into, false);
    #[cfg(unix)]
    finish_into(session, &finish.into, false, Vec::new())
}

/// Reads what the installer did and writes the project, if one is wanted.
#[cfg(unix)]
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
        let finished = source::finish(session, &mut |paths| count(&bar, paths));
        bar.finish_and_clear();
        finished?
    };
    let mut summary = Summary::of(&finished);
    summary.notes.splice(0..0, notes);
    let mut report = None;
    if let Some(folder) = &into.output {
        let draft = crate::project::write(&finished, &options(into, folder)?, folder)?;
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
        None => sessions_in(&source::sessions()).map_err(CaptureError::Sessions)?,
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
            discard_damaged(&folder).map_err(ObserveError::from)?;
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
    let mut folders = sessions_in(&source::sessions()).map_err(CaptureError::Sessions)?;
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
    source::sessions().join(format!("{name}-{}", std::process::id()))
}

pub(crate) fn spinner(what: &'static str) -> ProgressBar {
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

pub(crate) fn count(bar: &ProgressBar, paths: u64) {
    bar.set_position(paths);
}
