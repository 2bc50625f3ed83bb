use std::{error::Error, process::ExitCode};

use indicatif::{ProgressBar, ProgressStyle};
use operate::Exit;
use store::{
    AssembleError, FetchError, OpenPointError, PointError, PublishError, SignError, TrustError,
};
use trust::{EditError, FinishError, Refusal};

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
    pub(crate) fn new(exit: Exit, error: impl Into<Box<dyn Error>>) -> Self {
        Self { exit, error: error.into() }
    }

    /// The exit code, and what stood in the way.
    pub(crate) fn into_parts(self) -> (Exit, Box<dyn Error>) {
        (self.exit, self.error)
    }
}

impl From<TrustError> for Failure {
    fn from(error: TrustError) -> Self {
        Self { exit: of_trust(&error), error: Box::new(error) }
    }
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Self {
        Self { exit: of_signing(&error), error: Box::new(error) }
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        SignError::from(error).into()
    }
}

impl From<FinishError> for Failure {
    fn from(error: FinishError) -> Self {
        SignError::from(error).into()
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
            PublishError::Sign(error) => of_signing(error),
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
            FetchError::Trust(error) => of_trust(error),
            FetchError::NotTheRelease { .. }
            | FetchError::Manifest { .. }
            | FetchError::Assemble(AssembleError::Damaged { .. }) => Exit::Damaged,
            FetchError::Point(error) | FetchError::Assemble(AssembleError::Point(error)) => {
                of_point(error)
            }
            _ => Exit::Failed,
        };
        Self { exit, error: Box::new(error) }
    }
}

fn of_trust(error: &TrustError) -> Exit {
    match error {
        TrustError::Point(error) => of_point(error),
        // Nothing is damaged: somebody has to sign again.
        TrustError::Refused(Refusal::Expired { .. } | Refusal::Unsigned { .. }) => Exit::Decision,
        TrustError::Refused(Refusal::Pinned { .. }) => Exit::Usage,
        TrustError::Refused(_) => Exit::Damaged,
        TrustError::State { .. } => Exit::Failed,
    }
}

fn of_signing(error: &SignError) -> Exit {
    match error {
        SignError::Trust(error) => of_trust(error),
        SignError::Edit(
            EditError::Refused(Refusal::NotItsName { .. }) | EditError::NoRole { .. },
        )
        | SignError::Finish(FinishError::Keys { .. }) => Exit::Decision,
        SignError::Edit(EditError::Refused(_)) => Exit::Damaged,
        SignError::Edit(_) => Exit::Usage,
        SignError::Finish(_) => Exit::Failed,
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
            let sentence = model::with_causes(&*failure.error);
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
