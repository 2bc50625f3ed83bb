//! Who belongs together, by the names of the field's failures.

use std::collections::BTreeMap;

use deployment::{
    ClientId, CollectionSpec, Collections, Inventory, InventoryKey, InventoryPart, MachineField,
    Membership, Rule, Truth,
};
use proptest::prelude::*;

type Clients = BTreeMap<ClientId, Inventory>;

fn client(number: u128) -> ClientId {
    ClientId(number.to_be_bytes())
}

fn named(name: &str) -> CollectionSpec {
    CollectionSpec { name: name.into(), ..CollectionSpec::default() }
}

fn by_rule(name: &str, rule: &str) -> CollectionSpec {
    CollectionSpec { rule: Some(rule.to_owned()), ..named(name) }
}

fn machine(name: &str, os: &str, packages: &[&str]) -> Inventory {
    let mut inventory = Inventory::default();
    inventory.report(InventoryPart::Packages);
    inventory.text(InventoryKey::Machine(MachineField::HostName), name);
    inventory.text(InventoryKey::Machine(MachineField::Os), os);
    for package in packages {
        inventory.text(InventoryKey::package(package), "1.0");
    }
    inventory
}

/// Clients 1 to 3: two on Linux, one of which has redis; one on Windows.
fn three() -> Clients {
    let all = [
        machine("a", "linux", &["redis"]),
        machine("b", "linux", &[]),
        machine("c", "windows", &[]),
    ];
    (1..).map(client).zip(all).collect()
}

fn each(clients: &Clients) -> impl Iterator<Item = (ClientId, &Inventory)> {
    clients.iter().map(|(client, inventory)| (*client, inventory))
}

fn site(clients: &Clients, specs: Vec<CollectionSpec>) -> Collections {
    let mut collections = Collections::default();
    for (client, inventory) in clients {
        collections.report(*client, None, inventory);
    }
    for spec in specs {
        collections.save(spec, each(clients)).unwrap();
    }
    collections
}

fn members(collections: &Collections, name: &str) -> Vec<u128> {
    collections.members(name).map(|id| u128::from_be_bytes(id.0)).collect()
}

#[test]
fn rules_names_includes_excludes_and_limits_work_together() {
    let clients = three();
    let specs = vec![
        by_rule("linux", "machine.os == \"linux\""),
        by_rule("redis", "installed(\"redis\") != \"\""),
        CollectionSpec { members: [client(2), client(3)].into(), ..named("chosen") },
        CollectionSpec {
            include: vec!["linux".into(), "chosen".into()],
            exclude: vec!["redis".into()],
            ..named("mixed")
        },
        CollectionSpec {
            limit: Some("linux".into()),
            ..CollectionSpec { everybody: true, ..named("limited") }
        },
    ];
    let mut collections = site(&clients, specs);
    assert_eq!(members(&collections, "linux"), [1, 2]);
    assert_eq!(members(&collections, "mixed"), [2, 3]);
    assert_eq!(members(&collections, "limited"), [1, 2]);
    // Redis goes: one change is asked of one rule, and reaches what hangs on it.
    let before = clients[&client(1)].clone();
    let mut after = before.clone();
    after.remove(&InventoryKey::package("redis"));
    let changes = collections.report(client(1), Some(&before), &after);
    let said: Vec<String> =
        changes.iter().map(|one| format!("{} {:?}", one.collection, one.now)).collect();
    assert_eq!(said, ["redis Outside", "mixed Member"]);
    assert_eq!(collections.of(client(1)), ["limited".into(), "linux".into(), "mixed".into()]);
    assert_eq!(collections.size("mixed").unwrap().members, 3);
    collections.forget(client(1));
    assert_eq!(collections.size("mixed").unwrap().members, 2);
}

