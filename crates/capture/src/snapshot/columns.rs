//! One block of records by columns (docs/formats/snapshot.md, 3).

use std::collections::HashMap;

use model::{Content, Extent, Hash, Kind, MachinePath, Time, Xattrs};

use crate::{Node, Record, Stamp};

const COLUMNS: usize = 11;
/// The columns, in the order they are stored.
#[derive(Clone, Copy)]
enum Column {
    Shared,
    Added,
    Names,
    Flags,
    Shapes,
    ShapeTable,
    Lengths,
    Times,
    Nanoseconds,
    Inodes,
    Extras,
}

const KIND: u8 = 0b0000_0111;
const HASHED: u8 = 0b0000_1000;
const HOLES: u8 = 0b0001_0000;
const XATTRS: u8 = 0b0010_0000;
/// Content and metadata last changed at the same moment.
const ONE_TIME: u8 = 0b0100_0000;
/// A symbolic link, hard link, device: its target or numbers follow.
const TARGET: u8 = 0b1000_0000;

/// What most files of a machine share with many others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    mode: u16,
    uid: u32,
    gid: u32,
    device: u64,
    links: u32,
}

/// The bytes make no block.
#[derive(Debug)]
pub(super) struct BadBlock;

#[derive(Default)]
pub(super) struct Encoder {
    columns: [Vec<u8>; COLUMNS],
    shapes: HashMap<Shape, u64>,
    last: Last,
    records: usize,
}

/// What differences are taken to.
#[derive(Clone, Default)]
struct Last {
    path: Vec<u8>,
    modified: i64,
    changed: i64,
    inode: u64,
}

impl Encoder {
    pub(super) fn records(&self) -> usize {
        self.records
    }

    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(Vec::len).sum()
    }

    pub(super) fn add(&mut self, record: &Record) {
        self.records += 1;
        self.add_path(record.path.as_bytes());
        let node = &record.node;
        let stamp = &record.stamp;
        let one_time = node.modified == stamp.changed;
        let (kind, mut flags) = kind_flags(&node.kind);
        if !node.xattrs.is_empty() {
            flags |= XATTRS;
        }
        if one_time {
            flags |= ONE_TIME;
        }
        self.column(Column::Flags).push(kind | flags);
        self.add_shape(Shape {
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            device: stamp.device,
            links: stamp.links,
        });
        if let Kind::File(content) = &node.kind {
            put(self.column(Column::Lengths), content.length);
        }
        let last = self.last.clone();
        if !one_time {
            self.add_time(node.modified, last.modified);
            self.last.modified = node.modified.seconds;
        }
        self.add_time(stamp.changed, last.changed);
        self.last.changed = stamp.changed.seconds;
        let inodes = self.column(Column::Inodes);
        put(inodes, zigzag(stamp.inode.wrapping_sub(last.inode).cast_signed()));
        self.last.inode = stamp.inode;
        self.add_extras(node);
    }

    /// The whole block, and starts the next.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let done = std::mem::take(self);
        let mut block = Vec::with_capacity(done.bytes() + 64);
        put(&mut block, done.records as u64);
        for column in &done.columns {
            put(&mut block, column.len() as u64);
        }
        for column in &done.columns {
            block.extend_from_slice(column);
        }
        block
    }

    fn column(&mut self, column: Column) -> &mut Vec<u8> {
        &mut self.columns[column as usize]
    }

    fn add_path(&mut self, path: &[u8]) {
        let shared = path.iter().zip(&self.last.path).take_while(|(a, b)| a == b).count();
        put(self.column(Column::Shared), shared as u64);
        put(self.column(Column::Added), (path.len() - shared) as u64);
        self.column(Column::Names).extend_from_slice(&path[shared..]);
        self.last.path.truncate(shared);
        self.last.path.extend_from_slice(&path[shared..]);
    }

    fn add_shape(&mut self, shape: Shape) {
        let next = self.shapes.len() as u64;
        let number = *self.shapes.entry(shape).or_insert(next);
        if number == next {
            let table = self.column(Column::ShapeTable);
            put(table, shape.mode.into());
            put(table, shape.uid.into());
            put(table, shape.gid.into());
            put(table, shape.device);
            put(table, shape.links.into());
        }
        put(self.column(Column::Shapes), number);
    }

    fn add_time(&mut self, time: Time, before: i64) {
        put(self.column(Column::Times), zigzag(time.seconds.wrapping_sub(before)));
        put(self.column(Column::Nanoseconds), time.nanoseconds.into());
    }

    fn add_extras(&mut self, node: &Node) {
        let extras = self.column(Column::Extras);
        match &node.kind {
            Kind::Symlink(target) => put_bytes(extras, target),
            Kind::HardLink(first) => put_bytes(extras, first.as_bytes()),
            Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                put(extras, (*major).into());
                put(extras, (*minor).into());
            }
            Kind::File(content) => {
                if let Some(hash) = &content.hash {
                    extras.extend_from_slice(&hash.0);
                }
                if !content.holes.is_empty() {
                    put(extras, content.holes.len() as u64);
                    for hole in &content.holes {
                        put(extras, hole.offset);
                        put(extras, hole.length);
                    }
                }
            }
            Kind::Directory | Kind::Fifo | Kind::Socket => {}
        }
        if !node.xattrs.is_empty() {
            put(extras, node.xattrs.len() as u64);
            for (name, value) in &node.xattrs {
                put_bytes(extras, name);
                put_bytes(extras, value);
            }
        }
    }
}

