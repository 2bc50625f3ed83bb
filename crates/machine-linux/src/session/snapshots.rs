//! A session observed by two snapshots: a baseline, and a second scan compared with it.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use capture::{
    BothNames, ChangeSet, Contents, Diff, Event, Observer, ReadSnapshotError, Record, Sides,
    SnapshotHeader, SnapshotReader, SnapshotWriter, without_unknown,
};
use model::{Hash, Kind, MachinePath, Time};

use super::{
    Beginning, Finished, OpenSessionError, RunError, SESSION_FORMAT, SESSIONS, Session,
    content::Notes, files, kept::Keeper, now, overlay::skips,
};
use crate::{
    facts,
    namespaces::Outcome,
    node::{hash, open_file},
    owners::read_names,
    scan::{Place, Scan, ScanError, Skip, SkipReason, open_file_below},
};

/// How much old text is kept outside `/etc` unless somebody says otherwise, in bytes.
pub const KEEP: u64 = 128 << 20;
/// So many records go from one thread to the other at a time.
const BATCH: usize = 512;
const BATCHES: usize = 16;

/// Told how many paths were scanned so far.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

/// How a baseline is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSettings {
    /// Hash all content, so that a rewrite with the same content is known for what it is.
    pub hash: bool,
    /// How many bytes of old text to keep outside `/etc`.
    pub keep: u64,
}

impl Default for SnapshotSettings {
    fn default() -> Self {
        Self { hash: false, keep: KEEP }
    }
}

impl Session {
    /// Begins a session and takes its baseline: metadata of everything, content of `/etc` and of small
    /// text.
    ///
    /// # Errors
    /// A session that is there already; a root that cannot be read.
    pub fn begin_snapshots(
        folder: &Path,
        root: &Path,
        settings: &SnapshotSettings,
        progress: Progress<'_>,
    ) -> Result<Self, RunError> {
        let failed = |reason| RunError::Prepare { root: root.to_owned(), reason };
        let root = root.canonicalize().map_err(failed)?;
        let folder = std::path::absolute(folder).map_err(failed)?;
        let scan = Scan::of(&root).map_err(failed)?;
        let beginning = Beginning {
            format: SESSION_FORMAT,
            observer: Observer::Snapshots,
            hash: settings.hash,
            keep: settings.keep,
            begun: now(),
            host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            layers: Vec::new(),
            skips: skips(&scan.mounts),
            root: root.clone(),
        };
        let mut session = Self::begin(&folder, beginning)?;
        session.write_baseline(settings, progress)?;
        session.advance(Event::BaselineDone)?;
        Ok(session)
    }

    fn write_baseline(
        &self,
        settings: &SnapshotSettings,
        progress: Progress<'_>,
    ) -> Result<(), RunError> {
        let failed = |reason| RunError::Prepare { root: self.beginning.root.clone(), reason };
        let mut keeper =
            Keeper::create(&self.folder.join(files::KEPT), settings.keep).map_err(failed)?;
        let started = clock(&self.folder).map_err(failed)?;
        let scan = self.scan().map_err(failed)?;
        let header =
            SnapshotHeader { names: read_names(&self.beginning.root).map_err(failed)?, started };
        let unfinished = self.folder.join("baseline.new");
        let file = BufWriter::new(File::create(&unfinished).map_err(failed)?);
        let all = settings.hash;
        let file = write_snapshot(&scan, file, &header, progress, &mut |record, place| {
            keeper.consider(record, place)?;
            // A file changed during the scan may change again at the same tick of the clock.
            if all || record.stamp.changed >= started { hash_now(record, place) } else { Ok(()) }
        })?;
        keeper.finish().map_err(failed)?;
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&unfinished, self.folder.join(files::BASELINE)))
            .and_then(|()| File::open(&self.folder)?.sync_all())
            .map_err(failed)
    }

    /// The scan of the session's root, without what is our own.
    fn scan(&self) -> io::Result<Scan> {
        let scan = Scan::of(&self.beginning.root)?.without(&self.folder);
        Ok(if Path::new(SESSIONS).exists() { scan.without(Path::new(SESSIONS)) } else { scan })
    }

    pub(super) fn finish_snapshots(mut self, progress: Progress<'_>) -> Result<Finished, RunError> {
        let root = self.beginning.root.clone();
        let failed = |reason| RunError::Prepare { root: root.clone(), reason };
        let scan = self.scan().map_err(failed)?;
        let names = read_names(&root).map_err(failed)?;
        let mut contents = RootContents { root: root.clone() };
        let compared =
            compare(&self.folder.join(files::BASELINE), &scan, names, &mut contents, progress)?;
        let mut costs = vec![
            "files that were only opened are not known: snapshots see what was written".to_owned(),
        ];
        if !self.beginning.hash {
            costs.push(
                "a file written again with the same content counts as changed, unless its old content was kept (`--hash` tells them apart)"
                    .to_owned(),
            );
        }
        let facts_now = facts::read_facts(&root, &self.beginning.host_name);
        if facts_now.boot_id != self.facts()?.boot_id {
            costs.push(
                "the machine was restarted in between; what that changed is in the change set too"
                    .to_owned(),
            );
        }
        let outcome: Option<Outcome> = files::read_json(&self.folder.join(files::OUTCOME)).ok();
        let mut all: Vec<Skip> =
            self.beginning.skips.iter().cloned().chain(compared.skips).collect();
        all.sort();
        all.dedup();
        let mut notes = Notes { skips: all, costs, ..Notes::default() };
        if let Some(outcome) = outcome {
            notes.exit_code = Some(outcome.exit_code);
            notes.left_running = outcome.left_running;
        }
        self.write_finished(&compared.changes, &notes)?;
        Ok(Finished::open(self)?)
    }

    /// Notes how the command ended that was run between the two scans.
    ///
    /// # Errors
    /// The session cannot be written.
    pub fn note_exit(&self, exit_code: i32) -> Result<(), RunError> {
        let failed = |reason| RunError::Prepare { root: self.beginning.root.clone(), reason };
        let outcome = Outcome { exit_code, ..Outcome::default() };
        files::write_whole(&self.folder, files::OUTCOME, &outcome).map_err(failed)
    }
}

