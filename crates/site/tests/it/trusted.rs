//! Signed packages in a tree of sites: what is signed travels with what vouches for it, and nothing else does.

use std::{path::Path, sync::Arc};

use jiff::Timestamp;
use site::{AddressSettings, Client, Folder, Status};
use store::{
    FetchError, FetchOptions, Point, PublishOptions, Signing, TrustSettings, apply_trust,
    edit_trust,
};
use trust::{Edit, Lifetimes, Party, SigningKey};

use crate::{
    process::wait,
    tree::{Member, assign, is_there, package_file},
    world::name,
};

const ROOT: u8 = 1;
pub(crate) const OWNER: u8 = 2;
pub(crate) const ONLINE: u8 = 3;
pub(crate) const TEAM: u8 = 4;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

fn party(seed: u8) -> Party {
    Party { keys: vec![key(seed).public()], threshold: 1 }
}

fn keys(seeds: &[u8]) -> Vec<SigningKey> {
    seeds.iter().copied().map(key).collect()
}

fn open(folder: &Path) -> Point {
    Point::open(&folder.to_string_lossy(), []).unwrap()
}

fn store_of(site: &Folder) -> Point {
    open(&site.store())
}

/// Changes what is signed at a site, with these keys.
pub(crate) fn change(site: &Folder, seeds: &[u8], change: impl FnOnce(&mut Edit)) {
    let store = store_of(site);
    let mut edit = edit_trust(&store, None).unwrap();
    change(&mut edit);
    let change = edit.finish(&keys(seeds), Timestamp::now(), &Lifetimes::default()).unwrap();
    assert!(apply_trust(&store, &change, true).unwrap());
}

/// A team with a key of its own may publish what is called like that.
pub(crate) fn delegate(site: &Folder, team: &str, names: &str) {
    change(site, &[OWNER, ONLINE], |edit| {
        edit.delegate(team, &party(TEAM), &[names.parse().unwrap()]).unwrap();
    });
}

pub(crate) fn begin(site: &Folder, repository: &[u8]) {
    let repository = model::Hash::of(repository);
    let mut edit = Edit::create(&party(ROOT), &party(OWNER), &party(ONLINE), repository).unwrap();
    edit.let_points_lag(true);
    let all = keys(&[ROOT, OWNER, ONLINE]);
    let change = edit.finish(&all, Timestamp::now(), &Lifetimes::default()).unwrap();
    assert!(apply_trust(&store_of(site), &change, true).unwrap());
}

/// Signs in the site's own store.
pub(crate) fn sign(site: &Folder, file: &Path, role: &str, seeds: &[u8]) {
    let (now, lifetimes) = (Timestamp::now(), Lifetimes::default());
    let signing = Signing { root: None, role: role.to_owned(), keys: keys(seeds), now, lifetimes };
    let options = PublishOptions { signing: Some(Arc::new(signing)), ..PublishOptions::default() };
    store::publish(&store_of(site), file, &options, &mut |_, _, _| {}).unwrap();
}

/// The same, and then the site announces it.
fn publish(member: &Member, file: &Path, role: &str, seeds: &[u8]) {
    sign(&member.folder, file, role, seeds);
    member.client().publish(file, false).unwrap();
}

/// Who signed what a client gets that believes the top's root.
pub(crate) fn signer(top: &Folder, office: &Path, package: &str) -> Result<String, FetchError> {
    let root = std::fs::read(top.store().join("trust/1.root.json")).unwrap();
    let trust = TrustSettings { root, state: None, now: Timestamp::now() };
    let options = FetchOptions { trust: Some(trust), ..FetchOptions::default() };
    let point = open(office);
    let wanted = store::wanted(&point, &name(package), &options, None)?;
    Ok(wanted.signed().unwrap().0.to_owned())
}

fn why(at: &Client, package: &str) -> Option<String> {
    let status: Status = at.status().ok()?;
    let package = status.packages.into_iter().find(|one| one.name == name(package))?;
    package.master.reason
}

fn is_unsigned(at: &Client, package: &str) -> bool {
    why(at, package).is_some_and(|why| why.contains("nobody signed it who may"))
}

