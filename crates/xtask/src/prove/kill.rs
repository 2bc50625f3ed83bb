//! A program killed at the k-th system call that changes a file: points drawn over what happens, not over
//! the time it takes.

#![expect(unsafe_code, reason = "there is no safe interface to ptrace")]

use std::{
    collections::BTreeSet,
    io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use libc::{c_int, c_long, pid_t};

/// How a traced run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// How many calls that change files were begun, by the program and all it started.
    pub(crate) calls: u64,
    /// Its exit code, if it was not killed.
    pub(crate) code: Option<i32>,
}

/// Runs `command`, and kills it and all it started as the call number `kill_at` is about to be made.
pub(crate) fn run_until(command: &mut Command, kill_at: Option<u64>) -> Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: `ptrace` and nothing else is called between the fork and the exec; it allocates nothing.
    unsafe {
        command.pre_exec(|| {
            if libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn().context("cannot start the program to be killed")?;
    Trace { main: child.id().cast_signed(), tasks: BTreeSet::new(), calls: 0 }.follow(kill_at)
}

struct Trace {
    main: pid_t,
    tasks: BTreeSet<pid_t>,
    calls: u64,
}

impl Trace {
    fn follow(mut self, kill_at: Option<u64>) -> Result<Ended> {
        let mut code = None;
        let mut killed = false;
        while let Some((task, status)) = wait()? {
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                self.tasks.remove(&task);
                if task == self.main && libc::WIFEXITED(status) {
                    code = Some(libc::WEXITSTATUS(status));
                }
                continue;
            }
            if self.tasks.insert(task) && task == self.main {
                set_options(task)?;
            }
            if killed {
                // It was begun as the others were killed.
                kill(task);
                continue;
            }
            let signal = self.signal_to_deliver(task, status);
            if signal.is_none() && is_change(task) {
                self.calls += 1;
                if Some(self.calls) == kill_at {
                    self.kill_all();
                    killed = true;
                    continue;
                }
            }
            go_on(task, signal.unwrap_or(0));
        }
        if killed {
            return Ok(Ended { calls: self.calls, code: None });
        }
        if code.is_none() {
            bail!("the program to be killed ended by a signal of its own");
        }
        Ok(Ended { calls: self.calls, code })
    }

    /// Nothing for a stop at a system call; zero for the tracer's own stops.
    fn signal_to_deliver(&self, task: pid_t, status: c_int) -> Option<c_int> {
        let signal = libc::WSTOPSIG(status);
        match signal {
            signal if signal == libc::SIGTRAP | 0x80 => None,
            libc::SIGTRAP => Some(0),
            // How a new task begins.
            libc::SIGSTOP if task != self.main => Some(0),
            _ => Some(signal),
        }
    }

    fn kill_all(&self) {
        self.tasks.iter().copied().for_each(kill);
    }
}

fn kill(task: pid_t) {
    // SAFETY: sends a signal to a task that is stopped and not yet waited for, so its number is its own.
    unsafe { libc::kill(task, libc::SIGKILL) };
}

/// The next task that stopped or ended; nothing when there are none left.
fn wait() -> Result<Option<(pid_t, c_int)>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a valid place for the answer.
        let task = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        if task > 0 {
            return Ok(Some((task, status)));
        }
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::ECHILD) => return Ok(None),
            Some(libc::EINTR) => {}
            other => bail!("waiting for the program to be killed: error {other:?}"),
        }
    }
}

fn set_options(task: pid_t) -> Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    // SAFETY: the task is ours and stopped; the options are plain bits.
    let answer = unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, task, 0, options) };
    if answer == -1 {
        return Err(io::Error::last_os_error()).context("PTRACE_SETOPTIONS");
    }
    Ok(())
}

/// Lets a task run to its next system call. One that was killed meanwhile is none to let go.
fn go_on(task: pid_t, signal: c_int) {
    // SAFETY: the task is ours; the signal is a number.
    unsafe { libc::ptrace(libc::PTRACE_SYSCALL, task, 0, signal) };
}

/// Whether the task is about to make a call that changes a file.
fn is_change(task: pid_t) -> bool {
    // SAFETY: registers are plain numbers, and all zeros are such.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    // SAFETY: the task is ours and stopped, and `registers` a valid place for the answer.
    let answer = unsafe { libc::ptrace(libc::PTRACE_GETREGS, task, 0, &raw mut registers) };
    // The kernel leaves this in the register of the result until the call is made.
    let is_entry = registers.rax.cast_signed() == -i64::from(libc::ENOSYS);
    answer != -1
        && is_entry
        && changes(registers.orig_rax.cast_signed(), registers.rsi, registers.rdx)
}

fn changes(number: c_long, second: u64, third: u64) -> bool {
    let makes = |flags: u64| flags & (libc::O_CREAT | libc::O_TRUNC) as u64 != 0;
    match number {
        libc::SYS_open => makes(second),
        libc::SYS_openat => makes(third),
        _ => CHANGES.contains(&number),
    }
}

const CHANGES: [c_long; 41] = [
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_writev,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_sendfile,
    libc::SYS_copy_file_range,
    libc::SYS_fallocate,
    libc::SYS_truncate,
    libc::SYS_ftruncate,
    libc::SYS_creat,
    libc::SYS_mknod,
    libc::SYS_mknodat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_rmdir,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_link,
    libc::SYS_linkat,
    libc::SYS_symlink,
    libc::SYS_symlinkat,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_chown,
    libc::SYS_fchown,
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_syncfs,
    libc::SYS_fsync,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn three_files(folder: &std::path::Path) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg("mkdir a && mkdir b && mkdir c; (mkdir d)").current_dir(folder);
        shell
    }

    #[test]
    fn calls_are_counted_and_the_process_dies_before_the_one_that_was_named() {
        let folder = tempfile::tempdir().unwrap();
        let whole = run_until(&mut three_files(folder.path()), None).unwrap();
        assert_eq!(whole, Ended { calls: 4, code: Some(0) });
        for kill_at in 1..=4 {
            let folder = tempfile::tempdir().unwrap();
            let ended = run_until(&mut three_files(folder.path()), Some(kill_at)).unwrap();
            assert_eq!(ended, Ended { calls: kill_at, code: None });
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count() as u64, kill_at - 1);
        }
    }
}
