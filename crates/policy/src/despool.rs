use model::Hash;

use crate::{Avoid, Fence, VersionNumber};

/// A copy a place has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number.
    pub number: VersionNumber,
    /// Its content.
    pub manifest: Hash,
    /// Whether it verified when last looked at.
    pub verified: bool,
}

/// What is to be had of the wanted version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The wanted content.
    pub manifest: Hash,
    /// Bytes of all of it.
    pub full: u64,
    /// Bytes of the chunks that are not there yet, if somebody counted.
    pub chunks: Option<u64>,
    /// Deltas: from which version, how many bytes.
    pub deltas: Vec<(VersionNumber, u64)>,
}

/// How a copy is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The same content is there under an older number.
    Nothing(VersionNumber),
    /// From a base that verified.
    Delta(VersionNumber),
    /// Only the chunks that are missing.
    Chunks,
    /// Everything.
    Full,
}

/// The cheapest way that was not tried in vain. Deltas only from the newest verified copy that has one.
pub fn choose_way(held: &[Held], offer: &Offer, avoid: Avoid) -> Way {
    let verified = || held.iter().filter(|held| held.verified);
    if let Some(same) = verified().find(|held| held.manifest == offer.manifest) {
        return Way::Nothing(same.number);
    }
    let delta = verified()
        .filter_map(|held| {
            let (_, bytes) = offer.deltas.iter().find(|(base, _)| *base == held.number)?;
            Some((held.number, *bytes))
        })
        .max_by_key(|(number, _)| *number)
        .filter(|_| !avoid.delta);
    let chunks = offer.chunks.filter(|_| !avoid.chunks);
    match (delta, chunks) {
        (Some((_, delta)), Some(chunks)) if chunks < delta => Way::Chunks,
        (Some((base, delta)), _) if delta < offer.full => Way::Delta(base),
        (_, Some(chunks)) if chunks < offer.full => Way::Chunks,
        _ => Way::Full,
    }
}

/// How quickly bytes came about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// So many bytes.
    pub bytes: u64,
    /// In so many milliseconds.
    pub milliseconds: u64,
}

/// Bytes that are not sent are worth so many times the wait.
const PATIENCE: u128 = 4;
/// What a core is expected to pack in a second, in packed bytes, at the level compilers pack with: 0.4 to 0.7 MiB were
/// measured. It counts as a second's experience.
const PACKED_BY_CORE: u64 = 512 << 10;

/// So many bytes say how quick a line is. Fewer came out of buffers, or were let through before a line's rate told.
pub const LINE_IS_KNOWN: u64 = 256 << 10;

/// Whether what can be made here, by so many cores, is made here: by how long so many bytes took to be made and to come. As long
/// as less came than [`LINE_IS_KNOWN`], it is.
pub fn is_made_here(cores: usize, made: Pace, came: Pace) -> bool {
    if came.bytes < LINE_IS_KNOWN {
        return true;
    }
    let expected = PACKED_BY_CORE.saturating_mul(u64::try_from(cores).unwrap_or(u64::MAX));
    let made_bytes = made.bytes.saturating_add(expected);
    let made_takes = u128::from(made.milliseconds.saturating_add(1_000)) * u128::from(came.bytes);
    let coming_takes = u128::from(came.milliseconds) * u128::from(made_bytes);
    made_takes <= coming_takes.saturating_mul(PATIENCE)
}

/// What a place does with a complete, verified copy it is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Make it the visible one, in one atomic step.
    Now,
    /// Leave things: what is visible is as new or newer.
    NewerThere,
    /// Leave things: a later lease was here.
    StaleFence,
}

/// Decides over the switch. `last` is the greatest fence the place has seen.
pub fn switch(
    visible: Option<VersionNumber>,
    offered: VersionNumber,
    last: Fence,
    fence: Fence,
) -> Switch {
    if fence < last {
        Switch::StaleFence
    } else if visible.is_some_and(|visible| visible > offered) {
        Switch::NewerThere
    } else {
        Switch::Now
    }
}

#[cfg(test)]
mod tests {
    use model::Hash;

    use super::{Held, LINE_IS_KNOWN, Offer, Pace, Switch, Way, choose_way, is_made_here, switch};
    use crate::{Avoid, Fence, VersionNumber};

    const fn v(count: u32) -> VersionNumber {
        VersionNumber { epoch: 0, count }
    }

    fn held(count: u32, verified: bool) -> Held {
        Held { number: v(count), manifest: Hash::of(&[u8::try_from(count).unwrap()]), verified }
    }

    fn offer() -> Offer {
        let deltas = vec![(v(1), 10), (v(2), 5)];
        Offer { manifest: Hash::of(b"3"), full: 100, chunks: Some(20), deltas }
    }

    #[test]
    fn the_newest_verified_base_then_chunks_then_all() {
        let copies = [held(1, true), held(2, true)];
        assert_eq!(choose_way(&copies, &offer(), Avoid::default()), Way::Delta(v(2)));
        let damaged = [held(1, true), held(2, false)];
        assert_eq!(choose_way(&damaged, &offer(), Avoid::default()), Way::Delta(v(1)));
        let no_delta = Avoid { delta: true, chunks: false };
        assert_eq!(choose_way(&copies, &offer(), no_delta), Way::Chunks);
        let neither = Avoid { delta: true, chunks: true };
        assert_eq!(choose_way(&copies, &offer(), neither), Way::Full);
    }

    #[test]
    fn equal_content_is_not_fetched() {
        let same = Held { manifest: Hash::of(b"3"), ..held(1, true) };
        assert_eq!(choose_way(&[same], &offer(), Avoid::default()), Way::Nothing(v(1)));
        let damaged = Held { verified: false, ..same };
        assert_eq!(choose_way(&[damaged], &offer(), Avoid::default()), Way::Chunks);
    }

    #[test]
    fn on_a_slow_line_more_is_made_and_on_a_quick_one_less() {
        let pace = |bytes, milliseconds| Pace { bytes, milliseconds };
        let none = pace(0, 0);
        assert!(is_made_here(1, none, none));
        assert!(is_made_here(1, none, pace(LINE_IS_KNOWN - 1, 0)));
        assert!(!is_made_here(1, none, pace(LINE_IS_KNOWN, 0)));
        // By what is expected: a core makes as much as four megabit carry, and bytes are worth four times the wait.
        assert!(is_made_here(1, none, pace(4 << 19, 1_000)));
        assert!(!is_made_here(1, none, pace((4 << 19) + 1, 1_000)));
        assert!(is_made_here(2, none, pace(8 << 19, 1_000)));
        // What was seen counts more and more.
        let quick = pace(400 << 20, 100_000);
        assert!(is_made_here(1, quick, pace(8 << 20, 1_000)));
        let slow = pace(1 << 20, 100_000);
        assert!(!is_made_here(1, slow, pace(1 << 20, 10_000)));
        assert!(is_made_here(1, pace(u64::MAX, u64::MAX), pace(u64::MAX, u64::MAX)));
    }

    #[test]
    fn a_late_worker_switches_nothing() {
        let fence = |number| Fence { epoch: 0, number };
        assert_eq!(switch(Some(v(1)), v(2), fence(3), fence(3)), Switch::Now);
        assert_eq!(switch(Some(v(1)), v(2), fence(4), fence(3)), Switch::StaleFence);
        assert_eq!(switch(Some(v(3)), v(2), fence(3), fence(4)), Switch::NewerThere);
    }
}
