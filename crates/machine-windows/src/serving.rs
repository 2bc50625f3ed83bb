//! Being a service: started by the service manager, told by it to end, and set up and taken away with it.

use std::{
    ffi::c_void,
    io,
    os::windows::io::{AsHandle as _, BorrowedHandle},
    ptr,
    sync::{Mutex, OnceLock, PoisonError},
};

use model::{Failure, Recovery, RecoveryAction, ServiceSetup, SettingState};
use windows_sys::Win32::System::{
    Console::{STD_ERROR_HANDLE, SetConsoleCtrlHandler, SetStdHandle},
    Services::{
        RegisterServiceCtrlHandlerExW, SERVICE_ACCEPT_PRESHUTDOWN, SERVICE_ACCEPT_SHUTDOWN,
        SERVICE_ACCEPT_STOP, SERVICE_ACCEPT_TIMECHANGE, SERVICE_AUTO_START,
        SERVICE_CONTROL_INTERROGATE, SERVICE_CONTROL_PRESHUTDOWN, SERVICE_CONTROL_SHUTDOWN,
        SERVICE_CONTROL_STOP, SERVICE_CONTROL_TIMECHANGE, SERVICE_ERROR_NORMAL, SERVICE_RUNNING,
        SERVICE_START_PENDING, SERVICE_STATUS, SERVICE_STATUS_HANDLE, SERVICE_STOP_PENDING,
        SERVICE_STOPPED, SERVICE_TABLE_ENTRYW, SERVICE_WIN32_OWN_PROCESS, SetServiceStatus,
        StartServiceCtrlDispatcherW,
    },
};

use crate::{names::wide, services, services::done, waiting::Event};

/// Milliseconds the manager waits before it takes us for dead.
const PATIENCE: u32 = 60_000;
/// `ERROR_CALL_NOT_IMPLEMENTED`: what a control is answered with that is none of ours.
const NOT_OURS: u32 = 120;
/// What the manager is told of a service that ended by an error of its own: `ERROR_SERVICE_SPECIFIC_ERROR`.
const OWN_ERROR: u32 = 1066;

/// What is wanted of this program by the manager, or by who sits at its console.
#[derive(Debug)]
pub struct Wanted {
    end: Event,
    clock: Event,
}

/// What is wanted, wherever it comes from.
static WANTED: OnceLock<Wanted> = OnceLock::new();
static WORK: OnceLock<Work> = OnceLock::new();
/// Whom to tell how we are.
static MANAGER: Mutex<Option<Manager>> = Mutex::new(None);

/// What a service does, and what it ends with.
struct Work {
    name: &'static str,
    perform: fn() -> u32,
}

#[derive(Clone, Copy)]
struct Manager(SERVICE_STATUS_HANDLE);

// SAFETY: it is a number of the manager's, good in every thread.
#[expect(unsafe_code, reason = "the interface's handle is a pointer by its type")]
unsafe impl Send for Manager {}

impl Wanted {
    /// The one there is.
    ///
    /// # Errors
    /// The machine has no room for it.
    pub fn of_process() -> io::Result<&'static Self> {
        if let Some(wanted) = WANTED.get() {
            return Ok(wanted);
        }
        let made = Self { end: Event::new()?, clock: Event::new()? };
        Ok(WANTED.get_or_init(|| made))
    }

    /// That it ends.
    pub fn end(&self) -> BorrowedHandle<'_> {
        self.end.as_handle()
    }

    /// Somebody else wants it to end.
    pub fn wish_end(&self) {
        self.end.ring();
    }

    /// That it looks at the clock: somebody has set it.
    pub fn clock(&self) -> BorrowedHandle<'_> {
        self.clock.as_handle()
    }

    /// Takes note of the clock.
    pub fn clear_clock(&self) {
        self.clock.clear();
    }

    /// From now on Ctrl-C and a console that closes are wishes, and end nothing by themselves.
    #[expect(unsafe_code, reason = "std sets no handler")]
    pub fn listen_to_console(&self) {
        // SAFETY: the handler lives as long as the program, and does nothing but ring an event that does, too.
        unsafe { SetConsoleCtrlHandler(Some(console), 1) };
    }
}

#[expect(unsafe_code, reason = "the interface wants it so")]
unsafe extern "system" fn console(_: u32) -> i32 {
    if let Some(wanted) = WANTED.get() {
        wanted.end.ring();
    }
    1
}

