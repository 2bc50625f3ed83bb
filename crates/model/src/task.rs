//! Scheduled tasks of Windows, by what they say and not by how it is written down.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::Template;

/// A scheduled task of Windows that comes to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct TaskStep {
    /// Its place among the scheduler's: `\Vendor\Update`.
    #[n(0)]
    pub name: Box<str>,
    /// What it does and when, as the scheduler's own XML says it ([MS-TSCH] 2.5).
    #[n(1)]
    pub definition: Template,
}

/// The name of a scheduled task in the form it is compared in: folders divided by `\`, one before the first; `None`
/// for what no task may be called.
pub fn task_name(text: &str) -> Option<Box<str>> {
    let names: Vec<&str> = text.strip_prefix('\\').unwrap_or(text).split('\\').collect();
    let held = |name: &&str| {
        !name.is_empty()
            && ![".", ".."].contains(name)
            && !name.contains(['/', ':', '*', '?', '"', '<', '>', '|'])
            && !name.chars().any(char::is_control)
    };
    names.iter().all(held).then(|| format!("\\{}", names.join("\\")).into())
}

/// A definition without what says nothing: the declaration, comments, blanks between elements, and the name the
/// scheduler writes into it (`URI`). Two definitions are one task if these are the same.
pub fn plain_task(definition: &str) -> String {
    let mut plain = String::with_capacity(definition.len());
    let mut rest = definition.trim_start_matches('\u{feff}');
    loop {
        let (text, markup) = match rest.find('<') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if !text.trim().is_empty() {
            plain.push_str(text);
        }
        let end = match markup {
            "" => return plain,
            comment if comment.starts_with("<!--") => comment.find("-->").map(|at| at + 3),
            declaration if declaration.starts_with("<?") => declaration.find("?>").map(|at| at + 2),
            uri if uri.starts_with("<URI>") => uri.find("</URI>").map(|at| at + 6),
            element => {
                let end = element.find('>').map_or(element.len(), |at| at + 1);
                plain.push_str(&element[..end]);
                Some(end)
            }
        };
        rest = &markup[end.unwrap_or(markup.len())..];
    }
}

#[cfg(test)]
mod tests {
    use super::{plain_task, task_name};

    #[test]
    fn what_a_task_says_is_the_same_however_it_is_written() {
        let written = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n<Task version=\"1.2\">\r\n  <!-- a -->\
            <RegistrationInfo>\r\n<URI>\\A</URI></RegistrationInfo>\r\n  <Exec><Command>a b </Command></Exec>\r\n</Task>\r\n";
        let plain = "<Task version=\"1.2\"><RegistrationInfo></RegistrationInfo><Exec><Command>a b </Command></Exec></Task>";
        assert_eq!(plain_task(written), plain);
        assert_eq!(plain_task(plain), plain);
        assert_eq!(plain_task("<a"), "<a");
        assert_eq!(plain_task("<!-- never ends"), "");
    }

    #[test]
    fn names_are_places_among_folders() {
        assert_eq!(task_name("Update").as_deref(), Some("\\Update"));
        assert_eq!(task_name(r"\Vendor\Update").as_deref(), Some(r"\Vendor\Update"));
        for wrong in ["", "\\", r"\a\\b", r"\..\a", "a/b", "a:b", "a\nb"] {
            assert_eq!(task_name(wrong), None, "{wrong}");
        }
    }
}
