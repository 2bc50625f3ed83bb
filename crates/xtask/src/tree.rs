//! Sites as processes on hosts of their own, joined by thin wires.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use testkit::{Network, Wire};

use crate::command::tail;

/// Where the processes of a site listen for children: each ten above the one before.
const LINK: u16 = 7481;
/// Where they listen for people.
const API: u16 = 7480;
/// A site that does not answer by then does not work.
const PATIENCE: Duration = Duration::from_mins(1);

/// A site, as it is to be.
pub(crate) struct Plan {
    pub(crate) code: &'static str,
    /// The number of its parent.
    pub(crate) parent: Option<usize>,
    /// How many processes it has.
    pub(crate) processes: usize,
    /// An empty database for its tables, if they are to be in PostgreSQL.
    pub(crate) database: Option<String>,
    /// The bucket with its own copies; then each process has a folder of its own, as on a machine of its own.
    pub(crate) store: Option<String>,
    environment: Vec<(String, String)>,
}

impl Plan {
    /// A site with one process and its own file.
    pub(crate) fn new(code: &'static str, parent: Option<usize>) -> Self {
        Self { code, parent, processes: 1, database: None, store: None, environment: Vec::new() }
    }
}

/// A site on its host.
struct Host {
    plan: Plan,
    data: PathBuf,
    processes: Vec<Option<Child>>,
}

/// A tree of sites; site number `n` is on host `n`.
pub(crate) struct Tree {
    pub(crate) network: Network,
    program: PathBuf,
    home: PathBuf,
    hosts: Vec<Host>,
}

impl Tree {
    /// Hosts without anything on them, and a wire from each to its parent.
    pub(crate) fn new(program: &Path, home: &Path, plans: Vec<Plan>, wire: Wire) -> Result<Self> {
        let hosts = plans.len();
        Self::among(program, home, plans, hosts, wire)
    }

    /// The same, and more hosts, which nothing connects.
    pub(crate) fn among(
        program: &Path,
        home: &Path,
        plans: Vec<Plan>,
        hosts: usize,
        wire: Wire,
    ) -> Result<Self> {
        let network = Network::of(hosts).context("namespaces")?;
        for (number, plan) in plans.iter().enumerate() {
            if let Some(parent) = plan.parent {
                network.connect(parent, number, Wire { seed: wire.seed + number as u64, ..wire });
            }
        }
        let hosts = plans.into_iter().map(|plan| {
            let processes = (0..plan.processes).map(|_| None).collect();
            Host { data: home.join(plan.code), plan, processes }
        });
        let hosts = hosts.collect();
        Ok(Self { network, program: program.to_owned(), home: home.to_owned(), hosts })
    }

    /// Makes the sites, enrols each with its parent and starts all processes.
    pub(crate) fn begin(&mut self) -> Result<()> {
        for site in 0..self.hosts.len() {
            let Plan { code, parent, database, store, .. } = &self.hosts[site].plan;
            let (code, parent) = (*code, *parent);
            let mut words = vec!["init", code];
            let (database, store) = (database.clone(), store.clone());
            words.extend(database.iter().flat_map(|url| ["--database", url]));
            words.extend(store.iter().flat_map(|url| ["--store", url]));
            self.must(site, &words)?;
            if store.is_some() {
                for process in 1..self.hosts[site].processes.len() {
                    let data = self.data_of(site, process);
                    let data = data.to_string_lossy();
                    let mut words = vec!["site", "init", "--join", "--data", &data];
                    words.extend(database.iter().flat_map(|url| ["--database", url]));
                    let output = self.packhorse(site, &words)?;
                    ensure!(output.status.success(), "{code} is not joined: {}", tail(&output));
                }
            }
            if let Some(parent) = parent {
                let token = self.home.join(format!("{code}.token"));
                let token = token.to_string_lossy();
                self.must(parent, &["child", "add", code, "--token-to", &token])?;
                let address = Network::address(parent);
                let addresses: Vec<String> = (0..self.hosts[parent].processes.len())
                    .map(|process| format!("{address}:{}", port(LINK, process)))
                    .collect();
                self.must(site, &["attach", "--parent", &addresses.join(","), "--token", &token])?;
            }
            for process in 0..self.hosts[site].processes.len() {
                self.start(site, process)?;
                self.answer(site)?;
            }
        }
        Ok(())
    }

    /// How many there are.
    pub(crate) fn sites(&self) -> usize {
        self.hosts.len()
    }

    /// How many processes a site has.
    pub(crate) fn processes(&self, site: usize) -> usize {
        self.hosts[site].processes.len()
    }

    /// The site above.
    pub(crate) fn parent(&self, site: usize) -> Option<usize> {
        self.hosts[site].plan.parent
    }