/// What a second scan found.
pub(super) struct Compared {
    pub(super) changes: ChangeSet,
    pub(super) skips: Vec<Skip>,
}

/// Scans again, and compares with a snapshot.
pub(super) fn compare<C: Contents<Error = RunError>>(
    baseline: &Path,
    scan: &Scan,
    names: capture::Names,
    contents: &mut C,
    progress: Progress<'_>,
) -> Result<Compared, RunError> {
    let damaged = |error| unreadable(baseline, error);
    let file = File::open(baseline)
        .map_err(|reason| OpenSessionError::Read { file: baseline.to_owned(), reason })?;
    let mut reader =
        SnapshotReader::open(BufReader::with_capacity(1 << 20, file)).map_err(damaged)?;
    let sides = Sides {
        names: BothNames { before: reader.header().names.clone(), after: names },
        started: reader.header().started,
    };
    let (mut changes, skips) = thread::scope(|scope| {
        let (send, receive) = sync_channel(BATCHES);
        let scanner = scope.spawn(|| scan_into(scan, send, &mut |_, _| Ok(())));
        let mut records = Batches::new(receive, progress);
        let changes = Diff::new(&sides, contents).merge(
            || reader.next_record().map_err(damaged).map_err(RunError::from),
            || Ok(records.next()),
        );
        drop(records);
        let scanned = scanner.join().map_err(|_| died(scan))?;
        // A scan that failed ended the stream early: its error is the one to tell.
        match (changes, scanned) {
            (Ok(changes), Ok(skips)) => Ok((changes, skips)),
            (Err(error), Ok(_)) => Err(error),
            (_, Err(error)) => Err(scan_failed(scan, error)),
        }
    })?;
    let mut unknown = reader.end().map(|end| end.unknown.clone()).unwrap_or_default();
    unknown.extend(unknown_of(&skips));
    without_unknown(&mut changes, &unknown);
    Ok(Compared { changes, skips })
}

/// Scans a root and writes what it finds, in two threads. `look` sees each record before it is written.
///
/// # Errors
/// The root cannot be read, or `out` fails.
pub fn snapshot_of<W: Write + Send>(
    scan: &Scan,
    out: W,
    header: &SnapshotHeader,
    progress: Progress<'_>,
) -> Result<W, RunError> {
    write_snapshot(scan, out, header, progress, &mut |_, _| Ok(()))
}

