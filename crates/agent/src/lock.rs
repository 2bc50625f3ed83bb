//! One agent for one state folder: a lock on the folder itself, which the kernel takes back whatever happens to its holder.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use crate::platform::locks;

/// The right to be the agent, as long as it lives.
#[derive(Debug)]
pub struct Only {
    _folder: File,
}

/// This is not the agent.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Another one is.
    #[error("{}", sentence(*process, name, *seconds, folder))]
    Taken {
        /// As which process, if the kernel says.
        process: Option<u32>,
        /// Its command name.
        name: String,
        /// For how long it has been there.
        seconds: Option<u64>,
        /// Whose state folder it has.
        folder: PathBuf,
    },
    /// The folder cannot be locked at all.
    #[error("cannot lock `{}`", folder.display())]
    Lock {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn sentence(process: Option<u32>, name: &str, seconds: Option<u64>, folder: &Path) -> String {
    let mut text = format!("an agent already looks after `{}`", folder.display());
    if let Some(process) = process {
        text += &format!(": `{name}`, process {process}");
    }
    if let Some(seconds) = seconds {
        text += &format!(", for {seconds} s");
    }
    text
}

/// Becomes the agent of a state folder, or says who is.
pub fn become_only(folder: &Path) -> Result<Only, TakeError> {
    let taken = locks::take_folder(folder)
        .map_err(|source| TakeError::Lock { folder: folder.to_owned(), source })?;
    match taken {
        Ok(file) => Ok(Only { _folder: file }),
        Err(holder) => Err(TakeError::Taken {
            process: holder.as_ref().map(|holder| holder.process),
            seconds: holder.as_ref().and_then(|holder| holder.seconds),
            name: holder.map(|holder| holder.name).unwrap_or_default(),
            folder: folder.to_owned(),
        }),
    }
}
