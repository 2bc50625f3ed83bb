use content::{DeltaEntry, Index, Object, ObjectKind, Plan, Release, Way};
use model::{Architecture, Hash, PackageName, Version};
use package::Totals;

fn object(kind: ObjectKind, length: u64) -> Object {
    Object { kind, hash: Hash::of(&length.to_le_bytes()), length }
}

fn identity(version: &str) -> Hash {
    Hash::of(version.as_bytes())
}

fn release(version: &str, deltas: &[(&str, u64)]) -> Release {
    Release {
        version: Version::new(version),
        architecture: Architecture::Any,
        identity: identity(version),
        manifest: object(ObjectKind::Manifest, 10),
        totals: Totals::default(),
        packs: vec![object(ObjectKind::Pack, 1000)],
        deltas: deltas
            .iter()
            .map(|(base, length)| DeltaEntry {
                base: identity(base),
                object: object(ObjectKind::Delta, *length),
            })
            .collect(),
    }
}

pub(crate) fn index() -> Index {
    let mut index = Index::new(PackageName::new("redis").unwrap());
    index.put(release("1", &[]));
    index.put(release("2", &[("1", 300)]));
    index.put(release("3", &[("1", 400), ("2", 200)]));
    index
}

fn explain(have: &[&str]) -> String {
    let index = index();
    let have: Vec<_> = have.iter().map(|version| identity(version)).collect();
    Plan::decide(&index, index.release(None).unwrap(), &have).explain()
}

#[test]
fn the_cheapest_way_comes_first_and_the_others_stay() {
    insta::assert_snapshot!(explain(&["1", "2"]), @r"
    take the delta from 2: 200 bytes in 1 requests
    else the delta from 1: 400 bytes in 1 requests
    else the whole package: 1000 bytes in 1 requests
    ");
}

#[test]
fn what_is_there_already_costs_nothing() {
    let index = index();
    let plan = Plan::decide(&index, index.release(None).unwrap(), &[identity("3"), identity("2")]);
    assert_eq!(plan.routes()[0].way, Way::Copy);
    assert_eq!(plan.cost().bytes, 0);
}

#[test]
fn a_base_without_a_delta_is_named() {
    let text = explain(&["0.9"]);
    assert!(text.starts_with("take the whole package"), "{text}");
    assert!(text.contains("no delta leads from the package"), "{text}");
}
