//! One target after the other, or that named by `TARGET`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static WANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("TARGET").ok());

fuzz_target!(|bytes: &[u8]| {
    for (name, target) in fuzz::TARGETS {
        if WANTED.as_ref().is_none_or(|wanted| wanted == name) {
            target(bytes);
        }
    }
});
