//! What only Windows has: services that recover, shortcuts, parts of several users.

use change::{CommandEnd, Machine as _, Observe as _};
use install::{Facts, Profile};
use model::{
    Failure, LibraryStep, MachinePath, Part, Recovery, RecoveryAction, RegistryKey, RegistryStep,
    RegistryValue, ServiceStart, Setting, SettingState, SetupStep, Shortcut, TaskStep, Template,
    Users, ValueEdit,
};
use package::{Action, Node};
use testkit::{Sample, SimDisk, SimFacts};

use crate::support::{install_with, options, picture, uninstall};

fn service(start: ServiceStart) -> SetupStep {
    let action = |failure, delay| RecoveryAction { failure, delay };
    SetupStep {
        name: "App".into(),
        program: Template::literal(r"C:\App\app.exe"),
        kind: 16,
        start,
        display_name: String::new(),
        description: String::new(),
        account: String::new(),
        dependencies: Vec::new(),
        now: false,
        recovery: Some(Box::new(Recovery {
            actions: vec![action(Failure::Restart, 60_000), action(Failure::Run, 0)],
            reset: Some(86_400),
            message: String::new(),
            errors_too: true,
        })),
        recovery_command: Some("${folder}\\mend.exe".parse().unwrap()),
    }
}

fn sample(version: &str, start: ServiceStart) -> Sample {
    let mut sample = Sample::new("app", version);
    sample.variable("folder", r"C:\App");
    sample.step(Action::Setup(service(start)));
    sample
}

fn standing(disk: &SimDisk) -> model::ServiceSetup {
    match disk.setting(&Setting::Service("App".into())).unwrap() {
        Some(SettingState::Service(setup)) => *setup,
        other => panic!("{other:?}"),
    }
}

#[test]
fn services_start_late_and_recover_as_the_script_says() {
    let mut disk = SimDisk::new();
    let before = picture(&disk);
    let first = sample("1.0", ServiceStart::Delayed);
    let outcome = install_with(&mut disk, &SimFacts, &first, &options()).unwrap();
    assert_eq!(outcome.notes, Vec::<String>::new());
    let setup = standing(&disk);
    assert_eq!((setup.start, setup.delayed), (2, Some(true)));
    let (recovery, command) = *setup.recovery.unwrap();
    assert_eq!(recovery, *service(ServiceStart::Delayed).recovery.unwrap());
    assert_eq!(command, r"C:\App\mend.exe");
    install_with(&mut disk, &SimFacts, &sample("2.0", ServiceStart::Automatic), &options())
        .unwrap();
    assert_eq!(standing(&disk).delayed, Some(false));
    let gone = uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
    assert_eq!(gone.leftovers, []);
    assert_eq!(picture(&disk), before);
}

/// The manager keeps a service's setup in the key the package has its parameters below, and takes it away with the service.
#[test]
fn the_key_of_a_service_goes_with_it() {
    const SERVICES: &str = r"HKLM\SYSTEM\CurrentControlSet\Services";
    const KEY: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\app";
    let mut disk = SimDisk::new();
    for key in [r"HKLM\SYSTEM", r"HKLM\SYSTEM\CurrentControlSet", SERVICES] {
        let key = Setting::Key(RegistryKey::new(key).unwrap());
        disk.set(&key, Some(&SettingState::Key)).unwrap();
    }
    let mut sample = sample("1.0", ServiceStart::Automatic);
    for key in [KEY.to_owned(), format!(r"{KEY}\Parameters")] {
        let key = Template::literal(key.as_str());
        let values = vec![(Template::literal("Folder"), ValueEdit::Text(Template::literal("a")))];
        sample.step(Action::Registry(RegistryStep { key, remove: false, values }));
    }
    install_with(&mut disk, &SimFacts, &sample, &options()).unwrap();
    let image = Setting::value(&RegistryKey::new(KEY).unwrap(), "ImagePath");
    let path = RegistryValue { kind: 2, data: b"a\0\0\0".to_vec() };
    disk.set(&image, Some(&SettingState::Value(path))).unwrap();
    let gone = uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
    assert_eq!(gone.leftovers, []);
}

