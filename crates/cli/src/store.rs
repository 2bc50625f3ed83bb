//! `packhorse publish`, `fetch`, `dp`: packages into distribution points, and out of them.

pub(crate) mod answer;
mod dp;
mod fetch;
mod here;
mod install;
mod publish;

pub(crate) use dp::Args as Dp;
pub(crate) use fetch::Args as Fetch;
pub(crate) use install::{Incoming, install};
pub(crate) use publish::{Args as Publish, signed_text};

use std::{path::PathBuf, process::ExitCode};

use ::store::Point;

pub(crate) use answer::{Answer, Failure, give};

/// Runs `publish`.
pub(crate) fn publish(args: &Publish) -> ExitCode {
    answer::give(args.json, publish::run(args))
}

/// Runs `fetch`.
pub(crate) fn fetch(args: &Fetch) -> ExitCode {
    answer::give(args.json, fetch::run(args))
}

/// Runs `dp`.
pub(crate) fn dp(args: &Dp) -> ExitCode {
    answer::give(args.json(), dp::run(args))
}

/// Whom a server must show a certificate of.
#[derive(clap::Args)]
pub(crate) struct Authority {
    /// Believe servers whose certificate these authorities signed, too: a file in PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Authority {
    /// Opens a distribution point with the settings the environment has for its service.
    pub(crate) fn open(&self, location: &str) -> Result<Point, Failure> {
        let Some(path) = &self.ca else {
            return Point::open(location, std::env::vars()).map_err(Failure::from);
        };
        let pem = std::fs::read(path).map_err(|error| {
            let text = format!("reading `{}` stopped: {error}", path.display());
            Failure::new(operate::Exit::Usage, text)
        })?;
        Point::open_with_authority(location, std::env::vars(), &pem).map_err(Failure::from)
    }
}
