//! Decisions of one site, without a network.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod one_site;
