use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use capture::{CapturedFiles, Payload, Side};
use model::{Content, Hasher, Kind, MachinePath};

use super::WriteProjectError;

const PIECE: usize = 256 << 10;

/// Writes the payload below a project folder as plain files: what a version control system keeps of
/// them. All else about them stands in `files.meta`.
pub(super) fn write(
    payload: &[Payload],
    files: &dyn CapturedFiles,
    project: &Path,
) -> Result<(), WriteProjectError> {
    for one in payload {
        let to = project.join(compile::os_string(&one.path));
        let failed = |source| WriteProjectError::Write { path: to.clone(), source };
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        match &one.kind {
            Kind::Directory => match fs::create_dir(&to) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result.map_err(failed)?,
            },
            Kind::File(content) => write_file(files, &one.source, content, &to)?,
            Kind::Symlink(target) => {
                link(target, &to).map_err(failed)?;
            }
            Kind::HardLink(first) => {
                let first = project.join("files").join(compile::os_string(first.relative()));
                fs::hard_link(&first, &to).map_err(failed)?;
            }
            // These are no files a folder could keep: `files.meta` has all there is to them.
            Kind::Fifo | Kind::Socket | Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } => {
            }
        }
    }
    Ok(())
}

#[cfg(unix)]
fn link(target: &[u8], to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(compile::os_string(target), to)
}

/// Few may make links on Windows, and `files.meta` has all there is to one.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "as on the other system")]
fn link(_: &[u8], _: &Path) -> io::Result<()> {
    Ok(())
}

fn write_file(
    files: &dyn CapturedFiles,
    source: &MachinePath,
    content: &Content,
    to: &Path,
) -> Result<(), WriteProjectError> {
    let read =
        |error| WriteProjectError::Read { file: PathBuf::from(source.to_string()), source: error };
    let failed = |source| WriteProjectError::Write { path: to.to_owned(), source };
    let mode = if is_executable(files, source).map_err(read)? { 0o755 } else { 0o644 };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(windows)]
    let _ = mode;
    let mut file = options.open(to).map_err(failed)?;
    let mut hasher = Hasher::new();
    let mut length = 0;
    if let Some(mut reader) = files.open(source, Side::After).map_err(read)? {
        let mut piece = vec![0; PIECE];
        loop {
            let count = reader.read(&mut piece).map_err(read)?;
            if count == 0 {
                break;
            }
            hasher.update(&piece[..count]);
            length += count as u64;
            write_piece(&mut file, &piece[..count], !content.holes.is_empty()).map_err(failed)?;
        }
    }
    file.set_len(length).map_err(failed)?;
    let is_as_captured =
        length == content.length && content.hash.is_none_or(|hash| hash == hasher.finish());
    if is_as_captured { Ok(()) } else { Err(WriteProjectError::Changed { path: source.clone() }) }
}

/// Zeros of a file with holes stay holes.
fn write_piece(file: &mut File, piece: &[u8], sparse: bool) -> io::Result<()> {
    if sparse && piece.iter().all(|byte| *byte == 0) {
        let length = i64::try_from(piece.len()).map_err(io::Error::other)?;
        file.seek(SeekFrom::Current(length)).map(|_| ())
    } else {
        file.write_all(piece)
    }
}

fn is_executable(files: &dyn CapturedFiles, path: &MachinePath) -> io::Result<bool> {
    Ok(files.entry(path, Side::After)?.is_some_and(|entry| entry.meta.mode & 0o111 != 0))
}
