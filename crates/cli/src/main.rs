//! The `packhorse` command: arguments in, one call, an exit code out.

fn main() {}
