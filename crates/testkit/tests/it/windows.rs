//! What only Windows has: services that recover, shortcuts.

use change::Observe as _;
use model::{
    Failure, MachinePath, Part, Recovery, RecoveryAction, ServiceStart, Setting, SettingState,
    SetupStep, Shortcut, Template,
};
use package::Action;
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
