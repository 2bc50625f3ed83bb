use machine_linux::{
    namespaces,
    session::{RunSettings, Session},
};
use std::{ffi::OsString, path::PathBuf, process::ExitCode};
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}
#[derive(clap::Subcommand)]
enum Command {
    Run(Run),
}
#[derive(clap::Args)]
struct Run {
    #[arg(long, default_value = "/")]
    root: PathBuf,
    #[arg(long)]
    session: PathBuf,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}
#[derive(clap::Args)]
pub(crate) struct Inside {
    file: PathBuf,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let Command::Run(run) = args.command;
    let session = Session::begin_overlay(&run.session, &run.root).unwrap();
    let out = session
        .run(&RunSettings {
            program: std::env::current_exe().unwrap(),
            root: run.root,
            command: run.command,
            binds: vec![],
            environment: Default::default(),
            compare: false,
        })
        .unwrap();
    eprintln!("{out:?}");
    let t = std::time::Instant::now();
    let done = session.finish().unwrap();
    eprintln!("{:?}", t.elapsed());
    for (p, c) in &done.changes.changes {
        eprintln!(
            "{p}: {} -> {}",
            c.before.as_ref().map_or("-", |e| e.kind.word()),
            c.after.as_ref().map_or("-", |e| e.kind.word())
        );
    }
    for (p, c) in &done.changes.touched {
        eprintln!("touched {p}: {c:?}");
    }
    eprintln!("{:?}", done.notes);
    ExitCode::SUCCESS
}
pub(crate) fn enter(inside: &Inside) -> ExitCode {
    match namespaces::enter(&std::env::current_exe().unwrap(), &inside.file, None) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}: {:?}", e);
            ExitCode::FAILURE
        }
    }
}
pub(crate) fn init(inside: &Inside) -> ExitCode {
    match namespaces::init(&inside.file) {
        Ok(c) => ExitCode::from(c as u8),
        Err(e) => {
            eprintln!("{e}: {:?}", e);
            ExitCode::FAILURE
        }
    }
}
