use std::{
    io::{self, Read, Seek},
    sync::mpsc::{self, Receiver, Sender, SyncSender},
    thread,
};

use install::{Payload, PayloadError, Pour, Stop};
use package::{Header, NoRecall, PackageReader, ReadError, Record};

/// A parcel goes over when it holds so many bytes, or so many items: waking the other side takes time.
const PARCEL_BYTES: usize = 128 << 10;
const PARCEL_ITEMS: usize = 256;
/// Long pieces go over in parts, so that no parcel is much larger than that.
const PIECE: usize = 64 << 10;
/// So many parcels wait at most; with what both sides hold, what they take is bounded.
const WAITING: usize = 3;

/// A package that is unpacked ahead in a thread of its own, while what came before is being written.
pub(crate) struct Ahead<'p, R>(pub(crate) &'p mut PackageReader<R>);

/// What was read, in order.
enum Item {
    Record(Box<Record>),
    /// The next `length` bytes of the parcel are the file's from `offset` on.
    Piece {
        offset: u64,
        length: usize,
    },
    Failed(ReadError),
}

/// Items that go over together, with the bytes of their pieces one after another.
#[derive(Default)]
struct Parcel {
    items: Vec<Item>,
    bytes: Vec<u8>,
}

impl<R: Read + Seek + Send> Payload for Ahead<'_, R> {
    fn header(&self) -> &Header {
        self.0.header()
    }

    fn records(
        &mut self,
        each: &mut dyn FnMut(&Record) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        Payload::records(self.0, each)
    }

    fn contents(
        &mut self,
        each: &mut dyn FnMut(&Record, &mut dyn Pour) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        let package = &mut *self.0;
        thread::scope(|scope| {
            let (full, parcels) = mpsc::sync_channel(WAITING);
            let (empty, emptied) = mpsc::channel();
            let sending = Sending { package: &mut *package, full, emptied };
            if thread::Builder::new().spawn_scoped(scope, move || sending.run()).is_err() {
                return None;
            }
            Some(Receiving::new(parcels, empty).run(each))
        })
        // Where no more threads may be had, one does both.
        .unwrap_or_else(|| Payload::contents(self.0, each))
    }
}

/// The side that reads. It ends when nobody takes its parcels any more.
struct Sending<'p, R> {
    package: &'p mut PackageReader<R>,
    full: SyncSender<Parcel>,
    emptied: Receiver<Parcel>,
}

/// Nobody takes parcels any more.
struct Left;

impl<R: Read + Seek> Sending<'_, R> {
    fn run(self) {
        let Self { package, full, emptied } = self;
        let mut parcel = Parcel::default();
        let mut hand_over = |parcel: &mut Parcel| {
            let next = emptied.try_recv().unwrap_or_default();
            full.send(std::mem::replace(parcel, next)).map_err(|_| Left)
        };
        if let Ok(Err(error)) = read(package, &mut parcel, &mut hand_over) {
            parcel.items.push(Item::Failed(error));
        }
        let _ = hand_over(&mut parcel);
    }
}

fn read<R: Read + Seek>(
    package: &mut PackageReader<R>,
    parcel: &mut Parcel,
    hand_over: &mut dyn FnMut(&mut Parcel) -> Result<(), Left>,
) -> Result<Result<(), ReadError>, Left> {
    let mut contents = package.contents();
    loop {
        match contents.next_record() {
            Err(error) => return Ok(Err(error)),
            Ok(None) => return Ok(Ok(())),
            Ok(Some(record)) => parcel.items.push(Item::Record(Box::new(record))),
        }
        loop {
            match contents.piece(&mut NoRecall) {
                Err(error) => return Ok(Err(error)),
                Ok(None) => break,
                Ok(Some(piece)) => {
                    let mut offset = piece.offset;
                    for bytes in piece.data.chunks(PIECE) {
                        parcel.bytes.extend_from_slice(bytes);
                        parcel.items.push(Item::Piece { offset, length: bytes.len() });
                        offset += bytes.len() as u64;
                        if parcel.bytes.len() >= PARCEL_BYTES {
                            hand_over(parcel)?;
                        }
                    }
                }
            }
        }
        if parcel.items.len() >= PARCEL_ITEMS {
            hand_over(parcel)?;
        }
    }
}

