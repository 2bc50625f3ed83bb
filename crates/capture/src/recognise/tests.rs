use model::LineEdit;

use super::edits;
use crate::testing::{Machines, steps};

const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nadm:x:4:\nssl-cert:x:101:\n";

fn debian() -> Machines {
    Machines::default()
        .had("/etc/passwd", PASSWD)
        .had("/etc/group", GROUP)
        .had("/etc/shadow", "root:*:19000:0:99999:7:::\n")
        .had("/etc/gshadow", "root:*::\n")
        .had_folder("/etc/systemd/system/multi-user.target.wants")
        .had_folder("/usr/lib/systemd/system")
        .had_folder("/etc/init.d")
        .had_folder("/etc/rc2.d")
        .had_folder("/var/lib/systemd")
        .had_folder("/usr/bin")
        .had_folder("/etc/alternatives")
        .had_folder("/var/lib/dpkg/alternatives")
}

fn meaning(machines: &Machines) -> String {
    let draft = machines.draft();
    let counts = draft.report.counts;
    assert_eq!(counts.changes, counts.carried + counts.understood + counts.excluded);
    steps(&draft)
}

const REDIS_UNIT: &str = "[Unit]\nDescription=Advanced key-value store\nAfter=network.target\n\n[Service]\nType=notify\nExecStart=/usr/bin/redis-server /etc/redis/redis.conf --supervised systemd --daemonize no\nUser=redis\n\n[Install]\nWantedBy=multi-user.target\nAlias=redis.service\n";

