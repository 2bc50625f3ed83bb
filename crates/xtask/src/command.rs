//! Programs started, with what they were in the message when they fail.

use std::{
    ffi::OsStr,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// A command from its words.
pub(crate) fn command<S: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Runs a command that must succeed; what it prints goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    let status = command.status().with_context(|| format!("cannot start `{words}`"))?;
    if !status.success() {
        bail!("`{words}`: {status}");
    }
    Ok(())
}

/// Runs a command that must succeed, quietly: what it printed is told only when it fails.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// What a command that must succeed printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = captured(command)?;
    if !output.status.success() {
        bail!("`{words}`: {}\n{}", output.status, tail(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How a command ended and what it printed, whatever that is.
pub(crate) fn captured(command: &mut Command) -> Result<Output> {
    let words = words(command);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("cannot start `{words}`"))
}

/// The last lines of what a command printed.
pub(crate) fn tail(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&all).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// The program and its arguments as one would type them, shortened.
pub(crate) fn words(command: &Command) -> String {
    let all = std::iter::once(command.get_program()).chain(command.get_args());
    let text: Vec<String> = all.map(|word| word.to_string_lossy().into_owned()).collect();
    let text = text.join(" ");
    match text.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
