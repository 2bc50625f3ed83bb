//! `packhorse publish`, `fetch`, `dp`: packages into distribution points, and out of them.

mod answer;
mod dp;
mod fetch;
mod publish;

pub(crate) use dp::Args as Dp;
pub(crate) use fetch::Args as Fetch;
pub(crate) use publish::Args as Publish;

use std::process::ExitCode;

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

/// Opens a distribution point with the settings the environment has for its service.
fn open(location: &str) -> Result<Point, Failure> {
    Point::open(location, std::env::vars()).map_err(Failure::from)
}
