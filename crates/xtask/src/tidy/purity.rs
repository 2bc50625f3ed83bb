//! The lints that keep pure crates pure: one generated `clippy.toml` each.
//!
//! Clippy reads the nearest `clippy.toml` and no other, so a crate's own file repeats what the root's says.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::Complaint;
use crate::workspace::{Crate, Layer};

/// What is forbidden, and what to do instead.
const METHODS: [(&str, &[&str]); 5] = [
    (
        "pure crate: go through `Machine`, or take `Read` and `Write` as arguments",
        &[
            "std::fs::canonicalize",
            "std::fs::copy",
            "std::fs::create_dir",
            "std::fs::create_dir_all",
            "std::fs::exists",
            "std::fs::hard_link",
            "std::fs::metadata",
            "std::fs::read",
            "std::fs::read_dir",
            "std::fs::read_link",
            "std::fs::read_to_string",
            "std::fs::remove_dir",
            "std::fs::remove_dir_all",
            "std::fs::remove_file",
            "std::fs::rename",
            "std::fs::set_permissions",
            "std::fs::symlink_metadata",
            "std::fs::write",
            "std::fs::File::create",
            "std::fs::File::create_new",
            "std::fs::File::open",
            "std::fs::OpenOptions::open",
            "std::path::Path::canonicalize",
            "std::path::Path::exists",
            "std::path::Path::is_dir",
            "std::path::Path::is_file",
            "std::path::Path::metadata",
            "std::path::Path::read_dir",
            "std::path::Path::read_link",
            "std::path::Path::symlink_metadata",
            "std::path::Path::try_exists",
        ],
    ),
    (
        "pure crate: no network",
        &[
            "std::net::TcpListener::bind",
            "std::net::TcpStream::connect",
            "std::net::UdpSocket::bind",
            "std::net::ToSocketAddrs::to_socket_addrs",
        ],
    ),
    (
        "pure crate: no processes",
        &["std::process::Command::new", "std::process::exit", "std::process::id"],
    ),
    (
        "pure crate: take the value as an argument",
        &[
            "std::env::args",
            "std::env::args_os",
            "std::env::current_dir",
            "std::env::current_exe",
            "std::env::home_dir",
            "std::env::temp_dir",
            "std::env::var",
            "std::env::var_os",
            "std::env::vars",
            "std::env::vars_os",
            "std::io::stdin",
        ],
    ),
    (
        "pure crate: take the time as an argument",
        &[
            "std::thread::sleep",
            "std::time::Instant::now",
            "std::time::SystemTime::now",
            "std::time::Instant::elapsed",
            "std::time::SystemTime::elapsed",
        ],
    ),
];

/// Pure crates whose `clippy.toml` is not the one we would write, or that do not forbid unsafe code.
pub(super) fn complaints(crates: &[Crate]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for one in crates.iter().filter(|one| one.layer == Some(Layer::Pure)) {
        if fs::read_to_string(file(one)).ok().as_deref() != Some(&*text(&one.name)) {
            let place = format!("crates/{}/clippy.toml", one.name);
            complaints.push(Complaint::new(place, "out of date: `cargo xtask tidy --write`"));
        }
        let library = fs::read_to_string(one.folder.join("src/lib.rs")).unwrap_or_default();
        if !library.contains("#![forbid(unsafe_code)]") {
            let place = format!("crates/{}/src/lib.rs", one.name);
            complaints.push(Complaint::new(place, "a pure crate says `#![forbid(unsafe_code)]`"));
        }
    }
    complaints
}

/// Writes the files.
pub(super) fn write(crates: &[Crate]) -> Result<()> {
    for one in crates.iter().filter(|one| one.layer == Some(Layer::Pure)) {
        let file = file(one);
        fs::write(&file, text(&one.name)).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn file(one: &Crate) -> PathBuf {
    one.folder.join("clippy.toml")
}

fn text(name: &str) -> String {
    let mut text = format!(
        "# Written by `cargo xtask tidy --write`. `{name}` is pure: it decides, it never does.\n\
         disallowed-methods = [\n"
    );
    for (reason, paths) in METHODS {
        for path in paths {
            text.push_str(&format!("  {{ path = \"{path}\", reason = \"{reason}\" }},\n"));
        }
    }
    text.push_str("]\nallow-unwrap-in-tests = true\n");
    text
}
