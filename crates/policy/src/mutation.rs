use serde::{Deserialize, Serialize};

/// A fault of the ancestor, reintroduced to see that the simulation finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mutation {
    /// Q195936: once updating the master copy has failed, the points are not refreshed after it succeeds.
    RetryForgetsPoints,
    /// Q153576: a failed attempt counts as complete.
    FailureIsDone,
    /// Q191360: the attempt count moves by two.
    CountsTwice,
    /// Q235774: children that were away are not told of removals.
    NoTombstones,
    /// Q288970: a restore does not raise the epoch.
    SameEpoch,
    /// Q281754: saving without a change makes a new version.
    SaveIsUpdate,
    /// Q137610: nobody asks whether there is room.
    NoSpaceCheck,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RetryForgetsPoints,
        Self::FailureIsDone,
        Self::CountsTwice,
        Self::NoTombstones,
        Self::SameEpoch,
        Self::SaveIsUpdate,
        Self::NoSpaceCheck,
    ];
}

impl crate::Site {
    pub(crate) fn has(&self, mutation: Mutation) -> bool {
        self.settings.mutation == Some(mutation)
    }
}
