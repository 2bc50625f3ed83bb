//! What parses and is still wrong.

use script::{
    Payload, PayloadKind, Severity, check, check_files_meta, parse_files_meta, parse_with_spans,
};

const HEAD: &str = "format = 1\n[package]\nname = \"x\"\nversion = \"1\"\narchitecture = \"any\"\n";
const DETECT: &str = "[program.install]\ndetect = 'exists(\"/a\")'\n";

fn payload(paths: &[&str]) -> Payload {
    let mut payload = Payload::default();
    for path in paths {
        let folder = path.strip_suffix('/');
        let kind = if folder.is_some() { PayloadKind::Folder } else { PayloadKind::File };
        payload.insert(folder.unwrap_or(path).as_bytes().to_vec(), kind);
    }
    payload
}

fn problems(text: &str, payload: &Payload) -> String {
    let text = format!("{HEAD}{text}\n{DETECT}");
    let (script, spans) = parse_with_spans(&text).unwrap();
    let mut found = check(&script, payload);
    spans.locate(&text, &mut found);
    let said = found.iter().map(|problem| {
        let line = problem.position.as_ref().map_or(0, |position| position.line);
        format!("{line} {} {problem}", problem.severity)
    });
    said.collect::<Vec<_>>().join("\n")
}

fn steps(text: &str) -> String {
    problems(text, &payload(&["files/", "files/a/", "files/a/b/", "files/a/b/c", "files/a/d"]))
}

const INSTALL: &str = "[[step]]\ninstall-tree = \"files/a\"\nto = \"/opt/a\"\n";

