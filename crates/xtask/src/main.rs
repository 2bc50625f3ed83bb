//! The workspace's own chores: tidiness, tests, proofs on real software, benchmarks.
//!
//! - `tidy` keeps the rules no compiler knows; `test` is exactly what CI runs;
//! - `prove` takes real programs through the whole journey and compares trees;
//! - `bench` measures against a peer in the same run, and fails when a bar is missed.
//!
//! **Invariant:** nothing is written outside `target`, `docs` and folders made for the run; what a chore
//! mounts or starts is gone when it ends.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

mod bench;
mod command;
mod debian;
mod prove;
mod prove_windows;
mod shipped;
mod simulate;
mod test;
mod tidy;
mod tree;
mod windows;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the Packhorse workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check the rules no compiler knows: layers, purity, the map, words and paths.
    Tidy(tidy::Args),
    /// All that CI runs: what the tests need is installed, then everything is checked, cheap first.
    Test(test::Args),
    /// Take real programs through the whole journey.
    #[command(subcommand)]
    Prove(Prove),
    /// Build the agent's programs as machines get them, and print where they are.
    Shipped,
    /// Build the program in front of Windows installers, to be embedded in the next build.
    Windows,
    /// Histories of a tree of sites with faults, or of one site's clients: many, or one in words.
    Simulate(simulate::Args),
    /// Measure speed and size against peers in the same run.
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Subcommand)]
enum Prove {
    /// Captured, compiled, installed elsewhere, run, killed, taken off: no trace left.
    Capture(prove::Args),
    /// Published, updated, cut off, damaged, killed: and never a wrong byte.
    Store(prove::store::Args),
    /// A tree of sites under trouble.
    Sites(prove::sites::Args),
    /// Agents on booted machines under trouble.
    Agent(prove::agent::Args),
    /// As .deb and .rpm, by the real apt-get and dnf, from signed repositories.
    Exports(prove::exports::Args),
    /// NSIS's installers in Wine prefixes: captured, compiled, installed elsewhere, killed, taken off.
    Windows(prove_windows::Args),
}

#[derive(Subcommand)]
enum Bench {
    /// Observers and installers.
    Capture(bench::Args),
    /// Updates and first installs from a content store.
    Store(bench::store::Args),
    /// Plans, decisions, lines and memory of sites.
    Sites(bench::sites::Args),
    /// An update over a thin, lossy wire.
    Wan(bench::wan::Args),
    /// That memory stays the same whatever a package's size.
    Memory(bench::memory::Args),
    /// Collections kept right while clients change.
    Agent(bench::agent::Args),
    /// Captures and installers for Windows, under Wine, against NSIS.
    Windows(bench::windows::Args),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Tidy(args) => tidy::run(&args),
        Chore::Test(args) => test::run(&args),
        Chore::Shipped => shipped::build().map(|folder| println!("{}", folder.display())),
        Chore::Windows => windows::stub().map(|stub| println!("{}", stub.display())),
        Chore::Prove(Prove::Capture(args)) => prove::run(&args),
        Chore::Simulate(args) => simulate::run(&args),
        Chore::Prove(Prove::Store(args)) => prove::store::run(&args),
        Chore::Prove(Prove::Sites(args)) => prove::sites::run(&args),
        Chore::Prove(Prove::Agent(args)) => prove::agent::run(&args),
        Chore::Prove(Prove::Exports(args)) => prove::exports::run(&args),
        Chore::Prove(Prove::Windows(args)) => prove_windows::prove(&args),
        Chore::Bench(Bench::Capture(args)) => bench::run(&args),
        Chore::Bench(Bench::Store(args)) => bench::store::run(&args),
        Chore::Bench(Bench::Sites(args)) => bench::sites::run(&args),
        Chore::Bench(Bench::Agent(args)) => bench::agent::run(&args),
        Chore::Bench(Bench::Windows(args)) => bench::windows::run(&args),
        Chore::Bench(Bench::Wan(args)) => bench::wan::run(&args),
        Chore::Bench(Bench::Memory(args)) => bench::memory::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
