use std::collections::BTreeMap;

use model::Kind;

use crate::FileMeta;

/// What a project folder holds, as far as [`check`](crate::check()) asks. Paths are below the project
/// folder, `files/opt/redis`, as bytes.
pub trait ProjectView {
    /// What is at a path.
    fn kind(&self, path: &[u8]) -> Option<PayloadKind>;

    /// Everything below a folder, paths from there on, in any order.
    fn below(&self, folder: &[u8]) -> Vec<(Vec<u8>, PayloadKind)>;
}

/// What a path of the payload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// Another name of the file at this path below the project folder.
    HardLink(Vec<u8>),
    /// A symbolic link or a special file.
    Other,
}

/// What a project folder holds, as a list: what is on disk, and what `files.meta` says of it.
#[derive(Clone, Debug, Default)]
pub struct Payload(BTreeMap<Vec<u8>, PayloadKind>);

impl Payload {
    /// Adds what was found on disk.
    pub fn insert(&mut self, path: Vec<u8>, kind: PayloadKind) {
        self.0.insert(path, kind);
    }

    /// Adds what `files.meta` says; it knows better what a path is, and of paths no disk holds.
    pub fn describe<'e>(&mut self, entries: impl IntoIterator<Item = &'e FileMeta>) {
        for entry in entries {
            let kind = match &entry.entry.kind {
                Kind::Directory => PayloadKind::Folder,
                // Its bytes are on disk, or it is not there.
                Kind::File(_) => continue,
                Kind::HardLink(path) => PayloadKind::HardLink(path.relative().to_vec()),
                _ => PayloadKind::Other,
            };
            self.insert(entry.path.clone(), kind);
        }
    }

    /// All paths, in the order of their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &PayloadKind)> {
        self.0.iter().map(|(path, kind)| (path.as_slice(), kind))
    }
}

impl ProjectView for Payload {
    fn kind(&self, path: &[u8]) -> Option<PayloadKind> {
        self.0.get(path).cloned()
    }

    fn below(&self, folder: &[u8]) -> Vec<(Vec<u8>, PayloadKind)> {
        let start = [folder, b"/"].concat();
        self.0
            .range(start.clone()..)
            .map_while(|(path, kind)| {
                Some((path.strip_prefix(start.as_slice())?.to_vec(), kind.clone()))
            })
            .collect()
    }
}
