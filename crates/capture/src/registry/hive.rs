//! Registry hives as Windows keeps them on disk (`regf`), read from a machine that does not run.
//!
//! After M. Suhanov, "Windows registry file format specification" (`github.com/msuhanov/regf`), §2 to §4. Nothing is guessed: what
//! is damaged ends the reading with its place, for a capture compares two whole registries.

mod log;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use model::{RegistryKey, RegistryValue};

use super::Registry;

/// Bytes of the base block, after which the bins come, from whose beginning places are counted.
const BASE: usize = 4096;
/// Bytes of a value's data above which it stands in segments, and in each of those.
const SEGMENT: usize = 16_344;
/// Keys above a key, at most ("Registry element size limits", Microsoft Learn).
const DEEPEST: usize = 512;
/// Bytes of the smallest cell a key has.
const SMALLEST: usize = 76;
/// A key by another name.
const LINK: u16 = 0x10;
/// The name is of letters of one byte each.
const NARROW_KEY: u16 = 0x20;
const NARROW_VALUE: u16 = 1;

/// A hive cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadHiveError {
    /// The file is something else.
    #[error("it is no registry hive: it does not begin with `regf`")]
    Foreign,
    /// Windows did not write it to its end, and what it wrote down before is not there.
    #[error(
        "it was not written to its end, and its logs do not say what is missing ({why}): start that Windows and shut it down whole \
         (`shutdown /s /t 0`), and look again"
    )]
    Unfinished {
        /// What is wrong with the logs.
        why: &'static str,
    },
    /// It is damaged.
    #[error("it is damaged at byte {at} of its bins: {what}")]
    Damaged {
        /// Counted from the first bin, 4096 bytes into the file.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// A hive held whole, its logs replayed.
#[derive(Clone, Debug)]
pub struct Hive<'b> {
    bins: Cow<'b, [u8]>,
    root: usize,
    minor: u32,
    /// Entries of its logs it took to have it whole.
    replayed: usize,
}

impl<'b> Hive<'b> {
    /// Opens a hive's bytes; `logs` are those of the files beside it, `.LOG1` and `.LOG2`, as far as there are any.
    ///
    /// # Errors
    /// It is no hive, or not whole with all its logs.
    pub fn open(file: &'b [u8], logs: &[&[u8]]) -> Result<Self, ReadHiveError> {
        if !file.starts_with(b"regf") {
            return Err(ReadHiveError::Foreign);
        }
        let base = Base::of(file).filter(|base| base.kind == PRIMARY);
        let rest = file.get(BASE..).unwrap_or_default();
        match base {
            Some(base) if base.first == base.second => {
                let damaged = |what| ReadHiveError::Damaged { at: rest.len(), what };
                let bins = rest.get(..base.length);
                let bins = bins.ok_or_else(|| damaged("the file is shorter than it says"))?;
                Ok(Self { bins: bins.into(), root: base.root, minor: base.minor, replayed: 0 })
            }
            base => log::replay(base, rest, logs),
        }
    }

    /// How many entries of its logs it took to have it whole.
    pub fn replayed(&self) -> usize {
        self.replayed
    }

    /// Sees every key once, from above.
    fn walk(&self, walk: &mut Walk<'_>) -> Result<(), ReadHiveError> {
        self.walk_key(&Key::of(self, self.root)?, &mut Vec::new(), walk)
    }

    fn walk_key(
        &self,
        key: &Key<'_>,
        path: &mut Vec<String>,
        walk: &mut Walk<'_>,
    ) -> Result<(), ReadHiveError> {
        spend(&mut walk.left, SMALLEST, key.at)?;
        if path.len() > DEEPEST {
            return Err(damaged(key.at, "its keys go deeper than any may"));
        }
        let mut values = Values::new();
        for (name, value) in key.values(self, &mut walk.left)? {
            match name {
                Ok(name) => values.push((name, value)),
                Err(shown) => walk.unnamed.push(joined(path, &shown)),
            }
        }
        (walk.see)(path, values);
        for at in key.below(self)? {
            let below = Key::of(self, at)?;
            match below.name() {
                Err(shown) => walk.unnamed.push(joined(path, &shown)),
                Ok(_) if below.flags & LINK != 0 => {}
                Ok(name) => {
                    path.push(name);
                    self.walk_key(&below, path, walk)?;
                    path.pop();
                }
            }
        }
        Ok(())
    }

    /// The content of the cell at a place.
    fn cell(&self, at: usize) -> Result<&[u8], ReadHiveError> {
        let outside = || damaged(at, "a place outside of the hive");
        let head = self.bins.get(at..).and_then(|rest| rest.get(..4)).ok_or_else(outside)?;
        let size = i32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if size >= 0 {
            return Err(damaged(at, "a cell in use that is free"));
        }
        let size = size.unsigned_abs() as usize;
        let cell = self.bins.get(at..at + size).ok_or_else(outside)?;
        Ok(cell.get(4..).unwrap_or_default())
    }

