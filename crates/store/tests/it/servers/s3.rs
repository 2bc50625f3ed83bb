//! An S3 server over a socket.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use store::{Found, Point, PublishOptions, Signing, TrustSettings, collect, repair, verify};
use testkit::S3Server;
use trust::{Edit, Lifetimes, Party, SigningKey};

use crate::point::{fetch_to, flip, name, noise, place, program};

fn point(s3: &S3Server) -> Point {
    Point::open("s3://packages/main", s3.settings()).unwrap()
}

fn file(s3: &S3Server, path: &str) -> PathBuf {
    s3.bucket().join("main").join(path)
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

#[test]
fn a_bucket_is_published_to_fetched_from_verified_repaired_and_collected() {
    let (s3, healthy) = (S3Server::start().unwrap(), place());
    let point = point(&s3);
    for version in ["1", "2"] {
        let mut sample = program(version);
        // More than one part of an upload.
        sample.file(0, "zz-large", &noise(20_000_000, 9));
        let file = healthy.file(&sample);
        for target in [&point, &healthy.point] {
            store::publish(target, &file, &PublishOptions::default(), &mut |_, _, _| {}).unwrap();
        }
    }
    assert_eq!(store::names(&point).unwrap(), [name()]);
    assert_eq!(verify(&point, &mut |_, _, _| {}).unwrap(), []);
    let whole = fetch_to(&point, &[], &healthy.path("whole"));
    assert_eq!(whole.routes, ["frames"]);
    let delta = fetch_to(&point, &[&healthy.path("1.package")], &healthy.path("delta"));
    assert_eq!(delta.routes, ["delta"]);
    assert!(delta.received * 10 < whole.received, "{} of {}", delta.received, whole.received);

    let objects = healthy.objects();
    let root = healthy.path("dp");
    let sources = [healthy.point];
    for (number, object) in objects.iter().enumerate() {
        let path = object.strip_prefix(&root).unwrap().to_str().unwrap();
        let wanted = if number % 2 == 0 {
            flip(&file(&s3, path), 7919 * number);
            Found::Damaged
        } else {
            point.delete(path).unwrap();
            Found::Missing
        };
        let findings = verify(&point, &mut |_, _, _| {}).unwrap();
        assert_eq!(findings.iter().map(|one| one.found).collect::<Vec<_>>(), [wanted], "{path}");
        let repaired = repair(&point, &findings, &sources, &mut |_, _, _| {}).unwrap();
        assert_eq!((repaired.mended.len(), repaired.left.len()), (1, 0));
    }
    let lost = content::ObjectKind::Pack.path(model::Hash::of(b"lost"));
    point.write_small(&lost, b"lost".to_vec()).unwrap();
    assert_eq!(collect(&point, Duration::ZERO).unwrap().marked, [&*lost]);
    assert_eq!(collect(&point, Duration::ZERO).unwrap().swept, [&*lost]);
    assert_eq!(verify(&point, &mut |_, _, _| {}).unwrap(), []);
}

#[test]
fn publishers_of_a_bucket_at_once_all_are_signed() {
    let (s3, scratch) = (S3Server::start().unwrap(), place());
    let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let party = |seed| Party { keys: vec![key(seed).public()], threshold: 1 };
    let edit = Edit::create(&party(1), &party(2), &party(3), model::Hash::of(b"s3")).unwrap();
    let keys = [key(1), key(2), key(3)];
    let change = edit.finish(&keys, now, &Lifetimes::default()).unwrap();
    assert!(store::apply_trust(&point(&s3), &change, false).unwrap());
    // What is there is not overwritten by who comes second.
    assert!(!point(&s3).create_small("trust/1.root.json", b"other".to_vec()).unwrap());
    std::thread::scope(|scope| {
        for start in [1, 2] {
            let (s3, scratch) = (&s3, &scratch);
            scope.spawn(move || {
                for version in [start, start + 2] {
                    let options = PublishOptions {
                        bases: Some(vec![]),
                        signing: Some(Arc::new(Signing {
                            root: None,
                            role: "targets".to_owned(),
                            keys: vec![key(2), key(3)],
                            now,
                            lifetimes: Lifetimes::default(),
                        })),
                        ..PublishOptions::default()
                    };
                    let file = scratch.file(&program(&version.to_string()));
                    store::publish(&point(s3), &file, &options, &mut |_, _, _| {}).unwrap();
                }
            });
        }
    });
    let root = point(&s3).read_limited("trust/1.root.json", 1 << 20).unwrap().unwrap();
    let settings = TrustSettings { root, state: None, now };
    assert_eq!(store::verify_trust(&point(&s3), &settings).unwrap(), []);
    let verified = store::update_trust(&point(&s3), &settings, trust::Want::Everything).unwrap();
    assert_eq!(verified.releases(&name()).unwrap().len(), 4);
}

#[test]
fn a_bucket_is_closed_to_who_has_another_secret() {
    let s3 = S3Server::start().unwrap();
    let stranger = Point::open("s3://packages/main", s3.settings_with("field")).unwrap();
    let error = store::releases(&stranger, &name()).unwrap_err();
    assert!(error.to_string().starts_with("reading `names/redis`"), "{error}");
}
