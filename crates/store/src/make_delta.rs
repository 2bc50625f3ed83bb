//! A delta is made: files in parallel, in order, within memory and time.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufWriter, Write},
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use content::{
    BaseFile, Bases, Data, DeltaHead, DeltaWriter, Effort, Found, Outline, Recipe, SEGMENT, Sketch,
    WriteDeltaError, lane_of,
};
use model::Hasher;
use package::Node;

use crate::unpacked::Unpacked;

/// So many bytes of new files are worked on at once, and wait to be written, for each worker.
const BATCH: u64 = 16 << 20;
/// Bytes of changed files a worker is thought to get done in a second, at full effort.
const EXPECTED: f64 = 12e6;
/// How much quicker than full effort the others are thought to be.
const QUICKER: [f64; 3] = [1.0, 2.0, 4.0];
/// The part of the time that is planned with: what is packed last comes after it.
const MARGIN: f64 = 0.9;
/// How far before and behind its place an older version of a segment is looked for.
const REACH: u64 = SEGMENT as u64 / 2;

/// A record, and how its data is made.
struct Step {
    outline: Outline,
    near: Option<u64>,
    segments: Vec<Segment>,
}

/// A part of a file that gets a recipe.
struct Segment {
    new: Range<u64>,
    base: Option<Range<u64>>,
}

/// How a delta is made.
pub(crate) struct Making {
    pub(crate) workers: usize,
    /// When it began, and how long it may take.
    pub(crate) budget: Option<(Instant, Duration)>,
}

/// Chooses how hard to try, batch by batch, so that all of it is done in time.
struct Pace {
    began: Instant,
    budget: Option<Duration>,
    /// Bytes of what is to be done.
    total: u64,
    done: u64,
    /// Bytes a second, as far as an effort was tried: [`Effort::Full`], [`Effort::Less`], [`Effort::Least`].
    rates: [Option<f64>; 3],
    workers: f64,
}

impl Pace {
    fn new(making: &Making, total: u64) -> Self {
        let (began, budget) =
            making.budget.map_or((Instant::now(), None), |(began, budget)| (began, Some(budget)));
        let workers = making.workers.max(1) as f64;
        Self { began, budget, total, done: 0, rates: [None; 3], workers }
    }

    /// Bytes a second at an effort: what was seen, else what others let expect.
    fn rate(&self, effort: usize) -> f64 {
        let seen = |other: usize| Some(self.rates[other]? * QUICKER[effort] / QUICKER[other]);
        let near = [effort, 1, 0, 2].into_iter().find_map(seen);
        near.unwrap_or(EXPECTED * self.workers * QUICKER[effort])
    }

    /// How hard to try for the next `bytes`: as hard as leaves time for the rest at the next lower effort.
    fn effort(&self, bytes: u64) -> Effort {
        let Some(budget) = self.budget else { return Effort::Full };
        let gone = self.began.elapsed();
        if gone > budget * 2 {
            return Effort::None;
        }
        let left = budget.saturating_sub(gone).as_secs_f64() * MARGIN;
        let rest = self.total.saturating_sub(self.done).saturating_sub(bytes) as f64;
        let fits = |now: usize, then: usize| {
            bytes as f64 / self.rate(now) + rest / self.rate(then) <= left
        };
        match () {
            () if fits(0, 1) => Effort::Full,
            () if fits(1, 2) => Effort::Less,
            () => Effort::Least,
        }
    }

    /// So many bytes took that long.
    fn took(&mut self, effort: Effort, bytes: u64, seconds: f64) {
        self.done += bytes;
        let at = match effort {
            Effort::Full => 0,
            Effort::Less => 1,
            Effort::Least => 2,
            Effort::None => return,
        };
        let now = bytes as f64 / seconds.max(0.001);
        // Content differs: what was seen last counts for half.
        self.rates[at] = Some(self.rates[at].map_or(now, |known| f64::midpoint(known, now)));
    }
}

