use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{escape, unescape};

/// A path on a machine, never on the one we happen to run on: absolute, its parts divided by `/`,
/// without `.`, `..`, empty parts or a trailing slash. The root is `/`.
///
/// A place on a Windows machine is written as people write it there, `C:\Program Files\X`: its drive is the
/// first part, and the others follow, divided by `\` or `/`.
///
/// A path is bytes, since Linux names are; [`fmt::Display`] escapes what is not text (see [`escape`]).
/// Paths order by their parts, so that a folder comes right before what it holds.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MachinePath(Box<[u8]>);

/// Bytes that are no path on a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not start at the root.
    #[error("`{path}` is not absolute: it must start with `/`")]
    Relative {
        /// The text, escaped.
        path: String,
    },
    /// It climbs with `..`, which would leave the folder it names.
    #[error("`{path}` climbs with `..`")]
    Climbs {
        /// The text, escaped.
        path: String,
    },
    /// It has a zero byte, which no file system takes.
    #[error("`{path}` holds a zero byte")]
    Zero {
        /// The text, escaped.
        path: String,
    },
}

impl MachinePath {
    /// The path `/`.
    pub fn root() -> Self {
        Self(Box::from(&b"/"[..]))
    }

    /// What was put together from parts none of which is `.`, `..` or empty, nor holds a slash or a zero.
    pub(crate) fn of_parts(bytes: Vec<u8>) -> Self {
        debug_assert_eq!(Self::new(&bytes).ok().map(|path| path.0), Some(bytes.clone().into()));
        Self(bytes.into())
    }

    /// Reads a path; `.` parts, doubled and trailing slashes are folded away.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, InvalidPath> {
        let bytes = bytes.as_ref();
        if let Some(rest) = after_drive(bytes) {
            let mut unix = vec![b'/', bytes[0].to_ascii_uppercase(), b':'];
            unix.extend(rest.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }));
            return Self::new(unix);
        }
        let path = || escape(bytes);
        if bytes.first() != Some(&b'/') {
            return Err(InvalidPath::Relative { path: path() });
        }
        if bytes.contains(&0) {
            return Err(InvalidPath::Zero { path: path() });
        }
        let mut folded = Vec::with_capacity(bytes.len());
        for part in bytes.split(|&byte| byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(InvalidPath::Climbs { path: path() }),
                part => {
                    folded.push(b'/');
                    folded.extend_from_slice(part);
                }
            }
        }
        if folded.is_empty() {
            folded.push(b'/');
        }
        Ok(Self(folded.into()))
    }

    /// The bytes, starting with `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        &*self.0 == b"/"
    }

    /// The bytes after the first slash: the path as seen from the root folder; empty for the root.
    pub fn relative(&self) -> &[u8] {
        &self.0[1..]
    }

    /// The folder that holds this, or `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Some(if slash == 0 { Self::root() } else { Self(Box::from(&self.0[..slash])) })
    }

    /// The last part, or `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        if self.is_root() { None } else { self.0.rsplit(|&byte| byte == b'/').next() }
    }

    /// The parts from the root downwards.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.0.split(|&byte| byte == b'/').filter(|part| !part.is_empty())
    }

    /// This path with one more part. A part with a slash in it is several parts.
    ///
    /// # Errors
    /// A part that climbs, or holds a zero byte.
    pub fn join(&self, part: impl AsRef<[u8]>) -> Result<Self, InvalidPath> {
        let mut bytes = self.0.to_vec();
        bytes.push(b'/');
        bytes.extend_from_slice(part.as_ref());
        Self::new(bytes)
    }

    /// Whether this is `folder` or lies below it, by whole parts: `/tmpfoo` is not below `/tmp`.
    pub fn is_within(&self, folder: &Self) -> bool {
        folder.is_root()
            || self
                .0
                .strip_prefix(&*folder.0)
                .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// What is left of this path below `folder`, without a leading slash; `None` when it is not within.
    pub fn below(&self, folder: &Self) -> Option<&[u8]> {
        if folder.is_root() {
            return Some(self.relative());
        }
        let rest = self.0.strip_prefix(&*folder.0)?;
        match rest.first() {
            None => Some(rest),
            Some(b'/') => Some(&rest[1..]),
            Some(_) => None,
        }
    }

    /// The path as Windows writes it, when its first part is a drive: `C:\Program Files\X`.
    pub fn on_drive(&self) -> Option<Vec<u8>> {
        let [b'/', letter, b':', rest @ ..] = &*self.0 else { return None };
        let ends = rest.is_empty() || rest[0] == b'/';
        if !letter.is_ascii_uppercase() || !ends || rest.contains(&b'\\') {
            return None;
        }
        let mut bytes = vec![*letter, b':'];
        bytes.extend(rest.iter().map(|&byte| if byte == b'/' { b'\\' } else { byte }));
        if rest.is_empty() {
            bytes.push(b'\\');
        }
        Some(bytes)
    }

    /// Every folder above this, from the nearest to the root.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent)
    }
}

