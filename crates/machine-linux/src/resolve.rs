//! Paths inside a root folder, symbolic links followed without ever leaving it.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use model::MachinePath;

/// As the kernel: more links than this on one way are taken for a loop.
const MOST_LINKS: usize = 40;
/// Resolved folders remembered at most.
const REMEMBERED: usize = 4096;

/// Resolves paths below one root folder.
#[derive(Debug)]
pub(crate) struct Resolver {
    root: PathBuf,
    folders: RefCell<HashMap<MachinePath, MachinePath>>,
}

impl Resolver {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, folders: RefCell::default() }
    }

    /// Where the canonical `path` is on the machine we run on.
    pub(crate) fn host(&self, path: &MachinePath) -> PathBuf {
        self.root.join(OsStr::from_bytes(path.relative()))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Forgets what it has seen: folders may have become links, or the other way round.
    pub(crate) fn forget(&self) {
        self.folders.borrow_mut().clear();
    }

    /// `path` with every link before its last part followed.
    pub(crate) fn resolve(&self, path: &MachinePath) -> io::Result<MachinePath> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Ok(path.clone());
        };
        let folder = self.folder(&parent, MOST_LINKS)?;
        folder.join(name).map_err(io::Error::other)
    }

    /// `path` with every link followed, its last part included.
    fn folder(&self, path: &MachinePath, links: usize) -> io::Result<MachinePath> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Ok(path.clone());
        };
        if let Some(known) = self.folders.borrow().get(path) {
            return Ok(known.clone());
        }
        let plain = self.folder(&parent, links)?.join(name).map_err(io::Error::other)?;
        let resolved = match rustix::fs::readlink(self.host(&plain), Vec::new()) {
            Ok(target) => {
                let links = links.checked_sub(1).ok_or(rustix::io::Errno::LOOP)?;
                self.folder(&follow(&plain, target.as_bytes())?, links)?
            }
            // Not a link, or not there: it stands for itself.
            Err(
                rustix::io::Errno::INVAL | rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR,
            ) => plain,
            Err(error) => return Err(error.into()),
        };
        let mut folders = self.folders.borrow_mut();
        if folders.len() >= REMEMBERED {
            folders.clear();
        }
        folders.insert(path.clone(), resolved.clone());
        Ok(resolved)
    }
}

/// Where the link at `link` that says `target` points; `..` above the root stays at the root.
fn follow(link: &MachinePath, target: &[u8]) -> io::Result<MachinePath> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let parent = link.parent().unwrap_or_else(MachinePath::root);
    if !target.starts_with(b"/") {
        parts.extend(parent.parts());
    }
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let bytes = parts.iter().fold(Vec::new(), |mut bytes, part| {
        bytes.push(b'/');
        bytes.extend_from_slice(part);
        bytes
    });
    if bytes.is_empty() {
        Ok(MachinePath::root())
    } else {
        MachinePath::new(bytes).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::Resolver;

    fn path(text: &str) -> model::MachinePath {
        text.parse().unwrap()
    }

    #[test]
    fn links_never_leave_the_root() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        std::fs::create_dir(root.path().join("run")).unwrap();
        std::fs::create_dir(root.path().join("var")).unwrap();
        symlink("usr/lib", root.path().join("lib")).unwrap();
        symlink("/run", root.path().join("var/run")).unwrap();
        symlink("../../../../../etc", root.path().join("var/out")).unwrap();
        symlink("loop", root.path().join("loop")).unwrap();
        let resolver = Resolver::new(root.path().to_owned());
        let resolve = |text: &str| resolver.resolve(&path(text)).map(|path| path.to_string());
        assert_eq!(resolve("/lib/x").unwrap(), "/usr/lib/x");
        assert_eq!(resolve("/var/run/x.pid").unwrap(), "/run/x.pid");
        assert_eq!(resolve("/var/out/passwd").unwrap(), "/etc/passwd");
        assert_eq!(resolve("/lib").unwrap(), "/lib", "the last part is never followed");
        assert_eq!(resolve("/new/deep/file").unwrap(), "/new/deep/file");
        assert!(resolve("/loop/x").is_err());
    }
}
