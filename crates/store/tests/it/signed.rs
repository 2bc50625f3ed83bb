//! Signed points on a real disk: what an index cannot hide, what a reader sees during a publish, and what another
//! implementation makes of the metadata.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use store::{
    FetchError, FetchOptions, Point, PublishOptions, Signing, TrustError, TrustLock, TrustSettings,
    apply_trust, edit_trust, verify_trust,
};
use trust::{Edit, Lifetimes, Party, Refusal, SigningKey};

use crate::point::{Place, fetch_to, name, place, program};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

fn now() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

fn init(point: &Point, lifetimes: &Lifetimes, at: Timestamp) {
    let party = |seed| Party { keys: vec![key(seed).public()], threshold: 1 };
    let edit = Edit::create(&party(1), &party(2), &party(3), model::Hash::of(b"place")).unwrap();
    let change = edit.finish(&[key(1), key(2), key(3)], at, lifetimes).unwrap();
    assert!(apply_trust(point, &change, false).unwrap());
}

fn signing(seeds: &[u8], at: Timestamp) -> Arc<Signing> {
    let keys = seeds.iter().copied().map(key).collect();
    let lifetimes = Lifetimes::default();
    Arc::new(Signing { root: None, role: "targets".to_owned(), keys, now: at, lifetimes })
}

fn publish(place: &Place, point: &Point, version: &str, replace: bool) -> store::Published {
    let options = PublishOptions {
        bases: Some(vec![]),
        replace,
        signing: Some(signing(&[2, 3], now())),
        ..PublishOptions::default()
    };
    let file = place.file(&program(version));
    store::publish(point, &file, &options, &mut |_, _, _| {}).unwrap()
}

fn signed_place() -> Place {
    let place = place();
    init(&place.point, &Lifetimes::default(), now());
    place
}

fn settings(place: &Place) -> TrustSettings {
    let root = std::fs::read(place.path("dp/trust/1.root.json")).unwrap();
    TrustSettings { root, state: Some(place.path("seen")), now: now() }
}

fn fetch(place: &Place, point: &Point, to: &str) -> Result<String, FetchError> {
    let options = FetchOptions { trust: Some(settings(place)), ..FetchOptions::default() };
    let mut wanted = store::wanted(point, &name(), &options, None)?;
    wanted.fetch(&place.path(to), &mut |_, _, _| {})?;
    assert_eq!(wanted.signed().unwrap().0, "targets");
    Ok(wanted.release().version.to_string())
}

#[test]
fn what_is_signed_and_hidden_by_the_index_is_missed() {
    let place = signed_place();
    publish(&place, &place.point, "1", false);
    let index = place.path("dp/names/redis");
    let old = std::fs::read(&index).unwrap();
    publish(&place, &place.point, "2", false);
    assert_eq!(fetch(&place, &place.point, "got").unwrap(), "2");
    std::fs::write(&index, old).unwrap();
    // Its record is there: that is enough.
    assert_eq!(fetch(&place, &place.point, "got").unwrap(), "2");
    for record in std::fs::read_dir(place.path("dp/releases/redis")).unwrap() {
        std::fs::remove_file(record.unwrap().path()).unwrap();
    }
    let error = fetch(&place, &place.point, "got").unwrap_err();
    let FetchError::Trust(TrustError::Refused(Refusal::Hidden { role, version, .. })) = error
    else {
        panic!("{error}")
    };
    assert_eq!((&*role, &*version), ("targets", "2"));
    let findings = verify_trust(&place.point, &settings(&place)).unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
}

