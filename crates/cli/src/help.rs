//! What helps people beside `--help`: completions for shells, manual pages.

use std::{io, path::PathBuf, process::ExitCode};

use operate::Exit;

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  packhorse completions bash > /usr/share/bash-completion/completions/packhorse"
)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(clap::Args)]
#[command(after_help = "Example:\n  packhorse man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// The folder.
    folder: PathBuf,
}

/// Says why something was not done.
pub(crate) fn complain(json: bool, error: &dyn std::error::Error) {
    let sentence = model::with_causes(error);
    if json {
        eprintln!("{}", serde_json::json!({ "error": sentence }));
    } else {
        eprintln!("error: {sentence}");
    }
}

/// Writes completions for a shell to standard output.
pub(crate) fn completions(args: &Completions, mut command: clap::Command) -> ExitCode {
    clap_complete::generate(args.shell, &mut command, "packhorse", &mut io::stdout());
    ExitCode::SUCCESS
}

/// Writes a manual page for every command to a folder.
pub(crate) fn man(args: &Man, command: clap::Command) -> ExitCode {
    let written = std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(command, &args.folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message =
                format!("cannot write manual pages to `{}`: {error}", args.folder.display());
            clap::Error::raw(clap::error::ErrorKind::Io, message).print().ok();
            Exit::Failed.into()
        }
    }
}
