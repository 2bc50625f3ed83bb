//! What an agent costs that has nothing to do: on its machine; at its site, beside nginx, which says 304 to the same program; and
//! what a site needs that knows very many.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use deployment::CommandLine;
use serde_json::Value;
use site::{Client, Folder, NewDeployment, Record, RecordKind, Sqlite, Storage, Target};
use tempfile::TempDir;

use super::Row;
use crate::{
    bench::built,
    command::{command, output, run, run_quietly},
    debian, workspace,
};

const NEEDS: [debian::Need; 4] =
    [("nginx", "nginx-light"), ("curl", "curl"), ("openssl", "openssl"), ("ss", "iproute2")];
/// What has not happened by then does not happen.
const PATIENCE: Duration = Duration::from_mins(2);
/// Check-ins of each turn, by a program that does nothing else.
const CHECK_INS: u32 = 20_000;
/// Turns each server has; medians count.
const TURNS: usize = 3;
/// Seconds of fresh handshakes in each turn.
const HANDSHAKES: u32 = 5;
/// Check-ins of the agent itself, whose bytes are counted.
const ASKED: u32 = 50;
/// How long an agent with nothing to do is watched.
const WATCHED: Duration = Duration::from_mins(2);
/// Packages on the machine of the agent.
const PACKAGES: usize = 200;
/// Collections of the site that knows very many clients.
const COLLECTIONS: u32 = 100;
/// Clients that are written at once.
const AT_ONCE: u32 = 2_000;
/// Seconds between check-ins, as sites have it unless told otherwise.
const BETWEEN: f64 = 300.0;

/// One of the agent's programs, as machines get it.
fn shipped(name: &str) -> Result<PathBuf> {
    Ok(crate::shipped::folder()?.join(name))
}

/// A process that ends with us.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Result<Self> {
        let words = crate::command::words(command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Ok(Self(child.with_context(|| format!("cannot start `{words}`"))?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = run_quietly(&mut command("kill", [self.0.id().to_string()]));
        let _ = self.0.wait();
    }
}

/// Asks again and again until there is an answer.
fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        ensure!(began.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// A site with one agent.
struct Stage {
    home: TempDir,
    link: SocketAddr,
    site: Option<Process>,
    agent: Option<Process>,
}

impl Stage {
    fn new() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let link = testkit::free_address();
        let stage = Self { home, link, site: None, agent: None };
        let data = stage.path("site");
        let program = built("packhorse");
        run_quietly(
            command(&program.to_string_lossy(), ["site", "init", "TOP", "--data"]).arg(&data),
        )?;
        Ok(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn folder(&self) -> Folder {
        Folder::new(&self.path("site"))
    }

    fn serve(&mut self) -> Result<Client> {
        self.site = None;
        let folder = self.folder();
        let _ = fs::remove_file(folder.address());
        let log = fs::File::create(self.path("log"))?;
        let link = self.link.to_string();
        let words = ["site", "serve", "--listen", "127.0.0.1:0", "--link", &link, "--data"];
        let mut serve = command(&built("packhorse").to_string_lossy(), words);
        self.site = Some(Process::start(serve.arg(self.path("site")).stderr(log))?);
        until("the site answers", || {
            Client::local(&folder).ok().filter(|client| client.status().is_ok())
        })
    }

    fn site_pid(&self) -> u32 {
        self.site.as_ref().map_or(0, |site| site.0.id())
    }

    /// Words of the agent, where its root and its state are.
    fn agent(&self, words: &[&str]) -> Result<Command> {
        let mut agent = command(&shipped("packhorse-agent")?.to_string_lossy(), words);
        agent.arg("--state").arg(self.path("state"));
        Ok(agent)
    }

    /// Makes a machine a client.
    fn enrol(&self, client: &Client) -> Result<()> {
        let dpkg = self.path("root/var/lib/dpkg");
        fs::create_dir_all(&dpkg)?;
        let mut status = String::new();
        for number in 0..PACKAGES {
            writeln!(
                status,
                "Package: package-{number}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.{number}-2\n"
            )?;
        }
        fs::write(dpkg.join("status"), status)?;
        let token = client.client_token(None, None, Some(&self.link.to_string()))?;
        let file = self.path("token");
        fs::write(&file, serde_json::to_vec(&token)?)?;
        let mut enroll = self.agent(&["enroll"])?;
        run_quietly(enroll.arg("--token").arg(file).arg("--root").arg(self.path("root")))
    }

    /// Has the guardian start the agent, and waits until it has said what there is to say.
    fn run_agent(&mut self) -> Result<()> {
        let version = self.path("home/versions/1");
        fs::create_dir_all(&version)?;
        fs::copy(shipped("packhorse-agent")?, version.join("packhorse-agent"))?;
        std::os::unix::fs::symlink("versions/1", self.path("home/current"))?;
        let mut guardian = command(&shipped("packhorse-guardian")?.to_string_lossy(), ["--"; 0]);
        guardian.arg(self.path("home")).args(["run", "--root"]).arg(self.path("root"));
        guardian.arg("--state").arg(self.path("state")).stderr(Stdio::null());
        self.agent = Some(Process::start(&mut guardian)?);
        until("the agent has checked in", || {
            let status = self.agent_status().ok()?;
            (status["asked"].is_u64() && status["messages"] == 0).then_some(())
        })
    }

    fn agent_status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&output(&mut self.agent(&["status", "--json"])?)?)?)
    }

    fn agent_pid(&self) -> Result<u32> {
        let pid = self.agent_status()?["process"].as_u64().context("no agent runs")?;
        Ok(u32::try_from(pid)?)
    }
}

