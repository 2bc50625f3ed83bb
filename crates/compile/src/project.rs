//! A project folder: its script, and what `files.meta` says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use model::Entry;
use package::compare_paths;
use script::{FileMeta, Problem, Script};

use crate::{CompileError, platform};

/// A project folder, read but for its payload.
pub(crate) struct Project {
    pub(crate) folder: PathBuf,
    pub(crate) script: Script,
    metas: Vec<FileMeta>,
}

impl Project {
    pub(crate) fn open(folder: &Path) -> Result<Self, CompileError> {
        let path = folder.join("package.toml");
        let text = read(&path)?;
        let script = script::parse(&text).map_err(|problems| wrong(&path, &text, problems))?;
        let path = folder.join("files.meta");
        let metas = if path.exists() {
            let text = read(&path)?;
            script::parse_files_meta(&text).map_err(|problems| wrong(&path, &text, problems))?
        } else {
            Vec::new()
        };
        Ok(Self { folder: folder.to_owned(), script, metas })
    }

    /// Where a path below the project folder is on this machine.
    pub(crate) fn on_disk(&self, path: &[u8]) -> PathBuf {
        self.folder.join(platform::os_string(path))
    }

    /// What `files.meta` says about a path.
    pub(crate) fn meta(&self, path: &[u8]) -> Option<&Entry> {
        let at = self.metas.binary_search_by(|meta| compare_paths(&meta.path, path)).ok()?;
        Some(&self.metas[at].entry)
    }

    /// The names directly below a folder that `files.meta` speaks of, ascending.
    pub(crate) fn names_below(&self, folder: &[u8]) -> Vec<Vec<u8>> {
        let start = self.metas.partition_point(|meta| compare_paths(&meta.path, folder).is_le());
        let mut names: Vec<Vec<u8>> = Vec::new();
        for meta in &self.metas[start..] {
            let Some(below) =
                meta.path.strip_prefix(folder).and_then(|rest| rest.strip_prefix(b"/"))
            else {
                break;
            };
            let name = below.split(|&byte| byte == b'/').next().unwrap_or_default();
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_vec());
            }
        }
        names
    }

    /// Everything `files.meta` speaks of.
    pub(crate) fn metas(&self) -> &[FileMeta] {
        &self.metas
    }
}

fn read(path: &Path) -> Result<String, CompileError> {
    fs::read_to_string(path).map_err(|source| CompileError::Read { path: path.to_owned(), source })
}

fn wrong(path: &Path, text: &str, problems: Vec<Problem>) -> CompileError {
    CompileError::Script { path: path.to_owned(), text: text.to_owned(), problems }
}
