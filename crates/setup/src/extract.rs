//! `--extract`: the package's files as plain files.

mod writer;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use model::{ExpandError, MachinePath, Part, Template, escape};
use operate::Exit;
use package::{Contents, Header, Node, Origin, PackageReader, ReadError, Record, Totals};

use self::writer::{Job, Recalled, Writer};
use crate::{
    answer::{Answer, of_read},
    request::Request,
    sys,
};

/// Content is handed over in pieces of so many bytes at most.
const PIECE: usize = 256 << 10;
/// Jobs go to the writer together when they hold so many bytes, or are so many: waking it takes time.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_JOBS: usize = 256;
/// So many batches wait for the writer at most.
const WAITING: usize = 8;

/// Files that could not be extracted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExtractError {
    #[error(transparent)]
    Package(#[from] ReadError),
    #[error("`{path}` comes twice where names cannot be told apart, or was there already")]
    Collision { path: String },
    #[error("`{}` is there already and not empty; name a new folder", path.display())]
    NotEmpty { path: PathBuf },
    #[error("`{path}` cannot be written")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Variable(#[from] ExpandError),
    #[error("`{to}` is no place for files: {reason}")]
    Place { to: String, reason: String },
    #[error("writing stopped before all files were written")]
    Stopped,
    #[error("{found} of {expected} files came out")]
    Short { found: u64, expected: u64 },
}

/// Extracts all files to `folder`, at the places below it where an install with the same variables puts them.
pub(crate) fn run(
    answer: &Answer,
    request: &Request,
    package: &mut PackageReader<File>,
    folder: &Path,
) -> Exit {
    match extract(answer, request, package, folder) {
        Ok(totals) => {
            if answer.is_json() {
                answer.value(&serde_json::json!({
                    "result": "done", "exit": 0, "files": totals.files, "bytes": totals.bytes,
                    "folder": folder,
                }));
            } else if !request.silent {
                let Totals { files, bytes, .. } = totals;
                answer.text(&format!("{files} files with {bytes} bytes in {}", folder.display()));
            }
            Exit::Done
        }
        Err(error) => {
            let exit = match &error {
                ExtractError::Package(error) => of_read(error),
                ExtractError::Write { source, .. }
                    if source.kind() == io::ErrorKind::StorageFull =>
                {
                    Exit::NoSpace
                }
                ExtractError::Variable(_) => Exit::Usage,
                _ => Exit::Failed,
            };
            answer.failed(exit, &error)
        }
    }
}

/// Everything goes to a folder beside the wanted one, which gets its name when all is there.
fn extract(
    answer: &Answer,
    request: &Request,
    package: &mut PackageReader<File>,
    folder: &Path,
) -> Result<Totals, ExtractError> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(ExtractError::NotEmpty { path: folder.to_owned() });
    }
    let places = places(package.header(), request)?;
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let partial = folder.with_file_name(format!(".{name}.partial-{}", std::process::id()));
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |source| ExtractError::Write { path, source }
    };
    // Files are made with their modes, so that these need no second call.
    sys::own_modes();
    sys::make_folders(&partial).map_err(at(&partial))?;
    let result = unpack_and_write(answer, request, package, Writer::new(partial.clone(), places))
        .and_then(|totals| fs::rename(&partial, folder).map_err(at(folder)).map(|()| totals));
    if result.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    result
}

/// Where each tree goes, variables in place.
fn places(header: &Header, request: &Request) -> Result<Vec<MachinePath>, ExtractError> {
    header
        .trees
        .iter()
        .map(|tree| {
            let bytes = expand(&tree.to, header, request)?;
            MachinePath::new(&bytes).map_err(|error| ExtractError::Place {
                to: escape(&bytes),
                reason: error.to_string(),
            })
        })
        .collect()
}

/// A template with the values given, or else the defaults, which may speak of other variables.
fn expand(template: &Template, header: &Header, request: &Request) -> Result<Vec<u8>, ExpandError> {
    let value = |name: &str| match request.variables.get(name) {
        Some(value) => Some(Template::literal(value.as_bytes())),
        None => header.variables.get(name)?.default.clone(),
    };
    let mut template = template.clone();
    for _ in 0..=header.variables.len() {
        let parts = template.0.into_iter().flat_map(|part| match &part {
            Part::Variable(name) => value(name).map_or_else(|| vec![part.clone()], |text| text.0),
            Part::Literal(_) => vec![part],
        });
        template = Template(parts.collect());
    }
    template.expand(|_| None)
}

