//! A project in a temporary folder, and what comes out of it.

use std::{
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use compile::{CompileError, Compiled, Format, Options, compile};
use model::Time;
use package::Settings;

pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    /// A project with this script, which `[package]` is put before.
    pub(crate) fn new(steps: &str) -> Self {
        let sandbox = Self { folder: tempfile::tempdir().unwrap() };
        let script = format!(
            "format = 1\n\n[package]\nname = \"sample\"\nversion = \"1.0\"\narchitecture = \"any\"\n\n{steps}"
        );
        sandbox.file("project/package.toml", script);
        sandbox
    }

    /// A project that installs `files/opt` to `/opt`.
    pub(crate) fn with_tree() -> Self {
        Self::new("[[step]]\ninstall-tree = \"files/opt\"\nto = \"/opt\"\n")
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(below)
    }

    pub(crate) fn payload(&self, name: &[u8]) -> PathBuf {
        self.path("project/files/opt").join(std::ffi::OsStr::from_bytes(name))
    }

    pub(crate) fn file(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn compile(&self, format: Format) -> Result<(Compiled, PathBuf), CompileError> {
        let output = self.path("out.run");
        let options = Options {
            target: compile::Target::Linux,
            format,
            settings: Settings::fast(2),
            time: Time { seconds: 315_532_800, nanoseconds: 0 },
        };
        let compiled = compile(&self.path("project"), &output, &options, &mut |_| {})?;
        Ok((compiled, output))
    }

    pub(crate) fn installer(&self) -> PathBuf {
        self.compile(Format::Installer).unwrap().1
    }
}

pub(crate) fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap()
}

pub(crate) fn extract(program: &Path, folder: &Path) -> Output {
    Command::new(program).arg("--extract").arg(folder).output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Bytes that do not pack, different for each seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32).to_le_bytes()[0]
    })
    .take(length)
    .collect()
}
