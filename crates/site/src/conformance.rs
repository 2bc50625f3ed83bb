//! What any [`Storage`] has to do. Each function is one promise; it panics where the promise is broken.

use policy::{Event, Features, Key, Moment, Now, Settings, Site, SiteCode};

use crate::{Change, Desk, Record, RecordKind, Storage, StorageError, folder::has_site};

/// Opens the same tables once more, as another process would.
pub type Open<'a> = &'a dyn Fn() -> Box<dyn Storage>;

/// All promises. `open` begins with empty tables.
pub fn all(open: Open<'_>) {
    what_was_committed_is_there(open);
    what_was_abandoned_is_not(open);
    the_clock_never_goes_back(open);
    what_changed_is_all_of_it(open);
    a_desk_sees_what_another_wrote(open);
    records_are_what_was_written_last(open);
    who_was_overtaken_writes_nothing(open);
    very_many_records_are_loaded_in_parts(open);
}

fn code() -> SiteCode {
    SiteCode::new("TOP").expect("a code")
}

/// A committed change is read by others, facts and rows alike.
pub fn what_was_committed_is_there(open: Open<'_>) {
    let mut storage = open();
    assert!(!has_site(&mut *storage), "the suite begins with empty tables");
    Desk::found(&mut *storage, code()).expect("a site is founded");
    let turn = storage.begin().expect("begins");
    storage.commit(&[Change::Fact("a".to_owned(), Some("b".to_owned()))]).expect("commits");
    let mut other = open();
    let tables = other.tables().expect("is read");
    assert_eq!(tables.facts, [("a".to_owned(), "b".to_owned())]);
    let site = Site::from_rows(Settings::default(), tables.rows).expect("is a site");
    assert_eq!(site.code(), &code());
    let next = other.begin().expect("begins");
    other.abandon();
    assert_eq!(next.generation, turn.generation + 1, "a commit is one generation");
    assert!(Desk::found(&mut *other, code()).is_err(), "a site is founded once");
}

/// A transaction that was given up leaves nothing, and lets others go on.
pub fn what_was_abandoned_is_not(open: Open<'_>) {
    let (mut one, mut other) = (open(), open());
    let before = one.tables().expect("is read");
    let turn = one.begin().expect("begins");
    one.abandon();
    assert!(one.commit(&[Change::Fact("x".to_owned(), Some("y".to_owned()))]).is_err());
    let next = other.begin().expect("begins");
    other.abandon();
    assert_eq!(next.generation, turn.generation);
    assert_eq!(other.tables().expect("is read").facts, before.facts);
}

/// Moments rise from transaction to transaction, whoever makes them.
pub fn the_clock_never_goes_back(open: Open<'_>) {
    let mut last = 0;
    for _ in 0..5 {
        for storage in &mut [open(), open()] {
            let turn = storage.begin().expect("begins");
            storage.commit(&[]).expect("commits");
            assert!(turn.moment >= last, "{} after {last}", turn.moment);
            last = turn.moment;
        }
    }
}

/// A database that says what changed says all of it, what is gone included, and nothing where it does not remember.
pub fn what_changed_is_all_of_it(open: Open<'_>) {
    let (mut one, mut other) = (open(), open());
    let begun = one.begin().expect("begins");
    let tables = one.tables().expect("is read");
    let (key, row) = tables.rows.first().cloned().expect("a site has a row");
    one.commit(&[Change::Fact("kept".to_owned(), Some("1".to_owned()))]).expect("commits");
    one.begin().expect("begins");
    one.commit(&[Change::Fact("kept".to_owned(), None), Change::Row(key, Some(row.clone()), None)])
        .expect("commits");
    let turn = other.begin().expect("begins");
    assert_eq!(turn.generation, begun.generation + 2);
    let changes = other.changes_since(begun.generation, turn).expect("is read");
    let wanted = [Change::Row(key, Some(row), None), Change::Fact("kept".to_owned(), None)];
    assert!(changes.is_none_or(|changes| changes == wanted));
    let none = other.changes_since(turn.generation, turn).expect("is read");
    assert!(none.is_none_or(|changes| changes.is_empty()));
    let later = other.changes_since(turn.generation + 1, turn).expect("is read");
    assert_eq!(later, None, "nobody knows the future");
    other.abandon();
}

/// Two processes on the same tables decide as one; neither works on old ones.
pub fn a_desk_sees_what_another_wrote(open: Open<'_>) {
    let mut one = Desk::open(open(), Settings::default()).expect("opens");
    let mut other = Desk::open(open(), Settings::default()).expect("opens");
    let add = |name: &str| Event::AddPoint { name: name.into(), features: Features(u64::MAX) };
    one.event(add("a")).expect("adds");
    other.event(add("b")).expect("adds");
    one.event(add("c")).expect("adds");
    let names = ["a", "b", "c"];
    assert!(names.iter().all(|name| one.site().point_id(name).is_some()));
    let read = Desk::open(open(), Settings::default()).expect("opens");
    let rows = |site: &Site| site.keys().map(|key| (key, site.row(key))).collect::<Vec<_>>();
    assert_eq!(rows(one.site()), rows(read.site()), "memory and tables are the same");
}

fn record(kind: RecordKind, name: &str, body: Option<&str>) -> Record {
    Record { kind, name: name.to_owned(), body: body.map(|body| body.as_bytes().to_vec()) }
}