/// A figure of `/proc/PID/smaps_rollup`, in MiB.
fn memory(pid: u32, key: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).context("no figure")?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes / 1024.0)
}

/// What a process has used up to now, over all its threads.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// Times it began to run after it had waited.
    wakes: u64,
    cpu: Duration,
    /// Bytes written to disks.
    written: u64,
}

impl Used {
    fn of(pid: u32) -> Result<Self> {
        let mut used = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            let status = fs::read_to_string(task.join("status"))?;
            let switches =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            used.wakes += switches.context("no switches")?.trim().parse::<u64>()?;
            let times = fs::read_to_string(task.join("schedstat"))?;
            let nanoseconds = times.split_whitespace().next().context("no times")?;
            used.cpu += Duration::from_nanos(nanoseconds.parse()?);
        }
        let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
        used.written = written.context("no bytes")?.trim().parse()?;
        Ok(used)
    }

    fn all(pids: &[u32]) -> Result<Self> {
        let mut all = Self::default();
        for pid in pids {
            let one = Self::of(*pid)?;
            all.wakes += one.wakes;
            all.cpu += one.cpu;
            all.written += one.written;
        }
        Ok(all)
    }
}

/// The time a process has used processors; threads that have ended count, too.
fn processor_time(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("no name")?;
    let mut fields = rest.split(' ').skip(11);
    let mut next = || -> Result<u64> { Ok(fields.next().context("no time")?.parse()?) };
    let ticks = next()? + next()?;
    Ok(Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second()))
}

/// All rows.
pub(super) fn rows(clients: u32) -> Result<Vec<Row>> {
    debian::ensure(&NEEDS)?;
    let site = ["build", "--quiet", "--release", "--package", "cli"];
    run(command(&workspace::cargo(), site).current_dir(workspace::root()))?;
    crate::shipped::build()?;
    let mut stage = Stage::new()?;
    let client = stage.serve()?;
    stage.enrol(&client)?;
    stage.run_agent()?;
    let mut rows = idle(&stage)?;
    rows.extend(at_the_site(&stage)?);
    rows.push(many(&mut stage, &client, clients)?);
    Ok(rows)
}

