//! Job objects: a program with all it starts, whoever becomes their parent; stopped at once, and known to be done when the last of
//! them has ended.

use std::{
    io,
    os::windows::{
        io::{AsHandle as _, AsRawHandle as _, BorrowedHandle, OwnedHandle},
        process::CommandExt as _,
    },
    process::{Child, Command},
    ptr,
};

use windows_sys::Win32::{
    Foundation::{ERROR_FILE_NOT_FOUND, INVALID_HANDLE_VALUE},
    System::{
        Diagnostics::ToolHelp::{
            CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
        },
        IO::{CreateIoCompletionPort, GetQueuedCompletionStatus},
        JobObjects::{
            AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
            JOBOBJECT_ASSOCIATE_COMPLETION_PORT, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
            JOBOBJECTINFOCLASS, JobObjectAssociateCompletionPortInformation,
            JobObjectExtendedLimitInformation, OpenJobObjectW, SetInformationJobObject,
            TerminateJobObject,
        },
        SystemServices::{
            JOB_OBJECT_MSG_ABNORMAL_EXIT_PROCESS, JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO,
            JOB_OBJECT_MSG_EXIT_PROCESS, JOB_OBJECT_MSG_NEW_PROCESS, JOB_OBJECT_TERMINATE,
        },
        Threading::{
            CREATE_NEW_PROCESS_GROUP, CREATE_SUSPENDED, INFINITE, OpenThread, ResumeThread,
            THREAD_SUSPEND_RESUME,
        },
    },
};

use crate::{
    handles::owned,
    names::wide,
    processes::{exit_code, open},
    security::Descriptor,
    services::{done, is},
};

/// What a process ends with that was ended because its job was.
const ENDED: u32 = 1;

/// A job. All that is in it ends when this is dropped, whatever became of who had it.
#[derive(Debug)]
pub struct Job {
    job: OwnedHandle,
    port: OwnedHandle,
}

/// What happened in a job.
#[derive(Debug)]
pub enum JobEvent {
    /// A process is in it.
    Began(Member),
    /// The process of that number is in it no more.
    Ended(u32),
    /// Nobody is in it any more.
    Empty,
    /// Something of no importance.
    Other,
}

/// A process that is in a job, or was.
#[derive(Debug)]
pub struct Member {
    /// Its number.
    pub process: u32,
    handle: Option<OwnedHandle>,
}

impl Member {
    /// With what it ended, if it has, and that can be found out.
    pub fn exit_code(&self) -> Option<i32> {
        exit_code(self.handle.as_ref()?.as_handle())
    }
}

impl Job {
    /// One that others find by its name, if they are administrators or the machine itself.
    ///
    /// # Errors
    /// The machine has no room for it, or somebody else has the name.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn named(name: &str) -> io::Result<Self> {
        let descriptor = Descriptor::private()?;
        let attributes = descriptor.attributes();
        // SAFETY: the name ends with a zero; the attributes and what they lead to outlive the call.
        let job = owned(unsafe { CreateJobObjectW(&raw const attributes, wide(name).as_ptr()) })?;
        Self::of(job)?.ending()
    }

    /// One nobody else finds.
    ///
    /// # Errors
    /// The machine has no room for it.
    pub fn new() -> io::Result<Self> {
        Self::unnamed()?.ending()
    }

    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn unnamed() -> io::Result<Self> {
        // SAFETY: nothing is passed.
        Self::of(owned(unsafe { CreateJobObjectW(ptr::null(), ptr::null()) })?)
    }

    /// The same, and all that is in it ends with it.
    fn ending(self) -> io::Result<Self> {
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        self.set(JobObjectExtendedLimitInformation, &limits)?;
        Ok(self)
    }

    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn of(job: OwnedHandle) -> io::Result<Self> {
        // SAFETY: nothing is passed but that it is to be a new one.
        let port =
            owned(unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 1) })?;
        let made = Self { job, port };
        let told = JOBOBJECT_ASSOCIATE_COMPLETION_PORT {
            CompletionKey: ptr::null_mut(),
            CompletionPort: made.port.as_raw_handle(),
        };
        made.set(JobObjectAssociateCompletionPortInformation, &told)?;
        Ok(made)
    }

    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn set<T>(&self, what: JOBOBJECTINFOCLASS, to: &T) -> io::Result<()> {
        let size = u32::try_from(size_of::<T>()).unwrap_or(0);
        // SAFETY: the handle is open; the structure is the one of that class, and as long as we say.
        done(unsafe {
            SetInformationJobObject(self.job.as_raw_handle(), what, ptr::from_ref(to).cast(), size)
        })
    }

    /// Starts a program in it: it does nothing before it is. Console programs can be asked to end by its number.
    ///
    /// # Errors
    /// It cannot be started, or not in the job; then it has done nothing.
    pub fn start(&self, command: &mut Command) -> io::Result<Child> {
        let mut child =
            command.creation_flags(CREATE_SUSPENDED | CREATE_NEW_PROCESS_GROUP).spawn()?;
        let begun = self.put(child.as_handle()).and_then(|()| resume(child.id()));
        if begun.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        begun.map(|()| child)
    }

    /// Puts a process into it, and with it all it starts from now on.
    ///
    /// # Errors
    /// It has ended, or is in a job that lets nobody go.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn put(&self, process: BorrowedHandle<'_>) -> io::Result<()> {
        // SAFETY: both handles are open.
        done(unsafe { AssignProcessToJobObject(self.job.as_raw_handle(), process.as_raw_handle()) })
    }

    /// Waits for what happens next.
    ///
    /// # Errors
    /// Nobody tells it any more.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn next(&self) -> io::Result<JobEvent> {
        let (mut what, mut key, mut process) = (0, 0, ptr::null_mut());
        // SAFETY: the handle is open, and what is written is on this stack.
        done(unsafe {
            GetQueuedCompletionStatus(
                self.port.as_raw_handle(),
                &raw mut what,
                &raw mut key,
                &raw mut process,
                INFINITE,
            )
        })?;
        // It is no pointer here, but a number.
        let process = u32::try_from(process.addr()).unwrap_or(0);
        Ok(match what {
            JOB_OBJECT_MSG_NEW_PROCESS => {
                JobEvent::Began(Member { process, handle: open(process) })
            }
            JOB_OBJECT_MSG_EXIT_PROCESS | JOB_OBJECT_MSG_ABNORMAL_EXIT_PROCESS => {
                JobEvent::Ended(process)
            }
            JOB_OBJECT_MSG_ACTIVE_PROCESS_ZERO => JobEvent::Empty,
            _ => JobEvent::Other,
        })
    }

    /// Ends all that is in it.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    pub fn end(&self) {
        // SAFETY: the handle is open.
        unsafe { TerminateJobObject(self.job.as_raw_handle(), ENDED) };
    }
}

