use deployment::{
    Action, Audience, Cadence, ClientSettings, CommandLine, Deployment, ExitFamily, ExitMap, Gate,
    GateCause, ItemKind, Meaning, MonthDay, PackageAction, PolicyDocument, Presence, Purpose,
    ReadDocumentError, Recurrence, RestartRule, RetryLimits, RunAs, Supersedence, Trigger, When,
    Window, WindowRule, Withdrawal, Zone,
};
use model::{Comparison, Condition, Fact, Hash, Template, Value};
use policy::{SiteCode, Stamp};
use proptest::prelude::*;

use crate::sample::{at, client, command, id, install, site};

/// The first document of format 1 that was ever written; it is read for ever.
const FROZEN: &[u8] = include_bytes!("fixtures/policy-1.bin");

fn full() -> Deployment {
    let mut one = install("FULL");
    let text = |text: &str| Value::Text(text.parse::<Template>().unwrap());
    let os = Value::Fact(Fact::Os);
    let linux =
        Condition::Compare { left: os, comparison: Comparison::Equal, right: text("linux") };
    one.title = "Büro Ⅲ: O'Brien's tools".into();
    one.program.run_as = RunAs::User;
    one.program.detection =
        Some(Condition::Holds(Value::Fact(Fact::Exists("/opt/full".parse().unwrap()))));
    one.program.requirement = Some(Condition::All(vec![linux, Condition::Constant(true)]));
    one.program.exit_codes =
        ExitMap { family: ExitFamily::Msi, own: [(-5, Meaning::Retry)].into() };
    one.program.estimate = Some(900);
    one.program.limit = Some(3_600);
    one.program.restart = RestartRule::IfAsked { countdown: 600 };
    one.program.rerunnable = true;
    one.program.least_rate = Some(125_000);
    one.audience = Audience::Users(vec!["O'Brien".into(), "1SKY".into(), "李".into()]);
    one.purpose = Purpose::Available;
    one.trigger = Trigger::Logon;
    one.presence = Presence::User;
    one.start = Some(When::At(at("2026-11-01T00:00:00Z")));
    let clock = "2026-12-01T02:30".parse().unwrap();
    one.deadline = Some(When::Wall { clock, zone: Zone::Client });
    one.expiry = Some(When::Wall { clock, zone: Zone::Named("Pacific/Chatham".into()) });
    one.recurrence = Some(Recurrence {
        from: clock,
        zone: Zone::Client,
        cadence: Cadence::Weeks { every: 2, days: 3 },
    });
    one.windows = WindowRule::UntilDeadline;
    one.depends_on = vec![id("BASE")];
    let first = Some(Action::Command(CommandLine::Shell("rm -rf /opt/old 2>&1".to_owned())));
    one.supersedes = vec![Supersedence { deployment: id("OLD"), first }];
    one.withdrawal = Withdrawal::Run(Action::Package(PackageAction::Uninstall));
    one.retry = RetryLimits { first: 1, longest: 2, attempts: 3 };
    one.retry_round = 4;
    one.gate = Gate::Closed {
        cause: GateCause::LaterWave,
        by: "wave 3".into(),
        since: at("2026-10-31T12:00:00Z"),
    };
    one
}

fn document() -> PolicyDocument {
    let monthly = Cadence::Months { every: 1, day: MonthDay::Weekday { nth: 2, day: 1 } };
    let from = "2026-01-01T01:00".parse().unwrap();
    let zone = Zone::Named("Europe/Berlin".into());
    PolicyDocument {
        stamp: Stamp { epoch: 2, sequence: 17 },
        site: site(),
        client: client(),
        made: at("2026-11-21T14:00:00Z"),
        deployments: vec![install("BASE"), command("OLD"), full()],
        windows: vec![Window {
            name: "patch night".into(),
            opens: Recurrence { from, zone, cadence: monthly },
            minutes: 240,
            until: Some(When::At(at("2038-01-19T03:14:08Z"))),
        }],
        settings: ClientSettings {
            cache: Some(1 << 40),
            rate: Some(1),
            ..ClientSettings::default()
        },
        quarantined: Vec::new(),
    }
}

fn read(bytes: &[u8]) -> Result<PolicyDocument, ReadDocumentError> {
    PolicyDocument::read(bytes, client(), &site())
}

#[test]
fn the_frozen_document_is_read_and_written_alike() {
    assert_eq!(read(FROZEN).unwrap(), document());
    assert_eq!(document().write(), FROZEN);
}

#[test]
fn another_clients_document_is_refused_by_name() {
    let other = "ffffffffffffffffffffffffffffffff".parse().unwrap();
    let error = PolicyDocument::read(FROZEN, other, &site()).unwrap_err();
    insta::assert_snapshot!(error, @"the policy document is for client `000102030405060708090a0b0c0d0e0f`, and this is `ffffffffffffffffffffffffffffffff`: a proxy or a cloned disk mixes up clients; `packhorse-agent status` shows whose it is");
    let error = PolicyDocument::read(FROZEN, client(), &SiteCode::new("LAB").unwrap()).unwrap_err();
    insta::assert_snapshot!(error, @"the policy document is from site `HQ`, and this client belongs to `LAB`: a proxy or a cloned disk mixes up clients; `packhorse-agent status` shows whose it is");
}

#[test]
fn older_documents_do_not_take_the_place_of_newer_ones() {
    let document = document();
    assert_eq!(document.follows(None), Ok(()));
    assert_eq!(document.follows(Some(Stamp { epoch: 1, sequence: 900 })), Ok(()));
    assert_eq!(document.follows(Some(Stamp { epoch: 2, sequence: 16 })), Ok(()));
    let error = document.follows(Some(Stamp { epoch: 2, sequence: 17 })).unwrap_err();
    insta::assert_snapshot!(error, @"document 2.17 is not newer than 2.17, which is in force");
    assert!(document.follows(Some(Stamp { epoch: 3, sequence: 1 })).is_err());
}