#[test]
fn sources_must_be_there() {
    insta::assert_snapshot!(steps(INSTALL), @"");
    insta::assert_snapshot!(steps("[[step]]\ninstall-tree = \"files/x\"\nto = \"/x\"\n[[step]]\ninstall-file = \"files/a/x\"\nto = \"/x\"\n[[step]]\ninstall-file = \"files/a\"\nto = \"/x\"\n[[step]]\ninstall-tree = \"files/a/d\"\nto = \"/x\""), @r"
    0 warning a file in `files/a` no step installs
    0 warning a file in `files/a/b` no step installs
    7 error step 1 (`install-tree`): `files/x`: no such folder in the project
    10 error step 2 (`install-file`): `files/a/x`: no such file in the project
    13 error step 3 (`install-file`): `files/a`: it is a folder
    16 error step 4 (`install-tree`): `files/a/d`: it is no folder
    ");
    insta::assert_snapshot!(steps(&format!("{INSTALL}except = [\"d\", \"*.o\"]\nreplace-text = [{{ files = [\"b/*\", \"*.conf\"], text = \"x\", with = \"y\" }}]")), @r"
    9 warning step 1 (`install-tree`), `except`: `*.o` matches nothing below the source
    10 warning step 1 (`install-tree`), `replace-text`: `*.conf` matches nothing below the source
    ");
}

#[test]
fn nothing_is_installed_twice() {
    insta::assert_snapshot!(steps(&format!("{INSTALL}[[step]]\ninstall-file = \"files/a/d\"\nto = \"/opt/a/b/c\"")), @"11 error step 2 (`install-file`), `to`: `/opt/a/b/c` is installed by step 1 already");
    insta::assert_snapshot!(steps(&format!("{INSTALL}[[step]]\nwhen = 'machine.os == \"linux\"'\ninstall-file = \"files/a/d\"\nto = \"/opt/a/b/c\"\n[[step]]\ncreate-directory = \"/opt/a/b\"\n")), @"");
    insta::assert_snapshot!(steps(&format!("[variables]\np = {{ default = \"/opt\" }}\n{INSTALL}[[step]]\ncreate-link = \"${{p}}/a/d\"\ntarget = \"x\"")), @"11 error step 2 (`create-link`), `to`: `/opt/a/d` is installed by step 1 already");
}

/// Q267977: names the target cannot hold only failed when they were unpacked there. They are listed where the package is made.
#[test]
fn q267977_names_windows_does_not_hold_are_listed() {
    let files = payload(&[
        "files/",
        "files/a/",
        "files/a/a:b",
        "files/a/CON",
        "files/a/end.",
        "files/a/README",
        "files/a/readme",
        "files/a/fine",
    ]);
    let step = |to: &str| format!("[[step]]\ninstall-tree = \"files/a\"\nto = \"{to}\"\n");
    insta::assert_snapshot!(problems(&step("/C:/Program Files/X"), &files), @r"
    8 error step 1 (`install-tree`), `to`: Windows holds no `C:\Program Files\X\CON`: `CON` is a device
    8 error step 1 (`install-tree`), `to`: Windows holds no `C:\Program Files\X\a:b`: `a:b` has a `:` in it
    8 error step 1 (`install-tree`), `to`: Windows holds no `C:\Program Files\X\end.`: `end.` ends with a dot
    8 error step 1 (`install-tree`), `to`: `C:\Program Files\X\readme` and `C:\Program Files\X\README` are one to Windows
    ");
    insta::assert_snapshot!(problems(&step("/C:/nul.d/X"), &payload(&["files/", "files/a/", "files/a/x"])), @r"8 error step 1 (`install-tree`), `to`: Windows holds no `C:\nul.d\X`: `nul.d` is a device");
    insta::assert_snapshot!(problems(&step("/opt/x"), &files), @"");
}

#[test]
fn variables_are_known_and_used() {
    insta::assert_snapshot!(steps(&format!("[variables]\nprefix = {{ default = \"/opt\" }}\nunused = {{ default = \"\" }}\na = {{ default = \"${{b}}\" }}\nb = {{ default = \"${{a}}\" }}\nf = {{ fixed = \"x\" }}\n{INSTALL}[[step]]\ncreate-link = \"${{prefx}}/x\"\ntarget = \"${{machine.hostname}}${{f}}\"\n[[step]]\nwhen = 'os == \"linux\"'\ntrigger = \"ldconfig\"\n")), @r"
    9 error variable `a`: its default `${b}` leads back to itself
    10 error variable `b`: its default `${a}` leads back to itself
    11 error variable `f`: it is fixed, and has no value
    7 warning variable `prefix`: it is never used
    8 warning variable `unused`: it is never used
    16 error step 2 (`create-link`): there is no variable `prefx`
    19 error step 3 (`trigger`), `when`: there is no variable `os`
    ");
}

#[test]
fn services_have_units() {
    let unit =
        "[[step]]\ninstall-file = \"files/a/d\"\nto = \"/usr/lib/systemd/system/a@.service\"\n";
    insta::assert_snapshot!(steps(&format!("{INSTALL}[[step]]\nservice = \"a@1.service\"\n{unit}")), @"10 error step 2 (`service`): `a@1.service` is installed only later, by step 3");
    insta::assert_snapshot!(steps(&format!("{INSTALL}{unit}[[step]]\nservice = \"a@1.service\"\n[[step]]\nservice = \"b.timer\"\n")), @"15 warning step 4 (`service`): no step installs `b.timer`: it must be on the machine already");
}

/// A step after one nobody waits for may find its files in use (Q192140).
#[test]
fn q192140_a_step_after_an_unwaited_one_is_warned_of() {
    let run = "[[step]]\nrun = [\"/opt/a/b/c\"]\nundo = \"irreversible\"\nwait = false\n";
    insta::assert_snapshot!(steps(&format!("{run}{INSTALL}")), @r"
    8 note step 1 (`run`), `undo`: nothing takes this command back, and whoever installs is told
    9 warning step 1 (`run`), `wait`: the next step does not wait for it, and may find its files in use
    ");
    insta::assert_snapshot!(steps(&format!("{INSTALL}{run}")), @"11 note step 2 (`run`), `undo`: nothing takes this command back, and whoever installs is told");
    insta::assert_snapshot!(steps(&format!("{INSTALL}{run}at = \"before-uninstall\"\n[[step]]\ntrigger = \"ldconfig\"\n")), @"");
}

#[test]
fn what_many_share_is_not_removed() {
    insta::assert_snapshot!(steps(&format!("{INSTALL}[[step]]\nremove = \"/etc\"\n[[step]]\nremove = \"//usr/./bin/\"\n[[step]]\nremove = \"/\"\n[[step]]\nremove = \"/etc/old\"\n")), @r"
    10 error step 2 (`remove`): it would remove `/etc`, which programs share, with all it holds
    12 error step 3 (`remove`): it would remove `/usr/bin`, which programs share, with all it holds
    14 error step 4 (`remove`): it would remove `/`, which programs share, with all it holds
    14 error step 4 (`remove`): it removes `/opt/a`, which step 1 installs
    ");
}

#[test]
fn edits_keep_off_installed_files() {
    insta::assert_snapshot!(steps(&format!("{INSTALL}[[step]]\nedit-lines = \"/opt/a/d\"\nadd = [\"x\"]\n[[step]]\nedit-lines = \"/opt/a/b\"\nadd = [\"x\"]\n")), @r"
    10 warning step 2 (`edit-lines`): step 1 installs `/opt/a/d` whole
    13 error step 3 (`edit-lines`): `/opt/a/b` is a folder, which step 1 installs
    ");
}

#[test]
fn names_must_fit_and_links_lead_somewhere() {
    let long = format!("files/a/{}", "n".repeat(256));
    let mut odd = payload(&["files/", "files/a/", &long, "files/left/over", "files/left/too"]);
    let meta = "# files.meta 1\nfiles/a/link hardlink=files/a/gone modified=@0\nfiles/a/pipe fifo modified=@0\n";
    odd.describe(&parse_files_meta(meta).unwrap());
    let deep = format!("[[step]]\ninstall-tree = \"files/a\"\nto = \"/{}\"\n", "d/".repeat(2000));
    insta::assert_snapshot!(problems(&deep, &odd).replace(&"n".repeat(256), "n…").replace(&"d/".repeat(1999), "d/…"), @r"
    0 error `files/a/link` is a hard link to `files/a/gone`, which is no file of the project
    0 warning 2 files in `files/left` no step installs
    8 error step 1 (`install-tree`), `to`: `n…` has 256 bytes, and a file system holds names of 255
    8 error step 1 (`install-tree`), `to`: `/d/…d/n…` has 4257 bytes, and the kernel takes paths of 4095
    ");
}

#[test]
fn files_meta_speaks_of_what_is_there() {
    let disk = payload(&["files/", "files/a", "files/b/"]);
    let meta = "# files.meta 1\nfiles/a dir modified=@0\nfiles/b modified=@0 owner=redis\nfiles/c modified=@0 group=mail\n\
                files/d hardlink=files/e modified=@0\nfiles/e fifo modified=@0 owner=mine group=mine\n";
    let text = format!("{HEAD}[[step]]\ncreate-user = \"mine\"\n");
    let (script, _) = parse_with_spans(&text).unwrap();
    let found = check_files_meta(&script, &parse_files_meta(meta).unwrap(), &disk);
    let said: Vec<String> = found.iter().map(|it| format!("{} {it}", it.severity)).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    error files.meta: `files/a` is no folder on disk
    error files.meta: `files/b` is a folder on disk
    error files.meta: `files/c` is not in the project
    error files.meta: `files/d` is a hard link to `files/e`, which comes after it
    note files belong to the group `mail`, which no step creates
    note files belong to the user `redis`, which no step creates
    ");
}

#[test]
fn an_unwritten_detection_is_noted() {
    let (script, _) = parse_with_spans(HEAD).unwrap();
    let found = check(&script, &Payload::default());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].severity, Severity::Note);
    insta::assert_snapshot!(found[0], @"program `install`: nothing says how to tell from outside that the package is installed");
}

/// An account's number is one machine's, in text and in bytes (Q198750).
#[test]
fn accounts_of_one_machine_are_refused() {
    let step = |key: &str, values: &str| {
        format!("[[step]]\nedit-registry = 'HKLM\\SOFTWARE\\{key}'\nvalues = {{ {values} }}\n")
    };
    let everybodys = steps(&step("X", "a = \"S-1-5-18\", b = \"S-1-5-32-544\""));
    assert!(!everybodys.contains(" error "), "{everybodys}");
    let found = [
        step("X", "a = \"owner s-1-5-21-1-2-3-500\""),
        step("S-1-5-21-1-2-3-500", "a = \"b\""),
        step("X", "a = { type = 3, data = \"532d312d352d32312d37\" }"),
        step("X", "a = { type = 3, data = \"0053002d0031002d0035002d00320031002d00\" }"),
    ]
    .map(|text| steps(&text).lines().filter(|line| line.contains(" error ")).count());
    assert_eq!(found, [1; 4]);
}
