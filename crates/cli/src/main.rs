//! The `packhorse` command: arguments in, one call, an exit code out.

mod capture;
mod compile;
mod idle;
mod project;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// From any installer to a package that installs, rolls back and uninstalls exactly.
#[derive(Parser)]
#[command(name = "packhorse", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an installer of a project folder.
    Compile(compile::Args),
    /// Record what an installer does.
    Capture(capture::Args),
    #[command(name = "__enter", hide = true)]
    Enter(capture::Inside),
    #[command(name = "__init", hide = true)]
    Init(capture::Inside),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Compile(args) => {
            compile::run(&args, std::env::var("SOURCE_DATE_EPOCH").ok().as_deref())
        }
        Command::Capture(args) => capture::run(args),
        Command::Enter(inside) => capture::enter(&inside),
        Command::Init(inside) => capture::init(&inside),
    }
}
