use std::collections::{BTreeMap, BTreeSet};

use change::{
    Intent, JOURNAL_FORMAT, Machine, MachineError, Operation, Paths, Transaction, TransactionHeader,
};
use model::{Hook, MachinePath, PackageName, ReplaceRule, Time};
use package::{Action, Header};
use serde::{Deserialize, Serialize};

use crate::{
    Accounts, Facts, InstallError, Installed, Payload, Progress, RECEIPT_FORMAT, ReadReceiptError,
    ReceiptHeader, ReceiptRecord, Stage,
    dry_run::DryRun,
    edits::Edits,
    effects, evaluate,
    for_users::ForUsers,
    glob, installed,
    installed::{claims_at, removed_at},
    polite::{Leaving, Polite},
    receipt::expand_patterns,
    settings,
    state::child,
    trees::{Target, Trees, path_of},
    work::Work,
};

/// How to install.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Values for variables, over their defaults.
    pub variables: BTreeMap<Box<str>, String>,
    /// What happens where something is already, over what the script says.
    pub replace: Option<ReplaceRule>,
    /// Whether an older version may take the place of a newer one of the same package.
    pub downgrade: bool,
    /// Whether to install what is installed already, in the same version, again.
    pub again: bool,
    /// Words for the package's own programs: the variable `installer.arguments`.
    pub arguments: Vec<Vec<u8>>,
    /// Now, by the machine's clock.
    pub began: Time,
}

/// What became of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// Its transaction.
    pub header: TransactionHeader,
    /// How many of what.
    pub counts: Counts,
    /// What people should know.
    pub notes: Vec<String>,
    /// Whether the machine must restart for it to take effect.
    pub restart: bool,
}

/// What an installation would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// A sentence for each change, in order.
    pub steps: Vec<String>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Topmost paths that came to be.
    pub created: u64,
    /// Paths whose content gave way to ours.
    pub replaced: u64,
    /// Files that were there already, the same, and were not written again.
    pub identical: u64,
    /// Paths of which only metadata changed.
    pub metadata: u64,
    /// Files of others that stayed.
    pub kept: u64,
    /// Text files edited.
    pub edited: u64,
    /// Entries written.
    pub staged: u64,
    /// Entries removed.
    pub removed: u64,
    /// Programs run.
    pub ran: u64,
    /// Settings changed that are no files.
    #[serde(default)]
    pub settings: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Bytes the package has.
    pub total_bytes: u64,
}

