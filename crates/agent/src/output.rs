//! What is kept of what a program writes.

use std::{collections::VecDeque, fs::File, io::Write as _, path::Path};

use crate::platform::files;

/// So much of the beginning is kept, in bytes, and so much of the end.
const KEPT: usize = 16 << 10;

/// What a program writes: its beginning, which is on disk at once, and its end.
pub(crate) struct Output {
    file: Option<File>,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    skipped: u64,
}

impl Output {
    pub(crate) fn new(path: &Path) -> Self {
        let file = files::private().create(true).truncate(true).write(true).open(path).ok();
        Self { file, head: Vec::new(), tail: VecDeque::new(), skipped: 0 }
    }

    /// Takes in what it wrote.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(KEPT - self.head.len()));
        self.head.extend_from_slice(head);
        if let Some(file) = self.file.as_mut().filter(|_| !head.is_empty()) {
            let _ = file.write_all(head);
        }
        self.tail.extend(rest);
        let surplus = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..surplus);
        self.skipped += surplus as u64;
    }

    /// The beginning and the end, and how much is missing in between.
    pub(crate) fn whole(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.head);
        if self.skipped > 0 {
            all.extend_from_slice(format!("\n… {} bytes left out …\n", self.skipped).as_bytes());
        }
        all.extend(self.tail.drain(..));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Output};

    #[test]
    fn the_beginning_and_the_end_are_kept_and_the_middle_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::new(&folder.path().join("output"));
        output.keep(b"begun\n");
        for _ in 0..100 {
            output.keep(&[b'x'; 1000]);
        }
        output.keep(b"\nended");
        let whole = output.whole();
        assert!(whole.starts_with(b"begun\n") && whole.ends_with(b"\nended"));
        assert!(whole.len() < 2 * KEPT + 100);
        let left_out = 100_000 + 12 - 2 * KEPT;
        let text = String::from_utf8(whole).unwrap();
        assert!(text.contains(&format!("… {left_out} bytes left out …")));
        let on_disk = std::fs::read(folder.path().join("output")).unwrap();
        assert_eq!(on_disk.len(), KEPT);
    }
}
