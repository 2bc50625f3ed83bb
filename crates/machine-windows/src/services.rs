//! Services and drivers, through the service control manager and never by their raw keys.

use std::{
    io,
    os::windows::io::{AsHandle as _, AsRawHandle as _},
    ptr,
    time::{Duration, Instant},
};

use model::{RegistryKey, ServiceSetup, SettingState};
use windows_sys::Win32::{
    Foundation::{
        CloseHandle, ERROR_INSUFFICIENT_BUFFER, ERROR_SERVICE_DOES_NOT_EXIST,
        ERROR_SERVICE_MARKED_FOR_DELETE, ERROR_SERVICE_NOT_ACTIVE, WAIT_OBJECT_0,
    },
    System::{
        Registry::{KEY_READ, REG_NOTIFY_CHANGE_NAME, RegNotifyChangeKeyValue},
        Services::{
            ChangeServiceConfig2W, ChangeServiceConfigW, CloseServiceHandle, ControlService,
            CreateServiceW, DeleteService, OpenSCManagerW, OpenServiceW, QUERY_SERVICE_CONFIGW,
            QueryServiceConfig2W, QueryServiceConfigW, QueryServiceStatusEx, SC_HANDLE,
            SC_MANAGER_CONNECT, SC_MANAGER_CREATE_SERVICE, SC_STATUS_PROCESS_INFO,
            SERVICE_CHANGE_CONFIG, SERVICE_CONFIG_DESCRIPTION, SERVICE_CONTROL_STOP,
            SERVICE_DESCRIPTIONW, SERVICE_QUERY_CONFIG, SERVICE_QUERY_STATUS, SERVICE_START,
            SERVICE_STATUS, SERVICE_STATUS_PROCESS, SERVICE_STOP, SERVICE_STOPPED,
            SERVICE_WIN32_OWN_PROCESS,
        },
        Threading::{OpenProcess, PROCESS_SYNCHRONIZE, WaitForSingleObject},
    },
};

use crate::{
    facts::is_wine,
    failures,
    names::wide,
    registry::{self, code},
    waiting::{Event, is_there},
};

/// Who a service runs as that runs as the machine itself.
const SYSTEM: &str = "LocalSystem";
const DELETE: u32 = 0x1_0000;
/// Milliseconds a service may take to stop.
const STOPPING: u32 = 30_000;
/// How long the manager may take to forget a service.
const FORGETTING: Duration = Duration::from_secs(5);

/// Where the manager keeps its services.
/// The kinds of drivers.
const DRIVERS: u32 = 0b1011;

/// An open service, or the manager of all.
pub(crate) struct Handle(pub(crate) SC_HANDLE);

impl Drop for Handle {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn drop(&mut self) {
        // SAFETY: the handle is ours and open.
        unsafe { CloseServiceHandle(self.0) };
    }
}

pub(crate) fn opened(handle: SC_HANDLE) -> io::Result<Handle> {
    if handle.is_null() { Err(io::Error::last_os_error()) } else { Ok(Handle(handle)) }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn open(name: &str, access: u32) -> io::Result<Option<Handle>> {
    // SAFETY: no name is passed.
    let manager = opened(unsafe { OpenSCManagerW(ptr::null(), ptr::null(), SC_MANAGER_CONNECT) })?;
    // SAFETY: the manager is open, and the name ends with a zero.
    match opened(unsafe { OpenServiceW(manager.0, wide(name).as_ptr(), access) }) {
        Err(error) if is(&error, ERROR_SERVICE_DOES_NOT_EXIST) => Ok(None),
        other => other.map(Some),
    }
}

pub(crate) fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

/// How a service is set up; `None` where there is none of this name.
pub(crate) fn look(name: &str) -> io::Result<Option<SettingState>> {
    let Some(service) = open(name, SERVICE_QUERY_CONFIG)? else { return Ok(None) };
    let mut setup = config(&service)?;
    setup.description = description(&service)?;
    if setup.kind & DRIVERS == 0 && !is_wine() {
        setup.delayed = Some(failures::delayed(&service)?);
        setup.recovery = Some(Box::new(failures::recovery(&service)?));
    }
    Ok(Some(SettingState::Service(Box::new(setup))))
}

#[expect(unsafe_code, reason = "the interface answers with pointers into a buffer")]
fn config(service: &Handle) -> io::Result<ServiceSetup> {
    // In words of eight bytes, so that the structure at its start is aligned.
    let mut buffer = vec![0_u64; 128];
    loop {
        let (size, mut needed) = (u32::try_from(buffer.len() * 8).unwrap_or(u32::MAX), 0);
        let start = buffer.as_mut_ptr().cast::<QUERY_SERVICE_CONFIGW>();
        // SAFETY: the buffer is aligned and as long as we say.
        if unsafe { QueryServiceConfigW(service.0, start, size, &raw mut needed) } != 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if !is(&error, ERROR_INSUFFICIENT_BUFFER) {
            return Err(error);
        }
        buffer.resize(needed as usize / 8 + 1, 0);
    }
    // SAFETY: the call filled the structure; its pointers are null or lead to texts in the buffer.
    unsafe {
        let found = &*buffer.as_ptr().cast::<QUERY_SERVICE_CONFIGW>();
        let account = text_at(found.lpServiceStartName);
        Ok(ServiceSetup {
            kind: found.dwServiceType,
            start: found.dwStartType,
            error: found.dwErrorControl,
            program: text_at(found.lpBinaryPathName),
            display_name: text_at(found.lpDisplayName),
            description: String::new(),
            account: if account.eq_ignore_ascii_case(SYSTEM) { String::new() } else { account },
            dependencies: texts_at(found.lpDependencies),
            group: text_at(found.lpLoadOrderGroup),
            delayed: None,
            recovery: None,
        })
    }
}

#[expect(unsafe_code, reason = "the interface answers with pointers into a buffer")]
fn description(service: &Handle) -> io::Result<String> {
    let buffer = more(service, SERVICE_CONFIG_DESCRIPTION)?;
    // SAFETY: the buffer holds the structure asked for; its pointer is null or leads to a text in it.
    unsafe { Ok(text_at((*buffer.as_ptr().cast::<SERVICE_DESCRIPTIONW>()).lpDescription)) }
}

/// One of the structures beside a service's configuration, in words of eight bytes so that it is aligned.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub(crate) fn more(service: &Handle, kind: u32) -> io::Result<Vec<u64>> {
    let mut buffer = vec![0_u64; 1024];
    let (size, mut needed) = (u32::try_from(buffer.len() * 8).unwrap_or(u32::MAX), 0);
    // SAFETY: the buffer is aligned and as long as we say; 8 KiB are the most the interface answers with.
    done(unsafe {
        let start = buffer.as_mut_ptr().cast::<u8>();
        QueryServiceConfig2W(service.0, kind, start, size, &raw mut needed)
    })?;
    Ok(buffer)
}

