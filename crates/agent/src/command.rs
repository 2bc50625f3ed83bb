//! The command line.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use operate::Exit;
use running::{Direction, RunId};
use serde_json::Value;

use crate::{
    AdoptError, Agent, AgentError, Attempt, FolderSite, Journal, Keeper, OpenSiteError, Request,
    ServerSite, Settings, Site, StateFolder, Status, TakeError, ask, caller, enrol, identity,
    journal, package_work,
    platform::{door, launch, machine, runner},
    upgrade::Home,
};

/// Runs on a machine what is deployed to it, once, and says what happened.
#[derive(Parser)]
#[command(
    name = "packhorse-agent",
    version,
    after_help = "Examples:\n  packhorse-agent enroll --token web7.token\n  packhorse-agent run\n  packhorse-agent run --policy /srv/policy.json --point /srv/packages\n  \
packhorse-agent status\n  packhorse-agent check-in\n\n\
Exit codes: 0 done, 1 failed, 2 usage, 4 something waits for a decision, 6 another agent runs,\n7 no space"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make this machine a client of a site.
    #[command(
        after_help = "Example:\n  packhorse-agent enroll --token web7.token --site top.example.org:7481\n\nExit codes: 0 done, 1 failed, \
2 no token, 4 the site refuses, or nobody has approved this machine yet, 6 an agent runs"
    )]
    Enroll(Enroll),
    /// Be the agent of this machine.
    #[command(
        after_help = "Example:\n  packhorse-agent run --policy /srv/policy.json --point /srv/packages --once"
    )]
    Run(Run),
    /// Say everything about the agent of this machine.
    #[command(after_help = "Example:\n  packhorse-agent status --json")]
    Status(Ask),
    /// Show the messages that wait to be delivered to the site.
    #[command(after_help = "Example:\n  packhorse-agent messages --json")]
    Messages(Ask),
    /// Have the site asked now.
    #[command(after_help = "Example:\n  packhorse-agent check-in")]
    CheckIn(Ask),
    /// Try again what waits, is held or failed.
    #[command(after_help = "Example:\n  packhorse-agent retry redis")]
    Retry(Decide),
    /// Take for done what waits or is held.
    #[command(after_help = "Example:\n  packhorse-agent accept redis")]
    Accept(Decide),
    /// Give up what waits or is held.
    #[command(after_help = "Example:\n  packhorse-agent give-up redis")]
    GiveUp(Decide),
    /// Stop what runs, with all it started.
    #[command(after_help = "Example:\n  packhorse-agent stop redis")]
    Stop(Decide),
    /// Have another version of the agent, which lies ready, be the next.
    #[command(after_help = "Example:\n  packhorse-agent adopt 1.4.0")]
    Adopt {
        /// The name of its folder below `versions`.
        version: String,
        /// The guardian's home.
        #[arg(long, value_name = "DIR", default_value = machine::HOME, value_parser = machine::place)]
        home: PathBuf,
        /// Also if it is no newer than what runs.
        #[arg(long)]
        older: bool,
    },
    /// Be a service of this machine, or not any more.
    #[cfg(windows)]
    #[command(
        after_help = "Example:\n  packhorse-agent service install\n  net start packhorse-agent"
    )]
    Service {
        #[command(subcommand)]
        what: crate::platform::service::Service,
    },
    #[command(name = "__self-test", hide = true)]
    SelfTest,
    #[command(name = "__runner", hide = true)]
    Runner { folder: PathBuf },
    #[command(name = "__detach", hide = true)]
    Detach { folder: PathBuf },
    #[command(name = "__line", hide = true)]
    Line,
    #[command(name = "__content", hide = true)]
    Content,
    #[command(name = "__package", hide = true)]
    Package(package_work::PackageWork),
}

