use model::{RegistryKey, RegistryValue};
use proptest::prelude::*;
use testkit::{HiveKey, hive, seal_hive};

use super::{Hive, ReadHiveError, log};
use crate::Registry;

fn key(text: &str) -> RegistryKey {
    RegistryKey::new(text).unwrap()
}

fn read(file: &[u8], logs: &[&[u8]]) -> Registry {
    let mut registry = Registry::default();
    let unnamed = registry.add_hive(&key(r"HKLM\SOFTWARE"), &Hive::open(file, logs).unwrap());
    assert_eq!(unnamed.unwrap(), Vec::<String>::new());
    registry
}

fn binary(data: Vec<u8>) -> RegistryValue {
    RegistryValue { kind: RegistryValue::BINARY, data }
}

/// A hive in which one value says so.
fn saying(what: &str) -> Vec<u8> {
    let mut top = HiveKey::default();
    let long = what.repeat(9000).into_bytes();
    top.at(&["App"]).values = vec![
        ("Says".into(), RegistryValue::text(RegistryValue::TEXT, what)),
        ("Long".into(), binary(long)),
    ];
    hive(&top)
}

#[test]
fn lists_of_every_kind_and_data_of_every_length_are_read() {
    let mut top = HiveKey::default();
    for number in 0..1203 {
        top.at(&["Many", &format!("Key {number}")]);
    }
    for count in 1..=4 {
        for number in 0..count {
            top.at(&[&format!("{count}"), &format!("ключ {number}")]);
        }
    }
    let lengths = [0, 1, 4, 5, 16_344, 16_345, 32_688, 1 << 20];
    top.at(&["Data"]).values =
        lengths.map(|length| (format!("{length}"), binary(vec![0xA5; length]))).into();
    top.at(&["Data"]).values.push((String::new(), RegistryValue::text(RegistryValue::TEXT, "ü")));
    let registry = read(&hive(&top), &[]);
    assert_eq!(
        registry.keys().filter(|one| one.is_within(&key(r"HKLM\SOFTWARE\Many"))).count(),
        1204
    );
    assert!(registry.has_key(&key(r"HKLM\SOFTWARE\3\КЛЮЧ 2")));
    let data = key(r"HKLM\Software\data");
    for length in lengths {
        let value = registry.value(&data, &length.to_string()).unwrap();
        assert_eq!((value.data.len(), value.kind), (length, RegistryValue::BINARY));
    }
    assert_eq!(registry.value(&data, "").unwrap().as_text().unwrap(), "ü");
}

#[test]
fn of_sets_of_services_the_one_in_force_comes_by_its_own_name() {
    let mut top = HiveKey::default();
    top.at(&["ControlSet001", "Services", "Old"]);
    top.at(&["ControlSet002", "Services", "New"]);
    let two = RegistryValue { kind: RegistryValue::DWORD, data: vec![2, 0, 0, 0] };
    top.at(&["Select"]).values = vec![("Current".into(), two)];
    let mut registry = Registry::default();
    let file = hive(&top);
    registry.add_hive(&key(r"HKLM\SYSTEM"), &Hive::open(&file, &[]).unwrap()).unwrap();
    let all: Vec<String> = registry.keys().map(ToString::to_string).collect();
    assert_eq!(
        all,
        [
            "HKLM",
            r"HKLM\SYSTEM",
            r"HKLM\SYSTEM\CurrentControlSet",
            r"HKLM\SYSTEM\CurrentControlSet\Services",
            r"HKLM\SYSTEM\CurrentControlSet\Services\New",
            r"HKLM\SYSTEM\Select",
        ]
    );
}

#[test]
fn names_no_program_can_say_are_left_out_and_told() {
    let mut top = HiveKey::default();
    top.at(&["App", "hid\0den", "below"]);
    top.at(&["App", "seen"]);
    let file = hive(&top);
    let mut registry = Registry::default();
    let told = registry.add_hive(&key(r"HKLM\SOFTWARE"), &Hive::open(&file, &[]).unwrap()).unwrap();
    assert_eq!(told, [r"HKLM\SOFTWARE\App\hid\0den"]);
    assert_eq!(registry.keys().count(), 4);
}

/// Of two hives of one length the log that makes the second of the first: its pages in two entries, the first with the odd
/// ones; each in a log of its own.
fn logs(from: &[u8], to: &[u8], number: u32) -> [Vec<u8>; 2] {
    assert_eq!(from.len(), to.len());
    let differ = |one: &usize| from[one * 512..][..512] != to[one * 512..][..512];
    let pages: Vec<usize> = (8..to.len() / 512).filter(differ).collect();
    assert!(pages.len() > 2);
    let (mut odd, mut even) = (Vec::new(), Vec::new());
    for page in pages {
        if page % 2 == 1 { odd.push(page) } else { even.push(page) }
    }
    let log = |number: u32, pages: &[usize]| {
        let mut file = to[..512].to_vec();
        file[4..8].copy_from_slice(&number.to_le_bytes());
        file[28..32].copy_from_slice(&6_u32.to_le_bytes());
        seal_hive(&mut file);
        let length = (40 + pages.len() * (8 + 512)).next_multiple_of(512);
        let mut entry = vec![0; 40];
        entry[..4].copy_from_slice(b"HvLE");
        let words = [(4, length), (12, number as usize), (16, to.len() - 4096), (20, pages.len())];
        for (at, word) in words {
            entry[at..at + 4].copy_from_slice(&u32::try_from(word).unwrap().to_le_bytes());
        }
        for page in pages {
            let at = u32::try_from(page * 512 - 4096).unwrap();
            entry.extend([at.to_le_bytes(), 512_u32.to_le_bytes()].concat());
        }
        for page in pages {
            entry.extend(&to[page * 512..][..512]);
        }
        entry.resize(length, 0);
        let sum = log::marvin(log::SEED, &entry[40..]);
        entry[24..32].copy_from_slice(&sum.to_le_bytes());
        let sum = log::marvin(log::SEED, &entry[..32]);
        entry[32..40].copy_from_slice(&sum.to_le_bytes());
        file.extend(entry);
        file
    };
    [log(number, &odd), log(number + 1, &even)]
}

