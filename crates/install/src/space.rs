//! What an installation needs of every file system, found out while deciding.

use std::collections::BTreeMap;

use change::{Found, Node};
use model::MachinePath;

use crate::{Facts, InstallError};

/// Kept copies are counted in blocks of this many bytes.
const BLOCK: u64 = 4096;
/// A longer symbolic link takes a block of its own.
const LONGEST_INLINE_LINK: u64 = 60;
/// Bytes of a receipt's record beside its path.
const RECORD: u64 = 160;

/// Bytes still to be written, by file system.
#[derive(Debug, Default)]
pub(crate) struct Space {
    needs: BTreeMap<u64, Need>,
}

#[derive(Debug)]
struct Need {
    /// A folder there.
    folder: MachinePath,
    payload: u64,
    kept: u64,
}

impl Space {
    fn of(&mut self, device: u64, folder: &MachinePath) -> &mut Need {
        self.needs.entry(device).or_insert_with(|| Need {
            folder: folder.clone(),
            payload: 0,
            kept: 0,
        })
    }

    /// New content comes to the file system `device`, which holds `folder`.
    pub(crate) fn payload(&mut self, device: u64, folder: &MachinePath, bytes: u64) {
        self.of(device, folder).payload += bytes;
    }

    /// What `found` is will be kept in `state`, our own folder on the file system `device`. On the same file
    /// system that is one more name, elsewhere a copy.
    pub(crate) fn kept(&mut self, device: u64, state: &MachinePath, found: &Found) {
        if found.identity.0 != device
            && let Node::File { length } = found.node
        {
            self.of(device, state).kept += length.next_multiple_of(BLOCK);
        }
    }

    /// A record about `path` comes into the receipt in `state`.
    pub(crate) fn record(&mut self, device: u64, state: &MachinePath, path: &MachinePath) {
        self.of(device, state).kept += path.as_bytes().len() as u64 + RECORD;
    }

    /// Refuses when a file system has not enough free.
    pub(crate) fn check(&self, facts: &dyn Facts) -> Result<(), InstallError> {
        for Need { folder, payload, kept } in self.needs.values() {
            let Some((free, _)) = facts.free_space(folder) else { continue };
            let needed = payload + kept;
            if free < needed {
                return Err(InstallError::Space {
                    path: folder.clone(),
                    free,
                    needed,
                    payload: *payload,
                    kept: *kept,
                });
            }
        }
        Ok(())
    }
}

/// What an entry of a package takes on a file system with blocks of `block` bytes.
pub(crate) fn bytes_of(node: &package::Node, block: u64) -> u64 {
    match node {
        package::Node::Directory | package::Node::Carrier => block,
        package::Node::File(content) => {
            let holes: u64 = content.holes.iter().map(|hole| hole.length).sum();
            content.length.saturating_sub(holes).next_multiple_of(block)
        }
        package::Node::Symlink(target) if target.to_string().len() as u64 > LONGEST_INLINE_LINK => {
            block
        }
        package::Node::Symlink(_)
        | package::Node::HardLink { .. }
        | package::Node::Fifo
        | package::Node::CharacterDevice { .. }
        | package::Node::BlockDevice { .. } => 0,
    }
}
