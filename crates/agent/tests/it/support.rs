//! A machine in a folder, an agent that looks after it, a site that is a file.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_packhorse-agent");
/// What does not happen by then does not happen.
const PATIENCE: Duration = Duration::from_mins(2);

/// A machine with an agent.
pub(crate) struct Machine {
    folder: TempDir,
    sequence: u64,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "state", "site", "out"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder, sequence: 0 }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A path for what programs write, as text for a command line.
    pub(crate) fn out(&self, name: &str) -> String {
        self.path("out").join(name).display().to_string()
    }

    /// These deployments are in force from now on.
    pub(crate) fn deploy(&mut self, deployments: &[Value]) {
        self.deploy_with(deployments, &json!({}));
    }

    /// These, and more of a document.
    pub(crate) fn deploy_with(&mut self, deployments: &[Value], more: &Value) {
        self.sequence += 1;
        let mut policy = more.clone();
        policy["sequence"] = json!(self.sequence);
        policy["deployments"] = json!(deployments);
        let beside = self.path("site/policy.new");
        fs::write(&beside, policy.to_string()).unwrap();
        fs::rename(&beside, self.path("site/policy.json")).unwrap();
    }

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(AGENT);
        command.arg("run").arg("--policy").arg(self.path("site/policy.json"));
        command.arg("--messages").arg(self.path("messages.jsonl"));
        command.arg("--root").arg(self.root()).arg("--state").arg(self.state()).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// An agent that goes on until it is killed.
    pub(crate) fn start(&self, more: &[&str]) -> Running {
        Running(self.command(more).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap())
    }

    /// An agent that does what there is to do, and ends.
    pub(crate) fn once(&self, more: &[&str]) -> Output {
        let output = self.command(more).arg("--once").arg("--json").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    pub(crate) fn ask(&self, words: &[&str]) -> Output {
        let mut command = Command::new(AGENT);
        command.args(words).arg("--state").arg(self.state()).output().unwrap()
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.ask(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// What the site heard.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("messages.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What the site heard of a deployment, as words.
    pub(crate) fn words(&self, deployment: &str) -> Vec<String> {
        let of = |message: &Value| message["said"]["run"]["deployment"] == deployment;
        let word = |message: Value| message["said"]["word"].as_str().unwrap_or_default().to_owned();
        self.messages().into_iter().filter(of).map(word).collect()
    }

    /// Waits, by events of folders, until `done` is so.
    pub(crate) fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        let changes = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::DELETE;
        for folder in [self.folder.path().to_owned(), self.state(), self.path("out")] {
            inotify::add_watch(&watch, &folder, changes).unwrap();
        }
        let since = Instant::now();
        while !done(self) {
            assert!(since.elapsed() < PATIENCE, "{what} did not happen: {}", self.status());
            let mut watched = [PollFd::new(&watch, PollFlags::IN)];
            // Not everything that is waited for shows in a folder.
            let _ = poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 50_000_000 }));
            if !watched[0].revents().is_empty() {
                let mut block = vec![0; 65_536];
                let _ = rustix::io::read(&watch, block.as_mut_slice());
            }
        }
    }

    /// Waits until a deployment came to its end, and the site knows.
    pub(crate) fn until_told(&self, deployment: &str, word: &str) {
        self.until(&format!("`{word}` of {deployment}"), |machine| {
            machine.words(deployment).iter().any(|said| said == word)
        });
    }
}

/// An agent that runs; it is killed with the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A deployment that calls a program.
pub(crate) fn call(id: &str, words: &[&str]) -> Value {
    json!({ "id": id, "program": { "action": { "command": { "direct": words } } } })
}

/// A deployment that is a line for the shell.
pub(crate) fn shell(id: &str, line: &str) -> Value {
    json!({ "id": id, "program": { "action": { "command": { "shell": line } } } })
}

/// Lays `over` over a deployment.
pub(crate) fn with(mut deployment: Value, field: &str, over: Value) -> Value {
    let mut at = &mut deployment;
    for name in field.split('.') {
        at = &mut at[name];
    }
    *at = over;
    deployment
}

/// Lines of a file; none if there is none.
pub(crate) fn lines(path: &str) -> usize {
    File::open(Path::new(path)).map_or(0, |file| BufReader::new(file).lines().count())
}
