//! How the payload reads: a few steps a person can follow, instead of one per file.

use std::collections::{BTreeMap, BTreeSet};

use model::{Entry, Kind, MachinePath, ReplaceRule, Template};
use script::{FileMeta, StepKind, TextReplacement, TreeSource, TreeStep};

use super::{Payload, payload::Files};
use crate::generalise::General;

/// The folder of a project that holds the payload; below it paths are those of the target.
const FILES: &str = "files";

/// The payload as steps.
pub(super) struct Grouped {
    pub(super) steps: Vec<StepKind>,
    pub(super) files_meta: Vec<FileMeta>,
    pub(super) payload: Vec<Payload>,
}

/// More folders than this read better inside the tree beside them than as a step each.
const FOLDER_STEPS: usize = 8;

/// A step's part of the payload: `root` and the carried entries below it.
struct Group {
    root: MachinePath,
    entries: BTreeSet<MachinePath>,
}

/// Groups the payload:
/// - the prefix is one step;
/// - a new folder that holds folders only is a `create-directory` step for each of them, unless there
///   are many and a tree beside them that takes them in;
/// - a new folder right below `/opt` or `/srv` is one step;
/// - what else lies below one top folder is one step at the deepest folder that holds all of it. The
///   folders between are carriers: they existed before, stand in no `files.meta`, and stay as they are.
pub(super) fn group(files: &Files, general: &General) -> Grouped {
    let (folders, groups) = split(files, general.prefix.as_ref());
    let mut steps = Vec::new();
    let mut in_steps: BTreeSet<&MachinePath> = BTreeSet::new();
    let roots: Vec<&MachinePath> = groups.iter().map(|group| &group.root).collect();
    let mut tree_steps = Vec::new();
    for group in &groups {
        let single = group.entries.len() == 1 && group.entries.contains(&group.root);
        let entry = &files.entries.get(&group.root);
        let step = match entry.map(|entry| (&entry.kind, &entry.meta)) {
            Some((Kind::Symlink(target), meta)) if single => {
                in_steps.insert(&group.root);
                let target = Template::literal(target.clone());
                tree(TreeSource::Link { target, meta: Box::new(meta.clone()) }, &group.root)
            }
            Some((kind, _)) if *kind != Kind::Directory => {
                let source = TreeSource::File(source_of(&group.root));
                TreeStep {
                    replacements: general.replacements_of_file(&group.root),
                    ..tree(source, &group.root)
                }
            }
            _ => {
                let below =
                    |other: &&&MachinePath| **other != &group.root && other.is_within(&group.root);
                let except =
                    roots.iter().filter(below).flat_map(|other| except(other, &group.root));
                TreeStep {
                    to: general.place(&group.root),
                    replacements: general.replacements_below(&group.root, &group.entries),
                    except: except.collect(),
                    ..tree(TreeSource::Tree(source_of(&group.root)), &group.root)
                }
            }
        };
        tree_steps.push((group.root.clone(), step));
    }
    for path in &folders {
        if let Some(entry) = files.entries.get(path) {
            in_steps.insert(path);
            let source = TreeSource::Directory(Box::new(entry.meta.clone()));
            let step = TreeStep { to: general.generalised(path.as_bytes()), ..tree(source, path) };
            tree_steps.push((path.clone(), step));
        }
    }
    tree_steps.sort_by(|(left, _), (right, _)| left.cmp(right));
    steps.extend(tree_steps.into_iter().map(|(_, step)| StepKind::Tree(step)));

    let on_disk: Vec<(&MachinePath, &Entry)> =
        files.entries.iter().filter(|(path, _)| !in_steps.contains(path)).collect();
    let files_meta: Vec<FileMeta> =
        on_disk.iter().map(|(path, entry)| file_meta(path, entry)).collect();
    let payload = on_disk.into_iter().map(|(path, entry)| Payload {
        path: project_path(path),
        source: files.source(path).clone(),
        kind: entry.kind.clone(),
    });
    Grouped { steps, files_meta, payload: payload.collect() }
}

/// Files an administrator may change: what came to be in `/etc`.
pub(super) fn configuration(files: &Files) -> Vec<String> {
    let mut patterns = BTreeSet::new();
    for (path, entry) in &files.entries {
        let is_file = matches!(entry.kind, Kind::File(_) | Kind::HardLink(_));
        if !is_file || path.parts().next() != Some(b"etc") {
            continue;
        }
        let topmost = std::iter::once(path.clone())
            .chain(path.ancestors())
            .find(|folder| files.is_root(folder))
            .filter(|folder| folder.parts().count() > 1);
        let Ok(text) = String::from_utf8(topmost.as_ref().unwrap_or(path).as_bytes().to_vec())
        else {
            continue;
        };
        let text = globset::escape(&text);
        patterns.insert(match topmost {
            Some(folder) if folder != *path => format!("{text}/**"),
            _ => text,
        });
    }
    patterns.into_iter().collect()
}