/// Unknown is not a match, not of what excludes it either; and it is shown.
#[test]
fn what_is_unknown_stays_out_and_is_counted() {
    let mut clients = three();
    clients.insert(client(4), Inventory::default());
    let specs = vec![
        by_rule("linux", "machine.os == \"linux\""),
        by_rule("not linux", "machine.os != \"linux\""),
        CollectionSpec { everybody: true, exclude: vec!["linux".into()], ..named("others") },
    ];
    let collections = site(&clients, specs);
    for name in ["linux", "not linux", "others"] {
        assert_eq!(collections.membership(client(4), name), Some(Membership::Unknown), "{name}");
        assert_eq!(collections.size(name).unwrap().unknown, 1, "{name}");
    }
    assert_eq!(members(&collections, "others"), [3]);
    let why = |number, name| {
        collections.why(client(number), &clients[&client(number)], name).unwrap().to_string()
    };
    insta::assert_snapshot!(why(4, "others"), @"is not taken for a member of `others`: all clients belong to it; it excludes `linux`, of which it is unknown");
    insta::assert_snapshot!(why(4, "linux"), @r#"is not taken for a member of `linux`: its rule cannot tell: `machine.os` is not known (`machine.os == "linux"`): `machine.os` is not known"#);
    insta::assert_snapshot!(why(1, "linux"), @r#"is in `linux`: its rule is true of it (`machine.os == "linux"`): `machine.os` is `linux`"#);
    insta::assert_snapshot!(why(3, "linux"), @r#"is not in `linux`: its rule is not true of it (`machine.os == "linux"`): `machine.os` is `windows`"#);
}

/// Q273204: a collection by name only, with an empty, default or invalid rule, or lost in a failed save, is not *all*.
#[test]
fn q273204_nothing_becomes_all_clients_by_itself() {
    let clients = three();
    let mut collections = site(&clients, vec![by_rule("keep", "machine.os == \"linux\"")]);
    let mut refused = |spec| collections.save(spec, each(&clients)).unwrap_err().to_string();
    insta::assert_snapshot!(refused(named("only a name")), @"`only a name` has neither rule nor members nor collections to include; for all clients say so (`--everybody`)");
    insta::assert_snapshot!(refused(by_rule("empty", "")), @r#"the rule of `empty`: an empty rule at 1:1; write what its members have in common, like `machine.os == "linux"`; for all clients say so (`--everybody`)"#);
    insta::assert_snapshot!(refused(by_rule("", "machine.os == \"linux\"")), @"`` is no name of a collection: use 1 to 200 characters, no control characters, and no blanks at its ends");
    insta::assert_snapshot!(refused(by_rule("default", "true")), @"the rule of `default`: the rule asks nothing of a client at 1:1; name something of the client; for all clients say so (`--everybody`)");
    assert!(refused(by_rule("keep", "machine.os ==")).contains("the rule of `keep`"));
    insta::assert_snapshot!(refused(CollectionSpec { include: vec!["Keep".into()], ..named("typo") }), @"`typo` names the collection `Keep`, which does not exist; there is `keep`: case counts");
    assert_eq!(members(&collections, "keep"), [1, 2], "what there was stays");
    assert_eq!(collections.names().collect::<Vec<_>>(), ["keep"]);
    let preview = Rule::new("machine.os != \"\"").unwrap().preview(each(&clients), 2);
    assert_eq!(
        (preview.size.members, preview.clients, preview.sample.len()),
        (3, 3, 2),
        "how many, before it is saved"
    );
}

#[test]
fn memberships_are_kept_over_a_restart_and_not_over_a_change() {
    let clients = three();
    let specs = || {
        vec![
            by_rule("linux", "machine.os == \"linux\""),
            by_rule("redis", "installed(\"redis\") != \"\""),
        ]
    };
    let before = site(&clients, specs());
    let mut after = site(&Clients::new(), specs());
    for client in clients.keys() {
        after.restore(*client, &before.row(*client).unwrap()).unwrap();
        assert_eq!(after.of(*client), before.of(*client));
    }
    assert_eq!(after.size("linux"), before.size("linux"));
    let row = before.row(client(1)).unwrap();
    assert!(after.restore(client(1), &row[..row.len() - 1]).is_err());
    after.save(by_rule("redis", "installed(\"redis\") == \"\""), each(&clients)).unwrap();
    insta::assert_snapshot!(after.restore(client(1), &row).unwrap_err(), @"what is kept of client `00000000000000000000000000000001` belongs to other collections than there are: ask all rules of it");
}

#[test]
fn circles_are_refused_with_the_way() {
    let clients = three();
    let include =
        |name: &str, other: &str| CollectionSpec { include: vec![other.into()], ..named(name) };
    let mut collections = site(
        &clients,
        vec![by_rule("a", "machine.os == \"linux\""), include("b", "a"), include("c", "b")],
    );
    let error = collections.save(include("a", "c"), each(&clients)).unwrap_err();
    insta::assert_snapshot!(error, @"`a` would hang on itself, by way of `a`, `c`, `b`, `a`");
    assert!(collections.save(include("a", "a"), each(&clients)).is_err());
    insta::assert_snapshot!(collections.remove("a").unwrap_err(), @"`a` is named by `b`: change those first");
    collections.remove("c").unwrap();
    collections.remove("b").unwrap();
    collections.remove("a").unwrap();
    assert_eq!(collections.names().count(), 0);
    assert!(collections.of(client(1)).is_empty());
}

/// Q229950: digits first, apostrophes, statements, both forms of an accent, other scripts, a Turkish I, long names,
/// twins but for case: each is targeted exactly once and can be deleted.
#[test]
fn q229950_names_are_names() {
    let long = "x".repeat(64);
    let names = [
        "1SKY",
        "O'Brien",
        "a;DROP TABLE clients",
        "Jos\u{e9}",
        "東京",
        "ı",
        "I",
        "i",
        "TWIN",
        "twin",
        "%n %s {0} \"q\" \\",
        &long,
    ];
    let clients: Clients =
        (1..).map(client).zip(names.iter().map(|name| machine(name, "linux", &[]))).collect();
    let quote = |name: &str| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    let specs = names
        .iter()
        .map(|name| by_rule(name, &format!("machine.hostname == {}", quote(name))))
        .collect();
    let mut collections = site(&clients, specs);
    for (number, name) in (1..).zip(names) {
        assert_eq!(members(&collections, name), [number], "{name}");
    }
    // The other form of the accent names the same collection and the same client.
    assert_eq!(members(&collections, "Jose\u{301}"), [4]);
    let again = by_rule("accent", "machine.hostname == \"Jose\u{301}\"");
    collections.save(again, each(&clients)).unwrap();
    assert_eq!(members(&collections, "accent"), [4]);
    for name in names {
        collections.remove(name).unwrap();
    }
    assert_eq!(collections.names().collect::<Vec<_>>(), ["accent"]);
}

fn inventories() -> impl Strategy<Value = Inventory> {
    (
        proptest::option::of("[lw]"),
        proptest::option::of(proptest::collection::btree_set("[a-d]", 0..4)),
    )
        .prop_map(|(os, packages)| {
            let mut inventory = Inventory::default();
            if let Some(os) = os {
                inventory.text(InventoryKey::Machine(MachineField::Os), &os);
            }
            if let Some(packages) = packages {
                inventory.report(InventoryPart::Packages);
                for package in packages {
                    inventory.text(InventoryKey::package(&package), "1");
                }
            }
            inventory
        })
}

fn specs() -> Vec<CollectionSpec> {
    let mut specs = vec![
        by_rule("0", "machine.os == \"l\""),
        by_rule("1", "installed(\"a\") != \"\" || machine.os == \"w\""),
        by_rule("2", "size(packages) > 1"),
        by_rule("3", "has(machine.os) && installed(\"b\") == \"\""),
        by_rule("4", "packages.exists(name, name > \"b\")"),
    ];
    specs.push(CollectionSpec {
        include: vec!["0".into(), "2".into()],
        exclude: vec!["1".into()],
        ..named("5")
    });
    specs.push(CollectionSpec {
        include: vec!["5".into(), "4".into()],
        limit: Some("3".into()),
        ..named("6")
    });
    specs
}

proptest! {
    /// Asking only what reads what changed comes to the same as asking everything.
    #[test]
    fn what_is_kept_right_is_what_is_found_anew(history in proptest::collection::vec((1..4_u128, inventories()), 1..12)) {
        let mut kept = site(&Clients::new(), specs());
        let mut clients = Clients::new();
        for (number, inventory) in history {
            let before = clients.insert(client(number), inventory.clone());
            kept.report(client(number), before.as_ref(), &inventory);
        }
        let anew = site(&clients, specs());
        for spec in specs() {
            prop_assert_eq!(kept.size(&spec.name), anew.size(&spec.name));
            for client in clients.keys() {
                let both = [&kept, &anew].map(|all| all.membership(*client, &spec.name));
                prop_assert_eq!(both[0], both[1], "{} in {}", client, spec.name);
            }
        }
    }

    /// A member is never somebody of whom nothing is known.
    #[test]
    fn nothing_known_matches_nothing(text in "machine\\.(os|model|memory) (==|!=|<|>=) (\"x\"|1)( (&&|\\|\\|) installed\\(\"a\"\\) != \"\")?") {
        if let Ok(rule) = Rule::new(&text) {
            prop_assert_ne!(rule.ask(&Inventory::default()), Truth::Yes);
        }
    }
}
