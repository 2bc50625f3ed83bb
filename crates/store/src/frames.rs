//! Frames on their way from a distribution point: fetched front to back, read while they come, gone on from after a cut.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use content::{Cost, Object, PackFrame, Stretch, stretches};

use crate::{Point, PointError, at::FileExt};

/// How often a request that stops is made again although nothing came.
const TRIES: u32 = 3;

/// The frames of a release, each in a file of its own once it comes. What is in them is **not yet checked**.
pub(crate) struct Frames<'p> {
    point: &'p Point,
    folder: PathBuf,
    packs: Vec<Object>,
    all: Vec<PackFrame>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// How many bytes of each frame are here.
    here: HashMap<u32, u64>,
    /// Why no more will come.
    failed: Option<PointError>,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<'p> Frames<'p> {
    pub(crate) fn new(
        point: &'p Point,
        folder: &Path,
        packs: &[Object],
        frames: &[PackFrame],
    ) -> Self {
        Self {
            point,
            folder: folder.to_owned(),
            packs: packs.to_vec(),
            all: frames.to_vec(),
            shared: Arc::default(),
        }
    }

    pub(crate) fn wait_in(&mut self, folder: &Path) {
        folder.clone_into(&mut self.folder);
    }

    /// The requests that bring what is missing of these frames.
    pub(crate) fn missing(&self, wanted: &[u32]) -> Vec<Stretch> {
        let wanted: Vec<_> = wanted.iter().map(|number| (*number, self.here(*number))).collect();
        stretches(&self.all, &wanted)
    }

    /// What they cost.
    pub(crate) fn cost(missing: &[Stretch]) -> Cost {
        let bytes = missing.iter().map(|stretch| stretch.bytes.end - stretch.bytes.start).sum();
        Cost { bytes, requests: missing.len() as u64 }
    }

    /// Fetches; what comes can be read meanwhile. Ends early when [`stop`](Self::stop) was called.
    pub(crate) fn fetch(&self, missing: &[Stretch], progress: &mut dyn FnMut(u64)) {
        let result = missing.iter().try_for_each(|stretch| self.stretch(stretch, progress));
        let mut state = self.shared.lock();
        if let Err(error) = result {
            state.failed = Some(error);
        }
        state.ended = true;
        self.shared.news.notify_all();
    }

    /// The same frames, fetched by themselves.
    pub(crate) fn beside(&self) -> Frames<'p> {
        Self::new(self.point, &self.folder, &self.packs, &self.all)
    }

    /// Asked before a fetch: what an earlier one said is past.
    pub(crate) fn begin(&self) {
        *self.shared.lock() = State::default();
    }

    /// Nobody reads any more.
    pub(crate) fn stop(&self) {
        self.shared.lock().ended = true;
        self.shared.news.notify_all();
    }

    /// Waits, but not for longer than somebody reads.
    fn pause(&self, patience: Duration) {
        let state = self.shared.lock();
        let reads = |state: &mut State| !state.ended;
        let _ = self.shared.news.wait_timeout_while(state, patience, reads);
    }

    /// Why a fetch ended early.
    pub(crate) fn failed(&self) -> Option<PointError> {
        self.shared.lock().failed.take()
    }

    /// A frame, to be read while it comes.
    pub(crate) fn open(&self, number: u32) -> FrameFile {
        FrameFile {
            number,
            path: self.path(number),
            stored: self.all.get(number as usize).map_or(0, |frame| frame.stored),
            shared: Arc::clone(&self.shared),
            file: None,
            at: 0,
        }
    }

    /// What came of a frame is not what it should be.
    pub(crate) fn forget(&self, number: u32) -> Result<(), PointError> {
        self.shared.lock().here.remove(&number);
        match std::fs::remove_file(self.path(number)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => {
                Err(PointError::File { doing: "deleting", path: self.path(number), source })
            }
        }
    }

    /// Deletes all that came.
    pub(crate) fn discard(&self) -> Result<(), PointError> {
        (0..self.all.len())
            .try_for_each(|number| self.forget(u32::try_from(number).unwrap_or(u32::MAX)))
    }

    fn here(&self, number: u32) -> u64 {
        let stored = self.all.get(number as usize).map_or(0, |frame| frame.stored);
        std::fs::metadata(self.path(number)).map_or(0, |found| found.len().min(stored))
    }

    fn path(&self, number: u32) -> PathBuf {
        let frame = self.all.get(number as usize);
        let pack = frame.and_then(|frame| self.packs.get(frame.pack as usize));
        let name = match (frame, pack) {
            (Some(frame), Some(pack)) => format!(".{}-{}.frame", pack.hash, frame.offset),
            _ => ".none.frame".to_owned(),
        };
        self.folder.join(name)
    }

    fn stretch(&self, stretch: &Stretch, progress: &mut dyn FnMut(u64)) -> Result<(), PointError> {
        let Some(pack) = self.packs.get(stretch.pack as usize) else { return Ok(()) };
        let mut at = stretch.bytes.start;
        let mut tries = 0;
        let mut sink = Sink { frames: self, stretch, next: 0, file: None };
        while at < stretch.bytes.end {
            let from = at;
            let result = self.point.read_range(pack, at..stretch.bytes.end, &mut |piece| {
                sink.take(at, piece)?;
                at += piece.len() as u64;
                progress(piece.len() as u64);
                Ok(())
            });
            match result {
                Ok(()) => {}
                // The reader went away.
                Err(PointError::File { doing: "stopping", .. }) => return Ok(()),
                Err(PointError::Request { .. }) if at > from => tries = 0,
                Err(PointError::Request { .. }) if tries < TRIES => {
                    tries += 1;
                    self.pause(Duration::from_millis(50 << tries));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Puts the bytes of a stretch where they belong.
struct Sink<'f> {
    frames: &'f Frames<'f>,
    stretch: &'f Stretch,
    next: usize,
    file: Option<File>,
}

impl Sink<'_> {
    fn take(&mut self, mut at: u64, mut bytes: &[u8]) -> Result<(), PointError> {
        if self.frames.shared.lock().ended {
            let (path, source) = (self.frames.folder.clone(), io::ErrorKind::Interrupted.into());
            return Err(PointError::File { doing: "stopping", path, source });
        }
        while !bytes.is_empty() {
            let Some(&number) = self.stretch.frames.get(self.next) else { return Ok(()) };
            let frame = self.frames.all[number as usize];
            if at < frame.offset {
                // Between frames is what nobody asked for.
                let gap = usize::try_from(frame.offset - at).unwrap_or(usize::MAX).min(bytes.len());
                (at, bytes) = (at + gap as u64, &bytes[gap..]);
                continue;
            }
            let left = usize::try_from(frame.end() - at).unwrap_or(usize::MAX).min(bytes.len());
            self.write(number, at - frame.offset, &bytes[..left])?;
            (at, bytes) = (at + left as u64, &bytes[left..]);
            if at == frame.end() {
                (self.next, self.file) = (self.next + 1, None);
            }
        }
        Ok(())
    }

    fn write(&mut self, number: u32, offset: u64, bytes: &[u8]) -> Result<(), PointError> {
        let path = self.frames.path(number);
        let cannot = |source| PointError::File { doing: "writing", path: path.clone(), source };
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            let file =
                options.create(true).truncate(false).write(true).open(&path).map_err(cannot)?;
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.seek(SeekFrom::Start(offset)).map_err(cannot)?;
            file.write_all(bytes).map_err(cannot)?;
        }
        let mut state = self.frames.shared.lock();
        state.here.insert(number, offset + bytes.len() as u64);
        self.frames.shared.news.notify_all();
        Ok(())
    }
}

/// A frame that may still be coming.
pub(crate) struct FrameFile {
    number: u32,
    path: PathBuf,
    stored: u64,
    shared: Arc<Shared>,
    file: Option<(File, u64)>,
    at: u64,
}

impl FrameFile {
    /// How many bytes from the start are here: more than `at`, or none will come.
    fn wait(&mut self) -> io::Result<u64> {
        loop {
            let length = std::fs::metadata(&self.path).map_or(0, |found| found.len());
            let state = self.shared.lock();
            let here = state.here.get(&self.number).copied().unwrap_or(0).max(length);
            if here > self.at {
                return Ok(here);
            }
            if state.ended {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no more of it came"));
            }
            // Woken by the one that fetches; a lost wake-up costs no more than this.
            let waited = self.shared.news.wait_timeout(state, Duration::from_secs(1));
            drop(waited);
        }
    }
}

impl Read for FrameFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.stored || out.is_empty() {
            return Ok(0);
        }
        if self.file.as_ref().is_none_or(|(_, here)| *here <= self.at) {
            let here = self.wait()?;
            let file = match self.file.take() {
                Some((file, _)) => file,
                None => File::open(&self.path)?,
            };
            self.file = Some((file, here));
        }
        let Some((file, here)) = &self.file else { return Ok(0) };
        let left = usize::try_from(here.min(&self.stored) - self.at).unwrap_or(usize::MAX);
        let take = left.min(out.len());
        let read = file.read_at(&mut out[..take], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for FrameFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(at) => self.at = at,
            SeekFrom::Current(by) => self.at = self.at.saturating_add_signed(by),
            SeekFrom::End(by) => self.at = self.stored.saturating_add_signed(by),
        }
        Ok(self.at)
    }
}
