use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom},
};

use super::{
    header::{MAGIC, Value},
    tags,
};

const LEAD: u64 = 96;
/// No header is longer, as rpm itself has it.
const MOST: u32 = 256 << 20;

/// A file that is no .rpm, or a damaged one.
#[derive(Debug, thiserror::Error)]
pub enum RpmError {
    /// It is something else, or does not hold together.
    #[error("it is no whole .rpm: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// It cannot be read, or the result not be written.
    #[error("the .rpm cannot be read or written")]
    Io(#[from] io::Error),
}

/// What an .rpm says of itself, as far as a repository says it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rpm {
    /// Its name.
    pub name: String,
    /// The epoch, 0 when unsaid.
    pub epoch: u32,
    /// The version.
    pub version: String,
    /// The release.
    pub release: String,
    /// The architecture.
    pub architecture: String,
    /// One line.
    pub summary: String,
    /// More lines.
    pub description: String,
    /// Who answers for it.
    pub packager: String,
    /// Where to read on.
    pub url: String,
    /// The licence.
    pub license: String,
    /// The group.
    pub group: String,
    /// Where it was made.
    pub build_host: String,
    /// What it was made of.
    pub source: String,
    /// When it was made, in seconds since 1970.
    pub build_time: u32,
    /// Bytes of its files.
    pub installed: u64,
    /// Bytes of the unpacked payload.
    pub archive: u64,
    /// Where the header starts and ends in the file.
    pub header: (u64, u64),
    /// What it provides.
    pub provides: Vec<Dependency>,
    /// What it requires.
    pub requires: Vec<Dependency>,
    /// Its paths, and whether each is a folder.
    pub files: Vec<(String, bool)>,
    /// When, who, what.
    pub changes: Vec<(u32, String, String)>,
}

/// A capability, and which version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// How the version compares, and what needs it: rpm's `rpmsenseFlags`.
    pub flags: u32,
    /// The version, if any.
    pub version: String,
}

/// A header as it stands in a file.
pub(super) struct Parsed {
    pub values: BTreeMap<u32, Value>,
    /// From its magic number to the end of its values.
    pub start: u64,
    pub end: u64,
}

/// Reads what an .rpm says of itself.
///
/// # Errors
/// A file that is none, or cannot be read.
pub fn read_rpm(file: &mut (impl Read + Seek)) -> Result<Rpm, RpmError> {
    let (signature, header) = headers(file)?;
    let text = |tag| match header.values.get(&tag) {
        Some(Value::Text(text) | Value::Translated(text)) => {
            String::from_utf8_lossy(text).into_owned()
        }
        _ => String::new(),
    };
    let number = |parsed: &Parsed, tags: [u32; 2]| {
        tags.iter().find_map(|tag| match parsed.values.get(tag)? {
            Value::Numbers(all) => all.first().map(|one| u64::from(*one)),
            Value::Numbers64(all) => all.first().copied(),
            _ => None,
        })
    };
    let small = |tag| u32::try_from(number(&header, [tag, tag]).unwrap_or(0)).unwrap_or(0);
    let dependencies = |names, flags, versions| {
        let (names, versions) = (header.texts(names), header.texts(versions));
        let flags = header.numbers(flags);
        names
            .into_iter()
            .enumerate()
            .map(|(at, name)| Dependency {
                name,
                flags: flags.get(at).copied().unwrap_or(0),
                version: versions.get(at).cloned().unwrap_or_default(),
            })
            .collect()
    };
    let rpm = Rpm {
        name: text(tags::NAME),
        epoch: small(tags::EPOCH),
        version: text(tags::VERSION),
        release: text(tags::RELEASE),
        architecture: text(tags::ARCH),
        summary: text(tags::SUMMARY),
        description: text(tags::DESCRIPTION),
        packager: text(tags::PACKAGER),
        url: text(tags::URL),
        license: text(tags::LICENSE),
        group: text(tags::GROUP),
        build_host: text(tags::BUILD_HOST),
        source: text(tags::SOURCE_RPM),
        build_time: small(tags::BUILD_TIME),
        installed: number(&header, [tags::SIZE, tags::LONG_SIZE]).unwrap_or(0),
        archive: number(&signature, [tags::SIGNATURE_PAYLOAD_SIZE, tags::LONG_ARCHIVE_SIZE])
            .or_else(|| number(&header, [tags::ARCHIVE_SIZE, tags::ARCHIVE_SIZE]))
            .unwrap_or(0),
        header: (header.start, header.end),
        provides: dependencies(tags::PROVIDE_NAMES, tags::PROVIDE_FLAGS, tags::PROVIDE_VERSIONS),
        requires: dependencies(tags::REQUIRE_NAMES, tags::REQUIRE_FLAGS, tags::REQUIRE_VERSIONS),
        files: header.files(),
        changes: header.changes(),
    };
    let named = [&rpm.name, &rpm.version, &rpm.release, &rpm.architecture];
    if named.iter().any(|text| text.is_empty() || text.contains(['/', '\0'])) {
        return Err(malformed("it does not say its name, version, release and architecture"));
    }
    Ok(rpm)
}

