//! System calls rustix does not offer yet.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;

/// `struct xattr_args` of the kernel.
#[repr(C)]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// The attribute names of `name` in `folder`, links not followed, zero-ended one after another
/// (Linux 6.13). Returns how many bytes there are, all of them when `list` is empty.
#[expect(unsafe_code, reason = "rustix has no listxattrat")]
pub(crate) fn list_xattr_at(
    folder: BorrowedFd<'_>,
    name: &CStr,
    list: &mut [u8],
) -> io::Result<usize> {
    let pointer = if list.is_empty() { ptr::null_mut() } else { list.as_mut_ptr() };
    // SAFETY: the name ends with a zero, and the list is as long as we say.
    let length = unsafe {
        libc::syscall(
            SYS_LISTXATTRAT,
            folder.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            pointer,
            list.len(),
        )
    };
    length_of(length)
}

/// The value of one attribute, links not followed (Linux 6.13).
#[expect(unsafe_code, reason = "rustix has no getxattrat")]
pub(crate) fn get_xattr_at(
    folder: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
    value: &mut [u8],
) -> io::Result<usize> {
    let pointer = if value.is_empty() { 0 } else { value.as_mut_ptr() as u64 };
    let size = u32::try_from(value.len()).unwrap_or(u32::MAX);
    let mut arguments = XattrArgs { value: pointer, size, flags: 0 };
    // SAFETY: both names end with a zero, and the value is at least as long as we say.
    let length = unsafe {
        libc::syscall(
            SYS_GETXATTRAT,
            folder.as_raw_fd(),
            name.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            attribute.as_ptr(),
            &raw mut arguments,
            size_of::<XattrArgs>(),
        )
    };
    length_of(length)
}

/// Opens the inode that `handle` names on the file system of `mount`, for looking only.
#[expect(unsafe_code, reason = "rustix has no open_by_handle_at")]
pub(crate) fn open_by_handle(
    mount: BorrowedFd<'_>,
    kind: i32,
    handle: &[u8],
) -> io::Result<OwnedFd> {
    let length = u32::try_from(handle.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // `struct file_handle`: length, kind, bytes; in words, so that it is aligned.
    let mut words = vec![0_u32; 2 + handle.len().div_ceil(4)];
    words[0] = length;
    words[1] = kind.cast_unsigned();
    for (word, bytes) in words[2..].iter_mut().zip(handle.chunks(4)) {
        let mut four = [0; 4];
        four[..bytes.len()].copy_from_slice(bytes);
        *word = u32::from_ne_bytes(four);
    }
    // SAFETY: the words hold a whole `struct file_handle` with the length it states.
    let fd = unsafe {
        libc::open_by_handle_at(
            mount.as_raw_fd(),
            words.as_mut_ptr().cast(),
            libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW,
        )
    };
    owned(fd)
}

#[expect(unsafe_code, reason = "a file descriptor the kernel gave becomes ours")]
fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn length_of(result: libc::c_long) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Starts watching opens on the whole file system that holds `folder`, with a queue that never overflows.
#[expect(unsafe_code, reason = "rustix has no fanotify")]
pub(crate) fn watch_opens(folder: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::FAN_CLASS_NOTIF
        | libc::FAN_CLOEXEC
        | libc::FAN_NONBLOCK
        | libc::FAN_UNLIMITED_QUEUE
        | libc::FAN_UNLIMITED_MARKS;
    let of_events = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_LARGEFILE;
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::fanotify_init(flags, of_events.cast_unsigned()) };
    let watch = owned(fd)?;
    mark(&watch, folder)?;
    Ok(watch)
}

/// Adds the file system that holds `folder` to a watch.
#[expect(unsafe_code, reason = "rustix has no fanotify")]
pub(crate) fn mark(watch: &OwnedFd, folder: BorrowedFd<'_>) -> io::Result<()> {
    let mask = libc::FAN_OPEN | libc::FAN_OPEN_EXEC;
    // SAFETY: the path ends with a zero, and names the folder itself.
    let result = unsafe {
        libc::fanotify_mark(
            watch.as_raw_fd(),
            libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM,
            mask,
            folder.as_raw_fd(),
            c".".as_ptr(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// One event of a watch: what was done, and the file, which becomes ours to close.
pub(crate) struct Event {
    pub(crate) executed: bool,
    pub(crate) overflowed: bool,
    pub(crate) file: Option<OwnedFd>,
}

/// Takes the events out of what was read from a watch. The bytes must be read only once: the files in
/// them are ours.
#[expect(unsafe_code, reason = "the kernel passes file descriptors inside plain bytes")]
pub(crate) fn events(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(head) = bytes.first_chunk::<24>() {
        let word =
            |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let length = word(0) as usize;
        let mask = u64::from(word(8)) | u64::from(word(12)) << 32;
        let fd = word(16).cast_signed();
        if length < head.len() || length > bytes.len() {
            break;
        }
        // SAFETY: the kernel put this descriptor into our table with the event.
        let file = (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) });
        events.push(Event {
            executed: mask & libc::FAN_OPEN_EXEC != 0,
            overflowed: mask & libc::FAN_Q_OVERFLOW != 0,
            file,
        });
        bytes = &bytes[length..];
    }
    events
}

/// Gives this process namespaces of its own; the process namespace is that of its next child.
#[expect(unsafe_code, reason = "unsharing may take away what other threads rely on")]
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: the descriptor table is not among what is unshared.
    let _: () = unsafe { rustix::thread::unshare_unsafe(flags)? };
    Ok(())
}