/// The agent and its guardian, with nothing to do.
fn idle(stage: &Stage) -> Result<Vec<Row>> {
    let agent = stage.agent_pid()?;
    let guardian = stage.agent.as_ref().context("no guardian")?.0.id();
    // The one that calls the site is a child of the agent's.
    let mut pids = vec![guardian, agent];
    pids.extend(children(agent)?);
    // The next check-in is as far away as can be.
    let ask = |times: u32| -> Result<()> {
        for _ in 0..times {
            run_quietly(&mut stage.agent(&["check-in"])?)?;
        }
        until("it is at rest", || {
            let before = Used::all(&pids).ok()?;
            std::thread::park_timeout(Duration::from_secs(2));
            (Used::all(&pids).ok()?.wakes == before.wakes).then_some(())
        })
    };
    ask(1)?;
    let before = Used::all(&pids)?;
    std::thread::park_timeout(WATCHED);
    let after = Used::all(&pids)?;
    let (wakes, written) = (after.wakes - before.wakes, after.written - before.written);
    let (sent, received) = carried(&pids, stage.link)?;
    let began = Used::all(&pids)?;
    ask(ASKED)?;
    let asked = Used::all(&pids)?.cpu.saturating_sub(began.cpu).as_secs_f64() / f64::from(ASKED);
    let (sent_after, received_after) = carried(&pids, stage.link)?;
    let each = |bytes: u64| bytes as f64 / f64::from(ASKED);
    let (sent, received) = (each(sent_after - sent), each(received_after - received));
    let still = after.cpu.saturating_sub(before.cpu).as_secs_f64() / WATCHED.as_secs_f64();
    let day = 86_400.0 * still + 86_400.0 / BETWEEN * asked;
    let mut proportional = 0.0;
    let mut most = 0.0_f64;
    for &pid in &pids {
        proportional += memory(pid, "Pss:")?;
        most = most.max(memory(pid, "Anonymous:")?);
    }
    let size = fs::metadata(shipped("packhorse-agent")?)?.len() as f64 / 1e6;
    Ok(vec![
        Row {
            what: "memory of an idle agent, all its processes",
            measured: format!(
                "{proportional:.1} MiB proportional in {} processes, {most:.1} MiB anonymous in the largest",
                pids.len()
            ),
            bar: "≤ 10 MiB, ≤ 3 MiB",
            met: proportional <= 10.0 && most <= 3.0,
        },
        Row {
            what: "an idle agent between check-ins",
            measured: format!(
                "woken {wakes} times and {written} bytes written in {} s; {day:.2} s of a processor a day, {:.2} ms a check-in",
                WATCHED.as_secs(),
                asked * 1e3
            ),
            bar: "0, 0, ≤ 1 s",
            met: wakes == 0 && written == 0 && day <= 1.0,
        },
        Row {
            what: "size of the agent",
            measured: format!("{size:.1} MB"),
            bar: "≤ 8 MB",
            met: size <= 8.0,
        },
        Row {
            what: "bytes of a check-in without news, on a kept connection",
            measured: format!("{sent:.0} up, {received:.0} down"),
            bar: "≤ 300 each",
            met: sent <= 300.0 && received <= 300.0,
        },
    ])
}

/// The processes one has started that still run.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for task in fs::read_dir(format!("/proc/{parent}/task"))? {
        let text = fs::read_to_string(task?.path().join("children"))?;
        for word in text.split_whitespace() {
            all.push(word.parse()?);
        }
    }
    Ok(all)
}

/// Bytes the agent's connection to its site has carried: up, and down.
fn carried(pids: &[u32], link: SocketAddr) -> Result<(u64, u64)> {
    let filter = format!("dport = :{}", link.port());
    let text = output(&mut command("ss", ["-tinpHO", "state", "established", &filter]))?;
    let own: Vec<String> = pids.iter().map(|pid| format!("pid={pid},")).collect();
    let is_own = |line: &&str| own.iter().any(|own| line.contains(own));
    let line = text.lines().find(is_own).context("no connection")?;
    let figure = |key: &str| -> Result<u64> {
        let word = line.split_whitespace().find_map(|word| word.strip_prefix(key));
        Ok(word.with_context(|| format!("no {key}"))?.parse()?)
    };
    Ok((figure("bytes_sent:")?, figure("bytes_received:")?))
}

/// An nginx with one worker that says 304 to the same question, over the same TLS.
struct Nginx {
    _process: Process,
    address: SocketAddr,
    worker: u32,
}

impl Nginx {
    fn start(stage: &Stage) -> Result<Self> {
        let folder = stage.path("nginx");
        let page = folder.join("link/1/client");
        fs::create_dir_all(&page)?;
        fs::write(page.join("policy"), b"nothing new")?;
        let address = testkit::free_address();
        let at = folder.display();
        let mut make = command(
            "openssl",
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
        );
        make.args(["-days", "2", "-subj", "/CN=peer", "-keyout"]);
        make.arg(folder.join("key")).arg("-out").arg(folder.join("certificate"));
        run_quietly(&mut make)?;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
            .concat();
        let authority = stage.path("state/line/authority.pem");
        let user = if debian::is_root() { "user root;" } else { "" };
        let text = format!(
            "{user}\ndaemon off;\nworker_processes 1;\npid {at}/pid;\nerror_log {at}/errors;\nevents {{}}\nhttp {{\n{temporary}\
             access_log off;\nserver {{\nlisten {address} ssl http2;\nroot {at};\nkeepalive_requests 1000000;\n\
             ssl_protocols TLSv1.3;\nssl_certificate {at}/certificate;\nssl_certificate_key {at}/key;\n\
             ssl_client_certificate {};\nssl_verify_client on;\n}}\n}}\n",
            authority.display()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text)?;
        let mut nginx = command("nginx", ["-c"]);
        nginx.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").arg(file);
        let process = Process::start(nginx.stderr(Stdio::null()))?;
        let children = format!("/proc/{0}/task/{0}/children", process.0.id());
        let worker = until("nginx listens", || {
            std::net::TcpStream::connect(address).ok()?;
            fs::read_to_string(&children).ok()?.split_whitespace().next()?.parse().ok()
        })?;
        Ok(Self { _process: process, address, worker })
    }
}

