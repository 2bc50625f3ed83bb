//! What is due when, by the names of the field's failures.

use deployment::{
    Action, Audience, Cadence, Deployment, DoneBy, Gate, GateCause, ItemKind, PackageAction,
    Presence, Purpose, Quarantined, Recurrence, RestartRule, RetryLimits, RunKind, Session,
    Standing, Supersedence, Trigger, Truth, Undecided, Wait, WaitFor, When, Window, WindowRule,
    Withdrawal, Zone,
};
use jiff::{SignedDuration, tz::TimeZone};
use model::{Condition, Hash};

use crate::{
    client::{Act, Client, database},
    sample::{at, command, id, install, package},
};

fn from(mut one: Deployment, start: &str) -> Deployment {
    one.start = Some(When::At(at(start)));
    one
}

fn by(mut one: Deployment, deadline: &str) -> Deployment {
    one.deadline = Some(When::At(at(deadline)));
    one
}

fn after(mut one: Deployment, others: &[&str]) -> Deployment {
    one.depends_on = others.iter().map(|other| id(other)).collect();
    one
}

fn detectable(mut one: Deployment) -> Deployment {
    one.program.detection = Some(Condition::Constant(true));
    one
}

fn daily(mut one: Deployment, from: &str, zone: Zone) -> Deployment {
    let cadence = Cadence::Days(1);
    one.recurrence = Some(Recurrence { from: from.parse().unwrap(), zone, cadence });
    one
}

fn night() -> Window {
    let zone = Zone::Named("UTC".into());
    let opens =
        Recurrence { from: "2026-01-01T01:00".parse().unwrap(), zone, cadence: Cadence::Days(1) };
    Window { name: "night".into(), opens, minutes: 240, until: None }
}

/// Q247484: a new deployment does not take over the schedule of an expired one of the same program.
#[test]
fn q247484_a_new_deployment_has_its_own_time() {
    let mut old = from(by(command("OLD"), "2026-05-30T00:00:00Z"), "2026-05-01T00:00:00Z");
    old.expiry = Some(When::At(at("2026-06-01T00:00:00Z")));
    let mut new = from(command("NEW"), "2026-06-09T08:00:00Z");
    new.package = old.package.clone();
    let mut client = Client::new("2026-06-02T08:00:00Z", vec![old, new]);
    client.live_until("2026-06-09T07:59:59Z");
    assert_eq!(client.names(), [] as [&str; 0]);
    insta::assert_snapshot!(client.said("OLD"), @"expired at 2026-06-01T00:00:00Z");
    insta::assert_snapshot!(client.said("NEW"), @"waits for its start, until 2026-06-09T08:00:00Z");
    client.live_until("2026-06-30T00:00:00Z");
    assert_eq!(client.names(), ["NEW"]);
    assert_eq!(client.ran[0].0, at("2026-06-09T08:00:00Z"));
}

/// Q247484: the dates of the clone of a repeating deployment move with its new start.
#[test]
fn q247484_a_clone_is_moved_as_a_whole() {
    let original = daily(command("A"), "2026-06-01T06:00", Zone::Client);
    let mut clone = original.clone();
    clone.id = id("B");
    clone.recurrence =
        original.recurrence.as_ref().map(|all| all.moved_to("2026-06-20T18:00".parse().unwrap()));
    let mut client = Client::new("2026-06-10T00:00:00Z", vec![clone]);
    client.live_until("2026-06-22T20:00:00Z");
    let times: Vec<String> = client.ran.iter().map(|(at, _)| at.to_string()).collect();
    assert_eq!(times, ["2026-06-20T18:00:00Z", "2026-06-21T18:00:00Z", "2026-06-22T18:00:00Z"]);
}

/// Q163488: starts in the future need no new document and no restart: one timer finds them all.
#[test]
fn q163488_starts_in_the_future_come_by_themselves() {
    let mut client = Client::new(
        "2026-06-01T12:00:00Z",
        vec![
            from(command("DAYS"), "2026-06-04T12:00:00Z"),
            from(command("SOON"), "2026-06-01T12:20:00Z"),
            from(command("LATER"), "2026-06-01T13:30:00Z"),
        ],
    );
    assert_eq!(client.agenda().next, Some(at("2026-06-01T12:20:00Z")));
    client.live_until("2026-06-05T00:00:00Z");
    let ran: Vec<String> =
        client.ran.iter().map(|(at, key)| format!("{at} {}", key.deployment)).collect();
    assert_eq!(
        ran,
        ["2026-06-01T12:20:00Z SOON", "2026-06-01T13:30:00Z LATER", "2026-06-04T12:00:00Z DAYS"]
    );
}

