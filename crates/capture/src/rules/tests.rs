use super::{Class, LINUX_RULES, Rules, parse_rules};
use crate::testing::{Machines, path};

fn class_of(machines: &Machines, at: &str, layers: &[&str]) -> Option<Class> {
    let layers = layers
        .iter()
        .map(|rules| parse_rules("rules.toml", &format!("format = 1\n{rules}")).unwrap())
        .collect();
    let rules = Rules::linux_and(layers).unwrap();
    let verdicts = rules.judge(&machines.changes());
    verdicts.by_path.get(&path(at)).map(|&rule| rules.all()[rule].class.clone())
}

fn new(at: &str) -> Option<Class> {
    class_of(&Machines::default().had_folder("/").had_folder("/root").file(at, "x"), at, &[])
}

#[test]
fn shipped_rules_say_what_each_drops() {
    let rules = parse_rules("linux.toml", LINUX_RULES).unwrap();
    assert!(rules.len() > 40);
    for noise in [
        "/tmp/x/y",
        "/var/log/app/app.log",
        "/var/lib/dpkg/status",
        "/etc/machine-id",
        "/etc/ssh/ssh_host_rsa_key",
        "/root/.npm/_logs/1.log",
        "/root/.cache/pip/a",
        "/home/al/.bash_history",
        "/etc/passwd-",
        "/var/lib/app/app.pid",
    ] {
        assert_eq!(new(noise), Some(Class::Drop), "{noise}");
    }
    assert_eq!(new("/var/cache/man/index.db"), Some(Class::Regenerate("mandb".into())));
    assert_eq!(new("/home/al/notes"), Some(Class::Review));
    for payload in ["/tmpfoo", "/opt/tmp/x", "/var/lib/dpkg/alternatives/editor", "/variable"] {
        assert_eq!(new(payload), None, "{payload}");
    }
}

/// Whatever of who the machine is changes while an installer runs is no part of what it brought.
#[test]
fn q183398_the_identity_of_a_client_is_never_captured() {
    for identity in [
        "/var/lib/packhorse-agent/identity",
        "/var/lib/packhorse-agent/second/identity",
        "/var/lib/packhorse-agent/line/own.pem",
        "/var/lib/packhorse-agent/history",
        "/var/lib/packhorse/receipts/redis",
        "/var/cache/packhorse/parts",
        "/etc/machine-id",
        "/var/lib/dbus/machine-id",
        "/etc/ssh/ssh_host_ed25519_key",
        "/var/lib/dhcp/dhclient.eth0.leases",
        "/var/lib/NetworkManager/internal-0a1b-eth0.lease",
        "/var/log/packhorse-agent.log",
    ] {
        assert_eq!(new(identity), Some(Class::Drop), "{identity}");
    }
    // The program itself is nobody's identity.
    assert_eq!(new("/opt/packhorse-agent/versions/1/packhorse-agent"), None);
}

#[test]
fn a_programs_own_folder_for_logs_is_kept_without_its_logs() {
    let machines = Machines::default().had_folder("/var/log").file("/var/log/nginx/error.log", "x");
    assert_eq!(class_of(&machines, "/var/log/nginx", &[]), None);
    assert_eq!(class_of(&machines, "/var/log/nginx/error.log", &[]), Some(Class::Drop));
}

#[test]
fn later_layers_decide() {
    let machines = Machines::default().file("/var/log/app/form.txt", "x");
    let at = "/var/log/app/form.txt";
    let keep = "[[rule]]\npattern = \"/var/log/app\"\nclass = \"keep\"\nreason = \"a form\"";
    let drop = "[[rule]]\npattern = \"/var/log/app/*.txt\"\nclass = \"drop\"\nreason = \"no\"";
    assert_eq!(class_of(&machines, at, &[keep]), Some(Class::Keep));
    assert_eq!(class_of(&machines, at, &[keep, drop]), Some(Class::Drop));
    assert_eq!(class_of(&machines, at, &[drop, keep]), Some(Class::Keep));
}