/// Who says 304.
struct Server {
    pid: u32,
    address: SocketAddr,
    host: String,
    tag: String,
}

impl Server {
    /// The question of an agent, asked by another program.
    fn curl(&self, own: &Path, range: &str) -> Command {
        let Self { address, host, .. } = self;
        let url = format!("https://{host}:{}/link/1/client/policy{range}", address.port());
        let mut curl = command("curl", ["--silent", "--http2", "--insecure", "--cert"]);
        curl.arg(own).arg("--key").arg(own).arg("--resolve");
        curl.arg(format!("{host}:{}:{}", address.port(), address.ip()));
        // A number for each: what counts of a question is before it.
        curl.args(["--header", "series: 1f2e3d4c5b6a7988", "--header", "boot: 8f2e3d4c5b6a7911"]);
        curl.arg(url);
        curl
    }

    /// Processor time of one check-in without news, on a connection that is kept.
    fn check_ins(&self, own: &Path) -> Result<Duration> {
        let before = processor_time(self.pid)?;
        let mut curl = self.curl(own, &format!("?[1-{CHECK_INS}]"));
        curl.args(["--header", &format!("if-none-match: {}", self.tag)]);
        curl.args(["--output", "/dev/null", "--write-out", "%{http_code} %{num_connects}\n"]);
        let said = output(&mut curl)?;
        let used = processor_time(self.pid)?.saturating_sub(before);
        let unchanged = said.lines().filter(|line| line.starts_with("304 ")).count();
        let made: u32 = said.lines().filter_map(|line| line[4..].parse::<u32>().ok()).sum();
        ensure!(
            unchanged == CHECK_INS as usize,
            "only {unchanged} of {CHECK_INS} were answered 304"
        );
        ensure!(made == 1, "{made} connections, and one was to be kept");
        Ok(used / CHECK_INS)
    }

    /// Processor time of a handshake that knows nothing of one before.
    fn handshakes(&self, own: &Path) -> Result<Duration> {
        let before = processor_time(self.pid)?;
        let to = self.address.to_string();
        let time = HANDSHAKES.to_string();
        let mut client = command("openssl", ["s_time", "-connect", &to, "-new", "-time", &time]);
        let said = output(client.arg("-cert").arg(own).arg("-key").arg(own))?;
        let used = processor_time(self.pid)?.saturating_sub(before);
        let line = said.lines().find(|line| line.contains("connections in"));
        let count = line.and_then(|line| line.split(' ').next()?.parse::<u32>().ok());
        let count = count.filter(|count| *count > 100).with_context(|| said.clone())?;
        Ok(used / count)
    }
}

/// What one question costs a server, and one handshake.
fn at_the_site(stage: &Stage) -> Result<Vec<Row>> {
    let nginx = Nginx::start(stage)?;
    let host = deployment::site_host_name(&policy::SiteCode::new("TOP")?);
    let own = stage.path("state/line/own.pem");
    let ask = |server: &Server| -> Result<PathBuf> {
        let to = stage.path("answer");
        let mut curl = server.curl(&own, "");
        run_quietly(curl.arg("--dump-header").arg(stage.path("headers")).arg("-o").arg(&to))?;
        Ok(to)
    };
    let mut ours = Server { pid: stage.site_pid(), address: stage.link, host, tag: String::new() };
    let document = fs::read(ask(&ours)?)?;
    let (_, content) = deployment::content_of(&document).context("no policy document came")?;
    ours.tag = format!("\"{content}\"");
    let host = "peer".to_owned();
    let mut theirs = Server { pid: nginx.worker, address: nginx.address, host, tag: String::new() };
    ask(&theirs)?;
    let headers = fs::read_to_string(stage.path("headers"))?;
    let tag = headers.lines().find_map(|line| line.strip_prefix("etag: "));
    tag.context("nginx names no state of its file")?.trim().clone_into(&mut theirs.tag);
    let (mut asked, mut shaken) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..TURNS {
        for (number, server) in [&ours, &theirs].into_iter().enumerate() {
            asked[number].push(server.check_ins(&own)?);
            shaken[number].push(server.handshakes(&own)?);
        }
    }
    let [ours, theirs] = asked.map(crate::bench::median);
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    let [our_shake, their_shake] = shaken.map(crate::bench::median);
    let shake = their_shake.as_secs_f64() / our_shake.as_secs_f64();
    let micro = |time: Duration| time.as_secs_f64() * 1e6;
    Ok(vec![
        Row {
            what: "a check-in without news, at the site",
            measured: format!(
                "{:.1} µs of a processor; nginx says 304 in {:.1} µs: {ratio:.2}",
                micro(ours),
                micro(theirs)
            ),
            bar: "≤ 50 µs, ≥ 0.5 of nginx",
            met: micro(ours) <= 50.0 && ratio >= 0.5,
        },
        Row {
            what: "a fresh handshake, both with certificates",
            measured: format!(
                "{:.0} µs of a processor; nginx {:.0} µs: {shake:.2}",
                micro(our_shake),
                micro(their_shake)
            ),
            bar: "≥ 0.7 of nginx",
            met: shake >= 0.7,
        },
    ])
}

