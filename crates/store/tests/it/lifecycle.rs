use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use store::{Found, Point, PublishError, PublishOptions, collect, mend_indexes, repair, verify};

use crate::point::{Place, fetch_to, flip, name, noise, place, program};

fn published(versions: &[&str]) -> Place {
    let place = place();
    for version in versions {
        place.publish(&program(version));
    }
    place
}

#[test]
fn a_delta_comes_instead_of_the_whole() {
    let place = published(&["1", "2", "3"]);
    let old = place.path("2.package");
    let whole = place.fetch(&[], &program("3"));
    let delta = place.fetch(&[&old], &program("3"));
    assert_eq!((whole.routes, delta.routes), (vec!["whole".into()], vec!["delta".into()]));
    assert!(delta.received * 50 < whole.received, "{} of {}", delta.received, whole.received);
    assert!(delta.requests <= 5);
}

#[test]
fn deltas_lead_from_the_last_three() {
    let place = published(&["1", "2", "3", "4", "5"]);
    let index = store::releases(&place.point, &name()).unwrap().unwrap();
    let newest = index.release(None).unwrap();
    assert_eq!((newest.version.as_str(), newest.deltas.len()), ("5", 3));
    // From further back there are the frames.
    let fetched = place.fetch(&[&place.path("1.package")], &program("5"));
    assert_eq!(fetched.routes, ["frames"]);
}

#[test]
fn an_altered_base_falls_back_by_itself() {
    let place = published(&["1", "2"]);
    let old = place.path("1.package");
    // Content, not the trailer: it still opens as the package it was.
    flip(&old, 20_000);
    let fetched = place.fetch(&[&old], &program("2"));
    assert_eq!(fetched.routes.len(), 2, "{:?}", fetched.routes);
    assert_eq!(fetched.routes[1], "frames");
}

#[test]
fn a_damaged_delta_falls_back_and_nothing_stays_beside() {
    let place = published(&["1", "2"]);
    for object in place.objects().iter().filter(|path| path.to_str().unwrap().contains("deltas")) {
        flip(object, 1000);
    }
    let old = place.path("1.package");
    let fetched = place.fetch(&[&old], &program("2"));
    assert_eq!(fetched.routes.last().unwrap(), "frames");
    let left = std::fs::read_dir(place.folder.path()).unwrap();
    let partial = left
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with("made"));
    assert_eq!(partial.count(), 0);
}

#[test]
fn publishing_again_finds_all_there() {
    let place = published(&["1", "2"]);
    let again = place.publish(&program("2"));
    assert!(again.already);
    assert_eq!(again.written, 0);
}

#[test]
fn a_version_is_not_taken_twice_unless_told() {
    let place = published(&["1"]);
    let mut other = program("1");
    other.file(0, "zz-more", b"more");
    let file = place.file(&other);
    let publish = |replace| {
        let options = PublishOptions { replace, ..PublishOptions::default() };
        store::publish(&place.point, &file, &options, &mut |_, _, _| {})
    };
    assert!(matches!(publish(false), Err(PublishError::Taken { .. })));
    publish(true).unwrap();
    assert_eq!(place.fetch(&[], &other).routes.len(), 1);
    assert_eq!(store::releases(&place.point, &name()).unwrap().unwrap().releases.len(), 1);
}

#[test]
fn each_damaged_object_is_found_and_mended() {
    let (place, healthy) = (published(&["1", "2"]), published(&["1", "2"]));
    let sources = [Point::open(healthy.path("dp").to_str().unwrap(), []).unwrap()];
    assert_eq!(verify(&place.point, &mut |_, _, _| {}).unwrap(), []);
    for (number, object) in place.objects().into_iter().enumerate() {
        let before = std::fs::read(&object).unwrap();
        match number % 3 {
            0 => std::fs::remove_file(&object).unwrap(),
            1 => flip(&object, number * 7919),
            _ => std::fs::write(&object, &before[..before.len() / 2]).unwrap(),
        }
        let findings = verify(&place.point, &mut |_, _, _| {}).unwrap();
        let wanted = if number % 3 == 0 { Found::Missing } else { Found::Damaged };
        assert_eq!(findings.iter().map(|finding| finding.found).collect::<Vec<_>>(), [wanted]);
        let repaired = repair(&place.point, &findings, &sources, &mut |_, _, _| {}).unwrap();
        assert_eq!((repaired.mended.len(), repaired.left.len()), (1, 0));
        assert_eq!(std::fs::read(&object).unwrap(), before);
    }
    assert_eq!(verify(&place.point, &mut |_, _, _| {}).unwrap(), []);
}

