//! What is said while somebody authors, and that one timer is enough.

use deployment::{
    Audience, Cadence, Deployment, Purpose, Recurrence, Standing, When, Window, WindowRule, Zone,
    Zones, review,
};
use jiff::{Timestamp, tz::TimeZone};
use proptest::prelude::*;

use crate::{
    client::{Act, Client, database},
    sample::{at, command, id},
};

fn night(minutes: u32) -> Window {
    let zone = Zone::Named("Europe/Berlin".into());
    let from = "2026-01-01T01:00".parse().unwrap();
    Window {
        name: "night".into(),
        opens: Recurrence { from, zone, cadence: Cadence::Days(1) },
        minutes,
        until: None,
    }
}

fn said(deployments: &[Deployment], windows: &[Window]) -> Vec<String> {
    let zones = Zones { database: database(), client: &TimeZone::UTC };
    let all = review(deployments, windows, zones, at("2026-06-01T12:00:00Z"));
    all.iter()
        .map(|one| {
            format!("{}{}: {}", one.deployment, if one.is_fatal { "!" } else { "" }, one.text)
        })
        .collect()
}

#[test]
fn an_author_is_told_what_can_never_run() {
    let mut long = command("LONG");
    long.program.estimate = Some(6 * 3_600);
    let mut circle = [command("A"), command("B")];
    circle[0].depends_on = vec![id("B")];
    circle[1].depends_on = vec![id("A"), id("GONE")];
    let mut late = command("LATE");
    late.start = Some(When::At(at("2026-07-01T00:00:00Z")));
    late.deadline = Some(When::At(at("2026-06-15T00:00:00Z")));
    late.expiry = Some(When::At(at("2026-06-20T00:00:00Z")));
    late.windows = WindowRule::Ignore;
    let mut users = command("USERS");
    users.audience = Audience::EveryUser;
    let mut machine = command("MACHINE");
    machine.depends_on = vec![id("USERS")];
    let [a, b] = circle;
    insta::assert_debug_snapshot!(said(&[long, a, b, late, users, machine], &[night(240)]), @r#"
    [
        "LONG!: it takes 6 h, and no maintenance window is open that long: the longest, `night`, is open for 5 h; lengthen a window, correct the estimate, or let the deployment ignore windows",
        "A!: it depends on itself by way of `A`, `B`, `A`",
        "A: it runs at 2026-06-01T23:00:00Z at the earliest, in the window `night`",
        "B!: it depends on itself by way of `B`, `A`, `B`",
        "B!: it depends on `GONE`, which these clients do not get: deploy that to them as well",
        "B: it runs at 2026-06-01T23:00:00Z at the earliest, in the window `night`",
        "LATE!: its deadline 2026-06-15T00:00:00Z is before its start 2026-07-01T00:00:00Z",
        "LATE!: it expires at 2026-06-20T00:00:00Z, before it starts",
        "USERS: it runs at 2026-06-01T23:00:00Z at the earliest, in the window `night`",
        "MACHINE!: it runs for the machine and depends on `USERS`, which runs for users",
        "MACHINE: it runs at 2026-06-01T23:00:00Z at the earliest, in the window `night`",
    ]
    "#);
    assert_eq!(said(&[command("FINE")], &[]), [] as [&str; 0]);
}

fn times() -> impl Strategy<Value = Option<When>> {
    proptest::option::of((-3_000..6_000_i64).prop_map(|minutes| {
        let at = at("2026-10-24T12:00:00Z").as_second() + minutes * 60;
        When::At(Timestamp::from_second(at).unwrap())
    }))
}

fn deployments() -> impl Strategy<Value = Deployment> {
    let cadence = prop_oneof![
        (600..20_000_u32).prop_map(Cadence::Seconds),
        (1..3_u16).prop_map(Cadence::Days),
    ];
    let recurrence = proptest::option::of((cadence, 0..24_i8)).prop_map(|all| {
        all.map(|(cadence, hour)| Recurrence {
            from: format!("2026-10-22T{hour:02}:30").parse().unwrap(),
            zone: Zone::Named("Europe/Berlin".into()),
            cadence,
        })
    });
    (times(), times(), times(), recurrence, 0..3_u8, 0..20_000_u32, any::<bool>()).prop_map(
        |(start, deadline, expiry, recurrence, windows, estimate, required)| {
            let mut one = command("X");
            (one.start, one.deadline, one.expiry, one.recurrence) =
                (start, deadline, expiry, recurrence);
            one.windows = [WindowRule::Inside, WindowRule::UntilDeadline, WindowRule::Ignore]
                [usize::from(windows)];
            one.program.estimate = Some(estimate);
            one.purpose = if required { Purpose::Required } else { Purpose::Available };
            one
        },
    )
}

/// What each is doing, without the times by which it is said.
fn kinds(client: &Client) -> Vec<(String, std::mem::Discriminant<Standing>)> {
    let agenda = client.agenda();
    let kind = |item: &deployment::Item| {
        let what = match &item.standing {
            Standing::Waiting(wait) => {
                format!("{} {:?}", item.key.deployment, std::mem::discriminant(&wait.what))
            }
            _ => item.key.deployment.to_string(),
        };
        (format!("{what} {}", item.key.occurrence), std::mem::discriminant(&item.standing))
    };
    agenda.items.iter().map(kind).collect()
}

proptest! {
    /// Between now and the one instant at which to look again nothing changes, over the night the clocks are set back.
    #[test]
    fn one_timer_is_enough(all in proptest::collection::vec(deployments(), 1..4), windows in any::<bool>(), fails in any::<bool>(), part in 0..1_000_i64) {
        let all: Vec<Deployment> = all.into_iter().enumerate().map(|(n, mut one)| { one.id = id(&format!("D{n}")); one }).collect();
        let mut client = Client::new("2026-10-24T12:00:00Z", all);
        if windows {
            client.document.windows = vec![night(240)];
        }
        if fails {
            client.acts.insert(id("D0"), Act::Fails);
        }
        for _ in 0..30 {
            client.settle();
            let before = kinds(&client);
            let Some(next) = client.agenda().next else { break };
            prop_assert!(next > client.now);
            let now = client.now;
            let between = now.as_second() + (next.as_second() - now.as_second() - 1).max(0) * part / 1_000;
            client.now = Timestamp::from_second(between).unwrap().max(now);
            prop_assert_eq!(kinds(&client), before, "between {} and {}", now, next);
            client.now = next;
        }
    }
}