/// What a site needs that knows very many clients, each with what is on it, and has one thing deployed to all.
fn many(stage: &mut Stage, client: &Client, clients: u32) -> Result<Row> {
    for number in 0..COLLECTIONS {
        client.save_collection(&super::spec(number))?;
    }
    client.deploy(&NewDeployment {
        id: "all".to_owned(),
        command: Some(CommandLine::Direct(vec!["/bin/true".to_owned()])),
        target: Target { everybody: true, ..Target::default() },
        ..NewDeployment::default()
    })?;
    until("what is deployed is done", || {
        let all = client.deployments().ok()?;
        all.iter().any(|one| one.done == 1).then_some(())
    })?;
    (stage.agent, stage.site) = (None, None);
    let mut storage = Sqlite::open(&stage.folder().database())?;
    let mut known = storage.records(0)?.number;
    let mut first = Vec::new();
    for kind in [RecordKind::Client, RecordKind::Inventory, RecordKind::Offer] {
        first.extend(storage.records_of(kind, "")?);
    }
    let one = first.first().context("no client")?.name.clone();
    let each: usize = first.iter().map(|record| record.body.as_ref().map_or(0, Vec::len)).sum();
    let mut next = 1;
    while next < clients {
        let turn = next..clients.min(next + AT_ONCE);
        next = turn.end;
        let all = turn.flat_map(|number| first.iter().map(move |record| (number, record)));
        let all: Result<Vec<_>> = all.map(|(number, record)| image(record, &one, number)).collect();
        known = storage.record(known, &all?)?;
    }
    drop(storage);
    let began = Instant::now();
    let client = stage.serve()?;
    let starting = began.elapsed();
    let known = client.deployments()?.iter().map(|one| one.clients).sum::<u64>();
    ensure!(known == u64::from(clients), "it knows {known} clients of {clients}");
    let (rss, anonymous) =
        (memory(stage.site_pid(), "Rss:")?, memory(stage.site_pid(), "Anonymous:")?);
    Ok(Row {
        what: "memory of a site that knows all clients",
        measured: format!(
            "{clients} of them with {PACKAGES} packages each ({:.1} kB a client in its tables), {COLLECTIONS} collections, one deployment: {rss:.0} MiB, of them {anonymous:.0} MiB anonymous; it answers {:.1} s after its start",
            each as f64 / 1e3,
            starting.as_secs_f64()
        ),
        bar: "≤ 1 GiB",
        met: rss <= 1024.0,
    })
}

/// The same of another client.
fn image(record: &Record, one: &str, number: u32) -> Result<Record> {
    let other = blake3::hash(&number.to_le_bytes()).to_hex().to_string();
    let name = record.name.replace(one, &other[..one.len()]);
    ensure!(name != record.name, "`{}` is of no client", record.name);
    let mut body = record.body.clone();
    if record.kind == RecordKind::Client {
        let mut row: Value = serde_json::from_slice(&body.unwrap_or_default())?;
        // Nobody has the key of somebody else.
        row["keys"][0]["key"] = Value::from(other);
        row["name"] = Value::from(format!("machine-{number}"));
        body = Some(serde_json::to_vec(&row)?);
    }
    Ok(Record { kind: record.kind, name, body })
}