#[test]
fn a_point_that_may_lag_has_less_and_says_so() {
    let place = signed_place();
    publish(&place, &place.point, "1", false);
    let [index, record] = ["names/redis", "releases/redis"].map(|path| place.path("dp").join(path));
    let old = std::fs::read(&index).unwrap();
    let first = std::fs::read_dir(&record).unwrap().next().unwrap().unwrap().path();
    publish(&place, &place.point, "2", false);
    let mut edit = edit_trust(&place.point, None).unwrap();
    edit.let_points_lag(true);
    let keys = [key(2), key(3)];
    let change = edit.finish(&keys, now(), &Lifetimes::default()).unwrap();
    assert!(apply_trust(&place.point, &change, true).unwrap());
    assert_eq!(fetch(&place, &place.point, "both").unwrap(), "2");
    for file in std::fs::read_dir(&record).unwrap().map(|file| file.unwrap().path()) {
        if file != first {
            std::fs::remove_file(file).unwrap();
        }
    }
    std::fs::write(&index, old).unwrap();
    assert_eq!(fetch(&place, &place.point, "older").unwrap(), "1");
    let options = FetchOptions { trust: Some(settings(&place)), ..FetchOptions::default() };
    let wanted = store::wanted(&place.point, &name(), &options, None).unwrap();
    let note = "version `2` is signed and not at this distribution point yet";
    assert!(wanted.notes().iter().any(|said| said == note), "{:?}", wanted.notes());
    let missing = |path: &str| {
        verify_trust(&place.point, &settings(&place))
            .unwrap()
            .iter()
            .any(|one| one.path.contains(path))
    };
    assert!(!missing("releases/"));
    // None at all is as if it had never been published there.
    std::fs::remove_file(&index).unwrap();
    std::fs::remove_file(&first).unwrap();
    let none = fetch(&place, &place.point, "none").unwrap_err();
    assert!(!matches!(none, FetchError::Trust(_)), "{none}");
}

#[test]
fn what_nobody_signed_is_left_out_and_found() {
    let place = signed_place();
    publish(&place, &place.point, "1", false);
    place.publish(&program("9"));
    assert_eq!(fetch(&place, &place.point, "got").unwrap(), "1");
    let findings = verify_trust(&place.point, &settings(&place)).unwrap();
    assert_eq!(findings.iter().map(|one| one.found).collect::<Vec<_>>(), [store::Found::Unsigned]);
    // Without a root it is as before.
    fetch_to(&place.point, &[], &place.path("got"));
}

#[test]
fn publishing_again_signs_what_was_not_signed_and_then_nothing() {
    let place = signed_place();
    place.publish(&program("1"));
    let first = publish(&place, &place.point, "1", false);
    assert!(!first.already && first.signed.unwrap().switched);
    assert!(publish(&place, &place.point, "1", false).already);
}

#[test]
fn readers_see_the_old_or_the_new_while_publishers_replace_and_add() {
    let place = signed_place();
    publish(&place, &place.point, "1", false);
    let root = place.path("dp");
    let open = || Point::open(root.to_str().unwrap(), []).unwrap();
    std::thread::scope(|scope| {
        for start in [2, 3] {
            let (place, open) = (&place, &open);
            scope.spawn(move || {
                let point = open();
                for version in (start..8).step_by(2) {
                    publish(place, &point, &version.to_string(), false);
                    // The same version with other content.
                    let mut other = program(&version.to_string());
                    other.file(0, "zz-more", version.to_string().as_bytes());
                    let file = place.path(&format!("{version}-other.package"));
                    std::fs::write(&file, other.bytes()).unwrap();
                    let options = PublishOptions {
                        bases: Some(vec![]),
                        replace: true,
                        signing: Some(signing(&[2, 3], now())),
                        ..PublishOptions::default()
                    };
                    store::publish(&point, &file, &options, &mut |_, _, _| {}).unwrap();
                }
            });
        }
        for reader in 0..4 {
            let (place, open) = (&place, &open);
            scope.spawn(move || {
                let point = open();
                let mut seen = 0;
                std::fs::create_dir(place.path(&format!("reader-{reader}"))).unwrap();
                for round in 0..15 {
                    let version =
                        fetch(place, &point, &format!("reader-{reader}/package")).unwrap();
                    let version: u32 = version.parse().unwrap();
                    assert!(version >= seen, "round {round}: {version} after {seen}");
                    seen = version;
                }
            });
        }
    });
    let index = store::releases(&place.point, &name()).unwrap().unwrap();
    assert_eq!(index.releases.len(), 7);
    assert_eq!(verify_trust(&place.point, &settings(&place)).unwrap(), []);
    assert_eq!(
        store::verify(&place.point, &mut |_, _, _| {})
            .unwrap()
            .iter()
            .filter(|one| one.found != store::Found::Surplus)
            .count(),
        0
    );
}

