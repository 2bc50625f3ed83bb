//! A site as a process of its own, killed at any instant.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use policy::Observed;
use site::{Client, Folder, Status};

use crate::world::{held, name, package_file};

const DATA: &str = "PACKHORSE_TEST_SITE";
const LINK: &str = "PACKHORSE_TEST_LINK";
const CONTENT: &str = "PACKHORSE_TEST_CONTENT";
pub(crate) const DDI: &str = "PACKHORSE_TEST_DDI";

/// Not a test of its own: what the process below runs.
#[test]
fn serves_if_asked_to() {
    if let Some(data) = std::env::var_os(DATA) {
        let address = |name| std::env::var(name).ok().map(|text: String| text.parse().unwrap());
        let (link, content, ddi) = (address(LINK), address(CONTENT), address(DDI));
        let listen = site::Listen { api: "127.0.0.1:0".parse().unwrap(), link, content, ddi };
        site::serve(Folder::new(Path::new(&data)), listen).unwrap();
    }
}

pub(crate) struct Process(Child);

impl Process {
    fn start(folder: &Folder) -> Self {
        Self::start_with(folder, None)
    }

    /// The same, listening for children.
    pub(crate) fn start_with(folder: &Folder, link: Option<SocketAddr>) -> Self {
        Self::start_in(folder, link, &[])
    }

    pub(crate) fn start_in(
        folder: &Folder,
        link: Option<SocketAddr>,
        environment: &[(&str, &str)],
    ) -> Self {
        let _ = std::fs::remove_file(folder.address());
        let log = folder.path().with_extension("log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "process::serves_if_asked_to", "--nocapture"])
            .env(DATA, folder.path())
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(link) = link {
            command.env(LINK, link.to_string());
        }
        Self(command.spawn().unwrap())
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn wait<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_or(|| what.to_owned(), ask)
}

fn wait_or<T>(what: impl Fn() -> String, ask: impl FnMut() -> Option<T>) -> T {
    wait_until(Duration::from_mins(1), what, ask)
}

pub(crate) fn wait_for<T>(patience: Duration, what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_until(patience, || what.to_owned(), ask)
}

fn wait_until<T>(
    patience: Duration,
    what: impl Fn() -> String,
    mut ask: impl FnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < patience, "{}", what());
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

pub(crate) fn client(folder: &Folder) -> Client {
    let why = || {
        let log = std::fs::read_to_string(folder.path().with_extension("log"));
        format!("the site listens; its log: {}", log.unwrap_or_default())
    };
    wait_or(why, || Client::local(folder).ok().filter(|client| client.status().is_ok()))
}

pub(crate) fn settled(client: &Client) -> Status {
    wait("all is done", || client.status().ok().filter(Status::is_settled))
}

#[test]
fn killed_at_any_instant_it_converges_when_it_is_started_again() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(&home.path().join("site"));
    site::init(&folder, "TOP", None).unwrap();
    let points = ["a", "b", "c"].map(|point| home.path().join(point));
    let mut process = Process::start(&folder);
    let mut asked = client(&folder);
    for (name, path) in ["a", "b", "c"].iter().zip(&points) {
        asked.add_point(name, &path.to_string_lossy()).unwrap();
    }
    let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
    for round in 1..=12_u32 {
        let version = round.to_string();
        let file = package_file(home.path(), "redis", &version);
        // Killed while it publishes, copies or has just done so: each round a little later.
        let began = Instant::now();
        let published = std::thread::scope(|scope| {
            let request = scope.spawn(|| {
                asked.publish(&file, false)?;
                asked.assign(&name("redis"), &names, true)
            });
            let patience = Duration::from_millis(u64::from(round) * 15);
            while began.elapsed() < patience {
                std::thread::yield_now();
            }
            process.kill();
            request.join().unwrap().is_ok()
        });
        process = Process::start(&folder);
        asked = client(&folder);
        if !published {
            asked.publish(&file, false).unwrap();
            asked.assign(&name("redis"), &names, true).unwrap();
        }
        asked.retry(None, None).unwrap();
        let status = settled(&asked);
        assert_eq!(status.packages[0].version.as_deref(), Some(version.as_str()));
        for point in &points {
            let (observed, seen) = held(point, "redis");
            assert!(matches!(observed, Observed::Holds(_)), "round {round}: {observed:?}");
            assert_eq!(seen.as_deref(), Some(version.as_str()));
        }
    }
    assert_eq!(site::check(&folder).unwrap(), Vec::<String>::new());
}

/// Whichever is killed, the other goes on: a lease ends by the database's clock, and the tables are the same.
#[test]
fn two_processes_on_one_database_are_one_site() {
    let database = testkit::PostgresServer::start().unwrap();
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(&home.path().join("site"));
    std::fs::create_dir(folder.path()).unwrap();
    std::fs::write(folder.path().join("site.toml"), "lease = 15\n").unwrap();
    site::init(&folder, "TOP", Some(&database.database("top").unwrap())).unwrap();
    let busy = home.path().join("a");
    let start = || {
        let process = Process::start(&folder);
        let client = client(&folder);
        (process, client)
    };
    let mut one = start();
    let mut other = start();
    one.1.add_point("a", &busy.to_string_lossy()).unwrap();
    let knows = || (other.1.status().unwrap().points.len() == 1).then_some(());
    wait("what one was told, the other knows", knows);
    for round in 1..=2_u32 {
        let version = round.to_string();
        let file = package_file(home.path(), "redis", &version);
        let (process, asked) = one;
        asked.publish(&file, false).unwrap();
        asked.assign(&name("redis"), &["a".to_owned()], true).unwrap();
        // In the middle of an attempt, or just after.
        std::thread::park_timeout(Duration::from_millis(u64::from(round) * 10));
        process.kill();
        let status = settled(&other.1);
        assert_eq!(status.packages[0].version.as_deref(), Some(version.as_str()));
        let (observed, seen) = held(&busy, "redis");
        assert!(matches!(observed, Observed::Holds(_)), "round {round}: {observed:?}");
        assert_eq!(seen.as_deref(), Some(version.as_str()));
        let local = Client::local(&folder).unwrap().status();
        assert!(local.is_ok(), "the command finds the one that lives");
        one = other;
        other = start();
    }
    drop((one, other));
    // The same tables, in a file: what was done is not done again, and no number is given twice.
    let before = folder.status().unwrap();
    site::backup(&folder, &home.path().join("backup.db")).unwrap();
    site::migrate(&folder, Some("sqlite")).unwrap();
    assert!(folder.settings().unwrap().database.is_none());
    assert_eq!(folder.status().unwrap(), before);
    let (process, asked) = start();
    asked.publish(&package_file(home.path(), "redis", "9"), false).unwrap();
    assert_eq!(settled(&asked).packages[0].number, "v3");
    drop(process);
    assert_eq!(site::restore(&folder, &home.path().join("backup.db")).unwrap(), 1);
    site::migrate(&folder, Some(&database.database("again").unwrap())).unwrap();
    assert_eq!(folder.status().unwrap().epoch, 1);
    assert_eq!(site::check(&folder).unwrap(), Vec::<String>::new());
}

#[test]
fn sigterm_ends_it_and_a_second_one_beside_it_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(&home.path().join("site"));
    site::init(&folder, "TOP", None).unwrap();
    let mut process = Process::start(&folder);
    let asked = client(&folder);
    let busy = site::serve(
        folder.clone(),
        site::Listen { api: "127.0.0.1:0".parse().unwrap(), link: None, content: None, ddi: None },
    );
    assert!(matches!(busy, Err(site::SiteError::InUse { .. })), "{busy:?}");
    let id = rustix::process::Pid::from_child(&process.0);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(process.0.wait().unwrap().success());
    assert!(asked.status().is_err() && !folder.address().exists());
    assert!(folder.status().unwrap().is_settled(), "the tables are read without it");
}

