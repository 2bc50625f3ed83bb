use model::PackageName;
use serde::{Deserialize, Serialize};

use crate::{ContentVersion, Feed, Observed, PlaceId, PlaceKind, Refused, Site, SiteCode, Stamp};

/// What goes on a medium for a child without a link: the word of the parent, and only the content the
/// child lacks as far as it has been heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourierSet {
    /// For whom.
    pub child: SiteCode,
    /// Everything the child should hold; importing it twice is importing it once.
    pub feed: Feed,
    /// Versions to put on the medium.
    pub contents: Vec<(PackageName, ContentVersion)>,
}

impl Site {
    /// The set for a child, from what it reported last.
    pub fn courier_set(&self, child: &SiteCode) -> Result<CourierSet, Refused> {
        let id = self.child(child).ok_or_else(|| Refused::NoPlace(child.to_string()))?;
        let heard = self.heard_of(id);
        // Whole, because nobody knows which medium arrives, or when.
        let feed = self.feed_for(id, Stamp::default(), heard);
        let contents = feed
            .entries
            .iter()
            .filter_map(|entry| {
                let version = entry.version?;
                let held = self.places.get(&id)?.cell(self.package_id(&entry.package)?)?.observed;
                let here = self.master(self.package_id(&entry.package)?)?;
                let lacks = !matches!(held, Observed::Holds(held) if held >= version.number);
                (lacks && here >= version.number).then(|| (entry.package.clone(), version))
            })
            .collect();
        Ok(CourierSet { child: child.clone(), feed, contents })
    }

    fn heard_of(&self, id: PlaceId) -> Stamp {
        match self.places.get(&id).map(|place| &place.kind) {
            Some(PlaceKind::Child { heard, .. }) => *heard,
            _ => Stamp::default(),
        }
    }
}
