//! Distribution points on a real disk and behind a real socket.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod cuts;
mod ledger;
mod lifecycle;
mod point;
mod server;
