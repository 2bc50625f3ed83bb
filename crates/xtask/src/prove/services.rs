//! Services under a booted systemd: a container that boots the root through an overlay, so that the start
//! of the machine leaves nothing on it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::command::{captured, command, tail};

/// A machine that did not come up by then does not come up. Seconds.
const PATIENCE: &str = "120";
/// Where in the container it writes its answer.
const ANSWER: &str = "/mnt";

/// Boots `root` and demands that `unit` is active, started by the machine itself.
pub(crate) fn prove_active(root: &Path, unit: &str) -> Result<()> {
    let said = boot(root, unit)?;
    ensure!(said.contains("state=active"), "`{unit}` is not active after a start:\n{said}");
    Ok(())
}

/// Boots `root` and demands that it does not know `unit`.
pub(crate) fn prove_absent(root: &Path, unit: &str) -> Result<()> {
    let said = boot(root, unit)?;
    ensure!(said.contains("load=not-found"), "`{unit}` is still there after a start:\n{said}");
    Ok(())
}

fn boot(root: &Path, unit: &str) -> Result<String> {
    let answer = tempfile::tempdir()?;
    let file = answer.path().join("said");
    // The manager is asked for what it would start by itself, then about the unit.
    let question = format!(
        "/bin/sh -c 'systemctl start multi-user.target; \
         echo state=$(systemctl is-active {unit}) load=$(systemctl show -P LoadState {unit}) >{ANSWER}/said; \
         systemctl status --no-pager {unit} >>{ANSWER}/said'"
    );
    let mut container =
        command("timeout", [PATIENCE, "systemd-nspawn", "--quiet", "--keep-unit", "--register=no"]);
    container.args(["--volatile=overlay", "--private-network", "--console=pipe"]);
    container.arg(format!("--bind={}:{ANSWER}", answer.path().display()));
    container.arg("-b").arg("-D").arg(root);
    container.arg(format!("systemd.run=\"{question}\""));
    container.args(["systemd.run_success_action=exit", "systemd.run_failure_action=exit"]);
    let output = captured(&mut container).context("systemd-nspawn")?;
    fs::read_to_string(file).with_context(|| {
        format!("the container did not answer: {}\n{}", output.status, tail(&output))
    })
}
