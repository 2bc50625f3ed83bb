//! A Windows installer captured on a machine that does not run: its drive before and after, its registry out of hives.
//!
//! The machine is a prefix, its registry written as hives by the tests' own writer; another program reads them too. What is
//! captured is held against the capture of the same installer by Wine. What only NTFS has is proved on a volume of it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use capture::Registry;
use model::{RegistryValue, Setting};
use rustix::fs::{XattrFlags, setxattr};
use testkit::{HiveKey, hive, seal_hive};

use super::{
    OURS, Proof, installers,
    itself::{Project, execute},
    streams::Volume,
};
use crate::command::{captured, command, output, run_quietly, tail};

pub(super) const NAME: &str = "image";
/// Files of a prefix's registry, and the key each is of.
const KEPT: [(&str, &str); 3] =
    [("system.reg", "HKLM"), ("user.reg", "HKCU"), ("userdef.reg", r"HKU\.Default")];
const CONFIG: &str = "Windows/System32/config";
/// Reads hives, and is none of ours.
const OTHER_READER: &str = "hivexml";
/// What a Windows that was put to sleep leaves.
const SLEEPS: &[u8] = b"HIBR of a whole memory";

impl Proof {
    /// What was seen, in a sentence.
    pub(super) fn image(&self) -> Result<String> {
        let mut keys = 0;
        for name in ["example2", OURS] {
            keys += self.as_by_wine(name).with_context(|| format!("`{name}`"))?;
        }
        self.on_ntfs().context("a volume of NTFS")?;
        Ok(format!(
            "example2 and {OURS} captured from drives and hives, `finish` killed and run again, {keys} keys read by `{OTHER_READER}` too, projects as by Wine; on NTFS \
             a stream, a hidden file and one that may only be read; a hive that is not whole and a Windows that sleeps refused"
        ))
    }

    /// Captures an installer from the drive of a prefix, and compares with the capture of the prefix; answers how many keys the
    /// other reader found.
    fn as_by_wine(&self, name: &str) -> Result<usize> {
        let setup = installers::build(name, &self.folder)?;
        let words = installers::silently(name, &setup);
        let wanted = self.folder.join("by-wine").join(name);
        self.on_linux(&words, name == OURS, &wanted)?;

        let prefix = self.prefixes.fresh("imaged")?;
        let drive = prefix.join("drive_c");
        let session = self.folder.join(format!("imaged-{name}"));
        write_hives(&prefix)?;
        let mut begin = command(self.program(), ["capture", "begin", "--image"]);
        run_quietly(begin.arg(&drive).arg("--session").arg(&session))?;
        execute(&prefix, &words, name == OURS)?;
        let keys = write_hives(&prefix)?;
        let project = self.folder.join("by-image").join(name);
        self.kill_finish(&session, &project)?;
        self.finish(&session, &project)?;
        Project::of(&wanted)?.named_by_windows().expect_same(&Project::of(&project)?)?;
        let installer = self.folder.join("imaged.exe");
        let mut compile = command(self.program(), ["compile", "--target", "windows"]);
        run_quietly(compile.arg(&project).arg("-o").arg(&installer))?;
        Ok(keys)
    }

    /// Kills `finish` when the registry afterwards is kept, and the change set not yet.
    fn kill_finish(&self, session: &Path, project: &Path) -> Result<()> {
        let mut finish = command(self.program(), ["capture", "finish", "--session"]);
        let mut child = finish.arg(session).arg("-o").arg(project).spawn()?;
        while child.try_wait()?.is_none() && !session.join("after-system.reg").exists() {
            thread::yield_now();
        }
        ensure!(child.try_wait()?.is_none(), "`finish` ended before it was killed");
        child.kill()?;
        child.wait()?;
        ensure!(!session.join("changes.jsonl").exists(), "it was killed too late");
        ensure!(!project.exists(), "a project of half a capture");
        Ok(())
    }

