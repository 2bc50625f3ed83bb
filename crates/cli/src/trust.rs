//! `packhorse trust`: who may publish what, and whom this machine believes.

mod client;
mod keys;
mod publisher;
mod status;

use std::{path::PathBuf, process::ExitCode};

pub(crate) use client::{Client, now, signed};
pub(crate) use keys::Keys;

use crate::store::{Answer, Failure, answer};

/// Say who may publish what, and whom this machine believes.
///
/// A distribution point's releases are signed by roles: `root` names the others and stays offline, `targets` may publish
/// everything, teams their own names, `snapshot` and `timestamp` share the online key. docs/trust.md has the procedures.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  packhorse trust init /srv/packages --root-key root1.key root2.key \
--threshold 2 --owner-key owner.key --online-key online.key --root-out root.json"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a key: a file to keep, and one ending in `.pub` to give away.
    #[command(
        after_help = "Example:\n  packhorse trust key caches.key --passphrase-file secret\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage"
    )]
    Key {
        /// The file to write; it must not be there.
        file: PathBuf,
        /// Encrypt it with the first line of this file.
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Begin signing at a distribution point. Keys that are not there are made.
    #[command(
        after_help = "Example:\n  packhorse trust init /srv/packages --root-key root1.key root2.key root3.key \
--threshold 2 --owner-key owner.key --online-key online.key --root-out root.json\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 it is signed already, or a key is lacking"
    )]
    Init(publisher::Init),
    /// Make a new root: with other keys or thresholds, or the same for longer.
    #[command(
        after_help = "Examples:\n  packhorse trust rotate /srv/packages --add online=new.key --remove online=3f… \
--key root1.key root2.key new.key\n  packhorse trust rotate /srv/packages --add root=root4.key.pub --key root1.key \
--draft next-root.json\n  packhorse trust sign next-root.json --key root2.key\n  packhorse trust rotate /srv/packages \
--draft next-root.json --key online.key\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 signatures are lacking: the draft has those there are"
    )]
    Rotate(publisher::Rotate),
    /// Add a signature to the draft of a root.
    #[command(after_help = "Example:\n  packhorse trust sign next-root.json --key root2.key\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage")]
    Sign(publisher::Sign),
    /// Let a team publish packages of some names, and of no others.
    #[command(
        after_help = "Example:\n  packhorse trust delegate /srv/packages caches --names redis 'memcached*' \
--team-key caches.key.pub --key owner.key online.key\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 a key is lacking, 5 refused"
    )]
    Delegate(publisher::Delegate),
    /// Take a team's right to publish, or one of its keys.
    #[command(
        after_help = "Example:\n  packhorse trust revoke /srv/packages caches --key owner.key online.key\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 a key is lacking, 5 refused"
    )]
    Revoke(publisher::Revoke),
    /// Sign for longer, and let clients see what teams signed meanwhile. Run it daily where the online key is.
    #[command(
        after_help = "Examples:\n  packhorse trust refresh /srv/packages --key online.key\n  \
packhorse trust refresh /srv/packages --points may-lag --key owner.key online.key\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 a key is lacking, 5 refused"
    )]
    Refresh(publisher::Refresh),
    /// Say which roles there are, until when they are good, and what is not believed.
    #[command(
        after_help = "Example:\n  packhorse trust status /srv/packages --trust-root root.json --json\n\n\
Exit codes: 0 all is well, 1 failed, 2 usage, 4 something is out of time, 5 something is refused"
    )]
    Status(status::Status),
    /// Believe a root on this machine from now on.
    #[command(after_help = "Examples:\n  packhorse trust pin root.json\n  \
packhorse trust pin --first-use https://packages.example/main\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 another root is pinned")]
    Pin(client::Pin),
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let (json, result) = match &args.command {
        Command::Key { file, passphrase_file, json } => {
            (*json, keys::create(file, passphrase_file.as_deref()))
        }
        Command::Init(args) => (args.at.json, publisher::init(args)),
        Command::Rotate(args) => (args.at.json, publisher::rotate(args)),
        Command::Sign(args) => (args.json, publisher::sign(args)),
        Command::Delegate(args) => (args.at.json, publisher::delegate(args)),
        Command::Revoke(args) => (args.at.json, publisher::revoke(args)),
        Command::Refresh(args) => (args.at.json, publisher::refresh(args)),
        Command::Status(args) => (args.json, status::run(args)),
        Command::Pin(args) => (args.json, client::pin(args)),
    };
    answer::give(json, result)
}

/// An error of a file on this machine.
fn file_error(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    let exit = operate::Exit::Failed;
    Failure::new(exit, format!("{doing} `{}` stopped: {error}", path.display()))
}

fn done(text: String, json: serde_json::Value) -> Answer {
    Answer { exit: operate::Exit::Done, text, json }
}
