use std::collections::BTreeSet;

use crate::{Moment, PackageId, PlaceId};

/// Which copy is hashed again next: the one that was not looked at for longest, no faster than allowed.
#[derive(Clone, Debug)]
pub struct Scrub {
    rate: u64,
    free_at: Moment,
    line: BTreeSet<(Moment, PlaceId, PackageId)>,
}

impl Scrub {
    /// At most `rate` bytes per second; 0 never begins.
    pub fn new(rate: u64) -> Self {
        Self { rate, free_at: Moment(0), line: BTreeSet::new() }
    }

    /// A copy was verified at `at`, and is to be looked at again some time.
    pub fn verified(&mut self, at: Moment, place: PlaceId, package: PackageId) {
        self.gone(place, package);
        self.line.insert((at, place, package));
    }

    /// The copy is no more.
    pub fn gone(&mut self, place: PlaceId, package: PackageId) {
        self.line.retain(|(_, other, id)| (*other, *id) != (place, package));
    }

    /// The next copy to hash, if it is time; `bytes` says how large a copy is.
    pub fn next(
        &mut self,
        at: Moment,
        bytes: impl Fn(PlaceId, PackageId) -> u64,
    ) -> Option<(PlaceId, PackageId)> {
        if self.rate == 0 || at < self.free_at {
            return None;
        }
        let (_, place, package) = self.line.pop_first()?;
        self.line.insert((at, place, package));
        let milliseconds = bytes(place, package).saturating_mul(1_000) / self.rate;
        self.free_at = at + milliseconds.max(1);
        Some((place, package))
    }
}

/// Where damaged content may be had. Everything is verified by its hash, so nobody has to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The same bytes in another copy in the same store.
    Duplicate,
    /// A distribution point of the same site.
    Sibling(PlaceId),
    /// The site above.
    Parent,
    /// Any cache nearby.
    Cache,
    /// The site that published it.
    Publisher,
}

/// Sources in the order to try: nearest first, each once.
pub fn repair_order(sources: impl IntoIterator<Item = Source>) -> Vec<Source> {
    sources.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{Scrub, Source, repair_order};
    use crate::{Moment, PackageId, PlaceId};

    #[test]
    fn the_longest_unseen_goes_first_and_no_faster_than_allowed() {
        let mut scrub = Scrub::new(1_000);
        scrub.verified(Moment(5), PlaceId(1), PackageId(1));
        scrub.verified(Moment(3), PlaceId(2), PackageId(1));
        let size = |_, _| 2_000;
        assert_eq!(scrub.next(Moment(10), size), Some((PlaceId(2), PackageId(1))));
        assert_eq!(scrub.next(Moment(2_009), size), None);
        assert_eq!(scrub.next(Moment(2_010), size), Some((PlaceId(1), PackageId(1))));
        scrub.gone(PlaceId(2), PackageId(1));
        assert_eq!(scrub.next(Moment(9_000), size), Some((PlaceId(1), PackageId(1))));
    }

    #[test]
    fn near_before_far() {
        let sources =
            [Source::Parent, Source::Sibling(PlaceId(3)), Source::Duplicate, Source::Parent];
        let order = [Source::Duplicate, Source::Sibling(PlaceId(3)), Source::Parent];
        assert_eq!(repair_order(sources), order);
    }
}
