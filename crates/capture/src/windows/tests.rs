use model::{Architecture, RegistryKey, Template, ValueEdit};
use script::StepKind;

use crate::{
    Draft, Facts, Registry, add_registry,
    testing::{Machines, facts},
};

/// What an installer that changed only the registry comes to.
fn captured(before: &str, after: &str) -> Draft {
    let read = |text: &str| {
        let mut registry = Registry::default();
        registry.read("HKLM", &format!("WINE REGISTRY Version 2\n{text}")).unwrap();
        registry
    };
    let mut draft = Machines::default().draft();
    draft.script.architecture = Architecture::Any;
    let facts = Facts { user: Some("smith".into()), ..facts() };
    add_registry(&mut draft, &read(before), &read(after), &facts);
    draft
}

const ENVIRONMENT: &str = r"[System\\CurrentControlSet\\Control\\Session Manager\\Environment]";

fn only_edit(draft: &Draft) -> (String, ValueEdit) {
    let StepKind::Registry(step) = &draft.script.steps[0].kind else {
        panic!("{:?}", draft.script.steps)
    };
    let [(name, edit)] = step.values.as_slice() else { panic!("{step:?}") };
    (name.to_string(), edit.clone())
}

#[test]
fn entries_of_the_path_are_added_to_what_is_there() {
    let draft = captured(
        &format!("{ENVIRONMENT}\n\"PATH\"=str(2):\"C:\\\\windows;C:\\\\tools\"\n"),
        &format!(
            "{ENVIRONMENT}\n\"PATH\"=str(2):\"C:\\\\Program Files\\\\App\\\\bin;C:\\\\windows;C:\\\\tools\"\n"
        ),
    );
    let (name, edit) = only_edit(&draft);
    let wanted: Template = r"${program-files}\App\bin".parse().unwrap();
    assert_eq!((name.as_str(), edit), ("PATH", ValueEdit::AddToPath(vec![wanted])));
    assert_eq!(&*draft.report.understood[0].r#as, "the environment variable PATH");
}

#[test]
fn a_text_with_a_semicolon_that_was_replaced_is_no_list() {
    let draft = captured(
        &format!("{ENVIRONMENT}\n\"X\"=\"one;two\"\n"),
        &format!("{ENVIRONMENT}\n\"X\"=\"three;two\"\n"),
    );
    assert_eq!(only_edit(&draft).1, ValueEdit::Text(Template::literal("three;two")));
}

#[test]
fn keys_stand_by_what_they_mean() {
    let draft = captured(
        "",
        concat!(
            "[Software\\\\Vendor]\n\"a\"=\"1\"\n",
            "[Software\\\\Microsoft\\\\Windows\\\\CurrentVersion\\\\Uninstall\\\\App]\n\"DisplayName\"=\"App\"\n",
            "[Software\\\\Classes\\\\.app]\n@=\"App.File\"\n",
            "[Software\\\\Wow6432Node\\\\Classes\\\\CLSID\\\\{1}\\\\InprocServer32]\n@=\"C:\\\\windows\\\\x.dll\"\n",
            "[Software\\\\Microsoft\\\\Windows NT\\\\CurrentVersion\\\\Fonts]\n\"Sans\"=\"sans.ttf\"\n",
            "[Software\\\\Microsoft\\\\Windows\\\\CurrentVersion\\\\Run]\n\"App\"=\"app.exe\"\n",
        ),
    );
    let titles: Vec<&str> = draft.comments.steps.values().map(String::as_str).collect();
    assert_eq!(
        titles,
        [
            "Registry",
            "File types",
            "COM registration",
            "Fonts",
            "Programs that run at logon",
            "Programs and Features",
        ]
    );
    let understood: Vec<&str> = draft.report.understood.iter().map(|one| &*one.r#as).collect();
    for said in ["files that end in .app", "a COM server in a library", "the font Sans"] {
        assert!(understood.contains(&said), "{understood:?}");
    }
}

/// A definition as the scheduler keeps it: 16-bit letters, lines, a principal of the reference machine.
#[test]
fn scheduled_tasks_become_steps_without_accounts_of_the_machine() {
    let definition = "<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n<Task version=\"1.2\">\r\n  \
        <RegistrationInfo>\r\n    <Author>BUILDER7\\smith</Author>\r\n  </RegistrationInfo>\r\n  \
        <Principals><Principal id=\"A\"><UserId>S-1-5-21-1-2-3-1000</UserId></Principal>\
        <Principal id=\"S\"><UserId>S-1-5-18</UserId></Principal></Principals>\r\n  \
        <Actions><Exec><Command>C:\\Program Files\\App\\app.exe</Command></Exec></Actions>\r\n</Task>\r\n";
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend(definition.encode_utf16().flat_map(u16::to_le_bytes));
    let at = "/C:/windows/system32/Tasks/App/Update";
    let mut draft =
        Machines::default().had_folder("/C:/windows/system32/Tasks").file(at, bytes).draft();
    let mut registry = Registry::default();
    registry.read("HKLM", &format!("WINE REGISTRY Version 2\n{MACHINE}")).unwrap();
    let schedule = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule";
    let schedule = RegistryKey::new(schedule).unwrap();
    registry.add(&schedule, []);
    let mut after = registry.clone();
    after.add(&schedule.child(r"TaskCache\Tree\App\Update"), []);
    add_registry(&mut draft, &registry, &after, &facts());
    let [script::Step { kind: StepKind::Task(task), .. }] = draft.script.steps.as_slice() else {
        panic!("{:?}", draft.script.steps)
    };
    insta::assert_snapshot!(format!("{}\n{}", task.name, task.definition), @r#"
    \App\Update
    <Task version="1.2">
      <RegistrationInfo>
      </RegistrationInfo>
      <Principals><Principal id="A"></Principal><Principal id="S"><UserId>S-1-5-18</UserId></Principal></Principals>
      <Actions><Exec><Command>${program-files}\App\app.exe</Command></Exec></Actions>
    </Task>
    "#);
    let said: Vec<&str> = draft.report.review.iter().map(|remark| remark.text.as_str()).collect();
    assert_eq!(
        said,
        [
            "left out of the scheduled task: `UserId`, `Author`, accounts of the reference machine; it runs as whoever installs \
             unless its definition says another"
        ]
    );
    assert!(draft.report.excluded.iter().any(|one| one.rule.ends_with("TaskCache")));
}

/// The registry of a reference machine: its name, its identifier.
const MACHINE: &str = concat!(
    "[System\\\\CurrentControlSet\\\\Control\\\\ComputerName\\\\ComputerName]\n\"ComputerName\"=\"BUILDER7\"\n",
    "[System\\\\CurrentControlSet\\\\Services\\\\Tcpip\\\\Parameters]\n",
    "[Software\\\\Microsoft\\\\Cryptography]\n\"MachineGuid\"=\"c0ffee00-1234-4abc-8def-001122334455\"\n",
);

fn on_reference(after: &str) -> Draft {
    captured(MACHINE, &format!("{MACHINE}{after}"))
}

/// A service and a driver service, with what the reference machine's service manager keeps of them.
#[test]
fn q192868_services_travel_without_what_belongs_to_the_machine() {
    let draft = on_reference(concat!(
        "[System\\\\CurrentControlSet\\\\Services\\\\App]\n\"Type\"=dword:00000010\n\"Start\"=dword:00000002\n",
        "\"ImagePath\"=str(2):\"C:\\\\Program Files\\\\App\\\\app.exe\"\n\"ObjectName\"=\"BUILDER7\\\\app\"\n",
        "[System\\\\CurrentControlSet\\\\Services\\\\App\\\\Security]\n\"Security\"=hex:01,00,14,80\n",
        "[System\\\\CurrentControlSet\\\\Services\\\\AppDrv]\n\"Type\"=dword:00000001\n\"Start\"=dword:00000003\n",
        "\"ImagePath\"=str(2):\"C:\\\\windows\\\\system32\\\\drivers\\\\appdrv.sys\"\n",
        "[System\\\\CurrentControlSet\\\\Services\\\\AppDrv\\\\Enum]\n\"0\"=\"Root\\\\LEGACY_APPDRV\\\\0000\"\n\"Count\"=dword:00000001\n",
        "[System\\\\CurrentControlSet\\\\Services\\\\AppDrv\\\\Security]\n\"Security\"=hex:01,00,14,80\n",
    ));
    let services: Vec<_> = draft
        .script
        .steps
        .iter()
        .map(|step| match &step.kind {
            StepKind::Setup(setup) => (&*setup.name, setup.kind, setup.account.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(services, [("App", 16, r".\app"), ("AppDrv", 1, "")]);
    let left_out: Vec<&str> = draft.report.excluded.iter().map(|one| one.rule.as_str()).collect();
    assert_eq!(
        left_out,
        [
            r"windows-registry.toml:HKLM\SYSTEM\CurrentControlSet\Services\*\Security",
            r"windows-registry.toml:HKLM\SYSTEM\CurrentControlSet\Services\*\Enum",
        ]
    );
}

#[test]
fn the_machines_name_becomes_a_variable() {
    let draft = on_reference(
        "[Software\\\\App]\n\"Server\"=\"http://builder7:80/C:\\\\windows/BUILDER77\"\n",
    );
    let wanted = r"http://${machine.hostname}:80/${windows}/BUILDER77".parse().unwrap();
    assert_eq!(only_edit(&draft), ("Server".to_owned(), ValueEdit::Text(wanted)));
}

#[test]
fn accounts_and_identifiers_of_the_machine_never_travel() {
    let draft = on_reference(concat!(
        "[Software\\\\App]\n\"Kept\"=\"S-1-5-18\"\n",
        "\"Owner\"=\"S-1-5-21-1004336348-1177238915-682003330-1017\"\n",
        "\"S-1-5-21-1-2-3-500\"=dword:00000001\n",
        "\"Id\"=\"{C0FFEE00-1234-4ABC-8DEF-001122334455}\"\n",
        "\"Bytes\"=hex:53,00,2d,00,31,00,2d,00,35,00,2d,00,32,00,31,00,2d,00,37,00\n",
        "\"List\"=str(7):\"a\\0S-1-5-21-1-2-3-500\\0\"\n",
        "[Software\\\\App\\\\S-1-5-21-1-2-3-500]\n\"x\"=\"1\"\n",
        "[System\\\\CurrentControlSet\\\\Services\\\\Tcpip\\\\Parameters]\n\"DhcpNameServer\"=\"10.0.2.3\"\n",
        "\"DhcpDomain\"=\"house.example\"\n",
    ));
    let (name, _) = only_edit(&draft);
    assert_eq!((name.as_str(), draft.script.steps.len()), ("Kept", 1));
    let excluded: Vec<(usize, &str)> =
        draft.report.excluded.iter().map(|one| (one.paths.len(), &*one.reason)).collect();
    assert_eq!(
        excluded,
        [
            (2, "what a server leased to the reference machine"),
            (1, "it holds the identifier of the reference machine"),
            (6, "it holds the number of an account of the reference machine"),
        ]
    );
}

/// The script an installer came to, written and read again.
fn reopened(draft: &Draft) -> script::Script {
    let text = script::print(&draft.script);
    script::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn values_of(script: &script::Script) -> Vec<(String, ValueEdit)> {
    let steps = script.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Registry(step) => Some(step),
        _ => None,
    });
    steps
        .flat_map(|step| step.values.iter().map(|(name, edit)| (name.to_string(), edit.clone())))
        .collect()
}

/// All strings of a list travel, not the first alone.
#[test]
fn q174328_lists_keep_all_their_strings() {
    let mut text = "[Software\\\\App]\n".to_owned();
    let mut wanted = Vec::new();
    for index in 0..20 {
        let count = [1, 2, 6, 500][index % 4];
        let strings: Vec<String> = (0..count).map(|at| format!("string {index}.{at}")).collect();
        let escaped: String = strings.iter().map(|one| format!("{one}\\0")).collect();
        text.push_str(&format!("\"list {index:02}\"=str(7):\"{escaped}\"\n"));
        let templates = strings.into_iter().map(Template::literal).collect();
        wanted.push((format!("list {index:02}"), ValueEdit::List(templates)));
    }
    let service = "[System\\\\CurrentControlSet\\\\Services\\\\Other]\n\"DependOnService\"=str(7):";
    let had = format!("{service}\"a\\0b\\0\"\n");
    let has = format!("{service}\"a\\0b\\0c\\0d\\0e\\0f\\0\"\n");
    let draft = captured(&had, &format!("{text}{has}"));
    let list = ["a", "b", "c", "d", "e", "f"].map(Template::literal).to_vec();
    wanted.push(("DependOnService".to_owned(), ValueEdit::List(list)));
    assert_eq!(values_of(&reopened(&draft)), wanted);
}

/// What the service manager keeps of failures and late starts is said in words, and comes back from the text.
#[test]
fn services_say_when_they_start_and_what_follows_a_failure() {
    let draft = on_reference(concat!(
        "[System\\\\CurrentControlSet\\\\Services\\\\App]\n\"Type\"=dword:00000010\n\"Start\"=dword:00000002\n",
        "\"ImagePath\"=\"C:\\\\Program Files\\\\App\\\\app.exe\"\n\"DelayedAutostart\"=dword:00000001\n",
        "\"FailureActions\"=hex:80,51,01,00,00,00,00,00,00,00,00,00,03,00,00,00,14,00,00,00,",
        "01,00,00,00,60,ea,00,00,03,00,00,00,dc,05,00,00,00,00,00,00,00,00,00,00\n",
        "\"FailureCommand\"=\"C:\\\\Program Files\\\\App\\\\mend.exe /now\"\n\"FailureActionsOnNonCrashFailures\"=dword:00000001\n",
    ));
    let text = script::print(&draft.script);
    let said: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("recovery") || line.starts_with("start"))
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    start = "delayed"
    recovery = ["restart 1min", "run 1500ms", "nothing"]
    recovery-reset = "24h"
    recovery-from-errors = true
    recovery-command = '${program-files}\App\mend.exe /now'
    "#);
    let again = reopened(&draft);
    assert_eq!(again.steps, draft.script.steps);
}

/// No length is too long for a script.
#[test]
fn q240783_large_values_survive_the_script() {
    use std::fmt::Write as _;
    let kib = 1 << 10;
    let mut text = "[Software\\\\App]\n".to_owned();
    let mut lengths = Vec::new();
    for length in [64 * kib - 1, 64 * kib, 64 * kib + 1, kib * kib] {
        for kind in [3, 7, 1] {
            let _ = write!(text, "\"{kind} {length}\"=hex({kind}):61");
            for at in 1..length {
                let _ = write!(text, ",{:02x}", (at * 7 + at / 251) & 0xff);
            }
            text.push('\n');
            lengths.push(length);
        }
    }
    let draft = captured("", &text);
    let before = values_of(&draft.script);
    assert_eq!(before.len(), 12);
    assert_eq!(values_of(&reopened(&draft)), before);
}

/// What is one user's is whoever's installs, and nothing says whose it was.
#[test]
fn q198750_the_packagers_own_parts_say_nothing_of_the_packager() {
    let mut registry = Registry::default();
    let mut text = "WINE REGISTRY Version 2\n[Software\\\\App]\n".to_owned();
    for index in 0..25 {
        text.push_str(&format!(
            "\"{index:02}\"=\"C:\\\\users\\\\smith\\\\AppData\\\\Roaming\\\\App\\\\{index}\"\n"
        ));
    }
    registry.read("HKCU", &text).unwrap();
    let mut draft = Machines::default().draft();
    draft.script.architecture = Architecture::Any;
    let facts = Facts { user: Some("smith".into()), ..facts() };
    add_registry(&mut draft, &Registry::default(), &registry, &facts);
    let text = script::print(&draft.script);
    assert!(!text.contains("smith") && !text.contains("S-1-5-21"), "{text}");
    assert!(text.contains(r"${app-data}\App\24"), "{text}");
    assert_eq!(values_of(&draft.script).len(), 25);
}

/// Every type has its number and its bytes, known or not.
#[test]
fn q177837_unusual_types_travel() {
    let long: String = (0..4096).map(|at| format!(",{:02x}", at % 251)).collect();
    let text = format!(
        concat!(
            "[Software\\\\App]\n\"none 0\"=hex(0):\n\"none 12\"=hex(0):01,02,03,04,05,06,07,08,09,0a,0b,0c\n",
            "\"none 4096\"=hex(0):{}\n\"qword\"=hex(b):ff,fe,fd,fc,fb,fa,f9,f8\n\"short\"=hex(b):01,02\n",
            "\"link\"=hex(6):5c,00,61,00\n\"resources\"=hex(8):01,00,00,00\n\"full\"=hex(9):02\n\"needs\"=hex(a):03\n",
            "\"big-endian\"=hex(5):00,00,00,01\n\"unknown\"=hex(20001):de,ad,be,ef\n",
        ),
        &long[1..]
    );
    let draft = captured("", &text);
    let values = values_of(&reopened(&draft));
    assert_eq!(values, values_of(&draft.script));
    let kinds: Vec<(String, u32, usize)> = values
        .into_iter()
        .map(|(name, edit)| match edit {
            ValueEdit::Raw { kind, data } => (name, kind, data.len()),
            ValueEdit::Qword(number) => {
                assert_eq!(number.to_le_bytes(), [255, 254, 253, 252, 251, 250, 249, 248]);
                (name, 11, 8)
            }
            other => panic!("{name}: {other:?}"),
        })
        .collect();
    let wanted = [
        ("big-endian", 5, 4),
        ("full", 9, 1),
        ("link", 6, 4),
        ("needs", 10, 1),
        ("none 0", 0, 0),
        ("none 12", 0, 12),
        ("none 4096", 0, 4096),
        ("qword", 11, 8),
        ("resources", 8, 4),
        ("short", 11, 2),
        ("unknown", 0x20001, 4),
    ];
    assert_eq!(kinds, wanted.map(|(name, kind, length)| (name.to_owned(), kind, length)));
}

/// Changed values of keys that were there all along are found in every user's hive, and attributed to that user.
#[test]
fn q192670_changed_values_of_users_are_found() {
    let hive = |start: u32| {
        let lines: String = (0..12)
            .map(|at| {
                let value = if at < 10 { start + at } else { 7 };
                format!("\"value {at:02}\"=dword:{value:08x}\n")
            })
            .collect();
        format!("WINE REGISTRY Version 2\n[Software\\\\App]\n{lines}")
    };
    let registry = |start: u32| {
        let mut registry = Registry::default();
        registry.read("HKCU", &hive(start)).unwrap();
        registry.read(r"HKU\.Default", &hive(start)).unwrap();
        registry
    };
    let mut draft = Machines::default().draft();
    draft.script.architecture = Architecture::Any;
    add_registry(&mut draft, &registry(100), &registry(200), &facts());
    let steps: Vec<(String, usize)> = draft
        .script
        .steps
        .iter()
        .map(|step| match &step.kind {
            StepKind::Registry(step) => (step.key.to_string(), step.values.len()),
            other => panic!("{other:?}"),
        })
        .collect();
    let key = r"Software\App";
    assert_eq!(steps, [(format!(r"HKCU\{key}"), 10), (format!(r"HKU\.Default\{key}"), 10)]);
    let whoever = vec![model::Users::Current];
    assert_eq!(
        draft.script.steps.iter().map(|step| step.users.clone()).collect::<Vec<_>>(),
        [whoever, vec![]]
    );
}

/// Names of any letters come back letter by letter from a script that needs no hand.
#[test]
fn q191339_odd_names_come_back() {
    let long = "x".repeat(255);
    let names = [
        r#"*<>|""#,
        "=",
        ";",
        "a\nb",
        "a\tb",
        "trailing ",
        "名前",
        "${x}",
        "100%",
        "[a]",
        "'",
        &long,
        "",
    ];
    let escaped = |name: &str| {
        let letters = name.chars().map(|letter| match letter {
            '"' => "\\\"".to_owned(),
            '\n' => "\\n".to_owned(),
            '\t' => "\\t".to_owned(),
            '名' | '前' => format!("\\x{:04x}", u32::from(letter)),
            letter => letter.to_string(),
        });
        letters.collect::<String>()
    };
    let mut text = "[Software\\\\App]\n".to_owned();
    for name in names {
        let name = if name.is_empty() { "@".to_owned() } else { format!("\"{}\"", escaped(name)) };
        text.push_str(&format!("{name}=\"of it\"\n"));
    }
    for name in ["*<>|", "=;", "trailing ", "名前", "${x}"] {
        text.push_str(&format!("[Software\\\\App\\\\{}]\n\"x\"=\"1\"\n", escaped(name)));
    }
    let draft = captured("", &text);
    let again = reopened(&draft);
    let literal = |text: &Template| String::from_utf8(text.as_literal().unwrap().to_vec()).unwrap();
    let mut values = Vec::new();
    let mut keys = Vec::new();
    for step in &again.steps {
        let StepKind::Registry(step) = &step.kind else { panic!("{step:?}") };
        keys.push(literal(&step.key));
        values.extend(step.values.iter().map(|(name, _)| literal(name)));
    }
    for name in names {
        assert!(values.iter().any(|it| it == name), "{name:?} is not among {values:?}");
    }
    for name in ["*<>|", "=;", "trailing ", "名前", "${x}"] {
        let key = format!(r"HKLM\Software\App\{name}");
        assert!(
            keys.iter().any(|it| it.eq_ignore_ascii_case(&key)),
            "{key:?} is not among {keys:?}"
        );
    }
}

/// No name is shortened on any way: in values, in what is registered, in shortcuts to drives that are not there.
#[test]
fn q235792_long_names_stay_long() {
    let library = r"C:\Program Files\Folio Cache\FolioCacheCleaner.DLL";
    let draft = captured(
        "",
        &format!(
            "[Software\\\\Classes\\\\CLSID\\\\{{1}}\\\\InprocServer32]\n@=\"{}\"\n",
            library.replace('\\', "\\\\")
        ),
    );
    let wanted = r"${program-files}\Folio Cache\FolioCacheCleaner.DLL".parse().unwrap();
    assert_eq!(only_edit(&draft).1, ValueEdit::Text(wanted));
    let shortcut = model::Shortcut {
        target: r"J:\Alongdirectory\Longfilename.exe".to_owned(),
        folder: r"J:\Alongdirectory".to_owned(),
        ..model::Shortcut::default()
    };
    let bytes = shortcut.to_bytes();
    assert_eq!(model::Shortcut::read(&bytes).unwrap(), shortcut);
    assert!(
        !bytes.windows(2).any(|pair| pair == b"~1")
            && !bytes.windows(4).any(|four| four == b"~\x001\x00")
    );
}