/// Q173388: 8 overdue jobs run in the order of their times; 2 that wait for a logon do not run with them, nor for a
/// user who was there already.
#[test]
fn q173388_overdue_work_goes_in_order_and_wakes_no_others() {
    let mut all: Vec<Deployment> = [5, 2, 7, 1, 8, 3, 6, 4]
        .iter()
        .map(|n| by(command(&format!("J{n}")), &format!("2026-06-01T0{n}:00:00Z")))
        .collect();
    for name in ["L1", "L2"] {
        let mut one = from(command(name), "2026-06-01T00:00:00Z");
        one.trigger = Trigger::Logon;
        all.insert(0, one);
    }
    let mut client = Client::new("2026-06-03T07:00:00Z", all);
    client.sessions =
        vec![Session { user: "ann".into(), since: at("2026-06-03T06:59:00Z"), seen: false }];
    client.live_until("2026-06-03T12:00:00Z");
    assert_eq!(client.names(), ["J1", "J2", "J3", "J4", "J5", "J6", "J7", "J8"]);
    insta::assert_snapshot!(client.said("L1"), @"waits for a new logon, since 2026-06-01T00:00:00Z");
    client.log_on("bob");
    client.settle();
    assert_eq!(client.names()[8..], ["L1", "L2"]);
}

#[test]
fn what_has_no_deadline_goes_after_what_has_one_then_by_start_then_by_id() {
    let all = vec![
        command("C"),
        command("B"),
        from(command("A"), "2026-01-02T00:00:00Z"),
        by(command("Z"), "2027-01-01T00:00:00Z"),
    ];
    let mut client = Client::new("2026-06-03T07:00:00Z", all);
    client.settle();
    assert_eq!(client.names(), ["Z", "B", "C", "A"]);
}

/// Q263372: 5 users in turn, daily, once per user, 7 days with 3 restarts a day: 35 runs.
#[test]
fn q263372_once_per_user_and_day() {
    let mut one = daily(command("A"), "2026-06-01T08:00", Zone::Client);
    one.audience = Audience::EveryUser;
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![one]);
    for day in 1..=7 {
        for (hour, user) in [(9, "ann"), (10, "bob"), (11, "cyd"), (12, "dan"), (13, "eve")] {
            client.live_until(&format!("2026-06-0{day}T{hour:02}:00:00Z"));
            client.log_on(user);
            client.settle();
            client.live_until(&format!("2026-06-0{day}T{hour:02}:30:00Z"));
            if hour % 2 == 1 {
                client.restart();
            }
            client.log_off();
        }
    }
    assert_eq!(client.ran.len(), 35);
    let keys: std::collections::BTreeSet<_> = client.ran.iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), 35, "each user once a day");
    assert_eq!(client.restarts, 21);
}

/// Q256291: a job that waits for a user runs when one comes, after a minute, a day or ten, without a second logon.
#[test]
fn q256291_a_user_is_waited_for_as_long_as_it_takes() {
    for away in ["2026-06-01T08:01:00Z", "2026-06-02T10:00:00Z", "2026-06-11T08:00:00Z"] {
        for audience in
            [Audience::Machine, Audience::EveryUser, Audience::Users(vec!["ann".into()])]
        {
            let mut one = by(from(command("A"), "2026-06-01T08:00:00Z"), "2026-06-01T09:00:00Z");
            one.audience = audience.clone();
            one.presence = Presence::User;
            let mut client = Client::new("2026-06-01T07:00:00Z", vec![one]);
            client.live_until(away);
            assert_eq!(client.names(), [] as [&str; 0]);
            assert!(client.said("A").contains("to log on"), "{}", client.said("A"));
            client.log_on("ann");
            client.settle();
            assert_eq!(client.names(), ["A"], "{away} {audience:?}");
            client.log_off();
            client.log_on("ann");
            client.settle();
            assert_eq!(client.names(), ["A"], "once");
        }
    }
}

