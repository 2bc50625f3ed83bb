//! Files read and written at a place, whoever else reads them meanwhile: `pread` and `pwrite`, and what Windows has instead.

#[cfg(unix)]
pub(crate) use std::os::unix::fs::FileExt;

#[cfg(windows)]
pub(crate) use windows::FileExt;

#[cfg(windows)]
mod windows {
    use std::{fs::File, io, os::windows::fs::FileExt as Seek};

    /// What the trait of this name has on Unix, as far as it is used here.
    pub(crate) trait FileExt {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

        fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

        fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
            while !buffer.is_empty() {
                match self.read_at(buffer, offset) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => {
                        buffer = &mut buffer[count..];
                        offset += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }
    }

    impl FileExt for File {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            self.seek_read(buffer, offset)
        }

        fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
            while !bytes.is_empty() {
                match self.seek_write(bytes, offset) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => {
                        bytes = &bytes[count..];
                        offset += count as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }
    }
}
