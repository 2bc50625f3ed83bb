//! Programs run on the machine: waited for with a limit.

use std::{
    env, fs,
    io::{self, Read},
    os::windows::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use change::{CommandEnd, CommandRequest};
use windows_sys::Win32::System::Diagnostics::Debug::{
    SEM_FAILCRITICALERRORS, SEM_NOOPENFILEERRORBOX, SetErrorMode,
};

/// What is kept of a program's output, from its end.
const KEPT_OUTPUT: usize = 1 << 16;

/// Uninstallers made with NSIS take all that follows this as one path, blanks too, and know no quotes there.
const REST_OF_LINE: &str = "_?=";

/// Runs a program to its end.
pub(crate) fn run(request: &CommandRequest) -> io::Result<CommandEnd> {
    let words = request.command.iter().map(|word| String::from_utf8_lossy(word).into_owned());
    let words: Vec<String> = words.collect();
    let Some((program, arguments)) = words.split_first() else { return Ok(CommandEnd::Missing) };
    no_boxes();
    let (mut reader, writer) = io::pipe()?;
    let is_told_where = arguments.iter().any(|argument| argument.starts_with(REST_OF_LINE));
    let aside = match is_told_where.then(|| Aside::of(Path::new(program))).transpose() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(CommandEnd::Missing),
        aside => aside?,
    };
    let mut command = match &aside {
        Some(Aside(copy)) => Command::new(copy),
        None => Command::new(program),
    };
    for argument in arguments {
        match argument.strip_prefix(REST_OF_LINE) {
            Some(_) => command.raw_arg(argument),
            None => command.arg(argument),
        };
    }
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let spawned = command.spawn();
    drop(command);
    let mut child = match spawned {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(CommandEnd::Missing),
        other => other?,
    };
    if !request.wait {
        return Ok(CommandEnd::Started);
    }
    // Not waited for: what a program leaves running may hold its output open.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        let mut block = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut block) {
            all.extend_from_slice(&block[..count]);
            let surplus = all.len().saturating_sub(KEPT_OUTPUT);
            all.drain(..surplus);
        }
        let _ = sender.send(all);
    });
    let Some(status) = wait(&mut child, request.limit)? else { return Ok(CommandEnd::TimedOut) };
    let output = receiver.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
    Ok(CommandEnd::Exited {
        code: status.code().unwrap_or(-1),
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}

/// A copy of a program. An uninstaller made with NSIS that is told where it is stays till all is done, and cannot take away the file
/// it runs from; it makes such a copy itself where it is told nothing (NSIS manual 3.2.1).
struct Aside(PathBuf);

impl Aside {
    fn of(program: &Path) -> io::Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let copy = env::temp_dir().join(format!("packhorse-{}-{name}", process::id()));
        fs::copy(program, &copy)?;
        Ok(Self(copy))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What this program starts inherits that Windows says nothing in a box when a program or library cannot be loaded:
/// nobody may be there to click it away.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn no_boxes() {
    // SAFETY: numbers alone are passed.
    unsafe { SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOOPENFILEERRORBOX) };
}

#[expect(unsafe_code, reason = "std waits without a limit alone")]
fn wait(
    child: &mut std::process::Child,
    limit: u32,
) -> io::Result<Option<std::process::ExitStatus>> {
    use std::os::windows::io::AsRawHandle as _;

    use windows_sys::Win32::{Foundation::WAIT_TIMEOUT, System::Threading::WaitForSingleObject};
    let limit = limit.saturating_mul(1000);
    // SAFETY: the handle is open as long as the child.
    if unsafe { WaitForSingleObject(child.as_raw_handle(), limit) } == WAIT_TIMEOUT {
        child.kill()?;
        child.wait()?;
        return Ok(None);
    }
    child.wait().map(Some)
}
