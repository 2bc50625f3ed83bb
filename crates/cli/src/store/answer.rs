use std::{error::Error, process::ExitCode};

use indicatif::{ProgressBar, ProgressStyle};
use operate::Exit;
use store::{FetchError, OpenPointError, PointError, PublishError};

/// What a command says, to people and to programs.
pub(crate) struct Answer {
    pub(crate) exit: Exit,
    pub(crate) text: String,
    pub(crate) json: serde_json::Value,
}

/// Why a command did not do it.
pub(crate) struct Failure {
    exit: Exit,
    error: Box<dyn Error>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Error + 'static) -> Self {
        Self { exit, error: Box::new(error) }
    }
}

impl From<OpenPointError> for Failure {
    fn from(error: OpenPointError) -> Self {
        let exit = match &error {
            OpenPointError::Location { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Self { exit, error: Box::new(error) }
    }
}

impl From<PointError> for Failure {
    fn from(error: PointError) -> Self {
        Self { exit: of_point(&error), error: Box::new(error) }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let exit = match &error {
            PublishError::Point(error) => of_point(error),
            PublishError::Open { source: package::OpenError::Damaged(_), .. } => Exit::Damaged,
            PublishError::Read { source, .. } if source.is_damage() => Exit::Damaged,
            PublishError::Taken { .. } => Exit::Decision,
            PublishError::NoBase { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        Self { exit, error: Box::new(error) }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        let exit = match &error {
            FetchError::Point(error) => of_point(error),
            FetchError::NotTheRelease { .. } => Exit::Damaged,
            _ => Exit::Failed,
        };
        Self { exit, error: Box::new(error) }
    }
}

fn of_point(error: &PointError) -> Exit {
    match error {
        PointError::Damaged { .. } | PointError::Index { .. } => Exit::Damaged,
        PointError::InUse { .. } => Exit::InUse,
        PointError::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Exit::NoSpace
        }
        _ => Exit::Failed,
    }
}

/// Prints an answer or what stood in its way.
#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn give(json: bool, result: Result<Answer, Failure>) -> ExitCode {
    match result {
        Ok(answer) => {
            if json {
                println!("{}", answer.json);
            } else {
                print!("{}", answer.text);
            }
            answer.exit.into()
        }
        Err(failure) => {
            let mut sentence = failure.error.to_string();
            let mut cause = failure.error.source();
            while let Some(next) = cause {
                sentence += &format!(": {next}");
                cause = next.source();
            }
            if json {
                println!("{}", serde_json::json!({ "exit": failure.exit, "error": sentence }));
            } else {
                eprintln!("packhorse: {sentence}");
            }
            failure.exit.into()
        }
    }
}

/// A bar on a terminal, nothing elsewhere.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(hidden: bool) -> Self {
        let bar = if hidden { ProgressBar::hidden() } else { ProgressBar::new(0) };
        bar.set_style(
            ProgressStyle::with_template("{msg} {bar:40} {bytes}/{total_bytes} {bytes_per_sec}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Self(bar)
    }

    pub(crate) fn show(&self, doing: &str, done: u64, of: u64) {
        if self.0.message() != doing {
            self.0.set_message(doing.to_owned());
        }
        self.0.set_length(of);
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