#[test]
fn a_sick_source_mends_nothing_and_harms_nothing() {
    let (place, sick) = (published(&["1"]), published(&["1"]));
    for object in sick.objects() {
        flip(&object, 100);
    }
    let objects = place.objects();
    std::fs::remove_file(&objects[0]).unwrap();
    let findings = verify(&place.point, &mut |_, _, _| {}).unwrap();
    let sources = [Point::open(sick.path("dp").to_str().unwrap(), []).unwrap()];
    let repaired = repair(&place.point, &findings, &sources, &mut |_, _, _| {}).unwrap();
    assert_eq!((repaired.mended.len(), repaired.left.len()), (0, 1));
    assert!(!objects[0].exists());
}

#[test]
fn a_source_that_does_not_answer_is_not_asked_for_every_object() {
    let (place, healthy) = (published(&["1", "2"]), published(&["1", "2"]));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut line in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = line.read(&mut [0; 4096]);
            let _ = line.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    });
    let objects = place.objects();
    assert!(objects.len() > 2);
    for object in &objects {
        std::fs::remove_file(object).unwrap();
    }
    let findings = verify(&place.point, &mut |_, _, _| {}).unwrap();
    let open = |location: &str| Point::open(location, []).unwrap();
    let sources = [open(&format!("http://{address}")), open(healthy.path("dp").to_str().unwrap())];
    let repaired = repair(&place.point, &findings, &sources, &mut |_, _, _| {}).unwrap();
    assert_eq!((repaired.mended.len(), repaired.left.len()), (objects.len(), 0));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn a_lost_or_damaged_index_is_made_again_from_its_records() {
    for damage in [0, 1] {
        let place = published(&["1", "2"]);
        let index = place.path("dp").join("names/redis");
        if damage == 0 {
            std::fs::remove_file(&index).unwrap();
        } else {
            flip(&index, 60);
        }
        let findings = verify(&place.point, &mut |_, _, _| {}).unwrap();
        assert_eq!(findings.len(), 1);
        repair(&place.point, &findings, &[], &mut |_, _, _| {}).unwrap();
        assert_eq!(place.fetch(&[], &program("2")).routes, ["whole"]);
    }
}

#[test]
fn a_collection_marks_then_sweeps_and_takes_nothing_needed() {
    let place = published(&["1", "2"]);
    let needed = place.objects();
    // What an interrupted publish left.
    let lost = place.path("dp").join(content::ObjectKind::Pack.path(model::Hash::of(b"lost")));
    std::fs::create_dir_all(lost.parent().unwrap()).unwrap();
    std::fs::write(&lost, b"lost").unwrap();
    let long = Duration::from_hours(1);
    let first = collect(&place.point, long).unwrap();
    assert_eq!((first.marked.len(), first.swept.len()), (1, 0));
    let second = collect(&place.point, long).unwrap();
    assert_eq!((second.marked.len(), second.waiting.len(), second.swept.len()), (0, 1, 0));
    let third = collect(&place.point, Duration::ZERO).unwrap();
    assert_eq!((third.swept.len(), third.bytes), (1, 4));
    assert_eq!(place.objects(), needed);
    assert_eq!(verify(&place.point, &mut |_, _, _| {}).unwrap(), []);
}

