use std::fmt::Write as _;

/// How wide a line may be before a list is broken, in characters.
pub(crate) const WIDTH: usize = 100;

/// The keys of a table being written.
pub(super) struct Body<'t> {
    text: &'t mut String,
}

impl<'t> Body<'t> {
    pub(super) fn new(text: &'t mut String) -> Self {
        Self { text }
    }

    pub(super) fn raw(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.text, "{} = {value}", key(name));
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &quoted(value));
    }

    /// A text of several lines as they are, where TOML can say it so.
    pub(super) fn lines(&mut self, name: &str, value: &str) {
        let plain = |letter: char| letter == '\n' || letter == '\t' || !letter.is_control();
        if value.contains('\n')
            && !value.contains("'''")
            && value.chars().all(plain)
            && !value.ends_with('\'')
        {
            self.raw(name, &format!("'''\n{value}'''"));
        } else {
            self.text(name, value);
        }
    }

    pub(super) fn list(&mut self, name: &str, values: impl Iterator<Item = String>) {
        let value = list(values.collect(), name.chars().count() + 3);
        self.raw(name, &value);
    }
}

/// A list on one line where it fits after `before` characters, else with a line for each value.
pub(super) fn list(values: Vec<String>, before: usize) -> String {
    let line = inline_list(&values);
    if before + line.chars().count() <= WIDTH || values.is_empty() {
        return line;
    }
    let mut text = String::from("[\n");
    for value in values {
        let _ = writeln!(text, "    {value},");
    }
    text.push(']');
    text
}

/// A list on one line.
pub(super) fn inline_list(values: &[String]) -> String {
    format!("[{}]", values.join(", "))
}

/// A table on one line.
pub(super) fn table(entries: impl IntoIterator<Item = (String, String)>) -> String {
    let entries: Vec<String> =
        entries.into_iter().map(|(name, value)| format!("{} = {value}", key(&name))).collect();
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// A key, bare where TOML allows.
pub(super) fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A text as a TOML value: in single quotes where that saves escapes.
pub(crate) fn quoted(text: &str) -> String {
    let literal = !text.contains('\'') && !text.chars().any(char::is_control);
    if literal && text.contains(['"', '\\']) {
        return format!("'{text}'");
    }
    let mut value = String::with_capacity(text.len() + 2);
    value.push('"');
    for letter in text.chars() {
        match letter {
            '"' => value.push_str("\\\""),
            '\\' => value.push_str("\\\\"),
            '\n' => value.push_str("\\n"),
            '\r' => value.push_str("\\r"),
            '\t' => value.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(value, "\\u{:04X}", u32::from(control));
            }
            other => value.push(other),
        }
    }
    value.push('"');
    value
}
