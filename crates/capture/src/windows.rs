//! What a Windows installer did beside files, and where everything goes on another Windows machine.

use std::collections::BTreeMap;

use model::{
    Condition, MachinePath, Part, RegistryKey, RegistryStep, RegistryValue, ServiceStart, Setting,
    SetupStep, Template, ValueEdit,
};
use script::{Step, StepKind, TreeSource};
use serde::Deserialize;

use crate::{Draft, Excluded, Facts, Registry, Remark, Understood};

const RULES: &str = include_str!("../rules/windows-registry.toml");
const SERVICES: &str = r"HKLM\SYSTEM\CurrentControlSet\Services";

#[derive(Deserialize)]
struct RuleFile {
    rule: Vec<KeyRule>,
}

#[derive(Deserialize)]
struct KeyRule {
    key: String,
    reason: String,
}

impl KeyRule {
    /// Whether the rule's key is `key` or above it; `*` is any one name.
    fn covers(&self, key: &RegistryKey) -> bool {
        let mut names = key.as_str().split('\\');
        self.key
            .split('\\')
            .all(|wanted| names.next().is_some_and(|name| wanted == "*" || same(wanted, name)))
    }
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// Adds to a draft what became of the registry between two times, and makes folders every Windows machine has
/// variables.
pub fn add_registry(draft: &mut Draft, before: &Registry, after: &Registry, facts: &Facts) {
    let folders = Folders::of(facts);
    for step in &mut draft.script.steps {
        generalise(&mut step.kind, &folders);
    }
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
    let mut excluded: BTreeMap<usize, Vec<MachinePath>> = BTreeMap::new();
    let mut keys: BTreeMap<RegistryKey, KeyChange> = BTreeMap::new();
    let mut counted = 0;
    for (place, (setting, value)) in &after.settings {
        let old = before.settings.get(place);
        if old.is_some_and(|(_, old)| old == value) {
            continue;
        }
        let Some(key) = setting.key() else { continue };
        counted += 1;
        if let Some(rule) = rules.rule.iter().position(|rule| rule.covers(key)) {
            excluded.entry(rule).or_default().push(place.clone());
            continue;
        }
        let change = keys.entry(key.clone()).or_default();
        match (setting, value) {
            (Setting::Value { name, .. }, Some(value)) => {
                change.values.push((name.to_string(), Some(value.clone())));
            }
            _ => change.is_new = true,
        }
    }
    for (place, (setting, _)) in &before.settings {
        let Some(key) = setting.key().filter(|_| !after.settings.contains_key(place)) else {
            continue;
        };
        counted += 1;
        if let Some(rule) = rules.rule.iter().position(|rule| rule.covers(key)) {
            excluded.entry(rule).or_default().push(place.clone());
            continue;
        }
        let change = keys.entry(key.clone()).or_default();
        match setting {
            Setting::Value { name, .. } => change.values.push((name.to_string(), None)),
            _ => change.is_gone = true,
        }
    }
    draft.report.counts.changes += counted;
    for (rule, paths) in excluded {
        draft.report.counts.excluded += paths.len();
        draft.report.excluded.push(Excluded {
            rule: format!("windows-registry.toml:{}", rules.rule[rule].key),
            class: "drop".to_owned(),
            trigger: None,
            reason: rules.rule[rule].reason.clone(),
            paths,
        });
    }
    let services = take_services(&mut keys, &folders, draft);
    let steps = registry_steps(&keys, &folders, draft);
    if !steps.is_empty() {
        draft.comments.steps.insert(draft.script.steps.len(), "Registry".to_owned());
    }
    draft.script.steps.extend(steps.into_iter().map(StepKind::Registry).map(step));
    if !services.is_empty() {
        draft.comments.steps.insert(draft.script.steps.len(), "Services".to_owned());
    }
    draft.script.steps.extend(services.into_iter().map(StepKind::Setup).map(step));
    let program = draft.script.programs.entry("install".into()).or_insert_with(|| model::Program {
        detect: None,
        requires: None,
        exit_codes: BTreeMap::new(),
        estimate: None,
    });
    program.requires = Some(is_windows());
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
    values: Vec<(String, Option<RegistryValue>)>,
}

fn step(kind: StepKind) -> Step {
    Step { when: None, kind }
}

fn registry_steps(
    keys: &BTreeMap<RegistryKey, KeyChange>,
    folders: &Folders,
    draft: &mut Draft,
) -> Vec<RegistryStep> {
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
        let values = if change.is_gone { &[][..] } else { &change.values };
        steps.push(RegistryStep {
            key: Template::literal(key.as_str()),
            values: values
                .iter()
                .map(|(name, value)| {
                    let edit =
                        value.as_ref().map_or(ValueEdit::Remove, |value| edit(value, folders));
                    (Template::literal(name.as_str()), edit)
                })
                .collect(),
            remove: change.is_gone,
        });
    }
    steps
}

