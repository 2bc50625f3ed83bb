//! Registry hives as Windows writes them, for whoever reads them (`regf`; M. Suhanov, "Windows registry file format
//! specification", `github.com/msuhanov/regf`).

use model::RegistryValue;

const BASE: usize = 4096;
const SEGMENT: usize = 16_344;
/// Keys in one list of keys, at most.
const LISTED: usize = 500;
const NOWHERE: u32 = u32::MAX;

/// A key to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HiveKey {
    /// Its name; that of the topmost says nothing.
    pub name: String,
    /// Its values; the one without a name is the key's own.
    pub values: Vec<(String, RegistryValue)>,
    /// The keys below it.
    pub below: Vec<HiveKey>,
}

impl HiveKey {
    /// The key of that path below this one, made with all above it if it is not there; names differ by more than their case.
    pub fn at(&mut self, path: &[&str]) -> &mut Self {
        let Some((first, rest)) = path.split_first() else { return self };
        let is_it = |one: &Self| one.name.to_lowercase() == first.to_lowercase();
        let place = self.below.iter().position(is_it).unwrap_or_else(|| {
            self.below.push(Self { name: (*first).to_owned(), ..Self::default() });
            self.below.len() - 1
        });
        self.below[place].at(rest)
    }
}

/// A hive that holds these keys, written to its end.
pub fn hive(top: &HiveKey) -> Vec<u8> {
    let mut bins = Bins { bytes: Vec::new(), free: 0 };
    let root = bins.key(top, NOWHERE, 0x2C);
    bins.close();
    let mut file = vec![0; BASE];
    let length = u32::try_from(bins.bytes.len()).unwrap_or(0);
    for (at, word) in [(4, 1), (8, 1), (20, 1), (24, 5), (32, 1), (36, root), (40, length), (44, 1)]
    {
        file[at..at + 4].copy_from_slice(&u32::to_le_bytes(word));
    }
    file[..4].copy_from_slice(b"regf");
    seal_hive(&mut file);
    file.extend(bins.bytes);
    file
}

