//! The `packhorse` command: arguments in, one call, an exit code out.

mod capture;
mod idle;
mod leaks;
mod project;
mod script;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Capture installers, edit what they do, and install, roll back and uninstall it exactly.
#[derive(Parser)]
#[command(name = "packhorse", version)]
struct Packhorse {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Record what an installer does.
    Capture(capture::Args),
    /// Check, lay out and explain a script.
    Script(script::Args),
    #[command(name = "__enter", hide = true)]
    Enter(capture::Inside),
    #[command(name = "__init", hide = true)]
    Init(capture::Inside),
}

fn main() -> ExitCode {
    match Packhorse::parse().command {
        Command::Capture(args) => capture::run(args),
        Command::Script(args) => script::run(args),
        Command::Enter(inside) => capture::enter(&inside),
        Command::Init(inside) => capture::init(&inside),
    }
}
