//! `packhorse site client | deploy | deployment | collection`: machines that are managed, and what they are to run.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use ::site::{Client, Folder, NewDeployment, SiteError, Target};
use deployment::{
    Cadence, ClientId, CollectionSpec, CommandLine, DeploymentId, HaltRule, Meaning, PackageAction,
    Recurrence, RestartRule, Share, Wave, WaveGate, When, Zone,
};
use model::{Condition, PackageName};
use operate::Exit;
use serde_json::json;

use super::{cannot_write, done, new_file};
use crate::store::Answer;

#[derive(clap::Subcommand)]
pub(super) enum ClientCommand {
    /// Write a token a machine becomes a client with; it counts once.
    #[command(
        after_help = "Example:\n  packhorse site client token --token-to web7.token --at top.example.org:7481\n  \
packhorse-agent enroll --token web7.token                                    # there"
    )]
    Token {
        /// The new file for the token.
        #[arg(long, value_name = "FILE")]
        token_to: PathBuf,
        /// Where this site listens (`packhorse site serve --link`), as the machine calls it.
        #[arg(long, value_name = "HOST:PORT")]
        at: Option<String>,
        /// Give a known client its identity back: its machine was made anew, or its key is gone.
        #[arg(long = "for", value_name = "CLIENT")]
        client: Option<String>,
        /// It counts for so many hours; a week, if nothing is said.
        #[arg(long)]
        hours: Option<u32>,
        /// Without a secret, for images of machines: each machine that brings it waits until somebody approves it.
        #[arg(long, conflicts_with_all = ["client", "hours"])]
        by_approval: bool,
    },
    /// List machines that wait for approval.
    #[command(after_help = "Example:\n  packhorse site client requests")]
    Requests,
    /// Make a machine that waits for approval a client; it hears so when it asks again.
    #[command(after_help = "Example:\n  packhorse site client approve 3f09a1c2")]
    Approve {
        /// The fingerprint of its key, as the machine shows it, or the beginning of that.
        key: String,
        /// Give it the identity of a known client: its machine was made anew.
        #[arg(long = "as", value_name = "CLIENT")]
        client: Option<String>,
    },
    /// Refuse a machine that waits for approval.
    #[command(after_help = "Example:\n  packhorse site client refuse 3f09a1c2")]
    Refuse {
        /// The fingerprint of its key, as the machine shows it, or the beginning of that.
        key: String,
    },
    /// Make a client of a device that runs another agent and speaks hawkBit's protocol (`packhorse site serve --ddi`); its key is
    /// written to a file.
    #[command(
        after_help = "Example:\n  packhorse site client foreign gate3 --key-to gate3.key\n  \
swupdate -u \"-t TOP -u http://top.example.org:7483 -i gate3 -k $(cat gate3.key)\"   # there"
    )]
    Foreign {
        /// What it calls itself.
        name: String,
        /// The new file for the key.
        #[arg(long, value_name = "FILE")]
        key_to: PathBuf,
    },
    /// List clients.
    #[command(after_help = "Example:\n  packhorse site client list")]
    List,
    /// Say everything about one.
    #[command(after_help = "Example:\n  packhorse site client show web7")]
    Show {
        /// Its id, the beginning of that, or its name.
        client: String,
    },
    /// Make it none any more: its key counts no longer.
    #[command(after_help = "Example:\n  packhorse site client revoke web7")]
    Revoke {
        /// Its id, the beginning of that, or its name.
        client: String,
    },
}

/// Whom something is for.
#[derive(clap::Args)]
pub(super) struct Whom {
    /// For the members of a collection.
    #[arg(long, value_name = "COLLECTION")]
    to: Vec<String>,
    /// For a client: its id, the beginning of that, or its name.
    #[arg(long, value_name = "CLIENT")]
    client: Vec<String>,
    /// For all clients, now and later.
    #[arg(long)]
    everybody: bool,
    /// But not for members of a collection.
    #[arg(long, value_name = "COLLECTION")]
    except: Vec<String>,
}

