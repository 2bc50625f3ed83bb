//! `packhorse wrap`: an installer that behaves well becomes a project that carries and runs it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use capture::{Listing, Maker, WrapError, Wrapping};
use model::{PackageName, Version};
use operate::Exit;

use crate::capture::registry_around;

/// Wrap an installer for Windows that behaves well: carry it as it is, and run it with its silent switches.
#[derive(Debug, clap::Args)]
#[command(
    long_about = "Wrap an installer for Windows that behaves well: carry it as it is, and run it with its silent switches\n\n\
An .msi says itself what it installs. A setup.exe is known by its bytes (NSIS, Inno Setup, InstallShield, WiX bundle); what it \
leaves in Programs and Features is found by running it in a Wine prefix, or said by hand.",
    after_help = "Examples:\n  packhorse wrap app.msi -o app\n  packhorse wrap setup.exe --wine ~/.wine-reference -o app\n  \
packhorse wrap setup.exe --uninstall-entry App --uninstall-command 'C:\\Program Files\\App\\un.exe' --version 2.5 -o app\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 needs a decision"
)]
pub(crate) struct Args {
    /// The installer.
    setup: PathBuf,
    /// Write the project folder here [default: the package's name].
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The package's name; that of the software when unsaid.
    #[arg(long)]
    name: Option<PackageName>,
    /// The package's version; that of the software when unsaid.
    #[arg(long)]
    version: Option<String>,
    #[cfg(unix)]
    /// Run it silently in this Wine prefix, which it changes, and see what it leaves in Programs and Features.
    #[arg(long, value_name = "PREFIX", conflicts_with = "uninstall_entry")]
    wine: Option<PathBuf>,
    #[cfg(windows)]
    /// Run it silently on this machine, which it changes, and see what it leaves in Programs and Features.
    #[arg(long, conflicts_with = "uninstall_entry")]
    here: bool,
    /// Its key in Programs and Features: a whole one, or the last name.
    #[arg(long, value_name = "KEY")]
    uninstall_entry: Option<String>,
    /// What that entry has as its command to uninstall.
    #[arg(long, value_name = "LINE", requires = "uninstall_entry")]
    uninstall_command: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// What runs an installer to see what it leaves.
const RUNS: &str = if cfg!(windows) { "--here" } else { "--wine PREFIX" };

/// A project that did not come to be.
#[derive(Debug, thiserror::Error)]
enum WrapCommandError {
    #[error("`{}` cannot be read", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "`{}` is no installer we know to be silent: capture it, `packhorse capture run --wine PREFIX -o DIR -- {}`", .0.display(), .0.display()
    )]
    Unknown(PathBuf),
    #[error(
        "nothing says what the software leaves in Programs and Features: `{RUNS}` runs it and sees, or say it with \
         `--uninstall-entry KEY --uninstall-command LINE`"
    )]
    NoListing,
    #[error(
        "`{0}` is no entry of Programs and Features: give its key there, or the last name of it"
    )]
    Listing(String),
    #[error(
        "it left {} in Programs and Features: say which counts with `--uninstall-entry KEY --uninstall-command LINE`",
        if .0.is_empty() { "nothing".to_owned() } else { .0.join(", ") }
    )]
    Listings(Vec<String>),
    #[error("`{}` ended with {code}, and nothing was wrapped", path.display())]
    Failed { path: PathBuf, code: i32 },
    #[error("nothing says the software's {what}: give it with `--{what}`")]
    Unsaid { what: &'static str },
    #[error("`{}` holds something already: name another folder with `-o`", .0.display())]
    Occupied(PathBuf),
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Wrap(#[from] WrapError),
    #[error(transparent)]
    Run(#[from] crate::capture::CaptureError),
}

/// Runs the command.
#[expect(clippy::print_stdout, reason = "the command's answer")]
pub(crate) fn run(args: &Args) -> ExitCode {
    match perform(args) {
        Ok((folder, wrapping)) => {
            let (name, version) = (wrapping.name.to_string(), wrapping.version.to_string());
            let entry = &wrapping.listing.key;
            if args.json {
                let answer = serde_json::json!({
                    "project": folder,
                    "name": name,
                    "version": version,
                    "made-with": wrapping.maker.sentence(),
                    "detected-by": entry.as_str(),
                });
                println!("{answer}");
            } else {
                println!(
                    "{}: {name} {version}, {}; it is there when `{entry}` is\n  \
                     packhorse compile {} --target windows",
                    folder.display(),
                    wrapping.maker.sentence(),
                    folder.display()
                );
            }
            Exit::Done.into()
        }
        Err(error) => {
            crate::help::complain(args.json, &error);
            exit_of(&error).into()
        }
    }
}

fn perform(args: &Args) -> Result<(PathBuf, Wrapping), WrapCommandError> {
    let unreadable = |source| WrapCommandError::Read { path: args.setup.clone(), source };
    let mut file = File::open(&args.setup).map_err(unreadable)?;
    let maker = Maker::of(&mut file)
        .map_err(unreadable)?
        .ok_or_else(|| WrapCommandError::Unknown(args.setup.clone()))?;
    let listing = listing_of(args, &maker)?;
    let title = match &maker {
        Maker::Msi(msi) => msi.name.as_str(),
        _ => listing.display_name.as_str(),
    };
    let name = match &args.name {
        Some(name) => name.clone(),
        None => name_of(title).ok_or(WrapCommandError::Unsaid { what: "name" })?,
    };
    let version = match &args.version {
        Some(version) => version.clone(),
        None if listing.version.is_empty() => {
            return Err(WrapCommandError::Unsaid { what: "version" });
        }
        None => listing.version.clone(),
    };
    let said = args.setup.file_name().map(|name| name.to_string_lossy().into_owned());
    let wrapping = Wrapping {
        version: Version::new(version),
        file: said.unwrap_or_else(|| "setup.exe".to_owned()),
        name,
        maker,
        listing,
    };
    let folder = args.output.clone().unwrap_or_else(|| PathBuf::from(wrapping.name.as_str()));
    write(args, &folder, &wrapping)?;
    Ok((folder, wrapping))
}

/// What the software leaves in Programs and Features: it says so itself, somebody does, or it is seen.
fn listing_of(args: &Args, maker: &Maker) -> Result<Listing, WrapCommandError> {
    match maker {
        Maker::Msi(msi) => {
            let known = Listing::of_product(&msi.product_code, msi.is_64, &msi.name, &msi.version);
            return known.ok_or_else(|| WrapCommandError::Listing(msi.product_code.clone()));
        }
        Maker::Burn(id) => {
            let version = args.version.as_deref().unwrap_or_default();
            let known = Listing::of_product(id, false, "", version);
            return known.ok_or_else(|| WrapCommandError::Listing(id.clone()));
        }
        _ => {}
    }
    if let Some(name) = &args.uninstall_entry {
        let command = args.uninstall_command.as_deref().unwrap_or_default();
        let version = args.version.as_deref().unwrap_or_default();
        return Listing::named(name, command, version)
            .ok_or_else(|| WrapCommandError::Listing(name.clone()));
    }
    #[cfg(unix)]
    let Some(prefix) = &args.wine else {
        return Err(WrapCommandError::NoListing);
    };
    #[cfg(windows)]
    if !args.here {
        return Err(WrapCommandError::NoListing);
    }
    #[cfg(windows)]
    let prefix = Path::new("C:");
    let (before, after, code) = registry_around(prefix, &args.setup, maker.switches())?;
    if code != 0 {
        return Err(WrapCommandError::Failed { path: args.setup.clone(), code });
    }
    let mut made = Listing::made(&before, &after);
    match made.len() {
        1 => Ok(made.remove(0)),
        _ => Err(WrapCommandError::Listings(
            made.iter().map(|one| format!("`{}`", one.key)).collect(),
        )),
    }
}

/// A package's name made of what people read: small letters, digits, and `-` between.
fn name_of(title: &str) -> Option<PackageName> {
    let plain: String = title
        .chars()
        .map(
            |letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { ' ' },
        )
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join("-").parse().ok()
}

/// The folder comes to be whole or not at all.
fn write(args: &Args, folder: &Path, wrapping: &Wrapping) -> Result<(), WrapCommandError> {
    let (script, comments) = capture::wrap(wrapping)?;
    if fs::read_dir(folder).is_ok_and(|mut all| all.next().is_some()) {
        return Err(WrapCommandError::Occupied(folder.to_owned()));
    }
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| WrapCommandError::Write { path, source }
    };
    let beside = match folder.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let made = tempfile::Builder::new()
        .prefix(".packhorse-")
        .tempdir_in(beside)
        .map_err(unwritable(beside))?;
    let files = made.path().join("files");
    fs::create_dir(&files).map_err(unwritable(&files))?;
    let carried = files.join(&wrapping.file);
    fs::copy(&args.setup, &carried).map_err(unwritable(&carried))?;
    let text = script::print_with_comments(&script, &comments);
    let package = made.path().join("package.toml");
    fs::write(&package, text).map_err(unwritable(&package))?;
    #[cfg(unix)]
    fs::set_permissions(made.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(unwritable(made.path()))?;
    fs::rename(made.path(), folder).map_err(unwritable(folder))
}

fn exit_of(error: &WrapCommandError) -> Exit {
    match error {
        WrapCommandError::Unknown(_)
        | WrapCommandError::NoListing
        | WrapCommandError::Listings(_)
        | WrapCommandError::Wrap(_) => Exit::Decision,
        WrapCommandError::Unsaid { .. } | WrapCommandError::Listing(_) => Exit::Usage,
        _ => Exit::Failed,
    }
}
