//! Packages as .msi: what Windows Installer makes of one is held against what our own installer makes of it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Proof,
    installers::{self, MSI},
    picture::{Picture, expect_same},
    wine::{run_in, screen, settle},
};
use crate::command::{captured, command, output, run_quietly, tail};

/// What is made an .msi: a project that does all an .msi can say, and what was captured of one.
pub(super) const KINDS: [&str; 2] = [NATIVE, MSI];
const NATIVE: &str = "native";
const SCRIPT: &str = include_str!("../../windows/native.toml");

impl Proof {
    /// One project installed by Windows Installer and by our own installer: the same comes of both, and nothing stays.
    pub(super) fn compile_msi(&self, kind: &str) -> Result<String> {
        let project = self.folder.join(format!("as-msi-{kind}"));
        if kind == NATIVE {
            self.native(&project)?;
        } else {
            let setup = installers::build(kind, &self.folder)?;
            let reference = self.prefixes.fresh("reference")?;
            let mut capture = command(self.program(), ["capture", "run", "--wine"]);
            capture.arg(&reference).arg("-o").arg(&project).arg("--session");
            capture.arg(self.folder.join(format!("session-as-msi-{kind}")));
            capture.env("DISPLAY", screen()).arg("--").args(installers::silently(kind, &setup));
            run_quietly(&mut capture)?;
        }
        let compile = |format: &str, end: &str| -> Result<String> {
            let out = self.folder.join(format!("as-msi-{kind}.{end}"));
            let mut compile = command(self.program(), ["compile", "--fast", "--target", "windows"]);
            run_quietly(compile.args(["--format", format]).arg(&project).arg("-o").arg(&out))?;
            Ok(out.to_str().context("a plain path")?.to_owned())
        };
        let (exe, msi) = (compile("installer", "exe")?, compile("msi", "msi")?);
        let template = output(&mut command("msiinfo", ["suminfo", &msi]))?;
        ensure!(template.contains("x64;1033"), "msiinfo reads\n{template}");

        let ours = self.prefixes.fresh("reference")?;
        run_in(&ours, [exe.as_str(), "--silent"])?;
        settle(&ours)?;
        let target = self.prefixes.fresh("target")?;
        let on_windows = format!("Z:{}", msi.replace('/', "\\"));
        run_in(&target, ["msiexec", "/i", &on_windows, "/qn"])?;
        settle(&target)?;
        let base = Picture::of(&self.prefixes.base())?.of_any_time();
        let picture = |prefix: &Path| -> Result<Picture> {
            Ok(Picture::of(prefix)?.of_any_time().less_of_wine(&base))
        };
        let (wanted, found) = (picture(&ours)?, picture(&target)?);
        expect_same("installed by us and by Windows Installer", &wanted, &found)?;
        let count =
            found.0.iter().filter(|(place, what)| base.0.get(*place) != Some(*what)).count();
        run_in(&target, ["msiexec", "/x", &on_windows, "/qn"])?;
        settle(&target)?;
        let after = picture(&target)?;
        expect_same("the pristine prefix and the target", &base, &after)?;
        Ok(format!("| {kind} | {count} | yes | yes |"))
    }

    pub(super) fn program(&self) -> &str {
        self.packhorse.to_str().unwrap_or_default()
    }

    /// The project, and one with what no .msi says, which is refused by name.
    fn native(&self, project: &Path) -> Result<()> {
        let files = project.join("files/native");
        fs::create_dir_all(files.join("bin"))?;
        fs::write(project.join("package.toml"), SCRIPT)?;
        fs::copy(self.service()?, files.join("bin/service.exe"))?;
        fs::write(files.join("Größe ŁĄ.text"), vec![7; 100_000])?;
        let read_only = files.join("read-only.txt");
        fs::write(&read_only, "as it is\n")?;
        fs::set_permissions(&read_only, fs::Permissions::from_mode(0o444))?;
        let odd = self.folder.join("as-msi-odd");
        fs::create_dir_all(&odd)?;
        let more =
            "\n[[step]]\nedit-registry = 'HKLM\\SOFTWARE\\Odd'\nvalues = { Big = { qword = 3 } }\n";
        let start = SCRIPT.split("[[step]]").next().unwrap_or_default();
        fs::write(odd.join("package.toml"), format!("{start}{more}"))?;
        let mut compile = command(self.program(), ["compile", "--format", "msi", "-o"]);
        let refused = captured(compile.arg(self.folder.join("odd.msi")).arg(&odd))?;
        let said = tail(&refused);
        ensure!(!refused.status.success() && said.contains("`Big`"), "not refused:\n{said}");
        Ok(())
    }

    fn service(&self) -> Result<PathBuf> {
        // Built beside the examples.
        installers::build(MSI, &self.folder)?;
        Ok(self.folder.join("nsis/Examples/service.exe"))
    }
}
