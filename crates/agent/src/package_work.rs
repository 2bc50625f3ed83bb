//! What is run where a deployment is about a package: the same engine as `packhorse install`, in a process of its own.

use std::{
    error::Error,
    fs::File,
    num::NonZero,
    path::{Path, PathBuf},
};

use change::{Observe, Paths};
use jiff::Timestamp;
use model::{Hash, MachinePath, PackageName, Version};
use operate::{Exit, InstallSettings, LocalMachine, Report, Show, Target};
use package::{Header, PackageReader, Record};
use store::{Cache, FetchOptions, Installed, Point, Ready, TrustSettings, Wanted, is_folder};

use crate::{
    by_hand::ANY, caller::Content, content::Watched, nearest::Distance, order, platform::machine,
};

/// What is to be done with a package.
#[derive(clap::Args)]
pub(crate) struct PackageWork {
    /// `install`, `uninstall` or `repair`.
    what: String,
    package: PackageName,
    version: String,
    identity: Hash,
    #[arg(long)]
    root: PathBuf,
    #[arg(long)]
    point: Vec<String>,
    #[arg(long)]
    cache_limit: u64,
    /// Bytes per second.
    #[arg(long)]
    rate: Option<NonZero<u64>>,
}

/// Does it, and says what came of it.
pub(crate) fn run(work: &PackageWork) -> Report {
    let mut show = Show::new(true);
    let mut target = match Target::open(&work.root, true, &mut |_| {}) {
        Ok(target) => target,
        Err(error) => return Report::of_error(error.exit(), &error),
    };
    let report = if work.what == "uninstall" {
        operate::uninstall_package(&mut target, &work.package, &mut show)
    } else {
        install(&mut target, work, &mut show)
    };
    report.with_recovered(&target.recovered)
}

/// From the nearest point that has it. What one point cannot give, the next is asked for.
fn install(target: &mut Target, work: &PackageWork, show: &mut Show) -> Report {
    let mut last = Report::new(Exit::Failed, "no distribution point is known");
    let mut notes = Vec::new();
    let content = Content::new(order::reach());
    for (location, distance) in content.nearest(&work.point) {
        match from_point(target, work, &location, &content, show) {
            Ok(mut report) => {
                notes.push(match distance {
                    Distance::Away(time) => {
                        format!("from `{location}`, {:.1} ms away", time.as_secs_f64() * 1e3)
                    }
                    Distance::Silent | Distance::Unknown => format!("from `{location}`"),
                });
                report.notes.splice(0..0, notes);
                return report;
            }
            Err(report) => {
                notes.push(format!("`{location}`: {}", sentence(&report)));
                last = *report;
            }
        }
    }
    // The last one says it itself.
    notes.pop();
    last.notes.splice(0..0, notes);
    last
}

fn sentence(report: &Report) -> String {
    let words = std::iter::once(&report.message).chain(&report.causes);
    words.map(String::as_str).collect::<Vec<_>>().join(": ")
}

/// What came of it where another point may do better.
type Failure = Box<Report>;

fn failed<E: Error + 'static>(error: E) -> Failure {
    Box::new(Report::of_error(Exit::Failed, &error))
}

fn damaged<E: Error + 'static>(error: E) -> Failure {
    Box::new(Report::of_error(Exit::Damaged, &error))
}

