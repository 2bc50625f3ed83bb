//! Sites whose own copies are in a bucket: several machines, each with a folder of its own, are one site.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use site::{AddressSettings, Client, Folder, SiteSettings, Status, Way};
use testkit::{PostgresServer, S3Server};

use crate::{
    process::{Process, client, settled, wait},
    tree::{assign, done, is_there, package_file, write},
    world::{find, name},
};

const ACT: &str = "PACKHORSE_TEST_ACT";
/// Where the own copies of the sites of these tests are.
const STORE: &str = "s3://packages/top";

/// What another process does whose environment has the bucket's keys.
#[derive(Serialize, Deserialize)]
enum Act {
    Init(SiteSettings),
    InitAs(String, SiteSettings),
    Join(SiteSettings),
    Check,
    Restore(PathBuf),
    Move(String),
}

/// A package published and at a point near by; where the point is.
fn with_a_copy(at: &Client, home: &Path, length: usize) -> PathBuf {
    let near = home.join("near");
    at.add_point("near", &near.to_string_lossy()).unwrap();
    at.publish(&package_file(home, "redis", "1", length), false).unwrap();
    assign(at, "redis", "near");
    settled(at);
    near
}

/// Not a test of its own: what [`act`] runs.
#[test]
fn acts_if_asked_to() {
    let Ok(text) = std::env::var(ACT) else { return };
    let (folder, act): (PathBuf, Act) = serde_json::from_str(&text).unwrap();
    let folder = Folder::new(&folder);
    let said = |result: Result<String, site::SiteError>| {
        result.map_err(|error| model::with_causes(&error))
    };
    let answer = said(match act {
        Act::Init(settings) => site::init_with(&folder, "TOP", settings).map(|()| String::new()),
        Act::InitAs(code, settings) => {
            site::init_with(&folder, &code, settings).map(|()| String::new())
        }
        Act::Join(settings) => site::join(&folder, settings).map(|code| code.to_string()),
        Act::Check => site::check(&folder).map(|wrong| wrong.join("\n")),
        Act::Restore(from) => site::restore(&folder, &from).map(|epoch| epoch.to_string()),
        Act::Move(to) => {
            site::move_store(&folder, &to).map(|moved| serde_json::to_string(&moved).unwrap())
        }
    });
    let path = folder.path().with_extension("answer");
    std::fs::write(path, serde_json::to_string(&answer).unwrap()).unwrap();
}

type Environment = Vec<(String, String)>;

fn act(environment: &Environment, folder: &Folder, act: Act) -> Result<String, String> {
    let asked = serde_json::to_string(&(folder.path(), act)).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bucket::acts_if_asked_to", "--nocapture"])
        .env(ACT, asked)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let answer = std::fs::read_to_string(folder.path().with_extension("answer")).unwrap();
    serde_json::from_str(&answer).unwrap()
}

/// A machine of a site.
struct Machine {
    folder: Folder,
    link: SocketAddr,
    environment: Environment,
    process: Option<Process>,
}

impl Machine {
    fn new(home: &Path, name: &str, server: &S3Server) -> Self {
        let folder = Folder::new(&home.join(name));
        std::fs::create_dir(folder.path()).unwrap();
        std::fs::write(folder.path().join("site.toml"), "lease = 15\n").unwrap();
        let (link, environment) = (testkit::free_address(), server.settings());
        Self { folder, link, environment, process: None }
    }

    fn act(&self, what: Act) -> Result<String, String> {
        act(&self.environment, &self.folder, what)
    }

    fn start(&mut self) -> Client {
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.process = Some(Process::start_in(&self.folder, Some(self.link), &environment));
        client(&self.folder)
    }

    fn client(&self) -> Client {
        client(&self.folder)
    }

    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }
}

fn in_bucket(database: Option<String>) -> SiteSettings {
    SiteSettings { database, store: Some(STORE.to_owned()), ..SiteSettings::default() }
}

/// A site below some machines of another.
fn child(home: &Path, parents: &[&Machine], code: &str) -> Folder {
    let folder = Folder::new(&home.join(code));
    site::init(&folder, code, None).unwrap();
    let token = parents[0].client().add_child(code, AddressSettings::default()).unwrap();
    let addresses: Vec<String> = parents.iter().map(|one| one.link.to_string()).collect();
    site::attach(&folder, &Way::Calls(addresses.join(",")), &write(home, &token)).unwrap();
    folder
}

