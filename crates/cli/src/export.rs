//! `packhorse export`: signed repositories for machines that have apt or dnf, and no agent of ours.

use std::{
    error::Error,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use compile::{CompileError, Destination};
use export::{ExportRepositoryError, Key, KeyError, Repository};
use native::System;
use operate::Exit;

/// Put .deb or .rpm files into a signed repository.
///
/// The repository is made where none is. Packages and installers of ours are made into what it holds. Its public key is
/// `packhorse.asc` beside it; machines pin that and read the rest.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  packhorse export --create-key 'Ada Nym <ada@example.org>' --key repository.key\n  \
packhorse export --apt /srv/apt --key repository.key redis_7.2.4_amd64.deb\n  \
packhorse export --rpm /srv/rpm --key repository.key redis-7.2.4.package\n\n\
On machines:\n  deb [signed-by=/etc/apt/keyrings/packhorse.gpg] https://packages.example.org/apt stable main\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 5 damaged package, 6 in use, 7 no space"
)]
pub(crate) struct Args {
    /// The folder of an apt repository.
    #[arg(long, value_name = "DIR")]
    apt: Option<PathBuf>,
    /// The folder of an rpm repository.
    #[arg(long, value_name = "DIR")]
    rpm: Option<PathBuf>,
    /// The `OpenPGP` key that signs it, armoured, without a password.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Make the key first, for this owner: `Name <mail@example.org>`.
    #[arg(long, value_name = "OWNER")]
    create_key: Option<String>,
    /// The suite of the apt repository.
    #[arg(long, value_name = "NAME", default_value = "stable", value_parser = suite)]
    suite: String,
    /// What to add: .deb or .rpm files, packages, installers.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

fn suite(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !text.is_empty() && !text.starts_with('.') && text.bytes().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("use letters, digits, `-`, `_`, `.`".to_owned())
    }
}

/// An export that did not happen.
#[derive(Debug, thiserror::Error)]
enum ExportCommandError {
    #[error("nothing to do: say `--apt DIR` or `--rpm DIR`, or `--create-key OWNER`")]
    Nothing,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Repository(#[from] ExportRepositoryError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("`{}` cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("there is no room for files on the way")]
    Scratch(#[source] io::Error),
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> ExitCode {
    match perform(args) {
        Ok(done) => {
            report(args, &done);
            Exit::Done.into()
        }
        Err(error) => {
            crate::help::complain(args.json, &error);
            exit_of(&error).into()
        }
    }
}

/// What an export did.
struct Done {
    fingerprint: String,
    repositories: Vec<(&'static str, PathBuf, Repository)>,
    remarks: Vec<String>,
}

fn perform(args: &Args) -> Result<Done, ExportCommandError> {
    if args.apt.is_none() && args.rpm.is_none() && args.create_key.is_none() {
        return Err(ExportCommandError::Nothing);
    }
    let key = match &args.create_key {
        Some(owner) => Key::create(&args.key, owner)?,
        None => Key::open(&args.key)?,
    };
    let mut done =
        Done { fingerprint: key.fingerprint(), repositories: Vec::new(), remarks: Vec::new() };
    if let Some(folder) = &args.apt {
        let scratch = tempfile::tempdir().map_err(ExportCommandError::Scratch)?;
        let files = native_files(args, System::Deb, scratch.path(), &mut done.remarks)?;
        let repository = export::export_apt(folder, &args.suite, &files, &key)?;
        done.repositories.push(("apt", folder.clone(), repository));
    }
    if let Some(folder) = &args.rpm {
        let scratch = tempfile::tempdir().map_err(ExportCommandError::Scratch)?;
        let files = native_files(args, System::Rpm, scratch.path(), &mut done.remarks)?;
        let repository = export::export_rpm(folder, &files, &key)?;
        done.repositories.push(("rpm", folder.clone(), repository));
    }
    Ok(done)
}

/// The files as this system has them; what is ours is made into one in `scratch`.
fn native_files(
    args: &Args,
    system: System,
    scratch: &Path,
    remarks: &mut Vec<String>,
) -> Result<Vec<PathBuf>, ExportCommandError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = native::Settings { level: 9, workers: u32::try_from(workers).unwrap_or(1) };
    let mut files = Vec::new();
    for path in &args.files {
        let unreadable = |source| ExportCommandError::Read { path: path.clone(), source };
        let mut start = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(8).read_to_end(&mut start).map_err(unreadable)?;
        if start.starts_with(b"!<arch>\n") || start.starts_with(b"\xed\xab\xee\xdb") {
            files.push(path.clone());
            continue;
        }
        let destination = Destination::Folder(scratch.to_owned());
        let (file, exported) = compile::export(path, &destination, system, settings)?;
        remarks
            .extend(exported.remarks.iter().map(|remark| format!("{}: {remark}", path.display())));
        files.push(file);
    }
    Ok(files)
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn report(args: &Args, done: &Done) {
    if args.json {
        let repositories: Vec<_> = done
            .repositories
            .iter()
            .map(|(kind, folder, repository)| {
                serde_json::json!({
                    "kind": kind,
                    "folder": folder,
                    "added": repository.added,
                    "packages": repository.packages,
                })
            })
            .collect();
        let answer = serde_json::json!({
            "key": done.fingerprint,
            "repositories": repositories,
            "remarks": done.remarks,
        });
        println!("{answer}");
        return;
    }
    for remark in &done.remarks {
        println!("note: {remark}");
    }
    for (kind, folder, repository) in &done.repositories {
        println!(
            "{}: {kind} repository with {} packages, {} of them new",
            folder.display(),
            repository.packages,
            repository.added
        );
    }
    println!("signed by {}", done.fingerprint);
}

fn exit_of(error: &ExportCommandError) -> Exit {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|it| it.kind() == io::ErrorKind::StorageFull)
        {
            return Exit::NoSpace;
        }
        cause = error.source();
    }
    match error {
        ExportCommandError::Nothing => Exit::Usage,
        ExportCommandError::Repository(ExportRepositoryError::Busy { .. }) => Exit::InUse,
        ExportCommandError::Repository(
            ExportRepositoryError::Deb { .. } | ExportRepositoryError::Rpm { .. },
        )
        | ExportCommandError::Compile(CompileError::Damaged { .. }) => Exit::Damaged,
        _ => Exit::Failed,
    }
}
