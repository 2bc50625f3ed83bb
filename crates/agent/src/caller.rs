//! Who calls others over the network: processes of their own without rights, that write no files. What they bring is
//! believed as far as it is signed, or its hash fits.

mod content;
mod frame;
mod line;

pub(crate) use crate::platform::caller::{Caller, Stream, hang_up};
pub(crate) use content::{Content, read_for_others};
pub(crate) use frame::{receive, send};
#[cfg(test)]
pub(crate) use line::Checked;
pub(crate) use line::{Ask, Opening, Told, call};
