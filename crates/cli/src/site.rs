//! `packhorse site`: a site made, run, asked and looked after.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use ::site::{Client, Folder, SiteError, Status};
use model::PackageName;
use operate::Exit;
use serde_json::json;

use crate::store::{Answer, Failure, give};

/// Run a site: packages published to it are brought to its distribution points, and stay there whole.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  packhorse site init TOP --data /var/lib/packhorse\n  packhorse site serve --data /var/lib/packhorse\n  \
packhorse site dp add berlin /srv/packages\n  packhorse site publish redis-7.2.4.package\n  packhorse site assign redis --dp berlin\n  \
packhorse site status\n\nExit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 needs a decision, 6 in use, 7 no space, 8 not everything \
is where it should be"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// The site's folder.
    #[arg(long, global = true, value_name = "DIR", default_value = "/var/lib/packhorse-site")]
    data: PathBuf,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a folder a site.
    #[command(after_help = "Example:\n  packhorse site init TOP --data /srv/site")]
    Init {
        /// Its code: 1 to 32 upper-case letters, digits and hyphens.
        code: String,
    },
    /// Run it, until SIGTERM.
    #[command(
        after_help = "Example:\n  packhorse site serve --data /srv/site --listen 127.0.0.1:7480"
    )]
    Serve {
        /// Where to listen.
        #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7480")]
        listen: SocketAddr,
    },
    /// Say what is where, and why not elsewhere.
    #[command(
        after_help = "Example:\n  packhorse site status --json\n\nExit codes: 0 all is as it should be, 1 failed, 8 not yet"
    )]
    Status,
    /// Read the tables and name what is wrong.
    #[command(
        after_help = "Example:\n  packhorse site check\n\nExit codes: 0 nothing is wrong, 1 failed, 5 something is"
    )]
    Check,
    /// Write all tables into one new file; the site may run.
    #[command(after_help = "Example:\n  packhorse site backup --to /backup/site.db")]
    Backup {
        /// The new file.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Put a backup in place, and begin a new epoch; the site must not run.
    #[command(after_help = "Example:\n  packhorse site restore --from /backup/site.db")]
    Restore {
        /// The backup.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Publish a package.
    #[command(
        after_help = "Example:\n  packhorse site publish redis-7.2.4.package\n\nExit codes: 0 done, 1 failed, 9 it was there already"
    )]
    Publish {
        /// The package, or an installer.
        package: PathBuf,
        /// Replace other content published under the same version.
        #[arg(long)]
        replace: bool,
    },
    /// Remove a package everywhere.
    #[command(after_help = "Example:\n  packhorse site retire redis")]
    Retire {
        /// The package.
        package: PackageName,
    },
    /// Say which points are to hold a package.
    #[command(after_help = "Example:\n  packhorse site assign redis --dp berlin paris")]
    Assign(Assignment),
    /// Say which points are to hold it no longer.
    #[command(after_help = "Example:\n  packhorse site unassign redis --dp paris")]
    Unassign(Assignment),
    /// Try again now: one copy, those of a point or a package, or all.
    #[command(after_help = "Example:\n  packhorse site retry --dp berlin")]
    Retry {
        /// Only at this point.
        #[arg(long, value_name = "NAME")]
        dp: Option<String>,
        /// Only this package.
        #[arg(long, value_name = "NAME")]
        package: Option<PackageName>,
    },
    /// Read every copy and compare; what is damaged is mended.
    #[command(after_help = "Example:\n  packhorse site verify")]
    Verify,
    /// Look after distribution points.
    #[command(after_help = "Example:\n  packhorse site dp add berlin /srv/packages")]
    Dp {
        #[command(subcommand)]
        command: Dp,
    },
}

#[derive(clap::Args)]
struct Assignment {
    /// The package.
    package: PackageName,
    /// The points.
    #[arg(long, value_name = "NAME", num_args = 1.., required = true)]
    dp: Vec<String>,
}

#[derive(clap::Subcommand)]
enum Dp {
    /// Add one: an empty folder, or `s3://BUCKET/FOLDER`.
    #[command(after_help = "Example:\n  packhorse site dp add berlin /srv/packages")]
    Add {
        /// Its name.
        name: String,
        /// Where it is.
        #[arg(value_name = "URL-OR-DIR")]
        location: String,
    },
    /// Clean one and forget it.
    #[command(after_help = "Example:\n  packhorse site dp remove berlin")]
    Remove {
        /// Its name.
        name: String,
        /// Forget it as it is: nothing there is cleaned.
        #[arg(long)]
        force: bool,
    },
    /// List them.
    #[command(after_help = "Example:\n  packhorse site dp list")]
    List,
}

