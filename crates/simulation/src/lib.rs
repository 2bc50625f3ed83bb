//! A tree of sites in memory: the decisions are `policy`'s, the disks, the network, the clocks and the faults are simulated.
//!
//! - a [`World`] holds [`Machine`]s and what happens when; it carries effects out and decides nothing;
//! - [`Checks`] watch every event by the names of the invariants, I1 to I28;
//! - [`run_machine_seed`] is the history of one machine and what is deployed to it, with kills and power cuts;
//! - [`run_seed`] is one whole history: faults and operators at work, then calm, then everything must be right;
//! - [`run_clients`] is a week of one site's clients: rollouts, outages, herds.
//!
//! **Invariant:** one seed, one history.

#![forbid(unsafe_code)]

mod check;
mod clients;
mod dice;
mod history;
mod machine;
mod runs;
mod trouble;
mod upgrades;
mod worker;
mod world;

pub use check::Checks;
pub use clients::{COUNTED, ClientsHistory, ClientsScenario, KNOCKING, STAMPEDE, run_clients};
pub use dice::Dice;
pub use history::{History, run_seed, run_seed_in_step, run_seed_of_two, run_seed_with, settings};
pub use machine::{Machine, PointDisk, Spool, Units, manifest};
pub use runs::{Careless, RunHistory, run_careless_seed, run_machine_seed};
pub use upgrades::{Quality, UpgradeHistory, run_upgrade_seed};
pub use world::{Clocks, Faults, UNIT, World};
