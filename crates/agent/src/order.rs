//! What a deployment comes to on this machine: an order, what is run, what is looked for, what an end means.

use std::path::Path;

use deployment::{
    Action, CommandLine, Deployment, ExitFamily, ExitMap, Meaning, PackageAction, RestartRule,
    RunAs,
};
use model::{Comparison, Condition, ExitMeaning, Fact, Hash, Template, Value};
use running::{End, Order, Pauses, Rerun, RunId};

use crate::{
    attempt::{Ending, Exit, Stop, Work},
    platform::accounts::{self, Account},
};

/// Seconds a program has to end by itself when it is to be stopped, where its author says nothing.
const GRACE: u32 = 10;

/// Where this machine is, and where its packages come from.
#[derive(Clone, Debug)]
pub(crate) struct Here<'a> {
    pub(crate) root: &'a Path,
    pub(crate) program: &'a Path,
    pub(crate) points: &'a [String],
    /// Variables that reaching a distribution point needs.
    pub(crate) reach: &'a [(String, String)],
    pub(crate) cache: u64,
    pub(crate) rate: Option<u64>,
    /// The user it runs for, and the account of that name.
    pub(crate) user: Option<&'a str>,
    pub(crate) account: &'a Result<Option<Account>, String>,
}

/// Variables of our own environment that say how distribution points are reached: accounts, proxies, authorities.
pub(crate) fn reach() -> Vec<(String, String)> {
    const BUCKETS: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];
    const NAMES: [&str; 5] =
        ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    let is_one = |name: &str| {
        BUCKETS.iter().any(|prefix| name.starts_with(prefix))
            || NAMES.contains(&&*name.to_ascii_uppercase())
    };
    // One that is no text is none of these.
    let all = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    all.filter(|(name, _)| is_one(name)).collect()
}

/// The order of a deployment: `action` is done.
pub(crate) fn order(deployment: &Deployment, action: &Action, id: RunId) -> Order {
    let program = &deployment.program;
    let seconds = |seconds: u32| u64::from(seconds) * 1000;
    Order {
        digest: digest(deployment, action),
        // Our own engine leads whatever a cut leaves to one end or the other.
        rerun: if program.rerunnable || matches!(action, Action::Package(_)) {
            Rerun::Safe
        } else {
            Rerun::Ask
        },
        restarts: program.restart == RestartRule::ByItself,
        detects: detection(deployment, action).is_some(),
        pauses: Pauses {
            first: seconds(deployment.retry.first),
            longest: seconds(deployment.retry.longest),
            attempts: deployment.retry.attempts,
        },
        round: deployment.retry_round,
        restart_after: matches!(program.restart, RestartRule::Always { .. }),
        id,
    }
}

/// What is done, and with what, as one digest.
pub(crate) fn digest(deployment: &Deployment, action: &Action) -> Hash {
    let mut of = minicbor::to_vec(action).unwrap_or_default();
    of.extend(minicbor::to_vec(&deployment.package).unwrap_or_default());
    Hash::of(&of)
}

/// What the codes of an action mean: those of our own engine are its own, whatever its author left unsaid.
pub(crate) fn codes(deployment: &Deployment, action: &Action) -> ExitMap {
    let program = &deployment.program;
    let said =
        if *action == program.action { program.exit_codes.clone() } else { ExitMap::default() };
    match action {
        Action::Package(_) => ExitMap { family: ExitFamily::Packhorse, ..said },
        Action::Command(_) => said,
    }
}

/// So where it is done: what its author says, else what our own engine knows.
pub(crate) fn detection(deployment: &Deployment, action: &Action) -> Option<Condition> {
    if *action == deployment.program.action && deployment.program.detection.is_some() {
        return deployment.program.detection.clone();
    }
    let installed = || Value::Fact(Fact::Installed(deployment.package.name.as_str().into()));
    let version = |text: &str| Value::Version(Box::new(Value::Text(Template::literal(text))));
    match action {
        Action::Package(PackageAction::Install) => {
            Some(equal(installed(), version(deployment.package.version.as_str())))
        }
        Action::Package(PackageAction::Uninstall) => Some(equal(installed(), version(""))),
        Action::Package(PackageAction::Repair) | Action::Command(_) => None,
    }
}

fn equal(left: Value, right: Value) -> Condition {
    Condition::Compare { left, comparison: Comparison::Equal, right }
}

/// What is run. An account we cannot be, or a program there is none of, is said and not guessed.
pub(crate) fn work(
    deployment: &Deployment,
    action: &Action,
    here: &Here<'_>,
) -> Result<Work, String> {
    let program = &deployment.program;
    let account = account(program.run_as, action, here)?;
    let command = match action {
        Action::Command(CommandLine::Direct(words)) => words.clone(),
        Action::Command(CommandLine::Shell(line)) => accounts::shell(line),
        Action::Package(what) => package(deployment, *what, here),
    };
    // Foreign programs are none of those who may know how a distribution point is reached.
    let reach = if matches!(action, Action::Package(_)) { here.reach } else { &[] };
    if command.iter().any(|word| word.contains('\0')) {
        return Err("its command line holds a byte of 0".to_owned());
    }
    let mut environment = accounts::environment();
    environment.push(("PACKHORSE_DEPLOYMENT".to_owned(), deployment.id.to_string()));
    environment.extend(here.user.map(|user| ("PACKHORSE_USER".to_owned(), user.to_owned())));
    let (folder, own) = accounts::surroundings(account);
    environment.extend(own);
    environment.extend(reach.iter().cloned());
    Ok(Work {
        command,
        environment,
        limit: program.limit,
        grace: program.grace.unwrap_or(GRACE),
        folder,
        account: account.map(accounts::of_run),
    })
}

