use std::io::Cursor;

use native::{System, read_deb, read_rpm, sign_rpm};

use crate::support::{export, member, sample};

fn text(files: &[(String, String, Vec<u8>)], path: &str) -> String {
    let file = files.iter().find(|(name, ..)| name == path);
    String::from_utf8(file.unwrap_or_else(|| panic!("{path}")).2.clone()).unwrap()
}

#[test]
fn the_same_package_makes_the_same_bytes() {
    for system in [System::Deb, System::Rpm] {
        let (_, one) = export(&sample(), system).unwrap();
        let (_, other) = export(&sample(), system).unwrap();
        assert!(one == other, "{system}");
    }
}

#[test]
fn a_deb_says_what_the_script_says() {
    let (exported, deb) = export(&sample(), System::Deb).unwrap();
    assert_eq!(exported.file_name, "hello_1.2-3_amd64.deb");
    let control = member(&deb, "control.tar.xz");
    insta::assert_snapshot!(text(&control, "./control"), @"
    Package: hello
    Version: 1.2-3
    Architecture: amd64
    Maintainer: Ada Nym <ada@example.org>
    Installed-Size: 48
    Depends: libc6 (>= 2.36), passwd
    Section: net
    Priority: optional
    Homepage: https://example.org
    Description: says hello
     One.
     .
     Two.
    ");
    assert_eq!(text(&control, "./conffiles"), "/etc/hello/hello.conf\n");
    assert_eq!(text(&control, "./triggers"), "activate-noawait ldconfig\n");
    let remarks: Vec<String> = exported.remarks.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(remarks.join("\n"), @"
    step 7: nothing takes back what its program does
    times keep whole seconds
    ");
    let deb = read_deb(&*deb).unwrap();
    assert_eq!((&*deb.name, &*deb.version, &*deb.architecture), ("hello", "1.2-3", "amd64"));
}

#[test]
fn a_deb_carries_the_trees() {
    let (_, deb) = export(&sample(), System::Deb).unwrap();
    let data = member(&deb, "data.tar.xz");
    let lines: Vec<String> = data
        .iter()
        .map(|(path, kind, content)| format!("{path} {kind} {}", content.len()))
        .collect();
    let ours: Vec<&String> = lines
        .iter()
        .filter(|line| !line.contains("/usr") && !line.contains("long/long/long/long "))
        .collect();
    let far = format!("./opt/hello/{}", "long/".repeat(30));
    let far = far.trim_end_matches('/');
    assert_eq!(text(&data, far), "far");
    assert_eq!(text(&data, "./opt/hello/hello"), "#!/bin/sh\necho hello\n");
    let shown: Vec<&&String> = ours.iter().filter(|line| !line.contains("long")).collect();
    insta::assert_snapshot!(shown.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n"), @"
    ./ Directory 755 root 1700000000  0
    ./opt/ Directory 755 root 1700000000  0
    ./opt/hello/ Directory 755 root 1700000000  0
    ./opt/hello/hello Regular 755 root 1700000000  21
    ./opt/hello/hello-again Link 755 root 1700000000 ./opt/hello/hello 0
    ./opt/hello/hi Symlink 777 root 1700000000 /opt/hello/hello 0
    ./etc/ Directory 755 root 1700000000  0
    ./etc/hello/ Directory 755 root 1700000000  0
    ./etc/hello/hello.conf Regular 644 root 1700000000  6
    ");
}

#[test]
fn scripts_are_what_a_shell_takes() {
    let (_, deb) = export(&sample(), System::Deb).unwrap();
    let control = member(&deb, "control.tar.xz");
    for script in ["./postinst", "./prerm", "./postrm"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script");
        std::fs::write(&path, text(&control, script)).unwrap();
        let output = std::process::Command::new("sh").arg("-n").arg(&path).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let postinst = text(&control, "./postinst");
    let steps = postinst.split("# step ").collect::<Vec<_>>();
    insta::assert_snapshot!(steps[2], @r#"
    5
    if begin 000005 1bfc734c4fcb <<'1bfc734c4fcb'
    unit=$1
    . "${1%/*}/library"
    update-alternatives --remove hello /opt/hello/hello
    1bfc734c4fcb
    then
    update-alternatives --install /usr/bin/hello hello /opt/hello/hello 50
      end
    fi
    "#);
    insta::assert_snapshot!(steps[3], @r#"
    7
    code=0
    timeout 60 /opt/hello/hello 'it'\''s '"$(uname -n)" || code=$?
    case $code in
      0) ;;
      *) say "a program ended with $code"; exit 1 ;;
    esac
    "#);
    assert!(
        postinst.contains("own hello:root \\\n"),
        "owners that may not exist yet are set by script"
    );
    assert!(postinst.contains("chmod 4750 "), "special bits come after the owner");
}

#[test]
fn an_rpm_says_what_the_script_says() {
    let (exported, rpm) = export(&sample(), System::Rpm).unwrap();
    assert_eq!(exported.file_name, "hello-1.2-3.x86_64.rpm");
    let read = read_rpm(&mut Cursor::new(&rpm)).unwrap();
    assert_eq!((&*read.version, &*read.release), ("1.2", "3"));
    let requires: Vec<String> = read
        .requires
        .iter()
        .map(|one| format!("{} {:x} {}", one.name, one.flags, one.version).trim_end().to_owned())
        .collect();
    insta::assert_snapshot!(requires.join("\n"), @"
    /bin/sh 1f00
    /usr/sbin/update-alternatives 600
    /usr/sbin/useradd 600
    glibc c 2.36
    rpmlib(CompressedFileNames) 100000a 3.0.4-1
    rpmlib(FileDigests) 100000a 4.6.0-1
    rpmlib(PayloadFilesHavePrefix) 100000a 4.0-1
    rpmlib(PayloadIsZstd) 100000a 5.4.18-1
    ");
    let files: Vec<String> = read
        .files
        .iter()
        .filter(|(path, _)| !path.contains("long"))
        .map(|(path, folder)| format!("{path} {folder}"))
        .collect();
    insta::assert_snapshot!(files.join("\n"), @"
    /etc/hello true
    /etc/hello/hello.conf false
    /opt/hello true
    /opt/hello/hello false
    /opt/hello/hello-again false
    /opt/hello/hi false
    ");
    assert_eq!(read.license, "MIT");
}

#[test]
fn a_signature_comes_in_and_nothing_else_changes() {
    let (_, rpm) = export(&sample(), System::Rpm).unwrap();
    let sign = |rpm: &[u8], word: &[u8]| {
        let mut out = Vec::new();
        let mut seen = Vec::new();
        let mut signer = |bytes: &[u8]| {
            seen = bytes.to_vec();
            Ok((word.to_vec(), true))
        };
        sign_rpm(&mut Cursor::new(rpm), &mut out, &mut signer).unwrap();
        let read = read_rpm(&mut Cursor::new(&out)).unwrap();
        let (start, end) = read.header;
        assert_eq!(out[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()], seen);
        out
    };
    let once = sign(&rpm, b"first-signature");
    assert!(once.windows(15).any(|bytes| bytes == b"first-signature"));
    let twice = sign(&once, b"other-signature");
    assert!(
        !twice.windows(15).any(|bytes| bytes == b"first-signature") && twice.len() == once.len()
    );
    let plain = read_rpm(&mut Cursor::new(&rpm)).unwrap();
    let after = |bytes: &[u8], start: u64| bytes[usize::try_from(start).unwrap()..].to_vec();
    let signed = read_rpm(&mut Cursor::new(&twice)).unwrap();
    assert_eq!(after(&rpm, plain.header.0), after(&twice, signed.header.0));
}

#[test]
fn damaged_files_are_refused_and_nothing_panics() {
    let (_, rpm) = export(&sample(), System::Rpm).unwrap();
    let (_, deb) = export(&sample(), System::Deb).unwrap();
    let front = &rpm[..6000];
    for at in 0..front.len() {
        let mut bytes = front.to_vec();
        bytes[at] ^= 0xff;
        let _ = read_rpm(&mut Cursor::new(bytes));
        let _ = read_rpm(&mut Cursor::new(&front[..at]));
    }
    for at in (0..deb.len()).step_by(7) {
        let mut bytes = deb.clone();
        bytes[at] ^= 0xff;
        let _ = read_deb(&*bytes);
        let _ = read_deb(&deb[..at]);
    }
    assert!(read_rpm(&mut Cursor::new(&deb)).is_err() && read_deb(&*rpm).is_err());
}
