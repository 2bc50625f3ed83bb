//! Files read and written at a place, whoever else reads them meanwhile: `pread` and `pwrite`, and what Windows has instead. And
//! folders that are locked and made durable as if they were files.

#[cfg(unix)]
pub(crate) use std::os::unix::fs::FileExt;
#[cfg(unix)]
pub(crate) use unix::{lock_of, sync, sync_folder, until_removed};

#[cfg(windows)]
pub(crate) use windows::{FileExt, lock_of, sync, sync_folder, until_removed};

#[cfg(unix)]
mod unix {
    use std::{fs::File, io, path::Path};

    /// What is locked where a folder is: the folder.
    pub(crate) fn lock_of(folder: &Path) -> io::Result<File> {
        File::open(folder)
    }

    /// The lock of a folder is held until that is gone.
    #[expect(clippy::unnecessary_wraps, reason = "as where it has to be let go before")]
    pub(crate) fn until_removed(lock: File) -> Option<File> {
        Some(lock)
    }

    /// Makes a file durable.
    pub(crate) fn sync(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// Makes the names in a folder durable.
    pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

#[cfg(windows)]
mod windows {
    use std::{
        fs::{File, OpenOptions},
        io,
        os::windows::fs::FileExt as Seek,
        path::Path,
    };

    /// What is locked where a folder is: a file in it.
    pub(crate) fn lock_of(folder: &Path) -> io::Result<File> {
        let path = folder.join(".lock");
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
    }

    /// A folder goes only when nothing in it is open.
    pub(crate) fn until_removed(_: File) -> Option<File> {
        None
    }

    /// Makes a file durable.
    pub(crate) fn sync(path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.sync_all()
    }

    /// Volumes keep their names by themselves.
    #[expect(clippy::unnecessary_wraps, reason = "as where a folder is written like a file")]
    pub(crate) fn sync_folder(_: &Path) -> io::Result<()> {
        Ok(())
    }

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