#[test]
fn an_index_a_killed_publish_left_behind_is_mended() {
    let place = published(&["1"]);
    let index = place.path("dp").join("names/redis");
    let before = std::fs::read(&index).unwrap();
    place.publish(&program("2"));
    let after = std::fs::read(&index).unwrap();
    std::fs::write(&index, before).unwrap();
    let found = verify(&place.point, &mut |_, _, _| {}).unwrap();
    assert_eq!(found.iter().map(|one| one.found).collect::<Vec<_>>(), [Found::Stale]);
    assert_eq!(mend_indexes(&place.point).unwrap(), ["names/redis"]);
    assert_eq!(std::fs::read(&index).unwrap(), after);
    assert_eq!(mend_indexes(&place.point).unwrap(), [""; 0]);
}

#[test]
fn publishers_at_once_lose_no_release_and_readers_never_fail() {
    let place = published(&["0"]);
    let root = place.path("dp");
    let open = || Point::open(root.to_str().unwrap(), []).unwrap();
    std::thread::scope(|scope| {
        for start in [1, 2] {
            let (place, open) = (&place, &open);
            scope.spawn(move || {
                let point = open();
                for version in (start..9).step_by(2) {
                    let sample = program(&version.to_string());
                    let options =
                        PublishOptions { bases: Some(vec![]), ..PublishOptions::default() };
                    let file = place.file(&sample);
                    store::publish(&point, &file, &options, &mut |_, _, _| {}).unwrap();
                }
            });
        }
        for reader in 0..4 {
            let (place, open) = (&place, &open);
            scope.spawn(move || {
                let point = open();
                let to = place.path(&format!("reader-{reader}"));
                std::fs::create_dir(&to).unwrap();
                (0..10).for_each(|_| drop(fetch_to(&point, &[], &to.join("package"))));
            });
        }
    });
    let index = store::releases(&place.point, &name()).unwrap().unwrap();
    assert_eq!(index.releases.len(), 9);
    assert_eq!(verify(&place.point, &mut |_, _, _| {}).unwrap(), []);
}

#[test]
fn a_budget_of_nothing_still_publishes() {
    let place = published(&["1"]);
    let mut sample = program("2");
    sample.file(0, "zz-new", &noise(3_000_000, 77));
    let options = PublishOptions { budget: Some(Duration::ZERO), ..PublishOptions::default() };
    store::publish(&place.point, &place.file(&sample), &options, &mut |_, _, _| {}).unwrap();
    place.fetch(&[&place.path("1.package")], &sample);
}

/// Bundles whose names are hashes and say nothing: the base is found by what is in them.
#[test]
fn renamed_bundles_are_found_by_their_content() {
    let bundles = |version: u8| {
        let mut sample = testkit::Sample::new("redis", &version.to_string());
        let tree = sample.tree("/opt/redis");
        for number in 0..20_u64 {
            let mut bytes = noise(30_000, 500 + number);
            (0..bytes.len()).step_by(3000).for_each(|at| bytes[at] ^= version);
            let name =
                model::Hash::of(&(number * 100 + u64::from(version)).to_le_bytes()).to_string();
            sample.file(tree, &format!("{}.js", &name[..12]), &bytes);
        }
        sample
    };
    let place = place();
    place.publish(&bundles(1));
    place.publish(&bundles(2));
    let fetched = place.fetch(&[&place.path("1.package")], &bundles(2));
    assert_eq!(fetched.routes, ["delta"]);
    assert!(fetched.received < 60_000, "{} bytes for 600,000 hardly changed", fetched.received);
}

#[test]
fn a_rate_is_kept_to() {
    let place = place();
    let sample = program("1");
    place.publish(&sample);
    let location = place.path("dp").to_string_lossy().into_owned();
    let rate = 2_000_000;
    let point = Point::open(&location, []).unwrap().with_rate(NonZero::new(rate));
    let began = Instant::now();
    fetch_to(&point, &[], &place.path("slow.package"));
    // What is small and may change is not slowed down.
    let (_, received) = point.counted();
    let least = Duration::from_secs_f64((received - 50_000) as f64 / rate as f64);
    assert!(began.elapsed() >= least, "{received} bytes in {:?}", began.elapsed());
    assert!(received > 900_000);
}
