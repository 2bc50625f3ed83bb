use std::{collections::BTreeMap, fs};

use rustix::process::PidfdFlags;
use seccompiler::{SeccompAction, SeccompFilter, TargetArch, apply_filter};

use crate::sandbox::{Sandbox, extract, noise, stderr};

/// The first system call newer than Linux 4.18.
const FIRST_NEWER: i64 = 335;
/// Beyond what any kernel has.
const BEYOND: i64 = 700;
const ENOSYS: u32 = 38;

/// Does something as on a kernel of 2018, which knows none of the newer system calls.
fn on_an_old_kernel<T: Send + 'static>(task: impl FnOnce() -> T + Send + 'static) -> T {
    let newer: BTreeMap<_, _> = (FIRST_NEWER..BEYOND).map(|number| (number, vec![])).collect();
    let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(ENOSYS));
    let filter = SeccompFilter::new(newer, allow, refuse, TargetArch::x86_64).unwrap();
    let filter: seccompiler::BpfProgram = filter.try_into().unwrap();
    // A filter is the thread's and of what it starts; it ends with both.
    let filtered = move || {
        apply_filter(&filter).unwrap();
        task()
    };
    std::thread::spawn(filtered).join().unwrap()
}

#[test]
fn installers_run_on_linux_4_18() {
    let sandbox = Sandbox::with_tree();
    for seed in 0..5 {
        sandbox.file(format!("project/files/opt/d{seed}/f"), noise(seed % 3, 200_000));
    }
    let out = sandbox.path("extracted");
    let (installer, folder) = (sandbox.installer(), out.clone());
    let output = on_an_old_kernel(move || extract(&installer, &folder));
    assert!(output.status.success(), "{}", stderr(&output));
    for seed in 0..5 {
        assert_eq!(fs::read(out.join(format!("opt/d{seed}/f"))).unwrap(), noise(seed % 3, 200_000));
    }
}

#[test]
fn the_old_kernel_is_old() {
    let open = || rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    assert!(open().is_ok());
    assert_eq!(on_an_old_kernel(open).unwrap_err(), rustix::io::Errno::NOSYS);
}
