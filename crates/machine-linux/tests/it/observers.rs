//! Random file operations, observed by the overlay's upper folder, by two snapshots of the merged view,
//! and by a model of the tree in memory: all three must say the same.
//!
//! Needs root, to mount overlays in a mount namespace of its own.

mod check;
mod operations;
mod tree;

use std::{fs, io::BufReader, path::Path};

use capture::{BothNames, ChangeSet, disagreements, read_changes};
use machine_linux::{
    namespaces::{Enclosure, Observer as _, mount_layer, own_mounts},
    overlay::{Layer, differences, make},
    session::SecondObserver,
};
use model::MachinePath;
use operations::{Dice, Machine};

/// 500 histories of 200 operations: 100,000 in all.
const HISTORIES: u64 = 500;
const BEFORE: usize = 60;
const DURING: usize = 140;

#[test]
fn observers_and_model_agree() {
    own_mounts().expect("this test mounts overlays: run it as root");
    let folder = tempfile::tempdir().unwrap();
    for seed in 0..HISTORIES {
        if let Err(problem) = history(folder.path(), seed, DURING) {
            let (during, least) = (1..=DURING)
                .find_map(|during| Some((during, history(folder.path(), seed, during).err()?)))
                .unwrap_or((DURING, problem));
            panic!("seed {seed} after {during} operations: {least}");
        }
    }
}

fn history(folder: &Path, seed: u64, during: usize) -> Result<(), String> {
    let session = folder.join(format!("{seed}-{during}"));
    let lower = session.join("lower");
    let merged = session.join("merged");
    fs::create_dir_all(&lower).unwrap();
    fs::create_dir_all(&merged).unwrap();

    let mut dice = Dice::new(seed);
    let mut machine = Machine::new(&lower);
    for _ in 0..BEFORE {
        machine.act(&mut dice);
    }
    machine.settle();
    let before = machine.tree.clone();

    let layer = Layer {
        path: MachinePath::root(),
        lower,
        upper: session.join("upper"),
        work: session.join("work"),
    };
    make(&layer).unwrap();
    let accepted = mount_layer(&layer, &merged).unwrap();
    assert!(accepted.contains("index=on"), "{accepted}");
    let mut second = second_observer(&session, &layer);
    second.before(&merged).unwrap();
    machine.root.clone_from(&merged);
    machine.log.clear();
    for _ in 0..during {
        machine.act(&mut dice);
    }
    second.after(&merged).unwrap();
    rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::DETACH).unwrap();

    let overlay =
        differences(&[layer], &BothNames::default(), &[].into()).map_err(|e| format!("{e:?}"));
    let result = overlay.and_then(|overlay| {
        let snapshots = read_observed(&session);
        let differ = disagreements(&overlay.changes, &snapshots);
        if !differ.is_empty() {
            let text: Vec<String> = differ.iter().map(ToString::to_string).collect();
            return Err(text.join("\n"));
        }
        check::agree(&before, &machine.tree, &overlay.changes)
    });
    fs::remove_dir_all(&session).unwrap();
    result.map_err(|problem| format!("{problem}\nafter:\n{}", machine.log.join("\n")))
}

fn second_observer(session: &Path, layer: &Layer) -> SecondObserver {
    let enclosure = Enclosure {
        layers: vec![layer.clone()],
        merged: session.join("merged"),
        private: vec![],
        hidden: vec![],
        binds: vec![],
        host_name: String::new(),
        command: vec![],
        folder: MachinePath::root(),
        environment: [].into(),
        compare: true,
        outcome: session.join("outcome.json"),
    };
    let file = session.join("enclosure.json");
    fs::write(&file, serde_json::to_vec(&enclosure).unwrap()).unwrap();
    SecondObserver::of(&file).unwrap()
}

fn read_observed(session: &Path) -> ChangeSet {
    let file = fs::File::open(session.join("observed.jsonl")).unwrap();
    read_changes(BufReader::new(file)).unwrap()
}
