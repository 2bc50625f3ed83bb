use std::time::Duration;

use operate::Exit;
use serde_json::json;
use store::{Found, Point, TrustSettings};

use crate::trust;

use super::{Answer, Authority, Failure, answer::Bar};

/// Look after a distribution point.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  packhorse dp verify /srv/packages")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Read everything, and name what is damaged, missing or needless.
    #[command(
        after_help = "Example:\n  packhorse dp verify /srv/packages --json\n\nExit codes: 0 \
all is well, 1 failed, 2 usage, 5 something is damaged or missing"
    )]
    Verify {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        client: trust::Client,
    },
    /// Mend what is damaged or missing from another distribution point that has it whole.
    #[command(
        after_help = "Example:\n  packhorse dp repair /srv/packages --from https://packages.example/main\n\n\
Exit codes: 0 done, 1 failed, 2 usage, 5 something could not be mended, 9 nothing to do"
    )]
    Repair {
        #[command(flatten)]
        at: At,
        /// Where healthy copies may be; asked in this order.
        #[arg(long, value_name = "URL-OR-DIR", num_args = 1..)]
        from: Vec<String>,
        #[command(flatten)]
        client: trust::Client,
    },
    /// Take away what no release needs: marked by one run, swept by a later one. An index a killed publish left behind is mended.
    #[command(after_help = "Example:\n  packhorse dp collect /srv/packages --grace 604800\n\n\
Exit codes: 0 done, 1 failed, 2 usage, 6 in use, 9 nothing to do")]
    Collect {
        #[command(flatten)]
        at: At,
        /// Seconds between a mark and the sweep: longer than any client takes.
        #[arg(long, value_name = "SECONDS", default_value = "604800")]
        grace: u64,
    },
    /// List packages and their versions.
    #[command(
        after_help = "Example:\n  packhorse dp list /srv/packages\n\nExit codes: 0 done, 1 failed, 2 usage"
    )]
    List(At),
}

#[derive(clap::Args)]
struct At {
    /// The distribution point: a folder, `http(s)://…`, or a bucket (`s3://BUCKET/FOLDER`, `gs://…`, `az://…`).
    #[arg(value_name = "URL-OR-DIR")]
    point: String,
    #[command(flatten)]
    authority: Authority,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Args {
    fn at(&self) -> &At {
        match &self.command {
            Command::List(at)
            | Command::Verify { at, .. }
            | Command::Repair { at, .. }
            | Command::Collect { at, .. } => at,
        }
    }

    pub(crate) fn json(&self) -> bool {
        self.at().json
    }
}

pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let at = args.at();
    let point = at.authority.open(&at.point)?;
    match &args.command {
        Command::Verify { at, client } => verify(&point, client, at.json),
        Command::Repair { at, from, client } => repair(&point, from, client, at),
        Command::Collect { grace, .. } => collect(&point, Duration::from_secs(*grace)),
        Command::List(_) => list(&point),
    }
}

fn word(found: Found) -> &'static str {
    match found {
        Found::Missing => "missing",
        Found::Damaged => "damaged",
        Found::Surplus => "needless",
        Found::Stale => "stale",
        Found::Unsigned => "unsigned",
    }
}

fn verify(point: &Point, client: &trust::Client, json: bool) -> Result<Answer, Failure> {
    let bar = Bar::new(json);
    let mut findings = store::verify(point, &mut |doing, done, of| bar.show(doing, done, of))?;
    drop(bar);
    if let Some(settings) = client.settings()? {
        findings.extend(store::verify_trust(point, &settings)?);
    }
    let mut text: String = findings
        .iter()
        .map(|finding| format!("{}: {}\n", word(finding.found), finding.path))
        .collect();
    let is_bad = findings.iter().any(|finding| finding.found != Found::Surplus);
    if !is_bad {
        text += "all that is needed is there and whole\n";
    }
    let exit = if is_bad { Exit::Damaged } else { Exit::Done };
    Ok(Answer { exit, text, json: json!({ "findings": findings }) })
}

fn repair(
    point: &Point,
    from: &[String],
    client: &trust::Client,
    at: &At,
) -> Result<Answer, Failure> {
    let sources = from.iter().map(|location| at.authority.open(location));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let bar = Bar::new(at.json);
    let findings = store::verify(point, &mut |doing, done, of| bar.show(doing, done, of))?;
    let mut repaired = store::repair(point, &findings, &sources, &mut |doing, done, of| {
        bar.show(doing, done, of);
    })?;
    drop(bar);
    if let Some(settings) = client.settings()? {
        repaired.mended.extend(mend_trust(point, &sources, &settings)?);
    }
    let mut text: String = repaired.mended.iter().map(|path| format!("mended: {path}\n")).collect();
    for finding in &repaired.left {
        text += &format!("{}, and no source has it whole: {}\n", word(finding.found), finding.path);
    }
    let exit = if !repaired.left.is_empty() {
        Exit::Damaged
    } else if repaired.mended.is_empty() {
        text += "nothing to mend\n";
        Exit::Nothing
    } else {
        Exit::Done
    };
    Ok(Answer { exit, text, json: json!(repaired) })
}

/// Trust metadata that is not whole, from the first source where it is.
fn mend_trust(
    point: &Point,
    sources: &[Point],
    settings: &TrustSettings,
) -> Result<Vec<String>, Failure> {
    let is_whole = |findings: Vec<store::Finding>| {
        !findings.iter().any(|finding| finding.path.starts_with("trust/"))
    };
    let refused = match store::verify_trust(point, settings).map(is_whole) {
        Ok(true) => return Ok(Vec::new()),
        Ok(false) => None,
        Err(error) => Some(error),
    };
    let mended = sources.iter().find_map(|from| store::mirror_trust(point, from, settings).ok());
    match (mended, refused) {
        (Some(mended), _) => Ok(mended),
        (None, Some(error)) => Err(error.into()),
        (None, None) => Ok(Vec::new()),
    }
}

fn collect(point: &Point, grace: Duration) -> Result<Answer, Failure> {
    let mended = store::mend_indexes(point)?;
    let collected = store::collect(point, grace)?;
    let mut text: String = mended.iter().map(|path| format!("mended: {path}\n")).collect();
    text += &format!(
        "{} objects with {} bytes swept, {} marked, {} waiting\n",
        collected.swept.len(),
        collected.bytes,
        collected.marked.len(),
        collected.waiting.len(),
    );
    let idle = mended.is_empty() && collected.swept.is_empty() && collected.marked.is_empty();
    let exit = if idle { Exit::Nothing } else { Exit::Done };
    let mut json = json!(collected);
    json["mended"] = json!(mended);
    Ok(Answer { exit, text, json })
}

fn list(point: &Point) -> Result<Answer, Failure> {
    let mut text = String::new();
    let mut all = Vec::new();
    for name in store::names(point)? {
        let index = store::releases(point, &name)?;
        for release in index.iter().flat_map(|index| &index.releases) {
            text += &format!(
                "{name} {} {}: {} files, {} bytes\n",
                release.version, release.architecture, release.totals.files, release.totals.bytes
            );
            all.push(json!({
                "name": name,
                "version": release.version,
                "architecture": release.architecture,
                "identity": release.identity,
                "manifest": release.manifest,
                "files": release.totals.files,
                "bytes": release.totals.bytes,
                "deltas": release.deltas.len(),
            }));
        }
    }
    Ok(Answer { exit: Exit::Done, text, json: json!(all) })
}
