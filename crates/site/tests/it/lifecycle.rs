use policy::Observed;
use site::{Folder, Server};

use crate::world::{World, find, held, name, package_file};

fn sound(observed: Observed) -> bool {
    matches!(observed, Observed::Holds(_))
}

#[test]
fn a_published_package_gets_to_its_points_and_status_says_so() {
    let world = World::new();
    let (berlin, paris) = (world.add("berlin"), world.add("paris"));
    world.publish("redis", "1");
    world.assign("redis", &["berlin", "paris"]);
    let status = world.settled();
    assert_eq!((status.packages[0].tally.wanted, status.packages[0].tally.done), (2, 2));
    assert_eq!(status.packages[0].version.as_deref(), Some("1"));
    for point in [&berlin, &paris] {
        let (observed, version) = held(point, "redis");
        assert!(sound(observed), "{observed:?}");
        assert_eq!(version.as_deref(), Some("1"));
    }
    world.publish("redis", "2");
    world.settled();
    assert_eq!(held(&berlin, "redis").1.as_deref(), Some("2"));
    assert_eq!(held(&paris, "redis").1.as_deref(), Some("2"));
}

#[test]
fn points_of_a_group_hold_what_it_holds_whenever_they_join() {
    let world = World::new();
    let (berlin, paris) = (world.add("berlin"), world.add("paris"));
    let group = |points: &[&str], belong| {
        let points: Vec<String> = points.iter().map(|name| (*name).to_owned()).collect();
        world.server.group("europe", &points, belong)
    };
    let europe = ["europe".to_owned()];
    world.publish("redis", "1");
    let assign = |points: &[String], groups: &[String], wanted| {
        world.server.assign(&name("redis"), points, groups, wanted)
    };
    let nobody = assign(&[], &europe, true).unwrap_err();
    assert!(nobody.to_string().contains("there is no group `europe`"), "{nobody}");
    group(&["berlin"], true).unwrap();
    // Nothing of what holds a name nobody knows.
    assert!(assign(&["moon".to_owned()], &europe, true).unwrap_err().to_string().contains("moon"));
    assert!(assign(&["berlin".to_owned()], &["moon".to_owned()], true).is_err());
    assert!(world.settled().groups[0].packages.is_empty());
    assign(&[], &europe, true).unwrap();
    world.settled();
    let holds = |folder| sound(held(folder, "redis").0);
    assert_eq!((holds(&berlin), holds(&paris)), (true, false));
    group(&["paris"], true).unwrap();
    let status = world.settled();
    assert_eq!((holds(&berlin), holds(&paris)), (true, true));
    assert_eq!(status.groups[0].points, ["berlin", "paris"]);
    assert!(status.to_text().contains("group europe (berlin, paris): redis"));
    // What is named itself stays when the group goes.
    world.assign("redis", &["berlin"]);
    group(&["berlin", "paris"], false).unwrap();
    world.settled();
    assert_eq!((holds(&berlin), holds(&paris)), (true, false));
    // A point that is gone can still leave.
    group(&["paris"], true).unwrap();
    world.server.remove_point("paris", true).unwrap();
    assert!(group(&["rome"], false).is_err());
    assert_eq!(world.server.status().groups[0].points, ["paris"]);
    group(&["paris"], false).unwrap();
    assert!(world.server.status().groups[0].points.is_empty());
    assign(&[], &europe, false).unwrap();
    assert_eq!(world.settled().groups, []);
    assert!(group(&["berlin"], false).unwrap_err().to_string().contains("europe"));
    assert!(world.server.group("a/b", &[], true).is_err());
    assert!(group(&["moon"], true).unwrap_err().to_string().contains("moon"));
}

#[test]
fn a_removed_package_is_seen_to_be_gone() {
    let world = World::new();
    let berlin = world.add("berlin");
    world.publish("redis", "1");
    world.publish("nginx", "1");
    world.assign("redis", &["berlin"]);
    world.assign("nginx", &["berlin"]);
    world.settled();
    world.server.event(policy::Event::Retire(name("redis"))).unwrap();
    let status = world.settled();
    assert_eq!(held(&berlin, "redis"), (Observed::Absent, None));
    assert!(sound(held(&berlin, "nginx").0));
    assert!(status.packages.iter().all(|package| package.name != name("redis")));
}

#[test]
fn a_damaged_copy_is_found_and_mended_and_so_is_the_master() {
    let world = World::new();
    let berlin = world.add("berlin");
    world.publish("redis", "1");
    world.assign("redis", &["berlin"]);
    world.settled();
    std::fs::write(find(&berlin, "packs"), b"rot").unwrap();
    assert!(!sound(held(&berlin, "redis").0));
    world.server.verify_all();
    world.settled();
    assert!(sound(held(&berlin, "redis").0));
    let master = find(&world.path("site/store"), "packs");
    std::fs::write(&master, b"rot").unwrap();
    world.server.verify_all();
    world.settled();
    assert!(std::fs::metadata(master).unwrap().len() > 3, "the point had it whole");
}

#[test]
fn a_point_that_is_away_is_named_and_gets_its_copies_when_it_is_back() {
    let world = World::new();
    let berlin = world.add("berlin");
    let away = world.path("away");
    std::fs::rename(&berlin, &away).unwrap();
    world.publish("redis", "1");
    world.assign("redis", &["berlin"]);
    let status = world.until(|status| status.points.iter().any(|point| !point.answers));
    let copy = &status.points[0].copies[0];
    assert_eq!(copy.reason.as_deref(), Some("waits for the place to answer"));
    assert!(copy.next.is_some() && copy.attempts >= 1, "{copy:?}");
    assert!(!berlin.exists(), "what is not mounted is not made");
    std::fs::rename(&away, &berlin).unwrap();
    world.server.retry(Some("berlin"), None).unwrap();
    world.settled();
    assert!(sound(held(&berlin, "redis").0));
}

#[test]
fn a_restored_site_begins_an_epoch_and_looks_at_everything_again() {
    let world = World::new();
    let berlin = world.add("berlin");
    world.publish("redis", "1");
    world.assign("redis", &["berlin"]);
    world.settled();
    let folder = Folder::new(&world.path("site"));
    let backup = world.path("backup.db");
    site::backup(&folder, &backup).unwrap();
    world.publish("redis", "2");
    world.settled();
    world.server.stop(std::time::Duration::from_secs(5));
    assert_eq!(site::restore(&folder, &backup).unwrap(), 1);
    let server = Server::start(folder.clone()).unwrap();
    let restored = World { home: tempfile::tempdir().unwrap(), server };
    let status = restored.settled();
    assert_eq!(status.epoch, 1);
    assert_eq!(held(&berlin, "redis").1.as_deref(), Some("1"), "what the backup knows is there");
    // What came after the backup is published again, under a number nobody has seen.
    let file = package_file(world.home.path(), "redis", "2");
    restored.server.publish(&file, false).unwrap();
    restored.settled();
    assert_eq!(held(&berlin, "redis").1.as_deref(), Some("2"));
}

/// What Prometheus itself says of the counts.
#[test]
fn a_monitor_understands_the_counts() {
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    let world = World::new();
    world.add("berlin");
    world.publish("redis", "1");
    world.assign("redis", &["berlin"]);
    world.server.add_child("CHILD", &site::AddressSettings::default()).unwrap();
    let metrics = world.settled().to_metrics();
    assert!(metrics.contains("packhorse_copies{state=\"done\"} 1\n"), "{metrics}");
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && text.is_empty(), "{text}");
}
