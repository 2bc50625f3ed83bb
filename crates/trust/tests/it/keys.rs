//! Keys that are rotated, lost, removed, and shared by several.

use trust::{Edit, FinishError, Lifetimes, SigningKey};

use crate::support::{
    Client, ONLINE, ROOT, Shop, TARGETS, TEAM, day, key, keys, name, party, release, versions,
};

fn rotate(shop: &mut Shop, add: &[(&str, u8)], remove: &[(&str, u8)], seeds: &[u8], at: i64) {
    let mut edit = shop.edit();
    let add: Vec<_> =
        add.iter().map(|(role, seed)| ((*role).to_owned(), key(*seed).public())).collect();
    let remove: Vec<_> =
        remove.iter().map(|(role, seed)| ((*role).to_owned(), key(*seed).public().id())).collect();
    edit.rotate(&add, &remove, &[]).unwrap();
    shop.write(edit, seeds, at);
}

#[test]
fn rotated_keys_are_followed_from_the_old_root() {
    let mut shop = Shop::new();
    shop.publish("targets", "redis", "1", &[TARGETS, ONLINE], 1);
    let mut client = Client::new(&shop);
    client.update(&shop, 1).unwrap();
    rotate(&mut shop, &[("targets", 11)], &[("targets", TARGETS)], &[1, 3, 11, ONLINE], 2);
    rotate(&mut shop, &[("root", 4)], &[("root", 1)], &[2, 3, ONLINE], 3);
    rotate(&mut shop, &[("online", 21)], &[("online", ONLINE)], &[2, 4, 21], 4);
    assert_eq!(client.versions(&shop, "redis", 5), ["1"]);
    assert_eq!(Client::new(&shop).versions(&shop, "redis", 5), ["1"]);
}

#[test]
fn a_key_removed_by_rotation_signs_no_longer() {
    let mut shop = Shop::new();
    shop.publish("targets", "redis", "1", &[TARGETS, ONLINE], 1);
    let before = shop.clone();
    rotate(&mut shop, &[("targets", 11)], &[("targets", TARGETS)], &[1, 2, 11, ONLINE], 2);
    let edit = |shop: &Shop| {
        let mut edit = shop.edit();
        edit.put("targets", &name("redis"), &release("evil"), b"").unwrap();
        edit.finish(&keys(&[TARGETS, ONLINE]), day(3), &Lifetimes::default())
    };
    let error = edit(&shop).unwrap_err();
    assert!(
        matches!(&error, FinishError::Keys { role, have: 0, .. } if role == "targets"),
        "{error}"
    );

    // It signs in the old repository, and that is offered to a client that has seen the new root.
    let mut client = Client::new(&shop);
    client.update(&shop, 3).unwrap();
    let mut forged = shop.clone();
    let change = edit(&before).unwrap();
    forged.files.extend(change.files);
    forged.files.extend(change.switch);
    let refusal = client.update(&forged, 3).unwrap_err();
    assert!(matches!(refusal.code(), "trust.rollback" | "trust.changed" | "trust.signatures"));
    for at in [4, 5, 6] {
        // With the online key, too, so that versions go up.
        let mut edit = before.edit();
        edit.put("targets", &name("redis"), &release("evil"), b"").unwrap();
        let change =
            edit.finish(&keys(&[TARGETS, ONLINE]), day(at), &Lifetimes::default()).unwrap();
        let mut forged = before.clone();
        forged.files.extend(change.files);
        forged.files.extend(change.switch);
        (0..at).for_each(|_| forged.refresh(at));
        let refusal = client.update(&forged, at).unwrap_err();
        assert_eq!((refusal.role(), refusal.code()), ("targets", "trust.signatures"));
    }
}

#[test]
fn a_root_that_was_seen_stays_seen_even_if_what_follows_is_refused() {
    let mut shop = Shop::new();
    shop.publish("targets", "redis", "1", &[TARGETS, ONLINE], 1);
    let old = shop.clone();
    let mut client = Client::new(&shop);
    client.update(&shop, 1).unwrap();
    rotate(&mut shop, &[("online", 21)], &[("online", ONLINE)], &[1, 2, 21], 2);
    let mut broken = shop.clone();
    broken.forge("trust/timestamp.json", "\"version\":3", "\"version\":4");
    assert_eq!(client.update(&broken, 3).unwrap_err().role(), "timestamp");
    // Now the new root is withheld, and the old key signs on.
    let mut forged = old;
    (0..5).for_each(|_| forged.refresh(3));
    let refusal = client.update(&forged, 3).unwrap_err();
    assert_eq!((refusal.role(), refusal.code()), ("timestamp", "trust.signatures"));
}

#[test]
fn a_lost_online_key_is_replaced_and_a_jump_of_its_versions_is_got_over() {
    let mut shop = Shop::new();
    shop.publish("targets", "redis", "1", &[TARGETS, ONLINE], 1);
    // Who stole it counts far ahead.
    let mut stolen = shop.clone();
    (0..50).for_each(|_| stolen.refresh(1));
    let mut client = Client::new(&shop);
    client.update(&stolen, 2).unwrap();
    assert_eq!(client.update(&shop, 2).unwrap_err().code(), "trust.rollback");
    rotate(&mut shop, &[("online", 21)], &[("online", ONLINE)], &[1, 2, 21], 3);
    assert_eq!(client.versions(&shop, "redis", 3), ["1"]);
}

