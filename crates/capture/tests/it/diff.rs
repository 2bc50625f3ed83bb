use std::{collections::BTreeMap, convert::Infallible};

use capture::{ChangeSet, Contents, Diff, Record, Sides, without_unknown};
use model::{Hash, Kind};

use crate::sample::{file, path, time};

/// Contents by path, as far as somebody kept them.
#[derive(Default)]
struct Kept {
    before: BTreeMap<&'static str, &'static str>,
    after: BTreeMap<&'static str, &'static str>,
    asked: Vec<String>,
}

impl Contents for Kept {
    type Error = Infallible;

    fn before(&mut self, record: &Record) -> Result<Option<Hash>, Infallible> {
        Ok(self.before.get(&*record.path.to_string()).map(|text| Hash::of(text.as_bytes())))
    }

    fn after(&mut self, record: &Record) -> Result<Option<Hash>, Infallible> {
        self.asked.push(record.path.to_string());
        Ok(self.after.get(&*record.path.to_string()).map(|text| Hash::of(text.as_bytes())))
    }
}

fn diff(before: Vec<Record>, after: Vec<Record>, kept: &mut Kept) -> ChangeSet {
    let sides = Sides { started: time(1000), ..Sides::default() };
    let (mut before, mut after) = (before.into_iter(), after.into_iter());
    Diff::new(&sides, kept)
        .merge(|| Ok::<_, Infallible>(before.next()), || Ok(after.next()))
        .unwrap()
}

fn summary(changes: &ChangeSet) -> String {
    let changed = changes.changes.iter().map(|(path, change)| {
        let sign = match (&change.before, &change.after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        format!("{sign}{path}")
    });
    let touched = changes.touched.keys().map(|path| format!("={path}"));
    changed.chain(touched).collect::<Vec<_>>().join(" ")
}

#[test]
fn only_candidates_are_read() {
    let mut kept = Kept { after: [("/b", "b"), ("/d", "d")].into(), ..Kept::default() };
    let before = vec![file("/a", 1, 1, 50), file("/b", 1, 2, 50), file("/c", 1, 3, 50)];
    let after = vec![file("/a", 1, 1, 50), file("/b", 1, 2, 60), file("/d", 1, 4, 60)];
    assert_eq!(summary(&diff(before, after, &mut kept)), "~/b -/c +/d");
    assert_eq!(kept.asked, ["/b", "/d"]);
}

#[test]
fn a_rewrite_is_a_change_unless_the_old_content_is_known_to_be_equal() {
    let rewrite = |kept: &mut Kept| {
        summary(&diff(vec![file("/b", 3, 2, 50)], vec![file("/b", 3, 9, 60)], kept))
    };
    let after = BTreeMap::from([("/b", "new")]);
    let with = |before: &[(&'static str, &'static str)]| Kept {
        before: before.iter().copied().collect(),
        after: after.clone(),
        asked: Vec::new(),
    };
    assert_eq!(rewrite(&mut with(&[])), "~/b");
    assert_eq!(rewrite(&mut with(&[("/b", "old")])), "~/b");
    assert_eq!(rewrite(&mut with(&[("/b", "new")])), "=/b");
}

#[test]
fn a_stamp_from_the_time_of_the_scan_is_not_trusted() {
    let mut kept = Kept { after: [("/a", "new")].into(), ..Kept::default() };
    let racy = || vec![file("/a", 1, 1, 1000)];
    assert_eq!(summary(&diff(racy(), racy(), &mut kept)), "~/a");
}

#[test]
fn a_new_first_name_changes_the_other_names() {
    let mut old = file("/c", 1, 7, 50);
    old.node.kind = Kind::HardLink(path("/a"));
    let mut new = old.clone();
    new.node.kind = Kind::HardLink(path("/b"));
    assert_eq!(summary(&diff(vec![old], vec![new], &mut Kept::default())), "~/c");
}

#[test]
fn what_was_not_looked_at_is_not_gone() {
    let mut changes =
        diff(vec![file("/a/x", 1, 1, 50), file("/ab", 1, 2, 50)], vec![], &mut Kept::default());
    assert_eq!(without_unknown(&mut changes, &[path("/a")]), [path("/a/x")]);
    assert_eq!(summary(&changes), "-/ab");
}
