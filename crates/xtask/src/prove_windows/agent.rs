//! The agent as a Windows service, and a site on Linux which it calls: deployed, killed on the way, told once, taken off.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    IDLE, Proof, installers,
    picture::{Picture, expect_same},
    wine::{run_in, screen, settle, wine},
};
use crate::{
    command::{captured, command, output, run_quietly, tail},
    windows,
};

/// What is captured and deployed.
const INSTALLER: &str = "example2";
const SLOW: &str = include_str!("../../windows/slow.c");
const STARTER: &str = include_str!("../../windows/starter.c");
const DIES: &str = include_str!("../../windows/dies.c");
/// The guardian's home, and the version that begins.
const HOME: &str = r"C:\Packhorse-program\home";
const FIRST: &str = r"C:\Packhorse-program\home\versions\1\packhorse-agent.exe";
/// What Active Setup does for each user, of ours.
const COMPONENT: &str =
    r"HKLM\SOFTWARE\Microsoft\Active Setup\Installed Components\{PACKHORSE-PROOF}";
/// Where the agent is in a prefix: what has this word in its path is ours, and no part of a picture.
const PROGRAM: &str = r"C:\Packhorse-program\packhorse-agent.exe";
const SERVICE: &str = "packhorse-agent";
/// What has not come right by then does not.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between two looks at the site.
const LOOKS: Duration = Duration::from_millis(500);

impl Proof {
    /// Everything an agent does, once each.
    pub(super) fn agent(&self, is_built: bool) -> Result<String> {
        let program = if is_built { windows::built_agent() } else { windows::agent()? };
        let package = self.package()?;
        let reference = Picture::of(&self.prefixes.fresh("reference-of-agent")?)?;
        let site = Site::begin(self.program(), &self.folder)?;
        site.publish(&package)?;
        let prefix = self.prefixes.fresh("target")?;
        let folder = prefix.join("drive_c/Packhorse-program");
        fs::create_dir_all(&folder)?;
        fs::copy(program, folder.join("packhorse-agent.exe"))?;
        self.compile(SLOW, &folder.join("slow.exe"))?;
        let on = On::keep(&prefix)?;
        let token = site.token()?;
        run_in(&prefix, [PROGRAM, "enroll", "--token", &token])?;
        run_in(&prefix, [PROGRAM, "service", "install"])?;
        run_in(&prefix, ["net", "start", SERVICE])?;

        let id = INSTALLER;
        site.must(&["deploy", id, "--everybody", "--uninstall-when-withdrawn"])?;
        site.wait_for(id, "done")?;
        let installed = self.project_files(id)?;
        for file in &installed {
            ensure!(prefix.join("drive_c").join(file).exists(), "`{file}` is not there");
        }
        let status = captured(&mut wine(&prefix, [PROGRAM, "status"]))?;
        ensure!(tail(&status).contains("done"), "its status is\n{}", tail(&status));

        let line = [r"C:\Packhorse-program\slow.exe"];
        site.must(&[&["deploy", "--id", "slow", "--everybody", "--"][..], &line].concat())?;
        let ran = prefix.join("drive_c/ran.txt");
        until("the program begins", || Ok(ran.exists()))?;
        kill_agent(&prefix)?;
        until("the agent is gone", || Ok(agent_of(&prefix)?.is_none()))?;
        run_in(&prefix, ["net", "start", SERVICE])?;
        site.wait_for("slow", "done")?;
        let said = fs::read_to_string(&ran)?;
        ensure!(said == "began\r\nended\r\n", "the program ran otherwise than once: {said:?}");
        fs::remove_file(&ran)?;
        self.logons(&prefix, &site)?;

        site.must(&["deployment", "remove", id])?;
        until("the package is taken off", || {
            Ok(installed.iter().all(|file| !prefix.join("drive_c").join(file).exists()))
        })?;
        site.wait_for_words(&[id, "slow", "after-logon", "after-setup"])?;
        run_in(&prefix, ["net", "stop", SERVICE])?;
        run_in(&prefix, [PROGRAM, "service", "remove"])?;
        self.upgrades(&prefix, &site)?;
        drop(on);
        settle(&prefix)?;
        expect_same("pristine and after the agent", &reference, &Picture::of(&prefix)?)?;
        Ok(format!(
            "a service enrolled at a site; {INSTALLER} deployed, {} files; the agent killed while a program ran, which ran once \
             and was told once; a logon and its Active Setup waited for; watched over by the guardian, a version taken and one that does \
             not live taken back; taken off, and the prefix pristine",
            installed.len()
        ))
    }