impl Whom {
    pub(super) fn target(&self, client: &Client) -> Result<Target, SiteError> {
        let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
        let mut clients = Vec::new();
        for name in &self.client {
            let id = client.client(name)?.summary.client;
            clients.push(id.parse().map_err(|_| SiteError::Said {
                message: "the site gave a client id nobody can read".to_owned(),
                conflict: true,
            })?);
        }
        Ok(Target {
            everybody: self.everybody,
            collections: boxed(&self.to),
            clients,
            except: boxed(&self.except),
        })
    }
}

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Deploy {
    /// The package, as it was published here; a command behind `--` instead.
    package: Option<PackageName>,
    /// Which version of it; the newest, if nothing is said.
    #[arg(long)]
    version: Option<String>,
    /// The deployment's id; the package's name, if nothing is said.
    #[arg(long)]
    id: Option<String>,
    /// What people call it.
    #[arg(long)]
    title: Option<String>,
    /// Uninstall the package.
    #[arg(long, conflicts_with = "repair")]
    uninstall: bool,
    /// Put right what differs from its receipt.
    #[arg(long)]
    repair: bool,
    /// A line for the shell, instead of a package.
    #[arg(long, value_name = "LINE", conflicts_with = "package")]
    shell: Option<String>,
    #[command(flatten)]
    whom: Whom,
    /// Once for this user, when logged on, and on that account: a command only.
    #[arg(long = "user", value_name = "NAME", conflicts_with = "every_user")]
    users: Vec<String>,
    /// Once for every user who logs on, and on their accounts: a command only.
    #[arg(long)]
    every_user: bool,
    /// For users, but on the system's account; `PACKHORSE_USER` says who it is for.
    #[arg(long)]
    as_system: bool,
    /// It may run, and does not have to.
    #[arg(long)]
    available: bool,
    /// Not before: `2026-12-01T20:00:00Z`, or `2026-12-01T20:00:00` by the clock of each client.
    #[arg(long, value_name = "TIME", value_parser = when)]
    start: Option<When>,
    /// By then it is to be done.
    #[arg(long, value_name = "TIME", value_parser = when)]
    deadline: Option<When>,
    /// Not any longer.
    #[arg(long, value_name = "TIME", value_parser = when)]
    expiry: Option<When>,
    /// Maintenance windows do not count.
    #[arg(long)]
    ignore_windows: bool,
    /// From its deadline on maintenance windows do not count.
    #[arg(long, requires = "deadline", conflicts_with = "ignore_windows")]
    windows_until_deadline: bool,
    /// Again and again, from its start on: `day`, `3 days`, `mon,thu`, `2 weeks sun`, `month 15`, `month 2nd tue`, `6 hours`.
    #[arg(long, value_name = "HOW-OFTEN")]
    every: Option<Cadence>,
    /// Once this deployment is done.
    #[arg(long, value_name = "DEPLOYMENT", value_parser = DeploymentId::new)]
    after: Vec<DeploymentId>,
    /// It takes the place of this deployment, which does not run any more where this one is for.
    #[arg(long, value_name = "DEPLOYMENT", value_parser = DeploymentId::new)]
    supersedes: Vec<DeploymentId>,
    /// It is done where this is so, whatever the program says: `exists("/opt/redis")`; asked before and after.
    #[arg(long, value_name = "CONDITION", value_parser = condition)]
    detect: Option<Condition>,
    /// It is nothing for machines where this is not so.
    #[arg(long, value_name = "CONDITION", value_parser = condition)]
    require: Option<Condition>,
    /// Seconds it takes: it starts only where a maintenance window is open that long.
    #[arg(long, value_name = "SECONDS")]
    estimate: Option<u32>,
    /// What an exit code means: `3=done`, `restart`, `restarting`, `busy`, `retry`, `not-applicable`, `failed`.
    #[arg(long, value_name = "CODE=MEANING", value_parser = exit_code)]
    exit: Vec<(i32, Meaning)>,
    /// Restart the machine: where an exit code asks for it, always when it is done, or the command does it itself. Otherwise a
    /// restart that is asked for is owed, and shown.
    #[arg(long, value_name = "WHEN")]
    restart: Option<RestartWhen>,
    /// Seconds between its end and the restart; who is logged on is told.
    #[arg(long, value_name = "SECONDS", requires = "restart", default_value = "300")]
    countdown: u32,
    /// Seconds until a program is ended.
    #[arg(long, value_name = "SECONDS")]
    limit: Option<u32>,
    /// A command that was cut off may simply be run again.
    #[arg(long)]
    rerunnable: bool,
    /// Uninstall the package where the deployment is withdrawn.
    #[arg(long)]
    uninstall_when_withdrawn: bool,
    /// A step: `5%`, `20` clients or a collection; what the next one waits for behind it: `5%,soak=3600,successes=3,approval`.
    #[arg(long, value_name = "WAVE", value_parser = wave)]
    wave: Vec<Wave>,
    /// Stop by itself where so many of 100 failed; a tenth, if nothing is said.
    #[arg(long, value_name = "PERCENT")]
    halt: Option<u8>,
    /// Judge by no fewer clients than this; ten, if nothing is said.
    #[arg(long, value_name = "CLIENTS")]
    minimum: Option<u32>,
    /// A command and its arguments, instead of a package.
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["package", "shell"])]
    command: Vec<String>,
}

