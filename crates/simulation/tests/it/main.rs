//! Histories, the field's failures, and the ancestor's faults.

mod ledger;
mod mutations;
mod seeds;