    /// The package of a real installer, captured in a prefix of its own.
    fn package(&self) -> Result<PathBuf> {
        let setup = installers::build(INSTALLER, &self.folder)?;
        let reference = self.prefixes.fresh("reference")?;
        let project = self.folder.join("for-agent").join(INSTALLER);
        let session = self.folder.join("session-agent");
        let mut capture = command(self.program(), ["capture", "run"]);
        capture.arg("--wine").arg(&reference).arg("-o").arg(&project);
        capture.args(["--give-up-when-idle", IDLE]).arg("--session").arg(&session);
        capture.env("DISPLAY", screen()).arg("--");
        run_quietly(capture.args(installers::silently(INSTALLER, &setup)))?;
        let script = project.join("package.toml");
        let text = fs::read_to_string(&script)?;
        let name = text.lines().find_map(|line| line.strip_prefix("name = ")).context("no name")?;
        let text = text.replacen(&format!("name = {name}"), &format!("name = \"{INSTALLER}\""), 1);
        fs::write(script, text)?;
        let package = self.folder.join("agent.package");
        let words = ["compile", "--fast", "--target", "windows", "--format", "package"];
        let mut compile = command(self.program(), words);
        run_quietly(compile.arg(&project).arg("-o").arg(&package))?;
        Ok(package)
    }

    /// What the installer put into its prefix: files below `Program Files`, relative to the drive.
    fn project_files(&self, name: &str) -> Result<Vec<String>> {
        let reference = self.prefixes.existing("reference");
        let (base, full) = (Picture::of(&self.prefixes.base())?, Picture::of(&reference)?);
        let new = full.0.keys().filter(|place| !base.0.contains_key(*place));
        let files = new.filter_map(|place| place.strip_prefix('/'));
        let files: Vec<String> = files.map(str::to_owned).collect();
        ensure!(!files.is_empty(), "`{name}` put nothing anywhere");
        Ok(files)
    }

    /// Nothing begins while somebody is being logged on: first by what begins the shell, then by what Active Setup calls.
    fn logons(&self, prefix: &Path, site: &Site) -> Result<()> {
        let folder = prefix.join("drive_c/Packhorse-program");
        for copy in ["userinit.exe", "stub.exe"] {
            fs::copy(folder.join("slow.exe"), folder.join(copy))?;
        }
        self.compile(STARTER, &folder.join("explorer.exe"))?;
        let stub = r"C:\Packhorse-program\stub.exe";
        run_in(prefix, ["reg", "add", COMPONENT, "/v", "StubPath", "/d", stub])?;
        let (ran, late) = (prefix.join("drive_c/ran.txt"), prefix.join("drive_c/late.txt"));
        for (id, program, sentence) in [
            ("after-logon", &["userinit.exe"][..], "somebody is being logged on (`userinit.exe`"),
            ("after-setup", &["explorer.exe", stub], "Active Setup is at work"),
        ] {
            let mut words = program.to_vec();
            let path = format!(r"C:\Packhorse-program\{}", words[0]);
            words[0] = &path;
            let mut logon =
                wine(prefix, words).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            until("somebody is logged on", || Ok(ran.exists()))?;
            let line = ["cmd", "/c", r"type C:\ran.txt > C:\late.txt"];
            site.must(&[&["deploy", "--id", id, "--everybody", "--"][..], &line].concat())?;
            until(sentence, || {
                let status = captured(&mut wine(prefix, [PROGRAM, "status", "--json"]))?;
                Ok(String::from_utf8_lossy(&status.stdout).contains(sentence))
            })?;
            site.wait_for(id, "done")?;
            logon.wait()?;
            let said = fs::read_to_string(&late)?;
            ensure!(said == "began\r\nended\r\n", "{id} did not wait: {said:?}");
            fs::remove_file(&late)?;
            fs::remove_file(&ran)?;
        }
        run_in(prefix, ["reg", "delete", COMPONENT, "/f"]).map(drop)
    }

