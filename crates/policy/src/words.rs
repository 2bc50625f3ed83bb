use std::{fmt, ops::Add};

use model::Hash;
use serde::{Deserialize, Serialize};

/// A site's short name, unique in the tree: 1 to 32 upper-case letters, digits and hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SiteCode(Box<str>);

/// Names no file system of Windows takes.
const RESERVED: [&str; 4] = ["CON", "AUX", "NUL", "PRN"];

/// Text that is no site code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{code}` is no site code: use 1 to 32 upper-case letters, digits and hyphens, start with a letter, and none of `CON`, `AUX`, `NUL`, `PRN`, `COM1`, `LPT1`"
)]
pub struct InvalidCode {
    code: String,
}

impl SiteCode {
    /// Reads a code.
    pub fn new(code: &str) -> Result<Self, InvalidCode> {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        let device = RESERVED.contains(&code)
            || ["COM", "LPT"].iter().any(|port| {
                code.strip_prefix(port).is_some_and(|digit| {
                    digit.len() == 1 && digit.bytes().all(|byte| byte.is_ascii_digit())
                })
            });
        let starts = code.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase());
        if starts && code.len() <= 32 && code.bytes().all(allowed) && !device {
            Ok(Self(code.into()))
        } else {
            Err(InvalidCode { code: code.to_owned() })
        }
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SiteCode {
    type Error = InvalidCode;

    fn try_from(code: String) -> Result<Self, InvalidCode> {
        Self::new(&code)
    }
}

impl From<SiteCode> for String {
    fn from(code: SiteCode) -> Self {
        code.0.into()
    }
}

impl fmt::Display for SiteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SiteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A distribution point, named by its site and its own name there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PointName {
    /// The site that looks after it.
    pub site: SiteCode,
    /// Its name at that site.
    pub name: Box<str>,
}

impl fmt::Display for PointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.site, self.name)
    }
}

impl fmt::Debug for PointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A named set of distribution points.
pub type GroupName = Box<str>;

/// A moment on a site's own steady clock, in milliseconds. It never goes back and survives restarts; it
/// is never sent to anybody.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Moment(pub u64);

impl Add<u64> for Moment {
    type Output = Self;

    fn add(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }
}

/// What an event finds: the site's steady clock, and a throw of the dice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// When, on the site's own steady clock.
    pub at: Moment,
    /// Evenly distributed over all 64 bits, new for every event.
    pub dice: u64,
}

/// The number of a version of a package's content. Only the site that publishes the package gives it; a
/// restore raises the epoch, so no number is ever given twice.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionNumber {
    /// How often the publishing site had been restored.
    pub epoch: u32,
    /// Counts from 1.
    pub count: u32,
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.epoch {
            0 => write!(f, "v{}", self.count),
            epoch => write!(f, "v{epoch}:{}", self.count),
        }
    }
}

impl fmt::Debug for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Features of content and of places, one bit each: long names, streams, case, links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Features(pub u64);

impl Features {
    /// What is in `self` and not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// One version of a package's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentVersion {
    /// Newer content has a higher number.
    pub number: VersionNumber,
    /// The hash of its manifest: equal hashes, equal content.
    pub manifest: Hash,
    /// Bytes a place needs to take it in, staging included.
    pub bytes: u64,
    /// What a place must be able to hold. A place that cannot is not tried.
    pub critical: Features,
    /// What a place may leave out; it is kept in the site's own copy.
    pub optional: Features,
}

/// A point in what a site has said: the epoch, then the sequence number in it. Order is by this, never by time.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// How often the site had been restored.
    pub epoch: u32,
    /// Rises by one with each change.
    pub sequence: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A package, by its place in one site's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackageId(pub u32);

/// A place, by its number in one site's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlaceId(pub u32);

impl PlaceId {
    /// The site's own store, where its master copies are.
    pub const OWN: Self = Self(0);
}
