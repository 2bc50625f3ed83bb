use std::fs;

use compile::{CompileError, Destination, Format, export};
use native::{Settings, System};

use crate::sandbox::Sandbox;

const QUICK: Settings = Settings { level: 1, workers: 1 };

#[test]
fn a_package_becomes_a_deb_and_an_rpm_by_their_names() {
    let sandbox = Sandbox::with_tree();
    sandbox.file("project/files/opt/text", "text");
    let (_, package) = sandbox.compile(Format::Package).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for system in [System::Deb, System::Rpm] {
        let to = Destination::Folder(folder.path().to_owned());
        let (path, exported) = export(&package, &to, system, QUICK).unwrap();
        assert_eq!(path, folder.path().join(&exported.file_name));
        assert_eq!(fs::metadata(&path).unwrap().len(), exported.length);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
}

#[test]
fn a_damaged_package_is_not_exported() {
    let sandbox = Sandbox::with_tree();
    sandbox.file("project/files/opt/text", "text");
    let (_, package) = sandbox.compile(Format::Package).unwrap();
    let mut bytes = fs::read(&package).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&package, bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = Destination::File(folder.path().join("x.deb"));
    let error = export(&package, &to, System::Deb, QUICK).unwrap_err();
    assert!(matches!(error, CompileError::Damaged { .. }), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
