//! Packages as databases of Windows Installer, read back by a library that shares no code with what wrote them.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
};

use model::{
    Comparison, Condition, EditStep, Fact, LineEdit, Meta, Recovery, RegistryStep, RunStep,
    ServiceStart, SetupStep, Shortcut, Template, Undo, Value, ValueEdit, Window,
};
use native::{ExportError, Exported};
use package::{Action, Node};
use testkit::Sample;

use crate::support::template;

fn write(sample: &Sample) -> Result<(Exported, Vec<u8>), ExportError> {
    let mut out = Cursor::new(Vec::new());
    let exported = native::write_msi(&mut sample.open(), &mut out)?;
    assert_eq!(exported.length, out.get_ref().len() as u64);
    Ok((exported, out.into_inner()))
}

fn refusal(sample: &Sample) -> String {
    write(sample).unwrap_err().to_string()
}

/// The rows of a table as texts, sorted.
fn rows(bytes: &[u8], table: &str) -> Vec<String> {
    let mut package = msi::Package::open(Cursor::new(bytes)).unwrap();
    let rows = package.select_rows(msi::Select::table(table)).unwrap();
    let text = |row: msi::Row| {
        let texts: Vec<String> = (0..row.len())
            .map(|index| match &row[index] {
                msi::Value::Null => "-".to_owned(),
                msi::Value::Int(number) => number.to_string(),
                msi::Value::Str(text) => text.clone(),
                other @ msi::Value::Binary => format!("{other:?}"),
            })
            .collect();
        texts.join(" | ")
    };
    let mut rows: Vec<String> = rows.map(text).collect();
    rows.sort();
    rows
}

fn registry(key: &str, values: Vec<(&str, ValueEdit)>) -> Action {
    let values = values.into_iter().map(|(name, edit)| (Template::literal(name), edit)).collect();
    Action::Registry(RegistryStep { key: Template::literal(key), values, remove: false })
}

fn text(text: &str) -> ValueEdit {
    ValueEdit::Text(template(text))
}

fn service(name: &str, program: &str) -> SetupStep {
    SetupStep {
        name: name.into(),
        program: template(program),
        kind: 16,
        start: ServiceStart::Delayed,
        display_name: "The tool".to_owned(),
        description: String::new(),
        account: String::new(),
        dependencies: vec!["Tcpip".to_owned(), "+Network".to_owned()],
        now: true,
        recovery: None,
        recovery_command: None,
    }
}

