//! Decisions of one site, without a network.

mod one_site;
