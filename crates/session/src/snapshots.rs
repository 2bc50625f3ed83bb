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
use model::{Hash, Kind, MachinePath};

use crate::{
    BASELINE, Beginning, Finished, Notes, ObserveError, OpenSessionError, Outcome, Place,
    Reference, SESSION_FORMAT, ScanError, Session, Skip, SkipReason, files, kept::Keeper, now,
    platform,
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

/// Begins a session and takes its baseline: metadata of everything, content of the folder of settings and of small text.
/// `own` are folders of ours besides the session's, wherever they are.
///
/// # Errors
/// A session that is there already; a root that cannot be read.
pub fn begin_snapshots(
    folder: &Path,
    reference: &dyn Reference,
    own: &[PathBuf],
    settings: &SnapshotSettings,
    progress: Progress<'_>,
) -> Result<Session, ObserveError> {
    let failed = |reason| ObserveError::Prepare { root: reference.root().to_owned(), reason };
    let folder = std::path::absolute(folder).map_err(failed)?;
    let beginning = Beginning {
        format: SESSION_FORMAT,
        observer: Observer::Snapshots,
        hash: settings.hash,
        keep: settings.keep,
        begun: now(),
        host_name: reference.host_name(),
        layers: Vec::new(),
        skips: reference.passed_over().map_err(failed)?,
        root: reference.root().to_owned(),
    };
    let facts = reference.facts(&beginning.host_name);
    let mut session = Session::begin(&folder, beginning, &facts)?;
    write_baseline(&session, reference, own, settings, progress)?;
    session.advance(Event::BaselineDone)?;
    Ok(session)
}

fn write_baseline(
    session: &Session,
    reference: &dyn Reference,
    own: &[PathBuf],
    settings: &SnapshotSettings,
    progress: Progress<'_>,
) -> Result<(), ObserveError> {
    let failed = |reason| session.failed(reason);
    let folder = session.folder();
    let kept = folder.join(files::KEPT);
    let mut keeper =
        Keeper::create(&kept, reference.settings_folder(), settings.keep).map_err(failed)?;
    let started = reference.clock(folder).map_err(failed)?;
    let header = SnapshotHeader { names: reference.names().map_err(failed)?, started };
    let unfinished = "baseline.new";
    let file = BufWriter::new(File::create(folder.join(unfinished)).map_err(failed)?);
    let all = settings.hash;
    let own = own_and(session, own);
    let file = write_snapshot(reference, &own, file, &header, progress, &mut |record, place| {
        keeper.consider(record, place)?;
        // A file changed during the scan may change again at the same tick of the clock.
        if all || record.stamp.changed >= started { hash_now(record, place) } else { Ok(()) }
    })?;
    keeper.finish().map_err(failed)?;
    file.into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .and_then(|()| platform::put(folder, unfinished, BASELINE))
        .map_err(failed)
}

/// The folders of ours a scan passes over.
fn own_and(session: &Session, own: &[PathBuf]) -> Vec<PathBuf> {
    own.iter().cloned().chain([session.folder().to_owned()]).collect()
}

/// Ends the observation and writes the change set; after a restart too, against the baseline it was begun with.
///
/// # Errors
/// A baseline that was never completed; a root that cannot be read; a session that cannot be written.
pub fn finish_snapshots(
    mut session: Session,
    reference: &dyn Reference,
    own: &[PathBuf],
    progress: Progress<'_>,
) -> Result<Finished, ObserveError> {
    let failed = |reason| session.failed(reason);
    let names = reference.names().map_err(failed)?;
    let mut contents = ReferenceContents { reference };
    let baseline = session.folder().join(BASELINE);
    let own = own_and(&session, own);
    let compared: Compared =
        compare::<_, ObserveError>(&baseline, reference, &own, names, &mut contents, progress)?;
    let mut costs = vec![
        "files that were only opened are not known: snapshots see what was written".to_owned(),
    ];
    if !session.beginning().hash {
        costs.push(
            "a file written again with the same content counts as changed, unless its old content was kept (`--hash` tells them apart)"
                .to_owned(),
        );
    }
    let facts_now = reference.facts(&session.beginning().host_name);
    if facts_now.boot_id != session.facts()?.boot_id {
        costs.push(
            "the machine was restarted in between; what that changed is in the change set too"
                .to_owned(),
        );
    }
    let outcome: Option<Outcome> = files::read_json(&session.folder().join(files::OUTCOME)).ok();
    let mut all: Vec<Skip> =
        session.beginning().skips.iter().cloned().chain(compared.skips).collect();
    all.sort();
    all.dedup();
    let mut notes = Notes { skips: all, costs, ..Notes::default() };
    if let Some(outcome) = outcome {
        notes.exit_code = Some(outcome.exit_code);
        notes.left_running = outcome.left_running;
    }
    session.write_finished(&compared.changes, &notes)?;
    Ok(Finished::open(session)?)
}

/// What a second scan found.
pub struct Compared {
    /// What differs.
    pub changes: ChangeSet,
    /// What it left out.
    pub skips: Vec<Skip>,
}

/// Scans again, and compares with a snapshot.
///
/// # Errors
/// The snapshot or the root cannot be read, or `contents` fails.
pub fn compare<C: Contents<Error = E>, E: From<ObserveError>>(
    baseline: &Path,
    reference: &dyn Reference,
    own: &[PathBuf],
    names: capture::Names,
    contents: &mut C,
    progress: Progress<'_>,
) -> Result<Compared, E> {
    let damaged = |error| ObserveError::Open(unreadable(baseline, error));
    let file = File::open(baseline).map_err(|reason| {
        ObserveError::Open(OpenSessionError::Read { file: baseline.to_owned(), reason })
    })?;
    let mut reader =
        SnapshotReader::open(BufReader::with_capacity(1 << 20, file)).map_err(damaged)?;
    let sides = Sides {
        names: BothNames { before: reader.header().names.clone(), after: names },
        started: reader.header().started,
    };
    let (mut changes, skips) = thread::scope(|scope| {
        let (send, receive) = sync_channel(BATCHES);
        let scanner = scope.spawn(|| scan_into(reference, own, send, &mut |_, _| Ok(())));
        let mut records = Batches::new(receive, progress);
        let changes = Diff::new(&sides, contents)
            .merge(|| Ok(reader.next_record().map_err(damaged)?), || Ok(records.next()));
        drop(records);
        let scanned = scanner.join().map_err(|_| died(reference))?;
        // A scan that failed ended the stream early: its error is the one to tell.
        match (changes, scanned) {
            (Ok(changes), Ok(skips)) => Ok((changes, skips)),
            (Err(error), Ok(_)) => Err(error),
            (_, Err(error)) => Err(E::from(scan_failed(reference, error))),
        }
    })?;
    let before = reader.end().map(|end| end.unknown.clone()).unwrap_or_default();
    let mut unknown = before.clone();
    unknown.extend(unknown_of(&skips));
    let taken = without_unknown(&mut changes, &unknown);
    let mut skips = skips;
    // What can be read now and could not be then is left out too, and said.
    let known = |path: &MachinePath| skips.iter().any(|skip| path.is_within(&skip.path));
    let hidden: Vec<Skip> = before
        .into_iter()
        .filter(|path| !known(path) && taken.iter().any(|one| one.is_within(path)))
        .map(|path| Skip {
            path,
            reason: SkipReason::Unreadable(
                "it could not be before the installer ran, so that nobody knows what changed"
                    .to_owned(),
            ),
        })
        .collect();
    skips.extend(hidden);
    Ok(Compared { changes, skips })
}

/// Scans a root and writes what it finds, in two threads.
///
/// # Errors
/// The root cannot be read, or `out` fails.
pub fn snapshot_of<W: Write + Send>(
    reference: &dyn Reference,
    out: W,
    header: &SnapshotHeader,
    progress: Progress<'_>,
) -> Result<W, ObserveError> {
    write_snapshot(reference, &[], out, header, progress, &mut |_, _| Ok(()))
}

/// Sees each record before it is written.
pub type Look<'a> = &'a mut (dyn FnMut(&mut Record, &dyn Place) -> io::Result<()> + Send);

/// Scans a root and writes what it finds, in two threads. `look` sees each record before it is written.
///
/// # Errors
/// The root cannot be read, or `out` or `look` fails.
pub fn write_snapshot<W: Write + Send>(
    reference: &dyn Reference,
    own: &[PathBuf],
    out: W,
    header: &SnapshotHeader,
    progress: Progress<'_>,
    look: Look<'_>,
) -> Result<W, ObserveError> {
    let failed = |reason| ObserveError::Prepare { root: reference.root().to_owned(), reason };
    let mut writer = SnapshotWriter::start(out, header).map_err(failed)?;
    thread::scope(|scope| {
        let (send, receive) = sync_channel(BATCHES);
        let scanner = scope.spawn(|| scan_into(reference, own, send, look));
        let mut records = Batches::new(receive, progress);
        let mut written = Ok(());
        while let Some(record) = records.next() {
            written = writer.add(&record);
            if written.is_err() {
                break;
            }
        }
        drop(records);
        let scanned = scanner.join().map_err(|_| died(reference))?;
        written.map_err(failed)?;
        let skips = scanned.map_err(|error| scan_failed(reference, error))?;
        writer.finish(unknown_of(&skips)).map_err(failed)
    })
}

/// Hashes the file of a record now; what cannot be read has no hash.
///
/// # Errors
/// It can be read in part.
pub fn hash_now(record: &mut Record, place: &dyn Place) -> io::Result<()> {
    if let Kind::File(content) = &mut record.node.kind
        && content.hash.is_none()
    {
        content.hash = readable(place.hash(content))?;
    }
    Ok(())
}

/// Gone since the scan, or not ours to read: then its content is not known.
fn readable(hash: io::Result<Option<Hash>>) -> io::Result<Option<Hash>> {
    match hash {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
            ) =>
        {
            Ok(None)
        }
        other => other,
    }
}

