//! What running programs are told once the machine is another: without it Explorer gives programs it starts the environment of
//! the logon, and shows files by what opened them before.

use std::{ffi::CStr, mem, ptr};

use model::{RegistryKey, Setting};
use windows_sys::Win32::{
    Foundation::{HMODULE, HWND},
    System::LibraryLoader::{GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW},
};

use crate::names::wide;

/// Milliseconds a window that does not listen is waited for.
const PATIENCE: u32 = 1000;
/// `HWND_BROADCAST`, `WM_SETTINGCHANGE`, `SMTO_ABORTIFHUNG` (winuser.h).
const EVERYBODY: usize = 0xFFFF;
const SETTING_CHANGED: u32 = 0x1A;
const NOT_HUNG: u32 = 2;
/// `SHCNE_ASSOCCHANGED` (shlobj.h).
const ASSOCIATIONS_CHANGED: i32 = 0x0800_0000;
/// Below the machine, and below each user.
const ENVIRONMENT: [&str; 2] =
    [r"SYSTEM\CurrentControlSet\Control\Session Manager\Environment", "Environment"];
const CLASSES: &str = r"SOFTWARE\Classes";

/// What is to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    environment: bool,
    associations: bool,
}

impl News {
    /// Remembers what a change of a setting is to those who run.
    pub(crate) fn add(&mut self, setting: &Setting) {
        let Some(key) = setting.key() else { return };
        self.environment |= ENVIRONMENT.iter().any(|one| is_below(key, one));
        self.associations |= is_below(key, CLASSES);
    }

    /// Tells it, once. Who cannot be told learns it at the next logon, as everybody did before.
    pub(crate) fn tell(&mut self) {
        let Self { environment, associations } = mem::take(self);
        if environment {
            tell_environment();
        }
        if associations {
            tell_associations();
        }
    }
}

