//! A site on a real disk.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod bucket;
mod courier;
mod fleet;
mod ledger;
mod lifecycle;
mod openapi;
mod process;
mod storage;
mod swupdate;
mod tree;
mod trusted;
mod world;
