//! Files that say themselves what they would install: better taken apart than run.

use std::{ffi::OsString, fs::File, io::Read, path::Path};

/// What to do instead of running `command`, if its first word is a package or an archive.
pub(super) fn advice(command: &[OsString]) -> Option<String> {
    let path = Path::new(command.first()?);
    let name = path.display();
    Some(match kind(path)? {
        Kind::Deb => format!(
            "`{name}` is a Debian package, which says itself what it holds: capture its installation with \
             `packhorse capture run -o PROJECT -- dpkg -i {name}`, or take its files without running anything: \
             `dpkg-deb -x {name} PROJECT/files`"
        ),
        Kind::Rpm => format!(
            "`{name}` is an RPM package, which says itself what it holds: capture its installation with \
             `packhorse capture run -o PROJECT -- rpm -i {name}`, or take its files without running anything: \
             `rpm2cpio {name} | cpio -idm -D PROJECT/files`"
        ),
        Kind::Compound => format!(
            "`{name}` is no program, and may be a package of Windows Installer, which says itself what it installs: \
             `packhorse wrap {name} -o PROJECT` carries it as it is; to capture it all the same, run \
             `msiexec /i {name} /qn`"
        ),
        Kind::Archive(how) => format!(
            "`{name}` is an archive, not a program: unpack it in a capture, \
             `packhorse capture run -o PROJECT -- {how}`, or take its files without running anything: \
             unpack it below PROJECT/files"
        ),
    })
}

enum Kind {
    Deb,
    Rpm,
    Compound,
    Archive(String),
}

/// By the first bytes, never by the name: deb(5), rpm's lead, gzip RFC 1952, xz, zstd RFC 8878, zip, ustar.
fn kind(path: &Path) -> Option<Kind> {
    let mut start = [0; 512];
    let mut file = File::open(path).ok()?;
    let length = file.read(&mut start).ok()?;
    let start = &start[..length];
    let tar = || Kind::Archive(format!("tar -xf {} -C /opt/NAME", path.display()));
    if start.starts_with(b"!<arch>\ndebian-binary") {
        Some(Kind::Deb)
    } else if start.starts_with(&[0xED, 0xAB, 0xEE, 0xDB]) {
        Some(Kind::Rpm)
    } else if start.starts_with(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1]) {
        Some(Kind::Compound)
    } else if start.starts_with(b"PK\x03\x04") {
        Some(Kind::Archive(format!("unzip {} -d /opt/NAME", path.display())))
    } else {
        let packed: [&[u8]; 4] =
            [&[0x1F, 0x8B], &[0xFD, b'7', b'z', b'X', b'Z'], &[0x28, 0xB5, 0x2F, 0xFD], b"BZh"];
        let is_tar = start.get(257..262) == Some(b"ustar")
            || packed.iter().any(|magic| start.starts_with(magic));
        is_tar.then(tar)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::advice;

    #[test]
    fn packages_and_archives_are_told_by_their_bytes() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"!<arch>\ndebian-binary   1").unwrap();
        assert!(advice(&[file.path().into()]).unwrap().contains("dpkg -i"));
        let mut script = tempfile::NamedTempFile::new().unwrap();
        script.write_all(b"#!/bin/sh\nexit 0\n").unwrap();
        assert_eq!(advice(&[script.path().into()]), None);
        assert_eq!(advice(&["no-such-file".into()]), None);
    }
}