/// Whether a key is that one of the machine or of a user, or below it.
fn is_below(key: &RegistryKey, wanted: &str) -> bool {
    let names = key.as_str().split('\\');
    // A user's come after his number.
    let top = if key.as_str().get(..4).is_some_and(|top| top.eq_ignore_ascii_case(r"HKU\")) {
        2
    } else {
        1
    };
    let mut names = names.skip(top);
    wanted.split('\\').all(|one| names.next().is_some_and(|name| name.eq_ignore_ascii_case(one)))
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn tell_environment() {
    type SendMessageTimeout =
        unsafe extern "system" fn(HWND, u32, usize, *const u16, u32, u32, *mut usize) -> isize;
    let Some(send) = function("user32.dll", c"SendMessageTimeoutW") else { return };
    let what = wide("Environment");
    // SAFETY: the function is the one of this name, whose form this is; the text ends with a zero and outlives the call, which
    // comes back when every window has read it or was given up.
    unsafe {
        let send: SendMessageTimeout = mem::transmute(send);
        send(
            EVERYBODY as HWND,
            SETTING_CHANGED,
            0,
            what.as_ptr(),
            NOT_HUNG,
            PATIENCE,
            ptr::null_mut(),
        );
    }
}

#[expect(unsafe_code, reason = "the interface is unsafe")]
fn tell_associations() {
    type ChangeNotify = unsafe extern "system" fn(i32, u32, *const u8, *const u8);
    let Some(notify) = function("shell32.dll", c"SHChangeNotify") else { return };
    // SAFETY: the function is the one of this name, whose form this is; this event takes no more.
    unsafe {
        let notify: ChangeNotify = mem::transmute(notify);
        notify(ASSOCIATIONS_CHANGED, 0, ptr::null(), ptr::null());
    }
}

/// A function of one of Windows' own libraries; few who link this crate need those two, and who starts would wait for them.
#[expect(unsafe_code, reason = "the interface is unsafe")]
fn function(library: &str, name: &CStr) -> Option<unsafe extern "system" fn() -> isize> {
    // SAFETY: both names end with a zero; nothing but Windows' own folder is looked into.
    unsafe {
        let library: HMODULE =
            LoadLibraryExW(wide(library).as_ptr(), ptr::null_mut(), LOAD_LIBRARY_SEARCH_SYSTEM32);
        if library.is_null() { None } else { GetProcAddress(library, name.as_ptr().cast()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, mpsc},
        thread,
    };

    use windows_sys::Win32::UI::WindowsAndMessaging::{
        CreateWindowExW, DefWindowProcW, DispatchMessageW, GetMessageW, MSG, RegisterClassW,
        WNDCLASSW,
    };

    use super::*;

    /// What a window was told.
    static TOLD: Mutex<Option<mpsc::Sender<String>>> = Mutex::new(None);

    fn news(key: &str) -> News {
        let mut news = News::default();
        news.add(&Setting::value(&RegistryKey::new(key).unwrap(), "Path"));
        news
    }

    #[test]
    fn what_is_news_is_known_by_its_key() {
        let (environment, associations) = (
            News { environment: true, ..News::default() },
            News { associations: true, ..News::default() },
        );
        assert_eq!(
            news(r"HKLM\System\CurrentControlSet\Control\Session Manager\environment"),
            environment
        );
        assert_eq!(news(r"HKCU\Environment"), environment);
        assert_eq!(news(r"HKU\S-1-5-18\Environment"), environment);
        assert_eq!(news(r"HKLM\SOFTWARE\Classes\.app\shell"), associations);
        assert_eq!(news(r"HKCU\Software\Classes"), associations);
        assert_eq!(news(r"HKLM\SOFTWARE\Environment"), News::default());
        assert_eq!(news(r"HKCU\Software\ClassesOfMine"), News::default());
    }

    #[expect(unsafe_code, reason = "the interface is unsafe")]
    unsafe extern "system" fn hear(window: HWND, message: u32, one: usize, two: isize) -> isize {
        if message == SETTING_CHANGED && two != 0 {
            let mut words = Vec::new();
            // SAFETY: this message comes with a text that ends with a zero.
            unsafe {
                let mut at = two as *const u16;
                while *at != 0 {
                    words.push(*at);
                    at = at.add(1);
                }
            }
            if let Some(told) = &*TOLD.lock().unwrap() {
                told.send(String::from_utf16_lossy(&words)).unwrap();
            }
        }
        // SAFETY: what came is passed on.
        unsafe { DefWindowProcW(window, message, one, two) }
    }

    /// A window of somebody who listens, as long as the program runs.
    #[expect(unsafe_code, reason = "the interface is unsafe")]
    fn listen(ready: &mpsc::Sender<()>) {
        let class = wide("Packhorse test of news");
        let kind = WNDCLASSW {
            lpfnWndProc: Some(hear),
            lpszClassName: class.as_ptr(),
            ..WNDCLASSW::default()
        };
        // SAFETY: the structures are whole, the texts end with a zero, and all of it outlives the window.
        unsafe {
            assert_ne!(RegisterClassW(&raw const kind), 0);
            let nothing = ptr::null_mut();
            let window = CreateWindowExW(
                0,
                class.as_ptr(),
                class.as_ptr(),
                0,
                0,
                0,
                9,
                9,
                nothing,
                nothing,
                nothing,
                nothing,
            );
            assert!(!window.is_null());
            ready.send(()).unwrap();
            let mut message = MSG::default();
            while GetMessageW(&raw mut message, ptr::null_mut(), 0, 0) > 0 {
                DispatchMessageW(&raw const message);
            }
        }
    }

    #[test]
    fn who_has_a_window_is_told_of_another_environment() {
        let (told, hears) = mpsc::channel();
        *TOLD.lock().unwrap() = Some(told);
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || listen(&ready));
        is_ready.recv().unwrap();
        let mut news = news(r"HKCU\Environment");
        news.tell();
        assert_eq!(hears.recv().unwrap(), "Environment");
        assert_eq!(news, News::default());
        tell_associations();
    }
}