/// Where the service manager keeps nothing of it, the installation says so, and the package still goes whole.
#[test]
fn a_machine_that_cannot_hold_recovery_says_so() {
    let mut disk = SimDisk::new();
    disk.forgets_recovery = true;
    let before = picture(&disk);
    let first = sample("1.0", ServiceStart::Delayed);
    let outcome = install_with(&mut disk, &SimFacts, &first, &options()).unwrap();
    insta::assert_snapshot!(outcome.notes.join("\n"), @"this machine cannot hold when the service `App` starts late, or what follows when it fails");
    assert_eq!((standing(&disk).delayed, standing(&disk).recovery), (None, None));
    let gone = uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
    assert_eq!(gone.leftovers, []);
    assert_eq!(picture(&disk), before);
}

fn task(definition: &str) -> Sample {
    let mut sample = Sample::new("app", "1.0");
    sample.variable("folder", r"C:\App");
    let definition = definition.parse().unwrap();
    sample.step(Action::Task(TaskStep { name: r"\App\Update".into(), definition }));
    sample
}

const TASK: &str = "<?xml version=\"1.0\"?>\n<Task>\n  <Exec>${folder}\\app.exe</Exec>\n</Task>\n";

fn standing_task(disk: &SimDisk) -> Option<String> {
    match disk.setting(&Setting::Task(r"\App\Update".into())).unwrap() {
        Some(SettingState::Task(definition)) => Some(definition.into_string()),
        None => None,
        other => panic!("{other:?}"),
    }
}

/// A task comes as its definition says, whatever way that is written, and goes with the package.
#[test]
fn tasks_come_and_go_with_the_package() {
    let mut disk = SimDisk::new();
    let before = picture(&disk);
    install_with(&mut disk, &SimFacts, &task(TASK), &options()).unwrap();
    let wanted = r"<Task><Exec>C:\App\app.exe</Exec></Task>";
    assert_eq!(standing_task(&disk).as_deref(), Some(wanted));
    let gone = uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
    assert_eq!(gone.leftovers, []);
    assert_eq!(picture(&disk), before);
}

/// What was there comes back, and what somebody changed since stays and is told.
#[test]
fn a_task_that_is_no_longer_ours_stays() {
    let mut disk = SimDisk::new();
    let setting = Setting::Task(r"\App\Update".into());
    let of = |text: &str| Some(SettingState::Task(text.into()));
    disk.set(&setting, of("<Task>theirs</Task>").as_ref()).unwrap();
    install_with(&mut disk, &SimFacts, &task(TASK), &options()).unwrap();
    uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
    assert_eq!(standing_task(&disk).as_deref(), Some("<Task>theirs</Task>"));
    install_with(&mut disk, &SimFacts, &task(TASK), &options()).unwrap();
    disk.set(&setting, of("<Task>an administrator's</Task>").as_ref()).unwrap();
    let gone = uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
    let said: Vec<&str> = gone.leftovers.iter().map(|left| left.reason.as_str()).collect();
    assert_eq!(said, [r"the scheduled task `\App\Update` was changed since"]);
    assert_eq!(standing_task(&disk).as_deref(), Some("<Task>an administrator's</Task>"));
}

/// The first bytes of a library for machines of this type, and something behind them.
fn library(kind: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 200];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[60] = 128;
    bytes[128..128 + kind.len()].copy_from_slice(kind);
    bytes
}

/// A library that registers itself, from a tree of the package, and what the machine answers then.
fn registering(content: &[u8], optional: bool) -> Sample {
    let mut sample = Sample::new("app", "1.0");
    sample.variable("system", r"C:\windows\system32");
    sample.variable("system-x86", r"C:\windows\syswow64");
    let tree = sample.tree(r"C:\App");
    sample.directory(tree, "");
    sample.file(tree, "a long name of a server.dll", content);
    let file = Template::literal(r"C:\App\a long name of a server.dll");
    sample.step(Action::Library(LibraryStep { file, optional }));
    sample
}

