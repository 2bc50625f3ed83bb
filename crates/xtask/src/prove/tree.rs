//! Trees compared, by none of the product's own code: all that `lstat` tells but access and change times
//! and inode numbers, extended attributes, content, and which names are one file.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    fmt::{self, Write as _},
    fs,
    io::{self, Read as _},
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// All there is to one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Kind and permissions.
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    /// Zero for folders: their size is the file system's affair.
    size: u64,
    device: u64,
    /// Seconds and nanoseconds.
    pub(crate) modified: (i64, i64),
    target: Option<PathBuf>,
    attributes: BTreeMap<OsString, Vec<u8>>,
    pub(crate) content: Option<blake3::Hash>,
    /// The first name of the same file.
    first_name: Option<OsString>,
}

/// A tree as it was seen; paths begin with `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree(pub(crate) BTreeMap<OsString, Seen>);

/// Content that was hashed before. A file whose inode, size and change time are the same has not been
/// written: the kernel sets the last one, and nobody else can.
#[derive(Default)]
pub(crate) struct Known(HashMap<[i64; 7], blake3::Hash>);

/// What is different at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) path: OsString,
    /// `missing`, `too much`, or what differs: `time`, `content`…
    pub(crate) what: Vec<&'static str>,
}

impl Tree {
    /// Walks everything at and below `root` that is on its file system.
    pub(crate) fn of(root: &Path, known: &mut Known) -> Result<Self> {
        let mut tree = Self::default();
        let mut names: HashMap<(u64, u64), OsString> = HashMap::new();
        let device = fs::symlink_metadata(root).with_context(|| root.display().to_string())?.dev();
        let mut folders = vec![(root.to_owned(), OsString::from("/"))];
        while let Some((folder, name)) = folders.pop() {
            let seen = see(&folder, known).with_context(|| folder.display().to_string())?;
            tree.0.insert(name.clone(), seen);
            for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let entry = entry.with_context(|| folder.display().to_string())?;
                let mut below = name.clone().into_vec();
                if below != b"/" {
                    below.push(b'/');
                }
                below.extend(entry.file_name().as_bytes());
                let (path, below) = (entry.path(), OsString::from_vec(below));
                let meta = entry.metadata().with_context(|| path.display().to_string())?;
                if meta.is_dir() && meta.dev() == device {
                    folders.push((path, below));
                    continue;
                }
                let seen = see(&path, known).with_context(|| path.display().to_string())?;
                if !meta.is_dir() && meta.nlink() > 1 {
                    let first =
                        names.entry((meta.dev(), meta.ino())).or_insert_with(|| below.clone());
                    if below < *first {
                        first.clone_from(&below);
                    }
                }
                tree.0.insert(below, seen);
            }
        }
        tree.name_links(root, &names)?;
        Ok(tree)
    }

    /// Gives every file with several names the first of those in the tree.
    fn name_links(&mut self, root: &Path, names: &HashMap<(u64, u64), OsString>) -> Result<()> {
        for (path, seen) in &mut self.0 {
            if seen.content.is_none() {
                continue;
            }
            let file = below(root, path);
            let meta = fs::symlink_metadata(&file).with_context(|| file.display().to_string())?;
            seen.first_name =
                names.get(&(meta.dev(), meta.ino())).filter(|_| meta.nlink() > 1).cloned();
        }
        // A file whose other names are outside the tree has one name here.
        let mut count: HashMap<OsString, usize> = HashMap::new();
        for first in self.0.values().filter_map(|seen| seen.first_name.clone()) {
            *count.entry(first).or_default() += 1;
        }
        for seen in self.0.values_mut() {
            if seen.first_name.as_ref().is_some_and(|first| count[first] == 1) {
                seen.first_name = None;
            }
        }
        Ok(())
    }

    /// What has to happen to `self` to become `other`, in path order.
    pub(crate) fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut all = Vec::new();
        for (path, seen) in &self.0 {
            match other.0.get(path) {
                None => all.push(Difference { path: path.clone(), what: vec!["missing"] }),
                Some(there) if there != seen => {
                    all.push(Difference { path: path.clone(), what: seen.differing(there) });
                }
                Some(_) => {}
            }
        }
        let added = other.0.keys().filter(|path| !self.0.contains_key(*path));
        all.extend(added.map(|path| Difference { path: path.clone(), what: vec!["too much"] }));
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }
}

