//! `packhorse script`: look at, lay out and say what a project folder's script means.

mod project;
mod report;

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use script::{Problem, Severity};
use serde_json::json;

use project::{Project, ReadProjectError, Source};
use report::Report;

/// Arguments of `packhorse script`.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find what is wrong with a script before it is compiled.
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The project folder: package.toml, files/, files.meta.
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Say it as JSON on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Lay out package.toml and files.meta; comments, order and meaning stay.
    #[command(after_help = FMT_HELP)]
    Fmt {
        /// The project folder.
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Change nothing; say which files are not laid out, and end with 1 if there are any.
        #[arg(long)]
        check: bool,
        /// Say it as JSON on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Say what a script does, in sentences.
    #[command(after_help = EXPLAIN_HELP)]
    Explain {
        /// The project folder.
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Say it as JSON on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of package.toml, for editors; with a folder, put it there.
    #[command(after_help = SCHEMA_HELP)]
    Schema {
        /// A project folder; package.schema.json is written into it.
        dir: Option<PathBuf>,
        /// Say it as JSON on standard output.
        #[arg(long)]
        json: bool,
    },
}

const CHECK_HELP: &str = "\
Example:
  packhorse script check redis

Exit codes:
  0  nothing is wrong (warnings and notes may be said)
  1  something is wrong, or the project cannot be read
  2  usage";

const FMT_HELP: &str = "\
Example:
  packhorse script fmt --check redis

Exit codes:
  0  everything is laid out
  1  a file cannot be read or laid out and stays as it is; with --check, a file is not laid out
  2  usage";

const EXPLAIN_HELP: &str = "\
Example:
  packhorse script explain redis

Exit codes:
  0  done
  1  the script cannot be read
  2  usage";

const SCHEMA_HELP: &str = "\
Example:
  packhorse script schema redis

Then put this on the first line of redis/package.toml:
  #:schema ./package.schema.json

Exit codes:
  0  done
  1  the file cannot be written
  2  usage";

/// The name of the schema in a project folder.
const SCHEMA_FILE: &str = "package.schema.json";

/// Runs `packhorse script`.
pub(crate) fn run(args: Args) -> ExitCode {
    let done = match args.command {
        Command::Check { dir, json } => check(&dir, json),
        Command::Fmt { dir, check, json } => fmt(&dir, check, json),
        Command::Explain { dir, json } => explain(&dir, json),
        Command::Schema { dir, json } => schema(dir.as_deref(), json),
    };
    match done {
        Ok(code) => code,
        // Whoever read our output has gone: nobody is left to tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: writing the answer: {error}");
            ExitCode::from(1)
        }
    }
}

fn check(dir: &Path, json: bool) -> io::Result<ExitCode> {
    let project = match Project::read(dir) {
        Ok(project) => project,
        Err(error) => return cannot_read(dir, &error, json),
    };
    let mut report = Report::default();
    match script::parse_with_spans(&project.script.text) {
        Ok((script, spans)) => {
            report.add_all(&project.files_meta_problems, project.files_meta.as_ref());
            let described = script::check_files_meta(&script, &project.entries, &project.disk);
            report.add_all(&described, None);
            let mut problems = script::check(&script, &project.payload);
            spans.locate(&project.script.text, &mut problems);
            report.add_all(&problems, Some(&project.script));
            report.add_all(&crate::leaks::problems(dir, &script)?, None);
        }
        Err(problems) => {
            report.add_all(&problems, Some(&project.script));
            report.add_all(&project.files_meta_problems, project.files_meta.as_ref());
        }
    }
    let failed = report.count(Severity::Error) > 0;
    if json {
        let value = report.json();
        writeln!(io::stdout(), "{value:#}")?;
    } else {
        report.write()?;
        writeln!(io::stdout(), "{}: {}", project.script.name, report.summary())?;
    }
    Ok(ExitCode::from(u8::from(failed)))
}

