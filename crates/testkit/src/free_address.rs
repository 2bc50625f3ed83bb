use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::atomic::{AtomicU16, Ordering},
};

/// Below what Linux gives to those who call (`ip_local_port_range` begins at 32768).
const FIRST: u16 = 15_000;
const COUNT: u16 = 17_000;

/// An address of this machine where nobody listens. It is none that a caller is given as its own, so that it stays free
/// while who listens there is killed and started again.
///
/// # Panics
/// Where every port is taken.
#[must_use]
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests are processes: each begins elsewhere.
    let own = u16::try_from(std::process::id() * 7 % u32::from(COUNT)).unwrap_or_default();
    (0..COUNT)
        .find_map(|_| {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let port = FIRST + (own + next % COUNT) % COUNT;
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?.local_addr().ok()
        })
        .expect("a port is free")
}
