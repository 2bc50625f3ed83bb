//! Agents under trouble: machines with a booted systemd each, a site, two distribution points, thin wires between them.

mod machine;
mod trouble;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testkit::{Network, Wire};

use super::roots::{Workshop, copy, network_files, network_settings};
use crate::{
    command::{command, run_quietly, tail},
    debian,
    tree::{Plan, Tree},
    workspace,
};
use machine::Machine;
use trouble::Trouble;

const NEEDS: [debian::Need; 6] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("unshare", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
    ("ip", "iproute2"),
    ("nginx", "nginx-light"),
];
/// Hosts of the network: the site, the points, then the machines.
const SITE: usize = 0;
const POINTS: [usize; 2] = [1, 2];
const FIRST: usize = 3;
const WIRE: Wire =
    Wire { rate: 20_000_000, round_trip: Duration::from_millis(20), loss: 0.0, seed: 1 };
/// How far the points are.
const AWAY: [Duration; 2] = [Duration::from_millis(4), Duration::from_millis(60)];
/// What has not come right by then does not.
const PATIENCE: Duration = Duration::from_mins(15);
/// So often somebody who waits for the end asks, and decides what is held.
const LOOKS: Duration = Duration::from_secs(10);
/// The package: what is run in a fresh Debian, and what it leaves.
const INSTALL: &str = "apt-get -qq -y --no-install-recommends install hello";
const PACKAGE: &str = "hello";
const PROGRAM: &str = "usr/bin/hello";
/// What machines need besides the smallest Debian.
const PREPARE: &str =
    "apt-get -qq -y --no-install-recommends install systemd-sysv dbus libfaketime";
/// The agent's clock is not the machine's: containers share that.
const CLOCK: &str = "[Service]\n\
Environment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1\n\
Environment=FAKETIME_TIMESTAMP_FILE=/etc/faketimerc FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1\n";

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask prove agent\n  cargo xtask prove agent --agents 4 --seconds 60 --seed 7\n\n\
Roots are kept below target/proof, or where PACKHORSE_PROOF_DIR says."
)]
pub(crate) struct Args {
    /// How many machines.
    #[arg(long, default_value = "20", value_name = "N")]
    agents: usize,
    /// How long there is trouble.
    #[arg(long, default_value = "600", value_name = "S")]
    seconds: u64,
    /// Where the faults come from.
    #[arg(long, default_value = "1", value_name = "N")]
    seed: u64,
}

impl Args {
    /// What CI runs.
    pub(crate) fn short() -> Self {
        Self { agents: 3, seconds: 45, seed: 1 }
    }
}