/// Folders that become steps of their own, and the groups of everything else.
fn split(files: &Files, prefix: Option<&MachinePath>) -> (Vec<MachinePath>, Vec<Group>) {
    let mut folders = Vec::new();
    let mut groups: BTreeMap<MachinePath, Group> = BTreeMap::new();
    let mut trees: BTreeMap<MachinePath, BTreeSet<MachinePath>> = BTreeMap::new();
    let mut root = MachinePath::root();
    for path in files.entries.keys() {
        if let Some(prefix) = prefix.filter(|prefix| path.is_within(prefix)) {
            let group = groups
                .entry(prefix.clone())
                .or_insert_with(|| Group { root: prefix.clone(), entries: BTreeSet::new() });
            group.entries.insert(path.clone());
            continue;
        }
        if files.is_root(path) {
            root = path.clone();
        }
        trees.entry(root.clone()).or_default().insert(path.clone());
    }
    let mut loose: BTreeMap<Vec<u8>, Vec<(MachinePath, BTreeSet<MachinePath>)>> = BTreeMap::new();
    let mut hollow = loose.clone();
    for (root, entries) in trees {
        let only_folders = entries.iter().all(|path| {
            is_text(path)
                && files.entries.get(path).is_some_and(|entry| entry.kind == Kind::Directory)
        });
        let place = if only_folders { &mut hollow } else { &mut loose };
        place.entry(section(&root)).or_default().push((root, entries));
    }
    for (section, roots) in hollow {
        let count: usize = roots.iter().map(|(_, entries)| entries.len()).sum();
        match loose.get_mut(&section) {
            Some(beside) if count > FOLDER_STEPS => beside.extend(roots),
            _ => folders.extend(roots.into_iter().flat_map(|(_, entries)| entries)),
        }
    }
    for roots in loose.into_values() {
        let mut top = roots.iter().skip(1).fold(roots[0].0.clone(), |top, (root, _)| {
            std::iter::once(top.clone())
                .chain(top.ancestors())
                .find(|folder| root.is_within(folder))
                .unwrap_or_else(MachinePath::root)
        });
        while !is_text(&top) {
            top = top.parent().unwrap_or_else(MachinePath::root);
        }
        let group = groups
            .entry(top.clone())
            .or_insert_with(|| Group { root: top, entries: BTreeSet::new() });
        group.entries.extend(roots.into_iter().flat_map(|(_, entries)| entries));
    }
    (folders, groups.into_values().collect())
}

/// What is grouped with what: one top folder, or one program's folder of `/opt` and `/srv`.
fn section(root: &MachinePath) -> Vec<u8> {
    let mut parts = root.parts();
    let mut key = parts.next().unwrap_or_default().to_vec();
    if [&b"opt"[..], b"srv"].contains(&key.as_slice()) {
        key.push(b'/');
        key.extend_from_slice(parts.next().unwrap_or_default());
    }
    // On Windows a drive says nothing yet: folders every machine has, and a program's own in them.
    if key.ends_with(b":") {
        for part in parts.take(2) {
            key.push(b'/');
            key.extend_from_slice(part);
        }
    }
    key
}

/// Whether a path can stand in a script as it is.
fn is_text(path: &MachinePath) -> bool {
    std::str::from_utf8(path.as_bytes()).is_ok_and(|text| !text.chars().any(char::is_control))
}

fn tree(source: TreeSource, to: &MachinePath) -> TreeStep {
    TreeStep {
        source,
        to: Template::literal(to.as_bytes()),
        replace: ReplaceRule::default(),
        version: None,
        replacements: Vec::<TextReplacement>::new(),
        except: Vec::new(),
    }
}

fn source_of(path: &MachinePath) -> Box<str> {
    String::from_utf8_lossy(&project_path(path)).into()
}

fn except(other: &MachinePath, root: &MachinePath) -> Vec<String> {
    let below = other.below(root).unwrap_or_default();
    let text = globset::escape(&String::from_utf8_lossy(below));
    vec![text.clone(), format!("{text}/**")]
}

/// Where a path of the target lies below the project folder.
fn project_path(path: &MachinePath) -> Vec<u8> {
    let mut bytes = FILES.as_bytes().to_vec();
    if !path.is_root() {
        bytes.extend_from_slice(path.as_bytes());
    }
    bytes
}

fn file_meta(path: &MachinePath, entry: &Entry) -> FileMeta {
    let mut entry = entry.clone();
    entry.kind = match entry.kind {
        Kind::File(mut content) => {
            content.hash = None;
            Kind::File(content)
        }
        Kind::HardLink(first) => {
            let mut named = b"/".to_vec();
            named.extend(project_path(&first));
            Kind::HardLink(MachinePath::new(named).unwrap_or(first))
        }
        other => other,
    };
    FileMeta { path: project_path(path), entry }
}
