//! Sites without a line: a medium goes there and back.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use policy::Observed;
use site::{AddressSettings, Folder, Server, Status};

use crate::{
    tree::package_file,
    trusted::{ONLINE, OWNER, TEAM, begin, change, delegate, sign, signer},
    world::{find, held, name},
};

/// A site in this process.
struct Site(Arc<Server>);

impl Site {
    fn publish(&self, home: &Path, package: &str, version: &str) {
        self.0.publish(&package_file(home, package, version, 300_000), false).unwrap();
        self.0.assign(&name(package), &["CHILD/office".to_owned()], &[], true).unwrap();
    }

    fn until(&self, is_so: impl Fn(&Status) -> bool) -> Status {
        let began = std::time::Instant::now();
        loop {
            let status = self.0.status();
            if is_so(&status) {
                return status;
            }
            assert!(began.elapsed() < Duration::from_mins(1), "{}", status.to_text());
            std::thread::yield_now();
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.0.stop(Duration::from_secs(5));
    }
}

/// A parent, a child that no line leads to, its point, and a medium.
struct Journey {
    home: tempfile::TempDir,
    top: Site,
    child: Site,
    office: PathBuf,
    medium: PathBuf,
}

impl Journey {
    fn new() -> Self {
        Self::prepared(|_| ())
    }

    fn prepared(prepare: impl FnOnce(&Folder)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(&home.path().join("TOP"));
        site::init(&folder, "TOP", None).unwrap();
        prepare(&folder);
        let top = Site(Server::start(folder).unwrap());
        top.0.add_child("CHILD", &AddressSettings::default()).unwrap();
        let code = policy::SiteCode::new("CHILD").unwrap();
        let token = home.path().join("token");
        std::fs::write(&token, serde_json::to_vec(&top.0.token(&code).unwrap()).unwrap()).unwrap();
        let folder = Folder::new(&home.path().join("CHILD"));
        site::init(&folder, "CHILD", None).unwrap();
        site::attach(&folder, &site::Way::Courier, &token).unwrap();
        let child = Site(Server::start(folder).unwrap());
        let office = home.path().join("office");
        child.0.add_point("office", &office.to_string_lossy()).unwrap();
        let medium = home.path().join("stick");
        std::fs::create_dir(&medium).unwrap();
        Self { home, top, child, office, medium }
    }

    fn down(&self) -> site::Trip {
        self.top.0.courier_export(&self.medium, &[]).unwrap().remove(0)
    }

    fn import(&self) -> site::Trip {
        self.child.0.courier_import(&self.medium).unwrap().remove(0)
    }

    fn back(&self) {
        self.child.0.courier_export(&self.medium, &[]).unwrap();
        self.top.0.courier_import(&self.medium).unwrap();
    }

