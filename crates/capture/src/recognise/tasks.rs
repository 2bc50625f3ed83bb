//! Scheduled tasks of Windows: what the scheduler keeps in files becomes what it is told.

use std::io::Read as _;

use model::{Kind, MachinePath, TaskStep, Template, task_name};
use script::StepKind;

use super::{Meaning, View, is_file};
use crate::{DraftError, Remark, Side};

/// Where the scheduler keeps definitions, in the letters of whatever case.
const FOLDER: &[u8] = b"/c:/windows/system32/tasks/";
/// No definition is longer; what is reads as another file.
const LONGEST: u64 = 4 << 20;

pub(super) fn recognise(view: &View<'_>) -> Result<Meaning, DraftError> {
    let mut meaning = Meaning::default();
    for (path, change) in view.changes {
        let Some(name) = name(path) else { continue };
        match &change.after {
            None => {
                meaning.take(path, "a scheduled task that went");
                let text = "the installer removed this scheduled task; no step does that";
                meaning.review.push(Remark::at(path, text));
            }
            // Folders of tasks come and go with what is in them.
            Some(entry) if matches!(entry.kind, Kind::Directory) => {
                meaning.take(path, "a folder of scheduled tasks");
            }
            Some(entry) if is_file(Some(entry)) => {
                let Some(definition) = definition(view, path)? else {
                    let text = "the scheduler would keep a task here, and this is none: it is carried as a file";
                    meaning.review.push(Remark::at(path, text));
                    continue;
                };
                meaning.take(path, &format!("the scheduled task {name}"));
                let definition = Template::literal(definition);
                meaning.tasks.push(StepKind::Task(TaskStep { name, definition }));
            }
            Some(_) => {}
        }
    }
    Ok(meaning)
}

/// What the task is called whose definition a path holds, or the folder of tasks.
fn name(path: &MachinePath) -> Option<Box<str>> {
    let bytes = path.as_bytes();
    let (folder, rest) = bytes.split_at_checked(FOLDER.len())?;
    let rest = std::str::from_utf8(rest).ok().filter(|_| folder.eq_ignore_ascii_case(FOLDER))?;
    task_name(&rest.replace('/', "\\"))
}

/// A definition as text with plain line ends and without its declaration, if the file holds one.
fn definition(view: &View<'_>, path: &MachinePath) -> Result<Option<String>, DraftError> {
    let failed = |source| DraftError::Read { path: path.clone(), source };
    let mut bytes = Vec::new();
    if let Some(file) = view.contents.open(path, Side::After).map_err(failed)? {
        file.take(LONGEST).read_to_end(&mut bytes).map_err(failed)?;
    }
    let text = match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => {
            let (words, _) = rest.as_chunks::<2>();
            let words: Vec<u16> = words.iter().map(|word| u16::from_le_bytes(*word)).collect();
            String::from_utf16(&words).ok()
        }
        other => String::from_utf8(other.to_vec()).ok(),
    };
    Ok(text.and_then(|text| {
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let start = text.find("<Task")?;
        Some(text[start..].trim_end().to_owned() + "\n")
    }))
}
