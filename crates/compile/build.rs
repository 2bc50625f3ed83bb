//! Builds `setup`, the program in front of every installer, as a static program of its own, to embed it.
//!
//! The nested cargo has a target folder of its own below `OUT_DIR`, so that it waits for no lock of the outer one, and
//! none of the outer one's settings, which are about another build.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What the linker leaves out, below the workspace.
const SCRIPT: &str = "crates/setup/without-unwinding.ld";

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies in crates/ of the workspace")
        .to_owned();
    let profile = if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        "stub"
    } else {
        "stub-quick"
    };
    let target_folder = out.join("stub");
    build(&workspace, &target_folder, profile);
    let built = target_folder.join(TARGET).join(profile).join("setup");
    let program = fs::read(&built).expect("the build of `setup` leaves a program");
    fs::write(out.join("setup"), program).expect("OUT_DIR can be written");
    watch(&workspace, &built.with_extension("d"));
    take_windows_stub(&workspace, &out);
}

/// The Windows program is another compiler's work: `cargo xtask windows` makes it, and it is embedded if it is there.
fn take_windows_stub(workspace: &Path, out: &Path) {
    let built = env::var_os("PACKHORSE_WINDOWS_STUB")
        .map_or_else(|| workspace.join("target/windows/setup.exe"), PathBuf::from);
    println!("cargo::rerun-if-env-changed=PACKHORSE_WINDOWS_STUB");
    println!("cargo::rerun-if-changed={}", built.display());
    let program = fs::read(built).unwrap_or_default();
    fs::write(out.join("setup.exe"), program).expect("OUT_DIR can be written");
}

fn build(workspace: &Path, target_folder: &Path, profile: &str) {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace).args(["build", "--package", "setup", "--locked"]);
    cargo.args(["--profile", profile, "--target", TARGET]).arg("--target-dir").arg(target_folder);
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let is_of_cargo = name.starts_with("CARGO_") && name != "CARGO_HOME";
        let is_of_rust = ["RUSTFLAGS", "RUSTDOCFLAGS", "CLIPPY_ARGS"].contains(&name.as_str())
            || name.starts_with("RUSTC");
        // The job server is shared: both builds together use as many processors as were asked for.
        if (is_of_cargo && name != "CARGO_MAKEFLAGS") || is_of_rust {
            cargo.env_remove(name);
        }
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, profile).join("\x1f"));
    let status = cargo.status().expect("cargo runs");
    assert!(
        status.success(),
        "`setup` does not build for {TARGET}; try `rustup target add {TARGET}`"
    );
}

/// A static program at a fixed place, without the tables for walking its stack: it never does.
fn flags(workspace: &Path, profile: &str) -> Vec<String> {
    let script = workspace.join(SCRIPT);
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Crelocation-model=static".to_owned(),
        "-Cforce-unwind-tables=no".to_owned(),
        format!("-Clink-arg=-Wl,-T,{}", script.display()),
        "-Clink-arg=-Wl,--no-eh-frame-hdr".to_owned(),
    ];
    if profile == "stub" {
        // What functions have in common becomes a function: a twentieth less.
        flags.push("-Cllvm-args=-enable-machine-outliner=always".to_owned());
    }
    flags
}

/// Asks to be run again when anything `setup` was built from changes.
fn watch(workspace: &Path, list: &Path) {
    let list = fs::read_to_string(list).expect("cargo writes what it built from");
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources);
    let mut crates = Vec::new();
    for source in sources.replace("\\ ", "\0").split_whitespace() {
        let source = PathBuf::from(source.replace('\0', " "));
        println!("cargo::rerun-if-changed={}", source.display());
        let manifest =
            source.ancestors().map(|folder| folder.join("Cargo.toml")).find(|one| one.exists());
        crates.extend(manifest);
    }
    crates.sort();
    crates.dedup();
    crates.extend([SCRIPT, "Cargo.toml", "Cargo.lock"].map(|name| workspace.join(name)));
    for manifest in crates {
        println!("cargo::rerun-if-changed={}", manifest.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
}