/// Installs `payload`, or updates to it what is installed of the same name.
///
/// Either all of it happens or nothing: on an error, and after a crash at any moment, the machine is
/// as it was before.
pub fn install<M: Machine + ?Sized>(
    machine: &mut M,
    paths: &Paths,
    payload: &mut dyn Payload,
    facts: &dyn Facts,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Outcome, InstallError> {
    let payload = &mut ForUsers::new(payload, facts)?;
    let header = payload.header().clone();
    let (all, damaged) = installed(machine, paths)?;
    let damaged = despite(damaged, paths, &header.name, options)?;
    let (old, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|one| one.receipt.header.name == header.name);
    let old = old.into_iter().next();
    let variables = variables(&header, old.as_ref(), options, facts)?;
    check_fit(machine, &header, facts, &others, old.as_ref(), &variables, options)?;
    let number = next_number(machine, paths)?;
    let transaction_header = TransactionHeader {
        format: JOURNAL_FORMAT,
        number,
        operation: if old.is_some() { Operation::Update } else { Operation::Install },
        package: header.name.clone(),
        from: old.as_ref().map(|one| one.receipt.header.version.clone()),
        to: Some(header.version.clone()),
        began: options.began,
    };
    let accounts = Accounts::read(machine)?;
    let transaction = Transaction::begin(&mut *machine, paths.clone(), transaction_header.clone())?;
    let done = {
        let mut work = Work::new(
            transaction,
            paths,
            facts,
            progress,
            options,
            variables,
            &others,
            old.as_ref(),
            accounts,
        );
        work.notes = damaged;
        work.notes.append(&mut payload.notes);
        perform(&mut work, payload, &header, number).and_then(|()| {
            let (counts, mut notes, restart) =
                (work.counts, std::mem::take(&mut work.notes), work.restart);
            work.go_on()?;
            notes.extend(work.transaction.commit()?.map(untidied));
            Ok((counts, notes, restart))
        })
    };
    match done {
        Ok((counts, notes, restart)) => {
            Ok(Outcome { header: transaction_header, counts, notes, restart })
        }
        Err(reason) => {
            progress.progress(Stage::RollingBack, 0, 0, "");
            let reason = Box::new(reason);
            match change::roll_back(machine, paths, number) {
                Ok(notes) => Err(InstallError::RolledBack { reason, notes }),
                Err(why) => Err(InstallError::Stuck { reason, why }),
            }
        }
    }
}

/// What people should know of a commit that stands while what it left aside does, too.
pub(crate) fn untidied(why: change::RecoverError) -> String {
    let why = model::with_causes(&why);
    format!("all of it is done; tidying up stopped, and goes on with the next start: {why}")
}

/// What [`install`] would do on this machine as it is, changing nothing.
///
/// Steps that follow a program are planned as if the program had changed nothing.
pub fn plan<M: Machine + ?Sized>(
    machine: &M,
    paths: &Paths,
    payload: &mut dyn Payload,
    facts: &dyn Facts,
    options: &Options,
    progress: &mut dyn Progress,
) -> Result<Plan, InstallError> {
    let payload = &mut ForUsers::new(payload, facts)?;
    let header = payload.header().clone();
    let (all, damaged) = installed(machine, paths)?;
    let damaged = despite(damaged, paths, &header.name, options)?;
    let (old, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|one| one.receipt.header.name == header.name);
    let old = old.into_iter().next();
    let variables = variables(&header, old.as_ref(), options, facts)?;
    check_fit(machine, &header, facts, &others, old.as_ref(), &variables, options)?;
    let mut dry = DryRun::new(machine, paths.state.clone());
    let dry: &mut dyn Machine = &mut dry;
    let transaction_header = TransactionHeader {
        format: JOURNAL_FORMAT,
        number: u64::MAX,
        operation: Operation::Install,
        package: header.name.clone(),
        from: None,
        to: None,
        began: options.began,
    };
    let accounts = Accounts::read(machine)?;
    let transaction = Transaction::begin(dry, paths.clone(), transaction_header)?;
    let mut work = Work::new(
        transaction,
        paths,
        facts,
        progress,
        options,
        variables,
        &others,
        old.as_ref(),
        accounts,
    );
    work.notes = damaged;
    work.notes.append(&mut payload.notes);
    work.configuration.clone_from(&header.configuration);
    let mut plan = Plan::default();
    let steps = applicable(&mut work, &header)?;
    let batches = batches(&mut work, &header, &steps)?;
    let last = batches.iter().rposition(|batch| !batch.files.is_empty()).unwrap_or(0);
    work.later = trees_of(&work, &header, &batches)?;
    for (index, batch) in batches.into_iter().enumerate() {
        let drops = work.old.is_some() && index == last;
        decide(&mut work, payload, &header, &batch.files, drops, index)?;
        for intent in work.transaction.undone_batch()? {
            if !matches!(intent, Intent::Folder { .. }) {
                plan.steps.push(intent.to_string());
            }
        }
        if let Some(effect) = batch.effect {
            plan.steps.push(effects::sentence(&header.steps[effect].action));
        }
    }
    plan.notes = work.notes;
    Ok(plan)
}

/// A damaged receipt harms its own package alone, which can be installed once more; a newer format is no
/// damage, and beyond us. Answers what people should know.
fn despite(
    damaged: Vec<ReadReceiptError>,
    paths: &Paths,
    name: &PackageName,
    options: &Options,
) -> Result<Vec<String>, InstallError> {
    let mut notes = Vec::new();
    for error in damaged {
        let is_own = error.receipt().is_none_or(|path| *path == paths.receipt(name));
        if matches!(error, ReadReceiptError::Newer { .. }) || (is_own && !options.again) {
            return Err(error.into());
        }
        notes.push(if is_own {
            format!("{error}; what {name} had replaced before is not known any more")
        } else {
            format!("{error}; what its package shares with {name} is not known")
        });
    }
    Ok(notes)
}

/// The number of the next transaction.
pub(crate) fn next_number<M: Machine + ?Sized>(
    machine: &M,
    paths: &Paths,
) -> Result<u64, MachineError> {
    let names = machine.list(&paths.transactions())?;
    let number = |name: &Vec<u8>| -> Option<u64> {
        let name = std::str::from_utf8(name).ok()?;
        name.rsplit('-').next()?.parse().ok()
    };
    Ok(names.iter().filter_map(number).max().unwrap_or(0) + 1)
}

/// The variable that stands for as many words as were given, where it is one of a program's.
pub(crate) const ARGUMENTS: &str = "installer.arguments";

/// Every variable's value: as told, as it was in the former version, or by default.
fn variables(
    header: &Header,
    old: Option<&Installed>,
    options: &Options,
    facts: &dyn Facts,
) -> Result<BTreeMap<Box<str>, String>, InstallError> {
    let mut values: BTreeMap<Box<str>, String> = BTreeMap::from([
        ("machine.os".into(), facts.os()),
        ("machine.arch".into(), facts.architecture()),
        ("machine.distribution".into(), facts.distribution()),
        ("machine.release".into(), facts.release()),
        ("machine.kernel".into(), facts.kernel()),
        ("machine.hostname".into(), facts.host_name()),
        (ARGUMENTS.into(), String::from_utf8_lossy(&options.arguments.join(&b' ')).into_owned()),
    ]);
    values.extend(facts.folders());
    if let Some(unknown) =
        options.variables.keys().find(|name| !header.variables.contains_key(*name))
    {
        return Err(InstallError::Variable { name: unknown.to_string() });
    }
    let mut waiting: Vec<_> = header.variables.iter().collect();
    // A default may name other variables, in any order.
    while !waiting.is_empty() {
        let before = waiting.len();
        let mut missing = None;
        waiting.retain(|(name, variable)| {
            let told = options.variables.get(*name).cloned();
            let former = old.and_then(|old| old.receipt.header.variables.get(*name).cloned());
            let default = variable.default.as_ref().and_then(|default| {
                String::from_utf8(default.expand(|name| values.get(name).map(String::as_str)).ok()?)
                    .ok()
            });
            let Some(value) = told.or(former).or(default) else {
                missing.get_or_insert_with(|| name.to_string());
                return true;
            };
            values.insert((*name).clone(), value);
            false
        });
        if let Some(name) = missing.filter(|_| waiting.len() == before) {
            return Err(InstallError::Variable { name });
        }
    }
    for (name, variable) in &header.variables {
        let default = variable.default.as_ref().and_then(|default| {
            String::from_utf8(default.expand(|name| values.get(name).map(String::as_str)).ok()?)
                .ok()
        });
        if let (Some(why), Some(value)) = (&variable.fixed, default)
            && values.get(name) != Some(&value)
        {
            return Err(InstallError::Fixed { name: name.to_string(), value, why: why.clone() });
        }
    }
    Ok(values)
}

fn check_fit<M: Machine + ?Sized>(
    machine: &M,
    header: &Header,
    facts: &dyn Facts,
    others: &[Installed],
    old: Option<&Installed>,
    variables: &BTreeMap<Box<str>, String>,
    options: &Options,
) -> Result<(), InstallError> {
    let architecture = facts.architecture();
    if !header.architecture.runs_on(&architecture) {
        return Err(InstallError::Architecture {
            wanted: header.architecture.to_string(),
            found: architecture,
        });
    }
    if let Some(old) = old {
        let standing = &old.receipt.header.version;
        if *standing > header.version && !options.downgrade {
            return Err(InstallError::Older {
                name: header.name.to_string(),
                installed: standing.clone(),
                offered: header.version.clone(),
            });
        }
        if *standing == header.version && !options.again {
            return Err(InstallError::Already {
                name: header.name.to_string(),
                version: header.version.clone(),
            });
        }
    }
    let requires = header.programs.get("install").and_then(|program| program.requires.as_ref());
    if let Some(requires) = requires {
        let answer = evaluate(requires, machine, facts, others, variables)
            .map_err(|reason| InstallError::Condition { step: 0, reason })?;
        if !answer {
            return Err(InstallError::Requirement);
        }
    }
    Ok(())
}

fn perform<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    payload: &mut dyn Payload,
    header: &Header,
    number: u64,
) -> Result<(), InstallError> {
    work.counts.total_bytes = header.totals.bytes;
    work.configuration.clone_from(&header.configuration);
    let hooks = header.steps.iter().filter_map(|step| match &step.action {
        Action::Run(run) if run.at != Hook::Install => Some(run.clone()),
        _ => None,
    });
    work.record(&ReceiptRecord::Header(Box::new(ReceiptHeader {
        format: RECEIPT_FORMAT,
        name: header.name.clone(),
        version: header.version.clone(),
        architecture: header.architecture.clone(),
        number,
        installed: work.options.began,
        variables: work.variables.clone(),
        configuration: header.configuration.clone(),
        generated: expand_patterns(&header.generated, &work.variables),
        hooks: hooks.collect(),
        replaced: work.old.map(|old| old.receipt.header.version.clone()),
        summary: header.summary.clone(),
    })))?;
    let steps = applicable(work, header)?;
    let batches = batches(work, header, &steps)?;
    // What the former version alone had goes with the last batch of files, before what is derived is made anew.
    let last = batches.iter().rposition(|batch| !batch.files.is_empty()).unwrap_or(0);
    work.later = trees_of(work, header, &batches)?;
    for (index, batch) in batches.into_iter().enumerate() {
        let drops = work.old.is_some() && index == last;
        files(work, payload, header, &batch.files, drops, index)?;
        work.go_on()?;
        if let Some(effect) = batch.effect {
            effects::perform(work, &header.steps[effect].action, effect + 1)?;
        }
    }
    settings::record(work)?;
    work.end_folders()?;
    work.end_receipt()
}

