//! Sites as processes of their own: a parent, its child, and that one's child, over real lines.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use policy::Observed;
use rustix::process::Signal;
use site::{AddressSettings, Client, CopyStatus, Folder, Status, Way};
use testkit::Sample;

use crate::{
    process::{Process, client, wait},
    world::{held, name},
};

/// One site, running or not.
pub(crate) struct Member {
    pub(crate) folder: Folder,
    link: SocketAddr,
    process: Option<Process>,
}

impl Member {
    pub(crate) fn new(home: &Path, code: &str) -> Self {
        let folder = Folder::new(&home.join(code));
        site::init(&folder, code, None).unwrap();
        let link = testkit::free_address();
        Self { folder, link, process: None }
    }

    pub(crate) fn start(&mut self) -> Client {
        self.process = Some(Process::start_with(&self.folder, Some(self.link)));
        client(&self.folder)
    }

    /// Where it listens for children.
    pub(crate) fn link(&self) -> SocketAddr {
        self.link
    }

    fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub(crate) fn client(&self) -> Client {
        client(&self.folder)
    }

    /// A child of this one, enrolled and not running yet.
    pub(crate) fn child(&self, home: &Path, code: &str, address: AddressSettings) -> Self {
        let child = Self::new(home, code);
        let token = self.client().add_child(code, address).unwrap();
        let path = write(home, &token);
        assert_eq!(
            site::attach(&child.folder, &Way::Calls(self.link.to_string()), &path).unwrap(),
            token.parent
        );
        child
    }
}

pub(crate) fn write(home: &Path, token: &site::Token) -> PathBuf {
    let path = home.join(format!("{}.token", token.child));
    std::fs::write(&path, serde_json::to_vec(token).unwrap()).unwrap();
    path
}

/// A package whose content no compression makes smaller.
pub(crate) fn package_file(home: &Path, package: &str, version: &str, bytes: usize) -> PathBuf {
    let mut sample = Sample::new(package, version);
    let tree = sample.tree("/opt");
    sample.directory(tree, package);
    let mut content = Vec::with_capacity(bytes + 32);
    let mut hash = model::Hash::of(format!("{package} {version}").as_bytes());
    while content.len() < bytes {
        content.extend(hash.0);
        hash = model::Hash::of(&hash.0);
    }
    sample.file(tree, &format!("{package}/data"), &content);
    let path = home.join(format!("{package}-{version}.package"));
    std::fs::write(&path, sample.bytes()).unwrap();
    path
}

fn rate(rate: u64) -> AddressSettings {
    AddressSettings { rate: Some(rate), ..AddressSettings::default() }
}

pub(crate) fn is_there(point: &Path, package: &str, version: &str) -> bool {
    let (observed, seen) = held(point, package);
    matches!(observed, Observed::Holds(_)) && seen.as_deref() == Some(version)
}

pub(crate) fn assign(at: &Client, package: &str, point: &str) {
    let points = [point.to_owned()];
    // A site far below is known as soon as those between have said so.
    wait("the point can be reached", || at.assign(&name(package), &points, true).ok());
}

pub(crate) fn done(at: &Client, package: &str) -> Option<Status> {
    let status = at.status().ok().filter(Status::is_settled)?;
    let package = status.packages.iter().find(|one| one.name == name(package))?;
    (package.tally.wanted > 0 && package.tally.done == package.tally.wanted).then_some(status)
}

#[test]
fn what_is_published_at_the_top_is_at_the_bottom_whoever_is_killed() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Member::new(home, "TOP");
    top.start();
    let mut middle = top.child(home, "MIDDLE", rate(4_000_000));
    middle.start();
    let mut leaf = middle.child(home, "LEAF", rate(4_000_000));
    let office = home.join("office");
    leaf.start().add_point("office", &office.to_string_lossy()).unwrap();
    let first = package_file(home, "redis", "0", 500_000);
    top.client().publish(&first, false).unwrap();
    assign(&top.client(), "redis", "LEAF/office");
    for round in 1..=9_u32 {
        let version = round.to_string();
        let file = package_file(home, "redis", &version, 1_500_000);
        top.client().publish(&file, false).unwrap();
        // Killed while content travels, each round another one, and a little later.
        let began = Instant::now();
        let victim = match round % 3 {
            0 => &mut top,
            1 => &mut middle,
            _ => &mut leaf,
        };
        wait("a moment passes", || {
            (began.elapsed() > Duration::from_millis(u64::from(round) * 60)).then_some(())
        });
        victim.kill();
        victim.start();
        for site in [&top, &middle, &leaf] {
            site.client().retry(None, None).unwrap();
        }
        wait("it arrives", || is_there(&office, "redis", &version).then_some(()));
    }
    let status = wait("the top knows", || done(&top.client(), "redis"));
    assert_eq!(status.children[0].below, ["LEAF"]);
    for site in [&top, &middle, &leaf] {
        assert_eq!(site::check(&site.folder).unwrap(), Vec::<String>::new());
    }
    top.client().retire(&name("redis")).unwrap();
    wait("it is gone everywhere", || {
        let gone = |site: &Member| site.client().status().is_ok_and(|s| s.packages.is_empty());
        [&top, &middle, &leaf].into_iter().all(gone).then_some(())
    });
    assert_eq!(held(&office, "redis").0, Observed::Absent);
}

