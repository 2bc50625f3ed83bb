//! Who may receive how much now. One address's schedule, rate and line never touch another's.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{Moment, PlaceId, Schedule};

/// How a child may be sent to.
#[derive(Clone, Debug)]
pub struct Address {
    /// When, and at which part of the rate.
    pub schedule: Schedule,
    /// Bytes per second at 100 %; 0 is sending disabled.
    pub rate: u64,
    /// Transfers at the same time; they share the rate.
    pub streams: u32,
    /// Bytes of one grant: what a cut costs at most.
    pub unit: u64,
}

/// One transfer to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct StreamId(pub u64);

/// Bytes that may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// At most the address's unit.
    pub bytes: u64,
}

/// Why nothing may be sent now, and when to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Hold {
    /// The address is closed for so many milliseconds, or until somebody opens it.
    Closed(Option<u64>),
    /// The rate is used up for so many milliseconds.
    Rate(u64),
    /// As many transfers as the address takes are under way, or others come first.
    Line,
    /// The rest has not arrived here itself yet.
    Content,
    /// Nobody set an address for this child.
    NoAddress,
}

#[derive(Clone, Debug)]
struct Link {
    address: Address,
    /// Thousandths of bytes that may be sent.
    tokens: u64,
    filled: Moment,
    /// By falling priority, then by who was served longest ago.
    line: BTreeSet<(u8, u64, StreamId)>,
    streams: BTreeMap<StreamId, (u8, u64, Moment)>,
}

/// All addresses of a site. Volatile: after a restart children ask again.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    links: BTreeMap<PlaceId, Link>,
    turn: u64,
}

/// A stream that has not asked for so many milliseconds has lost its place in the line.
const SILENCE: u64 = 30_000;

impl Sender {
    /// Sets or changes an address. Transfers under way feel it with their next unit.
    pub fn set_address(&mut self, at: Moment, child: PlaceId, address: Address) {
        let link = self.links.entry(child).or_insert_with(|| Link {
            address: address.clone(),
            tokens: 0,
            filled: at,
            line: BTreeSet::new(),
            streams: BTreeMap::new(),
        });
        link.address = address;
        link.tokens = link.tokens.min(link.address.unit.saturating_mul(1_000));
    }

    /// The child is no longer ours.
    pub fn remove_address(&mut self, child: PlaceId) {
        self.links.remove(&child);
    }

    /// May `stream` send now, of which `available` bytes are here? `wall` is the site's wall clock in seconds
    /// since 1970; it opens and closes windows and does nothing else.
    pub fn ask(
        &mut self,
        at: Moment,
        wall: i64,
        child: PlaceId,
        (stream, priority): (StreamId, u8),
        available: u64,
    ) -> Result<Grant, Hold> {
        self.turn += 1;
        let turn = self.turn;
        let link = self.links.get_mut(&child).ok_or(Hold::NoAddress)?;
        let percent = u64::from(link.address.schedule.percent_at(wall));
        link.fill(at, percent);
        link.forget_silent(at);
        if percent == 0 || link.address.rate == 0 {
            let opens = link.address.schedule.opens_in(wall);
            return Err(Hold::Closed(opens.map(|seconds| seconds.saturating_mul(1_000))));
        }
        if available == 0 {
            link.leave(stream);
            return Err(Hold::Content);
        }
        link.join(at, turn, stream, priority);
        let streams = link.address.streams.max(1) as usize;
        let ahead = link.line.iter().take(streams).position(|(_, _, first)| *first == stream);
        let ahead = ahead.ok_or(Hold::Line)? as u64;
        let bytes = link.address.unit.min(available).max(1);
        let price = bytes.saturating_mul(1_000);
        // What those ahead may take stays theirs, but nobody waits for one that does not ask.
        let needed = price.saturating_mul(ahead + 1);
        if link.tokens < needed {
            let missing = needed - link.tokens;
            let per_millisecond = (link.address.rate.saturating_mul(percent) / 100).max(1);
            return Err(Hold::Rate(missing.div_ceil(per_millisecond).max(1)));
        }
        link.tokens -= price;
        link.leave(stream);
        link.join(at, turn, stream, priority);
        Ok(Grant { bytes })
    }

    /// The transfer is over, or cut.
    pub fn close(&mut self, child: PlaceId, stream: StreamId) {
        if let Some(link) = self.links.get_mut(&child) {
            link.leave(stream);
        }
    }
}

impl Link {
    /// Tokens come steadily; no more gather than one unit for each stream, and one.
    fn fill(&mut self, at: Moment, percent: u64) {
        let passed = at.0.saturating_sub(self.filled.0);
        let gained = passed.saturating_mul(self.address.rate.saturating_mul(percent) / 100);
        let units = u64::from(self.address.streams.max(1)) + 1;
        let most = self.address.unit.saturating_mul(1_000).saturating_mul(units);
        self.tokens = self.tokens.saturating_add(gained).min(most);
        self.filled = self.filled.max(at);
    }

