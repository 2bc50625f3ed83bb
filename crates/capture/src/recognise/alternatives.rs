//! Debian's alternatives system: its records say which candidates came, and the links follow.

use std::collections::BTreeMap;

use model::{Alternative, MachinePath, Template};
use script::StepKind;

use super::{Meaning, View, link_target, name_of, path};
use crate::{DraftError, Remark, Side};

/// The folder of the records, one file per name.
const RECORDS: &str = "/var/lib/dpkg/alternatives";

/// A record: update-alternatives(1), "administrative directory".
#[derive(Debug, Default, PartialEq, Eq)]
struct Record {
    automatic: bool,
    link: String,
    /// Names and generic links of those that follow.
    followers: Vec<(String, String)>,
    /// Candidates by path: their priority, and their path for each follower, empty where they have none.
    candidates: BTreeMap<String, (i32, Vec<String>)>,
}

/// Turns new candidates into steps, and takes the records and links that follow from them.
pub(super) fn recognise(view: &View<'_>) -> Result<Meaning, DraftError> {
    let mut meaning = Meaning::default();
    for (file, change) in view.below(RECORDS) {
        let Some(name) = name_of(file) else { continue };
        let side = |side| -> Result<Option<Record>, DraftError> {
            Ok(view.text(file, side)?.and_then(|text| parse(&String::from_utf8_lossy(&text))))
        };
        let before = side(Side::Before)?.unwrap_or_default();
        let after = match side(Side::After)? {
            Some(after) => after,
            None if change.after.is_some() => {
                meaning
                    .warnings
                    .push(Remark::at(file, "it is no record of alternatives; left out"));
                meaning.take(file, "a damaged record of alternatives");
                continue;
            }
            None => Record::default(),
        };
        meaning.take(file, &format!("the alternatives of `{name}`"));
        add_steps(name, &before, &after, &mut meaning);
        for gone in before.candidates.keys().filter(|old| !after.candidates.contains_key(*old)) {
            let text = format!("the candidate `{gone}` of `{name}` was removed; no step does that");
            meaning.review.push(Remark::at(file, text));
        }
        if after.automatic != (before.automatic || before.candidates.is_empty())
            && !after.candidates.is_empty()
        {
            let text = format!(
                "the choice of `{name}` was made by hand; the package leaves it to priorities"
            );
            meaning.review.push(Remark::at(file, text));
        }
        take_links(view, name, &before, &after, &mut meaning);
    }
    Ok(meaning)
}

fn add_steps(name: &str, before: &Record, after: &Record, meaning: &mut Meaning) {
    for (candidate, value) in &after.candidates {
        if before.candidates.get(candidate) == Some(value) && before.followers == after.followers {
            continue;
        }
        let (priority, paths) = value;
        let followers = after.followers.iter().zip(paths).filter(|(_, path)| !path.is_empty());
        meaning.alternatives.push(StepKind::Alternative(Alternative {
            name: name.into(),
            link: Template::literal(after.link.as_bytes()),
            path: Template::literal(candidate.as_bytes()),
            priority: *priority,
            followers: followers
                .map(|((name, link), path)| {
                    let template = |text: &String| Template::literal(text.as_bytes());
                    (name.as_str().into(), template(link), template(path))
                })
                .collect(),
        }));
    }
}

/// Takes `/etc/alternatives/NAME` and the generic links, of the name and of its followers.
fn take_links(view: &View<'_>, name: &str, before: &Record, after: &Record, meaning: &mut Meaning) {
    let followers = before.followers.iter().chain(&after.followers);
    let own = [(name, before.link.as_str()), (name, after.link.as_str())];
    let pairs = own.into_iter().chain(followers.map(|(name, link)| (name.as_str(), link.as_str())));
    for (name, link) in pairs {
        let choice = path(&format!("/etc/alternatives/{name}"));
        if view.changes.contains_key(&choice) {
            meaning.take(&choice, &format!("the choice for `{name}`"));
        }
        let Ok(generic) = MachinePath::new(link) else { continue };
        let leads_there = |entry| link_target(entry) == Some(choice.as_bytes());
        if let Some(change) = view.changes.get(&generic)
            && (leads_there(change.after.as_ref()) || leads_there(change.before.as_ref()))
        {
            meaning.take(&generic, &format!("the generic link of `{name}`"));
        }
    }
}

fn parse(text: &str) -> Option<Record> {
    let mut lines = text.lines();
    let automatic = match lines.next()? {
        "auto" => true,
        "manual" => false,
        _ => return None,
    };
    let link = lines.next()?.to_owned();
    let mut followers = Vec::new();
    loop {
        match lines.next()? {
            "" => break,
            name => followers.push((name.to_owned(), lines.next()?.to_owned())),
        }
    }
    let mut candidates = BTreeMap::new();
    while let Some(candidate) = lines.next().filter(|line| !line.is_empty()) {
        let priority = lines.next()?.parse().ok()?;
        let paths =
            followers.iter().map(|_| lines.next().map(str::to_owned)).collect::<Option<_>>()?;
        candidates.insert(candidate.to_owned(), (priority, paths));
    }
    Some(Record { automatic, link, followers, candidates })
}