    fn arrives(&self, package: &str, version: &str) {
        self.child.until(|status| status.is_settled() && !status.packages.is_empty());
        let (observed, seen) = held(&self.office, package);
        assert!(matches!(observed, Observed::Holds(_)), "{observed:?}");
        assert_eq!(seen.as_deref(), Some(version));
    }
}

#[test]
fn a_courier_carries_content_there_and_the_status_back() {
    let journey = Journey::new();
    let home = journey.home.path();
    journey.top.publish(home, "redis", "1");
    let first = journey.down();
    assert_eq!((first.packages, first.left.len()), (1, 0));
    assert!(first.bytes > 300_000, "{first:?}");
    let again = journey.down();
    assert_eq!((again.objects, again.already), (0, first.objects), "a trip is packed once");
    let came = journey.import();
    assert_eq!((came.bytes, came.left.len()), (first.bytes, 0));
    journey.arrives("redis", "1");
    assert_eq!(journey.import().objects, 0, "twice is once");
    assert!(!journey.top.0.status().is_settled(), "nobody has told the parent yet");
    journey.back();
    let status = journey.top.until(Status::is_settled);
    assert_eq!(status.packages[0].tally.done, 1);
    // Only what is lacking goes along from now on.
    journey.top.publish(home, "nginx", "1");
    let second = journey.down();
    assert_eq!(second.packages, 1);
    assert!(second.bytes < first.bytes + 50_000, "{second:?}");
    journey.import();
    journey.arrives("nginx", "1");
    journey.back();
    journey.top.until(Status::is_settled);
    assert_eq!(journey.down().packages, 0, "nothing is lacking");
    // A removal travels as well.
    journey.top.0.event(policy::Event::Retire(name("redis"))).unwrap();
    journey.down();
    journey.import();
    journey.child.until(Status::is_settled);
    assert_eq!(held(&journey.office, "redis").0, Observed::Absent);
    journey.back();
    journey.top.until(|status| status.is_settled() && status.packages.len() == 1);
}

#[test]
fn what_was_damaged_on_the_way_harms_itself_only() {
    let journey = Journey::new();
    let home = journey.home.path();
    journey.top.publish(home, "nginx", "1");
    journey.top.publish(home, "redis", "1");
    let whole = journey.down();
    let objects = journey.medium.join("CHILD/down/objects");
    let largest = std::fs::read_dir(&objects)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    bytes[1_000] ^= 1;
    std::fs::write(&largest, bytes).unwrap();
    let came = journey.import();
    assert_eq!((came.left.len(), came.objects), (1, whole.objects - 1), "{came:?}");
    let arrived =
        |status: &Status| status.packages.iter().filter(|one| one.tally.done == 1).count();
    journey.child.until(|status| arrived(status) == 1);
    let status = journey.child.0.status();
    assert!(status.to_text().contains("a courier") || !status.is_settled(), "{}", status.to_text());
    // Packed again, it is whole, and only that object is written.
    assert_eq!(journey.down().objects, 1);
    assert_eq!(journey.import().objects, 1);
    journey.child.until(|status| arrived(status) == 2 && status.is_settled());
    // What rots at the child and at its point is missed in its report, and goes along again.
    journey.back();
    let store = home.join("CHILD/store");
    let pack = find(&store, "packs");
    let at_the_point = home.join("office").join(pack.strip_prefix(&store).unwrap());
    for pack in [&pack, &at_the_point] {
        std::fs::write(pack, b"rot").unwrap();
    }
    journey.child.0.verify_all();
    journey.back();
    let trip = journey.down();
    assert_eq!((trip.packages, trip.objects + trip.already), (1, 1), "{trip:?}");
    journey.import();
    journey.child.until(Status::is_settled);
}

#[test]
fn nobody_else_can_write_a_word() {
    let journey = Journey::new();
    let home = journey.home.path();
    journey.top.publish(home, "redis", "1");
    journey.down();
    let word = journey.medium.join("CHILD/down/word");
    let text = std::fs::read_to_string(&word).unwrap();
    let refused = |site: &Site| site.0.courier_import(&journey.medium).unwrap_err().to_string();
    std::fs::write(&word, text.replacen("redis", "radis", 1)).unwrap();
    assert!(refused(&journey.child).contains("not signed by the parent"));
    std::fs::write(&word, "{}").unwrap();
    assert!(refused(&journey.child).contains("cannot be read"));
    std::fs::write(&word, &text).unwrap();
    assert!(journey.child.0.status().packages.is_empty(), "nothing was taken in");
    // Another site of the same code, with a key of its own.
    let elsewhere = tempfile::tempdir().unwrap();
    let thief = Folder::new(&elsewhere.path().join("CHILD"));
    site::init(&thief, "CHILD", None).unwrap();
    site::attach(&thief, &site::Way::Courier, &home.join("token")).unwrap();
    journey.import();
    journey.back();
    let thief = Site(Server::start(thief).unwrap());
    thief.0.courier_export(&journey.medium, &[]).unwrap();
    let why = refused(&journey.top);
    assert!(why.contains("was used already"), "{why}");
    // Enrolled by now, the child's own word is taken without the token.
    journey.child.0.courier_export(&journey.medium, &[]).unwrap();
    journey.top.0.courier_import(&journey.medium).unwrap();
    assert!(journey.top.0.status().children[0].enrolled);
}

#[test]
fn trust_travels_by_courier_both_ways() {
    let journey = Journey::prepared(|folder| {
        begin(folder, b"top");
        delegate(folder, "child", "child-*");
    });
    let home = journey.home.path();
    let [top, child] = ["TOP", "CHILD"].map(|code| Folder::new(&home.join(code)));
    journey.top.publish(home, "redis", "1");
    journey.down();
    journey.import();
    journey.child.until(|status| {
        let reason = status.packages.first().and_then(|package| package.master.reason.clone());
        reason.is_some_and(|reason| reason.contains("nobody signed it who may"))
    });
    assert_eq!(held(&journey.office, "redis").0, Observed::Absent);
    let file = package_file(home, "redis", "1", 300_000);
    sign(&top, &file, "targets", &[OWNER, ONLINE]);
    journey.down();
    assert_eq!(journey.import().left, [""; 0]);
    journey.arrives("redis", "1");
    assert_eq!(signer(&top, &journey.office, "redis").unwrap(), "targets");
    // What the child's team signed goes up with its report, and comes back seen by the online key.
    let own = package_file(home, "child-tool", "1", 1_000);
    sign(&child, &own, "child", &[TEAM]);
    journey.child.0.publish(&own, false).unwrap();
    journey.child.0.assign(&name("child-tool"), &["office".to_owned()], &[], true).unwrap();
    journey.back();
    journey
        .top
        .until(|status| status.trust.as_ref().is_some_and(|trust| trust.waiting == ["child"]));
    assert!(signer(&top, &journey.office, "child-tool").is_err());
    change(&top, &[ONLINE], |_| ());
    journey.down();
    assert_eq!(journey.import().left, [""; 0]);
    journey
        .child
        .until(|_| signer(&top, &journey.office, "child-tool").is_ok_and(|role| role == "child"));
}