/// Who is logged on cannot be found out: that is not *nobody*.
#[test]
fn q240921_an_unknown_list_of_users_is_a_wait_of_its_own() {
    let mut one = command("A");
    one.presence = Presence::Nobody;
    let client = Client::new("2026-06-01T07:00:00Z", vec![one]);
    let facts = deployment::ClientFacts {
        now: client.now,
        boot: "1",
        history: &client.history,
        memory: &client.memory,
        sessions: None,
        detected: &client.detected,
        required: &client.required,
        requested: &client.requested,
        running: None,
        link: None,
        cached: &client.cached,
        shutting_down: false,
        can_restart: true,
    };
    let zones = deployment::Zones { database: database(), client: &client.zone };
    let agenda = deployment::decide(&client.document, &facts, zones);
    insta::assert_snapshot!(agenda.items[0].standing, @"waits for the list of who is logged on, which cannot be had");
    assert_eq!((agenda.start, agenda.next), (None, None), "no polling");
}

/// Q318779: what is disabled, only needed by others, for a user who is away, or not for this machine for a while is not
/// forgotten, and does not run again.
#[test]
fn q318779_what_is_still_named_is_not_forgotten() {
    let mut for_ann = command("ANN");
    for_ann.audience = Audience::Users(vec!["ann".into()]);
    let mut indirect = command("INDIRECT");
    indirect.purpose = Purpose::Available;
    let mut picky = command("PICKY");
    picky.program.requirement = Some(Condition::Constant(true));
    let all =
        vec![command("DISABLED"), indirect, after(command("TOP"), &["INDIRECT"]), for_ann, picky];
    let mut client = Client::new("2026-06-01T07:00:00Z", all.clone());
    client.log_on("ann");
    client.settle();
    assert_eq!(client.ran.len(), 5);
    client.log_off();
    let mut away = all.clone();
    let by = "the administrator".into();
    away[0].gate = Gate::Closed { cause: GateCause::Disabled, by, since: client.now };
    client.receive(away);
    client.required.insert(id("PICKY"), Truth::No);
    for hour in 0..72 {
        client.now = at("2026-06-01T08:00:00Z") + SignedDuration::from_hours(hour);
        client.settle();
        let (history, memory) = (&mut client.history, &mut client.memory);
        history.forget(memory, &client.document, |_| true);
    }
    client.receive(all);
    client.required.insert(id("PICKY"), Truth::Yes);
    client.log_on("ann");
    client.settle();
    assert_eq!(client.ran.len(), 5, "none ran again");
    client.receive(vec![]);
    let (history, memory) = (&mut client.history, &mut client.memory);
    history.forget(memory, &client.document, |_| true);
    assert_eq!((history.runs().count(), memory.len()), (0, 0), "deleted at the site: forgotten");
}

/// Q229809: 40 programs have run, and history is gone. None runs again: what can be detected is, what cannot is held
/// for a decision; what is deployed afterwards runs.
#[test]
fn q229809_lost_history_reruns_nothing() {
    let names: Vec<String> = (0..40).map(|n| format!("P{n}")).collect();
    let all: Vec<Deployment> = names
        .iter()
        .enumerate()
        .map(|(n, name)| if n % 2 == 0 { detectable(command(name)) } else { command(name) })
        .collect();
    let mut client = Client::new("2026-06-01T07:00:00Z", all.clone());
    client.settle();
    assert_eq!(client.ran.len(), 40);
    for held in [true, false] {
        client.ran.clear();
        client.history = deployment::History::default();
        // The documents are kept elsewhere, and may be gone as well.
        let through = Some(client.document.stamp).filter(|_| held);
        client.history.lose(client.now, through);
        if !held {
            client.memory.clear();
        }
        for name in names.iter().step_by(2) {
            client.detected.insert((id(name), None), Truth::Yes);
        }
        client.settle();
        assert_eq!(client.names(), [] as [&str; 0]);
        assert_eq!(client.standing("P0"), Standing::Done(DoneBy::Detected));
        assert_eq!(client.standing("P1"), Standing::NeedsDecision(Undecided::HistoryLost));
    }
    // Part of it comes back from a second copy or the site's record.
    let mut whole = Client::new("2026-06-01T07:00:00Z", all.clone());
    whole.settle();
    for (key, record) in whole.history.runs() {
        if key.deployment == id("P1") {
            client.history.record(key.clone(), record.clone());
        }
    }
    assert_eq!(client.standing("P1"), Standing::Done(DoneBy::Run));
    assert_eq!(client.standing("P3"), Standing::NeedsDecision(Undecided::HistoryLost));
    // What came later cannot be among what was lost.
    let lost = client.document.stamp;
    deployment::remember(&mut client.memory, &client.document);
    client.history.lose(client.now, Some(lost));
    client.receive([all, vec![command("NEW")]].concat());
    client.settle();
    assert_eq!(client.names(), ["NEW"]);
    client.history.accept_loss();
    client.settle();
    assert_eq!(client.ran.len(), 20, "somebody decided: the 19 others run");
}

