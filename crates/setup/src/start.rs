//! Where the program starts: `main` as the C library calls it.
//!
//! What Rust's own start would bring, finding out where the main thread's stack ends above all, makes the C
//! library's number parsing part of a static program: 110 KB. What it does for programs is done here.

use rustix::{
    fs::{Mode, OFlags, open},
    io::{Errno, fcntl_getfd},
    stdio,
};

/// Called by the C library, which keeps the arguments for [`std::env::args_os`] too.
#[cfg_attr(not(test), unsafe(no_mangle))]
#[cfg_attr(not(test), expect(unsafe_code, reason = "the C library looks for the name `main`"))]
#[cfg_attr(test, expect(dead_code, reason = "tests start elsewhere"))]
#[expect(clippy::disallowed_methods, reason = "this is `main`")]
extern "C" fn main(_: libc::c_int, _: *const *const libc::c_char) -> libc::c_int {
    open_standard_streams();
    ignore_broken_pipes();
    // Writes out what stands in buffers.
    std::process::exit(crate::sys::code(crate::answer()))
}

/// Were one of the three closed, the next file opened would get its number, and our messages.
fn open_standard_streams() {
    let streams = [stdio::stdin(), stdio::stdout(), stdio::stderr()];
    for stream in streams {
        if fcntl_getfd(stream) == Err(Errno::BADF) {
            // The lowest free number is this one. It stays open as long as the program runs.
            let null = open("/dev/null", OFlags::RDWR, Mode::empty());
            std::mem::forget(null);
        }
    }
}

/// A reader that went away is an error of writing, and no reason to be killed in the middle of a change.
#[expect(unsafe_code, reason = "neither std nor rustix sets signal handlers")]
fn ignore_broken_pipes() {
    // SAFETY: no handler of ours is called; the signal is ignored.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}
