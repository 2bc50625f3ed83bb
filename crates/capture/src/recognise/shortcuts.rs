//! Shortcuts of Windows: what they lead to is said, and what the machine they were made on noted in them stays there.

use std::io::Read as _;

use model::{MachinePath, NoShortcut, ReplaceRule, Shortcut, Template};
use script::{ShortcutStep, StepKind, TreeSource, TreeStep};

use super::{Meaning, View, is_file};
use crate::{DraftError, Remark, Side};

/// Only where there are drives do such files mean something.
const DRIVE: &[u8] = b"/C:/";
/// No shortcut is longer; what is reads as another file.
const LONGEST: u64 = 1 << 20;

pub(super) fn recognise(view: &View<'_>) -> Result<Meaning, DraftError> {
    let mut meaning = Meaning::default();
    let named = |path: &MachinePath| {
        path.as_bytes().starts_with(DRIVE)
            && path.as_bytes().to_ascii_lowercase().ends_with(b".lnk")
    };
    for (path, change) in view.changes.iter().filter(|(path, _)| named(path)) {
        let Some(entry) = change.after.as_ref().filter(|entry| is_file(Some(entry))) else {
            continue;
        };
        match Shortcut::read(&content(view, path)?) {
            Ok(shortcut) => {
                meaning.take(path, &format!("a shortcut to {}", shortcut.target));
                meaning.shortcuts.push(step(path, &shortcut, entry.meta.clone()));
            }
            Err(NoShortcut::Other) => {}
            Err(reason) => {
                let text = format!(
                    "this shortcut is carried as a file, since {reason}; it leads where it led on the reference machine, and \
                     may name that: better a `create-shortcut` step in its place"
                );
                meaning.review.push(Remark::at(path, &text));
            }
        }
    }
    Ok(meaning)
}

fn content(view: &View<'_>, path: &MachinePath) -> Result<Vec<u8>, DraftError> {
    let failed = |source| DraftError::Read { path: path.clone(), source };
    let mut bytes = Vec::new();
    if let Some(file) = view.contents.open(path, Side::After).map_err(failed)? {
        file.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    }
    Ok(bytes)
}

fn step(path: &MachinePath, shortcut: &Shortcut, meta: model::Meta) -> StepKind {
    let text =
        |text: &str| if text.is_empty() { Template::default() } else { Template::literal(text) };
    StepKind::Tree(TreeStep {
        source: TreeSource::Shortcut(Box::new(ShortcutStep {
            target: text(&shortcut.target),
            arguments: text(&shortcut.arguments),
            folder: text(&shortcut.folder),
            icon: text(&shortcut.icon),
            icon_index: shortcut.icon_index,
            description: text(&shortcut.description),
            window: shortcut.window,
            hotkey: shortcut.hotkey,
            to_folder: shortcut.to_folder,
            as_administrator: shortcut.as_administrator,
            meta: model::Meta { mode: 0o644, ..meta },
        })),
        to: text_of(path),
        replace: ReplaceRule::default(),
        version: None,
        replacements: Vec::new(),
        except: Vec::new(),
    })
}

fn text_of(path: &MachinePath) -> Template {
    Template::literal(path.as_bytes())
}
