//! `install`, `uninstall`, `rollback`, `verify`, `list`, `recover`: one operation on one machine each.

use std::{
    ffi::OsString,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use model::{PackageName, ReplaceRule};
use operate::{Exit, InstallSettings, Log, Report, Show, Target};
use package::PackageReader;

#[cfg(unix)]
use crate::{
    store::{Authority, Incoming},
    trust::Client,
};

/// What every one of them takes.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// The root folder of the machine to work on.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Show nothing but errors.
    #[arg(long, short)]
    silent: bool,
    /// Answer with one JSON object.
    #[arg(long)]
    json: bool,
    /// Append a line for every message to this file.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Fail with exit code 6 instead of waiting while another installer runs.
    #[arg(long)]
    no_wait: bool,
}

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  packhorse install redis.pack --root /srv/image --set prefix=/srv/redis\n  \
packhorse install redis@7.2.4 --from https://packages.example/main"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Install {
    /// The package or installer; with `--from`, a package's name, and its version if not the newest.
    #[arg(value_name = "FILE-OR-NAME[@VERSION]")]
    package: PathBuf,
    #[cfg(unix)]
    /// Fetch it from this distribution point while it is installed: a folder, `http(s)://…`, or a bucket (`s3://BUCKET/FOLDER`, `gs://…`, `az://…`).
    #[arg(long, value_name = "URL-OR-DIR")]
    from: Option<String>,
    #[cfg(unix)]
    /// What the cache below `/var/cache/packhorse` may hold afterwards, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = ::store::Cache::LIMIT, requires = "from")]
    cache_limit: u64,
    #[cfg(unix)]
    #[command(flatten)]
    client: Client,
    #[cfg(unix)]
    #[command(flatten)]
    authority: Authority,
    /// Give a variable a value.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(Box<str>, String)>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Say what the package does, in plain sentences, and do nothing.
    #[arg(long)]
    explain: bool,
    /// What happens where something is already.
    #[arg(long, value_enum)]
    replace: Option<Replace>,
    /// Let an older version take the place of a newer one.
    #[arg(long)]
    downgrade: bool,
    /// Install the same version once more.
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    common: Common,
    /// Words for the package's own programs: the variable `installer.arguments`.
    #[arg(last = true, value_name = "ARGUMENTS")]
    arguments: Vec<OsString>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Replace {
    /// Never an older version over a newer one.
    Newer,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(clap::Args)]
#[command(after_help = "Example:\n  packhorse uninstall redis --root /srv/image")]
pub(crate) struct Uninstall {
    /// The package's name.
    package: PackageName,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
#[command(after_help = "Example:\n  packhorse rollback redis")]
pub(crate) struct Rollback {
    /// The package's name.
    package: PackageName,
    /// Lose what was changed since in the places that go back.
    #[arg(long)]
    discard_changes: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
#[command(after_help = "Example:\n  packhorse verify redis --json")]
pub(crate) struct Verify {
    /// The package's name.
    package: PackageName,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
#[command(after_help = "Example:\n  packhorse list --json")]
pub(crate) struct List {
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args)]
#[command(after_help = "Example:\n  packhorse recover --root /srv/image")]
pub(crate) struct Recover {
    #[command(flatten)]
    common: Common,
}

fn assignment(text: &str) -> Result<(Box<str>, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.into(), value.to_owned()))
}

/// Installs a package.
pub(crate) fn install(args: Install) -> ExitCode {
    let mut show = Show::new(args.common.silent || args.common.json);
    #[cfg(unix)]
    if let Some(from) = &args.from {
        let incoming = Incoming {
            name: &args.package,
            from,
            cache_limit: args.cache_limit,
            explain: args.explain,
            client: &args.client,
            authority: &args.authority,
        };
        let settings = settings(&args);
        return on_target(&args.common, &mut show, |target, show| {
            crate::store::install(target, &incoming, &settings, show)
        });
    }
    let mut package = match open(&args.package, &mut show) {
        Ok(package) => package,
        Err(report) => return answer(&args.common, report, &mut show),
    };
    if args.explain {
        return answer(&args.common, explained(&package), &mut show);
    }
    let settings = settings(&args);
    on_target(&args.common, &mut show, |target, show| {
        operate::install_package(target, &mut package, &settings, show)
    })
}