fn kind_flags(kind: &Kind) -> (u8, u8) {
    match kind {
        Kind::Directory => (0, 0),
        Kind::File(content) => {
            let hashed = if content.hash.is_some() { HASHED } else { 0 };
            (1, hashed | if content.holes.is_empty() { 0 } else { HOLES })
        }
        Kind::Symlink(_) => (2, TARGET),
        Kind::HardLink(_) => (3, TARGET),
        Kind::Fifo => (4, 0),
        Kind::Socket => (5, 0),
        Kind::CharacterDevice { .. } => (6, TARGET),
        Kind::BlockDevice { .. } => (7, TARGET),
    }
}

/// Reads a block.
#[derive(Default)]
pub(super) struct Decoder {
    block: Vec<u8>,
    /// Where each column goes on, and where it ends.
    columns: [(usize, usize); COLUMNS],
    shapes: Vec<Shape>,
    last: Last,
    left: u64,
}

impl Decoder {
    pub(super) fn new(block: Vec<u8>) -> Result<Self, BadBlock> {
        let mut at = 0;
        let left = take(&block, &mut at, block.len())?;
        let mut lengths = [0; COLUMNS];
        for length in &mut lengths {
            *length = usize::try_from(take(&block, &mut at, block.len())?).map_err(|_| BadBlock)?;
        }
        let mut columns = [(0, 0); COLUMNS];
        for (column, length) in columns.iter_mut().zip(lengths) {
            let end = at.checked_add(length).filter(|end| *end <= block.len()).ok_or(BadBlock)?;
            *column = (at, end);
            at = end;
        }
        let mut decoder = Self { block, columns, shapes: Vec::new(), last: Last::default(), left };
        decoder.read_shapes()?;
        Ok(decoder)
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>, BadBlock> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let path = self.path()?;
        let flags = self.bytes(Column::Flags, 1)?[0];
        let number = usize::try_from(self.number(Column::Shapes)?).map_err(|_| BadBlock)?;
        let shape = *self.shapes.get(number).ok_or(BadBlock)?;
        let length = if flags & KIND == 1 { self.number(Column::Lengths)? } else { 0 };
        let modified = if flags & ONE_TIME == 0 {
            let time = self.time(self.last.modified)?;
            self.last.modified = time.seconds;
            Some(time)
        } else {
            None
        };
        let changed = self.time(self.last.changed)?;
        self.last.changed = changed.seconds;
        let difference = unzigzag(self.number(Column::Inodes)?).cast_unsigned();
        self.last.inode = self.last.inode.wrapping_add(difference);
        let kind = self.kind(flags, length)?;
        let xattrs = if flags & XATTRS == 0 { Xattrs::new() } else { self.xattrs()? };
        let stamp =
            Stamp { device: shape.device, inode: self.last.inode, changed, links: shape.links };
        let node = Node {
            kind,
            mode: shape.mode,
            uid: shape.uid,
            gid: shape.gid,
            modified: modified.unwrap_or(changed),
            xattrs,
        };
        Ok(Some(Record { path, node, stamp }))
    }

