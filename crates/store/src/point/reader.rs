//! Points somebody else reads for us.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Listed, request};
use crate::PointError;

/// Who reads a point for us, where we are not to speak with it ourselves. What he brings is checked like anything that comes.
pub trait Reader: std::fmt::Debug + Send + Sync {
    /// As [`Point::read_small`](crate::Point::read_small), or [`Point::read_limited`](crate::Point::read_limited).
    fn read_small(&self, path: &str, most: Option<u64>) -> Result<Option<Vec<u8>>, PointError>;
    /// As [`Point::read_part`](crate::Point::read_part); how much comes is counted by who asked.
    fn read_part(
        &self,
        path: &str,
        range: Range<u64>,
        whole: bool,
        take: &mut dyn FnMut(&[u8]) -> Result<(), PointError>,
    ) -> Result<(), PointError>;
    /// As [`Point::list`](crate::Point::list).
    fn list(&self, folder: &str) -> Result<Vec<Listed>, PointError>;
    /// As [`Point::length`](crate::Point::length).
    fn length(&self, path: &str) -> Result<Option<u64>, PointError>;
}

/// What went wrong where somebody else read, as far as that is of use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// Something is not there.
    Missing,
    /// It is not what it should be, and how.
    Damaged(String),
    /// It is not allowed, in these words.
    Denied(String),
    /// Nobody answered as he should, in these words.
    Silent(String),
}

impl Trouble {
    /// What an error comes to.
    pub fn of(error: &PointError) -> Self {
        match error {
            PointError::Missing { .. } => Self::Missing,
            PointError::Damaged { reason, .. } => Self::Damaged(reason.clone()),
            PointError::Request { source, .. } if error.is_denied() => {
                Self::Denied(model::with_causes(source))
            }
            PointError::Request { source, .. } => Self::Silent(model::with_causes(source)),
            other => Self::Silent(model::with_causes(other)),
        }
    }

    /// The error it is here.
    pub fn into_error(self, doing: &'static str, path: &str) -> PointError {
        let path = path.to_owned();
        match self {
            Self::Missing => PointError::Missing { path },
            Self::Damaged(reason) => PointError::Damaged { path, reason },
            Self::Denied(text) => {
                let source = text.into();
                let denied = object_store::Error::PermissionDenied { path: path.clone(), source };
                request(doing, &path, denied)
            }
            Self::Silent(text) => {
                let source = text.into();
                request(doing, &path, object_store::Error::Generic { store: "other", source })
            }
        }
    }
}
