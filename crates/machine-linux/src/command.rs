//! Programs run on a machine: waited for with a limit, stopped with all they started.

use std::{
    ffi::OsStr,
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use change::{CommandEnd, CommandRequest};
use rustix::process::{Pid, Signal};

/// What is kept of a program's output, from its end.
const KEPT_OUTPUT: usize = 1 << 16;
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs `request` with `root` as its root folder, in a clean environment and a session of its own.
pub(crate) fn run(root: &Path, request: &CommandRequest) -> io::Result<CommandEnd> {
    let Some((program, arguments)) = request.command.split_first() else {
        return Ok(CommandEnd::Missing);
    };
    if !is_there(root, program) {
        return Ok(CommandEnd::Missing);
    }
    let (mut reader, writer) = io::pipe()?;
    let mut command = Command::new(OsStr::from_bytes(program));
    command
        .args(arguments.iter().map(|argument| OsStr::from_bytes(argument)))
        .env_clear()
        .envs([
            ("PATH", SEARCH),
            ("LANG", "C.UTF-8"),
            ("HOME", "/root"),
            ("DEBIAN_FRONTEND", "noninteractive"),
        ])
        .env("DPKG_FRONTEND_LOCKED", "1")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    enter(&mut command, root);
    let mut child = command.spawn()?;
    drop(command);
    if !request.wait {
        return Ok(CommandEnd::Started);
    }
    let output = thread::spawn(move || last_of(&mut reader));
    let group = Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    let waiter = thread::spawn(move || {
        let _ = sender.send(child.wait());
    });
    let limit = Duration::from_secs(request.limit.into());
    let Ok(status) = receiver.recv_timeout(limit) else {
        rustix::process::kill_process_group(group, Signal::KILL).ok();
        waiter.join().ok();
        return Ok(CommandEnd::TimedOut);
    };
    let status = status?;
    // A program it left behind may hold the pipe open: it has had its say.
    let output = if output.is_finished() || !has_members(group) {
        output.join().unwrap_or_default()
    } else {
        String::new()
    };
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    Ok(CommandEnd::Exited { code, output })
}

fn has_members(group: Pid) -> bool {
    rustix::process::test_kill_process_group(group).is_ok()
}

/// Whether the program is on the machine: looked for as execvp(3) does.
fn is_there(root: &Path, program: &[u8]) -> bool {
    let resolver = crate::resolve::Resolver::new(root.to_owned());
    let there = |path: &[u8]| {
        model::MachinePath::new(path)
            .ok()
            .and_then(|path| resolver.resolve(&path).ok())
            .is_some_and(|path| resolver.host(&path).symlink_metadata().is_ok())
    };
    if program.contains(&b'/') {
        return there(program);
    }
    SEARCH.split(':').any(|folder| there(&[folder.as_bytes(), b"/", program].concat()))
}

#[expect(
    unsafe_code,
    reason = "std offers no other way to enter a root folder and a session between fork and exec"
)]
fn enter(command: &mut Command, root: &Path) {
    let root = (root != Path::new("/")).then(|| root.to_owned());
    // SAFETY: between fork and exec only system calls are made; nothing allocates, locks or panics.
    unsafe {
        command.pre_exec(move || {
            rustix::process::setsid()?;
            if let Some(root) = &root {
                rustix::process::chroot(root.as_path())?;
            }
            rustix::process::chdir("/")?;
            Ok(())
        });
    }
}

fn last_of(reader: &mut impl Read) -> String {
    let mut kept = Vec::new();
    let mut block = [0; 8192];
    while let Ok(count) = reader.read(&mut block)
        && count > 0
    {
        kept.extend_from_slice(&block[..count]);
        if kept.len() > 2 * KEPT_OUTPUT {
            kept.drain(..kept.len() - KEPT_OUTPUT);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}
