//! Shortcuts of Windows: what a `.lnk` file says, and that file, as MS-SHLLINK describes it.

mod read;

pub use read::NoShortcut;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// What a shortcut says. What the machine it was made on put beside it (which volume, which machine, when) is not
/// part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortcut {
    /// What it leads to: `C:\x.exe`, `\\server\share`, or a text with `%VARIABLES%`.
    pub target: String,
    /// What the program is handed.
    pub arguments: String,
    /// The folder it starts in.
    pub folder: String,
    /// The file its icon is in; empty for that of the target.
    pub icon: String,
    /// One sentence about it.
    pub description: String,
    /// Which icon of that file.
    pub icon_index: i32,
    /// How its window opens.
    pub window: Window,
    /// The keys that start it, as the shell counts them; 0 for none.
    pub hotkey: u16,
    /// Whether it leads to a folder.
    pub to_folder: bool,
    /// Whether it asks for an administrator's rights.
    pub as_administrator: bool,
}

/// How the window of a shortcut's program opens, by the shell's numbers less the gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
pub enum Window {
    /// `normal`
    #[default]
    #[n(0)]
    Normal,
    /// `maximized`
    #[n(1)]
    Maximized,
    /// `minimized`
    #[n(2)]
    Minimized,
}

impl Window {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Maximized, Self::Minimized];
    /// `SW_SHOWNORMAL`, `SW_SHOWMAXIMIZED`, `SW_SHOWMINNOACTIVE`.
    const NUMBERS: [u32; 3] = [1, 3, 7];
}

/// The class of shortcuts, as its file begins.
const CLASS: [u8; 16] = [1, 0x14, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46];
/// The desktop's "this computer", where every path with a drive begins.
const COMPUTER: [u8; 16] = [
    0xe0, 0x4f, 0xd0, 0x20, 0xea, 0x3a, 0x69, 0x10, 0xa2, 0xd8, 0x08, 0x00, 0x2b, 0x30, 0x30, 0x9d,
];
/// Length of the header.
const HEADER: u32 = 76;
/// What the file has, MS-SHLLINK 2.1.1.
mod flag {
    pub(super) const IDENTIFIERS: u32 = 1;
    pub(super) const LOCATION: u32 = 1 << 1;
    pub(super) const DESCRIPTION: u32 = 1 << 2;
    pub(super) const RELATIVE: u32 = 1 << 3;
    pub(super) const FOLDER: u32 = 1 << 4;
    pub(super) const ARGUMENTS: u32 = 1 << 5;
    pub(super) const ICON: u32 = 1 << 6;
    pub(super) const WIDE: u32 = 1 << 7;
    pub(super) const EXPANDS: u32 = 1 << 9;
    pub(super) const AS_ADMINISTRATOR: u32 = 1 << 13;
}
/// `FILE_ATTRIBUTE_DIRECTORY`, `FILE_ATTRIBUTE_ARCHIVE`.
const ATTRIBUTES: [u8; 2] = [0x20, 0x10];
/// The block that holds a target with variables, and its length.
const EXPANDED: (u32, u32) = (0xa000_0001, 0x314);
/// Letters such a block holds, the end counted.
const EXPANDED_LETTERS: usize = 260;

