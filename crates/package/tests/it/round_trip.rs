use std::collections::HashMap;

use model::Extent;
use package::{Origin, Settings, compare_paths};
use proptest::prelude::*;

use crate::payload::{File, file, noise, open, read, read_file, settings, write};

/// Content with repeats near and far, of every kind a lane is for.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let starts = [&b""[..], b"\x7fELF\0\0", b"text\n", b"\0\x01\x02"];
    let start = proptest::sample::select(starts.to_vec());
    (start, proptest::collection::vec((0_u64..4, 0_usize..90_000), 0..4)).prop_map(
        |(start, pieces)| {
            let noises = pieces.into_iter().flat_map(|(seed, length)| noise(seed, length));
            start.iter().copied().chain(noises).collect()
        },
    )
}

fn files() -> impl Strategy<Value = Vec<File>> {
    let one =
        ("[a-c]{1,2}(/[a-c.!]{1,3})?", content(), proptest::collection::vec(0_u64..9000, 0..5));
    proptest::collection::vec(one, 0..12).prop_map(|files| {
        let mut files: Vec<File> = files
            .into_iter()
            .filter(|(path, ..)| path.split('/').all(|part| part != "." && part != ".."))
            .map(|(path, bytes, cuts)| with_holes(&path, bytes, cuts))
            .collect();
        files.sort_by(|a, b| compare_paths(&a.path, &b.path));
        files.dedup_by(|a, b| a.path == b.path);
        files
    })
}

fn with_holes(path: &str, mut bytes: Vec<u8>, mut cuts: Vec<u64>) -> File {
    cuts.sort_unstable();
    cuts.dedup();
    let mut holes = Vec::new();
    for pair in cuts.chunks_exact(2) {
        let range = usize::try_from(pair[0]).unwrap()..usize::try_from(pair[1]).unwrap();
        if let Some(hole) = bytes.get_mut(range) {
            hole.fill(0);
            holes.push(Extent { offset: pair[0], length: pair[1] - pair[0] });
        }
    }
    File { path: path.into(), bytes, holes }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(files in files()) {
        let (written, bytes) = write(&files, b"", settings());
        prop_assert_eq!(written.length, bytes.len() as u64);
        prop_assert_eq!(open(&bytes).identity(), written.identity);
        prop_assert_eq!(read(&bytes), files);
    }
}

#[test]
fn the_same_input_makes_the_same_bytes() {
    let files: Vec<File> =
        (0..40).map(|at| file(&format!("f{at:02}"), noise(at % 7, 30_000))).collect();
    let one = Settings { workers: 1, ..settings() };
    let many = Settings { workers: 8, ..settings() };
    assert_eq!(write(&files, b"stub", one), write(&files, b"stub", many));
}

#[test]
fn identity_is_about_what_is_packed_and_not_how() {
    let files = [file("a", noise(1, 200_000)), file("b", "text")];
    let identity = |settings| write(&files, b"", settings).0.identity;
    assert_eq!(
        identity(settings()),
        identity(Settings { level: 19, frame: 1 << 20, ..Settings::fast(1) })
    );
    let other = [file("a", noise(1, 200_000)), file("b", "texT")];
    assert_ne!(write(&other, b"", settings()).0.identity, identity(settings()));
}

#[test]
fn what_repeats_is_recalled() {
    let mut files: Vec<File> =
        (0..6).map(|at| file(&format!("f{at}"), noise(at, 100_000))).collect();
    files.push(file("g", noise(0, 100_000)));
    let (written, bytes) = write(&files, b"", settings());
    assert_eq!(written.repeated, 100_000);

    let mut package = open(&bytes);
    let mut contents = package.contents();
    let mut seen: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    let mut recalled = 0;
    while let Some(record) = contents.next_record().unwrap() {
        let mut recall = |origin: &Origin, buffer: &mut [u8]| {
            let start = usize::try_from(origin.offset).unwrap();
            buffer.copy_from_slice(&seen[&origin.path][start..start + buffer.len()]);
            recalled += buffer.len();
            true
        };
        if let Some(file) = read_file(&mut contents, &record, &mut recall) {
            seen.insert(file.path, file.bytes);
        }
    }
    assert_eq!(recalled, 100_000);
    assert_eq!(seen[&b"g"[..]], noise(0, 100_000));
}

/// A memory that lies costs time and no more.
#[test]
fn a_wrong_memory_is_noticed() {
    let files: Vec<File> =
        (0..8).map(|at| file(&format!("f{at}"), noise(at % 4, 100_000))).collect();
    let (_, bytes) = write(&files, b"", settings());
    let mut package = open(&bytes);
    let mut contents = package.contents();
    while let Some(record) = contents.next_record().unwrap() {
        let mut lie = |_: &Origin, buffer: &mut [u8]| {
            buffer.fill(7);
            true
        };
        read_file(&mut contents, &record, &mut lie);
    }
}

#[test]
fn data_may_be_passed_over() {
    let files: Vec<File> =
        (0..30).map(|at| file(&format!("f{at:02}"), noise(at % 11, 50_000))).collect();
    let (_, bytes) = write(&files, b"", settings());
    let mut package = open(&bytes);
    let mut contents = package.contents();
    let mut turn = 0;
    while let Some(record) = contents.next_record().unwrap() {
        turn += 1;
        match turn % 3 {
            0 => drop(read_file(&mut contents, &record, &mut package::NoRecall)),
            1 => drop(contents.piece(&mut package::NoRecall).unwrap()),
            _ => {}
        }
    }
    assert_eq!(turn, 31);
}

#[test]
fn an_installer_is_a_program_with_a_package_behind_it() {
    let stub = noise(9, 12_345);
    let (_, bytes) = write(&[file("a", "text")], &stub, settings());
    assert_eq!(bytes[..stub.len()], stub);
    assert_eq!(open(&bytes).layout().stub_length, stub.len() as u64);
    assert_eq!(read(&bytes), [file("a", "text")]);
}

#[test]
fn records_must_come_in_order() {
    let mut writer = package::PackageWriter::new(Vec::new(), b"", settings()).unwrap();
    let (_, bytes) = write(&[file("a/b", ""), file("a!", "")], b"", settings());
    let records: Vec<_> = open(&bytes).records().map(Result::unwrap).collect();
    writer.record(&records[2]).unwrap();
    insta::assert_snapshot!(writer.record(&records[1]).unwrap_err(), @"`a/b` of tree 0 comes twice or after a path it sorts before");
}

#[test]
fn a_file_that_changes_meanwhile_is_refused() {
    let mut writer = package::PackageWriter::new(Vec::new(), b"", settings()).unwrap();
    let error = writer.content(0, b"a", 5, vec![], &mut &b"123456"[..]).unwrap_err();
    insta::assert_snapshot!(error, @"`a` has not the 5 bytes of data it had: did it change meanwhile?");
    assert!(writer.content(0, b"a", 5, vec![], &mut &b"1234"[..]).is_err());
}

/// What a writer forgets is written again, and nothing else is different.
#[test]
fn a_writer_that_remembers_little_writes_the_same_package() {
    let files: Vec<File> =
        (0..40).map(|at| file(&format!("f{at:02}"), noise(at % 7, 30_000))).collect();
    let little = Settings { remembered: 2, ..settings() };
    let (all, bytes) = write(&files, b"", little);
    let much = write(&files, b"", settings()).0;
    assert_eq!(all.identity, much.identity);
    assert_eq!(read(&bytes), files);
    assert!(all.repeated < much.repeated, "{} and {}", all.repeated, much.repeated);
}
