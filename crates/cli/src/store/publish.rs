use std::{path::PathBuf, time::Duration};

use model::Version;
use operate::Exit;
use serde_json::json;
use store::PublishOptions;

use super::{Answer, Failure, answer::Bar, open};

/// Publish a package: into a folder or share, or an S3-compatible bucket, from where clients fetch it.
///
/// Readers see the release whole or not at all. Interrupted, the same command goes on with what is there.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  packhorse publish redis-7.2.4.package --to /srv/packages\n  \
packhorse publish redis-7.2.4.package --to s3://packages/main --base 7.2.3\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 the version is taken, 5 damaged package, 6 in use, 7 no \
space, 9 it was there already")]
pub(crate) struct Args {
    /// The package, or an installer.
    package: PathBuf,
    /// The distribution point: a folder, or `s3://BUCKET/FOLDER`.
    #[arg(long, value_name = "URL-OR-DIR")]
    to: String,
    /// Make deltas from these versions [default: the last three].
    #[arg(long, value_name = "VERSION", num_args = 1..)]
    base: Option<Vec<String>>,
    /// Make no deltas.
    #[arg(long, conflicts_with = "base")]
    no_base: bool,
    /// Seconds making deltas may take; after that the next best is kept.
    #[arg(long, value_name = "SECONDS")]
    budget: Option<u64>,
    /// Replace other content published under the same version.
    #[arg(long)]
    replace: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let point = open(&args.to)?;
    let named = args.base.as_ref().map(|bases| bases.iter().map(|base| Version::new(&**base)));
    let bases = if args.no_base { Some(Vec::new()) } else { named.map(Iterator::collect) };
    let options = PublishOptions {
        bases,
        budget: args.budget.map(Duration::from_secs),
        replace: args.replace,
        ..PublishOptions::default()
    };
    let bar = Bar::new(args.json);
    let published = store::publish(&point, &args.package, &options, &mut |doing, done, of| {
        bar.show(doing, done, of);
    })?;
    drop(bar);
    let release = &published.release;
    let deltas = release
        .deltas
        .iter()
        .map(|delta| json!({ "base": delta.base, "bytes": delta.object.length }));
    let json = json!({
        "version": release.version,
        "identity": release.identity,
        "manifest": release.manifest,
        "written-bytes": published.written,
        "already": published.already,
        "deltas": deltas.collect::<Vec<_>>(),
    });
    let mut text = if published.already {
        format!("version {} is there already\n", release.version)
    } else {
        format!("version {} published, {} bytes written\n", release.version, published.written)
    };
    for delta in &release.deltas {
        text += &format!("delta of {} bytes from {}\n", delta.object.length, delta.base);
    }
    let exit = if published.already { Exit::Nothing } else { Exit::Done };
    Ok(Answer { exit, text, json })
}