pub(super) type Look<'a> = &'a mut (dyn FnMut(&mut Record, &Place<'_>) -> io::Result<()> + Send);

pub(super) fn write_snapshot<W: Write + Send>(
    scan: &Scan,
    out: W,
    header: &SnapshotHeader,
    progress: Progress<'_>,
    look: Look<'_>,
) -> Result<W, RunError> {
    let failed = |reason| RunError::Prepare { root: scan.root.clone(), reason };
    let mut writer = SnapshotWriter::start(out, header).map_err(failed)?;
    thread::scope(|scope| {
        let (send, receive) = sync_channel(BATCHES);
        let scanner = scope.spawn(|| scan_into(scan, send, look));
        let mut records = Batches::new(receive, progress);
        let mut written = Ok(());
        while let Some(record) = records.next() {
            written = writer.add(&record);
            if written.is_err() {
                break;
            }
        }
        drop(records);
        let scanned = scanner.join().map_err(|_| died(scan))?;
        written.map_err(failed)?;
        let skips = scanned.map_err(|error| scan_failed(scan, error))?;
        writer.finish(unknown_of(&skips)).map_err(failed)
    })
}

/// Hashes the file of a record now.
pub(super) fn hash_now(record: &mut Record, place: &Place<'_>) -> io::Result<()> {
    if let Kind::File(content) = &mut record.node.kind
        && content.hash.is_none()
    {
        content.hash =
            match open_file(place.folder, place.name).and_then(|file| hash(&file, content)) {
                Ok(hash) => hash,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                    ) =>
                {
                    None
                }
                Err(error) => return Err(error),
            };
    }
    Ok(())
}

/// Where nothing is known, sockets aside: those are known to be of no account.
fn unknown_of(skips: &[Skip]) -> Vec<MachinePath> {
    let mut unknown: Vec<MachinePath> = skips
        .iter()
        .filter(|skip| skip.reason != SkipReason::Socket)
        .map(|skip| skip.path.clone())
        .collect();
    unknown.sort();
    unknown
}

fn scan_into(
    scan: &Scan,
    send: SyncSender<Vec<Record>>,
    look: Look<'_>,
) -> Result<Vec<Skip>, ScanError> {
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut batch = Vec::with_capacity(BATCH);
    let skips = scan.run(&mut |mut record, place| {
        look(&mut record, place)?;
        batch.push(record);
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            send.send(full).map_err(|_| closed())?;
        }
        Ok(())
    })?;
    send.send(batch).map_err(|_| ScanError::Sink(closed()))?;
    Ok(skips)
}

/// Records as they come from the scanning thread.
struct Batches<'a> {
    receive: Receiver<Vec<Record>>,
    batch: std::vec::IntoIter<Record>,
    count: u64,
    progress: Progress<'a>,
}

impl<'a> Batches<'a> {
    fn new(receive: Receiver<Vec<Record>>, progress: Progress<'a>) -> Self {
        Self { receive, batch: Vec::new().into_iter(), count: 0, progress }
    }

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.batch.next() {
                return Some(record);
            }
            let batch = self.receive.recv().ok()?;
            self.count += batch.len() as u64;
            (self.progress)(self.count);
            self.batch = batch.into_iter();
        }
    }
}

/// Content as the root holds it now; of before, what the baseline knows.
struct RootContents {
    root: PathBuf,
}

impl Contents for RootContents {
    type Error = RunError;

    fn before(&mut self, record: &Record) -> Result<Option<Hash>, RunError> {
        Ok(match &record.node.kind {
            Kind::File(content) => content.hash,
            _ => None,
        })
    }

    fn after(&mut self, record: &Record) -> Result<Option<Hash>, RunError> {
        hash_below(&self.root, record)
    }
}

/// The hash of a scanned file's content, read from `root` now.
pub(super) fn hash_below(root: &Path, record: &Record) -> Result<Option<Hash>, RunError> {
    let Kind::File(content) = &record.node.kind else { return Ok(None) };
    match open_file_below(root, &record.path).and_then(|file| hash(&file, content)) {
        Ok(hash) => Ok(hash),
        // Gone since the scan, or not ours to read: then its content is not known.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(None)
        }
        Err(reason) => Err(RunError::Prepare { root: root.to_owned(), reason }),
    }
}

/// The time by the clock that stamps files, which no adjustment of the wall clock can put apart from them.
pub(super) fn clock(folder: &Path) -> io::Result<Time> {
    use std::os::unix::fs::MetadataExt as _;
    let probe = folder.join("clock");
    std::fs::write(&probe, b"now")?;
    let found = probe.metadata()?;
    std::fs::remove_file(&probe)?;
    Ok(Time { seconds: found.ctime(), nanoseconds: u32::try_from(found.ctime_nsec()).unwrap_or(0) })
}

fn unreadable(file: &Path, error: ReadSnapshotError) -> OpenSessionError {
    match error {
        ReadSnapshotError::Read(reason) => OpenSessionError::Read { file: file.to_owned(), reason },
        other => OpenSessionError::Damaged { file: file.to_owned(), reason: other.to_string() },
    }
}

fn scan_failed(scan: &Scan, error: ScanError) -> RunError {
    RunError::Prepare { root: scan.root.clone(), reason: io::Error::other(error) }
}

fn died(scan: &Scan) -> RunError {
    RunError::Prepare {
        root: scan.root.clone(),
        reason: io::Error::other("the scanning thread ended"),
    }
}
