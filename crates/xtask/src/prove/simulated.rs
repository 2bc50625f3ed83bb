//! Power cuts, which killing a process cannot show: the tests of `testkit` on a simulated disk that loses,
//! reorders and tears what was not synced, with many more points than CI has time for.

use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::{
    command::{command, output},
    workspace,
};

/// How many points each act is cut at.
const POINTS: &str = "100000";

/// Runs them; a row of the table.
pub(crate) fn prove() -> Result<String> {
    println!("the power fails at {POINTS} points of install, update, roll-back and uninstall");
    let begun = Instant::now();
    let words =
        ["test", "--release", "--package", "testkit", "--test", "it", "--", "power_cut", "a_kill"];
    let said = output(
        command(&workspace::cargo(), words)
            .current_dir(workspace::root())
            .env("PACKHORSE_CRASH_POINTS", POINTS),
    )
    .context("power cuts on a simulated disk")?;
    let passed = said.matches("... ok").count();
    anyhow::ensure!(passed > 0, "no test of power cuts was run:\n{said}");
    Ok(format!(
        "\nPower cuts and kills on a simulated disk: {passed} tests, at least {POINTS} points each, {:.0} s.\n",
        begun.elapsed().as_secs_f64()
    ))
}
