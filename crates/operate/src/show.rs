use std::{
    io::{self, IsTerminal, Write},
    time::Instant,
};

use install::{Progress, Stage};

use crate::lock::QUIET;

/// Shows what is under way on standard error: a bar on a terminal, a line every five seconds elsewhere,
/// nothing when told to be silent.
#[derive(Debug)]
pub struct Show {
    silent: bool,
    terminal: bool,
    drawn: Option<Instant>,
    stage: Option<Stage>,
    line_open: bool,
}

impl Show {
    /// Shows progress, unless `silent`.
    pub fn new(silent: bool) -> Self {
        Self {
            silent,
            terminal: io::stderr().is_terminal(),
            drawn: None,
            stage: None,
            line_open: false,
        }
    }

    /// Shows how far checking the package has come.
    pub fn checking(&mut self, done: u64, total: u64) {
        self.draw(None, "checking the package", done, total, "");
    }

    /// Shows how far fetching has come.
    pub fn coming(&mut self, doing: &str, done: u64, total: u64) {
        self.draw(None, doing, done, total, "");
    }

    fn draw(&mut self, stage: Option<Stage>, word: &str, done: u64, total: u64, what: &str) {
        if self.silent {
            return;
        }
        let now = Instant::now();
        let every = if self.terminal { QUIET / 50 } else { QUIET };
        let due = self.drawn.is_none_or(|drawn| now.duration_since(drawn) >= every);
        let new = stage != self.stage && !what.is_empty();
        if !due && !new {
            return;
        }
        self.stage = stage;
        self.drawn = Some(now);
        let what = if what.is_empty() { String::new() } else { format!(": {what}") };
        let line = if let Some(percent) = (done.min(total) * 100).checked_div(total) {
            let filled = usize::try_from(percent / 5).unwrap_or(20);
            let bar = format!("{}{}", "#".repeat(filled), "-".repeat(20 - filled.min(20)));
            format!(
                "{word} [{bar}] {percent:3}% {} of {} MB{what}",
                done / 1_000_000,
                total / 1_000_000
            )
        } else {
            format!("{word}{what}")
        };
        let mut out = io::stderr().lock();
        let _ = if self.terminal { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
        self.line_open = self.terminal;
    }

    /// A message between the lines of progress.
    pub fn message(&mut self, text: &str) {
        self.clear();
        if !self.silent {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if self.line_open {
            let _ = write!(io::stderr(), "\r\x1b[K");
            self.line_open = false;
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Progress for Show {
    fn progress(&mut self, stage: Stage, done: u64, total: u64, what: &str) {
        let word = match stage {
            Stage::Planning => "planning",
            Stage::Staging => "writing",
            Stage::Switching => "switching",
            Stage::Running => "running",
            Stage::RollingBack => "taking back",
            Stage::Removing => "removing",
        };
        self.draw(Some(stage), word, done, total, what);
    }

    fn is_interrupted(&self) -> bool {
        crate::interrupt::is_asked()
    }
}
