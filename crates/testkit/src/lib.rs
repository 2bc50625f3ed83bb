//! For tests only: simulated machines, packages made by hand, trees compared.
//!
//! - a [`SimDisk`] is a machine in memory that loses, reorders and tears what was not synced;
//! - a [`Sample`] is a package made by hand;
//! - [`stop_at`] kills or interrupts a program at a system call;
//! - a [`PostgresServer`] is Debian's, in a folder of its own;
//! - with the feature `s3`, an S3 server over a socket;
//! - a [`Wan`] is a thin, lossy wire between two network namespaces;
//! - a [`Network`] is several of them between several;
//! - a [`free_address`] is one to listen at;
//! - a [`Picture`] is everything a tree holds, to compare with another.

mod free_address;
mod hive;
mod picture;
mod postgres;
#[cfg(feature = "s3")]
mod s3;
mod sample;
mod sim_disk;
mod sim_facts;
mod stepped;
mod wan;

pub use free_address::free_address;
pub use hive::{HiveKey, hive, seal_hive};
pub use picture::{Picture, Seen};
pub use postgres::PostgresServer;
#[cfg(feature = "s3")]
pub use s3::S3Server;
pub use sample::Sample;
pub use sim_disk::SimDisk;
pub use sim_facts::SimFacts;
pub use stepped::{Stop, calls, peak_memory, stop_at};
pub use wan::{Carried, End, Link, Network, Wan, Wire};
