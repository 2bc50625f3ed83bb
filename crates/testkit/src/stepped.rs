//! A program run from one system call to the next, so that it can be stopped at any of them: ptrace(2).

use std::{
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Command, ExitStatus},
};

/// What happens to the program at the chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is killed, as by `kill -9`.
    Kill,
    /// It gets this signal, and runs on as it likes.
    Signal(i32),
}

/// Runs `command` to its end; answers how many system calls its first thread made, and how it ended.
pub fn calls(command: &mut Command) -> io::Result<(u64, ExitStatus)> {
    step(command, u64::MAX, Stop::Kill)
}

/// Runs `command` up to the system call number `call` of its first thread, from 0, which it enters and
/// does not leave; then stops it.
pub fn stop_at(command: &mut Command, call: u64, how: Stop) -> io::Result<ExitStatus> {
    step(command, call, how).map(|(_, status)| status)
}

#[expect(unsafe_code, reason = "neither std nor rustix has ptrace")]
fn step(command: &mut Command, call: u64, how: Stop) -> io::Result<(u64, ExitStatus)> {
    // SAFETY: between fork and exec one system call is made.
    unsafe {
        command.pre_exec(|| traced(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0)));
    }
    let process = libc::pid_t::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
    wait(process)?;
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
    // SAFETY: the process is our stopped child.
    unsafe { traced(libc::ptrace(libc::PTRACE_SETOPTIONS, process, 0, options))? };
    let mut made = 0;
    let mut inside = false;
    let mut signal = 0;
    loop {
        // SAFETY: the process is our stopped child.
        unsafe { traced(libc::ptrace(libc::PTRACE_SYSCALL, process, 0, signal))? };
        let status = wait(process)?;
        if !libc::WIFSTOPPED(status) {
            return Ok((made, ExitStatus::from_raw(status)));
        }
        let stop = libc::WSTOPSIG(status);
        signal = if stop == libc::SIGTRAP | 0x80 { 0 } else { stop };
        if signal != 0 {
            continue;
        }
        inside = !inside;
        if !inside {
            continue;
        }
        if made == call {
            break;
        }
        made += 1;
    }
    let number = match how {
        Stop::Kill => libc::SIGKILL,
        Stop::Signal(signal) => signal,
    };
    // SAFETY: the process is our stopped child.
    unsafe {
        libc::kill(process, number);
        libc::ptrace(libc::PTRACE_DETACH, process, 0, 0);
    }
    Ok((made, ExitStatus::from_raw(wait(process)?)))
}

/// Runs `command` to its end; answers how it ended, and the most bytes of memory it had at once.
#[expect(unsafe_code, reason = "std's wait tells no use of resources")]
pub fn peak_memory(command: &mut Command) -> io::Result<(ExitStatus, u64)> {
    let process = libc::pid_t::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: plain data of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one integer and one structure.
    if unsafe { libc::wait4(process, &raw mut status, 0, &raw mut usage) } != process {
        return Err(io::Error::last_os_error());
    }
    let kilobytes = u64::try_from(usage.ru_maxrss).unwrap_or_default();
    Ok((ExitStatus::from_raw(status), kilobytes * 1024))
}

fn traced(answer: libc::c_long) -> io::Result<()> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[expect(unsafe_code, reason = "std's wait knows no stopped children")]
fn wait(process: libc::pid_t) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one integer.
        if unsafe { libc::waitpid(process, &raw mut status, libc::__WALL) } == process {
            return Ok(status);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
