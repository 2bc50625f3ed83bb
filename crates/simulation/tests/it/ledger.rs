//! The field's failures, each a test named after its article.

use model::PackageName;
use policy::{
    Address, Effect, Event, Features, Hours, JobKind, Moment, Observed, PlaceId, PointName, Reason,
    Schedule,
};
use simulation::{Faults, UNIT, World, settings};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn name(name: &str) -> PackageName {
    PackageName::new(name).unwrap()
}

/// A central site with so many children, each with so many points, and nothing that goes wrong by itself.
fn tree(children: usize, points: usize) -> World {
    let settings = policy::Settings { slots: 64, ..settings() };
    let mut world = World::new(1, settings, Faults::NONE, 0);
    world.busy = u64::MAX;
    for number in 1..=children {
        world.add_site(&format!("S{number}"), Some(0), settings);
    }
    for site in 0..=children {
        for point in 0..points {
            world.add_point(site, &format!("d{point}"));
        }
    }
    world
}

/// Publishes content of `units` units, all of them new.
fn publish(world: &mut World, package: &str, units: u64) -> Vec<Effect> {
    let content = (0..units).map(|unit| world.now * 1_000 + unit + 1).collect();
    world.publish(&name(package), content)
}

fn assign_everywhere(world: &mut World, package: &str) {
    let points = world.all_points();
    world.event(0, Event::Assign { package: name(package), points });
}

fn run(world: &mut World, milliseconds: u64) {
    world.run_until(world.now + milliseconds);
    assert!(world.checks.broken.is_empty(), "{:?}", world.checks.broken);
}

/// Everything is where it should be, and says so.
fn is_right(world: &mut World) {
    world.check_beliefs();
    world.check_end();
    assert!(world.checks.broken.is_empty(), "{:?}", world.checks.broken);
}

fn place(world: &World, site: usize, point: &str) -> PlaceId {
    world.machines[site].site.point_id(point).unwrap()
}

fn tally(world: &World, package: &str) -> policy::Tally {
    let site = &world.machines[0].site;
    site.package(site.package_id(&name(package)).unwrap()).unwrap().tally
}

#[test]
fn q319207_one_dead_point_sends_nothing_to_other_sites_again() {
    let mut world = tree(40, 1);
    let dead = place(&world, 0, "d0");
    world.machines[0].points.get_mut(&dead).unwrap().dead_until = u64::MAX;
    for package in ["a", "b", "c"] {
        publish(&mut world, package, 2);
        assign_everywhere(&mut world, package);
    }
    run(&mut world, HOUR);
    for _ in 0..2 {
        let site = &world.machines[0].site;
        assert_eq!(site.live_jobs(), 3, "only those of the dead point are left");
        world.stop(0);
        run(&mut world, MINUTE);
        world.start(0);
        run(&mut world, HOUR);
    }
    let sent: u64 = world.units_sent.values().sum();
    assert_eq!(sent, 40 * 3 * 2, "each child had each version once");
    let site = &world.machines[0].site;
    let waiting = site.waiting(dead, policy::PackageId(0)).unwrap();
    assert!(waiting.attempts > 0 && waiting.reason == Reason::Unreachable, "{waiting:?}");
    world.machines[0].points.get_mut(&dead).unwrap().dead_until = 0;
    run(&mut world, HOUR);
    is_right(&mut world);
}

#[test]
fn q258424_updates_during_updates_end_with_the_last_one() {
    let mut world = tree(2, 6);
    publish(&mut world, "a", 8);
    assign_everywhere(&mut world, "a");
    for round in 0..100 {
        for pause in [500, 5_000, 300 + round * 37] {
            run(&mut world, pause);
            publish(&mut world, "a", 8);
        }
    }
    run(&mut world, 2 * HOUR);
    assert_eq!(tally(&world, "a").done, 18);
    is_right(&mut world);
}