/// Runs a command and waits for it and for every program it started; `still` hears of their process numbers once the command
/// itself has ended and others have not. They go on when this program is ended.
///
/// # Errors
/// The command cannot be started, or not in a job.
#[cfg(feature = "observe")]
pub fn run_all(
    command: &mut Command,
    still: &mut dyn FnMut(&[u32]),
) -> io::Result<std::process::ExitStatus> {
    let job = Job::unnamed()?;
    let mut child = job.start(command)?;
    let mut running = vec![child.id()];
    loop {
        match job.next()? {
            JobEvent::Began(member) if !running.contains(&member.process) => {
                running.push(member.process);
            }
            JobEvent::Ended(process) => {
                running.retain(|&one| one != process);
                if process == child.id() && !running.is_empty() {
                    still(&running);
                }
            }
            JobEvent::Empty => return child.wait(),
            JobEvent::Began(_) | JobEvent::Other => {}
        }
    }
}

/// Ends all that is in the job of that name; whether there was one.
///
/// # Errors
/// There is one, and it may not be ended.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn end_job(name: &str) -> io::Result<bool> {
    // SAFETY: the name ends with a zero.
    let job = owned(unsafe { OpenJobObjectW(JOB_OBJECT_TERMINATE, 0, wide(name).as_ptr()) });
    match job {
        Err(error) if is(&error, ERROR_FILE_NOT_FOUND) => Ok(false),
        // SAFETY: the handle is open.
        job => done(unsafe { TerminateJobObject(job?.as_raw_handle(), ENDED) }).map(|()| true),
    }
}

/// Has a process go on that was started halted: it has one thread.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn resume(process: u32) -> io::Result<()> {
    // SAFETY: nothing is passed but numbers.
    let all = owned(unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) })?;
    let mut entry = THREADENTRY32 {
        dwSize: u32::try_from(size_of::<THREADENTRY32>()).unwrap_or(0),
        ..THREADENTRY32::default()
    };
    // SAFETY: the handle is open, and the structure says how long it is.
    let mut found = unsafe { Thread32First(all.as_raw_handle(), &raw mut entry) };
    while found != 0 {
        if entry.th32OwnerProcessID == process {
            // SAFETY: nothing is passed but numbers.
            let thread =
                owned(unsafe { OpenThread(THREAD_SUSPEND_RESUME, 0, entry.th32ThreadID) })?;
            // SAFETY: the handle is open.
            let answer = unsafe { ResumeThread(thread.as_raw_handle()) };
            return if answer == u32::MAX { Err(io::Error::last_os_error()) } else { Ok(()) };
        }
        // SAFETY: as before.
        found = unsafe { Thread32Next(all.as_raw_handle(), &raw mut entry) };
    }
    Err(io::Error::other("a program that was just started has no thread"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_tells_who_comes_and_goes_and_when_nobody_is_left() {
        let job = Job::new().unwrap();
        let mut child = job.start(Command::new("cmd").args(["/c", "exit 7"])).unwrap();
        let (mut members, mut ended) = (Vec::new(), Vec::new());
        loop {
            match job.next().unwrap() {
                JobEvent::Began(member) => members.push(member),
                JobEvent::Ended(process) => ended.push(process),
                JobEvent::Empty => break,
                JobEvent::Other => {}
            }
        }
        assert!(ended.contains(&child.id()));
        let own = members.iter().find(|member| member.process == child.id()).unwrap();
        assert_eq!(own.exit_code(), Some(7));
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn a_job_found_by_its_name_is_ended() {
        let name = r"Local\Packhorse test of jobs";
        let job = Job::named(name).unwrap();
        let mut child = job.start(Command::new("cmd").args(["/c", "pause"])).unwrap();
        assert!(end_job(name).unwrap());
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert!(!end_job(r"Local\Packhorse test of no job").unwrap());
    }
}