/// All of it.
struct Stage {
    // Machines go before the network they are in.
    machines: Vec<Machine>,
    points: Vec<Child>,
    tree: Tree,
    /// Ids of commands that were deployed.
    commands: Vec<String>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        for point in &mut self.points {
            let _ = point.kill();
            let _ = point.wait();
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(debian::is_root(), "the proof mounts, boots and makes namespaces: run it as root");
    ensure!((1..=150).contains(&args.agents), "1 to 150 machines");
    debian::ensure(&NEEDS)?;
    workspace::build_programs()?;
    let workshop = Workshop::open()?;
    let home = workshop.runs().join("agents");
    fs::create_dir_all(&home)?;
    machine::make_room(args.agents)?;
    let mut stage = stage(&workshop, &home, args.agents)?;
    println!("{} machines are up; trouble for {} s", args.agents, args.seconds);
    let told = Trouble::new(args.seed).make(&mut stage, Duration::from_secs(args.seconds))?;
    let began = Instant::now();
    let decisions = stage.settle()?;
    let settled = began.elapsed();
    stage.restart()?;
    let runs = stage.verify()?;
    let mut text = String::from("| what | how often |\n|---|---|\n");
    for (what, count) in &told {
        text.push_str(&format!("| {what} | {count} |\n"));
    }
    text.push_str(&format!("| failures that a person had tried again | {decisions} |\n"));
    text.push_str(&format!("| runs, each reported once | {runs} |\n"));
    let head = format!(
        "{} machines, {} s of trouble, seed {}: {:.0} s after its end every client had exactly what was deployed, nothing had run twice.",
        args.agents,
        args.seconds,
        args.seed,
        settled.as_secs_f64()
    );
    println!("\n{head}\n\n{text}");
    if args.agents >= 20 && args.seconds >= 600 {
        let document = format!(
            "# Proof of agents\n\nWritten by `cargo xtask prove agent`: machines with a booted systemd each and the installed guardian and agent, a site, two distribution points behind nginx, wires of 20 Mbit/s.\n\n{head}\n\n{text}"
        );
        fs::write(workspace::root().join("docs/proof-agent.md"), document)?;
    }
    Ok(())
}

/// A real installer, captured on a fresh root.
fn captured_package(workshop: &Workshop, home: &Path) -> Result<PathBuf> {
    let packhorse = workspace::built("packhorse");
    let source = home.join("source");
    copy(&workshop.prepared("agent", PREPARE)?, &source)?;
    let project = home.join("project");
    let mut capture = command(&packhorse.to_string_lossy(), ["capture", "run", "--root"]);
    capture.arg(&source).arg("--session").arg(home.join("session")).arg("-o").arg(&project);
    for (from, to) in network_files() {
        capture.arg("--bind").arg(format!("{}:{}", from.display(), to.display()));
    }
    capture.args(["--", "env", "DEBIAN_FRONTEND=noninteractive"]);
    capture.args(network_settings().iter().map(|(name, value)| format!("{name}={value}")));
    run_quietly(capture.args(["sh", "-ec", INSTALL]).current_dir("/")).context("capture")?;
    let script = project.join("package.toml");
    let text = fs::read_to_string(&script)?;
    let name = text.lines().find_map(|line| line.strip_prefix("name = ")).context("no name")?;
    let text = text.replacen(&format!("name = {name}"), &format!("name = \"{PACKAGE}\""), 1);
    fs::write(script, text)?;
    let package = home.join("hello.package");
    let mut compile =
        command(&packhorse.to_string_lossy(), ["compile", "--fast", "--format", "package"]);
    run_quietly(compile.arg(&project).arg("-o").arg(&package)).context("compile")?;
    Ok(package)
}

/// What all machines have besides Debian: the agent, as it is installed.
fn agent_layer(home: &Path) -> Result<PathBuf> {
    let layer = home.join("agent");
    let own = layer.join("opt/packhorse-agent");
    fs::create_dir_all(own.join("versions/1"))?;
    fs::copy(workspace::built("packhorse-agent"), own.join("versions/1/packhorse-agent"))?;
    fs::copy(workspace::built("packhorse-guardian"), own.join("packhorse-guardian"))?;
    std::os::unix::fs::symlink("versions/1", own.join("current"))?;
    let units = layer.join("etc/systemd/system");
    let wanted = units.join("multi-user.target.wants");
    let unit = "packhorse-agent.service";
    fs::create_dir_all(&wanted)?;
    fs::create_dir_all(units.join(format!("{unit}.d")))?;
    fs::copy(workspace::root().join("crates/agent").join(unit), units.join(unit))?;
    fs::write(units.join(format!("{unit}.d/clock.conf")), CLOCK)?;
    std::os::unix::fs::symlink(format!("../{unit}"), wanted.join(unit))?;
    // Who is killed often is started again all the same.
    let often = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=1\n";
    fs::write(units.join(format!("{unit}.d/often.conf")), often)?;
    fs::create_dir_all(layer.join("var/ran"))?;
    Ok(layer)
}

/// A web server in front of the folder of a point.
fn web_server(network: &Network, host: usize, home: &Path, folder: &Path) -> Result<Child> {
    let at = home.join(format!("nginx-{host}"));
    fs::create_dir_all(&at)?;
    let shown = at.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {shown}/{kind};\n"))
        .concat();
    let text = format!(
        "user root;\ndaemon off;\nworker_processes 1;\npid {shown}/pid;\nerror_log {shown}/errors;\nevents {{}}\n\
         http {{\n{temporary}access_log {shown}/requests;\nserver {{\nlisten 80;\nroot {};\n}}\n}}\n",
        folder.display()
    );
    let file = at.join("nginx.conf");
    fs::write(&file, text)?;
    let mut nginx = command("nginx", ["-c"]);
    nginx.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg(file);
    nginx.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(network.spawn(host, &mut nginx)?)
}

fn stage(workshop: &Workshop, home: &Path, agents: usize) -> Result<Stage> {
    let package = captured_package(workshop, home)?;
    let debian = workshop.prepared("agent", PREPARE)?;
    let layer = agent_layer(home)?;
    let plans = vec![Plan::new("TOP", None)];
    let tree = Tree::among(&workspace::built("packhorse"), home, plans, FIRST + agents, WIRE)?;
    let mut stage = Stage { machines: Vec::new(), points: Vec::new(), tree, commands: Vec::new() };
    stage.tree.begin()?;
    // Often, so that it does not take all day.
    fs::write(stage.tree.data(SITE).join("site.toml"), "client-check-in = 10\n")?;
    stage.tree.kill(SITE, 0)?;
    stage.tree.start(SITE, 0)?;
    stage.tree.answer(SITE)?;
    for (host, name) in POINTS.into_iter().zip(["near", "far"]) {
        let folder = home.join(name);
        fs::create_dir(&folder)?;
        let read_at = format!("http://{}", Network::address(host));
        let folder_text = folder.to_string_lossy();
        stage.tree.must(SITE, &["dp", "add", name, &folder_text, "--read-at", &read_at])?;
        stage.points.push(web_server(&stage.tree.network, host, home, &folder)?);
    }
    stage.tree.must(SITE, &["publish", &package.to_string_lossy()])?;
    stage.tree.must(SITE, &["assign", PACKAGE, "--dp", "near", "--dp", "far"])?;
    stage.tree.wait(PATIENCE, "the package is at the points", || {
        Ok(stage.tree.status(SITE)?["jobs"] == 0)
    })?;
    for number in 0..agents {
        let lower = [layer.as_path(), debian.as_path()];
        let machine = Machine::new(&home.join("machines"), &lower, number, FIRST + number)?;
        stage.machines.push(machine);
        stage.connect(number);
        stage.enrol(number, home)?;
        stage.machines[number].start(&stage.tree.network)?;
    }
    for machine in &mut stage.machines {
        machine.wait_for_agent(&stage.tree.network)?;
    }
    stage.tree.must(SITE, &["deploy", PACKAGE, "--everybody"])?;
    Ok(stage)
}

impl Stage {
    /// Lays a machine's wires, or puts them right.
    fn connect(&self, machine: usize) {
        let host = self.machines[machine].host;
        self.tree.network.connect(SITE, host, WIRE);
        for (point, round_trip) in POINTS.into_iter().zip(AWAY) {
            self.tree.network.connect(point, host, Wire { round_trip, ..WIRE });
        }
    }

