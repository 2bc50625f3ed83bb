//! The field's failures that need a real disk, each a test named after its article.

use std::{fs, os::unix::fs::symlink};

use policy::Observed;
use site::SiteError;

use crate::world::{World, held, name, package_file};

/// The only copy of the source was deleted because it was the distribution folder too.
#[test]
fn q263376_a_folder_that_is_something_else_never_becomes_a_point() {
    let world = World::new();
    let berlin = world.add("berlin");
    let foreign = world.path("foreign");
    fs::create_dir(&foreign).unwrap();
    for number in 0..2_000 {
        fs::write(foreign.join(format!("file{number}")), b"theirs").unwrap();
    }
    let link = world.path("link");
    symlink(world.path("site/store"), &link).unwrap();
    let refused = [
        world.path("site"),
        world.path("site/store"),
        world.path("site/store/below"),
        world.home.path().to_owned(),
        link.clone(),
        link.join("below"),
        foreign.clone(),
        berlin.clone(),
        berlin.join("below"),
    ];
    for path in refused {
        let result = world.server.add_point("other", &path.to_string_lossy());
        assert!(
            matches!(result, Err(SiteError::Location { .. })),
            "{}: {result:?}",
            path.display()
        );
    }
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 2_000);
    let source = package_file(world.home.path(), "redis", "1");
    let before = fs::read(&source).unwrap();
    world.server.publish(&source, false).unwrap();
    world.assign("redis", &["berlin"]);
    world.settled();
    assert_eq!(fs::read(&source).unwrap(), before, "a source is only read");
}

/// Updating one package wiped what another had put into the same folder.
#[test]
fn q235184_a_package_takes_away_only_what_is_its_own() {
    let world = World::new();
    let berlin = world.add("berlin");
    world.publish("redis", "1");
    world.publish("nginx", "1");
    world.assign("redis", &["berlin"]);
    world.assign("nginx", &["berlin"]);
    world.settled();
    for number in 0..20 {
        fs::write(berlin.join(format!("by-hand-{number}")), b"theirs").unwrap();
    }
    world.publish("redis", "2");
    world.settled();
    assert!(matches!(held(&berlin, "nginx").0, Observed::Holds(_)));
    world.server.event(policy::Event::Retire(name("nginx"))).unwrap();
    world.settled();
    assert!(matches!(held(&berlin, "redis").0, Observed::Holds(_)));
    assert!((0..20).all(|number| berlin.join(format!("by-hand-{number}")).exists()));
}

/// A refresh emptied the folder first; clients found nothing, or a mixture.
#[test]
fn q184489_readers_see_the_old_or_the_new_and_never_neither() {
    let world = World::new();
    let berlin = world.add("berlin");
    world.publish("redis", "1");
    world.assign("redis", &["berlin"]);
    world.settled();
    let (stop, seen) = (std::sync::atomic::AtomicBool::new(false), std::sync::Mutex::default());
    let seen: &std::sync::Mutex<std::collections::BTreeSet<String>> = &seen;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0_u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let point = store::Point::open(&berlin.to_string_lossy(), []).unwrap();
                let index = store::releases(&point, &name("redis")).unwrap();
                let release = index.unwrap().releases.last().unwrap().clone();
                for object in release.objects() {
                    point.read_object(&object).unwrap();
                }
                seen.lock().unwrap().insert(release.version.as_str().to_owned());
                reads += 1;
            }
            reads
        });
        for version in ["2", "3", "4", "5"] {
            world.publish("redis", version);
            world.settled();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
    assert!(!seen.lock().unwrap().is_empty());
}

/// Saving without a change sent everything everywhere again.
#[test]
fn q281754_publishing_the_same_again_does_nothing() {
    let world = World::new();
    let berlin = world.add("berlin");
    let file = package_file(world.home.path(), "redis", "1");
    world.server.publish(&file, false).unwrap();
    world.assign("redis", &["berlin"]);
    let before = world.settled();
    let record = || fs::metadata(berlin.join("names/redis")).unwrap().modified().unwrap();
    let written = record();
    for _ in 0..100 {
        assert!(!world.server.publish(&file, false).unwrap());
        world.assign("redis", &["berlin"]);
    }
    let after = world.settled();
    assert_eq!(after.packages[0].number, before.packages[0].number);
    assert_eq!(record(), written, "no byte was written");
}

#[test]
fn q184512_what_is_there_already_is_not_written_again() {
    let world = World::new();
    let point = world.add("a");
    world.publish("redis", "1");
    world.publish("other", "1");
    world.assign("redis", &["a"]);
    world.assign("other", &["a"]);
    world.settled();
    let inodes = |folder: &std::path::Path| {
        let mut found = std::collections::BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    let file = entry.metadata().unwrap();
                    let what =
                        (std::os::unix::fs::MetadataExt::ino(&file), file.modified().unwrap());
                    found.insert(entry.path(), what);
                }
            }
        }
        found
    };
    let objects = ["packs", "manifests"].map(|kind| inodes(&point.join(kind)));
    assert!(objects.iter().all(|kind| !kind.is_empty()));
    world.publish("redis", "2");
    world.settled();
    let now = ["packs", "manifests"].map(|kind| inodes(&point.join(kind)));
    for (before, now) in objects.iter().zip(&now) {
        let kept = before.iter().all(|(path, what)| now.get(path) == Some(what));
        assert!(kept, "objects that were whole are the same files as before");
    }
    let new: u64 = now
        .iter()
        .flat_map(|kind| kind.keys())
        .filter(|path| !objects.iter().any(|kind| kind.contains_key(*path)))
        .map(|path| std::fs::metadata(path).unwrap().len())
        .sum();
    let whole = std::fs::metadata(world.path("redis-2.package")).unwrap().len();
    assert!(new <= whole + 20_000, "{new} bytes for a package of {whole}");
}