/// Q261254: a chain whose middle restarts the machine, and five others.
#[test]
fn q261254_a_restart_in_a_chain_happens_once() {
    let chain = |restart| {
        let mut middle = after(by(command("B"), "2026-06-01T02:00:00Z"), &["A"]);
        middle.program.restart = restart;
        let mut all = vec![
            after(by(command("C"), "2026-06-01T03:00:00Z"), &["B"]),
            middle,
            by(command("A"), "2026-06-01T01:00:00Z"),
        ];
        all.extend((1..=5).map(|n| command(&format!("OTHER{n}"))));
        let mut client = Client::new("2026-06-01T07:00:00Z", all);
        client.acts.insert(id("B"), Act::AsksForRestart);
        client
    };
    for restart in [
        RestartRule::IfAsked { countdown: 600 },
        RestartRule::Always { countdown: 0 },
        RestartRule::ByItself,
    ] {
        let mut client = chain(restart);
        client.live_until("2026-06-01T09:00:00Z");
        assert_eq!(
            client.names(),
            ["A", "B", "C", "OTHER1", "OTHER2", "OTHER3", "OTHER4", "OTHER5"]
        );
        assert_eq!(client.restarts, 1);
    }
    // During the countdown, and once shutdown has begun, nothing starts.
    let mut client = chain(RestartRule::IfAsked { countdown: 600 });
    client.settle();
    assert_eq!(client.names(), ["A", "B"]);
    insta::assert_snapshot!(client.said("OTHER1"), @"waits for the restart `B` needs, since 2026-06-01T07:00:00Z, until 2026-06-01T07:10:00Z");
    insta::assert_snapshot!(client.said("C"), @"waits for `B`, on which it depends: waits for the restart `B` needs, since 2026-06-01T07:00:00Z, until 2026-06-01T07:10:00Z");
    client.shutting_down = true;
    insta::assert_snapshot!(client.said("OTHER1"), @"waits for the machine to start again: it is going down");
    // Where nobody can have it restart, or somebody called that off, it is owed and shown, and nobody else waits for it.
    (client.shutting_down, client.can_restart) = (false, false);
    client.settle();
    assert_eq!(client.names()[..3], ["A", "B", "OTHER1"]);
    let owed = client.agenda().restart.unwrap();
    assert_eq!((owed.at, owed.asked), (None, None));
    assert_eq!(client.restarts, 0);
}

/// Q171070: a restart that is owed is shown with its reason; nothing counts as complete before the machine restarted.
#[test]
fn q171070_nothing_is_complete_before_the_restart_it_needs() {
    let mut one = command("A");
    one.program.restart = RestartRule::IfAsked { countdown: 300 };
    let mut left = command("B");
    left.program.restart = RestartRule::Leave;
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![left.clone()]);
    client.acts.insert(id("A"), Act::AsksForRestart);
    client.acts.insert(id("B"), Act::AsksForRestart);
    client.live_until("2026-06-05T07:00:00Z");
    insta::assert_snapshot!(client.said("B"), @"waits for the restart `B` needs, which somebody must do, since 2026-06-01T07:00:00Z");
    assert_eq!(client.agenda().restart.unwrap().at, None);
    // Nobody needs to be logged on for another deployment's countdown; it serves both.
    client.receive(vec![left, one]);
    client.settle();
    assert_eq!(client.agenda().restart.unwrap().at, Some(at("2026-06-05T07:05:00Z")));
    assert_eq!(client.agenda().restart.unwrap().of, [id("A"), id("B")]);
    client.live_until("2026-06-05T07:04:59Z");
    assert_eq!(client.restarts, 0);
    client.live_until("2026-06-05T07:05:00Z");
    assert_eq!(client.restarts, 1);
    assert_eq!(client.standing("A"), Standing::Done(DoneBy::Run));
    assert_eq!(client.standing("B"), Standing::Done(DoneBy::Run));
}