/// The hash of a scanned file's content, read from the machine now.
///
/// # Errors
/// It can be read in part.
pub fn hash_of(reference: &dyn Reference, record: &Record) -> Result<Option<Hash>, ObserveError> {
    let Kind::File(content) = &record.node.kind else { return Ok(None) };
    readable(reference.hash(&record.path, content))
        .map_err(|reason| ObserveError::Prepare { root: reference.root().to_owned(), reason })
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
    reference: &dyn Reference,
    own: &[PathBuf],
    send: SyncSender<Vec<Record>>,
    look: Look<'_>,
) -> Result<Vec<Skip>, ScanError> {
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut batch = Vec::with_capacity(BATCH);
    let skips = reference.scan(own, &mut |mut record, place| {
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

/// Content as the machine holds it now; of before, what the baseline knows.
struct ReferenceContents<'a> {
    reference: &'a dyn Reference,
}

impl Contents for ReferenceContents<'_> {
    type Error = ObserveError;

    fn before(&mut self, record: &Record) -> Result<Option<Hash>, ObserveError> {
        Ok(match &record.node.kind {
            Kind::File(content) => content.hash,
            _ => None,
        })
    }

    fn after(&mut self, record: &Record) -> Result<Option<Hash>, ObserveError> {
        hash_of(self.reference, record)
    }
}

fn unreadable(file: &Path, error: ReadSnapshotError) -> OpenSessionError {
    match error {
        ReadSnapshotError::Read(reason) => OpenSessionError::Read { file: file.to_owned(), reason },
        other => OpenSessionError::Damaged { file: file.to_owned(), reason: other.to_string() },
    }
}

fn scan_failed(reference: &dyn Reference, error: ScanError) -> ObserveError {
    ObserveError::Prepare { root: reference.root().to_owned(), reason: io::Error::other(error) }
}

fn died(reference: &dyn Reference) -> ObserveError {
    ObserveError::Prepare {
        root: reference.root().to_owned(),
        reason: io::Error::other("the scanning thread ended"),
    }
}
