//! Settings that are no files: decided one by one, and taken back politely.

use std::collections::{BTreeMap, BTreeSet};

use change::{Intent, Machine, MachineError, Transaction};
use model::{
    Recovery, RegistryKey, RegistryStep, RegistryValue, ServiceSetup, ServiceStart, Setting,
    SettingState, SetupStep, TaskStep, Template, ValueEdit, plain_task,
};

use crate::{
    InstallError, Installed, Leftover, ReadReceiptError, Receipt, ReceiptRecord, SettingClaim,
    work::Work,
};

/// Where the service manager keeps its services.
/// Divides the texts of lists like `Path`.
const DIVIDER: char = ';';

/// Refuses `what` where the engine was built for machines that have no such thing.
pub(crate) fn expect(what: impl FnOnce() -> String) -> Result<(), InstallError> {
    if cfg!(feature = "settings") {
        Ok(())
    } else {
        Err(InstallError::OnlyOnWindows { what: what() })
    }
}

/// Decides about one registry step.
pub(crate) fn registry<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    step: &RegistryStep,
) -> Result<(), InstallError> {
    expect(|| format!("the registry key `{}`", step.key))?;
    let key = text(work, &step.key)?;
    let key = RegistryKey::new(&key)
        .map_err(|reason| InstallError::Path { text: key, reason: reason.to_string() })?;
    if step.remove {
        return remove_key(work, &key);
    }
    let removes = |edit: &ValueEdit| matches!(edit, ValueEdit::Remove);
    let is_there = state(work, &Setting::Key(key.clone()))?.is_some();
    if is_there || step.values.is_empty() || !step.values.iter().all(|(_, edit)| removes(edit)) {
        make_key(work, &key, true)?;
    }
    for (name, edit) in &step.values {
        let setting = Setting::value(&key, &text(work, name)?);
        let (wanted, added) = match edit {
            ValueEdit::Remove => (None, Vec::new()),
            ValueEdit::AddToPath(texts) => {
                let texts = texts.iter().map(|one| text(work, one)).collect::<Result<_, _>>()?;
                add_texts(work, &setting, texts)?
            }
            edit => (Some(SettingState::Value(value(work, edit)?)), Vec::new()),
        };
        want(work, setting, wanted, added)?;
    }
    Ok(())
}

/// Decides about one service.
pub(crate) fn service<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    step: &SetupStep,
) -> Result<(), InstallError> {
    expect(|| format!("the service `{}`", step.name))?;
    let display_name = if step.display_name.is_empty() {
        step.name.to_string()
    } else {
        step.display_name.clone()
    };
    let setup = ServiceSetup {
        kind: step.kind,
        start: step.start.number(),
        error: 1,
        program: text(work, &step.program)?,
        display_name,
        description: step.description.clone(),
        account: step.account.clone(),
        dependencies: step.dependencies.clone(),
        group: String::new(),
        delayed: (!step.is_driver()).then_some(step.start == ServiceStart::Delayed),
        recovery: if step.is_driver() { None } else { Some(Box::new(recovery(work, step)?)) },
    };
    let asks = step.start == ServiceStart::Delayed || step.recovery.is_some();
    let wanted = SettingState::Service(Box::new(setup));
    let held = work.transaction.observe().holdable_setting(wanted.clone());
    if asks && held != wanted {
        work.note(format!(
            "this machine cannot hold when the service `{}` starts late, or what follows when it fails",
            step.name
        ));
    }
    want(work, Setting::Service(step.name.clone()), Some(held), Vec::new())
}

/// Decides about one scheduled task.
pub(crate) fn task<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    step: &TaskStep,
) -> Result<(), InstallError> {
    expect(|| format!("the scheduled task `{}`", step.name))?;
    let definition = plain_task(&text(work, &step.definition)?);
    let wanted = SettingState::Task(definition.into());
    let held = work.transaction.observe().holdable_setting(wanted);
    want(work, Setting::Task(step.name.clone()), Some(held), Vec::new())
}

/// What follows when a service fails, and the command line of that.
fn recovery<M: Machine + ?Sized>(
    work: &Work<'_, M>,
    step: &SetupStep,
) -> Result<(Recovery, String), InstallError> {
    let command = match &step.recovery_command {
        Some(command) => text(work, command)?,
        None => String::new(),
    };
    Ok((step.recovery.as_deref().cloned().unwrap_or_default(), command))
}

/// Writes what was decided into the receipt.
pub(crate) fn record<M: Machine + ?Sized>(work: &mut Work<'_, M>) -> Result<(), InstallError> {
    for claim in std::mem::take(&mut work.settings).into_values() {
        work.record(&ReceiptRecord::Set(claim))?;
    }
    Ok(())
}

fn text<M: Machine + ?Sized>(
    work: &Work<'_, M>,
    template: &Template,
) -> Result<String, InstallError> {
    String::from_utf8(work.expand(template)?).map_err(|_| InstallError::Path {
        text: template.to_string(),
        reason: "it is no text".to_owned(),
    })
}