    /// The guardian takes a version that lives, and takes one back that does not; each is told. It ends, and its agent with it.
    fn upgrades(&self, prefix: &Path, site: &Site) -> Result<()> {
        let home = prefix.join("drive_c/Packhorse-program/home");
        let agent = home.with_file_name("packhorse-agent.exe");
        for name in ["1", "2", "3"] {
            let version = home.join("versions").join(name);
            fs::create_dir_all(&version)?;
            if name == "3" {
                self.compile(DIES, &version.join("packhorse-agent.exe"))?;
            } else {
                // What is behind a program changes nothing but its digest.
                let program = [fs::read(&agent)?, name.as_bytes().to_vec()].concat();
                fs::write(version.join("packhorse-agent.exe"), program)?;
            }
        }
        fs::copy(windows::built_guardian(), home.join("packhorse-guardian.exe"))?;
        let current = || Ok::<_, anyhow::Error>(fs::read_to_string(home.join("current"))?);
        let is_over = || !home.join("upgrade").exists();
        run_in(prefix, [FIRST, "service", "install"])?;
        run_in(prefix, ["net", "start", SERVICE])?;
        until("the guardian's agent lives", || Ok(home.join("alive").exists()))?;
        run_in(prefix, [FIRST, "adopt", "2", "--home", HOME])?;
        until("version 2 is at work", || Ok(current()? == "2" && is_over()))?;
        run_in(prefix, [FIRST, "adopt", "3", "--home", HOME])?;
        let condemned = home.join("condemned");
        until("version 3 is taken back", || {
            Ok(condemned.exists() && current()? == "2" && is_over())
        })?;
        let again = captured(&mut wine(prefix, [FIRST, "adopt", "3", "--home", HOME]))?;
        ensure!(!again.status.success(), "version 3 is taken again: {}", tail(&again));
        until("what came of both is told", || {
            let told = site.messages()?.to_string();
            Ok(told.contains("\"upgraded\"") && told.contains("\"upgrade-taken-back\""))
        })?;
        let ran = prefix.join("drive_c/after.txt");
        let line = ["cmd", "/c", r"echo x > C:\after.txt"];
        site.must(&[&["deploy", "--id", "after", "--everybody", "--"][..], &line].concat())?;
        site.wait_for("after", "done")?;
        fs::remove_file(ran)?;
        let guardian = process_of(prefix, &["packhorse-guardian.exe"])?.context("no guardian")?;
        kill_process(guardian, Signal::KILL)?;
        until("its agent ends with it", || {
            Ok(process_of(prefix, &[r"versions\2\packhorse-agent.exe", " run"])?.is_none())
        })?;
        run_in(prefix, ["net", "start", SERVICE])?;
        until("version 2 is at work again", || {
            Ok(process_of(prefix, &[r"versions\2\packhorse-agent.exe", " run"])?.is_some())
        })?;
        run_in(prefix, ["net", "stop", SERVICE])?;
        until("nothing of ours runs", || {
            Ok(process_of(prefix, &["packhorse-guardian.exe"])?.is_none()
                && process_of(prefix, &["packhorse-agent.exe"])?.is_none())
        })?;
        run_in(prefix, [FIRST, "service", "remove"])
    }

    /// Compiles a program of ours.
    fn compile(&self, text: &str, program: &Path) -> Result<()> {
        let source = self.folder.join("program.c");
        fs::write(&source, text)?;
        let mut compiler = command("x86_64-w64-mingw32-gcc", ["-O2", "-o"]);
        run_quietly(compiler.arg(program).arg(source))
    }
}

/// A machine that is on: where the last program has ended, Wine ends the services too.
struct On(Child);

impl On {
    fn keep(prefix: &Path) -> Result<Self> {
        let mut shell = wine(prefix, ["cmd"]);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(shell.spawn()?))
    }
}

impl Drop for On {
    fn drop(&mut self) {
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.write_all(b"exit\r\n");
        }
        let _ = self.0.wait();
    }
}

/// The process of the agent's service in a prefix.
fn agent_of(prefix: &Path) -> Result<Option<Pid>> {
    process_of(prefix, &["packhorse-agent.exe", "--as-service"])
}

