//! Programs run for a package: triggers, alternatives, services, `run` steps.

use change::{CommandEnd, CommandRequest, Intent, Machine, Node, RawMeta, Undo};
use model::{
    Alternative, ExitMeaning, MachinePath, Part, RunStep, ServiceStep, StartType, Template,
};
use package::Action;

use crate::{
    Before, Claim, InstallError, Output, Ran, ReceiptRecord, Stage, Stands, install::ARGUMENTS,
    libraries, state::child, trees::path_of, triggers::Trigger, work::Work,
};

/// Folders in which systemd looks for units, the administrator's first: systemd.unit(5).
const UNITS: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Seconds a service may take to start or stop.
const SERVICE_LIMIT: u32 = 120;

/// Performs one step that runs something.
pub(crate) fn perform<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    action: &Action,
    step: usize,
) -> Result<(), InstallError> {
    match action {
        Action::Trigger(name) => trigger(work, name),
        Action::Alternative(alternative) => add_alternative(work, alternative),
        Action::Service(service) => add_service(work, service),
        Action::Setup(setup) => start_service(work, setup),
        Action::Run(run) => run_step(work, run, step),
        Action::Library(library) => libraries::register(work, library),
        _ => Ok(()),
    }
}

/// What a step that runs something would do, in a sentence.
pub(crate) fn sentence(action: &Action) -> String {
    match action {
        Action::Trigger(name) => format!("run trigger `{name}`"),
        Action::Alternative(alternative) => {
            format!("offer `{}` as `{}`", alternative.path, alternative.name)
        }
        Action::Service(service) if service.now => format!("enable and start `{}`", service.unit),
        Action::Service(service) => format!("enable `{}`", service.unit),
        Action::Setup(setup) => format!("start `{}`", setup.name),
        Action::Library(library) => format!("let `{}` register itself", library.file),
        Action::Run(run) => {
            let words: Vec<String> = run.command.iter().map(ToString::to_string).collect();
            let undo = match run.undo {
                model::Undo::Irreversible => ", which nothing takes back",
                _ => "",
            };
            format!("run `{}`{undo}", words.join(" "))
        }
        _ => String::new(),
    }
}

fn trigger<M: Machine + ?Sized>(work: &mut Work<'_, M>, name: &str) -> Result<(), InstallError> {
    let Some(trigger) = Trigger::named(name) else {
        return Err(InstallError::Trigger { name: name.to_owned() });
    };
    if trigger.live && !work.facts.has_running_systemd() {
        work.note(format!("left out trigger `{name}`: this is no running system"));
        return Ok(());
    }
    let request = trigger.request();
    let end = ran(
        work,
        &request,
        &trigger.output_paths(),
        Undo::Kept,
        None,
        format!("trigger `{name}`"),
    )?;
    match end {
        CommandEnd::Missing => {
            work.note(format!("left out trigger `{name}`: {request} is not on this machine"));
            Ok(())
        }
        end => expect_done(&request, end),
    }
}

fn add_alternative<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    alternative: &Alternative,
) -> Result<(), InstallError> {
    let Alternative { name, link, path, priority, followers } = alternative;
    let (link, path) = (work.expand(link)?, work.expand(path)?);
    let words = |list: &[&[u8]]| list.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
    let program: [&[u8]; 3] = [b"update-alternatives", b"--log", b"/dev/null"];
    let priority = priority.to_string();
    let mut command = words(&program);
    command.extend(words(&[b"--install", &link, name.as_bytes(), &path, priority.as_bytes()]));
    let mut outputs = vec![link];
    outputs.push(format!("/etc/alternatives/{name}").into_bytes());
    outputs.push(format!("/var/lib/dpkg/alternatives/{name}").into_bytes());
    for (name, link, path) in followers {
        let (link, path) = (work.expand(link)?, work.expand(path)?);
        command.extend(words(&[b"--slave", &link, name.as_bytes(), &path]));
        outputs.push(link);
        outputs.push(format!("/etc/alternatives/{name}").into_bytes());
    }
    let mut back = words(&program);
    back.extend(words(&[b"--remove", name.as_bytes(), &path]));
    let outputs =
        outputs.into_iter().filter_map(|output| MachinePath::new(output).ok()).collect::<Vec<_>>();
    let request = CommandRequest { command, limit: 60, wait: true };
    let back = CommandRequest { command: back, limit: 60, wait: true };
    let sentence = format!("offer `{}` as `{name}`", model::escape(&path));
    let end = ran(work, &request, &outputs, Undo::Kept, Some(back), sentence)?;
    expect_done(&request, end)
}

