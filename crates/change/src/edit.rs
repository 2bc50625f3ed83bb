//! Edits of text files that others edit too: made once however often they are applied, and taken back
//! so that exactly ours goes.
//!
//! [`apply`] is idempotent. [`Before::of`] keeps what an edit is about to take away; with it
//! [`take_back`] gives the old text again, byte by byte, when nobody else changed it, and otherwise
//! leaves what others did. Byte order marks, `\r\n`, a missing last line end and lines that stand
//! there twice are kept.

mod keys;
mod lines;
mod path_list;
mod text;

use minicbor::{Decode, Encode};
use model::{ExpandError, LineEdit, Template};
use serde::{Deserialize, Serialize};

use text::Text;

/// A [`LineEdit`] with every variable expanded: bytes, and nothing left to choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// The line is there, once; several lines with `\n` between them are there one after the other.
    #[n(0)]
    Add {
        /// The line without its end.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        line: Vec<u8>,
        /// A line it follows, if that stands in the text.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        after: Option<Vec<u8>>,
    },
    /// No such line is there.
    #[n(1)]
    Remove {
        /// The line without its end.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        line: Vec<u8>,
    },
    /// `key = value` stands in `[section]`.
    #[n(2)]
    Ini {
        /// The section; empty for the part before the first.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        section: Vec<u8>,
        /// The key.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        key: Vec<u8>,
        /// The value, or `None` for no such key.
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        value: Option<Vec<u8>>,
    },
    /// `KEY=value`, `export KEY=value`, `key = value`.
    #[n(3)]
    Assignment {
        /// The key.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        key: Vec<u8>,
        /// The value with its quotes, or `None` for no such key.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        value: Option<Vec<u8>>,
    },
    /// The folder is in a list like `PATH="a:b"`, once.
    #[n(4)]
    PathList {
        /// The key, `PATH`.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        key: Vec<u8>,
        /// The folder.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        folder: Vec<u8>,
        /// Whether it comes first instead of last.
        #[n(2)]
        first: bool,
    },
}

/// What an edit is about to take away, kept so that it can be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case", default)]
#[cbor(array)]
pub struct Before {
    /// Whether the edit changes anything; if not, nothing of it is ours.
    #[n(0)]
    pub changes: bool,
    /// The last line, if it had no end: adding a line gives it one.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub unended: Option<Vec<u8>>,
    /// The lines that give way, in order.
    #[n(2)]
    pub lines: Vec<Standing>,
    /// Whether the section of an INI edit is made by it.
    #[n(3)]
    pub makes_section: bool,
    /// Whether a blank line is put before that section.
    #[n(4)]
    pub makes_blank: bool,
}

/// A line that gives way to an edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct Standing {
    /// Its position among the lines, from 0.
    #[n(0)]
    pub position: u64,
    /// The line with its end, if it has one.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub line: Vec<u8>,
    /// The line before it without its end, if there is one.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub previous: Option<Vec<u8>>,
}

/// What taking an edit back comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakeBack {
    /// The text without the edit.
    Done(Vec<u8>),
    /// It stood so before the edit: there is nothing to take back.
    NotOurs,
    /// Others changed what the edit made, or took it away: it stays as they left it.
    Changed {
        /// What stands there now; `None` where nothing does.
        found: Option<Vec<u8>>,
    },
}

/// Why an edit means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEdit {
    /// A variable without a value.
    #[error("an edit holds a variable without a value")]
    Variable(#[from] ExpandError),
    /// A key no line could hold.
    #[error(
        "`{key}` can be no key: it is empty, or holds `=`, a line end or a blank at either side, or starts like a comment or a section"
    )]
    Key {
        /// The key, escaped.
        key: String,
    },
    /// A value that ends the line.
    #[error("`{value}` can be no value: it holds a line end, or a blank at either side")]
    Value {
        /// The value, escaped.
        value: String,
    },
}

