use minicbor::{Decode, Encode};

use crate::{BootId, End, Found, Process};

/// What an attempt left, in the order it comes: it is allowed to begin, it begins, it leaves word of its end.
///
/// Beginning takes the permit away, and so does taking it back: only one of them can. Each is durable before what
/// follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// It began.
    pub began: Option<Began>,
    /// Whether its process is alive.
    pub is_alive: bool,
    /// The word it left.
    pub end: Option<End>,
}

/// A beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Began {
    /// In which start of the machine.
    #[n(0)]
    pub boot: BootId,
    /// As which process.
    #[n(1)]
    pub process: Process,
}

impl Traces {
    /// What became of the attempt, its permit having been taken back where it still stood.
    pub fn found(self, boot: BootId) -> Found {
        match self {
            Self { end: Some(end), is_alive: false, .. } => Found::Ended(end),
            Self { began: None, .. } => Found::NeverBegan,
            Self { began: Some(began), is_alive: true, .. } => Found::Running(began.process),
            Self { began: Some(began), .. } => Found::Gone { restarted: began.boot != boot },
        }
    }
}
