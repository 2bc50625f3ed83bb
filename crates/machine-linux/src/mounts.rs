//! What is mounted below a root: which file systems belong to it, and which are only visitors.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use model::MachinePath;
use serde::{Deserialize, Serialize};

/// File systems that keep files for good on this machine. All others are visitors.
const LASTING: [&str; 11] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "bcachefs", "jfs", "reiserfs", "overlay",
];

/// What is mounted below a root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Every mount point below the root, by path as seen from the root, and what is on top there.
    pub points: BTreeMap<MachinePath, Mount>,
    /// The mount points that belong to the machine and are walked: lasting file systems, each once.
    pub own: BTreeSet<MachinePath>,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The kind of file system.
    pub file_system: String,
    /// Which one, by the kernel's numbers.
    pub device: String,
    /// The folder of that file system that is shown here.
    pub shows: PathBuf,
}

impl Mounts {
    /// Reads what is mounted below `root` in this process's mount namespace.
    ///
    /// # Errors
    /// `root` or the kernel's table cannot be read.
    pub fn below(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        Ok(Self::parse(&fs::read("/proc/self/mountinfo")?, &root))
    }

    /// Reads a `mountinfo` table (proc(5)). Lines in another form are passed over.
    pub fn parse(table: &[u8], root: &Path) -> Self {
        let mut mounts = Self::default();
        let mut around: Option<(usize, Mount)> = None;
        for line in table.split(|&byte| byte == b'\n') {
            let Some((point, mount)) = parse_line(line) else { continue };
            match point.strip_prefix(root) {
                Ok(below) if !below.as_os_str().is_empty() => {
                    let path = [b"/", below.as_os_str().as_bytes()].concat();
                    if let Ok(path) = MachinePath::new(path) {
                        mounts.points.insert(path, mount);
                    }
                }
                _ if root.starts_with(&point) => {
                    let depth = point.components().count();
                    if around.as_ref().is_none_or(|(deepest, _)| depth >= *deepest) {
                        around = Some((depth, mount));
                    }
                }
                _ => {}
            }
        }
        mounts.own = own(&mounts.points, around.map(|(_, mount)| mount));
        mounts
    }
}

/// A lasting file system belongs to the machine where its whole is mounted for the first time; a bind
/// mount shows something that has a place already.
fn own(points: &BTreeMap<MachinePath, Mount>, around: Option<Mount>) -> BTreeSet<MachinePath> {
    let mut seen: BTreeSet<&str> = around.iter().map(|mount| mount.device.as_str()).collect();
    let mut own = BTreeSet::new();
    for (path, mount) in points {
        let whole = mount.shows == Path::new("/") || mount.file_system == "btrfs";
        let parent_is_own = path
            .ancestors()
            .find(|ancestor| points.contains_key(ancestor))
            .is_none_or(|ancestor| own.contains(&ancestor));
        if LASTING.contains(&mount.file_system.as_str())
            && whole
            && parent_is_own
            && seen.insert(&mount.device)
        {
            own.insert(path.clone());
        }
    }
    own
}

fn parse_line(line: &[u8]) -> Option<(PathBuf, Mount)> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = String::from_utf8(fields.nth(2)?.to_vec()).ok()?;
    let shows = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let mut rest = fields.skip_while(|field| *field != b"-");
    rest.next()?;
    let file_system = String::from_utf8(rest.next()?.to_vec()).ok()?;
    Some((point, Mount { file_system, device, shows }))
}

/// The table writes blanks and backslashes as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let Some(byte) = octal {
            bytes.push(byte);
            rest = &tail[3..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Mounts;

    const TABLE: &[u8] = b"\
21 1 254:0 / / rw - ext4 /dev/vda rw
22 21 0:5 / /proc rw - proc proc rw
23 21 254:1 / /boot rw shared:1 - ext4 /dev/vdb rw
24 21 254:0 /data /srv/a\\040b rw - ext4 /dev/vda rw
25 21 254:1 / /mnt/boot rw - ext4 /dev/vdb rw
26 23 0:9 / /boot/efi rw - fuse.thing thing rw
27 21 0:44 / /var rw - fuse.other other rw
28 27 254:7 / /var/inner rw - xfs /dev/vdc rw
";

    #[test]
    fn each_lasting_file_system_belongs_once() {
        let mounts = Mounts::parse(TABLE, Path::new("/"));
        let own: Vec<_> = mounts.own.iter().map(ToString::to_string).collect();
        assert_eq!(own, ["/boot"]);
        assert_eq!(mounts.points.len(), 7);
        assert!(mounts.points.keys().any(|path| path.to_string() == "/srv/a b"));
    }

    #[test]
    fn a_folder_as_root_has_its_own_mounts() {
        let mounts = Mounts::parse(TABLE, Path::new("/boot"));
        assert_eq!(mounts.points.keys().map(ToString::to_string).collect::<Vec<_>>(), ["/efi"]);
        assert!(mounts.own.is_empty());
    }
}