/// On whose account it runs, if not on ours.
fn account<'a>(
    run_as: RunAs,
    action: &Action,
    here: &'a Here<'_>,
) -> Result<Option<&'a Account>, String> {
    if run_as == RunAs::System {
        return Ok(None);
    }
    if matches!(action, Action::Package(_)) {
        return Err(
            "packages are installed for the machine: only a command runs on a user's account"
                .to_owned(),
        );
    }
    let user = here.user.ok_or("it is to run on a user's account, and for no user")?;
    match here.account {
        Ok(Some(account)) => Ok(Some(account)),
        Ok(None) => Err(format!("there is no account `{user}` on this machine")),
        Err(why) => Err(format!("who `{user}` is cannot be found out: {why}")),
    }
}

fn package(deployment: &Deployment, what: PackageAction, here: &Here<'_>) -> Vec<String> {
    let package = &deployment.package;
    let word = match what {
        PackageAction::Install => "install",
        PackageAction::Uninstall => "uninstall",
        PackageAction::Repair => "repair",
    };
    let mut command = vec![
        here.program.display().to_string(),
        "__package".to_owned(),
        word.to_owned(),
        package.name.to_string(),
        package.version.to_string(),
        package.identity.to_string(),
        "--root".to_owned(),
        here.root.display().to_string(),
        "--cache-limit".to_owned(),
        here.cache.to_string(),
    ];
    if let Some(rate) = here.rate.filter(|rate| *rate > 0) {
        command.extend(["--rate".to_owned(), rate.to_string()]);
    }
    for point in here.points {
        command.extend(["--point".to_owned(), point.clone()]);
    }
    command
}

/// What the word an attempt left means.
pub(crate) fn end(ending: &Ending, codes: &ExitMap, limit: Option<u32>) -> End {
    let worst = match ending.first {
        Exit::Code(0) => ending.later.first(),
        _ => None,
    };
    let (exit, of) = worst.map_or((ending.first, String::new()), |(who, exit)| {
        (*exit, format!("{who}, which it had started: "))
    });
    // Whoever came to his end by himself was not stopped.
    let by_itself = exit == Exit::Code(0);
    match &ending.stopped {
        Some(Stop::Limit) => return End::Limit { seconds: limit.unwrap_or(0) },
        Some(Stop::Asked(why)) => return End::Stopped { why: why.as_str().into() },
        Some(Stop::GoingDown) if !by_itself => return End::Interrupted { restarted: true },
        Some(Stop::GoingDown) | None => {}
    }
    match exit {
        Exit::NotStarted(error) => {
            let why = std::io::Error::from_raw_os_error(error).to_string();
            End::NotStarted { why: why.into() }
        }
        Exit::Signal(signal) => {
            let memory = if ending.out_of_memory > 0 { "; memory had run out" } else { "" };
            let text = format!("{of}ended by signal {signal}{memory}");
            End::Exit { code: None, meaning: ExitMeaning::Failed, text: text.into() }
        }
        Exit::Code(code) => {
            let said = codes.meaning(code);
            let text: Box<str> = format!("{of}{}", said.text).into();
            let exit = |meaning| End::Exit { code: Some(code), meaning, text: text.clone() };
            match said.meaning {
                Meaning::Done => exit(ExitMeaning::Done),
                Meaning::Restart | Meaning::Restarting => exit(ExitMeaning::Restart),
                Meaning::Retry => exit(ExitMeaning::Retry),
                Meaning::Failed => exit(ExitMeaning::Failed),
                Meaning::Busy => End::Busy { who: text },
                Meaning::NotApplicable => End::NotApplicable { text },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use deployment::{ExitFamily, ExitMap};
    use model::ExitMeaning;
    use running::End;

    use super::end;
    use crate::attempt::{Ending, Exit, Stop};

    fn ending(first: Exit, later: &[Exit], stopped: Option<Stop>) -> Ending {
        let later = later.iter().map(|exit| ("`child`".to_owned(), *exit)).collect();
        Ending { first, later, stopped, output: Vec::new(), out_of_memory: 0, took: 0 }
    }

    fn meaning(ending: &Ending) -> Option<ExitMeaning> {
        match end(ending, &ExitMap::of(ExitFamily::Script), None) {
            End::Exit { meaning, .. } => Some(meaning),
            _ => None,
        }
    }

    #[test]
    fn q235808_a_child_that_failed_later_is_a_failure() {
        let zero = Exit::Code(0);
        assert_eq!(meaning(&ending(zero, &[Exit::Code(1)], None)), Some(ExitMeaning::Failed));
        assert_eq!(meaning(&ending(Exit::Code(1), &[], None)), Some(ExitMeaning::Failed));
        assert_eq!(meaning(&ending(zero, &[Exit::Signal(9)], None)), Some(ExitMeaning::Failed));
        assert_eq!(meaning(&ending(zero, &[], None)), Some(ExitMeaning::Done));
    }

    #[test]
    fn an_end_while_the_machine_goes_down_is_one_only_if_it_was_good() {
        let down =
            |first| end(&ending(first, &[], Some(Stop::GoingDown)), &ExitMap::default(), None);
        assert_eq!(down(Exit::Signal(15)), End::Interrupted { restarted: true });
        assert!(matches!(down(Exit::Code(0)), End::Exit { meaning: ExitMeaning::Done, .. }));
    }
}