    /// Starts machines again that went down to be restarted.
    fn go_on(&mut self) -> Result<()> {
        let network = &self.tree.network;
        self.machines.iter_mut().try_for_each(|machine| machine.go_on(network))
    }

    /// Makes a machine a client, as an administrator would before its first start.
    fn enrol(&self, number: usize, home: &Path) -> Result<()> {
        let machine = &self.machines[number];
        let token = home.join(format!("{}.token", machine.name));
        let token_text = token.to_string_lossy();
        let at = format!("{}:7481", Network::address(SITE));
        let words = ["client", "token", "--token-to", &token_text, "--at", &at];
        self.tree.must(SITE, &words)?;
        let state = machine.root().join("var/lib/packhorse-agent");
        let mut enroll =
            command(&workspace::built("packhorse-agent").to_string_lossy(), ["enroll", "--token"]);
        enroll.arg(&token).arg("--root").arg(machine.root()).arg("--state").arg(state);
        let said = self.tree.network.inside(machine.host, || enroll.output())??;
        ensure!(said.status.success(), "{} is not enrolled: {}", machine.name, tail(&said));
        Ok(())
    }

    /// Deploys one more command that must not run twice; whether the site took it.
    fn deploy_command(&mut self) -> Result<bool> {
        let id = format!("c{:03}", self.commands.len());
        // On a full disk it fails, and has done nothing.
        let line = format!(
            "if [ -e /var/ran/{id} ]; then echo {id} >> /var/ran/twice; exit 1; fi; mkdir /var/ran/{id} && sleep {}",
            self.commands.len() % 4
        );
        let found = format!("exists(\"/var/ran/{id}\")");
        let words = ["deploy", "--id", &id, "--everybody", "--detect", &found, "--shell", &line];
        // A site that was killed takes nothing; one that took it and was killed then has it.
        let said = self.tree.say(SITE, &words)?;
        let text = tail(&said);
        let is_taken = said.status.success() || text.contains("there is a deployment");
        if is_taken {
            self.commands.push(id);
        }
        Ok(is_taken)
    }

    /// Deploys a command after which every machine restarts by itself, once.
    fn restart(&mut self) -> Result<()> {
        let id = "restart".to_owned();
        let before: Vec<usize> = self.machines.iter().map(|machine| machine.starts).collect();
        let line = format!("mkdir /var/ran/{id} || exit 1; exit 9");
        let words = ["deploy", "--id", &id, "--everybody", "--exit", "9=restart"];
        let more = ["--restart", "if-asked", "--countdown", "2", "--shell", &line];
        self.tree.must(SITE, &[&words[..], &more].concat())?;
        self.commands.push(id);
        let began = Instant::now();
        let restarted = |stage: &Self| -> Vec<usize> {
            let machines = stage.machines.iter().zip(&before);
            machines.map(|(machine, before)| machine.starts - before).collect()
        };
        while restarted(self).contains(&0) {
            ensure!(began.elapsed() < PATIENCE, "not restarted: {:?}", restarted(self));
            self.go_on()?;
            std::thread::park_timeout(Duration::from_millis(100));
        }
        for machine in &mut self.machines {
            machine.wait_for_agent(&self.tree.network)?;
        }
        self.settle()?;
        // Who restarts because the tables say so does it once.
        ensure!(restarted(self).iter().all(|times| *times == 1), "{:?}", restarted(self));
        Ok(())
    }

