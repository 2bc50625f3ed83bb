//! A garage server: S3 with no more than the least of the protocol, conditional writes not among it. AGPL, a process of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::roots::cache;
use crate::command::{self, captured, command, output};

const VERSION: &str = "2.5.0";
/// One node is up within this.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server of one node with the bucket `packages`; it ends with this, and its folder goes.
pub(super) struct Garage {
    program: PathBuf,
    home: tempfile::TempDir,
    server: Child,
    /// What a client's environment says for it to get in.
    pub(super) settings: Vec<(&'static str, String)>,
}

impl Garage {
    /// Built from its crate the first time, which takes a quarter of an hour.
    pub(super) fn start() -> Result<Self> {
        let folder = cache()?.join("garage");
        let program = folder.join("bin/garage");
        if !program.is_file() {
            println!("building garage {VERSION}: a quarter of an hour, once");
            let words = ["install", "--quiet", "--locked", "garage", "--version", VERSION];
            let mut install = command(&crate::workspace::cargo(), words);
            command::run(install.arg("--root").arg(&folder))?;
        }
        let home = tempfile::tempdir()?;
        let [rpc, api] = [testkit::free_address(), testkit::free_address()];
        let text = format!(
            "metadata_dir = \"{0}/meta\"\ndata_dir = \"{0}/data\"\ndb_engine = \"sqlite\"\nreplication_factor = 1\n\
             rpc_bind_addr = \"{rpc}\"\nrpc_public_addr = \"{rpc}\"\nrpc_secret = \"{1}\"\n\
             [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"{api}\"\n",
            home.path().display(),
            "5a".repeat(32),
        );
        fs::write(home.path().join("garage.toml"), text)?;
        let log = fs::File::create(home.path().join("log"))?;
        let server =
            garage(&program, home.path(), &["server"]).stdout(Stdio::null()).stderr(log).spawn();
        let server = server.context("garage does not start")?;
        let mut one = Self { program, home, server, settings: Vec::new() };
        one.set_up(&format!("http://{api}"))?;
        Ok(one)
    }

    fn ask(&self, words: &[&str]) -> Result<String> {
        output(&mut garage(&self.program, self.home.path(), words))
    }

    fn set_up(&mut self, endpoint: &str) -> Result<()> {
        let began = Instant::now();
        let node = loop {
            let answer =
                captured(&mut garage(&self.program, self.home.path(), &["node", "id", "--quiet"]))?;
            let is_up = captured(&mut garage(&self.program, self.home.path(), &["status"]))?
                .status
                .success();
            if answer.status.success() && is_up {
                break String::from_utf8(answer.stdout)?;
            }
            ensure!(began.elapsed() < PATIENCE, "garage does not answer");
            std::thread::park_timeout(Duration::from_millis(200));
        };
        let node = node.split('@').next().unwrap_or_default().trim().to_owned();
        self.ask(&["layout", "assign", "--zone", "one", "--capacity", "100G", &node])?;
        self.ask(&["layout", "apply", "--version", "1"])?;
        let key = self.ask(&["key", "create", "proof"])?;
        let field = |name: &str| -> Result<String> {
            let line = key.lines().find_map(|line| line.trim().strip_prefix(name));
            Ok(line.with_context(|| format!("no {name} in {key}"))?.trim().to_owned())
        };
        self.ask(&["bucket", "create", "packages"])?;
        self.ask(&["bucket", "allow", "--read", "--write", "packages", "--key", "proof"])?;
        self.settings = vec![
            ("AWS_ENDPOINT", endpoint.to_owned()),
            ("AWS_ACCESS_KEY_ID", field("Key ID:")?),
            ("AWS_SECRET_ACCESS_KEY", field("Secret key:")?),
            ("AWS_REGION", "garage".to_owned()),
        ];
        Ok(())
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn garage(program: &Path, home: &Path, words: &[&str]) -> std::process::Command {
    let mut one = command(&program.to_string_lossy(), words);
    one.env("GARAGE_CONFIG_FILE", home.join("garage.toml"));
    one
}
