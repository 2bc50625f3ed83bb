mod tokens;
mod value;

use toml_parser::parser::EventKind;

use crate::{Problem, read::unreadable};
use tokens::Tokens;

/// Lays a script out: one space around `=`, an empty line before each table, lists on one line where
/// they fit in 100 characters and one value a line where not. Comments, order, and how texts and
/// numbers are written stay.
///
/// # Errors
/// A text that is no TOML, or of a format we do not know.
pub fn format(text: &str) -> Result<String, Vec<Problem>> {
    if let Some(problem) = unreadable(text) {
        return Err(vec![problem]);
    }
    let mut layout = Layout::default();
    layout.document(&mut Tokens::of(text));
    Ok(layout.text)
}

/// A comment on a line of its own, not yet written.
struct Comment<'t> {
    /// Whether an empty line stood before it.
    apart: bool,
    text: &'t str,
}

#[derive(Default)]
struct Layout<'t> {
    text: String,
    /// Comments since the last statement.
    comments: Vec<Comment<'t>>,
    /// Whether an empty line stood here since the last statement or comment.
    apart: bool,
    /// Whether the last statement was a table's head: what follows it is not set apart.
    after_head: bool,
}

impl<'t> Layout<'t> {
    fn document(&mut self, tokens: &mut Tokens<'t>) {
        let mut line_is_empty = true;
        while let Some(kind) = tokens.peek() {
            match kind {
                EventKind::Newline => {
                    tokens.next();
                    self.apart |= line_is_empty;
                    line_is_empty = true;
                    continue;
                }
                EventKind::Comment => {
                    let text = tokens.take().trim_end();
                    if line_is_empty {
                        self.comments
                            .push(Comment { apart: std::mem::take(&mut self.apart), text });
                    } else {
                        // Beside a statement, whose line end is written already.
                        self.text.pop();
                        self.text.push(' ');
                        self.text.push_str(text);
                        self.text.push('\n');
                    }
                }
                EventKind::StdTableOpen | EventKind::ArrayTableOpen => self.head(tokens),
                EventKind::SimpleKey => self.assignment(tokens),
                _ => tokens.next(),
            }
            line_is_empty = false;
        }
        self.write_comments();
    }

    /// `[a.b]` or `[[a.b]]`, set apart from what stands before it.
    fn head(&mut self, tokens: &mut Tokens<'t>) {
        if self.apart || self.comments.is_empty() {
            self.apart = true;
        } else if let Some(first) = self.comments.iter().rposition(|comment| comment.apart) {
            self.comments[first].apart = true;
        } else {
            self.comments[0].apart = true;
        }
        self.after_head = false;
        self.write_comments();
        self.write_gap();
        let double = tokens.peek() == Some(EventKind::ArrayTableOpen);
        self.text.push_str(if double { "[[" } else { "[" });
        tokens.next();
        self.text.push_str(&tokens.key_path());
        tokens.next();
        self.text.push_str(if double { "]]\n" } else { "]\n" });
        self.after_head = true;
    }

    /// `key = value`
    fn assignment(&mut self, tokens: &mut Tokens<'t>) {
        self.write_comments();
        self.write_gap();
        let key = tokens.key_path();
        tokens.next();
        let value = value::read(tokens);
        let before = key.chars().count() + 3;
        self.text.push_str(&key);
        self.text.push_str(" = ");
        self.text.push_str(&value.write(before, 0));
        self.text.push('\n');
        self.after_head = false;
    }

    fn write_comments(&mut self) {
        for comment in std::mem::take(&mut self.comments) {
            let apart = std::mem::replace(&mut self.apart, comment.apart);
            self.write_gap();
            self.apart = apart;
            self.text.push_str(comment.text);
            self.text.push('\n');
            self.after_head = false;
        }
    }

    /// An empty line, where one is due.
    fn write_gap(&mut self) {
        if std::mem::take(&mut self.apart) && !self.text.is_empty() && !self.after_head {
            self.text.push('\n');
        }
    }
}
