//! Words of a POSIX shell.

use model::{Part, Template};

use crate::values::{Values, unknown};

/// What scripts share.
pub(crate) const LIBRARY: &str = include_str!("shell/library.sh");
/// The program that edits text files.
pub(crate) const EDIT: &str = include_str!("shell/edit.awk");

/// A text as one word, whatever is in it.
pub(crate) fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:=@%,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A template as one word; what only the machine knows is asked when the script runs.
pub(crate) fn word(template: &Template, values: &Values) -> Result<String, String> {
    let mut literal = String::new();
    let mut word = String::new();
    let text = |bytes: &[u8]| {
        std::str::from_utf8(bytes)
            .map(str::to_owned)
            .map_err(|_| format!("`{template}` is no text, which a script would need"))
    };
    for part in &template.0 {
        match part {
            Part::Literal(bytes) => literal.push_str(&text(bytes)?),
            Part::Variable(name) => {
                if let Some(value) = values.get(name) {
                    literal.push_str(&text(value)?);
                    continue;
                }
                if !literal.is_empty() {
                    word.push_str(&quote(&literal));
                    literal.clear();
                }
                let asked = asked(name).ok_or_else(|| unknown(name))?;
                word.push_str(&format!("\"{asked}\""));
            }
        }
    }
    if !literal.is_empty() || word.is_empty() {
        word.push_str(&quote(&literal));
    }
    Ok(word)
}

/// How a script asks the machine for a built-in variable.
pub(crate) fn asked(variable: &str) -> Option<&'static str> {
    Some(match variable {
        "machine.arch" => "$(uname -m)",
        "machine.distribution" => "$(release_of ID)",
        "machine.release" => "$(release_of VERSION_ID)",
        "machine.kernel" => "$(uname -r)",
        "machine.hostname" => "$(uname -n)",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_stay_one_word() {
        assert_eq!(quote("/opt/a.b"), "/opt/a.b");
        assert_eq!(quote("it's $HOME"), "'it'\\''s $HOME'");
        assert_eq!(quote(""), "''");
    }
}
