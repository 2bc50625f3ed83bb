//! Two machines in memory, for tests: what an installer found and what it left.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Read},
};

use model::{Content, Entry, Hash, Kind, MachinePath, Meta, Owner, PackageName, Time, Version};

use crate::{
    CapturedFiles, Change, ChangeSet, Draft, Facts, Options, Rules, Side, UserFact, draft,
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Machines {
    before: BTreeMap<MachinePath, (Entry, Vec<u8>)>,
    after: BTreeMap<MachinePath, (Entry, Vec<u8>)>,
}

pub(crate) fn path(text: &str) -> MachinePath {
    text.parse().unwrap()
}

fn meta(mode: u16) -> Meta {
    Meta::of_root(mode, Time { seconds: 1_700_000_000, nanoseconds: 0 })
}

fn entry(kind: Kind, mode: u16) -> Entry {
    Entry { kind, meta: meta(mode) }
}

fn file(bytes: &[u8]) -> Kind {
    Kind::File(Content {
        length: bytes.len() as u64,
        hash: Some(Hash::of(bytes)),
        holes: Vec::new(),
    })
}

impl Machines {
    /// Something both have.
    pub(crate) fn had(mut self, at: &str, text: &str) -> Self {
        self = self.folders(at, true);
        let value = (entry(file(text.as_bytes()), 0o644), text.as_bytes().to_vec());
        self.before.insert(path(at), value.clone());
        self.after.insert(path(at), value);
        self
    }

    /// A folder both have.
    pub(crate) fn had_folder(self, at: &str) -> Self {
        self.folders(&format!("{at}/x"), true)
    }

    /// A file the installer wrote.
    pub(crate) fn file(self, at: &str, text: impl AsRef<[u8]>) -> Self {
        self.file_of(at, text, 0o644)
    }

    pub(crate) fn file_of(mut self, at: &str, text: impl AsRef<[u8]>, mode: u16) -> Self {
        self = self.folders(at, false);
        let bytes = text.as_ref();
        let mut new = entry(file(bytes), mode);
        new.meta.modified.seconds += 100;
        self.after.insert(path(at), (new, bytes.to_vec()));
        self
    }

    /// A link the installer made.
    pub(crate) fn link(mut self, at: &str, target: &str) -> Self {
        self = self.folders(at, false);
        self.after.insert(path(at), (entry(Kind::Symlink(target.into()), 0o777), Vec::new()));
        self
    }

    /// A link both have.
    pub(crate) fn had_link(mut self, at: &str, target: &str) -> Self {
        self = self.folders(at, true);
        let value = (entry(Kind::Symlink(target.into()), 0o777), Vec::new());
        self.before.insert(path(at), value.clone());
        self.after.insert(path(at), value);
        self
    }

    pub(crate) fn hard_link(mut self, at: &str, first: &str) -> Self {
        self = self.folders(at, false);
        self.after.insert(path(at), (entry(Kind::HardLink(path(first)), 0o644), Vec::new()));
        self
    }

    pub(crate) fn special(mut self, at: &str, kind: Kind) -> Self {
        self = self.folders(at, false);
        self.after.insert(path(at), (entry(kind, 0o644), Vec::new()));
        self
    }

    pub(crate) fn folder(mut self, at: &str, mode: u16) -> Self {
        self = self.folders(at, false);
        self.after.insert(path(at), (entry(Kind::Directory, mode), Vec::new()));
        self
    }

    pub(crate) fn without(mut self, at: &str) -> Self {
        self.after.retain(|other, _| !other.is_within(&path(at)));
        self
    }

    pub(crate) fn touch(mut self, at: &str) -> Self {
        self.after.get_mut(&path(at)).unwrap().0.meta.modified.seconds += 7;
        self
    }

    pub(crate) fn chown(mut self, at: &str, owner: &str) -> Self {
        self.after.get_mut(&path(at)).unwrap().0.meta.owner = Owner::Name(owner.into());
        self
    }

    fn folders(mut self, at: &str, both: bool) -> Self {
        for folder in path(at).ancestors() {
            let value = (entry(Kind::Directory, 0o755), Vec::new());
            if both {
                self.before.entry(folder.clone()).or_insert_with(|| value.clone());
            }
            self.after.entry(folder).or_insert(value);
        }
        self
    }

    pub(crate) fn changes(&self) -> ChangeSet {
        let mut changes = BTreeMap::new();
        for at in self.before.keys().chain(self.after.keys()) {
            let side = |all: &BTreeMap<MachinePath, (Entry, Vec<u8>)>| {
                all.get(at).map(|(entry, _)| entry.clone())
            };
            let change = Change { before: side(&self.before), after: side(&self.after) };
            if change.before != change.after {
                changes.insert(at.clone(), change);
            }
        }
        ChangeSet { changes, touched: BTreeMap::new() }
    }

    pub(crate) fn draft(&self) -> Draft {
        self.draft_with(&self.changes(), &Facts::from_toml("").unwrap(), &options())
    }

    pub(crate) fn draft_with(
        &self,
        changes: &ChangeSet,
        facts: &Facts,
        options: &Options,
    ) -> Draft {
        let rules = Rules::linux_and(Vec::new()).unwrap();
        draft(changes, self, facts, &rules, options).unwrap()
    }
}

/// The facts of a machine called `web`, on which `alice` packages.
pub(crate) fn facts() -> Facts {
    Facts {
        host_name: "packhorse-1a2b3c4d".into(),
        real_host_name: "web".into(),
        machine_ids: vec!["0123456789abcdef0123456789abcdef".into()],
        addresses: vec!["127.0.0.1".into(), "10.0.2.15".into()],
        hardware_addresses: Vec::new(),
        users: vec![UserFact {
            name: "alice".into(),
            uid: 1000,
            gid: 1000,
            home: path("/home/alice"),
        }],
        user: Some("alice".into()),
        boot_id: String::new(),
        temporary_folders: vec![path("/tmp"), path("/tmp/capture-7")],
        kernel: String::new(),
        os_release: BTreeMap::new(),
    }
}

pub(crate) fn options() -> Options {
    Options::new(PackageName::new("app").unwrap(), Version::new("1.0"))
}

impl CapturedFiles for Machines {
    fn open(&self, at: &MachinePath, side: Side) -> io::Result<Option<Box<dyn Read + '_>>> {
        let all = if side == Side::Before { &self.before } else { &self.after };
        Ok(match all.get(at) {
            Some((Entry { kind: Kind::File(_), .. }, bytes)) => Some(Box::new(&bytes[..])),
            Some((Entry { kind: Kind::HardLink(first), .. }, _)) => return self.open(first, side),
            _ => None,
        })
    }

    fn entry(&self, at: &MachinePath, side: Side) -> io::Result<Option<Entry>> {
        let all = if side == Side::Before { &self.before } else { &self.after };
        Ok(all.get(at).map(|(entry, _)| entry.clone()))
    }
}

