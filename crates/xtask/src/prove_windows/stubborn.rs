//! A service that refuses to stop, and so keeps its package on the machine, whole.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{
    Proof, installers,
    picture::{Picture, expect_same},
    wine::{run_in, settle, wine},
};
use crate::command::{captured, command, run_quietly, tail};

pub(super) const NAME: &str = "stubborn";
const SCRIPT: &str = include_str!("../../windows/stubborn.toml");
/// What a failed installation ends with, as far as Linux tells: the lower byte of 1603.
const FAILED: i32 = 1603 % 256;

impl Proof {
    /// What was seen, in a sentence.
    pub(super) fn stubborn(&self) -> Result<String> {
        let project = self.folder.join(NAME);
        let tree = project.join("files/stubborn");
        fs::create_dir_all(&tree)?;
        let source = self.folder.join("stubborn.c");
        let text = installers::SERVICE
            .replace("\"Everything\"", "\"Stubborn\"")
            .replace("? SERVICE_ACCEPT_STOP", "? 0");
        fs::write(&source, text)?;
        let mut compiler = command("x86_64-w64-mingw32-gcc", ["-O2", "-o"]);
        compiler.arg(tree.join("stubborn.exe")).arg(&source);
        run_quietly(compiler.arg("-ladvapi32"))?;
        fs::write(project.join("package.toml"), SCRIPT)?;
        let installer = self.folder.join("stubborn.exe");
        let mut compile = command(self.program(), ["compile", "--target", "windows"]);
        run_quietly(compile.arg(&project).arg("-o").arg(&installer))?;
        let installer = installer.to_str().context("a plain path")?;

        let prefix = self.prefixes.fresh("target")?;
        // In one go: when the last program ends, Wine ends its services too.
        let line = format!("{installer} --silent && {installer} --uninstall --silent");
        let ended = captured(&mut wine(&prefix, ["cmd", "/c", line.as_str()]))?;
        let said = tail(&ended);
        ensure!(ended.status.code() == Some(FAILED), "taking it off: {}\n{said}", ended.status);
        let is_said = said.contains("service stubborn") && said.contains("refuses to stop");
        ensure!(is_said, "of the service is said:\n{said}");
        settle(&prefix)?;
        let program = prefix.join("drive_c/Program Files/Stubborn/stubborn.exe");
        ensure!(program.exists(), "half of it is gone");
        let keys = fs::read_to_string(prefix.join("system.reg"))?;
        ensure!(keys.contains(r"Services\\Stubborn]"), "the service is gone");
        run_in(&prefix, [installer, "--uninstall"])?;
        settle(&prefix)?;
        let base = Picture::of(&self.prefixes.base())?;
        expect_same("the pristine prefix and the target", &base, &Picture::of(&prefix)?)?;
        Ok("a service that refuses to stop keeps its package, whole, and is named; once it has ended the package goes".to_owned())
    }
}