/// A setup as far as this machine keeps it: Wine's service manager knows nothing of failures and late starts.
pub(crate) fn holdable(setup: ServiceSetup) -> ServiceSetup {
    if is_wine() { ServiceSetup { delayed: None, recovery: None, ..setup } } else { setup }
}

/// Makes a service what `state` says, or takes it away.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub(crate) fn set(name: &str, state: Option<&SettingState>) -> io::Result<()> {
    let Some(SettingState::Service(setup)) = state else {
        let access = DELETE | SERVICE_STOP | SERVICE_QUERY_STATUS;
        let Some(service) = open(name, access)? else { return Ok(()) };
        stop(&service, name)?;
        // SAFETY: the handle is open.
        return done(unsafe { DeleteService(service.0) });
    };
    match make(name, setup) {
        // One that goes stays until the last who has it open lets go.
        Err(error) if is(&error, ERROR_SERVICE_MARKED_FOR_DELETE) => {
            wait_until_forgotten(name)?;
            make(name, setup)
        }
        made => made,
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn make(name: &str, setup: &ServiceSetup) -> io::Result<()> {
    // A service that is to be started again when it fails must be one we may start.
    let access = SERVICE_CHANGE_CONFIG | SERVICE_START;
    let (service, is_new) = match open(name, access)? {
        Some(service) => {
            change(&service, setup)?;
            (service, false)
        }
        None => (create(name, setup, access)?, true),
    };
    failures::set(&service, setup, is_new)?;
    let mut text = wide(&setup.description);
    let description = SERVICE_DESCRIPTIONW { lpDescription: text.as_mut_ptr() };
    // SAFETY: the handle is open, and the structure leads to a text that ends with a zero.
    done(unsafe {
        ChangeServiceConfig2W(
            service.0,
            SERVICE_CONFIG_DESCRIPTION,
            (&raw const description).cast(),
        )
    })
}

/// Waits until the key of a service is gone that was taken off: the manager takes it away when its program has ended and the
/// last who had it open let go.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn wait_until_forgotten(name: &str) -> io::Result<()> {
    let all = RegistryKey::of_services();
    let own = all.child(name);
    let Some(open) = registry::open(&all, KEY_READ)? else { return Ok(()) };
    let event = Event::new()?;
    let end = Instant::now() + FORGETTING;
    loop {
        event.clear();
        // SAFETY: the key and the event are open, and stay so while they are waited for.
        code(unsafe {
            let event = event.as_handle().as_raw_handle();
            RegNotifyChangeKeyValue(open.0, 0, REG_NOTIFY_CHANGE_NAME, event, 1)
        })?;
        let left = end.saturating_duration_since(Instant::now());
        if registry::open(&own, KEY_READ)?.is_none() || !is_there(event.as_handle(), left)? {
            return Ok(());
        }
    }
}

