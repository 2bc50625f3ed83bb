//! Puts the root together and furnishes it with what every program expects.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs::{self, OpenOptions},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use model::MachinePath;
use rustix::{
    fs::{CWD, FileType, Mode, Timespec, Timestamps, makedev},
    mount::{
        MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
        mount_remount,
    },
};

use super::{EncloseError, Enclosure, OPTIONS, inside, made_file};
use crate::overlay::Layer;

/// What a service manager's scripts ask before they start anything: no.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str =
    "#!/bin/sh\n# No service is started while an installer is captured.\nexit 101\n";

/// Character devices every program may expect: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Mounts every layer where it belongs. Returns the options that were accepted.
pub(super) fn mount_layers(enclosure: &Enclosure) -> Result<String, EncloseError> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| EncloseError::Namespaces(error.into()))?;
    let mut accepted = "";
    for layer in &enclosure.layers {
        let target = inside(&enclosure.merged, &layer.path);
        accepted = mount_layer(layer, &target).map_err(|reason| EncloseError::Overlay {
            lower: layer.lower.clone(),
            upper: layer.upper.clone(),
            reason,
        })?;
    }
    Ok(accepted.to_owned())
}

/// Mounts one layer at `target`, with the best options the kernel accepts, and returns those.
///
/// # Errors
/// The kernel refuses all of them.
pub fn mount_layer(layer: &Layer, target: &Path) -> io::Result<&'static str> {
    let mut refusal = None;
    for options in OPTIONS {
        let data = layer_options(layer, options)?;
        match mount("overlay", target, "overlay", MountFlags::empty(), data.as_c_str()) {
            Ok(()) => return Ok(options),
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.map_or_else(|| io::ErrorKind::Unsupported.into(), Into::into))
}

fn layer_options(layer: &Layer, options: &str) -> io::Result<CString> {
    let mut data = Vec::new();
    for (name, folder) in [
        (&b"lowerdir="[..], &layer.lower),
        (b",upperdir=", &layer.upper),
        (b",workdir=", &layer.work),
    ] {
        data.extend_from_slice(name);
        for &byte in folder.as_os_str().as_bytes() {
            if matches!(byte, b'\\' | b',') || (byte == b':' && name == b"lowerdir=") {
                data.push(b'\\');
            }
            data.push(byte);
        }
    }
    if !options.is_empty() {
        data.push(b',');
        data.extend_from_slice(options.as_bytes());
    }
    CString::new(data).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Mounts what is private to the run. Returns the paths that had to be made to mount on.
pub(super) fn furnish(enclosure: &Enclosure) -> Result<BTreeSet<MachinePath>, EncloseError> {
    let mut made = Made { paths: BTreeSet::new(), file: made_file(&enclosure.outcome) };
    let failed = |path: &str| {
        let path = path.to_owned();
        move |reason| EncloseError::Prepare { path, reason }
    };
    let machine = |path: &str| MachinePath::new(path).unwrap_or_else(|_| MachinePath::root());
    for folder in &enclosure.private {
        let mode = if folder.as_bytes() == b"/run" { c"mode=755" } else { c"mode=1777" };
        memory(&inside(&enclosure.merged, folder), mode).map_err(failed(&folder.to_string()))?;
    }
    for folder in ["/proc", "/sys", "/dev"] {
        mount_point(&enclosure.merged, &machine(folder), true, &mut made)
            .map_err(failed(folder))?;
    }
    system(&enclosure.merged.join("sys")).map_err(failed("/sys"))?;
    devices(&enclosure.merged.join("dev")).map_err(failed("/dev"))?;
    for hidden in &enclosure.hidden {
        memory(&inside(&enclosure.merged, hidden), c"mode=000")
            .map_err(failed(&hidden.to_string()))?;
    }
    name_service(enclosure, &mut made).map_err(failed("/etc/resolv.conf"))?;
    policy(enclosure, &mut made).map_err(failed(POLICY))?;
    for bind in &enclosure.binds {
        let failed = failed(&bind.target.to_string());
        bring_in(&enclosure.merged, &bind.source, &bind.target, &mut made).map_err(failed)?;
    }
    Ok(made.paths)
}

/// Paths made to mount on, written down before they are made.
struct Made {
    paths: BTreeSet<MachinePath>,
    file: PathBuf,
}

impl Made {
    fn note(&mut self, path: &MachinePath) -> io::Result<()> {
        self.paths.insert(path.clone());
        fs::write(&self.file, serde_json::to_vec(&self.paths)?)
    }
}

fn memory(target: &Path, mode: &std::ffi::CStr) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount("tmpfs", target, "tmpfs", flags, mode)?)
}

