//! A console that wants its programs to end.

use windows_sys::Win32::System::Console::SetConsoleCtrlHandler;

use super::ask;

/// From now on Ctrl-C, a console that closes and a session that ends set a flag that installing looks at between
/// two changes.
#[expect(unsafe_code, reason = "std sets no handler")]
pub(crate) fn listen() {
    // SAFETY: the handler lives as long as the program, and does nothing but store into an atomic.
    unsafe { SetConsoleCtrlHandler(Some(asked), 1) };
}

#[expect(unsafe_code, reason = "the interface wants it so")]
unsafe extern "system" fn asked(_: u32) -> i32 {
    ask();
    1
}
