//! The `packhorse-agent` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::main()
}
