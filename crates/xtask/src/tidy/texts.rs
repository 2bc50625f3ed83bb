//! What may not stand in a tracked file, and how long one may be.

use std::{fs, net::Ipv4Addr, path::Path};

use anyhow::Result;

use super::Complaint;
use crate::command::{command, output};

/// Beyond that a file is a table, or two files.
const LINES: usize = 800;

/// Words that never stand in a source file. In halves, so that this file is none of those it looks for.
const WORDS: [([&str; 2], &str); 9] = [
    (["todo", "!("], "write it, or say in the issue what is missing"),
    (["unimpl", "emented!("], "write it, or say in the issue what is missing"),
    (["#[ign", "ore"], "a test that does not run proves nothing"),
    (["thread::", "sleep("], "wait for an event"),
    (["sleep(Dur", "ation"], "wait for an event"),
    (["<<<<", "<<< "], "finish the merge"),
    ([">>>>", ">>> "], "finish the merge"),
    (["/Use", "rs/"], "a personal path"),
    (["/wo", "rk/"], "a path of one machine"),
];

/// Where packages come from is the machine's business: no address of a registry is written down.
const HOSTS: [[&str; 2]; 9] = [
    ["deb.deb", "ian.org"],
    ["snapshot.deb", "ian.org"],
    ["security.deb", "ian.org"],
    ["archive.ubu", "ntu.com"],
    ["registry.npm", "js.org"],
    ["py", "pi.org"],
    ["files.python", "hosted.org"],
    ["static.cra", "tes.io"],
    ["index.cra", "tes.io"],
];

/// What is meant all the same: the file, the words, and why.
const MEANT: [(&str, &str, &str); 3] = [
    ("crates/cli/src/idle.rs", "thread::", "an idle machine is watched for as long as was asked"),
    (
        "crates/store/src/frames.rs",
        "thread::",
        "a server that failed is asked again a little later",
    ),
    (
        "crates/capture/src/leaks.rs",
        "0.0.2.15",
        "an address that only looks like one of the machine's",
    ),
];

pub(super) fn complaints(root: &Path) -> Result<Vec<Complaint>> {
    // Files that are new and not ignored count, too: they are about to be tracked.
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let names = output(command("git", list).current_dir(root))?;
    let mut complaints = Vec::new();
    for name in names.split('\0').filter(|name| !name.is_empty() && *name != "Cargo.lock") {
        // A file that is no text, or was deleted and not yet committed so, has no lines to look at.
        if let Ok(text) = fs::read_to_string(root.join(name)) {
            complaints.extend(of_text(name, &text));
        }
    }
    Ok(complaints)
}

fn of_text(name: &str, text: &str) -> Vec<Complaint> {
    let is_rust = Path::new(name).extension().is_some_and(|extension| extension == "rs");
    let mut complaints = Vec::new();
    if is_rust && text.lines().count() > LINES {
        complaints.push(Complaint::new(name, format!("more than {LINES} lines: find the seam")));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if MEANT.iter().any(|(file, words, _)| *file == name && line.contains(words)) {
            continue;
        }
        let place = || format!("{name}:{number}");
        for ([one, two], why) in &WORDS {
            if line.contains(&format!("{one}{two}")) {
                complaints.push(Complaint::new(place(), format!("`{one}{two}`: {why}")));
            }
        }
        for [one, two] in &HOSTS {
            if line.contains(&format!("{one}{two}")) {
                let text =
                    format!("`{one}{two}`: packages come from the machine's own configuration");
                complaints.push(Complaint::new(place(), text));
            }
        }
        if let Some(address) = public_address(line) {
            complaints
                .push(Complaint::new(place(), format!("`{address}`: an address of somebody")));
        }
        if is_rust && is_reasonless(text, number, line) {
            complaints.push(Complaint::new(place(), "`expect` and `allow` give a `reason`"));
        }
    }
    complaints
}

/// Whether a lint attribute that begins on this line ends without a reason.
fn is_reasonless(text: &str, number: usize, line: &str) -> bool {
    let line = line.trim_start();
    let begins = ["#[expect(", "#![expect(", "#[allow(", "#![allow("];
    if !begins.iter().any(|begin| line.starts_with(begin)) {
        return false;
    }
    let attribute: Vec<&str> = text
        .lines()
        .skip(number - 1)
        .scan(false, |ended, line| {
            if *ended {
                return None;
            }
            *ended = line.trim_end().ends_with(")]");
            Some(line)
        })
        .collect();
    !attribute.concat().contains("reason = ")
}

/// The first address in `line` that is none of those kept for private use and for documents.
fn public_address(line: &str) -> Option<Ipv4Addr> {
    line.split(|letter: char| !(letter.is_ascii_digit() || letter == '.'))
        .filter_map(|word| word.trim_matches('.').parse::<Ipv4Addr>().ok())
        .find(|address| {
            let [first, .., last] = address.octets();
            let version_like = first < 10 || last == 0;
            !(version_like
                || address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_documentation()
                || address.is_broadcast()
                || address.is_multicast()
                || first == 255)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(name: &str, text: &str) -> Vec<String> {
        of_text(name, text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unfinished_code_and_sleeps_are_named() {
        let text = format!("fn a() {{ {}{} }}\n{}{}1);\n", "todo", "!()", "thread::", "sleep(");
        let found = texts("a.rs", &text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a.rs:1: "));
        assert!(found[1].starts_with("a.rs:2: "));
    }

    #[test]
    fn an_expectation_needs_a_reason() {
        let bare = "#[expect(unused)]\nfn a() {}\n";
        let given = "#[expect(\n    unused,\n    reason = \"why\"\n)]\nfn a() {}\n";
        assert_eq!(texts("a.rs", bare).len(), 1);
        assert_eq!(texts("a.rs", given), Vec::<String>::new());
    }

    #[test]
    fn addresses_of_others_are_found_and_versions_are_not() {
        let somebody = Ipv4Addr::new(151, 101, 2, 132);
        assert_eq!(public_address(&format!("at {somebody}, and")), Some(somebody));
        for line in ["version 1.2.3.4", "10.1.2.3", "127.0.0.1", "192.0.2.7", "7.2.4", "172.16.0.9"]
        {
            assert_eq!(public_address(line), None, "{line}");
        }
    }

    #[test]
    fn a_long_file_is_a_complaint() {
        assert_eq!(texts("a.rs", &"\n".repeat(801)).len(), 1);
        assert_eq!(texts("a.txt", &"\n".repeat(801)), Vec::<String>::new());
    }
}