#[derive(Args)]
struct Enroll {
    /// What `packhorse site client token` wrote.
    #[arg(long, value_name = "FILE")]
    token: PathBuf,
    /// Where the site listens; several with commas. As the token says, if nothing is said.
    #[arg(long, value_name = "HOST:PORT")]
    site: Option<String>,
    /// Be a new client, whoever this machine was: its disk is a copy of another's.
    #[arg(long)]
    as_new: bool,
    /// Do not wait until somebody has approved this machine: end with 4; the same command goes on.
    #[arg(long)]
    no_wait: bool,
    /// The root folder of the machine to look after.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Where the agent keeps what it must not lose.
    #[arg(long, value_name = "DIR", default_value = StateFolder::PLACE, value_parser = machine::place)]
    state: PathBuf,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Run {
    /// The policy document: a file, watched for changes, instead of the site this machine is enrolled at.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Where packages are, nearest first: a folder, `http(s)://…`, or `s3://BUCKET/FOLDER`.
    #[arg(long, value_name = "URL-OR-DIR")]
    point: Vec<String>,
    /// Where messages go, one JSON object a line [default: `messages.jsonl` in the state folder].
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,
    /// The root folder of the machine to look after.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Where the agent keeps what it must not lose.
    #[arg(long, value_name = "DIR", default_value = StateFolder::PLACE, value_parser = machine::place)]
    state: PathBuf,
    /// End when there is nothing left to do.
    #[arg(long)]
    once: bool,
    /// Print the status at the end as JSON.
    #[arg(long)]
    json: bool,
    /// The service manager starts us.
    #[cfg(windows)]
    #[arg(long, hide = true)]
    as_service: bool,
}

#[derive(Args)]
struct Ask {
    /// Where the agent keeps what it must not lose.
    #[arg(long, value_name = "DIR", default_value = StateFolder::PLACE, value_parser = machine::place)]
    state: PathBuf,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Decide {
    /// The deployment.
    deployment: String,
    /// For which user; for the machine where unsaid.
    #[arg(long)]
    user: Option<String>,
    /// Which time of those it recurs.
    #[arg(long, default_value_t = 0)]
    occurrence: i64,
    #[command(flatten)]
    ask: Ask,
}

impl Decide {
    fn run(&self) -> RunId {
        RunId {
            deployment: self.deployment.as_str().into(),
            user: self.user.as_deref().map(Into::into),
            removal: false,
            occurrence: self.occurrence,
        }
    }
}

/// Is the agent as the command line says, until it is told to end. What it ends with.
#[cfg(windows)]
pub(crate) fn run_as_said() -> u8 {
    match Arguments::parse().command {
        Command::Run(args) => run_to_end(&args) as u8,
        _ => Exit::Usage as u8,
    }
}

/// The program.
pub fn main() -> ExitCode {
    machine::begin();
    match Arguments::parse().command {
        Command::Enroll(args) => enroll(&args),
        #[cfg(windows)]
        Command::Run(args) if args.as_service => crate::platform::service::serve(&args.state),
        #[cfg(windows)]
        Command::Run(args) if Home::is_watched() => {
            crate::platform::service::be_watched(&args.state);
            run(&args)
        }
        Command::Run(args) => run(&args),
        Command::Status(args) => status(&args),
        Command::Messages(args) => tell(&args, &Request::Messages),
        Command::CheckIn(args) => tell(&args, &Request::CheckIn),
        Command::Retry(args) => tell(&args.ask, &Request::Again { run: args.run() }),
        Command::Accept(args) => tell(&args.ask, &Request::Accept { run: args.run() }),
        Command::GiveUp(args) => tell(&args.ask, &Request::GiveUp { run: args.run() }),
        Command::Stop(args) => tell(&args.ask, &Request::Stop { run: args.run() }),
        Command::Adopt { version, home, older } => {
            let direction = if older { Direction::Any } else { Direction::Up };
            adopt(&version, &home, direction)
        }
        #[cfg(windows)]
        Command::Service { what } => what.perform(),
        Command::SelfTest => self_test(),
        Command::Runner { folder } => hidden(runner::run(&Attempt::at(folder))),
        Command::Detach { folder } => hidden(launch::detach(&Attempt::at(folder))),
        Command::Line => hidden(caller::call()),
        Command::Content => hidden(caller::read_for_others()),
        Command::Package(work) => {
            let report = package_work::run(&work);
            print(&report.lines());
            report.result.into()
        }
    }
}

impl Run {
    /// What is run has another current folder: paths are made whole here.
    fn settings(&self) -> Result<Settings, Box<dyn std::error::Error>> {
        let whole = |path: &PathBuf| std::path::absolute(path);
        let state = whole(&self.state)?;
        let messages = match &self.messages {
            Some(messages) => whole(messages)?,
            None => state.join("messages.jsonl"),
        };
        let point = |location: &String| -> io::Result<String> {
            let is_folder = !location.contains("://");
            let path = is_folder.then(|| std::path::absolute(location)).transpose()?;
            Ok(path.map_or_else(|| location.clone(), |path| path.to_string_lossy().into_owned()))
        };
        let points = self.point.iter().map(point).collect::<io::Result<_>>()?;
        let site: Box<dyn Site> = if let Some(policy) = &self.policy {
            Box::new(FolderSite::new(whole(policy)?, messages, points))
        } else {
            let state = StateFolder::at(&state);
            let [one, two] = state.identity();
            // Who never was enrolled is not made somebody by asking.
            if !state.line().join("site.json").exists() {
                return Err(OpenSiteError::NotEnrolled.into());
            }
            let (known, _) = identity([&one, &two])?;
            Box::new(ServerSite::open(&state, known)?)
        };
        Ok(Settings {
            site,
            state: StateFolder::at(&state),
            root: machine::root(&self.root)?,
            keeper: Keeper::here(),
            once: self.once,
        })
    }
}

fn enroll(args: &Enroll) -> ExitCode {
    let state = StateFolder::at(&args.state);
    let enrolling = enrol::Enrolling {
        token: &args.token,
        site: args.site.as_deref(),
        is_new: args.as_new,
        waits: !args.no_wait,
    };
    match enrol::enrol(&state, &args.root, &enrolling) {
        Ok(known) => {
            let value = serde_json::json!({ "client": known.client, "site": known.site });
            print(&if args.json {
                format!("{value}\n")
            } else {
                format!(
                    "client {} of site {}; `packhorse-agent run` goes on\n",
                    known.client, known.site
                )
            });
            Exit::Done.into()
        }
        Err(error) => {
            complain(&error);
            error.exit().into()
        }
    }
}

fn run(args: &Run) -> ExitCode {
    run_to_end(args).into()
}

fn run_to_end(args: &Run) -> Exit {
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(error) => {
            complain(&*error);
            return Exit::Usage;
        }
    };
    let worked = Agent::open(settings).and_then(|mut agent| {
        agent.work()?;
        Ok(agent.status())
    });
    match worked {
        Ok(status) => {
            if args.json {
                print(&format!("{}\n", serde_json::to_string(&status).unwrap_or_default()));
            } else if args.once {
                print(&status.text());
            }
            Exit::Done
        }
        Err(error) => {
            complain(&error);
            match error {
                AgentError::Taken(TakeError::Taken { .. }) => Exit::InUse,
                error if error.is_full() => Exit::NoSpace,
                _ => Exit::Failed,
            }
        }
    }
}

fn status(args: &Ask) -> ExitCode {
    let state = StateFolder::at(&args.state);
    let status = match ask(&state.socket(), &Request::Status) {
        Ok(value) => serde_json::from_value(value).unwrap_or_default(),
        // Nobody is there to answer: what is on disk does.
        Err(error) if is_nobody(&error) => match journal::look(&state.history()) {
            Ok(book) if book.number() > 0 => Status::of_book(&book),
            Ok(_) => {
                let place = args.state.display();
                say(&format!("no agent was ever at work with its state in `{place}`"));
                return Exit::Failed.into();
            }
            Err(error) => {
                complain(&error);
                return Exit::Failed.into();
            }
        },
        Err(error) => return no_answer(&state, &error),
    };
    if args.json {
        print(&format!("{}\n", serde_json::to_string(&status).unwrap_or_default()));
    } else {
        print(&status.text());
    }
    let is_held = status.runs.iter().any(|run| run.state == "held");
    if is_held { Exit::Decision.into() } else { Exit::Done.into() }
}

fn adopt(version: &str, home: &Path, direction: Direction) -> ExitCode {
    match Home::at(home).adopt(version, direction) {
        Ok(edition) => {
            print(&format!("version {} is tried once nothing runs\n", edition.name));
            Exit::Done.into()
        }
        Err(error) => {
            complain(&error);
            match error {
                AdoptError::NotTaken { .. } => Exit::Nothing.into(),
                AdoptError::Unfit { .. } | AdoptError::Disk { .. } => Exit::Failed.into(),
            }
        }
    }
}

/// Whether this version can do here what it needs: read this machine, write and read a history, wait.
fn self_test() -> ExitCode {
    let folder = std::env::temp_dir().join(format!("packhorse-agent-test-{}", std::process::id()));
    let tested = || -> Result<(), Box<dyn std::error::Error>> {
        let paths = [folder.join("one"), folder.join("two")];
        let (mut journal, mut history) = Journal::open(paths.clone(), false, 1)?;
        let entry = history.book.delivered(0);
        journal.append(&entry)?;
        history.book.take(&entry);
        if journal::look(&paths)? != history.book {
            return Err("a history is read otherwise than it was written".into());
        }
        crate::detect::answer(Path::new("/"), &model::Condition::Constant(true))?;
        // Whoever has no rights has to be able to start it too.
        caller::Caller::start("__line", &[])?;
        Ok(())
    };
    let result = tested();
    let _ = std::fs::remove_dir_all(&folder);
    match result {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            complain(&*error);
            Exit::Failed.into()
        }
    }
}

