//! The program in front of every installer's package: finds the package in its own file, checks every byte of
//! it, and does what was asked.
//!
//! **Invariant:** nothing on the machine changes before the whole file was verified.

#![cfg_attr(all(unix, not(test)), no_main)]

mod answer;
mod extract;
mod perform;
mod request;
#[cfg(unix)]
mod start;
#[cfg_attr(windows, path = "sys/windows.rs")]
#[cfg_attr(unix, path = "sys/linux.rs")]
mod sys;
#[cfg(all(unix, panic = "abort"))]
mod unwind;

use std::fs::File;

use operate::Exit;
use package::PackageReader;

use crate::{
    answer::Answer,
    request::{HELP, Request, Task},
};

#[cfg(windows)]
fn main() {
    std::process::exit(sys::code(answer()));
}

/// Does what the arguments ask.
fn answer() -> Exit {
    let request = match Request::parse(std::env::args_os().skip(1)) {
        Ok(request) => request,
        Err(error) => {
            let answer = Answer::new(std::env::args_os().any(|argument| argument == "--json"));
            return answer.failed(Exit::Usage, &error);
        }
    };
    let answer = Answer::new(request.json);
    if request.task == Task::Help {
        answer.text(HELP);
        return Exit::Done;
    }
    match open(&answer, &request) {
        Ok(mut package) => run(&answer, &request, &mut package),
        Err(exit) => exit,
    }
}

/// Opens the package in this very file and verifies it whole, before anything else.
fn open(answer: &Answer, request: &Request) -> Result<PackageReader<File>, Exit> {
    let file = sys::own_file().map_err(|error| answer.failed(Exit::Failed, &error))?;
    let mut package = PackageReader::open(file)
        .map_err(|error| answer.failed(answer::of_open(&error), &error))?;
    let mut progress = answer.progress("verifying", request.silent);
    package
        .verify(&mut |done, all| progress.at(done, all))
        .map_err(|error| answer.failed(answer::of_read(&error), &error))?;
    Ok(package)
}

fn run(answer: &Answer, request: &Request, package: &mut PackageReader<File>) -> Exit {
    match &request.task {
        Task::Extract(folder) => extract::run(answer, request, package, folder),
        Task::Install if request.explain => {
            let header = package.header();
            if answer.is_json() {
                answer.value(&serde_json::json!(header));
            } else {
                answer.text(package::explain(header).trim_end());
            }
            Exit::Done
        }
        _ => perform::perform(answer, request, package),
    }
}
