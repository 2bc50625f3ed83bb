//! Installing and updating: what is there already, what people changed, odd names, odd texts.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Child, Command, Stdio},
};

use model::{EditStep, LineEdit, ReplaceRule, Template};
use operate::{Exit, InstallSettings};
use package::{Action, Node};
use testkit::Sample;

use crate::root::{Root, same};

fn edit(file: &str, edits: Vec<LineEdit>) -> Action {
    Action::Edit(EditStep { file: file.parse().unwrap(), edits, create: true })
}

/// A program that runs with four files mapped, until it is told to end.
fn daemon(root: &Root) -> Child {
    let code = "import mmap,sys\n\
                files=[open(p,'rb') for p in sys.argv[1:]]\n\
                maps=[mmap.mmap(f.fileno(),0,prot=mmap.PROT_READ) for f in files]\n\
                print('mapped',flush=True)\nsys.stdin.readline()";
    let mut daemon = Command::new("python3")
        .args(["-c", code])
        .args((0..4).map(|library| root.path(&format!("usr/lib/lib{library}.so"))))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "mapped\n");
    daemon
}

#[test]
fn q174330_replaced_libraries_in_use_are_a_pending_restart_until_the_program_ends() {
    let root = Root::new();
    let mut sample = Sample::new("libraries", "2");
    let tree = sample.tree("/usr/lib");
    for library in 0..4 {
        root.put(&format!("usr/lib/lib{library}.so"), "old");
        sample.file(tree, &format!("lib{library}.so"), b"new");
    }
    sample.file(tree, "libunused.so", b"new");
    let mut daemon = daemon(&root);
    let report = root.install_with(&sample, &InstallSettings::default());
    assert_eq!(report.result, Exit::Restart, "{}", report.lines());
    assert!(report.message.contains("restart pending"), "{}", report.message);
    let paths = ["/usr/lib/lib0.so", "/usr/lib/lib1.so", "/usr/lib/lib2.so", "/usr/lib/lib3.so"];
    let used: Vec<String> = report.in_use.iter().map(|one| one.path.to_string()).collect();
    assert_eq!(used, paths);
    assert!(report.in_use.iter().all(|one| one.process == i32::try_from(daemon.id()).unwrap()));
    let json: serde_json::Value =
        serde_json::from_str(&operate::list_packages(&root.target()).json()).unwrap();
    let pending = json["packages"][0]["restart-pending"].as_array().unwrap();
    let listed: Vec<&str> = pending.iter().map(|one| one["path"].as_str().unwrap()).collect();
    assert_eq!(listed, paths);
    drop(daemon.stdin.take());
    daemon.wait().unwrap();
    let listed = operate::list_packages(&root.target()).packages.unwrap();
    assert_eq!(listed[0].restart_pending, []);
    assert_eq!(root.verify("libraries").result, Exit::Done);
}

#[test]
fn q153227_a_restart_somebody_else_wants_is_not_ours() {
    let root = Root::new();
    fs::create_dir(root.path("run")).unwrap();
    root.put("run/reboot-required", "*** System restart required ***\n");
    root.put("run/reboot-required.pkgs", "linux-image\n");
    let mut sample = Sample::new("app", "1");
    let tree = sample.tree("/opt/app");
    sample.directory(tree, "");
    let report = root.install(&sample);
    assert_eq!(report.in_use, []);
    let foreign: Vec<_> =
        report.notes.iter().filter(|note| note.contains("/run/reboot-required")).collect();
    assert_eq!(foreign.len(), 1, "{:?}", report.notes);
    assert_eq!(root.read("run/reboot-required.pkgs"), "linux-image\n");
}

#[test]
fn q313874_identical_content_is_not_written_again_and_metadata_is_set_right() {
    let root = Root::new();
    fs::create_dir(root.path("opt/app")).unwrap();
    let mut sample = Sample::new("app", "1");
    let tree = sample.tree("/opt/app");
    sample.directory(tree, "");
    for file in 0..500 {
        let (name, content) = (format!("{file:03}"), format!("content of {file}"));
        sample.file(tree, &name, content.as_bytes());
        if file < 400 {
            root.put(&format!("opt/app/{name}"), &content);
            let path = root.path(&format!("opt/app/{name}"));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&path, Some(1000), Some(1000)).unwrap();
        }
    }
    let inode = |file: u32| fs::metadata(root.path(&format!("opt/app/{file:03}"))).unwrap().ino();
    let before: Vec<u64> = (0..400).map(inode).collect();
    let pristine = root.outside();
    let counts = root.install(&sample).counts.unwrap();
    assert_eq!((counts.identical, counts.staged, counts.metadata), (400, 100, 400));
    assert_eq!((0..400).map(inode).collect::<Vec<_>>(), before);
    for file in 0..500 {
        let found = fs::metadata(root.path(&format!("opt/app/{file:03}"))).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (0, 0, 0o644));
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_700_000_000, 123_456_789));
    }
    root.uninstall_all_of("app");
    same(&pristine, &root.outside());
}

