//! What agents cost: on their machines, at their site; one client's change against all collections, one message beside all
//! others.

mod line;

use std::{
    fmt::Write as _,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use deployment::{
    ClientId, CollectionSpec, Collections, Inventory, InventoryKey, InventoryPart, MachineField,
};

use site::{Record, RecordKind, Sqlite, Storage};

use super::{median, seconds};
use crate::workspace;

/// The bar: a client's change is right in all collections within this.
const BAR: Duration = Duration::from_millis(100);
/// Inventories of which each is asked all rules; further clients are images of these.
const IMAGES: u32 = 500;
/// Changes that are measured.
const CHANGES: u32 = 2_000;

/// A message is taken in by a site that holds so many, and by one that holds all.
const FEW_MESSAGES: u64 = 10_000;
/// Messages that are measured.
const MESSAGES: usize = 1_000;
/// It may be slower by no more than this.
const MOST_SLOWER: f64 = 2.0;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo run --release --package xtask -- bench agent\n  cargo xtask bench agent --only collections --clients 200000\n\nCollections are kept by this very program: without `--release`, it is slow."
)]
pub(crate) struct Args {
    /// Clients of the site.
    #[arg(long, default_value = "200000", value_name = "N")]
    clients: u32,
    /// Collections.
    #[arg(long, default_value = "1000", value_name = "N")]
    collections: u32,
    /// Messages a site holds already when one more comes.
    #[arg(long, default_value = "1000000", value_name = "N")]
    messages: u64,
    /// Only a part.
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Collections,
    Messages,
    Line,
}

/// One line of the table.
struct Row {
    what: &'static str,
    measured: String,
    bar: &'static str,
    met: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut rows = Vec::new();
    let mut take = |more: Vec<Row>| {
        // Said at once: all of it takes a while.
        for Row { what, measured, .. } in &more {
            println!("{what}: {measured}");
        }
        rows.extend(more);
    };
    let is_wanted = |part| args.only.is_none_or(|only| only == part);
    if is_wanted(Part::Line) {
        take(line::rows(args.clients)?);
    }
    if is_wanted(Part::Collections) {
        take(vec![collections(args)?]);
    }
    if is_wanted(Part::Messages) {
        take(vec![messages(args.messages)?]);
    }
    let mut table = "| what | measured | bar | |\n|---|---|---|---|\n".to_owned();
    for Row { what, measured, bar, met } in &rows {
        let word = if *met { "met" } else { "**missed**" };
        writeln!(table, "| {what} | {measured} | {bar} | {word} |")?;
    }
    println!("\n{table}");
    if args.only.is_none() {
        let text = format!(
            "# Agents, measured\n\nThe last output of `cargo run --release --package xtask -- bench agent`.\n\n{table}"
        );
        fs::write(workspace::root().join("docs/bench-agent.md"), text)?;
    }
    let missed: Vec<&str> = rows.iter().filter(|row| !row.met).map(|row| row.what).collect();
    ensure!(missed.is_empty(), "missed: {}", missed.join("; "));
    Ok(())
}

/// One client's change against all collections.
fn collections(args: &Args) -> Result<Row> {
    let images: Vec<Inventory> = (0..IMAGES.min(args.clients)).map(image).collect();
    let mut collections = Collections::default();
    for number in 0..args.collections {
        collections.save::<Inventory>(spec(number), [])?;
    }
    let begun = Instant::now();
    for (number, image) in (0..).zip(&images) {
        collections.report(client(number), None, image);
    }
    let whole = begun.elapsed() / u32::try_from(images.len())?;
    let rows: Vec<Vec<u8>> =
        (0..).zip(&images).filter_map(|(number, _)| collections.row(client(number))).collect();
    for number in u32::try_from(images.len())?..args.clients {
        let row = rows.get(number as usize % rows.len()).context("no rows")?;
        collections.restore(client(number), row)?;
    }
    let mut times = Vec::new();
    let mut moved = 0;
    for turn in 0..CHANGES {
        let number = turn.wrapping_mul(2_654_435_761) % args.clients;
        let before = &images[number as usize % images.len()];
        let after = changed(before, turn);
        let begun = Instant::now();
        moved += collections.report(client(number), Some(before), &after).len();
        times.push(begun.elapsed());
        if turn % 50 == 0 {
            check(&mut collections, client(number), &after)?;
        }
        collections.report(client(number), Some(&after), before);
    }
    let worst = times.iter().max().copied().unwrap_or_default();
    Ok(Row {
        what: "a client's change, right in all collections",
        measured: format!(
            "{} clients, {} collections: {} (median), {} (worst of {CHANGES}), {moved} memberships moved; all rules of one client {}",
            args.clients,
            args.collections,
            seconds(median(times)),
            seconds(worst),
            seconds(whole),
        ),
        bar: "≤ 100 ms",
        met: worst <= BAR,
    })
}

/// A message taken in, durably, where there are few others and where there are many (Q140389).
fn messages(many: u64) -> Result<Row> {
    let home = tempfile::tempdir()?;
    let mut storage = Sqlite::open(&home.path().join("site.db"))?;
    let (mut known, mut held) = (0, 0);
    let few = fill(&mut storage, &mut known, &mut held, FEW_MESSAGES.min(many))?;
    let full = fill(&mut storage, &mut known, &mut held, many)?;
    let ratio = full.as_secs_f64() / few.as_secs_f64();
    Ok(Row {
        what: "one message more",
        measured: format!(
            "{} beside {FEW_MESSAGES} others, {} beside {many} (medians of {MESSAGES}): {ratio:.2}",
            seconds(few),
            seconds(full),
        ),
        bar: "≤ 2.0",
        met: ratio <= MOST_SLOWER,
    })
}

