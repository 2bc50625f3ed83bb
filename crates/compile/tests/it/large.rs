use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::sandbox::{Sandbox, extract, noise, stderr};

const GIB: u64 = 1 << 30;

/// Every file below a folder, by its path.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(one) = folders.pop() {
        for entry in fs::read_dir(one).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.insert(entry.path().strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}

/// Whether two files have the same bytes, all of them.
fn are_equal(one: &Path, other: &Path) -> bool {
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = one.read(&mut left).unwrap();
        if count == 0 {
            return other.read(&mut right).unwrap() == 0;
        }
        if other.read_exact(&mut right[..count]).is_err() || left[..count] != right[..count] {
            return false;
        }
    }
}

fn fill(sandbox: &Sandbox, count: usize) {
    for number in 0..count {
        let path = format!("project/files/opt/{:03}/{number}", number % 211);
        sandbox.file(path, format!("file {number}"));
    }
}

fn check(sandbox: &Sandbox, count: usize) {
    let (installer, out) = (sandbox.installer(), sandbox.path("extracted"));
    let output = extract(&installer, &out);
    assert!(output.status.success(), "{}", stderr(&output));
    let (sources, extracted) = (sandbox.payload(b""), out.join("opt"));
    let found = files(&extracted);
    assert_eq!(found.len(), count);
    assert!(found == files(&sources));
    for file in found {
        assert!(are_equal(&sources.join(&file), &extracted.join(&file)), "{}", file.display());
    }
}

/// Counts where other installers stop (Q238531).
#[test]
fn q238531_a_thousand_files_and_one_more() {
    for count in [1023, 1024, 1025] {
        let sandbox = Sandbox::with_tree();
        fill(&sandbox, count);
        check(&sandbox, count);
    }
}

/// 70,000 files, one over 4 GiB, over 8 GiB together: all come out (Q238531).
///
/// The first large file is zeros with noise here and there, and nobody says that it has holes: every byte goes through.
/// The second is nearly all holes, and says so.
#[test]
fn q238531_seventy_thousand_files_and_eight_gibibytes() {
    const NOISE: u64 = 300_000;
    let sandbox = Sandbox::with_tree();
    fill(&sandbox, 69_998);
    let large = |name: &str, length: u64, places: &[u64]| {
        let file = File::create(sandbox.payload(name.as_bytes())).unwrap();
        file.set_len(length).unwrap();
        for place in places {
            file.write_all_at(&noise(place + length, usize::try_from(NOISE).unwrap()), *place)
                .unwrap();
        }
    };
    large("large", 4 * GIB + 12_345, &[0, GIB, 2 * GIB + 77, 4 * GIB]);
    let length = 5 * GIB;
    large("second", length, &[0, 4 * GIB + 1000]);
    let (first, second) = (NOISE, 4 * GIB + 1000 - NOISE);
    let after = 4 * GIB + 1000 + NOISE;
    sandbox.file(
        "project/files.meta",
        format!(
            "# files.meta 1\nfiles/opt/second modified=@0 length={length} holes={first}+{second},{after}+{}\n",
            length - after
        ),
    );
    check(&sandbox, 70_000);
}
