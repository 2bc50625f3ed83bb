//! The `packhorse-guardian` program: starts the agent, and leads an upgrade of it to its end or back.
//!
//! - a [`Home`] is the folder with the versions of the agent, which of them is current, and how far an upgrade has come;
//! - the decisions are `running`'s; here they are carried out, each durable before the next.
//!
//! **Invariant:** it is small and almost never changes itself. Whatever happens, it starts a version that is whole.

mod home;
mod platform;
mod watch;

use std::{path::PathBuf, process::ExitCode};

use home::Home;

const HELP: &str = "\
Starts the agent, and leads an upgrade of it to its end or back.

Usage: packhorse-guardian HOME [ARGUMENTS OF THE AGENT]...

HOME holds `versions/NAME/packhorse-agent` and `current`: on Linux a link to one of the versions, on Windows a file with its name.

Example: packhorse-guardian /opt/packhorse-agent run

Exit codes: 0 asked to end, 1 failed, 2 usage
";

fn main() -> ExitCode {
    let Some(first) = std::env::args_os().nth(1) else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    if first == "--help" || first == "-h" {
        eprint!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match platform::perform(&first) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("packhorse-guardian: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Watches over the agent; whether that ended because somebody asked for it.
fn work() -> bool {
    let mut arguments = std::env::args_os().skip(1).filter(|one| one != "--as-service");
    let home = Home::at(PathBuf::from(arguments.next().unwrap_or_default()));
    let watched = watch::watch(&home, &arguments.collect::<Vec<_>>());
    watched.map_err(|error| eprintln!("packhorse-guardian: {error}")).is_ok()
}
