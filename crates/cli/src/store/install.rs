use std::{error::Error, fs::File, path::Path};

use operate::{Exit, InstallSettings, Report, Show, Target};
use package::PackageReader;
use store::{Cache, FetchError, FetchOptions, Installed, Ready, Wanted};

use super::{Authority, Failure, fetch::wanted, here::Here};
use crate::trust::Client;

/// A package that is installed from a distribution point.
pub(crate) struct Incoming<'a> {
    pub(crate) name: &'a Path,
    pub(crate) from: &'a str,
    pub(crate) cache_limit: u64,
    pub(crate) explain: bool,
    pub(crate) client: &'a Client,
    pub(crate) authority: &'a Authority,
}

/// Installs a package while it comes from a distribution point.
pub(crate) fn install(
    target: &mut Target,
    incoming: &Incoming<'_>,
    settings: &InstallSettings,
    show: &mut Show,
) -> Report {
    machine_linux::memory::give_large_buffers_back();
    match from_point(target, incoming, settings, show) {
        Ok(report) => report,
        Err(failure) => {
            let (exit, error) = failure.into_parts();
            Report::of_error(exit, &*error as &(dyn Error + 'static))
        }
    }
}

fn from_point(
    target: &mut Target,
    incoming: &Incoming<'_>,
    settings: &InstallSettings,
    show: &mut Show,
) -> Result<Report, Failure> {
    let Some((name, version)) = incoming.name.to_str().and_then(|name| wanted(name).ok()) else {
        let message = format!("`{}` is no NAME[@VERSION]", incoming.name.display());
        return Ok(Report::new(Exit::Usage, message));
    };
    let point = incoming.authority.open(incoming.from)?;
    // Whoever only asks leaves nothing behind.
    let asking = incoming.explain || settings.dry_run;
    let temporary = asking.then(tempfile::tempdir).transpose().map_err(|error| {
        let folder = std::env::temp_dir();
        Failure::new(Exit::Failed, format!("making a folder in `{}`: {error}", folder.display()))
    })?;
    let folder = match &temporary {
        Some(folder) => folder.path().to_owned(),
        None => target.machine.root().join(Cache::FOLDER),
    };
    let cache = Cache::open(&folder, incoming.cache_limit)?;
    let options = FetchOptions {
        version,
        cache: Some(cache),
        explain: incoming.explain,
        trust: incoming.client.settings()?,
        ..FetchOptions::default()
    };
    let mut wanted = {
        let here = Here::find(&target.machine, &target.paths, &name);
        let place = here.as_ref().map(|here| |header: &_, record: &_| here.place(header, record));
        let installed = here
            .as_ref()
            .zip(place.as_ref())
            .map(|(here, place)| Installed { version: here.version.clone(), place });
        store::wanted(&point, &name, &options, installed.as_ref())?
    };
    if incoming.explain {
        let message = format!("{name} {}; nothing was fetched", wanted.release().version);
        let mut report = Report::new(Exit::Done, message);
        report.notes = wanted.plan().explain().lines().map(str::to_owned).collect();
        report.notes.extend(wanted.notes());
        return Ok(report);
    }
    let mut report = perform(target, &mut wanted, settings, show)?;
    let came = wanted.counted();
    report.notes.push(format!("{} bytes received in {} requests", came.bytes, came.requests));
    report.notes.extend(wanted.notes());
    let is_done =
        matches!(report.result, Exit::Done | Exit::Restart | Exit::Leftovers | Exit::Nothing);
    if is_done {
        wanted.tidy()?;
    }
    Ok(report)
}

fn perform(
    target: &mut Target,
    wanted: &mut Wanted<'_>,
    settings: &InstallSettings,
    show: &mut Show,
) -> Result<Report, FetchError> {
    match wanted.ready()? {
        Ready::Streamed(assembly) => Ok(operate::install_payload(target, assembly, settings, show)),
        Ready::File(path) => {
            let damaged = |error: &(dyn Error + 'static)| Report::of_error(Exit::Damaged, error);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) => return Ok(Report::of_error(Exit::Failed, &error)),
            };
            let mut package = match PackageReader::open(file) {
                Ok(package) => package,
                Err(error) => return Ok(damaged(&error)),
            };
            if let Err(error) = package.verify(&mut |done, of| show.checking(done, of)) {
                return Ok(damaged(&error));
            }
            show.clear();
            Ok(operate::install_package(target, &mut package, settings, show))
        }
    }
}
