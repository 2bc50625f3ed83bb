//! Sessions of a machine that is a table.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use capture::{Facts, Names, Node, Record, Side, Stamp, State};
use model::{Content, Hash, Kind, MachinePath, Time, Xattrs};
use session::{
    BeginError, Finished, ObserveError, OpenSessionError, Place, Reference, ScanError, Session,
    Sink, Skip, SkipReason, SnapshotSettings, begin_snapshots, finish_snapshots, sessions_in,
};

/// Files by their paths, each with its content and the second it was changed in; `None` is one nobody may read.
#[derive(Clone, Default)]
struct Table {
    files: BTreeMap<MachinePath, Option<(&'static str, i64)>>,
    start: String,
}

impl Table {
    fn of(files: &[(&str, &'static str, i64)]) -> Self {
        let files = files.iter().map(|(path, text, at)| (at_path(path), Some((*text, *at))));
        Self { files: files.collect(), start: String::new() }
    }

    fn text(&self, path: &MachinePath) -> io::Result<&'static str> {
        match self.files.get(path) {
            Some(Some((text, _))) => Ok(text),
            Some(None) => Err(io::ErrorKind::PermissionDenied.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn at_path(path: &str) -> MachinePath {
    MachinePath::new(path).unwrap()
}

fn second(seconds: i64) -> Time {
    Time { seconds, nanoseconds: 0 }
}

fn node(kind: Kind, at: i64) -> Node {
    Node { kind, mode: 0o644, uid: 0, gid: 0, modified: second(at), xattrs: Xattrs::new() }
}

struct At(&'static str);

impl Place for At {
    fn open(&self) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(self.0.as_bytes()))
    }

    fn hash(&self, _: &Content) -> io::Result<Option<Hash>> {
        Ok(Some(Hash::of(self.0.as_bytes())))
    }
}

impl Reference for Table {
    fn root(&self) -> &Path {
        Path::new("/table")
    }

    fn host_name(&self) -> String {
        "table".to_owned()
    }

    fn passed_over(&self) -> io::Result<Vec<Skip>> {
        Ok(Vec::new())
    }

    fn scan(&self, _: &[PathBuf], sink: Sink<'_>) -> Result<Vec<Skip>, ScanError> {
        let mut skips = Vec::new();
        let top = Record {
            path: MachinePath::root(),
            node: node(Kind::Directory, 0),
            stamp: Stamp::default(),
        };
        sink(top, &At("")).map_err(ScanError::Sink)?;
        for (inode, (path, known)) in (1..).zip(&self.files) {
            let Some((text, at)) = known else {
                let reason = SkipReason::Unreadable("it is locked".to_owned());
                skips.push(Skip { path: path.clone(), reason });
                continue;
            };
            let content = Content { length: text.len() as u64, hash: None, holes: Vec::new() };
            let stamp = Stamp { device: 1, inode, changed: second(*at), links: 1 };
            let record = Record { path: path.clone(), node: node(Kind::File(content), *at), stamp };
            sink(record, &At(text)).map_err(ScanError::Sink)?;
        }
        Ok(skips)
    }

    fn look(&self, path: &MachinePath) -> io::Result<Node> {
        let length = self.text(path)?.len() as u64;
        Ok(node(Kind::File(Content { length, hash: None, holes: Vec::new() }), 0))
    }

    fn open(&self, path: &MachinePath) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(self.text(path)?.as_bytes()))
    }

    fn hash(&self, path: &MachinePath, _: &Content) -> io::Result<Option<Hash>> {
        Ok(Some(Hash::of(self.text(path)?.as_bytes())))
    }

    fn names(&self) -> io::Result<Names> {
        Ok(Names::default())
    }

    fn facts(&self, host_name: &str) -> Facts {
        Facts { host_name: host_name.to_owned(), boot_id: self.start.clone(), ..Facts::default() }
    }

    fn settings_folder(&self) -> Option<MachinePath> {
        None
    }

    fn clock(&self, _: &Path) -> io::Result<Time> {
        Ok(second(100))
    }
}

fn begin(folder: &Path, table: &Table) -> Result<Session, ObserveError> {
    begin_snapshots(folder, table, &[], &SnapshotSettings::default(), &mut |_| {})
}

fn text(mut reader: Box<dyn Read>) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn what_differs_is_found_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("session");
    let before = Table::of(&[("/a", "old\n", 1), ("/b", "same", 1), ("/c", "gone", 1)]);
    drop(begin(&at, &before).unwrap());
    let mut after = Table::of(&[("/a", "new\n", 200), ("/b", "same", 1), ("/d", "more", 200)]);
    after.start = "another".to_owned();
    let session = Session::open(&at).unwrap();
    assert_eq!(session.state().0, State::Observing);
    session.note_exit(3).unwrap();
    let finished = finish_snapshots(session, &after, &[], &mut |_| {}).unwrap();
    let paths: Vec<String> = finished.changes.changes.keys().map(ToString::to_string).collect();
    assert_eq!(paths, ["/a", "/c", "/d"]);
    assert_eq!(finished.notes.exit_code, Some(3));
    assert!(finished.notes.costs.iter().any(|cost| cost.contains("restarted")));
    let content = |side| finished.content_of_snapshots(&at_path("/a"), side, &after).unwrap();
    assert_eq!(
        (text(content(Side::Before)), text(content(Side::After))),
        ("old\n".into(), "new\n".into())
    );
    drop(finished);
    let finished = Finished::open(Session::open(&at).unwrap()).unwrap();
    assert_eq!(finished.changes.changes.len(), 3);
    finished.into_session().discard().unwrap();
    assert!(!at.exists());
}

#[test]
fn what_could_not_be_read_once_is_neither_new_nor_gone() {
    let folder = tempfile::tempdir().unwrap();
    let locked = |path: &str| {
        let mut table = Table::of(&[("/a", "1", 1), ("/b", "1", 1)]);
        table.files.insert(at_path(path), None);
        table
    };
    let open = Table::of(&[("/a", "1", 1), ("/b", "1", 1)]);
    for (turn, before, after) in [
        (0, open.clone(), open.clone()),
        (1, locked("/a"), open.clone()),
        (2, locked("/a"), locked("/b")),
    ] {
        let session = begin(&folder.path().join(turn.to_string()), &before).unwrap();
        let finished = finish_snapshots(session, &after, &[], &mut |_| {}).unwrap();
        assert!(finished.changes.changes.is_empty(), "{:?}", finished.changes.changes);
        assert_eq!(finished.notes.skips.len(), turn);
    }
}

#[test]
fn a_session_is_one_processes_and_says_what_it_waits_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("one");
    let table = Table::of(&[("/a", "1", 1)]);
    let session = begin(&at, &table).unwrap();
    assert!(matches!(Session::open(&at), Err(OpenSessionError::InUse { .. })));
    drop(session);
    let pending = begin(&at, &table).unwrap_err();
    assert!(matches!(pending, ObserveError::Begin(BeginError::Pending { .. })), "{pending:?}");
    assert_eq!(sessions_in(folder.path()).unwrap(), std::slice::from_ref(&at));
    // A line that was cut off never happened; one that cannot follow is damage.
    let journal = at.join("journal.jsonl");
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(Session::open(&at).unwrap().state().0, State::Begun);
    fs::write(&journal, [&whole[..], &whole].concat()).unwrap();
    assert!(matches!(Session::open(&at), Err(OpenSessionError::Damaged { .. })));
    session::discard_damaged(&at).unwrap();
    assert!(!at.exists());
}
