//! Machines whose parts are small, full, read-only, or less able than others.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use change::Machine;
use operate::{Exit, InstallSettings};
use testkit::Sample;

use crate::root::{Root, same};

/// A file system of its own, gone with this.
struct Volume {
    at: PathBuf,
    _image: Option<tempfile::NamedTempFile>,
}

impl Volume {
    fn mounted(at: &Path, words: &[&str]) -> PathBuf {
        fs::create_dir_all(at).unwrap();
        let status = Command::new("mount").args(words).arg(at).status().unwrap();
        assert!(status.success(), "tests run with the right to mount: {words:?}");
        at.canonicalize().unwrap()
    }

    fn in_memory(at: &Path, size: &str) -> Self {
        let options = format!("size={size}");
        let at = Self::mounted(at, &["-t", "tmpfs", "-o", &options, "tmpfs"]);
        Self { at, _image: None }
    }

    /// One that knows no extended attributes.
    fn plain(at: &Path) -> Self {
        Self { at: Self::mounted(at, &["-t", "ramfs", "ramfs"]), _image: None }
    }

    fn read_only(at: &Path, of: &Path) -> Self {
        let at = Self::mounted(at, &["--bind", of.to_str().unwrap()]);
        let status =
            Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&at).status().unwrap();
        assert!(status.success());
        Self { at, _image: None }
    }

    /// A real disk's.
    fn ext4(at: &Path, megabytes: u64) -> Self {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(megabytes << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg(image.path()).status().unwrap();
        assert!(made.success());
        let at = Self::mounted(at, &["-o", "loop", image.path().to_str().unwrap()]);
        Self { at, _image: Some(image) }
    }

    fn free(&self) -> u64 {
        rustix::fs::sync();
        let space = rustix::fs::statvfs(&self.at).unwrap();
        space.f_bavail * space.f_frsize
    }

    /// Leaves this many bytes free.
    fn fill_up_to(&self, free: u64) {
        let filler = fs::File::create(self.at.join("filler")).unwrap();
        rustix::fs::fallocate(
            &filler,
            rustix::fs::FallocateFlags::empty(),
            0,
            self.free().checked_sub(free).unwrap(),
        )
        .unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// 200 files of some hundred kilobytes, some of which do not fill their last block.
fn payload() -> Sample {
    let mut sample = Sample::new("payload", "1");
    let tree = sample.tree("/opt/payload");
    sample.directory(tree, "");
    for file in 0..200_u32 {
        let seed = file.to_le_bytes();
        let noise = blake3_like(&seed, 100_000 + file as usize * 7);
        sample.file(tree, &format!("folder-{}/{file}", file % 5), &noise);
    }
    sample
}

/// Bytes no compressor makes smaller.
fn blake3_like(seed: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut block = model::Hash::of(seed);
    while bytes.len() < length {
        bytes.extend(block.0);
        block = model::Hash::of(&block.0);
    }
    bytes.truncate(length);
    bytes
}

/// The bytes a message says are needed.
fn needed(message: &str) -> u64 {
    let before = message.split(" are needed").next().unwrap();
    before.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn q212790_what_cannot_fit_is_refused_with_the_bytes_really_needed() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::ext4(&folder.path().join("root"), 64);
    let root = Root::at(&volume.at);
    volume.fill_up_to(15 << 20);
    let pristine = root.whole();
    let report = root.install_with(&payload(), &InstallSettings::default());
    assert_eq!(report.result, Exit::NoSpace, "{}", report.lines());
    same(&pristine, &root.whole());
    let needed = needed(&report.message);
    fs::remove_file(volume.at.join("filler")).unwrap();
    let free = volume.free();
    root.install(&payload());
    let used = free - volume.free();
    let off = needed.abs_diff(used) * 1000 / used;
    assert!(off < 10, "{needed} bytes said to be needed, {used} used: {off} in a thousand off");
}

#[test]
fn q212790_space_for_kept_copies_is_looked_for_where_they_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::in_memory(&folder.path().join("root"), "8m");
    let root = Root::at(&volume.at);
    let other = Volume::in_memory(&volume.at.join("opt"), "32m");
    fs::write(root.path("opt/large"), vec![1; 10 << 20]).unwrap();
    let mut sample = Sample::new("app", "1");
    let tree = sample.tree("/opt");
    sample.file(tree, "large", b"small");
    let pristine = root.whole();
    let report = root.install_with(&sample, &InstallSettings::default());
    assert_eq!(report.result, Exit::NoSpace, "{}", report.lines());
    assert!(report.message.contains("`/var/lib/packhorse`"), "{}", report.message);
    assert!(needed(&report.message) >= 10 << 20, "{}", report.message);
    same(&pristine, &root.whole());
    fs::write(root.path("opt/large"), vec![1; 2 << 20]).unwrap();
    let pristine = root.whole();
    root.install(&sample);
    assert_eq!(root.read("opt/large"), "small");
    root.uninstall_all_of("app");
    same(&pristine, &root.whole());
    drop(other);
}

#[test]
fn q186413_a_roll_back_on_a_full_disk_needs_no_space_or_is_completed_later() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::ext4(&folder.path().join("root"), 32);
    let root = Root::at(&volume.at);
    let version = |number: u32| {
        let mut sample = Sample::new("app", &format!("{number}"));
        let tree = sample.tree("/opt/app");
        sample.directory(tree, "");
        for file in 0..300_u32 {
            let content = blake3_like(&[number.to_le_bytes(), file.to_le_bytes()].concat(), 5_000);
            sample.file(tree, &format!("{file}"), &content);
        }
        sample
    };
    root.install(&version(1));
    let earlier = root.outside();
    root.install(&version(2));
    volume.fill_up_to(0);
    let filler = volume.at.join("filler");
    let report = root.roll_back("app");
    let was_done = report.result == Exit::Done;
    assert!(was_done || report.result == Exit::NoSpace, "{}", report.lines());
    fs::remove_file(filler).unwrap();
    if !was_done {
        assert_eq!(root.roll_back("app").result, Exit::Done);
    }
    // The filler came and went in the root folder itself.
    let mut earlier = earlier;
    let mut after = root.outside();
    earlier.0.remove(&model::MachinePath::root());
    after.0.remove(&model::MachinePath::root());
    same(&earlier, &after);
    assert_eq!(root.verify("app").result, Exit::Done);
}

