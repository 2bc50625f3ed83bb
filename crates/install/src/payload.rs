use std::io::{self, Read, Seek};

use package::{Contents, Header, NoRecall, PackageReader, ReadError, Record};

/// A package that can be read front to back, more than once.
pub trait Payload {
    /// What the package is and does.
    fn header(&self) -> &Header;

    /// Hands every record, in order, to `each`, without content.
    fn records(
        &mut self,
        each: &mut dyn FnMut(&Record) -> Result<(), Stop>,
    ) -> Result<(), PayloadError>;

    /// Hands every record, in order, to `each`, with a way to its content. Content that is not poured
    /// is passed over.
    fn contents(
        &mut self,
        each: &mut dyn FnMut(&Record, &mut dyn Pour) -> Result<(), Stop>,
    ) -> Result<(), PayloadError>;
}

/// The content of one file record, once.
pub trait Pour {
    /// Hands the data between the holes, each piece verified, front to back, with its place in the file
    /// in bytes.
    fn pour(&mut self, into: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()>;
}

/// The one who was handed records wants no more of them; why is known to it.
#[derive(Debug)]
pub struct Stop;

/// A package could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The reader was asked to stop.
    #[error("the reading was ended")]
    Stopped,
    /// The package cannot be read, or is not what it says.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What stands behind the payload gave it not.
    #[error("the package's content cannot be had")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl<R: Read + Seek> Payload for PackageReader<R> {
    fn header(&self) -> &Header {
        Self::header(self)
    }

    fn records(
        &mut self,
        each: &mut dyn FnMut(&Record) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        for record in Self::records(self) {
            each(&record?).map_err(|Stop| PayloadError::Stopped)?;
        }
        Ok(())
    }

    fn contents(
        &mut self,
        each: &mut dyn FnMut(&Record, &mut dyn Pour) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        let mut contents = Self::contents(self);
        while let Some(record) = contents.next_record()? {
            each(&record, &mut Pieces(&mut contents)).map_err(|Stop| PayloadError::Stopped)?;
        }
        Ok(())
    }
}

struct Pieces<'c, 'p, R>(&'c mut Contents<'p, R>);

impl<R: Read + Seek> Pour for Pieces<'_, '_, R> {
    fn pour(&mut self, into: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        while let Some(piece) = self.0.piece(&mut NoRecall).map_err(io::Error::other)? {
            into(piece.offset, piece.data)?;
        }
        Ok(())
    }
}
