//! How a child may be sent to, as people write it.

use jiff::tz::TimeZone;
use policy::{Address, Hours, Schedule};
use serde::{Deserialize, Serialize};

use crate::SiteError;

/// What an unlimited address may send, in bytes per second.
const UNLIMITED: u64 = 1 << 40;
/// Bounds of one unit, in bytes.
const UNITS: (u64, u64) = (16 << 10, 4 << 20);
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// An address, as an operator sets it. Whatever is not said is open, at full rate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AddressSettings {
    /// Bytes per second; as many as the line takes, if nothing is said. 0 sends nothing.
    pub rate: Option<u64>,
    /// Transfers at the same time, which share the rate; 4 if nothing is said.
    pub streams: Option<u32>,
    /// Parts of the week and of the rate: `mon-fri 8-18 20%`. Later ones count before earlier ones; 0 % is closed.
    pub hours: Vec<String>,
    /// Where the child waits to be called by this site, as `HOST:PORT`; if nothing is said, the child calls.
    pub call: Option<String>,
    /// The zone the hours are lived in, as POSIX writes it: `CET-1CEST,M3.5.0,M10.5.0/3`. UTC if nothing is said.
    pub zone: Option<String>,
}

impl AddressSettings {
    /// What the sender goes by.
    pub fn to_address(&self) -> Result<Address, SiteError> {
        let rate = self.rate.unwrap_or(UNLIMITED);
        let zone = match &self.zone {
            None => TimeZone::UTC,
            Some(zone) => TimeZone::posix(zone).map_err(|error| {
                wrong(format!("`{zone}` is no zone as POSIX writes it: {error}"))
            })?,
        };
        let mut percent = [100; 168];
        for line in &self.hours {
            fill(&mut percent, line).ok_or_else(|| {
                wrong(format!("`{line}` is no part of a week: write it like `mon-fri 8-18 20%`"))
            })?;
        }
        if let Some(call) = self.call.as_deref().filter(|call| !call.is_empty()) {
            let port = call.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                return Err(wrong(format!(
                    "`{call}` cannot be called: write it like `berlin.example.org:7482`"
                )));
            }
        }
        let hours = Hours::new(percent).map_err(|error| wrong(error.to_string()))?;
        let unit = (rate / 2).clamp(UNITS.0, UNITS.1);
        let streams = self.streams.unwrap_or(4).max(1);
        Ok(Address { schedule: Schedule::new(zone, hours), rate, streams, unit })
    }
}

fn wrong(message: String) -> SiteError {
    SiteError::Said { message, conflict: true }
}

/// Both ends of `a-b`, or of `a` alone.
fn ends(text: &str) -> (&str, &str) {
    text.split_once('-').unwrap_or((text, text))
}

/// Sets the hours a line speaks of.
fn fill(percent: &mut [u8; 168], line: &str) -> Option<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [days, hours, part] = words.as_slice() else { return None };
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    let (first, last) = ends(days);
    let (first, last) = (day(first)?, day(last)?);
    let (from, to) = hours.split_once('-')?;
    let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
    let part: u8 = part.strip_suffix('%')?.parse().ok()?;
    if from > 23 || to > 24 || part > 100 || from == to {
        return None;
    }
    // Both may go over the end: `fri-mon`, `22-6`.
    let count = (last + 7 - first) % 7 + 1;
    let length = if to > from { to - from } else { to + 24 - from };
    for day in 0..count {
        let begin = (first + day) % 7 * 24 + from;
        for hour in begin..begin + length {
            percent[hour % 168] = part;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{AddressSettings, fill};

    #[test]
    fn parts_of_a_week() {
        let mut percent = [100; 168];
        fill(&mut percent, "mon-fri 8-18 20%").unwrap();
        fill(&mut percent, "sun 22-6 0%").unwrap();
        assert_eq!((percent[7], percent[8], percent[17], percent[18]), (100, 20, 20, 100));
        assert_eq!((percent[4 * 24 + 9], percent[5 * 24 + 9]), (20, 100));
        // From Sunday night into Monday morning, where the week begins anew.
        assert_eq!((percent[6 * 24 + 22], percent[0], percent[5], percent[6]), (0, 0, 0, 100));
        for wrong in ["", "mon 8-18", "mon 8-8 5%", "mon 8-25 5%", "moon 8-18 5%", "mon 8-18 101%"]
        {
            assert_eq!(fill(&mut [100; 168], wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_said_is_open() {
        let address = AddressSettings::default().to_address().unwrap();
        assert_eq!((address.streams, address.unit), (4, 4 << 20));
        assert_eq!(address.schedule.percent_at(0), 100);
        let slow = AddressSettings { rate: Some(1_000), ..AddressSettings::default() };
        assert_eq!(slow.to_address().unwrap().unit, 16 << 10);
        for call in ["berlin", ":7482", "berlin:", "berlin:70000"] {
            let call = AddressSettings { call: Some(call.to_owned()), ..slow.clone() };
            assert!(call.to_address().unwrap_err().to_string().contains("cannot be called"));
        }
        for call in ["berlin:7482", "[::1]:7482", ""] {
            let call = AddressSettings { call: Some(call.to_owned()), ..slow.clone() };
            assert!(call.to_address().is_ok());
        }
        let lost = AddressSettings { zone: Some("Berlin!".to_owned()), ..slow };
        assert!(lost.to_address().unwrap_err().to_string().contains("POSIX"));
    }
}
