//! Google's buckets, spoken to over a socket.

use store::{Point, PublishOptions, verify};
use testkit::S3Server;

use crate::point::{fetch_to, noise, place, program};

#[test]
fn a_google_bucket_is_published_to_and_fetched_from() {
    let (server, scratch) = (S3Server::start_as_google().unwrap(), place());
    let point = Point::open("gs://packages/main", server.google_settings()).unwrap();
    for version in ["1", "2"] {
        let mut sample = program(version);
        // More than one part of an upload.
        sample.file(0, "zz-large", &noise(20_000_000, 9));
        let file = scratch.file(&sample);
        store::publish(&point, &file, &PublishOptions::default(), &mut |_, _, _| {}).unwrap();
    }
    assert!(server.bucket().join("main/names").is_dir());
    assert_eq!(verify(&point, &mut |_, _, _| {}).unwrap(), []);
    // What is there is not overwritten by who comes second.
    assert!(point.create_small("one", b"first".to_vec()).unwrap());
    assert!(!point.create_small("one", b"second".to_vec()).unwrap());
    let whole = fetch_to(&point, &[], &scratch.path("whole"));
    let delta = fetch_to(&point, &[&scratch.path("1.package")], &scratch.path("delta"));
    assert_eq!((&*whole.routes[0], &*delta.routes[0]), ("frames", "delta"));
}

#[test]
fn azure_and_google_are_places_to_publish_to() {
    let account =
        [("AZURE_STORAGE_ACCOUNT_NAME", "horse"), ("AZURE_STORAGE_ACCOUNT_KEY", "c3RhYmxl")];
    let account = || account.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for location in ["az://packages/main", "https://horse.blob.core.windows.net/packages/main"] {
        drop(Point::open(location, account()).unwrap());
    }
    let refused = Point::open("az://packages/main", []).unwrap_err();
    assert!(model::with_causes(&refused).contains("Account"), "{}", model::with_causes(&refused));
}