#[test]
fn two_machines_on_one_database_and_one_bucket_are_one_site_whoever_is_killed() {
    let (database, server) = (PostgresServer::start().unwrap(), S3Server::start().unwrap());
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let url = database.database("top").unwrap();
    let mut machines = ["one", "other"].map(|name| Machine::new(home, name, &server));
    machines[0].act(Act::Init(in_bucket(Some(url.clone())))).unwrap();
    // What the second one has to know is where the tables are.
    let said = SiteSettings { database: Some(url.clone()), ..SiteSettings::default() };
    assert_eq!(machines[1].act(Act::Join(said)).unwrap(), "TOP");
    let shared = ["authority/key.pem", "authority/certificate.pem", "token"];
    for file in shared {
        let read = |machine: &Machine| std::fs::read(machine.folder.path().join(file)).unwrap();
        assert_eq!(read(&machines[0]), read(&machines[1]), "{file}");
    }
    let top = machines[0].start();
    machines[1].start();
    let (near, office) = (home.join("near"), home.join("office"));
    top.add_point("near", &near.to_string_lossy()).unwrap();
    let refused = top.add_point("wrong", "s3://packages/top/packs").unwrap_err().to_string();
    assert!(refused.contains("own store"), "{refused}");
    let north = child(home, &[&machines[0], &machines[1]], "NORTH");
    let _north = Process::start_with(&north, None);
    client(&north).add_point("office", &office.to_string_lossy()).unwrap();
    let points = [("near", &near), ("NORTH/office", &office)];
    for round in 1..=3_u32 {
        let version = round.to_string();
        let file = package_file(home, "redis", &version, 1_500_000);
        let (killed, lives) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        machines[killed].client().publish(&file, false).unwrap();
        for (point, _) in &points {
            assign(&machines[killed].client(), "redis", point);
        }
        // In the middle of it, each round a little later.
        std::thread::park_timeout(Duration::from_millis(u64::from(round) * 40));
        machines[killed].kill();
        let living = machines[lives].client();
        living.retry(None, None).unwrap();
        wait("it arrives everywhere", || {
            let all = points.iter().all(|(_, path)| is_there(path, "redis", &version));
            all.then_some(())
        });
        let status = wait("and the site says so", || done(&living, "redis"));
        assert_eq!(status.packages[0].tally.done, 2, "{}", status.to_text());
        machines[killed].start();
    }
    let folder = machines[0].folder.store();
    assert!(std::fs::read_dir(folder).unwrap().next().is_none(), "nothing of it is in a folder");
    for machine in &mut machines {
        assert_eq!(machine.act(Act::Check).unwrap(), "");
        machine.kill();
    }
}

#[test]
fn what_is_damaged_in_a_bucket_is_found_and_mended() {
    let server = S3Server::start().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Machine::new(home, "top", &server);
    top.act(Act::Init(in_bucket(None))).unwrap();
    let at = top.start();
    let near = with_a_copy(&at, home, 500_000);
    let bucket = server.bucket().join("top");
    for part in ["packs", "manifests"] {
        let path = find(&bucket, part);
        let sound = std::fs::read(&path).unwrap();
        let mut bytes = sound.clone();
        bytes[5] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        at.verify().unwrap();
        settled(&at);
        assert_eq!(std::fs::read(&path).unwrap(), sound, "{part}");
        std::fs::remove_file(&path).unwrap();
        at.verify().unwrap();
        settled(&at);
        assert_eq!(std::fs::read(&path).unwrap(), sound, "{part}");
    }
    assert!(is_there(&near, "redis", "1"));
}