#[test]
fn q245579_an_announcement_before_its_content_waits_and_is_named() {
    let mut world = tree(1, 1);
    publish(&mut world, "a", 4);
    assign_everywhere(&mut world, "a");
    run(&mut world, HOUR);
    // No content gets through, and announcements do.
    let closed = Schedule::new(jiff::tz::TimeZone::UTC, Hours::new([0; 168]).unwrap());
    let child = world.machines[0].site.child_id(&policy::SiteCode::new("S1").unwrap()).unwrap();
    let address = Address { schedule: closed, rate: 5 * UNIT, streams: 4, unit: UNIT };
    world.machines[0].sender.set_address(Moment(0), child, address);
    publish(&mut world, "a", 4);
    for _ in 0..500 {
        world.event(0, Event::Timer);
    }
    run(&mut world, HOUR);
    let below = &world.machines[1];
    let id = below.site.package_id(&name("a")).unwrap();
    let waiting = below.site.waiting(place(&world, 1, "d0"), id).unwrap();
    assert!(matches!(waiting.reason, Reason::Content(_)), "{waiting:?}");
    assert_eq!(below.site.live_jobs(), 2, "the copy, and the fetch it waits for");
    let disk = &below.points[&place(&world, 1, "d0")];
    assert_eq!(disk.visible[&name("a")].0.count, 1, "what was there is served");
    let open = Address { schedule: Schedule::always(), rate: 5 * UNIT, streams: 4, unit: UNIT };
    world.machines[0].sender.set_address(Moment(0), child, open);
    run(&mut world, HOUR);
    is_right(&mut world);
}

#[test]
fn q235774_what_was_removed_while_a_child_was_away_goes_when_it_is_back() {
    let mut world = tree(2, 1);
    let packages: Vec<String> = (0..10).map(|number| format!("p{number}")).collect();
    for package in &packages {
        publish(&mut world, package, 1);
        assign_everywhere(&mut world, package);
    }
    run(&mut world, HOUR);
    world.stop(1);
    for package in &packages {
        world.event(0, Event::Retire(name(package)));
    }
    run(&mut world, 7 * 24 * HOUR);
    assert!(tally(&world, "p0").left > 0, "it is not forgotten before it is gone");
    world.start(1);
    run(&mut world, HOUR);
    assert!(world.machines[1].store.is_empty());
    assert!(world.machines[1].points.values().all(|disk| disk.visible.is_empty()));
    assert_eq!(world.machines[0].site.packages().count(), 0, "and then it is");
    is_right(&mut world);
}

#[test]
fn q137610_without_room_nothing_is_sent_and_room_starts_it() {
    let mut world = tree(1, 1);
    world.machines[1].full_until = u64::MAX;
    world.event(1, Event::Space { place: PlaceId::OWN, free: UNIT });
    publish(&mut world, "a", 5);
    assign_everywhere(&mut world, "a");
    run(&mut world, HOUR);
    assert_eq!(world.units_sent.values().sum::<u64>(), 0);
    let site = &world.machines[1].site;
    let waiting = site.waiting(PlaceId::OWN, policy::PackageId(0)).unwrap();
    assert_eq!(waiting.reason, Reason::Space { needs: 5 * UNIT, has: UNIT });
    world.machines[1].full_until = 0;
    run(&mut world, settings().retry.longest + 10 * MINUTE);
    is_right(&mut world);
}

#[test]
fn q214485_dead_children_cost_the_others_nothing() {
    let time = |dead: usize| {
        let mut world = tree(20, 1);
        for child in 1..=dead {
            world.stop(child);
        }
        for package in 0..20 {
            publish(&mut world, &format!("p{package}"), 2);
            assign_everywhere(&mut world, &format!("p{package}"));
        }
        let whole = |world: &World| {
            world.machines[dead + 1..]
                .iter()
                .all(|machine| machine.points.values().all(|disk| disk.visible.len() == 20))
        };
        while !whole(&world) {
            run(&mut world, 1_000);
            assert!(world.now < 10 * HOUR, "the living starve");
        }
        world.now
    };
    let (without, with) = (time(0), time(3));
    assert!(with * 10 <= without * 12, "{with} ms instead of {without} ms");
}

#[test]
fn q279498_content_nobody_announced_is_never_sent() {
    let mut world = tree(1, 1);
    publish(&mut world, "a", 4);
    publish(&mut world, "b", 4);
    assign_everywhere(&mut world, "b");
    // The instruction for `a` does not exist: nothing of it may move, for a day.
    run(&mut world, 24 * HOUR);
    assert!(world.machines[1].site.package_id(&name("a")).is_none());
    assert_eq!(world.units_sent.values().sum::<u64>(), 4, "`b`, once");
    assert!(world.machines[1].spool.is_empty());
    is_right(&mut world);
}

