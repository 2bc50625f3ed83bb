//! What a process lets go of that will do nothing for a while.

use std::{
    ffi::c_void,
    fs::File,
    io::{self, BufRead as _, BufReader},
    sync::OnceLock,
};

use rustix::mm::{Advice, madvise};

/// How much of the list of mappings is read at once.
const BLOCK: usize = 4096;

/// The program is mapped no more where it is as in its file: it stays in the page cache, from which the machine takes it first,
/// and comes back page by page as it is used. Where that is not possible it stays.
pub(crate) fn rest() {
    // The program is where it was put for as long as it runs: that is looked for once. Libraries may come and go.
    static PROGRAM: OnceLock<Vec<(usize, usize)>> = OnceLock::new();
    for (from, to) in PROGRAM.get_or_init(|| program().unwrap_or_default()) {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(*from);
        // SAFETY: it is mapped from a file, nothing of it was ever written, and nothing may write it: what is read there is the same
        // afterwards.
        #[expect(unsafe_code, reason = "a mapping is an address")]
        let _ = unsafe { madvise(start, to - from, Advice::LinuxDontNeed) };
    }
}

/// Where the program is mapped as its file is, and may not be written: where each part begins and ends, by `proc_pid_smaps(5)`.
fn program() -> io::Result<Vec<(usize, usize)>> {
    let here = rest as fn() as usize;
    let mut smaps = BufReader::with_capacity(BLOCK, File::open("/proc/self/smaps")?);
    let (mut line, mut all, mut last, mut own) = (String::new(), Vec::new(), None, None);
    while smaps.read_line(&mut line)? > 0 {
        if let Some(mapping) = Mapping::read(&line) {
            if (mapping.place.0..mapping.place.1).contains(&here) {
                own = Some(mapping.file.clone());
            }
            last = Some(mapping);
        } else if let Some(anonymous) = line.strip_prefix("Anonymous:") {
            // Pages that were written, by the linker that moved the program for one, have no file behind them.
            let is_clean = |mapping: &Mapping| mapping.is_fixed && anonymous.trim() == "0 kB";
            all.extend(last.take().filter(is_clean));
        }
        line.clear();
    }
    let is_own = |mapping: &Mapping| own.as_ref() == Some(&mapping.file);
    Ok(all.into_iter().filter(is_own).map(|mapping| mapping.place).collect())
}

/// Part of the memory, by the first line there is about it.
struct Mapping {
    /// Where it begins and ends.
    place: (usize, usize),
    /// The device and the number of its file.
    file: (String, String),
    /// Whether it is of a file and may not be written.
    is_fixed: bool,
}

impl Mapping {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (from, to) = words.next()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let place = (number(from)?, number(to)?);
        let rights = words.next()?.as_bytes();
        let (device, inode) = (words.nth(1)?, words.next()?);
        let is_kept = rights.get(1) == Some(&b'-') && rights.get(3) == Some(&b'p');
        let file = (device.to_owned(), inode.to_owned());
        Some(Self { place, file, is_fixed: is_kept && inode != "0" })
    }
}

#[cfg(test)]
mod tests {
    use super::{Mapping, program, rest};

    #[test]
    fn only_what_is_as_in_its_file_may_be_let_go_of() {
        let code =
            "55d0c0a00000-55d0c0b00000 r-xp 00012000 fe:00 4711                   /usr/bin/x\n";
        let read = Mapping::read(code).unwrap();
        assert_eq!((read.place, read.is_fixed), ((0x55d0_c0a0_0000, 0x55d0_c0b0_0000), true));
        for other in [
            "55d0c0a00000-55d0c0b00000 rw-p 00012000 fe:00 4711 /usr/bin/x",
            "7f0000000000-7f0000001000 r-xp 00000000 00:00 0 [vdso]",
            "7f0000000000-7f0000001000 r--s 00000000 fe:00 12 /var/cache/x",
        ] {
            assert!(!Mapping::read(other).unwrap().is_fixed, "{other}");
        }
        assert!(Mapping::read("Rss:                1024 kB").is_none());
    }

    #[test]
    fn a_process_that_rests_goes_on_as_before() {
        let own = rest as fn() as usize;
        let is_own = |(from, to): &(usize, usize)| (*from..*to).contains(&own);
        assert!(program().unwrap().iter().any(is_own));
        rest();
        rest();
        assert!(program().unwrap().iter().any(is_own));
    }
}
