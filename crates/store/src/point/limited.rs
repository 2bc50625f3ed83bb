//! Small files whose length nobody promised, and files that must not be there yet.

use futures_util::StreamExt;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::{Access, Point, request};
use crate::PointError;

impl Point {
    /// The bytes of something small, but no more than one beyond `most`, whatever a server sends; `None` if it is not
    /// there.
    pub fn read_limited(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, PointError> {
        self.request();
        let store = match &self.access {
            Access::Own(store) => store,
            Access::Others(reader) => {
                let read = reader.read_small(path, Some(most))?;
                self.receive(read.as_ref().map_or(0, Vec::len));
                return Ok(read);
            }
        };
        let key = self.key(path);
        let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(1);
        let result = self.runtime.block_on(async {
            let mut stream = store.get(&key).await?.into_stream();
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                let piece = piece?;
                self.receive(piece.len());
                bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]);
                if bytes.len() == most {
                    break;
                }
            }
            Ok(bytes)
        });
        match result {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(request("reading", path, source)),
        }
    }

    /// Writes something small that is not there; says whether it was not. Some stores overwrite all the same.
    pub fn create_small(&self, path: &str, bytes: Vec<u8>) -> Result<bool, PointError> {
        self.request();
        let (key, store) = (self.key(path), self.store("writing", path)?);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.runtime.block_on(store.put_opts(&key, PutPayload::from(bytes), options)) {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
            Err(source) => Err(request("writing", path, source)),
        }
    }
}
