//! A script in plain sentences, and the schema editors use.

use proptest::prelude::*;
use script::{explain, parse, print, schema};

use crate::scripts;

const REDIS: &str = include_str!("redis.toml");

#[test]
fn a_script_is_said_in_sentences() {
    insta::assert_snapshot!(explain(&parse(REDIS).unwrap()), @r#"
    redis 7.2.4 for x86-64 machines: A key-value store in memory
    - `data` is `/var/lib/redis` and cannot be changed: the server has it built in
    - `prefix` is `/opt/redis` unless told otherwise
    1. install the folder `files/opt/redis` to `${prefix}`, without `**/*.a`; in `etc/*.conf` the text `/opt/redis` becomes `${prefix}`
    2. install `files/redis.service` as `/usr/lib/systemd/system/redis.service`, over whatever is there
    3. create the system group `redis`, if missing
    4. create the system user `redis` in the group `redis`, home `${data}`, shell `/usr/sbin/nologin`, if missing
    5. make `redis` a member of the group `ssl-cert`
    6. create the folder `${data}`, mode 0750, for redis:redis
    7. create the link `/usr/bin/redis-cli` to `${prefix}/bin/redis-cli`, unless something is there
    8. remove `/etc/redis.old` with all it holds
    9. give `/etc/redis` mode 0750, owner root, group redis and the time 2026-01-31T12:00:00Z
    10. if `machine.distribution in ["debian", "ubuntu"] && !exists("/etc/sysctl.conf")`: in `/etc/sysctl.d/99-redis.conf`, made if missing, add the line `vm.overcommit_memory = 1`, add the line `net.core.somaxconn = 1024` after `net.ipv4.tcp_max_syn_backlog = 1024`, add the line `net.ipv4.tcp_max_syn_backlog = 1024`, take out the line `vm.overcommit_memory = 0`
    11. in `/etc/php/php.ini` set `session.save_handler` of `[PHP]` to `redis`, set `session.save_path` of `[PHP]` to `tcp://localhost:6379`, take `session.save_path` out of `[Session]`
    12. in `/etc/default/grub` set `GRUB_CMDLINE_LINUX` to `"transparent_hugepage=never"`, take `GRUB_HIDDEN` out
    13. in `/etc/environment` put `${prefix}/bin` first in `PATH`
    14. offer `${prefix}/bin/redis-cli` as `redis` (`/usr/bin/redis`) with priority 50
    15. let `redis.service` start with the machine, and start it now
    16. make the cache of shared libraries anew
    17. run `${prefix}/bin/redis-check-aof --fix ${data}/appendonly.aof`, for 90s at most, 3 meaning worth trying again later; undone by putting back `${data}/appendonly.aof`
    18. before uninstalling, run `${prefix}/bin/unregister`, for 10min at most; undone by `${prefix}/bin/register --again`
    - `install` is refused unless `free(prefix) > 524288000`
    - `install` is done where `version(file(prefix + "/bin/redis-server")) >= version("7.2.4")`
    - `install` ending with 0 means done
    - `install` ending with 3010 means done, and the machine must restart
    - `install` takes about 2min
    - an update keeps what an administrator changed in `/etc/redis/**`
    - uninstall removes what the program made for itself in `${prefix}/**/__pycache__`
    "#);
}

#[test]
fn the_example_is_laid_out_and_valid() {
    assert_eq!(script::format(REDIS).unwrap(), REDIS);
    assert!(violations(REDIS).is_empty(), "{:?}", violations(REDIS));
}

/// What the schema says against a script.
fn violations(text: &str) -> Vec<String> {
    let document: toml_edit::DocumentMut = text.parse().unwrap();
    let value: serde_json::Value = toml_edit::de::from_document(document).unwrap();
    let validator = jsonschema::validator_for(&schema()).unwrap();
    validator.iter_errors(&value).map(|error| error.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// No script of ours is called wrong in an editor.
    #[test]
    fn every_script_fits_the_schema(script in scripts::script()) {
        let text = print(&script);
        let found = violations(&text);
        prop_assert!(found.is_empty(), "{:?}\n{}", found, text);
    }
}

#[test]
fn the_schema_sees_mistakes() {
    let head = "format = 1\n[package]\nname = \"x\"\nversion = \"1\"\narchitecture = \"any\"\n";
    for wrong in [
        "[[step]]\ninstall-tree = \"files/a\"\n",
        "[[step]]\nremove = \"a\"\n",
        "[[step]]\nremove = \"/a$b\"\n",
        "[[step]]\nremove = \"/a\"\ncolour = 1\n",
        "[[step]]\ntrigger = \"x\"\n",
        "[[step]]\nrun = [\"/a\"]\n",
        "[[step]]\nrun = \"/a\"\nundo = \"irreversible\"\n",
        "[[step]]\nedit-lines = \"/a\"\n",
        "[[step]]\ncreate-directory = \"/a\"\nmode = \"9\"\n",
        "[variables]\n\"1\" = {}\n",
        "[variables]\n\"machine.x\" = {}\n",
        "[program.install]\nexit-codes = { x = \"done\" }\n",
        "[unknown]\n",
    ] {
        assert!(!violations(&format!("{head}{wrong}")).is_empty(), "{wrong}");
        assert!(parse(&format!("{head}{wrong}")).is_err(), "{wrong}");
    }
}

/// The format's description names every table, step kind and key, and every trigger.
#[test]
fn the_description_is_whole() {
    use script::vocabulary::{
        DEPENDS, FOLLOWER, KINDS, LINE, PACKAGE, PROGRAM, REPLACEMENT, STEP, TRIGGERS, VARIABLE,
    };
    let description = include_str!("../../../../docs/formats/script.md");
    for table in KINDS.iter().chain([
        &PACKAGE,
        &DEPENDS,
        &VARIABLE,
        &PROGRAM,
        &STEP,
        &REPLACEMENT,
        &LINE,
        &FOLLOWER,
    ]) {
        let head = format!("### `{}`", table.name);
        let section =
            description.split_once(&head).unwrap_or_else(|| panic!("{head} is missing")).1;
        let section = section.split("\n### ").next().unwrap();
        for key in table.keys {
            let row = format!(
                "| `{}` | {} | {} |",
                key.name,
                if key.required { "yes" } else { "" },
                key.about.replace('|', "\\|")
            );
            assert!(section.contains(&row), "{head} lacks\n{row}");
        }
    }
    for trigger in TRIGGERS {
        let row = format!("| `{}` | {} |", trigger.name, trigger.about);
        assert!(description.contains(&row), "{row}");
    }
}
