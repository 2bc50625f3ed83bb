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
///
/// Not by `wait4(2)`, whose answer counts what we had ourselves when it was forked.
#[expect(unsafe_code, reason = "neither std nor rustix has ptrace")]
pub fn peak_memory(command: &mut Command) -> io::Result<(ExitStatus, u64)> {
    // SAFETY: between fork and exec one system call is made.
    unsafe {
        command.pre_exec(|| traced(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0)));
    }
    let process = libc::pid_t::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
    wait(process)?;
    let options = libc::PTRACE_O_TRACEEXIT | libc::PTRACE_O_EXITKILL;
    // SAFETY: the process is our stopped child.
    unsafe { traced(libc::ptrace(libc::PTRACE_SETOPTIONS, process, 0, options))? };
    let mut peak = 0;
    let mut signal = 0;
    loop {
        // SAFETY: the process is our stopped child.
        unsafe { traced(libc::ptrace(libc::PTRACE_CONT, process, 0, signal))? };
        let status = wait(process)?;
        if !libc::WIFSTOPPED(status) {
            return Ok((ExitStatus::from_raw(status), peak));
        }
        let is_exit = status >> 8 == libc::SIGTRAP | (libc::PTRACE_EVENT_EXIT << 8);
        signal = if is_exit { 0 } else { libc::WSTOPSIG(status) };
        if is_exit {
            peak = high_water(process)?;
        }
    }
}

/// The most memory the process had, `proc_pid_status(5)`.
fn high_water(process: libc::pid_t) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    Ok(kilobytes.unwrap_or_default() * 1024)
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
