//! Azurite, Microsoft's own emulator of Azure's storage: MIT, a process of its own.

use std::{
    fs,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::roots::cache;
use crate::command::{captured, command, run_quietly};

const VERSION: &str = "3.35.0";
/// It answers within this.
const PATIENCE: Duration = Duration::from_mins(1);
/// The account every Azurite has, and its key, as its documentation gives them.
const ACCOUNT: (&str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
);
/// Makes a container, signed as "Authorize with Shared Key" in the documentation of Azure's storage has it: 201 and nothing else.
const MAKE: &str = r"
const [port, account, key, name] = process.argv.slice(1);
const date = new Date().toUTCString(), version = '2021-12-02';
const said = `PUT${'\n'.repeat(12)}x-ms-date:${date}\nx-ms-version:${version}\n/${account}/${account}/${name}\nrestype:container`;
const signature = require('crypto').createHmac('sha256', Buffer.from(key, 'base64')).update(said).digest('base64');
const headers = { 'x-ms-date': date, 'x-ms-version': version, 'Content-Length': 0, Authorization: `SharedKey ${account}:${signature}` };
const path = `/${account}/${name}?restype=container`;
const asked = require('http').request({ host: '127.0.0.1', port, path, method: 'PUT', headers }, (answer) => {
  process.exitCode = answer.statusCode === 201 ? 0 : 1;
  answer.resume();
});
asked.on('error', () => { process.exitCode = 1; });
asked.end();
";

/// A server with the container `packages`; it ends with this, and its folder goes.
pub(super) struct Azurite {
    _home: tempfile::TempDir,
    server: Child,
    /// What a client's environment says for it to get in.
    pub(super) settings: Vec<(&'static str, String)>,
}

impl Azurite {
    /// From its package of npm, the first time.
    pub(super) fn start() -> Result<Self> {
        let folder = cache()?.join(format!("azurite-{VERSION}"));
        let program = folder.join("node_modules/.bin/azurite-blob");
        if !program.is_file() {
            fs::create_dir_all(&folder)?;
            let words = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"];
            let mut install = command("npm", words);
            install.arg("--prefix").arg(&folder).arg(format!("azurite@{VERSION}"));
            run_quietly(&mut install)?;
        }
        let home = tempfile::tempdir()?;
        let port = testkit::free_address().port().to_string();
        let words = ["--silent", "--disableTelemetry", "--blobPort", &port, "--location"];
        let mut server = command(&program.to_string_lossy(), words);
        let server = server.arg(home.path()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let server = server.context("Azurite does not start")?;
        let (account, key) = ACCOUNT;
        let settings = vec![
            ("AZURE_STORAGE_ENDPOINT", format!("http://127.0.0.1:{port}/{account}")),
            ("AZURE_STORAGE_ACCOUNT_NAME", account.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", key.to_owned()),
        ];
        let one = Self { _home: home, server, settings };
        let began = Instant::now();
        let words = ["-e", MAKE, &port, account, key, "packages"];
        while !captured(&mut command("node", words))?.status.success() {
            ensure!(began.elapsed() < PATIENCE, "Azurite does not answer");
            std::thread::park_timeout(Duration::from_millis(200));
        }
        Ok(one)
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