/// Steps in one line each, for tests to look at.
pub(crate) fn steps(draft: &Draft) -> String {
    let lines: Vec<String> = draft.script.steps.iter().map(|step| line(&step.kind)).collect();
    lines.join("\n")
}

fn line(kind: &script::StepKind) -> String {
    use model::{AccountStep, LineEdit};
    use script::{StepKind, TreeSource};
    match kind {
        StepKind::Tree(tree) => {
            let mut line = match &tree.source {
                TreeSource::Tree(from) => format!("install-tree {from} to {}", tree.to),
                TreeSource::File(from) => format!("install-file {from} to {}", tree.to),
                TreeSource::Directory(meta) => {
                    format!("create-directory {} {:o} {}", tree.to, meta.mode, meta.owner)
                }
                TreeSource::Link { target, .. } => format!("create-link {} -> {target}", tree.to),
                TreeSource::Shortcut(shortcut) => {
                    format!("create-shortcut {} -> {}", tree.to, shortcut.target)
                }
            };
            for one in &tree.replacements {
                let files = one.files.join(" ");
                let _ = write!(line, "\n  {files} {} => {}", one.text, one.with);
            }
            if !tree.except.is_empty() {
                line = line + "\n  except " + &tree.except.join(" ");
            }
            line
        }
        StepKind::Remove { path } => format!("remove {path}"),
        StepKind::SetMetadata { path, meta } => {
            format!("set-metadata {path} {:o} {}:{}", meta.mode, meta.owner, meta.group)
        }
        StepKind::Edit(edit) => {
            let mut line = format!("edit {}", edit.file);
            for one in &edit.edits {
                let text = |value: &Option<model::Template>| {
                    value.as_ref().map_or("nothing".to_owned(), ToString::to_string)
                };
                let one = match one {
                    LineEdit::Add { line, after: None } => format!("\n  + {line}"),
                    LineEdit::Add { line, after: Some(after) } => {
                        format!("\n  + {line} (after {after})")
                    }
                    LineEdit::Remove { line } => format!("\n  - {line}"),
                    LineEdit::Ini { section, key, value } => {
                        format!("\n  [{section}] {key} = {}", text(value))
                    }
                    LineEdit::Assignment { key, value } => format!("\n  {key}={}", text(value)),
                    LineEdit::PathList { key, folder, first } => {
                        format!("\n  {key}: {folder} {}", if *first { "first" } else { "last" })
                    }
                };
                line.push_str(&one);
            }
            line
        }
        StepKind::Account(AccountStep::Group { name, system, id }) => {
            format!("create-group {name} system={system} id={id:?}")
        }
        StepKind::Account(AccountStep::User { name, system, id, group, home, shell, comment }) => {
            format!(
                "create-user {name} system={system} id={id:?} group={group:?} {home} {shell} `{comment}`"
            )
        }
        StepKind::Account(AccountStep::Membership { user, group }) => {
            format!("add-to-group {user} {group}")
        }
        StepKind::Service(service) => {
            format!("service {} {:?} now={}", service.unit, service.start, service.now)
        }
        StepKind::Registry(step) => format!("registry {} {:?}", step.key, step.values),
        StepKind::Setup(setup) => format!("create service {} {}", setup.name, setup.program),
        StepKind::Task(task) => format!("create task {} {}", task.name, task.definition),
        StepKind::Library(library) => format!("register library {}", library.file),
        StepKind::Alternative(one) => {
            let mut line =
                format!("alternative {} {} -> {} {}", one.name, one.link, one.path, one.priority);
            for (name, link, path) in &one.followers {
                let _ = write!(line, "\n  {name} {link} -> {path}");
            }
            line
        }
        StepKind::Trigger { name } => format!("trigger {name}"),
        StepKind::Run(_) => "run".to_owned(),
    }
}
