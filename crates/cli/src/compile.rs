//! `packhorse compile`: a project folder becomes an installer or a package.

use std::{path::PathBuf, process::ExitCode};

use compile::{CompileError, Compiled, Format, Options, Target};
use indicatif::{ProgressBar, ProgressStyle};
use miette::Diagnostic;
use model::Time;
use package::Settings;

/// Compile a project folder into one file: an installer that runs by itself, or the package alone.
///
/// The same project makes the same bytes. Files without a time in `files.meta` get the one of
/// `SOURCE_DATE_EPOCH`, or 1980-01-01 where that is not set.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  packhorse compile redis -o redis-7.2.4.run\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage")]
pub(crate) struct Args {
    /// The project folder: `package.toml`, `files/`, `files.meta`.
    folder: PathBuf,
    /// The file to write [default: `NAME-VERSION.run` or `.package` in the current folder].
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
}

/// Runs the command; `epoch` is the value of `SOURCE_DATE_EPOCH`.
pub(crate) fn run(args: &Args, epoch: Option<&str>) -> ExitCode {
    match compile_project(args, epoch) {
        Ok((output, compiled)) => {
            report(args, &output, &compiled);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(args, &error);
            ExitCode::from(if matches!(error, CompileCommandError::Epoch { .. }) { 2 } else { 1 })
        }
    }
}

/// A compilation that did not happen.
#[derive(Debug, thiserror::Error)]
enum CompileCommandError {
    #[error("SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds since 1970")]
    Epoch { text: String },
    #[error(transparent)]
    Compile(#[from] CompileError),
}

fn compile_project(
    args: &Args,
    epoch: Option<&str>,
) -> Result<(PathBuf, Compiled), CompileCommandError> {
    let seconds = match epoch {
        Some(text) => {
            text.trim().parse().map_err(|_| CompileCommandError::Epoch { text: text.to_owned() })?
        }
        None => 315_532_800,
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let target = match args.target {
        Some(TargetName::Windows) => Target::Windows,
        Some(TargetName::Linux) | None => Target::Linux,
    };
    let (format, suffix) = match args.format {
        FormatName::Installer if target == Target::Windows => (Format::Installer, "exe"),
        FormatName::Installer => (Format::Installer, "run"),
        FormatName::Package => (Format::Package, "package"),
    };
    let settings = if args.fast {
        Settings::fast(workers)
    } else {
        Settings { level: args.level, ..Settings::small(workers) }
    };
    let options = Options { format, target, settings, time: Time { seconds, nanoseconds: 0 } };
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
    Ok((output, compiled?))
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn report(args: &Args, output: &std::path::Path, compiled: &Compiled) {
    let written = &compiled.written;
    if args.json {
        let answer = serde_json::json!({
            "file": output,
            "package": compiled.package,
            "identity": written.identity.to_string(),
            "manifest": written.manifest.to_string(),
            "bytes": written.length,
            "records": written.totals.records,
            "files": written.totals.files,
            "payload-bytes": written.totals.bytes,
            "repeated-bytes": written.repeated,
            "excluded": compiled.excluded,
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
        written.length,
    );
    if compiled.excluded > 0 {
        println!("left out by `except`: {}", compiled.excluded);
    }
    println!("identity {}", written.identity);
}

fn complain(args: &Args, error: &CompileCommandError) {
    let mut sentence = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        sentence = format!("{sentence}: {error}");
        cause = error.source();
    }
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
