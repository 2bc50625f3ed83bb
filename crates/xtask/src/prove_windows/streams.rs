//! Named streams on real volumes of NTFS (Q316316): captured on one, installed on another, taken off.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{XattrFlags, setxattr};

use super::Proof;
use crate::command::{captured, command, run_quietly, tail};

/// Files, and the bytes of a stream of each: the most Linux gives an attribute.
const FILES: u8 = 200;
const BYTES: usize = 64 << 10;
/// What every download from the net has beside.
const ZONE: &[u8] = b"[ZoneTransfer]\r\nZoneId=3\r\n";
/// Bytes of a volume; it is sparse.
const VOLUME: u64 = 256 << 20;

impl Proof {
    /// What was seen, in a sentence.
    pub(super) fn streams(&self) -> Result<String> {
        let at = |name: &str| self.folder.join(name);
        let from = Volume::new(&at("from"))?.mount("xattr")?;
        let mut begin = command(self.program(), ["capture", "begin", "--root"]);
        let session = at("session-streams");
        run_quietly(begin.arg(&from.folder).arg("--session").arg(&session))?;
        let place = from.folder.join("opt/streams");
        fs::create_dir_all(&place)?;
        for number in 0..FILES {
            let file = place.join(format!("{number}.txt"));
            fs::write(&file, format!("file {number}\n"))?;
            setxattr(&file, "user.large", &large(number), XattrFlags::empty())?;
            setxattr(&file, "user.Zone.Identifier", ZONE, XattrFlags::empty())?;
        }
        let project = at("streams");
        let mut finish = command(self.program(), ["capture", "finish", "--session"]);
        run_quietly(finish.arg(&session).arg("-o").arg(&project))?;
        let installer = at("streams.run");
        let mut compile = command(self.program(), ["compile", "--fast", "-o"]);
        run_quietly(compile.arg(&installer).arg(&project))?;

        let volume = Volume::new(&at("to"))?;
        let to = volume.mount("xattr")?;
        let program = installer.to_str().context("a plain path")?;
        run_quietly(command(program, ["--silent", "--root"]).arg(&to.folder))?;
        drop(to);
        // As Windows names them: `1.txt:large`.
        let to = volume.mount("windows")?;
        for number in 0..FILES {
            let stream = |name: &str| {
                let path = to.folder.join(format!("opt/streams/{number}.txt{name}"));
                fs::read(&path).with_context(|| path.display().to_string())
            };
            ensure!(stream("")? == format!("file {number}\n").as_bytes(), "file {number}");
            ensure!(stream(":large")? == large(number), "the large stream of file {number}");
            ensure!(stream(":Zone.Identifier")? == ZONE, "the zone of file {number}");
        }
        drop(to);
        let to = volume.mount("xattr")?;
        run_quietly(command(program, ["--uninstall", "--silent", "--root"]).arg(&to.folder))?;
        let left: Vec<_> = fs::read_dir(&to.folder)?.collect::<Result<_, _>>()?;
        let left: Vec<_> = left.iter().map(fs::DirEntry::file_name).collect();
        ensure!(!left.iter().any(|name| name == "opt"), "{left:?} stays");
        drop(to);

        // Where there are none, nothing is installed without them.
        let bare = volume.mount("none")?;
        let said = captured(command(program, ["--silent", "--root"]).arg(&bare.folder))?;
        let named = tail(&said).contains("holds no attribute `user.");
        ensure!(!said.status.success() && named, "{}", tail(&said));
        ensure!(!bare.folder.join("opt").exists(), "files without their streams");
        Ok(format!(
            "{FILES} files with two streams each, one of {} KiB, captured, installed, read by the names Windows has for them, \
             taken off; where streams are switched off the installation says so and takes all back",
            BYTES >> 10
        ))
    }
}

fn large(number: u8) -> Vec<u8> {
    (0..=250).map(|byte: u8| byte.wrapping_mul(7) ^ number).cycle().take(BYTES).collect()
}

/// A volume of NTFS in a file.
pub(super) struct Volume {
    image: PathBuf,
    folder: PathBuf,
}

/// One that is mounted, as long as this lives.
pub(super) struct Mounted {
    pub(super) folder: PathBuf,
}

impl Volume {
    pub(super) fn new(place: &Path) -> Result<Self> {
        let image = place.with_extension("ntfs");
        File::create(&image)?.set_len(VOLUME)?;
        run_quietly(command("mkntfs", ["-F", "-q"]).arg(&image))?;
        fs::create_dir_all(place)?;
        Ok(Self { image, folder: place.to_owned() })
    }

    /// `streams` is how streams are shown.
    pub(super) fn mount(&self, streams: &str) -> Result<Mounted> {
        let options = format!("streams_interface={streams},permissions");
        let mut mount = command("ntfs-3g", ["-o", &options]);
        run_quietly(mount.arg(&self.image).arg(&self.folder))?;
        Ok(Mounted { folder: self.folder.clone() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = captured(&mut command("umount", [&self.folder]));
    }
}