    /// Everything that was deployed, and how it goes.
    fn deployments(&self) -> Result<Vec<Value>> {
        let said = self.tree.say(SITE, &["deployment", "list", "--json"])?;
        let all: Value = serde_json::from_slice(&said.stdout).with_context(|| tail(&said))?;
        Ok(all.as_array().context("no list")?.clone())
    }

    /// Waits until everything is done everywhere. What was cut off, and nobody can find out, somebody decides: how often.
    fn settle(&mut self) -> Result<u64> {
        if !self.tree.dead()?.is_empty() {
            self.tree.start(SITE, 0)?;
        }
        self.tree.answer(SITE)?;
        for number in 0..self.machines.len() {
            if !self.machines[number].is_on() {
                self.machines[number].start(&self.tree.network)?;
            }
            let _ = fs::remove_file(self.machines[number].ballast());
            self.machines[number].set_clock(0)?;
            self.connect(number);
        }
        for machine in &mut self.machines {
            machine.wait_for_agent(&self.tree.network)?;
        }
        let clients = self.machines.len() as u64;
        let (began, mut decisions) = (Instant::now(), 0);
        loop {
            self.go_on()?;
            let all = self.deployments()?;
            let open: Vec<&Value> = all.iter().filter(|one| one["done"] != clients).collect();
            if open.is_empty() && all.len() == self.commands.len() + 1 {
                return Ok(decisions);
            }
            if began.elapsed() > PATIENCE {
                let machines: Vec<String> = self
                    .machines
                    .iter()
                    .map(|one| {
                        let status =
                            one.run(&["/opt/packhorse-agent/current/packhorse-agent", "status"]);
                        let status =
                            status.ok().flatten().map(|said| tail(&said)).unwrap_or_default();
                        format!("{}: {status}\n{}", one.name, one.told())
                    })
                    .collect();
                bail!("not done: {open:#?}\n{}", machines.join("\n"));
            }
            for one in open.iter().filter(|one| one["failed"] != 0) {
                let id = one["deployment"].as_str().context("no id")?;
                decisions += one["failed"].as_u64().unwrap_or(0);
                // What went on in spite of it is not halted.
                let said = self.tree.say(SITE, &["deployment", "resume", id])?;
                let is_on = said.status.success() || tail(&said).contains("nothing to resume");
                ensure!(is_on, "{id}: {}", tail(&said));
                self.tree.must(SITE, &["deployment", "retry", id])?;
            }
            std::thread::park_timeout(LOOKS);
        }
    }

    /// Holds every machine and every word about it against what was deployed. How many runs there were.
    fn verify(&self) -> Result<u64> {
        let mut runs = 0;
        for machine in &self.machines {
            let name = &machine.name;
            let ran = machine.root().join("var/ran");
            if let Ok(twice) = fs::read_to_string(ran.join("twice")) {
                bail!("on {name} these ran twice: {twice}");
            }
            for id in &self.commands {
                ensure!(ran.join(id).is_dir(), "on {name} `{id}` did not run, and is said to");
            }
            ensure!(machine.root().join(PROGRAM).is_file(), "{name} has no {PROGRAM}");
            let mut verify =
                command(&workspace::built("packhorse").to_string_lossy(), ["verify", PACKAGE]);
            run_quietly(verify.arg("--root").arg(machine.root())).context(name.clone())?;
            let said = self.tree.say(SITE, &["client", "show", name, "--json"])?;
            let shown: Value = serde_json::from_slice(&said.stdout).with_context(|| tail(&said))?;
            let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
            for message in shown["messages"].as_array().context("no messages")? {
                if message["word"] == "done" {
                    *ends.entry(message["run"].as_str().unwrap_or_default()).or_default() += 1;
                }
            }
            let several: Vec<_> = ends.iter().filter(|(_, count)| **count != 1).collect();
            ensure!(several.is_empty(), "of {name} the end was told more than once: {several:?}");
            ensure!(
                ends.len() == self.commands.len() + 1,
                "of {name} {} ends were told, and {} things deployed: {ends:?}",
                ends.len(),
                self.commands.len() + 1
            );
            runs += ends.len() as u64;
        }
        Ok(runs)
    }
}