/// Steps that are done together, then one that needs them done.
struct Batch {
    files: Vec<usize>,
    effect: Option<usize>,
}

/// The positions of steps whose conditions hold.
fn applicable<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    header: &Header,
) -> Result<Vec<usize>, InstallError> {
    let mut steps = Vec::new();
    for (index, step) in header.steps.iter().enumerate() {
        let holds = match &step.when {
            None => true,
            Some(condition) => {
                let (facts, others, variables) = (work.facts, work.others, work.variables.clone());
                evaluate(condition, work.machine(), facts, others, &variables)
                    .map_err(|reason| InstallError::Condition { step: index + 1, reason })?
            }
        };
        if holds {
            steps.push(index);
        } else {
            work.note(format!("left out step {}: its condition does not hold here", index + 1));
        }
    }
    Ok(steps)
}

/// Cuts the steps where one needs those before it done: before an edit of a file that a tree brings,
/// and after every effect.
fn batches<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    header: &Header,
    steps: &[usize],
) -> Result<Vec<Batch>, InstallError> {
    let mut batches = Vec::new();
    let mut files = Vec::new();
    let mut roots: Vec<MachinePath> = Vec::new();
    for &index in steps {
        match &header.steps[index].action {
            Action::Tree(tree) => {
                let to = &header.trees[*tree as usize].to;
                roots.push(path_of(work.expand(to)?, to)?);
                files.push(index);
            }
            Action::Edit(edit) => {
                let path = path_of(work.expand(&edit.file)?, &edit.file)?;
                if roots.iter().any(|root| path.is_within(root)) {
                    batches.push(Batch { files: std::mem::take(&mut files), effect: None });
                    roots.clear();
                }
                files.push(index);
            }
            Action::Remove { .. }
            | Action::SetMetadata { .. }
            | Action::Account(_)
            | Action::Registry(_)
            | Action::Task(_) => {
                files.push(index);
            }
            Action::Setup(setup) => {
                files.push(index);
                if setup.now {
                    batches.push(Batch { files: std::mem::take(&mut files), effect: Some(index) });
                    roots.clear();
                }
            }
            Action::Run(run) if run.at != Hook::Install => {}
            Action::Service(_)
            | Action::Alternative(_)
            | Action::Trigger(_)
            | Action::Run(_)
            | Action::Library(_) => {
                batches.push(Batch { files: std::mem::take(&mut files), effect: Some(index) });
                roots.clear();
            }
        }
    }
    batches.push(Batch { files, effect: None });
    Ok(batches)
}