/// Stops a service, and waits until its program has ended: only then can its files go.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn stop(service: &Handle, name: &str) -> io::Result<()> {
    let mut status = SERVICE_STATUS_PROCESS::default();
    let (size, mut needed) = (size_of::<SERVICE_STATUS_PROCESS>(), 0);
    // SAFETY: the handle is open, and the structure is as long as we say.
    done(unsafe {
        QueryServiceStatusEx(
            service.0,
            SC_STATUS_PROCESS_INFO,
            (&raw mut status).cast(),
            u32::try_from(size).unwrap_or(0),
            &raw mut needed,
        )
    })?;
    if status.dwCurrentState == SERVICE_STOPPED {
        return Ok(());
    }
    // SAFETY: a process number is asked for; the handle, if there is one, is ours.
    let program = unsafe { OpenProcess(PROCESS_SYNCHRONIZE, 0, status.dwProcessId) };
    let mut after = SERVICE_STATUS::default();
    // SAFETY: the handle is open, and the structure is on this stack.
    let asked = done(unsafe { ControlService(service.0, SERVICE_CONTROL_STOP, &raw mut after) });
    let is_alone = status.dwServiceType & SERVICE_WIN32_OWN_PROCESS != 0;
    let mut ended = true;
    if !program.is_null() {
        // SAFETY: the handle is open, and closed once.
        unsafe {
            if asked.is_ok() && is_alone {
                ended = WaitForSingleObject(program, STOPPING) == WAIT_OBJECT_0;
            }
            CloseHandle(program);
        }
    }
    match asked {
        Err(error) if !is(&error, ERROR_SERVICE_NOT_ACTIVE) => {
            let text = format!("the service `{name}` refuses to stop: {error}");
            Err(io::Error::new(error.kind(), text))
        }
        _ if !ended => {
            let text = format!("the service `{name}` did not stop in {} s", STOPPING / 1000);
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
        _ => Ok(()),
    }
}

pub(crate) fn done(answer: i32) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

struct Words {
    program: Vec<u16>,
    group: Vec<u16>,
    dependencies: Vec<u16>,
    account: Vec<u16>,
    display: Vec<u16>,
}

fn words(setup: &ServiceSetup) -> Words {
    let account = if setup.account.is_empty() { SYSTEM } else { &setup.account };
    let mut dependencies: Vec<u16> = setup.dependencies.iter().flat_map(wide).collect();
    dependencies.extend([0, 0]);
    Words {
        program: wide(&setup.program),
        group: wide(&setup.group),
        dependencies,
        account: wide(account),
        display: wide(&setup.display_name),
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn change(service: &Handle, setup: &ServiceSetup) -> io::Result<()> {
    let words = words(setup);
    // SAFETY: the handle is open, and every text ends with a zero and outlives the call.
    done(unsafe {
        ChangeServiceConfigW(
            service.0,
            setup.kind,
            setup.start,
            setup.error,
            words.program.as_ptr(),
            words.group.as_ptr(),
            ptr::null_mut(),
            words.dependencies.as_ptr(),
            words.account.as_ptr(),
            ptr::null(),
            words.display.as_ptr(),
        )
    })
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn create(name: &str, setup: &ServiceSetup, rights: u32) -> io::Result<Handle> {
    let words = words(setup);
    // SAFETY: every text ends with a zero and outlives the call.
    unsafe {
        let access = SC_MANAGER_CONNECT | SC_MANAGER_CREATE_SERVICE;
        let manager = opened(OpenSCManagerW(ptr::null(), ptr::null(), access))?;
        let account = if setup.account.is_empty() { ptr::null() } else { words.account.as_ptr() };
        opened(CreateServiceW(
            manager.0,
            wide(name).as_ptr(),
            words.display.as_ptr(),
            rights,
            setup.kind,
            setup.start,
            setup.error,
            words.program.as_ptr(),
            if setup.group.is_empty() { ptr::null() } else { words.group.as_ptr() },
            ptr::null_mut(),
            if setup.dependencies.is_empty() { ptr::null() } else { words.dependencies.as_ptr() },
            account,
            ptr::null(),
        ))
    }
}

/// The text a pointer leads to, empty for none.
#[expect(unsafe_code, reason = "the interface answers with pointers")]
pub(crate) unsafe fn text_at(start: *const u16) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: the caller's pointer leads to words that end with a zero.
    unsafe { String::from_utf16_lossy(std::slice::from_raw_parts(start, length_at(start))) }
}

/// How many words there are before a zero.
#[expect(unsafe_code, reason = "the interface answers with pointers")]
unsafe fn length_at(start: *const u16) -> usize {
    let mut length = 0;
    // SAFETY: the caller's pointer leads to words that end with a zero.
    while unsafe { *start.add(length) } != 0 {
        length += 1;
    }
    length
}

/// The texts of a list that ends with an empty one.
#[expect(unsafe_code, reason = "the interface answers with pointers")]
unsafe fn texts_at(start: *const u16) -> Vec<String> {
    let mut texts = Vec::new();
    let mut at = start;
    while !at.is_null() {
        // SAFETY: the caller's pointer leads to texts, each ended by a zero, and an empty one behind all.
        let (text, length) = unsafe { (text_at(at), length_at(at)) };
        if text.is_empty() {
            break;
        }
        texts.push(text);
        // SAFETY: what follows a text's zero is the next text or the list's end.
        at = unsafe { at.add(length + 1) };
    }
    texts
}
