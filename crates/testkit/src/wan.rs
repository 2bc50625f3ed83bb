//! A thin, long, lossy wire between two network namespaces: packets of one side reach the other late, at a rate, or
//! not at all.
//!
//! What happens to a packet is decided by [`Link`], which is a value; [`Wan`] is the same over real devices.

mod device;

use std::{
    collections::VecDeque,
    fs::File,
    io,
    net::Ipv4Addr,
    os::fd::AsFd,
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// What a wire is like, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wire {
    /// Bits a second.
    pub rate: u64,
    /// From a packet to its answer, with nothing in the way.
    pub round_trip: Duration,
    /// The share of packets that are lost, from 0 to 1.
    pub loss: f64,
    /// Decides which.
    pub seed: u64,
}

/// What a direction of a wire carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Packets that arrived.
    pub packets: u64,
    /// Their bytes, with all headers from IP on.
    pub bytes: u64,
    /// Packets that were lost by chance.
    pub lost: u64,
    /// Packets the queue had no room for.
    pub dropped: u64,
}

/// One direction: what is given to it comes out later, in order, or never.
#[derive(Debug)]
pub struct Link {
    wire: Wire,
    chance: u64,
    /// When all that was given is through the narrow place.
    busy_until: Duration,
    under_way: VecDeque<(Duration, Vec<u8>)>,
    carried: Carried,
}

impl Link {
    /// A direction with nothing under way. `number` tells the two directions of a wire apart.
    pub fn new(wire: Wire, number: u64) -> Self {
        let chance = wire.seed ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (busy_until, carried) = (Duration::ZERO, Carried::default());
        Self { wire, chance, busy_until, under_way: VecDeque::new(), carried }
    }

    /// Gives it a packet at a time since the beginning.
    pub fn give(&mut self, now: Duration, packet: Vec<u8>) {
        let begins = self.busy_until.max(now);
        // A queue for two round trips, as routers at such wires have.
        let room = (self.wire.round_trip * 2).max(Duration::from_millis(100));
        if begins.saturating_sub(now) > room {
            self.carried.dropped += 1;
            return;
        }
        let bits = packet.len() as u64 * 8;
        self.busy_until = begins + Duration::from_nanos(bits * 1_000_000_000 / self.wire.rate);
        if self.is_lost() {
            self.carried.lost += 1;
            return;
        }
        self.under_way.push_back((self.busy_until + self.wire.round_trip / 2, packet));
    }

    /// The next packet that has arrived by now.
    pub fn take(&mut self, now: Duration) -> Option<Vec<u8>> {
        self.under_way.front().filter(|(arrives, _)| *arrives <= now)?;
        let (_, packet) = self.under_way.pop_front()?;
        self.carried.packets += 1;
        self.carried.bytes += packet.len() as u64;
        Some(packet)
    }

    /// When the next packet arrives.
    pub fn next(&self) -> Option<Duration> {
        self.under_way.front().map(|(arrives, _)| *arrives)
    }

    /// What it carried so far.
    pub fn carried(&self) -> Carried {
        self.carried
    }

    fn is_lost(&mut self) -> bool {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((mixed >> 11) as f64 / (1_u64 << 53) as f64) < self.wire.loss
    }
}

/// Which end of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// 10.99.0.1.
    Server,
    /// 10.99.0.2.
    Client,
}

impl End {
    /// Its address.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, self.number() + 1)
    }

    fn number(self) -> u8 {
        match self {
            Self::Server => 0,
            Self::Client => 1,
        }
    }
}

