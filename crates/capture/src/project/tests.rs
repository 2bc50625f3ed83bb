use model::Kind;
use proptest::prelude::*;
use script::TreeSource;

use crate::{
    Options, Touch, TouchedFiles,
    testing::{Machines, options, path, steps},
};

#[test]
fn a_make_install_reads_as_one_step_without_touching_shared_folders() {
    let draft = Machines::default()
        .had_folder("/usr/local/bin")
        .had_folder("/tmp")
        .touch("/usr/local/bin")
        .file_of("/usr/local/bin/redis-server", "x", 0o755)
        .file_of("/usr/local/bin/redis-cli", "x", 0o755)
        .link("/usr/local/bin/redis-sentinel", "redis-server")
        .file("/tmp/build/x.o", "x")
        .draft();
    insta::assert_snapshot!(steps(&draft), @"install-tree files/usr/local/bin to /usr/local/bin");
    let listed: Vec<_> = draft
        .files_meta
        .iter()
        .map(|one| String::from_utf8_lossy(&one.path).into_owned())
        .collect();
    assert_eq!(
        listed,
        [
            "files/usr/local/bin/redis-cli",
            "files/usr/local/bin/redis-sentinel",
            "files/usr/local/bin/redis-server"
        ]
    );
    assert_eq!(draft.payload.len(), 3);
}