fn settings(args: &Install) -> InstallSettings {
    InstallSettings {
        variables: args.set.iter().cloned().collect(),
        replace: args.replace.map(|replace| match replace {
            Replace::Newer => ReplaceRule::Newer,
            Replace::Always => ReplaceRule::Always,
            Replace::Never => ReplaceRule::Never,
        }),
        downgrade: args.downgrade,
        again: args.again,
        arguments: args.arguments.iter().cloned().map(OsString::into_encoded_bytes).collect(),
        dry_run: args.dry_run,
    }
}

/// Takes a package off.
pub(crate) fn uninstall(args: Uninstall) -> ExitCode {
    let mut show = Show::new(args.common.silent || args.common.json);
    on_target(&args.common, &mut show, |target, show| {
        operate::uninstall_package(target, &args.package, show)
    })
}

/// Takes the last change of a package back.
pub(crate) fn roll_back(args: Rollback) -> ExitCode {
    let mut show = Show::new(args.common.silent || args.common.json);
    on_target(&args.common, &mut show, |target, _| {
        operate::roll_back_package(target, &args.package, args.discard_changes)
    })
}

/// Compares a package with its receipt.
pub(crate) fn verify(args: Verify) -> ExitCode {
    let mut show = Show::new(args.common.silent || args.common.json);
    on_target(&args.common, &mut show, |target, _| operate::verify_package(target, &args.package))
}

/// Lists what is installed.
pub(crate) fn list(args: List) -> ExitCode {
    let mut show = Show::new(args.common.silent || args.common.json);
    on_target(&args.common, &mut show, |target, _| operate::list_packages(target))
}

/// Ends what was interrupted.
pub(crate) fn recover(args: Recover) -> ExitCode {
    let mut show = Show::new(args.common.silent || args.common.json);
    on_target(&args.common, &mut show, |target, _| operate::recover_machine(target))
}

#[expect(clippy::result_large_err, reason = "once a run")]
fn open(path: &Path, show: &mut Show) -> Result<PackageReader<File>, Report> {
    let refused = |cause: String| {
        let mut report = Report::new(Exit::Usage, format!("cannot open `{}`", path.display()));
        report.causes.push(cause);
        report
    };
    if path.join("package.toml").is_file() {
        let name = path.display();
        return Err(refused(format!(
            "it is a project: `packhorse compile {name} -o {name}.run` makes a package"
        )));
    }
    let file = File::open(path).map_err(|reason| refused(reason.to_string()))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(refused("it is a folder, and no package file".to_owned()));
    }
    let damaged = |error: &(dyn std::error::Error + 'static)| {
        let of_error = Report::of_error(Exit::Damaged, error);
        let message = format!("cannot use `{}`: {}", path.display(), of_error.message);
        Report { message, ..of_error }
    };
    let mut package = PackageReader::open(file).map_err(|error| damaged(&error))?;
    package
        .verify(&mut |done, total| show.checking(done, total))
        .map_err(|error| damaged(&error))?;
    show.clear();
    Ok(package)
}

fn explained(package: &PackageReader<File>) -> Report {
    let header = package.header();
    let mut report =
        Report::new(Exit::Done, format!("{} {}; nothing was changed", header.name, header.version));
    report.notes = package::explain(header).lines().map(str::to_owned).collect();
    report
}

fn on_target(
    common: &Common,
    show: &mut Show,
    act: impl FnOnce(&mut Target, &mut Show) -> Report,
) -> ExitCode {
    let opened = Target::open(&common.root, !common.no_wait, &mut |waiting| {
        show.message(&format!("{}; waiting for it to end", waiting.sentence()));
    });
    let report = match opened {
        Ok(mut target) => {
            let report = act(&mut target, show);
            report.with_recovered(&target.recovered)
        }
        Err(error) => Report::of_error(error.exit(), &error),
    };
    answer(common, report, show)
}

fn answer(common: &Common, report: Report, show: &mut Show) -> ExitCode {
    show.clear();
    let log = common.log.as_deref().map(Log::to).transpose();
    match log {
        Ok(log) => {
            let mut log = log.unwrap_or_default();
            report.lines().lines().for_each(|line| log.line(line));
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
        }
    }
    let is_good =
        matches!(report.result, Exit::Done | Exit::Leftovers | Exit::Nothing | Exit::Restart);
    let text = report.lines();
    // A reader that went away is no reason to fail.
    let _ = if common.json {
        writeln!(std::io::stdout(), "{}", report.json())
    } else if !is_good {
        write!(std::io::stderr(), "{text}")
    } else if common.silent {
        Ok(())
    } else {
        write!(std::io::stdout(), "{text}")
    };
    report.result.into()
}