    /// The places a cell lists, which are `count`.
    fn places(
        &self,
        at: usize,
        count: usize,
        from: usize,
        each: usize,
    ) -> Result<Vec<usize>, ReadHiveError> {
        let cell = self.cell(at)?;
        let list = cell.get(from..).and_then(|rest| rest.get(..count.checked_mul(each)?));
        let list = list.ok_or(damaged(at, "a list shorter than it says"))?;
        Ok(list.chunks_exact(each).map(|one| number(one, 0) as usize).collect())
    }

    /// The number of the set of services in force, where this is the hive that has sets.
    fn set_in_force(&self) -> Result<Option<u32>, ReadHiveError> {
        for at in Key::of(self, self.root)?.below(self)? {
            let key = Key::of(self, at)?;
            if key.name().is_ok_and(|name| name.eq_ignore_ascii_case("Select")) {
                let mut values = key.values(self, &mut self.bins.len())?.into_iter();
                let current = values.find(|(name, _)| {
                    name.as_ref().is_ok_and(|name| name.eq_ignore_ascii_case("Current"))
                });
                return Ok(current.map(|(_, value)| number(&value.data, 0)));
            }
        }
        Ok(None)
    }
}

/// A walk through a hive.
struct Walk<'w> {
    /// Bytes it may see yet: each key and value has cells of its own.
    left: usize,
    /// Keys and values whose names no program can say.
    unnamed: Vec<String>,
    /// Takes the names of a key and of those above it, and its values.
    see: &'w mut dyn FnMut(&[String], Values),
}

/// Takes so many bytes of those that may be seen: a hive that is whole holds nothing twice.
fn spend(left: &mut usize, bytes: usize, at: usize) -> Result<(), ReadHiveError> {
    *left =
        left.checked_sub(bytes).ok_or(damaged(at, "it leads to the same place again and again"))?;
    Ok(())
}

fn joined(path: &[String], name: &str) -> String {
    path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("\\")
}

/// The values of a key, by their names.
type Values = Vec<(String, RegistryValue)>;

impl Registry {
    /// Adds what a hive holds at `top`: `HKLM\SOFTWARE` for that of the name. Of sets of services (`ControlSet001`) the one in
    /// force comes as `CurrentControlSet`, the others not at all. Answers what is left out: keys and values whose names no
    /// program can say.
    ///
    /// # Errors
    /// The hive is damaged.
    pub fn add_hive(
        &mut self,
        top: &RegistryKey,
        hive: &Hive<'_>,
    ) -> Result<Vec<String>, ReadHiveError> {
        let in_force = hive.set_in_force()?.map(|number| format!("ControlSet{number:03}"));
        let mut unsaid = Vec::new();
        let mut see = |path: &[String], values: Values| {
            let mut names: Vec<&str> = path.iter().map(String::as_str).collect();
            if let (Some(in_force), Some(first)) = (&in_force, names.first_mut())
                && is_set(first)
            {
                if !first.eq_ignore_ascii_case(in_force) {
                    return;
                }
                *first = "CurrentControlSet";
            }
            names.insert(0, top.as_str());
            let full = names.join("\\");
            match RegistryKey::new(&full) {
                Ok(key) => self.add(&key, values),
                Err(_) => unsaid.push(full),
            }
        };
        let mut walk = Walk { left: hive.bins.len(), unnamed: Vec::new(), see: &mut see };
        hive.walk(&mut walk)?;
        let unnamed = walk.unnamed.into_iter();
        let mut all: Vec<String> = unnamed.map(|below| format!(r"{top}\{below}")).collect();
        all.append(&mut unsaid);
        Ok(all)
    }
}

/// Whether a key at the top is a set of services.
fn is_set(name: &str) -> bool {
    name.len() == 13
        && name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case("ControlSet"))
        && name.as_bytes()[10..].iter().all(u8::is_ascii_digit)
}

/// A file that is a hive, and no log of one.
const PRIMARY: u32 = 0;

/// What a base block says, if it is whole.
#[derive(Clone, Copy, Debug)]
struct Base {
    /// Counted up before something is written, and after.
    first: u32,
    second: u32,
    minor: u32,
    kind: u32,
    root: usize,
    length: usize,
}

impl Base {
    fn of(file: &[u8]) -> Option<Self> {
        let block = file.get(..512)?;
        let sum = block[..508].chunks_exact(4).fold(0, |sum, word| sum ^ number(word, 0));
        // Neither none nor all.
        let sum = match sum {
            0 => 1,
            u32::MAX => u32::MAX - 1,
            sum => sum,
        };
        let is_whole =
            block.starts_with(b"regf") && sum == number(block, 508) && number(block, 20) == 1;
        is_whole.then(|| Self {
            first: number(block, 4),
            second: number(block, 8),
            minor: number(block, 24),
            kind: number(block, 28),
            root: number(block, 36) as usize,
            length: number(block, 40) as usize,
        })
    }
}

/// A key's cell.
struct Key<'h> {
    cell: &'h [u8],
    at: usize,
    flags: u16,
}

impl<'h> Key<'h> {
    fn of(hive: &'h Hive<'_>, at: usize) -> Result<Self, ReadHiveError> {
        let cell = hive.cell(at)?;
        if !cell.starts_with(b"nk") || cell.len() < SMALLEST {
            return Err(damaged(at, "a key that is none"));
        }
        Ok(Self { cell, at, flags: half(cell, 2) })
    }

