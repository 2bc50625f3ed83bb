/// Yes, no, or unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Three {
    Yes,
    No,
    Unknown,
}

impl Three {
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::No, Self::No) => Self::No,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        self.not().or(other.not()).not()
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// What is known of one client, four bits for each collection.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// The rule's answer in the low two bits, the membership in the next two; two collections to a byte.
    bits: Vec<u8>,
}

const RULE: u8 = 0;
const MEMBER: u8 = 2;

impl Row {
    pub(super) fn grow(&mut self, collections: usize) {
        let bytes = collections.div_ceil(2);
        if self.bits.len() < bytes {
            self.bits.reserve_exact(bytes - self.bits.len());
            self.bits.resize(bytes, 0);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Bits of so many collections, if these are.
    pub(super) fn read(bits: &[u8], collections: usize) -> Option<Self> {
        let is_known = |byte: &u8| (0..4).all(|at| (byte >> (2 * at)) & 3 != 3);
        let fits = bits.len() == collections.div_ceil(2) && bits.iter().all(is_known);
        fits.then(|| Self { bits: bits.into() })
    }

    pub(super) fn rule(&self, at: usize) -> Three {
        self.get(at, RULE)
    }

    pub(super) fn member(&self, at: usize) -> Three {
        self.get(at, MEMBER)
    }

    pub(super) fn set_rule(&mut self, at: usize, three: Three) {
        self.set(at, RULE, three);
    }

    pub(super) fn set_member(&mut self, at: usize, three: Three) {
        self.set(at, MEMBER, three);
    }

    pub(super) fn clear(&mut self, at: usize) {
        if at / 2 < self.bits.len() {
            self.set(at, RULE, Three::No);
            self.set(at, MEMBER, Three::No);
        }
    }

    fn get(&self, at: usize, what: u8) -> Three {
        let byte = self.bits.get(at / 2).copied().unwrap_or(0);
        match (byte >> shift(at, what)) & 3 {
            1 => Three::Yes,
            2 => Three::Unknown,
            _ => Three::No,
        }
    }

    fn set(&mut self, at: usize, what: u8, three: Three) {
        let bits = match three {
            Three::No => 0,
            Three::Yes => 1,
            Three::Unknown => 2,
        };
        let byte = &mut self.bits[at / 2];
        *byte = *byte & !(3 << shift(at, what)) | bits << shift(at, what);
    }
}

fn shift(at: usize, what: u8) -> u8 {
    if at.is_multiple_of(2) { what } else { what + 4 }
}
