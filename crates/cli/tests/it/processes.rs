//! The real program, killed and interrupted at chosen system calls, many at once, and without rights.

use std::{
    fs,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use machine_linux::LinuxMachine;
use model::{EditStep, Hook, LineEdit, Part, RunStep, Template};
use package::Action;
use testkit::{Picture, Sample, Stop, calls, peak_memory, stop_at};

const TERM: i32 = 15;

/// A small machine and a place for packages.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root/etc", "root/opt", "root/var/lib"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let bench = Self { folder };
        fs::write(bench.root().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
        fs::write(bench.root().join("etc/group"), "root:x:0:\n").unwrap();
        bench
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn package(&self, sample: &Sample) -> PathBuf {
        let header = &sample.header;
        let path = self.folder.path().join(format!("{}-{}.pack", header.name, header.version));
        fs::write(&path, sample.bytes()).unwrap();
        path
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_packhorse"));
        command.args(words).arg("--json").arg("--root").arg(self.root());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The exit code and the answer.
    fn run(&self, words: &[&str]) -> (i32, serde_json::Value) {
        let output = self.command(words).stdout(Stdio::piped()).output().unwrap();
        answer(&output)
    }

    fn picture(&self) -> Picture {
        Picture::of(&LinuxMachine::new(self.root()).unwrap(), "/", &[])
    }

    fn outside(&self) -> Picture {
        Picture::of(&LinuxMachine::new(self.root()).unwrap(), "/", &["/var/lib/packhorse"])
    }

    fn read(&self, below: &str) -> String {
        fs::read_to_string(self.root().join(below)).unwrap()
    }
}

fn answer(output: &Output) -> (i32, serde_json::Value) {
    let value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap_or(-1), value)
}

#[track_caller]
fn same(before: &Picture, after: &Picture, what: &str) {
    assert_eq!(before.differences(after), Vec::<String>::new(), "{what}");
}

/// `count` numbers spread over `0..all`.
fn points(all: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |point| all * (point * 2 + 1) / (count * 2))
}

fn boot_file() -> String {
    (0..40).map(|line| format!("setting{line} = {line}\n")).collect()
}

fn boot_edit() -> Sample {
    let mut sample = Sample::new("boot", "1");
    let value = |key: &str, value: &str| LineEdit::Assignment {
        key: Template::literal(key),
        value: Some(Template::literal(value)),
    };
    sample.step(Action::Edit(EditStep {
        file: Template::literal("/etc/boot.conf"),
        edits: vec![value("setting7", "changed"), value("setting39", "changed")],
        create: false,
    }));
    sample
}

/// A small file system that is full, as long as this lives.
struct Full(PathBuf);

