use model::{Hash, PackageName};
use policy::{
    Cause, Effect, Event, Features, Key, Moment, Now, Observed, Outcome, PlaceId, PointName, Reach,
    Reason, Refused, RetryScope, Settings, Site, SiteCode, Work,
};

const ALL: Features = Features(u64::MAX);

fn name(name: &str) -> PackageName {
    PackageName::new(name).unwrap()
}

fn code(code: &str) -> SiteCode {
    SiteCode::new(code).unwrap()
}

fn point(site: &str, name: &str) -> PointName {
    PointName { site: code(site), name: name.into() }
}

/// A site, its clock, and the attempts it began.
struct Bench {
    site: Site,
    at: u64,
    works: Vec<Work>,
}

impl Bench {
    fn new() -> Self {
        Self { site: Site::new(code("TOP"), None, Settings::default()), at: 1_000, works: vec![] }
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        let fx = self.site.next(Now { at: Moment(self.at), dice: 7 }, event).unwrap();
        self.works.extend(fx.iter().filter_map(|effect| match effect {
            Effect::Start(work) => Some(*work),
            _ => None,
        }));
        fx
    }

    fn publish(&mut self, package: &str, content: &str) -> Vec<Effect> {
        self.event(Event::Publish {
            package: name(package),
            manifest: Hash::of(content.as_bytes()),
            bytes: 100,
            critical: Features::default(),
            optional: Features(1 << 9),
        })
    }

    fn add(&mut self, point: &str, features: Features) -> Vec<Effect> {
        self.event(Event::AddPoint { name: point.into(), features })
    }

    fn assign(&mut self, package: &str, points: &[&str]) -> Vec<Effect> {
        let points = points.iter().map(|name| point("TOP", name)).collect();
        self.event(Event::Assign { package: name(package), points })
    }

    fn finish(&mut self, work: Work, outcome: Outcome) -> Vec<Effect> {
        let Work { place, package, fence, .. } = work;
        self.event(Event::Finished { place, package, fence, outcome })
    }

    /// Every attempt succeeds until there is none.
    fn work(&mut self) -> usize {
        let mut count = 0;
        while let Some(work) = self.works.pop() {
            count += 1;
            let seen = match work.kind {
                policy::JobKind::Complete => Observed::Holds(work.version),
                policy::JobKind::Remove => Observed::Absent,
            };
            self.finish(work, Outcome::Seen(seen));
        }
        count
    }
}

fn three_points() -> Bench {
    let mut bench = Bench::new();
    for point in ["a", "b", "c"] {
        bench.add(point, ALL);
    }
    bench.publish("app", "1");
    bench.assign("app", &["a", "b", "c"]);
    bench
}

#[test]
fn what_is_wanted_is_brought_and_then_there_is_no_job() {
    let mut bench = three_points();
    assert_eq!(bench.site.live_jobs(), 3);
    assert_eq!(bench.work(), 3);
    assert_eq!(bench.site.live_jobs(), 0);
    let tally = bench.site.packages().next().unwrap().1.tally;
    assert_eq!((tally.wanted, tally.done, tally.left), (3, 3, 0));
}

#[test]
fn saving_without_a_change_does_nothing_at_all() {
    let mut bench = three_points();
    bench.work();
    assert_eq!(bench.publish("app", "1"), []);
    assert_eq!(bench.assign("app", &["a", "b", "c"]), []);
    assert_eq!(bench.add("a", ALL), []);
}

#[test]
fn a_new_point_gets_its_own_copies_only() {
    let mut bench = three_points();
    bench.work();
    bench.event(Event::AssignGroup { package: name("app"), group: "all".into() });
    bench.add("d", ALL);
    let fx = bench.event(Event::Join { group: "all".into(), point: point("TOP", "d") });
    let d = bench.site.point_id("d").unwrap();
    let copies = fx.iter().filter_map(|effect| match effect {
        Effect::Keep(Key::Copy(place, _)) if *place != PlaceId::OWN => Some(*place),
        _ => None,
    });
    assert!(copies.clone().all(|place| place == d));
    assert_eq!(bench.work(), 1);
}

