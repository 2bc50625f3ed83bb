//! Processes of our own without rights, and the way to them.

use std::{
    ffi::CStr,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use machine_linux::account::Account;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, geteuid, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};

use super::launch::OWN;

/// On whose account they run, where there is one of that name.
const ACCOUNT: &str = "packhorse-agent";
/// On whose else: `nobody`, and the group of it, as the kernel has them for who is nobody (`user_namespaces(7)`).
const NOBODY: (u32, u32) = (65_534, 65_534);

/// The way between a caller and who started it.
pub(crate) type Stream = UnixStream;

/// A caller, and the way to it. It ends with this.
#[derive(Debug)]
pub(crate) struct Caller {
    child: Child,
    pub(crate) stream: Stream,
}

impl Caller {
    /// Starts one: this program, in that part, with these variables and no others.
    pub(crate) fn start(part: &str, environment: &[(String, String)]) -> io::Result<Self> {
        let (stream, its) = UnixStream::pair()?;
        // By the file we run from: it is the same version, and nobody has to be allowed to look for it.
        let mut command = Command::new(OWN);
        command.arg0("packhorse-agent").arg(part).current_dir("/").env_clear();
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(OwnedFd::from(its)).stdout(Stdio::null()).stderr(Stdio::inherit());
        if geteuid().is_root() {
            let account = Account::named(Path::new("/"), ACCOUNT).ok().flatten();
            let (user, group) = account.map_or(NOBODY, |one| (one.number, one.group));
            // Groups go with it, and with the user all capabilities (`capabilities(7)`).
            command.uid(user).gid(group);
        }
        Ok(Self { child: command.spawn()?, stream })
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a caller does first: it gives up what could still be had. Who started it is at the other end of what this returns.
pub(crate) fn enter(name: &CStr) -> io::Result<Stream> {
    // What is asked of it holds a key: nobody looks into it, whoever else runs on that account.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    rustix::thread::set_name(name)?;
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    for what in [Resource::Fsize, Resource::Core] {
        setrlimit(what, none)?;
    }
    Ok(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// From now on this process ends with who started it, whatever it does then.
pub(crate) fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// No word goes either way any more.
pub(crate) fn hang_up(stream: &Stream) {
    let _ = stream.shutdown(std::net::Shutdown::Both);
}
