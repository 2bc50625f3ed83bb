mod authority;
mod limited;
mod reader;
mod throttle;

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZero,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use content::{Object, ObjectKind};
use futures_util::{StreamExt, TryStreamExt};
use model::{Hash, Hasher};
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart,
    local::LocalFileSystem, path::Path as Key,
};
use tokio::runtime::Runtime;

use self::throttle::Throttle;
use crate::{OpenPointError, PointError};
pub use reader::{Reader, Trouble};

/// A request for no more than this is one object in memory.
const PART: usize = 8 << 20;
/// Parts of an upload under way at once.
const PARTS: usize = 4;

/// Whether a location is a folder, and no URL of a service.
pub fn is_folder(location: &str) -> bool {
    !location.contains("://") || location.starts_with("file://")
}

/// Where content is read and, if the store takes it, written: a folder, any HTTP server, an S3-compatible bucket.
///
/// Calls block; many threads may call at once.
#[derive(Debug)]
pub struct Point {
    access: Access,
    root: Key,
    folder: Option<PathBuf>,
    runtime: Runtime,
    requests: AtomicU64,
    received: AtomicU64,
    throttle: Option<Throttle>,
}

/// Who speaks with it.
#[derive(Debug)]
enum Access {
    Own(Arc<dyn ObjectStore>),
    Others(Box<dyn Reader>),
}

/// Something a distribution point has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its path below the point's root.
    pub path: String,
    /// Its length in bytes.
    pub length: u64,
    /// When it was last written, in seconds since 1970 by the point's own clock.
    pub modified: i64,
}

impl Point {
    /// Opens a folder, made if it is not there, or a URL. `settings` are those of the service, by the names its own
    /// tools give them (`AWS_ENDPOINT`, `AWS_ACCESS_KEY_ID`, …).
    pub fn open<I>(location: &str, settings: I) -> Result<Self, OpenPointError>
    where
        I: IntoIterator<Item = (String, String)>,
    {
        if is_folder(location) {
            Self::folder(location)
        } else {
            Self::remote(location, settings, Vec::new())
        }
    }

    fn folder(location: &str) -> Result<Self, OpenPointError> {
        let path = PathBuf::from(location.strip_prefix("file://").unwrap_or(location));
        let refuse = |source| OpenPointError::Folder { path: path.clone(), source };
        std::fs::create_dir_all(&path).map_err(refuse)?;
        let path = path.canonicalize().map_err(refuse)?;
        let store = LocalFileSystem::new_with_prefix(&path)
            .map_err(|source| OpenPointError::Location {
                location: location.to_owned(),
                source: Some(source),
            })?
            .with_fsync(true);
        Self::new(Arc::new(store), Key::default(), Some(path))
    }

