use std::path::PathBuf;

use model::{PackageName, Version};
use operate::Exit;
use serde_json::json;
use store::FetchOptions;

use super::{Answer, Failure, answer::Bar, open};

/// Fetch a package from a distribution point, with what is on this machine already left out.
///
/// The file it makes is what `packhorse install` takes. Cut off, the same command goes on where it was.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  packhorse fetch redis --from https://packages.example/main\n  \
packhorse fetch redis@7.2.4 --from /srv/packages --have redis-7.2.3.package --explain\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 5 damaged at the distribution point, 7 no space"
)]
pub(crate) struct Args {
    /// The package, and its version if not the newest.
    #[arg(value_name = "NAME[@VERSION]", value_parser = wanted)]
    package: (PackageName, Option<Version>),
    /// The distribution point: a folder, `http(s)://…`, or `s3://BUCKET/FOLDER`.
    #[arg(long, value_name = "URL-OR-DIR")]
    from: String,
    /// A package file this machine has already, to start from.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    have: Vec<PathBuf>,
    /// The file to write, or a folder [default: `NAME-VERSION.package` here].
    #[arg(short, long, value_name = "FILE-OR-DIR")]
    output: Option<PathBuf>,
    /// Say what would be fetched and why, and fetch nothing.
    #[arg(long)]
    explain: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn wanted(text: &str) -> Result<(PackageName, Option<Version>), String> {
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(Version::new(version))),
        None => (text, None),
    };
    Ok((PackageName::new(name).map_err(|error| error.to_string())?, version))
}

pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let point = open(&args.from)?;
    let (name, version) = &args.package;
    let options = FetchOptions { version: version.clone(), have: args.have.clone() };
    let bar = Bar::new(args.json);
    let wanted = store::wanted(&point, name, &options)?;
    let plan = wanted.plan();
    if args.explain {
        let json = json!({
            "name": name,
            "version": wanted.release().version,
            "bytes": plan.cost().bytes,
            "requests": plan.cost().requests,
            "routes": plan.routes(),
        });
        return Ok(Answer { exit: Exit::Done, text: plan.explain(), json });
    }
    let file = format!("{name}-{}.package", wanted.release().version);
    let output = match &args.output {
        Some(output) if output.is_dir() => output.join(file),
        Some(output) => output.clone(),
        None => PathBuf::from(file),
    };
    let fetched = wanted.fetch(&output, &mut |doing, done, of| bar.show(doing, done, of))?;
    drop(bar);
    let json = json!({
        "file": output,
        "name": name,
        "version": wanted.release().version,
        "identity": wanted.release().identity,
        "received-bytes": fetched.received,
        "requests": fetched.requests,
        "routes": fetched.routes,
    });
    let text = format!(
        "{}: {name} {}, {} bytes received in {} requests\n",
        output.display(),
        wanted.release().version,
        fetched.received,
        fetched.requests,
    );
    Ok(Answer { exit: Exit::Done, text, json })
}
