//! A tree of sites in memory: the decisions are `policy`'s, the disks, the network, the clocks and the faults are simulated.
//!
//! - a [`World`] holds [`Machine`]s and what happens when; it carries effects out and decides nothing;
//! - [`Checks`] watch every event by the names of the invariants, I1 to I28;
//! - [`run_seed`] is one whole history: faults and operators at work, then calm, then everything must be right.
//! - [`run_clients`] is a week of one site's clients: rollouts, outages, herds.
//!
//! **Invariant:** one seed, one history.

#![forbid(unsafe_code)]

mod check;
mod clients;
mod dice;
mod history;
mod machine;
mod trouble;
mod worker;
mod world;

pub use check::Checks;
pub use clients::{COUNTED, ClientsHistory, ClientsScenario, KNOCKING, STAMPEDE, run_clients};
pub use dice::Dice;
pub use history::{History, run_seed, run_seed_in_step, run_seed_with, settings};
pub use machine::{Machine, PointDisk, Spool, Units, manifest};
pub use world::{Clocks, Faults, UNIT, World};