fn fmt(dir: &Path, check_only: bool, json: bool) -> io::Result<ExitCode> {
    let (script, files_meta) = match project::read_sources(dir) {
        Ok(sources) => sources,
        Err(error) => return cannot_read(dir, &error, json),
    };
    let mut report = Report::default();
    let mut changed = Vec::new();
    let mut failed = false;
    let files = [(Some(script), script::format as LayOut), (files_meta, script::format_files_meta)];
    let mut laid_out = Vec::new();
    for (source, lay_out) in files {
        let Some(source) = source else { continue };
        match lay_out(&source.text) {
            Ok(text) if *text == *source.text => {}
            Ok(text) => laid_out.push((source, text)),
            Err(problems) => report.add_all(&problems, Some(&source)),
        }
    }
    // One file that cannot be laid out leaves all as they are.
    if report.count(Severity::Error) == 0 {
        for (source, text) in laid_out {
            if !check_only && let Err(error) = project::replace(&source.path, &text) {
                report.add(
                    &project::problem(&format!("it cannot be written: {error}")),
                    Some(&source),
                );
                failed = true;
                continue;
            }
            changed.push(source.name.clone());
        }
    }
    failed |= report.count(Severity::Error) > 0 || check_only && !changed.is_empty();
    if json {
        let key = if check_only { "not-laid-out" } else { "laid-out" };
        let mut value = report.json();
        value[key] = json!(changed);
        writeln!(io::stdout(), "{value:#}")?;
    } else {
        report.write()?;
        let said = if check_only { "is not laid out" } else { "laid out" };
        for name in changed {
            writeln!(io::stdout(), "{name}: {said}")?;
        }
    }
    Ok(ExitCode::from(u8::from(failed)))
}

type LayOut = fn(&str) -> Result<String, Vec<Problem>>;

fn explain(dir: &Path, json: bool) -> io::Result<ExitCode> {
    let source = match project::read_script(dir) {
        Ok(source) => source,
        Err(error) => return cannot_read(dir, &error, json),
    };
    let script = match script::parse(&source.text) {
        Ok(script) => script,
        Err(problems) => {
            let mut report = Report::default();
            report.add_all(&problems, Some(&source));
            if json {
                let value = report.json();
                writeln!(io::stdout(), "{value:#}")?;
            } else {
                report.write()?;
            }
            return Ok(ExitCode::from(1));
        }
    };
    if json {
        let steps: Vec<String> = script.steps.iter().map(script::explain_step).collect();
        let value = json!({
            "name": script.name.as_str(),
            "version": script.version.as_str(),
            "architecture": script.architecture.to_string(),
            "summary": script.summary,
            "steps": steps,
        });
        writeln!(io::stdout(), "{value:#}")?;
    } else {
        write!(io::stdout(), "{}", script::explain(&script))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn schema(dir: Option<&Path>, json: bool) -> io::Result<ExitCode> {
    let schema = format!("{:#}\n", script::schema());
    let Some(dir) = dir else {
        io::stdout().write_all(schema.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    let path = dir.join(SCHEMA_FILE);
    if let Err(error) = project::replace(&path, &schema) {
        let mut report = Report::default();
        report.add(
            &project::problem(&format!("`{}` cannot be written: {error}", path.display())),
            None,
        );
        if json {
            let value = report.json();
            writeln!(io::stdout(), "{value:#}")?;
        } else {
            report.write()?;
        }
        return Ok(ExitCode::from(1));
    }
    if json {
        writeln!(io::stdout(), "{:#}", json!({ "written": path.display().to_string() }))?;
    } else {
        writeln!(io::stdout(), "{}: written", path.display())?;
        writeln!(io::stdout(), "for editors, begin package.toml with `#:schema ./{SCHEMA_FILE}`")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn cannot_read(dir: &Path, error: &ReadProjectError, json: bool) -> io::Result<ExitCode> {
    let mut report = Report::default();
    let problem = project::problem(&error.to_string()).hint(error.hint(dir));
    report.add(&problem, None::<&Source>);
    if json {
        let value = report.json();
        writeln!(io::stdout(), "{value:#}")?;
    } else {
        report.write()?;
    }
    Ok(ExitCode::from(1))
}