#[test]
fn q159201_damaged_records_are_set_aside_and_others_go_on() {
    let mut world = tree(1, 1);
    publish(&mut world, "a", 2);
    assign_everywhere(&mut world, "a");
    let parent = policy::SiteCode::new("TOP").unwrap();
    let stranger =
        PointName { site: policy::SiteCode::new("ELSEWHERE").unwrap(), name: "x".into() };
    for number in 0..10_000_u64 {
        let version = policy::ContentVersion {
            number: policy::VersionNumber { epoch: 0, count: 0 },
            manifest: model::Hash::of(&number.to_le_bytes()),
            bytes: 0,
            critical: Features::default(),
            optional: Features::default(),
        };
        let points = if number % 2 == 0 { vec![stranger.clone()] } else { Vec::new() };
        let entry =
            policy::FeedEntry { package: name("bad"), version: Some(version), priority: 0, points };
        let seen = world.machines[1].site.exchange().seen;
        let feed = policy::Feed {
            stamp: seen,
            since: Some(seen.sequence),
            entries: vec![entry],
            heard: policy::Stamp::default(),
            trust: None,
        };
        world.event(1, Event::FromParent { from: parent.clone(), feed });
    }
    assert_eq!(world.checks.quarantined, 10_000);
    run(&mut world, HOUR);
    assert!(world.machines[1].site.package_id(&name("bad")).is_none());
    is_right(&mut world);
}

#[test]
fn q276259_no_job_is_begun_twice_or_without_a_place() {
    let mut world = tree(4, 4);
    for package in 0..50 {
        publish(&mut world, &format!("p{package}"), 1);
        assign_everywhere(&mut world, &format!("p{package}"));
    }
    for round in 0..20 {
        run(&mut world, 10_000);
        let site = round % 5;
        world.stop(site);
        run(&mut world, 5_000);
        world.start(site);
    }
    // I4, I14 and I15 watch every attempt; here, that in the end each was needed.
    run(&mut world, 2 * HOUR);
    is_right(&mut world);
    assert!(world.machines.iter().all(|machine| machine.site.live_jobs() == 0));
}

#[test]
fn q256880_a_middle_site_keeps_what_is_still_to_be_passed_on() {
    let mut world = tree(1, 0);
    let grandchild = world.add_site("S2", Some(1), settings());
    world.add_point(grandchild, "d0");
    world.stop(grandchild);
    publish(&mut world, "a", 4);
    assign_everywhere(&mut world, "a");
    run(&mut world, 8 * HOUR);
    assert!(!world.machines[1].store.is_empty(), "nobody below has it yet");
    publish(&mut world, "a", 4);
    run(&mut world, HOUR);
    world.start(grandchild);
    run(&mut world, HOUR);
    is_right(&mut world);
    world.event(0, Event::Retire(name("a")));
    run(&mut world, HOUR);
    assert!(world.machines[1].store.is_empty() && world.machines[grandchild].store.is_empty());
}

#[test]
fn q288970_a_restored_middle_site_and_its_peers_agree_again() {
    let mut world = tree(1, 2);
    let below = world.add_site("S2", Some(1), settings());
    world.add_point(below, "d0");
    publish(&mut world, "a", 3);
    assign_everywhere(&mut world, "a");
    run(&mut world, HOUR);
    world.back_up_or_restore(1);
    for _ in 0..3 {
        publish(&mut world, "a", 3);
        run(&mut world, 24 * HOUR);
    }
    publish(&mut world, "b", 2);
    assign_everywhere(&mut world, "b");
    run(&mut world, HOUR);
    world.back_up_or_restore(1);
    assert_eq!(world.machines[1].site.epoch(), 1);
    run(&mut world, HOUR);
    is_right(&mut world);
}

#[test]
fn q195936_points_are_refreshed_however_often_the_master_failed() {
    let mut world = tree(1, 6);
    publish(&mut world, "a", 3);
    assign_everywhere(&mut world, "a");
    run(&mut world, HOUR);
    world.machines[1].full_until = u64::MAX;
    publish(&mut world, "a", 3);
    for _ in 0..3 {
        run(&mut world, 30 * MINUTE);
        world.stop(1);
        run(&mut world, 1_000);
        world.start(1);
    }
    assert_eq!(tally(&world, "a").done, 6, "the central site's own");
    world.machines[1].full_until = 0;
    run(&mut world, 2 * HOUR);
    assert_eq!(tally(&world, "a").done, 12);
    is_right(&mut world);
}

#[test]
fn q153576_one_failing_point_of_many_is_never_counted_as_done() {
    for points in [2, 5, 30] {
        let mut world = tree(0, points);
        let dead = place(&world, 0, "d0");
        let until = 2 * HOUR;
        world.machines[0].points.get_mut(&dead).unwrap().dead_until = until;
        publish(&mut world, "a", 1);
        assign_everywhere(&mut world, "a");
        while world.now < until {
            run(&mut world, 10 * MINUTE);
            let expected = u32::try_from(points).unwrap() - 1;
            if world.now < until {
                assert_eq!(tally(&world, "a").done, expected);
                assert_eq!(world.machines[0].site.live_jobs(), 1);
            }
        }
        run(&mut world, settings().retry.longest + MINUTE);
        is_right(&mut world);
    }
}