/// Asks the agent for something, and says what it answered.
fn tell(args: &Ask, request: &Request) -> ExitCode {
    let state = StateFolder::at(&args.state);
    let value = match ask(&state.socket(), request) {
        Ok(value) => value,
        Err(error) => return no_answer(&state, &error),
    };
    let word = |name: &str| value[name].as_str().map(str::to_owned);
    let (text, exit) = match (word("done"), word("refused")) {
        (_, Some(refused)) => (refused, Exit::Failed),
        (Some(done), None) => (done, Exit::Done),
        (None, None) => (pretty(&value), Exit::Done),
    };
    print(&if args.json { format!("{value}\n") } else { format!("{text}\n") });
    exit.into()
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn no_answer(state: &StateFolder, error: &io::Error) -> ExitCode {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => door::REFUSED,
        _ if is_nobody(error) => "; `packhorse-agent run` starts one",
        _ => "",
    };
    say(&format!("no agent answers at `{}`: {error}{hint}", state.socket().display()));
    Exit::Failed.into()
}

fn pretty(value: &Value) -> String {
    let messages = value.as_array().cloned().unwrap_or_default();
    let line = |message: &Value| {
        let said = &message["said"];
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        let run = said["run"]["deployment"].as_str().unwrap_or_default().to_owned();
        format!("{} {} {run} {}", message["sequence"], text("word"), text("cause"))
    };
    messages.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn hidden(done: io::Result<()>) -> ExitCode {
    match done {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            complain(&error);
            Exit::Failed.into()
        }
    }
}

pub(crate) fn complain(error: &dyn std::error::Error) {
    say(&model::with_causes(error));
}

pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "packhorse-agent: {text}");
}

/// A reader that went away is no reason to fail.
pub(crate) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
