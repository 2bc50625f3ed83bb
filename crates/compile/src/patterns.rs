use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::CompileError;

/// Patterns over paths below a step's source, by whole parts.
pub(crate) struct Patterns(GlobSet);

impl Patterns {
    pub(crate) fn new<'p>(
        step: usize,
        patterns: impl IntoIterator<Item = &'p String>,
    ) -> Result<Self, CompileError> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let wrong = |error: globset::Error| CompileError::Pattern {
                step,
                pattern: pattern.clone(),
                reason: error.kind().to_string(),
            };
            let glob = GlobBuilder::new(pattern.trim_start_matches('/'))
                .literal_separator(true)
                .build()
                .map_err(wrong)?;
            set.add(glob);
        }
        let built = set.build().map_err(|error| CompileError::Pattern {
            step,
            pattern: String::new(),
            reason: error.to_string(),
        })?;
        Ok(Self(built))
    }

    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        self.0.is_match_candidate(&Candidate::from_bytes(path))
    }
}