#[test]
fn only_a_moved_time_is_told_from_other_changes() {
    let machines = Machines::default()
        .had("/etc/a", "a")
        .had("/etc/b", "b")
        .touch("/etc/a")
        .touch("/etc")
        .file("/etc/b", "c");
    assert_eq!(class_of(&machines, "/etc", &[]), Some(Class::Drop));
    assert_eq!(class_of(&machines, "/etc/a", &[]), Some(Class::Drop));
    assert_eq!(class_of(&machines, "/etc/b", &[]), None);
    let machines = machines.chown("/etc", "app");
    assert_eq!(class_of(&machines, "/etc", &[]), None);
}

#[test]
fn compiled_python_is_payload_inside_the_installers_own_folders() {
    let machines = Machines::default()
        .had("/usr/lib/python3/os.py", "")
        .had("/usr/lib/python3/__pycache__/os.pyc", "")
        .file("/usr/lib/python3/__pycache__/os.pyc", "new")
        .file("/usr/lib/python3/json/__pycache__/x.pyc", "new")
        .file("/usr/lib/python3/app/__pycache__/x.pyc", "new");
    let class = |at| class_of(&machines, at, &[]);
    assert_eq!(class("/usr/lib/python3/__pycache__/os.pyc"), Some(Class::Drop));
    assert_eq!(class("/usr/lib/python3/app/__pycache__/x.pyc"), None);
    let machines = machines.had("/usr/lib/python3/json/a.py", "");
    let rest = class_of(&machines, "/usr/lib/python3/json/__pycache__/x.pyc", &[]);
    assert_eq!(rest, Some(Class::Drop));
}

#[test]
fn rules_that_can_never_match_are_errors() {
    let text = r#"format = 1
[[rule]]
pattern = ["/$Recycle.Bin ", "tmp/**", "/a/", "/a//b", "/a/../b", "/ NTUSER.DAT", "/a[b"]
class = "drop"
reason = "x"

[[rule]]
pattern = "/a/**"
except = "/b/**"
class = "regenerate"
reason = " "
"#;
    insta::assert_snapshot!(parse_rules("rules.toml", text).unwrap_err(), @r#"
    rules.toml:2: the pattern `/$Recycle.Bin ` can never match: it ends in a blank
    rules.toml:2: the pattern `tmp/**` can never match: target paths start with `/` (for a name anywhere write `/**/name`)
    rules.toml:2: the pattern `/a/` can never match: target paths do not end in `/`; a folder's name covers all below it
    rules.toml:2: the pattern `/a//b` can never match: target paths have no empty parts, no `.` and no `..`
    rules.toml:2: the pattern `/a/../b` can never match: target paths have no empty parts, no `.` and no `..`
    rules.toml:2: the pattern `/ NTUSER.DAT` can never match: a part of it starts or ends in a blank; if it is meant, write it as `[ ]`
    rules.toml:2: `/a[b` is no pattern: unclosed character class; missing ']'
    rules.toml:7: the exception `/b/**` lies outside every pattern of its rule: it can never match
    rules.toml:7: the rule has no `reason`: the report needs one
    rules.toml:7: `class = "regenerate"` needs a `trigger`
    "#);
}

#[test]
fn newer_and_unknown_texts_are_refused() {
    let error = |text| parse_rules("rules.toml", text).unwrap_err().to_string();
    insta::assert_snapshot!(error("format = 2"), @"rules.toml:1: format 2 is newer than this program reads (1): update it");
    insta::assert_snapshot!(error("format = 1\n[[rule]]\npattern = \"/a\"\nclas = \"drop\"\nreason = \"x\""), @"rules.toml:4: unknown field `clas`, expected one of `pattern`, `class`, `reason`, `except`, `trigger`, `kind`, `change`, `empty`, `outside-new-folders`, `hint`");
}

#[test]
fn patterns_that_matched_nothing_are_known() {
    let text = "format = 1\n[[rule]]\npattern = [\"/opt/a/*.bak\", \"/opt/b\"]\nclass = \"drop\"\nreason = \"x\"";
    let rules = Rules::new(vec![parse_rules("rules.toml", text).unwrap()]).unwrap();
    let verdicts = rules.judge(&Machines::default().file("/opt/a/1.bak", "").changes());
    assert_eq!(verdicts.idle_patterns.into_iter().collect::<Vec<_>>(), [(0, vec![1])]);
}
