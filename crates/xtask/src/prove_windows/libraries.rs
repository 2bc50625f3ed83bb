//! Libraries that register themselves, and some that cannot (Q200918).

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::{
    Proof,
    picture::{Picture, expect_same},
    wine::{run_in, settle, wine},
};
use crate::command::{captured, command, run_quietly, tail};

const NAME: &str = "libraries";
const SERVER: &str = include_str!("../../windows/server.c");
/// A library that needs another, which is not there when it is loaded.
const NEEDY: &str = "__declspec(dllimport) int elsewhere(void);\n\
    __declspec(dllexport) long DllRegisterServer(void) { return elsewhere(); }\n";
const ELSEWHERE: &str = "__declspec(dllexport) int elsewhere(void) { return 0; }\n";
/// Libraries that do not register, and words of what is said of each.
const BAD: [(&str, &str); 4] = [
    ("a text that is no library.dll", "no library at all"),
    ("sixteen.dll", "a 16-bit library"),
    ("thirty-two.dll", "a 32-bit x86 library"),
    ("needy.dll", "cannot be loaded"),
];

impl Proof {
    /// One that can is registered and taken back; each that cannot ends the installation with its reason, and nothing
    /// stays; where all are optional, the installation goes on.
    pub(super) fn libraries(&self) -> Result<String> {
        let files = self.folder.join("libraries");
        build(&files)?;
        let pristine = Picture::of(&self.prefixes.base())?;
        let prefix = self.prefixes.fresh("target")?;
        let good = self.registering(&files, &["server.dll"], false)?;
        run_in(&prefix, [good.as_str(), "--silent"])?;
        settle(&prefix)?;
        let keys = fs::read_to_string(prefix.join("system.reg"))?;
        ensure!(keys.contains("Packhorse.Proof"), "`server.dll` is not registered");
        run_in(&prefix, [good.as_str(), "--uninstall"])?;
        settle(&prefix)?;
        expect_same("pristine and without the library", &pristine, &Picture::of(&prefix)?)?;
        for (bad, reason) in BAD {
            let installer = self.registering(&files, &[bad], false)?;
            let ended = captured(&mut wine(&prefix, [installer.as_str(), "--silent"]))?;
            let said = tail(&ended);
            ensure!(!ended.status.success(), "`{bad}` was registered:\n{said}");
            ensure!(said.contains(bad) && said.contains(reason), "of `{bad}` is said:\n{said}");
            settle(&prefix)?;
            expect_same(
                &format!("pristine and without `{bad}`"),
                &pristine,
                &Picture::of(&prefix)?,
            )?;
        }
        let names = BAD.map(|(name, _)| name);
        let all = self.registering(&files, &names, true)?;
        run_in(&prefix, [all.as_str(), "--silent"])?;
        run_in(&prefix, [all.as_str(), "--uninstall"])?;
        settle(&prefix)?;
        expect_same("pristine and without all", &pristine, &Picture::of(&prefix)?)?;
        Ok(format!(
            "1 library registered and taken back, {} refused with file, kind and reason",
            BAD.len()
        ))
    }

    /// An installer that registers these.
    fn registering(&self, files: &Path, names: &[&str], optional: bool) -> Result<String> {
        let project = self.folder.join(NAME).join("project");
        let tree = project.join("files/libraries");
        if project.exists() {
            fs::remove_dir_all(&project)?;
        }
        fs::create_dir_all(&tree)?;
        let mut script = "format = 1\n\n[package]\nname = \"libraries\"\nversion = \"1\"\narchitecture = \"x86-64\"\n\n\
            [[step]]\ninstall-tree = \"files/libraries\"\nto = '${program-files}\\Libraries of the proof'\n"
            .to_owned();
        for name in names {
            fs::copy(files.join(name), tree.join(name))?;
            let _ = write!(
                script,
                "\n[[step]]\nregister-library = '${{program-files}}\\Libraries of the proof\\{name}'\noptional = {optional}\n"
            );
        }
        fs::write(project.join("package.toml"), script)?;
        let installer = self.folder.join("libraries.exe");
        let mut compile = command(self.program(), ["compile", "--fast", "--target", "windows"]);
        run_quietly(compile.arg(&project).arg("-o").arg(&installer))?;
        Ok(installer.to_str().context("a plain path")?.to_owned())
    }
}

fn build(files: &Path) -> Result<()> {
    fs::create_dir_all(files)?;
    for (name, text) in [("server", SERVER), ("needy", NEEDY), ("elsewhere", ELSEWHERE)] {
        fs::write(files.join(format!("{name}.c")), text)?;
    }
    let compiler = |words: &[&str]| -> Result<()> {
        let mut compiler = command("x86_64-w64-mingw32-gcc", ["-shared", "-O2"]);
        run_quietly(compiler.current_dir(files).args(words))
    };
    compiler(&["-o", "server.dll", "server.c", "-ladvapi32"])?;
    compiler(&["-o", "elsewhere.dll", "elsewhere.c"])?;
    compiler(&["-o", "needy.dll", "needy.c", "elsewhere.dll"])?;
    fs::write(files.join(BAD[0].0), "a text\n")?;
    for (name, kind) in [(BAD[1].0, &b"NE"[..]), (BAD[2].0, b"PE\0\0\x4c\x01")] {
        let mut bytes = vec![0; 512];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[60] = 128;
        bytes[128..128 + kind.len()].copy_from_slice(kind);
        fs::write(files.join(name), bytes)?;
    }
    Ok(())
}