#[test]
fn metadata_travels_to_a_mirror_and_only_whole() {
    let (place, other) = (signed_place(), place());
    publish(&place, &place.point, "1", false);
    store::mirror_trust(&other.point, &place.point, &settings(&place)).unwrap();
    let (from, to) = (place.path("dp/trust"), other.path("dp/trust"));
    for entry in std::fs::read_dir(&to).unwrap() {
        let name = entry.unwrap().file_name();
        assert_eq!(
            std::fs::read(from.join(&name)).unwrap(),
            std::fs::read(to.join(&name)).unwrap()
        );
    }
    std::fs::write(from.join("timestamp.json"), "{}").unwrap();
    assert!(store::mirror_trust(&other.point, &place.point, &settings(&place)).is_err());
    let findings = verify_trust(&other.point, &settings(&other)).unwrap();
    assert!(findings.iter().all(|finding| !finding.path.starts_with("trust/")), "{findings:?}");
}

#[test]
fn state_that_cannot_be_read_is_an_error_and_not_a_first_time() {
    let place = signed_place();
    publish(&place, &place.point, "1", false);
    fetch(&place, &place.point, "got").unwrap();
    let state = std::fs::read_dir(place.path("seen")).unwrap();
    let state = state
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "json"))
        .unwrap();
    std::fs::remove_file(&state).unwrap();
    std::fs::create_dir(&state).unwrap();
    let error = fetch(&place, &place.point, "got").unwrap_err();
    assert!(matches!(error, FetchError::Trust(TrustError::State { .. })), "{error}");
}

#[test]
fn another_implementation_verifies_the_same_metadata() {
    // `tough`'s own client asks the machine's clock, so the times are of now.
    let place = place();
    let at = Timestamp::now();
    init(&place.point, &Lifetimes::default(), at);
    let mut edit = edit_trust(&place.point, None).unwrap();
    let party = Party { keys: vec![key(4).public()], threshold: 1 };
    edit.delegate("caches", &party, &["redis".parse().unwrap()]).unwrap();
    edit.rotate(&[("root".to_owned(), key(5).public())], &[], &[]).unwrap();
    let lock = TrustLock::take(&place.point).unwrap();
    let change = edit.finish(&[key(1), key(2), key(3)], at, &Lifetimes::default()).unwrap();
    apply_trust(&place.point, &change, false).unwrap();
    drop(lock);
    let options = PublishOptions {
        signing: Some(Arc::new(Signing {
            root: None,
            role: "caches".to_owned(),
            keys: vec![key(4), key(3)],
            now: at + SignedDuration::from_secs(1),
            lifetimes: Lifetimes::default(),
        })),
        ..PublishOptions::default()
    };
    let file = place.file(&program("7.2.4"));
    store::publish(&place.point, &file, &options, &mut |_, _, _| {}).unwrap();

    let root = std::fs::read(place.path("dp/trust/1.root.json")).unwrap();
    let url = |folder: &str| format!("file://{}", place.path(folder).display()).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let loaded = runtime
        .block_on(
            tough::RepositoryLoader::new(&root, url("dp/trust"), url("dp"))
                .transport(tough::FilesystemTransport)
                .load(),
        )
        .unwrap();
    assert_eq!(loaded.root().signed.version.get(), 2);
    let targets: Vec<_> = loaded.all_targets().map(|(name, _)| name.raw().to_owned()).collect();
    assert_eq!(targets, ["redis/7.2.4/any"]);
}
