//! `packhorse compile`: a project folder becomes an installer, a package, a .deb, an .rpm or an .msi.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use compile::{CompileError, Compiled, Destination, Format, Options, Target};
use indicatif::{ProgressBar, ProgressStyle};
use miette::Diagnostic;
use model::Time;
use native::{Exported, System};
use package::Settings;

/// Compile a project folder into one file: an installer that runs by itself, the package alone, a .deb, an
/// .rpm or an .msi.
///
/// The same project makes the same bytes. Files without a time in `files.meta` get the one of
/// `SOURCE_DATE_EPOCH`, or 1980-01-01 where that is not set.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  packhorse compile redis -o redis-7.2.4.run\n  packhorse compile redis --format deb\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage"
)]
pub(crate) struct Args {
    /// The project folder: `package.toml`, `files/`, `files.meta`.
    folder: PathBuf,
    /// The file to write [default: in the current folder, by the name such files have].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What an installer runs on; Linux when unsaid.
    #[arg(long, value_enum)]
    target: Option<TargetName>,
    /// What to write.
    #[arg(long, value_enum, default_value = "installer")]
    format: FormatName,
    /// How hard to pack: 1 is quick, 22 is small.
    #[arg(long, value_name = "N", default_value = "19", value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Pack quickly; for trying a script out.
    #[arg(long, conflicts_with = "level")]
    fast: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum TargetName {
    /// x86-64 Linux.
    Linux,
    /// x86-64 Windows.
    Windows,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FormatName {
    /// A program that installs.
    Installer,
    /// The package alone.
    Package,
    /// For dpkg and apt, without our agent.
    Deb,
    /// For rpm and dnf, without our agent.
    Rpm,
    /// For Windows Installer, without our agent.
    Msi,
}

/// What another package system takes.
#[derive(Clone, Copy)]
enum Native {
    System(System),
    Msi,
}

/// Runs the command; `epoch` is the value of `SOURCE_DATE_EPOCH`.
pub(crate) fn run(args: &Args, epoch: Option<&str>) -> ExitCode {
    match compile_project(args, epoch) {
        Ok((output, compiled, exported)) => {
            report(args, &output, &compiled, exported.as_ref());
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(args, &error);
            ExitCode::from(if matches!(error, CompileCommandError::Compile(_)) { 1 } else { 2 })
        }
    }
}

/// A compilation that did not happen.
#[derive(Debug, thiserror::Error)]
enum CompileCommandError {
    #[error("SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds since 1970")]
    Epoch { text: String },
    #[error("an {format} is not for {target}: leave `--target` out")]
    Target { format: &'static str, target: &'static str },
    #[error(transparent)]
    Compile(#[from] CompileError),
}

fn compile_project(
    args: &Args,
    epoch: Option<&str>,
) -> Result<(PathBuf, Compiled, Option<Exported>), CompileCommandError> {
    let seconds = match epoch {
        Some(text) => {
            text.trim().parse().map_err(|_| CompileCommandError::Epoch { text: text.to_owned() })?
        }
        None => 315_532_800,
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let target = match args.target {
        Some(TargetName::Linux) if matches!(args.format, FormatName::Msi) => {
            return Err(CompileCommandError::Target { format: ".msi", target: "Linux" });
        }
        Some(TargetName::Windows) => Target::Windows,
        Some(TargetName::Linux) | None => Target::Linux,
    };
    let (format, suffix, native) = match args.format {
        FormatName::Installer if target == Target::Windows => (Format::Installer, "exe", None),
        FormatName::Installer => (Format::Installer, "run", None),
        FormatName::Package => (Format::Package, "package", None),
        FormatName::Deb => (Format::Package, "deb", Some(Native::System(System::Deb))),
        FormatName::Rpm => (Format::Package, "rpm", Some(Native::System(System::Rpm))),
        FormatName::Msi => (Format::Package, "msi", Some(Native::Msi)),
    };
    let settings = if args.fast {
        Settings::fast(workers)
    } else {
        let packed = match args.format {
            FormatName::Package => Settings::shared(workers),
            _ => Settings::small(workers),
        };
        Settings { level: args.level, ..packed }
    };
    let options = Options { format, target, settings, time: Time { seconds, nanoseconds: 0 } };
    if let Some(native) = native {
        return export_project(args, native, &options);
    }
    let output = match &args.output {
        Some(output) => output.clone(),
        None => PathBuf::from(format!("{}.{suffix}", compile::full_name(&args.folder)?)),
    };
    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.set_style(
        ProgressStyle::with_template("{spinner} compiling: {bytes} read, {bytes_per_sec}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner()),
    );
    let compiled =
        compile::compile(&args.folder, &output, &options, &mut |done| bar.set_position(done));
    bar.finish_and_clear();
    Ok((output, compiled?, None))
}

/// By way of the package, which is gone afterwards.
fn export_project(
    args: &Args,
    native: Native,
    options: &Options,
) -> Result<(PathBuf, Compiled, Option<Exported>), CompileCommandError> {
    let destination = match &args.output {
        Some(output) => Destination::File(output.clone()),
        None => Destination::Folder(PathBuf::from(".")),
    };
    let beside = match args.output.as_deref().and_then(Path::parent) {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let folder = tempfile::Builder::new()
        .prefix(".packhorse-")
        .tempdir_in(beside)
        .map_err(|source| CompileError::Write { path: beside.to_owned(), source })?;
    let package = folder.path().join("package");
    // It is unpacked again at once.
    let quick = package::Settings::fast(options.settings.workers);
    let options = Options { settings: quick, ..*options };
    let compiled = compile::compile(&args.folder, &package, &options, &mut |_| {})?;
    let (output, exported) = match native {
        Native::System(system) => {
            compile::export(&package, &destination, system, native_settings(args))?
        }
        Native::Msi => compile::export_msi(&package, &destination)?,
    };
    Ok((output, compiled, Some(exported)))
}

fn native_settings(args: &Args) -> native::Settings {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let level = if args.fast { 1 } else { u32::try_from(args.level).unwrap_or(19) };
    native::Settings { level, workers: u32::try_from(workers).unwrap_or(1) }
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn report(args: &Args, output: &Path, compiled: &Compiled, exported: Option<&Exported>) {
    let written = &compiled.written;
    let remarks: Vec<String> =
        exported.iter().flat_map(|it| &it.remarks).map(ToString::to_string).collect();
    let length = exported.map_or(written.length, |exported| exported.length);
    if args.json {
        let answer = serde_json::json!({
            "file": output,
            "package": compiled.package,
            "identity": written.identity.to_string(),
            "manifest": written.manifest.to_string(),
            "bytes": length,
            "records": written.totals.records,
            "files": written.totals.files,
            "payload-bytes": written.totals.bytes,
            "repeated-bytes": written.repeated,
            "excluded": compiled.excluded,
            "remarks": remarks,
        });
        println!("{answer}");
        return;
    }
    println!(
        "{}: {}, {} files with {} bytes in {} bytes",
        output.display(),
        compiled.package,
        written.totals.files,
        written.totals.bytes,
        length,
    );
    for remark in remarks {
        println!("note: {remark}");
    }
    if compiled.excluded > 0 {
        println!("left out by `except`: {}", compiled.excluded);
    }
    println!("identity {}", written.identity);
}

fn complain(args: &Args, error: &CompileCommandError) {
    let sentence = model::with_causes(error);
    if args.json {
        eprintln!("{}", serde_json::json!({ "error": sentence }));
        return;
    }
    if let CompileCommandError::Compile(CompileError::Script { path, text, problems }) = error {
        for problem in problems {
            let position = problem.position.as_ref().map_or_else(String::new, |position| {
                let line = text.lines().nth(position.line - 1).unwrap_or_default();
                format!("{}:{}:{}: {}\n", path.display(), position.line, position.column, line)
            });
            eprint!("{position}");
            eprintln!("error: {problem}");
            if let Some(help) = problem.help() {
                eprintln!("  help: {help}");
            }
        }
        return;
    }
    eprintln!("error: {sentence}");
}
