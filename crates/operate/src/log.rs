use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// A log file: a line for every message, each with its time in UTC, whatever the locale.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
}

impl Log {
    /// Appends to the file at `path`.
    pub fn to(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(|reason| {
            io::Error::new(reason.kind(), format!("cannot open log `{}`: {reason}", path.display()))
        })?;
        Ok(Self { file: Some(file) })
    }

    /// Writes one line. A log that cannot be written does not stop the work.
    pub fn line(&mut self, text: &str) {
        if let Some(file) = &mut self.file {
            let time = crate::target::now();
            let _ = writeln!(file, "{time} {text}");
        }
    }
}