#[test]
fn what_is_no_document_says_so() {
    insta::assert_snapshot!(read(b"<html>captive portal").unwrap_err(), @"this is no policy document: it does not start with `PHPOLCY`; check what answers at the site's address");
    assert_eq!(read(b"").unwrap_err(), ReadDocumentError::NotADocument);
    let mut newer = FROZEN.to_vec();
    newer[8] = 2;
    insta::assert_snapshot!(read(&newer).unwrap_err(), @"the policy document has format 2, and this agent reads formats up to 1: upgrade the agent");
}

/// The frozen document with another list of deployments, bytes as given; the hash is right.
fn with_items(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut e = minicbor::Encoder::new(Vec::new());
    e.array(8).unwrap().u32(2).unwrap().u64(17).unwrap().str("HQ").unwrap();
    e.bytes(&client().0).unwrap().i64(0).unwrap().array(items.len() as u64).unwrap();
    for (name, item) in items {
        e.array(2).unwrap().str(name).unwrap().bytes(item).unwrap();
    }
    e.array(0).unwrap().encode(ClientSettings::default()).unwrap();
    let body = e.into_writer();
    let mut bytes = FROZEN[..12].to_vec();
    bytes.extend(Hash::of(&body).0);
    bytes.extend(body);
    bytes
}

/// Q245170: one damaged item stops all other deployments of that client. Here 4 of 50 are bad in four ways: 46 are
/// read, each bad one is named with its reason, and none of them counts as withdrawn.
#[test]
fn q245170_a_bad_deployment_harms_itself_only() {
    let encoded = |one: &Deployment| minicbor::to_vec(one).unwrap();
    let mut items: Vec<(String, Vec<u8>)> =
        (0..46).map(|n| (format!("D{n}"), encoded(&install(&format!("D{n}"))))).collect();
    let mut corrupt = encoded(&install("CORRUPT"));
    let middle = corrupt.len() / 2;
    corrupt[middle..].fill(0xff);
    items.insert(3, ("CORRUPT".to_owned(), corrupt));
    items.insert(20, ("EMPTY".to_owned(), Vec::new()));
    items.insert(33, ("OTHER".to_owned(), encoded(&install("D7"))));
    let mut endless = vec![0x81; 100_000];
    endless.push(0);
    items.push(("DEEP".to_owned(), endless));
    let items: Vec<(&str, Vec<u8>)> =
        items.iter().map(|(name, item)| (&**name, item.clone())).collect();
    let document = read(&with_items(&items)).unwrap();
    assert_eq!(document.deployments.len(), 46);
    let said: Vec<String> =
        document.quarantined.iter().map(|bad| format!("{}: {}", bad.name, bad.reason)).collect();
    insta::assert_debug_snapshot!(said[1..], @r#"
    [
        "EMPTY: it is no whole CBOR item",
        "OTHER: it is listed as `OTHER` and calls itself `D7`",
        "DEEP: it is nested more than 64 deep",
    ]
    "#);
    assert!(said[0].starts_with("CORRUPT: "), "{}", said[0]);
    for name in ["CORRUPT", "EMPTY", "OTHER", "DEEP", "D0"] {
        assert!(document.names(&id(name)), "{name} is not withdrawn");
    }
    assert!(!document.names(&id("ELSE")));
}

#[test]
fn the_second_of_two_with_one_id_is_set_aside() {
    let item = minicbor::to_vec(install("A")).unwrap();
    let document = read(&with_items(&[("A", item.clone()), ("A", item)])).unwrap();
    assert_eq!((document.deployments.len(), document.quarantined.len()), (1, 1));
}

/// Not even once does damage become an empty document, or somebody else's deployments.
#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    for length in 0..FROZEN.len() {
        assert!(read(&FROZEN[..length]).is_err(), "{length}");
    }
    for at in 0..FROZEN.len() {
        let mut bytes = FROZEN.to_vec();
        bytes[at] ^= 1 << (at % 8);
        assert!(read(&bytes).is_err(), "{at}");
    }
}

#[test]
fn a_window_that_cannot_be_read_is_still_a_window() {
    let mut document = document();
    document.windows[0].minutes = 0;
    let read = read(&document.write()).unwrap();
    assert_eq!(read.windows, []);
    assert_eq!(read.quarantined[0].kind, ItemKind::Window);
    insta::assert_snapshot!(read.quarantined[0].reason, @"it is open for 0 minutes: give 1 to 527040");
    assert!(read.has_windows());
}

proptest! {
    /// Bytes of an attacker who can make the hash fit end in a refusal or in quarantine, never in a panic.
    #[test]
    fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..200), item in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = FROZEN[..12].to_vec();
        bytes.extend(Hash::of(&body).0);
        bytes.extend(&body);
        prop_assert!(read(&bytes).is_err());
        let document = read(&with_items(&[("A", item), ("B", minicbor::to_vec(full()).unwrap())])).unwrap();
        prop_assert_eq!(document.quarantined.len(), 2, "B calls itself FULL");
    }

    #[test]
    fn a_damaged_deployment_is_quarantined_or_read(at in 0..400_usize, to in any::<u8>()) {
        let mut item = minicbor::to_vec(full()).unwrap();
        let at = at % item.len();
        item[at] = to;
        let document = read(&with_items(&[("FULL", item), ("BASE", minicbor::to_vec(install("BASE")).unwrap())])).unwrap();
        prop_assert_eq!(document.deployments.len() + document.quarantined.len(), 2);
        prop_assert!(document.deployment(&id("BASE")).is_some());
    }
}
