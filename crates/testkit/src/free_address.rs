use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

/// Below what Linux gives to those who call (`ip_local_port_range` begins at 32768).
const FIRST: u16 = 15_000;
const COUNT: u16 = 17_000;

/// Locks of the ports this process was given, for as long as it lives.
static OURS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// An address of this machine where nobody listens. It is none that a caller is given as its own, and none that another
/// test is given or even looks at, so that it stays free while who listens there is killed and started again.
///
/// # Panics
/// Where every port is taken, or no file can be made in the temporary folder.
#[must_use]
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Others on this machine have their own.
    let user = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir().join(format!("packhorse-test-ports-{user}"));
    std::fs::create_dir_all(&folder).expect("a folder of ports");
    // Tests are processes: each begins elsewhere.
    let own = u16::try_from(std::process::id() * 7 % u32::from(COUNT)).unwrap_or_default();
    let mut ours = OURS.lock().expect("nobody stopped in between");
    (0..COUNT)
        .find_map(|_| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let port = FIRST + (own + next % COUNT) % COUNT;
            let lock = File::create(folder.join(port.to_string())).expect("a file of a port");
            lock.try_lock().ok()?;
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?.local_addr().ok()?;
            ours.push(lock);
            Some(address)
        })
        .expect("a port is free")
}
