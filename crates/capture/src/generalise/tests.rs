use model::{Template, Variable};

use crate::{
    DraftError, Options, Prefix, Rules, Suspect, draft,
    testing::{Machines, facts, options, path, steps},
};

/// Six configuration files with 40 references to the install folder, a link, a unit and a `PATH`: all
/// of them follow the variable (Q181929).
#[test]
fn q181929_every_reference_to_the_install_folder_moves() {
    let mut machines = Machines::default()
        .had_folder("/opt")
        .had_folder("/usr/bin")
        .had_folder("/usr/lib/systemd/system")
        .had("/etc/environment", "PATH=\"/usr/bin:/bin\"\n")
        .file("/etc/environment", "PATH=\"/usr/bin:/bin:/opt/app1/bin\"\n")
        .file_of("/opt/app1/bin/app", "#!/bin/sh\nexec /opt/app1/bin/real\n", 0o755)
        .link("/usr/bin/app", "/opt/app1/bin/app")
        .link("/opt/app1/current", "/opt/app1/lib")
        .file("/usr/lib/systemd/system/app.service", "[Service]\nExecStart=/opt/app1/bin/app\n");
    let line = "path = /opt/app1/lib:/opt/app1/share/\nother = /opt/app10\nquoted = \"/opt/app1\"\nurl = file:///opt/app1/x\nflag = -I/opt/app1/include\n";
    for number in 0..6 {
        machines = machines.file(&format!("/opt/app1/etc/{number}.conf"), line);
    }
    let draft = machines.draft_with(&machines.changes(), &facts(), &options());
    insta::assert_snapshot!(steps(&draft), @r"
    install-tree files/opt/app1 to ${prefix}
      bin/app etc/0.conf etc/1.conf etc/2.conf etc/3.conf etc/4.conf etc/5.conf /opt/app1 => ${prefix}
    install-file files/usr/lib/systemd/system/app.service to /usr/lib/systemd/system/app.service
      ** /opt/app1 => ${prefix}
    create-link ${prefix}/current -> ${prefix}/lib
    create-link /usr/bin/app -> ${prefix}/bin/app
    edit /etc/environment
      PATH: ${prefix}/bin last
    trigger systemd-reload
    ");
    let prefix = Variable {
        default: Some(Template::literal("/opt/app1")),
        prompt: Some("Install to".into()),
        fixed: None,
    };
    assert_eq!(draft.script.variables.into_iter().collect::<Vec<_>>(), [("prefix".into(), prefix)]);
    assert!(draft.report.leak.is_empty());
}

#[test]
fn a_folder_that_programs_have_baked_in_is_fixed() {
    let machines = Machines::default()
        .had_folder("/opt")
        .file("/opt/app/a.pyc", b"\0/opt/app/a.py\0")
        .file("/opt/app/b.pyc", b"\0/opt/app/b.py\0")
        .file("/opt/app/a.py", "# /opt/app/a.py");
    let draft = machines.draft();
    insta::assert_snapshot!(steps(&draft), @"install-tree files/opt/app to ${prefix}");
    let fixed = draft.script.variables["prefix"].fixed.clone().unwrap();
    insta::assert_snapshot!(fixed, @"2 binary files hold this path, /opt/app/a.pyc among them");
    assert_eq!(draft.script.generated[0].to_string(), "${prefix}/**/__pycache__");
}

#[test]
fn what_a_program_logs_later_goes_with_it() {
    let machines = Machines::default()
        .had_folder("/opt")
        .had_folder("/var/log")
        .folder("/var/log/app", 0o755)
        .file("/opt/app/run", "x");
    let draft = machines.draft();
    assert_eq!(draft.script.generated[0].to_string(), "/var/log/app/**");
}

#[test]
fn a_longer_path_with_the_folder_in_it_is_left_alone_and_named() {
    let machines = Machines::default()
        .had_folder("/opt")
        .file("/opt/app/both.conf", "a = /srv/opt/app/x\nb = /opt/app/x\n")
        .file("/opt/app/one.conf", "b = /opt/app/x\n");
    let draft = machines.draft();
    insta::assert_snapshot!(steps(&draft), @r"
    install-tree files/opt/app to ${prefix}
      one.conf /opt/app => ${prefix}
    ");
    assert_eq!(draft.report.note[0].path, Some(path("/opt/app/both.conf")));
}

#[test]
fn a_prefix_is_taken_only_where_it_is_one() {
    let machines = Machines::default()
        .had_folder("/opt")
        .had_folder("/srv")
        .file("/opt/a/x", "x")
        .file("/opt/b/x", "x");
    assert!(machines.draft().script.variables.is_empty());
    let at = |folder: &str| Options { prefix: Prefix::At(path(folder)), ..options() };
    let draft = machines.draft_with(&machines.changes(), &facts(), &at("/opt/a"));
    insta::assert_snapshot!(steps(&draft), @r"
    install-tree files/opt/a to ${prefix}
    install-tree files/opt/b to /opt/b
    ");
    let rules = Rules::linux_and(Vec::new()).unwrap();
    let error = draft_error(&machines, &rules, &at("/srv"));
    insta::assert_snapshot!(error, @"nothing the installer made lies in `/srv`: name another prefix, or none");
}

fn draft_error(machines: &Machines, rules: &Rules, options: &Options) -> DraftError {
    draft(&machines.changes(), machines, &facts(), rules, options).unwrap_err()
}

#[test]
fn a_prefix_inside_a_group_is_not_installed_twice() {
    let machines = Machines::default()
        .had_folder("/usr/local/bin")
        .had_folder("/usr/local/lib")
        .file("/usr/local/bin/app", "x")
        .file("/usr/local/etc/app.conf", "x")
        .file("/usr/local/lib/app/main", "x");
    let options = Options { prefix: Prefix::At(path("/usr/local/lib/app")), ..options() };
    let draft = machines.draft_with(&machines.changes(), &facts(), &options);
    insta::assert_snapshot!(steps(&draft), @r"
    install-tree files/usr/local to /usr/local
      except lib/app lib/app/**
    install-tree files/usr/local/lib/app to ${prefix}
    ");
}

/// Text that looks like variables of other systems is carried as it is, and shown escaped (Q245570).
#[test]
fn q245570_captured_text_is_never_expanded() {
    let odd = ["%SystemRoot%", "%PATH%", "100%", "%%", "%MAINDIR%", "${HOME}", "$(id)", "50 %"];
    let old = "[app]\nfirst = 1\n";
    let values: Vec<String> =
        odd.iter().enumerate().map(|(number, text)| format!("key{number} = {text}\n")).collect();
    let values = values.concat();
    let lines = odd.map(|text| format!("{text}\n")).concat();
    let machines = Machines::default()
        .had("/etc/app.ini", old)
        .had("/etc/app.list", "first\n")
        .file("/etc/app.ini", format!("{old}{values}"))
        .file("/etc/app.list", format!("first\n{lines}"))
        .file("/etc/own.conf", &lines);
    let draft = machines.draft();
    insta::assert_snapshot!(steps(&draft), @r"
    install-file files/etc/own.conf to /etc/own.conf
    edit /etc/app.ini
      [app] key0 = %SystemRoot%
      [app] key1 = %PATH%
      [app] key2 = 100%
      [app] key3 = %%
      [app] key4 = %MAINDIR%
      [app] key5 = $${HOME}
      [app] key6 = $$(id)
      [app] key7 = 50 %
    edit /etc/app.list
      + %SystemRoot%
      + %PATH%
      + 100%
      + %%
      + %MAINDIR%
      + $${HOME}
      + $$(id)
      + 50 %
    ");
    for step in &draft.script.steps {
        let script::StepKind::Edit(step) = &step.kind else { continue };
        for edit in &step.edits {
            let template = match edit {
                model::LineEdit::Add { line, .. } => line,
                model::LineEdit::Ini { value: Some(value), .. } => value,
                other => panic!("{other:?}"),
            };
            let read: Template = template.to_string().parse().unwrap();
            let text = read.expand(|_| Some("WRONG")).unwrap();
            assert!(odd.iter().any(|odd| odd.as_bytes() == text));
        }
    }
}

#[test]
fn the_captures_host_name_becomes_the_targets_and_what_cannot_is_a_leak() {
    let machines = Machines::default()
        .had_folder("/etc")
        .had_folder("/usr/lib")
        .file("/etc/app.conf", "server = packhorse-1a2b3c4d\n")
        .file("/etc/dns.conf", "server = packhorse-1a2b3c4d.example.org\n")
        .file("/usr/lib/app/data", b"\0packhorse-1a2b3c4d\0")
        .file("/usr/lib/app/build", "/home/alice/src and 0123456789abcdef0123456789abcdef")
        .link("/usr/lib/app/link", "/var/packhorse-1a2b3c4d");
    let draft = machines.draft_with(&machines.changes(), &facts(), &options());
    insta::assert_snapshot!(steps(&draft), @r"
    install-tree files/etc to /etc
      app.conf packhorse-1a2b3c4d => ${machine.hostname}
    install-tree files/usr/lib/app to /usr/lib/app
    create-link /usr/lib/app/link -> /var/${machine.hostname}
    ");
    let leaks: Vec<String> = draft
        .report
        .leak
        .iter()
        .filter(|leak| leak.is_certain())
        .map(|leak| format!("{} {:?}", leak.path, leak.what))
        .collect();
    assert_eq!(
        leaks,
        [
            "/etc/dns.conf CaptureHostName",
            "/usr/lib/app/build MachineId",
            "/usr/lib/app/build PackagerHome",
            "/usr/lib/app/data CaptureHostName",
        ]
    );
    assert!(draft.report.leak.iter().any(|leak| leak.what == Suspect::PackagerName));
}

/// 300 menu entries keep group, icon and every byte (Q179789).
#[test]
fn q179789_desktop_entries_are_carried_byte_by_byte() {
    let mut machines = Machines::default().had_folder("/usr/share/applications");
    let text = |number: usize| {
        let group = ["Golf", "Arcade", "Arcade;Utilities"][number % 3];
        format!(
            "[Desktop Entry]\nName=Game {number}\nExec=/usr/games/g{number} %U\nIcon=/usr/share/g.ico,{number}\nCategories={group};\n"
        )
    };
    for number in 0..300 {
        let at = format!("/usr/share/applications/g{number}.desktop");
        machines = machines.file(&at, text(number));
    }
    let draft = machines.draft();
    assert_eq!(draft.payload.len(), 300);
    insta::assert_snapshot!(steps(&draft), @r"
    install-tree files/usr/share/applications to /usr/share/applications
    trigger desktop-database
    ");
    for payload in &draft.payload {
        assert_eq!(payload.path, [b"files", payload.source.as_bytes()].concat());
    }
}
