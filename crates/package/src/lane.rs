//! Which content stands beside which (docs/formats/package.md §5.3).
//!
//! Files of one kind pack far better beside each other than mixed as a tree mixes them. So the content stream is
//! really several, a lane per kind, each with a window of its own; a file's data is in one of them.

/// §5.3: no package has more lanes.
pub(crate) const MAX_LANES: usize = 8;
/// §5.3: the windows of all lanes together, in bytes: what bounds a reader's memory.
pub(crate) const MAX_WINDOWS: u64 = 48 << 20;
/// §5.3: no lane's window is larger, as a power of two.
pub(crate) const MAX_WINDOW_LOG: u32 = 24;

/// The kinds of content this writer keeps apart. A reader needs no such knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Data,
    Code,
    Packed,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Text, Self::Data, Self::Code, Self::Packed];

    /// What a file is, by its name and how its content starts.
    pub(crate) fn of(path: &[u8], start: &[u8]) -> Self {
        const PACKED: [&[u8]; 24] = [
            b"7z", b"br", b"bz2", b"deb", b"gif", b"gz", b"jar", b"jpeg", b"jpg", b"lz4", b"mp3",
            b"mp4", b"ogg", b"png", b"rpm", b"tgz", b"webm", b"webp", b"whl", b"woff", b"woff2",
            b"xz", b"zip", b"zst",
        ];
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let extension = name.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
        if PACKED.iter().any(|packed| extension.eq_ignore_ascii_case(packed)) {
            Self::Packed
        } else if [&b"\x7fELF"[..], b"MZ", b"!<arch>\n"].iter().any(|code| start.starts_with(code))
        {
            Self::Code
        } else if start[..start.len().min(4096)].contains(&0) {
            Self::Data
        } else {
            Self::Text
        }
    }

    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn window_log(self) -> u32 {
        match self {
            Self::Text => 24,
            Self::Data | Self::Code => 23,
            Self::Packed => 20,
        }
    }

    /// Whether calls are made absolute before packing.
    pub(crate) fn is_filtered(self) -> bool {
        self == Self::Code
    }

    /// Packing what is packed already gains nothing.
    pub(crate) fn level(self, level: i32) -> i32 {
        if self == Self::Packed { level.min(3) } else { level }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, MAX_LANES, MAX_WINDOW_LOG, MAX_WINDOWS};

    #[test]
    fn the_lanes_keep_to_the_format() {
        let windows: u64 = Kind::ALL.iter().map(|kind| 1 << kind.window_log()).sum();
        assert!(windows <= MAX_WINDOWS && Kind::ALL.len() <= MAX_LANES);
        assert!(Kind::ALL.iter().all(|kind| kind.window_log() <= MAX_WINDOW_LOG));
    }

    #[test]
    fn kinds_go_by_name_and_start() {
        assert_eq!(Kind::of(b"a/b.PNG", b"text"), Kind::Packed);
        assert_eq!(Kind::of(b"bin/redis", b"\x7fELF\x02"), Kind::Code);
        assert_eq!(Kind::of(b"a.pyc", b"\xa7\r\r\n\0\0"), Kind::Data);
        assert_eq!(Kind::of(b"README", b"read me"), Kind::Text);
    }
}
