use std::{cmp::Ordering, fmt::Write as _};

use model::{
    Acl, Content, Entry, Extent, Kind, MachinePath, Meta, Owner, Time, Xattrs, escape, unescape,
};

use crate::{
    FileMeta,
    problem::did_you_mean,
    read::{parse_mode, read_owner},
};

/// What is wrong with a line.
pub(crate) struct LineError {
    pub(crate) message: String,
    pub(crate) hint: String,
}

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> LineError {
    LineError { message: message.into(), hint: hint.into() }
}

/// The words and fields of a line after its path.
const FIELDS: &[&str] = &[
    "dir",
    "link",
    "hardlink",
    "fifo",
    "socket",
    "char",
    "block",
    "mode",
    "owner",
    "group",
    "modified",
    "length",
    "holes",
    "xattr:NAME",
    "acl",
    "default-acl",
];

/// Paths below the project folder in the order of their parts: a folder right before what it holds.
pub(crate) fn path_order(a: &[u8], b: &[u8]) -> Ordering {
    let key = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
    a.iter().map(key).cmp(b.iter().map(key))
}

fn usual_mode(kind: &Kind) -> u16 {
    match kind {
        Kind::Directory => 0o755,
        Kind::Symlink(_) => 0o777,
        _ => 0o644,
    }
}

/// Writes an entry as one line without its end.
pub(crate) fn print_line(entry: &FileMeta) -> String {
    let mut line = token(&entry.path);
    let Entry { kind, meta } = &entry.entry;
    match kind {
        Kind::File(_) => {}
        Kind::Directory => line.push_str(" dir"),
        Kind::Symlink(target) => field(&mut line, "link", target),
        Kind::HardLink(path) => field(&mut line, "hardlink", path.relative()),
        Kind::Fifo => line.push_str(" fifo"),
        Kind::Socket => line.push_str(" socket"),
        Kind::CharacterDevice { major, minor } => drop(write!(line, " char={major}:{minor}")),
        Kind::BlockDevice { major, minor } => drop(write!(line, " block={major}:{minor}")),
    }
    if meta.mode != usual_mode(kind) {
        let _ = write!(line, " mode={:04o}", meta.mode);
    }
    for (name, owner) in [("owner", &meta.owner), ("group", &meta.group)] {
        if *owner != Owner::root() {
            field(&mut line, name, owner.to_string().as_bytes());
        }
    }
    let _ = write!(line, " modified={}", meta.modified);
    if let Kind::File(content) = kind
        && !content.holes.is_empty()
    {
        let holes: Vec<String> =
            content.holes.iter().map(|hole| format!("{}+{}", hole.offset, hole.length)).collect();
        let _ = write!(line, " length={} holes={}", content.length, holes.join(","));
    }
    for (name, value) in &meta.xattrs {
        let name = escape(name).replace(' ', "\\x20").replace('=', "\\x3d").replace('"', "\\x22");
        field(&mut line, &format!("xattr:{name}"), value);
    }
    for (name, acl) in [("acl", &meta.acl), ("default-acl", &meta.default_acl)] {
        if let Some(acl) = acl {
            field(&mut line, name, acl.to_string().as_bytes());
        }
    }
    line
}

fn field(line: &mut String, name: &str, value: &[u8]) {
    let _ = write!(line, " {name}={}", token(value));
}

/// Bytes as one word: escaped, and in quotes where a space or its beginning needs them.
fn token(bytes: &[u8]) -> String {
    let text = escape(bytes);
    let plain = !text.is_empty()
        && !text.starts_with('#')
        && !text.contains('"')
        && !text.chars().any(char::is_whitespace);
    if plain { text } else { format!("\"{}\"", text.replace('"', "\\x22")) }
}

/// Reads one line.
pub(crate) fn parse_line(line: &str) -> Result<FileMeta, LineError> {
    let (path, mut rest) = take_token(line)?;
    let path = read_path(&path)?;
    let mut words = Words::default();
    while !rest.trim_start_matches([' ', '\t']).is_empty() {
        let word = rest.trim_start_matches([' ', '\t']);
        if word.len() == rest.len() {
            return Err(wrong(
                "a space is missing between two fields",
                "write one space between fields",
            ));
        }
        let end = word.find([' ', '\t', '=']).unwrap_or(word.len());
        let (name, after) = word.split_at(end);
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = take_token(value)?;
            words.set(name, Some(value))?;
            rest = after;
        } else {
            words.set(name, None)?;
            rest = after;
        }
    }
    Ok(FileMeta { path, entry: words.entry()? })
}