/// Links that enable the unit, then, on a machine that runs, its start.
fn add_service<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    service: &ServiceStep,
) -> Result<(), InstallError> {
    let unit = &*service.unit;
    let Some(file) = unit_file(work, unit)? else {
        return Err(InstallError::NoUnit { unit: unit.to_owned() });
    };
    let links = match service.start {
        StartType::Manual => Vec::new(),
        StartType::Disabled => {
            vec![(path(&format!("{}/{unit}", UNITS[0]))?, b"/dev/null".to_vec())]
        }
        StartType::Automatic => {
            let text = work.machine().read(&file)?;
            enabling_links(unit, &file, &String::from_utf8_lossy(&text))?
        }
    };
    make_links(work, links)?;
    if !work.facts.has_running_systemd() {
        return Ok(());
    }
    let systemctl = |words: &[&str]| CommandRequest {
        command: std::iter::once("systemctl")
            .chain(words.iter().copied())
            .map(|word| word.as_bytes().to_vec())
            .collect(),
        limit: SERVICE_LIMIT,
        wait: true,
    };
    let reload = systemctl(&["daemon-reload"]);
    let end = ran(
        work,
        &reload,
        &[],
        Undo::Run(reload.clone()),
        None,
        "reload systemd's units".to_owned(),
    )?;
    expect_done(&reload, end)?;
    if !service.now {
        return Ok(());
    }
    let start = systemctl(&["start", unit]);
    let stop = systemctl(&["stop", unit]);
    let end = ran(work, &start, &[], Undo::Run(stop), None, format!("start `{unit}`"))?;
    expect_done(&start, end)?;
    let active = systemctl(&["is-active", unit]);
    let end = work.machine().run(&active)?;
    expect_done(&active, end)
}

/// Starts a service that stands. It stops before it goes.
fn start_service<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    setup: &model::SetupStep,
) -> Result<(), InstallError> {
    let net = |word: &[u8]| CommandRequest {
        command: vec![b"net".to_vec(), word.to_vec(), setup.name.as_bytes().to_vec()],
        limit: SERVICE_LIMIT,
        wait: true,
    };
    let (start, stop) = (net(b"start"), net(b"stop"));
    let end = ran(work, &start, &[], Undo::Run(stop), None, format!("start `{}`", setup.name))?;
    expect_done(&start, end)
}

fn run_step<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    run: &RunStep,
    step: usize,
) -> Result<(), InstallError> {
    let request = request(work, &run.command, run)?;
    let outputs = run
        .outputs
        .iter()
        .map(|output| path_of(work.expand(output)?, output))
        .collect::<Result<Vec<_>, _>>()?;
    let (undo, back) = match &run.undo {
        model::Undo::Outputs => (Undo::Kept, None),
        model::Undo::Irreversible => (Undo::Irreversible, None),
        model::Undo::Command(words) => {
            let back = self::request(work, words, run)?;
            (Undo::Run(back.clone()), Some(back))
        }
    };
    let end = ran(work, &request, &outputs, undo, back, format!("step {step}: run {request}"))?;
    match end {
        CommandEnd::Started => Ok(()),
        CommandEnd::Exited { code, output } => match run.exit_codes.get(&code) {
            Some(ExitMeaning::Done) => Ok(()),
            Some(ExitMeaning::Restart) => {
                work.restart = true;
                Ok(())
            }
            None if code == 0 => Ok(()),
            _ => expect_done(
                &request,
                CommandEnd::Exited { code: if code == 0 { 1 } else { code }, output },
            ),
        },
        end => expect_done(&request, end),
    }
}

fn request<M: Machine + ?Sized>(
    work: &Work<'_, M>,
    words: &[Template],
    run: &RunStep,
) -> Result<CommandRequest, InstallError> {
    let mut command = Vec::with_capacity(words.len());
    for word in words {
        match &*word.0 {
            [Part::Variable(name)] if **name == *ARGUMENTS => {
                command.extend(work.options.arguments.iter().cloned());
            }
            _ => command.push(work.expand(word)?),
        }
    }
    Ok(CommandRequest { command, limit: run.limit, wait: run.wait })
}

/// Runs a program, and writes into the receipt what it may have changed.
pub(crate) fn ran<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    request: &CommandRequest,
    outputs: &[MachinePath],
    undo: Undo,
    back: Option<CommandRequest>,
    sentence: String,
) -> Result<CommandEnd, InstallError> {
    work.progress.progress(Stage::Running, 0, 0, &sentence);
    let mut kept: Vec<MachinePath> = Vec::new();
    for path in outputs {
        // A program makes missing folders on the way, too.
        let path = work.machine().resolve(path)?;
        let path = crate::trees::topmost_missing(work.machine(), &path)?;
        if !kept.contains(&path) {
            kept.push(path);
        }
    }
    let outputs = kept;
    let mut changed = Vec::new();
    for path in &outputs {
        if let Some(folder) = path.parent() {
            work.enter(&folder)?;
        }
        let before = work.transaction.saved_name(path)?;
        changed.push(Output { path: path.clone(), before, after: None });
    }
    let end = work.transaction.run(request, &outputs, undo.clone())?;
    if end == CommandEnd::Missing {
        return Ok(end);
    }
    for output in &mut changed {
        output.after = change::saved_name_as(work.machine(), &output.path, &output.path)?;
    }
    work.counts.ran += 1;
    let undo = back.map_or(undo, Undo::Run);
    work.record(&ReceiptRecord::Ran(Ran {
        command: request.clone(),
        undo,
        outputs: changed,
        sentence,
    }))?;
    Ok(end)
}