#[test]
fn a_restart_waits_for_a_window_where_windows_count() {
    let mut one = command("A");
    one.program.restart = RestartRule::Always { countdown: 7_200 };
    let mut client = Client::new("2026-06-01T03:30:00Z", vec![one]).with_windows(vec![night()]);
    client.acts.insert(id("A"), Act::AsksForRestart);
    client.settle();
    assert_eq!(client.names(), ["A"]);
    assert_eq!(client.agenda().restart.unwrap().at, Some(at("2026-06-02T01:00:00Z")));
}

/// Q245170: of 50 items one is corrupt, one has no record, one is empty, one is withdrawn; 46 run on time.
#[test]
fn q245170_bad_items_stop_no_others() {
    let mut all: Vec<Deployment> = (0..46).map(|n| command(&format!("D{n}"))).collect();
    all.push(after(command("NORECORD"), &["GONE"]));
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![command("WITHDRAWN")]);
    client.document.deployments[0].start = Some(When::At(at("2026-07-01T00:00:00Z")));
    client.settle();
    for name in ["CORRUPT", "EMPTY"] {
        client.document.quarantined.push(Quarantined {
            kind: ItemKind::Deployment,
            name: name.into(),
            reason: "it is no whole CBOR item".to_owned(),
            bytes: Hash::of(name.as_bytes()),
        });
    }
    client.receive(all);
    client.settle();
    assert_eq!(client.ran.len(), 46);
    insta::assert_snapshot!(client.said("CORRUPT"), @"impossible: it cannot be read: it is no whole CBOR item");
    insta::assert_snapshot!(client.said("NORECORD"), @"waits for `GONE`, on which it depends: the document does not name it");
    assert_eq!(client.said("WITHDRAWN"), "");
}

fn removed_when_gone(name: &str, of: &str) -> Deployment {
    let mut one = command(name);
    one.package = package(of, "1.0");
    one.withdrawal = Withdrawal::Run(Action::Package(PackageAction::Uninstall));
    one
}

fn removals(client: &Client) -> usize {
    client.ran.iter().filter(|(_, key)| key.kind == RunKind::Removal).count()
}

/// Q199263: withdrawn by leaving the collection, by deletion, by expiry; for the machine and for users: taken off
/// exactly once. Not where another deployment wants the package.
#[test]
fn q199263_withdrawn_is_taken_off_once() {
    for audience in [Audience::Machine, Audience::EveryUser] {
        // It left the collection, or it was deleted: a newer document does not name it.
        let mut one = removed_when_gone("A", "redis");
        one.audience = audience.clone();
        let mut client = Client::new("2026-06-01T07:00:00Z", vec![one.clone()]);
        client.log_on("ann");
        client.settle();
        client.receive(vec![command("B")]);
        client.settle();
        client.receive(vec![]);
        client.settle();
        assert_eq!((client.names(), removals(&client)), (vec!["A", "A", "B"], 1), "{audience:?}");
        assert_eq!(client.said("A"), "removal: withdrawn, and taken off");
        // It expires.
        one.expiry = Some(When::At(at("2026-06-02T00:00:00Z")));
        let mut client = Client::new("2026-06-01T07:00:00Z", vec![one.clone()]);
        client.log_on("ann");
        client.live_until("2026-06-03T00:00:00Z");
        assert_eq!((client.names(), removals(&client)), (vec!["A", "A"], 1), "{audience:?}");
        assert_eq!(client.ran[1].0, at("2026-06-02T00:00:00Z"));
        client.receive(vec![]);
        client.settle();
        assert_eq!(removals(&client), 1, "expired, then deleted: once");
    }
    // Two of one package; one is deleted, then the other.
    let all = vec![removed_when_gone("A", "redis"), removed_when_gone("B", "redis")];
    let mut client = Client::new("2026-06-01T07:00:00Z", all.clone());
    client.settle();
    client.receive(all[1..].to_vec());
    client.settle();
    assert_eq!(removals(&client), 0);
    insta::assert_snapshot!(client.said("A"), @"removal: withdrawn, and kept for `B`");
    client.receive(vec![]);
    client.settle();
    assert_eq!(removals(&client), 1, "once for both");
    // What comes back is put back.
    client.receive(all);
    client.settle();
    assert_eq!(client.ran.len(), 5);
}