    /// A point in a store opened elsewhere, below `root`.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        root: Key,
        folder: Option<PathBuf>,
    ) -> Result<Self, OpenPointError> {
        Self::with(Access::Own(store), root, folder)
    }

    /// A point somebody else reads for us; nothing can be written there.
    pub fn read_by(reader: Box<dyn Reader>) -> Result<Self, OpenPointError> {
        Self::with(Access::Others(reader), Key::default(), None)
    }

    fn with(access: Access, root: Key, folder: Option<PathBuf>) -> Result<Self, OpenPointError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(OpenPointError::Runtime)?;
        let (requests, received) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { access, root, folder, runtime, requests, received, throttle: None })
    }

    /// The store we speak with ourselves.
    fn store(&self, doing: &'static str, path: &str) -> Result<&Arc<dyn ObjectStore>, PointError> {
        match &self.access {
            Access::Own(store) => Ok(store),
            Access::Others(_) => {
                let source = "somebody else reads it for us, and nobody writes".into();
                Err(request(doing, path, Error::NotSupported { source }))
            }
        }
    }

    /// Content is read with no more than so many bytes per second, all readers of this point together.
    pub fn with_rate(mut self, rate: Option<NonZero<u64>>) -> Self {
        self.throttle = rate.map(Throttle::new);
        self
    }

    /// The folder it is, if it is one.
    pub fn as_folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// How many requests were made, and how many bytes of content came back.
    pub fn counted(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// All bytes of something small that may change, `None` if it is not there.
    pub fn read_small(&self, path: &str) -> Result<Option<Vec<u8>>, PointError> {
        self.request();
        let store = match &self.access {
            Access::Own(store) => store,
            Access::Others(reader) => {
                let read = reader.read_small(path, None)?;
                self.receive(read.as_ref().map_or(0, Vec::len));
                return Ok(read);
            }
        };
        let key = self.key(path);
        let result = self.runtime.block_on(async { store.get(&key).await?.bytes().await });
        match result {
            Ok(bytes) => {
                self.receive(bytes.len());
                Ok(Some(bytes.to_vec()))
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(request("reading", path, source)),
        }
    }

    /// All bytes of a small object, its hash checked.
    pub fn read_object(&self, object: &Object) -> Result<Vec<u8>, PointError> {
        let mut bytes = Vec::new();
        self.read_from(object, 0, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        if Hash::of(&bytes) == object.hash { Ok(bytes) } else { Err(damaged(object)) }
    }

    /// The bytes of an object from `offset` on, piece by piece as they come, **not yet checked**.
    pub fn read_from(
        &self,
        object: &Object,
        offset: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), PointError>,
    ) -> Result<(), PointError> {
        if offset >= object.length {
            return Ok(());
        }
        self.read_range(object, offset..object.length, take)
    }

    /// The bytes of a range of an object, piece by piece as they come, **not yet checked**.
    pub fn read_range(
        &self,
        object: &Object,
        range: std::ops::Range<u64>,
        take: &mut dyn FnMut(&[u8]) -> Result<(), PointError>,
    ) -> Result<(), PointError> {
        let whole = range.start == 0 && range.end == object.length;
        self.read_part(&object.path(), range, whole, take)
    }

    /// The bytes of a range of whatever has that path, piece by piece as they come; `whole` if that is all of it.
    pub fn read_part(
        &self,
        path: &str,
        range: std::ops::Range<u64>,
        whole: bool,
        take: &mut dyn FnMut(&[u8]) -> Result<(), PointError>,
    ) -> Result<(), PointError> {
        self.request();
        let expected = range.end - range.start;
        let mut came = 0;
        let mut piece = |bytes: &[u8]| {
            came += bytes.len() as u64;
            self.receive(bytes.len());
            // §1.5: never more than was promised, whatever a server sends.
            if came > expected { Err(length(path, expected)) } else { take(bytes) }
        };
        match &self.access {
            Access::Own(store) => self.read_own(store, path, range, whole, &mut piece)?,
            Access::Others(reader) => reader.read_part(path, range, whole, &mut |bytes| {
                if let Some(throttle) = &self.throttle {
                    self.runtime.block_on(throttle.wait(bytes.len()));
                }
                piece(bytes)
            })?,
        }
        if came == expected { Ok(()) } else { Err(length(path, expected)) }
    }

    fn read_own(
        &self,
        store: &Arc<dyn ObjectStore>,
        path: &str,
        range: std::ops::Range<u64>,
        whole: bool,
        take: &mut dyn FnMut(&[u8]) -> Result<(), PointError>,
    ) -> Result<(), PointError> {
        let key = self.key(path);
        self.runtime.block_on(async {
            let options = GetOptions {
                range: (!whole).then_some(GetRange::Bounded(range)),
                ..GetOptions::default()
            };
            let answer = store.get_opts(&key, options).await;
            let mut stream =
                answer.map_err(|source| missing_or("reading", path, source))?.into_stream();
            while let Some(piece) = stream.next().await {
                let piece = piece.map_err(|source| request("reading", path, source))?;
                if let Some(throttle) = &self.throttle {
                    throttle.wait(piece.len()).await;
                }
                take(&piece)?;
            }
            Ok(())
        })
    }

    /// Writes something small: afterwards it is there whole, or as it was.
    pub fn write_small(&self, path: &str, bytes: Vec<u8>) -> Result<(), PointError> {
        self.request();
        let (key, store) = (self.key(path), self.store("writing", path)?);
        self.runtime
            .block_on(store.put(&key, PutPayload::from(bytes)))
            .map(drop)
            .map_err(|source| request("writing", path, source))
    }

    /// Writes an object from a file, reading it front to back. The file must be it: whoever calls has hashed it.
    pub fn write_object(
        &self,
        object: &Object,
        file: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), PointError> {
        let path = object.path();
        let cannot = |source| PointError::File { doing: "reading", path: file.to_owned(), source };
        let mut input = File::open(file).map_err(cannot)?;
        if object.length <= PART as u64 {
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes).map_err(cannot)?;
            progress(object.length);
            return self.write_small(&path, bytes);
        }
        let key = self.key(&path);
        self.request();
        let upload = self
            .runtime
            .block_on(self.store("writing", &path)?.put_multipart(&key))
            .map_err(|source| request("writing", &path, source))?;
        let _inside = self.runtime.enter();
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut buffer = vec![0; PART];
        loop {
            let read = input.read(&mut buffer).map_err(cannot)?;
            if read == 0 {
                break;
            }
            self.request();
            self.runtime
                .block_on(upload.wait_for_capacity(PARTS))
                .map_err(|source| request("writing", &path, source))?;
            upload.write(&buffer[..read]);
            progress(read as u64);
        }
        self.runtime
            .block_on(upload.finish())
            .map(drop)
            .map_err(|source| request("writing", &path, source))
    }

    /// Copies an object into `file`, from where the file ends on; checks the whole.
    pub fn read_into(
        &self,
        object: &Object,
        file: &mut File,
        path: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), PointError> {
        let cannot = |source| PointError::File { doing: "writing", path: path.to_owned(), source };
        let mut hasher = Hasher::new();
        let have = hasher.read_all(file).map_err(cannot)?;
        progress(have);
        self.read_from(object, have, &mut |piece| {
            hasher.update(piece);
            progress(piece.len() as u64);
            file.write_all(piece).map_err(cannot)
        })?;
        if hasher.finish() == object.hash { Ok(()) } else { Err(damaged(object)) }
    }

    /// What is there under a folder, in no order.
    pub fn list(&self, folder: &str) -> Result<Vec<Listed>, PointError> {
        self.request();
        let store = match &self.access {
            Access::Own(store) => store,
            Access::Others(reader) => return reader.list(folder),
        };
        let key = self.key(folder);
        let metas: Vec<_> = self
            .runtime
            .block_on(store.list(Some(&key)).try_collect())
            .map_err(|source| request("listing", folder, source))?;
        let below = |key: &Key| {
            let parts: Option<Vec<_>> = key
                .prefix_match(&self.root)
                .map(|parts| parts.map(|part| part.as_ref().to_owned()).collect());
            parts.map(|parts| parts.join("/"))
        };
        Ok(metas
            .into_iter()
            .filter_map(|meta| {
                let path = below(&meta.location)?;
                Some(Listed { path, length: meta.size, modified: meta.last_modified.timestamp() })
            })
            .collect())
    }

    /// The length of an object, or that it is not there.
    pub fn length(&self, path: &str) -> Result<Option<u64>, PointError> {
        self.request();
        let store = match &self.access {
            Access::Own(store) => store,
            Access::Others(reader) => return reader.length(path),
        };
        match self.runtime.block_on(store.head(&self.key(path))) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(request("looking at", path, source)),
        }
    }

    /// Takes something away; it need not be there.
    pub fn delete(&self, path: &str) -> Result<(), PointError> {
        self.request();
        let store = self.store("deleting", path)?;
        match self.runtime.block_on(store.delete(&self.key(path))) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(request("deleting", path, source)),
        }
    }

    /// Whether an object is there with its length; its hash is not looked at.
    pub fn has(&self, object: &Object) -> Result<bool, PointError> {
        Ok(self.length(&object.path())? == Some(object.length))
    }

    fn key(&self, path: &str) -> Key {
        path.split('/').filter(|part| !part.is_empty()).fold(self.root.clone(), Key::join)
    }

    fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn receive(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// The error of an object whose bytes are not what its name says.
pub(crate) fn damaged(object: &Object) -> PointError {
    PointError::Damaged { path: object.path(), reason: "its hash does not fit".to_owned() }
}

fn length(path: &str, expected: u64) -> PointError {
    let reason = format!("it has not the {expected} bytes it should have");
    PointError::Damaged { path: path.to_owned(), reason }
}

fn request(doing: &'static str, path: &str, source: Error) -> PointError {
    PointError::Request { doing, path: path.to_owned(), source }
}

fn missing_or(doing: &'static str, path: &str, source: Error) -> PointError {
    match source {
        Error::NotFound { .. } => PointError::Missing { path: path.to_owned() },
        source => request(doing, path, source),
    }
}

/// The object a path stands for, with the length it is listed with.
pub(crate) fn listed_object(listed: &Listed) -> Option<Object> {
    let (kind, hash) = ObjectKind::parse_path(&listed.path).ok()?;
    Some(Object { kind, hash, length: listed.length })
}
