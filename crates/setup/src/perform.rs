//! Installing, uninstalling, rolling back.

use std::{ffi::OsString, fs::File, io::Write as _, path::Path};

use operate::{Exit, InstallSettings, Log, Report, Show, Target};
use package::PackageReader;

use crate::{
    answer::Answer,
    request::{Request, Task},
};

/// Does what was asked to the machine. The package is verified.
pub(crate) fn perform(
    answer: &Answer,
    request: &Request,
    package: &mut PackageReader<File>,
) -> Exit {
    let mut log = match request.log.as_deref().map(Log::to).transpose() {
        Ok(log) => log.unwrap_or_default(),
        Err(error) => return answer.failed(Exit::Failed, &error),
    };
    let mut show = Show::new(request.silent || request.json);
    let root = request.root.as_deref().unwrap_or(Path::new("/"));
    let opened = Target::open(root, true, &mut |waiting| {
        let sentence = format!("{}; waiting for it to end", waiting.sentence());
        log.line(&sentence);
        show.message(&sentence);
    });
    let report = match opened {
        Ok(mut target) => {
            let report = act(request, package, &mut target, &mut show);
            report.with_recovered(&target.recovered)
        }
        Err(error) => Report::of_error(error.exit(), &error),
    };
    show.clear();
    report.lines().lines().for_each(|line| log.line(line));
    tell(request, &report);
    report.result
}

fn act(
    request: &Request,
    package: &mut PackageReader<File>,
    target: &mut Target,
    show: &mut Show,
) -> Report {
    let name = package.header().name.clone();
    match request.task {
        Task::Uninstall => operate::uninstall_package(target, &name, show),
        Task::Rollback => operate::roll_back_package(target, &name, false),
        Task::Install | Task::Extract(_) | Task::Help => {
            let variables = request.variables.iter();
            let settings = InstallSettings {
                variables: variables
                    .map(|(name, value)| (name.as_str().into(), value.clone()))
                    .collect(),
                arguments: request
                    .arguments
                    .iter()
                    .cloned()
                    .map(OsString::into_encoded_bytes)
                    .collect(),
                dry_run: request.dry_run,
                ..InstallSettings::default()
            };
            operate::install_package(target, package, &settings, show)
        }
    }
}

fn tell(request: &Request, report: &Report) {
    let is_good =
        matches!(report.result, Exit::Done | Exit::Leftovers | Exit::Nothing | Exit::Restart);
    // A reader that went away is no reason to fail.
    let _ = if request.json {
        writeln!(std::io::stdout(), "{}", report.json())
    } else if !is_good {
        write!(std::io::stderr(), "{}", report.lines())
    } else if request.silent {
        Ok(())
    } else {
        write!(std::io::stdout(), "{}", report.lines())
    };
}