    fn join(&mut self, at: Moment, turn: u64, stream: StreamId, priority: u8) {
        let rank = 255 - priority;
        let entry = self.streams.entry(stream).or_insert((rank, turn, at));
        self.line.remove(&(entry.0, entry.1, stream));
        (entry.0, entry.2) = (rank, at);
        self.line.insert((rank, entry.1, stream));
    }

    fn leave(&mut self, stream: StreamId) {
        if let Some((rank, turn, _)) = self.streams.remove(&stream) {
            self.line.remove(&(rank, turn, stream));
        }
    }

    fn forget_silent(&mut self, at: Moment) {
        while let Some((_, _, first)) = self.line.first().copied() {
            let asked = self.streams.get(&first).map_or(Moment(0), |(_, _, asked)| *asked);
            if asked + SILENCE >= at {
                return;
            }
            self.leave(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::{Address, Hold, Sender, StreamId};
    use crate::{Hours, Moment, PlaceId, Schedule};

    const CHILD: PlaceId = PlaceId(1);

    fn address(rate: u64, streams: u32) -> Address {
        Address { schedule: Schedule::always(), rate, streams, unit: 1_000 }
    }

    /// Bytes granted to each stream within `seconds`, all asking whenever they may.
    fn run(sender: &mut Sender, streams: &[(u64, u8)], from: u64, seconds: u64) -> Vec<u64> {
        let mut granted = vec![0; streams.len()];
        for at in (from..from + seconds * 1_000).step_by(10) {
            for (index, (id, priority)) in streams.iter().enumerate() {
                let asked = sender.ask(Moment(at), 0, CHILD, (StreamId(*id), *priority), u64::MAX);
                if let Ok(grant) = asked {
                    granted[index] += grant.bytes;
                }
            }
        }
        granted
    }

    #[test]
    fn streams_share_one_rate() {
        let mut sender = Sender::default();
        sender.set_address(Moment(0), CHILD, address(10_000, 4));
        let granted = run(&mut sender, &[(1, 0), (2, 0), (3, 0)], 0, 60);
        let all: u64 = granted.iter().sum();
        assert!((598_000..=602_000).contains(&all), "{all}");
        assert!(granted.iter().all(|bytes| *bytes > 150_000), "{granted:?}");
    }

    #[test]
    fn a_new_rate_counts_at_once() {
        let mut sender = Sender::default();
        sender.set_address(Moment(0), CHILD, address(10_000, 1));
        run(&mut sender, &[(1, 0)], 0, 10);
        sender.set_address(Moment(10_000), CHILD, address(100_000, 1));
        let all: u64 = run(&mut sender, &[(1, 0)], 10_000, 10).iter().sum();
        assert!((980_000..=1_003_000).contains(&all), "{all}");
    }

    #[test]
    fn high_before_low() {
        let mut sender = Sender::default();
        sender.set_address(Moment(0), CHILD, address(10_000, 1));
        let granted = run(&mut sender, &[(1, 0), (2, 9)], 0, 10);
        assert!(granted[1] > 90_000 && granted[0] <= 2_000, "{granted:?}");
    }

    #[test]
    fn a_closed_window_says_when_it_opens() {
        let mut percent = [0; 168];
        percent[1] = 100;
        // Thursday, 1970-01-01: the week has begun 72 hours ago.
        percent[72 + 2] = 100;
        let schedule = Schedule::new(TimeZone::UTC, Hours::new(percent).unwrap());
        let mut sender = Sender::default();
        sender.set_address(Moment(0), CHILD, Address { schedule, ..address(1_000, 1) });
        let ask = |sender: &mut Sender, wall: i64| {
            let at = Moment(u64::try_from(wall).unwrap() * 1_000 + 60_000);
            sender.ask(at, wall + 60, CHILD, (StreamId(1), 0), 10)
        };
        assert_eq!(ask(&mut sender, 3_600), Err(Hold::Closed(Some(3_540_000))));
        assert!(ask(&mut sender, 7_200).is_ok_and(|grant| grant.bytes == 10));
        assert!(ask(&mut sender, 10_800).is_err());
    }

    #[test]
    fn a_silent_stream_does_not_hold_the_line() {
        let mut sender = Sender::default();
        sender.set_address(Moment(0), CHILD, address(10_000, 1));
        let ask = |sender: &mut Sender, at, stream, priority| {
            sender.ask(Moment(at), 0, CHILD, (StreamId(stream), priority), 10)
        };
        assert!(ask(&mut sender, 1_000, 1, 9).is_ok());
        assert_eq!(ask(&mut sender, 1_001, 2, 0), Err(Hold::Line));
        assert!(ask(&mut sender, 60_000, 2, 0).is_ok());
    }
}
