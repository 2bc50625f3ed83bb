//! What a Windows installer did beside files, and where everything goes on another Windows machine.

mod folders;
mod identity;
mod meaning;
mod services;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use model::{
    Condition, MachinePath, RegistryKey, RegistryStep, RegistryValue, Setting, Template, Users,
    ValueEdit,
};
use script::{Step, StepKind, TreeSource};
use serde::Deserialize;

pub(crate) use self::folders::Folders;
use self::{identity::Identity, meaning::Meaning};
use crate::{Draft, Excluded, Facts, Registry, Remark, SettingChange, Understood};

const RULES: &str = include_str!("../rules/windows-registry.toml");

#[derive(Deserialize)]
struct RuleFile {
    rule: Vec<KeyRule>,
}

#[derive(Deserialize)]
struct KeyRule {
    key: String,
    /// Only values whose names begin so.
    #[serde(default)]
    values: Option<String>,
    reason: String,
}

impl KeyRule {
    /// Whether the rule's key is that of `setting` or above it, and the value one it is about; `*` is any one name.
    fn covers(&self, setting: &Setting) -> bool {
        let Some(key) = setting.key() else { return false };
        let mut names = key.as_str().split('\\');
        let is_below = self
            .key
            .split('\\')
            .all(|wanted| names.next().is_some_and(|name| wanted == "*" || same(wanted, name)));
        let is_meant = self.values.as_deref().is_none_or(|start| {
            matches!(setting, Setting::Value { name, .. }
                if name.get(..start.len()).is_some_and(|head| same(head, start)))
        });
        is_below && is_meant
    }
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Adds to a draft what became of the registry between two times, and makes folders every Windows machine has
/// variables.
pub fn add_registry(draft: &mut Draft, before: &Registry, after: &Registry, facts: &Facts) {
    let folders = Folders::of(facts);
    let identity = Identity::of(before);
    for payload in &mut draft.payload {
        payload.path = without_colon(&payload.path).into_bytes();
    }
    for meta in &mut draft.files_meta {
        meta.path = without_colon(&meta.path).into_bytes();
        if let model::Kind::HardLink(first) = &mut meta.entry.kind
            && let Ok(named) = MachinePath::new(without_colon(first.as_bytes()))
        {
            *first = named;
        }
    }
    let rules: RuleFile = toml_edit::de::from_str(RULES).unwrap_or(RuleFile { rule: Vec::new() });
    let mut sifted = Sifted::of(before, after, &rules, &identity);
    sifted.report(&rules, draft);
    let places = Places { folders, identity };
    for step in &mut draft.script.steps {
        generalise(&mut step.kind, &places.folders);
        if let StepKind::Task(task) = &mut step.kind {
            draft.report.review.extend(tasks::generalise(task, &places));
        }
    }
    let services = services::take(&mut sifted.keys, &places, draft);
    let mut steps = registry_steps(&sifted.keys, &places, draft);
    // What belongs together stands together, the rest first.
    steps.sort_by_key(|(meaning, _)| *meaning);
    let mut last = None;
    for (meaning, one) in steps {
        if last != Some(meaning) {
            let title = meaning.map_or("Registry", Meaning::title);
            draft.comments.steps.insert(draft.script.steps.len(), title.to_owned());
            last = Some(meaning);
        }
        draft.script.steps.push(step(StepKind::Registry(one)));
    }
    if !services.is_empty() {
        draft.comments.steps.insert(draft.script.steps.len(), "Services".to_owned());
    }
    draft.script.steps.extend(services.into_iter().map(StepKind::Setup).map(step));
    // What every user has is for whoever installs until somebody says otherwise.
    for step in &mut draft.script.steps {
        if step.kind.place().is_some_and(Users::have) {
            step.users = vec![Users::Current];
        }
    }
    let program = draft.script.programs.entry("install".into()).or_insert_with(|| model::Program {
        detect: None,
        requires: None,
        exit_codes: BTreeMap::new(),
        estimate: None,
    });
    program.requires = Some(is_windows());
}

/// The registry's changes, told apart: what the script says, and what stays on the reference machine and why.
#[derive(Default)]
struct Sifted {
    keys: BTreeMap<RegistryKey, KeyChange>,
    /// Places by the rule that leaves them out.
    excluded: BTreeMap<usize, Vec<MachinePath>>,
    /// Places by what they tell about the reference machine.
    identifying: BTreeMap<&'static str, Vec<MachinePath>>,
    counted: usize,
}

impl Sifted {
    fn of(before: &Registry, after: &Registry, rules: &RuleFile, identity: &Identity) -> Self {
        let mut sifted = Self::default();
        for SettingChange { setting, before, after } in before.changes(after) {
            let setting = &setting;
            let Some(key) = setting.key() else { continue };
            sifted.counted += 1;
            if let Some(rule) = rules.rule.iter().position(|rule| rule.covers(setting)) {
                sifted.excluded.entry(rule).or_default().push(setting.path());
                continue;
            }
            if let Some(value) = after
                && let Some(reason) = kept(identity, setting, value)
            {
                sifted.identifying.entry(reason).or_default().push(setting.path());
                continue;
            }
            let change = sifted.keys.entry(key.clone()).or_default();
            match setting {
                Setting::Value { name, .. } => change.values.push(ValueChange {
                    name: name.to_string(),
                    old: before.flatten().cloned(),
                    new: after.flatten().cloned(),
                }),
                _ if after.is_some() => change.is_new = true,
                _ => change.is_gone = true,
            }
        }
        sifted
    }