/// Q199263, law 3: nothing but a newer document of the same epoch withdraws anything.
#[test]
fn q199263_no_news_withdraws_nothing() {
    let one = removed_when_gone("A", "redis");
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![one.clone()]);
    client.settle();
    // Every download fails: the document in force stays, and time passes.
    client.live_until("2027-06-01T07:00:00Z");
    assert_eq!(removals(&client), 0);
    // The site was restored from a backup that does not know it.
    client.document.stamp.epoch = 1;
    client.receive(vec![]);
    client.settle();
    assert_eq!(removals(&client), 0);
    insta::assert_snapshot!(client.said("A"), @"removal: waits for its site, which was restored from a backup and does not name it since");
    // The restored site names it, and then does not.
    client.receive(vec![one]);
    client.settle();
    client.receive(vec![]);
    client.settle();
    assert_eq!(removals(&client), 1);
    // It is there, and nobody can read it.
    let mut client = Client::new(
        "2026-06-01T07:00:00Z",
        vec![removed_when_gone("A", "redis"), removed_when_gone("B", "git")],
    );
    client.settle();
    client.document.quarantined.push(Quarantined {
        kind: ItemKind::Deployment,
        name: "A".into(),
        reason: "damaged".to_owned(),
        bytes: Hash::of(b"A"),
    });
    client.receive(vec![]);
    client.settle();
    assert_eq!(client.names(), ["A", "B", "B"], "B is withdrawn, A is only damaged");
    // Something unreadable may want what is withdrawn.
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![removed_when_gone("B", "git")]);
    client.settle();
    client.document.quarantined.push(Quarantined {
        kind: ItemKind::Deployment,
        name: "NEW".into(),
        reason: "damaged".to_owned(),
        bytes: Hash::of(b"A"),
    });
    client.receive(vec![]);
    client.settle();
    assert_eq!(removals(&client), 0);
    insta::assert_snapshot!(client.said("B"), @"removal: waits for `NEW`, on which it depends: it cannot be read, and may want the same package");
}

#[test]
fn what_is_superseded_does_not_run_and_goes_first_where_that_is_said() {
    let mut new = command("NEW");
    let uninstall = Action::Package(PackageAction::Uninstall);
    new.supersedes = vec![Supersedence { deployment: id("OLD"), first: Some(uninstall) }];
    new.program.requirement = Some(Condition::Constant(true));
    // Never run here: it is passed over.
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![command("OLD"), new.clone()]);
    client.required.insert(id("NEW"), Truth::Yes);
    client.settle();
    assert_eq!(client.names(), ["NEW"]);
    insta::assert_snapshot!(client.said("OLD"), @"superseded by `NEW`");
    // Run before: taken off first.
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![command("OLD")]);
    client.settle();
    client.receive(vec![command("OLD"), new.clone()]);
    client.settle();
    assert_eq!((client.names(), removals(&client)), (vec!["OLD", "OLD", "NEW"], 1));
    // The newer one is not for this machine: the older one is.
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![command("OLD"), new]);
    client.required.insert(id("NEW"), Truth::No);
    client.settle();
    assert_eq!(client.names(), ["OLD"]);
}

#[test]
fn circles_are_shown_and_harm_nobody_else() {
    let all = vec![
        after(command("A"), &["B"]),
        after(command("B"), &["C"]),
        after(command("C"), &["A"]),
        command("D"),
    ];
    let mut client = Client::new("2026-06-01T07:00:00Z", all);
    client.settle();
    assert_eq!(client.names(), ["D"]);
    insta::assert_snapshot!(client.said("A"), @"impossible: it depends on itself by way of `A`, `B`, `C`, `A`");
}

#[test]
fn an_available_program_runs_when_asked_for_or_needed_or_when_its_deadline_comes() {
    let available = |name| {
        let mut one = command(name);
        one.purpose = Purpose::Available;
        one
    };
    let all = vec![
        available("ASKED"),
        available("NEEDED"),
        after(command("TOP"), &["NEEDED"]),
        by(available("LATER"), "2026-06-02T00:00:00Z"),
        available("NEVER"),
    ];
    let mut client = Client::new("2026-06-01T07:00:00Z", all);
    client.requested.insert((id("ASKED"), None));
    client.live_until("2026-06-01T23:59:59Z");
    assert_eq!(client.names(), ["ASKED", "NEEDED", "TOP"]);
    client.live_until("2026-07-01T00:00:00Z");
    assert_eq!(client.names(), ["ASKED", "NEEDED", "TOP", "LATER"]);
    insta::assert_snapshot!(client.said("NEVER"), @"offered: runs when somebody asks for it");
}