/// Gives the first block of a hive or of its log the sum it needs, after it was changed.
pub fn seal_hive(file: &mut [u8]) {
    let words = file[..508].chunks_exact(4);
    let sum =
        words.fold(0, |sum, word| sum ^ u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let sum = match sum {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    };
    file[508..512].copy_from_slice(&sum.to_le_bytes());
}

struct Bins {
    bytes: Vec<u8>,
    /// Bytes of the last bin that are in no cell.
    free: usize,
}

impl Bins {
    /// Room for a cell; answers its place.
    fn cell(&mut self, content: &[u8]) -> u32 {
        let size = (content.len() + 4).next_multiple_of(8);
        if size > self.free {
            self.close();
            let length = (size + 32).next_multiple_of(BASE);
            let at = self.bytes.len();
            self.bytes.resize(at + length, 0);
            self.bytes[at..at + 4].copy_from_slice(b"hbin");
            self.number(at + 4, at);
            self.number(at + 8, length);
            self.free = length - 32;
        }
        let at = self.bytes.len() - self.free;
        self.free -= size;
        let taken = -i32::try_from(size).unwrap_or(0);
        self.bytes[at..at + 4].copy_from_slice(&taken.to_le_bytes());
        self.bytes[at + 4..at + 4 + content.len()].copy_from_slice(content);
        u32::try_from(at).unwrap_or(NOWHERE)
    }

    /// Makes one free cell of what is left of the last bin.
    fn close(&mut self) {
        let at = self.bytes.len() - self.free;
        if self.free > 0 {
            self.number(at, self.free);
        }
        self.free = 0;
    }

    fn number(&mut self, at: usize, number: usize) {
        self.bytes[at..at + 4].copy_from_slice(&u32::try_from(number).unwrap_or(0).to_le_bytes());
    }

    fn key(&mut self, key: &HiveKey, above: u32, flags: u16) -> u32 {
        let (name, is_narrow) = named(&key.name);
        let mut cell = vec![0; 76];
        cell[..2].copy_from_slice(b"nk");
        cell[2..4].copy_from_slice(&(flags | if is_narrow { 0x20 } else { 0 }).to_le_bytes());
        cell.extend(&name);
        for (at, word) in
            [(16, above), (28, NOWHERE), (32, NOWHERE), (40, NOWHERE), (44, NOWHERE), (48, NOWHERE)]
        {
            cell[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        cell[72..74].copy_from_slice(&half(name.len()));
        let own = self.cell(&cell);
        let content = own as usize + 4;
        if !key.values.is_empty() {
            let places: Vec<u32> =
                key.values.iter().map(|(name, value)| self.value(name, value)).collect();
            let list: Vec<u8> = places.into_iter().flat_map(u32::to_le_bytes).collect();
            let list = self.cell(&list);
            self.number(content + 36, key.values.len());
            self.number(content + 40, list as usize);
        }
        if !key.below.is_empty() {
            // In the order Windows looks for them.
            let mut below: Vec<&HiveKey> = key.below.iter().collect();
            below.sort_by_key(|one| one.name.to_uppercase());
            let places: Vec<(u32, &str)> =
                below.iter().map(|one| (self.key(one, own, 0), one.name.as_str())).collect();
            let list = self.list(&places);
            self.number(content + 20, key.below.len());
            self.number(content + 28, list as usize);
        }
        own
    }

    fn list(&mut self, places: &[(u32, &str)]) -> u32 {
        if places.len() > LISTED {
            let lists: Vec<u32> = places.chunks(LISTED).map(|some| self.list(some)).collect();
            let mut cell = [b"ri", &half(lists.len())[..]].concat();
            cell.extend(lists.into_iter().flat_map(u32::to_le_bytes));
            return self.cell(&cell);
        }
        // All kinds there are: by the first letters of names, by their sums, by nothing.
        let kind = [b"lf", b"lh", b"li"][places.len() % 3];
        let mut cell = [kind, &half(places.len())[..]].concat();
        for (place, name) in places {
            cell.extend(place.to_le_bytes());
            match kind {
                b"lf" => cell.extend(name.bytes().chain([0; 4]).take(4)),
                b"lh" => cell.extend(sum(name).to_le_bytes()),
                _ => {}
            }
        }
        self.cell(&cell)
    }

    fn value(&mut self, name: &str, value: &RegistryValue) -> u32 {
        let (name, is_narrow) = named(name);
        let data = &value.data;
        let length = u32::try_from(data.len()).unwrap_or(0);
        let (size, place) = if data.len() <= 4 {
            let mut word = [0; 4];
            word[..data.len()].copy_from_slice(data);
            (length | 1 << 31, u32::from_le_bytes(word))
        } else if data.len() <= SEGMENT {
            (length, self.cell(data))
        } else {
            let parts: Vec<u32> = data.chunks(SEGMENT).map(|part| self.cell(part)).collect();
            let count = half(parts.len());
            let list: Vec<u8> = parts.into_iter().flat_map(u32::to_le_bytes).collect();
            let list = self.cell(&list);
            (length, self.cell(&[b"db", &count[..], &list.to_le_bytes()].concat()))
        };
        let mut cell = [b"vk", &half(name.len())[..]].concat();
        for word in [size, place, value.kind, u32::from(is_narrow)] {
            cell.extend(word.to_le_bytes());
        }
        cell.extend(name);
        self.cell(&cell)
    }
}

/// A name in letters of one byte each, if it has no others.
fn named(name: &str) -> (Vec<u8>, bool) {
    let narrow: Option<Vec<u8>> =
        name.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
    match narrow {
        Some(narrow) => (narrow, true),
        None => (name.encode_utf16().flat_map(u16::to_le_bytes).collect(), false),
    }
}

/// The sum Windows looks for a name by.
fn sum(name: &str) -> u32 {
    let words = name.to_uppercase();
    words.encode_utf16().fold(0, |sum: u32, word| sum.wrapping_mul(37).wrapping_add(word.into()))
}

fn half(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(0).to_le_bytes()
}
