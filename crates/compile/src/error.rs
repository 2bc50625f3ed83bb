use std::{io, path::PathBuf};

use package::WriteError;
use script::Problem;

/// A project that does not compile. No output file is left, and an older one stays.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A file of the project cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `package.toml` or `files.meta` says what cannot be.
    #[error("`{}` has {} {}: {}", path.display(), problems.len(), if problems.len() == 1 { "error" } else { "errors" }, list(problems))]
    Script {
        /// The file.
        path: PathBuf,
        /// Its text, for messages that show it.
        text: String,
        /// What is wrong with it.
        problems: Vec<Problem>,
    },
    /// What a step installs is not in the project.
    #[error("step {step} installs `{path}`, which is not in the project: {reason}")]
    Missing {
        /// The step, from 1.
        step: usize,
        /// The path below the project folder, escaped.
        path: String,
        /// What is there instead.
        reason: String,
    },
    /// A payload file is not what `files.meta` says, or nothing a package can carry.
    #[error("`{path}` {reason}")]
    Payload {
        /// The path below the project folder, escaped.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A pattern that is none.
    #[error("step {step} has the pattern `{pattern}`: {reason}")]
    Pattern {
        /// The step, from 1.
        step: usize,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The output cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The output.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What should be exported is no whole package.
    #[error("`{}` is no whole package", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The package is not exported.
    #[error(transparent)]
    Export(#[from] native::ExportError),
    /// The program in front of Windows installers is missing.
    #[error(
        "this packhorse was built without the Windows installer: run `cargo xtask windows` and build it again"
    )]
    NoStub,
    /// A version or an icon does not go into it.
    #[error("the installer takes no version and icon: {reason}")]
    Resources {
        /// Why.
        reason: String,
    },
    /// The package cannot be written.
    #[error(transparent)]
    Package(#[from] WriteError),
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().take(5).map(ToString::to_string).collect();
    lines.join("; ")
}
