use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    time::SystemTime,
};

use compile::Format;
use model::{Hash, Owner};
use package::{Node, PackageReader, Record};

use crate::sandbox::{Sandbox, extract, noise, run, stderr};

fn records(sandbox: &Sandbox) -> Vec<Record> {
    let (_, output) = sandbox.compile(Format::Package).unwrap();
    let mut package = PackageReader::open(File::open(output).unwrap()).unwrap();
    package.verify(&mut |_, _| {}).unwrap();
    package.records().map(Result::unwrap).collect()
}

fn record<'r>(records: &'r [Record], path: &str) -> &'r Record {
    records.iter().find(|record| record.path == path.as_bytes()).unwrap()
}

fn error(sandbox: &Sandbox) -> String {
    let error = sandbox.compile(Format::Installer).unwrap_err().to_string();
    let left: Vec<_> =
        fs::read_dir(sandbox.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["project"], "a failed compilation leaves nothing");
    error.replace(&sandbox.path("").display().to_string(), "[folder]/")
}

/// The checkout's times, modes and folder order are no part of a package.
#[test]
fn the_same_project_makes_the_same_bytes() {
    let bytes = |names: &[&str], mode: u32, time: u64| {
        let sandbox = Sandbox::with_tree();
        for name in names {
            sandbox.file(format!("project/files/opt/{name}"), format!("{name}\n").repeat(100));
            let path = sandbox.payload(name.as_bytes());
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(time);
            File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }
        fs::read(sandbox.installer()).unwrap()
    };
    let one = bytes(&["b/x", "a", "a!", "c"], 0o600, 5);
    assert!(one == bytes(&["c", "a!", "a", "b/x"], 0o664, 1_000_000));
    assert!(one != bytes(&["c", "a!", "a", "b/x"], 0o700, 5), "who may execute is part of it");
}