#[test]
fn who_was_killed_goes_on_where_it_was_and_loses_at_most_one_unit() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Member::new(home, "TOP");
    top.start();
    let speed = 600_000;
    let mut child = top.child(home, "CHILD", rate(speed));
    let asked = child.start();
    let office = home.join("office");
    asked.add_point("office", &office.to_string_lossy()).unwrap();
    let size = 6_000_000;
    top.client().publish(&package_file(home, "redis", "1", size), false).unwrap();
    assign(&top.client(), "redis", "CHILD/office");
    let (mut cuts, mut had) = (0, 0);
    while cuts < 3 {
        // A slow machine may have all of it before anybody looks: then it is not cut again.
        let done = wait("a part is there", || {
            let status = child.client().status().ok()?;
            let master = &status.packages.first()?.master;
            let part = master.transfer.map(|one| one.done).filter(|done| *done > had + 1_000_000);
            part.map(Some).or((master.state == "done").then_some(None))
        });
        let Some(done) = done else { break };
        (cuts, had) = (cuts + 1, done);
        child.kill();
        child.start();
        child.client().retry(None, None).unwrap();
    }
    assert!(cuts > 0, "nothing was cut");
    wait("it arrives", || is_there(&office, "redis", "1").then_some(()));
    let sent = top.client().status().unwrap().children[0].sent;
    // Half a second's bytes are one unit: what was on its way at each cut, and no more.
    let most = size as u64 + 100_000 + cuts * (speed / 2);
    let metrics = top.client().status().unwrap().to_metrics();
    let counted = format!("packhorse_child_sent_bytes_total{{child=\"CHILD\"}} {sent}\n");
    assert!(metrics.contains(&counted), "{metrics}");
    assert!((size as u64..=most).contains(&sent), "{sent} bytes were sent, {most} are fine");
}

#[test]
fn a_child_that_is_dead_or_closed_starves_no_other() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Member::new(home, "TOP");
    top.start();
    let closed =
        AddressSettings { hours: vec!["mon-sun 0-24 0%".to_owned()], ..AddressSettings::default() };
    let mut frozen = top.child(home, "FROZEN", rate(300_000));
    let mut shut = top.child(home, "SHUT", closed);
    let mut well = top.child(home, "WELL", AddressSettings::default());
    for site in [&mut frozen, &mut shut, &mut well] {
        let point = site.folder.path().with_extension("point");
        site.start().add_point("office", &point.to_string_lossy()).unwrap();
    }
    let point = |site: &Member| site.folder.path().with_extension("point");
    for package in ["a", "b", "c"] {
        top.client().publish(&package_file(home, package, "1", 2_000_000), false).unwrap();
        for code in ["FROZEN", "SHUT", "WELL"] {
            assign(&top.client(), package, &format!("{code}/office"));
        }
        if package == "a" {
            wait("something comes", || {
                let status = frozen.client().status().ok()?;
                status.packages.first()?.master.transfer.filter(|one| one.done > 0)
            });
            frozen.process.as_ref().unwrap().signal(Signal::STOP);
        }
    }
    for package in ["a", "b", "c"] {
        wait("it arrives", || is_there(&point(&well), package, "1").then_some(()));
    }
    let why = wait("the closed one says why", || {
        let status = shut.client().status().ok()?;
        status.packages.first()?.master.reason.clone().filter(|why| why.contains("is closed"))
    });
    assert!(!why.is_empty() && held(&point(&shut), "a").0 == Observed::Absent);
    // What changes is felt by transfers that wait.
    let code = policy::SiteCode::new("SHUT").unwrap();
    top.client().set_address(code.as_str(), &AddressSettings::default()).unwrap();
    frozen.process.as_ref().unwrap().signal(Signal::CONT);
    top.client().set_address("FROZEN", &AddressSettings::default()).unwrap();
    for site in [&shut, &frozen] {
        for package in ["a", "b", "c"] {
            wait("it arrives", || is_there(&point(site), package, "1").then_some(()));
        }
    }
}