impl PartialOrd for MachinePath {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for MachinePath {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Part by part: a slash sorts before every other byte.
        let key = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
        match (self.is_root(), other.is_root()) {
            (true, true) => std::cmp::Ordering::Equal,
            (true, false) => std::cmp::Ordering::Less,
            (false, true) => std::cmp::Ordering::Greater,
            (false, false) => self.0.iter().map(key).cmp(other.0.iter().map(key)),
        }
    }
}

impl fmt::Display for MachinePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only what reads back the same is written so.
        match self.on_drive().and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(text) if !text.chars().any(char::is_control) => f.write_str(&text),
            _ => f.write_str(&escape(&self.0)),
        }
    }
}

/// What follows `C:` in a path of Windows, if this is one.
fn after_drive(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [letter, b':', rest @ ..] if letter.is_ascii_alphabetic() => {
            (rest.is_empty() || matches!(rest[0], b'\\' | b'/')).then_some(rest)
        }
        _ => None,
    }
}

impl fmt::Debug for MachinePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl std::str::FromStr for MachinePath {
    type Err = InvalidPath;

    /// Reads what [`fmt::Display`] wrote.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match unescape(text) {
            _ if after_drive(text.as_bytes()).is_some() => Self::new(text),
            Ok(bytes) => Self::new(bytes),
            Err(_) => Self::new(text),
        }
    }
}

impl<C> Encode<C> for MachinePath {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for MachinePath {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.bytes()?).map_err(minicbor::decode::Error::custom)
    }
}

impl Serialize for MachinePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MachinePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::MachinePath;

    fn path(text: &str) -> MachinePath {
        text.parse().unwrap()
    }

    #[test]
    fn paths_fold_and_refuse() {
        assert_eq!(path("//opt/./redis/").to_string(), "/opt/redis");
        assert_eq!(path("/").to_string(), "/");
        insta::assert_snapshot!("opt".parse::<MachinePath>().unwrap_err(), @"`opt` is not absolute: it must start with `/`");
        insta::assert_snapshot!("/opt/../etc".parse::<MachinePath>().unwrap_err(), @"`/opt/../etc` climbs with `..`");
    }

    #[test]
    fn within_goes_by_whole_parts() {
        assert!(path("/tmp/a").is_within(&path("/tmp")));
        assert!(path("/tmp").is_within(&path("/tmp")));
        assert!(!path("/tmpfoo").is_within(&path("/tmp")));
        assert!(path("/tmp").is_within(&path("/")));
        assert_eq!(path("/tmp/a/b").below(&path("/tmp")), Some(&b"a/b"[..]));
        assert_eq!(path("/tmpfoo").below(&path("/tmp")), None);
    }

    #[test]
    fn a_folder_sorts_right_before_what_it_holds() {
        let mut paths = ["/a!", "/a/b", "/", "/a", "/a/b/c", "/b"].map(path);
        paths.sort();
        assert_eq!(paths.map(|path| path.to_string()), ["/", "/a", "/a/b", "/a/b/c", "/a!", "/b"]);
    }

    #[test]
    fn places_on_windows_are_written_as_there() {
        let place = path(r"c:\Program Files/X\\y.dll");
        assert_eq!(place.as_bytes(), b"/C:/Program Files/X/y.dll");
        assert_eq!(place.to_string(), r"C:\Program Files\X\y.dll");
        assert_eq!(place.to_string().parse::<MachinePath>().unwrap(), place);
        assert_eq!(path(r"C:\").to_string(), r"C:\");
        assert!(MachinePath::new(r"C:x").is_err(), "relative to a folder nobody knows");
        let odd = MachinePath::new(b"/C:/a\\b").unwrap();
        assert_eq!(odd.to_string().parse::<MachinePath>().unwrap(), odd);
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(path("/")));
        assert_eq!(path("/").parent(), None);
        assert_eq!(path("/a/b").name(), Some(&b"b"[..]));
        assert_eq!(path("/a").join("b//c").unwrap(), path("/a/b/c"));
    }
}
