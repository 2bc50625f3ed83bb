//! A thin, long, lossy wire between two network namespaces: packets of one side reach the other late, at a rate, or
//! not at all.
//!
//! What happens to a packet is decided by [`Link`], which is a value; [`Wan`] is the same over real devices, and a
//! [`Network`] has more than two hosts.

mod device;
mod network;

use std::{
    collections::VecDeque,
    io,
    net::Ipv4Addr,
    process::{Child, Command},
    time::Duration,
};

pub use self::network::Network;

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

    /// It is like this from now on; what is under way comes as it would have.
    pub fn change(&mut self, wire: Wire) {
        self.wire = wire;
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
        Network::address(self.host())
    }

    fn host(self) -> usize {
        match self {
            Self::Server => 0,
            Self::Client => 1,
        }
    }
}

/// A wire between two hosts. Needs root.
#[derive(Debug)]
pub struct Wan(Network);

impl Wan {
    /// Lays the wire.
    pub fn lay(wire: Wire) -> io::Result<Self> {
        let network = Network::of(2)?;
        network.connect(End::Server.host(), End::Client.host(), wire);
        Ok(Self(network))
    }

    /// Starts a program at an end.
    pub fn spawn(&self, end: End, command: &mut Command) -> io::Result<Child> {
        self.0.spawn(end.host(), command)
    }

    /// Does something at an end: sockets it opens are there, programs it starts run there.
    pub fn inside<T: Send>(&self, end: End, what: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.0.inside(end.host(), what)
    }

    /// What came from the server to the client, and the other way.
    pub fn carried(&self) -> (Carried, Carried) {
        let (server, client) = (End::Server.host(), End::Client.host());
        (self.0.carried(server, client), self.0.carried(client, server))
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
