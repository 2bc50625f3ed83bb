//! A database as Windows Installer reads it: tables over one pool of texts, and streams beside them, in a compound file.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read, Seek, Write},
};

use cfb::{CompoundFile, Stream};

use super::tables::TABLES;

/// What kind of compound file it is: an installation package.
const CLASS: &str = "000c1084-0000-0000-c000-000000000046";
/// The code page of all texts: UTF-8.
const PAGE: u32 = 65001;
/// Beside the code page: numbers of texts have three bytes.
const LONG: u32 = 0x8000_0000;
/// What stands before the names of tables.
const TABLE: char = '\u{4840}';

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Nothing,
    Number(i32),
    Text(String),
}

/// Rows by the name of their table.
#[derive(Default)]
pub(super) struct Database {
    rows: BTreeMap<&'static str, Vec<Vec<Value>>>,
}

impl Database {
    /// Adds a row to a table of [`TABLES`].
    pub(super) fn row<const N: usize>(&mut self, table: &'static str, values: [Value; N]) {
        self.rows.entry(table).or_default().push(values.into());
    }

    /// Whether a table has rows.
    pub(super) fn has(&self, table: &str) -> bool {
        self.rows.contains_key(table)
    }

    /// Writes all tables.
    pub(super) fn write<W: Read + Write + Seek>(mut self, file: &mut File<W>) -> io::Result<()> {
        for &(name, columns) in TABLES {
            if !self.rows.contains_key(name) {
                continue;
            }
            self.row("_Tables", [name.into()]);
            for (number, column) in (1..).zip(columns) {
                let kind = i32::from(column.kind());
                self.row("_Columns", [name.into(), number.into(), column.0.into(), kind.into()]);
            }
        }
        let mut texts = Texts::default();
        let mut tables = Vec::new();
        for (name, columns) in CATALOGUE.iter().chain(TABLES) {
            let rows = self.rows.remove(name).unwrap_or_default();
            let mut cells: Vec<Vec<u32>> = rows
                .into_iter()
                .map(|row| row.iter().zip(*columns).map(|(it, to)| texts.cell(it, *to)).collect())
                .collect();
            // Keys come first in every table.
            cells.sort_unstable();
            if !cells.is_empty() {
                tables.push((*name, *columns, cells));
            }
        }
        let is_long = texts.all.len() > usize::from(u16::MAX);
        for (name, columns, rows) in tables {
            let mut bytes = Vec::new();
            for (index, column) in columns.iter().enumerate() {
                for row in &rows {
                    bytes.extend_from_slice(&row[index].to_le_bytes()[..column.width(is_long)]);
                }
            }
            file.write(&stream_name(name, true), &bytes)?;
        }
        let (pool, data) = texts.encode(is_long);
        file.write(&stream_name("_StringPool", true), &pool)?;
        file.write(&stream_name("_StringData", true), &data)
    }
}

/// A column: its name, and its type as the tools of Windows Installer write it: a letter (`s` text, `l` text that may be
/// translated, `i` number; capital where it may be empty), the length, and `*` where it is part of the key.
#[derive(Clone, Copy)]
pub(super) struct Column(pub(super) &'static str, pub(super) &'static str);

impl Column {
    fn is_text(self) -> bool {
        self.1.starts_with(['s', 'S', 'l', 'L'])
    }

    fn length(self) -> u16 {
        self.1[1..].trim_end_matches('*').parse().unwrap_or(0)
    }

    /// The type as `_Columns` has it.
    fn kind(self) -> u16 {
        let mut bits = 0x100 | self.length();
        let bit = |is: bool, bit: u16| if is { bit } else { 0 };
        bits |= bit(self.is_text(), 0x800) | bit(self.is_text() || self.length() == 2, 0x400);
        bits |= bit(self.1.starts_with(['l', 'L']), 0x200);
        bits |= bit(self.1.starts_with(char::is_uppercase), 0x1000);
        bits | bit(self.1.ends_with('*'), 0x2000)
    }

    fn width(self, is_long: bool) -> usize {
        match (self.is_text(), is_long) {
            (true, false) => 2,
            (true, true) => 3,
            (false, _) => usize::from(self.length()),
        }
    }
}

