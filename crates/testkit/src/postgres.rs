use std::{
    io,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::free_address;

/// What clients take for granted.
const PORT: u16 = 5432;

/// A PostgreSQL server of its own, in a folder that goes with it, reached by a socket there.
#[derive(Debug)]
pub struct PostgresServer {
    folder: tempfile::TempDir,
    programs: PathBuf,
    account: Option<(u32, u32)>,
    process: Option<Child>,
    /// Where it listens for encrypted connections, and for no others.
    port: Option<u16>,
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
        Self::made(None)
    }

    /// One that is also reached at `localhost`, by TLS alone, with this certificate and key (PEM).
    pub fn with_tls(certificate: &str, key: &str) -> io::Result<Self> {
        Self::made(Some((certificate, key)))
    }

    fn made(tls: Option<(&str, &str)>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let account = account();
        if let Some((user, group)) = account {
            chown(folder.path(), Some(user), Some(group))?;
        }
        let mut server = Self { folder, programs: programs()?, account, process: None, port: None };
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
        if let Some((certificate, key)) = tls {
            server.encrypt(certificate, key)?;
        }
        server.go_on()?;
        Ok(server)
    }

    fn encrypt(&mut self, certificate: &str, key: &str) -> io::Result<()> {
        let data = self.data();
        let who = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
        let files = [("server.crt", certificate), ("server.key", key), ("pg_hba.conf", who)];
        for (name, text) in files {
            let path = data.join(name);
            std::fs::write(&path, text)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            if let Some((user, group)) = self.account {
                chown(&path, Some(user), Some(group))?;
            }
        }
        self.port = Some(free_address().port());
        Ok(())
    }

    /// The URL of a database over TCP, and no word of who is to be believed.
    pub fn url_by_name(&self, name: &str) -> String {
        format!("postgres://site@localhost:{}/{name}", self.port.unwrap_or(PORT))
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

    /// Starts it again, after [`PostgresServer::kill`]. One that runs goes on: it would end where its lock is taken away.
    pub fn go_on(&mut self) -> io::Result<()> {
        if let Some(process) = &mut self.process
            && process.try_wait()?.is_none()
        {
            return Ok(());
        }
        let data = self.data();
        // What a killed one left behind.
        let _ = std::fs::remove_file(data.join("postmaster.pid"));
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(&data).arg("-k").arg(self.folder.path());
        command.args(["-c", "shared_buffers=64MB", "-c"]);
        match self.port {
            Some(port) => {
                command.args(["listen_addresses=127.0.0.1", "-c", "ssl=on", "-p"]);
                command.arg(port.to_string());
            }
            None => {
                command.arg("listen_addresses=");
            }
        }
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
            .args(["-p", &self.port.unwrap_or(PORT).to_string()])
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