impl Seen {
    fn differing(&self, other: &Self) -> Vec<&'static str> {
        let pairs = [
            ("kind", self.mode >> 12 != other.mode >> 12),
            ("mode", self.mode & 0o7777 != other.mode & 0o7777),
            ("owner", self.owner != other.owner),
            ("size", self.size != other.size),
            ("device", self.device != other.device),
            ("time", self.modified != other.modified),
            ("target", self.target != other.target),
            ("attributes", self.attributes != other.attributes),
            ("content", self.content != other.content),
            ("links", self.first_name != other.first_name),
        ];
        pairs.into_iter().filter(|(_, differs)| *differs).map(|(word, _)| word).collect()
    }

    pub(crate) fn is_link(&self) -> bool {
        self.target.is_some()
    }

    pub(crate) fn is_folder(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.to_string_lossy(), self.what.join(", "))
    }
}

/// The first few differences, as an error's text.
pub(crate) fn listed(differences: &[Difference]) -> String {
    let mut text = format!("{} differences", differences.len());
    for difference in differences.iter().take(25) {
        let _ = write!(text, "\n  {difference}");
    }
    text
}

/// `path` of a tree below the folder it was walked from.
pub(crate) fn below(root: &Path, path: &OsStr) -> PathBuf {
    root.join(OsStr::from_bytes(path.as_bytes().strip_prefix(b"/").unwrap_or(path.as_bytes())))
}

fn see(path: &Path, known: &mut Known) -> io::Result<Seen> {
    let meta = fs::symlink_metadata(path)?;
    let is_device = meta.mode() & 0o170_000 == 0o020_000 || meta.mode() & 0o170_000 == 0o060_000;
    Ok(Seen {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        size: if meta.is_dir() { 0 } else { meta.size() },
        device: if is_device { meta.rdev() } else { 0 },
        modified: (meta.mtime(), meta.mtime_nsec()),
        target: if meta.is_symlink() { Some(fs::read_link(path)?) } else { None },
        attributes: attributes(path)?,
        content: if meta.is_file() { Some(known.hash(path, &meta)?) } else { None },
        first_name: None,
    })
}

impl Known {
    fn hash(&mut self, path: &Path, meta: &fs::Metadata) -> io::Result<blake3::Hash> {
        let key = [
            meta.dev().cast_signed(),
            meta.ino().cast_signed(),
            meta.size().cast_signed(),
            meta.ctime(),
            meta.ctime_nsec(),
            meta.mtime(),
            meta.mtime_nsec(),
        ];
        if let Some(hash) = self.0.get(&key) {
            return Ok(*hash);
        }
        let mut hasher = blake3::Hasher::new();
        let mut file = fs::File::open(path)?;
        let mut piece = vec![0; 128 << 10];
        loop {
            match file.read(&mut piece)? {
                0 => break,
                count => hasher.update(&piece[..count]),
            };
        }
        let hash = hasher.finalize();
        self.0.insert(key, hash);
        Ok(hash)
    }
}

fn attributes(path: &Path) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Err(rustix::io::Errno::NOTSUP) => 0,
        other => other?,
    };
    let mut all = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        // What overlayfs writes down for itself is no part of the tree.
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..])?;
        value.truncate(length);
        all.insert(OsString::from_vec(name.to_vec()), value);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn every_kind_of_difference_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("content"), "one").unwrap();
        fs::write(at("mode"), "").unwrap();
        fs::write(at("gone"), "").unwrap();
        fs::write(at("linked"), "same").unwrap();
        fs::copy(at("linked"), at("zlinked")).unwrap();
        std::os::unix::fs::symlink("a", at("target")).unwrap();
        let mut known = Known::default();
        let before = Tree::of(folder.path(), &mut known).unwrap();
        assert_eq!(before.differences(&Tree::of(folder.path(), &mut known).unwrap()), []);

        fs::write(at("content"), "two").unwrap();
        fs::set_permissions(at("mode"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(at("gone")).unwrap();
        fs::write(at("new"), "").unwrap();
        fs::remove_file(at("zlinked")).unwrap();
        fs::hard_link(at("linked"), at("zlinked")).unwrap();
        fs::remove_file(at("target")).unwrap();
        std::os::unix::fs::symlink("b", at("target")).unwrap();
        let after = Tree::of(folder.path(), &mut known).unwrap();
        let words: BTreeMap<String, Vec<&str>> = before
            .differences(&after)
            .into_iter()
            .map(|one| (one.path.to_string_lossy().into_owned(), one.what))
            .collect();
        assert!(words["/content"].contains(&"content"));
        assert_eq!(words["/mode"], ["mode"]);
        assert_eq!(words["/gone"], ["missing"]);
        assert_eq!(words["/new"], ["too much"]);
        assert_eq!(words["/linked"], ["links"]);
        assert!(words["/target"].contains(&"target"));
        assert!(words["/"].contains(&"time"));
    }
}