const ODD: [&str; 7] = ["a.c", "a.ab", "Makefile", "lib.so.6", ".profile", "name.", "123"];

#[test]
fn q305614_a_name_says_nothing_about_what_a_file_is() {
    let root = Root::new();
    let pristine = root.whole();
    let mut sample = Sample::new("odd", "1");
    let together = sample.tree("/opt/odd");
    for name in ODD {
        sample.file(together, name, name.as_bytes());
        let alone = sample.tree(&format!("/srv/alone/{name}"));
        sample.file(alone, "", name.as_bytes());
    }
    root.install(&sample);
    for name in ODD {
        for folder in ["opt/odd", "srv/alone"] {
            assert_eq!(root.read(&format!("{folder}/{name}")), name);
        }
    }
    root.uninstall_all_of("odd");
    same(&pristine, &root.whole());
}

#[test]
fn q305614_a_folder_in_the_way_is_named_and_nothing_changes() {
    for name in ODD {
        let root = Root::new();
        fs::create_dir_all(root.path("opt/odd").join(name)).unwrap();
        let pristine = root.whole();
        let mut sample = Sample::new("odd", "1");
        let tree = sample.tree("/opt/odd");
        sample.file(tree, name, b"");
        let report = root.install_with(&sample, &InstallSettings::default());
        assert_eq!(report.result, Exit::Decision, "{}", report.lines());
        assert!(report.message.contains(&format!("a folder is at `/opt/odd/{name}`")));
        same(&pristine, &root.whole());
    }
}

#[test]
fn q238141_a_folder_stands_once_in_a_path_list_however_often_it_is_installed() {
    let others = [
        "PATH=\"/usr/bin:/bin\"\nLANG=C\n",
        "PATH=\"/usr/bin:/bin \"\n",
        "PATH=/usr/bin:/bin:\n",
        "LANG=C",
        "PATH='/usr/bin:/opt/APP/bin'\n",
    ];
    for text in others {
        let root = Root::new();
        root.put("etc/environment", text);
        let pristine = root.whole();
        let mut sample = Sample::new("app", "1");
        let folder = LineEdit::PathList {
            key: Template::literal("PATH"),
            folder: Template::literal("/opt/app/bin"),
            first: false,
        };
        sample.step(edit("/etc/environment", vec![folder]));
        let again = InstallSettings { again: true, ..InstallSettings::default() };
        for _ in 0..5 {
            let report = root.install_with(&sample, &again);
            assert_eq!(report.result, Exit::Done, "{}", report.lines());
            let found = root.read("etc/environment");
            assert_eq!(found.matches("/opt/app/bin").count(), 1, "{text:?} became {found:?}");
        }
        root.uninstall_all_of("app");
        assert_eq!(root.read("etc/environment"), text);
        same(&pristine, &root.whole());
    }
}

#[test]
fn q238141_a_folder_that_was_there_already_stays_when_the_package_goes() {
    for there in ["PATH=/opt/app/bin:/bin\n", "PATH=\"/bin:/opt/app/bin/\"\n"] {
        let root = Root::new();
        root.put("etc/environment", there);
        let mut sample = Sample::new("app", "1");
        let folder = LineEdit::PathList {
            key: Template::literal("PATH"),
            folder: Template::literal("/opt/app/bin"),
            first: true,
        };
        sample.step(edit("/etc/environment", vec![folder]));
        root.install(&sample);
        assert_eq!(root.read("etc/environment").matches("/opt/app/bin").count(), 1);
        root.uninstall_all_of("app");
        assert_eq!(root.read("etc/environment"), there);
    }
}

const LITERAL: [&str; 10] =
    ["%SystemRoot%", "%PATH%", "100%", "%%", "%MAINDIR%", "${HOME}", "$(id)", "%1", "100%%", "$$"];