/// Where the trees of all batches go.
fn trees_of<M: Machine + ?Sized>(
    work: &Work<'_, M>,
    header: &Header,
    batches: &[Batch],
) -> Result<BTreeMap<u32, MachinePath>, InstallError> {
    let mut roots = BTreeMap::new();
    for &index in batches.iter().flat_map(|batch| &batch.files) {
        if let Action::Tree(tree) = &header.steps[index].action {
            let to = &header.trees[*tree as usize].to;
            roots.insert(*tree, path_of(work.expand(to)?, to)?);
        }
    }
    Ok(roots)
}

/// What a batch of files comes to, decided and not yet done.
struct Decided {
    trees: Option<Trees>,
    edits: Edits,
    polite: Option<Polite>,
}

/// One batch of files: decided, made durable, staged, switched.
fn files<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    payload: &mut dyn Payload,
    header: &Header,
    steps: &[usize],
    drops: bool,
    batch: usize,
) -> Result<(), InstallError> {
    let Decided { trees, edits, polite } = decide(work, payload, header, steps, drops, batch)?;
    work.transaction.seal()?;
    if let Some(mut trees) = trees {
        trees.stage(work, payload)?;
    }
    edits.stage(work)?;
    if let Some(polite) = polite {
        let (leftovers, removed) = polite.stage(&mut work.transaction, &*work.progress)?;
        work.counts.removed += removed;
        work.notes.extend(
            leftovers
                .into_iter()
                .map(|left| format!("left `{}`: {}", left.path.shown(), left.reason)),
        );
    }
    work.go_on()?;
    work.progress.progress(Stage::Switching, 0, 0, "");
    work.transaction.switch()?;
    Ok(())
}

