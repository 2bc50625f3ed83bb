//! Installing, uninstalling, rolling back.

use std::{fs::File, process::ExitCode};

use package::PackageReader;

use crate::{
    answer::{Answer, Exit},
    request::Request,
};

/// The part that changes a machine is not in this program.
#[derive(Debug, thiserror::Error)]
#[error("this installer cannot change a machine; `--extract DIR` and `--explain` work")]
struct NotLinked;

/// Does what was asked to the machine. The package is verified.
pub(crate) fn perform(
    answer: &Answer,
    request: &Request,
    package: &mut PackageReader<File>,
) -> ExitCode {
    // Everything a change needs, and all there is of it so far.
    let _ = (&request.log, &request.root, &request.arguments, request.dry_run, package.identity());
    answer.failed(Exit::Failed, &NotLinked)
}
