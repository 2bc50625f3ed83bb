//! What is wrong with deployments while their author still looks at them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    Audience, Deployment, DeploymentId, Fit, Purpose, Window, WindowRule, Windows, Zones, graph,
};

/// Something an author should know before anything is deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The deployment it is about.
    pub deployment: DeploymentId,
    /// Whether it can never run so; else it is a warning.
    pub is_fatal: bool,
    /// What, why, and what to do.
    pub text: String,
}

/// Looks through what one client would get together: each by itself, what they wait for, and whether windows are open
/// long enough.
pub fn review(
    deployments: &[Deployment],
    windows: &[Window],
    zones: Zones<'_>,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |one: &Deployment, is_fatal: bool, text: String| {
        findings.push(Finding { deployment: one.id.clone(), is_fatal, text });
    };
    let index: BTreeMap<&DeploymentId, &Deployment> =
        deployments.iter().map(|one| (&one.id, one)).collect();
    let order = graph::order(deployments, |one| one.depends_on.iter().collect());
    let takeovers =
        graph::order(deployments, |one| one.supersedes.iter().map(|old| &old.deployment).collect());
    let opening = Windows::new(windows, !windows.is_empty(), zones);
    for one in deployments {
        if let Err(error) = one.check() {
            say(one, true, error.to_string());
        }
        for (circles, verb) in [(&order.circles, "depends on"), (&takeovers.circles, "supersedes")]
        {
            if let Some(way) = circles.get(&one.id) {
                let way: Vec<String> = way.iter().map(|id| format!("`{id}`")).collect();
                say(one, true, format!("it {verb} itself by way of {}", way.join(", ")));
            }
        }
        for need in &one.depends_on {
            match index.get(need) {
                None => {
                    let text = format!(
                        "it depends on `{need}`, which these clients do not get: deploy that to them as well"
                    );
                    say(one, true, text);
                }
                Some(need)
                    if need.audience != Audience::Machine && one.audience == Audience::Machine =>
                {
                    let text = format!(
                        "it runs for the machine and depends on `{}`, which runs for users",
                        need.id
                    );
                    say(one, true, text);
                }
                Some(_) => {}
            }
        }
        for text in times(one, zones, now) {
            say(one, true, text);
        }
        let waits_for_windows = one.windows == WindowRule::Inside
            || one.windows == WindowRule::UntilDeadline && one.deadline.is_none();
        if !waits_for_windows || one.purpose == Purpose::Available && one.deadline.is_none() {
            continue;
        }
        let from = one.start.as_ref().and_then(|start| start.instant(zones).ok());
        let from = from.unwrap_or(now).max(now);
        match opening.fit(from, one.program.estimate.unwrap_or(0)) {
            Fit::Never(never) => say(one, true, never.to_string()),
            Fit::Fits(first) if first.from > from => {
                let text = format!(
                    "it runs at {} at the earliest, in the window `{}`",
                    first.from, first.window
                );
                say(one, false, text);
            }
            Fit::Always | Fit::Fits(_) => {}
        }
    }
    findings
}

/// Times that contradict one another.
fn times(one: &Deployment, zones: Zones<'_>, now: Timestamp) -> Vec<String> {
    let mut texts = Vec::new();
    let mut at = |when: Option<&crate::When>| match when.map(|when| when.instant(zones)) {
        Some(Err(unknown)) => {
            texts.push(unknown.to_string());
            None
        }
        Some(Ok(at)) => Some(at),
        None => None,
    };
    let start = at(one.start.as_ref());
    let deadline = at(one.deadline.as_ref());
    let expiry = at(one.expiry.as_ref());
    if let (Some(start), Some(deadline)) = (start, deadline)
        && deadline < start
    {
        texts.push(format!("its deadline {deadline} is before its start {start}"));
    }
    if let Some(expiry) = expiry {
        if start.is_some_and(|start| expiry <= start) {
            texts.push(format!("it expires at {expiry}, before it starts"));
        } else if expiry <= now {
            texts.push(format!("it expired at {expiry}"));
        }
    }
    if let Some(recurrence) = &one.recurrence {
        match recurrence.next(zones, start.unwrap_or(Timestamp::MIN)) {
            Err(unknown) => texts.push(unknown.to_string()),
            Ok(next) => {
                if next.zip(expiry).is_some_and(|(next, expiry)| next.at >= expiry) {
                    texts.push("it expires before it first comes".to_owned());
                }
            }
        }
    }
    texts
}
