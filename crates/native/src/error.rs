use std::{fmt, io};

use package::ReadError;

/// Something about one step, or about the whole package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The step, from 1; `None` for the package.
    pub step: Option<usize>,
    /// What there is to say.
    pub text: String,
}

/// A package that is not exported; what was written so far is worth nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The package system cannot carry what it does.
    #[error("`{package}` cannot become a {kind}: {}", list(refusals))]
    Refused {
        /// The package.
        package: String,
        /// What it should become, `.deb`.
        kind: &'static str,
        /// Why, step by step.
        refusals: Vec<Remark>,
    },
    /// The package cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The output or the spool takes no more.
    #[error("writing the {kind} stopped")]
    Write {
        /// What was written, `.deb`.
        kind: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ExportError {
    /// An error of an output that was fed from the package.
    pub(crate) fn io(kind: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| match error.downcast::<ReadError>() {
            Ok(read) => Self::Read(read),
            Err(source) => Self::Write { kind, source },
        }
    }
}

impl Remark {
    pub(crate) fn new(step: impl Into<Option<usize>>, text: impl Into<String>) -> Self {
        Self { step: step.into(), text: text.into() }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => write!(f, "step {step}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

fn list(refusals: &[Remark]) -> String {
    let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    all.join("; ")
}
