//! Straight from a distribution point onto a machine, starting from what is installed there.

use std::path::PathBuf;

use install::Options;
use model::Version;
use package::{Header, Node, Record};
use store::{Cache, FetchOptions, Installed, Point, PublishOptions, Ready, Wanted};
use testkit::{Picture, Sample, SimDisk, SimFacts};

use crate::{
    point::{Place, flip, name, place, program},
    server::Server,
};

struct Silent;

impl install::Progress for Silent {
    fn progress(&mut self, _: install::Stage, _: u64, _: u64, _: &str) {}
}

fn put_on(disk: &mut SimDisk, payload: &mut dyn install::Payload) -> bool {
    let paths = install::state_paths(disk).unwrap();
    install::recover(disk, &paths).unwrap();
    let options = Options::default();
    install::open_state(disk, &paths, options.began).unwrap();
    let done = install::install(disk, &paths, payload, &SimFacts, &options, &mut Silent);
    install::close_state(disk, &paths).unwrap();
    done.is_ok()
}

fn picture(disk: &SimDisk) -> Picture {
    Picture::of(disk, "/", &["/var"])
}

/// As if they had been installed from files, one after the other.
fn as_from_files(samples: &[Sample]) -> Picture {
    let mut disk = SimDisk::new();
    for sample in samples {
        assert!(put_on(&mut disk, &mut sample.open()));
    }
    picture(&disk)
}

