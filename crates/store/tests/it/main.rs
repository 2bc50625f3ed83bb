//! Distribution points on a real disk and behind a real socket.

mod cuts;
mod ledger;
mod lifecycle;
mod point;
mod server;
