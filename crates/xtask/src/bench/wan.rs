//! An update over a thin wire: 10 Mbit/s, 50 ms there and back, one packet in a thousand lost.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use testkit::{End, Sample, Wan, Wire};

use super::{built, median};
use crate::{
    command::{self, command},
    debian, workspace,
};

const NEEDS: [debian::Need; 2] = [("nginx", "nginx-light"), ("ip", "iproute2")];
const RATE: u64 = 10_000_000;
const BAR: f64 = 1.15;
const PORT: u16 = 8080;

#[derive(clap::Args)]
#[command(after_help = "Example:\n  cargo xtask bench wan --turns 3")]
pub(crate) struct Args {
    /// Updates that are measured; each has losses of its own.
    #[arg(long, default_value = "5", value_name = "N")]
    turns: u64,
    /// Megabytes of the program, a quarter of which change.
    #[arg(long, default_value = "24", value_name = "MB")]
    size: usize,
}

/// What one update took.
struct Turn {
    took: Duration,
    /// On the wire, from the server.
    bytes: u64,
    lost: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(debian::is_root(), "namespaces: run it as root");
    debian::ensure(&NEEDS)?;
    let build = ["build", "--quiet", "--release", "--package", "cli"];
    command::run(command(&workspace::cargo(), build).current_dir(workspace::root()))?;
    let folder = tempfile::tempdir()?;
    publish(folder.path(), args.size)?;
    let turns: Vec<Turn> =
        (0..args.turns).map(|seed| turn(folder.path(), seed)).collect::<Result<_>>()?;
    let ratios: Vec<f64> = turns.iter().map(ratio).collect();
    let took = median(turns.iter().map(|turn| turn.took).collect());
    let (worst, bytes) = (ratios.iter().copied().fold(0.0, f64::max), turns[0].bytes);
    let lost: u64 = turns.iter().map(|turn| turn.lost).sum();
    let table = format!(
        "| what | measured | against | result | at most | |\n|---|---|---|---|---|---|\n\
         | an update over 10 Mbit/s, 50 ms, 0.1 % lost | {:.2} s, {bytes} bytes on the wire, {lost} packets lost | \
         bytes ÷ bandwidth | {worst:.2} | {BAR:.2} | {} |\n",
        took.as_secs_f64(),
        if worst <= BAR { "met" } else { "**missed**" }
    );
    println!("\n{table}");
    let text = format!(
        "# Over a thin wire, measured\n\nThe last output of `cargo xtask bench wan --turns {}`: nginx at one end, `packhorse fetch` at \
         the other; the worst of\nthe turns counts.\n\n{table}",
        args.turns
    );
    fs::write(workspace::root().join("docs/bench-wan.md"), text)?;
    ensure!(worst <= BAR, "an update took {worst:.2} of what its bytes take");
    Ok(())
}

fn ratio(turn: &Turn) -> f64 {
    turn.took.as_secs_f64() / (turn.bytes as f64 * 8.0 / RATE as f64)
}

/// Two versions of a program, published with the delta between them.
fn publish(folder: &Path, megabytes: usize) -> Result<()> {
    for version in ["1", "2"] {
        let mut sample = Sample::new("app", version);
        let tree = sample.tree("/opt/app");
        let mut content = noise(megabytes << 20, 1);
        if version == "2" {
            let changed = noise(content.len() / 4, 2);
            content[..changed.len()].copy_from_slice(&changed);
        }
        sample.file(tree, "program", &content);
        let file = folder.join(format!("{version}.package"));
        fs::write(&file, sample.bytes())?;
        let mut publish = command(&built("packhorse").to_string_lossy(), ["publish"]);
        command::run_quietly(publish.arg(&file).arg("--to").arg(folder.join("dp")))?;
    }
    Ok(())
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn turn(folder: &Path, seed: u64) -> Result<Turn> {
    let wire = Wire { rate: RATE, round_trip: Duration::from_millis(50), loss: 0.001, seed };
    let wan = Wan::lay(wire).context("laying the wire")?;
    let server = Nginx::start(&wan, folder)?;
    let to = folder.join("fetched");
    let mut fetch = Command::new(built("packhorse"));
    let url = format!("http://{}", SocketAddrV4::new(End::Server.address(), PORT));
    fetch.args(["fetch", "app", "--unsigned", "--json", "--from", &url]);
    fetch.arg("--have").arg(folder.join("1.package")).arg("-o").arg(&to);
    let began = Instant::now();
    let mut running = wan.spawn(End::Client, fetch.stdout(Stdio::null()))?;
    ensure!(running.wait()?.success(), "the fetch did not succeed");
    let took = began.elapsed();
    drop(server);
    fs::remove_file(&to)?;
    let (down, up) = wan.carried();
    Ok(Turn { took, bytes: down.bytes, lost: down.lost + up.lost })
}

/// A web server at the wire's end.
struct Nginx<'w> {
    wan: &'w Wan,
    folder: tempfile::TempDir,
}

impl<'w> Nginx<'w> {
    fn start(wan: &'w Wan, root: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (at, address) =
            (folder.path().display(), SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT));
        let text = format!(
            "user root;\nworker_processes 1;\npid {at}/pid;\nerror_log {at}/errors;\nevents {{}}\nhttp {{\naccess_log off;\n\
             server {{\nlisten {address};\nroot {}/dp;\n}}\n}}\n",
            root.display()
        );
        fs::write(folder.path().join("nginx.conf"), text)?;
        let nginx = Self { wan, folder };
        ensure!(nginx.run(&[])?, "nginx does not start");
        Ok(nginx)
    }

    fn run(&self, words: &[&str]) -> Result<bool> {
        let mut command = command("nginx", ["-c"]);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg(self.folder.path().join("nginx.conf")).args(words).stderr(Stdio::null());
        Ok(self.wan.spawn(End::Server, &mut command)?.wait()?.success())
    }
}

impl Drop for Nginx<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["-s", "stop"]);
    }
}