#[test]
fn retries_are_counted_shown_bounded_and_begin_again_when_asked_for() {
    let mut one = command("A");
    one.retry = RetryLimits { first: 600, longest: 3_600, attempts: 3 };
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![one.clone()]);
    client.acts.insert(id("A"), Act::Fails);
    client.settle();
    insta::assert_snapshot!(client.said("A"), @"waits for the pause after attempt 1 of 3: exit code 1, since 2026-06-01T07:00:00Z, until 2026-06-01T07:00:06Z");
    client.live_until("2026-06-30T07:00:00Z");
    assert_eq!(client.ran.len(), 3);
    insta::assert_snapshot!(client.said("A"), @"given up after 3 attempts: exit code 1");
    one.retry_round = 1;
    client.receive(vec![one]);
    client.settle();
    assert_eq!(client.ran.len(), 4, "at once");
    // A clock that was set back by years does not make the pause longer.
    client.now = at("2020-01-01T00:00:00Z");
    client.acts.insert(id("A"), Act::Works);
    client.settle();
    assert_eq!(client.standing("A"), Standing::Done(DoneBy::Run));
}

#[test]
fn what_was_cut_off_is_detected_rerun_or_decided_never_guessed() {
    let mut rerunnable = command("RERUN");
    rerunnable.program.rerunnable = true;
    let all = vec![
        detectable(command("SEEN")),
        detectable(command("UNSEEN")),
        command("BLIND"),
        rerunnable,
    ];
    let mut client = Client::new("2026-06-01T07:00:00Z", all);
    for name in ["SEEN", "UNSEEN", "BLIND", "RERUN"] {
        client.acts.insert(id(name), Act::CutOff);
        client.detected.insert((id(name), None), Truth::No);
    }
    let keys: Vec<_> = client.agenda().items.into_iter().map(|item| item.key).collect();
    for key in keys {
        client.run(key);
    }
    client.detected.insert((id("SEEN"), None), Truth::Yes);
    client.acts.insert(id("RERUN"), Act::Works);
    client.settle();
    assert_eq!(client.names(), ["BLIND", "RERUN", "SEEN", "UNSEEN", "RERUN"]);
    assert_eq!(client.standing("SEEN"), Standing::Done(DoneBy::Detected));
    for name in ["UNSEEN", "BLIND"] {
        assert_eq!(
            client.standing(name),
            Standing::NeedsDecision(Undecided::Interrupted),
            "{name}"
        );
    }
}

#[test]
fn what_is_there_already_is_not_run_and_unknown_is_a_wait() {
    let mut picky = command("PICKY");
    picky.program.requirement = Some(Condition::Constant(true));
    let mut client = Client::new(
        "2026-06-01T07:00:00Z",
        vec![detectable(command("A")), detectable(command("B")), picky],
    );
    client.detected.insert((id("A"), None), Truth::Yes);
    client.detected.insert((id("B"), None), Truth::Unknown("`/opt` cannot be read".to_owned()));
    client.required.insert(id("PICKY"), Truth::Unknown("no such key: `memory`".to_owned()));
    client.settle();
    assert_eq!(client.names(), [] as [&str; 0]);
    assert_eq!(client.standing("A"), Standing::Done(DoneBy::Detected));
    insta::assert_snapshot!(client.said("B"), @"waits for its detection rule, which cannot tell: `/opt` cannot be read");
    insta::assert_snapshot!(client.said("PICKY"), @"waits for its requirement, which cannot tell: no such key: `memory`");
}

#[test]
fn a_program_starts_only_where_a_window_is_open_long_enough() {
    let with = |estimate| {
        let mut one = command("A");
        one.program.estimate = Some(estimate);
        one
    };
    let mut client =
        Client::new("2026-06-01T04:30:00Z", vec![with(3_600)]).with_windows(vec![night()]);
    insta::assert_snapshot!(client.said("A"), @"waits for the maintenance window `night`, until 2026-06-02T01:00:00Z");
    client.live_until("2026-06-03T00:00:00Z");
    assert_eq!(client.ran[0].0, at("2026-06-02T01:00:00Z"));
    let client =
        Client::new("2026-06-01T04:30:00Z", vec![with(5 * 3_600)]).with_windows(vec![night()]);
    insta::assert_snapshot!(client.said("A"), @"waits for a longer maintenance window: it takes 5 h, and no maintenance window is open that long: the longest, `night`, is open for 4 h; lengthen a window, correct the estimate, or let the deployment ignore windows");
    // Then its deadline comes.
    let mut one = by(with(5 * 3_600), "2026-06-01T12:00:00Z");
    one.windows = WindowRule::UntilDeadline;
    let mut client = Client::new("2026-06-01T04:30:00Z", vec![one]).with_windows(vec![night()]);
    client.live_until("2026-06-03T00:00:00Z");
    assert_eq!(client.ran[0].0, at("2026-06-01T12:00:00Z"));
}