#[test]
fn without_a_description_metadata_is_plain() {
    let sandbox = Sandbox::with_tree();
    sandbox.file("project/files/opt/bin/tool", "#!/bin/sh\n");
    fs::set_permissions(sandbox.payload(b"bin/tool"), Permissions::from_mode(0o710)).unwrap();
    sandbox.file("project/files/opt/text", "text");
    symlink("../text", sandbox.payload(b"bin/link")).unwrap();
    let records = records(&sandbox);
    let said: Vec<String> = records
        .iter()
        .map(|record| {
            let Record { path, meta, .. } = record;
            let (mode, owner, time) = (meta.mode, &meta.owner, meta.modified);
            let path = String::from_utf8_lossy(path);
            format!("{path:8} {mode:04o} {owner} {time} {}", kind(&record.node))
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
             0755 root 1980-01-01T00:00:00Z carrier
    bin      0755 root 1980-01-01T00:00:00Z carrier
    bin/link 0777 root 1980-01-01T00:00:00Z -> ../text
    bin/tool 0755 root 1980-01-01T00:00:00Z 10 bytes
    text     0644 root 1980-01-01T00:00:00Z 4 bytes
    ");
}

fn kind(node: &Node) -> String {
    match node {
        Node::Directory => "folder".to_owned(),
        Node::Carrier => "carrier".to_owned(),
        Node::File(content) => format!("{} bytes", content.length),
        Node::Symlink(target) => format!("-> {target}"),
        Node::HardLink { path, .. } => format!("= {}", String::from_utf8_lossy(path)),
        other => format!("{other:?}"),
    }
}

/// What version control loses comes from `files.meta`: empty folders, links, holes, devices, owners.
#[test]
fn files_meta_decides() {
    let sandbox = Sandbox::with_tree();
    let mut bytes = noise(1, 20_000);
    bytes[4096..12_288].fill(0);
    sandbox.file("project/files/opt/sparse", &bytes);
    sandbox.file("project/files/opt/one", "shared");
    sandbox.file(
        "project/files.meta",
        "# files.meta 1\n\
         files/opt dir modified=2024-01-01T00:00:00Z\n\
         files/opt/empty dir mode=0700 owner=redis modified=2024-01-02T00:00:00.5Z\n\
         files/opt/null char=1:3 modified=2024-01-01T00:00:00Z\n\
         files/opt/one modified=2024-01-03T00:00:00Z xattr:user.a=b\n\
         files/opt/pipe fifo modified=2024-01-01T00:00:00Z\n\
         files/opt/sparse modified=2024-01-01T00:00:00Z length=20000 holes=4096+8192\n\
         files/opt/two hardlink=files/opt/one modified=2024-01-03T00:00:00Z\n",
    );
    let records = records(&sandbox);
    let kinds: Vec<String> = records.iter().map(|record| kind(&record.node)).collect();
    let expected =
        "folder|folder|CharacterDevice { major: 1, minor: 3 }|6 bytes|Fifo|20000 bytes|= one";
    assert_eq!(kinds.join("|"), expected);
    assert_eq!(record(&records, "empty").meta.owner, Owner::Name("redis".into()));
    assert_eq!(record(&records, "one").meta.xattrs.len(), 1);
    let Node::File(content) = &record(&records, "sparse").node else { panic!("a file") };
    assert_eq!((content.holes.len(), content.hash), (1, Hash::of(&bytes)));

    let out = sandbox.path("extracted");
    assert_eq!(extract(&sandbox.installer(), &out).status.code(), Some(0));
    assert_eq!(fs::read(out.join("opt/sparse")).unwrap(), bytes);
    assert!(fs::metadata(out.join("opt/sparse")).unwrap().blocks() < 40, "the hole is one");
    assert_eq!(fs::metadata(out.join("opt/two")).unwrap().nlink(), 2);
}

#[test]
fn a_hole_must_be_empty() {
    let sandbox = Sandbox::with_tree();
    sandbox.file("project/files/opt/sparse", noise(1, 20_000));
    sandbox.file(
        "project/files.meta",
        "# files.meta 1\nfiles/opt/sparse modified=@0 length=20000 holes=4096+8192\n",
    );
    insta::assert_snapshot!(error(&sandbox), @"`files/opt/sparse` has data where `files.meta` says it has holes");
}

#[test]
fn texts_become_variables() {
    let sandbox = Sandbox::new(
        "[variables]\nprefix = { default = \"/opt/redis\" }\n\n[[step]]\ninstall-tree = \"files/opt\"\nto = \"${prefix}\"\nreplace-text = [{ files = [\"etc/*\"], text = \"/opt/redis\", with = \"${prefix}\" }]\n",
    );
    sandbox.file("project/files/opt/etc/redis.conf", "dir /opt/redis/data\nlog /opt/redis.log\n");
    sandbox.file("project/files/opt/bin/redis", "/opt/redis");
    symlink("/opt/redis/data", sandbox.payload(b"etc/data")).unwrap();
    let records = records(&sandbox);
    let Node::File(content) = &record(&records, "etc/redis.conf").node else { panic!("a file") };
    let ranges: Vec<_> =
        content.substitutions.iter().map(|one| (one.range.offset, one.range.length)).collect();
    assert_eq!(ranges, [(4, 10)]);
    assert_eq!(kind(&record(&records, "etc/data").node), "-> ${prefix}/data");
    let Node::File(content) = &record(&records, "bin/redis").node else { panic!("a file") };
    assert!(content.substitutions.is_empty());

    let out = sandbox.path("extracted");
    let installer = sandbox.installer();
    let output = run(&installer, &["--extract", out.to_str().unwrap(), "--set", "prefix=/srv/r"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(fs::read(out.join("srv/r/bin/redis")).unwrap(), b"/opt/redis");
    assert_eq!(fs::read_link(out.join("srv/r/etc/data")).unwrap().to_str(), Some("/srv/r/data"));
}

#[test]
fn exceptions_are_counted() {
    let sandbox = Sandbox::new(
        "[[step]]\ninstall-tree = \"files/opt\"\nto = \"/opt\"\nexcept = [\"**/*.log\", \"cache\"]\n",
    );
    for name in ["a.log", "b/c.log", "cache/x", "cache/y", "kept"] {
        sandbox.file(format!("project/files/opt/{name}"), "x");
    }
    let (compiled, _) = sandbox.compile(Format::Package).unwrap();
    assert_eq!((compiled.excluded, compiled.written.totals.files), (3, 1));
}

/// A missing source is an error with its name, and leaves no output (Q178137).
#[test]
fn q178137_what_is_missing_is_named() {
    insta::assert_snapshot!(error(&Sandbox::with_tree()), @"step 1 installs `files/opt`, which is not in the project: nothing has that name");
    let sandbox = Sandbox::new("[[step]]\ninstall-file = \"files/x\"\nto = \"/x\"\n");
    insta::assert_snapshot!(error(&sandbox), @"step 1 installs `files/x`, which is not in the project: nothing has that name");
    let sandbox = Sandbox::with_tree();
    sandbox.file("project/files/opt/a", "");
    sandbox.file("project/files.meta", "# files.meta 1\nfiles/opt/gone modified=@0\n");
    insta::assert_snapshot!(error(&sandbox), @"step 1 installs `files/opt/gone`, which is not in the project: `files.meta` has a line for it");
    let sandbox = Sandbox::new("[[step]]\ninstal-tree = \"files\"\nto = \"/\"\n");
    assert!(error(&sandbox).starts_with("`[folder]/project/package.toml` has "));
}

/// Every kind of step goes into a package, twice the same (Q178137).
#[test]
fn q178137_every_kind_of_step_compiles() {
    let sandbox = Sandbox::new(
        r#"[[step]]
install-tree = "files/opt"
to = "/opt"

[[step]]
install-file = "files/unit.service"
to = "/etc/systemd/system/unit.service"

[[step]]
create-directory = "/var/lib/sample"

[[step]]
create-link = "/usr/bin/sample"
target = "/opt/sample"

[[step]]
remove = "/opt/old"

[[step]]
set-metadata = "/etc/sample"
mode = "0750"
modified = "2024-01-01T00:00:00Z"

[[step]]
edit-lines = "/etc/shells"
add = ["/opt/sample/sh"]

[[step]]
create-group = "sample"
system = true

[[step]]
create-user = "sample"
system = true

[[step]]
service = "unit.service"
start = "automatic"

[[step]]
trigger = "ldconfig"

[[step]]
run = ["/opt/sample/init"]
undo = "irreversible"
"#,
    );
    sandbox.file("project/files/opt/sample", "\x7fELF");
    sandbox.file("project/files/unit.service", "[Service]\nExecStart=/opt/sample\n");
    let first = fs::read(sandbox.installer()).unwrap();
    let installer = sandbox.installer();
    assert!(first == fs::read(&installer).unwrap());
    let output = run(&installer, &["--explain"]);
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout).trim_end(), @r"
    sample 1.0 for any
    2 files with 36 bytes.

      1. Installs files to `/opt`.
      2. Installs files to `/etc/systemd/system/unit.service`.
      3. Installs files to `/var/lib/sample`.
      4. Installs files to `/usr/bin/sample`.
      5. Removes `/opt/old` with all it holds.
      6. Gives `/etc/sample` to root:root with mode 0750.
      7. Edits `/etc/shells`: adds the line `/opt/sample/sh`.
      8. Creates the group `sample`.
      9. Creates the user `sample`.
     10. Sets up the service `unit.service`, which starts by itself, and is started now.
     11. Brings up to date what `ldconfig` derives.
     12. Runs `/opt/sample/init`; nothing can undo it.
    ");
}

#[test]
fn an_installer_answers_in_json() {
    let sandbox = Sandbox::with_tree();
    sandbox.file("project/files/opt/a", "a");
    let installer = sandbox.installer();
    let answer = |arguments: &[&str]| {
        let output = run(&installer, arguments);
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), value)
    };
    let (code, header) = answer(&["--explain", "--json"]);
    assert_eq!((code, header["name"].as_str()), (Some(0), Some("sample")));
    let (code, refusal) = answer(&["--json", "--nonsense"]);
    assert_eq!((code, refusal["result"].as_str()), (Some(2), Some("usage")));
}

/// What is there already is never written over.
#[test]
fn extraction_needs_an_empty_folder() {
    let sandbox = Sandbox::with_tree();
    sandbox.file("project/files/opt/a", "a");
    sandbox.file("extracted/opt/a", "mine");
    let output = extract(&sandbox.installer(), &sandbox.path("extracted"));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("is there already and not empty"));
    assert_eq!(fs::read(sandbox.path("extracted/opt/a")).unwrap(), b"mine");
}