    fn finish(&self, session: &Path, project: &Path) -> Result<()> {
        let mut finish = command(self.program(), ["capture", "finish", "--session"]);
        run_quietly(finish.arg(session).arg("-o").arg(project))
    }

    /// What only NTFS says of files; logs; and what is refused.
    fn on_ntfs(&self) -> Result<()> {
        let volume = Volume::new(&self.folder.join("drive"))?;
        let session = self.folder.join("session-drive");
        let begin = || {
            let mut begin = command(self.program(), ["capture", "begin", "--image"]);
            begin.arg(self.folder.join("drive")).arg("--session").arg(&session);
            begin
        };
        let mounted = volume.mount("xattr")?;
        let (root, before) = (&mounted.folder, one_value("before"));
        refused(&mut begin(), "holds no Windows")?;
        for (folder, file) in [
            (CONFIG, "SOFTWARE"),
            (CONFIG, "SYSTEM"),
            ("Users/packager", "ntuser.dat"),
            ("Users/Default", "NTUSER.DAT"),
            ("Users/packager/AppData/Local/Microsoft/Windows", "UsrClass.dat"),
        ] {
            fs::create_dir_all(root.join(folder))?;
            fs::write(root.join(folder).join(file), &before)?;
        }
        fs::write(root.join("hiberfil.sys"), SLEEPS)?;
        refused(&mut begin(), "sleeps")?;
        fs::remove_file(root.join("hiberfil.sys"))?;
        let mut torn = before.clone();
        torn[4] ^= 2;
        seal_hive(&mut torn);
        let software = root.join(CONFIG).join("SOFTWARE");
        fs::write(&software, &torn)?;
        refused(&mut begin(), "was not written to its end")?;
        fs::write(&software, &before[..before.len() - 4096])?;
        refused(&mut begin(), "damaged")?;
        fs::write(&software, &before)?;
        let other = root.join("Users/other");
        fs::create_dir(&other)?;
        fs::write(other.join("NTUSER.DAT"), &before)?;
        refused(&mut begin(), "name one with `--user`")?;
        run_quietly(begin().args(["--user", "Packager"]))?;
        drop(mounted);
        refused(
            command(self.program(), ["capture", "finish", "--session"]).arg(&session),
            "holds no Windows",
        )?;

        // The machine starts, and somebody installs.
        let mounted = volume.mount("xattr")?;
        let root = &mounted.folder;
        let place = root.join("Program Files/App");
        fs::create_dir_all(&place)?;
        for (name, attributes) in
            [("hidden.ini", 0x22_u32), ("fixed.txt", 0x21), ("plain.txt", 0x20)]
        {
            fs::write(place.join(name), name)?;
            let word = attributes.to_le_bytes();
            setxattr(place.join(name), "system.ntfs_attrib", &word, XattrFlags::empty())?;
        }
        setxattr(place.join("plain.txt"), "user.note", b"kept beside", XattrFlags::empty())?;
        fs::write(&software, one_value("after"))?;
        fs::write(root.join("Users/packager/ntuser.dat"), one_value("mine"))?;
        fs::write(other.join("NTUSER.DAT"), one_value("another's"))?;
        let project = self.folder.join("from-drive");
        self.finish(&session, &project)?;
        let script = fs::read_to_string(project.join("package.toml"))?;
        let meta = fs::read_to_string(project.join("files.meta")).unwrap_or_default();
        for (text, wanted) in [
            (&script, r"HKLM\SOFTWARE\App"),
            (&script, r#""after""#),
            (&script, r#""mine""#),
            (&meta, "user.DosStream.note:$DATA"),
            (&meta, "user.DOSATTRIB"),
            (&meta, "0444"),
        ] {
            ensure!(text.contains(wanted), "no `{wanted}` in\n{script}\n{meta}");
        }
        for unwanted in ["another's", "before", "S-1-5-21-", "ntuser", "hiberfil"] {
            ensure!(!script.contains(unwanted), "`{unwanted}` in\n{script}");
        }
        let mut compile = command(self.program(), ["compile", "--target", "windows"]);
        run_quietly(compile.arg(&project).arg("-o").arg(self.folder.join("from-drive.exe")))
    }
}

/// A hive that says one thing, in one place.
fn one_value(what: &str) -> Vec<u8> {
    let mut top = HiveKey::default();
    let text = RegistryValue::text(RegistryValue::TEXT, what);
    top.at(&["App"]).values = vec![("Says".to_owned(), text)];
    hive(&top)
}

/// Writes the registry of a prefix as hives to where Windows has them; answers how many keys another reader finds there.
fn write_hives(prefix: &Path) -> Result<usize> {
    let mut all = Registry::default();
    for (file, key) in KEPT {
        if let Ok(text) = fs::read(prefix.join(file)) {
            all.read(key, &String::from_utf8_lossy(&text))?;
        }
    }
    let drive = prefix.join("drive_c");
    let user = fs::read_dir(drive.join("users"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name != "Public")
        .context("nobody uses the prefix")?;
    let mut hives = BTreeMap::new();
    let nothing = Registry::default();
    for change in nothing.changes(&all) {
        let Some(key) = change.setting.key() else { continue };
        let (place, path) = match key.as_str().split('\\').collect::<Vec<_>>()[..] {
            ["HKLM", hive, ref path @ ..] if hive.eq_ignore_ascii_case("SOFTWARE") => {
                ("SOFTWARE", path.to_vec())
            }
            ["HKLM", hive, ref path @ ..] if hive.eq_ignore_ascii_case("SYSTEM") => {
                let mut path = path.to_vec();
                if let Some(set) = path.first_mut()
                    && set.eq_ignore_ascii_case("CurrentControlSet")
                {
                    *set = "ControlSet002";
                }
                ("SYSTEM", path)
            }
            ["HKCU", ref path @ ..] => ("NTUSER.DAT", path.to_vec()),
            ["HKU", _, ref path @ ..] => ("DEFAULT", path.to_vec()),
            _ => continue,
        };
        let key = hives.entry(place).or_insert_with(HiveKey::default).at(&path);
        if let (Setting::Value { name, .. }, Some(Some(value))) = (&change.setting, change.after) {
            key.values.push((name.to_string(), value.clone()));
        }
    }
    let system = hives.get_mut("SYSTEM").context("no `SYSTEM`")?;
    let current = RegistryValue { kind: RegistryValue::DWORD, data: vec![2, 0, 0, 0] };
    system.at(&["Select"]).values = vec![("Current".to_owned(), current)];
    system.at(&["ControlSet001", "Services", "Of last year"]);
    let mut keys = 0;
    for (name, top) in &hives {
        let folder = match *name {
            "NTUSER.DAT" => drive.join("users").join(&user),
            _ => below(&drive, CONFIG)?,
        };
        fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        fs::write(&path, hive(top))?;
        keys += output(command(OTHER_READER, ["-k"]).arg(&path))?.matches("<node ").count();
    }
    Ok(keys)
}

/// A folder of a drive by the names it has there.
fn below(drive: &Path, names: &str) -> Result<PathBuf> {
    let mut place = drive.to_owned();
    for name in names.split('/') {
        let mut entries = fs::read_dir(&place)?.filter_map(Result::ok);
        let found =
            entries.find(|one| one.file_name().to_string_lossy().eq_ignore_ascii_case(name));
        place = found.map_or_else(|| place.join(name.to_lowercase()), |one| one.path());
        if !place.exists() {
            fs::create_dir(&place)?;
        }
    }
    Ok(place)
}

/// Runs what must refuse, saying why.
fn refused(program: &mut std::process::Command, why: &str) -> Result<()> {
    let said = captured(program)?;
    if said.status.success() || !tail(&said).contains(why) {
        bail!("not refused with `{why}`: {}\n{}", said.status, tail(&said));
    }
    Ok(())
}