/// The tables that describe all others, and are not described themselves.
const CATALOGUE: &[(&str, &[Column])] = &[
    ("_Tables", &[Column("Name", "s64*")]),
    (
        "_Columns",
        &[
            Column("Table", "s64*"),
            Column("Number", "i2*"),
            Column("Name", "s64"),
            Column("Type", "i2"),
        ],
    ),
];

/// The pool: each text once, and how often it is used.
#[derive(Default)]
struct Texts {
    all: Vec<(String, u16)>,
    numbers: HashMap<String, usize>,
}

impl Texts {
    /// What stands in a cell; 0 is nothing.
    fn cell(&mut self, value: &Value, column: Column) -> u32 {
        match value {
            Value::Nothing => 0,
            Value::Number(number) if column.length() == 2 => {
                (number.cast_unsigned() ^ 0x8000) & 0xffff
            }
            Value::Number(number) => number.cast_unsigned() ^ 0x8000_0000,
            Value::Text(text) => self.number(text),
        }
    }

    /// The number of a text, from 1.
    fn number(&mut self, text: &str) -> u32 {
        let index = match self.numbers.get(text) {
            Some(&index) if self.all[index].1 < u16::MAX => index,
            _ => {
                self.all.push((text.to_owned(), 0));
                self.numbers.insert(text.to_owned(), self.all.len() - 1);
                self.all.len() - 1
            }
        };
        self.all[index].1 += 1;
        u32::try_from(index + 1).unwrap_or(u32::MAX)
    }

    fn encode(&self, is_long: bool) -> (Vec<u8>, Vec<u8>) {
        let page = PAGE | if is_long { LONG } else { 0 };
        let mut pool = page.to_le_bytes().to_vec();
        let mut data = Vec::new();
        for (text, uses) in &self.all {
            if let Ok(length) = u16::try_from(text.len()) {
                pool.extend([length, *uses].map(u16::to_le_bytes).as_flattened());
            } else {
                pool.extend([0, *uses].map(u16::to_le_bytes).as_flattened());
                pool.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            }
            data.extend_from_slice(text.as_bytes());
        }
        (pool, data)
    }
}

/// The compound file around it.
pub(super) struct File<W: Read + Write + Seek>(CompoundFile<W>);

impl<W: Read + Write + Seek> File<W> {
    pub(super) fn create(out: W) -> io::Result<Self> {
        // Sectors of 512 bytes: what every Windows Installer reads.
        let mut file = CompoundFile::create_with_version(cfb::Version::V3, out)?;
        let class = CLASS.parse().map_err(io::Error::other)?;
        file.set_storage_clsid("/", class)?;
        Ok(Self(file))
    }

    /// A stream of its own, by its name in tables.
    pub(super) fn stream(&mut self, name: &str) -> io::Result<Stream<W>> {
        self.0.create_stream(stream_name(name, false))
    }

    /// A stream by its name in the compound file.
    pub(super) fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.0.create_stream(name)?;
        stream.write_all(bytes)?;
        stream.flush()
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Names of streams hold 31 letters at most, so two letters of theirs are put in one.
fn stream_name(name: &str, is_table: bool) -> String {
    let number = |letter: char| match letter {
        '0'..='9' => Some(letter as u32 - '0' as u32),
        'A'..='Z' => Some(letter as u32 - 'A' as u32 + 10),
        'a'..='z' => Some(letter as u32 - 'a' as u32 + 36),
        '.' => Some(62),
        '_' => Some(63),
        _ => None,
    };
    let mut out: String = if is_table { TABLE.into() } else { String::new() };
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        let second = letters.peek().copied().and_then(number);
        let code = match (number(letter), second) {
            (None, _) => u32::from(letter),
            (Some(first), None) => 0x4800 + first,
            (Some(first), Some(second)) => {
                letters.next();
                0x3800 + (second << 6) + first
            }
        };
        out.extend(char::from_u32(code));
    }
    out
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        // An empty text is none in such a database.
        if text.is_empty() { Self::Nothing } else { Self::Text(text.to_owned()) }
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::Nothing } else { Self::Text(text) }
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Number(number)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}
