//! Random packages, random operations: what came goes, in whatever order.

use change::Observe;
use install::{Options, Silent};
use model::{AccountStep, EditStep, LineEdit, Template, Time};
use package::{Action, Node};
use proptest::prelude::*;
use testkit::{Picture, Sample, SimDisk, SimFacts};

use crate::support::name;

/// A piece of a package. Places are few, so that packages meet.
#[derive(Clone, Debug)]
enum Piece {
    File {
        place: usize,
        content: u8,
        mode: u16,
    },
    Link {
        place: usize,
        target: u8,
    },
    Folder {
        place: usize,
    },
    Line {
        file: usize,
        line: u8,
    },
    Setting {
        key: u8,
    },
    /// A file of the package, with a line added to it.
    Own {
        line: u8,
    },
    Remove {
        which: u8,
    },
    User {
        which: u8,
    },
}

const FOLDERS: [&str; 4] = ["/opt/shared", "/usr/lib", "/srv/deep/er", "/opt"];
const NAMES: [&str; 5] = ["a", "b", "c", "there", "other"];
const TEXTS: [&str; 3] = ["/etc/hosts", "/etc/new.conf", "/usr/lib/edited"];
const PACKAGES: [&str; 3] = ["one", "two", "three"];

#[derive(Clone, Debug)]
enum Act {
    Install {
        package: usize,
        version: u32,
        pieces: Vec<Piece>,
        library: Option<u8>,
    },
    Uninstall {
        package: usize,
    },
    /// The last act, if it was an installation.
    RollBack,
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        6 => (0..20_usize, 0..3_u8, prop_oneof![Just(0o644_u16), Just(0o755)])
            .prop_map(|(place, content, mode)| Piece::File { place, content, mode }),
        1 => (0..20_usize, 0..3_u8).prop_map(|(place, target)| Piece::Link { place, target }),
        1 => (0..4_usize).prop_map(|place| Piece::Folder { place }),
        3 => (0..3_usize, 0..3_u8).prop_map(|(file, line)| Piece::Line { file, line }),
        2 => (0..3_u8).prop_map(|key| Piece::Setting { key }),
        1 => (0..3_u8).prop_map(|line| Piece::Own { line }),
        1 => (0..2_u8).prop_map(|which| Piece::Remove { which }),
        1 => (0..2_u8).prop_map(|which| Piece::User { which }),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let install = (0..3_usize, 1..4_u32, prop::collection::vec(piece(), 1..8), any::<Option<u8>>());
    prop_oneof![
        5 => install.prop_map(|(package, version, pieces, library)| Act::Install {
            package,
            version,
            pieces,
            library: library.map(|version| version % 4),
        }),
        2 => (0..3_usize).prop_map(|package| Act::Uninstall { package }),
        2 => Just(Act::RollBack),
    ]
}

fn place(place: usize) -> (&'static str, &'static str) {
    (FOLDERS[place % 4], NAMES[place / 4])
}

fn sample(package: usize, version: u32, pieces: &[Piece], library: Option<u8>) -> Sample {
    let mut sample = Sample::new(PACKAGES[package], &version.to_string());
    let versions = ["0", "1", "2", "3"];
    let trees = FOLDERS.map(|folder| {
        sample.versioned_tree(folder, library.map(|library| versions[usize::from(library)]))
    });
    let mut users = std::collections::BTreeSet::new();
    let mut removed = std::collections::BTreeSet::new();
    for piece in pieces {
        match piece {
            Piece::File { place: at, content, mode } => {
                let (_, name) = place(*at);
                let content = format!("{content}\n");
                sample.file_with(trees[at % 4], name, content.as_bytes(), Sample::meta(*mode));
            }
            Piece::Link { place: at, target } => {
                let (_, name) = place(*at);
                let target = Node::Symlink(Template::literal(format!("to-{target}")));
                sample.node(trees[at % 4], name, target, Sample::meta(0o777));
            }
            Piece::Folder { place } => sample.directory(trees[*place], "folder"),
            Piece::Line { file, line } => sample.step(edit(
                TEXTS[*file],
                LineEdit::Add { line: Template::literal(format!("line {line}")), after: None },
            )),
            // Packages agree on values: of two that do not, the later has its way.
            Piece::Setting { key } => sample.step(edit(
                "/etc/app.ini",
                LineEdit::Ini {
                    section: Template::literal("app"),
                    key: Template::literal(format!("key{key}")),
                    value: Some(Template::literal(format!("value of {key}"))),
                },
            )),
            Piece::Own { line } => {
                let name = format!("own-{package}");
                sample.file(trees[0], &name, b"first\n");
                let file = format!("{}/{name}", FOLDERS[0]);
                sample.step(edit(
                    &file,
                    LineEdit::Add { line: Template::literal(format!("line {line}")), after: None },
                ));
            }
            Piece::Remove { which } => {
                removed.insert(*which);
            }
            Piece::User { which } => {
                users.insert(*which);
            }
        }
    }
    for which in removed {
        let path = Template::literal(format!("/etc/old-{which}"));
        sample.step(Action::Remove { path });
    }
    for user in users {
        sample.step(Action::Account(AccountStep::User {
            name: format!("user{user}").into(),
            system: true,
            id: None,
            group: None,
            home: Template::literal("/nonexistent"),
            shell: Template::literal("/bin/false"),
            comment: String::new(),
        }));
    }
    sample
}

