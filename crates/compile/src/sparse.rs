//! The data of a file, holes left out.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use model::{Content, Extent};

use crate::platform;

/// Reads what is between the holes.
pub(crate) struct DataReader<'f> {
    file: &'f File,
    extents: std::vec::IntoIter<Extent>,
    left: u64,
}

impl<'f> DataReader<'f> {
    pub(crate) fn new(file: &'f File, length: u64, holes: &[Extent]) -> Self {
        // Without holes the whole file is read, so that one that grew is noticed.
        let extents = if holes.is_empty() {
            vec![Extent { offset: 0, length: u64::MAX }]
        } else {
            Content { length, hash: None, holes: holes.to_vec() }.data().collect()
        };
        Self { file, extents: extents.into_iter(), left: 0 }
    }
}

impl Read for DataReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let Some(extent) = self.extents.next() else { return Ok(0) };
            self.file.seek(SeekFrom::Start(extent.offset))?;
            self.left = extent.length;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Whether the holes hold nothing but zeros. What is a hole on disk too is not read.
pub(crate) fn are_empty(mut file: &File, holes: &[Extent]) -> io::Result<bool> {
    let mut buffer = vec![0; 64 << 10];
    for hole in holes {
        let end = hole.offset + hole.length;
        let mut at = hole.offset;
        while at < end {
            match platform::next_data(file, at)? {
                Some(data) => at = data,
                None => break,
            }
            if at >= end {
                break;
            }
            let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            file.seek(SeekFrom::Start(at))?;
            let count = file.read(&mut buffer[..most])?;
            if count == 0 {
                break;
            }
            if buffer[..count].iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            at += count as u64;
        }
    }
    Ok(true)
}