/// Unpacks here and writes in another thread: neither waits for the other as long as both have work.
fn unpack_and_write(
    answer: &Answer,
    request: &Request,
    package: &mut PackageReader<File>,
    writer: Writer,
) -> Result<Totals, ExtractError> {
    let (jobs, todo) = mpsc::sync_channel(WAITING);
    let (reply, replies) = mpsc::sync_channel(1);
    thread::scope(|scope| {
        let writing = thread::Builder::new()
            .spawn_scoped(scope, move || writer.run(&todo, &reply))
            .map_err(|source| ExtractError::Write { path: "a thread".to_owned(), source })?;
        let (batch, totals) = (Batch::default(), Totals::default());
        let read = Unpacking { jobs, batch, replies, totals }.run(answer, request, package);
        // Why nothing more was written is the better reason to give than that it was not.
        writing.join().unwrap_or(Err(ExtractError::Stopped))?;
        read
    })
}

/// The half that reads.
struct Unpacking {
    jobs: mpsc::SyncSender<Vec<Job>>,
    batch: Batch,
    replies: mpsc::Receiver<Recalled>,
    totals: Totals,
}

/// Jobs that go to the writer together.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    bytes: usize,
}

impl Unpacking {
    fn run(
        mut self,
        answer: &Answer,
        request: &Request,
        package: &mut PackageReader<File>,
    ) -> Result<Totals, ExtractError> {
        let header = package.header().clone();
        let expected = header.totals;
        let mut progress = answer.progress("extracting", request.silent);
        let mut has_links = false;
        let mut contents = package.contents();
        while let Some(record) = contents.next_record()? {
            self.totals.records += 1;
            let tree = record.tree;
            match &record.node {
                Node::File(content) => {
                    let bytes = content.data_length();
                    self.file(&mut contents, record)?;
                    self.totals.files += 1;
                    self.totals.bytes += bytes;
                    progress.at(self.totals.bytes, expected.bytes);
                }
                Node::Directory | Node::Carrier => {
                    self.hand(Job::Folder { tree, path: record.path })?;
                }
                Node::HardLink { tree: first_tree, path } => {
                    let first = (*first_tree, path.clone());
                    self.hand(Job::HardLink { tree, path: record.path, first })?;
                }
                Node::Symlink(_) => has_links = true,
                _ => {}
            }
        }
        if has_links {
            self.links(request, package)?;
        }
        self.hand_over()?;
        if self.totals == expected {
            Ok(self.totals)
        } else {
            Err(ExtractError::Short { found: self.totals.files, expected: expected.files })
        }
    }

    fn file(
        &mut self,
        contents: &mut Contents<'_, File>,
        record: Record,
    ) -> Result<(), ExtractError> {
        let Record { tree, path, node, meta } = record;
        let length = if let Node::File(content) = &node { content.length } else { 0 };
        self.hand(Job::File { tree, path, meta, length })?;
        while let Some(piece) =
            contents.piece(&mut |origin: &Origin, buffer: &mut [u8]| self.recall(origin, buffer))?
        {
            let mut offset = piece.offset;
            for bytes in piece.data.chunks(PIECE) {
                self.hand(Job::Data { offset, bytes: bytes.to_vec() })?;
                offset += bytes.len() as u64;
            }
        }
        Ok(())
    }

    /// Asks the writer, who has written everything handed over so far by the time it answers.
    fn recall(&mut self, origin: &Origin, buffer: &mut [u8]) -> bool {
        let job = Job::Recall { origin: origin.clone(), length: buffer.len() };
        let handed = self.hand(job).and_then(|()| self.hand_over()).ok();
        let recalled = handed.and_then(|()| self.replies.recv().ok()).flatten();
        recalled.is_some_and(|bytes| {
            buffer.copy_from_slice(&bytes);
            true
        })
    }

    /// Links last: no file is ever written through one.
    fn links(
        &mut self,
        request: &Request,
        package: &mut PackageReader<File>,
    ) -> Result<(), ExtractError> {
        for record in package.records() {
            let Record { tree, path, node, .. } = record?;
            if let Node::Symlink(target) = &node {
                let target = target.expand(|name| request.variables.get(name).map(String::as_str));
                self.hand(Job::Symlink { tree, path, target: target.unwrap_or_default() })?;
            }
        }
        Ok(())
    }

    fn hand(&mut self, job: Job) -> Result<(), ExtractError> {
        if let Job::Data { bytes, .. } = &job {
            self.batch.bytes += bytes.len();
        }
        self.batch.jobs.push(job);
        if self.batch.bytes >= BATCH_BYTES || self.batch.jobs.len() >= BATCH_JOBS {
            self.hand_over()
        } else {
            Ok(())
        }
    }

    fn hand_over(&mut self) -> Result<(), ExtractError> {
        let batch = std::mem::take(&mut self.batch);
        self.jobs.send(batch.jobs).map_err(|_| ExtractError::Stopped)
    }
}
