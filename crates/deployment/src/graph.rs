//! Deployments that wait for one another.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Deployment, DeploymentId};

/// Deployments in an order in which each comes after what it waits for, and those that wait for themselves.
#[derive(Clone, Debug)]
pub(crate) struct Order<'a> {
    /// Positions; those of a circle are not among them.
    pub(crate) sorted: Vec<usize>,
    /// For each that waits for itself: the circle, or the way to it.
    pub(crate) circles: BTreeMap<&'a DeploymentId, Vec<DeploymentId>>,
}

/// Sorts by `of`: what each waits for. What is not among `deployments` is passed over.
pub(crate) fn order<'a>(
    deployments: &'a [Deployment],
    of: impl Fn(&'a Deployment) -> Vec<&'a DeploymentId>,
) -> Order<'a> {
    let index: BTreeMap<&DeploymentId, usize> =
        deployments.iter().enumerate().map(|(at, one)| (&one.id, at)).collect();
    let waits: Vec<BTreeSet<usize>> = deployments
        .iter()
        .map(|one| of(one).into_iter().filter_map(|id| index.get(id).copied()).collect())
        .collect();
    let mut waiters: Vec<Vec<usize>> = vec![Vec::new(); deployments.len()];
    for (at, needs) in waits.iter().enumerate() {
        for need in needs {
            waiters[*need].push(at);
        }
    }
    let mut open: Vec<usize> = waits.iter().map(BTreeSet::len).collect();
    let mut ready: BTreeSet<usize> = (0..open.len()).filter(|at| open[*at] == 0).collect();
    let mut sorted = Vec::with_capacity(open.len());
    while let Some(at) = ready.pop_first() {
        sorted.push(at);
        for waiter in &waiters[at] {
            open[*waiter] -= 1;
            if open[*waiter] == 0 {
                ready.insert(*waiter);
            }
        }
    }
    let stuck: BTreeSet<usize> = (0..open.len()).filter(|at| open[*at] > 0).collect();
    let circles = stuck
        .iter()
        .map(|at| (&deployments[*at].id, circle(*at, &waits, &stuck, deployments)))
        .collect();
    Order { sorted, circles }
}

/// From one that is stuck along what it waits for, until somebody comes again.
fn circle(
    from: usize,
    waits: &[BTreeSet<usize>],
    stuck: &BTreeSet<usize>,
    deployments: &[Deployment],
) -> Vec<DeploymentId> {
    let mut way = vec![from];
    let mut seen: BTreeSet<usize> = [from].into();
    let mut at = from;
    while let Some(next) = waits[at].iter().find(|next| stuck.contains(next)) {
        way.push(*next);
        if !seen.insert(*next) {
            break;
        }
        at = *next;
    }
    way.into_iter().map(|at| deployments[at].id.clone()).collect()
}
