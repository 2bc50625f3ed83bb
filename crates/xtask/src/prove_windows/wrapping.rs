//! Installers that behave well, wrapped: an MSI with a service in it, made with wixl, and one of NSIS's examples.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::{
    Proof,
    installers::{self, MSI},
    picture::{Picture, expect_same},
    wine::{run_in, screen, settle},
};
use crate::command::{command, output, run_quietly};

/// What is wrapped.
pub(super) const KINDS: [&str; 2] = [MSI, "example2"];

impl Proof {
    /// One installer run by hand and wrapped: the same comes of it, and nothing stays.
    pub(super) fn wrap(&self, kind: &str) -> Result<String> {
        let setup = installers::build(kind, &self.folder)?;
        let by_hand = self.prefixes.fresh("reference")?;
        run_in(&by_hand, installers::silently(kind, &setup).iter().map(String::as_str))?;
        let setup = setup.to_str().context("a plain path")?.to_owned();
        settle(&by_hand)?;

        let project = self.folder.join(format!("wrapped-{kind}"));
        let mut wrap = command(self.packhorse.to_str().unwrap_or_default(), ["wrap", &setup]);
        wrap.args(["--json", "--name", kind, "--version", "1.0", "-o"]).arg(&project);
        if kind != MSI {
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
        // What an installer makes itself has the time it was made, and Windows Installer notes where a package came from.
        let picture = |prefix: &Path| -> Result<Picture> { Ok(Picture::of(prefix)?.of_any_time()) };
        expect_same("run by hand and wrapped", &picture(&by_hand)?, &picture(&target)?)?;
        run_in(&target, [installer.as_str(), "--uninstall"])?;
        settle(&target)?;
        expect_same(
            "the pristine prefix and the target",
            &Picture::of(&self.prefixes.base())?,
            &Picture::of(&target)?,
        )?;
        Ok(format!("| {kind} | `{name}` | yes | yes |"))
    }
}