/// Q154931: a slow link defers what asked for a fast one, whatever lets it begin; nothing else.
#[test]
fn q154931_a_slow_link_defers_what_asked_for_it() {
    let all: Vec<Deployment> = (0..4)
        .flat_map(|n| {
            let mut one = match n {
                0 => from(command("TIME"), "2026-05-01T00:00:00Z"),
                1 => command("SOON"),
                2 => daily(command("DAILY"), "2026-05-01T00:00", Zone::Client),
                _ => command("LOGON"),
            };
            if n == 3 {
                one.trigger = Trigger::Logon;
            }
            let mut slow = one.clone();
            slow.id = id(&format!("FAST-{}", one.id));
            slow.program.least_rate = Some(100_000);
            [one, slow]
        })
        .collect();
    let mut client = Client::new("2026-06-01T07:00:00Z", all);
    client.log_on("ann");
    client.link = Some(8_000);
    client.settle();
    assert_eq!(client.names(), ["DAILY", "LOGON", "SOON", "TIME"]);
    for name in ["TIME", "SOON", "DAILY", "LOGON"] {
        let said = client.said(&format!("FAST-{name}"));
        assert_eq!(said, "waits for a link of 100000 bytes/s: 8000 were measured", "{name}");
    }
    client.cached.insert(id("FAST-SOON"));
    client.settle();
    assert_eq!(client.ran.len(), 5, "what is here needs no link");
    client.link = Some(200_000);
    client.settle();
    assert_eq!(client.ran.len(), 8);
}

/// Q186132, Q239564: a client that changes its zone, or whose clock runs wild, runs no occurrence twice.
#[test]
fn q239564_another_zone_is_no_other_day() {
    let one = daily(command("A"), "2026-06-01T12:00", Zone::Client);
    let mut client = Client::new("2026-06-05T09:00:00Z", vec![one]);
    client.zone = database().get("Europe/Berlin").unwrap();
    client.live_until("2026-06-05T10:30:00Z");
    assert_eq!(client.ran.len(), 2, "yesterday's, which is overdue, and today's");
    for zone in ["America/New_York", "Asia/Kathmandu", "Pacific/Chatham", "America/New_York"] {
        client.zone = database().get(zone).unwrap();
        client.live_until("2026-06-05T15:59:59Z");
    }
    // In Chatham it was the sixth already, and that day's noon came later.
    assert_eq!(client.ran.len(), 2);
    client.zone = TimeZone::UTC;
    client.live_until("2026-06-06T12:00:00Z");
    assert_eq!(client.ran.len(), 3);
    client.now = at("2026-06-06T11:00:00Z");
    client.live_until("2026-06-06T13:00:00Z");
    assert_eq!(client.ran.len(), 3, "the clock was set back an hour");
}

#[test]
fn a_gate_names_who_closed_it_since_when_and_how_to_hasten_it() {
    let mut one = command("A");
    let since = at("2026-05-01T00:00:00Z");
    one.gate = Gate::Closed { cause: GateCause::Halted, by: "7 of 20 failed".into(), since };
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![one]);
    client.settle();
    insta::assert_snapshot!(client.said("A"), @"waits for its rollout, which halted by itself: 7 of 20 failed, since 2026-05-01T00:00:00Z");
    let Standing::Waiting(Wait { what, .. }) = client.standing("A") else { panic!() };
    insta::assert_snapshot!(what.hasten(&id("A")), @"`packhorse site deployment resume A`");
    assert!(matches!(what, WaitFor::Gate { .. }));
}

#[test]
fn installing_is_an_action_like_any_other() {
    let mut client = Client::new("2026-06-01T07:00:00Z", vec![install("REDIS")]);
    client.settle();
    assert_eq!(client.names(), ["REDIS"]);
}
