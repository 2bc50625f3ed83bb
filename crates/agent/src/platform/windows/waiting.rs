//! Waiting for the first of several things.

use std::os::windows::io::BorrowedHandle;

pub(crate) use machine_windows::first;

/// What can be waited for.
pub(crate) type Waited<'a> = BorrowedHandle<'a>;