/// When a machine restarts for a deployment.
#[derive(Clone, Copy, clap::ValueEnum)]
enum RestartWhen {
    IfAsked,
    Always,
    ByItself,
}

impl RestartWhen {
    fn rule(self, countdown: u32) -> RestartRule {
        match self {
            Self::IfAsked => RestartRule::IfAsked { countdown },
            Self::Always => RestartRule::Always { countdown },
            Self::ByItself => RestartRule::ByItself,
        }
    }
}

#[derive(clap::Subcommand)]
pub(super) enum DeploymentCommand {
    /// List deployments, and how they go.
    #[command(after_help = "Example:\n  packhorse site deployment list")]
    List,
    /// Say how one is with each of its clients.
    #[command(after_help = "Example:\n  packhorse site deployment show redis")]
    Show {
        /// Its id.
        id: String,
    },
    /// No starts until it is resumed.
    #[command(after_help = "Example:\n  packhorse site deployment pause redis")]
    Pause {
        /// Its id.
        id: String,
    },
    /// Go on.
    #[command(after_help = "Example:\n  packhorse site deployment resume redis")]
    Resume {
        /// Its id.
        id: String,
    },
    /// No starts any more.
    #[command(after_help = "Example:\n  packhorse site deployment stop redis")]
    Stop {
        /// Its id.
        id: String,
    },
    /// Agree that the next wave begins, once all else it waits for is there.
    #[command(after_help = "Example:\n  packhorse site deployment approve redis")]
    Approve {
        /// Its id.
        id: String,
    },
    /// Begin the next wave now.
    #[command(after_help = "Example:\n  packhorse site deployment next-wave redis")]
    NextWave {
        /// Its id.
        id: String,
    },
    /// Another try for those who failed.
    #[command(after_help = "Example:\n  packhorse site deployment retry redis web7")]
    Retry {
        /// Its id.
        id: String,
        /// For these clients; for all of them, if nobody is named.
        client: Vec<String>,
    },
    /// Withdraw one.
    #[command(after_help = "Example:\n  packhorse site deployment remove redis")]
    Remove {
        /// Its id.
        id: String,
    },
}

#[derive(clap::Subcommand)]
pub(super) enum CollectionCommand {
    /// Save one, new or changed.
    #[command(
        after_help = "Examples:\n  packhorse site collection add web --rule 'machine.hostname.startsWith(\"web\")'\n  \
packhorse site collection add trial --member 0123456789abcdef0123456789abcdef"
    )]
    Add {
        /// Its name.
        name: String,
        /// Clients it is true of belong to it: CEL over what they report.
        #[arg(long)]
        rule: Option<String>,
        /// All clients belong to it.
        #[arg(long)]
        everybody: bool,
        /// A client that belongs to it, by id.
        #[arg(long, value_name = "CLIENT")]
        member: Vec<ClientId>,
        /// Members of this one belong to it.
        #[arg(long, value_name = "COLLECTION")]
        include: Vec<String>,
        /// Members of this one do not.
        #[arg(long, value_name = "COLLECTION")]
        exclude: Vec<String>,
        /// Only members of this one do.
        #[arg(long, value_name = "COLLECTION")]
        limit: Option<String>,
    },
    /// Say what a rule would catch; nothing is saved.
    #[command(after_help = "Example:\n  packhorse site collection preview 'installed(\"redis\")'")]
    Preview {
        /// In CEL.
        rule: String,
    },
    /// Say why a client is in one, or not.
    #[command(after_help = "Example:\n  packhorse site collection why web7 web")]
    Why {
        /// The client.
        client: String,
        /// The collection.
        collection: String,
    },
    /// List them.
    #[command(after_help = "Example:\n  packhorse site collection list")]
    List,
    /// List who belongs to one.
    #[command(after_help = "Example:\n  packhorse site collection show web")]
    Show {
        /// Its name.
        name: String,
    },
    /// Remove one that nobody names.
    #[command(after_help = "Example:\n  packhorse site collection remove web")]
    Remove {
        /// Its name.
        name: String,
    },
}