impl Shortcut {
    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let on_drive = self.on_drive();
        let mut flags = flag::WIDE;
        let texts = [
            (flag::DESCRIPTION, &self.description),
            (flag::FOLDER, &self.folder),
            (flag::ARGUMENTS, &self.arguments),
            (flag::ICON, &self.icon),
        ];
        for (flag, text) in texts {
            flags |= if text.is_empty() { 0 } else { flag };
        }
        flags |= match on_drive {
            Some(_) => flag::IDENTIFIERS | flag::LOCATION,
            None => flag::EXPANDS,
        };
        if self.as_administrator {
            flags |= flag::AS_ADMINISTRATOR;
        }
        let mut out = Vec::new();
        word(&mut out, HEADER);
        out.extend(CLASS);
        word(&mut out, flags);
        word(&mut out, ATTRIBUTES[usize::from(self.to_folder)].into());
        // Three times and a length: they are the target's, which nobody asked.
        out.extend([0; 28]);
        word(&mut out, self.icon_index.cast_unsigned());
        word(&mut out, Window::NUMBERS[self.window as usize]);
        half(&mut out, usize::from(self.hotkey));
        out.extend([0; 10]);
        if let Some((drive, below)) = on_drive {
            self.identifiers(&mut out, drive, below);
            self.location(&mut out);
        }
        for (_, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            let letters: Vec<u16> = text.encode_utf16().collect();
            half(&mut out, letters.len());
            out.extend(letters.into_iter().flat_map(u16::to_le_bytes));
        }
        if on_drive.is_none() {
            self.expanded(&mut out);
        }
        word(&mut out, 0);
        out
    }

    /// The drive's letter and what lies below, where the target is such a path.
    fn on_drive(&self) -> Option<(char, &str)> {
        let (drive, below) = self.target.split_once(":\\")?;
        let mut letters = drive.chars();
        let letter = letters.next().filter(char::is_ascii_alphabetic)?;
        (letters.next().is_none() && !below.contains('%')).then_some((letter, below))
    }

    /// The way through the shell's folders: this computer, the drive, each name.
    fn identifiers(&self, out: &mut Vec<u8>, drive: char, below: &str) {
        let mut list = Vec::new();
        item(&mut list, &[&[0x1f, 0x50][..], &COMPUTER].concat());
        let mut name = format!("/{drive}:\\").into_bytes();
        name.resize(23, 0);
        item(&mut list, &name);
        let names: Vec<&str> = below.split('\\').filter(|name| !name.is_empty()).collect();
        for (index, name) in names.iter().enumerate() {
            let is_folder = self.to_folder || index + 1 < names.len();
            let mut one = vec![if is_folder { 0x31 } else { 0x32 }, 0];
            // Length and time: the target's own.
            one.extend([0; 8]);
            one.extend([ATTRIBUTES[usize::from(is_folder)], 0]);
            one.extend(
                name.chars().map(|letter| if letter.is_ascii() { letter as u8 } else { b'_' }),
            );
            one.push(0);
            one.resize(one.len().next_multiple_of(2), 0);
            one.extend(long_name(name, one.len()));
            item(&mut list, &one);
        }
        half(&mut list, 0);
        half(out, list.len());
        out.extend(list);
    }

    /// The target as a path on some fixed drive, in plain letters and in all of them.
    fn location(&self, out: &mut Vec<u8>) {
        const START: u32 = 0x24;
        const VOLUME: u32 = 0x11;
        let plain: Vec<u8> = self
            .target
            .chars()
            .map(|letter| if letter.is_ascii() { letter as u8 } else { b'_' })
            .collect();
        let wide: Vec<u8> =
            self.target.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let suffix = START + VOLUME + to_u32(plain.len()) + 1;
        let wide_suffix = suffix + 1 + to_u32(wide.len());
        word(out, wide_suffix + 2);
        for number in [START, 1, START, START + VOLUME, 0, suffix, suffix + 1, wide_suffix] {
            word(out, number);
        }
        for number in [VOLUME, 3, 0, VOLUME - 1] {
            word(out, number);
        }
        out.push(0);
        out.extend(plain);
        out.extend([0, 0]);
        out.extend(wide);
        out.extend([0, 0]);
    }

    /// A target with variables, or on no drive.
    fn expanded(&self, out: &mut Vec<u8>) {
        let (kind, length) = EXPANDED;
        word(out, length);
        word(out, kind);
        let mut plain: Vec<u8> = self.target.bytes().take(EXPANDED_LETTERS - 1).collect();
        plain.resize(EXPANDED_LETTERS, 0);
        out.extend(plain);
        let mut wide: Vec<u16> = self.target.encode_utf16().take(EXPANDED_LETTERS - 1).collect();
        wide.resize(EXPANDED_LETTERS, 0);
        out.extend(wide.into_iter().flat_map(u16::to_le_bytes));
    }
}

