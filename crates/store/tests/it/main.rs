//! Distribution points on a real disk and behind a real socket.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod cuts;
mod frames;
mod installs;
mod ledger;
mod lifecycle;
mod point;
mod rebuild;
mod server;
mod servers;
mod signed;
