//! The `packhorse-guardian` program: starts the agent, and leads an upgrade of it to its end or back.
//!
//! - a [`Home`] is the folder with the versions of the agent, which of them is current, and how far an upgrade has come;
//! - the decisions are `running`'s; here they are carried out, each durable before the next.
//!
//! **Invariant:** it is small and almost never changes itself. Whatever happens, it starts a version that is whole.

mod home;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use home::Home;

const HELP: &str = "\
Starts the agent, and leads an upgrade of it to its end or back.

Usage: packhorse-guardian HOME [ARGUMENTS OF THE AGENT]...

HOME holds `versions/NAME/packhorse-agent` and `current`, a link to one of the versions.

Example: packhorse-guardian /opt/packhorse-agent run

Exit codes: 0 asked to end, 1 failed, 2 usage
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(home) = arguments.next() else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    if home == "--help" || home == "-h" {
        eprint!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match watch::watch(&Home::at(PathBuf::from(home)), &arguments.collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("packhorse-guardian: {error}");
            ExitCode::FAILURE
        }
    }
}