#[test]
fn q161043_a_slow_arrival_blocks_no_other() {
    let mut world = tree(1, 1);
    // Ten minutes at the rate of an address.
    publish(&mut world, "slow", 3_000);
    assign_everywhere(&mut world, "slow");
    run(&mut world, 30_000);
    for package in 0..50 {
        publish(&mut world, &format!("p{package}"), 1);
        assign_everywhere(&mut world, &format!("p{package}"));
    }
    let there = |world: &World| world.machines[1].points[&place(world, 1, "d0")].visible.len();
    while there(&world) < 50 {
        run(&mut world, 1_000);
        assert!(world.machines[1].master_of("slow").is_none(), "others waited for it");
    }
    run(&mut world, 2 * HOUR);
    is_right(&mut world);
}

#[test]
fn q281754_saving_unchanged_packages_makes_no_work() {
    let mut world = tree(2, 2);
    for package in 0..100 {
        publish(&mut world, &format!("p{package}"), 1);
        assign_everywhere(&mut world, &format!("p{package}"));
    }
    run(&mut world, 2 * HOUR);
    is_right(&mut world);
    let sent: u64 = world.units_sent.values().sum();
    for round in 0..20 {
        for package in 0..100 {
            let package = name(&format!("p{package}"));
            let site = &world.machines[0].site;
            let newest = site.package(site.package_id(&package).unwrap()).unwrap().newest.unwrap();
            let effects = world.event(
                0,
                Event::Publish {
                    package,
                    manifest: newest.manifest,
                    bytes: newest.bytes,
                    critical: newest.critical,
                    optional: newest.optional,
                },
            );
            assert_eq!(effects, [], "round {round}");
        }
        world.stop(0);
        run(&mut world, MINUTE);
        world.start(0);
        run(&mut world, HOUR);
    }
    assert_eq!(world.units_sent.values().sum::<u64>(), sent);
    is_right(&mut world);
}

#[test]
fn q184489_while_a_point_is_refreshed_it_shows_the_old_or_the_new() {
    let mut world = tree(0, 1);
    publish(&mut world, "a", 4);
    assign_everywhere(&mut world, "a");
    run(&mut world, HOUR);
    let point = place(&world, 0, "d0");
    for _ in 0..5 {
        let effects = publish(&mut world, "a", 4);
        let starts = effects.iter().filter(
            |effect| matches!(effect, Effect::Start(work) if work.kind == JobKind::Complete),
        );
        assert_eq!(starts.count(), 1);
        for _ in 0..200 {
            run(&mut world, 100);
            let seen = world.look_at(0, point, &name("a"));
            assert!(matches!(seen, Observed::Holds(_)), "{seen:?}");
        }
    }
    is_right(&mut world);
}

#[test]
fn i25_a_closing_window_pauses_and_a_resume_loses_at_most_one_unit() {
    let mut world = tree(1, 1);
    let child = world.machines[0].site.child_id(&policy::SiteCode::new("S1").unwrap()).unwrap();
    let address = |schedule| Address { schedule, rate: UNIT, streams: 4, unit: UNIT };
    let closed = Schedule::new(jiff::tz::TimeZone::UTC, Hours::new([0; 168]).unwrap());
    publish(&mut world, "a", 40);
    assign_everywhere(&mut world, "a");
    let mut pauses = 0;
    while world.machines[1].master_of("a").is_none() {
        world.machines[0].sender.set_address(Moment(0), child, address(Schedule::always()));
        run(&mut world, 7_000);
        world.machines[0].sender.set_address(Moment(0), child, address(closed.clone()));
        let sent: u64 = world.units_sent.values().sum();
        run(&mut world, 10 * MINUTE);
        // What was on its way when it closed still arrives; nothing begins.
        let after: u64 = world.units_sent.values().sum();
        assert!(after <= sent + 1, "{} units came through a closed window", after - sent);
        let site = &world.machines[1].site;
        let cell = site.place(PlaceId::OWN).unwrap().cell(policy::PackageId(0)).unwrap();
        assert_ne!(cell.phase, policy::Phase::Failed, "a closed window is no failure");
        pauses += 1;
        assert!(pauses < 100, "it never comes to its end");
    }
    let sent: u64 = world.units_sent.values().sum();
    assert!(pauses > 3 && sent <= 40 + pauses, "{sent} units for 40, with {pauses} pauses");
    run(&mut world, HOUR);
    is_right(&mut world);
}

