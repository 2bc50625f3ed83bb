//! Files that were written, flushed and closed beside whoever writes the next: a close waits for all who look at a new file
//! (scanners for viruses, Wine's server), and what a disk is asked together it does at once.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

/// So many files are flushed or closed at a time.
pub(crate) const AT_ONCE: usize = 16;
/// So many may wait: each holds a handle.
const WAITING: usize = 64;
/// Bytes: who flushes and closes needs no more.
const STACK: usize = 1 << 16;

/// Files on their way to be closed.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do, or it is over.
    work: Condvar,
    /// Something was done.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Written>,
    busy: usize,
    /// The first that failed, since the last time somebody asked.
    failed: Option<io::Error>,
    over: bool,
}

#[derive(Debug)]
struct Written {
    file: File,
    path: PathBuf,
    flush: bool,
}

impl Closing {
    /// Takes what was written, to be closed, and flushed before if that is wanted. How that went says the next [`settle`](Self::settle).
    pub(crate) fn take(&mut self, file: File, path: &Path, flush: bool) {
        if self.threads.len() < AT_ONCE {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().stack_size(STACK);
            // Fewer do as well, only slower.
            self.threads.extend(thread.spawn(move || shared.close_all()));
        }
        let written = Written { file, path: path.to_owned(), flush };
        if self.threads.is_empty() {
            let ended = written.close();
            self.shared.lock().remember(ended);
            return;
        }
        let mut state = self.shared.lock();
        while state.waiting.len() >= WAITING {
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.push_back(written);
        drop(state);
        self.shared.work.notify_one();
    }

    /// Waits until all is closed.
    ///
    /// # Errors
    ///
    /// The first failure since the last call.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let mut state = self.shared.lock();
        while state.busy > 0 || !state.waiting.is_empty() {
            state = self.shared.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.failed.take().map_or(Ok(()), Err)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close_all(&self) {
        let mut state = self.lock();
        loop {
            if let Some(written) = state.waiting.pop_front() {
                state.busy += 1;
                drop(state);
                let ended = written.close();
                state = self.lock();
                state.busy -= 1;
                state.remember(ended);
                self.done.notify_all();
            } else if state.over {
                return;
            } else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl State {
    fn remember(&mut self, ended: io::Result<()>) {
        if let Err(error) = ended {
            self.failed.get_or_insert(error);
        }
    }
}

impl Written {
    fn close(self) -> io::Result<()> {
        if !self.flush {
            return Ok(());
        }
        self.file.sync_all().map_err(|error| {
            io::Error::new(error.kind(), format!("`{}`: {error}", self.path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_that_was_taken_is_closed_when_it_has_settled() {
        let folder = std::env::temp_dir().join(format!("packhorse-closing-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut closing = Closing::default();
        for number in 0..500 {
            let path = folder.join(number.to_string());
            let file = File::create_new(&path).unwrap();
            closing.take(file, &path, number % 2 == 0);
        }
        closing.settle().unwrap();
        // Windows moves no folder something is open in.
        let moved = folder.with_extension("moved");
        fs::rename(&folder, &moved).unwrap();
        assert_eq!(fs::read_dir(&moved).unwrap().count(), 500);
        fs::remove_dir_all(&moved).unwrap();
    }

    #[test]
    fn a_failure_is_said_once_and_names_the_file() {
        let path = std::env::temp_dir().join(format!("packhorse-failing-{}", std::process::id()));
        fs::write(&path, b"kept").unwrap();
        let mut closing = Closing::default();
        // Who may only read may not flush.
        closing.take(File::open(&path).unwrap(), &path, true);
        let error = closing.settle().unwrap_err();
        assert!(error.to_string().contains("packhorse-failing"), "{error}");
        closing.settle().unwrap();
        fs::remove_file(&path).unwrap();
    }
}
