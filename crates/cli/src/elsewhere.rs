//! Commands that are for Linux: a site, its distribution points and its keys are on servers.

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use operate::Exit;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    #[command(hide = true)]
    Tour(Words),
    #[command(hide = true)]
    Export(Words),
    #[command(hide = true)]
    Publish(Words),
    #[command(hide = true)]
    Fetch(Words),
    #[command(hide = true)]
    Dp(Words),
    #[command(hide = true)]
    Trust(Words),
    #[command(hide = true)]
    Site(Words),
}

#[derive(clap::Args)]
pub(crate) struct Words {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Says where the command can be run.
pub(crate) fn run(command: &Command) -> ExitCode {
    let (name, Words { words }) = match command {
        Command::Tour(words) => ("tour", words),
        Command::Export(words) => ("export", words),
        Command::Publish(words) => ("publish", words),
        Command::Fetch(words) => ("fetch", words),
        Command::Dp(words) => ("dp", words),
        Command::Trust(words) => ("trust", words),
        Command::Site(words) => ("site", words),
    };
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let line = format!("packhorse {name} {}", words.join(" "));
    let _ = writeln!(
        std::io::stderr(),
        "error: `packhorse {name}` is not for Windows: sites, distribution points and their keys are looked after on Linux; \
         copy what it is about there and run `{}`",
        line.trim_end()
    );
    Exit::Usage.into()
}
