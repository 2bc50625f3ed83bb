//! Packages written, read, damaged.

mod damage;
mod payload;
mod round_trip;