fn value<M: Machine + ?Sized>(
    work: &Work<'_, M>,
    edit: &ValueEdit,
) -> Result<RegistryValue, InstallError> {
    Ok(match edit {
        ValueEdit::Text(one) => RegistryValue::text(RegistryValue::TEXT, &text(work, one)?),
        ValueEdit::Expand(one) => RegistryValue::text(RegistryValue::EXPAND, &text(work, one)?),
        ValueEdit::List(list) => {
            let list = list.iter().map(|one| text(work, one)).collect::<Result<Vec<_>, _>>()?;
            RegistryValue::list(list.iter().map(String::as_str))
        }
        ValueEdit::Dword(number) => {
            RegistryValue { kind: RegistryValue::DWORD, data: number.to_le_bytes().to_vec() }
        }
        ValueEdit::Qword(number) => {
            RegistryValue { kind: RegistryValue::QWORD, data: number.to_le_bytes().to_vec() }
        }
        ValueEdit::Raw { kind, data } => RegistryValue { kind: *kind, data: data.clone() },
        ValueEdit::Remove | ValueEdit::AddToPath(_) => RegistryValue { kind: 0, data: Vec::new() },
    })
}

/// What a setting will be once all decided so far is done.
fn state<M: Machine + ?Sized>(
    work: &Work<'_, M>,
    setting: &Setting,
) -> Result<Option<SettingState>, InstallError> {
    match work.settings.get(&key_of(setting)) {
        Some(claim) => Ok(claim.wanted.clone()),
        None => Ok(work.transaction.observe().setting(setting)?),
    }
}

/// Settings in the order they come to be: a key before what it holds, whatever the case of names.
pub(crate) fn key_of(setting: &Setting) -> (bool, model::MachinePath) {
    (!matches!(setting, Setting::Key(_)), setting.path())
}

/// Makes a key, and those above it; `own` is one the package answers for although it was there.
fn make_key<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    key: &RegistryKey,
    own: bool,
) -> Result<(), InstallError> {
    let Some(parent) = key.parent() else { return Ok(()) };
    make_key(work, &parent, false)?;
    let setting = Setting::Key(key.clone());
    // What another package made goes with the last of those that need it.
    let shared = own
        || claims_of(work.transaction.observe(), work.others, work.old, &setting)?
            .iter()
            .any(|claim| claim.before.is_none());
    if shared || state(work, &setting)?.is_none() {
        want(work, setting, Some(SettingState::Key), Vec::new())?;
    }
    Ok(())
}

fn remove_key<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    key: &RegistryKey,
) -> Result<(), InstallError> {
    let setting = Setting::Key(key.clone());
    if state(work, &setting)?.is_none() {
        work.note(format!("the {setting} is not there to be removed"));
        return Ok(());
    }
    for inner in work.transaction.observe().settings_in(key)? {
        match inner {
            Setting::Key(inner) => remove_key(work, &inner)?,
            value => want(work, value, None, Vec::new())?,
        }
    }
    want(work, setting, None, Vec::new())
}

/// The list with `texts` in it, and which of them this package answers for.
fn add_texts<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    setting: &Setting,
    texts: Vec<String>,
) -> Result<(Option<SettingState>, Vec<String>), InstallError> {
    let (mut list, kind) = match state(work, setting)? {
        Some(SettingState::Value(value)) => {
            let text = value.as_text().ok_or_else(|| InstallError::Path {
                text: setting.to_string(),
                reason: "it holds no list of texts".to_owned(),
            })?;
            (text, value.kind)
        }
        _ => (String::new(), RegistryValue::EXPAND),
    };
    let mut known: Vec<String> =
        work.settings.get(&key_of(setting)).map(|claim| claim.added.clone()).unwrap_or_default();
    let theirs = claims_of(work.transaction.observe(), work.others, work.old, setting)?;
    known.extend(theirs.into_iter().flat_map(|claim| claim.added));
    let mut added =
        work.settings.get(&key_of(setting)).map(|claim| claim.added.clone()).unwrap_or_default();
    for text in texts {
        if !holds(&list, &text) {
            if !list.is_empty() && !list.ends_with(DIVIDER) {
                list.push(DIVIDER);
            }
            list.push_str(&text);
        } else if !known.iter().any(|one| same(one, &text)) {
            // There before any package: not ours to take away.
            continue;
        }
        added.push(text);
    }
    Ok((Some(SettingState::Value(RegistryValue::text(kind, &list))), added))
}