/// The files of a package below a folder, as they are when it is installed.
fn files(place: &Place, sample: &Sample) -> PathBuf {
    let root = place.path("root");
    let mut reader = sample.open();
    install::Payload::contents(&mut reader, &mut |record, pour| {
        if let Node::File(_) = &record.node {
            let path = root.join(std::str::from_utf8(&record.path).unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut bytes = Vec::new();
            pour.pour(&mut |_, piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        Ok(())
    })
    .unwrap();
    root
}

fn wanted<'p>(place: &Place, point: &'p Point, installed: Option<&str>) -> Wanted<'p> {
    let root = place.path("root");
    let at =
        |_: &Header, record: &Record| Some(root.join(std::str::from_utf8(&record.path).unwrap()));
    let installed =
        installed.map(|version| Installed { version: Version::new(version), place: &at });
    let cache = Cache::open(&place.path("cache"), Cache::LIMIT).unwrap();
    let options = FetchOptions { cache: Some(cache), ..FetchOptions::default() };
    store::wanted(point, &name(), &options, installed.as_ref()).unwrap()
}

fn install(wanted: &mut Wanted<'_>, disk: &mut SimDisk) -> (bool, &'static str) {
    match wanted.ready().unwrap() {
        Ready::Streamed(assembly) => (put_on(disk, assembly), "streamed"),
        Ready::File(path) => {
            let file = std::fs::File::open(path).unwrap();
            (put_on(disk, &mut package::PackageReader::open(file).unwrap()), "file")
        }
    }
}

fn published(versions: &[&str]) -> Place {
    let place = place();
    for version in versions {
        place.publish(&program(version));
    }
    place
}

#[test]
fn a_first_install_streams_and_leaves_nothing_waiting() {
    let place = published(&["1", "2"]);
    let server = Server::start(&place.path("dp"));
    let point = Point::open(&server.url, []).unwrap();
    let mut wanted = wanted(&place, &point, None);
    let mut disk = SimDisk::new();
    assert_eq!(install(&mut wanted, &mut disk), (true, "streamed"));
    assert_eq!(picture(&disk).differences(&as_from_files(&[program("2")])), [""; 0]);
    assert!(wanted.counted().requests <= 7, "{:?}", wanted.counted());
    wanted.tidy().unwrap();
    let left = std::fs::read_dir(place.path("cache")).unwrap();
    let frames =
        left.filter(|entry| !entry.as_ref().unwrap().path().extension().unwrap().eq("manifest"));
    assert_eq!(frames.count(), 0);
}

/// The machine loses its connection in the middle: it is as it was; what came is not asked for again.
#[test]
fn a_cut_install_is_rolled_back_and_goes_on_where_it_was() {
    let place = published(&["1"]);
    let server = Server::start(&place.path("dp"));
    for seed in 1..2_usize {
        let _ = std::fs::remove_dir_all(place.path("cache"));
        let mut disk = SimDisk::new();
        let before = picture(&disk);
        let mut came = 0;
        let at = seed * 420_011 + 1500;
        // A server that is gone for good: the wire is cut at every byte from there on.
        for round in 0..2 {
            let point = Point::open(&server.url, []).unwrap();
            let mut wanted = wanted(&place, &point, None);
            if round == 0 {
                *server.until_cut.lock().unwrap() = Some(at);
                *server.dead.lock().unwrap() = true;
            }
            let (done, _) = install(&mut wanted, &mut disk);
            came += wanted.counted().bytes;
            assert_eq!(done, round == 1, "cut at {at}, round {round}");
            if round == 0 {
                assert_eq!(picture(&disk).differences(&before), [""; 0]);
                *server.dead.lock().unwrap() = false;
                *server.until_cut.lock().unwrap() = None;
            }
        }
        assert_eq!(picture(&disk).differences(&as_from_files(&[program("1")])), [""; 0]);
        let pack = std::fs::metadata(place.path("1.package")).unwrap().len();
        assert!(came < pack + 8192, "{came} bytes for {pack}, cut at {at}");
    }
}

#[test]
fn an_update_starts_from_what_is_installed() {
    let place = published(&["1", "2"]);
    files(&place, &program("1"));
    let mut disk = SimDisk::new();
    assert!(put_on(&mut disk, &mut program("1").open()));
    let mut wanted = wanted(&place, &place.point, Some("1"));
    assert_eq!(install(&mut wanted, &mut disk), (true, "streamed"));
    assert_eq!(picture(&disk).differences(&as_from_files(&[program("1"), program("2")])), [""; 0]);
    assert!(wanted.counted().bytes < 25_000, "{:?}", wanted.counted());
    assert_eq!(wanted.notes(), [""; 0]);
    wanted.tidy().unwrap();
}

#[test]
fn a_delta_that_leads_astray_is_left_in_the_middle_of_an_install() {
    let place = published(&["1", "2"]);
    let root = files(&place, &program("1"));
    let mut disk = SimDisk::new();
    assert!(put_on(&mut disk, &mut program("1").open()));
    let mut wanted = wanted(&place, &place.point, Some("1"));
    // After it was looked at, and before it is started from.
    flip(&root.join("program"), 50_000);
    assert_eq!(install(&mut wanted, &mut disk), (true, "streamed"));
    assert_eq!(picture(&disk).differences(&as_from_files(&[program("1"), program("2")])), [""; 0]);
    assert!(wanted.notes()[0].starts_with("the delta was of no use"), "{:?}", wanted.notes());
    wanted.tidy().unwrap();
}

/// An altered file is not started from: what the delta needs of it comes from its pack, if that is cheaper than the rest.
#[test]
fn altered_files_are_noticed_and_the_ways_weighed_again() {
    for altered in ["same", "program"] {
        let place = published(&["1", "2"]);
        let root = files(&place, &program("1"));
        flip(&root.join(altered), 50_000);
        let mut disk = SimDisk::new();
        assert!(put_on(&mut disk, &mut program("1").open()));
        let mut wanted = wanted(&place, &place.point, Some("1"));
        assert!(wanted.notes().iter().any(|note| note.starts_with("1 installed files are not")));
        let cheapest = wanted.plan().cost().bytes;
        let (done, _) = install(&mut wanted, &mut disk);
        assert!(done);
        assert_eq!(
            picture(&disk).differences(&as_from_files(&[program("1"), program("2")])),
            [""; 0]
        );
        let came = wanted.counted().bytes;
        assert!(came < cheapest + 30_000, "{came} bytes where {cheapest} were planned");
    }
}

#[test]
fn a_version_the_point_does_not_know_is_no_base() {
    let place = published(&["1", "2"]);
    files(&place, &program("1"));
    let mut wanted = wanted(&place, &place.point, Some("0.9"));
    assert!(wanted.notes()[0].contains("does not know it"));
    let mut disk = SimDisk::new();
    assert!(install(&mut wanted, &mut disk).0);
}

#[test]
fn a_file_that_changes_after_it_was_looked_at_does_no_harm() {
    let place = place();
    let options = PublishOptions { bases: Some(vec![]), ..PublishOptions::default() };
    for version in ["1", "2"] {
        let file = place.file(&program(version));
        store::publish(&place.point, &file, &options, &mut |_, _, _| {}).unwrap();
    }
    let root = files(&place, &program("1"));
    let mut wanted = wanted(&place, &place.point, Some("1"));
    flip(&root.join("same"), 99);
    let mut disk = SimDisk::new();
    assert_eq!(install(&mut wanted, &mut disk), (true, "streamed"));
    assert_eq!(picture(&disk).differences(&as_from_files(&[program("2")])), [""; 0]);
}

#[test]
fn the_cache_keeps_its_limit() {
    let place = published(&["1"]);
    let cache = Cache::open(&place.path("cache"), 1000).unwrap();
    for number in 0..10 {
        std::fs::write(place.path("cache").join(format!("{number}.manifest")), [0; 300]).unwrap();
    }
    assert_eq!(cache.trim().unwrap(), 7 * 300);
}
