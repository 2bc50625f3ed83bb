//! Machines: a disk and a booted systemd each, on a host of the network.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use testkit::Network;

use crate::{
    command::{captured, command, run_quietly, tail},
    prove::roots::Mounted,
};

/// The disk of a machine, in megabytes.
const DISK: u64 = 300;
/// Where the agent's clock is told how wrong it is: faketime(1).
const CLOCK: &str = "etc/faketimerc";
/// How a container ends that wants to be started again.
const RESTARTS: i32 = 133;
/// Each booted system needs some of these.
const WATCHES: (&str, u32) = ("/proc/sys/fs/inotify/max_user_instances", 64);
/// A machine is up by then.
const PATIENCE: Duration = Duration::from_mins(3);

/// Has the kernel let so many machines watch files.
pub(super) fn make_room(machines: usize) -> Result<()> {
    let (limit, each) = WATCHES;
    let (now, wanted) = (fs::read_to_string(limit)?, each * u32::try_from(machines)?);
    if now.trim().parse::<u32>()? < wanted {
        println!("{limit} is {} now, it was {}", wanted, now.trim());
        fs::write(limit, wanted.to_string())?;
    }
    Ok(())
}

/// A machine.
pub(super) struct Machine {
    pub(super) name: String,
    /// Its host in the network.
    pub(super) host: usize,
    folder: PathBuf,
    root: Mounted,
    _disk: Mounted,
    process: Option<Child>,
    /// How often it was started.
    pub(super) starts: usize,
}

impl Machine {
    /// A machine with an empty disk over `lower`, folders that it shares with others and does not change.
    pub(super) fn new(folder: &Path, lower: &[&Path], number: usize, host: usize) -> Result<Self> {
        let name = format!("m{number:02}");
        let folder = folder.join(&name);
        let (disk, root) = (folder.join("disk"), folder.join("root"));
        fs::create_dir_all(&disk)?;
        fs::create_dir_all(&root)?;
        let image = folder.join("disk.img");
        fs::File::create(&image)?.set_len(DISK << 20)?;
        run_quietly(command("mkfs.ext4", ["-q", "-m", "0"]).arg(&image))?;
        run_quietly(command("mount", ["-o", "loop"]).arg(&image).arg(&disk))?;
        let mounted = Mounted::at(disk.clone());
        fs::create_dir(disk.join("upper"))?;
        fs::create_dir(disk.join("work"))?;
        let lower: Vec<String> = lower.iter().map(|path| path.display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.join(":"),
            disk.join("upper").display(),
            disk.join("work").display()
        );
        run_quietly(command("mount", ["-t", "overlay", "overlay", "-o", &options]).arg(&root))?;
        let root = Mounted::at(root);
        fs::write(root.folder().join("etc/hostname"), format!("{name}\n"))?;
        let machine = Self { name, host, folder, root, _disk: mounted, process: None, starts: 0 };
        machine.set_clock(0)?;
        Ok(machine)
    }

    pub(super) fn root(&self) -> &Path {
        self.root.folder()
    }

    /// Where something takes the room of its disk away.
    pub(super) fn ballast(&self) -> PathBuf {
        self.folder.join("disk/ballast")
    }

    /// Sets the agent's clock so many years off.
    pub(super) fn set_clock(&self, years: i32) -> Result<()> {
        // Replaced at once: who reads it reads all of it.
        let (new, path) = (self.root().join("etc/faketimerc.new"), self.root().join(CLOCK));
        fs::write(&new, format!("{years:+}y\n"))?;
        Ok(fs::rename(new, path)?)
    }

    /// Starts it; what it says while it runs is kept.
    pub(super) fn start(&mut self, network: &Network) -> Result<()> {
        self.starts += 1;
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
        let mut boot = command(
            "systemd-nspawn",
            ["--quiet", "--keep-unit", "--register=no", "--console=pipe", "--boot"],
        );
        boot.arg("--machine").arg(&self.name).arg("--directory").arg(self.root());
        boot.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(network.spawn(self.host, &mut boot)?);
        Ok(())
    }

    /// Takes its power away. Whether it ran.
    pub(super) fn cut_power(&mut self) -> Result<bool> {
        let Some(mut process) = self.process.take() else { return Ok(false) };
        // With its first process all others go.
        let init = init_of(process.id());
        if let Some(init) = init {
            let _ = run_quietly(&mut command("kill", ["-KILL", &init.to_string()]));
        }
        process.kill()?;
        process.wait()?;
        let began = Instant::now();
        while init.is_some_and(|pid| Path::new(&format!("/proc/{pid}/root/etc")).exists()) {
            ensure!(began.elapsed() < PATIENCE, "{} goes on without power", self.name);
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(true)
    }

    pub(super) fn is_on(&self) -> bool {
        self.process.is_some()
    }

    /// Starts it again, if it went down to be restarted: who looks after it ends then (systemd-nspawn(1), `--keep-unit`).
    pub(super) fn go_on(&mut self, network: &Network) -> Result<()> {
        let ended = self.process.as_mut().map(Child::try_wait).transpose()?.flatten();
        match ended {
            None => Ok(()),
            Some(status) if status.code() == Some(RESTARTS) => self.start(network),
            Some(status) => bail!("{} went down by itself: {status}\n{}", self.name, self.told()),
        }
    }

    /// Runs something inside; nothing, where it does not run.
    pub(super) fn run(&self, words: &[&str]) -> Result<Option<Output>> {
        let Some(init) = self.process.as_ref().and_then(|process| init_of(process.id())) else {
            return Ok(None);
        };
        let mut inside: Command =
            command("nsenter", ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]);
        inside.arg("--target").arg(init.to_string()).arg("--").args(words);
        Ok(Some(captured(&mut inside)?))
    }

    /// Waits until its agent runs.
    pub(super) fn wait_for_agent(&mut self, network: &Network) -> Result<()> {
        let began = Instant::now();
        loop {
            self.go_on(network)?;
            let said = self.run(&["systemctl", "is-active", "packhorse-agent.service"])?;
            let said = said.with_context(|| format!("{} is not on", self.name));
            if said.as_ref().is_ok_and(|said| said.status.success()) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                let said = self.run(&["systemctl", "status", "packhorse-agent.service"])?;
                let said = said.map(|said| tail(&said)).unwrap_or_default();
                bail!("the agent of {} is not up: {said}\n{}", self.name, self.told());
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
    }

    /// The end of what it said.
    pub(super) fn told(&self) -> String {
        let text = fs::read(self.folder.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.cut_power();
    }
}

/// The first process of the container a systemd-nspawn looks after.
fn init_of(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