fn expect_done(request: &CommandRequest, end: CommandEnd) -> Result<(), InstallError> {
    let (why, output) = match end {
        CommandEnd::Exited { code: 0, .. } | CommandEnd::Started => return Ok(()),
        CommandEnd::Exited { code, output } => (format!("ended with exit code {code}"), output),
        CommandEnd::TimedOut => {
            (format!("took longer than {} seconds and was stopped", request.limit), String::new())
        }
        CommandEnd::Missing => ("is not on this machine".to_owned(), String::new()),
        CommandEnd::Refused { reason } => (format!("could not run: {reason}"), String::new()),
    };
    Err(change::TransactionError::Command { command: request.to_string(), why, output }.into())
}

fn unit_file<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    unit: &str,
) -> Result<Option<MachinePath>, InstallError> {
    // `name@instance.service` is made from `name@.service`.
    let template = unit.split_once('@').and_then(|(name, rest)| {
        let kind = rest.rsplit_once('.')?.1;
        Some(format!("{name}@.{kind}"))
    });
    for name in [Some(unit.to_owned()), template].into_iter().flatten() {
        for folder in UNITS {
            let path = work.machine().resolve(&path(&format!("{folder}/{name}"))?)?;
            if let Some(found) = work.machine().look(&path)?
                && matches!(found.node, Node::File { .. })
            {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// The links `systemctl enable` makes for a unit file's `[Install]` section: systemd.unit(5).
fn enabling_links(
    unit: &str,
    file: &MachinePath,
    text: &str,
) -> Result<Vec<(MachinePath, Vec<u8>)>, InstallError> {
    let mut links = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[Install]";
        }
        let Some((key, values)) = line.split_once('=').filter(|_| inside) else { continue };
        for value in values.split_whitespace() {
            let link = match key.trim() {
                "WantedBy" => format!("{}/{value}.wants/{unit}", UNITS[0]),
                "RequiredBy" => format!("{}/{value}.requires/{unit}", UNITS[0]),
                "Alias" => format!("{}/{value}", UNITS[0]),
                _ => continue,
            };
            links.push((path(&link)?, file.as_bytes().to_vec()));
        }
    }
    Ok(links)
}

/// Makes symbolic links, root's, in one batch; one that is there already stays.
fn make_links<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    links: Vec<(MachinePath, Vec<u8>)>,
) -> Result<(), InstallError> {
    let modified = work.options.began;
    let meta = RawMeta { mode: 0o777, ..RawMeta::private(0o777, modified) };
    let folder_meta = RawMeta { mode: 0o755, ..RawMeta::private(0o755, modified) };
    let mut staged = Vec::new();
    let mut made: Vec<MachinePath> = Vec::new();
    for (link, target) in links {
        let link = work.machine().resolve(&link)?;
        work.claimed(&link);
        let node = Node::Symlink(target);
        let claim = |before| Claim {
            path: link.clone(),
            node: node.clone(),
            meta: meta.clone(),
            hash: None,
            before,
            version: None,
            stands: Stands::Ours,
            link: None,
        };
        if let Some(found) = work.machine().look(&link)? {
            let before = work.old_claim(&link)?.map_or(Before::Same(found.meta), |old| old.before);
            if found.node != node {
                work.note(format!("left `{link}` as it is: it is not what enabling would make"));
            }
            work.claim(Claim {
                stands: if found.node == node { Stands::Ours } else { Stands::Theirs },
                ..claim(before)
            })?;
            continue;
        }
        let before = work.before_nothing(&link)?;
        let claim = claim(before);
        let Some(folder) = link.parent() else { continue };
        if work.machine().look(&folder)?.is_none() && !made.contains(&folder) {
            let above = folder.parent().unwrap_or_else(MachinePath::root);
            work.enter(&above)?;
            let at = work.transaction.intend(Intent::Create { path: folder.clone() })?.at;
            work.claimed(&folder);
            work.claim(Claim {
                path: folder.clone(),
                node: Node::Directory,
                meta: folder_meta.clone(),
                ..claim.clone()
            })?;
            staged.push((at.clone(), Node::Directory));
            staged
                .push((child(&at, &model::escape(link.name().unwrap_or_default())), node.clone()));
            made.push(folder);
        } else if !made.contains(&folder) {
            work.enter(&folder)?;
            staged.push((
                work.transaction.intend(Intent::Create { path: link.clone() })?.at,
                node.clone(),
            ));
        }
        work.claim(claim)?;
    }
    work.transaction.seal()?;
    for (at, node) in staged {
        match node {
            Node::Directory => work.machine().make_directory(&at, &folder_meta)?,
            node => work.machine().make_node(&at, &node, &meta)?,
        }
    }
    work.transaction.switch()?;
    Ok(())
}

fn path(text: &str) -> Result<MachinePath, InstallError> {
    MachinePath::new(text)
        .map_err(|reason| InstallError::Path { text: text.to_owned(), reason: reason.to_string() })
}
