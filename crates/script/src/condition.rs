//! Conditions: CEL as people write it, and the closed form the installer evaluates.

mod print;
mod translate;
mod value;

use std::ops::Range;

use cel::parser::{ParseErrors, Parser};
use model::Condition;

pub use print::print_condition;

/// How many operators, dots and opening brackets a condition may have. The expression parser recurses
/// over them, and its own limit on depth does not see long chains: 2,500 of them fill a stack of 2 MiB.
const MOST_OPERATORS: usize = 1000;

/// What is supported, for hints.
pub(crate) const SUPPORTED: &str = "a condition compares `machine.os`, `machine.arch`, `machine.distribution`, `machine.release`, `machine.kernel`, `machine.memory`, `machine.hostname`, variables, `version(…)`, `installed(…)`, `system_package(…)`, `free(…)`, and asks `exists(…)`, `user_exists(…)`, joined by `&&`, `||`, `!`, `in`";

/// Text that is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConditionError {
    /// What is wrong.
    pub message: String,
    /// What to type instead.
    pub hint: String,
    /// The bytes of the text it is about.
    pub span: Range<usize>,
}

/// Reads a condition written in CEL.
///
/// # Errors
/// The first thing in it that is no CEL, or is CEL an installer does not know.
pub fn parse_condition(text: &str) -> Result<Condition, ConditionError> {
    let operators = text.bytes().filter(|byte| b"+-*/%([{!.?<>=&|".contains(byte)).count();
    if operators > MOST_OPERATORS {
        return Err(ConditionError {
            message: format!(
                "a condition of {operators} operators; at most {MOST_OPERATORS} are read"
            ),
            hint: "divide it among several steps".to_owned(),
            span: 0..text.len(),
        });
    }
    if text.trim().is_empty() {
        return Err(ConditionError {
            message: "an empty condition".to_owned(),
            hint: "leave it out, or write `machine.os == \"linux\"`".to_owned(),
            span: 0..text.len(),
        });
    }
    match Parser::new().parse_with_source_info(text) {
        Ok((expression, source)) => translate::translate(&expression, &source, text),
        Err(errors) => Err(syntax_error(text, &errors)),
    }
}

fn syntax_error(text: &str, errors: &ParseErrors) -> ConditionError {
    let (message, line, column) = errors.errors.first().map_or(("no CEL", 1, 1), |error| {
        (error.msg.as_str(), error.pos.0.max(1), error.pos.1.max(1))
    });
    let before = usize::try_from(line - 1).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let column = usize::try_from(column - 1).unwrap_or(0);
    let rest = text.get(start..).unwrap_or_default();
    let offset = rest.char_indices().nth(column).map_or(rest.len(), |(offset, _)| offset);
    let at = (start + offset).min(text.len());
    let end = text[at..].chars().next().map_or(at, |letter| at + letter.len_utf8());
    let hint = match text.get(at..end) {
        Some("=") => "`==` compares".to_owned(),
        Some("&" | "|") => "`&&` is and, `||` is or".to_owned(),
        _ => SUPPORTED.to_owned(),
    };
    ConditionError { message: in_plain_words(message), hint, span: at..end }
}

/// The parser's message without its jargon.
fn in_plain_words(message: &str) -> String {
    let message = message.trim().trim_start_matches("Syntax error: ");
    let message = message.split_once(" expecting").map_or(message, |(start, _)| start);
    message
        .replace("token recognition error at:", "unexpected")
        .replace("mismatched input", "unexpected")
        .replace("extraneous input", "unexpected")
        .replace("no viable alternative at input", "unexpected")
        .replace("'<EOF>'", "end")
        .replace("<EOF>", "end")
        .replace('\n', "; ")
        .replace('\'', "`")
        .replace(" `", "`")
        .replace("unexpected`", "unexpected `")
}

/// Whether a variable of this name is written bare in CEL.
fn is_bare(name: &str) -> bool {
    const RESERVED: &[&str] = &[
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "machine",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ];
    name.split('.').all(|part| {
        let starts = part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        starts
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !RESERVED.contains(&part)
    })
}

/// The text facts of a machine, with the words for them.
const TEXT_FACTS: [(&str, model::Fact); 6] = [
    ("os", model::Fact::Os),
    ("arch", model::Fact::Architecture),
    ("distribution", model::Fact::Distribution),
    ("release", model::Fact::Release),
    ("kernel", model::Fact::Kernel),
    ("hostname", model::Fact::HostName),
];
