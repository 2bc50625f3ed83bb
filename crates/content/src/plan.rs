//! The fetch plan: of all ways from what a client has to what it wants, which are there and which is cheapest.

use model::{Hash, Version};
use serde::Serialize;

use crate::{Index, Object, Release};

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
    /// The ways to `release` for a client that has the packages of these identities.
    pub fn decide(index: &Index, release: &Release, have: &[Hash]) -> Self {
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
        if let Some(pack) = release.packs.first() {
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
                Way::Whole { .. } => "the whole package".to_owned(),
            };
            let order = if number == 0 { "take" } else { "else" };
            text += &format!(
                "{order} {way}: {} bytes in {} requests\n",
                route.cost.bytes, route.cost.requests
            );
        }
        for identity in &self.useless {
            text += &format!("no delta leads from the package `{identity}` to {}\n", self.wanted);
        }
        text
    }
}
