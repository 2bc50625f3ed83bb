use site::{Sqlite, Storage, StorageError, conformance};

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
fn what_a_newer_packhorse_made_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.db");
    drop(Sqlite::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(Sqlite::open(&path), Err(StorageError::Newer { found: 99, .. })));
}
