//! Folders of the reference machine, which are elsewhere on others.

use model::{Part, Template};

use super::same;
use crate::Facts;

/// Folders of the reference machine and the variables every Windows machine has for its own.
pub(crate) struct Folders(Vec<(String, &'static str)>);

impl Folders {
    pub(crate) fn of(facts: &Facts) -> Self {
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
    pub(crate) fn within(&self, text: &str) -> Template {
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
