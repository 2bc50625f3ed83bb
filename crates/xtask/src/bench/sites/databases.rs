//! Durable decisions, and PostgreSQL's own measure beside them.

use anyhow::{Context as _, Result, bail};
use testkit::PostgresServer;

use super::Row;
use crate::{
    command::{self, command, output},
    debian, workspace,
};

const NEEDS: [debian::Need; 1] = [("pg_createcluster", "postgresql")];

/// Durable decisions on both databases; for PostgreSQL beside its own measure on the same server.
pub(super) fn decisions(seconds: u64) -> Result<Vec<Row>> {
    debian::ensure(&NEEDS)?;
    let build = ["build", "--quiet", "--release", "--package", "site", "--example", "decisions"];
    command::run(command(&workspace::cargo(), build).current_dir(workspace::root()))?;
    let program = workspace::root().join("target/release/examples/decisions");
    let home = tempfile::tempdir()?;
    let measure = |folder: &str, url: Option<&str>| -> Result<Vec<f64>> {
        let folder = home.path().join(folder);
        let mut run = std::process::Command::new(&program);
        run.arg(folder).arg(seconds.to_string()).args(url);
        let text = output(&mut run)?;
        text.split_whitespace().map(|word| word.parse().context("no figure")).collect()
    };
    let rate = |figures: &[f64]| figures.get(2).copied().context("no figure");
    let sqlite = rate(&measure("sqlite", None)?)?;
    let server = PostgresServer::start()?;
    let url = server.database("top")?;
    let figures = measure("postgres", Some(&url))?;
    let postgres = rate(&figures)?;
    let (Some(whole), Some(turn)) = (figures.get(3), figures.get(4)) else { bail!("no figures") };
    let pgbench = pgbench(&server, seconds)?;
    Ok(vec![
        Row {
            what: "durable job decisions per second, SQLite, 8 threads",
            measured: format!("{sqlite:.0}"),
            bar: "≥ 2,000",
            met: sqlite >= 2_000.0,
        },
        Row {
            what: "the same, PostgreSQL",
            measured: format!("{postgres:.0}; pgbench -b simple-update -c 8 there: {pgbench:.0}"),
            bar: "≥ 0.4 × pgbench",
            met: postgres >= 0.4 * pgbench,
        },
        Row {
            what: "two processes in turns, 200,000 copies: a decision after the other's",
            measured: format!("{turn:.2} ms; reading everything {whole:.0} ms"),
            bar: "≤ 0.05 of reading everything",
            met: *turn <= 0.05 * whole,
        },
    ])
}

fn pgbench(server: &PostgresServer, seconds: u64) -> Result<f64> {
    server.database("pgbench")?;
    let run = |words: &[&str]| -> Result<String> {
        let mut command = std::process::Command::new(server.programs().join("pgbench"));
        command.arg("-h").arg(server.folder()).args(["-U", "site"]).args(words).arg("pgbench");
        output(&mut command)
    };
    run(&["-i", "-q", "-s", "10"])?;
    let seconds = seconds.to_string();
    let text = run(&["-b", "simple-update", "-c", "8", "-j", "2", "-n", "-T", &seconds])?;
    let line = text.lines().find(|line| line.starts_with("tps = ")).context("no tps")?;
    line.split_whitespace().nth(2).context("no tps")?.parse().context("no tps")
}