/// Takes a word or a quoted text, unescaped, off the front.
fn take_token(text: &str) -> Result<(Vec<u8>, &str), LineError> {
    let (said, rest) = if let Some(quoted) = text.strip_prefix('"') {
        quoted
            .split_once('"')
            .ok_or_else(|| wrong("a quote is never closed", "a quote inside is written `\\x22`"))?
    } else {
        text.split_at(text.find([' ', '\t']).unwrap_or(text.len()))
    };
    let bytes =
        unescape(said).map_err(|error| wrong(error.to_string(), "a backslash is `\\\\`"))?;
    Ok((bytes, rest))
}

fn read_path(bytes: &[u8]) -> Result<Vec<u8>, LineError> {
    let parts = || bytes.split(|byte| *byte == b'/');
    let bad = bytes.contains(&0) || parts().any(|part| matches!(part, b"" | b"." | b".."));
    if bad {
        let path = escape(bytes);
        return Err(wrong(
            format!("`{path}` is no path below the project folder"),
            "write `files/opt/redis/bin`, without `.`, `..` and doubled slashes",
        ));
    }
    Ok(bytes.to_vec())
}

/// The fields of a line as they are found.
#[derive(Default)]
struct Words {
    kind: Option<Kind>,
    mode: Option<u16>,
    owner: Option<Owner>,
    group: Option<Owner>,
    modified: Option<Time>,
    length: Option<u64>,
    holes: Option<Vec<Extent>>,
    xattrs: Xattrs,
    acl: Option<Acl>,
    default_acl: Option<Acl>,
}

impl Words {
    fn set(&mut self, name: &str, value: Option<Vec<u8>>) -> Result<(), LineError> {
        let twice = |slot_is_free: bool| {
            if slot_is_free {
                Ok(())
            } else {
                Err(wrong(format!("`{name}` is said twice"), "keep one"))
            }
        };
        let Some(value) = value else {
            let kind = match name {
                "dir" => Kind::Directory,
                "fifo" => Kind::Fifo,
                "socket" => Kind::Socket,
                _ => return Err(unknown(name)),
            };
            return self.set_kind(kind);
        };
        if let Some(attribute) = name.strip_prefix("xattr:") {
            let attribute = unescape(attribute)
                .map_err(|error| wrong(error.to_string(), "a backslash is `\\\\`"))?;
            if attribute.is_empty() {
                return Err(wrong("an attribute without a name", "write `xattr:user.name=value`"));
            }
            return twice(self.xattrs.insert(attribute.into(), value.into()).is_none());
        }
        match name {
            "link" => return self.set_kind(Kind::Symlink(value)),
            "hardlink" => {
                let path = MachinePath::root().join(read_path(&value)?);
                let path =
                    path.map_err(|error| wrong(error.to_string(), "name a path of the project"))?;
                return self.set_kind(Kind::HardLink(path));
            }
            _ => {}
        }
        let text = String::from_utf8(value)
            .map_err(|_| wrong(format!("`{name}` is no text"), "write it in UTF-8"))?;
        match name {
            "char" | "block" => {
                let numbers = text
                    .split_once(':')
                    .and_then(|(major, minor)| Some((number(major)?, number(minor)?)));
                let (major, minor) = numbers.ok_or_else(|| {
                    wrong(format!("`{text}` is no device"), format!("write `{name}=1:3`"))
                })?;
                self.set_kind(if name == "char" {
                    Kind::CharacterDevice { major, minor }
                } else {
                    Kind::BlockDevice { major, minor }
                })
            }
            "mode" => {
                let mode = parse_mode(&text).map_err(|error| wrong(error, "like `mode=0755`"))?;
                twice(self.mode.replace(mode).is_none())
            }
            "owner" => twice(self.owner.replace(owner(&text)?).is_none()),
            "group" => twice(self.group.replace(owner(&text)?).is_none()),
            "modified" => {
                let time = text.parse().map_err(|error: model::ParseTimeError| {
                    wrong(error.to_string(), "like `modified=2026-01-31T12:00:00Z`")
                })?;
                twice(self.modified.replace(time).is_none())
            }
            "length" => {
                let length = number(&text)
                    .ok_or_else(|| wrong(format!("`{text}` is no length"), "like `length=4096`"))?;
                twice(self.length.replace(length).is_none())
            }
            "holes" => twice(self.holes.replace(read_holes(&text)?).is_none()),
            "acl" => twice(self.acl.replace(read_acl(&text)?).is_none()),
            "default-acl" => twice(self.default_acl.replace(read_acl(&text)?).is_none()),
            _ => Err(unknown(name)),
        }
    }