/// A wire between two network namespaces of their own; both go when this goes and nobody is inside. Needs root.
#[derive(Debug)]
pub struct Wan {
    spaces: [File; 2],
    links: Arc<Mutex<[Link; 2]>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wan {
    /// Lays the wire.
    pub fn lay(wire: Wire) -> io::Result<Self> {
        let (server, client) = (device::make(End::Server)?, device::make(End::Client)?);
        let links = Arc::new(Mutex::new([Link::new(wire, 0), Link::new(wire, 1)]));
        let end = Arc::new(AtomicBool::new(false));
        let shared = (Arc::clone(&links), Arc::clone(&end));
        let devices = [server.device, client.device];
        let thread = std::thread::spawn(move || carry(&devices, &shared.0, &shared.1));
        Ok(Self { spaces: [server.space, client.space], links, end, thread: Some(thread) })
    }

    /// Starts a program at an end.
    pub fn spawn(&self, end: End, command: &mut Command) -> io::Result<Child> {
        self.inside(end, || command.spawn())?
    }

    /// Does something at an end: sockets it opens are there, programs it starts run there.
    pub fn inside<T: Send>(&self, end: End, what: impl FnOnce() -> T + Send) -> io::Result<T> {
        let space = &self.spaces[usize::from(end.number())];
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || -> io::Result<T> {
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(what())
            });
            inside.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))
        })
    }

    /// What came from the server to the client, and the other way.
    pub fn carried(&self) -> (Carried, Carried) {
        match self.links.lock() {
            Ok(links) => (links[0].carried(), links[1].carried()),
            Err(_) => Default::default(),
        }
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Moves packets until the end: from each device into its link, out of the link into the other device.
fn carry(devices: &[File; 2], links: &Mutex<[Link; 2]>, end: &AtomicBool) {
    let began = Instant::now();
    let mut buffer = vec![0; 65536];
    while !end.load(Ordering::SeqCst) {
        let next = {
            let Ok(mut links) = links.lock() else { return };
            let now = began.elapsed();
            for (number, link) in links.iter_mut().enumerate() {
                while let Some(packet) = link.take(now) {
                    // A device that is full or gone loses it, as wires do.
                    let _ = rustix::io::write(&devices[1 - number], &packet);
                }
            }
            links.iter().filter_map(Link::next).min()
        };
        // The end is looked for ten times a second.
        let most = Duration::from_millis(100);
        let wait = next.map_or(most, |next| next.saturating_sub(began.elapsed()).min(most));
        let wait = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(0),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let mut waiting = [0, 1].map(|number| PollFd::new(&devices[number], PollFlags::IN));
        if poll(&mut waiting, Some(&wait)).is_err() {
            continue;
        }
        let Ok(mut links) = links.lock() else { return };
        for (number, device) in devices.iter().enumerate() {
            while let Ok(length @ 1..) = rustix::io::read(device, &mut buffer[..]) {
                links[number].give(began.elapsed(), buffer[..length].to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Link, Wire};

    fn wire(loss: f64) -> Wire {
        Wire { rate: 10_000_000, round_trip: Duration::from_millis(50), loss, seed: 7 }
    }

    #[test]
    fn a_packet_takes_its_bits_and_half_a_round_trip() {
        let mut link = Link::new(wire(0.0), 0);
        link.give(Duration::ZERO, vec![0; 1250]);
        link.give(Duration::ZERO, vec![1; 1250]);
        assert_eq!(link.next(), Some(Duration::from_millis(26)));
        assert_eq!(link.take(Duration::from_millis(25)), None);
        assert_eq!(link.take(Duration::from_millis(26)).unwrap()[0], 0);
        assert_eq!(link.take(Duration::from_millis(26)), None);
        assert_eq!(link.take(Duration::from_millis(27)).unwrap()[0], 1);
    }

    #[test]
    fn a_full_queue_drops() {
        let mut link = Link::new(wire(0.0), 0);
        (0..1000).for_each(|_| link.give(Duration::ZERO, vec![0; 1250]));
        assert_eq!(link.carried().dropped, 1000 - 101);
    }

    #[test]
    fn the_seed_decides_what_is_lost() {
        let lost = |seed, number| {
            let mut link = Link::new(Wire { seed, ..wire(0.01) }, number);
            let second = Duration::from_secs(1);
            (0..10_000).for_each(|at| link.give(second * at, vec![0; 100]));
            let arrived: Vec<Duration> = std::iter::from_fn(|| {
                let at = link.next()?;
                link.take(at).map(|_| at)
            })
            .collect();
            (link.carried().lost, arrived)
        };
        assert_eq!(lost(1, 0), lost(1, 0));
        assert_ne!(lost(1, 0), lost(2, 0));
        assert_ne!(lost(1, 0), lost(1, 1));
        assert!((50..200).contains(&lost(1, 0).0), "{}", lost(1, 0).0);
    }
}