#[test]
fn groups_follow_top_folders() {
    let draft = Machines::default()
        .had_folder("/etc")
        .had_folder("/bin")
        .had_folder("/usr/bin")
        .had_folder("/usr/share/doc")
        .had_folder("/var/lib")
        .file("/etc/app/app.conf", "a=1")
        .file("/usr/bin/app", "x")
        .file("/usr/share/doc/app/copyright", "x")
        .folder("/var/lib/app", 0o750)
        .folder("/var/lib/app/spool", 0o700)
        .link("/bin/app", "../usr/bin/app")
        .draft();
    insta::assert_snapshot!(steps(&draft), @r"
    create-link /bin/app -> ../usr/bin/app
    install-tree files/etc/app to /etc/app
    install-tree files/usr to /usr
    create-directory /var/lib/app 750 root
    create-directory /var/lib/app/spool 700 root
    ");
    assert_eq!(draft.script.configuration, ["/etc/app/**"]);
    assert_eq!(draft.report.counts.folders, 4);
}

#[test]
fn every_change_is_accounted_for() {
    let draft = Machines::default()
        .had("/etc/old.conf", "x")
        .had("/etc/gone", "x")
        .had_folder("/var/log")
        .file("/etc/old.conf", "\0new")
        .without("/etc/gone")
        .special("/opt/app/socket", Kind::Socket)
        .special("/opt/app/pipe", Kind::Fifo)
        .file("/var/log/app.log", "x")
        .file("/opt/app/run", "x")
        .draft();
    let counts = draft.report.counts;
    assert_eq!(counts.changes, counts.carried + counts.understood + counts.excluded);
    assert_eq!((counts.excluded, counts.understood), (3, 0));
    insta::assert_snapshot!(steps(&draft), @r"
    install-file files/etc/old.conf to /etc/old.conf
    create-directory /opt 755 root
    install-tree files/opt/app to ${prefix}
    remove /etc/gone
    ");
    let read = crate::Report::from_toml(&draft.report.to_toml()).unwrap();
    assert_eq!(read, draft.report);
}

/// 3,000 empty folders come out as 3,000 steps (Q248367).
#[test]
fn q248367_every_empty_folder_is_a_step() {
    let mut machines = Machines::default().had_folder("/var/lib");
    for number in 0..100 {
        let mut at = format!("/var/lib/app{number}");
        for depth in 0..30 {
            let mode = if (number * 30 + depth) % 15 == 0 { 0o1770 } else { 0o755 };
            machines = machines.folder(&at, mode);
            at = format!("{at}/{depth}");
        }
    }
    let draft = machines.draft();
    let folders = draft.script.steps.iter().filter(|step| {
        matches!(&step.kind, script::StepKind::Tree(tree) if matches!(tree.source, TreeSource::Directory(_)))
    });
    assert_eq!(folders.count(), 3_000);
    assert_eq!(draft.script.steps.len(), 3_000);
    assert_eq!(draft.report.counts.folders, 3_000);
}

/// Empty and hidden files are payload like any other (Q172612).
#[test]
fn q172612_markers_are_carried() {
    let mut machines = Machines::default().had_folder("/usr/lib");
    for number in 0..100 {
        machines = machines.file_of(&format!("/usr/lib/app/marker{number}"), "", 0o600);
        machines = machines.file(&format!("/usr/lib/app/.hidden{number}"), "x");
    }
    let draft = machines.draft();
    assert_eq!(draft.payload.len(), 201);
    let empty = draft.files_meta.iter().filter(|one| {
        matches!(&one.entry.kind, Kind::File(content) if content.length == 0)
            && one.entry.meta.mode == 0o600
    });
    assert_eq!(empty.count(), 100);
}

#[test]
fn hard_links_name_what_is_carried() {
    let draft = Machines::default()
        .had("/usr/bin/tool", "0123")
        .file("/opt/app/a", "x")
        .hard_link("/opt/app/b", "/opt/app/a")
        .hard_link("/opt/app/c", "/usr/bin/tool")
        .hard_link("/opt/app/d", "/usr/bin/tool")
        .draft();
    let kind = |path: &str| {
        let found = draft.files_meta.iter().find(|one| one.path == path.as_bytes()).unwrap();
        found.entry.kind.clone()
    };
    assert_eq!(kind("files/opt/app/b"), Kind::HardLink(crate::testing::path("/files/opt/app/a")));
    assert!(matches!(kind("files/opt/app/c"), Kind::File(content) if content.length == 4));
    assert_eq!(kind("files/opt/app/d"), Kind::HardLink(crate::testing::path("/files/opt/app/c")));
}

/// Files the installer found identical are listed, and carried where that is asked for (Q168776).
#[test]
fn q168776_touched_files_are_listed_and_carried_on_demand() {
    let mut machines = Machines::default().had_folder("/usr/lib/app");
    for number in 0..12 {
        machines = machines.had(&format!("/usr/lib/app/shared{number}"), "same");
    }
    for number in 0..68 {
        machines = machines.file(&format!("/usr/lib/app/own{number}"), "x");
    }
    let mut changes = machines.changes();
    for number in 0..12 {
        let how = if number < 6 { Touch::Rewritten } else { Touch::Opened };
        changes.touched.insert(path(&format!("/usr/lib/app/shared{number}")), how);
    }
    // What no rule would carry if it had changed is not worth a word.
    changes.touched.insert(path("/var/lib/dpkg/info/x.list"), Touch::Opened);
    changes.touched.insert(path("/var/log/dpkg.log"), Touch::Rewritten);
    let carried = |touched| {
        let options = Options { touched, ..options() };
        let draft = machines.draft_with(&changes, &crate::Facts::from_toml("").unwrap(), &options);
        assert_eq!(draft.report.touched.len(), 12);
        assert_eq!(draft.report.counts.carried, 68);
        draft.payload.len()
    };
    assert_eq!(carried(TouchedFiles::List), 68);
    assert_eq!(carried(TouchedFiles::CarryRewritten), 74);
    assert_eq!(carried(TouchedFiles::CarryAll), 80);
}

#[test]
fn what_is_carried_is_warned_of_when_it_needs_what_is_left_out() {
    let draft = Machines::default()
        .had_folder("/usr/bin")
        .had_folder("/var/cache")
        .had_folder("/usr/share/applications")
        .file("/var/cache/app/tool", "x")
        .link("/usr/bin/tool", "../../var/cache/app/tool")
        .file("/usr/share/applications/a.desktop", "[Desktop Entry]\nExec=/var/cache/app/tool %U\n")
        .draft();
    let warned: Vec<String> = draft.report.warning.iter().map(|one| one.text.clone()).collect();
    assert_eq!(warned.len(), 2);
    assert!(
        warned[0].starts_with("the link points to `/var/cache/app/tool`, which rule linux.toml:")
    );
    assert!(warned[1].starts_with("it starts `/var/cache/app/tool`"));
}

#[test]
fn a_folder_that_gave_way_to_a_link_is_cleared_first() {
    let draft = Machines::default()
        .had("/usr/lib/app/old", "x")
        .without("/usr/lib/app")
        .link("/usr/lib/app", "app-2")
        .draft();
    insta::assert_snapshot!(steps(&draft), @r"
    remove /usr/lib/app
    create-link /usr/lib/app -> app-2
    ");
}

#[test]
fn many_empty_folders_beside_a_tree_are_part_of_it() {
    let mut machines = Machines::default()
        .had_folder("/usr/share/icons")
        .had_folder("/usr/bin")
        .had("/usr/share/old/x", "x")
        .touch("/usr/share/old")
        .link("/usr/share/app-old", "old")
        .file("/usr/bin/app", "x");
    for number in 0..9 {
        machines = machines.folder(&format!("/usr/share/icons/{number}"), 0o755);
    }
    let draft = machines.draft();
    insta::assert_snapshot!(steps(&draft), @"install-tree files/usr to /usr");
    assert_eq!(draft.files_meta.len(), 11);
    assert!(draft.report.warning.is_empty());
}

/// Where each change of a draft went, told from what the draft says and not from its counts.
fn accounted(draft: &crate::Draft, changes: &crate::ChangeSet) -> Vec<String> {
    use std::collections::BTreeSet;

    use script::StepKind;

    let mut found: BTreeSet<Vec<u8>> = BTreeSet::new();
    found.extend(draft.payload.iter().map(|one| one.path[b"files".len()..].to_vec()));
    found.extend(draft.report.understood.iter().map(|one| one.path.as_bytes().to_vec()));
    let excluded = draft.report.excluded.iter().flat_map(|one| &one.paths);
    found.extend(excluded.map(|path| path.as_bytes().to_vec()));
    let mut removed = Vec::new();
    for step in &draft.script.steps {
        match &step.kind {
            StepKind::Tree(tree) => found.extend(tree.to.as_literal().map(<[u8]>::to_vec)),
            StepKind::SetMetadata { path, .. } => {
                found.extend(path.as_literal().map(<[u8]>::to_vec));
            }
            StepKind::Remove { path: gone } => {
                removed
                    .extend(gone.as_literal().and_then(|gone| model::MachinePath::new(gone).ok()));
            }
            _ => {}
        }
    }
    let lost = changes.changes.keys().filter(|at| {
        !found.contains(at.as_bytes()) && !removed.iter().any(|gone| at.is_within(gone))
    });
    lost.map(ToString::to_string).collect()
}

proptest! {
    /// Whatever an installer does, no change is lost between the change set and the draft.
    #[test]
    fn no_change_is_lost(
        work in proptest::collection::vec(
            (0..7_u8, "/(usr|etc|opt|var/log|tmp|srv)(/[abc]){1,4}(\\.conf|\\.so|\\.py)?"),
            1..25,
        ),
    ) {
        let mut machines = Machines::default().had_folder("/usr").had_folder("/etc").had_folder("/tmp");
        let mut files: Vec<&str> = Vec::new();
        for (kind, at) in &work {
            // A path that is a file already holds nothing, and one that holds something is no file.
            if files.iter().any(|other| path(at).is_within(&path(other)) || path(other).is_within(&path(at))) {
                continue;
            }
            machines = match kind {
                0 => machines.file(at, "x"),
                1 => machines.link(at, "target"),
                2 => machines.folder(at, 0o700),
                3 => machines.had(at, "old\n").file(at, "old\nnew\n"),
                4 => machines.had(at, "x").chown(at, "app"),
                5 => machines.had(at, "x").without(at),
                _ => machines.had(at, "x").touch(at),
            };
            files.push(at);
        }
        let changes = machines.changes();
        let options = Options { prefix: crate::Prefix::Never, ..options() };
        let draft = machines.draft_with(&changes, &crate::Facts::default(), &options);
        prop_assert_eq!(accounted(&draft, &changes), Vec::<String>::new());
        let counts = draft.report.counts;
        prop_assert_eq!(counts.changes, counts.carried + counts.understood + counts.excluded);
        let text = script::print_with_comments(&draft.script, &draft.comments);
        prop_assert_eq!(script::parse(&text).unwrap(), draft.script);
    }
}