/// The extension that holds a name in all its letters; `at` is where it begins in the item's data.
fn long_name(name: &str, at: usize) -> Vec<u8> {
    let wide: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let mut out = Vec::new();
    half(&mut out, 20 + wide.len() + 2);
    half(&mut out, 3);
    word(&mut out, 0xbeef_0004);
    out.extend([0; 8]);
    half(&mut out, 0x14);
    half(&mut out, 0);
    out.extend(wide);
    // Where it begins, the item's length counted.
    half(&mut out, at + 2);
    out
}

fn item(list: &mut Vec<u8>, data: &[u8]) {
    half(list, data.len() + 2);
    list.extend(data);
}

fn word(out: &mut Vec<u8>, number: u32) {
    out.extend(number.to_le_bytes());
}

fn half(out: &mut Vec<u8>, number: usize) {
    out.extend(u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes());
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Divides the fields of a shortcut's text.
const DIVIDER: char = '\0';

impl Shortcut {
    /// The shortcut as one text, which its variables can stand in: what a package carries.
    pub fn to_text(&self) -> String {
        let numbers = [
            self.icon_index.to_string(),
            (self.window as usize).to_string(),
            self.hotkey.to_string(),
            u8::from(self.to_folder).to_string(),
            u8::from(self.as_administrator).to_string(),
        ];
        let texts = [&self.target, &self.arguments, &self.folder, &self.icon, &self.description]
            .into_iter();
        texts.chain(&numbers).map(String::as_str).collect::<Vec<_>>().join("\0")
    }

    /// Reads [`to_text`](Self::to_text) again; what is missing is as it is when unsaid.
    pub fn from_text(text: &str) -> Self {
        let mut fields = text.split(DIVIDER);
        let mut next = || fields.next().unwrap_or_default();
        let [target, arguments, folder, icon, description] =
            std::array::from_fn(|_| next().to_owned());
        let icon_index = next().parse().unwrap_or_default();
        let window = next().parse().ok().and_then(|number: usize| Window::ALL.get(number).copied());
        Self {
            target,
            arguments,
            folder,
            icon,
            description,
            icon_index,
            window: window.unwrap_or_default(),
            hotkey: next().parse().unwrap_or_default(),
            to_folder: next() == "1",
            as_administrator: next() == "1",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Shortcut, Window};

    fn sample(target: &str) -> Shortcut {
        Shortcut {
            target: target.to_owned(),
            arguments: "--x \"ä b\"".to_owned(),
            folder: r"C:\Program Files\Größe".to_owned(),
            icon: r"%SystemRoot%\x.dll".to_owned(),
            description: "One sentence".to_owned(),
            icon_index: -7,
            window: Window::Minimized,
            hotkey: 0x0641,
            to_folder: false,
            as_administrator: true,
        }
    }

    #[test]
    fn files_and_texts_come_back() {
        for target in [
            r"C:\Program Files\Größe\ŁĄ.exe",
            r"\\server\share\x.exe",
            r"%ProgramFiles%\x.exe",
            r"C:\",
        ] {
            let shortcut = sample(target);
            assert_eq!(Shortcut::read(&shortcut.to_bytes()).unwrap(), shortcut);
            assert_eq!(Shortcut::from_text(&shortcut.to_text()), shortcut);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..900) {
            let _ = Shortcut::read(&bytes);
            let mut whole = sample(r"C:\a\b.exe").to_bytes();
            whole.truncate(cut);
            let _ = Shortcut::read(&whole);
            for (at, byte) in bytes.drain(..).enumerate() {
                if let Some(place) = whole.get_mut(20 + at * 3) {
                    *place ^= byte;
                }
            }
            let _ = Shortcut::read(&whole);
        }
    }

    #[test]
    fn what_is_no_shortcut_says_so() {
        insta::assert_snapshot!(Shortcut::read(b"MZ").unwrap_err(), @"it does not begin like a shortcut");
        let mut cut = sample(r"C:\a").to_bytes();
        cut.truncate(100);
        insta::assert_snapshot!(Shortcut::read(&cut).unwrap_err(), @"it ends too early");
    }
}