#[test]
fn a_newer_version_supersedes_what_runs() {
    let mut bench = three_points();
    let old: Vec<Work> = bench.works.drain(..).collect();
    let fx = bench.publish("app", "2");
    let cancelled = fx.iter().filter(|effect| matches!(effect, Effect::Cancel { .. })).count();
    assert_eq!((cancelled, bench.works.len()), (3, 3));
    let late = Event::Finished {
        place: old[0].place,
        package: old[0].package,
        fence: old[0].fence,
        outcome: Outcome::Seen(Observed::Holds(old[0].version)),
    };
    let now = Now { at: Moment(2_000), dice: 0 };
    assert!(matches!(bench.site.next(now, late), Err(Refused::StaleFence { .. })));
    bench.work();
    assert_eq!(bench.site.live_jobs(), 0);
}

#[test]
fn attempts_end_and_a_person_can_begin_again() {
    let mut bench = three_points();
    let first = bench.works[0];
    for attempt in 1..=1_000 {
        let at = bench.works.iter().position(|work| work.place == first.place).unwrap();
        let work = bench.works.remove(at);
        assert_eq!(work.attempt, attempt);
        bench.finish(work, Outcome::Failed(Cause::InUse));
        bench.at += 1_000_000;
        bench.works.retain(|work| work.place == first.place);
        bench.event(Event::Timer);
    }
    let waiting = bench.site.waiting(first.place, first.package).unwrap();
    assert_eq!(waiting.reason, Reason::Failed(Some(Cause::InUse)));
    bench.works.clear();
    bench.event(Event::RetryNow(RetryScope::One(first.place, first.package)));
    assert_eq!(bench.works.iter().filter(|work| work.place == first.place).count(), 1);
}

#[test]
fn a_dead_place_is_probed_once_per_interval_whatever_waits_for_it() {
    let mut bench = Bench::new();
    bench.add("dead", ALL);
    for number in 0..100 {
        bench.publish(&format!("p{number}"), "1");
        bench.assign(&format!("p{number}"), &["dead"]);
    }
    let mut tries = 0;
    for _ in 0..360 {
        while let Some(work) = bench.works.pop() {
            tries += 1;
            bench.finish(work, Outcome::Failed(Cause::Unreachable));
        }
        bench.at += 10_000;
        bench.event(Event::Timer);
    }
    assert!((5..=20).contains(&tries), "{tries} tries in an hour");
    let dead = bench.site.point_id("dead").unwrap();
    let id = bench.site.package_id(&name("p50")).unwrap();
    assert_eq!(bench.site.waiting(dead, id).unwrap().reason, Reason::Unreachable);
    bench.works.clear();
    bench.event(Event::Reached(dead));
    while !bench.works.is_empty() {
        bench.work();
    }
    assert_eq!(bench.site.live_jobs(), 0, "a cured cause wakes all at once");
}

#[test]
fn without_room_nothing_begins_and_room_wakes() {
    let mut bench = Bench::new();
    bench.add("small", ALL);
    let small = bench.site.point_id("small").unwrap();
    bench.event(Event::Space { place: small, free: 40 });
    bench.publish("app", "1");
    bench.assign("app", &["small"]);
    assert_eq!(bench.works, []);
    let id = bench.site.package_id(&name("app")).unwrap();
    let waiting = bench.site.waiting(small, id).unwrap();
    assert_eq!(waiting.reason, Reason::Space { needs: 100, has: 40 });
    bench.event(Event::Space { place: small, free: 100 });
    assert_eq!(bench.work(), 1);
}

/// Room was measured while something else took it: nothing waits for longer than it takes to look again.
#[test]
fn a_full_place_is_looked_at_again_soon_and_at_once_by_a_retry() {
    let full = || {
        let mut bench = Bench::new();
        bench.add("small", ALL);
        let small = bench.site.point_id("small").unwrap();
        bench.event(Event::Space { place: small, free: 0 });
        for name in ["app", "other", "third"] {
            bench.publish(name, "1");
            bench.assign(name, &["small"]);
        }
        assert_eq!(bench.works, []);
        (bench, small)
    };
    let (mut bench, small) = full();
    let wake = bench.site.next_wake().unwrap();
    assert!(wake.0 <= bench.at + 30_000, "it is looked at again in half a minute");
    bench.at = wake.0;
    let effects = bench.event(Event::Timer);
    let measured = effects.iter().filter(|one| matches!(one, Effect::Measure(_))).count();
    assert_eq!(measured, 1, "one asks for them all");
    assert_eq!(bench.works, [], "nothing is tried before there is room");
    bench.event(Event::Space { place: small, free: 150 });
    assert_eq!(bench.works.len(), 1, "as many as there is room for");
    let (mut bench, small) = full();
    let effects = bench.event(Event::RetryNow(RetryScope::Place(small)));
    assert!(effects.contains(&Effect::Measure(small)));
    assert!(!bench.works.is_empty(), "what was known of room is not believed any longer");
}

