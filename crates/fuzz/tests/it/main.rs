//! The kept corpus and its mutations, fed to every target.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use fuzz::TARGETS;
use model::RegistryValue;
use testkit::{HiveKey, Sample};

/// Mutations of the whole corpus, per target.
const MUTATIONS: u64 = 4000;

#[test]
fn readers_of_foreign_bytes_only_refuse() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "no corpus for {name}");
        for (file, bytes) in &corpus {
            feed(name, target, bytes, &file.display().to_string());
        }
        let mut dice = Dice(0x5eed);
        for round in 0..MUTATIONS {
            let (file, bytes) = &corpus[dice.below(corpus.len())];
            let (_, other) = &corpus[dice.below(corpus.len())];
            let mutated = mutated(bytes, other, &mut dice);
            feed(name, target, &mutated, &format!("{} in round {round}", file.display()));
        }
    }
}

fn feed(name: &str, target: fuzz::Target, bytes: &[u8], what: &str) {
    let fed = catch_unwind(AssertUnwindSafe(|| target(bytes)));
    if fed.is_err() {
        let kept = std::env::temp_dir().join(format!("packhorse-{name}"));
        fs::write(&kept, bytes).unwrap();
        panic!("{name} fails on {what}: see `{}`", kept.display());
    }
}

/// Files of `corpus/NAME`, and fixtures of released formats kept with their crates.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixtures = match name {
        "package" => vec![here.join("../package/tests/fixtures")],
        "receipt" => vec![
            here.join("../install/tests/fixtures"),
            here.join("../install/tests/fixtures/state-1/receipts"),
        ],
        "journal" | "state" => vec![
            here.join("../install/tests/fixtures"),
            here.join("../install/tests/fixtures/state-1/transactions/1"),
        ],
        "index" | "manifest" | "delta" => vec![here.join("../content/tests/fixtures")],
        "policy" => vec![here.join("../deployment/tests/it/fixtures")],
        "rules" => vec![here.join("../capture/rules")],
        _ => Vec::new(),
    };
    let mut files: Vec<PathBuf> = fixtures
        .into_iter()
        .chain([here.join("corpus").join(name)])
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let mut all: Vec<(PathBuf, Vec<u8>)> =
        files.into_iter().map(|file| (file.clone(), fs::read(&file).unwrap())).collect();
    if name == "header" {
        all.push(("a whole header".into(), minicbor::to_vec(sample().open().header()).unwrap()));
    }
    if name == "hive" {
        all.push(("a whole hive".into(), sample_hive()));
    }
    if name == "release" {
        // Below the start, the format and the hash.
        for (_, bytes) in &mut all {
            bytes.drain(..44);
        }
    }
    all
}

fn sample_hive() -> Vec<u8> {
    let mut top = HiveKey::default();
    for number in 0..9 {
        top.at(&["Software", &format!("ключ {number}"), "x"]);
    }
    let value = |kind, length| RegistryValue { kind, data: vec![7; length] };
    let values = [("", 1, 8), ("short", 4, 4), ("ä", 3, 700), ("long", 3, 33_000)];
    top.at(&["Software"]).values =
        values.map(|(name, kind, length)| (name.to_owned(), value(kind, length))).into();
    top.at(&["Select"]).values = vec![("Current".into(), value(4, 4))];
    testkit::hive(&top)
}

fn sample() -> Sample {
    let mut sample = Sample::new("app", "1.0");
    let tree = sample.tree("/opt/app");
    sample.file(tree, "bin", b"content");
    sample.variable("prefix", "/opt/app");
    sample
}

/// One to four of: a byte changed, a bit flipped, a piece cut out, doubled, or taken from another file.
fn mutated(bytes: &[u8], other: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = dice.below(bytes.len());
        let end = (at + 1 + dice.below(64)).min(bytes.len());
        match dice.below(7) {
            0 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => bytes[at..end].fill([0, 0xff, 0x7f, 0x80][dice.below(4)]),
            _ if other.is_empty() => bytes.clear(),
            _ => {
                let from = dice.below(other.len());
                let to = (from + 1 + dice.below(64)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

/// Numbers that look random and are the same on every run (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % bound).unwrap()
    }
}