#[test]
fn a_site_on_a_bucket_receives_and_passes_on() {
    let server = S3Server::start().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = crate::tree::Member::new(home, "ABOVE");
    let above = top.start();
    let mut middle = Machine::new(home, "middle", &server);
    let small = SiteSettings { cache_size: Some(2_000_000), ..in_bucket(None) };
    middle.act(Act::Init(small)).unwrap();
    let token = above.add_child("TOP", AddressSettings::default()).unwrap();
    let way = Way::Calls(top.link().to_string());
    site::attach(&middle.folder, &way, &write(home, &token)).unwrap();
    middle.start();
    let leaf = child(home, &[&middle], "LEAF");
    let _leaf = Process::start_with(&leaf, None);
    let office = home.join("office");
    client(&leaf).add_point("office", &office.to_string_lossy()).unwrap();
    for version in ["1", "2", "3"] {
        above.publish(&package_file(home, "redis", version, 1_500_000), false).unwrap();
        if version == "1" {
            assign(&above, "redis", "LEAF/office");
        }
        wait("it arrives", || is_there(&office, "redis", version).then_some(()));
    }
    wait("and is known to", || done(&above, "redis"));
    let cache = std::fs::read_dir(middle.folder.path().join("cache")).unwrap();
    let kept: u64 = cache.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(kept <= 2_000_000, "{kept} bytes are kept");
    assert!(server.bucket().join("top/names/redis").is_file());
    // Removed above, it goes from the bucket, too.
    above.retire(&name("redis")).unwrap();
    wait("it goes", || (!server.bucket().join("top/names/redis").exists()).then_some(()));
}

#[test]
fn a_bucket_that_refuses_is_named_and_goes_on_when_it_answers() {
    let server = S3Server::start().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Machine::new(home, "top", &server);
    top.act(Act::Init(in_bucket(None))).unwrap();
    let at = top.start();
    let near = home.join("near");
    at.add_point("near", &near.to_string_lossy()).unwrap();
    at.publish(&package_file(home, "redis", "1", 300_000), false).unwrap();
    top.kill();
    let right = std::mem::replace(&mut top.environment, server.settings_with("wrong"));
    let at = top.start();
    assign(&at, "redis", "near");
    let waits = |status: &Status| {
        let job = status.points.first()?.copies.first()?;
        let reason = job.reason.as_ref().filter(|why| why.contains("own store"))?;
        Some((reason.clone(), status.store.clone()?.why?))
    };
    wait("the status says so, and what helps", || {
        waits(&at.status().unwrap()).filter(|said| said.1.contains("AWS_SECRET_ACCESS_KEY"))
    });
    let refused = at.publish(&package_file(home, "redis", "2", 300_000), false).unwrap_err();
    assert!(refused.to_string().contains(STORE), "{refused}");
    let checked = top.act(Act::Check).unwrap();
    assert!(checked.contains("does not answer") && checked.contains("other keys"), "{checked}");
    top.kill();
    let mut wrong = Machine::new(home, "wrong", &server);
    wrong.environment = std::mem::take(&mut top.environment);
    let refused = wrong.act(Act::Init(in_bucket(None))).unwrap_err();
    assert!(refused.contains(STORE) && refused.contains("other keys"), "{refused}");
    top.environment = right;
    let at = top.start();
    at.retry(None, None).unwrap();
    wait("what waited is done", || is_there(&near, "redis", "1").then_some(()));
    let store = settled(&at).store.unwrap();
    assert_eq!((store.location.as_str(), store.why), (STORE, None));
}

#[test]
fn a_new_machine_goes_on_with_a_backup_and_the_bucket() {
    let server = S3Server::start().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut old = Machine::new(home, "old", &server);
    old.act(Act::Init(in_bucket(None))).unwrap();
    let at = old.start();
    let near = with_a_copy(&at, home, 300_000);
    let backup = home.join("backup.db");
    site::backup(&old.folder, &backup).unwrap();
    // What the backup does not know of is in the bucket, too.
    at.publish(&package_file(home, "nginx", "1", 300_000), false).unwrap();
    old.kill();
    std::fs::remove_dir_all(old.folder.path()).unwrap();
    std::fs::remove_dir_all(&near).unwrap();
    std::fs::create_dir(&near).unwrap();
    let mut new = Machine::new(home, "new", &server);
    new.act(Act::Init(in_bucket(None))).unwrap();
    assert_eq!(new.act(Act::Restore(backup)).unwrap(), "1");
    assert_eq!(new.act(Act::Check).unwrap(), "");
    let at = new.start();
    wait("the point is filled from the bucket", || is_there(&near, "redis", "1").then_some(()));
    settled(&at);
    assert!(at.publish(&package_file(home, "nginx", "1", 300_000), false).is_ok());
    // Another site does not take it.
    let other = Machine::new(home, "other", &server);
    let refused = other.act(Act::InitAs("OTHER".to_owned(), in_bucket(None))).unwrap_err();
    assert!(refused.contains("belongs to site TOP"), "{refused}");
    new.kill();
}