fn holds(list: &str, text: &str) -> bool {
    list.split(DIVIDER).any(|one| same(one, text))
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Intends a setting to be as wanted, and remembers that the package answers for it.
fn want<M: Machine + ?Sized>(
    work: &mut Work<'_, M>,
    setting: Setting,
    wanted: Option<SettingState>,
    added: Vec<String>,
) -> Result<(), InstallError> {
    let standing = state(work, &setting)?;
    let before = if let Some(claim) = work.settings.get(&key_of(&setting)) {
        claim.before.clone()
    } else {
        let theirs = claims_of(work.transaction.observe(), work.others, work.old, &setting)?;
        theirs.into_iter().next().map_or_else(|| standing.clone(), |claim| claim.before)
    };
    if standing != wanted {
        work.transaction.intend(Intent::Set {
            setting: setting.clone(),
            old: standing,
            new: wanted.clone(),
        })?;
        work.counts.settings += 1;
    }
    let claim = SettingClaim { setting: setting.clone(), wanted, before, added };
    work.settings.insert(key_of(&setting), claim);
    Ok(())
}

/// What the former version, then other packages in the order they came, claim of a setting.
fn claims_of<M: Machine + ?Sized>(
    machine: &M,
    others: &[Installed],
    old: Option<&Installed>,
    setting: &Setting,
) -> Result<Vec<SettingClaim>, ReadReceiptError> {
    let mut claims = Vec::new();
    for one in old.into_iter().chain(others) {
        claims.extend(one.receipt.setting(machine, setting)?);
    }
    Ok(claims)
}

/// Takes back what `receipt` claims and `stays` does not keep. Answers what stays although it should go.
pub(crate) fn take_back<M: Machine + ?Sized>(
    transaction: &mut Transaction<'_, M>,
    receipt: &Receipt,
    others: &[Installed],
    stays: &dyn Fn(&Setting) -> bool,
) -> Result<Vec<Leftover>, InstallError> {
    if !cfg!(feature = "settings") {
        return Ok(Vec::new());
    }
    let mut claims = BTreeMap::new();
    receipt.records(transaction.observe(), 0, |record| {
        if let ReceiptRecord::Set(claim) = record {
            claims.insert(key_of(&claim.setting), claim);
        }
        true
    })?;
    let mut gone = BTreeSet::new();
    let mut leftovers = Vec::new();
    // Values before keys, and keys before those above them.
    for (place, claim) in claims.into_iter().rev() {
        if stays(&claim.setting) {
            continue;
        }
        let standing = transaction.observe().setting(&claim.setting)?;
        let theirs = claims_of(transaction.observe(), others, None, &claim.setting)?;
        let Ok(target) = target(&claim, standing.as_ref(), &theirs) else {
            let reason = format!("the {} was changed since", claim.setting);
            leftovers.push(Leftover { path: claim.setting.path(), reason });
            continue;
        };
        if target == standing {
            continue;
        }
        if let (Setting::Key(key), None) = (&claim.setting, &target)
            && goes_with_its_service(key, &gone)
        {
            gone.insert(place);
            continue;
        }
        if let (Setting::Key(key), None) = (&claim.setting, &target)
            && holds_more(transaction.observe(), key, &gone)?
        {
            let reason = format!("the {} holds what others put there", claim.setting);
            leftovers.push(Leftover { path: claim.setting.path(), reason });
            continue;
        }
        if target.is_none() {
            gone.insert(place);
        }
        let setting = claim.setting;
        transaction.intend(Intent::Set { setting, old: standing, new: target })?;
    }
    Ok(leftovers)
}

/// Somebody changed a setting since the package came.
struct ChangedSince;

/// What a setting becomes when the package goes.
fn target(
    claim: &SettingClaim,
    standing: Option<&SettingState>,
    theirs: &[SettingClaim],
) -> Result<Option<SettingState>, ChangedSince> {
    let wanted = |others: &[SettingClaim]| match others.last() {
        Some(last) => last.wanted.clone(),
        None => claim.before.clone(),
    };
    if !claim.added.is_empty()
        && let Some(SettingState::Value(value)) = standing
        && (Some(value) != as_value(claim.wanted.as_ref()) || !theirs.is_empty())
        && let Some(text) = value.as_text()
    {
        let keeps =
            |text: &str| theirs.iter().flat_map(|one| &one.added).any(|one| same(one, text));
        let goes = |text: &&str| claim.added.iter().any(|one| same(one, text)) && !keeps(text);
        let left: Vec<&str> = text.split(DIVIDER).filter(|text| !goes(text)).collect();
        let value = RegistryValue::text(value.kind, &left.join(";"));
        return Ok((!left.is_empty()).then_some(SettingState::Value(value)));
    }
    match standing {
        // Somebody took it away already.
        None if claim.wanted.is_some() => Ok(None),
        standing if standing == claim.wanted.as_ref() => Ok(wanted(theirs)),
        standing if theirs.iter().any(|other| other.wanted.as_ref() == standing) => {
            Ok(standing.cloned())
        }
        _ => Err(ChangedSince),
    }
}

fn as_value(state: Option<&SettingState>) -> Option<&RegistryValue> {
    match state {
        Some(SettingState::Value(value)) => Some(value),
        _ => None,
    }
}

/// Whether the manager keeps a service that goes in it: it takes the key away itself, with what it put there.
fn goes_with_its_service(key: &RegistryKey, gone: &BTreeSet<(bool, model::MachinePath)>) -> bool {
    key.service().is_some_and(|name| gone.contains(&key_of(&Setting::Service(name.into()))))
}

fn holds_more<M: Machine + ?Sized>(
    machine: &M,
    key: &RegistryKey,
    gone: &BTreeSet<(bool, model::MachinePath)>,
) -> Result<bool, MachineError> {
    Ok(machine.settings_in(key)?.iter().any(|inner| !gone.contains(&key_of(inner))))
}