#[test]
fn i10_what_is_said_again_makes_no_work() {
    let mut world = tree(2, 2);
    publish(&mut world, "a", 2);
    assign_everywhere(&mut world, "a");
    world.event(0, Event::Join { group: "g".into(), point: world.all_points()[0].clone() });
    world.event(0, Event::AssignGroup { package: name("a"), group: "g".into() });
    world.event(0, Event::Prioritise { package: name("a"), priority: 3 });
    run(&mut world, 2 * HOUR);
    is_right(&mut world);
    let points = world.all_points();
    let again = [
        Event::Assign { package: name("a"), points: points.clone() },
        Event::Join { group: "g".into(), point: points[0].clone() },
        Event::AssignGroup { package: name("a"), group: "g".into() },
        Event::AddPoint { name: "d0".into(), features: Features(0xFF) },
        // Out of a group, and still there by name.
        Event::Leave { group: "g".into(), point: points[0].clone() },
        Event::UnassignGroup { package: name("a"), group: "g".into() },
        Event::Unassign { package: name("a"), points: Vec::new() },
        Event::RetryNow(policy::RetryScope::All),
        Event::Timer,
    ];
    for event in again {
        let text = format!("{event:?}");
        let effects = world.event(0, event);
        let works = |effect: &Effect| matches!(effect, Effect::Start(_) | Effect::Cancel { .. });
        assert!(!effects.iter().any(works), "{text}: {effects:?}");
        assert_eq!(world.machines[0].site.live_jobs(), 0, "{text}");
    }
    let (sent, attempts) = (world.units_sent.clone(), world.checks.attempts);
    run(&mut world, HOUR);
    assert_eq!((world.units_sent.clone(), world.checks.attempts), (sent, attempts));
    is_right(&mut world);
}

#[test]
fn a_code_that_is_in_the_tree_already_is_set_aside() {
    let mut world = tree(2, 1);
    publish(&mut world, "a", 2);
    assign_everywhere(&mut world, "a");
    run(&mut world, HOUR);
    let code = |code: &str| policy::SiteCode::new(code).unwrap();
    let mut exchange = world.machines[2].site.exchange();
    exchange.report.below = Some([code("S1"), code("TOP"), code("S9")].into());
    let own = world.machines[0].site.child_id(&code("S1"));
    let quarantined = world.checks.quarantined;
    world.event(0, Event::FromChild { from: code("S2"), exchange });
    assert_eq!(world.checks.quarantined - quarantined, 2, "one is elsewhere, one is above");
    let top = &world.machines[0].site;
    assert_eq!(top.child_id(&code("S1")), own, "who was there stays");
    assert_eq!(top.child_id(&code("S9")), top.child_id(&code("S2")), "who is new is believed");
    run(&mut world, HOUR);
    assert_eq!(tally(&world, "a").done, 3);
}

#[test]
fn the_top_learns_of_sites_far_below_and_that_they_are_no_longer() {
    let mut world = tree(1, 1);
    let code = |code: &str| policy::SiteCode::new(code).unwrap();
    world.event(1, Event::AddChild { code: code("FAR"), reach: policy::Reach::Pull });
    run(&mut world, HOUR);
    let top = &world.machines[0].site;
    assert_eq!(top.child_id(&code("FAR")), top.child_id(&code("S1")));
    publish(&mut world, "a", 1);
    let point = PointName { site: code("FAR"), name: "x".into() };
    world.event(0, Event::Assign { package: name("a"), points: vec![point] });
    run(&mut world, HOUR);
    assert!(world.machines[1].master_of("a").is_some(), "it is on its way to there");
    world.event(1, Event::RemoveChild(code("FAR")));
    run(&mut world, HOUR);
    assert_eq!(world.machines[0].site.child_id(&code("FAR")), None);
    assert!(world.machines[1].master_of("a").is_none(), "nobody there wants it any more");
    assert!(world.machines[0].site.live_jobs() == 0 && world.machines[1].site.live_jobs() == 0);
    let ring = world.machines[1].site.next(
        policy::Now { at: Moment(u64::MAX / 2), dice: 0 },
        Event::AddChild { code: code("TOP"), reach: policy::Reach::Pull },
    );
    assert_eq!(ring, Err(policy::Refused::Ring(code("TOP"))));
    let attach = Event::Attach(code("S9"));
    let second =
        world.machines[1].site.next(policy::Now { at: Moment(u64::MAX / 2), dice: 0 }, attach);
    assert_eq!(second, Err(policy::Refused::HasParent(code("TOP"))));
}
