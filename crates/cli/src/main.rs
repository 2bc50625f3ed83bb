//! The `packhorse` command: arguments in, one call, an exit code out.

mod script;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Capture installers, edit what they do, and install, roll back and uninstall it exactly.
#[derive(Debug, Parser)]
#[command(name = "packhorse", version)]
struct Packhorse {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check, lay out and explain a script.
    Script(script::Args),
}

fn main() -> ExitCode {
    match Packhorse::parse().command {
        Command::Script(args) => script::run(args),
    }
}
