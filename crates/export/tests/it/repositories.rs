use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use export::{ExportRepositoryError, Key, KeyError, export_apt, export_rpm};
use native::{Settings, System};
use pgp::composed::{
    CleartextSignedMessage, Deserializable as _, DetachedSignature, SignedPublicKey,
};
use testkit::Sample;

fn key(folder: &Path) -> Key {
    Key::create(&folder.join("key"), "Ada Nym <ada@example.org>").unwrap()
}

fn package(folder: &Path, version: &str, content: &[u8], system: System) -> PathBuf {
    let mut sample = Sample::new("hello", version);
    let tree = sample.tree("/opt/hello");
    sample.file(tree, "a", content);
    let (mut bytes, spool) = (Vec::new(), &mut Cursor::new(Vec::new()));
    let settings = Settings { level: 1, workers: 1 };
    let mut package = sample.open();
    match system {
        System::Deb => native::write_deb(&mut package, spool, &mut bytes, settings).unwrap(),
        System::Rpm => native::write_rpm(&mut package, spool, &mut bytes, settings).unwrap(),
    };
    let path = folder.join(format!("given-{version}-{}{system}", content.len()));
    fs::write(&path, bytes).unwrap();
    path
}

fn public(repository: &Path) -> SignedPublicKey {
    let text = fs::read_to_string(repository.join("packhorse.asc")).unwrap();
    SignedPublicKey::from_string(&text).unwrap().0
}

#[test]
fn an_apt_repository_grows_and_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, key) = (folder.path(), key(folder.path()));
    let repository = folder.join("apt");
    let one = package(folder, "1.0", b"a", System::Deb);
    export_apt(&repository, "stable", &[&one], &key).unwrap();
    let two = package(folder, "2.0", b"b", System::Deb);
    let done = export_apt(&repository, "stable", &[&two], &key).unwrap();
    assert_eq!((done.added, done.packages), (1, 2));
    let suite = repository.join("dists/stable");
    let index = fs::read_to_string(suite.join("main/binary-amd64/Packages")).unwrap();
    assert_eq!(index.matches("\nVersion: ").count(), 2, "{index}");
    // The first export's index is still there by its hash.
    assert_eq!(fs::read_dir(suite.join("main/binary-amd64/by-hash/SHA256")).unwrap().count(), 4);
    let public = public(&repository);
    let text = fs::read_to_string(suite.join("InRelease")).unwrap();
    let (message, _) = CleartextSignedMessage::from_string(&text).unwrap();
    message.verify(&public).unwrap();
    let release = fs::read(suite.join("Release")).unwrap();
    let text = fs::read_to_string(suite.join("Release.gpg")).unwrap();
    let (signature, _) = DetachedSignature::from_string(&text).unwrap();
    signature.verify(&public, &release).unwrap();
    assert!(signature.verify(&public, b"something else").is_err());
}

#[test]
fn an_rpm_repository_signs_its_packages() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, key) = (folder.path(), key(folder.path()));
    let repository = folder.join("rpm");
    let one = package(folder, "1.0", b"a", System::Rpm);
    let given = fs::read(&one).unwrap();
    export_rpm(&repository, &[&one], &key).unwrap();
    let done = export_rpm(&repository, &[&one], &key).unwrap();
    assert_eq!((done.added, done.packages), (0, 1));
    assert_eq!(fs::read(&one).unwrap(), given, "what is given is never written");
    let list = fs::read(repository.join("repodata/repomd.xml")).unwrap();
    let text = fs::read_to_string(repository.join("repodata/repomd.xml.asc")).unwrap();
    DetachedSignature::from_string(&text).unwrap().0.verify(&public(&repository), &list).unwrap();
    assert!(repository.join("packages/hello-1.0-1.noarch.rpm").exists());
}

#[test]
fn a_version_never_becomes_another_file() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, key) = (folder.path(), key(folder.path()));
    let (apt, rpm) = (folder.join("apt"), folder.join("rpm"));
    for system in [System::Deb, System::Rpm] {
        let one = package(folder, "1.0", b"a", system);
        let other = package(folder, "1.0", b"changed", system);
        let export = |file: &PathBuf| match system {
            System::Deb => export_apt(&apt, "stable", &[file], &key),
            System::Rpm => export_rpm(&rpm, &[file], &key),
        };
        export(&one).unwrap();
        let error = export(&other).unwrap_err();
        assert!(matches!(error, ExportRepositoryError::Taken { .. }), "{error}");
    }
    let stranger = folder.join("stranger");
    fs::write(&stranger, b"no package at all").unwrap();
    let error = export_apt(&apt, "stable", &[&stranger], &key).unwrap_err();
    assert!(matches!(error, ExportRepositoryError::Deb { .. }), "{error}");
}

#[test]
fn readers_see_the_old_repository_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, key) = (folder.path(), key(folder.path()));
    let repository = folder.join("apt");
    let one = package(folder, "1.0", b"a", System::Deb);
    export_apt(&repository, "stable", &[&one], &key).unwrap();
    let ended = AtomicBool::new(false);
    let suite = repository.join("dists/stable");
    let read = |path: &Path| fs::read(path);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rounds = 0;
            while !ended.load(Ordering::Relaxed) || rounds == 0 {
                let text = String::from_utf8(read(&suite.join("InRelease")).unwrap()).unwrap();
                for line in text.lines().filter(|line| line.ends_with("/Packages.gz")) {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    let (hash, index) = (words[0], words[2]);
                    let by_hash =
                        suite.join(index).parent().unwrap().join("by-hash/SHA256").join(hash);
                    read(&by_hash).unwrap_or_else(|error| panic!("{}: {error}", by_hash.display()));
                }
                rounds += 1;
            }
            rounds
        });
        for version in 2..12 {
            let file = package(folder, &format!("{version}.0"), b"b", System::Deb);
            export_apt(&repository, "stable", &[&file], &key).unwrap();
        }
        ended.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn keys_are_made_once_and_checked_when_opened() {
    let folder = tempfile::tempdir().unwrap();
    let made = key(folder.path());
    let path = folder.path().join("key");
    assert_eq!(Key::open(&path).unwrap().fingerprint(), made.fingerprint());
    assert!(matches!(Key::create(&path, "x"), Err(KeyError::File { doing: "written", .. })));
    fs::write(&path, "no key").unwrap();
    assert!(matches!(Key::open(&path), Err(KeyError::Malformed { .. })));
}