#[test]
fn only_who_was_invited_is_a_child_and_only_once() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Member::new(home, "TOP");
    top.start();
    let link = top.link.to_string();
    let attach = |site: &Member, token: &site::Token| {
        site::attach(&site.folder, &Way::Calls(link.clone()), &write(home, token))
            .map_err(|error| error.to_string())
    };
    let token = top.client().add_child("CHILD", AddressSettings::default()).unwrap();
    let twice = top.client().add_child("CHILD", AddressSettings::default()).unwrap_err();
    assert!(twice.to_string().contains("exists already"), "{twice}");
    let (mut child, other) = (Member::new(home, "CHILD"), Member::new(home, "OTHER"));
    assert!(attach(&other, &token).unwrap_err().contains("the token is for `CHILD`"));
    let forged = site::Token { secret: "0".repeat(64), ..token.clone() };
    assert!(attach(&child, &forged).unwrap_err().contains("does not count here"));
    // Whoever answers there with another authority is not the parent.
    let mut stranger = Member::new(&home.join("stranger"), "TOP");
    stranger.link = testkit::free_address();
    stranger.start();
    let elsewhere =
        site::attach(&child.folder, &Way::Calls(stranger.link.to_string()), &write(home, &token))
            .unwrap_err();
    assert!(elsewhere.to_string().contains("is not the parent"), "{elsewhere}");
    attach(&child, &token).unwrap();
    attach(&child, &token).expect("the same again, for an answer may be lost");
    let thief = Member::new(&home.join("thief"), "CHILD");
    assert!(attach(&thief, &token).unwrap_err().contains("was used already"));
    // A ring is refused by who would close it.
    child.start();
    let ring = child.client().add_child("TOP", AddressSettings::default()).unwrap_err();
    assert!(ring.to_string().contains("has no rings"), "{ring}");
    wait("it is on the line", || top.client().status().ok().filter(|s| s.children[0].connected));
    // Who is no child any more is told so, and what to do.
    top.client().remove_child("CHILD").unwrap();
    let why = wait("it is told", || child.client().status().ok()?.parent?.why);
    assert!(why.contains("does not count here any more"), "{why}");
}

#[test]
fn a_child_that_cannot_call_is_called_whoever_is_killed() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Member::new(home, "TOP");
    top.start();
    let place = testkit::free_address();
    let address = AddressSettings { call: Some(place.to_string()), ..rate(1_500_000) };
    let token = top.client().add_child("CHILD", address).unwrap();
    let mut child = Member::new(home, "CHILD");
    // It is called as soon as it waits, for its certificate too.
    let parent = site::attach(&child.folder, &Way::Called(place), &write(home, &token)).unwrap();
    assert_eq!(parent, token.parent);
    let office = home.join("office");
    child.start().add_point("office", &office.to_string_lossy()).unwrap();
    top.client().publish(&package_file(home, "redis", "0", 500_000), false).unwrap();
    assign(&top.client(), "redis", "CHILD/office");
    wait("it arrives", || is_there(&office, "redis", "0").then_some(()));
    for (round, version) in ["1", "2", "3"].iter().enumerate() {
        let file = package_file(home, "redis", version, 3_000_000);
        top.client().publish(&file, false).unwrap();
        // A slow machine may have all of it before anybody looks.
        let part = |status: &Status| {
            let copies = || status.packages.iter().map(|one| (one.version.as_deref(), &one.master));
            let begun = |one: &CopyStatus| one.transfer.is_some_and(|one| one.done > 500_000);
            copies().any(|(_, one)| begun(one))
                || copies().any(|(known, one)| known == Some(version) && one.state == "done")
        };
        wait("it is under way", || child.client().status().ok().filter(part));
        let victim = if round % 2 == 0 { &mut top } else { &mut child };
        victim.kill();
        victim.start();
        for site in [&top, &child] {
            site.client().retry(None, None).unwrap();
        }
        wait("it arrives", || is_there(&office, "redis", version).then_some(()));
    }
    // A child that does not take the call is named with the reason.
    child.kill();
    let why = wait("it is said", || top.client().status().ok()?.children[0].why.clone());
    assert!(why.contains("refused") || why.contains("hung up"), "{why}");
}