/// A process of a prefix in whose words these occur.
fn process_of(prefix: &Path, words: &[&str]) -> Result<Option<Pid>> {
    let ours = format!("WINEPREFIX={}", prefix.display());
    for entry in fs::read_dir("/proc")? {
        let place = entry?.path();
        let read = |name: &str| fs::read(place.join(name)).unwrap_or_default();
        let said = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let is_one = words.iter().all(|word| said.contains(word));
        // A process of Wine's has its prefix open, and its environment may be another's: services are started by others.
        let environment = read("environ");
        let is_ours = environment.split(|byte| *byte == 0).any(|one| one == ours.as_bytes());
        let number = place.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(pid) = number.and_then(Pid::from_raw).filter(|_| is_one && is_ours) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

fn kill_agent(prefix: &Path) -> Result<()> {
    let agent = agent_of(prefix)?.context("the agent does not run")?;
    Ok(kill_process(agent, Signal::KILL)?)
}

fn until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_so()? {
        ensure!(began.elapsed() < PATIENCE, "{what}: not within {} s", PATIENCE.as_secs());
        thread::park_timeout(LOOKS);
    }
    Ok(())
}

/// A site that listens on loopback, and what it listens at.
struct Site {
    program: String,
    data: PathBuf,
    link: String,
    process: Child,
}

impl Site {
    fn begin(program: &str, folder: &Path) -> Result<Self> {
        let data = folder.join("site");
        let point = folder.join("point");
        fs::create_dir_all(&point)?;
        let at = data.to_string_lossy().into_owned();
        run_quietly(&mut command(program, ["site", "init", "TOP", "--data", &at]))?;
        fs::write(data.join("site.toml"), "client-check-in = 10\n")?;
        let [api, link, content] = [(); 3].map(|()| testkit::free_address().to_string());
        let mut serve = command(program, ["site", "serve", "--data", &at, "--listen", &api]);
        serve.args(["--link", &link, "--content", &content]);
        let log = fs::File::create(folder.join("site.log"))?;
        let process = serve.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let site = Self { program: program.to_owned(), data, link, process };
        let point = point.to_string_lossy().into_owned();
        let read_at = format!("http://{content}");
        until("the site listens", || Ok(std::net::TcpStream::connect(&content).is_ok()))?;
        site.must(&["dp", "add", "near", &point, "--read-at", &read_at])?;
        Ok(site)
    }

    fn say(&self, words: &[&str]) -> Result<String> {
        let mut command = command(&self.program, ["site"]);
        // What is behind `--` is somebody else's.
        let (own, other) =
            words.split_at(words.iter().position(|word| *word == "--").unwrap_or(words.len()));
        output(command.args(own).arg("--data").arg(&self.data).args(other))
    }

    fn must(&self, words: &[&str]) -> Result<()> {
        self.say(words).map(drop)
    }

    fn publish(&self, package: &Path) -> Result<()> {
        self.must(&["publish", &package.to_string_lossy()])?;
        self.must(&["assign", INSTALLER, "--dp", "near"])
    }

    fn token(&self) -> Result<String> {
        let token = self.data.with_file_name("windows.token");
        let text = token.to_string_lossy().into_owned();
        self.must(&["client", "token", "--token-to", &text, "--at", &self.link])?;
        Ok(format!("Z:{}", text.replace('/', r"\")))
    }

    fn wait_for(&self, id: &str, state: &str) -> Result<()> {
        until(&format!("`{id}` is {state}"), || {
            let all: Value = serde_json::from_str(&self.say(&["deployment", "list", "--json"])?)?;
            let all = all.as_array().cloned().unwrap_or_default();
            let one = all.iter().find(|one| one["deployment"] == id);
            let one = one.with_context(|| format!("there is no deployment `{id}`"))?;
            ensure!(one["failed"] == 0, "`{id}` failed: {}", self.messages()?);
            Ok(one[state] == 1)
        })
    }

    fn messages(&self) -> Result<Value> {
        let all: Value = serde_json::from_str(&self.say(&["client", "list", "--json"])?)?;
        let client = all[0]["client"].as_str().context("no client")?.to_owned();
        let shown: Value =
            serde_json::from_str(&self.say(&["client", "show", &client, "--json"])?)?;
        Ok(shown["messages"].clone())
    }

    /// Waits until these were told, and that their packages went; each once.
    fn wait_for_words(&self, ids: &[&str]) -> Result<()> {
        let mut ends: BTreeMap<String, u64> = BTreeMap::new();
        until("all ends were told", || {
            ends.clear();
            for message in self.messages()?.as_array().context("no messages")? {
                if message["word"] == "done" {
                    let run = message["run"].as_str().unwrap_or_default().to_owned();
                    *ends.entry(run).or_default() += 1;
                }
            }
            // What was deployed, and the removal of the package.
            Ok(ends.len() > ids.len())
        })?;
        ensure!(ends.values().all(|count| *count == 1), "told more than once: {ends:?}");
        ensure!(ids.iter().all(|id| ends.contains_key(*id)), "not told: {ends:?}");
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
