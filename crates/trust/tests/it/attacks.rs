//! Each attack, made on metadata that was good a moment ago; each refusal names the role and what to do.

use trust::{Refusal, Trusted};

use crate::support::{Client, ONLINE, Shop, TARGETS, TEAM, name, versions};

fn published(versions: &[&str]) -> Shop {
    let mut shop = Shop::new();
    for (at, version) in (1..).zip(versions) {
        shop.publish("targets", "redis", version, &[TARGETS, ONLINE], at);
    }
    shop
}

fn refused(client: &mut Client, shop: &Shop) -> Refusal {
    client.update(shop, 3).unwrap_err()
}

#[test]
fn what_is_signed_is_believed_in_one_request() {
    let shop = published(&["1", "2"]);
    let mut client = Client::new(&shop);
    assert_eq!(client.versions(&shop, "redis", 3), ["1", "2"]);
    assert_eq!(client.requests.len(), 1, "{:?}", client.requests);
    assert_eq!(client.versions(&shop, "nginx", 3), [""; 0]);
}

#[test]
fn without_attachments_files_of_their_own_are_read() {
    let mut shop = published(&["1"]);
    shop.detach();
    let mut client = Client::new(&shop);
    assert_eq!(client.versions(&shop, "redis", 3), ["1"]);
    let paths: Vec<&str> = client.requests.iter().map(|(path, _)| &**path).collect();
    assert_eq!(paths, ["trust/timestamp.json", "trust/2.snapshot.json", "trust/2.targets.json"]);
    // What is known is not read again.
    assert_eq!(client.versions(&shop, "redis", 3), ["1"]);
    assert_eq!(client.requests.len(), 1);
}

#[test]
fn a_rollback_is_refused() {
    let old = published(&["1"]);
    let mut client = Client::new(&old);
    client.update(&published(&["1", "2"]), 3).unwrap();
    let refusal = refused(&mut client, &old);
    assert_eq!(refusal, Refusal::Rollback { role: "timestamp".to_owned(), seen: 3, offered: 2 });
    insta::assert_snapshot!(refusal, @"role `timestamp`: version 2 is offered, and 3 was seen before: a rollback; try another distribution point, or bring this one up to date");
    // And it is refused again: nothing of it was kept.
    assert_eq!(refused(&mut client, &old), refusal);
}

#[test]
fn a_rollback_of_the_snapshot_or_of_a_role_under_a_new_timestamp_is_refused() {
    // Who has the online key alone signs an old state anew.
    let old = published(&["1"]);
    let mut client = Client::new(&old);
    client.update(&published(&["1", "2"]), 3).unwrap();
    let mut forged = old.clone();
    forged.refresh(3);
    forged.refresh(3);
    let refusal = refused(&mut client, &forged);
    assert_eq!(refusal, Refusal::Rollback { role: "targets".to_owned(), seen: 3, offered: 2 });
    let mut forged = old;
    forged.files.retain(|path, _| !path.contains("snapshot"));
    assert!(client.update(&forged, 3).is_err());
}

#[test]
fn a_frozen_point_is_noticed_when_its_time_is_over() {
    let shop = published(&["1"]);
    let mut client = Client::new(&shop);
    let refusal = client.update(&shop, 40).unwrap_err();
    assert!(matches!(&refusal, Refusal::Expired { role, .. } if role == "timestamp"), "{refusal}");
    assert!(refusal.to_string().contains("`packhorse trust refresh`"), "{refusal}");
}

#[test]
fn parts_of_different_times_are_refused() {
    let (old, new) = (published(&["1"]), published(&["1", "2"]));
    for (part, role) in [("3.snapshot", "snapshot"), ("3.targets", "targets")] {
        let mut mixed = new.clone();
        mixed.detach();
        let older = old.files[&format!("trust/{}.json", part.replace('3', "2"))].clone();
        mixed.files.insert(format!("trust/{part}.json"), older);
        let refusal = refused(&mut Client::new(&old), &mixed);
        assert_eq!(refusal.role(), role, "{refusal}");
        assert!(matches!(refusal, Refusal::Hash { .. } | Refusal::Length { .. }), "{refusal}");
    }
}

#[test]
fn a_file_of_the_wrong_length_is_refused() {
    let mut shop = published(&["1"]);
    shop.detach();
    let targets = shop.files.get_mut("trust/2.targets.json").unwrap();
    targets.pop();
    let refusal = refused(&mut Client::new(&shop), &shop);
    assert_eq!((refusal.role(), refusal.code()), ("targets", "trust.length"));
}

#[test]
fn endless_data_is_cut_off() {
    for (path, role, most) in [
        ("trust/timestamp.json", "timestamp", 1 << 20),
        ("trust/2.snapshot.json", "snapshot", 1000),
        ("trust/2.targets.json", "targets", 2000),
        ("trust/2.root.json", "root", 512 << 10),
    ] {
        let mut shop = published(&["1"]);
        shop.detach();
        if role == "root" {
            shop.forge("trust/timestamp.json", "\"root\":1", "\"root\":2");
        }
        let mut endless = shop.files.get(path).cloned().unwrap_or_default();
        endless.resize(3 << 20, b' ');
        shop.files.insert(path.to_owned(), endless);
        let mut client = Client::new(&shop);
        let refusal = refused(&mut client, &shop);
        assert_eq!((refusal.role(), refusal.code()), (role, "trust.length"));
        let (last, limit) = client.requests.last().unwrap();
        assert_eq!(last, path);
        assert!(*limit <= most, "{path}: {limit}");
    }
}

