use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::wire;

/// Whose wall clock is meant.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Encode,
    Decode,
)]
#[serde(rename_all = "kebab-case")]
pub enum Zone {
    /// The client's own, wherever it is.
    #[default]
    #[n(0)]
    Client,
    /// A zone of the IANA database: `Europe/Berlin`, `Asia/Kathmandu`, `UTC`.
    #[n(1)]
    Named(#[n(0)] Box<str>),
}

/// An instant, or what a wall clock shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// The same instant everywhere.
    #[n(0)]
    At(
        #[n(0)]
        #[cbor(with = "wire::instant")]
        Timestamp,
    ),
    /// As soon as the wall clock of a zone shows this.
    #[n(1)]
    Wall {
        /// What it shows.
        #[n(0)]
        #[cbor(with = "wire::civil")]
        clock: DateTime,
        /// Whose clock.
        #[n(1)]
        zone: Zone,
    },
}

/// A zone this machine's database does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error(
    "no time zone `{name}` here: update this machine's time zone data, or use a name like `Europe/Berlin`"
)]
pub struct UnknownZone {
    /// The name as it was given.
    pub name: Box<str>,
}

/// The zones a decision may need: a database, and the zone the client itself lives in.
#[derive(Clone, Copy, Debug)]
pub struct Zones<'a> {
    /// Where names are looked up.
    pub database: &'a TimeZoneDatabase,
    /// The client's own zone.
    pub client: &'a TimeZone,
}

impl Zones<'_> {
    /// The zone's rules.
    ///
    /// # Errors
    /// The database does not have it.
    pub fn get(&self, zone: &Zone) -> Result<TimeZone, UnknownZone> {
        match zone {
            Zone::Client => Ok(self.client.clone()),
            Zone::Named(name) if &**name == "UTC" => Ok(TimeZone::UTC),
            Zone::Named(name) => {
                self.database.get(name).map_err(|_| UnknownZone { name: name.clone() })
            }
        }
    }
}

impl When {
    /// The instant meant.
    ///
    /// # Errors
    /// The zone is not known.
    pub fn instant(&self, zones: Zones<'_>) -> Result<Timestamp, UnknownZone> {
        match self {
            Self::At(instant) => Ok(*instant),
            Self::Wall { clock, zone } => Ok(first_instant(&zones.get(zone)?, *clock)),
        }
    }
}

/// The first instant at which the zone's wall clock shows `clock` or later. An hour that is skipped gives the
/// instant of the jump; of an hour that is lived twice, the first one counts. The one rule for all wall clocks here.
pub fn first_instant(zone: &TimeZone, clock: DateTime) -> Timestamp {
    let found = match zone.to_ambiguous_timestamp(clock).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(clock),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(clock),
        AmbiguousOffset::Gap { before, after } => {
            // With the later offset the instant lies before the jump, with the earlier one behind it.
            after.to_timestamp(clock).and_then(|early| {
                let jump = zone.following(early).next().map(|jump| jump.timestamp());
                jump.map_or_else(|| before.to_timestamp(clock), Ok)
            })
        }
    };
    // Only the very ends of the calendar have no instant.
    found.unwrap_or(if clock.year() < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use super::{When, Zone, Zones, first_instant};
    use jiff::tz::{TimeZone, TimeZoneDatabase};

    #[test]
    fn skipped_hours_begin_at_the_jump_and_doubled_ones_count_once() {
        let database = TimeZoneDatabase::bundled();
        let at = |zone: &str, clock: &str| {
            first_instant(&database.get(zone).unwrap(), clock.parse().unwrap()).to_string()
        };
        assert_eq!(at("Europe/Berlin", "2026-03-29T02:30"), "2026-03-29T01:00:00Z");
        assert_eq!(at("Europe/Berlin", "2026-03-29T03:00"), "2026-03-29T01:00:00Z");
        assert_eq!(at("Europe/Berlin", "2026-10-25T02:30"), "2026-10-25T00:30:00Z");
        assert_eq!(at("Australia/Lord_Howe", "2026-10-04T02:15"), "2026-10-03T15:30:00Z");
        assert_eq!(at("Asia/Kathmandu", "2026-01-01T00:00"), "2025-12-31T18:15:00Z");
        assert_eq!(at("Pacific/Chatham", "2026-01-01T00:00"), "2025-12-31T10:15:00Z");
        assert_eq!(at("Pacific/Chatham", "2026-07-01T00:00"), "2026-06-30T11:15:00Z");
        // A day that did not exist.
        assert_eq!(at("Pacific/Apia", "2011-12-30T12:00"), "2011-12-30T10:00:00Z");
    }

    #[test]
    fn an_unknown_zone_is_named() {
        let database = TimeZoneDatabase::bundled();
        let zones = Zones { database: &database, client: &TimeZone::UTC };
        let clock = "2026-01-01T00:00".parse().unwrap();
        let when = When::Wall { clock, zone: Zone::Named("Mars/Olympus".into()) };
        insta::assert_snapshot!(when.instant(zones).unwrap_err(), @"no time zone `Mars/Olympus` here: update this machine's time zone data, or use a name like `Europe/Berlin`");
        let here = When::Wall { clock, zone: Zone::Client };
        assert_eq!(here.instant(zones).unwrap().to_string(), "2026-01-01T00:00:00Z");
    }
}
