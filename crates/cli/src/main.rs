//! The `packhorse` command: arguments in, one call, an exit code out.

mod capture;
mod compile;
#[cfg(windows)]
mod elsewhere;
mod examples;
#[cfg(unix)]
mod export;
mod help;
#[cfg(unix)]
mod idle;
mod leaks;
mod machine;
mod project;
mod script;
#[cfg(unix)]
mod site;
#[cfg(unix)]
mod store;
#[cfg(unix)]
mod tour;
#[cfg(unix)]
mod trust;
mod wrap;

#[cfg(unix)]
use machine_linux::session as source;
#[cfg(windows)]
use machine_windows::session as source;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// From any installer to a package that installs, rolls back and uninstalls exactly.
#[derive(Parser)]
#[command(name = "packhorse", version, after_help = examples::ALL)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The whole journey on this machine, safely, and away again.
    #[cfg(unix)]
    Tour(tour::Args),
    /// Check, lay out and explain a script.
    Script(script::Args),
    /// Make an installer of a project folder.
    Compile(compile::Args),
    /// Put .deb or .rpm files into a signed repository.
    #[cfg(unix)]
    Export(export::Args),
    /// Record what an installer does.
    Capture(capture::Args),
    /// Carry an installer for Windows that behaves well, instead of capturing it.
    Wrap(wrap::Args),
    /// Install a package, or update to it.
    Install(machine::Install),
    /// Take a package off the machine, politely.
    Uninstall(machine::Uninstall),
    /// Take the last change of a package back, exactly.
    Rollback(machine::Rollback),
    /// Compare the machine with what a package left there.
    Verify(machine::Verify),
    /// List what is installed, and what waits for a restart.
    List(machine::List),
    /// End what a crash interrupted.
    Recover(machine::Recover),
    /// Publish a package into a distribution point.
    #[cfg(unix)]
    Publish(store::Publish),
    /// Fetch a package from a distribution point.
    #[cfg(unix)]
    Fetch(store::Fetch),
    /// Look after a distribution point.
    #[cfg(unix)]
    Dp(store::Dp),
    /// Say who may publish what, and whom this machine believes.
    #[cfg(unix)]
    Trust(trust::Args),
    /// Run a site, which brings packages to its distribution points.
    #[cfg(unix)]
    Site(site::Args),
    /// Write completions for a shell to standard output.
    Completions(help::Completions),
    /// Write manual pages to a folder.
    Man(help::Man),
    #[cfg(windows)]
    #[command(flatten)]
    Elsewhere(elsewhere::Command),
    #[cfg(unix)]
    #[command(name = "__enter", hide = true)]
    Enter(capture::Inside),
    #[cfg(unix)]
    #[command(name = "__init", hide = true)]
    Init(capture::Inside),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        #[cfg(unix)]
        Command::Tour(args) => tour::run(&args),
        Command::Script(args) => script::run(args),
        Command::Compile(args) => {
            compile::run(&args, std::env::var("SOURCE_DATE_EPOCH").ok().as_deref())
        }
        #[cfg(unix)]
        Command::Export(args) => export::run(&args),
        Command::Capture(args) => capture::run(args),
        Command::Wrap(args) => wrap::run(&args),
        Command::Install(args) => machine::install(args),
        Command::Uninstall(args) => machine::uninstall(args),
        Command::Rollback(args) => machine::roll_back(args),
        Command::Verify(args) => machine::verify(args),
        Command::List(args) => machine::list(args),
        Command::Recover(args) => machine::recover(args),
        #[cfg(unix)]
        Command::Publish(args) => store::publish(&args),
        #[cfg(unix)]
        Command::Fetch(args) => store::fetch(&args),
        #[cfg(unix)]
        Command::Dp(args) => store::dp(&args),
        #[cfg(unix)]
        Command::Trust(args) => trust::run(&args),
        #[cfg(unix)]
        Command::Site(args) => site::run(&args),
        #[cfg(windows)]
        Command::Elsewhere(command) => elsewhere::run(&command),
        Command::Completions(args) => help::completions(&args, Arguments::command()),
        Command::Man(args) => help::man(&args, Arguments::command()),
        #[cfg(unix)]
        Command::Enter(inside) => capture::enter(&inside),
        #[cfg(unix)]
        Command::Init(inside) => capture::init(&inside),
    }
}