fn system(target: &Path) -> io::Result<()> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount("sysfs", target, "sysfs", flags, c"") {
        Ok(()) => Ok(()),
        // Not in a container: then the one we have, read-only.
        Err(_) => read_only_bind(Path::new("/sys"), target),
    }
}

fn devices(folder: &Path) -> io::Result<()> {
    mount("tmpfs", folder, "tmpfs", MountFlags::NOSUID, c"mode=755")?;
    for (name, major, minor) in DEVICES {
        let target = folder.join(name);
        let device = makedev(major, minor);
        let mode = Mode::from_raw_mode(0o666);
        if rustix::fs::mknodat(CWD, &target, FileType::CharacterDevice, mode, device).is_ok() {
            rustix::fs::chmod(&target, mode)?;
        } else {
            fs::write(&target, "")?;
            mount_bind(Path::new("/dev").join(name), &target)?;
        }
    }
    for name in ["pts", "shm"] {
        fs::create_dir(folder.join(name))?;
    }
    let options = c"newinstance,ptmxmode=0666,mode=620";
    let quiet = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("devpts", folder.join("pts"), "devpts", quiet, options)?;
    memory(&folder.join("shm"), c"mode=1777")?;
    for (name, to) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(to, folder.join(name))?;
    }
    Ok(())
}

/// Names must resolve inside as they do outside, since the network is kept.
fn name_service(enclosure: &Enclosure, made: &mut Made) -> io::Result<()> {
    let Ok(outside) = fs::canonicalize("/etc/resolv.conf") else { return Ok(()) };
    let merged = &enclosure.merged;
    // On the live machine the file may be a link into a folder that is private now.
    let private = enclosure.private.iter().any(|folder| {
        MachinePath::new(outside.as_os_str().as_bytes()).is_ok_and(|path| path.is_within(folder))
    });
    if private {
        let target = merged.join(outside.strip_prefix("/").unwrap_or(&outside));
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        return fs::copy(&outside, &target).map(|_| ());
    }
    let target = merged.join("etc/resolv.conf");
    match fs::symlink_metadata(&target) {
        Ok(found) if found.is_file() => {
            if fs::read(&target)? == fs::read(&outside)? {
                return Ok(());
            }
        }
        Ok(_) => return Ok(()),
        Err(_) if !merged.join("etc").is_dir() => return Ok(()),
        Err(_) => {}
    }
    let path = MachinePath::new("/etc/resolv.conf").map_err(|_| io::ErrorKind::InvalidInput)?;
    bring_in(merged, &outside, &path, made)
}

fn policy(enclosure: &Enclosure, made: &mut Made) -> io::Result<()> {
    let target = enclosure.merged.join(&POLICY[1..]);
    let folder = target.parent().is_some_and(Path::is_dir);
    if !folder || target.symlink_metadata().is_ok() {
        return Ok(());
    }
    let source = enclosure.outcome.with_extension("policy");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o755).open(&source)?;
    io::Write::write_all(&mut file, POLICY_TEXT.as_bytes())?;
    drop(file);
    let path = MachinePath::new(POLICY).map_err(|_| io::ErrorKind::InvalidInput)?;
    bring_in(&enclosure.merged, &source, &path, made)
}

fn bring_in(merged: &Path, source: &Path, target: &MachinePath, made: &mut Made) -> io::Result<()> {
    mount_point(merged, target, source.is_dir(), made)?;
    read_only_bind(source, &inside(merged, target))
}

fn read_only_bind(source: &Path, target: &Path) -> io::Result<()> {
    mount_bind_recursive(source, target)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY;
    Ok(mount_remount(target, flags, c"")?)
}

/// Makes sure that something can be mounted at `path`. What has to be made is noted, so that it is
/// never taken for the installer's work, and the time of the folder it is made in is put back.
fn mount_point(merged: &Path, path: &MachinePath, folder: bool, made: &mut Made) -> io::Result<()> {
    let target = inside(merged, path);
    if target.symlink_metadata().is_ok() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        mount_point(merged, &parent, true, made)?;
        let parent = inside(merged, &parent);
        let before = parent.metadata()?;
        made.note(path)?;
        if folder {
            fs::DirBuilder::new().mode(0o755).create(&target)?;
        } else {
            OpenOptions::new().write(true).create_new(true).mode(0o644).open(&target)?;
        }
        let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps {
            last_access: time(before.atime(), before.atime_nsec()),
            last_modification: time(before.mtime(), before.mtime_nsec()),
        };
        rustix::fs::utimensat(CWD, &parent, &times, rustix::fs::AtFlags::empty())?;
    }
    Ok(())
}
