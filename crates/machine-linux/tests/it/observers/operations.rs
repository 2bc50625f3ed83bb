//! One random operation at a time, done to a real folder and to the model.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File, OpenOptions},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, lchown, symlink},
    path::{Path, PathBuf},
};

use model::{Acl, Owner, Time};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use super::tree::{BLOCK, Body, Inode, Modified, Tree};

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "a!"];
const MOST: u64 = 8 * BLOCK;

/// `SplitMix64`: the same rolls for the same seed, everywhere.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.roll(choices.len() as u64)).unwrap()].clone()
    }
}

/// A real folder and the model of it.
pub(crate) struct Machine {
    pub(crate) root: PathBuf,
    pub(crate) tree: Tree,
    pub(crate) log: Vec<String>,
}

impl Machine {
    pub(crate) fn new(root: &Path) -> Self {
        fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { root: root.to_owned(), tree: Tree::new(), log: Vec::new() }
    }

    /// Sets every time to one long ago, different for each inode.
    pub(crate) fn settle(&mut self) {
        for (path, inode) in self.tree.paths() {
            let time =
                Time { seconds: 1_000_000_000 + i64::try_from(inode).unwrap(), nanoseconds: 5 };
            self.set_time(&path, inode, time);
        }
    }

    fn real(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Some existing path that `fits`, and its inode.
    fn some(&self, dice: &mut Dice, fits: impl Fn(&Inode) -> bool) -> Option<(String, usize)> {
        let fitting: Vec<_> = self
            .tree
            .paths()
            .into_iter()
            .filter(|(_, inode)| fits(&self.tree.inodes[*inode]))
            .collect();
        (!fitting.is_empty()).then(|| dice.one_of(&fitting))
    }

    fn some_folder(&self, dice: &mut Dice) -> (String, usize) {
        self.some(dice, |inode| matches!(inode.body, Body::Folder(_))).unwrap()
    }

    fn some_file(&self, dice: &mut Dice) -> Option<(String, usize)> {
        self.some(dice, |inode| matches!(inode.body, Body::File { .. }))
    }

    /// A folder and a name in it that may be taken.
    fn some_place(&self, dice: &mut Dice) -> (usize, String, String) {
        let (folder, inode) = self.some_folder(dice);
        let name = dice.one_of(&NAMES).to_owned();
        (inode, format!("{folder}/{name}"), name)
    }

    fn at(&self, path: &str) -> Option<usize> {
        self.tree.paths().get(path).copied()
    }

    pub(crate) fn act(&mut self, dice: &mut Dice) {
        match dice.roll(20) {
            0..=2 => self.create(dice),
            3..=4 => self.make_folder(dice),
            5 => self.link_symbolically(dice),
            6..=7 => self.write(dice),
            8 => self.truncate(dice),
            9..=11 => self.rename(dice),
            12 => self.link(dice),
            13..=14 => self.remove(dice),
            15 => self.change_mode(dice),
            16 => self.change_owner(dice),
            17 => self.change_attribute(dice),
            18 => self.recreate(dice),
            _ => match dice.roll(4) {
                0 => self.change_acl(dice),
                1 => self.open_only(dice),
                2 => self.make_pipe(dice),
                _ => self.change_time(dice),
            },
        }
    }

    fn create(&mut self, dice: &mut Dice) {
        let (folder, path, name) = self.some_place(dice);
        if self.at(&path).is_some() {
            return;
        }
        self.log.push(format!("create {path}"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o644).open(self.real(&path)).unwrap();
        let body = Body::File { blocks: BTreeMap::new(), length: 0 };
        let inode = self.tree.add(Inode::new(body, 0o644));
        self.tree.names(folder).insert(name, inode);
        if dice.roll(4) > 0 {
            self.write_to(dice, &path, inode);
        }
    }

    fn make_folder(&mut self, dice: &mut Dice) {
        let (folder, path, name) = self.some_place(dice);
        if self.at(&path).is_some() || path.len() > 12 {
            return;
        }
        self.log.push(format!("mkdir {path}"));
        fs::DirBuilder::new().mode(0o755).create(self.real(&path)).unwrap();
        let inode = self.tree.add(Inode::new(Body::Folder(BTreeMap::new()), 0o755));
        self.tree.names(folder).insert(name, inode);
    }

    fn link_symbolically(&mut self, dice: &mut Dice) {
        let (folder, path, name) = self.some_place(dice);
        if self.at(&path).is_some() {
            return;
        }
        let target = dice.one_of(&["a", "../b", "/nowhere"]);
        self.log.push(format!("symlink {path}"));
        symlink(target, self.real(&path)).unwrap();
        let inode = self.tree.add(Inode::new(Body::Symlink(target.to_owned()), 0o777));
        self.tree.names(folder).insert(name, inode);
    }

    fn make_pipe(&mut self, dice: &mut Dice) {
        let (folder, path, name) = self.some_place(dice);
        if self.at(&path).is_some() {
            return;
        }
        self.log.push(format!("mkfifo {path}"));
        let mode = Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(CWD, self.real(&path), FileType::Fifo, mode, 0).unwrap();
        let inode = self.tree.add(Inode::new(Body::Fifo, 0o644));
        self.tree.names(folder).insert(name, inode);
    }

    fn write(&mut self, dice: &mut Dice) {
        if let Some((path, inode)) = self.some_file(dice) {
            self.write_to(dice, &path, inode);
        }
    }

    /// Writes whole blocks somewhere, beyond the end too, which leaves a hole.
    fn write_to(&mut self, dice: &mut Dice, path: &str, inode: usize) {
        let (block, count) = (dice.roll(6), 1 + dice.roll(2));
        let fill = 1 + u8::try_from(dice.roll(250)).unwrap();
        self.log.push(format!("write {path} block {block}+{count}"));
        let file = OpenOptions::new().write(true).open(self.real(path)).unwrap();
        let data = vec![fill; usize::try_from(count * BLOCK).unwrap()];
        file.write_all_at(&data, block * BLOCK).unwrap();
        self.tree.inodes[inode].modified = Modified::Now;
        if let Body::File { blocks, length } = &mut self.tree.inodes[inode].body {
            // What lay in the block of the old end is no longer cut there: it was zeros.
            for block in block..block + count {
                blocks.insert(block, fill);
            }
            *length = (*length).max((block + count) * BLOCK);
        }
    }

    /// Always to a multiple of the block size, so that a model by blocks stays right.
    fn truncate(&mut self, dice: &mut Dice) {
        let Some((path, inode)) = self.some_file(dice) else { return };
        let to = dice.roll(MOST / BLOCK) * BLOCK;
        let Body::File { blocks, length } = &mut self.tree.inodes[inode].body else { return };
        if *length == to {
            return;
        }
        *length = to;
        blocks.retain(|&block, _| block * BLOCK < to);
        self.tree.inodes[inode].modified = Modified::Now;
        self.log.push(format!("truncate {path} to {to}"));
        let file = OpenOptions::new().write(true).open(self.real(&path)).unwrap();
        file.set_len(to).unwrap();
    }

    fn rename(&mut self, dice: &mut Dice) {
        let Some((from, inode)) = self.some(dice, |_| true) else { return };
        let (folder, to, name) = self.some_place(dice);
        let into_itself = to == from || to.starts_with(&format!("{from}/"));
        if from.is_empty() || into_itself {
            return;
        }
        let is_folder = matches!(self.tree.inodes[inode].body, Body::Folder(_));
        if let Some(taken) = self.at(&to) {
            let fits = match &self.tree.inodes[taken].body {
                Body::Folder(names) => is_folder && names.is_empty(),
                _ => !is_folder,
            };
            // Two names of one file: the kernel does nothing.
            if !fits || taken == inode {
                return;
            }
        }
        self.log.push(format!("rename {from} {to}"));
        fs::rename(self.real(&from), self.real(&to)).unwrap();
        let (parent, old) = from.rsplit_once('/').unwrap();
        let parent = self.at(parent).unwrap();
        self.tree.names(parent).remove(old);
        self.tree.names(folder).insert(name, inode);
    }

    fn link(&mut self, dice: &mut Dice) {
        let Some((from, inode)) = self.some_file(dice) else { return };
        let (folder, to, name) = self.some_place(dice);
        if self.at(&to).is_some() {
            return;
        }
        self.log.push(format!("link {from} {to}"));
        fs::hard_link(self.real(&from), self.real(&to)).unwrap();
        self.tree.names(folder).insert(name, inode);
    }

    fn remove(&mut self, dice: &mut Dice) {
        let Some((path, inode)) = self.some(dice, |_| true) else { return };
        if path.is_empty() {
            return;
        }
        self.log.push(format!("remove {path}"));
        if matches!(self.tree.inodes[inode].body, Body::Folder(_)) {
            fs::remove_dir_all(self.real(&path)).unwrap();
        } else {
            fs::remove_file(self.real(&path)).unwrap();
        }
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = self.at(parent).unwrap();
        self.tree.names(parent).remove(name);
    }

    /// Removes a file or folder and makes another of the same name, sometimes just the same.
    fn recreate(&mut self, dice: &mut Dice) {
        let Some((path, inode)) = self.some(dice, |_| true) else { return };
        if path.is_empty() {
            return;
        }
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = self.at(parent).unwrap();
        let mut again = Inode { modified: Modified::Now, ..self.tree.inodes[inode].clone() };
        (again.uid, again.gid, again.acl) = (0, 0, None);
        again.xattrs.clear();
        self.log.push(format!("recreate {path}"));
        let real = self.real(&path);
        match &mut again.body {
            Body::Folder(names) => {
                names.clear();
                again.mode = 0o755;
                fs::remove_dir_all(&real).unwrap();
                fs::DirBuilder::new().mode(0o755).create(&real).unwrap();
            }
            Body::File { blocks, length } => {
                again.mode = 0o644;
                fs::remove_file(&real).unwrap();
                let mut options = OpenOptions::new();
                let file = options.write(true).create_new(true).mode(0o644).open(&real).unwrap();
                fill(&file, blocks, *length);
            }
            _ => return,
        }
        let keeps_time = dice.roll(2) == 0;
        let time = self.tree.inodes[inode].modified;
        let again = self.tree.add(again);
        self.tree.names(parent).insert(name.to_owned(), again);
        if let (true, Modified::At(time)) = (keeps_time, time) {
            self.set_time(&path, again, time);
        }
    }

    fn change_mode(&mut self, dice: &mut Dice) {
        let fits = |inode: &Inode| inode.acl.is_none() && !matches!(inode.body, Body::Symlink(_));
        let Some((path, inode)) = self.some(dice, fits) else { return };
        let mode = if matches!(self.tree.inodes[inode].body, Body::Folder(_)) {
            dice.one_of(&[0o755, 0o700, 0o1777])
        } else {
            dice.one_of(&[0o644, 0o600, 0o755, 0o4755, 0o444])
        };
        self.log.push(format!("chmod {mode:o} {path}"));
        rustix::fs::chmod(self.real(&path), Mode::from_raw_mode(mode.into())).unwrap();
        self.tree.inodes[inode].mode = mode;
    }

    fn change_owner(&mut self, dice: &mut Dice) {
        // Changing an owner, or writing, takes set-user-id away: the kernel's business, not ours.
        let Some((path, inode)) = self.some(dice, |inode| inode.mode & 0o7000 == 0) else { return };
        let (uid, gid) =
            (u32::try_from(dice.roll(3)).unwrap(), u32::try_from(dice.roll(3)).unwrap());
        self.log.push(format!("chown {uid}:{gid} {path}"));
        lchown(self.real(&path), Some(uid), Some(gid)).unwrap();
        (self.tree.inodes[inode].uid, self.tree.inodes[inode].gid) = (uid, gid);
    }

    fn change_attribute(&mut self, dice: &mut Dice) {
        let fits = |inode: &Inode| matches!(inode.body, Body::Folder(_) | Body::File { .. });
        let Some((path, inode)) = self.some(dice, fits) else { return };
        let name = dice.one_of(&["user.one", "trusted.two"]);
        let real = self.real(&path);
        if self.tree.inodes[inode].xattrs.contains_key(name) && dice.roll(2) == 0 {
            self.log.push(format!("removexattr {name} {path}"));
            rustix::fs::lremovexattr(&real, name).unwrap();
            self.tree.inodes[inode].xattrs.remove(name);
        } else {
            let value = vec![b'x'; usize::try_from(dice.roll(300)).unwrap()];
            self.log.push(format!("setxattr {name} {path}"));
            rustix::fs::lsetxattr(&real, name, &value, XattrFlags::empty()).unwrap();
            self.tree.inodes[inode].xattrs.insert(name.to_owned(), value);
        }
    }

    fn change_acl(&mut self, dice: &mut Dice) {
        let fits = |inode: &Inode| {
            matches!(inode.body, Body::Folder(_) | Body::File { .. }) && inode.mode & 0o7000 == 0
        };
        let Some((path, inode)) = self.some(dice, fits) else { return };
        let (text, mode) = dice.one_of(&[
            ("user::rw-,user:7:r--,group::r--,mask::rw-,other::---", 0o660),
            ("user::rwx,group::r-x,group:9:-w-,mask::rwx,other::r-x", 0o775),
        ]);
        self.log.push(format!("setfacl {path}"));
        let id = |owner: &Owner| match owner {
            Owner::Id(id) => Some(*id),
            Owner::Name(_) => None,
        };
        let bytes = text.parse::<Acl>().unwrap().to_bytes(id, id).unwrap();
        let name = CString::new("system.posix_acl_access").unwrap();
        rustix::fs::lsetxattr(self.real(&path), &name, &bytes, XattrFlags::empty()).unwrap();
        self.tree.inodes[inode].acl = Some(text.to_owned());
        self.tree.inodes[inode].mode = mode;
    }

    fn open_only(&mut self, dice: &mut Dice) {
        if let Some((path, inode)) = self.some_file(dice) {
            self.log.push(format!("open {path}"));
            if let Modified::At(time) = self.tree.inodes[inode].modified {
                self.tree.inodes[inode].modified = Modified::AtUnlessCopied(time);
            }
            OpenOptions::new().read(true).write(true).open(self.real(&path)).unwrap();
        }
    }

    fn change_time(&mut self, dice: &mut Dice) {
        let Some((path, inode)) = self.some(dice, |_| true) else { return };
        let seconds = 1_000_000_000 + i64::try_from(dice.roll(40)).unwrap();
        self.log.push(format!("touch {path}"));
        self.set_time(&path, inode, Time { seconds, nanoseconds: 5 });
    }

    fn set_time(&mut self, path: &str, inode: usize, time: Time) {
        let stamp = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
        let times = Timestamps { last_access: stamp, last_modification: stamp };
        rustix::fs::utimensat(CWD, self.real(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        self.tree.inodes[inode].modified = Modified::At(time);
    }
}

fn fill(file: &File, blocks: &BTreeMap<u64, u8>, length: u64) {
    for (&block, &byte) in blocks {
        let data = vec![byte; usize::try_from(BLOCK).unwrap()];
        file.write_all_at(&data, block * BLOCK).unwrap();
    }
    file.set_len(length).unwrap();
}
