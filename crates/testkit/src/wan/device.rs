//! A network namespace with a TUN device in it.

use std::{
    fs::{File, OpenOptions},
    io,
    net::Ipv4Addr,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    process::Command,
};

/// A namespace, and the outer end of its device.
pub(super) struct Made {
    pub(super) space: File,
    pub(super) device: File,
}

/// A new namespace with a device that has the host's address. A thread of its own makes it, and leaves it.
pub(super) fn make(address: Ipv4Addr) -> io::Result<Made> {
    let thread = std::thread::spawn(move || -> io::Result<Made> {
        unshare()?;
        let space = File::open("/proc/thread-self/ns/net")?;
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/net/tun")?;
        attach(&device)?;
        let address = format!("{address}/24");
        ip(&["addr", "add", &address, "dev", "wan0"])?;
        ip(&["link", "set", "wan0", "up"])?;
        ip(&["link", "set", "lo", "up"])?;
        Ok(Made { space, device })
    });
    thread.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))
}

#[expect(unsafe_code, reason = "the thread that calls it shares no sockets with others, and ends")]
fn unshare() -> io::Result<()> {
    // SAFETY: only the network namespace of this thread changes.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

#[expect(unsafe_code, reason = "neither std nor rustix makes TUN devices")]
fn attach(device: &File) -> io::Result<()> {
    const IFF_TUN: u16 = 0x0001;
    const IFF_NO_PI: u16 = 0x1000;
    const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
    let mut request = [0_u8; 40];
    request[..4].copy_from_slice(b"wan0");
    request[16..18].copy_from_slice(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
    // SAFETY: the request is as large as `struct ifreq`, and outlives the call.
    checked(unsafe { libc::ioctl(device.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) })
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `ip` is started by this thread, and so inside its namespace.
pub(super) fn ip(words: &[&str]) -> io::Result<()> {
    let status = Command::new("ip").args(words).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("ip {}", words.join(" ")))) }
}