impl Edit {
    /// Expands the templates of an edit.
    ///
    /// # Errors
    /// A variable without a value; a key or value that no line could hold.
    pub fn expand<'v>(
        edit: &LineEdit,
        mut value_of: impl FnMut(&str) -> Option<&'v str>,
    ) -> Result<Self, InvalidEdit> {
        let mut bytes = |template: &Template| template.expand(&mut value_of);
        Ok(match edit {
            LineEdit::Add { line, after } => Self::Add {
                line: lines::without_returns(&bytes(line)?),
                after: after.as_ref().map(bytes).transpose()?,
            },
            LineEdit::Remove { line } => Self::Remove { line: bytes(line)? },
            LineEdit::Ini { section, key, value } => Self::Ini {
                section: keys::check_value(bytes(section)?)?,
                key: keys::check_key(bytes(key)?)?,
                value: value
                    .as_ref()
                    .map(&mut bytes)
                    .transpose()?
                    .map(keys::check_value)
                    .transpose()?,
            },
            LineEdit::Assignment { key, value } => Self::Assignment {
                key: keys::check_key(bytes(key)?)?,
                value: value
                    .as_ref()
                    .map(&mut bytes)
                    .transpose()?
                    .map(keys::check_value)
                    .transpose()?,
            },
            LineEdit::PathList { key, folder, first } => Self::PathList {
                key: keys::check_key(bytes(key)?)?,
                folder: path_list::check_folder(bytes(folder)?)?,
                first: *first,
            },
        })
    }
}

/// The text with the edit made. Made twice it is as made once.
pub fn apply(text: &[u8], edit: &Edit) -> Vec<u8> {
    let mut text = Text::read(text);
    match edit {
        Edit::Add { line, after } => lines::add(&mut text, line, after.as_deref()),
        Edit::Remove { line } => lines::remove(&mut text, line),
        Edit::Ini { section, key, value } => {
            keys::set(&mut text, keys::Scope::Section(section), key, value.as_deref());
        }
        Edit::Assignment { key, value } => {
            keys::set(&mut text, keys::Scope::Shell, key, value.as_deref());
        }
        Edit::PathList { key, folder, first } => path_list::add(&mut text, key, folder, *first),
    }
    text.write()
}

impl Before {
    /// What making `edit` in `text` takes away.
    pub fn of(text: &[u8], edit: &Edit) -> Self {
        if apply(text, edit) == text {
            return Self::default();
        }
        let text = Text::read(text);
        let mut before = Self { changes: true, unended: text.unended(), ..Self::default() };
        match edit {
            Edit::Add { .. } => {}
            Edit::Remove { line } => before.lines = lines::standing(&text, line),
            Edit::Ini { section, key, value } => {
                let scope = keys::Scope::Section(section);
                before.lines = keys::standing(&text, scope, key, value.is_none());
                before.makes_section = value.is_some() && !keys::has_section(&text, section);
                before.makes_blank = before.makes_section && keys::wants_blank(&text);
            }
            Edit::Assignment { key, value } => {
                before.lines = keys::standing(&text, keys::Scope::Shell, key, value.is_none());
            }
            Edit::PathList { key, .. } => {
                before.lines = keys::standing(&text, keys::Scope::Shell, key, false);
            }
        }
        before
    }
}

/// The text with the edit taken back; `before` was kept when it was made.
pub fn take_back(text: &[u8], edit: &Edit, before: &Before) -> TakeBack {
    if !before.changes {
        return TakeBack::NotOurs;
    }
    let mut text = Text::read(text);
    let taken = match edit {
        Edit::Add { line, .. } => lines::take_back_added(&mut text, line),
        Edit::Remove { line } => lines::take_back_removed(&mut text, line, before),
        Edit::Ini { section, key, value } => {
            let scope = keys::Scope::Section(section);
            keys::take_back(&mut text, scope, key, value.as_deref(), before)
        }
        Edit::Assignment { key, value } => {
            keys::take_back(&mut text, keys::Scope::Shell, key, value.as_deref(), before)
        }
        Edit::PathList { key, folder, .. } => path_list::take_back(&mut text, key, folder, before),
    };
    match taken {
        Ok(()) => {
            text.unend(before.unended.as_deref());
            TakeBack::Done(text.write())
        }
        Err(found) => TakeBack::Changed { found },
    }
}

/// Makes several edits one after the other, and keeps what each takes away.
pub fn apply_all(text: &[u8], edits: &[Edit]) -> (Vec<u8>, Vec<Before>) {
    let mut text = text.to_vec();
    let mut kept = Vec::with_capacity(edits.len());
    for edit in edits {
        kept.push(Before::of(&text, edit));
        text = apply(&text, edit);
    }
    (text, kept)
}

#[cfg(test)]
mod tests;