#[test]
fn a_lost_root_key_is_replaced_by_those_that_are_left() {
    let mut shop = Shop::new();
    rotate(&mut shop, &[("root", 4)], &[("root", ROOT[0])], &[2, 3, ONLINE], 1);
    // The lost key and one other are not enough for the next.
    let mut edit = shop.edit();
    edit.rotate(&[], &[], &[]).unwrap();
    let error = edit.finish(&keys(&[1, 2, ONLINE]), day(2), &Lifetimes::default()).unwrap_err();
    assert!(matches!(&error, FinishError::Keys { role, have: 1, need: 2, .. } if role == "root"));
    rotate(&mut shop, &[], &[], &[3, 4, ONLINE], 2);
    Client::new(&shop).update(&shop, 3).unwrap();
}

#[test]
fn holders_of_root_keys_sign_one_after_the_other() {
    let mut shop = Shop::new();
    let mut edit = shop.edit();
    edit.rotate(&[("targets".to_owned(), key(11).public())], &[], &[]).unwrap();
    let error = edit.finish(&keys(&[1, ONLINE]), day(2), &Lifetimes::default()).unwrap_err();
    let FinishError::Keys { draft: Some(draft), have: 1, need: 2, .. } = error else {
        panic!("{error}")
    };
    let draft = trust::sign_draft(draft.as_bytes(), &key(3)).unwrap();
    let mut edit = shop.edit();
    edit.adopt(&draft).unwrap();
    shop.write(edit, &[ONLINE], 3);
    Client::new(&shop).update(&shop, 3).unwrap();
    shop.publish("targets", "redis", "1", &[11, ONLINE], 3);
    assert_eq!(Client::new(&shop).versions(&shop, "redis", 3), ["1"]);
}

#[test]
fn a_team_signs_without_the_online_key_and_is_taken_in_later() {
    let mut shop = Shop::new();
    shop.delegate("caches", &[TEAM], "redis*", 1);
    shop.publish("caches", "redis", "1", &[TEAM], 1);
    shop.publish("caches", "redis", "2", &[TEAM], 1);
    let mut client = Client::new(&shop);
    assert_eq!(client.versions(&shop, "redis", 2), [""; 0]);
    // Somebody without a key leaves a file in the way.
    shop.files.insert("trust/3.caches.json".to_owned(), shop.files["trust/2.caches.json"].clone());
    shop.refresh(2);
    assert_eq!(client.versions(&shop, "redis", 2), ["1", "2"]);
}

#[test]
fn a_revoked_team_signs_nothing_and_a_revoked_key_waits_for_the_others() {
    let mut shop = Shop::new();
    shop.delegate("caches", &[TEAM, TEAM + 1], "redis", 1);
    shop.publish("caches", "redis", "1", &[TEAM, ONLINE], 1);
    let mut client = Client::new(&shop);
    client.update(&shop, 1).unwrap();

    let mut without_key = shop.clone();
    let mut edit = without_key.edit();
    edit.revoke("caches", Some(&key(TEAM).public().id())).unwrap();
    without_key.write(edit, &[TARGETS, ONLINE], 2);
    let verified = client.update(&without_key, 2).unwrap();
    let refusal = verified.releases(&name("redis")).unwrap_err();
    assert_eq!((refusal.role(), refusal.code()), ("caches", "trust.signatures"));
    without_key.publish("caches", "redis", "1", &[TEAM + 1, ONLINE], 2);
    assert_eq!(client.versions(&without_key, "redis", 2), ["1"]);

    let mut edit = shop.edit();
    edit.revoke("caches", None).unwrap();
    shop.write(edit, &[TARGETS, ONLINE], 2);
    let verified = Client::new(&shop).update(&shop, 2).unwrap();
    assert_eq!(versions(&verified, "redis"), [""; 0]);
    let mut edit = shop.edit();
    let error = edit.put("caches", &name("redis"), &release("2"), b"").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no role `caches`: `packhorse trust status` lists them, `packhorse trust delegate` makes a team"
    );
}

#[test]
fn impossible_thresholds_and_names_are_refused() {
    let create = |seeds: &[u8], threshold| {
        let one = party(&[9], 1);
        Edit::create(&party(seeds, threshold), &one, &one, model::Hash::of(b"")).map(drop)
    };
    // The same key three times is one key.
    let error = create(&[1, 1, 1], 2).unwrap_err();
    insta::assert_snapshot!(error, @"role `root`: 2 signatures of 1 keys cannot be: give more keys, or `--threshold`");
    assert!(create(&[1], 0).is_err());
    let mut edit = Shop::new().edit();
    for bad in ["root", "timestamp", "A", "a/b", ""] {
        assert!(edit.delegate(bad, &party(&[9], 1), &[]).is_err(), "{bad}");
    }
    assert!(
        SigningKey::read("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None)
            .is_err()
    );
}

#[test]
fn two_signatures_of_one_key_are_one() {
    let mut shop = Shop::new();
    let mut edit = shop.edit();
    edit.rotate(&[], &[], &[]).unwrap();
    let error = edit.finish(&keys(&[1, 1, ONLINE]), day(2), &Lifetimes::default()).unwrap_err();
    assert!(matches!(error, FinishError::Keys { have: 1, need: 2, .. }));
    let FinishError::Keys { draft: Some(draft), .. } = error else { panic!() };
    let doubled = trust::sign_draft(draft.as_bytes(), &key(1)).unwrap();
    let mut edit = shop.edit();
    edit.adopt(&doubled).unwrap();
    assert!(edit.finish(&keys(&[ONLINE]), day(2), &Lifetimes::default()).is_err());
    shop.refresh(3);
}