    /// Nothing is left out silently.
    fn report(&self, rules: &RuleFile, draft: &mut Draft) {
        draft.report.counts.changes += self.counted;
        for (rule, paths) in &self.excluded {
            draft.report.counts.excluded += paths.len();
            draft.report.excluded.push(Excluded {
                rule: format!("windows-registry.toml:{}", rules.rule[*rule].key),
                class: "drop".to_owned(),
                trigger: None,
                reason: rules.rule[*rule].reason.clone(),
                paths: paths.clone(),
            });
        }
        for (reason, paths) in &self.identifying {
            draft.report.counts.excluded += paths.len();
            draft.report.excluded.push(Excluded {
                rule: "identity of the reference machine".to_owned(),
                class: "drop".to_owned(),
                trigger: None,
                reason: (*reason).to_owned(),
                paths: paths.clone(),
            });
        }
    }
}

/// Why a key or value stays on the reference machine.
fn kept(
    identity: &Identity,
    setting: &Setting,
    value: Option<&RegistryValue>,
) -> Option<&'static str> {
    identity.keeps(setting.key()?.as_str()).or_else(|| match setting {
        Setting::Value { name, .. } => identity.keeps_value(name, value?),
        _ => None,
    })
}

/// What is elsewhere on other machines: folders, and the machine's name.
struct Places {
    folders: Folders,
    identity: Identity,
}

impl Places {
    fn within(&self, text: &str) -> Template {
        self.identity.within(self.folders.within(text))
    }
}

/// `machine.os == "windows"`
fn is_windows() -> Condition {
    Condition::Compare {
        left: model::Value::Fact(model::Fact::Os),
        comparison: model::Comparison::Equal,
        right: model::Value::Text(Template::literal("windows")),
    }
}

#[derive(Default)]
struct KeyChange {
    is_new: bool,
    is_gone: bool,
    values: Vec<ValueChange>,
}

/// A value before and after.
struct ValueChange {
    name: String,
    old: Option<RegistryValue>,
    new: Option<RegistryValue>,
}

fn step(kind: StepKind) -> Step {
    Step { when: None, users: Vec::new(), kind }
}

