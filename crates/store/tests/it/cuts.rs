use std::path::Path;

use store::{FetchOptions, Point};

use crate::{
    point::{fetch_to, name, place, program},
    server::Server,
};

#[test]
fn an_update_over_http_takes_two_requests() {
    let place = place();
    for version in ["1", "2"] {
        place.publish(&program(version));
    }
    let server = Server::start(&place.path("dp"));
    let point = Point::open(&server.url, []).unwrap();
    let old = place.path("1.package");
    let fetched = fetch_to(&point, &[&old], &place.path("new.package"));
    assert_eq!(fetched.routes, ["delta"]);
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked.len(), 2, "{asked:?}");
}

/// Cut at any byte, a fetch goes on there: what came is not asked for again.
#[test]
fn a_cut_transfer_goes_on_where_it_was() {
    let place = place();
    place.publish(&program("1"));
    let server = Server::start(&place.path("dp"));
    let pack = std::fs::metadata(place.path("1.package")).unwrap().len();
    for seed in 0..20_u64 {
        let at = seed.wrapping_mul(7_919_777) % pack;
        let point = Point::open(&server.url, []).unwrap();
        let to = place.path(&format!("cut-{seed}"));
        std::fs::create_dir(&to).unwrap();
        let to = to.join("package");
        server.asked.lock().unwrap().clear();
        // The index comes whole, then the pack is cut.
        let index = std::fs::metadata(place.path("dp").join("names/redis")).unwrap().len();
        *server.until_cut.lock().unwrap() = Some(usize::try_from(index + at).unwrap());
        let wanted = store::wanted(&point, &name(), &FetchOptions::default()).unwrap();
        // The client may go on by itself; if it gives up, the next start does.
        if wanted.fetch(&to, &mut |_, _, _| {}).is_err() {
            fetch_to(&point, &[], &to);
        }
        assert_whole(&to, &place.path("1.package"));
        let (_, received) = point.counted();
        assert!(received <= pack + 3 * index + 1024, "{received} bytes for {pack}, cut at {at}");
    }
}

fn assert_whole(made: &Path, wanted: &Path) {
    assert!(std::fs::read(made).unwrap() == std::fs::read(wanted).unwrap());
}

/// What waits from before is not believed: another byte in it is found, and the object comes whole.
#[test]
fn a_damaged_partial_file_is_fetched_anew() {
    let place = place();
    let published = place.publish(&program("1"));
    let pack = published.release.packs[0];
    let mut half = std::fs::read(place.path("1.package")).unwrap();
    half.truncate(500_000);
    half[77] ^= 1;
    std::fs::write(place.path(&format!(".{}.partial", pack.hash)), half).unwrap();
    assert_eq!(place.fetch(&[], &program("1")).routes, ["whole"]);
}
