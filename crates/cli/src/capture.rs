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
    Idle(crate::idle::Args),
}
#[derive(clap::Args)]
struct Run {
    #[arg(long, default_value = "/")]
    root: PathBuf,
    #[arg(long)]
    session: PathBuf,
    #[arg(short)]
    output: Option<PathBuf>,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}
#[derive(clap::Args)]
pub(crate) struct Inside {
    file: PathBuf,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let run = match args.command {
        Command::Run(run) => run,
        Command::Idle(idle) => return crate::idle::run(&idle),
    };
    let run_output = run.output.clone();
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
    let done = session.finish(&mut |_| {}).unwrap();
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
    if let Some(folder) = run_output {
        let options = capture::Options::new("app".parse().unwrap(), model::Version::new("1"));
        let draft = crate::project::write(&done, &options, &folder).unwrap();
        eprintln!("{}", draft.report);
    }
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
