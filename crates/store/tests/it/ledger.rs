//! How such systems failed in the field: one test for each row, named by it.

use model::{Extent, Meta};
use package::{Node, PackageReader, PackageWriter, Settings};
use testkit::Sample;

use crate::point::{name, noise, place};

/// Q316316: sources with extended attributes, set-id bits, sparse files, hard links, pipes and dangling links made
/// compression fail, or lost the extras in silence. Here all of it arrives, in a whole package and in a delta.
#[test]
fn q316316_what_files_carry_besides_bytes_arrives() {
    let place = place();
    let old = rich("1");
    let new = rich("2");
    std::fs::write(place.path("1.package"), &old).unwrap();
    std::fs::write(place.path("2.package"), &new).unwrap();
    for version in ["1", "2"] {
        let file = place.path(&format!("{version}.package"));
        store::publish(&place.point, &file, &store::PublishOptions::default(), &mut |_, _, _| {})
            .unwrap();
    }
    let to = place.path("new.package");
    let fetched = crate::point::fetch_to(&place.point, &[&place.path("1.package")], &to);
    assert_eq!(fetched.routes, ["delta"]);
    let records = |bytes: Vec<u8>| {
        let mut reader = PackageReader::open(std::io::Cursor::new(bytes)).unwrap();
        reader.records().collect::<Result<Vec<_>, _>>().unwrap()
    };
    assert_eq!(records(std::fs::read(&to).unwrap()), records(new));
}

/// 200 files with attributes of 64 KiB, a sparse file of 10 GB, a set-user-id program, a hard link, a pipe and a
/// link that leads nowhere.
fn rich(version: &str) -> Vec<u8> {
    let header = {
        let mut sample = Sample::new("redis", version);
        sample.tree("/opt/redis");
        sample.header
    };
    let mut writer = PackageWriter::new(Vec::new(), &[], Settings::fast(1)).unwrap();
    let record = |path: &str, node: Node, meta: Meta| package::Record {
        tree: 0,
        path: path.as_bytes().to_vec(),
        node,
        meta,
    };
    let plain = |mode| Sample::meta(mode);
    writer.record(&record("", Node::Directory, plain(0o755))).unwrap();
    for number in 0..200_u64 {
        let path = format!("a{number:03}");
        let bytes = format!("{version} {number}").into_bytes();
        let file = writer.content(0, path.as_bytes(), bytes.len() as u64, vec![], &mut &*bytes);
        let mut meta = plain(0o644);
        meta.xattrs.insert((*b"user.stream").into(), noise(64 << 10, number).into());
        writer.record(&record(&path, Node::File(file.unwrap()), meta)).unwrap();
    }
    writer
        .record(&record("dangling", Node::Symlink("/nowhere".parse().unwrap()), plain(0o777)))
        .unwrap();
    writer.record(&record("pipe", Node::Fifo, plain(0o600))).unwrap();
    let bytes = noise(4096, version.len() as u64);
    let file = writer.content(0, b"set-id", 4096, vec![], &mut &*bytes).unwrap();
    writer.record(&record("set-id", Node::File(file), plain(0o4755))).unwrap();
    let link = Node::HardLink { tree: 0, path: b"set-id".to_vec() };
    writer.record(&record("set-id-too", link, plain(0o4755))).unwrap();
    let length = 10_000_000_000_u64;
    let data = noise(8192, 5 + u64::from(version.as_bytes()[0]));
    let holes = vec![Extent { offset: 4096, length: length - 8192 }];
    let file = writer.content(0, b"sparse", length, holes, &mut &*data).unwrap();
    writer.record(&record("sparse", Node::File(file), plain(0o644))).unwrap();
    writer.finish(header).unwrap().1
}

/// Q182419: long relative paths crashed the service that unpacked them. Paths of any length travel.
#[test]
fn q182419_long_paths_travel() {
    let mut sample = Sample::new("redis", "1");
    let tree = sample.tree("/opt/redis");
    sample.directory(tree, "");
    for (number, length) in [150, 201, 261, 1024, 4000].into_iter().enumerate() {
        let parts = format!("{number}{}/", "x".repeat(98)).repeat(length / 100 + 1);
        let path = parts[..length].trim_end_matches('/');
        sample.file(tree, path, path.as_bytes());
    }
    sample.file(tree, &"n".repeat(255), b"a name of 255 bytes");
    let place = place();
    place.publish(&sample);
    let fetched = place.fetch(&[], &sample);
    assert_eq!(fetched.routes, ["whole"]);
}

/// Q267977: what a newer sender made only failed when it was unpacked far away. Here the index says its format
/// first, and nothing else is asked for.
#[test]
fn q267977_a_newer_point_is_refused_before_anything_is_fetched() {
    let place = place();
    place.publish(&crate::point::program("1"));
    let path = place.path("dp").join("names/redis");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 2;
    std::fs::write(&path, bytes).unwrap();
    let before = place.point.counted().0;
    let error = store::wanted(&place.point, &name(), &store::FetchOptions::default()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    insta::assert_snapshot!(cause, @"the index has format 2, and this program reads formats up to 1: use a newer packhorse");
    assert_eq!(place.point.counted().0 - before, 1);
}
