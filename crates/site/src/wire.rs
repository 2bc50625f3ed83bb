//! What crosses a line between parent and child: frames of content, and words why there are none.

use policy::Hold;
use serde::{Deserialize, Serialize};

/// The version of everything below `/link/`.
pub(crate) const VERSION: u32 = 1;
/// §: no frame is longer, in bytes.
pub(crate) const MOST: usize = 16 << 20;

/// One frame of a transfer: a byte that says which sort, four that say how long, big end first, and that many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The next bytes of the object.
    Content(Vec<u8>),
    /// None for a while.
    Held(Held),
}

/// Why nothing comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Held {
    /// In words.
    pub(crate) why: String,
    /// In how many milliseconds that ends by itself.
    pub(crate) next: Option<u64>,
}

impl From<Hold> for Held {
    fn from(hold: Hold) -> Self {
        let (why, next) = match hold {
            Hold::Closed(next) => ("the parent's address for this site is closed", next),
            Hold::Rate(next) => ("the address's rate is used up", Some(next)),
            Hold::Line => ("other transfers to this site come first", None),
            Hold::Content => ("the parent itself has no more yet", None),
            Hold::NoAddress => ("the parent has no address for this site", None),
        };
        Self { why: why.to_owned(), next }
    }
}

/// Bytes that are no frames.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadFrameError {
    /// Made by something else.
    #[error("a frame of sort {0} is not known")]
    Sort(u8),
    /// Longer than any is.
    #[error("a frame of {0} bytes is too long")]
    Length(usize),
    /// A word nobody understands.
    #[error("a frame's word cannot be read: {0}")]
    Word(String),
}

impl Frame {
    /// As bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (sort, body) = match self {
            Self::Content(bytes) => (0, bytes.clone()),
            Self::Held(held) => (1, serde_json::to_vec(held).unwrap_or_default()),
        };
        let mut bytes = Vec::with_capacity(body.len() + 5);
        bytes.push(sort);
        bytes.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(body);
        bytes
    }
}

/// Frames from bytes as they come. Content is given on before its frame is whole.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
    /// Bytes of the content frame that are still to come.
    open: usize,
}

impl Frames {
    /// Takes bytes and gives out what they complete.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, ReadFrameError> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        loop {
            if self.open > 0 {
                let now = self.open.min(self.buffer.len());
                if now == 0 {
                    return Ok(frames);
                }
                frames.push(Frame::Content(self.buffer.drain(..now).collect()));
                self.open -= now;
                continue;
            }
            let Some((head, rest)) = self.buffer.split_first_chunk::<5>() else {
                return Ok(frames);
            };
            let [sort, length @ ..] = *head;
            let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            if length > MOST {
                return Err(ReadFrameError::Length(length));
            }
            match sort {
                0 => {
                    self.open = length;
                    self.buffer.drain(..5);
                }
                1 if rest.len() < length => return Ok(frames),
                1 => {
                    let held = serde_json::from_slice(&rest[..length])
                        .map_err(|error| ReadFrameError::Word(error.to_string()))?;
                    frames.push(Frame::Held(held));
                    self.buffer.drain(..5 + length);
                }
                sort => return Err(ReadFrameError::Sort(sort)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, Frames, Held, ReadFrameError};

    #[test]
    fn frames_come_through_whatever_cuts_them() {
        let held = Held { why: "closed".to_owned(), next: Some(5) };
        let sent = [
            Frame::Content(b"abc".to_vec()),
            Frame::Held(held.clone()),
            Frame::Content(Vec::new()),
            Frame::Content(b"defgh".to_vec()),
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(Frame::to_bytes).collect();
        for size in 1..bytes.len() {
            let mut frames = Frames::default();
            let (mut content, mut words) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                for frame in frames.take(piece).unwrap() {
                    match frame {
                        Frame::Content(bytes) => content.extend(bytes),
                        Frame::Held(held) => words.push(held),
                    }
                }
            }
            assert_eq!((content, words), (b"abcdefgh".to_vec(), vec![held.clone()]), "{size}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert_eq!(Frames::default().take(&[7, 0, 0, 0, 0]), Err(ReadFrameError::Sort(7)));
        let long = Frames::default().take(&[0, 255, 0, 0, 0]);
        assert!(matches!(long, Err(ReadFrameError::Length(_))));
        let word = Frames::default().take(&[1, 0, 0, 0, 1, b'{']);
        assert!(matches!(word, Err(ReadFrameError::Word(_))));
    }
}
