//! Installers that behave well, wrapped: an MSI with a service in it, made with wixl, and one of NSIS's examples.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{
    Proof, installers,
    picture::{Picture, expect_same},
    wine::{run_in, screen, settle},
};
use crate::command::{command, output, run_quietly};

/// What is wrapped.
pub(super) const KINDS: [&str; 2] = ["msi", "example2"];
const MSI_SCRIPT: &str = include_str!("../../windows/wrapped.wxs");
/// What Windows Installer keeps of a package under names it draws, and how often one was installed.
const DRAWN: [&str; 2] = ["/windows/Installer", r"\\Installer\\"];

impl Proof {
    /// One installer run by hand and wrapped: the same comes of it, and nothing stays.
    pub(super) fn wrap(&self, kind: &str) -> Result<String> {
        let setup = self.to_wrap(kind)?;
        let setup = setup.to_str().context("a plain path")?.to_owned();
        let by_hand = self.prefixes.fresh("reference")?;
        let on_windows = format!("Z:{}", setup.replace('/', "\\"));
        match kind {
            "msi" => run_in(&by_hand, ["msiexec", "/i", &on_windows, "/qn"])?,
            _ => run_in(&by_hand, [setup.as_str(), "/S"])?,
        }
        settle(&by_hand)?;

        let project = self.folder.join(format!("wrapped-{kind}"));
        let mut wrap = command(self.packhorse.to_str().unwrap_or_default(), ["wrap", &setup]);
        wrap.args(["--json", "--name", kind, "--version", "1.0", "-o"]).arg(&project);
        if kind != "msi" {
            wrap.arg("--wine").arg(self.prefixes.fresh("seen")?).env("DISPLAY", screen());
        }
        let said: serde_json::Value = serde_json::from_str(&output(&mut wrap)?)?;
        let entry = said["detected-by"].as_str().context("an entry")?.to_owned();
        let installer = self.folder.join(format!("wrapped-{kind}.exe"));
        let mut compile = command(self.packhorse.to_str().unwrap_or_default(), ["compile"]);
        run_quietly(
            compile.arg(&project).args(["--fast", "--target", "windows", "-o"]).arg(&installer),
        )?;
        let installer = installer.to_str().context("a plain path")?.to_owned();

        let target = self.prefixes.fresh("target")?;
        run_in(&target, [installer.as_str(), "--silent"])?;
        settle(&target)?;
        let keys = fs::read_to_string(target.join("system.reg"))?;
        let name = entry.rsplit('\\').next().unwrap_or_default();
        ensure!(keys.contains(&format!(r"\\Uninstall\\{name}]")), "`{entry}` is not there");
        expect_same("run by hand and wrapped", &of(&by_hand)?, &of(&target)?)?;
        run_in(&target, [installer.as_str(), "--uninstall"])?;
        settle(&target)?;
        expect_same(
            "the pristine prefix and the target",
            &of(&self.prefixes.base())?,
            &of(&target)?,
        )?;
        Ok(format!("| {kind} | `{name}` | yes | yes |"))
    }

    fn to_wrap(&self, kind: &str) -> Result<PathBuf> {
        if kind != "msi" {
            return installers::build(kind, &self.folder);
        }
        // The service of the other installer.
        installers::build(installers::OURS, &self.folder)?;
        let examples = self.folder.join("nsis/Examples");
        let out = self.folder.join("wrapped.msi");
        fs::write(examples.join("wrapped.wxs"), MSI_SCRIPT)?;
        let mut wixl = command("wixl", ["-a", "x64", "-o"]);
        run_quietly(wixl.current_dir(&examples).arg(&out).arg("wrapped.wxs"))?;
        Ok(out)
    }
}

/// A prefix without what Windows Installer draws.
fn of(prefix: &std::path::Path) -> Result<Picture> {
    let mut picture = Picture::of(prefix)?;
    picture.0.retain(|place, _| !DRAWN.iter().any(|drawn| place.contains(drawn)));
    Ok(picture)
}
