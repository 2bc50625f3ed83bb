use std::{
    fs::File,
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use native::{Exported, System};
use package::PackageReader;

use crate::{CompileError, platform};

/// Where an export goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// This file.
    File(PathBuf),
    /// A file in this folder, by the name its kind has.
    Folder(PathBuf),
}

impl Destination {
    /// What errors name.
    fn named(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path) => path,
        }
    }

    fn folder(&self) -> &Path {
        match self {
            Self::File(file) => match file.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            },
            Self::Folder(folder) => folder,
        }
    }
}

/// Makes a .deb or .rpm of a package or installer; gives the file, which is replaced once all is well.
pub fn export(
    package: &Path,
    destination: &Destination,
    system: System,
    settings: native::Settings,
) -> Result<(PathBuf, Exported), CompileError> {
    let write = |reader: &mut Reader, output: &File, spool: &mut File| {
        let mut out = BufWriter::new(output);
        let exported = match system {
            System::Deb => native::write_deb(reader, spool, &mut out, settings)?,
            System::Rpm => native::write_rpm(reader, spool, &mut out, settings)?,
        };
        out.flush().map_err(|source| CompileError::Write {
            path: destination.named().to_owned(),
            source,
        })?;
        Ok(exported)
    };
    written(package, destination, write)
}

/// Makes an .msi of a package or installer; gives the file, which is replaced once all is well.
pub fn export_msi(
    package: &Path,
    destination: &Destination,
) -> Result<(PathBuf, Exported), CompileError> {
    written(package, destination, |reader, output, _| Ok(native::write_msi(reader, output)?))
}

type Reader = PackageReader<BufReader<File>>;

/// Writes what becomes of a whole package beside its place, then there. What writes has a file of its own besides.
fn written(
    package: &Path,
    destination: &Destination,
    write: impl FnOnce(&mut Reader, &File, &mut File) -> Result<Exported, CompileError>,
) -> Result<(PathBuf, Exported), CompileError> {
    let unreadable = |source| CompileError::Read { path: package.to_owned(), source };
    let named = destination.named();
    let unwritable = |source| CompileError::Write { path: named.to_owned(), source };
    let file = BufReader::new(File::open(package).map_err(unreadable)?);
    let damaged = |source: Box<dyn std::error::Error + Send + Sync>| CompileError::Damaged {
        path: package.to_owned(),
        source,
    };
    let mut reader = PackageReader::open(file).map_err(|error| damaged(error.into()))?;
    reader.verify(&mut |_, _| {}).map_err(|error| damaged(error.into()))?;
    let temporary =
        || tempfile::Builder::new().prefix(".packhorse-").tempfile_in(destination.folder());
    let output = temporary().map_err(unwritable)?;
    let mut spool = temporary().map_err(unwritable)?;
    let exported = write(&mut reader, output.as_file(), spool.as_file_mut())?;
    let file = output.as_file();
    platform::set_mode(file, 0o644).map_err(unwritable)?;
    file.sync_all().map_err(unwritable)?;
    let path = match destination {
        Destination::File(path) => path.clone(),
        Destination::Folder(folder) => folder.join(&exported.file_name),
    };
    output.persist(&path).map_err(|error| unwritable(error.error))?;
    Ok((path, exported))
}