#[test]
fn a_read_only_root_is_refused_by_name() {
    let root = Root::new();
    let folder = tempfile::tempdir().unwrap();
    let pristine = root.whole();
    let volume = Volume::read_only(&folder.path().join("ro"), root.folder());
    let mut target = operate::Target::open(&volume.at, false, &mut |_| {}).unwrap();
    let mut show = operate::Show::new(true);
    let report = operate::install_package(
        &mut target,
        &mut payload().open(),
        &InstallSettings::default(),
        &mut show,
    );
    assert_eq!(report.result, Exit::Failed, "{}", report.lines());
    assert!(report.lines().contains("Read-only file system"), "{}", report.lines());
    assert!(report.message.contains("`/var/lib"), "{}", report.message);
    drop(target);
    drop(volume);
    same(&pristine, &root.whole());
}

#[test]
fn attributes_a_file_system_cannot_hold_are_named_with_their_file() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::plain(&folder.path().join("root"));
    let root = Root::at(&volume.at);
    let pristine = root.whole();
    let mut sample = Sample::new("app", "1");
    let tree = sample.tree("/opt/app");
    sample.directory(tree, "");
    let mut meta = Sample::meta(0o644);
    meta.xattrs.insert(b"user.note"[..].into(), b"kept"[..].into());
    sample.file_with(tree, "file", b"content", meta);
    let report = root.install_with(&sample, &InstallSettings::default());
    assert_eq!(report.result, Exit::RolledBack, "{}", report.lines());
    let text = report.lines();
    assert!(text.contains("`/opt/app/file`") && text.contains("user.note"), "{text}");
    same(&pristine, &root.whole());
    // Without them all works there.
    let mut sample = Sample::new("app", "1");
    let tree = sample.tree("/opt/app");
    sample.file(tree, "file", b"content");
    root.install(&sample);
    root.uninstall_all_of("app");
    same(&pristine, &root.whole());
}

#[test]
fn a_name_too_long_for_the_target_is_named() {
    let root = Root::new();
    let pristine = root.whole();
    for name in ["n".repeat(256), format!("folder/{}", "n".repeat(300))] {
        let mut sample = Sample::new("app", "1");
        let tree = sample.tree("/opt/app");
        sample.directory(tree, "");
        sample.file(tree, &name, b"");
        let report = root.install_with(&sample, &InstallSettings::default());
        assert_eq!(report.result, Exit::RolledBack, "{}", report.lines());
        let text = report.lines();
        assert!(text.contains(&format!("/opt/app/{name}")), "{text}");
        assert!(text.contains("File name too long"), "{text}");
        same(&pristine, &root.whole());
    }
}

/// Renames between file systems do not exist: what is kept is then a copy, and comes back as one.
#[test]
fn what_is_kept_on_another_file_system_comes_back_whole() {
    let root = Root::new();
    let volume = Volume::in_memory(&root.path("srv"), "4m");
    root.put("srv/file", "before");
    let mut machine = root.machine();
    let path = "/srv/file".parse().unwrap();
    let mut meta = change::Observe::look(&machine, &path).unwrap().unwrap().meta;
    meta.modified.nanoseconds = 7;
    meta.user = 12;
    machine.set_meta(&path, &meta).unwrap();
    let pristine = root.whole();
    for number in 1..3 {
        let mut sample = Sample::new("app", &format!("{number}"));
        let tree = sample.tree("/srv");
        sample.file(tree, "file", format!("version {number}").as_bytes());
        root.install(&sample);
    }
    assert_eq!(root.roll_back("app").result, Exit::Done);
    assert_eq!(root.read("srv/file"), "version 1");
    root.uninstall_all_of("app");
    same(&pristine, &root.whole());
    drop(volume);
}