/// A package whose every chunk is another in another version, and hardly differs.
fn touched(home: &Path, version: u8) -> PathBuf {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        b"0123456789abcdef"[usize::try_from(state >> 60).unwrap()]
    };
    let mut content: Vec<u8> = std::iter::repeat_with(&mut next).take(800_000).collect();
    for at in (100..content.len()).step_by(3_000) {
        content[at] = b'A' + version;
    }
    let mut sample = Sample::new("redis", &version.to_string());
    let tree = sample.tree("/opt");
    sample.directory(tree, "redis");
    sample.file(tree, "redis/data", &content);
    let path = home.join(format!("touched-{version}.package"));
    std::fs::write(&path, sample.bytes()).unwrap();
    path
}

fn of_packs(store: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let folders = std::fs::read_dir(store.join("packs")).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        (path.strip_prefix(store).unwrap().to_owned(), bytes)
    };
    files.map(|file| read(file.unwrap().path())).collect()
}

#[test]
fn an_update_travels_as_a_delta_and_damage_falls_back_to_all() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Member::new(home, "TOP");
    top.start();
    let mut middle = top.child(home, "MIDDLE", rate(400_000));
    middle.start();
    let mut leaf = middle.child(home, "LEAF", rate(400_000));
    let office = home.join("office");
    leaf.start().add_point("office", &office.to_string_lossy()).unwrap();
    top.client().publish(&touched(home, 1), false).unwrap();
    assign(&top.client(), "redis", "LEAF/office");
    wait("it arrives", || is_there(&office, "redis", "1").then_some(()));
    let sent = |site: &Member| site.client().status().unwrap().children[0].sent;
    let (first, below) = (sent(&top), sent(&middle));
    assert!(first > 350_000, "{first} bytes");
    top.client().publish(&touched(home, 2), false).unwrap();
    wait("it arrives", || is_there(&office, "redis", "2").then_some(()));
    for (site, before) in [(&top, first), (&middle, below)] {
        let update = sent(site) - before;
        assert!(update * 10 < first, "{update} bytes of {first}");
    }
    let packs = of_packs(&top.folder.store());
    let newest: Vec<_> = of_packs(&leaf.folder.store()).into_iter().collect();
    assert!(newest.iter().all(|(path, bytes)| packs.get(path) == Some(bytes)));
    // The copy it would start from is damaged: all of it comes.
    for path in of_packs(&middle.folder.store()).keys() {
        let path = middle.folder.store().join(path);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let before = sent(&top);
    top.client().publish(&touched(home, 3), false).unwrap();
    wait("it arrives", || is_there(&office, "redis", "3").then_some(()));
    let update = sent(&top) - before;
    assert!(update > 350_000, "{update} bytes");
}

#[test]
fn a_damaged_copy_of_a_child_is_mended_from_its_point_and_not_over_the_line() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path();
    let mut top = Member::new(home, "TOP");
    top.start();
    let mut leaf = top.child(home, "LEAF", rate(4_000_000));
    let office = home.join("office");
    leaf.start().add_point("office", &office.to_string_lossy()).unwrap();
    top.client().publish(&touched(home, 1), false).unwrap();
    assign(&top.client(), "redis", "LEAF/office");
    wait("it arrives", || is_there(&office, "redis", "1").then_some(()));
    wait("it is told", || done(&top.client(), "redis"));
    let sent = || top.client().status().unwrap().children[0].sent;
    let (before, store) = (sent(), leaf.folder.store());
    let sound = of_packs(&store);
    let first = store.join(sound.keys().next().unwrap());
    std::fs::write(&first, b"rot").unwrap();
    leaf.client().verify().unwrap();
    wait("it is mended", || (of_packs(&store) == sound).then_some(()));
    assert!(sent() - before < 50_000, "{} bytes came over the line", sent() - before);
    // An index nobody can read comes anew.
    let index = store.join("names/redis");
    let whole = std::fs::read(&index).unwrap();
    std::fs::write(&index, b"rot").unwrap();
    leaf.client().verify().unwrap();
    wait("the index is mended", || (std::fs::read(&index).ok()? == whole).then_some(()));
}

#[test]
fn an_address_somebody_has_for_a_moment_is_waited_for() {
    let temp = tempfile::tempdir().unwrap();
    let mut top = Member::new(temp.path(), "TOP");
    let taken = TcpListener::bind(top.link).unwrap();
    top.process = Some(Process::start_with(&top.folder, Some(top.link)));
    let log = top.folder.path().with_extension("log");
    wait("it is said", || {
        std::fs::read_to_string(&log).ok()?.contains("address-taken").then_some(())
    });
    drop(taken);
    top.client();
}