fn edit(value: &RegistryValue, folders: &Folders) -> ValueEdit {
    let raw = || ValueEdit::Raw { kind: value.kind, data: value.data.clone() };
    let text = |text: String| folders.within(&text);
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

/// New services become steps of their own; what a service keeps below its key stays in the registry.
fn take_services(
    keys: &mut BTreeMap<RegistryKey, KeyChange>,
    folders: &Folders,
    draft: &mut Draft,
) -> Vec<SetupStep> {
    let Ok(services) = RegistryKey::new(SERVICES) else { return Vec::new() };
    let names: Vec<RegistryKey> = keys
        .iter()
        .filter(|(key, change)| {
            change.is_new && key.parent().is_some_and(|parent| parent == services)
        })
        .map(|(key, _)| key.clone())
        .collect();
    let mut steps = Vec::new();
    for key in names {
        let Some(change) = keys.get(&key) else { continue };
        let value =
            |name: &str| change.values.iter().find(|(other, _)| same(other, name))?.1.as_ref();
        let text = |name: &str| value(name).and_then(RegistryValue::as_text).unwrap_or_default();
        let number = |name: &str| {
            let bytes = value(name)?.data.as_slice().try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        let (Some(kind), false) = (number("Type"), text("ImagePath").is_empty()) else { continue };
        let account = text("ObjectName");
        steps.push(SetupStep {
            name: key.name().into(),
            program: folders.within(&text("ImagePath")),
            kind: if [16, 32, 1, 2].contains(&kind) { kind } else { 16 },
            start: match number("Start") {
                Some(0) => ServiceStart::Boot,
                Some(1) => ServiceStart::System,
                Some(2) => ServiceStart::Automatic,
                Some(4) => ServiceStart::Disabled,
                _ => ServiceStart::Manual,
            },
            display_name: text("DisplayName"),
            description: text("Description"),
            account: if same(&account, "LocalSystem") { String::new() } else { account },
            dependencies: value("DependOnService")
                .and_then(RegistryValue::as_list)
                .unwrap_or_default(),
            now: false,
        });
        let place = Setting::Key(key.clone()).path();
        draft.report.counts.understood += change.values.len() + 1;
        let understood = Understood { path: place, r#as: format!("the service {}", key.name()) };
        draft.report.understood.push(understood);
        keys.remove(&key);
    }
    steps
}

/// Folders of the reference machine and the variables every Windows machine has for its own.
struct Folders(Vec<(String, &'static str)>);

impl Folders {
    fn of(facts: &Facts) -> Self {
        let known = [
            (r"C:\Program Files", "program-files"),
            (r"C:\Program Files (x86)", "program-files-x86"),
            (r"C:\Program Files\Common Files", "common-files"),
            (r"C:\Program Files (x86)\Common Files", "common-files-x86"),
            (r"C:\ProgramData", "program-data"),
            (r"C:\ProgramData\Microsoft\Windows\Start Menu\Programs", "start-menu"),
            (r"C:\windows", "windows"),
            (r"C:\windows\Fonts", "fonts"),
            (r"C:\windows\system32", "system"),
            (r"C:\windows\syswow64", "system-x86"),
            (r"C:\users\Public", "public"),
            (r"C:\users\Public\Desktop", "common-desktop"),
        ];
        let mut all: Vec<(String, &'static str)> =
            known.into_iter().map(|(folder, name)| (folder.to_owned(), name)).collect();
        if let Some(user) = &facts.user {
            let own = [
                ("", "user-profile"),
                (r"\AppData\Roaming", "app-data"),
                (r"\AppData\Local", "local-app-data"),
                (r"\AppData\Roaming\Microsoft\Windows\Start Menu\Programs", "user-start-menu"),
                (r"\Desktop", "desktop"),
            ];
            all.extend(own.map(|(below, name)| (format!(r"C:\users\{user}{below}"), name)));
        }
        // The longest that fits is what is meant.
        all.sort_by_key(|(folder, _)| std::cmp::Reverse(folder.len()));
        Self(all)
    }

    /// A text with such folders made variables, wherever they stand as whole parts.
    fn within(&self, text: &str) -> Template {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        'text: while !rest.is_empty() {
            for (folder, name) in &self.0 {
                let ends = |tail: &str| {
                    tail.is_empty() || tail.starts_with(['\\', '"', ';', ',', '/', '\''])
                };
                if let Some(tail) = strip(rest, folder).filter(|tail| ends(tail)) {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal).into_bytes()));
                    }
                    parts.push(Part::Variable((*name).into()));
                    rest = tail;
                    continue 'text;
                }
            }
            let mut letters = rest.chars();
            literal.extend(letters.next());
            rest = letters.as_str();
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into_bytes()));
        }
        Template(parts)
    }
}

fn strip<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    let head = text.get(..start.len())?;
    same(head, start).then(|| &text[start.len()..])
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
            if let TreeSource::Tree(source) | TreeSource::File(source) = &mut tree.source {
                *source = without_colon(source.as_bytes()).into();
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
