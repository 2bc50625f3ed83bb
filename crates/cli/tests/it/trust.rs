//! The real program signs and verifies, and is killed while it does.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use testkit::{Sample, Stop, calls, stop_at};

struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    /// A signed distribution point with one release.
    fn new() -> Self {
        let shop = Self { folder: tempfile::tempdir().unwrap() };
        let init =
            "trust init point --root-key root.key --owner-key owner.key --online-key online.key";
        shop.ok(&format!("{init} --root-out root.json"));
        shop.package("1");
        shop.ok("publish 1.package --to point --key owner.key online.key");
        shop
    }

    fn package(&self, version: &str) {
        let mut sample = Sample::new("app", version);
        let tree = sample.tree("/opt/app");
        sample.file(tree, "program", format!("program {version}").repeat(1000).as_bytes());
        fs::write(self.path(&format!("{version}.package")), sample.bytes()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
        command.args(words.split(' ')).arg("--json").current_dir(self.folder.path());
        command.env("PACKHORSE_CONFIG", self.path("config"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, words: &str) -> (i32, serde_json::Value) {
        let Output { status, stdout, stderr, .. } =
            self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        let said = serde_json::from_slice(&stdout)
            .unwrap_or_else(|_| String::from_utf8_lossy(&stderr).into_owned().into());
        (status.code().unwrap(), said)
    }

    fn ok(&self, words: &str) -> serde_json::Value {
        let (code, said) = self.run(words);
        assert_eq!(code, 0, "{words}: {said}");
        said
    }

    fn fetch(&self) -> serde_json::Value {
        self.ok("fetch app --from point --trust-root root.json --trust-state seen -o got.package")
    }

    /// The distribution point and what the client saw, as they are now.
    fn copy(&self, to: &Path) {
        for name in ["point", "seen"] {
            copy_tree(&self.path(name), &to.join(name));
        }
    }

    fn restore(&self, from: &Path) {
        for name in ["point", "seen"] {
            let _ = fs::remove_dir_all(self.path(name));
            copy_tree(&from.join(name), &self.path(name));
        }
    }
}

fn copy_tree(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        }
    } else if from.exists() {
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn a_publish_killed_anywhere_is_seen_whole_or_not_at_all_and_ends_the_second_time() {
    let shop = Shop::new();
    shop.package("2");
    let start = tempfile::tempdir().unwrap();
    shop.copy(start.path());
    let publish = "publish 2.package --to point --key owner.key online.key";
    let (all, status) = calls(&mut shop.command(publish)).unwrap();
    assert_eq!(status.code(), Some(0));
    let (mut before, mut after) = (0, 0);
    // The first tenth is the program's own start; the last calls are where it switches.
    for call in (all / 10..all).step_by(usize::try_from(all / 60).unwrap().max(1)) {
        shop.restore(start.path());
        stop_at(&mut shop.command(publish), call, Stop::Kill).unwrap();
        match shop.fetch()["version"].as_str() {
            Some("1") => before += 1,
            Some("2") => after += 1,
            other => panic!("at call {call}: {other:?}"),
        }
        let (code, said) = shop.run(publish);
        assert!([0, 9].contains(&code), "at call {call}: {said}");
        assert_eq!(shop.fetch()["version"], "2", "at call {call}");
    }
    assert!(before > 20 && after > 0, "{before} before, {after} after");
    let said = shop.ok("dp verify point --trust-root root.json --trust-state seen");
    assert_eq!(said["findings"], serde_json::json!([]));
}

#[test]
fn a_fetch_killed_anywhere_keeps_what_was_seen() {
    let shop = Shop::new();
    shop.fetch();
    let old = tempfile::tempdir().unwrap();
    shop.copy(old.path());
    shop.package("2");
    shop.ok("publish 2.package --to point --key owner.key online.key");
    let start = tempfile::tempdir().unwrap();
    shop.copy(start.path());
    let fetch = "fetch app --from point --trust-root root.json --trust-state seen -o got.package";
    let (all, status) = calls(&mut shop.command(fetch)).unwrap();
    assert_eq!(status.code(), Some(0));
    let (mut kept, mut new) = (0, 0);
    for call in (all / 10..all).step_by(usize::try_from(all / 60).unwrap().max(1)) {
        shop.restore(start.path());
        stop_at(&mut shop.command(fetch), call, Stop::Kill).unwrap();
        // What is there is a whole file: the old state is refused exactly if the new one had been seen.
        fs::remove_dir_all(shop.path("point")).unwrap();
        copy_tree(&old.path().join("point"), &shop.path("point"));
        let (code, said) = shop.run(fetch);
        match code {
            0 => kept += 1,
            5 => {
                assert!(said["error"].as_str().unwrap().contains("a rollback"), "{said}");
                new += 1;
            }
            _ => panic!("at call {call}: {said}"),
        }
        copy_tree(&start.path().join("point"), &shop.path("point"));
        assert_eq!(shop.fetch()["version"], "2");
    }
    assert!(kept > 5 && new > 5, "{kept} kept, {new} new");
}

#[test]
fn a_pinned_root_is_what_every_command_goes_by() {
    let shop = Shop::new();
    assert_eq!(shop.ok("fetch app --from point -o got.package")["signed"], serde_json::Value::Null);
    shop.ok("trust pin root.json");
    let said = shop.ok("fetch app --from point --trust-state seen -o got.package");
    assert_eq!(said["signed"]["role"], "targets");
    // A point nobody signed is refused now, unless it is said.
    shop.package("9");
    shop.ok("publish 9.package --to plain");
    let (code, said) = shop.run("fetch app --from plain --trust-state seen -o got.package");
    assert_eq!(code, 5, "{said}");
    assert!(said["error"].as_str().unwrap().starts_with("role `timestamp`: "), "{said}");
    shop.ok("fetch app --from plain --unsigned -o got.package");
    // Another repository's root takes its place only on request.
    shop.ok("trust init other --root-key r.key --owner-key o.key --online-key n.key --root-out other.json");
    assert_eq!(shop.run("trust pin other.json").0, 4);
    shop.ok("trust pin other.json --replace");
    let (code, _) = shop.run("trust pin --first-use point");
    assert_eq!(code, 4);
    shop.ok("trust pin --first-use point --replace");
}

#[test]
fn encrypted_keys_need_their_passphrase() {
    let shop = Shop::new();
    fs::write(shop.path("secret"), "correct horse\n").unwrap();
    fs::write(shop.path("wrong"), "battery\n").unwrap();
    let init = "trust init other --root-key r.key --owner-key o.key --online-key n.key";
    shop.ok(&format!("{init} --passphrase-file secret"));
    let key = fs::read_to_string(shop.path("o.key")).unwrap();
    assert!(key.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{key}");
    let refresh = "trust refresh other --key n.key";
    assert_eq!(shop.run(refresh).0, 4);
    assert_eq!(shop.run(&format!("{refresh} --passphrase-file wrong")).0, 2);
    shop.ok(&format!("{refresh} --passphrase-file wrong secret"));
    // The system's own tool reads the file, too.
    if let Ok(output) = Command::new("openssl")
        .args(["pkey", "-in", "o.key", "-passin", "file:secret", "-pubout"])
        .current_dir(shop.folder.path())
        .output()
    {
        let public = fs::read_to_string(shop.path("o.key.pub")).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), public);
    }
}