impl Full {
    fn at(path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(mounted.success(), "tests run with the right to mount");
        drop(fs::write(path.join("filler"), vec![1; 1 << 20]));
        Self(path)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn q216419_an_edited_file_is_whole_at_every_moment_wherever_tmpdir_points() {
    let bench = Bench::new();
    let file = bench.root().join("etc/boot.conf");
    fs::write(&file, boot_file()).unwrap();
    let package = bench.package(&boot_edit());
    let pristine = bench.picture();
    let full = Full::at(bench.folder.path().join("full"));
    let old = boot_file();
    let new = old
        .replace("setting7 = 7\n", "setting7 = changed\n")
        .replace("setting39 = 39\n", "setting39 = changed\n");
    let folders = [bench.folder.path().join("missing"), bench.root().join("etc"), full.0.clone()];
    let (mut kept, mut changed) = (0, 0);
    for folder in &folders {
        let install = || {
            let mut command = bench.command(&["install", package.to_str().unwrap()]);
            command.env("TMPDIR", folder).env("TMP", folder).env("TEMP", folder);
            command
        };
        let (all, status) = calls(&mut install()).unwrap();
        assert_eq!(status.code(), Some(0), "a temporary folder is not asked for");
        assert_eq!(bench.read("etc/boot.conf"), new);
        assert_eq!(bench.run(&["uninstall", "boot"]).0, 0);
        for point in points(all, 34) {
            stop_at(&mut install(), point, Stop::Kill).unwrap();
            let text = bench.read("etc/boot.conf");
            assert!(text == old || text == new, "at call {point}: {text:?}");
            bench.run(&["recover"]);
            let text = bench.read("etc/boot.conf");
            assert!(text == old || text == new, "at call {point}, recovered: {text:?}");
            if text == new {
                changed += 1;
                assert_eq!(bench.run(&["uninstall", "boot"]).0, 0);
            } else {
                kept += 1;
            }
            same(&pristine, &bench.picture(), &format!("at call {point}"));
        }
    }
    assert!(kept > 10 && changed > 3, "{kept} kept, {changed} changed");
}

/// 500 files and 200 settings.
fn large(version: &str) -> Sample {
    let mut sample = Sample::new("large", version);
    let tree = sample.tree("/opt/large");
    sample.directory(tree, "");
    for file in 0..500 {
        let content = format!("{file} of {version}");
        sample.file(tree, &format!("folder/{file:03}"), content.as_bytes());
    }
    let settings = (0..200).map(|key| LineEdit::Ini {
        section: Template::literal("large"),
        key: Template::literal(format!("key{key}")),
        value: Some(Template::literal(format!("{key} of {version}"))),
    });
    sample.step(Action::Edit(EditStep {
        file: Template::literal("/etc/large.ini"),
        edits: settings.collect(),
        create: true,
    }));
    sample
}

#[test]
fn q212847_an_install_that_is_killed_is_taken_back_whole() {
    let bench = Bench::new();
    let package = bench.package(&large("1"));
    let pristine = bench.picture();
    let install = || bench.command(&["install", package.to_str().unwrap()]);
    let (all, status) = calls(&mut install()).unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(bench.run(&["uninstall", "large"]).0, 0);
    same(&pristine, &bench.picture(), "uninstalled");
    let mut taken_back = 0;
    for point in points(all, 30) {
        let status = stop_at(&mut install(), point, Stop::Kill).unwrap();
        assert_eq!(status.signal(), Some(9));
        let (code, said) = bench.run(&["recover"]);
        assert!([0, 9].contains(&code), "at call {point}: {said}");
        let notes = said["notes"].to_string();
        assert!(!notes.contains("restart"), "{notes}");
        if bench.root().join("opt/large").exists() {
            // Past its commit: it was finished.
            assert_eq!(bench.run(&["verify", "large"]).0, 0, "at call {point}");
            assert_eq!(bench.run(&["uninstall", "large"]).0, 0);
        } else if code == 0 && !said["notes"].is_null() {
            // Without a note it had not begun: there was a journal, and nothing in it.
            assert!(notes.contains("installation of large was taken back"), "{notes}");
            taken_back += 1;
        }
        same(&pristine, &bench.picture(), &format!("at call {point}"));
    }
    assert!(taken_back >= 10, "{taken_back}");
}

#[test]
fn q212847_an_install_that_is_asked_to_end_takes_itself_back() {
    let bench = Bench::new();
    let package = bench.package(&large("1"));
    let installer = bench.folder.path().join("large.run");
    fs::write(&installer, large("1").installer(compile::stub())).unwrap();
    Command::new("chmod").arg("+x").arg(&installer).status().unwrap();
    let pristine = bench.picture();
    let by_command = || bench.command(&["install", package.to_str().unwrap()]);
    let by_installer = || {
        let mut command = Command::new(&installer);
        command.args(["--silent", "--root"]).arg(bench.root());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let ways: [&dyn Fn() -> Command; 2] = [&by_command, &by_installer];
    for (way, signals) in ways.into_iter().zip([[TERM, 2], [TERM, 1]]) {
        let (all, status) = calls(&mut way()).unwrap();
        assert_eq!(status.code(), Some(0));
        assert_eq!(bench.run(&["uninstall", "large"]).0, 0);
        let mut taken_back = 0;
        for (which, point) in points(all, 30).enumerate() {
            let signal = signals[which % 2];
            let status = stop_at(&mut way(), point, Stop::Signal(signal)).unwrap();
            match (status.code(), status.signal()) {
                // Before it had begun: nothing was there to take back.
                (None, Some(by)) => assert_eq!(by, signal),
                (Some(3), _) => taken_back += 1,
                // Past its commit.
                (code, _) => {
                    assert_eq!(code, Some(0), "at call {point}");
                    assert_eq!(bench.run(&["uninstall", "large"]).0, 0);
                }
            }
            same(&pristine, &bench.picture(), &format!("signal {signal} at call {point}"));
        }
        assert!(taken_back >= 10, "{taken_back}");
    }
}

#[test]
fn an_uninstall_that_is_asked_to_end_takes_itself_back() {
    let bench = Bench::new();
    let package = bench.package(&large("1"));
    let install = ["install", package.to_str().unwrap()];
    assert_eq!(bench.run(&install).0, 0);
    let uninstall = || bench.command(&["uninstall", "large"]);
    let (all, _) = calls(&mut uninstall()).unwrap();
    let mut taken_back = 0;
    for point in points(all, 20) {
        if !bench.root().join("opt/large").exists() {
            assert_eq!(bench.run(&install).0, 0);
        }
        let status = stop_at(&mut uninstall(), point, Stop::Signal(TERM)).unwrap();
        if status.code() == Some(3) {
            taken_back += 1;
            assert_eq!(bench.run(&["verify", "large"]).0, 0);
        }
    }
    assert!(taken_back >= 3, "{taken_back}");
}

#[test]
fn q186413_a_roll_back_that_is_killed_is_completed_by_a_second_run() {
    let bench = Bench::new();
    let packages = [bench.package(&large("1")), bench.package(&large("2"))];
    assert_eq!(bench.run(&["install", packages[0].to_str().unwrap()]).0, 0);
    let earlier = bench.outside();
    let update = || assert_eq!(bench.run(&["install", packages[1].to_str().unwrap()]).0, 0);
    update();
    let roll_back = || bench.command(&["rollback", "large"]);
    let (all, status) = calls(&mut roll_back()).unwrap();
    assert_eq!(status.code(), Some(0));
    same(&earlier, &bench.outside(), "rolled back");
    let mut completed = 0;
    for point in points(all, 20) {
        update();
        stop_at(&mut roll_back(), point, Stop::Kill).unwrap();
        let transactions = fs::read_dir(bench.root().join("var/lib/packhorse/transactions"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names: Vec<String> = transactions.collect();
        let is_done = names.len() == 1 || names.iter().any(|name| name.starts_with("gone-"));
        if !is_done {
            let (code, said) = bench.run(&["rollback", "large"]);
            assert_eq!(code, 0, "at call {point}: {said}");
            completed += 1;
        }
        same(&earlier, &bench.outside(), &format!("at call {point}"));
        assert_eq!(bench.run(&["verify", "large"]).0, 0, "at call {point}");
    }
    assert!(completed >= 10, "{completed}");
}

#[test]
fn q313874_an_install_killed_at_60_percent_is_whole_after_a_second_run() {
    let bench = Bench::new();
    fs::create_dir_all(bench.root().join("opt/large/folder")).unwrap();
    for file in 0..400 {
        let path = bench.root().join(format!("opt/large/folder/{file:03}"));
        fs::write(path, format!("{file} of 1")).unwrap();
    }
    let package = bench.package(&large("1"));
    let install = || bench.command(&["install", package.to_str().unwrap()]);
    let pristine = bench.picture();
    let (all, _) = calls(&mut install()).unwrap();
    let whole = bench.outside();
    assert_eq!(bench.run(&["uninstall", "large"]).0, 0);
    same(&pristine, &bench.picture(), "uninstalled");
    stop_at(&mut install(), all * 6 / 10, Stop::Kill).unwrap();
    let (code, said) = bench.run(&["install", package.to_str().unwrap()]);
    assert_eq!((code, &said["counts"]["identical"]), (0, &serde_json::json!(400)), "{said}");
    let after = bench.outside();
    // The edited file and the folders that had names come and go carry the time of the day.
    let but_times: Vec<String> =
        whole.differences(&after).into_iter().filter(|line| !line.starts_with('~')).collect();
    assert_eq!(but_times, Vec::<String>::new());
    assert_eq!(bench.run(&["verify", "large"]).0, 0);
}

#[test]
fn q264893_fifty_at_once_lose_no_line() {
    let bench = Bench::new();
    fs::write(bench.root().join("etc/shared"), "first\n").unwrap();
    let packages: Vec<PathBuf> = (0..50)
        .map(|which| {
            let mut sample = Sample::new(&format!("package-{which}"), "1");
            sample.step(Action::Edit(EditStep {
                file: Template::literal("/etc/shared"),
                edits: vec![LineEdit::Add {
                    line: Template::literal(format!("line of {which}")),
                    after: None,
                }],
                create: false,
            }));
            bench.package(&sample)
        })
        .collect();
    let children: Vec<_> = packages
        .iter()
        .map(|package| bench.command(&["install", package.to_str().unwrap()]).spawn().unwrap())
        .collect();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let text = bench.read("etc/shared");
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 51, "{text}");
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 51, "{text}");
    assert_eq!(fs::read_dir(bench.root().join("etc")).unwrap().count(), 3, "no other file is left");
}

#[test]
fn one_that_may_not_wait_says_who_holds_the_lock() {
    let bench = Bench::new();
    let package = bench.package(&boot_edit());
    let root = fs::File::open(bench.root()).unwrap();
    root.lock().unwrap();
    let (code, said) = bench.run(&["install", "--no-wait", package.to_str().unwrap()]);
    assert_eq!(code, 6, "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(message.contains(&std::process::id().to_string()), "{message}");
}

fn open_up(path: &Path) {
    let status = Command::new("chmod").arg("a+rx").arg(path).status().unwrap();
    assert!(status.success());
}

#[test]
fn without_rights_nothing_changes_and_the_reason_is_said() {
    let bench = Bench::new();
    open_up(bench.folder.path());
    fs::create_dir_all(bench.root().join("var/lib/dpkg")).unwrap();
    fs::write(bench.root().join("var/lib/dpkg/lock-frontend"), "").unwrap();
    let package = bench.package(&large("1"));
    // The program itself may lie where nobody else may look.
    let program = bench.folder.path().join("packhorse");
    fs::copy(env!("CARGO_BIN_EXE_packhorse"), &program).unwrap();
    let pristine = bench.picture();
    let run = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.args(words).arg("--json").arg("--root").arg(bench.root()).uid(65534).gid(65534);
        answer(&command.output().unwrap())
    };
    let (code, said) = run(&["install", package.to_str().unwrap()]);
    assert_eq!(code, 1, "{said}");
    assert!(said.to_string().contains("Permission denied"), "{said}");
    assert!(said.to_string().contains("run it as root"), "{said}");
    same(&pristine, &bench.picture(), "install");
    fs::remove_file(bench.root().join("var/lib/dpkg/lock-frontend")).unwrap();
    let pristine = bench.picture();
    let (code, said) = run(&["install", package.to_str().unwrap()]);
    assert_eq!(code, 1, "{said}");
    assert!(said.to_string().contains("Permission denied"), "{said}");
    same(&pristine, &bench.picture(), "install");
    assert_eq!(bench.run(&["install", package.to_str().unwrap()]).0, 0);
    let installed = bench.picture();
    for words in [["uninstall", "large"], ["rollback", "large"], ["verify", "large"]] {
        let (code, said) = run(&words);
        assert_eq!(code, 1, "{said}");
        same(&installed, &bench.picture(), words[0]);
    }
}

/// How many files the memory test installs; the long form runs outside CI with `PACKHORSE_FILES`.
fn many() -> u32 {
    std::env::var("PACKHORSE_FILES").ok().and_then(|files| files.parse().ok()).unwrap_or(20_000)
}

#[test]
fn memory_does_not_grow_with_the_package() {
    let bench = Bench::new();
    let package = |version: &str| {
        let mut sample = Sample::new("many", version);
        let tree = sample.tree("/opt/many");
        sample.directory(tree, "");
        for file in 0..many() {
            let path = format!("folder-{:04}/a name of usual length {file:06}", file / 100);
            sample.file(tree, &path, format!("{file} of {version}").as_bytes());
        }
        bench.package(&sample)
    };
    let (first, second) = (package("1"), package("2"));
    let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
    let steps: [&[&str]; 5] = [
        &["install", first],
        &["install", second],
        &["verify", "many"],
        &["rollback", "many"],
        &["uninstall", "many"],
    ];
    for words in steps {
        let (status, bytes) = peak_memory(&mut bench.command(words)).unwrap();
        assert_eq!(status.code(), Some(0), "{words:?}");
        eprintln!("{} {} MiB", words[0], bytes >> 20);
        assert!((1..64 << 20).contains(&bytes), "{words:?} took {} MiB", bytes >> 20);
    }
}

/// Writes the words it is given into `/given`, each in angle brackets.
const ECHO: &str = "#include <stdio.h>\n\
    int main(int count, char **words) {\n\
      FILE *file = fopen(\"/given\", \"w\");\n\
      for (int at = 1; at < count; at++) fprintf(file, \"<%s>\", words[at]);\n\
      return fclose(file);\n\
    }\n";

#[test]
fn q164353_custom_arguments_reach_the_script_unchanged() {
    let bench = Bench::new();
    let source = bench.folder.path().join("echo.c");
    fs::write(&source, ECHO).unwrap();
    let mut cc = Command::new("cc");
    cc.arg("-static").arg("-o").arg(bench.root().join("opt/echo")).arg(&source);
    assert!(cc.status().unwrap().success());
    let mut sample = Sample::new("app", "1");
    let own = Template(vec![Part::Variable("installer.arguments".into())]);
    let words = [Template::literal("/opt/echo"), Template::literal("first"), own];
    sample.step(Action::Run(RunStep {
        command: words.to_vec(),
        at: Hook::Install,
        undo: model::Undo::Outputs,
        limit: 60,
        wait: true,
        exit_codes: [].into(),
        outputs: vec![Template::literal("/given")],
    }));
    let package = bench.package(&sample);
    let mut install = Command::new(env!("CARGO_BIN_EXE_packhorse"));
    install.arg("install").arg(&package).arg("--root").arg(bench.root());
    install.args(["--", "two words", "\"quoted\"", "--silent", "${x}"]);
    let output = install.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(bench.read("given"), "<first><two words><\"quoted\"><--silent><${x}>");
}
