//! Hosts in namespaces of their own, and wires between some of them.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    net::Ipv4Addr,
    os::fd::AsFd,
    process::{Child, Command},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{Carried, Link, Wire, device};

/// Directions by host at the beginning and host at the end.
type Links = BTreeMap<(usize, usize), Link>;

/// Hosts, numbered from 0, and wires between them that can be changed and cut. Everything goes when this goes and nobody is
/// inside any longer. Needs root.
#[derive(Debug)]
pub struct Network {
    spaces: Vec<File>,
    links: Arc<Mutex<Links>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Network {
    /// Up to 200 hosts that reach nobody.
    pub fn of(hosts: usize) -> io::Result<Self> {
        let made: Vec<device::Made> =
            (0..hosts).map(|host| device::make(Self::address(host))).collect::<Result<_, _>>()?;
        let (spaces, devices): (Vec<File>, Vec<File>) =
            made.into_iter().map(|made| (made.space, made.device)).unzip();
        let links = Arc::new(Mutex::new(Links::new()));
        let end = Arc::new(AtomicBool::new(false));
        let shared = (Arc::clone(&links), Arc::clone(&end));
        let thread = std::thread::spawn(move || carry(&devices, &shared.0, &shared.1));
        Ok(Self { spaces, links, end, thread: Some(thread) })
    }

    /// A host's address.
    pub fn address(host: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, u8::try_from(host + 1).unwrap_or(u8::MAX))
    }

    /// Lays a wire between two hosts, or changes the one there is.
    pub fn connect(&self, one: usize, other: usize, wire: Wire) {
        let mut links = self.links();
        for (number, ends) in [(0, (one, other)), (1, (other, one))] {
            links.entry(ends).or_insert_with(|| Link::new(wire, number)).change(wire);
        }
    }

    /// Takes the wire away, with what is under way on it.
    pub fn cut(&self, one: usize, other: usize) {
        let mut links = self.links();
        links.remove(&(one, other));
        links.remove(&(other, one));
    }

    /// Has what hosts say to each other use one of the kernel's ways of controlling congestion (tcp(7)), `cubic` or another.
    pub fn control_congestion(&self, name: &str) -> io::Result<()> {
        (0..self.spaces.len()).try_for_each(|host| {
            let own = Self::address(host).to_string();
            let words =
                ["route", "change", "10.99.0.0/24", "dev", "wan0", "src", &own, "congctl", name];
            self.inside(host, || device::ip(&words))?
        })
    }

    /// Starts a program on a host.
    pub fn spawn(&self, host: usize, command: &mut Command) -> io::Result<Child> {
        self.inside(host, || command.spawn())?
    }

    /// Does something on a host: sockets it opens are there, programs it starts run there.
    pub fn inside<T: Send>(&self, host: usize, what: impl FnOnce() -> T + Send) -> io::Result<T> {
        let space = self.spaces.get(host).ok_or(io::ErrorKind::NotFound)?;
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || -> io::Result<T> {
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(what())
            });
            inside.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))
        })
    }

    /// What the wire carried in one direction since it was laid.
    pub fn carried(&self, from: usize, to: usize) -> Carried {
        self.links().get(&(from, to)).map(Link::carried).unwrap_or_default()
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Moves packets until the end: from each device into the link to whom it is for, out of the link into that device.
fn carry(devices: &[File], links: &Mutex<Links>, end: &AtomicBool) {
    let began = Instant::now();
    let mut buffer = vec![0; 65536];
    let locked = || links.lock().unwrap_or_else(PoisonError::into_inner);
    while !end.load(Ordering::SeqCst) {
        let next = {
            let mut links = locked();
            let now = began.elapsed();
            for ((_, to), link) in links.iter_mut() {
                while let Some(packet) = link.take(now) {
                    // A device that is full or gone loses it, as wires do.
                    let _ = rustix::io::write(&devices[*to], &packet);
                }
            }
            links.values().filter_map(Link::next).min()
        };
        // The end is looked for ten times a second.
        let most = Duration::from_millis(100);
        let wait = next.map_or(most, |next| next.saturating_sub(began.elapsed()).min(most));
        let wait = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(0),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut waiting: Vec<PollFd<'_>> =
            devices.iter().map(|device| PollFd::new(device, PollFlags::IN)).collect();
        if poll(&mut waiting, Some(&wait)).is_err() {
            continue;
        }
        let mut links = locked();
        for (from, device) in devices.iter().enumerate() {
            while let Ok(length @ 1..) = rustix::io::read(device, &mut buffer[..]) {
                let packet = &buffer[..length];
                let Some(to) = destination(packet).filter(|to| *to < devices.len()) else {
                    continue;
                };
                if let Some(link) = links.get_mut(&(from, to)) {
                    link.give(began.elapsed(), packet.to_vec());
                }
            }
        }
    }
}

/// The host an IPv4 packet is for (RFC 791, 3.1).
fn destination(packet: &[u8]) -> Option<usize> {
    let is_ours = packet.first()? >> 4 == 4 && packet.get(16..19)? == [10, 99, 0];
    let host = usize::from(*packet.get(19)?);
    if is_ours { host.checked_sub(1) } else { None }
}
