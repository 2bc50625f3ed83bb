//! Content that is shared: between versions, between packages; and updates without a delta.

use std::time::Duration;

use store::{FetchOptions, Point, PublishOptions, Published, collect, verify};
use testkit::Sample;

use crate::{
    point::{Place, fetch_to, flip, name, noise, place},
    server::Server,
};

/// Two folders of much content, and one file that differs from version to version.
fn suite(package: &str, version: &str) -> Sample {
    let mut sample = Sample::new(package, version);
    let tree = sample.tree(&format!("/opt/{package}"));
    sample.directory(tree, "");
    sample.directory(tree, "lib");
    for number in 0..12 {
        sample.file(tree, &format!("lib/part-{number:02}"), &noise(400_000, 100 + number));
    }
    sample.directory(tree, "text");
    for number in 0..200 {
        sample.file(tree, &format!("text/{number:03}"), format!("text {number}").as_bytes());
    }
    sample.file(tree, "own", &noise(150_000, package.len() as u64 * 7919));
    sample.file(tree, "version", &noise(20_000, version.bytes().map(u64::from).sum::<u64>() * 31));
    sample
}

fn publish(place: &Place, sample: &Sample) -> Published {
    let options = PublishOptions { bases: Some(vec![]), ..PublishOptions::default() };
    store::publish(&place.point, &place.file(sample), &options, &mut |_, _, _| {}).unwrap()
}

#[test]
fn an_update_without_a_delta_brings_what_changed_and_little_else() {
    let place = place();
    let first = publish(&place, &suite("redis", "1"));
    let second = publish(&place, &suite("redis", "2"));
    assert!(first.written > 4_900_000, "{}", first.written);
    assert!(second.written < 25_000, "{} bytes for a change of 20,000", second.written);
    let server = Server::start(&place.path("dp"));
    let point = Point::open(&server.url, []).unwrap();
    let fetched = fetch_to(&point, &[&place.path("1.package")], &place.path("new.package"));
    assert_eq!(fetched.routes, ["frames"]);
    assert!(fetched.received < 50_000, "{}", fetched.received);
    assert!(fetched.requests <= 5, "{}", fetched.requests);
}

#[test]
fn content_is_stored_once_between_packages() {
    let place = place();
    publish(&place, &suite("redis", "1"));
    let other = publish(&place, &suite("valkey", "1"));
    assert!(other.written < 220_000, "{} bytes for 170,000 of its own", other.written);
    let to = place.path("valkey.package");
    let valkey = model::PackageName::new("valkey").unwrap();
    let mut wanted = store::wanted(&place.point, &valkey, &FetchOptions::default(), None).unwrap();
    let fetched = wanted.fetch(&to, &mut |_, _, _| {}).unwrap();
    assert_eq!(fetched.routes, ["frames"]);
    let made = package::PackageReader::open(std::fs::File::open(&to).unwrap()).unwrap();
    assert_eq!(made.identity(), suite("valkey", "1").open().identity());
    // What another package needs is not surplus, and goes with nobody's collection.
    assert_eq!(verify(&place.point, &mut |_, _, _| {}).unwrap(), []);
    assert_eq!(collect(&place.point, Duration::ZERO).unwrap().marked, [""; 0]);
}

/// The first install of a version that shares much reads hardly more than its own content.
#[test]
fn a_first_install_is_not_larger_for_sharing() {
    let place = place();
    let alone = publish(&place, &suite("redis", "1")).written;
    for version in ["2", "3", "4"] {
        publish(&place, &suite("redis", version));
    }
    let fetched = place.fetch(&[], &suite("redis", "4"));
    assert!(fetched.received < alone + alone / 10, "{} of {alone}", fetched.received);
}

#[test]
fn manifests_go_back_to_those_before_and_not_without_end() {
    let place = place();
    let mut most = 0;
    for version in 1..=20 {
        let release = publish(&place, &suite("redis", &format!("{version:02}"))).release;
        most = most.max(release.older().len());
        place.fetch(&[], &suite("redis", &format!("{version:02}")));
    }
    assert!((1..=8).contains(&most), "{most}");
    assert_eq!(verify(&place.point, &mut |_, _, _| {}).unwrap(), []);
}

/// Cut anywhere, an update over frames goes on there.
#[test]
fn cut_frames_are_gone_on_from() {
    let place = place();
    publish(&place, &suite("redis", "1"));
    publish(&place, &suite("redis", "2"));
    let server = Server::start(&place.path("dp"));
    for seed in 0..12_usize {
        let to = place.path(&format!("cut-{seed}"));
        std::fs::create_dir(&to).unwrap();
        let to = to.join("package");
        let point = Point::open(&server.url, []).unwrap();
        let mut wanted = store::wanted(&point, &name(), &FetchOptions::default(), None).unwrap();
        *server.until_cut.lock().unwrap() = Some(seed * 399_989 + 1);
        let _ = wanted.fetch(&to, &mut |_, _, _| {});
        let before = point.counted().1;
        let again = Point::open(&server.url, []).unwrap();
        if !to.exists() {
            fetch_to(&again, &[], &to);
        }
        let made = package::PackageReader::open(std::fs::File::open(&to).unwrap()).unwrap();
        assert_eq!(made.identity(), suite("redis", "2").open().identity());
        let came = before + again.counted().1;
        assert!(came < 5_100_000, "{came} bytes, cut at {}", seed * 399_989 + 1);
    }
}

/// What waits from before is not believed.
#[test]
fn a_damaged_waiting_frame_is_fetched_anew() {
    let place = place();
    publish(&place, &suite("redis", "1"));
    let second = publish(&place, &suite("redis", "2"));
    let pack = second.release.packs[0];
    let waiting = place.path(&format!(".{}-0.frame", pack.hash));
    std::fs::write(&waiting, noise(400, 9)).unwrap();
    let fetched = place.fetch(&[&place.path("1.package")], &suite("redis", "2"));
    assert_eq!(fetched.routes, ["frames"]);
}

#[test]
fn a_damaged_pack_is_named_and_nothing_gets_the_name() {
    let place = place();
    publish(&place, &suite("redis", "1"));
    let second = publish(&place, &suite("redis", "2"));
    flip(&place.path("dp").join(second.release.packs[0].path()), 300);
    let to = place.path("out.package");
    let mut wanted = store::wanted(&place.point, &name(), &FetchOptions::default(), None).unwrap();
    let error = wanted.fetch(&to, &mut |_, _, _| {}).unwrap_err();
    assert!(error.to_string().contains("dp repair"), "{error}");
    assert!(!to.exists());
}
