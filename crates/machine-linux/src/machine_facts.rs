use std::{fs, os::unix::ffi::OsStrExt as _, path::PathBuf, process::Command};

use change::Observe;
use install::Facts;
use model::MachinePath;

use crate::LinuxMachine;

/// What a Linux says of itself: files of its root, and the kernel we run on.
#[derive(Debug)]
pub struct LinuxFacts {
    root: PathBuf,
    live: bool,
    os_release: Vec<(String, String)>,
}

impl LinuxFacts {
    /// The facts of `machine`.
    pub fn of(machine: &LinuxMachine) -> Self {
        let os_release = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| {
            let path = machine.resolve(&MachinePath::new(path).ok()?).ok()?;
            // The file itself is a link on most systems.
            let text = fs::read_to_string(machine.host(&path)).ok().or_else(|| {
                let path = machine.resolve(&MachinePath::new("/usr/lib/os-release").ok()?).ok()?;
                fs::read_to_string(machine.host(&path)).ok()
            })?;
            Some(assignments(&text))
        });
        Self {
            root: machine.root().to_owned(),
            live: machine.is_live(),
            os_release: os_release.unwrap_or_default(),
        }
    }

    /// The file system of `path`, or of the nearest folder above it, and its number.
    fn file_system(&self, path: &MachinePath) -> Option<(rustix::fs::StatVfs, u64)> {
        let mut at = Some(path.clone());
        while let Some(path) = at {
            let host = self.root.join(std::ffi::OsStr::from_bytes(path.relative()));
            if let (Ok(space), Ok(stat)) = (rustix::fs::statvfs(&host), rustix::fs::stat(&host)) {
                return Some((space, stat.st_dev));
            }
            at = path.parent();
        }
        None
    }

    fn release_field(&self, name: &str) -> String {
        let field = self.os_release.iter().find(|(key, _)| key == name);
        field.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

fn assignments(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            Some((key.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        })
        .collect()
}

impl Facts for LinuxFacts {
    fn os(&self) -> String {
        "linux".to_owned()
    }

    fn architecture(&self) -> String {
        std::env::consts::ARCH.to_owned()
    }

    fn distribution(&self) -> String {
        self.release_field("ID")
    }

    fn release(&self) -> String {
        self.release_field("VERSION_ID")
    }

    fn kernel(&self) -> String {
        rustix::system::uname().release().to_string_lossy().into_owned()
    }

    fn memory(&self) -> u64 {
        let info = rustix::system::sysinfo();
        info.totalram * u64::from(info.mem_unit)
    }

    fn host_name(&self) -> String {
        if self.live {
            return rustix::system::uname().nodename().to_string_lossy().into_owned();
        }
        fs::read_to_string(self.root.join("etc/hostname")).unwrap_or_default().trim().to_owned()
    }

    fn free_space(&self, path: &MachinePath) -> Option<(u64, u64)> {
        let (space, device) = self.file_system(path)?;
        // One without blocks, as in memory without a limit, does not say what is free.
        (space.f_blocks > 0).then_some((space.f_bavail * space.f_frsize, device))
    }

    fn block_size(&self, path: &MachinePath) -> u64 {
        self.file_system(path).map_or(4096, |(space, _)| space.f_frsize.max(1))
    }

    fn system_package(&self, name: &str) -> Option<String> {
        let status = fs::read_to_string(self.root.join("var/lib/dpkg/status")).ok();
        if let Some(status) = status {
            return dpkg_version(&status, name);
        }
        let output = Command::new("rpm")
            .arg("--root")
            .arg(&self.root)
            .args(["-q", "--queryformat", "%{EVR}", name])
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn has_running_systemd(&self) -> bool {
        // sd_booted(3)
        self.live && fs::symlink_metadata("/run/systemd/system").is_ok_and(|found| found.is_dir())
    }
}

/// The version of an installed package in dpkg's status file.
fn dpkg_version(status: &str, name: &str) -> Option<String> {
    let paragraph = status.split("\n\n").find(|paragraph| {
        paragraph.lines().next() == Some(&format!("Package: {name}"))
            && paragraph
                .lines()
                .any(|line| line.starts_with("Status:") && line.ends_with(" installed"))
    })?;
    paragraph.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::dpkg_version;

    #[test]
    fn only_installed_packages_have_a_version() {
        let status = "Package: a\nStatus: install ok installed\nVersion: 1.0\n\nPackage: b\nStatus: deinstall ok config-files\nVersion: 2\n";
        assert_eq!(dpkg_version(status, "a").as_deref(), Some("1.0"));
        assert_eq!(dpkg_version(status, "b"), None);
        assert_eq!(dpkg_version(status, "c"), None);
    }
}
