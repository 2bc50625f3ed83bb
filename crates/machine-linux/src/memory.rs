//! Memory of the program itself.

/// Makes large buffers go back to the system as soon as they are free, for programs that need many of them, one after the
/// other: else a heap that holds small things among them grows with what went through it.
///
/// Only glibc's allocator is told; elsewhere it does nothing.
pub fn give_large_buffers_back() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "std does not know the allocator's settings")]
        // SAFETY: it sets a number of the allocator, under its lock. A refusal leaves things as they were.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        }
    }
}

/// Buffers of so many bytes are large.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 1 << 20;