/// Runs `site`.
pub(crate) fn run(args: &Args) -> ExitCode {
    give(args.json, answer(args).map_err(failure))
}

fn failure(error: SiteError) -> Failure {
    let exit = match &error {
        SiteError::Exists
        | SiteError::Location { .. }
        | SiteError::Refused(_)
        | SiteError::Said { conflict: true, .. } => Exit::Decision,
        SiteError::Code(_) => Exit::Usage,
        SiteError::InUse { .. } => Exit::InUse,
        SiteError::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Exit::NoSpace
        }
        _ => Exit::Failed,
    };
    Failure::new(exit, error)
}

fn done(text: String) -> Answer {
    Answer { exit: Exit::Done, json: json!({ "done": true }), text }
}

fn answer(args: &Args) -> Result<Answer, SiteError> {
    let folder = Folder::new(&args.data);
    let client = || Client::local(&folder);
    Ok(match &args.command {
        Command::Init { code } => {
            ::site::init(&folder, code)?;
            done(format!("{}: site {code}\n", args.data.display()))
        }
        Command::Serve { listen } => {
            ::site::serve(folder, *listen)?;
            done(String::new())
        }
        Command::Status => status(current(&folder)?),
        Command::Verify => status(client()?.verify()?),
        Command::Check => {
            let wrong = ::site::check(&folder)?;
            let text: String = match wrong.as_slice() {
                [] => "nothing is wrong\n".to_owned(),
                wrong => wrong.iter().map(|line| format!("{line}\n")).collect(),
            };
            let exit = if wrong.is_empty() { Exit::Done } else { Exit::Damaged };
            Answer { exit, text, json: json!({ "wrong": wrong }) }
        }
        Command::Backup { to } => {
            ::site::backup(&folder, to)?;
            done(format!("{}: the site's tables\n", to.display()))
        }
        Command::Restore { from } => {
            let epoch = ::site::restore(&folder, from)?;
            let text =
                format!("the tables of `{}` are in place, epoch {epoch} begins\n", from.display());
            Answer { exit: Exit::Done, text, json: json!({ "epoch": epoch }) }
        }
        Command::Publish { package, replace } => {
            let new = client()?.publish(package, *replace)?;
            let text = if new { "published\n" } else { "it was there already\n" };
            let exit = if new { Exit::Done } else { Exit::Nothing };
            Answer { exit, text: text.to_owned(), json: json!({ "new": new }) }
        }
        Command::Retire { package } => {
            client()?.retire(package)?;
            done(format!("`{package}` is being removed everywhere\n"))
        }
        Command::Assign(Assignment { package, dp }) => {
            client()?.assign(package, dp, true)?;
            done(format!("`{package}` is to be at {}\n", dp.join(", ")))
        }
        Command::Unassign(Assignment { package, dp }) => {
            client()?.assign(package, dp, false)?;
            done(format!("`{package}` is to be no longer at {}\n", dp.join(", ")))
        }
        Command::Retry { dp, package } => {
            client()?.retry(dp.as_deref(), package.as_ref())?;
            done("tried again now\n".to_owned())
        }
        Command::Dp { command } => point(&folder, command)?,
    })
}

fn point(folder: &Folder, command: &Dp) -> Result<Answer, SiteError> {
    Ok(match command {
        Dp::Add { name, location } => {
            Client::local(folder)?.add_point(name, location)?;
            done(format!("{name}: {location}\n"))
        }
        Dp::Remove { name, force } => {
            Client::local(folder)?.remove_point(name, *force)?;
            done(format!("{name} is being removed\n"))
        }
        Dp::List => {
            let points = current(folder)?.points;
            let text = points.iter().map(|point| format!("{} {}\n", point.name, point.location));
            Answer { exit: Exit::Done, text: text.collect(), json: json!(points) }
        }
    })
}

/// What the site says of itself; if it does not run, what its tables say.
fn current(folder: &Folder) -> Result<Status, SiteError> {
    match Client::local(folder).and_then(|client| client.status()) {
        Err(SiteError::Said { .. } | SiteError::NoAnswer { .. }) => folder.status(),
        result => result,
    }
}

fn status(status: Status) -> Answer {
    let exit = if status.is_settled() { Exit::Done } else { Exit::Leftovers };
    Answer { exit, text: status.to_text(), json: json!(status) }
}