#[test]
fn the_service_manager_hears_that_it_is_ready_alive_and_ending() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(&home.path().join("site"));
    site::init(&folder, "TOP", None).unwrap();
    let path = home.path().join("manager");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "300000")];
    let process = Process::start_in(&folder, None, &environment);
    let hear = || {
        let mut word = [0; 200];
        let length = manager.recv(&mut word).expect("a word in time");
        String::from_utf8_lossy(&word[..length]).into_owned()
    };
    assert_eq!(hear(), "READY=1\n");
    for _ in 0..5 {
        assert_eq!(hear(), "WATCHDOG=1\nSTATUS=0 jobs\n");
    }
    process.signal(rustix::process::Signal::TERM);
    let last = std::iter::repeat_with(hear).find(|word| !word.starts_with("WATCHDOG"));
    assert_eq!(last.unwrap(), "STOPPING=1\n");
}

#[test]
fn a_site_is_a_distribution_point_for_readers_and_shows_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(&home.path().join("site"));
    site::init(&folder, "TOP", None).unwrap();
    let at = testkit::free_address().to_string();
    let _process = Process::start_in(&folder, None, &[(CONTENT, &at)]);
    let file = package_file(home.path(), "redis", "1");
    client(&folder).publish(&file, false).unwrap();
    let point = store::Point::open(&format!("http://{at}"), []).unwrap();
    let options = store::FetchOptions::default();
    let mut wanted = store::wanted(&point, &name("redis"), &options, None).unwrap();
    let to = home.path().join("fetched");
    wanted.fetch(&to, &mut |_, _, _| {}).unwrap();
    let identity = |path: &Path| {
        package::PackageReader::open(std::fs::File::open(path).unwrap()).unwrap().identity()
    };
    assert_eq!(identity(&to), identity(&file));
    for path in [
        "token",
        "site.db",
        "names/../../token",
        "names/%2e%2e/%2e%2e/token",
        "names",
        "",
        "v1/status",
    ] {
        let url = format!("http://{at}/{path}");
        let said = reqwest::blocking::get(&url).unwrap();
        assert!(said.status().is_client_error(), "{url}: {}", said.status());
    }
    let written = reqwest::blocking::Client::new().put(format!("http://{at}/names/redis")).send();
    assert!(written.unwrap().status().is_client_error());
}

#[test]
fn without_the_token_nothing_changes() {
    let home = tempfile::tempdir().unwrap();
    let folder = Folder::new(&home.path().join("site"));
    site::init(&folder, "TOP", None).unwrap();
    let _process = Process::start(&folder);
    client(&folder);
    let address = std::fs::read_to_string(folder.address()).unwrap();
    let stranger = Client::new(&format!("http://{address}"), "guess").unwrap();
    let refused = stranger.add_point("a", &home.path().join("a").to_string_lossy());
    assert!(refused.unwrap_err().to_string().contains("token"));
    assert!(client(&folder).status().unwrap().points.is_empty());
}
