//! Which changes are carried as they are: the entries of the payload.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use model::{Content, Entry, Kind, MachinePath, Template};
use script::StepKind;

use super::{DraftError, Options, TouchedFiles};
use crate::{CapturedFiles, Change, ChangeSet, Excluded, Remark, Report, Side, Touch};

/// What is carried, by what happens to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files {
    /// Entries that come to be, whole. A hard link names another entry of these.
    pub(crate) entries: BTreeMap<MachinePath, Entry>,
    /// Where an entry's content is, if not at its own path.
    pub(crate) sources: BTreeMap<MachinePath, MachinePath>,
    /// Steps for what was there and has new metadata.
    pub(crate) metadata: Vec<StepKind>,
    /// What the installer removed, without what lay below.
    pub(crate) removed: Vec<MachinePath>,
    /// Folders that stand where something else comes to be.
    pub(crate) cleared: Vec<MachinePath>,
    /// Files that were there and have new content.
    pub(crate) replaced: Vec<MachinePath>,
}

impl Files {
    /// Whether the entry comes to be in a folder that existed before.
    pub(crate) fn is_root(&self, path: &MachinePath) -> bool {
        path.parent().is_none_or(|parent| {
            self.entries.get(&parent).is_none_or(|entry| entry.kind != Kind::Directory)
        })
    }

    /// The path whose content an entry has.
    pub(crate) fn source<'a>(&'a self, path: &'a MachinePath) -> &'a MachinePath {
        self.sources.get(path).unwrap_or(path)
    }
}

impl TouchedFiles {
    pub(crate) fn carries(self, how: Touch) -> bool {
        match (self, how) {
            (Self::List, _) | (Self::CarryRewritten, Touch::Opened) => false,
            (Self::CarryRewritten, Touch::Rewritten) | (Self::CarryAll, _) => true,
        }
    }
}

/// Sorts what is left of the changes; what cannot be carried is added to the report as left out.
pub(super) fn collect(
    live: &BTreeMap<&MachinePath, &Change>,
    changes: &ChangeSet,
    touched: &BTreeMap<&MachinePath, Touch>,
    contents: &dyn CapturedFiles,
    options: &Options,
    report: &mut Report,
) -> Result<Files, DraftError> {
    let mut files = Files::default();
    let mut special = Vec::new();
    let mut sockets = Vec::new();
    for (&path, &change) in live {
        let Some(after) = &change.after else {
            collect_removed(&mut files, path, live);
            continue;
        };
        match &after.kind {
            Kind::Socket => sockets.push(path.clone()),
            Kind::Fifo | Kind::CharacterDevice { .. } | Kind::BlockDevice { .. }
                if !options.devices =>
            {
                special.push(path.clone());
            }
            _ if change.keeps_content() => files.metadata.push(StepKind::SetMetadata {
                path: Template::literal(path.as_bytes()),
                meta: Box::new(after.meta.clone()),
            }),
            kind => {
                match change.before.as_ref().map(|before| &before.kind) {
                    Some(Kind::Directory) => files.cleared.push(path.clone()),
                    Some(_) if *kind != Kind::Directory => files.replaced.push(path.clone()),
                    _ => {}
                }
                files.entries.insert(path.clone(), after.clone());
            }
        }
    }
    exclude(report, "sockets", "a socket means nothing without the process that made it", sockets);
    let reason = "devices and named pipes are carried only when asked for";
    exclude(report, "devices", reason, special);
    carry_touched(&mut files, touched, contents, options)?;
    settle_hard_links(&mut files, changes, contents, report)?;
    Ok(files)
}

fn exclude(report: &mut Report, rule: &str, reason: &str, paths: Vec<MachinePath>) {
    if !paths.is_empty() {
        report.excluded.push(Excluded {
            rule: format!("built-in:{rule}"),
            class: "drop".to_owned(),
            trigger: None,
            reason: reason.to_owned(),
            paths,
        });
    }
}

/// A removed path goes with the folder above it, if that was removed or gave way to something else.
fn collect_removed(files: &mut Files, path: &MachinePath, live: &BTreeMap<&MachinePath, &Change>) {
    let gone_with = path.ancestors().any(|folder| {
        live.get(&folder).is_some_and(|change| {
            change.after.as_ref().is_none_or(|after| after.kind != Kind::Directory)
        })
    });
    if !gone_with {
        files.removed.push(path.clone());
    }
}

fn carry_touched(
    files: &mut Files,
    touched: &BTreeMap<&MachinePath, Touch>,
    contents: &dyn CapturedFiles,
    options: &Options,
) -> Result<(), DraftError> {
    for (&path, &how) in touched {
        if !options.touched.carries(how) || files.entries.contains_key(path) {
            continue;
        }
        let entry = contents
            .entry(path, Side::After)
            .map_err(|source| DraftError::Read { path: path.clone(), source })?;
        if let Some(entry) = entry.filter(|entry| matches!(entry.kind, Kind::File(_))) {
            files.entries.insert(path.clone(), entry);
        }
    }
    Ok(())
}

/// Makes every hard link name an entry that is carried: where the first name is not, the next one
/// becomes the file, and the others name that.
fn settle_hard_links(
    files: &mut Files,
    changes: &ChangeSet,
    contents: &dyn CapturedFiles,
    report: &mut Report,
) -> Result<(), DraftError> {
    let mut orphans: BTreeMap<MachinePath, BTreeSet<MachinePath>> = BTreeMap::new();
    for (path, entry) in &files.entries {
        if let Kind::HardLink(first) = &entry.kind
            && !files.entries.contains_key(first)
        {
            orphans.entry(first.clone()).or_default().insert(path.clone());
        }
    }
    for (first, names) in orphans {
        let content = content_of(&first, changes, contents)?;
        let mut names = names.into_iter();
        let Some(heir) = names.next() else { continue };
        if let Some(entry) = files.entries.get_mut(&heir) {
            entry.kind = Kind::File(content);
        }
        let text = format!(
            "it is a hard link to `{first}`, which is not carried; it becomes a file of its own"
        );
        report.note.push(Remark::at(&heir, text));
        files.sources.insert(heir.clone(), first);
        for name in names {
            if let Some(entry) = files.entries.get_mut(&name) {
                entry.kind = Kind::HardLink(heir.clone());
            }
        }
    }
    Ok(())
}

fn content_of(
    path: &MachinePath,
    changes: &ChangeSet,
    contents: &dyn CapturedFiles,
) -> Result<Content, DraftError> {
    let failed = |source| DraftError::Read { path: path.clone(), source };
    let new = changes.changes.get(path).and_then(|change| change.after.clone());
    let there = match new {
        Some(entry) => Some(entry),
        None => contents.entry(path, Side::After).map_err(failed)?,
    };
    if let Some(Entry { kind: Kind::File(content), .. }) = there {
        return Ok(content);
    }
    let mut length = 0;
    if let Some(mut reader) = contents.open(path, Side::After).map_err(failed)? {
        let mut piece = vec![0; 1 << 16];
        loop {
            match reader.read(&mut piece).map_err(failed)? {
                0 => break,
                count => length += count as u64,
            }
        }
    }
    Ok(Content { length, hash: None, holes: Vec::new() })
}
