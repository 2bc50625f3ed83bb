//! change

pub mod edit;
