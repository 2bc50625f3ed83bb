//! What Windows wrote down before it wrote it into a hive (§3, "Format of transaction log files", as since Windows 8.1).

use super::{BASE, Base, Hive, ReadHiveError, number};

/// A log of entries; older Windows keeps others.
const ENTRIES: u32 = 6;
/// Bytes before the first entry, and what each is a multiple of.
const BLOCK: usize = 512;
/// Bytes before the places of an entry's pages.
const HEAD: usize = 40;
/// What Windows begins its sums with.
pub(super) const SEED: u64 = 0x82EF_4D88_7A4E_55C5;

/// A hive as it would be, had Windows come to an end with it; `base` is its own base block, if that is whole.
pub(super) fn replay<'b>(
    base: Option<Base>,
    bins: &[u8],
    logs: &[&[u8]],
) -> Result<Hive<'b>, ReadHiveError> {
    let unfinished = |why| ReadHiveError::Unfinished { why };
    let mut read = Vec::new();
    for log in logs.iter().filter(|log| !log.is_empty()) {
        let Some(own) = Base::of(log) else { continue };
        if own.kind != ENTRIES {
            return Err(unfinished("they are of a Windows before 8.1"));
        }
        read.push((own, entries(log)));
    }
    // The one that goes back further comes first.
    read.sort_by_key(|(own, _)| own.first);
    let known = base.or(read.last().map(|(own, _)| *own));
    let known = known.ok_or_else(|| unfinished("there is none that belongs to it"))?;
    let mut next = base.map(|base| base.second);
    let mut whole = bins.to_vec();
    let mut replayed = 0;
    for entry in read.iter().flat_map(|(_, entries)| entries) {
        let is_next = next.is_none_or(|next| {
            if replayed == 0 { entry.number >= next } else { entry.number == next }
        });
        if !is_next {
            continue;
        }
        entry.apply(&mut whole).ok_or_else(|| unfinished("one of them names a place outside"))?;
        next = Some(entry.number.wrapping_add(1));
        replayed += 1;
    }
    if replayed == 0 {
        return Err(unfinished("there is none that belongs to it"));
    }
    Ok(Hive { bins: whole.into(), root: known.root, minor: known.minor, replayed })
}

/// Pages written together.
struct Entry<'l> {
    number: u32,
    /// Bytes of the hive's bins.
    length: usize,
    pages: Vec<(usize, &'l [u8])>,
}

impl Entry<'_> {
    fn apply(&self, bins: &mut Vec<u8>) -> Option<()> {
        bins.resize(self.length, 0);
        for (at, page) in &self.pages {
            bins.get_mut(*at..at.checked_add(page.len())?)?.copy_from_slice(page);
        }
        Some(())
    }
}

/// The entries of a log up to the first that is none: what follows is older.
fn entries(log: &[u8]) -> Vec<Entry<'_>> {
    let mut all = Vec::new();
    let mut rest = log.get(BLOCK..).unwrap_or_default();
    while let Some((entry, length)) = entry(rest) {
        all.push(entry);
        rest = &rest[length..];
    }
    all
}

/// The entry at the beginning of these bytes, and its length, if it is whole.
fn entry(bytes: &[u8]) -> Option<(Entry<'_>, usize)> {
    let length = number(bytes, 4) as usize;
    if !bytes.starts_with(b"HvLE") || length < HEAD || !length.is_multiple_of(BLOCK) {
        return None;
    }
    let whole = bytes.get(..length)?;
    if marvin(SEED, &whole[..32]) != long(whole, 32)
        || marvin(SEED, &whole[HEAD..]) != long(whole, 24)
    {
        return None;
    }
    let count = number(whole, 20) as usize;
    let list = whole.get(HEAD..)?.get(..count.checked_mul(8)?)?;
    let mut from = HEAD + list.len();
    let mut pages = Vec::new();
    for one in list.chunks_exact(8) {
        let size = number(one, 4) as usize;
        pages.push((number(one, 0) as usize, whole.get(from..from.checked_add(size)?)?));
        from += size;
    }
    let bins = number(whole, 16) as usize;
    // Hives end with whole bins, and are no larger than 2 GiB.
    if !bins.is_multiple_of(BASE) || bins >= 1 << 31 {
        return None;
    }
    Some((Entry { number: number(whole, 12), length: bins, pages }, length))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(number(bytes, at)) | u64::from(number(bytes, at + 4)) << 32
}

/// Marvin32, the sum Windows tells damage in logs by (US patent 20130262421; its vectors are those of .NET's own tests).
pub(super) fn marvin(seed: u64, bytes: &[u8]) -> u64 {
    let seed = seed.to_le_bytes();
    let (mut low, mut high) = (number(&seed, 0), number(&seed, 4));
    let mut mix = |word: u32| {
        low = low.wrapping_add(word);
        high ^= low;
        low = low.rotate_left(20).wrapping_add(high);
        high = high.rotate_left(9) ^ low;
        low = low.rotate_left(27).wrapping_add(high);
        high = high.rotate_left(19);
    };
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    words.for_each(|word| mix(number(word, 0)));
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    mix(u32::from_le_bytes(last));
    mix(0);
    u64::from(high) << 32 | u64::from(low)
}
