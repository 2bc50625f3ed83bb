//! Scheduled tasks, through the Task Scheduler's own interface ([MS-TSCH] and taskschd.h) and never by its files.

use std::{ffi::c_void, io, ptr, slice, sync::Once};

use model::{SettingState, plain_task};
use windows_sys::{
    Win32::{
        Foundation::{
            ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND, SysAllocStringLen, SysFreeString,
            SysStringLen,
        },
        System::Com::{
            CLSCTX_INPROC_SERVER, COINIT_MULTITHREADED, CoCreateInstance, CoInitializeEx,
        },
    },
    core::{BSTR, GUID, HRESULT},
};

use crate::{facts::is_wine, services::is};

const SCHEDULER: GUID = GUID::from_u128(0x0f87369f_a4e5_4cfc_bd3e_73e6154572dd);
const SERVICE: GUID = GUID::from_u128(0x2faba4c7_4da9_4013_9697_20cc3fd40f85);
/// `TASK_CREATE_OR_UPDATE`
const CREATE_OR_UPDATE: i32 = 6;
/// `TASK_LOGON_NONE`: what the definition says.
const AS_DEFINED: i32 = 0;

/// A VARIANT that says nothing. On 64-bit Windows three words, handed over by their address.
type Nothing = [u64; 3];
const NOTHING: Nothing = [0; 3];

/// Where functions stand in the interfaces' tables.
mod at {
    pub(super) const RELEASE: usize = 2;
    pub(super) const SERVICE_GET_FOLDER: usize = 7;
    pub(super) const SERVICE_NEW_TASK: usize = 9;
    pub(super) const SERVICE_CONNECT: usize = 10;
    pub(super) const FOLDER_DELETE_FOLDER: usize = 12;
    pub(super) const FOLDER_GET_TASK: usize = 13;
    pub(super) const FOLDER_DELETE_TASK: usize = 15;
    pub(super) const FOLDER_REGISTER_TASK: usize = 16;
    pub(super) const TASK_GET_XML: usize = 20;
    pub(super) const DEFINITION_GET_XML: usize = 19;
    pub(super) const DEFINITION_PUT_XML: usize = 20;
}

type Object = *mut c_void;
type GetText = unsafe extern "system" fn(Object, *mut BSTR) -> HRESULT;
type PutText = unsafe extern "system" fn(Object, BSTR) -> HRESULT;
type GetByName = unsafe extern "system" fn(Object, BSTR, *mut Object) -> HRESULT;
type DeleteByName = unsafe extern "system" fn(Object, BSTR, i32) -> HRESULT;
type New = unsafe extern "system" fn(Object, u32, *mut Object) -> HRESULT;
type Connect = unsafe extern "system" fn(Object, Nothing, Nothing, Nothing, Nothing) -> HRESULT;
type Register = unsafe extern "system" fn(
    Object,
    BSTR,
    BSTR,
    i32,
    Nothing,
    Nothing,
    i32,
    Nothing,
    *mut Object,
) -> HRESULT;

/// An object of the interface, released with this.
struct Held(Object);

impl Held {
    /// The function at a position of the object's table.
    ///
    /// # Safety
    /// `F` must be the type of what stands at `position` in the object's interface.
    #[expect(unsafe_code, reason = "the interface is a table of functions")]
    unsafe fn function<F: Copy>(&self, position: usize) -> F {
        // SAFETY: an object begins with the address of its table, which has that position.
        unsafe {
            let table = *self.0.cast::<*const *const c_void>();
            table.add(position).cast::<F>().read()
        }
    }
}

impl Drop for Held {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn drop(&mut self) {
        // SAFETY: the object is ours, and released once.
        unsafe {
            self.function::<unsafe extern "system" fn(Object) -> u32>(at::RELEASE)(self.0);
        }
    }
}

/// A text as the interface takes it, freed with this.
struct Text(BSTR);

impl Text {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn new(text: &str) -> Self {
        let words: Vec<u16> = text.encode_utf16().collect();
        let length = u32::try_from(words.len()).unwrap_or(u32::MAX);
        // SAFETY: the words are as many as we say; what comes back is ours.
        Self(unsafe { SysAllocStringLen(words.as_ptr(), length) })
    }

    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn read(&self) -> String {
        if self.0.is_null() {
            return String::new();
        }
        // SAFETY: the text is ours and as long as the interface says.
        unsafe {
            let length = SysStringLen(self.0) as usize;
            String::from_utf16_lossy(slice::from_raw_parts(self.0, length))
        }
    }
}

impl Drop for Text {
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn drop(&mut self) {
        // SAFETY: the text is ours, and freed once.
        unsafe { SysFreeString(self.0) };
    }
}

/// What a task does and when; `None` where there is none of this name.
pub(crate) fn look(name: &str) -> io::Result<Option<SettingState>> {
    let service = scheduler()?;
    let (folder, own) = divided(name);
    let Some(folder) = there(folder_of(&service, folder))? else { return Ok(None) };
    let Some(task) = there(by_name(&folder, at::FOLDER_GET_TASK, own))? else { return Ok(None) };
    let definition = text_of(&task, at::TASK_GET_XML)?;
    Ok(Some(SettingState::Task(normal_by(&service, &definition).into())))
}