#[test]
fn a_move_that_was_killed_ends_and_nothing_old_comes_back_with_the_way_back() {
    let server = S3Server::start().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Machine::new(home, "top", &server);
    site::init(&top.folder, "TOP", None).unwrap();
    let at = top.start();
    at.publish(&package_file(home, "redis", "1", 300_000), false).unwrap();
    at.publish(&package_file(home, "nginx", "1", 300_000), false).unwrap();
    top.kill();
    let file = top.folder.path().join("site.toml");
    let before = std::fs::read(&file).unwrap();
    top.act(Act::Move(STORE.to_owned())).unwrap();
    let after = std::fs::read(&file).unwrap();
    // Killed after the tables said where it is, before the file does.
    std::fs::write(&file, &before).unwrap();
    assert!(top.act(Act::Check).unwrap().contains("site migrate --store"));
    top.act(Act::Move(STORE.to_owned())).unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), after);
    assert_eq!(top.act(Act::Check).unwrap(), "");
    let at = top.start();
    at.retire(&name("redis")).unwrap();
    let names = server.bucket().join("top/names");
    wait("it goes", || (!names.join("redis").exists()).then_some(()));
    top.kill();
    top.act(Act::Move("folder".to_owned())).unwrap();
    let names = std::fs::read_dir(top.folder.store().join("names")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["nginx"], "what was retired meanwhile is not offered again");
    settled(&top.start());
    top.kill();
}

#[test]
fn a_site_that_outgrew_its_machine_moves_and_a_backup_brings_its_keys() {
    let (database, server) = (PostgresServer::start().unwrap(), S3Server::start().unwrap());
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut one = Machine::new(home, "one", &server);
    let key = home.join("top.key");
    let sealed = SiteSettings { key_file: Some(key.clone()), ..SiteSettings::default() };
    site::init_with(&one.folder, "TOP", sealed.clone()).unwrap();
    let at = one.start();
    let near = with_a_copy(&at, home, 300_000);
    let backup = home.join("backup.db");
    site::backup(&one.folder, &backup).unwrap();
    let authority = std::fs::read(one.folder.path().join("authority/key.pem")).unwrap();
    let text = std::fs::read(&backup).unwrap();
    let line = authority.split(|byte| *byte == b'\n').nth(1).unwrap();
    assert!(!text.windows(line.len()).any(|part| part == line), "the key is sealed");
    one.kill();
    // Another machine, with the backup and the key's file.
    let other = Machine::new(home, "other", &server);
    site::init_with(&other.folder, "OTHER", sealed.clone()).unwrap();
    site::restore(&other.folder, &backup).unwrap();
    assert_eq!(site::check(&other.folder).unwrap(), Vec::<String>::new());
    let mut other = other;
    other.start();
    assert_eq!(std::fs::read(other.folder.path().join("authority/key.pem")).unwrap(), authority);
    other.kill();
    // From one machine to several.
    site::migrate(&one.folder, Some(&database.database("top").unwrap())).unwrap();
    let moved = one.act(Act::Move(STORE.to_owned())).unwrap();
    assert!(!moved.contains("\"objects\":0"), "{moved}");
    assert!(one.act(Act::Move(STORE.to_owned())).unwrap().contains("\"objects\":0"));
    let mut second = Machine::new(home, "second", &server);
    let database = one.folder.settings().unwrap().database;
    let said = SiteSettings { database, ..SiteSettings::default() };
    let refused = second.act(Act::Join(said.clone())).unwrap_err();
    assert!(refused.contains("sealed"), "{refused}");
    second.act(Act::Join(SiteSettings { key_file: Some(key), ..said })).unwrap();
    one.start();
    let at = second.start();
    let running = one.act(Act::Restore(backup.clone())).unwrap_err();
    assert!(running.contains("in use"), "{running}");
    at.publish(&package_file(home, "redis", "2", 300_000), false).unwrap();
    wait("it arrives", || is_there(&near, "redis", "2").then_some(()));
    one.kill();
    let running = one.act(Act::Restore(backup)).unwrap_err();
    assert!(running.contains("in use"), "the other one runs: {running}");
    second.kill();
}
