//! Agents that belong to a site: both are processes, killed at will, with a line between them.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use deployment::{ClientId, CollectionSpec, CommandLine, Recurrence, When, Window, Zone};
use site::{Client, ClientDetails, DeploymentStatus, Folder, NewDeployment, SiteWindow, Target};
use tempfile::TempDir;
use testkit::Sample;

use crate::support::{AGENT, Running, lines};

const DATA: &str = "PACKHORSE_TEST_SITE";
const LINK: &str = "PACKHORSE_TEST_LINK";
/// What does not happen by then does not happen.
const PATIENCE: Duration = Duration::from_mins(2);

/// Not a test of its own: what the process of a site runs.
#[test]
fn serves_if_asked_to() {
    if let Some(data) = std::env::var_os(DATA) {
        let link = std::env::var(LINK).ok().map(|link| link.parse().unwrap());
        let listen =
            site::Listen { api: "127.0.0.1:0".parse().unwrap(), link, content: None, ddi: None };
        site::serve(Folder::new(&PathBuf::from(data)), listen).unwrap();
    }
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A site in a process of its own.
struct Top {
    home: TempDir,
    link: SocketAddr,
    process: Option<Child>,
    asked: Option<Client>,
}

impl Top {
    fn new(code: &str, settings: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("site");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("site.toml"), settings).unwrap();
        site::init(&Folder::new(&folder), code, None).unwrap();
        let link = testkit::free_address();
        let mut top = Self { home, link, process: None, asked: None };
        top.start();
        top
    }

    fn folder(&self) -> Folder {
        Folder::new(&self.home.path().join("site"))
    }

    fn start(&mut self) {
        let folder = self.folder();
        let _ = fs::remove_file(folder.address());
        let path = self.home.path().join("log");
        let log = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "enrolled::serves_if_asked_to", "--nocapture"])
            .env(DATA, folder.path())
            .env(LINK, self.link.to_string())
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(command.spawn().unwrap());
        self.asked = Some(until("the site listens", || {
            Client::local(&folder).ok().filter(|client| client.status().is_ok())
        }));
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn ask(&self) -> &Client {
        self.asked.as_ref().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    /// A token in a file.
    fn token(&self, known: Option<&str>) -> PathBuf {
        let at = self.link.to_string();
        let token = self.ask().client_token(known, None, Some(&at)).unwrap();
        let path =
            self.home.path().join(format!("token-{}", &token.secret.as_ref().unwrap()[..16]));
        fs::write(&path, serde_json::to_vec(&token).unwrap()).unwrap();
        path
    }

    fn deploy(&self, id: &str, line: &str) {
        self.ask().deploy(&shell(id, line, everybody())).unwrap();
    }

    fn deployment(&self, id: &str) -> DeploymentStatus {
        let all = self.ask().deployments().unwrap();
        all.into_iter().find(|one| one.deployment == id).unwrap()
    }

    fn until_done(&self, id: &str, clients: u64) {
        until(&format!("{id} is done by {clients}"), || {
            (self.deployment(id).done == clients).then_some(())
        });
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

fn everybody() -> Target {
    Target { everybody: true, ..Target::default() }
}

fn shell(id: &str, line: &str, target: Target) -> NewDeployment {
    NewDeployment {
        id: id.to_owned(),
        command: Some(CommandLine::Shell(line.to_owned())),
        target,
        ..NewDeployment::default()
    }
}

#[test]
fn a_machine_without_a_secret_waits_for_approval() {
    let top = Top::new("TOP", "");
    let token = top.ask().open_client_token(Some(&top.link.to_string())).unwrap();
    assert_eq!(token.secret, None);
    let image = top.home.path().join("image.token");
    fs::write(&image, serde_json::to_vec(&token).unwrap()).unwrap();
    let (one, other) = (Machine::new("web7"), Machine::new("web8"));
    for _ in 0..2 {
        let said = one.enroll(&image, &["--no-wait"]);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(4), "{text}");
        let key = &top.ask().client_requests().unwrap()[0].key;
        assert!(text.contains(&format!("client approve {}", &key[..16])), "{text}");
    }
    let mut waiting = other.agent(&["enroll", "--json"]);
    waiting.arg("--token").arg(&image).arg("--root").arg(other.path("root"));
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let both = until("both ask", || {
        let all = top.ask().client_requests().unwrap();
        (all.len() == 2).then_some(all)
    });
    for request in both {
        top.ask().approve(&request.key[..8], None).unwrap();
    }
    let (one, other) = (
        client_of(&one.enroll(&image, &["--no-wait"])),
        client_of(&waiting.wait_with_output().unwrap()),
    );
    assert_ne!(one, other);
    let mut known: Vec<_> =
        top.ask().clients().unwrap().into_iter().map(|client| client.client).collect();
    known.sort();
    let mut expected = vec![one, other];
    expected.sort();
    assert_eq!(known, expected);
}

/// A machine in a folder.
struct Machine(TempDir);

impl Machine {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("root/etc")).unwrap();
        fs::write(folder.path().join("root/etc/hostname"), format!("{name}\n")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn out(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn agent(&self, words: &[&str]) -> Command {
        let mut command = Command::new(AGENT);
        command.args(words).arg("--state").arg(self.path("state")).stdin(Stdio::null());
        command
    }

    fn enroll(&self, token: &std::path::Path, more: &[&str]) -> Output {
        let mut command = self.agent(&["enroll", "--json"]);
        command.arg("--token").arg(token).arg("--root").arg(self.path("root")).args(more);
        command.output().unwrap()
    }

    /// Becomes a client; answers which.
    fn enrolled(&self, top: &Top) -> String {
        client_of(&self.enroll(&top.token(None), &[]))
    }

    fn start(&self) -> Running {
        let mut command = self.agent(&["run"]);
        command.arg("--root").arg(self.path("root")).stdout(Stdio::null()).stderr(Stdio::inherit());
        Running(command.spawn().unwrap())
    }

    fn once(&self) -> Output {
        let mut command = self.agent(&["run", "--once", "--json"]);
        command.arg("--root").arg(self.path("root")).output().unwrap()
    }

    fn status(&self) -> serde_json::Value {
        let output = self.agent(&["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn check_in(&self) {
        let _ = self.agent(&["check-in"]).output().unwrap();
    }

    /// Waits until the agent says why its site does not do it.
    fn until_refused(&self, why: &str) -> String {
        until(&format!("`{why}`"), || {
            self.check_in();
            let status = self.status();
            let said = status["unreachable"].as_str()?;
            said.contains(why).then(|| said.to_owned())
        })
    }
}

fn client_of(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    value["client"].as_str().unwrap().to_owned()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn words(shown: &ClientDetails, run: &str) -> Vec<String> {
    let of = shown.messages.iter().filter(|one| one.run.as_deref() == Some(run));
    of.map(|one| one.word.clone()).collect()
}

#[test]
fn what_is_deployed_waits_for_a_window_and_runs_as_soon_as_nobody_asks_for_one() {
    let top = Top::new("TOP", "");
    let machine = Machine::new("web7");
    machine.enrolled(&top);
    // It opened once, and does not any more.
    let opens = Recurrence {
        from: "2020-01-01T02:00".parse().unwrap(),
        zone: Zone::Named("UTC".into()),
        cadence: "day".parse().unwrap(),
    };
    let until = Some(When::At("2020-02-01T00:00:00Z".parse().unwrap()));
    let window = Window { name: "past".into(), opens, minutes: 60, until };
    top.deploy("patch", "true");
    top.ask().save_window(&SiteWindow { window, target: everybody() }).unwrap();
    let said = top.ask().deploy(&shell("late", "true", everybody())).unwrap_err().to_string();
    assert!(said.contains("window"), "{said}");
    let urgent = NewDeployment { ignore_windows: true, ..shell("urgent", "true", everybody()) };
    top.ask().deploy(&urgent).unwrap();
    let _running = machine.start();
    top.until_done("urgent", 1);
    let shown = machine.status();
    let waits = shown["deployed"].as_array().unwrap();
    assert_eq!(waits[0]["id"]["deployment"], "patch", "{shown}");
    assert!(waits[0]["text"].as_str().unwrap().contains("maintenance window"), "{shown}");
    assert_eq!(top.deployment("patch").done, 0);
    top.ask().remove_window("past").unwrap();
    top.until_done("patch", 1);
}

#[test]
fn a_machine_is_enrolled_runs_what_is_deployed_and_says_so() {
    let top = Top::new("TOP", "");
    let machine = Machine::new("web7");
    let client = machine.enrolled(&top);
    let out = machine.out("ran");
    top.deploy("first", &format!("echo said; echo x >> {out}"));
    let _agent = machine.start();
    top.until_done("first", 1);
    assert_eq!(lines(&out), 1);
    let shown = until("everything was told", || {
        let shown = top.ask().client("web7").unwrap();
        (words(&shown, "first") == ["starting", "done"]).then_some(shown)
    });
    assert_eq!(
        (shown.summary.client.as_str(), shown.summary.name.as_str()),
        (client.as_str(), "web7")
    );
    assert!(shown.messages.iter().any(|one| one.output == "said\n"), "{:?}", shown.messages);
    // Who waits for news has it at once.
    let began = Instant::now();
    top.deploy("now", &format!("echo y >> {out}"));
    until("it runs", || (lines(&out) == 2).then_some(()));
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    top.until_done("now", 1);
    assert!(top.ask().clients().unwrap()[0].seen.is_some());
}

#[test]
fn a_package_comes_from_the_points_the_site_names_and_is_in_the_inventory() {
    let top = Top::new("TOP", "");
    let machine = Machine::new("web7");
    let client = machine.enrolled(&top);
    top.ask().add_point("here", &top.home.path().join("point").to_string_lossy()).unwrap();
    let mut sample = Sample::new("hello", "1");
    let tree = sample.tree("/opt/hello");
    sample.file(tree, "greeting", b"hello 1\n");
    let file = top.home.path().join("hello.package");
    fs::write(&file, sample.bytes()).unwrap();
    top.ask().publish(&file, false).unwrap();
    let hello = model::PackageName::new("hello").unwrap();
    top.ask().assign(&hello, &["here".to_owned()], true).unwrap();
    until("it is there", || top.ask().status().ok().filter(site::Status::is_settled));
    let rule = "\"hello\" in packages".to_owned();
    let has = CollectionSpec { name: "has".into(), rule: Some(rule), ..CollectionSpec::default() };
    top.ask().save_collection(&has).unwrap();
    let new = NewDeployment {
        id: "hello".to_owned(),
        package: Some(hello),
        target: everybody(),
        uninstall_when_withdrawn: true,
        ..NewDeployment::default()
    };
    top.ask().deploy(&new).unwrap();
    let _agent = machine.start();
    top.until_done("hello", 1);
    let greeting = machine.path("root/opt/hello/greeting");
    assert_eq!(fs::read_to_string(&greeting).unwrap(), "hello 1\n");
    let shown = until("it is in the inventory", || {
        let shown = top.ask().client(&client).unwrap();
        (shown.collections == ["has"]).then_some(shown)
    });
    assert_eq!(shown.inventory["package hello"], "1");
    assert_eq!(shown.inventory["host-name"], "web7");
    let why = top.ask().why(&client, "has").unwrap();
    assert_eq!(why["membership"], "member", "{why}");
    // What is withdrawn is taken away, and the collection hears of it.
    top.ask().remove_deployment("hello").unwrap();
    until("it is gone", || (!greeting.exists()).then_some(()));
    until("nobody has it", || (top.ask().collections().unwrap()[0].members == 0).then_some(()));
}

#[test]
fn who_calls_the_site_may_do_nothing_else_and_is_replaced() {
    let top = Top::new("TOP", "");
    let machine = Machine::new("web7");
    machine.enrolled(&top);
    let agent = machine.start();
    top.deploy("first", "true");
    top.until_done("first", 1);
    let tasks = format!("/proc/{}/task", agent.0.id());
    // Which thread started one is not ours to know.
    let children = || -> Vec<String> {
        let tasks = fs::read_dir(&tasks).unwrap().flatten();
        let all = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        all.flat_map(|all| all.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let [line] = &children()[..] else { panic!("{:?}", children()) };
    let status = fs::read_to_string(format!("/proc/{line}/status")).unwrap();
    let said = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(said("Name"), ["packhorse-line"]);
    assert_eq!(said("NoNewPrivs"), ["1"]);
    if rustix::process::geteuid().is_root() {
        assert!(said("Uid").iter().chain(&said("Gid")).all(|id| id != "0"), "{status}");
        assert!(said("Groups").is_empty(), "{status}");
    }
    for name in ["CapEff", "CapPrm", "CapAmb"] {
        assert_eq!(said(name), ["0000000000000000"], "{name}");
    }
    let limits = fs::read_to_string(format!("/proc/{line}/limits"));
    let files = limits.unwrap();
    let files = files.lines().find(|line| line.starts_with("Max file size")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("0"), "{files}");
    // Whoever ends it, the next one calls; what was deployed arrives.
    let _ = Command::new("kill").args(["-9", line]).status().unwrap();
    until("it is gone", || children().is_empty().then_some(()));
    top.deploy("second", "true");
    machine.check_in();
    top.until_done("second", 1);
    assert_eq!(children().len(), 1);
    let next = children();
    drop(agent);
    until("nobody calls when the agent is gone", || {
        (!PathBuf::from(format!("/proc/{}", next[0])).exists()).then_some(())
    });
}

#[test]
fn a_token_counts_once_and_a_lost_answer_is_given_again() {
    let top = Top::new("TOP", "");
    let (one, other) = (Machine::new("one"), Machine::new("other"));
    let token = top.token(None);
    let client = client_of(&one.enroll(&token, &[]));
    let said = refused(&other.enroll(&token, &[]));
    assert!(said.contains("was used already") && said.contains("client token"), "{said}");
    assert_eq!(client_of(&one.enroll(&token, &[])), client, "the same key is answered again");
    assert_eq!(top.ask().clients().unwrap().len(), 1);
    // Another site's token, and one nobody made.
    let mut forged: serde_json::Value = serde_json::from_slice(&fs::read(&token).unwrap()).unwrap();
    forged["secret"] = "00".repeat(32).into();
    let path = other.path("forged");
    fs::write(&path, forged.to_string()).unwrap();
    let said = refused(&other.enroll(&path, &[]));
    assert!(said.contains("does not count here"), "{said}");
    let elsewhere = Top::new("ELSEWHERE", "");
    let said = refused(&other.enroll(&elsewhere.token(None), &["--site", &top.link.to_string()]));
    assert!(said.contains("is not the site"), "{said}");
    let nonsense = other.path("nonsense");
    fs::write(&nonsense, "{}").unwrap();
    assert_eq!(other.enroll(&nonsense, &[]).status.code(), Some(2));
    let output = other.once();
    assert!(String::from_utf8_lossy(&output.stderr).contains("enrolled at no site"), "{output:?}");
}

#[test]
fn who_is_revoked_hears_why_and_comes_back_as_who_it_was() {
    let top = Top::new("TOP", "");
    let machine = Machine::new("web7");
    let client = machine.enrolled(&top);
    let out = machine.out("ran");
    top.deploy("first", &format!("echo x >> {out}"));
    let agent = machine.start();
    top.until_done("first", 1);
    top.ask().revoke("web7").unwrap();
    let said = machine.until_refused("was revoked");
    assert!(said.contains("client token --for"), "{said}");
    let shown = top.ask().client("web7").unwrap();
    assert!(shown.summary.revoked && shown.summary.note.unwrap().contains("revoked"));
    top.deploy("second", &format!("echo y >> {out}"));
    assert_eq!(top.deployment("second").clients, 0, "it is for nobody");
    agent.kill();
    let output = machine.enroll(&top.token(Some(&client)), &[]);
    assert_eq!(client_of(&output), client);
    assert!(!top.ask().client("web7").unwrap().summary.revoked);
    let _agent = machine.start();
    top.until_done("second", 1);
    assert_eq!(lines(&out), 2, "what was done is not done again");
}

/// Certificates live for six seconds here: they are renewed at four, and counted by the site's clock alone.
#[test]
fn q227033_keys_are_renewed_in_time_and_late_ones_come_back_by_enrolling() {
    let top = Top::new("TOP", "client-certificate = 6\n");
    let machine = Machine::new("web7");
    let client = machine.enrolled(&top);
    let own = machine.path("state/line/own.pem");
    let first = fs::read_to_string(&own).unwrap();
    let agent = machine.start();
    let second = until("it is renewed", || {
        machine.check_in();
        fs::read_to_string(&own).ok().filter(|own| *own != first)
    });
    let until_then = Instant::now() + Duration::from_secs(7);
    until("the first one is over", || {
        machine.check_in();
        (Instant::now() > until_then).then_some(())
    });
    assert_ne!(fs::read_to_string(&own).unwrap(), second, "and again");
    let status = machine.status();
    assert!(status["unreachable"].is_null(), "{status}");
    // One that was away for too long.
    agent.kill();
    let until_then = Instant::now() + Duration::from_secs(7);
    until("the last one is over", || (Instant::now() > until_then).then_some(()));
    let agent = machine.start();
    let said = machine.until_refused("ran out");
    assert!(said.contains("packhorse-agent enroll"), "{said}");
    agent.kill();
    assert_eq!(machine.enrolled(&top), client, "by its own key it is who it was");
    let _agent = machine.start();
    until("it is heard of", || {
        machine.check_in();
        machine.status()["unreachable"].is_null().then_some(())
    });
}

#[test]
fn q254735_a_copied_disk_is_noticed_and_made_a_client_of_its_own() {
    let top = Top::new("TOP", "");
    let machine = Machine::new("web7");
    let client = machine.enrolled(&top);
    let copy = Machine::new("web8");
    fs::remove_dir_all(copy.path("root")).unwrap();
    let copied = Command::new("cp").arg("-a").arg(machine.0.path()).arg(copy.path("all")).status();
    assert!(copied.unwrap().success());
    for name in ["root", "state"] {
        fs::rename(copy.path("all").join(name), copy.path(name)).unwrap();
    }
    fs::write(copy.path("root/etc/hostname"), "web8\n").unwrap();
    // With a token of its own, but its old key, it would still be the other: it says that it is new.
    let output = copy.enroll(&top.token(None), &["--as-new"]);
    let other = client_of(&output);
    assert_ne!(other, client);
    let (_one, _other) = (machine.start(), copy.start());
    until("both are heard of", || {
        let all = top.ask().clients().unwrap();
        (all.len() == 2 && all.iter().all(|one| one.seen.is_some())).then_some(())
    });
    let out = machine.out("ran");
    top.deploy("both", &format!("echo x >> {out}"));
    top.until_done("both", 2);
    assert_eq!(lines(&out), 2);
}

/// Killed at any instant, on either side: nothing runs twice, nothing that was acknowledged is lost or there twice.
#[test]
fn q255842_whoever_is_killed_nothing_is_lost_or_told_twice() {
    let mut top = Top::new("TOP", "");
    let machine = Machine::new("web7");
    machine.enrolled(&top);
    let mut agent = Some(machine.start());
    let out = machine.out("ran");
    for round in 0..6_u64 {
        let id = format!("round-{round}");
        top.deploy(&id, &format!("echo {round} >> {out}; read x < /dev/null; true"));
        std::thread::park_timeout(Duration::from_millis(round * 30));
        if round % 2 == 0 {
            agent.take().unwrap().kill();
            agent = Some(machine.start());
        } else {
            top.kill();
            top.start();
        }
        machine.check_in();
    }
    for round in 0..6 {
        let id = format!("round-{round}");
        until(&id, || {
            machine.check_in();
            let one = top.deployment(&id);
            // One that was cut off in the middle waits for a decision, and says so.
            (one.done + one.failed == 1).then_some(())
        });
    }
    let ran = fs::read_to_string(&out).unwrap();
    for round in 0..6 {
        let times = ran.lines().filter(|line| *line == round.to_string()).count();
        assert!(times <= 1, "{round} ran {times} times");
    }
    let shown = top.ask().client("web7").unwrap();
    let numbers: Vec<(String, u64)> =
        shown.messages.iter().map(|one| (one.series.clone(), one.sequence)).collect();
    let mut once = numbers.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), numbers.len(), "each is there once");
    assert_eq!(once.last().unwrap().1, once.len() as u64, "and none is missing");
}

/// A site that is away changes nothing on its clients; one of several addresses is enough.
#[test]
fn q153571_a_site_that_cannot_be_reached_stops_nothing() {
    let mut top = Top::new("TOP", "");
    let machine = Machine::new("web7");
    let dead = testkit::free_address();
    let addresses = format!("{dead},{}", top.link);
    client_of(&machine.enroll(&top.token(None), &["--site", &addresses]));
    let out = machine.out("ran");
    top.deploy("first", &format!("echo x >> {out}"));
    let agent = machine.start();
    top.until_done("first", 1);
    let policy = fs::read(machine.path("state/policy")).unwrap();
    top.kill();
    agent.kill();
    let _agent = machine.start();
    until("it says so", || {
        let status = machine.status();
        status["unreachable"].as_str().filter(|why| why.contains("does not answer"))?;
        Some(())
    });
    assert_eq!(fs::read(machine.path("state/policy")).unwrap(), policy);
    assert_eq!(lines(&out), 1);
    top.start();
    top.deploy("second", &format!("echo y >> {out}"));
    machine.check_in();
    top.until_done("second", 1);
}

/// The identity cannot be read for a moment: an error, and never another client.
#[test]
fn q149673_an_identity_that_cannot_be_read_makes_no_second_client() {
    let top = Top::new("TOP", "");
    let machine = Machine::new("web7");
    let client = machine.enrolled(&top);
    let [one, two] = ["state/identity", "state/second/identity"].map(|name| machine.path(name));
    let whole = fs::read(&one).unwrap();
    for damage in 0..10_usize {
        fs::write(&one, &whole[..damage * whole.len() / 10]).unwrap();
        assert!(machine.once().status.success(), "mended from the other copy");
    }
    fs::write(&one, b"").unwrap();
    fs::write(&two, b"").unwrap();
    assert!(!machine.once().status.success(), "nothing is taken for new");
    for path in [&one, &two] {
        fs::write(path, &whole).unwrap();
    }
    assert!(machine.once().status.success());
    let all = top.ask().clients().unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].client, client);
}

/// Out of the collection, out of the deployment: the next document does not name it.
#[test]
fn q249331_who_leaves_a_collection_is_deployed_to_no_longer() {
    let top = Top::new("TOP", "");
    let (one, other) = (Machine::new("one"), Machine::new("other"));
    let (first, second) = (one.enrolled(&top), other.enrolled(&top));
    let members = |names: &[&String]| CollectionSpec {
        name: "trial".into(),
        members: names.iter().map(|id| id.parse::<ClientId>().unwrap()).collect(),
        ..CollectionSpec::default()
    };
    top.ask().save_collection(&members(&[&first, &second])).unwrap();
    let target = Target { collections: vec!["trial".into()], ..Target::default() };
    let out = one.out("ran");
    top.ask().deploy(&shell("first", &format!("echo x >> {out}"), target.clone())).unwrap();
    let (_one, _other) = (one.start(), other.start());
    top.until_done("first", 2);
    top.ask().save_collection(&members(&[&first])).unwrap();
    top.ask().deploy(&shell("second", &format!("echo y >> {out}"), target)).unwrap();
    top.until_done("second", 1);
    other.check_in();
    assert_eq!(top.deployment("second").clients, 1);
    assert_eq!(top.ask().client(&second).unwrap().deployments, []);
    assert_eq!(lines(&out), 3);
    let said = top.ask().remove_collection("trial").unwrap_err().to_string();
    assert!(said.contains("deployment `first`"), "{said}");
}

/// What fails everywhere reaches the first wave only.
#[test]
fn a_rollout_halts_by_itself_and_goes_on_when_somebody_says_so() {
    let top = Top::new("TOP", "");
    let machines: Vec<Machine> = (0..3).map(|n| Machine::new(&format!("m{n}"))).collect();
    let agents: Vec<Running> = machines
        .iter()
        .map(|machine| {
            machine.enrolled(&top);
            machine.start()
        })
        .collect();
    let wave = |share, soak| deployment::Wave {
        share,
        then: deployment::WaveGate { soak, ..deployment::WaveGate::default() },
    };
    let retry = deployment::RetryLimits { first: 60, longest: 60, attempts: 1 };
    let halt = deployment::HaltRule { failures: 50, minimum: 1, ..deployment::HaltRule::default() };
    let bad = NewDeployment {
        waves: vec![
            wave(deployment::Share::Count(1), 3_600_000),
            wave(deployment::Share::Percent(100), 0),
        ],
        halt: Some(halt),
        retry: Some(retry),
        ..shell("bad", "exit 7", everybody())
    };
    top.ask().deploy(&bad).unwrap();
    let status =
        until("it halts", || Some(top.deployment("bad")).filter(|one| one.status == "halted"));
    assert_eq!((status.failed, status.closed), (1, 2), "{status:?}");
    let said = top.ask().deploy(&bad).unwrap_err().to_string();
    assert!(said.contains("already"), "{said}");
    top.ask().steer("bad", "stop", "anna", &[]).unwrap();
    assert!(top.deployment("bad").waits.unwrap().contains("anna"));
    drop(agents);
}
