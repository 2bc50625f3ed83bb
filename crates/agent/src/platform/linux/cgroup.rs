//! Control groups: a program and all it starts, whatever becomes of their parents.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

/// A control group of its own for a program and all it starts: nobody leaves it by closing doors behind him.
pub(super) struct Group {
    folder: PathBuf,
    parent: PathBuf,
}

/// As long as it lives, we are in the group, and so is who we start.
pub(super) struct Inside<'a>(&'a Group);

impl Group {
    /// Makes one below the group we are in; `None` where there is no second version of control groups, or we may not.
    pub(super) fn make(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mount = mounts.lines().find_map(|line| {
            let mut words = line.split(' ');
            let (_, place, kind) = (words.next()?, words.next()?, words.next()?);
            (kind == "cgroup2").then(|| PathBuf::from(place))
        })?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let parent = mount.join(own);
        // Other agents on the machine may run something of the same name. One that is there already is none of ours.
        let folder = parent.join(format!("packhorse-{name}-{}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let group = Self { folder, parent };
        // Where we cannot go in and out, it is of no use.
        let can = join(&group.folder).and_then(|()| join(&group.parent)).is_ok();
        can.then_some(group)
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Goes in.
    pub(super) fn enter(&self) -> Inside<'_> {
        let _ = join(&self.folder);
        Inside(self)
    }

    /// Asks everybody in it to end.
    pub(super) fn ask_to_end(&self) {
        for pid in self.members() {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Ends everybody in it, at once where the kernel can.
    pub(super) fn kill(&self) {
        if fs::write(self.folder.join("cgroup.kill"), "1").is_err() {
            for pid in self.members() {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }

    /// How many processes in it were killed because memory had run out.
    pub(super) fn out_of_memory(&self) -> u64 {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        let killed = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    fn members(&self) -> Vec<Pid> {
        let all = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        all.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let _ = join(&self.0.parent);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

fn join(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.procs"), "0")
}