/// The side that is handed what was read.
struct Receiving {
    parcels: Receiver<Parcel>,
    empty: Sender<Parcel>,
    parcel: Parcel,
    /// The item that comes next, and where its bytes start.
    next: usize,
    position: usize,
}

impl Receiving {
    fn new(parcels: Receiver<Parcel>, empty: Sender<Parcel>) -> Self {
        Self { parcels, empty, parcel: Parcel::default(), next: 0, position: 0 }
    }

    fn run(
        mut self,
        each: &mut dyn FnMut(&Record, &mut dyn Pour) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        while self.fill() {
            match self.take() {
                Item::Record(record) => {
                    each(&record, &mut self).map_err(|Stop| PayloadError::Stopped)?;
                }
                // Content nobody poured.
                Item::Piece { length, .. } => self.position += length,
                Item::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether there is an item; waits for the next parcel.
    fn fill(&mut self) -> bool {
        while self.next == self.parcel.items.len() {
            let Ok(parcel) = self.parcels.recv() else { return false };
            let mut done = std::mem::replace(&mut self.parcel, parcel);
            (self.next, self.position) = (0, 0);
            done.items.clear();
            done.bytes.clear();
            // Its room is used again, if there is still something to read.
            let _ = self.empty.send(done);
        }
        true
    }

    /// The next item, of a parcel that has one.
    fn take(&mut self) -> Item {
        self.next += 1;
        std::mem::replace(
            &mut self.parcel.items[self.next - 1],
            Item::Piece { offset: 0, length: 0 },
        )
    }
}

impl Pour for Receiving {
    fn pour(&mut self, into: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>) -> io::Result<()> {
        while self.fill() && !matches!(self.parcel.items[self.next], Item::Record(_)) {
            match self.take() {
                Item::Piece { offset, length } => {
                    let start = self.position;
                    self.position += length;
                    into(offset, &self.parcel.bytes[start..self.position])?;
                }
                Item::Failed(error) => return Err(io::Error::other(error)),
                Item::Record(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use install::{Payload, PayloadError, Stop};
    use package::PackageReader;
    use testkit::Sample;

    use super::Ahead;

    /// Everything a payload hands out, with each file's content.
    fn all(payload: &mut dyn Payload) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        let read = payload.contents(&mut |record, pour| {
            let mut content = Vec::new();
            pour.pour(&mut |offset, bytes| {
                content.resize(usize::try_from(offset).unwrap_or(0), 0);
                content.extend_from_slice(bytes);
                Ok(())
            })
            .map_err(|_| Stop)?;
            all.push((record.path.clone(), content));
            Ok(())
        });
        assert!(read.is_ok(), "{read:?}");
        all
    }

    fn sample() -> PackageReader<Cursor<Vec<u8>>> {
        let mut sample = Sample::new("many", "1");
        let tree = sample.tree("/opt/many");
        sample.directory(tree, "");
        for number in 0..600_u32 {
            sample.file(tree, &format!("{number:03}"), &number.to_le_bytes());
        }
        let long: Vec<u8> =
            (0..3_u32 << 20).map(|byte| (byte.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        sample.file(tree, "700", &long);
        sample.file(tree, "800", b"");
        // The same once more: it repeats.
        sample.file(tree, "900", &long);
        sample.open()
    }

    #[test]
    fn ahead_hands_out_what_reading_does() {
        let plain = all(&mut sample());
        assert!(all(&mut Ahead(&mut sample())) == plain, "read ahead, it is other content");
        assert!(plain.iter().any(|(_, content)| content.len() > 2 << 20));
    }

    #[test]
    fn reading_ahead_stops_when_asked_to() {
        let mut count = 0;
        let read = Ahead(&mut sample()).contents(&mut |_, _| {
            count += 1;
            if count == 3 { Err(Stop) } else { Ok(()) }
        });
        assert!(matches!(read, Err(PayloadError::Stopped)) && count == 3);
    }

    #[test]
    fn content_nobody_pours_is_passed_over() {
        let mut names = Vec::new();
        let read = Ahead(&mut sample()).contents(&mut |record, _| {
            names.push(record.path.clone());
            Ok(())
        });
        let plain: Vec<_> = all(&mut sample()).into_iter().map(|(path, _)| path).collect();
        assert!(read.is_ok() && names == plain);
    }
}
