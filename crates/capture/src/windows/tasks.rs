//! Scheduled tasks without who made them on the reference machine.

use model::{MachinePath, TaskStep};

use super::{Places, identity::find};
use crate::Remark;

/// Elements that name an account ([MS-TSCH] 2.5.2, 2.5.6).
const ACCOUNTS: [&str; 2] = ["UserId", "Author"];

/// Makes folders and the machine's name variables, and leaves out accounts of the reference machine. What is left out
/// is for people to look at.
pub(super) fn generalise(task: &mut TaskStep, places: &Places) -> Option<Remark> {
    let text = String::from_utf8_lossy(task.definition.as_literal()?).into_owned();
    let (text, left_out) = without_accounts(&text, places);
    task.definition = places.within(&text);
    let path = MachinePath::new(format!(r"C:\windows\System32\Tasks{}", task.name)).ok()?;
    let text = format!(
        "left out of the scheduled task: {}, accounts of the reference machine; it runs as whoever installs unless its \
         definition says another",
        left_out.join(", ")
    );
    (!left_out.is_empty()).then(|| Remark::at(&path, &text))
}

fn without_accounts(text: &str, places: &Places) -> (String, Vec<String>) {
    let (mut text, mut left_out) = (text.to_owned(), Vec::new());
    for element in ACCOUNTS {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let mut from = 0;
        while let Some(start) = find(&text[from..], &open).map(|at| from + at) {
            let inner = start + open.len();
            let Some(length) = find(&text[inner..], &close) else { break };
            let (account, end) = (text[inner..inner + length].trim(), inner + length + close.len());
            if places.identity.owns(account) {
                left_out.push(format!("`{element}`"));
                // With the line it stood on.
                let line = text[..start].trim_end_matches([' ', '\t']).len();
                let whole = text[end..].starts_with('\n') && text[..line].ends_with('\n');
                text.replace_range(if whole { line..end + 1 } else { start..end }, "");
                from = if whole { line } else { start };
            } else {
                from = end;
            }
        }
    }
    (text, left_out)
}