/// Writes the delta from `base` to `new` into `out`; says its length and hash.
pub(crate) fn make_delta(
    base: &Unpacked,
    new: &Unpacked,
    out: &File,
    making: &Making,
    progress: &mut dyn FnMut(u64),
) -> Result<(model::Hash, u64), WriteDeltaError> {
    let outlines = base.outlines();
    let head = DeltaHead { base: base.identity, target: new.identity, header: new.header.clone() };
    let sink = Hashed { out: BufWriter::with_capacity(1 << 20, out), hasher: Hasher::new() };
    let spread = |count: usize, act: &(dyn Fn(usize) + Sync)| at_once(making.workers, count, act);
    let mut writer = DeltaWriter::new(sink, &outlines, &head)?.with_spread(&spread);
    let mut bases = Bases::new(&base.records);
    learn(&mut bases, base, new)?;
    let mut steps = (0..new.records.len()).map(|position| step(base, new, &bases, position));
    let (send, receive) = mpsc::sync_channel::<(Vec<Step>, Vec<(u8, Recipe)>, Effort)>(1);
    std::thread::scope(|scope| {
        let writing = scope.spawn(move || {
            for (steps, recipes, effort) in receive {
                writer.set_effort(effort);
                let mut recipes = recipes.into_iter();
                for step in steps {
                    let count = step.segments.len();
                    let made: Vec<_> = recipes.by_ref().take(count).collect();
                    let mut outline = step.outline;
                    if let Some((lane, _)) = made.first() {
                        outline = outline.made_in(*lane);
                    }
                    writer.outline(&outline, step.near)?;
                    let lane = made.first().map_or(0, |(lane, _)| *lane);
                    made.into_iter().try_for_each(|(_, recipe)| writer.recipe(lane, recipe))?;
                }
            }
            writer.finish()
        });
        let mut pace = Pace::new(making, changed(new, &bases));
        loop {
            let began = Instant::now();
            let batch = gather(&mut steps, BATCH * making.workers as u64);
            if batch.is_empty() {
                break;
            }
            let lengths = batch.iter().flat_map(|step| &step.segments);
            let bytes = lengths.map(|segment| segment.new.end - segment.new.start).sum();
            let effort = pace.effort(bytes);
            let recipes = work(base, new, &batch, effort, making.workers)?;
            let is_over = send.send((batch, recipes, effort)).is_err();
            pace.took(effort, bytes, began.elapsed().as_secs_f64());
            progress(pace.done);
            if is_over {
                break;
            }
        }
        drop(send);
        let (length, sink) = writing
            .join()
            .map_err(|_| io::Error::other("the thread that writes the delta ended"))??;
        Ok((sink.hasher.finish(), length))
    })
}

fn gather(steps: &mut dyn Iterator<Item = Step>, most: u64) -> Vec<Step> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for step in steps {
        bytes += 256
            + step.segments.iter().map(|segment| segment.new.end - segment.new.start).sum::<u64>();
        batch.push(step);
        if bytes >= most {
            break;
        }
    }
    batch
}

fn step(base: &Unpacked, new: &Unpacked, bases: &Bases<'_>, position: usize) -> Step {
    let record = &new.records[position];
    let Node::File(content) = &record.node else {
        let near = bases.same_path(record).map(|near| near as u64);
        return Step { outline: Outline::of(record, Data::None), near, segments: Vec::new() };
    };
    let range = new.range(position);
    if range.is_empty() {
        let near = bases.same_path(record).map(|near| near as u64);
        return Step { outline: Outline::of(record, Data::None), near, segments: Vec::new() };
    }
    let like = |named: Option<usize>| {
        let likely = sketch(new, position).ok().and_then(|sketch| bases.alike(&sketch)).or(named);
        Step {
            outline: Outline::of(record, Data::Made(0)),
            near: likely.map(|like| like as u64),
            segments: segments(range.clone(), likely.map(|like| base.range(like))),
        }
    };
    match bases.find(record, content) {
        Found::Perhaps(named) => like(Some(named)),
        Found::Nothing => like(None),
        Found::Same(same) => Step {
            outline: Outline::of(record, Data::Same(same as u64)),
            near: Some(same as u64),
            segments: Vec::new(),
        },
        Found::Like(like) => Step {
            outline: Outline::of(record, Data::Made(0)),
            near: Some(like as u64),
            segments: segments(range.clone(), Some(base.range(like))),
        },
    }
}

