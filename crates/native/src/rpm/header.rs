use std::collections::BTreeMap;

/// A header's magic number, version and reserved bytes.
pub(super) const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];

/// A tag's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Numbers16(Vec<u16>),
    Numbers(Vec<u32>),
    Numbers64(Vec<u64>),
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    Texts(Vec<Vec<u8>>),
    /// A text by language, of which there is one.
    Translated(Vec<u8>),
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    pub(super) fn texts<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Texts(texts.into_iter().map(|text| text.as_ref().to_vec()).collect())
    }

    fn kind(&self) -> u32 {
        match self {
            Self::Numbers16(_) => 3,
            Self::Numbers(_) => 4,
            Self::Numbers64(_) => 5,
            Self::Text(_) => 6,
            Self::Bytes(_) => 7,
            Self::Texts(_) => 8,
            Self::Translated(_) => 9,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Numbers16(all) => all.len(),
            Self::Numbers(all) => all.len(),
            Self::Numbers64(all) => all.len(),
            Self::Texts(all) => all.len(),
            Self::Bytes(all) => all.len(),
            Self::Text(_) | Self::Translated(_) => 1,
        }
    }

    fn alignment(&self) -> usize {
        match self {
            Self::Numbers16(_) => 2,
            Self::Numbers(_) => 4,
            Self::Numbers64(_) => 8,
            _ => 1,
        }
    }

    fn write(&self, store: &mut Vec<u8>) {
        match self {
            Self::Numbers16(all) => all.iter().for_each(|one| store.extend(one.to_be_bytes())),
            Self::Numbers(all) => all.iter().for_each(|one| store.extend(one.to_be_bytes())),
            Self::Numbers64(all) => all.iter().for_each(|one| store.extend(one.to_be_bytes())),
            Self::Bytes(bytes) => store.extend(bytes),
            Self::Text(text) | Self::Translated(text) => {
                store.extend(text);
                store.push(0);
            }
            Self::Texts(all) => {
                for text in all {
                    store.extend(text);
                    store.push(0);
                }
            }
        }
    }
}

/// A header: values by tag, sealed by `region`.
pub(super) struct Header {
    region: u32,
    values: BTreeMap<u32, Value>,
}

impl Header {
    pub(super) fn new(region: u32) -> Self {
        Self { region, values: BTreeMap::new() }
    }

    /// Sets a value; an empty list is no value.
    pub(super) fn set(&mut self, tag: u32, value: Value) {
        if value.count() > 0 {
            self.values.insert(tag, value);
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut index = Vec::new();
        let mut store = Vec::new();
        let entry = |index: &mut Vec<u8>, tag: u32, kind: u32, offset: usize, count: usize| {
            for number in [tag, kind, to_u32(offset), to_u32(count)] {
                index.extend(number.to_be_bytes());
            }
        };
        for (tag, value) in &self.values {
            store.resize(store.len().next_multiple_of(value.alignment()), 0);
            entry(&mut index, *tag, value.kind(), store.len(), value.count());
            value.write(&mut store);
        }
        let entries = self.values.len() + 1;
        let mut head = Vec::new();
        entry(&mut head, self.region, 7, store.len(), 16);
        // The region ends in an entry of its own that says how long it is, counted backwards.
        store.extend(self.region.to_be_bytes());
        store.extend(7_u32.to_be_bytes());
        store.extend((-i32::try_from(entries * 16).unwrap_or(i32::MAX)).to_be_bytes());
        store.extend(16_u32.to_be_bytes());
        let mut bytes = MAGIC.to_vec();
        bytes.extend(to_u32(entries).to_be_bytes());
        bytes.extend(to_u32(store.len()).to_be_bytes());
        bytes.extend(head);
        bytes.extend(index);
        bytes.extend(store);
        bytes
    }
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
