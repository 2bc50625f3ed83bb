//! Root folders to work on: a fresh Debian, built once and kept, and copies of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    command::{command, output, run_quietly},
    debian::Mirror,
    workspace,
};

/// Where roots are kept between runs, unless it is below `target`.
const CACHE: &str = "PACKHORSE_PROOF_DIR";

/// Where what takes long to make is kept between runs.
pub(super) fn cache() -> Result<PathBuf> {
    let folder = std::env::var_os(CACHE)
        .map_or_else(|| workspace::root().join("target/proof"), PathBuf::from);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder.canonicalize()?)
}

/// The folder of the proof, with its cached roots.
pub(crate) struct Workshop {
    folder: PathBuf,
    mirror: Mirror,
}

impl Workshop {
    /// Opens it; folders of an earlier run that was interrupted are taken away.
    pub(crate) fn open() -> Result<Self> {
        let folder = cache()?;
        fs::create_dir_all(folder.join("roots")).with_context(|| folder.display().to_string())?;
        let workshop = Self { folder, mirror: Mirror::of_this_machine()? };
        remove(&workshop.runs())?;
        fs::create_dir_all(workshop.runs())?;
        Ok(workshop)
    }

    /// Where copies and sessions of this run are.
    pub(crate) fn runs(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// The smallest Debian, from the machine's own mirror.
    fn base(&self) -> Result<PathBuf> {
        self.kept(&format!("{}-base", self.mirror.codename), |new| {
            println!("building a fresh root of {}", self.mirror.codename);
            let folder = new.to_string_lossy();
            let (release, archive) = (&*self.mirror.codename, &*self.mirror.archive);
            let words =
                ["--variant=minbase", "--include=ca-certificates", release, &folder, archive];
            run_quietly(&mut command("debootstrap", words))?;
            let lists = [self.mirror.list("deb"), self.mirror.list("deb-src")].concat();
            fs::write(new.join("etc/apt/sources.list"), lists)?;
            inside(new, "apt-get -qq update")
        })
    }

    /// A root with what a program needs to be there already: `script` runs in it, once.
    pub(crate) fn prepared(&self, name: &str, script: &str) -> Result<PathBuf> {
        let base = self.base()?;
        // Another script is another root.
        let hash = blake3::hash(script.as_bytes()).to_hex();
        self.kept(&format!("{}-{name}-{}", self.mirror.codename, &hash[..8]), |new| {
            println!("building the root `{name}`");
            copy(&base, new)?;
            inside(new, script)
        })
    }

    fn kept(&self, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let kept = self.folder.join("roots").join(name);
        if !kept.exists() {
            let new = self.folder.join("roots").join(format!("{name}.new"));
            remove(&new)?;
            build(&new).with_context(|| format!("building the root `{name}`"))?;
            fs::rename(&new, &kept)?;
        }
        Ok(kept)
    }
}

/// A copy that differs in inode numbers and change times alone.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    run_quietly(command("cp", ["-a", "--reflink=auto"]).arg(from).arg(to))
}

/// Removes a folder with all in it, if it is there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    // Never across a mount that was left behind.
    run_quietly(command("rm", ["-rf", "--one-file-system"]).arg(folder))
}

/// Runs a shell script in `root`, with the network's names and certificates of this machine shown in it.
pub(crate) fn inside(root: &Path, script: &str) -> Result<()> {
    run_quietly(&mut enter(root, script))
}

/// What a shell script prints that runs in an overlay over `root`, so that the root stays as it is.
pub(crate) fn ask(root: &Path, scratch: &Path, script: &str) -> Result<String> {
    for name in ["upper", "work", "merged"] {
        fs::create_dir_all(scratch.join(name))?;
    }
    let mount = format!(
        "mount -t overlay overlay -o lowerdir={},upperdir={},workdir={} {merged} && root={merged}",
        root.display(),
        scratch.join("upper").display(),
        scratch.join("work").display(),
        merged = scratch.join("merged").display(),
    );
    let answer = output(&mut enter_after(&mount, root, script));
    remove(scratch)?;
    answer
}

fn enter(root: &Path, script: &str) -> Command {
    enter_after("true", root, script)
}

/// A shell in `root`, in mount and process namespaces that end with it; `first` is done before it goes in.
fn enter_after(first: &str, root: &Path, script: &str) -> Command {
    let outside = format!(
        "set -e\nroot=$1\n{first}\n\
         mount -t proc proc $root/proc\n\
         mount --rbind /dev $root/dev\n\
         mount -t tmpfs tmpfs $root/run\n\
         [ ! -e $root/etc/resolv.conf ] || mount --bind /etc/resolv.conf $root/etc/resolv.conf\n\
         [ ! -d $root/etc/ssl/certs ] || mount --bind -o ro /etc/ssl/certs $root/etc/ssl/certs\n\
         exec chroot $root sh -ec \"$2\"\n"
    );
    let words = ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", &outside, "sh"];
    let mut shell = command("unshare", words);
    shell.arg(root).arg(script).current_dir("/").env_clear();
    shell.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    shell.env("HOME", "/root").env("LANG", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
    for (name, value) in network_settings() {
        shell.env(name, value);
    }
    shell
}

/// How this machine reaches registries: proxies, certificates, settings of their clients. Taken from the
/// environment, because nothing of it may stand in the repository.
pub(crate) fn network_settings() -> Vec<(String, String)> {
    let is_setting = |name: &str| {
        let lower = name.to_lowercase();
        lower.ends_with("_proxy")
            || lower.starts_with("npm_config_")
            || ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_DEFAULT_TIMEOUT"]
                .contains(&name)
            || ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"].contains(&name)
    };
    std::env::vars().filter(|(name, _)| is_setting(name)).collect()
}

/// Files of this machine that say how registries are reached, and where they are shown inside.
pub(crate) fn network_files() -> Vec<(PathBuf, PathBuf)> {
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    [
        (PathBuf::from("/etc/ssl/certs"), PathBuf::from("/etc/ssl/certs")),
        (PathBuf::from("/etc/pip.conf"), PathBuf::from("/etc/pip.conf")),
        (home.join(".config/pip/pip.conf"), PathBuf::from("/root/.config/pip/pip.conf")),
        (home.join(".npmrc"), PathBuf::from("/root/.npmrc")),
    ]
    .into_iter()
    .filter(|(source, _)| source.exists())
    .collect()
}

/// A file system that is unmounted when this is dropped.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// What is mounted there already.
    pub(super) fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The view an installer had of its root at the end of a captured run, to be looked at.
    pub(crate) fn session(session: &Path, root: &Path) -> Result<Self> {
        let layer = session.join("layers/0");
        if !layer.join("upper").is_dir() {
            bail!("`{}` has no overlay: was the run observed by snapshots?", session.display());
        }
        let merged = session.join("merged");
        fs::create_dir_all(&merged)?;
        let options = format!(
            "index=on,metacopy=on,redirect_dir=on,nfs_export=off,lowerdir={},upperdir={},workdir={}",
            root.display(),
            layer.join("upper").display(),
            layer.join("work").display()
        );
        run_quietly(command("mount", ["-t", "overlay", "overlay", "-o", &options]).arg(&merged))?;
        Ok(Self(merged))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = run_quietly(command("umount", ["--lazy"]).arg(&self.0)) {
            eprintln!("`{}` stays mounted: {error:#}", self.0.display());
        }
    }
}
