//! Job decisions per second, durable each: eight threads publish versions that a child is to have.
//!
//! `decisions FOLDER SECONDS [URL]`: prints events, decisions and what they took.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use model::{Hash, PackageName};
use policy::{Event, Features, PointName, SiteCode};
use site::{AddressSettings, Folder, Server, SiteError};

const THREADS: u64 = 8;
const PACKAGES: u64 = 100;

fn name(thread: u64, package: u64) -> Result<PackageName, Box<dyn std::error::Error>> {
    Ok(PackageName::new(&format!("p{thread}-{package}"))?)
}

fn publish(package: PackageName, content: u64) -> Event {
    let manifest = Hash::of(&content.to_be_bytes());
    let (critical, optional) = (Features::default(), Features::default());
    Event::Publish { package, manifest, bytes: 1, critical, optional }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, seconds, rest @ ..] = words.as_slice() else {
        return Err("usage: decisions FOLDER SECONDS [URL]".into());
    };
    let folder = Folder::new(Path::new(folder));
    site::init(&folder, "TOP", rest.first().map(String::as_str))?;
    let server = Server::start(folder)?;
    server.add_child("CHILD", &AddressSettings::default())?;
    let point = PointName { site: SiteCode::new("CHILD")?, name: "p".into() };
    for thread in 0..THREADS {
        for package in 0..PACKAGES {
            let package = name(thread, package)?;
            server.event(publish(package.clone(), 0))?;
            server.event(Event::Assign { package, points: vec![point.clone()] })?;
        }
    }
    let patience = Duration::from_secs(seconds.parse()?);
    let (began, count) = (Instant::now(), AtomicU64::new(0));
    let done: Vec<Result<(), SiteError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (server, count) = (Arc::clone(&server), &count);
                scope.spawn(move || {
                    for round in 1.. {
                        if began.elapsed() > patience {
                            break;
                        }
                        let Ok(package) = name(thread, round % PACKAGES) else { break };
                        server.event(publish(package, round))?;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    done.into_iter().collect::<Result<(), _>>()?;
    // Each supersedes the child's job by one for the new version.
    let (count, took) = (count.load(Ordering::Relaxed), began.elapsed());
    println!("{count} {:.3} {:.0}", took.as_secs_f64(), count as f64 / took.as_secs_f64());
    server.stop(Duration::from_secs(1));
    Ok(())
}
