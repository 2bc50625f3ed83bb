//! Signals that ask for an end: signal(7).

use super::ask;

/// The signals that ask for an end: signal(7).
const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// From now on these signals no longer end the process: they set a flag that installing looks at between
/// two changes. One that whoever started us wants ignored stays ignored, as nohup(1) expects.
#[expect(unsafe_code, reason = "neither std nor rustix sets signal handlers")]
pub(crate) fn listen() {
    for signal in SIGNALS {
        // SAFETY: both structures are plain data that live on this stack, and the handler does nothing but
        // store into an atomic, which is async-signal-safe.
        unsafe {
            let mut old: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut old) != 0
                || old.sa_sigaction == libc::SIG_IGN
            {
                continue;
            }
            let mut new: libc::sigaction = std::mem::zeroed();
            // Without SA_RESTART, so that waiting for a lock ends.
            new.sa_sigaction = asked as *const () as libc::sighandler_t;
            libc::sigemptyset(&raw mut new.sa_mask);
            libc::sigaction(signal, &raw const new, std::ptr::null_mut());
        }
    }
}

extern "C" fn asked(_: libc::c_int) {
    ask();
}
