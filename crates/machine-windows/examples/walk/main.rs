//! How long it takes to walk the registry and to find what differs, against a walk that remembers nothing.
//!
//! `walk TURNS` prints for each turn the microseconds of both, then what was seen. Only `cargo xtask bench windows`
//! runs it.

#[cfg(windows)]
mod bare;

#[cfg(not(windows))]
fn main() {}

#[cfg(windows)]
#[expect(clippy::print_stdout, reason = "a program for the terminal")]
fn main() -> std::io::Result<()> {
    use std::{hint::black_box, time::Instant};

    let turns = std::env::args().nth(1).and_then(|turns| turns.parse().ok()).unwrap_or(5);
    let snapshot = || -> std::io::Result<(capture::Registry, usize)> {
        let mut registry = capture::Registry::default();
        let unread = machine_windows::walk_registry(&mut |walked| {
            registry.add(&walked.key, walked.values);
        })?;
        Ok((registry, unread.len()))
    };
    let (before, mut unread) = snapshot()?;
    let (mut changes, mut seen) = (0, 0);
    for _ in 0..turns {
        let begun = Instant::now();
        let (after, refused) = snapshot()?;
        changes = black_box(before.changes(&after)).len();
        let ours = begun.elapsed();
        unread = refused;
        drop(after);
        let begun = Instant::now();
        seen = black_box(bare::walk()?);
        println!("turn {} {}", ours.as_micros(), begun.elapsed().as_micros());
    }
    println!("seen {} {seen} {changes} {unread}", before.count());
    Ok(())
}