fn edit(file: &str, edit: LineEdit) -> Action {
    Action::Edit(EditStep { file: Template::literal(file), edits: vec![edit], create: true })
}

fn machine() -> SimDisk {
    let mut disk = SimDisk::new();
    disk.put("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n");
    disk.put("/etc/group", b"root:x:0:\n");
    disk.put("/etc/shadow", b"root:*:::::::\n");
    disk.put("/etc/hosts", b"127.0.0.1 localhost\nline 1\n");
    disk.put("/etc/app.ini", b"[app]\nkey1 = before\n");
    disk.put("/etc/old-0", b"old");
    disk.put("/etc/old-1", b"old, too");
    disk.put("/usr/lib/there", b"before\n");
    disk.put("/usr/lib/other", b"before");
    disk.put("/opt/there", b"1\n");
    disk.put("/var/lib/dpkg/status", b"");
    disk
}

/// A machine and the time of day on it.
struct World {
    disk: SimDisk,
    day: i64,
    /// The package that came last, and what was before.
    last: Option<(usize, Picture)>,
}

impl World {
    fn now(&mut self) -> Time {
        self.day += 1;
        Time { seconds: 1_750_000_000 + self.day * 86_400, nanoseconds: 1 }
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        let began = self.now();
        let paths = install::state_paths(&self.disk).unwrap();
        match act {
            Act::Install { package, version, pieces, library } => {
                let sample = sample(*package, *version, pieces, *library);
                let options = Options { began, downgrade: true, again: true, ..Options::default() };
                install::open_state(&mut self.disk, &paths, began).unwrap();
                let before = self.outside();
                let done = install::install(
                    &mut self.disk,
                    &paths,
                    &mut sample.open(),
                    &SimFacts,
                    &options,
                    &mut Silent,
                );
                match done {
                    Ok(_) => {
                        self.verified(*package)?;
                        self.last = Some((*package, before));
                    }
                    // Packages that do not go together: nothing of it may be left.
                    Err(error) => {
                        let left = before.differences(&self.outside());
                        prop_assert!(left.is_empty(), "{}: {:#?}", error, left);
                    }
                }
            }
            Act::Uninstall { package } => {
                self.uninstall(*package)?;
                self.last = None;
            }
            Act::RollBack => {
                if let Some((package, before)) = self.last.take() {
                    let name = name(PACKAGES[package]);
                    let back = install::roll_back(&mut self.disk, &paths, &name, false);
                    prop_assert!(matches!(back, Ok(Some(_))), "{:?}", back);
                    let left = before.differences(&self.outside());
                    prop_assert!(left.is_empty(), "{} is not back: {:#?}", name, left);
                }
            }
        }
        install::close_state(&mut self.disk, &paths).unwrap();
        Ok(())
    }

    fn uninstall(&mut self, package: usize) -> Result<(), TestCaseError> {
        let began = self.now();
        let paths = install::state_paths(&self.disk).unwrap();
        if self.disk.look(&paths.state).unwrap().is_none() {
            return Ok(());
        }
        let name = name(PACKAGES[package]);
        let gone = install::uninstall(&mut self.disk, &paths, &name, &SimFacts, began, &mut Silent);
        let left = gone.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let left = left.map(|left| left.leftovers).unwrap_or_default();
        prop_assert!(left.is_empty(), "{} leaves {:?}", name, left);
        install::close_state(&mut self.disk, &paths).unwrap();
        Ok(())
    }

    fn outside(&self) -> Picture {
        Picture::of(&self.disk, "/", &["/var/lib/packhorse"])
    }

    fn verified(&self, package: usize) -> Result<(), TestCaseError> {
        let paths = install::state_paths(&self.disk).unwrap();
        let (all, damaged) = install::installed(&self.disk, &paths).unwrap();
        prop_assert!(damaged.is_empty());
        let name = name(PACKAGES[package]);
        let (own, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|one| one.receipt.header.name == name);
        let differences = install::verify(&self.disk, &own[0].receipt, &others).unwrap();
        prop_assert!(differences.is_empty(), "{} differs: {:?}", name, differences);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(1000),
        max_shrink_iters: 4000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_came_goes_in_whatever_order(
        acts in prop::collection::vec(act(), 1..7),
        order in Just([0_usize, 1, 2]).prop_shuffle(),
    ) {
        let pristine = Picture::of(&machine(), "/", &[]);
        let mut world = World { disk: machine(), day: 0, last: None };
        for act in &acts {
            world.act(act)?;
        }
        for package in order {
            world.uninstall(package)?;
        }
        let seen = Picture::of(&world.disk, "/", &[]);
        let left = pristine.differences(&seen);
        prop_assert!(left.is_empty(), "{:#?}", left);
    }
}
