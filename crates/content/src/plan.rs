//! The fetch plan: of all ways from what a client has to what it wants, which are there and which is cheapest.

use model::{Hash, Version};
use serde::Serialize;

use crate::{Index, Object, PackFrame, Release};

/// A request is not made for fewer bytes: passing over them costs less than asking twice.
const GAP: u64 = 64 << 10;

/// What a way costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cost {
    /// Bytes to receive.
    pub bytes: u64,
    /// Requests to make.
    pub requests: u64,
}

/// A way to a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The client has the release already.
    Copy,
    /// A delta from a release the client has.
    Delta {
        /// The identity of that release.
        base: Hash,
        /// Its version, if the index still has it.
        version: Option<Version>,
        /// The delta.
        object: Object,
    },
    /// The frames that hold what the client lacks; all else is here.
    Frames {
        /// How many frames.
        frames: usize,
        /// How many packs they are in.
        packs: usize,
        /// Bytes of content that are here already.
        here: u64,
    },
    /// The whole package.
    Whole {
        /// The package.
        object: Object,
    },
}

/// A way, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// The way.
    pub way: Way,
    /// Its cost, the index that was read already left out.
    pub cost: Cost,
}

/// All ways there are, the cheapest first. Should one fail, the next is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    routes: Vec<Route>,
    wanted: Version,
    /// Releases the client has to which no delta leads from.
    useless: Vec<Hash>,
}

impl Plan {
    /// The ways to `release` for a client that has the packages of these identities; `frames` is the way over
    /// frames, if that was looked into.
    pub fn decide(index: &Index, release: &Release, have: &[Hash], frames: Option<Route>) -> Self {
        let mut routes = Vec::new();
        if have.contains(&release.identity) {
            routes.push(Route { way: Way::Copy, cost: Cost::default() });
        }
        let known: Vec<_> =
            release.deltas.iter().filter(|delta| have.contains(&delta.base)).collect();
        for delta in &known {
            let base = index.releases.iter().find(|base| base.identity == delta.base);
            routes.push(Route {
                way: Way::Delta {
                    base: delta.base,
                    version: base.map(|base| base.version.clone()),
                    object: delta.object,
                },
                cost: Cost { bytes: delta.object.length, requests: 1 },
            });
        }
        routes.extend(frames);
        if let Some(pack) = release.whole() {
            let cost = Cost { bytes: pack.length, requests: 1 };
            routes.push(Route { way: Way::Whole { object: *pack }, cost });
        }
        routes.sort_by_key(|route| route.cost);
        let leads = |identity: &Hash| {
            *identity == release.identity || known.iter().any(|delta| delta.base == *identity)
        };
        let useless = have.iter().copied().filter(|identity| !leads(identity)).collect();
        Self { routes, wanted: release.version.clone(), useless }
    }

    /// What starts from this base costs so much more, since it is not whole here.
    pub fn burden(&mut self, base: Hash, more: Cost) {
        for route in &mut self.routes {
            if matches!(&route.way, Way::Delta { base: of, .. } if *of == base) {
                route.cost.bytes += more.bytes;
                route.cost.requests += more.requests;
            }
        }
        self.routes.sort_by_key(|route| route.cost);
    }

    /// The ways, the cheapest first.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// What the first way costs.
    pub fn cost(&self) -> Cost {
        self.routes.first().map_or_else(Cost::default, |route| route.cost)
    }

    /// The plan in sentences.
    pub fn explain(&self) -> String {
        let mut text = String::new();
        for (number, route) in self.routes.iter().enumerate() {
            let way = match &route.way {
                Way::Copy => "what is here is it already".to_owned(),
                Way::Delta { version: Some(version), .. } => format!("the delta from {version}"),
                Way::Delta { base, .. } => format!("the delta from the package `{base}`"),
                Way::Frames { frames, packs, here } => format!(
                    "{frames} frames of {packs} packs, with {here} bytes of content from here"
                ),
                Way::Whole { .. } => "the whole package".to_owned(),
            };
            let order = if number == 0 { "take" } else { "else" };
            let Cost { bytes, requests } = route.cost;
            let word = if requests == 1 { "request" } else { "requests" };
            text += &format!("{order} {way}: {bytes} bytes in {requests} {word}\n");
        }
        for identity in &self.useless {
            text += &format!("no delta leads from the package `{identity}` to {}\n", self.wanted);
        }
        text
    }
}

/// Bytes of a pack that come with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The pack, by position among the packs.
    pub pack: u32,
    /// Where in the pack.
    pub bytes: std::ops::Range<u64>,
    /// The frames in it that are wanted, ascending, by position among the frames.
    pub frames: Vec<u32>,
}

/// The requests that bring these frames, of each of which the first bytes may be here: pack by pack, front to back, frames
/// that lie near each other in one.
pub fn stretches(frames: &[PackFrame], wanted: &[(u32, u64)]) -> Vec<Stretch> {
    let mut sorted: Vec<_> = wanted
        .iter()
        .filter_map(|(number, here)| {
            let frame = frames.get(*number as usize)?;
            Some((frame.pack, frame.offset.saturating_add(*here), frame.end(), *number))
        })
        .filter(|(_, from, to, _)| from < to)
        .collect();
    sorted.sort_unstable();
    let mut all: Vec<Stretch> = Vec::new();
    for (pack, from, to, number) in sorted {
        // What comes behind a frame whose start is here would have a hole in it.
        let last = all.last_mut().filter(|last| {
            last.pack == pack && from >= last.bytes.end && from - last.bytes.end <= GAP
        });
        match last {
            Some(last) => {
                last.bytes.end = to;
                last.frames.push(number);
            }
            None => all.push(Stretch { pack, bytes: from..to, frames: vec![number] }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::stretches;
    use crate::PackFrame;

    fn frame(pack: u32, offset: u64, stored: u64) -> PackFrame {
        PackFrame { pack, offset, stored, plain: 1, window_log: 10, filtered: false }
    }

    #[test]
    fn neighbours_come_together_and_what_is_far_apart_does_not() {
        let frames =
            [frame(0, 16, 100), frame(0, 116, 100), frame(0, 1_000_000, 50), frame(1, 16, 10)];
        let all: Vec<_> = (0..4).map(|number| (number, 0)).collect();
        let ranges = |wanted: &[(u32, u64)]| {
            stretches(&frames, wanted)
                .into_iter()
                .map(|one| (one.pack, one.bytes, one.frames))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ranges(&all),
            [(0, 16..216, vec![0, 1]), (0, 1_000_000..1_000_050, vec![2]), (1, 16..26, vec![3])]
        );
        // What came before a cut is not asked for again, nor what is whole.
        assert_eq!(ranges(&[(0, 100), (1, 40)]), [(0, 156..216, vec![1])]);
    }
}
