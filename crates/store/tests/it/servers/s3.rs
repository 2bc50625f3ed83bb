//! An S3 server over a socket.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use jiff::Timestamp;
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use store::{Found, Point, PublishOptions, Signing, TrustSettings, collect, repair, verify};
use tokio::{net::TcpListener, runtime::Runtime};
use trust::{Edit, Lifetimes, Party, SigningKey};

use crate::point::{fetch_to, flip, name, noise, place, program};

struct S3 {
    folder: tempfile::TempDir,
    address: SocketAddr,
    _runtime: Runtime,
}

impl S3 {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("packages")).unwrap();
        let store = s3s_fs::FileSystem::new(folder.path()).unwrap();
        let mut service = S3ServiceBuilder::new(store);
        service.set_auth(SimpleAuth::from_single("horse", "stable"));
        let service = service.build();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { folder, address, _runtime: runtime }
    }

    fn settings(&self, secret: &str) -> Vec<(String, String)> {
        let endpoint = format!("http://{}", self.address);
        [
            ("AWS_ENDPOINT", &*endpoint),
            ("AWS_ACCESS_KEY_ID", "horse"),
            ("AWS_SECRET_ACCESS_KEY", secret),
            ("AWS_REGION", "us-east-1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn point(&self) -> Point {
        Point::open("s3://packages/main", self.settings("stable")).unwrap()
    }

    fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("packages/main").join(path)
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed([seed; 32]).unwrap()
}

#[test]
fn a_bucket_is_published_to_fetched_from_verified_repaired_and_collected() {
    let (s3, healthy) = (S3::start(), place());
    let point = s3.point();
    for version in ["1", "2"] {
        let mut sample = program(version);
        // More than one part of an upload.
        sample.file(0, "zz-large", &noise(20_000_000, 9));
        let file = healthy.file(&sample);
        for target in [&point, &healthy.point] {
            store::publish(target, &file, &PublishOptions::default(), &mut |_, _, _| {}).unwrap();
        }
    }
    assert_eq!(store::names(&point).unwrap(), [name()]);
    assert_eq!(verify(&point, &mut |_, _, _| {}).unwrap(), []);
    let whole = fetch_to(&point, &[], &healthy.path("whole"));
    assert_eq!(whole.routes, ["frames"]);
    let delta = fetch_to(&point, &[&healthy.path("1.package")], &healthy.path("delta"));
    assert_eq!(delta.routes, ["delta"]);
    assert!(delta.received * 10 < whole.received, "{} of {}", delta.received, whole.received);

    let objects = healthy.objects();
    let root = healthy.path("dp");
    let sources = [healthy.point];
    for (number, object) in objects.iter().enumerate() {
        let path = object.strip_prefix(&root).unwrap().to_str().unwrap();
        let wanted = if number % 2 == 0 {
            flip(&s3.file(path), 7919 * number);
            Found::Damaged
        } else {
            point.delete(path).unwrap();
            Found::Missing
        };
        let findings = verify(&point, &mut |_, _, _| {}).unwrap();
        assert_eq!(findings.iter().map(|one| one.found).collect::<Vec<_>>(), [wanted], "{path}");
        let repaired = repair(&point, &findings, &sources, &mut |_, _, _| {}).unwrap();
        assert_eq!((repaired.mended.len(), repaired.left.len()), (1, 0));
    }
    let lost = content::ObjectKind::Pack.path(model::Hash::of(b"lost"));
    point.write_small(&lost, b"lost".to_vec()).unwrap();
    assert_eq!(collect(&point, Duration::ZERO).unwrap().marked, [&*lost]);
    assert_eq!(collect(&point, Duration::ZERO).unwrap().swept, [&*lost]);
    assert_eq!(verify(&point, &mut |_, _, _| {}).unwrap(), []);
}

#[test]
fn publishers_of_a_bucket_at_once_all_are_signed() {
    let (s3, scratch) = (S3::start(), place());
    let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let party = |seed| Party { keys: vec![key(seed).public()], threshold: 1 };
    let edit = Edit::create(&party(1), &party(2), &party(3), model::Hash::of(b"s3")).unwrap();
    let keys = [key(1), key(2), key(3)];
    let change = edit.finish(&keys, now, &Lifetimes::default()).unwrap();
    assert!(store::apply_trust(&s3.point(), &change, false).unwrap());
    // What is there is not overwritten by who comes second.
    assert!(!s3.point().create_small("trust/1.root.json", b"other".to_vec()).unwrap());
    std::thread::scope(|scope| {
        for start in [1, 2] {
            let (s3, scratch) = (&s3, &scratch);
            scope.spawn(move || {
                for version in [start, start + 2] {
                    let options = PublishOptions {
                        bases: Some(vec![]),
                        signing: Some(Arc::new(Signing {
                            root: None,
                            role: "targets".to_owned(),
                            keys: vec![key(2), key(3)],
                            now,
                            lifetimes: Lifetimes::default(),
                        })),
                        ..PublishOptions::default()
                    };
                    let file = scratch.file(&program(&version.to_string()));
                    store::publish(&s3.point(), &file, &options, &mut |_, _, _| {}).unwrap();
                }
            });
        }
    });
    let root = s3.point().read_limited("trust/1.root.json", 1 << 20).unwrap().unwrap();
    let settings = TrustSettings { root, state: None, now };
    assert_eq!(store::verify_trust(&s3.point(), &settings).unwrap(), []);
    let verified = store::update_trust(&s3.point(), &settings, trust::Want::Everything).unwrap();
    assert_eq!(verified.releases(&name()).unwrap().len(), 4);
}

#[test]
fn a_bucket_is_closed_to_who_has_another_secret() {
    let s3 = S3::start();
    let stranger = Point::open("s3://packages/main", s3.settings("field")).unwrap();
    let error = store::releases(&stranger, &name()).unwrap_err();
    assert!(error.to_string().starts_with("reading `names/redis`"), "{error}");
}