#[test]
fn what_is_signed_travels_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Member::new(home, "TOP");
    begin(&top.folder, b"top");
    top.start();
    let mut middle = top.child(home, "MIDDLE", AddressSettings::default());
    middle.start();
    let mut leaf = middle.child(home, "LEAF", AddressSettings::default());
    let office = home.join("office");
    leaf.start().add_point("office", &office.to_string_lossy()).unwrap();

    let redis = package_file(home, "redis", "1", 100_000);
    publish(&top, &redis, "targets", &[OWNER, ONLINE]);
    assign(&top.client(), "redis", "LEAF/office");
    wait("what is signed is at the bottom", || is_there(&office, "redis", "1").then_some(()));
    assert_eq!(signer(&top.folder, &office, "redis").unwrap(), "targets");

    // Nobody signed it: it does not leave the site it was published at, and the next one says why.
    let stray = package_file(home, "stray", "1", 1_000);
    top.client().publish(&stray, false).unwrap();
    assign(&top.client(), "stray", "LEAF/office");
    wait("the child refuses", || is_unsigned(&middle.client(), "stray").then_some(()));
    assert!(!is_there(&office, "stray", "1"));
    // Signed after all, it goes on by itself.
    publish(&top, &stray, "targets", &[OWNER, ONLINE]);
    wait("it was signed", || is_there(&office, "stray", "1").then_some(()));

    // A site between cannot bring in anything of its own, whatever it is called.
    let forged = package_file(home, "forged", "1", 1_000);
    middle.client().publish(&forged, false).unwrap();
    assign(&middle.client(), "forged", "LEAF/office");
    wait("the grandchild refuses", || is_unsigned(&leaf.client(), "forged").then_some(()));
    assert!(!is_there(&office, "forged", "1"));

    // But what it was given, it may sign: visible as soon as the online key has taken it in.
    delegate(&top.folder, "middle", "middle-*");
    let delegated = || {
        std::fs::read_dir(middle.folder.store().join("trust")).ok()?.flatten().find(|file| {
            let targets = file.file_name().to_string_lossy().ends_with(".targets.json");
            targets
                && std::fs::read_to_string(file.path()).is_ok_and(|text| text.contains("middle-"))
        })
    };
    wait("the delegation is known below", delegated);
    let own = package_file(home, "middle-tool", "1", 1_000);
    publish(&middle, &own, "middle", &[TEAM]);
    assign(&middle.client(), "middle-tool", "LEAF/office");
    wait("it waits at the top", || {
        let trust = top.client().status().ok()?.trust?;
        (trust.waiting == ["middle"]).then_some(())
    });
    wait("it waits below", || is_unsigned(&leaf.client(), "middle-tool").then_some(()));
    change(&top.folder, &[ONLINE], |_| ());
    wait("the online key has taken it in", || is_there(&office, "middle-tool", "1").then_some(()));
    assert_eq!(signer(&top.folder, &office, "middle-tool").unwrap(), "middle");
    let waiting = || top.client().status().ok()?.trust?.waiting.is_empty().then_some(());
    wait("nothing waits any more", waiting);
    // Everything else is as it was.
    assert!(!is_there(&office, "forged", "1"));
    assert_eq!(signer(&top.folder, &office, "redis").unwrap(), "targets");
}

#[test]
fn another_repository_is_no_successor() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Member::new(home, "TOP");
    begin(&top.folder, b"top");
    top.start();
    let mut leaf = top.child(home, "LEAF", AddressSettings::default());
    let office = home.join("office");
    leaf.start().add_point("office", &office.to_string_lossy()).unwrap();
    publish(&top, &package_file(home, "redis", "1", 1_000), "targets", &[OWNER, ONLINE]);
    assign(&top.client(), "redis", "LEAF/office");
    wait("what is signed is there", || is_there(&office, "redis", "1").then_some(()));
    // Whoever has the parent's disk begins anew, with the same keys even.
    std::fs::remove_dir_all(top.folder.store().join("trust")).unwrap();
    begin(&top.folder, b"somebody else");
    publish(&top, &package_file(home, "redis", "2", 1_000), "targets", &[OWNER, ONLINE]);
    wait("the child refuses", || is_unsigned(&leaf.client(), "redis").then_some(()));
    wait("and says so", || leaf.client().status().ok()?.trust?.why);
    assert!(is_there(&office, "redis", "1"));
}

#[test]
fn damaged_metadata_is_mended_when_somebody_looks() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Member::new(home, "TOP");
    begin(&top.folder, b"top");
    top.start();
    let mut leaf = top.child(home, "LEAF", AddressSettings::default());
    let office = home.join("office");
    leaf.start().add_point("office", &office.to_string_lossy()).unwrap();
    publish(&top, &package_file(home, "redis", "1", 1_000), "targets", &[OWNER, ONLINE]);
    assign(&top.client(), "redis", "LEAF/office");
    wait("what is signed is there", || is_there(&office, "redis", "1").then_some(()));
    let own = leaf.folder.store();
    let timestamp = std::fs::read(own.join("trust/timestamp.json")).unwrap();
    let files = std::fs::read_dir(own.join("trust")).unwrap().flatten();
    let snapshot = files.map(|file| file.file_name().into_string().unwrap());
    let snapshot = snapshot.filter(|name| name.ends_with("snapshot.json")).max().unwrap();
    let snapshot = format!("trust/{snapshot}");
    let right = std::fs::read(own.join(&snapshot)).unwrap();

    // The point loses what switches it; here a bit rots, and at the point another file grows.
    std::fs::remove_file(office.join("trust/timestamp.json")).unwrap();
    let mut rotten = right.clone();
    rotten[10] ^= 1;
    std::fs::write(own.join(&snapshot), &rotten).unwrap();
    rotten.extend_from_slice(&right);
    std::fs::write(office.join(&snapshot), &rotten).unwrap();
    leaf.client().verify().unwrap();
    let is_right = |file: &Path, what: &[u8]| std::fs::read(file).is_ok_and(|read| read == what);
    wait("all of it is right again", || {
        let right = is_right(&own.join(&snapshot), &right)
            && is_right(&office.join(&snapshot), &right)
            && is_right(&office.join("trust/timestamp.json"), &timestamp);
        right.then_some(())
    });
    assert_eq!(signer(&top.folder, &office, "redis").unwrap(), "targets");
}