#[test]
fn a_changed_file_is_refused() {
    let mut shop = published(&["1"]);
    shop.detach();
    shop.forge("trust/2.targets.json", "redis/1/any", "redis/9/any");
    assert_eq!(refused(&mut Client::new(&shop), &shop).code(), "trust.hash");
    let mut shop = published(&["1"]);
    shop.forge("trust/timestamp.json", "\"version\":2", "\"version\":9");
    let refusal = refused(&mut Client::new(&shop), &shop);
    assert_eq!((refusal.role(), refusal.code()), ("timestamp", "trust.signatures"));
}

#[test]
fn two_contents_of_one_version_are_refused() {
    let shop = published(&["1"]);
    let mut client = Client::new(&shop);
    client.update(&shop, 2).unwrap();
    let mut other = Shop::new();
    other.publish("targets", "redis", "8", &[TARGETS, ONLINE], 1);
    assert_eq!(refused(&mut client, &other).code(), "trust.changed");
}

#[test]
fn a_team_cannot_sign_what_is_not_its_own() {
    let mut shop = Shop::new();
    shop.delegate("caches", &[TEAM], "redis*", 1);
    let mut edit = shop.edit();
    let refused =
        edit.put("caches", &name("nginx"), &crate::support::release("1"), b"").unwrap_err();
    insta::assert_snapshot!(refused, @"role `caches`: it signed `nginx`, which is none of its names; give it the name with `packhorse trust delegate caches --names …`, or publish with another key");

    // It signs all the same: with names it had, and has no longer.
    shop.publish("caches", "redis", "1", &[TEAM, ONLINE], 1);
    let mut edit = shop.edit();
    edit.delegate("caches", &crate::support::party(&[TEAM], 1), &["memcached".parse().unwrap()])
        .unwrap();
    shop.write(edit, &[TARGETS, ONLINE], 2);
    let mut client = Client::new(&shop);
    let verified = client.update(&shop, 3).unwrap();
    let refusal = verified.releases(&name("redis")).unwrap_err();
    assert_eq!((refusal.role(), refusal.code()), ("caches", "trust.not-its-name"));
}

#[test]
fn what_a_team_may_publish_the_owner_of_everything_may_publish_too_and_is_first() {
    let mut shop = Shop::new();
    shop.delegate("caches", &[TEAM], "redis", 1);
    shop.publish("caches", "redis", "1", &[TEAM, ONLINE], 1);
    shop.publish("targets", "redis", "2", &[TARGETS, ONLINE], 1);
    let mut client = Client::new(&shop);
    let verified = client.update(&shop, 2).unwrap();
    let roles: Vec<_> =
        verified.releases(&name("redis")).unwrap().into_iter().map(|one| one.role).collect();
    assert_eq!(roles, ["caches", "targets"]);
}

#[test]
fn a_damaged_team_harms_itself_only() {
    let mut shop = published(&["1"]);
    shop.delegate("web", &[TEAM], "nginx", 2);
    shop.publish("web", "nginx", "1", &[TEAM, ONLINE], 2);
    shop.detach();
    shop.files.remove("trust/1.web.json");
    let verified = Client::new(&shop).update(&shop, 3).unwrap();
    assert_eq!(versions(&verified, "redis"), ["1"]);
    let refusal = verified.releases(&name("nginx")).unwrap_err();
    assert_eq!((refusal.role(), refusal.code()), ("web", "trust.missing"));
}

#[test]
fn another_repository_is_not_this_one() {
    let shop = published(&["1"]);
    let edit = trust::Edit::create(
        &crate::support::party(&[1], 1),
        &crate::support::party(&[TARGETS], 1),
        &crate::support::party(&[ONLINE], 1),
        model::Hash::of(b"another"),
    );
    let mut other = Shop::default();
    other.write(edit.unwrap(), &[1, TARGETS, ONLINE], 1);
    let refusal = refused(&mut Client::new(&shop), &other);
    assert_eq!((refusal.role(), refusal.code()), ("timestamp", "trust.another-repository"));
    assert!(Trusted::pinned(b"{}", None).is_err());
    assert!(Trusted::pinned(&shop.files["trust/2.targets.json"], None).is_err());
}

#[test]
fn a_saved_file_that_was_damaged_costs_what_was_seen_and_nothing_else() {
    let shop = published(&["1"]);
    let mut client = Client::new(&shop);
    client.update(&shop, 2).unwrap();
    client.saved.as_mut().unwrap().truncate(100);
    assert_eq!(client.versions(&shop, "redis", 2), ["1"]);
}