/// An instant, or a reading of the wall clock of each client.
pub(super) fn when(text: &str) -> Result<When, String> {
    if let Ok(instant) = text.parse() {
        return Ok(When::At(instant));
    }
    let clock = text
        .parse()
        .map_err(|_| "write it like `2026-12-01T20:00:00Z`, or `2026-12-01T20:00:00`".to_owned())?;
    Ok(When::Wall { clock, zone: Zone::Client })
}

fn condition(text: &str) -> Result<Condition, String> {
    script::parse_condition(text).map_err(|error| error.to_string())
}

fn exit_code(text: &str) -> Result<(i32, Meaning), String> {
    let (code, meaning) = text.split_once('=').ok_or("write `3=done`")?;
    let code = code.parse().map_err(|_| format!("`{code}` is no exit code"))?;
    let meaning = serde_json::from_value(meaning.into()).map_err(|error| error.to_string())?;
    Ok((code, meaning))
}

/// Again and again from a start on, or from now on; where a wall clock is meant, by that of each client.
fn recurrence(cadence: Cadence, start: Option<&When>) -> Recurrence {
    match start {
        Some(When::Wall { clock, zone }) => {
            Recurrence { from: *clock, zone: zone.clone(), cadence }
        }
        Some(When::At(at)) => {
            let from = at.to_zoned(jiff::tz::TimeZone::UTC).datetime();
            Recurrence { from, zone: Zone::Named("UTC".into()), cadence }
        }
        None => {
            let now = jiff::Zoned::now().datetime();
            let from = now.with().subsec_nanosecond(0).build().unwrap_or(now);
            Recurrence { from, zone: Zone::Client, cadence }
        }
    }
}

/// A wave: its share, and what the next one waits for.
fn wave(text: &str) -> Result<Wave, String> {
    let mut parts = text.split(',');
    let share = parts.next().unwrap_or_default();
    let share = match (share.strip_suffix('%'), share.parse()) {
        (Some(percent), _) => Share::Percent(percent.parse().map_err(|_| "write `5%`")?),
        (None, Ok(count)) => Share::Count(count),
        (None, Err(_)) => Share::Collection(share.into()),
    };
    let mut then = WaveGate::default();
    for part in parts {
        let number = |text: &str| text.parse::<u32>().map_err(|_| format!("`{text}` is no number"));
        match part.split_once('=') {
            Some(("soak", seconds)) => then.soak = u64::from(number(seconds)?) * 1_000,
            Some(("successes", count)) => then.successes = number(count)?,
            None if part == "approval" => then.approval = true,
            _ => {
                return Err(format!(
                    "`{part}` is none of `soak=SECONDS`, `successes=N`, `approval`"
                ));
            }
        }
    }
    Ok(Wave { share, then })
}

impl Deploy {
    fn new_deployment(&self, client: &Client) -> Result<NewDeployment, SiteError> {
        let command = match (&self.shell, self.command.as_slice()) {
            (Some(line), _) => Some(CommandLine::Shell(line.clone())),
            (None, []) => None,
            (None, words) => Some(CommandLine::Direct(words.to_vec())),
        };
        let action = match (self.uninstall, self.repair) {
            (true, _) => Some(PackageAction::Uninstall),
            (_, true) => Some(PackageAction::Repair),
            _ => None,
        };
        let usage = |message: &str| SiteError::Said { message: message.to_owned(), conflict: true };
        let id = match (&self.id, &self.package) {
            (Some(id), _) => id.clone(),
            (None, Some(package)) => package.to_string(),
            (None, None) => return Err(usage("give the deployment an id (`--id`)")),
        };
        let halt = HaltRule::default();
        let halt = HaltRule {
            failures: self.halt.unwrap_or(halt.failures),
            minimum: self.minimum.unwrap_or(halt.minimum),
            ..halt
        };
        Ok(NewDeployment {
            id,
            title: self.title.clone(),
            package: self.package.clone(),
            version: self.version.clone(),
            action,
            command,
            target: self.whom.target(client)?,
            users: self.users.iter().map(|name| name.as_str().into()).collect(),
            every_user: self.every_user,
            as_system: self.as_system,
            available: self.available,
            start: self.start.clone(),
            deadline: self.deadline.clone(),
            expiry: self.expiry.clone(),
            ignore_windows: self.ignore_windows,
            windows_until_deadline: self.windows_until_deadline,
            recurrence: self.every.clone().map(|cadence| recurrence(cadence, self.start.as_ref())),
            depends_on: self.after.clone(),
            supersedes: self.supersedes.clone(),
            detection: self.detect.clone(),
            requirement: self.require.clone(),
            estimate: self.estimate,
            restart: self.restart.map(|when| when.rule(self.countdown)),
            exit_codes: self.exit.iter().copied().collect(),
            limit: self.limit,
            rerunnable: self.rerunnable,
            uninstall_when_withdrawn: self.uninstall_when_withdrawn,
            retry: None,
            waves: self.wave.clone(),
            halt: Some(halt),
        })
    }
}

