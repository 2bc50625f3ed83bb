use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use crate::sandbox::{Sandbox, noise};

/// What a damaged installer may use while it finds out.
const MEMORY_KIB: u32 = 256 << 10;
const SECONDS: u32 = 10;

fn limited(installer: &Path, folder: &Path) -> Output {
    let script =
        format!("ulimit -v {MEMORY_KIB} -t {SECONDS}; exec \"$0\" --silent --extract \"$1\"");
    Command::new("sh").arg("-c").arg(script).arg(installer).arg(folder).output().unwrap()
}

/// 200 damaged copies: each is found out before anything is written, quickly (Q320066).
#[test]
fn q320066_damaged_installers_do_nothing() {
    let sandbox = Sandbox::with_tree();
    for seed in 0..20 {
        sandbox.file(format!("project/files/opt/f{seed:02}"), noise(seed, 300_000));
    }
    let intact = fs::read(sandbox.installer()).unwrap();
    let stub = compile::stub().len();
    let (length, trailer) = (intact.len(), 120);
    let at = |seed: u64, from: usize, to: usize| {
        from + usize::try_from(seed * 7_919_777 % (to - from) as u64).unwrap()
    };
    let mut copies: Vec<(String, Vec<u8>)> = Vec::new();
    for seed in 0..50 {
        let end = at(seed, stub, length);
        copies.push((format!("cut at {end}"), intact[..end].to_vec()));
        // The trailer with its length fields, index and header, the payload.
        for (from, to) in
            [(length - trailer, length), (length - 2000, length - trailer), (stub, length - 2000)]
        {
            let place = at(seed, from, to);
            let mut bytes = intact.clone();
            bytes[place] ^= 1 << (seed % 8);
            copies.push((format!("bit {} of {place}", seed % 8), bytes));
        }
    }
    assert_eq!(copies.len(), 200);
    let (copy, folder) = (sandbox.path("copy.run"), sandbox.path("extracted"));
    for (what, bytes) in copies {
        fs::write(&copy, bytes).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        let start = Instant::now();
        let output = limited(&copy, &folder);
        assert!(start.elapsed() < Duration::from_secs(SECONDS.into()), "{what} takes too long");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(5), "{what}: {message}");
        assert!(message.contains("package"), "{what}: {message}");
        let left = fs::read_dir(sandbox.path("")).unwrap().count();
        assert_eq!(left, 3, "{what} leaves something behind");
    }
    fs::write(&copy, &intact).unwrap();
    assert_eq!(
        limited(&copy, &folder).status.code(),
        Some(0),
        "the intact one works within the limits"
    );
}

/// The program in front is covered too: with a bit of it flipped it may not even run, but it never does a thing.
#[test]
fn a_damaged_program_does_nothing() {
    let sandbox = Sandbox::with_tree();
    sandbox.file("project/files/opt/a", "a");
    let intact = fs::read(sandbox.installer()).unwrap();
    let (copy, folder) = (sandbox.path("copy.run"), sandbox.path("extracted"));
    for place in (100..compile::stub().len()).step_by(compile::stub().len() / 40) {
        let mut bytes = intact.clone();
        bytes[place] ^= 4;
        fs::write(&copy, bytes).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        let output = limited(&copy, &folder);
        assert!(!output.status.success(), "bit flipped at {place}");
        assert!(!folder.exists());
    }
}
