use site::{Postgres, Sqlite, Storage, StorageError, conformance};

#[test]
fn sqlite_keeps_all_promises() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.db");
    conformance::all(&|| Box::new(Sqlite::open(&path).unwrap()) as Box<dyn Storage>);
}

#[test]
fn one_fence_is_one_job_in_the_database_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut storage = Sqlite::open(&folder.path().join("site.db")).unwrap();
    conformance::a_second_live_job_is_refused(&mut storage);
}

#[test]
fn postgresql_keeps_the_same_promises() {
    let server = testkit::PostgresServer::start().unwrap();
    let url = server.database("all").unwrap();
    conformance::all(&|| Box::new(Postgres::open(&url).unwrap()) as Box<dyn Storage>);
    let url = server.database("jobs").unwrap();
    conformance::a_second_live_job_is_refused(&mut Postgres::open(&url).unwrap());
    server.ask("jobs", "UPDATE schema_steps SET taken = 99").unwrap();
    assert!(matches!(Postgres::open(&url), Err(StorageError::Newer { found: 99, .. })));
}

#[test]
fn who_wrote_without_a_line_in_the_log_is_read_whole() {
    let server = testkit::PostgresServer::start().unwrap();
    let url = server.database("top").unwrap();
    let open = || Postgres::open(&url).unwrap();
    site::Desk::found(&mut open(), policy::SiteCode::new("TOP").unwrap()).unwrap();
    let fact = |value: &str| site::Change::Fact("a".to_owned(), Some(value.to_owned()));
    let (mut one, mut other) = (open(), open());
    let begun = one.begin().unwrap();
    one.commit(&[fact("1")]).unwrap();
    let turn = other.begin().unwrap();
    assert_eq!(other.changes_since(begun.generation, turn).unwrap(), Some(vec![fact("1")]));
    other.abandon();
    // An older Packhorse, from before the log.
    server
        .ask("top", "UPDATE fact SET value = '2'; UPDATE clock SET generation = generation + 1")
        .unwrap();
    let turn = other.begin().unwrap();
    assert_eq!(other.changes_since(begun.generation, turn).unwrap(), None);
    other.abandon();
    let mut desk = site::Desk::open(Box::new(open()), policy::Settings::default()).unwrap();
    assert_eq!(desk.fact("a"), Some("2"));
    server
        .ask("top", "UPDATE fact SET value = '3'; UPDATE clock SET generation = generation + 1")
        .unwrap();
    desk.event(policy::Event::Timer).unwrap();
    assert_eq!(desk.fact("a"), Some("3"));
}

#[test]
fn a_database_across_a_network_is_one_somebody_vouches_for() {
    let made = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let (certificate, key) = made("localhost");
    let server = testkit::PostgresServer::with_tls(&certificate, &key).unwrap();
    server.database("top").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("{}?sslrootcert={}", server.url_by_name("top"), path.display())
    };
    let url = authority("ours.pem", &certificate);
    conformance::all(&|| Box::new(Postgres::open(&url).unwrap()) as Box<dyn Storage>);
    let one = Postgres::open(&url).unwrap();
    let mut hearing = one.hearing().unwrap();
    hearing.next(std::time::Duration::from_secs(20)).unwrap();
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'packhorse site' AND ssl";
    assert_eq!(server.ask("top", encrypted).unwrap().trim(), "2");
    let why = |url: &str| model::with_causes(&Postgres::open(url).unwrap_err());
    let other = why(&authority("other.pem", &made("localhost").0));
    assert!(other.contains("certificate"), "{other}");
    let elsewhere = url.replace("localhost", "127.0.0.1");
    assert!(why(&elsewhere).contains("certificate"), "{}", why(&elsewhere));
    let plain = why(&server.url_by_name("top"));
    assert!(plain.contains("no encryption"), "{plain}");
}

#[test]
fn a_database_that_comes_back_is_used_again() {
    let mut server = testkit::PostgresServer::start().unwrap();
    let url = server.database("top").unwrap();
    let mut one = Postgres::open(&url).unwrap();
    one.begin().unwrap();
    server.kill();
    let fact = site::Change::Fact("a".to_owned(), Some("b".to_owned()));
    assert!(one.commit(std::slice::from_ref(&fact)).is_err());
    let error = one.begin().unwrap_err();
    assert!(matches!(error, StorageError::Database { .. }), "{error}");
    server.go_on().unwrap();
    let turn = one.begin().unwrap();
    assert_eq!(turn.generation, 0, "nothing was half written");
    one.commit(&[fact]).unwrap();
    assert_eq!(one.tables().unwrap().facts.len(), 1);
}

#[test]
fn who_waits_for_news_hears_of_it() {
    let server = testkit::PostgresServer::start().unwrap();
    let url = server.database("top").unwrap();
    let mut one = Postgres::open(&url).unwrap();
    let mut hearing = one.hearing().unwrap();
    let soon = std::time::Duration::from_secs(20);
    assert_eq!(
        hearing.next(soon).unwrap(),
        Some(0),
        "where it stands when somebody begins to listen"
    );
    let writer = std::thread::spawn(move || {
        one.begin().unwrap();
        one.commit(&[]).unwrap();
    });
    assert_eq!(hearing.next(soon).unwrap(), Some(1));
    writer.join().unwrap();
}

/// A process that is stopped in the middle of a transaction has its right for ten seconds.
#[test]
fn a_frozen_process_does_not_hold_up_the_others() {
    let server = testkit::PostgresServer::start().unwrap();
    let url = server.database("top").unwrap();
    let (mut frozen, mut other) = (Postgres::open(&url).unwrap(), Postgres::open(&url).unwrap());
    frozen.begin().unwrap();
    let turn = other.begin().unwrap();
    other.commit(&[]).unwrap();
    assert_eq!(turn.generation, 0);
    assert!(frozen.commit(&[]).is_err(), "what it decided is of no use any more");
    assert_eq!(frozen.begin().unwrap().generation, 1);
}

#[test]
fn what_a_newer_packhorse_made_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.db");
    drop(Sqlite::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(Sqlite::open(&path), Err(StorageError::Newer { found: 99, .. })));
}
