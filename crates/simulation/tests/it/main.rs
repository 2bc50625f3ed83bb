//! Histories, the field's failures, and the ancestor's faults.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod clients;
mod ledger;
mod mutations;
mod seeds;