/// The signature header and the header.
pub(super) fn headers(file: &mut (impl Read + Seek)) -> Result<(Parsed, Parsed), RpmError> {
    file.seek(SeekFrom::Start(0))?;
    let mut lead = [0; 4];
    file.read_exact(&mut lead)?;
    if lead != [0xed, 0xab, 0xee, 0xdb] {
        return Err(malformed("it does not start as one"));
    }
    let signature = parse(file, LEAD)?;
    let header = parse(file, signature.end.next_multiple_of(8))?;
    Ok((signature, header))
}

fn parse(file: &mut (impl Read + Seek), start: u64) -> Result<Parsed, RpmError> {
    file.seek(SeekFrom::Start(start))?;
    let mut front = [0; 16];
    file.read_exact(&mut front)?;
    if front[..8] != MAGIC {
        return Err(malformed("a header does not start as one"));
    }
    let number = |at: usize| u32_at(&front, at).unwrap_or(0);
    let (entries, length) = (number(8), number(12));
    if entries > MOST / 16 || length > MOST {
        return Err(malformed("a header is too long"));
    }
    // As bytes come, not as they are promised.
    let total = u64::from(entries) * 16 + u64::from(length);
    let mut bytes = Vec::new();
    file.take(total).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != total {
        return Err(malformed("it is cut off"));
    }
    let (index, store) = bytes.split_at(entries as usize * 16);
    let mut values = BTreeMap::new();
    for entry in index.chunks_exact(16) {
        let field = |at| u32_at(entry, at).unwrap_or(0);
        let value = value(store, field(4), field(8) as usize, field(12) as usize)
            .ok_or_else(|| malformed("a value lies outside its header"))?;
        values.insert(field(0), value);
    }
    Ok(Parsed { values, start, end: start + 16 + total })
}

/// The value of an index entry; of kinds nobody uses, no bytes.
fn value(store: &[u8], kind: u32, offset: usize, count: usize) -> Option<Value> {
    let rest = store.get(offset..)?;
    let numbers = |width: usize| rest.get(..count.checked_mul(width)?);
    let mut texts = rest.split(|byte| *byte == 0);
    let end = |text: &[u8]| text.len() < rest.len();
    Some(match kind {
        3 => Value::Numbers16(
            numbers(2)?.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect(),
        ),
        4 => Value::Numbers(numbers(4)?.chunks_exact(4).filter_map(|b| u32_at(b, 0)).collect()),
        5 => Value::Numbers64(
            numbers(8)?
                .chunks_exact(8)
                .filter_map(|b| Some(u64::from(u32_at(b, 0)?) << 32 | u64::from(u32_at(b, 4)?)))
                .collect(),
        ),
        6 => Value::Text(texts.next().filter(|text| end(text))?.to_vec()),
        7 => Value::Bytes(rest.get(..count)?.to_vec()),
        8 | 9 => {
            if count > rest.len() {
                return None;
            }
            let all: Vec<Vec<u8>> = texts.take(count).map(<[u8]>::to_vec).collect();
            if all.len() < count {
                return None;
            }
            match kind {
                8 => Value::Texts(all),
                _ => Value::Translated(all.into_iter().next()?),
            }
        }
        _ => Value::Bytes(Vec::new()),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

impl Parsed {
    fn texts(&self, tag: u32) -> Vec<String> {
        match self.values.get(&tag) {
            Some(Value::Texts(all)) => {
                all.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn numbers(&self, tag: u32) -> Vec<u32> {
        match self.values.get(&tag) {
            Some(Value::Numbers(all)) => all.clone(),
            Some(Value::Numbers16(all)) => all.iter().map(|one| u32::from(*one)).collect(),
            _ => Vec::new(),
        }
    }

    fn files(&self) -> Vec<(String, bool)> {
        let (names, folders) = (self.texts(tags::BASE_NAMES), self.texts(tags::DIR_NAMES));
        let (indexes, modes) = (self.numbers(tags::DIR_INDEXES), self.numbers(tags::FILE_MODES));
        let each = names.iter().zip(indexes).zip(modes);
        each.map(|((name, folder), mode)| {
            let folder = folders.get(folder as usize).map_or("/", String::as_str);
            (format!("{folder}{name}"), mode & 0o170_000 == 0o040_000)
        })
        .collect()
    }

    fn changes(&self) -> Vec<(u32, String, String)> {
        let times = self.numbers(tags::CHANGELOG_TIMES);
        let (names, texts) = (self.texts(tags::CHANGELOG_NAMES), self.texts(tags::CHANGELOG_TEXTS));
        times
            .into_iter()
            .zip(names)
            .zip(texts)
            .map(|((when, who), what)| (when, who, what))
            .collect()
    }
}

pub(super) fn malformed(reason: &str) -> RpmError {
    RpmError::Malformed { reason: reason.to_owned() }
}
