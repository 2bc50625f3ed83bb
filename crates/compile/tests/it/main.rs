//! Projects compiled, installers run.

mod damaged;
mod kernel;
mod large;
mod names;
mod projects;
mod sandbox;