fn registry_steps(
    keys: &BTreeMap<RegistryKey, KeyChange>,
    places: &Places,
    draft: &mut Draft,
) -> Vec<(Option<Meaning>, RegistryStep)> {
    let mut steps = Vec::new();
    for (key, change) in keys {
        // A key that went took along what was below it; one that holds a new key comes with that.
        let gone_above = |key: &RegistryKey| {
            std::iter::successors(key.parent(), RegistryKey::parent)
                .any(|above| keys.get(&above).is_some_and(|above| above.is_gone))
        };
        if gone_above(key) {
            continue;
        }
        let carries = change.values.is_empty()
            && !change.is_gone
            && keys.keys().any(|other| other != key && other.is_within(key));
        if carries {
            continue;
        }
        if change.is_gone {
            let text =
                "the installer removed this key; keep the step only if no other program needs it";
            draft.report.review.push(Remark::at(&Setting::Key(key.clone()).path(), text));
        }
        let meaning = Meaning::of(key);
        let mut values = Vec::new();
        for change in change.values.iter().filter(|_| !change.is_gone) {
            let setting = Setting::value(key, &change.name);
            if let Some(what) = meaning.and_then(|meaning| meaning.sentence(key, &change.name)) {
                draft.report.counts.understood += 1;
                draft.report.understood.push(Understood { path: setting.path(), r#as: what });
            }
            values.push((Template::literal(change.name.as_str()), edit(change, places)));
        }
        let key = Template::literal(key.as_str());
        steps.push((meaning, RegistryStep { key, values, remove: change.is_gone }));
    }
    steps
}

fn edit(change: &ValueChange, places: &Places) -> ValueEdit {
    let Some(value) = &change.new else { return ValueEdit::Remove };
    if let Some(added) = change.old.as_ref().and_then(|old| meaning::added_to_list(old, value)) {
        return ValueEdit::AddToPath(added.iter().map(|one| places.within(one)).collect());
    }
    let raw = || ValueEdit::Raw { kind: value.kind, data: value.data.clone() };
    let text = |text: String| places.within(&text);
    match value.kind {
        RegistryValue::TEXT => value.as_text().map_or_else(raw, |it| ValueEdit::Text(text(it))),
        RegistryValue::EXPAND => value.as_text().map_or_else(raw, |it| ValueEdit::Expand(text(it))),
        RegistryValue::LIST => value
            .as_list()
            .map_or_else(raw, |list| ValueEdit::List(list.into_iter().map(text).collect())),
        RegistryValue::DWORD => {
            let bytes = value.data.as_slice().try_into();
            bytes.map_or_else(|_| raw(), |bytes| ValueEdit::Dword(u32::from_le_bytes(bytes)))
        }
        RegistryValue::QWORD => {
            let bytes = value.data.as_slice().try_into();
            bytes.map_or_else(|_| raw(), |bytes| ValueEdit::Qword(u64::from_le_bytes(bytes)))
        }
        _ => raw(),
    }
}

fn generalise(kind: &mut StepKind, folders: &Folders) {
    let place = |template: &mut Template| {
        let Some(path) = template.as_literal().and_then(|bytes| MachinePath::new(bytes).ok())
        else {
            return;
        };
        if let Some(text) = path.on_drive().and_then(|bytes| String::from_utf8(bytes).ok()) {
            *template = folders.within(&text);
        }
    };
    match kind {
        StepKind::Tree(tree) => {
            place(&mut tree.to);
            match &mut tree.source {
                TreeSource::Tree(source) | TreeSource::File(source) => {
                    *source = without_colon(source.as_bytes()).into();
                }
                TreeSource::Shortcut(shortcut) => {
                    let step = &mut **shortcut;
                    for text in [
                        &mut step.target,
                        &mut step.arguments,
                        &mut step.folder,
                        &mut step.icon,
                        &mut step.description,
                    ] {
                        let literal =
                            text.as_literal().map(|it| String::from_utf8_lossy(it).into_owned());
                        if let Some(literal) = literal {
                            *text = folders.within(&literal);
                        }
                    }
                }
                _ => {}
            }
        }
        StepKind::Remove { path } | StepKind::SetMetadata { path, .. } => place(path),
        StepKind::Edit(edit) => place(&mut edit.file),
        _ => {}
    }
}

/// `files/C:/x` as `files/C/x`, which every file system holds.
fn without_colon(path: &[u8]) -> String {
    String::from_utf8_lossy(path).replacen("files/C:", "files/C", 1)
}