fn decide<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    payload: &mut dyn Payload,
    header: &Header,
    steps: &[usize],
    drops: bool,
    batch: usize,
) -> Result<Decided, InstallError> {
    work.progress.progress(Stage::Planning, 0, 0, "");
    let mut edits = Edits::default();
    let mut targets = BTreeMap::new();
    for &index in steps {
        match &header.steps[index].action {
            Action::Account(step) => edits.account(work, step)?,
            Action::Tree(tree) => {
                let spec = &header.trees[*tree as usize];
                let root = path_of(work.expand(&spec.to)?, &spec.to)?;
                let root = work.machine().resolve(&root)?;
                let target = Target { root, replace: spec.replace, version: spec.version.clone() };
                targets.insert(*tree, target);
                work.later.remove(tree);
            }
            _ => {}
        }
    }
    let mut trees = None;
    if !targets.is_empty() {
        let decisions = child(&work.transaction.folder(), &format!("decisions-{batch}"));
        trees.insert(Trees::new(targets, decisions)).decide(work, payload)?;
        work.later.clear();
    }
    for &index in steps {
        match &header.steps[index].action {
            Action::Edit(step) => edits.plan(work, step)?,
            Action::Remove { path } => {
                let path = path_of(work.expand(path)?, path)?;
                remove(work, &path)?;
            }
            Action::SetMetadata { path, meta } => {
                let path = path_of(work.expand(path)?, path)?;
                set_metadata(work, &path, meta)?;
            }
            Action::Registry(step) => settings::registry(work, step)?,
            Action::Setup(step) => settings::service(work, step)?,
            Action::Task(step) => settings::task(work, step)?,
            _ => {}
        }
    }
    let polite = if drops {
        former_settings(work)?;
        Some(former(work, &mut edits)?)
    } else {
        None
    };
    edits.intend(work)?;
    std::mem::take(&mut work.space).check(work.facts)?;
    Ok(Decided { trees, edits, polite })
}