/// Makes a task what `state` says, or takes it away, with folders of tasks that are empty then.
#[expect(unsafe_code, reason = "the interface is unsafe")]
pub(crate) fn set(name: &str, state: Option<&SettingState>) -> io::Result<()> {
    let service = scheduler()?;
    let Some(SettingState::Task(definition)) = state else { return remove(&service, name) };
    let folder = folder_of(&service, "\\")?;
    let (name, definition) = (Text::new(name), Text::new(definition));
    let mut made = ptr::null_mut();
    // SAFETY: the position is that of the function, both texts outlive the call, and the object is on this stack.
    done(unsafe {
        folder.function::<Register>(at::FOLDER_REGISTER_TASK)(
            folder.0,
            name.0,
            definition.0,
            CREATE_OR_UPDATE,
            NOTHING,
            NOTHING,
            AS_DEFINED,
            NOTHING,
            &raw mut made,
        )
    })?;
    if !made.is_null() {
        drop(Held(made));
    }
    Ok(())
}

/// A definition as the scheduler would say it back: it adds what a definition leaves to it.
pub(crate) fn normal(definition: &str) -> String {
    match scheduler() {
        Ok(service) => normal_by(&service, definition),
        Err(_) => plain_task(definition),
    }
}

fn normal_by(service: &Held, definition: &str) -> String {
    // Wine's scheduler gives back what it was given, and its definitions forget what it does not know.
    if is_wine() {
        return plain_task(definition);
    }
    plain_task(&said_back(service, definition).unwrap_or_else(|_| definition.to_owned()))
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn said_back(service: &Held, definition: &str) -> io::Result<String> {
    let (mut made, text) = (ptr::null_mut(), Text::new(definition));
    // SAFETY: the positions are those of the functions, and the object is on this stack.
    unsafe {
        done(service.function::<New>(at::SERVICE_NEW_TASK)(service.0, 0, &raw mut made))?;
        let made = Held(made);
        done(made.function::<PutText>(at::DEFINITION_PUT_XML)(made.0, text.0))?;
        text_of(&made, at::DEFINITION_GET_XML)
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn remove(service: &Held, name: &str) -> io::Result<()> {
    let (mut folder_name, own) = divided(name);
    let Some(folder) = there(folder_of(service, folder_name))? else { return Ok(()) };
    let text = Text::new(own);
    // SAFETY: the position is that of the function, and the text outlives the call.
    there(done(unsafe {
        folder.function::<DeleteByName>(at::FOLDER_DELETE_TASK)(folder.0, text.0, 0)
    }))?;
    while folder_name != "\\" {
        let (above, own) = divided(folder_name);
        let Some(above_it) = there(folder_of(service, above))? else { return Ok(()) };
        let text = Text::new(own);
        // SAFETY: the position is that of the function, and the text outlives the call.
        let removed = done(unsafe {
            above_it.function::<DeleteByName>(at::FOLDER_DELETE_FOLDER)(above_it.0, text.0, 0)
        });
        if removed.is_err() {
            // It holds other tasks.
            return Ok(());
        }
        folder_name = above;
    }
    Ok(())
}

/// The folder a task is in, and its own name.
fn divided(name: &str) -> (&str, &str) {
    match name.rsplit_once('\\') {
        Some(("", own)) => ("\\", own),
        Some((folder, own)) => (folder, own),
        None => ("\\", name),
    }
}

/// The scheduler of this machine.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn scheduler() -> io::Result<Held> {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        // SAFETY: nothing is passed. Where somebody began otherwise before us, that serves as well.
        unsafe { CoInitializeEx(ptr::null(), COINIT_MULTITHREADED.cast_unsigned()) };
    });
    let mut made = ptr::null_mut();
    // SAFETY: both names outlive the call, the object is on this stack, and the position is that of the function.
    unsafe {
        let (class, interface): (*const GUID, *const GUID) = (&SCHEDULER, &SERVICE);
        let context = CLSCTX_INPROC_SERVER;
        done(CoCreateInstance(class, ptr::null_mut(), context, interface, &raw mut made))?;
        let service = Held(made);
        let connect = service.function::<Connect>(at::SERVICE_CONNECT);
        done(connect(service.0, NOTHING, NOTHING, NOTHING, NOTHING))?;
        Ok(service)
    }
}

fn folder_of(service: &Held, name: &str) -> io::Result<Held> {
    by_name(service, at::SERVICE_GET_FOLDER, name)
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn by_name(object: &Held, position: usize, name: &str) -> io::Result<Held> {
    let (text, mut found) = (Text::new(name), ptr::null_mut());
    // SAFETY: our callers name a function that takes a name, and the object is on this stack.
    done(unsafe { object.function::<GetByName>(position)(object.0, text.0, &raw mut found) })?;
    Ok(Held(found))
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn text_of(object: &Held, position: usize) -> io::Result<String> {
    let mut text: BSTR = ptr::null();
    // SAFETY: our callers name a function that answers with a text, which is ours then.
    done(unsafe { object.function::<GetText>(position)(object.0, &raw mut text) })?;
    Ok(Text(text).read())
}

fn done(answer: HRESULT) -> io::Result<()> {
    if answer >= 0 {
        return Ok(());
    }
    let number = answer.cast_unsigned();
    // Errors of Windows itself stand in the lower half.
    Err(if number >> 16 == 0x8007 {
        io::Error::from_raw_os_error((number & 0xffff).cast_signed())
    } else {
        io::Error::other(format!("the Task Scheduler answers {number:#010x}"))
    })
}

/// What was found, or `None` where there is nothing of that name.
fn there<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Err(error)
            if [ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND]
                .iter()
                .any(|&code| is(&error, code)) =>
        {
            Ok(None)
        }
        other => other.map(Some),
    }
}