    fn name(&self) -> Name {
        let bytes = self.cell.get(76..76 + usize::from(half(self.cell, 72))).unwrap_or_default();
        let name = named(bytes, self.flags & NARROW_KEY != 0)?;
        if name.is_empty() || name.contains(['\\', '\0']) {
            Err(name.replace('\0', "\\0"))
        } else {
            Ok(name)
        }
    }

    fn values(
        &self,
        hive: &Hive<'_>,
        left: &mut usize,
    ) -> Result<Vec<(Name, RegistryValue)>, ReadHiveError> {
        let count = number(self.cell, 36) as usize;
        if count == 0 {
            return Ok(Vec::new());
        }
        let places = hive.places(number(self.cell, 40) as usize, count, 0, 4)?;
        places.into_iter().map(|at| value(hive, at, left)).collect()
    }

    /// The keys below it that are on disk.
    fn below(&self, hive: &Hive<'_>) -> Result<Vec<usize>, ReadHiveError> {
        let count = number(self.cell, 20) as usize;
        let mut all = Vec::new();
        if count == 0 {
            return Ok(all);
        }
        let other = damaged(self.at, "fewer or more keys below than it says");
        let at = number(self.cell, 28) as usize;
        let list = hive.cell(at)?;
        if list.starts_with(b"ri") {
            for one in hive.places(at, usize::from(half(list, 2)), 4, 4)? {
                listed(hive, one, &mut all)?;
                if all.len() > count {
                    return Err(other);
                }
            }
        } else {
            listed(hive, at, &mut all)?;
        }
        if all.len() == count {
            Ok(all)
        } else {
            Err(damaged(self.at, "fewer or more keys below than it says"))
        }
    }
}

/// The places of keys one list holds.
fn listed(hive: &Hive<'_>, at: usize, all: &mut Vec<usize>) -> Result<(), ReadHiveError> {
    let list = hive.cell(at)?;
    let each = match list.get(..2) {
        Some(b"li") => 4,
        Some(b"lf" | b"lh") => 8,
        _ => return Err(damaged(at, "a list of keys that is none")),
    };
    all.extend(hive.places(at, usize::from(half(list, 2)), 4, each)?);
    Ok(())
}

fn value(
    hive: &Hive<'_>,
    at: usize,
    left: &mut usize,
) -> Result<(Name, RegistryValue), ReadHiveError> {
    let cell = hive.cell(at)?;
    if !cell.starts_with(b"vk") || cell.len() < 20 {
        return Err(damaged(at, "a value that is none"));
    }
    let name = cell.get(20..20 + usize::from(half(cell, 2)));
    let name = name.ok_or(damaged(at, "a name longer than its value"))?;
    let name = named(name, half(cell, 16) & NARROW_VALUE != 0);
    let (size, kind) = (number(cell, 4), number(cell, 12));
    let is_within = size >> 31 == 1;
    spend(left, cell.len() + if is_within { 0 } else { size as usize }, at)?;
    let data = if is_within {
        // Up to four bytes stand where otherwise their place would.
        cell[8..12].get(..(size & 0x7FFF_FFFF) as usize).map(<[u8]>::to_vec)
    } else {
        data(hive, number(cell, 8) as usize, size as usize)?
    };
    let data = data.ok_or(damaged(at, "data shorter than it says"))?;
    Ok((name, RegistryValue { kind, data }))
}

/// Data of more than four bytes, `None` if it is shorter.
fn data(hive: &Hive<'_>, at: usize, size: usize) -> Result<Option<Vec<u8>>, ReadHiveError> {
    if size == 0 {
        return Ok(Some(Vec::new()));
    }
    let cell = hive.cell(at)?;
    if size <= SEGMENT || hive.minor <= 3 {
        return Ok(cell.get(..size).map(<[u8]>::to_vec));
    }
    if !cell.starts_with(b"db") || cell.len() < 8 {
        return Err(damaged(at, "data in segments that has none"));
    }
    let count = usize::from(half(cell, 2));
    let mut whole = Vec::new();
    for segment in hive.places(number(cell, 4) as usize, count, 0, 4)? {
        let part = hive.cell(segment)?;
        whole.extend_from_slice(part.get(..SEGMENT.min(size - whole.len())).unwrap_or_default());
    }
    Ok((whole.len() == size).then_some(whole))
}

/// A name; what can be shown of it where no program can say it.
type Name = Result<String, String>;

/// A name of letters of one byte each, or of two.
fn named(bytes: &[u8], is_narrow: bool) -> Name {
    if is_narrow {
        return Ok(bytes.iter().copied().map(char::from).collect());
    }
    let words: Vec<u16> = bytes.chunks_exact(2).map(|pair| half(pair, 0)).collect();
    String::from_utf16(&words).map_err(|_| String::from_utf16_lossy(&words))
}

fn damaged(at: usize, what: &'static str) -> ReadHiveError {
    ReadHiveError::Damaged { at, what }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |pair| u16::from_le_bytes([pair[0], pair[1]]))
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4);
    four.map_or(0, |four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}
