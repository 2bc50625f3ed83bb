//! Law 10: metadata out of time stops what is new, never what runs.

use trust::{Lifetimes, Standing};

use crate::support::{Client, ONLINE, Shop, TARGETS, TEAM, day, keys, name, versions};

#[test]
fn what_was_seen_goes_on_and_what_is_new_waits() {
    let mut shop = Shop::new();
    shop.publish("targets", "redis", "1", &[TARGETS, ONLINE], 1);
    let mut client = Client::new(&shop);
    client.update(&shop, 2).unwrap();
    // Signed while the client was away, and out of time when it comes back.
    shop.publish("targets", "redis", "2", &[TARGETS, ONLINE], 3);
    let verified = client.update(&shop, 20).unwrap();
    assert_eq!(verified.standing, Standing::Stale { role: "timestamp".to_owned(), at: day(10) });
    assert_eq!(versions(&verified, "redis"), ["1"]);
    // A cured cause wakes the work at once.
    shop.refresh(20);
    let verified = client.update(&shop, 20).unwrap();
    assert_eq!(verified.standing, Standing::Fresh { until: ("timestamp".to_owned(), day(27)) });
    assert_eq!(versions(&verified, "redis"), ["1", "2"]);
}

#[test]
fn each_role_that_is_out_of_time_is_named() {
    for (role, at) in [("root", 400), ("targets", 200)] {
        let mut shop = Shop::new();
        shop.publish("targets", "redis", "1", &[TARGETS, ONLINE], 1);
        let mut client = Client::new(&shop);
        client.update(&shop, 2).unwrap();
        shop.refresh(at);
        let verified = client.update(&shop, at).unwrap();
        assert!(matches!(&verified.standing, Standing::Stale { role: stale, .. } if stale == role));
        assert_eq!(versions(&verified, "redis"), ["1"]);
        assert_eq!(Client::new(&shop).update(&shop, at).unwrap_err().role(), role);
    }
}

#[test]
fn a_team_out_of_time_stops_its_own_packages_only() {
    let mut shop = Shop::new();
    shop.delegate("caches", &[TEAM], "redis", 1);
    shop.publish("caches", "redis", "1", &[TEAM, ONLINE], 1);
    let mut client = Client::new(&shop);
    client.update(&shop, 2).unwrap();
    // 190 days later everything is renewed but the team.
    let mut edit = shop.edit();
    edit.renew("targets");
    shop.write(edit, &[TARGETS, ONLINE], 190);
    let verified = client.update(&shop, 190).unwrap();
    assert!(matches!(verified.standing, Standing::Fresh { .. }));
    assert_eq!(versions(&verified, "redis"), ["1"]);
    assert_eq!(verified.about(&name("redis")).unwrap().code(), "trust.expired");
    let fresh = Client::new(&shop).update(&shop, 190).unwrap();
    assert_eq!(fresh.releases(&name("redis")).unwrap_err().code(), "trust.expired");
}

#[test]
fn lifetimes_are_what_was_asked_for() {
    let shop = Shop::new();
    let lifetimes =
        Lifetimes { online: jiff::SignedDuration::from_hours(1), ..Lifetimes::default() };
    let change = shop.edit().finish(&keys(&[ONLINE]), day(1), &lifetimes).unwrap();
    let text = String::from_utf8(change.switch.unwrap().1).unwrap();
    assert!(text.contains("\"expires\":\"2030-01-02T01:00:00Z\""), "{text}");
}
