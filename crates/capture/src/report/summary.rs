use std::fmt;

use super::{Remark, Report};

/// How many lines of one kind a summary shows; the report itself has all.
const SHOWN: usize = 12;

impl fmt::Display for Report {
    /// What a person reads when a capture ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts;
        writeln!(
            f,
            "{} changes: {} carried as files, {} understood, {} left out",
            counts.changes, counts.carried, counts.understood, counts.excluded
        )?;
        remarks(f, "decide", &self.review)?;
        remarks(f, "warning", &self.warning)?;
        remarks(f, "note", &self.note)?;
        if !self.leak.is_empty() {
            let certain = self.leak.iter().filter(|leak| leak.is_certain()).count();
            let total = self.leak.len();
            writeln!(f, "{total} traces of the reference machine, {certain} of them certain")?;
            for leak in self.leak.iter().take(SHOWN) {
                writeln!(f, "  {leak}")?;
            }
            more(f, total)?;
        }
        if !self.dependency.is_empty() {
            let names: Vec<_> = self.dependency.iter().map(|one| one.name.as_str()).collect();
            writeln!(f, "installed besides by the package manager: {}", names.join(", "))?;
        }
        if counts.touched > 0 {
            writeln!(
                f,
                "{} existing files were touched and left as they were; a target may lack them",
                counts.touched
            )?;
        }
        for excluded in &self.excluded {
            writeln!(
                f,
                "left out {:>5}  {}  ({})",
                excluded.paths.len(),
                excluded.reason,
                excluded.rule
            )?;
        }
        Ok(())
    }
}

fn remarks(f: &mut fmt::Formatter<'_>, word: &str, remarks: &[Remark]) -> fmt::Result {
    for remark in remarks.iter().take(SHOWN) {
        match &remark.path {
            Some(path) => writeln!(f, "{word}: `{path}`: {}", remark.text)?,
            None => writeln!(f, "{word}: {}", remark.text)?,
        }
    }
    more(f, remarks.len())
}

fn more(f: &mut fmt::Formatter<'_>, total: usize) -> fmt::Result {
    if total > SHOWN { writeln!(f, "  and {} more in the report", total - SHOWN) } else { Ok(()) }
}