/// A hive that was begun to be written once more.
fn begun(mut file: Vec<u8>) -> Vec<u8> {
    file[4..8].copy_from_slice(&2_u32.to_le_bytes());
    seal_hive(&mut file);
    file
}

#[test]
fn what_stands_in_logs_alone_is_read_from_them() {
    let (old, new) = (saying("yes"), saying("no!"));
    let [one, two] = logs(&old, &new, 1);
    for logs in [[&*one, &*two], [&*two, &*one]] {
        let file = begun(old.clone());
        assert_eq!(Hive::open(&file, &logs).unwrap().replayed(), 2);
        assert_eq!(read(&file, &logs), read(&new, &[]));
    }
    // The first block was torn: that of a log stands for it.
    let mut torn = old.clone();
    torn[100] ^= 1;
    assert_eq!(read(&torn, &[&one, &two]), read(&new, &[]));
    // What was written to the end has no need of them.
    assert_eq!(read(&old, &[&one, &two]), read(&old, &[]));
}

#[test]
fn a_hive_that_is_not_whole_is_refused_with_what_to_do() {
    let (old, new) = (saying("yes"), saying("no!"));
    let said = |logs: &[&[u8]]| Hive::open(&begun(old.clone()), logs).unwrap_err().to_string();
    insta::assert_snapshot!(said(&[]), @"it was not written to its end, and its logs do not say what is missing (there is none that belongs to it): start that Windows and shut it down whole (`shutdown /s /t 0`), and look again");
    let [one, _] = logs(&old, &new, 1);
    let mut older = one[..512].to_vec();
    older[28..32].copy_from_slice(&1_u32.to_le_bytes());
    seal_hive(&mut older);
    assert!(said(&[&older]).contains("a Windows before 8.1"));
    let mut damaged = one.clone();
    damaged[700] ^= 1;
    assert!(said(&[&damaged]).contains("none that belongs"));
    assert_eq!(Hive::open(b"MZ", &[]).unwrap_err(), ReadHiveError::Foreign);
    let short = &old[..old.len() - 4096];
    insta::assert_snapshot!(Hive::open(short, &[]).unwrap_err(), @"it is damaged at byte 28672 of its bins: the file is shorter than it says");
    let mut wrong = old.clone();
    let at = wrong.windows(2).position(|two| two == b"vk").unwrap();
    wrong[at] = b'x';
    let error = Registry::default().add_hive(&key("HKLM"), &Hive::open(&wrong, &[]).unwrap());
    insta::assert_snapshot!(error.unwrap_err(), @"it is damaged at byte 216 of its bins: a value that is none");
}

#[test]
fn sums_are_those_of_windows() {
    // Vectors of .NET's own tests of Marvin32.
    let seed = 0x004F_B61A_001B_DBCC;
    assert_eq!(log::marvin(seed, b""), 0x30ED_35C1_00CD_3C7D);
    assert_eq!(log::marvin(seed, &[0xAF]), 0x48E7_3FC7_7D75_DDC1);
    assert_eq!(log::marvin(seed, &[0xE7, 0x0F]), 0xB5F6_E1FC_485D_BFF8);
    assert_eq!(log::marvin(seed, &[0x37, 0xF4, 0x95]), 0xF0B0_7C78_9B8C_F7E8);
    assert_eq!(log::marvin(seed, &[0x86, 0x42, 0xDC, 0x59]), 0x7008_F2E8_7E9C_F556);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        all in proptest::collection::vec(
            ("[a-cä€]{1,3}", "[a-cä€]{1,3}", "[a-z€]{0,9}", 0_u32..12, proptest::collection::vec(any::<u8>(), 0..9)),
            0..30,
        ),
    ) {
        let (mut top, mut registry) = (HiveKey::default(), Registry::default());
        registry.add(&key(r"HKLM\SOFTWARE"), []);
        for (above, below, name, kind, data) in all {
            let value = RegistryValue { kind, data };
            let place = top.at(&[&above, &below]);
            if place.values.iter().any(|(other, _)| other.to_lowercase() == name) {
                continue;
            }
            place.values.push((name.clone(), value.clone()));
            registry.add(&key(&format!(r"HKLM\SOFTWARE\{above}\{below}")), [(name, value)]);
        }
        prop_assert_eq!(read(&hive(&top), &[]), registry);
    }
}
