//! A site among sites: its parent, its children, and which sites are below those.

use crate::{
    Effect, Features, Key, Moment, Place, PlaceId, PlaceKind, Reach, Refused, Site, SiteCode, Stamp,
};

type Effects = Vec<Effect>;

impl Site {
    pub(crate) fn attach(
        &mut self,
        at: Moment,
        parent: SiteCode,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        if parent == self.code || self.routes.contains_key(&parent) {
            return Err(Refused::Ring(parent));
        }
        match &self.parent {
            Some(old) if *old == parent => return Ok(()),
            Some(old) => return Err(Refused::HasParent(old.clone())),
            None => self.parent = Some(parent),
        }
        (self.seen, self.heard) = (Stamp::default(), Stamp::default());
        for id in self.packages.keys().copied().collect::<Vec<_>>() {
            self.say_to_parent(id);
        }
        self.say_below();
        // What was looked for here alone may come from above now.
        self.reached(at, PlaceId::OWN, fx)?;
        fx.push(Effect::Keep(Key::Site));
        self.ask_once(fx);
        Ok(())
    }

    pub(crate) fn add_child(
        &mut self,
        at: Moment,
        code: SiteCode,
        reach: Reach,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        if self.parent.as_ref() == Some(&code) {
            return Err(Refused::Ring(code));
        }
        if code == self.code || self.routes.contains_key(&code) {
            return Err(Refused::Exists(code.to_string()));
        }
        let kind = PlaceKind::Child { code: code.clone(), reach, heard: Stamp::default() };
        let id = self.new_place(Place::new(kind, Features(u64::MAX)), fx);
        self.route(at, id, code, fx);
        Ok(())
    }

    pub(crate) fn add_below(
        &mut self,
        at: Moment,
        child: &SiteCode,
        code: SiteCode,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let id = self.child(child).ok_or_else(|| Refused::NoPlace(child.to_string()))?;
        if code == self.code || self.routes.contains_key(&code) {
            return Err(Refused::Exists(code.to_string()));
        }
        self.route(at, id, code, fx);
        Ok(())
    }

    pub(crate) fn route(&mut self, at: Moment, id: PlaceId, code: SiteCode, fx: &mut Effects) {
        self.routes.insert(code.clone(), id);
        self.say_below();
        fx.push(Effect::Keep(Key::Site));
        for package in self.packages.keys().copied().collect::<Vec<_>>() {
            let targets = self.points_of(package).filter(|point| point.site == code).count();
            if let Ok(targets @ 1..) = i32::try_from(targets) {
                self.bump(at, id, package, targets, fx);
            }
        }
    }

    /// The site is below this one no longer: what its points should hold is nobody's business here.
    pub(crate) fn unroute(&mut self, at: Moment, id: PlaceId, code: &SiteCode, fx: &mut Effects) {
        self.routes.remove(code);
        self.say_below();
        fx.push(Effect::Keep(Key::Site));
        for package in self.packages.keys().copied().collect::<Vec<_>>() {
            let targets = self.points_of(package).filter(|point| point.site == *code).count();
            if let Ok(targets @ 1..) = i32::try_from(targets) {
                self.bump(at, id, package, -targets, fx);
            }
        }
    }

    /// The sites below changed, and the parent is to hear of it.
    pub(crate) fn say_below(&mut self) {
        if self.parent.is_some() {
            self.said_below = self.reports.skip();
        }
    }

    pub(crate) fn remove_child(
        &mut self,
        at: Moment,
        code: &SiteCode,
        fx: &mut Effects,
    ) -> Result<(), Refused> {
        let id = self.child(code).ok_or_else(|| Refused::NoPlace(code.to_string()))?;
        self.forget_place(at, id, fx);
        Ok(())
    }

    /// The place of a direct child.
    pub(crate) fn child(&self, child: &SiteCode) -> Option<PlaceId> {
        let id = self.routes.get(child).copied()?;
        match &self.places.get(&id)?.kind {
            PlaceKind::Child { code, .. } if code == child => Some(id),
            _ => None,
        }
    }
}
