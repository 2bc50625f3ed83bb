//! Processes by their parents.

use std::{collections::BTreeMap, fs};

use rustix::process::{Pid, Signal, kill_process};

/// The processes below one, where there are no control groups: those whose parent's parent … it is.
pub(super) struct Tree(Vec<u32>);

impl Tree {
    pub(super) fn below(root: u32) -> Self {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if let Some(parent) = parent(pid) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut all = Vec::new();
        let mut next = vec![root];
        while let Some(one) = next.pop() {
            let below = children.remove(&one).unwrap_or_default();
            all.extend(&below);
            next.extend(below);
        }
        Self(all)
    }

    /// Asks each of them to end, or ends it. Who would be about to make others is halted first.
    pub(super) fn signal(&self, harsh: bool) {
        if harsh {
            self.each(Signal::STOP);
        }
        self.each(if harsh { Signal::KILL } else { Signal::TERM });
    }

    fn each(&self, signal: Signal) {
        for pid in self.0.iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, signal);
        }
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}