/// `packhorse site deploy`.
pub(super) fn deploy(folder: &Folder, args: &Deploy) -> Result<Answer, SiteError> {
    let client = Client::local(folder)?;
    let new = args.new_deployment(&client)?;
    let deployed = client.deploy(&new)?;
    let mut text =
        format!("{}: deployed; `packhorse site deployment list` says how it goes\n", new.id);
    for warning in &deployed.warnings {
        text.push_str(&format!("  {warning}\n"));
    }
    Ok(Answer { exit: Exit::Done, json: json!(deployed), text })
}

/// `packhorse site client`.
pub(super) fn client(folder: &Folder, command: &ClientCommand) -> Result<Answer, SiteError> {
    let client = Client::local(folder)?;
    Ok(match command {
        ClientCommand::Token { token_to, at, client: known, hours, by_approval } => {
            let at = at.clone().or_else(|| link_address(folder));
            let mut file = new_file(token_to)?;
            let token = if *by_approval {
                client.open_client_token(at.as_deref())
            } else {
                client.client_token(known.as_deref(), *hours, at.as_deref())
            };
            let written = token.and_then(|token| {
                let text = serde_json::to_vec_pretty(&token).unwrap_or_default();
                file.write_all(&text)
                    .and_then(|()| file.sync_all())
                    .map_err(|source| cannot_write(token_to, source))
            });
            if let Err(error) = written {
                let _ = std::fs::remove_file(token_to);
                return Err(error);
            }
            token_answer(token_to, at.as_deref(), *by_approval)
        }
        ClientCommand::Requests => {
            let all = client.client_requests()?;
            let text = all.iter().map(::site::ClientRequest::line).collect();
            Answer { exit: Exit::Done, json: json!(all), text }
        }
        ClientCommand::Approve { key, client: known } => {
            client.approve(key, known.as_deref())?;
            done(format!("{key} is approved; the machine hears so when it asks again\n"))
        }
        ClientCommand::Refuse { key } => {
            client.refuse(key)?;
            done(format!("{key} is refused; the machine hears so when it asks again\n"))
        }
        ClientCommand::Foreign { name, key_to } => {
            let mut file = new_file(key_to)?;
            let written = client.add_foreign(name).and_then(|key| {
                file.write_all(key.as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(|source| cannot_write(key_to, source))
            });
            if let Err(error) = written {
                let _ = std::fs::remove_file(key_to);
                return Err(error);
            }
            let path = key_to.display().to_string();
            let text = format!("{name} is a client; it shows the key in {path}\n");
            Answer { exit: Exit::Done, json: json!({ "client": name, "key": path }), text }
        }
        ClientCommand::List => {
            let all = client.clients()?;
            let mut text: String = all.iter().map(::site::ClientSummary::line).collect();
            let requests = client.client_requests()?;
            let waiting = requests.iter().filter(|one| one.state == "waits").count();
            if waiting > 0 {
                let note = "wait for approval: `packhorse site client requests`";
                text.push_str(&format!("{waiting} more {note}\n"));
            }
            Answer { exit: Exit::Done, json: json!(all), text }
        }
        ClientCommand::Show { client: name } => {
            let one = client.client(name)?;
            Answer { exit: Exit::Done, json: json!(one), text: one.text() }
        }
        ClientCommand::Revoke { client: name } => {
            client.revoke(name)?;
            done(format!("{name} is no client any more; what is known of it stays\n"))
        }
    })
}

/// Where the site listens for children and clients right now, if others can call it there.
fn link_address(folder: &Folder) -> Option<String> {
    let text = std::fs::read_to_string(folder.link_address()).ok()?;
    let address: std::net::SocketAddr = text.trim().parse().ok()?;
    (!address.ip().is_unspecified()).then(|| address.to_string())
}

fn token_answer(path: &Path, at: Option<&str>, by_approval: bool) -> Answer {
    let site = if at.is_some() { "" } else { " --site HOST:PORT" };
    let what = if by_approval {
        "a token without a secret: a machine that brings it waits until `packhorse site client approve`"
    } else {
        "a token for one machine"
    };
    let path = path.display();
    let text = format!("{path}: {what}; there, `packhorse-agent enroll --token {path}{site}`\n");
    Answer { exit: Exit::Done, json: json!({ "token": path.to_string() }), text }
}

/// `packhorse site deployment`.
pub(super) fn deployment(
    folder: &Folder,
    command: &DeploymentCommand,
) -> Result<Answer, SiteError> {
    let client = Client::local(folder)?;
    let by = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    let by = by.unwrap_or_else(|_| "somebody".to_owned());
    let steer = |id: &str, what: &str, text: &str| {
        client.steer(id, what, &by, &[])?;
        Ok::<_, SiteError>(done(format!("{id}: {text}\n")))
    };
    match command {
        DeploymentCommand::List => {
            let all = client.deployments()?;
            let text = all.iter().map(::site::DeploymentStatus::text).collect();
            Ok(Answer { exit: Exit::Done, json: json!(all), text })
        }
        DeploymentCommand::Show { id } => {
            let all = client.deployment(id)?;
            let line = |one: &::site::OnClient| {
                let ::site::OnClient { client, on } = one;
                format!("{} {}: {}, {}\n", client.client, client.name, on.state, on.text)
            };
            Ok(Answer { exit: Exit::Done, text: all.iter().map(line).collect(), json: json!(all) })
        }
        DeploymentCommand::Pause { id } => steer(id, "pause", "paused; what runs goes on"),
        DeploymentCommand::Resume { id } => steer(id, "resume", "goes on"),
        DeploymentCommand::Stop { id } => steer(id, "stop", "stopped; what runs goes on"),
        DeploymentCommand::Approve { id } => steer(id, "approve", "the next wave may begin"),
        DeploymentCommand::NextWave { id } => steer(id, "next-wave", "the next wave begins"),
        DeploymentCommand::Retry { id, client: whom } => {
            client.steer(id, "retry", &by, whom)?;
            Ok(done(format!("{id}: tried again\n")))
        }
        DeploymentCommand::Remove { id } => {
            client.remove_deployment(id)?;
            Ok(done(format!("{id}: withdrawn\n")))
        }
    }
}

/// `packhorse site collection`.
pub(super) fn collection(
    folder: &Folder,
    command: &CollectionCommand,
) -> Result<Answer, SiteError> {
    let client = Client::local(folder)?;
    Ok(match command {
        CollectionCommand::Add { name, rule, everybody, member, include, exclude, limit } => {
            let boxed = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
            client.save_collection(&CollectionSpec {
                name: name.as_str().into(),
                rule: rule.clone(),
                everybody: *everybody,
                members: member.iter().copied().collect(),
                include: boxed(include),
                exclude: boxed(exclude),
                limit: limit.as_deref().map(Into::into),
            })?;
            let saved = client.collections()?.into_iter().find(|one| one.name == *name);
            let size = saved.map_or(0, |one| one.members);
            done(format!("{name}: {size} clients belong to it now\n"))
        }
        CollectionCommand::Preview { rule } => {
            let preview = client.preview(rule)?;
            let text = format!(
                "{} of {} clients; of {} it is unknown\n",
                preview["size"]["members"], preview["clients"], preview["size"]["unknown"]
            );
            Answer { exit: Exit::Done, json: preview, text }
        }
        CollectionCommand::Why { client: who, collection } => {
            let why = client.why(who, collection)?;
            let because = why["because"].as_array().cloned().unwrap_or_default();
            let because: Vec<&str> = because.iter().filter_map(|one| one.as_str()).collect();
            let membership = why["membership"].as_str().unwrap_or_default();
            let text = format!("{membership}: {}\n", because.join("; "));
            Answer { exit: Exit::Done, text, json: why }
        }
        CollectionCommand::List => {
            let all = client.collections()?;
            let line = |one: &::site::CollectionStatus| {
                let rule = one.rule.as_deref().unwrap_or_default();
                format!(
                    "{}: {} clients, of {} unknown {rule}\n",
                    one.name, one.members, one.unknown
                )
            };
            Answer { exit: Exit::Done, text: all.iter().map(line).collect(), json: json!(all) }
        }
        CollectionCommand::Show { name } => {
            let all = client.collection(name)?;
            let text = all.iter().map(::site::ClientSummary::line).collect();
            Answer { exit: Exit::Done, text, json: json!(all) }
        }
        CollectionCommand::Remove { name } => {
            client.remove_collection(name)?;
            done(format!("{name}: removed\n"))
        }
    })
}
