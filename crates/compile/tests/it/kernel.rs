use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use seccompiler::{SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::sandbox::{Sandbox, noise, stderr};

/// The first system call newer than Linux 4.18.
const FIRST_NEWER: i64 = 335;
/// Beyond what any kernel has.
const BEYOND: i64 = 700;
const ENOSYS: u32 = 38;

/// Runs a program as a kernel of 2018 would, which knows none of the newer system calls.
fn on_an_old_kernel(program: PathBuf, arguments: Vec<PathBuf>) -> std::process::Output {
    let newer: BTreeMap<_, _> = (FIRST_NEWER..BEYOND).map(|number| (number, vec![])).collect();
    let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(ENOSYS));
    let filter = SeccompFilter::new(newer, allow, refuse, TargetArch::x86_64).unwrap();
    let filter: seccompiler::BpfProgram = filter.try_into().unwrap();
    // A filter is the thread's and of what it starts; it ends with both.
    std::thread::spawn(move || {
        apply_filter(&filter).unwrap();
        Command::new(program).args(arguments).output().unwrap()
    })
    .join()
    .unwrap()
}

#[test]
fn installers_run_on_linux_4_18() {
    let sandbox = Sandbox::with_tree();
    for seed in 0..5 {
        sandbox.file(format!("project/files/opt/d{seed}/f"), noise(seed % 3, 200_000));
    }
    let out = sandbox.path("extracted");
    let output = on_an_old_kernel(sandbox.installer(), vec!["--extract".into(), out.clone()]);
    assert!(output.status.success(), "{}", stderr(&output));
    for seed in 0..5 {
        assert_eq!(fs::read(out.join(format!("opt/d{seed}/f"))).unwrap(), noise(seed % 3, 200_000));
    }
}

/// The filter does refuse: a shell's `faccessat2`-free tools run, a call of number 439 does not.
#[test]
fn the_old_kernel_is_old() {
    let python = "import ctypes, sys; libc = ctypes.CDLL(None, use_errno=True); libc.syscall(439, -1, 0, 0, 0); sys.exit(ctypes.get_errno())";
    let Ok(found) = Command::new("python3").arg("--version").output() else { return };
    assert!(found.status.success());
    let output = on_an_old_kernel("python3".into(), vec!["-c".into(), python.into()]);
    assert_eq!(output.status.code(), Some(38));
}