/// Records are read by others: all of them, those since a transaction, those whose names begin alike.
pub fn records_are_what_was_written_last(open: Open<'_>) {
    let (mut one, mut other) = (open(), open());
    let before = one.records(u64::MAX).expect("is read").number;
    let written = [
        record(RecordKind::Client, "a", Some("1")),
        record(RecordKind::Client, "b", Some("1")),
        record(RecordKind::Message, "a/1", Some("x")),
        record(RecordKind::Message, "a/2", Some("y")),
        record(RecordKind::Message, "a%/2", Some("z")),
        record(RecordKind::Offer, "d/a", Some("1")),
        record(RecordKind::Process, "a/1", Some("1")),
    ];
    let first = one.record(before, &written).expect("writes");
    let changed = [
        record(RecordKind::Client, "b", None),
        record(RecordKind::Seen, "a", Some("\0")),
        record(RecordKind::Message, "a/1", None),
        record(RecordKind::Offer, "d/a", None),
    ];
    let second = one.record(first, &changed).expect("writes");
    let read = other.records(first).expect("is read");
    assert_eq!(read.number, second);
    let mut records = read.records;
    records.sort_by_key(|one| (one.kind, one.name.clone()));
    assert_eq!(records, changed[..2], "what is gone is named, messages and offers are not");
    assert_eq!(other.records(second).expect("is read").records, []);
    let all = other.records(before).expect("is read").records;
    assert!(all.contains(&written[0]) && all.contains(&written[6]) && all.len() == 4, "{all:?}");
    let said = other.records_of(RecordKind::Message, "a/").expect("is read");
    assert_eq!(said, written[3..4]);
    assert_eq!(other.records_of(RecordKind::Message, "").expect("is read").len(), 2);
    let mut loaded = Vec::new();
    assert_eq!(other.load(&mut |some| loaded.extend_from_slice(some)).expect("is read"), second);
    let own = [&written[0], &changed[1], &written[6]];
    let mine = loaded.iter().filter(|one| own.contains(one)).collect::<Vec<_>>();
    assert_eq!(mine, own, "in their order, and nothing that is gone: {loaded:?}");
    assert!(loaded.iter().all(|one| one.kind != RecordKind::Message && one.body.is_some()));
}

/// Of what there is very much of, all is loaded, a part at a time.
pub fn very_many_records_are_loaded_in_parts(open: Open<'_>) {
    let (mut one, mut other) = (open(), open());
    let before = one.records(u64::MAX).expect("is read").number;
    let name = |number: u32| format!("{number:08}");
    let all = (0..2_500).map(|number| record(RecordKind::Inventory, &name(number), Some("x")));
    one.record(before, &all.collect::<Vec<_>>()).expect("writes");
    let (mut names, mut most) = (std::collections::BTreeSet::new(), 0);
    let read = other.load(&mut |some| {
        most = most.max(some.len());
        let of_kind = some.iter().filter(|one| one.kind == RecordKind::Inventory);
        names.extend(of_kind.map(|one| one.name.clone()));
    });
    read.expect("is read");
    assert!((0..2_500).all(|number| names.contains(&name(number))), "{} names", names.len());
    assert!(most <= 1_000, "{most} at once");
}

/// Two that decide by the same records cannot both write; who was too late leaves no trace.
pub fn who_was_overtaken_writes_nothing(open: Open<'_>) {
    let (mut one, mut other) = (open(), open());
    let known = one.records(u64::MAX).expect("is read").number;
    other.record(known, &[record(RecordKind::Client, "c", Some("other"))]).expect("writes");
    let late = one.record(known, &[record(RecordKind::Client, "c", Some("one"))]);
    assert!(matches!(late, Err(StorageError::Overtaken)), "{late:?}");
    let read = one.records(known).expect("is read");
    assert_eq!(read.records, [record(RecordKind::Client, "c", Some("other"))]);
    one.record(read.number, &[record(RecordKind::Client, "c", Some("one"))]).expect("writes");
}

/// The job of a copy, in the tables of a site that has one: at most one for its kind, version and place.
pub fn a_second_live_job_is_refused(storage: &mut dyn Storage) {
    let mut site = Site::new(code(), None, Settings::default());
    let now = Now { at: Moment(1), dice: 1 };
    site.next(now, Event::AddPoint { name: "a".into(), features: Features(u64::MAX) })
        .expect("adds");
    let publish = Event::Publish {
        package: model::PackageName::new("redis").expect("a name"),
        manifest: model::Hash::of(b"1"),
        bytes: 1,
        critical: Features::default(),
        optional: Features::default(),
    };
    site.next(now, publish).expect("publishes");
    let assign = Event::Assign {
        package: model::PackageName::new("redis").expect("a name"),
        points: vec![policy::PointName { site: code(), name: "a".into() }],
    };
    site.next(now, assign).expect("assigns");
    let (place, package) = (site.point_id("a").expect("is there"), policy::PackageId(0));
    let job = site.job(place, package).expect("is a job");
    let copy = Key::Copy(place, package);
    let row = site.row(copy);
    storage.begin().expect("begins");
    storage.commit(&[Change::Row(copy, row.clone(), Some(job))]).expect("one is fine");
    // The same lease for another copy: two workers would have one right.
    let other = Key::Copy(policy::PlaceId(place.0 + 1), package);
    storage.begin().expect("begins");
    assert!(storage.commit(&[Change::Row(other, row, Some(job))]).is_err(), "one fence, one job");
}
