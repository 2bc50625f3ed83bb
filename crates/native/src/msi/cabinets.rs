//! Cabinets: what the files are packed in.

use std::{
    io::{self, Read, Seek, Write},
    ops::Range,
};

use cab::{CabinetBuilder, CompressionType};
use package::{Node, PackageReader};
use time::{OffsetDateTime, PrimitiveDateTime};

use super::{
    database::{Database, File, Value},
    draft::PackedFile,
};
use crate::payload::FileReader;

/// Bytes of files after which another cabinet begins, and how many files one holds; the format has room for twice of both.
const ROOM: u64 = 1 << 30;
const FILES: usize = 30_000;

/// Which files, counted in their order, are in which cabinet.
pub(super) struct Cabinets(Vec<Range<usize>>);

impl Cabinets {
    pub(super) fn of(files: &[Option<PackedFile>]) -> Self {
        let mut all: Vec<Range<usize>> = Vec::new();
        let mut used = 0;
        for (number, file) in files.iter().flatten().enumerate() {
            match all.last_mut() {
                Some(last) if used + file.length <= ROOM && last.len() < FILES => {
                    last.end += 1;
                    used += file.length;
                }
                _ => {
                    all.push(number..number + 1);
                    used = file.length;
                }
            }
        }
        Self(all)
    }

    /// The rows that name them.
    pub(super) fn rows(&self, database: &mut Database) {
        for (number, range) in (1_i32..).zip(&self.0) {
            let last = i32::try_from(range.end).unwrap_or(i32::MAX);
            let row = [
                number.into(),
                last.into(),
                Value::Nothing,
                format!("#{}", name(number)).into(),
                Value::Nothing,
                Value::Nothing,
            ];
            database.row("Media", row);
        }
    }

    /// Packs the files, in the order of the package.
    pub(super) fn write<R: Read + Seek, W: Read + Write + Seek>(
        &self,
        package: &mut PackageReader<R>,
        files: &[Option<PackedFile>],
        file: &mut File<W>,
    ) -> io::Result<()> {
        let packed: Vec<&PackedFile> = files.iter().flatten().collect();
        let mut places = files.iter();
        let mut contents = package.contents();
        for (number, range) in (1_i32..).zip(&self.0) {
            let mut builder = CabinetBuilder::new();
            let folder = builder.add_folder(CompressionType::MsZip);
            for one in &packed[range.clone()] {
                folder.add_file(one.key.as_str()).set_datetime(moment(one.modified));
            }
            let mut cabinet = builder.build(file.stream(&name(number))?)?;
            while let Some(mut writer) = cabinet.next_file()? {
                let (content, length) = loop {
                    let record = contents.next_record().map_err(io::Error::other)?;
                    let record =
                        record.ok_or_else(|| io::Error::other("the package has fewer files"))?;
                    if let (Some(Some(one)), Node::File(content)) = (places.next(), record.node) {
                        break (content, one.length);
                    }
                };
                let mut reader = FileReader::new(&mut contents, content.length, Vec::new());
                if io::copy(&mut reader, &mut writer)? != length {
                    return Err(io::Error::other("a file is not as long as it was"));
                }
            }
            cabinet.finish()?.flush()?;
        }
        Ok(())
    }
}

fn name(number: i32) -> String {
    format!("files{number}.cab")
}

/// A time as cabinets have it, from 1980 on.
fn moment(seconds: i64) -> PrimitiveDateTime {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    PrimitiveDateTime::new(time.date(), time.time())
}