    fn read_shapes(&mut self) -> Result<(), BadBlock> {
        let (at, end) = self.columns[Column::ShapeTable as usize];
        self.columns[Column::ShapeTable as usize].0 = at;
        while self.columns[Column::ShapeTable as usize].0 < end {
            let shape = Shape {
                mode: self.small(Column::ShapeTable)?,
                uid: self.small(Column::ShapeTable)?,
                gid: self.small(Column::ShapeTable)?,
                device: self.number(Column::ShapeTable)?,
                links: self.small(Column::ShapeTable)?,
            };
            self.shapes.push(shape);
        }
        Ok(())
    }

    fn path(&mut self) -> Result<MachinePath, BadBlock> {
        let shared = usize::try_from(self.number(Column::Shared)?).map_err(|_| BadBlock)?;
        let added = self.number(Column::Added)?;
        let mut path = std::mem::take(&mut self.last.path);
        if shared > path.len() {
            return Err(BadBlock);
        }
        path.truncate(shared);
        path.extend_from_slice(self.bytes(Column::Names, added)?);
        let parsed = MachinePath::new(&path).map_err(|_| BadBlock)?;
        self.last.path = path;
        Ok(parsed)
    }

    fn time(&mut self, before: i64) -> Result<Time, BadBlock> {
        let seconds = before.wrapping_add(unzigzag(self.number(Column::Times)?));
        Ok(Time { seconds, nanoseconds: self.small(Column::Nanoseconds)? })
    }

    fn kind(&mut self, flags: u8, length: u64) -> Result<Kind, BadBlock> {
        Ok(match flags & KIND {
            0 => Kind::Directory,
            1 => {
                let hash = if flags & HASHED == 0 {
                    None
                } else {
                    let bytes = self.bytes(Column::Extras, 32)?;
                    Some(Hash(bytes.try_into().map_err(|_| BadBlock)?))
                };
                let mut holes = Vec::new();
                if flags & HOLES != 0 {
                    for _ in 0..self.number(Column::Extras)? {
                        let offset = self.number(Column::Extras)?;
                        holes.push(Extent { offset, length: self.number(Column::Extras)? });
                    }
                }
                Kind::File(Content { length, hash, holes })
            }
            2 => Kind::Symlink(self.sized()?.to_vec()),
            3 => Kind::HardLink(MachinePath::new(self.sized()?).map_err(|_| BadBlock)?),
            4 => Kind::Fifo,
            5 => Kind::Socket,
            number => {
                let (major, minor) = (self.small(Column::Extras)?, self.small(Column::Extras)?);
                if number == 6 {
                    Kind::CharacterDevice { major, minor }
                } else {
                    Kind::BlockDevice { major, minor }
                }
            }
        })
    }

    fn xattrs(&mut self) -> Result<Xattrs, BadBlock> {
        let count = self.number(Column::Extras)?;
        (0..count).map(|_| Ok((self.sized()?.into(), self.sized()?.into()))).collect()
    }

    fn sized(&mut self) -> Result<&[u8], BadBlock> {
        let length = self.number(Column::Extras)?;
        self.bytes(Column::Extras, length)
    }

    fn small<T: TryFrom<u64>>(&mut self, column: Column) -> Result<T, BadBlock> {
        T::try_from(self.number(column)?).map_err(|_| BadBlock)
    }

    fn number(&mut self, column: Column) -> Result<u64, BadBlock> {
        let (at, end) = &mut self.columns[column as usize];
        take(&self.block, at, *end)
    }

    fn bytes(&mut self, column: Column, length: u64) -> Result<&[u8], BadBlock> {
        let (at, end) = &mut self.columns[column as usize];
        let length = usize::try_from(length).map_err(|_| BadBlock)?;
        let stop = at.checked_add(length).filter(|stop| stop <= end).ok_or(BadBlock)?;
        let bytes = &self.block[*at..stop];
        *at = stop;
        Ok(bytes)
    }
}

/// A number in groups of seven bits, the lowest first; all but the last group have the high bit.
fn put(column: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        column.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    column.push(number.to_le_bytes()[0]);
}

fn put_bytes(column: &mut Vec<u8>, bytes: &[u8]) {
    put(column, bytes.len() as u64);
    column.extend_from_slice(bytes);
}

fn take(block: &[u8], at: &mut usize, end: usize) -> Result<u64, BadBlock> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        if *at >= end {
            return Err(BadBlock);
        }
        let byte = block[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(BadBlock)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}