    /// A site's code.
    pub(crate) fn code(&self, site: usize) -> &'static str {
        self.hosts[site].plan.code
    }

    /// A site's folder.
    pub(crate) fn data(&self, site: usize) -> &Path {
        &self.hosts[site].data
    }

    /// The folder of a process.
    pub(crate) fn data_of(&self, site: usize, process: usize) -> PathBuf {
        let host = &self.hosts[site];
        match process {
            1.. if host.plan.store.is_some() => {
                host.data.with_file_name(self.folder_name(site, process))
            }
            _ => host.data.clone(),
        }
    }

    fn folder_name(&self, site: usize, process: usize) -> String {
        format!("{}-{process}", self.code(site))
    }

    /// What a site's processes find in their environment from their next start on.
    pub(crate) fn set_environment(&mut self, site: usize, environment: Vec<(String, String)>) {
        self.hosts[site].plan.environment = environment;
    }

    fn command(&self, site: usize, words: &[&str]) -> Command {
        let host = &self.hosts[site];
        let mut command = Command::new(&self.program);
        command.args(words).envs(host.plan.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What `packhorse` with these words does on a site's host.
    pub(crate) fn packhorse(&self, site: usize, words: &[&str]) -> Result<Output> {
        let mut command = self.command(site, words);
        Ok(self.network.inside(site, || command.output())??)
    }

    /// What `packhorse site` with these words answers.
    pub(crate) fn say(&self, site: usize, words: &[&str]) -> Result<Output> {
        // Whoever asks does so on a machine where a process lives, if there is one.
        let processes = &self.hosts[site].processes;
        let living = processes.iter().position(Option::is_some).unwrap_or_default();
        let data = self.data_of(site, living);
        let data = data.to_string_lossy();
        let words: Vec<&str> =
            ["site"].into_iter().chain(words.iter().copied()).chain(["--data", &data]).collect();
        self.packhorse(site, &words)
    }

    /// The same; it must succeed, or have had nothing to do.
    pub(crate) fn must(&self, site: usize, words: &[&str]) -> Result<()> {
        let output = self.say(site, words)?;
        match output.status.code() {
            Some(0 | 9) => Ok(()),
            _ => bail!(
                "{}: packhorse site {}: {}\n{}",
                self.code(site),
                words.join(" "),
                output.status,
                tail(&output)
            ),
        }
    }

    /// What a site says of itself.
    pub(crate) fn status(&self, site: usize) -> Result<Value> {
        let output = self.say(site, &["status", "--json"])?;
        serde_json::from_slice(&output.stdout).with_context(|| tail(&output))
    }

    /// Starts a process of a site.
    pub(crate) fn start(&mut self, site: usize, process: usize) -> Result<()> {
        let data = self.data_of(site, process).to_string_lossy().into_owned();
        let listen = format!("127.0.0.1:{}", port(API, process));
        let link = format!("0.0.0.0:{}", port(LINK, process));
        let words = ["site", "serve", "--data", &data, "--listen", &listen, "--link", &link];
        let mut command = self.command(site, &words);
        let log = self.home.join(format!("{}-{process}.log", self.code(site)));
        let log = fs::OpenOptions::new().create(true).append(true).open(log)?;
        command.stdout(Stdio::null()).stderr(log);
        let child = self.network.spawn(site, &mut command)?;
        self.hosts[site].processes[process] = Some(child);
        Ok(())
    }

    /// Kills a process of a site at once; whether it lived.
    pub(crate) fn kill(&mut self, site: usize, process: usize) -> Result<bool> {
        let Some(mut child) = self.hosts[site].processes[process].take() else { return Ok(false) };
        child.kill()?;
        child.wait()?;
        Ok(true)
    }

    /// Processes that were killed, or ended by themselves.
    pub(crate) fn dead(&mut self) -> Result<Vec<(usize, usize)>> {
        let mut dead = Vec::new();
        for (site, host) in self.hosts.iter_mut().enumerate() {
            for (process, child) in host.processes.iter_mut().enumerate() {
                let lives = match child {
                    Some(child) => child.try_wait()?.is_none(),
                    None => false,
                };
                if !lives {
                    dead.push((site, process));
                }
            }
        }
        Ok(dead)
    }

    /// The number of a process.
    pub(crate) fn pid(&self, site: usize, process: usize) -> Option<u32> {
        self.hosts[site].processes[process].as_ref().map(Child::id)
    }

    /// Waits until a site answers.
    pub(crate) fn answer(&self, site: usize) -> Result<()> {
        self.wait(PATIENCE, &format!("{} answers", self.code(site)), || {
            Ok(self.say(site, &["retry"])?.status.success())
        })
    }

    /// Waits until something is so; else says what each site says of itself.
    pub(crate) fn wait(
        &self,
        patience: Duration,
        what: &str,
        is_so: impl Fn() -> Result<bool>,
    ) -> Result<()> {
        let began = Instant::now();
        while !is_so()? {
            ensure!(began.elapsed() < patience, "not within {patience:?}: {what}\n{}", self.tell());
            // Asking takes the processor from what is waited for: the longer it takes, the less often.
            std::thread::park_timeout(Duration::from_millis(100).max(began.elapsed() / 300));
        }
        Ok(())
    }

    /// The ends of all logs, and then what each site says of itself: the last lines tell most.
    fn tell(&self) -> String {
        let logs = (0..self.hosts.len()).flat_map(|site| {
            (0..self.processes(site)).map(move |process| {
                let name = format!("{}-{process}.log", self.code(site));
                let text = fs::read_to_string(self.home.join(&name)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                format!("{name}\n{}\n", lines[lines.len().saturating_sub(12)..].join("\n"))
            })
        });
        let statuses = (0..self.hosts.len()).rev().map(|site| {
            let said = self.say(site, &["status"]);
            let said = said.map_or_else(|error| error.to_string(), |output| tail(&output));
            format!("{said}\n")
        });
        logs.chain(statuses).collect()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for child in self.hosts.iter_mut().flat_map(|host| &mut host.processes).flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn port(first: u16, process: usize) -> u16 {
    first + 10 * u16::try_from(process).unwrap_or_default()
}
