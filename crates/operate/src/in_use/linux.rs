use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use change::{FrameReader, Intent, JournalRecord, Paths};
use model::MachinePath;

use super::InUse;
use crate::LocalMachine;

/// Programs that run with files the transactions of installed packages replaced. Observed anew each
/// time, so that it is over when the programs have ended, and a mark left by anybody else says nothing.
pub fn in_use(machine: &LocalMachine, paths: &Paths, numbers: &[u64]) -> Vec<InUse> {
    let mapped = mapped_and_gone(machine.root());
    let mut found = BTreeSet::new();
    // Seldom is anything mapped that is gone, and journals are long.
    if mapped.is_empty() {
        return Vec::new();
    }
    for number in numbers {
        let Ok(journal) = paths.closed(*number).join("journal") else { continue };
        let Ok(mut reader) = FrameReader::open(machine, journal) else { continue };
        while let Ok(Some(record)) = reader.forward::<JournalRecord>() {
            let JournalRecord::Intent(Intent::Replace { path, .. } | Intent::Remove { path, .. }) =
                record
            else {
                continue;
            };
            // A folder that was removed took along what it held.
            let below = mapped.range(path.clone()..).take_while(|(name, _)| name.is_within(&path));
            for (name, processes) in below {
                found.extend(processes.iter().map(|(process, program)| InUse {
                    path: name.clone(),
                    process: *process,
                    program: program.clone(),
                }));
            }
        }
    }
    found.into_iter().collect()
}

/// Files below `root` that processes have mapped and that no longer have the name they were mapped by.
fn mapped_and_gone(root: &Path) -> BTreeMap<MachinePath, Vec<(i32, String)>> {
    let mut mapped: BTreeMap<MachinePath, Vec<(i32, String)>> = BTreeMap::new();
    let Ok(processes) = fs::read_dir("/proc") else { return mapped };
    for entry in processes.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let Ok(maps) = fs::read(entry.path().join("maps")) else { continue };
        for path in deleted(&maps, root) {
            mapped.entry(path).or_default().push((process, crate::lock::name_of(process)));
        }
    }
    mapped
}

/// Paths below `root` of files that are mapped and no longer have the name they were mapped by: `proc_pid_maps(5)`.
fn deleted(maps: &[u8], root: &Path) -> BTreeSet<MachinePath> {
    let root = root.as_os_str().as_bytes();
    let root = if root == b"/" { &b""[..] } else { root };
    maps.split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let line = line.strip_suffix(b" (deleted)")?;
            let start = line.iter().position(|&byte| byte == b'/')?;
            MachinePath::new(line[start..].strip_prefix(root)?).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::deleted;

    #[test]
    fn only_replaced_files_count() {
        let maps = b"7f-80 r-xp 0 08:01 12 /root/r/usr/lib/a b.so (deleted)\n80-81 r--p 0 08:01 13 /root/r/usr/lib/c.so\n81-82 rw-p 0 0:0 0 [heap]\n";
        let found: Vec<String> =
            deleted(maps, Path::new("/root/r")).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["/usr/lib/a b.so"]);
    }
}
