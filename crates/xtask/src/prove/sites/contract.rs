//! What a site answers is what its `OpenAPI` document says, asked by schemathesis from the Python registry.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::WIRE;
use crate::{
    bench::store::data,
    command::{captured, command, run_quietly, tail},
    debian,
    tree::{Plan, Tree},
};

const TOOL: &str = "schemathesis==4.32.5";
/// A site must not fail, and answers as it says: statuses, sorts, shapes; and nothing is changed without the token.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth";

/// Asks everything but the courier, who writes where he is told to.
pub(super) fn prove(program: &Path, examples: u32) -> Result<()> {
    let tool = installed()?;
    let home = tempfile::tempdir()?;
    let mut tree = Tree::new(program, home.path(), vec![Plan::new("TOP", None)], WIRE)?;
    tree.begin()?;
    let token = fs::read_to_string(tree.data(0).join("token"))?;
    let mut ask = command(&tool.to_string_lossy(), ["run", "http://127.0.0.1:7480/openapi.json"]);
    ask.args(["--header", &format!("Authorization: Bearer {}", token.trim())]);
    ask.args(["--checks", CHECKS, "--exclude-path-regex", "courier", "--seed", "1", "--no-color"]);
    ask.args(["--phases", "examples,coverage,fuzzing", "--max-examples", &examples.to_string()]);
    ask.current_dir(home.path());
    let output = tree.network.inside(0, || captured(&mut ask))??;
    ensure!(output.status.success(), "schemathesis: {}\n{}", output.status, tail(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    let line =
        said.lines().rev().find(|line| line.contains("test cases") || line.contains("generated"));
    println!("schemathesis: {}", line.unwrap_or("nothing to complain of").trim());
    Ok(())
}

/// The program, in an environment of its own that is kept.
fn installed() -> Result<std::path::PathBuf> {
    debian::ensure(&[("python3", "python3")])?;
    if !captured(&mut command("python3", ["-c", "import ensurepip"]))?.status.success() {
        debian::install(["python3-venv"].into())?;
    }
    let folder = data::folder()?.join("schemathesis");
    let program = folder.join("bin/schemathesis");
    if !program.is_file() {
        let made = run_quietly(command("python3", ["-m", "venv"]).arg(&folder));
        made.context("a Python environment")?;
        let pip = folder.join("bin/pip");
        run_quietly(&mut command(&pip.to_string_lossy(), ["install", "--quiet", TOOL]))?;
    }
    Ok(program)
}
