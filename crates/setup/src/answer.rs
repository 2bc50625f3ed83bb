//! What people and programs are told: sentences or JSON, and an exit code.

use std::{
    error::Error,
    io::{IsTerminal as _, Write as _},
};

use operate::Exit;
use package::{OpenError, ReadError};

/// How a package that does not open ends the program.
pub(crate) fn of_open(error: &OpenError) -> Exit {
    match error {
        OpenError::NoPackage { .. } | OpenError::Damaged(_) => Exit::Damaged,
        OpenError::NewerFormat { .. } | OpenError::Read { .. } => Exit::Failed,
    }
}

/// How a package that cannot be read on ends the program.
pub(crate) fn of_read(error: &ReadError) -> Exit {
    if error.is_damage() { Exit::Damaged } else { Exit::Failed }
}

/// Where answers go.
pub(crate) struct Answer {
    json: bool,
}

impl Answer {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether the answer is for a program.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Text that is the answer.
    #[expect(clippy::unused_self, reason = "where words go is the answer's to know")]
    pub(crate) fn text(&self, text: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// A value that is the answer.
    pub(crate) fn value(&self, value: &serde_json::Value) {
        self.text(&value.to_string());
    }

    /// A remark beside the answer.
    #[expect(clippy::unused_self, reason = "where words go is the answer's to know")]
    pub(crate) fn say(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// An error with its causes, and the code to end with.
    pub(crate) fn failed(&self, exit: Exit, error: &dyn Error) -> Exit {
        let sentence = model::with_causes(error);
        if self.json {
            let value = serde_json::json!({
                "result": exit, "exit-code": exit as u8, "message": sentence,
            });
            self.value(&value);
        } else {
            self.say(&format!("error: {sentence}"));
        }
        exit
    }

    /// A bar on a terminal, nothing elsewhere.
    pub(crate) fn progress(&self, what: &'static str, silent: bool) -> Progress {
        let shown = !silent && !self.json && std::io::stderr().is_terminal();
        Progress { what, shown, percent: None }
    }
}

/// A bar that fills.
pub(crate) struct Progress {
    what: &'static str,
    shown: bool,
    percent: Option<u64>,
}

impl Progress {
    pub(crate) fn at(&mut self, done: u64, all: u64) {
        let percent = if all == 0 {
            100
        } else {
            u64::try_from(u128::from(done) * 100 / u128::from(all)).unwrap_or(100)
        };
        if !self.shown || self.percent == Some(percent) {
            return;
        }
        self.percent = Some(percent);
        let full = usize::try_from(percent.min(100) / 5).unwrap_or(20);
        let bar = format!("{}{}", "#".repeat(full), "-".repeat(20 - full));
        let _ = write!(std::io::stderr().lock(), "\r{} [{bar}] {percent:3} %", self.what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown && self.percent.is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}
