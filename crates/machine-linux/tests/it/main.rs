//! One test binary per crate; one module per feature. Tests that mount need root, and say so.

mod observers;