#[test]
fn who_waits_for_something_else_does_not_look_for_room() {
    let mut bench = Bench::new();
    bench.add("small", ALL);
    let small = bench.site.point_id("small").unwrap();
    bench.publish("busy", "1");
    bench.assign("busy", &["small"]);
    let work = bench.works.pop().unwrap();
    bench.finish(work, Outcome::Failed(Cause::InUse));
    bench.event(Event::Space { place: small, free: 0 });
    bench.publish("app", "1");
    bench.assign("app", &["small"]);
    let id = bench.site.package_id(&name("app")).unwrap();
    let waiting = bench.site.waiting(small, id).unwrap();
    assert_eq!(waiting.reason, Reason::Space { needs: 100, has: 0 });
    assert_eq!(waiting.until, Some(Moment(bench.at + 30_000)));
}

#[test]
fn a_place_that_cannot_hold_it_is_not_tried_until_it_can() {
    let mut bench = Bench::new();
    bench.add("old", Features::default());
    bench.event(Event::Publish {
        package: name("app"),
        manifest: Hash::of(b"1"),
        bytes: 1,
        critical: Features(4),
        optional: Features(8),
    });
    bench.assign("app", &["old"]);
    let old = bench.site.point_id("old").unwrap();
    let id = bench.site.package_id(&name("app")).unwrap();
    assert_eq!(bench.site.waiting(old, id).unwrap().reason, Reason::Cannot(Features(4)));
    assert_eq!(bench.work(), 0);
    bench.add("old", Features(4));
    assert_eq!(bench.work(), 1);
}

#[test]
fn removal_is_done_when_it_was_seen_and_the_master_goes_last() {
    let mut bench = three_points();
    bench.work();
    bench.event(Event::Retire(name("app")));
    let id = bench.site.package_id(&name("app")).unwrap();
    assert_eq!(bench.site.waiting(PlaceId::OWN, id).unwrap().reason, Reason::Below);
    let lies: Vec<Work> = bench.works.drain(..).collect();
    for work in lies {
        bench.finish(work, Outcome::Seen(Observed::Unknown));
    }
    assert_eq!(bench.site.package(id).unwrap().tally.left, 3, "not seen to be gone");
    bench.at += 1_000_000;
    bench.event(Event::Timer);
    assert_eq!(bench.work(), 4);
    assert!(bench.site.package(id).is_none());
    assert_eq!(bench.site.live_jobs(), 0);
}

#[test]
fn a_removed_point_has_no_jobs_and_is_not_spoken_of() {
    let mut bench = three_points();
    let dead = bench.works.remove(0);
    bench.work();
    let fx = bench.event(Event::RemovePoint { name: "a".into(), force: true });
    assert!(fx.iter().any(|effect| matches!(effect, Effect::Cancel { .. })));
    assert!(
        bench
            .finish(dead, Outcome::Failed(Cause::Unreachable))
            .iter()
            .any(|effect| { matches!(effect, Effect::Tell(policy::Note::Late { .. })) })
    );
    bench.assign("app", &["a"]);
    assert_eq!(bench.works, []);
}

#[test]
fn a_lost_worker_is_one_more_attempt() {
    let mut bench = three_points();
    let lost = bench.works.remove(0);
    bench.work();
    bench.at += 120_000;
    bench.event(Event::Timer);
    bench.at += 10_000;
    bench.event(Event::Timer);
    assert_eq!(bench.works.len(), 1);
    assert_eq!((bench.works[0].attempt, bench.works[0].place), (2, lost.place));
    assert!(bench.works[0].fence > lost.fence);
}

#[test]
fn a_child_fetches_by_itself_and_costs_no_attempts() {
    let mut bench = Bench::new();
    bench.event(Event::AddChild { code: code("LOW"), reach: Reach::Pull });
    bench.publish("app", "1");
    let points = vec![point("LOW", "x"), point("LOW", "y")];
    let fx = bench.event(Event::Assign { package: name("app"), points });
    assert!(fx.contains(&Effect::Wake(code("LOW"))));
    assert_eq!((bench.works.len(), bench.site.live_jobs()), (0, 1));
    let set = bench.site.courier_set(&code("LOW")).unwrap();
    assert_eq!(set.contents.len(), 1);
    assert_eq!(set.feed.entries[0].points.len(), 2);
}
