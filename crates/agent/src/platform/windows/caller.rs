//! Processes of our own that call others, and the way to them: two pipes, as their input and output.

use std::{
    ffi::CStr,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::windows::{
        io::{AsHandle as _, OwnedHandle},
        process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use machine_windows::Job;

use crate::command::say;

/// `CREATE_NO_WINDOW`: nobody sees it.
const UNSEEN: u32 = 0x0800_0000;
/// What sockets, folders for what is temporary, and libraries are found by.
const NEEDED: [&str; 6] = ["SystemRoot", "SystemDrive", "windir", "TEMP", "TMP", "ProgramData"];

/// The way between a caller and who started it. It has two halves, and who hears does not keep others from speaking.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    from: Arc<PipeReader>,
    to: Arc<Mutex<Option<PipeWriter>>>,
    /// Ends who is at the other end, and with him what is heard of him.
    job: Option<Arc<Job>>,
}

impl Stream {
    fn of(from: PipeReader, to: PipeWriter, job: Option<Arc<Job>>) -> Self {
        Self { from: Arc::new(from), to: Arc::new(Mutex::new(Some(to))), job }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as where a stream is a socket")]
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

impl Read for &Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match (&*self.from).read(into) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
            read => read,
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        to.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A caller, and the way to it. It ends with this, and with us.
#[derive(Debug)]
pub(crate) struct Caller {
    child: Child,
    pub(crate) stream: Stream,
}

impl Caller {
    /// Starts one: this program, in that part, with these variables and hardly any others.
    pub(crate) fn start(part: &str, environment: &[(String, String)]) -> io::Result<Self> {
        let (its_input, to) = io::pipe()?;
        let (from, its_output) = io::pipe()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(part).env_clear();
        command.envs(NEEDED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(its_input).stdout(its_output).stderr(Stdio::inherit());
        command.creation_flags(UNSEEN);
        let child = command.spawn()?;
        // It waits for its first word, and starts nothing: what the job would have missed is nothing.
        let job = Job::new().and_then(|job| job.put(child.as_handle()).map(|()| job));
        Ok(Self { child, stream: Stream::of(from, to, job.ok().map(Arc::new)) })
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a caller does first: it gives up what could still be had. Who started it is at the other end of what this returns.
pub(crate) fn enter(_: &CStr) -> io::Result<Stream> {
    // A machine that cannot do that is not for that reason without an agent.
    if let Err(error) = machine_windows::give_up_rights() {
        say(&format!("who calls others keeps rights it was to give up: {error}"));
    }
    let input: OwnedHandle = io::stdin().as_handle().try_clone_to_owned()?;
    let output: OwnedHandle = io::stdout().as_handle().try_clone_to_owned()?;
    Ok(Stream::of(input.into(), output.into(), None))
}

/// It does so by its job.
#[expect(clippy::unnecessary_wraps, reason = "as where it has to be asked for")]
pub(crate) fn end_with_parent() -> io::Result<()> {
    Ok(())
}

/// No word goes either way any more.
pub(crate) fn hang_up(stream: &Stream) {
    stream.to.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(job) = &stream.job {
        job.end();
    }
}
