//! A program run with all it starts: an installer often ends before the programs that do its work.

use std::{
    ffi::OsString,
    io,
    mem::offset_of,
    process::{Child, Command, ExitStatus},
    ptr,
};

use windows_sys::Win32::{
    Foundation::{CloseHandle, HANDLE, INVALID_HANDLE_VALUE},
    System::{
        IO::{CreateIoCompletionPort, GetQueuedCompletionStatus},
        JobObjects::{
            AssignProcessToJobObject, CreateJobObjectW, JOBOBJECT_ASSOCIATE_COMPLETION_PORT,
            JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, JOBOBJECT_BASIC_PROCESS_ID_LIST,
            JobObjectAssociateCompletionPortInformation, JobObjectBasicAccountingInformation,
            JobObjectBasicProcessIdList, QueryInformationJobObject, SetInformationJobObject,
        },
        Threading::{GetCurrentProcess, INFINITE},
    },
};

/// So many programs are named of those that are waited for.
const NAMED: usize = 64;

/// Runs a command and waits for it and for every program it started; `still` hears of their process numbers when the
/// command itself has ended and others have not. This program and all it starts are in one job from then on.
///
/// # Errors
/// The command cannot be started, or the job not be made.
pub fn run_all(command: &[OsString], still: &mut dyn FnMut(&[usize])) -> io::Result<ExitStatus> {
    let job = Job::around_us()?;
    let mut words = command.iter();
    let program = words.next().cloned().unwrap_or_default();
    let mut child: Child = Command::new(program).args(words).spawn()?;
    let status = child.wait()?;
    // Its own entry in the job goes with the last handle.
    drop(child);
    let mut is_told = false;
    while job.active()? > 1 {
        if !is_told {
            let own = std::process::id() as usize;
            let others: Vec<usize> = job.members().into_iter().filter(|&one| one != own).collect();
            if others.is_empty() {
                break;
            }
            still(&others);
            is_told = true;
        }
        job.next()?;
    }
    Ok(status)
}

/// A job, and where it says what becomes of its processes.
struct Job {
    job: HANDLE,
    port: HANDLE,
}

impl Drop for Job {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn drop(&mut self) {
        // SAFETY: both handles are ours and open.
        unsafe {
            CloseHandle(self.job);
            CloseHandle(self.port);
        }
    }
}

impl Job {
    #[expect(unsafe_code, reason = "std knows no jobs")]
    fn around_us() -> io::Result<Self> {
        // SAFETY: nothing is named; the port belongs to no file yet.
        let (job, port) = unsafe {
            (
                CreateJobObjectW(ptr::null(), ptr::null()),
                CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 1),
            )
        };
        let ours = Self { job, port };
        let told = JOBOBJECT_ASSOCIATE_COMPLETION_PORT {
            CompletionKey: ptr::null_mut(),
            CompletionPort: port,
        };
        let size = u32::try_from(size_of_val(&told)).unwrap_or(0);
        // SAFETY: both handles are open, and the structure is the one of this kind and as long as we say.
        let done = unsafe {
            SetInformationJobObject(
                job,
                JobObjectAssociateCompletionPortInformation,
                (&raw const told).cast(),
                size,
            ) != 0
                && AssignProcessToJobObject(job, GetCurrentProcess()) != 0
        };
        if done { Ok(ours) } else { Err(io::Error::last_os_error()) }
    }

    /// How many processes are in it, ourselves among them.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn active(&self) -> io::Result<u32> {
        let mut known = JOBOBJECT_BASIC_ACCOUNTING_INFORMATION::default();
        let size = u32::try_from(size_of_val(&known)).unwrap_or(0);
        // SAFETY: the job is open, and the structure is the one of this kind and as long as we say.
        let done = unsafe {
            QueryInformationJobObject(
                self.job,
                JobObjectBasicAccountingInformation,
                (&raw mut known).cast(),
                size,
                ptr::null_mut(),
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(known.ActiveProcesses) }
    }

    /// Who is in it, as far as there is room to say.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn members(&self) -> Vec<usize> {
        let start = offset_of!(JOBOBJECT_BASIC_PROCESS_ID_LIST, ProcessIdList) / size_of::<usize>();
        let mut words = vec![0_usize; start + NAMED];
        let size = u32::try_from(size_of_val(&words[..])).unwrap_or(0);
        // SAFETY: the job is open; the buffer is as long as we say, and aligned as the structure is, which ends with an
        // array of words. Where there are more it says so and fills what there is.
        unsafe {
            QueryInformationJobObject(
                self.job,
                JobObjectBasicProcessIdList,
                words.as_mut_ptr().cast(),
                size,
                ptr::null_mut(),
            );
        }
        // SAFETY: the buffer begins with the structure, zeros where nothing was written.
        let listed = unsafe { &*words.as_ptr().cast::<JOBOBJECT_BASIC_PROCESS_ID_LIST>() };
        let count = (listed.NumberOfProcessIdsInList as usize).min(NAMED);
        words[start..start + count].to_vec()
    }

    /// Waits until something becomes of one of its processes.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn next(&self) -> io::Result<()> {
        let (mut message, mut key, mut which) = (0, 0, ptr::null_mut());
        // SAFETY: the port is open, and all three are on this stack.
        let done = unsafe {
            GetQueuedCompletionStatus(
                self.port,
                &raw mut message,
                &raw mut key,
                &raw mut which,
                INFINITE,
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
