//! Which stretch of an old file a stretch of a new one came from, small differences allowed.
//!
//! Compiled code that moved keeps its shape: most bytes are as they were, addresses differ a little. Matching only
//! what is exactly equal breaks such stretches into crumbs; so, as bsdiff does, a stretch goes on through
//! differences as long as it explains more bytes than another place would.

/// A stretch of the new file and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Where it starts in the old file.
    pub old: usize,
    /// Where it starts in the new file.
    pub new: usize,
    /// How many bytes it has, in both.
    pub length: usize,
}

/// Bytes two places must share to be looked at.
const SEED: usize = 8;
/// How much more another place must explain to be worth going there.
const GAIN: usize = 8;
/// How many places are looked at for one position.
const TRIES: usize = 12;
/// As many equal bytes at hand are not improved on.
const ENOUGH: usize = 48;

/// Where seeds are in the old file.
pub(crate) struct Seeds<'o> {
    old: &'o [u8],
    heads: Vec<u32>,
    chain: Vec<u32>,
    shift: u32,
    step: usize,
}

impl<'o> Seeds<'o> {
    /// Indexes `old`, which is shorter than 4 GiB. Needs 4 to 8 bytes of memory for each `step` of it.
    pub(crate) fn new(old: &'o [u8], step: usize) -> Self {
        let count = old.len().saturating_sub(SEED - 1).div_ceil(step);
        let bits = (usize::BITS - count.leading_zeros()).clamp(10, 23);
        let mut heads = vec![0_u32; 1 << bits];
        let mut chain = vec![0_u32; count];
        let shift = 64 - bits;
        // From the end, so that chains ascend.
        for slot in (0..count).rev() {
            let at = slot * step;
            let head = &mut heads[hash(&old[at..], shift)];
            chain[slot] = *head;
            *head = u32::try_from(slot + 1).unwrap_or(0);
        }
        Self { old, heads, chain, shift, step }
    }

    /// The longest of the first equal stretches at `new`, and of the one at `near`.
    fn longest(&self, new: &[u8], near: Option<usize>) -> (usize, usize) {
        let mut best = (0, 0);
        if let Some(near) = near {
            best = (near, equal(&self.old[near..], new));
            if best.1 >= ENOUGH {
                return best;
            }
        }
        if new.len() < SEED {
            return best;
        }
        let mut slot = self.heads[hash(new, self.shift)];
        for _ in 0..TRIES {
            let Some(index) = (slot as usize).checked_sub(1) else { break };
            let at = index * self.step;
            // Only a longer one helps: look at its last byte first.
            let is_longer = new.len() > best.1 && self.old.get(at + best.1) == Some(&new[best.1]);
            if is_longer {
                let length = equal(&self.old[at..], new);
                if length > best.1 {
                    best = (at, length);
                }
            }
            slot = self.chain[index];
        }
        best
    }
}

fn hash(bytes: &[u8], shift: u32) -> usize {
    let mut seed = [0; SEED];
    seed.copy_from_slice(&bytes[..SEED]);
    let hash = u64::from_le_bytes(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift;
    // At most 23 bits are left.
    usize::try_from(hash).unwrap_or(0)
}

/// How many bytes are equal at the start of both.
pub(crate) fn equal(left: &[u8], right: &[u8]) -> usize {
    let length = left.len().min(right.len());
    let (left, right) = (&left[..length], &right[..length]);
    let mut at = 0;
    for (a, b) in left.chunks_exact(8).zip(right.chunks_exact(8)) {
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        let difference = word(a) ^ word(b);
        if difference != 0 {
            return at + (difference.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + left[at..].iter().zip(&right[at..]).take_while(|(a, b)| a == b).count()
}

/// Where the stretches of `new` came from: ascending in `new`, apart, none empty. What is in none of them is new.
pub(crate) fn align(seeds: &Seeds<'_>, new: &[u8]) -> Vec<Stretch> {
    let old = seeds.old;
    let mut stretches = Vec::new();
    let mut last = Stretch { old: 0, new: 0, length: 0 };
    let (mut scan, mut length) = (0, 0);
    while scan < new.len() {
        scan += length;
        let mut counted = scan;
        let mut score = 0;
        let mut at = 0;
        length = 0;
        let same = |index: usize, last: &Stretch| {
            old.get((index + last.old).wrapping_sub(last.new)) == Some(&new[index])
        };
        while scan < new.len() {
            let near = (scan + last.old).checked_sub(last.new).filter(|near| *near < old.len());
            (at, length) = seeds.longest(&new[scan..], near);
            while counted < scan + length {
                score += usize::from(same(counted, &last));
                counted += 1;
            }
            if (length == score && length != 0) || length > score + GAIN {
                break;
            }
            if scan < counted {
                score -= usize::from(same(scan, &last));
            } else {
                counted += 1;
            }
            scan += 1;
        }
        if length != score || scan == new.len() {
            let mut forward = extend(&old[last.old..], &new[last.new..scan]);
            let mut back = 0;
            if scan < new.len() {
                back = extend_back(&old[..at], &new[last.new..scan]);
            }
            let gap = scan - last.new;
            if forward + back > gap {
                let kept = divide(old, new, &last, at, scan, forward, back);
                (forward, back) = (kept, gap - kept);
            }
            if forward > 0 {
                stretches.push(Stretch { length: forward, ..last });
            }
            last = Stretch { old: at - back, new: scan - back, length: 0 };
        }
    }
    stretches
}

/// How far two stretches agree in more places than they differ.
fn extend(old: &[u8], new: &[u8]) -> usize {
    best_sum(old.iter().zip(new).map(|(a, b)| a == b))
}

fn extend_back(old: &[u8], new: &[u8]) -> usize {
    best_sum(old.iter().rev().zip(new.iter().rev()).map(|(a, b)| a == b))
}

fn best_sum(agree: impl Iterator<Item = bool>) -> usize {
    let (mut sum, mut best, mut length) = (0_i64, 0_i64, 0);
    for (index, agrees) in agree.enumerate() {
        sum += if agrees { 1 } else { -1 };
        if sum > best {
            (best, length) = (sum, index + 1);
        }
    }
    length
}

/// Where to go over from the stretch before to the one after, which reach over each other.
fn divide(
    old: &[u8],
    new: &[u8],
    last: &Stretch,
    at: usize,
    scan: usize,
    forward: usize,
    back: usize,
) -> usize {
    let gap = scan - last.new;
    let overlap = forward + back - gap;
    let first = gap - back;
    let (mut sum, mut best, mut kept) = (0_i64, 0_i64, 0);
    for index in 0..overlap {
        let here = first + index;
        let byte = new[last.new + here];
        sum += i64::from(old[last.old + here] == byte);
        sum -= i64::from(old[at + here - gap] == byte);
        if sum > best {
            (best, kept) = (sum, index + 1);
        }
    }
    first + kept
}
