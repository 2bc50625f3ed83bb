use std::{
    io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A PostgreSQL server of its own, in a folder that goes with it, reached by a socket there.
#[derive(Debug)]
pub struct PostgresServer {
    folder: tempfile::TempDir,
    programs: PathBuf,
    account: Option<(u32, u32)>,
    process: Option<Child>,
}

/// PostgreSQL does not run as root.
fn account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("postgres:")).unwrap_or("x:x:65534:65534");
    let numbers: Vec<u32> = line.split(':').filter_map(|word| word.parse().ok()).collect();
    match *numbers.as_slice() {
        [user, group, ..] => Some((user, group)),
        _ => Some((65534, 65534)),
    }
}

/// The folder of the newest version's programs, as Debian has it.
fn programs() -> io::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")?.filter_map(Result::ok);
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .max();
    newest.map(|(_, path)| path.join("bin")).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl PostgresServer {
    /// A new server with nothing in it.
    pub fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let account = account();
        if let Some((user, group)) = account {
            chown(folder.path(), Some(user), Some(group))?;
        }
        let mut server = Self { folder, programs: programs()?, account, process: None };
        let data = server.data();
        let output = server
            .command("initdb")
            .args(["--no-sync", "--auth=trust", "--username=site", "--encoding=UTF8", "--locale=C"])
            .arg("-D")
            .arg(&data)
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        server.go_on()?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Starts it again, after [`PostgresServer::kill`].
    pub fn go_on(&mut self) -> io::Result<()> {
        let data = self.data();
        // What a killed one left behind.
        let _ = std::fs::remove_file(data.join("postmaster.pid"));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(&data).arg("-k").arg(self.folder.path());
        command.args(["-c", "listen_addresses=", "-c", "shared_buffers=64MB"]);
        let process = command.stdout(Stdio::null()).stderr(log).spawn()?;
        self.process = Some(process);
        let began = Instant::now();
        while !self.ask("postgres", "SELECT 1").is_ok_and(|answer| answer.trim() == "1") {
            if began.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL does not start"));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Its children end when they are told to quit; when it is killed, some stay for a moment.
            let quit = rustix::process::Signal::QUIT;
            let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&process), quit);
            let _ = process.wait();
        }
    }

    /// Where its socket is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where its programs are.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// A new database; its URL.
    pub fn database(&self, name: &str) -> io::Result<String> {
        self.ask("postgres", &format!("CREATE DATABASE \"{name}\""))?;
        Ok(self.url(name))
    }

    /// The URL of a database.
    pub fn url(&self, name: &str) -> String {
        let host = self.folder.path().to_string_lossy().replace('/', "%2F");
        format!("postgres://site@{host}/{name}")
    }

    /// Runs a statement with `psql`; what it prints.
    pub fn ask(&self, database: &str, sql: &str) -> io::Result<String> {
        let output = self
            .command("psql")
            .args(["-U", "site", "-d", database, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql])
            .arg("-h")
            .arg(self.folder.path())
            .output()?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
    }
}
