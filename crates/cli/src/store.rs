//! `packhorse publish`, `fetch`, `dp`: packages into distribution points, and out of them.

pub(crate) mod answer;
mod dp;
mod fetch;
mod publish;

pub(crate) use dp::Args as Dp;
pub(crate) use fetch::Args as Fetch;
pub(crate) use publish::Args as Publish;

use std::{path::Path, process::ExitCode};

use ::store::Point;

pub(crate) use answer::{Answer, Failure};

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

/// Opens a distribution point with the settings the environment has for its service.
pub(crate) fn open(location: &str) -> Result<Point, Failure> {
    let Some(path) = std::env::var_os("PACKHORSE_CA") else {
        return Point::open(location, std::env::vars()).map_err(Failure::from);
    };
    open_with(location, path.as_ref())
}

/// Opens a distribution point whose certificate an authority of the house signed.
pub(crate) fn open_with(location: &str, authority: &Path) -> Result<Point, Failure> {
    let pem = std::fs::read(authority).map_err(|error| {
        let text = format!("reading `{}` stopped: {error}", authority.display());
        Failure::new(operate::Exit::Usage, text)
    })?;
    Point::open_with_authority(location, std::env::vars(), &pem).map_err(Failure::from)
}
