//! Repositories in temporary folders, read as clients read them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod repositories;