/// Is the service of that name until its work is done; the work answers what the service ends with.
///
/// # Errors
/// The service manager did not start us.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub fn serve(name: &'static str, work: fn() -> u32) -> io::Result<()> {
    Wanted::of_process()?;
    WORK.get_or_init(|| Work { name, perform: work });
    let mut words = wide(name);
    let table = [
        SERVICE_TABLE_ENTRYW { lpServiceName: words.as_mut_ptr(), lpServiceProc: Some(service) },
        SERVICE_TABLE_ENTRYW::default(),
    ];
    // SAFETY: the table ends with an empty entry, and outlives the call.
    done(unsafe { StartServiceCtrlDispatcherW(table.as_ptr()) })
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
unsafe extern "system" fn service(_: u32, _: *mut *mut u16) {
    let Some(Work { name, perform }) = WORK.get() else { return };
    // SAFETY: the name ends with a zero, and the handler lives as long as the program.
    let manager =
        unsafe { RegisterServiceCtrlHandlerExW(wide(name).as_ptr(), Some(control), ptr::null()) };
    *MANAGER.lock().unwrap_or_else(PoisonError::into_inner) =
        (!manager.is_null()).then_some(Manager(manager));
    tell(SERVICE_START_PENDING, 0);
    let code = perform();
    tell(SERVICE_STOPPED, code);
}

#[expect(unsafe_code, reason = "the interface wants it so")]
unsafe extern "system" fn control(what: u32, _: u32, _: *mut c_void, _: *mut c_void) -> u32 {
    let Some(wanted) = WANTED.get() else { return NOT_OURS };
    match what {
        SERVICE_CONTROL_STOP | SERVICE_CONTROL_SHUTDOWN | SERVICE_CONTROL_PRESHUTDOWN => {
            tell(SERVICE_STOP_PENDING, 0);
            wanted.end.ring();
            0
        }
        SERVICE_CONTROL_TIMECHANGE => {
            wanted.clock.ring();
            0
        }
        SERVICE_CONTROL_INTERROGATE => 0,
        _ => NOT_OURS,
    }
}

/// Tells the manager that we are at work, if one started us.
pub fn ready() {
    tell(SERVICE_RUNNING, 0);
}

/// Tells the manager that we end, if one started us.
pub fn stopping() {
    tell(SERVICE_STOP_PENDING, 0);
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn tell(state: u32, code: u32) {
    let manager = *MANAGER.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Manager(manager)) = manager else { return };
    let is_pending = state == SERVICE_START_PENDING || state == SERVICE_STOP_PENDING;
    let controls = SERVICE_ACCEPT_STOP
        | SERVICE_ACCEPT_SHUTDOWN
        | SERVICE_ACCEPT_PRESHUTDOWN
        | SERVICE_ACCEPT_TIMECHANGE;
    let status = SERVICE_STATUS {
        dwServiceType: SERVICE_WIN32_OWN_PROCESS,
        dwCurrentState: state,
        dwControlsAccepted: if state == SERVICE_RUNNING { controls } else { 0 },
        dwWin32ExitCode: if code == 0 { 0 } else { OWN_ERROR },
        dwServiceSpecificExitCode: code,
        dwCheckPoint: 0,
        dwWaitHint: if is_pending { PATIENCE } else { 0 },
    };
    // SAFETY: the handle is the manager's for us, and the structure is on this stack.
    unsafe { SetServiceStatus(manager, &raw const status) };
}

/// A service of our own, as it is set up.
#[derive(Clone, Copy, Debug)]
pub struct OwnService<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its name for people.
    pub display: &'a str,
    /// What it does, for people.
    pub description: &'a str,
    /// The program and its arguments, quoted.
    pub command_line: &'a str,
}

impl OwnService<'_> {
    /// Sets it up, or anew: it starts with the machine, as the machine, and again where it fails.
    ///
    /// # Errors
    /// We may not.
    pub fn install(&self) -> io::Result<()> {
        let again =
            |seconds: u32| RecoveryAction { failure: Failure::Restart, delay: seconds * 1000 };
        let recovery = Recovery {
            actions: vec![again(5), again(60), again(300)],
            reset: Some(86_400),
            message: String::new(),
            errors_too: true,
        };
        let setup = ServiceSetup {
            kind: SERVICE_WIN32_OWN_PROCESS,
            start: SERVICE_AUTO_START,
            error: SERVICE_ERROR_NORMAL,
            program: self.command_line.to_owned(),
            display_name: self.display.to_owned(),
            description: self.description.to_owned(),
            delayed: Some(false),
            recovery: Some(Box::new((recovery, String::new()))),
            ..ServiceSetup::default()
        };
        let state = SettingState::Service(Box::new(services::holdable(setup)));
        services::set(self.name, Some(&state))
    }

    /// Ends it and takes it away; nothing, where there is none.
    ///
    /// # Errors
    /// We may not, or it does not end.
    pub fn remove(&self) -> io::Result<()> {
        services::set(self.name, None)
    }
}

/// From now on what this program says as an error goes into a file, as long as it runs.
///
/// # Errors
/// It cannot be said.
#[expect(unsafe_code, reason = "std changes no streams")]
pub fn say_into(file: std::fs::File) -> io::Result<()> {
    use std::os::windows::io::IntoRawHandle as _;
    // SAFETY: the handle is open, and nobody closes it any more.
    done(unsafe { SetStdHandle(STD_ERROR_HANDLE, file.into_raw_handle()) })
}
