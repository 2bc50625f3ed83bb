use std::path::PathBuf;

use machine_linux::LinuxMachine;
use model::{PackageName, Version};
use operate::Exit;
use serde_json::json;
use store::{Cache, FetchOptions, Installed};

use super::{Answer, Authority, Failure, answer::Bar, here::Here};
use crate::trust;

/// Fetch a package from a distribution point, with what is on this machine already left out.
///
/// The file it makes is what `packhorse install` takes. Cut off, the same command goes on where it was.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  packhorse fetch redis --from https://packages.example/main\n  \
packhorse fetch redis@7.2.4 --from /srv/packages --have redis-7.2.3.package --explain\n  \
packhorse fetch redis --from https://packages.example/main --trust-root root.json\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 signed by nobody or out of time, 5 damaged or refused at the \
distribution point, 7 no space"
)]
pub(crate) struct Args {
    /// The package, and its version if not the newest.
    #[arg(value_name = "NAME[@VERSION]", value_parser = wanted)]
    package: (PackageName, Option<Version>),
    /// The distribution point: a folder, `http(s)://…`, or a bucket (`s3://BUCKET/FOLDER`, `gs://…`, `az://…`).
    #[arg(long, value_name = "URL-OR-DIR")]
    from: String,
    /// A package file this machine has already, to start from.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    have: Vec<PathBuf>,
    /// Start from what is installed on the machine with this root folder.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The file to write, or a folder [default: `NAME-VERSION.package` here].
    #[arg(short, long, value_name = "FILE-OR-DIR")]
    output: Option<PathBuf>,
    /// Say what would be fetched and why, and fetch nothing.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    client: trust::Client,
    #[command(flatten)]
    authority: Authority,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

pub(super) fn wanted(text: &str) -> Result<(PackageName, Option<Version>), String> {
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(Version::new(version))),
        None => (text, None),
    };
    Ok((PackageName::new(name).map_err(|error| error.to_string())?, version))
}

pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    machine_linux::memory::give_large_buffers_back();
    let point = args.authority.open(&args.from)?;
    let (name, version) = &args.package;
    // A machine that has a cache goes on using it; one that has none gets none.
    let folder = args.root.join(Cache::FOLDER);
    let cache = folder.is_dir().then(|| Cache::open(&folder, Cache::LIMIT).ok()).flatten();
    let options = FetchOptions {
        version: version.clone(),
        have: args.have.clone(),
        cache,
        explain: args.explain,
        trust: args.client.settings()?,
    };
    let bar = Bar::new(args.json);
    let machine = LinuxMachine::new(&args.root).ok();
    let here = machine
        .as_ref()
        .and_then(|machine| Here::find(machine, &install::state_paths(machine).ok()?, name));
    let place = here.as_ref().map(|here| |header: &_, record: &_| here.place(header, record));
    let installed = here
        .as_ref()
        .zip(place.as_ref())
        .map(|(here, place)| Installed { version: here.version.clone(), place });
    let mut wanted = store::wanted(&point, name, &options, installed.as_ref())?;
    let signed = trust::signed(wanted.signed());
    if args.explain {
        let plan = wanted.plan();
        let json = json!({
            "name": name,
            "version": wanted.release().version,
            "bytes": plan.cost().bytes,
            "requests": plan.cost().requests,
            "routes": plan.routes(),
            "signed": signed.json,
        });
        let notes: String = wanted.notes().iter().map(|note| format!("{note}\n")).collect();
        let text = plan.explain() + &signed.text + &notes;
        return Ok(Answer { exit: Exit::Done, text, json });
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
        "signed": signed.json,
    });
    let text = format!(
        "{}: {name} {}, {} bytes received in {} requests\n",
        output.display(),
        wanted.release().version,
        fetched.received,
        fetched.requests,
    ) + &signed.text;
    Ok(Answer { exit: Exit::Done, text, json })
}