/// What cannot register says its file, what it is and why, and the machine is as it was; or the installation goes on
/// where the step is optional.
#[test]
fn q200918_libraries_that_do_not_register_say_why_and_all_is_taken_back() {
    let ended = |code| CommandEnd::Exited { code, output: String::new() };
    let cases = [
        (b"no library".to_vec(), None),
        (library(b"NE"), None),
        (library(b"PE\0\0\x64\xaa"), None),
        (library(b"PE\0\0\x4c\x01"), Some(("syswow64", ended(5)))),
        (library(b"PE\0\0\x64\x86"), Some(("system32", ended(3)))),
        (library(b"PE\0\0\x64\x86"), Some(("system32", ended(4)))),
    ];
    let mut said = String::new();
    for (content, answer) in cases {
        let mut disk = SimDisk::new();
        disk.put("/C:/windows/system32/regsvr32.exe", b"");
        disk.programs.extend(answer);
        let before = picture(&disk);
        let error = install_with(&mut disk, &SimFacts, &registering(&content, false), &options());
        said += &format!("{}\n", error.unwrap_err());
        assert_eq!(picture(&disk), before);
        let outcome = install_with(&mut disk, &SimFacts, &registering(&content, true), &options());
        assert_eq!(outcome.unwrap().notes.len(), 1);
        uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
        assert_eq!(picture(&disk), before);
    }
    insta::assert_snapshot!(said, @r"
    `C:\App\a long name of a server.dll`, no library at all, was not registered: it does not begin as libraries do; `optional = true` lets an installation go on without it; everything was taken back
    `C:\App\a long name of a server.dll`, a 16-bit library, was not registered: this machine is x86_64; `optional = true` lets an installation go on without it; everything was taken back
    `C:\App\a long name of a server.dll`, an ARM64 library, was not registered: this machine is x86_64; `optional = true` lets an installation go on without it; everything was taken back
    `C:\App\a long name of a server.dll`, a 32-bit x86 library, was not registered: its `DllRegisterServer` answers with an error; `optional = true` lets an installation go on without it; everything was taken back
    `C:\App\a long name of a server.dll`, an x86-64 library, was not registered: it cannot be loaded: a library it needs is missing, or it is damaged; `optional = true` lets an installation go on without it; everything was taken back
    `C:\App\a long name of a server.dll`, an x86-64 library, was not registered: it has no `DllRegisterServer`; `optional = true` lets an installation go on without it; everything was taken back
    ");
}

/// One that registers is taken back by its own word when the package goes, in the program of its own architecture.
#[test]
fn libraries_are_registered_by_the_program_of_their_architecture() {
    for (kind, folder) in [(&b"PE\0\0\x4c\x01"[..], "syswow64"), (b"PE\0\0\x64\x86", "system32")] {
        let mut disk = SimDisk::new();
        let before = picture(&disk);
        let done = CommandEnd::Exited { code: 0, output: String::new() };
        disk.programs.push((folder, done));
        let sample = registering(&library(kind), false);
        let outcome = install_with(&mut disk, &SimFacts, &sample, &options()).unwrap();
        assert_eq!(outcome.notes, Vec::<String>::new());
        let gone = uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
        assert_eq!(gone.leftovers, []);
        assert_eq!(picture(&disk), before);
    }
}

/// A shortcut is made of its texts when they have values, and goes with the package.
#[test]
fn shortcuts_lead_where_the_variables_say() {
    let wanted = Shortcut {
        target: r"D:\Elsewhere\app.exe".to_owned(),
        arguments: "--tray".to_owned(),
        folder: r"D:\Elsewhere".to_owned(),
        icon_index: 3,
        ..Shortcut::default()
    };
    let text =
        Shortcut { target: String::new(), folder: String::new(), ..wanted.clone() }.to_text();
    let fields: Vec<&str> = text.splitn(4, '\0').collect();
    let variable = || Part::Variable("folder".into());
    let literal = |text: String| Part::Literal(text.into_bytes());
    let with = Template(vec![
        variable(),
        literal(format!("\\app.exe\0{}\0", fields[1])),
        variable(),
        literal(format!("\0{}", fields[3])),
    ]);
    let mut sample = Sample::new("app", "1.0");
    sample.variable("folder", r"D:\Elsewhere");
    let tree = sample.tree("/menu/App.lnk");
    sample.shortcut(tree, "", with);
    let mut disk = SimDisk::new();
    let before = picture(&disk);
    install_with(&mut disk, &SimFacts, &sample, &options()).unwrap();
    let made = disk.read(&MachinePath::new("/menu/App.lnk").unwrap()).unwrap();
    assert_eq!(Shortcut::read(&made).unwrap(), wanted);
    let gone = uninstall(&mut disk, &SimFacts, "app").unwrap().unwrap();
    assert_eq!(gone.leftovers, []);
    assert_eq!(picture(&disk), before);
}

/// A Windows machine with two other users and a profile for new ones.
struct Shared(Vec<Profile>);

impl Shared {
    fn new(users: &[(Users, &str, &str)]) -> Self {
        let profile = |&(users, hive, name): &(Users, &str, &str)| Profile {
            users,
            hive: hive.to_owned(),
            folders: vec![("app-data".into(), format!("/Profiles/{name}/Roaming"))],
        };
        Self(users.iter().map(profile).collect())
    }
}

impl Facts for Shared {
    fn os(&self) -> String {
        "windows".to_owned()
    }
    fn architecture(&self) -> String {
        SimFacts.architecture()
    }
    fn distribution(&self) -> String {
        SimFacts.distribution()
    }
    fn release(&self) -> String {
        SimFacts.release()
    }
    fn kernel(&self) -> String {
        SimFacts.kernel()
    }
    fn memory(&self) -> u64 {
        SimFacts.memory()
    }
    fn host_name(&self) -> String {
        SimFacts.host_name()
    }
    fn folders(&self) -> Vec<(Box<str>, String)> {
        vec![("app-data".into(), "/Profiles/smith/Roaming".to_owned())]
    }
    fn profiles(&self) -> Vec<Profile> {
        self.0.clone()
    }
    fn free_space(&self, path: &MachinePath) -> Option<(u64, u64)> {
        SimFacts.free_space(path)
    }
    fn system_package(&self, name: &str) -> Option<String> {
        SimFacts.system_package(name)
    }
    fn has_running_systemd(&self) -> bool {
        false
    }
}

/// A key and a tree with a file, a further name of it, and a shortcut, for these users.
fn for_users(users: &[Users]) -> Sample {
    let mut sample = Sample::new("app", "1.0");
    let tree = sample.tree("${app-data}/App");
    sample.directory(tree, "");
    sample.file(tree, "app.ini", b"a = 1\n");
    let again = Node::HardLink { tree, path: b"app.ini".to_vec() };
    sample.node(tree, "zz.ini", again, Sample::meta(0o644));
    let shortcut = Shortcut { target: "TARGET".to_owned(), ..Shortcut::default() }.to_text();
    let text = shortcut.replace("TARGET", "${app-data}/App/app.exe");
    sample.shortcut(tree, "App.lnk", text.parse().unwrap());
    let value = (Template::literal("Folder"), ValueEdit::Text("${app-data}/App".parse().unwrap()));
    let key = Template::literal(r"HKCU\Software\App");
    sample.step(Action::Registry(RegistryStep { key, values: vec![value], remove: false }));
    for step in &mut sample.header.steps {
        step.users = Some(users.to_vec());
    }
    sample
}

fn folder_of(disk: &SimDisk, root: &str) -> Option<String> {
    let key = RegistryKey::new(&format!(r"{root}\Software\App")).unwrap();
    match disk.setting(&Setting::value(&key, "Folder")).unwrap() {
        Some(SettingState::Value(value)) => value.as_text(),
        None => None,
        other => panic!("{other:?}"),
    }
}

fn file_of(disk: &SimDisk, name: &str) -> Option<Vec<u8>> {
    let path = MachinePath::new(format!("/Profiles/{name}/Roaming/App/app.ini")).unwrap();
    disk.look(&path).unwrap().map(|_| disk.read(&path).unwrap())
}

const ALL_USERS: [(Users, &str, &str); 3] = [
    (Users::Existing, "S-1-5-21-1-2-3-1001", "jones"),
    (Users::Existing, "S-1-5-21-1-2-3-1002", "brown"),
    (Users::Future, "Default", "Default"),
];

/// Each user the script names has files and keys with that user's own folders, and no other has; all go again.
#[test]
fn parts_of_users_come_to_those_the_script_names() {
    let people = [("HKCU", "smith", Users::Current)]
        .into_iter()
        .chain([
            (r"HKU\S-1-5-21-1-2-3-1001", "jones", Users::Existing),
            (r"HKU\S-1-5-21-1-2-3-1002", "brown", Users::Existing),
            (r"HKU\Default", "Default", Users::Future),
        ])
        .collect::<Vec<_>>();
    for named in [
        &[Users::Current][..],
        &[Users::Existing],
        &[Users::Future],
        &[Users::Current, Users::Future],
        &Users::ALL,
    ] {
        let mut disk = SimDisk::new();
        let before = picture(&disk);
        let facts = Shared::new(&ALL_USERS);
        let outcome = install_with(&mut disk, &facts, &for_users(named), &options()).unwrap();
        assert_eq!(outcome.notes, Vec::<String>::new());
        for (root, name, users) in &people {
            let is_named = named.contains(users);
            let folder = format!("/Profiles/{name}/Roaming/App");
            assert_eq!(folder_of(&disk, root), is_named.then_some(folder.clone()), "{name}");
            assert_eq!(file_of(&disk, name), is_named.then(|| b"a = 1\n".to_vec()), "{name}");
            if is_named {
                let at = MachinePath::new(format!("{folder}/App.lnk")).unwrap();
                let shortcut = Shortcut::read(&disk.read(&at).unwrap()).unwrap();
                assert_eq!(shortcut.target, format!("{folder}/app.exe"));
                let first = MachinePath::new(format!("{folder}/app.ini")).unwrap();
                let again = MachinePath::new(format!("{folder}/zz.ini")).unwrap();
                let inode = |path| disk.look(path).unwrap().unwrap().identity;
                assert_eq!(inode(&first), inode(&again), "{name}");
            }
        }
        let gone = uninstall(&mut disk, &facts, "app").unwrap().unwrap();
        assert_eq!(gone.leftovers, []);
        assert_eq!(picture(&disk), before);
    }
}

/// Whoever came since gets a part with the next version, and who is gone takes none with it.
#[test]
fn an_update_follows_the_users_there_are() {
    let mut disk = SimDisk::new();
    let before = picture(&disk);
    let first = Shared::new(&ALL_USERS[..1]);
    install_with(&mut disk, &first, &for_users(&[Users::Existing]), &options()).unwrap();
    let mut later = for_users(&[Users::Existing]);
    later.header.version = model::Version::new("2.0");
    let second = Shared::new(&ALL_USERS[1..2]);
    install_with(&mut disk, &second, &later, &options()).unwrap();
    assert_eq!(
        (file_of(&disk, "jones"), folder_of(&disk, r"HKU\S-1-5-21-1-2-3-1001")),
        (None, None)
    );
    assert!(file_of(&disk, "brown").is_some());
    let gone = uninstall(&mut disk, &second, "app").unwrap().unwrap();
    assert_eq!(gone.leftovers, []);
    assert_eq!(picture(&disk), before);
}

#[test]
fn where_nobody_else_is_that_is_said() {
    let mut disk = SimDisk::new();
    let facts = Shared::new(&[]);
    let outcome = install_with(&mut disk, &facts, &for_users(&Users::ALL), &options()).unwrap();
    insta::assert_snapshot!(outcome.notes.join("\n"), @"
    there is no profile of existing users, so that what is for them is left out
    there is no profile of future users, so that what is for them is left out
    ");
    assert!(file_of(&disk, "smith").is_some());
}

/// A user's own file stays when the package goes, and is named.
#[test]
fn what_a_user_changed_stays() {
    let mut disk = SimDisk::new();
    let facts = Shared::new(&ALL_USERS);
    install_with(&mut disk, &facts, &for_users(&Users::ALL), &options()).unwrap();
    let key = RegistryKey::new(r"HKU\S-1-5-21-1-2-3-1001\Software\App").unwrap();
    let own = SettingState::Value(model::RegistryValue::text(1, "elsewhere"));
    disk.set(&Setting::value(&key, "Folder"), Some(&own)).unwrap();
    let gone = uninstall(&mut disk, &facts, "app").unwrap().unwrap();
    let reasons: Vec<&str> = gone.leftovers.iter().map(|it| it.reason.as_str()).collect();
    assert!(reasons.iter().any(|it| it.contains("was changed since")), "{reasons:?}");
    assert_eq!(folder_of(&disk, r"HKU\S-1-5-21-1-2-3-1001").as_deref(), Some("elsewhere"));
    assert_eq!(folder_of(&disk, r"HKU\S-1-5-21-1-2-3-1002"), None);
}