fn from_point(
    target: &mut Target,
    work: &PackageWork,
    location: &str,
    content: &Content,
    show: &mut Show,
) -> Result<Report, Failure> {
    // Opening a point makes the folder of one that is to be published to. One to read from is there, or not mounted.
    if is_folder(location) && !Path::new(location.trim_start_matches("file://")).is_dir() {
        let text = format!("the distribution point `{location}` is not there");
        return Err(Box::new(Report::new(Exit::Failed, text)));
    }
    let opened =
        if is_folder(location) { Point::open(location, []) } else { content.point(location) };
    let point = opened.map_err(failed)?.with_rate(work.rate);
    let folder = machine::cache(&target.machine);
    let cache = Cache::open(&folder, work.cache_limit).map_err(failed)?;
    let options = FetchOptions {
        version: Some(Version::new(work.version.as_str()))
            .filter(|version| !version.as_str().is_empty()),
        cache: Some(cache),
        trust: trust(&work.root).map_err(failed)?,
        ..FetchOptions::default()
    };
    let mut wanted = {
        let here = Here::find(&target.machine, &target.paths, &work.package);
        let place = here.as_ref().map(|here| |header: &_, record: &_| here.place(header, record));
        let installed = here
            .as_ref()
            .zip(place.as_ref())
            .map(|(here, place)| Installed { version: here.version.clone(), place });
        store::wanted(&point, &work.package, &options, installed.as_ref()).map_err(failed)?
    };
    let identity = wanted.release().identity;
    if work.identity != ANY && identity != work.identity {
        let text = format!(
            "`{location}` has another {} {} than was deployed: {identity} instead of {}",
            work.package, work.version, work.identity
        );
        return Err(Box::new(Report::new(Exit::Damaged, text)));
    }
    // What is older than what is here was deployed all the same.
    let again = work.what == "repair";
    let settings = InstallSettings { downgrade: true, again, ..InstallSettings::default() };
    let mut report = perform(target, &mut wanted, &settings, show)?;
    let came = wanted.counted();
    report.notes.push(format!("{} bytes received in {} requests", came.bytes, came.requests));
    report.notes.extend(wanted.notes());
    if is_there(report.result) {
        // What stays in the cache is no reason to have failed.
        if let Err(error) = wanted.tidy() {
            report.notes.push(error.to_string());
        }
    }
    Ok(report)
}

fn is_there(exit: Exit) -> bool {
    matches!(exit, Exit::Done | Exit::Restart | Exit::Leftovers | Exit::Nothing)
}

fn perform(
    target: &mut Target,
    wanted: &mut Wanted<'_>,
    settings: &InstallSettings,
    show: &mut Show,
) -> Result<Report, Failure> {
    match wanted.ready().map_err(failed)? {
        Ready::Streamed(assembly) => {
            let mut watched = Watched::new(assembly);
            let report = operate::install_payload(target, &mut watched, settings, show);
            let is_contents = watched.has_failed() && !is_there(report.result);
            if is_contents { Err(Box::new(report)) } else { Ok(report) }
        }
        Ready::File(path) => {
            let file = File::open(&path).map_err(failed)?;
            let mut package = PackageReader::open(file).map_err(damaged)?;
            package.verify(&mut |_, _| {}).map_err(damaged)?;
            Ok(operate::install_package(target, &mut package, settings, show))
        }
    }
}

/// Whom this machine believes: the root it pinned. One that cannot be read is no reason to believe anybody.
fn trust(root: &Path) -> std::io::Result<Option<TrustSettings>> {
    let [pinned, state] = machine::trust(root);
    let pinned = crate::durable::read(&pinned)?;
    Ok(pinned.map(|pinned| TrustSettings {
        root: pinned,
        state: Some(state),
        now: Timestamp::now(),
    }))
}

/// What is installed, as a fetch starts from it.
struct Here<'m> {
    machine: &'m LocalMachine,
    version: Version,
    variables: std::collections::BTreeMap<Box<str>, String>,
}

impl<'m> Here<'m> {
    /// Finds it. Receipts that cannot be read are no reason not to fetch all of it.
    fn find(machine: &'m LocalMachine, paths: &Paths, name: &PackageName) -> Option<Self> {
        let (all, _) = install::installed(machine as &dyn Observe, paths).ok()?;
        let header = all.into_iter().find(|one| one.receipt.header.name == *name)?.receipt.header;
        Some(Self { machine, version: header.version, variables: header.variables })
    }

    /// Where the file of a record is.
    fn place(&self, header: &Header, record: &Record) -> Option<PathBuf> {
        let tree = header.trees.get(usize::try_from(record.tree).ok()?)?;
        let root = tree.to.expand(|name| self.variables.get(name).map(String::as_str)).ok()?;
        let root = MachinePath::new(root).ok()?;
        let path = if record.path.is_empty() { root } else { root.join(&record.path).ok()? };
        machine::host(self.machine, &path)
    }
}
