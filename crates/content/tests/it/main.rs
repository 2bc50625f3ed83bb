//! Formats through their public doors: what goes in comes out, what is damaged is named.

mod delta;
mod fixtures;
mod manifest;
mod plan;