/// What the former version had and this one has not: taken away politely.
fn former<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    edits: &mut Edits,
) -> Result<Polite, InstallError> {
    let Some(old) = work.old else {
        return Err(InstallError::Vanished { path: work.paths.receipts() });
    };
    let mut edited = Vec::new();
    old.receipt.records(work.machine(), 0, |record| {
        if let ReceiptRecord::Edit(edit) = record {
            edited.push(edit.path);
        }
        true
    })?;
    edits.drop_former(work, &edited)?;
    let claimed = work.claimed_paths();
    let mut leaving = Leaving {
        transaction: &mut work.transaction,
        paths: work.paths,
        receipt: &old.receipt,
        others: work.others,
        now: work.options.began,
        entered: BTreeMap::new(),
        times: &BTreeMap::new(),
        progress: &*work.progress,
        keep: true,
        stays: &mut |path| claimed.contains(path),
    };
    let polite = Polite::decide(&mut leaving)?;
    let entered = leaving.entered;
    work.entered(entered);
    Ok(polite)
}

/// Settings the former version had and this one has not.
fn former_settings<M: Machine + ?Sized>(work: &mut Work<'_, M>) -> Result<(), InstallError> {
    let Some(old) = work.old else { return Ok(()) };
    let kept: BTreeSet<_> = work.settings.keys().cloned().collect();
    let stays = |setting: &model::Setting| kept.contains(&settings::key_of(setting));
    let left = settings::take_back(&mut work.transaction, &old.receipt, work.others, &stays)?;
    work.notes.extend(left.into_iter().map(|left| format!("left as it is: {}", left.reason)));
    Ok(())
}

/// A `remove` step: what is there goes, kept for the day the package goes.
fn remove<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    path: &MachinePath,
) -> Result<(), InstallError> {
    let path = work.machine().resolve(path)?;
    let (old, others) = (work.old, work.others);
    let inherited = match old {
        Some(old) => old.receipt.removed(work.machine(), &path)?,
        None => None,
    };
    let inherited = match inherited {
        None => removed_at(work.machine(), others, &path)?,
        inherited => inherited,
    };
    work.claimed(&path);
    work.share_folders(&path)?;
    if work.machine().look(&path)?.is_none() {
        if let Some(before) = inherited {
            return work.removed(path, before);
        }
        work.note(format!("`{path}` is not there to be removed"));
        return Ok(());
    }
    // What another package brought comes back with that package, or what was there before it.
    let theirs = claims_at(work.machine(), others, &path)?.into_iter().next();
    let inherited = inherited
        .or(theirs.map(|claim| claim.before))
        .filter(|before| !matches!(before, crate::Before::Same(_)));
    let Some(saved) = work.transaction.saved_name(&path)? else { return Ok(()) };
    if let Some(folder) = path.parent() {
        work.enter(&folder)?;
    }
    work.transaction.intend(Intent::Remove { path: path.clone(), saved: Some(saved.clone()) })?;
    work.counts.removed += 1;
    work.removed(path, inherited.unwrap_or(crate::Before::Kept(saved)))
}

fn set_metadata<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    path: &MachinePath,
    meta: &model::Meta,
) -> Result<(), InstallError> {
    let path = work.machine().resolve(path)?;
    let wanted = work.raw(meta)?;
    let Some(found) = work.machine().look(&path)? else {
        work.note(format!("`{path}` is not there, so its metadata was not set"));
        return Ok(());
    };
    let wanted = if found.node.is_directory() {
        change::RawMeta { modified: found.meta.modified, ..wanted }
    } else {
        wanted
    };
    let hash = match found.node {
        change::Node::File { .. } => Some(work.machine().hash(&path)?),
        _ => None,
    };
    let before = work
        .old_claim(&path)?
        .map_or_else(|| crate::Before::Same(found.meta.clone()), |old| old.before);
    work.claimed(&path);
    work.set_meta(&path, &found, wanted.clone())?;
    work.claim(crate::Claim {
        path,
        node: found.node,
        meta: wanted,
        hash,
        before,
        version: None,
        stands: crate::Stands::Ours,
        link: None,
    })
}

/// Whether `path` matches one of the patterns of what the program makes for itself.
pub(crate) fn is_generated(patterns: &[String], path: &MachinePath) -> bool {
    glob::matches_any(patterns, path)
}
