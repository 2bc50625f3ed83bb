//! Values and keys of a registry: given, taken, given back.

use change::{Machine as _, Observe as _};
use model::{RegistryKey, RegistryStep, RegistryValue, Setting, SettingState, Template, ValueEdit};
use package::Action;
use testkit::{Sample, SimDisk, SimFacts};

use crate::support::{install_with, options, picture, uninstall};

fn key(text: &str) -> RegistryKey {
    RegistryKey::new(text).unwrap()
}

fn put(disk: &mut SimDisk, place: &str, name: &str, kind: u32, data: Vec<u8>) {
    let state = SettingState::Value(RegistryValue { kind, data });
    disk.set(&Setting::value(&key(place), name), Some(&state)).unwrap();
}

fn step(place: &str, values: Vec<(String, ValueEdit)>, remove: bool) -> Action {
    let values = values.into_iter().map(|(name, edit)| (Template::literal(name), edit)).collect();
    Action::Registry(RegistryStep { key: Template::literal(place), values, remove })
}

/// Bytes no compression makes short, different for each seed.
fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let next = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(state.to_be_bytes()[0])
    };
    std::iter::repeat_n((), length).scan(seed, |state, ()| next(state)).collect()
}

const OLD: &str = r"HKLM\SOFTWARE\Old";

/// Values of any length come back whole.
#[test]
fn q201860_what_was_overwritten_comes_back_whole() {
    let lengths = [(3, 127), (3, 128), (3, 4096), (3, 1 << 20), (7, 70 << 10), (1, 70 << 10)];
    let mut disk = SimDisk::new();
    for (index, (kind, length)) in (0_u32..).zip(lengths) {
        put(&mut disk, OLD, &format!("value {index}"), kind, bytes(length, index));
    }
    let before = picture(&disk);
    let mut sample = Sample::new("app", "1.0");
    let new = (0..lengths.len())
        .map(|index| (format!("VALUE {index}"), ValueEdit::Raw { kind: 3, data: bytes(10, 99) }));
    sample.step(step(OLD, new.collect(), false));
    install_with(&mut disk, &SimFacts, &sample, &options()).unwrap();
    let overwritten = Setting::value(&key(OLD), "value 3");
    let found = disk.setting(&overwritten).unwrap();
    assert_eq!(found, Some(SettingState::Value(RegistryValue { kind: 3, data: bytes(10, 99) })));
    let gone = uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
    assert_eq!(gone.leftovers, []);
    assert_eq!(picture(&disk), before);
}

/// What an installer took away is taken away, that and nothing else, and comes back when the package goes.
#[test]
fn q235727_keys_and_values_that_went_go() {
    let mut disk = SimDisk::new();
    for index in 0..25 {
        let place = format!(r"{OLD}\gone {index}\deeper");
        put(&mut disk, &place, "x", 4, vec![index, 0, 0, 0]);
    }
    for index in 0..120 {
        put(&mut disk, OLD, &format!("value {index}"), 1, bytes(20, index));
    }
    let before = picture(&disk);
    let mut sample = Sample::new("app", "1.0");
    for index in 0..25 {
        sample.step(step(&format!(r"{OLD}\gone {index}"), Vec::new(), true));
    }
    let values = (0..60).map(|index| (format!("value {}", index * 2), ValueEdit::Remove));
    sample.step(step(OLD, values.collect(), false));
    install_with(&mut disk, &SimFacts, &sample, &options()).unwrap();
    let left = disk.settings_in(&key(OLD)).unwrap();
    let names: Vec<String> = left
        .iter()
        .map(|setting| match setting {
            Setting::Value { name, .. } => name.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    let mut wanted: Vec<String> = (0..60).map(|index| format!("value {}", index * 2 + 1)).collect();
    wanted.sort();
    let mut found = names;
    found.sort();
    assert_eq!(found, wanted);
    uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
    assert_eq!(picture(&disk), before);
}