/// A package with one of everything an .msi says.
fn sample() -> Sample {
    let mut sample = Sample::new("tool", "1.2.3-4");
    "a tool".clone_into(&mut sample.header.summary);
    sample.header.variables.insert(
        "prefix".into(),
        model::Variable {
            default: Some(template(r"${program-files}\Tool")),
            prompt: None,
            fixed: None,
        },
    );
    let menu = sample.tree("${start-menu}/Tool/Tool.lnk");
    let shortcut = Shortcut {
        target: r"${prefix}\bin\tool.exe".to_owned(),
        arguments: "--window".to_owned(),
        folder: "${prefix}".to_owned(),
        window: Window::Maximized,
        ..Shortcut::default()
    };
    sample.shortcut(menu, "", template(&shortcut.to_text()));
    let tree = sample.tree("${prefix}");
    sample.directory(tree, "");
    sample.directory(tree, "empty folder");
    sample.file(tree, "bin/tool.exe", b"MZ tool");
    let hidden = Meta {
        xattrs: [(b"user.DOSATTRIB"[..].into(), b"0x2"[..].into())].into_iter().collect(),
        ..Sample::meta(0o444)
    };
    sample.file_with(tree, "Größe ŁĄ.text", &vec![7; 100_000], hidden);
    let twin = Node::HardLink { tree, path: b"bin/tool.exe".to_vec() };
    sample.node(tree, "bin/twin.exe", twin, Sample::meta(0o755));
    sample.step(registry(
        r"HKLM\SOFTWARE\Tool",
        vec![
            ("", text("[the] {default}")),
            ("Folder", text("${prefix}")),
            ("Home", text("${program-files}")),
            ("Empty", text("")),
            ("Hash", text("#1")),
            ("Expand", ValueEdit::Expand(template("%PATH%"))),
            ("List", ValueEdit::List(vec![template("a"), template("b")])),
            ("Alone", ValueEdit::List(vec![template("a")])),
            ("Number", ValueEdit::Dword(0xffff_fffe)),
            ("Bytes", ValueEdit::Raw { kind: 3, data: vec![0, 255] }),
            ("Machine", text("on ${machine.hostname}")),
            ("Old", ValueEdit::Remove),
        ],
    ));
    sample.step(registry(r"HKCU\Software\Tool\Empty", vec![]));
    sample.step(registry(
        r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment",
        vec![("Path", ValueEdit::AddToPath(vec![template(r"${prefix}\bin")]))],
    ));
    sample.step(registry(
        r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\Tool",
        vec![("DisplayName", text("The Tool")), ("Publisher", text("Ada Nym"))],
    ));
    sample.step(Action::Setup(service("Tool", r#""${prefix}\bin\TOOL.exe" --service "a b""#)));
    sample.step(Action::Edit(EditStep {
        file: template(r"${windows}\tool.ini"),
        edits: vec![LineEdit::Ini {
            section: template("tool"),
            key: template("folder"),
            value: Some(template(r"${prefix}\bin")),
        }],
        create: true,
    }));
    sample
}

#[test]
fn every_table_says_its_part() {
    let (exported, bytes) = write(&sample()).unwrap();
    assert_eq!(exported.file_name, "tool-1.2.3-4.msi");
    let mut all = String::new();
    for table in [
        "Directory",
        "File",
        "CreateFolder",
        "DuplicateFile",
        "Shortcut",
        "Registry",
        "RemoveRegistry",
        "Environment",
        "ServiceInstall",
        "ServiceControl",
        "MsiServiceConfig",
        "IniFile",
        "Media",
        "Property",
        "Upgrade",
        "LaunchCondition",
        "Feature",
    ] {
        all += &format!("{table}\n  {}\n", rows(&bytes, table).join("\n  "));
    }
    insta::assert_snapshot!(all);
    let remarks: Vec<String> = exported.remarks.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(remarks.join("\n"));
    let mut package = msi::Package::open(Cursor::new(&bytes)).unwrap();
    let said = package.summary_info();
    assert_eq!(said.arch(), Some("x64"));
    assert_eq!((said.subject(), said.author()), (Some("The Tool"), Some("Ada Nym")));
    assert_eq!((said.word_count(), said.page_count()), (Some(2), Some(500)));
    assert!(said.uuid().is_some());
    let components = rows(&bytes, "Component");
    assert_eq!(components.len(), rows(&bytes, "FeatureComponents").len());
    let mut cabinet = Vec::new();
    package.read_stream("files1.cab").unwrap().read_to_end(&mut cabinet).unwrap();
    let mut cabinet = cab::Cabinet::new(Cursor::new(cabinet)).unwrap();
    let mut content = Vec::new();
    cabinet.read_file("f2").unwrap().read_to_end(&mut content).unwrap();
    assert!(content == b"MZ tool" || content == vec![7; 100_000], "{}", content.len());
}

#[test]
fn the_same_package_makes_the_same_bytes() {
    assert!(write(&sample()).unwrap().1 == write(&sample()).unwrap().1);
}

/// A component is the same in every version, a product and a file are not.
#[test]
fn identities_hold_where_they_must() {
    let value = |bytes: &[u8], name: &str| {
        let start = format!("{name} | ");
        let rows = rows(bytes, "Property");
        rows.iter().find_map(|row| row.strip_prefix(&start).map(str::to_owned)).unwrap()
    };
    let (_, one) = write(&sample()).unwrap();
    let mut later = sample();
    later.header.version = model::Version::new("1.2.4");
    let (_, two) = write(&later).unwrap();
    assert_eq!(rows(&one, "Component"), rows(&two, "Component"));
    assert_eq!(value(&one, "UpgradeCode"), value(&two, "UpgradeCode"));
    assert_ne!(value(&one, "ProductCode"), value(&two, "ProductCode"));
}

/// More texts than a number of two bytes counts, more components than a feature has.
#[test]
fn many_files_have_room() {
    let mut sample = Sample::new("many", "1");
    let tree = sample.tree("${program-files}/Many");
    for number in 0..17_000 {
        sample.directory(tree, &format!("folder {number}"));
    }
    let (_, bytes) = write(&sample).unwrap();
    // And the one they are in.
    assert_eq!(rows(&bytes, "CreateFolder").len(), 17_001);
    assert_eq!(rows(&bytes, "Feature").len(), 18);
    let folders = rows(&bytes, "Directory");
    let short: std::collections::BTreeSet<&str> =
        folders.iter().filter_map(|row| row.rsplit(" | ").next()?.split('|').next()).collect();
    assert!(short.len() > 17_000, "{}", short.len());
}

/// Folders above one that is made go with it; those every machine has do not.
#[test]
fn folders_above_a_made_one_go_with_it() {
    let mut sample = Sample::new("tool", "1");
    for (place, path) in
        [(r"${program-files}\Maker\Tool", "empty"), (r"${user-start-menu}\Tool", "")]
    {
        let tree = sample.tree(place);
        sample.directory(tree, path);
    }
    let (_, bytes) = write(&sample).unwrap();
    let folders = rows(&bytes, "Directory");
    let name = |row: &String| {
        let key = row.split(" | ").next().unwrap();
        let folder = folders.iter().find(|it| it.starts_with(&format!("{key} | "))).unwrap();
        folder.rsplit(['|', ' ']).next().unwrap().to_owned()
    };
    let mut made: Vec<String> = rows(&bytes, "CreateFolder").iter().map(name).collect();
    made.sort();
    assert_eq!(made, ["Maker", "Tool", "Tool", "empty"]);
}

#[test]
fn every_reason_is_named_at_once() {
    let mut sample = Sample::new("tool", "2026.1");
    let tree = sample.tree(r"${program-files}\Tool");
    sample.file(tree, "a.txt", b"a");
    sample.file(tree, "A.TXT", b"b");
    sample.file(tree, "con.txt", b"b");
    sample.node(tree, "link", Node::Symlink(template("a.txt")), Sample::meta(0o777));
    let streams = Meta {
        xattrs: [(b"user.DosStream.zone:$DATA"[..].into(), b"3"[..].into())].into_iter().collect(),
        ..Sample::meta(0o644)
    };
    sample.file_with(tree, "streams.txt", b"s", streams);
    sample.tree("/opt/tool");
    sample.step(registry(r"HKLM\SOFTWARE\Tool", vec![("Big", ValueEdit::Qword(1))]));
    sample.step(registry(
        r"HKLM\SOFTWARE\Tool",
        vec![("Odd", ValueEdit::Raw { kind: 0, data: vec![1] })],
    ));
    sample.step(registry(
        r"HKLM\SOFTWARE\Tool",
        vec![("List", ValueEdit::AddToPath(vec![template("x")]))],
    ));
    sample.step(Action::Setup(SetupStep { kind: 1, ..service("Driver", "x.sys") }));
    let recovery = Some(Box::new(Recovery::default()));
    sample.step(Action::Setup(SetupStep { recovery, ..service("Fails", "x.exe") }));
    sample.step(Action::Setup(service("Elsewhere", r"${windows}\x.exe")));
    sample.step(Action::Remove { path: template(r"${windows}\old.txt") });
    sample.step(Action::Trigger("ldconfig".into()));
    sample.step(Action::Run(RunStep {
        command: vec![template("x.exe")],
        at: model::Hook::Install,
        undo: Undo::Irreversible,
        limit: 60,
        wait: true,
        exit_codes: BTreeMap::default(),
        outputs: vec![],
    }));
    let reasons = refusal(&sample).replace("; ", "\n");
    insta::assert_snapshot!(reasons);
}

#[test]
fn conditions_are_decided_for_windows() {
    let os = |text: &str| Condition::Compare {
        left: Value::Fact(Fact::Os),
        comparison: Comparison::Equal,
        right: Value::Text(Template::literal(text)),
    };
    let mut sample = Sample::new("tool", "1");
    sample.step(registry(r"HKLM\SOFTWARE\Tool", vec![("A", text("a"))]));
    sample.step(Action::Trigger("ldconfig".into()));
    sample.header.steps[0].when = Some(os("windows"));
    sample.header.steps[1].when = Some(os("linux"));
    let (exported, bytes) = write(&sample).unwrap();
    assert_eq!(rows(&bytes, "Registry").len(), 1);
    let remarks: Vec<String> = exported.remarks.iter().map(ToString::to_string).collect();
    assert!(remarks[0].starts_with("step 2: left out"), "{remarks:?}");
    sample.header.steps[0].when = Some(Condition::Holds(Value::Fact(Fact::Exists(template("/x")))));
    insta::assert_snapshot!(refusal(&sample), @"`tool 1` cannot become a .msi: step 1: its condition differs by machine");
}
