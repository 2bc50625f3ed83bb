use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
};

use capture::{CapturedFiles, Change, ChangeSet, Facts, Options, Report, Rules, Side, draft};
use model::{Content, Entry, Extent, Hash, Kind, MachinePath, Meta, Time, Version};

use super::{WriteProjectError, check_free, write_draft};

/// A machine on which everything is new.
#[derive(Default)]
struct New(BTreeMap<MachinePath, (Entry, Vec<u8>)>);

impl New {
    fn with(mut self, at: &str, kind: Kind, mode: u16, bytes: &[u8]) -> Self {
        let meta = Meta::of_root(mode, Time { seconds: 1_700_000_000, nanoseconds: 7 });
        self.0.insert(at.parse().unwrap(), (Entry { kind, meta }, bytes.to_vec()));
        self
    }

    fn file(self, at: &str, mode: u16, bytes: &[u8]) -> Self {
        let hash = Some(Hash::of(bytes));
        let content = Content { length: bytes.len() as u64, hash, holes: Vec::new() };
        self.with(at, Kind::File(content), mode, bytes)
    }

    fn changes(&self) -> ChangeSet {
        let new = |(at, (entry, _)): (&MachinePath, &(Entry, Vec<u8>))| {
            (at.clone(), Change { before: None, after: Some(entry.clone()) })
        };
        ChangeSet { changes: self.0.iter().map(new).collect(), touched: BTreeMap::new() }
    }
}

impl CapturedFiles for New {
    fn open(&self, path: &MachinePath, side: Side) -> io::Result<Option<Box<dyn Read + '_>>> {
        let found = self.0.get(path).filter(|_| side == Side::After);
        Ok(found.map(|(_, bytes)| Box::new(&bytes[..]) as Box<dyn Read>))
    }

    fn entry(&self, path: &MachinePath, side: Side) -> io::Result<Option<Entry>> {
        let found = self.0.get(path).filter(|_| side == Side::After);
        Ok(found.map(|(entry, _)| entry.clone()))
    }
}

fn app() -> New {
    let hole = Extent { offset: 0, length: 1 << 20 };
    let mut sparse = vec![0; 1 << 20];
    sparse.extend_from_slice(b"end");
    let content =
        Content { length: sparse.len() as u64, hash: Some(Hash::of(&sparse)), holes: vec![hole] };
    New::default()
        .with("/usr/lib/app", Kind::Directory, 0o755, b"")
        .with("/usr/lib/app/empty", Kind::Directory, 0o700, b"")
        .file("/usr/lib/app/run", 0o4755, b"#!/bin/sh\n")
        .with("/usr/lib/app/run2", Kind::HardLink("/usr/lib/app/run".parse().unwrap()), 0o4755, b"")
        .file("/usr/lib/app/odd \n name", 0o600, b"x")
        .with("/usr/lib/app/link", Kind::Symlink(b"run".to_vec()), 0o777, b"")
        .with("/usr/lib/app/sparse", Kind::File(content), 0o644, &sparse)
}

fn drafted(files: &New) -> capture::Draft {
    let rules = Rules::linux_and(Vec::new()).unwrap();
    let options = Options::new("app".parse().unwrap(), Version::new("1"));
    draft(&files.changes(), files, &Facts::default(), &rules, &options).unwrap()
}

#[test]
fn a_project_reads_back_as_it_was_drafted() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("app");
    let files = app();
    let draft = drafted(&files);
    write_draft(&draft, &files, &Facts::default(), &project).unwrap();

    let text = |name: &str| fs::read_to_string(project.join(name)).unwrap();
    assert_eq!(script::parse(&text("package.toml")).unwrap(), draft.script);
    let mut meta = draft.files_meta.clone();
    for one in &mut meta {
        // An ordinary file's length is that of the file itself.
        if let Kind::File(content) = &mut one.entry.kind
            && content.holes.is_empty()
        {
            content.length = 0;
        }
    }
    assert_eq!(script::parse_files_meta(&text("files.meta")).unwrap(), meta);
    assert_eq!(Report::from_toml(&text("capture/report.toml")).unwrap(), draft.report);

    let app = project.join("files/usr/lib/app");
    let status = |name: &str| fs::symlink_metadata(app.join(name)).unwrap();
    assert_eq!(status("run").mode() & 0o7777, 0o755);
    assert_eq!(status("run").ino(), status("run2").ino());
    assert!(status("empty").is_dir());
    assert_eq!(fs::read_link(app.join("link")).unwrap().to_str(), Some("run"));
    assert_eq!(fs::read(app.join("odd \n name")).unwrap(), b"x");
    assert_eq!(status("sparse").len(), (1 << 20) + 3);
    assert!(status("sparse").blocks() * 512 < 1 << 20);
    let beside: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(beside.len(), 1);
}

#[test]
fn content_that_changed_since_leaves_no_project() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("app");
    let mut files = app();
    let draft = drafted(&files);
    let run: MachinePath = "/usr/lib/app/run".parse().unwrap();
    files.0.get_mut(&run).unwrap().1 = b"#!/bin/no\n".to_vec();
    let error = write_draft(&draft, &files, &Facts::default(), &project).unwrap_err();
    assert!(matches!(error, WriteProjectError::Changed { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn only_the_rules_of_a_project_may_be_there_already() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("app");
    check_free(&project).unwrap();
    fs::create_dir_all(project.join("capture")).unwrap();
    let rules = "format = 1\n";
    fs::write(project.join("capture/rules.toml"), rules).unwrap();
    check_free(&project).unwrap();
    let files = app();
    write_draft(&drafted(&files), &files, &Facts::default(), &project).unwrap();
    assert_eq!(fs::read_to_string(project.join("capture/rules.toml")).unwrap(), rules);
    assert!(matches!(check_free(&project), Err(WriteProjectError::Occupied(_))));
}