/// As `apt-get install redis-server` leaves it.
#[test]
fn a_debian_service_with_a_user_and_an_alias() {
    let machines = debian()
        .file("/etc/passwd", format!("{PASSWD}redis:x:102:104::/var/lib/redis:/usr/sbin/nologin\n"))
        .file("/etc/group", format!("{GROUP}redis:x:104:\n"))
        .file("/etc/shadow", "root:*:19000:0:99999:7:::\nredis:!:20000::::::\n")
        .file("/etc/gshadow", "root:*::\nredis:!::\n")
        .file("/etc/passwd-", PASSWD)
        .file("/usr/lib/systemd/system/redis-server.service", REDIS_UNIT)
        .link("/etc/systemd/system/redis.service", "/lib/systemd/system/redis-server.service")
        .link(
            "/etc/systemd/system/multi-user.target.wants/redis-server.service",
            "/lib/systemd/system/redis-server.service",
        )
        .file("/var/lib/systemd/deb-systemd-helper-enabled/redis.service", "")
        .file("/var/lib/systemd/deb-systemd-helper-enabled/redis-server.service.dsh-also", "x")
        .file("/etc/init.d/redis-server", "#!/bin/sh\n")
        .link("/etc/rc2.d/S01redis-server", "../init.d/redis-server");
    insta::assert_snapshot!(meaning(&machines), @r"
    create-user redis system=true id=None group=None /var/lib/redis /usr/sbin/nologin ``
    install-file files/etc/init.d/redis-server to /etc/init.d/redis-server
    install-file files/usr/lib/systemd/system/redis-server.service to /usr/lib/systemd/system/redis-server.service
    trigger systemd-reload
    service redis-server.service Automatic now=true
    ");
}

/// As mosquitto, sysstat and others leave it: a shared first group, memberships, timers, oneshots.
#[test]
fn groups_memberships_timers_and_masks() {
    let timer = "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n";
    let oneshot = "[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target other.target\n";
    let machines = debian()
        .file("/etc/passwd", format!("{PASSWD}web:x:103:33:Web, server:/srv:/bin/false\npeer:x:1001:1001::/home/peer:/bin/sh\n"))
        .file("/etc/group", "root:x:0:\nadm:x:4:peer\nssl-cert:x:101:daemon\nwww-data:x:33:\npeer:x:1001:\n")
        .file("/usr/lib/systemd/system/clean.timer", timer)
        .file("/usr/lib/systemd/system/clean.service", oneshot)
        .link("/etc/systemd/system/timers.target.wants/clean.timer", "/usr/lib/systemd/system/clean.timer")
        .link("/etc/systemd/system/multi-user.target.wants/clean.service", "/usr/lib/systemd/system/clean.service")
        .link("/etc/systemd/system/old.service", "/dev/null");
    insta::assert_snapshot!(meaning(&machines), @r#"
    create-group www-data system=true id=None
    create-user peer system=false id=None group=None /home/peer /bin/sh ``
    create-user web system=true id=None group=Some("www-data") /srv /bin/false `Web, server`
    add-to-group peer adm
    add-to-group daemon ssl-cert
    create-link /etc/systemd/system/multi-user.target.wants/clean.service -> /usr/lib/systemd/system/clean.service
    install-tree files/usr/lib/systemd/system to /usr/lib/systemd/system
    trigger systemd-reload
    service old.service Disabled now=false
    service clean.timer Automatic now=true
    "#);
}

#[test]
fn instances_and_disabled_units() {
    let template = "[Service]\nExecStart=/bin/a %i\n[Install]\nWantedBy=multi-user.target\nDefaultInstance=main\n";
    let machines = debian()
        .had("/usr/lib/systemd/system/apt.service", "[Install]\nWantedBy=multi-user.target\n")
        .had_link(
            "/etc/systemd/system/multi-user.target.wants/apt.service",
            "/usr/lib/systemd/system/apt.service",
        )
        .without("/etc/systemd/system/multi-user.target.wants/apt.service")
        .file("/usr/lib/systemd/system/vpn@.service", template)
        .link(
            "/etc/systemd/system/multi-user.target.wants/vpn@home.service",
            "/usr/lib/systemd/system/vpn@.service",
        );
    insta::assert_snapshot!(meaning(&machines), @r"
    install-file files/usr/lib/systemd/system/vpn@.service to /usr/lib/systemd/system/vpn@.service
    trigger systemd-reload
    service apt.service Manual now=false
    service vpn@home.service Automatic now=true
    ");
}

#[test]
fn declared_accounts_are_made_at_once() {
    let machines = debian().had_folder("/usr/lib/sysusers.d").file(
        "/usr/lib/sysusers.d/app.conf",
        "#Type Name\nu app - \"The App\" /var/lib/app\ng plain 777\nm app adm\nu! web 33:daemon\n",
    );
    insta::assert_snapshot!(meaning(&machines), @r#"
    create-group daemon system=true id=None
    create-group plain system=true id=None
    create-user app system=true id=None group=None /var/lib/app /usr/sbin/nologin `The App`
    create-user web system=true id=None group=Some("daemon") / /usr/sbin/nologin ``
    add-to-group app adm
    install-file files/usr/lib/sysusers.d/app.conf to /usr/lib/sysusers.d/app.conf
    "#);
}

/// As vim-tiny leaves `editor`.
#[test]
fn alternatives_become_steps_and_their_links_follow() {
    let before = "auto\n/usr/bin/editor\neditor.1.gz\n/usr/share/man/man1/editor.1.gz\n\n/bin/nano\n40\n/usr/share/man/man1/nano.1.gz\n\n";
    let after = "auto\n/usr/bin/editor\neditor.1.gz\n/usr/share/man/man1/editor.1.gz\n\n/bin/nano\n40\n/usr/share/man/man1/nano.1.gz\n/usr/bin/vim.tiny\n50\n/usr/share/man/man1/vim.1.gz\n\n";
    let machines = debian()
        .had_folder("/usr/share/man/man1")
        .had("/var/lib/dpkg/alternatives/editor", before)
        .had_link("/etc/alternatives/editor", "/bin/nano")
        .had_link("/etc/alternatives/editor.1.gz", "/usr/share/man/man1/nano.1.gz")
        .file("/var/lib/dpkg/alternatives/editor", after)
        .link("/etc/alternatives/editor", "/usr/bin/vim.tiny")
        .link("/etc/alternatives/editor.1.gz", "/usr/share/man/man1/vim.1.gz")
        .file("/var/lib/dpkg/alternatives/vi", "auto\n/usr/bin/vi\n\n/usr/bin/vim.tiny\n15\n\n")
        .link("/etc/alternatives/vi", "/usr/bin/vim.tiny")
        .link("/usr/bin/vi", "/etc/alternatives/vi")
        .file("/usr/bin/vim.tiny", "x");
    insta::assert_snapshot!(meaning(&machines), @r"
    install-file files/usr/bin/vim.tiny to /usr/bin/vim.tiny
    alternative editor /usr/bin/editor -> /usr/bin/vim.tiny 50
      editor.1.gz /usr/share/man/man1/editor.1.gz -> /usr/share/man/man1/vim.1.gz
    alternative vi /usr/bin/vi -> /usr/bin/vim.tiny 15
    ");
}

#[test]
fn triggers_run_once_each_in_their_order() {
    let machines = debian()
        .had_folder("/usr/share/man/man1")
        .had("/etc/ld.so.cache", "old")
        .file("/etc/ld.so.cache", "new")
        .file("/usr/share/man/man1/a.1.gz", "x")
        .file("/usr/share/applications/a.desktop", "[Desktop Entry]\nExec=/usr/bin/a\n")
        .file("/usr/share/icons/hicolor/48x48/apps/a.png", "x")
        .file("/usr/local/share/ca-certificates/own.crt", "x")
        .link("/etc/ssl/certs/own.pem", "/usr/local/share/ca-certificates/own.crt")
        .file("/etc/sysctl.d/90-a.conf", "a = 1")
        .file("/etc/ld.so.conf.d/a.conf", "/usr/lib/a\n")
        .file("/usr/lib/a/liba.so.1", "x");
    let text = meaning(&machines);
    let triggers: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("trigger ")).collect();
    assert_eq!(
        triggers,
        ["ldconfig", "ca-certificates", "sysctl", "desktop-database", "icon-cache", "mandb"]
    );
    assert!(!text.contains("own.pem"));
}

fn edit(old: &str, new: &str) -> Vec<String> {
    let Some(groups) = edits::find(old.as_bytes(), new.as_bytes()) else {
        return vec!["whole file".to_owned()];
    };
    let text = |edit: &LineEdit| match edit {
        LineEdit::Add { line, after: None } => format!("+ {line}"),
        LineEdit::Add { line, after: Some(after) } => format!("+ {line} after {after}"),
        LineEdit::Remove { line } => format!("- {line}"),
        LineEdit::Ini { section, key, value: Some(value) } => {
            format!("[{section}] {key} = {value}")
        }
        LineEdit::Ini { section, key, value: None } => format!("[{section}] no {key}"),
        LineEdit::Assignment { key, value: Some(value) } => format!("{key}={value}"),
        LineEdit::Assignment { key, value: None } => format!("no {key}"),
        LineEdit::PathList { key, folder, first } => format!("{key}: {folder} {first}"),
    };
    groups.iter().map(|group| group.iter().map(text).collect::<Vec<_>>().join("; ")).collect()
}

#[test]
fn edits_say_what_changed() {
    let shells = "# /etc/shells: valid login shells\n/bin/sh\n/bin/dash\n";
    assert_eq!(
        edit(shells, &format!("{shells}/bin/zsh\n/usr/bin/zsh\n")),
        ["+ /bin/zsh; + /usr/bin/zsh"]
    );
    let environment = "PATH=\"/usr/local/bin:/usr/bin\"\nLANG=C\n";
    assert_eq!(
        edit(
            environment,
            "PATH=\"/usr/local/bin:/usr/bin:/opt/a/bin\"\nLANG=C\nJAVA_HOME=/opt/a\n"
        ),
        ["PATH: /opt/a/bin false", "JAVA_HOME=/opt/a"]
    );
    assert_eq!(
        edit(
            "[mysqld]\nport = 1\nskip-lock\n\n[client]\nport = 1\n",
            "[mysqld]\nport = 2\nskip-lock\n\n[client]\nport = 1\n"
        ),
        ["[mysqld] port = 2"]
    );
    assert_eq!(edit("net.a = 0\n", "net.a = 1\n"), ["net.a=1"]);
    assert_eq!(edit("#Port 22\nUse yes\n", "Port 2222\nUse yes\n"), ["whole file"]);
    assert_eq!(
        edit("first\n#Port 22\nUse yes\n", "first\nPort 2222\nUse yes\n"),
        ["- #Port 22; + Port 2222 after first"]
    );
    assert_eq!(edit("a\n\nb\n", "a\n\nb\n\n# app\nc\n"), ["+ \n# app\nc"]);
    assert_eq!(edit("a\r\nb\r\n", "a\r\nb\r\nc\r\n"), ["+ c"]);
    assert_eq!(edit("a\nb", "a\nb\nc"), ["whole file"]);
}

/// zsh's package adds one of its lines twice.
#[test]
fn a_line_that_came_twice_is_a_block_the_script_can_say() {
    let shells = "# /etc/shells: valid login shells\n/bin/sh\n/usr/bin/dash\n";
    let new = format!("{shells}/bin/zsh\n/usr/bin/zsh\n/usr/bin/zsh\n");
    assert_eq!(edit(shells, &new), ["+ /bin/zsh\n/usr/bin/zsh\n/usr/bin/zsh"]);
    let draft = debian().had("/etc/shells", shells).file("/etc/shells", &new).draft();
    let text = script::print_with_comments(&draft.script, &draft.comments);
    assert_eq!(script::parse(&text).unwrap(), draft.script);
}

#[test]
fn a_program_is_replaced_whole_and_configuration_is_edited() {
    let machines = debian()
        .had("/usr/lib/app/main.py", "a = 1\n")
        .file("/usr/lib/app/main.py", "a = 2\n")
        .had("/etc/shells", "/bin/sh\n")
        .file_of("/etc/shells", "/bin/sh\n/bin/zsh\n", 0o600);
    insta::assert_snapshot!(meaning(&machines), @r"
    install-file files/usr/lib/app/main.py to /usr/lib/app/main.py
    edit /etc/shells
      + /bin/zsh
    set-metadata /etc/shells 600 root:root
    ");
}