/// Learns what those files of the base look like that no name leads to: renamed, they may come again.
fn learn(bases: &mut Bases<'_>, base: &Unpacked, new: &Unpacked) -> io::Result<()> {
    let mut taken = HashSet::new();
    let mut searched = false;
    for record in &new.records {
        let Node::File(content) = &record.node else { continue };
        if content.data_length() == 0 {
            continue;
        }
        match bases.find(record, content) {
            Found::Same(position) | Found::Like(position) => drop(taken.replace(position)),
            Found::Perhaps(_) | Found::Nothing => searched = true,
        }
    }
    for (position, record) in base.records.iter().enumerate().filter(|_| searched) {
        if matches!(record.node, Node::File(_)) && !taken.contains(&position) {
            bases.learn(position, &sketch(base, position)?);
        }
    }
    Ok(())
}

/// Bytes of files that are not in the base as they are.
fn changed(new: &Unpacked, bases: &Bases<'_>) -> u64 {
    let is_there = |record: &package::Record| match &record.node {
        Node::File(content) => matches!(bases.find(record, content), Found::Same(_)),
        _ => true,
    };
    (0..new.records.len())
        .filter(|position| !is_there(&new.records[*position]))
        .map(|position| new.range(position))
        .map(|range| range.end - range.start)
        .sum()
}

fn sketch(of: &Unpacked, position: usize) -> io::Result<Sketch> {
    let range = of.range(position);
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length.min(Sketch::ENOUGH)];
    of.read_at(range.start, &mut bytes)?;
    Ok(Sketch::of(&bytes))
}

/// Cuts a file into segments, each with the part of the older one that is likely its own.
fn segments(new: Range<u64>, base: Option<Range<u64>>) -> Vec<Segment> {
    let length = new.end - new.start;
    let step = SEGMENT as u64;
    (0..length.div_ceil(step))
        .map(|number| {
            let from = number * step;
            let to = (from + step).min(length);
            let base = base.clone().map(|base| {
                let old = base.end - base.start;
                let scale = |at: u64| {
                    u64::try_from(u128::from(at) * u128::from(old) / u128::from(length.max(1)))
                        .unwrap_or(old)
                };
                let low = scale(from).saturating_sub(REACH);
                let high = (scale(to) + REACH).min(old);
                base.start + low..base.start + high
            });
            Segment { new: new.start + from..new.start + to, base }
        })
        .collect()
}

/// The recipes of all segments of a batch, in order.
fn work(
    base: &Unpacked,
    new: &Unpacked,
    batch: &[Step],
    effort: Effort,
    workers: usize,
) -> io::Result<Vec<(u8, Recipe)>> {
    let segments: Vec<&Segment> = batch.iter().flat_map(|step| &step.segments).collect();
    let made: Vec<OnceLock<io::Result<(u8, Recipe)>>> =
        segments.iter().map(|_| OnceLock::new()).collect();
    at_once(workers, segments.len(), &|number| {
        let _ = made[number].set(recipe(base, new, segments[number], effort));
    });
    let missing = || Err(io::Error::other("a thread that compares files ended"));
    made.into_iter().map(|made| made.into_inner().unwrap_or_else(missing)).collect()
}

/// Acts for each number below `count`, `workers` at a time.
fn at_once(workers: usize, count: usize, act: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            act(number);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers.min(count) {
            scope.spawn(work);
        }
        work();
    });
}

fn recipe(
    base: &Unpacked,
    new: &Unpacked,
    segment: &Segment,
    effort: Effort,
) -> io::Result<(u8, Recipe)> {
    let read = |from: &Unpacked, range: &Range<u64>| {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        from.read_at(range.start, &mut bytes).map(|()| bytes)
    };
    let bytes = read(new, &segment.new)?;
    let lane = lane_of(&bytes);
    let Some(range) = segment.base.as_ref().filter(|_| effort != Effort::None) else {
        return Ok((lane, Recipe::of(&bytes, None, effort)));
    };
    let old = read(base, range)?;
    let old = BaseFile { start: range.start, bytes: &old };
    Ok((lane, Recipe::of(&bytes, Some(old), effort)))
}

/// A file that is hashed as it is written.
struct Hashed<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
