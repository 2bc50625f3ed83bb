use std::io::{self, Read, Write};

/// A cpio archive of the kind "newc"; where files are longer than its headers can say, of rpm's own kind, whose headers
/// say a position in the list of files and nothing else.
pub(super) struct Archive<W> {
    out: W,
    stripped: bool,
    pub written: u64,
}

/// What a newc header says of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub position: u32,
    pub inode: u32,
    pub mode: u32,
    pub links: u32,
    pub modified: u32,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W, stripped: bool) -> Self {
        Self { out, stripped, written: 0 }
    }

    /// One entry; gives how many bytes `data` had.
    pub(super) fn entry(
        &mut self,
        head: Head,
        path: &[u8],
        length: u64,
        data: &mut dyn Read,
    ) -> io::Result<u64> {
        if self.stripped {
            self.write(format!("07070X{:08x}", head.position).as_bytes())?;
        } else {
            let name = [b".", path].concat();
            self.header(head, u32::try_from(length).unwrap_or(u32::MAX), &name)?;
        }
        self.pad()?;
        let count = io::copy(data, &mut Counted { archive: self })?;
        self.pad()?;
        Ok(count)
    }

    pub(super) fn finish(mut self) -> io::Result<(W, u64)> {
        let none = Head { position: 0, inode: 0, mode: 0, links: 1, modified: 0 };
        self.header(none, 0, b"TRAILER!!!")?;
        self.pad()?;
        Ok((self.out, self.written))
    }

    fn header(&mut self, head: Head, length: u32, name: &[u8]) -> io::Result<()> {
        let name_length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let Head { inode, mode, links, modified, .. } = head;
        let mut text = String::from("070701");
        // inode, mode, uid, gid, links, time, size, four device numbers, length of the name, sum
        for number in [inode, mode, 0, 0, links, modified, length, 0, 0, 0, 0, name_length, 0] {
            text.push_str(&format!("{number:08x}"));
        }
        self.write(text.as_bytes())?;
        self.write(name)?;
        self.write(&[0])
    }

    fn pad(&mut self) -> io::Result<()> {
        let short = self.written.next_multiple_of(4) - self.written;
        self.write(&[0; 3][..usize::try_from(short).unwrap_or(0)])
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

struct Counted<'a, W> {
    archive: &'a mut Archive<W>,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.archive.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.archive.out.flush()
    }
}
