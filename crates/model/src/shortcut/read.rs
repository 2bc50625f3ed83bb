use super::{ATTRIBUTES, CLASS, EXPANDED, EXPANDED_LETTERS, HEADER, Shortcut, Window, flag};

/// A file that is no shortcut, or one that says more than we can say again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoShortcut {
    /// Another file.
    #[error("it does not begin like a shortcut")]
    Other,
    /// Cut short.
    #[error("it ends too early")]
    Short,
    /// It leads to nothing that has a path.
    #[error("it leads to no path")]
    NoPath,
    /// Made by Windows Installer, which finds the program by its own keys.
    #[error("Windows Installer finds its target")]
    Advertised,
    /// Properties of the shell, which tell of the machine they were made on.
    #[error("it holds properties of the shell")]
    Properties,
    /// Letters of a code page it does not name.
    #[error("it holds letters of an unnamed code page")]
    CodePage,
}

/// Blocks behind the texts: what a machine noted of itself, which stays there.
const OF_THE_MACHINE: [u32; 3] = [
    // Where the target was, which special folder that was, which known folder.
    0xa000_0003,
    0xa000_0005,
    0xa000_000b,
];
const ADVERTISED: u32 = 0xa000_0006;
const ICON_EXPANDED: u32 = 0xa000_0007;

impl Shortcut {
    /// Reads a `.lnk` file.
    pub fn read(bytes: &[u8]) -> Result<Self, NoShortcut> {
        let mut rest = Rest(bytes);
        if rest.word() != Ok(HEADER) || rest.take(16) != Ok(&CLASS[..]) {
            return Err(NoShortcut::Other);
        }
        let flags = rest.word()?;
        let has = |flag: u32| flags & flag != 0;
        let attributes = rest.word()?;
        rest.take(28)?;
        let icon_index = rest.word()?.cast_signed();
        let show = rest.word()?;
        let hotkey = rest.half()?;
        rest.take(10)?;
        if has(flag::IDENTIFIERS) {
            let length = rest.half()?;
            rest.take(usize::from(length))?;
        }
        let mut target = String::new();
        if has(flag::LOCATION) {
            let length = Rest(rest.0).word()? as usize;
            target = location(rest.take(length)?)?;
        }
        let mut text = |flag: u32| {
            if !has(flag) {
                return Ok(String::new());
            }
            let letters = usize::from(rest.half()?);
            if has(self::flag::WIDE) {
                return Ok(wide(rest.take(letters * 2)?));
            }
            plain(rest.take(letters)?)
        };
        let description = text(flag::DESCRIPTION)?;
        text(flag::RELATIVE)?;
        let (folder, arguments) = (text(flag::FOLDER)?, text(flag::ARGUMENTS)?);
        let mut icon = text(flag::ICON)?;
        while let Some((kind, block)) = rest.block()? {
            match kind {
                kind if kind == EXPANDED.0 => target = expanded(block)?,
                ICON_EXPANDED => icon = expanded(block)?,
                ADVERTISED => return Err(NoShortcut::Advertised),
                kind if OF_THE_MACHINE.contains(&kind) => {}
                _ => return Err(NoShortcut::Properties),
            }
        }
        if target.is_empty() {
            return Err(NoShortcut::NoPath);
        }
        let window = Window::NUMBERS.iter().position(|number| *number == show);
        Ok(Self {
            target,
            arguments,
            folder,
            icon,
            description,
            icon_index,
            window: window.and_then(|at| Window::ALL.get(at).copied()).unwrap_or_default(),
            hotkey,
            to_folder: attributes & u32::from(ATTRIBUTES[1]) != 0,
            as_administrator: has(flag::AS_ADMINISTRATOR),
        })
    }
}

/// A path on a drive of the machine; empty for one on another machine without a drive.
fn location(bytes: &[u8]) -> Result<String, NoShortcut> {
    let mut rest = Rest(bytes);
    let (_, header, flags) = (rest.word()?, rest.word()?, rest.word()?);
    let numbers = [rest.word()?, rest.word()?, rest.word()?, rest.word()?];
    let [_, base, _, suffix] = numbers.map(|number| number as usize);
    if flags & 1 == 0 {
        return Ok(String::new());
    }
    let from = |at: usize| bytes.get(at..).ok_or(NoShortcut::Short);
    if header >= 0x24 {
        let (base, suffix) = (rest.word()? as usize, rest.word()? as usize);
        return Ok(wide(until_wide(from(base)?)) + &wide(until_wide(from(suffix)?)));
    }
    Ok(plain(until(from(base)?))? + &plain(until(from(suffix)?))?)
}

/// The text of a block of two fields, one in plain letters and one in all of them.
fn expanded(block: &[u8]) -> Result<String, NoShortcut> {
    let letters = block.get(EXPANDED_LETTERS..EXPANDED_LETTERS * 3).ok_or(NoShortcut::Short)?;
    Ok(wide(until_wide(letters)))
}

fn until(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn until_wide(bytes: &[u8]) -> &[u8] {
    let end = bytes.chunks_exact(2).position(|pair| pair == [0, 0]);
    end.map_or(bytes, |end| &bytes[..end * 2])
}

fn wide(bytes: &[u8]) -> String {
    let letters: Vec<u16> =
        bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    String::from_utf16_lossy(&letters).trim_end_matches('\0').to_owned()
}

fn plain(bytes: &[u8]) -> Result<String, NoShortcut> {
    let bytes = until(bytes);
    if !bytes.is_ascii() {
        return Err(NoShortcut::CodePage);
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// What is left to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], NoShortcut> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(NoShortcut::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn half(&mut self) -> Result<u16, NoShortcut> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn word(&mut self) -> Result<u32, NoShortcut> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The next block behind the texts: what kind, and what it holds.
    fn block(&mut self) -> Result<Option<(u32, &'a [u8])>, NoShortcut> {
        // Less than 4 ends the list; some writers leave the end out.
        if self.0.is_empty() {
            return Ok(None);
        }
        let length = self.word()? as usize;
        if length < 8 {
            return Ok(None);
        }
        let kind = self.word()?;
        Ok(Some((kind, self.take(length - 8)?)))
    }
}