#[test]
fn q245570_q321280_text_that_looks_like_variables_reaches_the_target_unchanged() {
    let root = Root::new();
    let pristine = root.whole();
    let mut sample = Sample::new("app", "1");
    sample.variable("HOME", "/opt/wrong");
    sample.variable("written", "%1 and 100%% of $(id)");
    let tree = sample.tree("/opt/app");
    for (which, text) in LITERAL.iter().enumerate() {
        sample.file(tree, &format!("{which}"), text.as_bytes());
        let target = Node::Symlink(Template::literal(*text));
        sample.node(tree, &format!("link-{which}"), target, Sample::meta(0o777));
        sample.step(edit(
            "/etc/lines",
            vec![LineEdit::Add { line: Template::literal(format!("x {text}")), after: None }],
        ));
        sample.step(edit(
            "/etc/app.ini",
            vec![LineEdit::Ini {
                section: Template::literal("app"),
                key: Template::literal(format!("key{which}")),
                value: Some(Template::literal(*text)),
            }],
        ));
    }
    sample.step(edit(
        "/etc/lines",
        vec![LineEdit::Add { line: "from ${written}".parse().unwrap(), after: None }],
    ));
    root.install(&sample);
    let lines = root.read("etc/lines");
    let settings = root.read("etc/app.ini");
    for (which, text) in LITERAL.iter().enumerate() {
        assert_eq!(root.read(&format!("opt/app/{which}")), *text);
        let link = fs::read_link(root.path(&format!("opt/app/link-{which}"))).unwrap();
        assert_eq!(link.to_str(), Some(*text));
        assert!(lines.lines().any(|line| line == format!("x {text}")), "{lines}");
        let value = |line: &str| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == format!("key{which}")).then(|| value.trim().to_owned())
        };
        assert_eq!(settings.lines().find_map(value).as_deref(), Some(*text), "{settings}");
    }
    assert!(lines.ends_with("from %1 and 100%% of $(id)\n"), "{lines}");
    root.uninstall_all_of("app");
    same(&pristine, &root.whole());
}

fn configured(version: &str, content: &str, name: &str) -> Sample {
    let mut sample = Sample::new("app", version);
    sample.header.configuration = vec!["/etc/app/**".parse().unwrap()];
    let tree = sample.tree("/etc/app");
    sample.directory(tree, "");
    sample.file(tree, name, content.as_bytes());
    sample
}

#[test]
fn an_update_keeps_changed_configuration_with_its_own_beside() {
    let root = Root::new();
    root.install(&configured("1", "first", "conf"));
    root.put("etc/app/conf", "the administrator's");
    root.install(&configured("2", "second", "conf"));
    assert_eq!(root.read("etc/app/conf"), "the administrator's");
    assert_eq!(root.read("etc/app/conf.packhorse-new"), "second");
    assert_eq!(root.roll_back("app").result, Exit::Done);
    assert_eq!(root.read("etc/app/conf"), "the administrator's");
    assert!(!root.is_there("etc/app/conf.packhorse-new"));
    root.install(&configured("2", "second", "conf"));
    let report = root.uninstall("app");
    assert_eq!(report.result, Exit::Leftovers);
    assert_eq!(report.leftovers.len(), 1, "{}", report.lines());
    assert_eq!(root.read("etc/app/conf"), "the administrator's");
    assert!(!root.is_there("etc/app/conf.packhorse-new"), "ours goes");
}

#[test]
fn a_name_as_long_as_names_may_be_finds_room_for_the_package_s_own_beside() {
    let root = Root::new();
    let long = "n".repeat(255);
    root.install(&configured("1", "first", &long));
    root.put(&format!("etc/app/{long}"), "the administrator's");
    root.install(&configured("2", "second", &long));
    assert_eq!(root.read(&format!("etc/app/{long}")), "the administrator's");
    let beside: Vec<_> = fs::read_dir(root.path("etc/app"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".packhorse-new"))
        .collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    assert_eq!(root.read(&format!("etc/app/{}", beside[0])), "second");
}

#[test]
fn an_older_version_takes_the_place_of_a_newer_only_when_told() {
    let root = Root::new();
    root.install(&configured("2.0", "second", "conf"));
    let older = configured("1.9", "older", "conf");
    let report = root.install_with(&older, &InstallSettings::default());
    assert_eq!(report.result, Exit::Decision, "{}", report.lines());
    assert!(report.message.contains("--downgrade"));
    let same = root.install_with(&configured("2.0", "again", "conf"), &InstallSettings::default());
    assert_eq!(same.result, Exit::Nothing, "{}", same.lines());
    let told = InstallSettings { downgrade: true, ..InstallSettings::default() };
    assert_eq!(root.install_with(&older, &told).result, Exit::Done);
    assert_eq!(root.read("etc/app/conf"), "older");
}

#[test]
fn what_is_never_to_be_replaced_stays_and_is_not_ours() {
    let root = Root::new();
    root.put("usr/lib/there", "theirs");
    let pristine = root.whole();
    let mut sample = Sample::new("app", "1");
    let tree = sample.tree("/usr/lib");
    sample.header.trees[0].replace = ReplaceRule::Never;
    sample.file(tree, "there", b"ours");
    sample.file(tree, "new", b"ours");
    root.install(&sample);
    assert_eq!(root.read("usr/lib/there"), "theirs");
    assert_eq!(root.read("usr/lib/new"), "ours");
    root.uninstall_all_of("app");
    same(&pristine, &root.whole());
}