/// Takes in messages until so many are held; then, what one more takes.
fn fill(storage: &mut Sqlite, known: &mut u64, held: &mut u64, until: u64) -> Result<Duration> {
    while *held < until {
        let next = (*held + 10_000).min(until);
        let records: Vec<Record> = (*held..next).map(message).collect();
        *known = storage.record(*known, &records)?;
        *held = next;
    }
    let mut times = Vec::new();
    for _ in 0..MESSAGES {
        let record = message(*held);
        let begun = Instant::now();
        *known = storage.record(*known, &[record])?;
        times.push(begun.elapsed());
        *held += 1;
    }
    Ok(median(times))
}

/// What some client of many said, as a site keeps it.
fn message(number: u64) -> Record {
    let client = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 200_000;
    Record {
        kind: RecordKind::Message,
        name: format!("{client:032x}/{:016x}/{number:016x}", 7),
        body: Some(vec![b'x'; 300]),
    }
}

/// The same as asking everything anew.
fn check(collections: &mut Collections, client: ClientId, inventory: &Inventory) -> Result<()> {
    let kept = collections.of(client);
    collections.forget(client);
    collections.report(client, None, inventory);
    ensure!(
        kept == collections.of(client),
        "client {client} is in other collections when asked anew"
    );
    Ok(())
}

fn client(number: u32) -> ClientId {
    ClientId(u128::from(number).to_be_bytes())
}

/// A machine of a fleet: five systems, forty packages of four hundred, ten services.
fn image(number: u32) -> Inventory {
    let mut inventory = Inventory::default();
    let systems = [
        ("debian", "12"),
        ("debian", "13"),
        ("ubuntu", "26.04"),
        ("rhel", "10"),
        ("windows", "11"),
    ];
    let (distribution, release) = systems[number as usize % systems.len()];
    let os = if distribution == "windows" { "windows" } else { "linux" };
    for (field, text) in [
        (MachineField::Os, os),
        (MachineField::Distribution, distribution),
        (MachineField::Release, release),
        (MachineField::HostName, &*format!("site{}-pc{number}", number % 50)),
    ] {
        inventory.text(InventoryKey::Machine(field), text);
    }
    inventory.number(InventoryKey::Machine(MachineField::Memory), i64::from(number % 16 + 1) << 30);
    inventory.report(InventoryPart::Users);
    for package in 0..40 {
        let name = format!("package-{}", (number * 7 + package * 11) % 400);
        let version = format!("{}.{}", number % 3 + 1, package % 10);
        inventory.text(InventoryKey::package(&name), &version);
    }
    for service in 0..10 {
        let name = format!("service-{}", (number + service * 3) % 60);
        inventory.text(InventoryKey::service(&name), ["running", "stopped"][number as usize % 2]);
    }
    inventory
}

/// What changes on a machine: mostly a package, at times a service, more memory, another name, another system.
fn changed(before: &Inventory, turn: u32) -> Inventory {
    let mut after = before.clone();
    match turn % 20 {
        0 => after.text(InventoryKey::Machine(MachineField::Release), "99"),
        1 => after.text(InventoryKey::Machine(MachineField::HostName), &format!("new-{turn}")),
        2 => after.number(InventoryKey::Machine(MachineField::Memory), 64 << 30),
        3..6 => after.text(InventoryKey::service(&format!("service-{}", turn % 60)), "failed"),
        6..10 => after.remove(&InventoryKey::package(&format!("package-{}", turn % 400))),
        _ => after.text(InventoryKey::package(&format!("package-{}", turn % 400)), "9.9"),
    }
    after
}

/// Rules as people write them, most of them about one package.
fn spec(number: u32) -> CollectionSpec {
    let package = number % 400;
    let rule = match number % 10 {
        0..4 => format!("installed(\"package-{package}\") != \"\""),
        4 | 5 => format!(
            "installed(\"package-{package}\") != \"\" && version(installed(\"package-{package}\")) < version(\"3.{}\")",
            number % 10
        ),
        6 => format!(
            "machine.distribution == \"debian\" && installed(\"package-{package}\") == \"\""
        ),
        7 => format!("machine.hostname.startsWith(\"site{}-\")", number % 50),
        8 => format!(
            "service(\"service-{}\") == \"running\" || machine.memory >= {} * 1073741824",
            number % 60,
            number % 16 + 1
        ),
        _ => format!(
            "machine.os == \"linux\" && version(machine.release) >= version(\"{}\")",
            number % 30
        ),
    };
    let mut spec = CollectionSpec {
        name: format!("collection {number}").into(),
        rule: Some(rule),
        ..CollectionSpec::default()
    };
    // Every twentieth leans on the two before it, and is limited by a third.
    if number % 20 == 19 {
        let other = |back: u32| format!("collection {}", number - back).into();
        (spec.include, spec.exclude, spec.limit) =
            (vec![other(1)], vec![other(2)], Some(other(10)));
    }
    spec
}