    fn set_kind(&mut self, kind: Kind) -> Result<(), LineError> {
        match self.kind.replace(kind) {
            None => Ok(()),
            Some(first) => Err(wrong(
                format!("it is a {} already", first.word()),
                "a line says one of `dir`, `link`, `hardlink`, `fifo`, `socket`, `char`, `block`",
            )),
        }
    }

    fn entry(self) -> Result<Entry, LineError> {
        let sparse = self.holes.is_some() || self.length.is_some();
        let kind = match self.kind {
            Some(other) if sparse => {
                let message = format!("a {} has no holes", other.word());
                return Err(wrong(message, "take `length` and `holes` out"));
            }
            Some(kind) => kind,
            None => Kind::File(read_content(self.length, self.holes)?),
        };
        let modified = self
            .modified
            .ok_or_else(|| wrong("`modified` is missing", "add `modified=2026-01-31T12:00:00Z`"))?;
        let meta = Meta {
            mode: self.mode.unwrap_or(usual_mode(&kind)),
            owner: self.owner.unwrap_or_else(Owner::root),
            group: self.group.unwrap_or_else(Owner::root),
            modified,
            xattrs: self.xattrs,
            acl: self.acl,
            default_acl: self.default_acl,
        };
        Ok(Entry { kind, meta })
    }
}

fn unknown(name: &str) -> LineError {
    let hint = match did_you_mean(name, FIELDS.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("a line may have `{}`", FIELDS.join("`, `")),
    };
    wrong(format!("`{name}` means nothing here"), hint)
}

fn read_content(length: Option<u64>, holes: Option<Vec<Extent>>) -> Result<Content, LineError> {
    let (length, holes) = match (length, holes) {
        (None, None) => return Ok(Content { length: 0, hash: None, holes: Vec::new() }),
        (Some(length), Some(holes)) => (length, holes),
        _ => return Err(wrong("`length` and `holes` go together", "say both or none")),
    };
    let mut end = 0;
    for hole in &holes {
        let hole_end = hole.offset.checked_add(hole.length).filter(|end| *end <= length);
        match hole_end {
            Some(hole_end)
                if hole.length > 0 && (hole.offset > end || hole.offset == 0 && end == 0) =>
            {
                end = hole_end;
            }
            _ => {
                return Err(wrong(
                    format!(
                        "the hole `{}+{}` is empty, beyond the end, or not after the one before",
                        hole.offset, hole.length
                    ),
                    "holes are ascending and apart",
                ));
            }
        }
    }
    Ok(Content { length, hash: None, holes })
}

fn read_holes(text: &str) -> Result<Vec<Extent>, LineError> {
    text.split(',')
        .map(|hole| {
            let (offset, length) = hole.split_once('+')?;
            Some(Extent { offset: number(offset)?, length: number(length)? })
        })
        .collect::<Option<_>>()
        .ok_or_else(|| wrong(format!("`{text}` are no holes"), "like `holes=0+4096,8192+4096`"))
}

fn owner(text: &str) -> Result<Owner, LineError> {
    read_owner(text).map_err(|message| wrong(message, "a name or a number"))
}

fn read_acl(text: &str) -> Result<Acl, LineError> {
    text.parse().map_err(|error: model::ParseAclError| {
        wrong(
            error.to_string(),
            "like `acl=user::rw-,user:redis:r--,group::r--,mask::rw-,other::---`",
        )
    })
}

/// A number in digits alone: no sign, no spaces.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
