//! Compile: a project folder becomes a package, or an installer that carries it.
//!
//! - [`compile()`] reads `package.toml`, `files.meta` and `files/`, and writes one file, or none;
//! - [`export()`] makes a .deb or .rpm of a package;
//! - [`stub()`] is the program in front of every installer's package.
//!
//! **Invariant:** the same project makes the same bytes, whatever the checkout's times, modes (but for whether an
//! owner may execute), folder order, the umask and the locale say.

mod compile;
mod error;
mod export;
mod patterns;
mod payload;
mod platform;
mod project;
mod sparse;
mod stub;
mod substitute;
mod windows;

pub use compile::{Compiled, Format, Options, Target, compile, full_name};
pub use error::CompileError;
pub use export::{Destination, export, export_msi};
pub use platform::{os_string, project_path, set_mode};
pub use stub::{stub, windows_stub};
