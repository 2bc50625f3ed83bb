//! A site among sites: its children, its parent, and who may be sent how much now.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use model::PackageName;
use policy::{
    Effect, Event, Exchange, Feed, Grant, Hold, Moment, PlaceId, PlaceKind, Quarantined, Reach,
    Sender, SiteCode, Stamp, StreamId,
};
use tokio::sync::watch;

use crate::{
    AddressSettings, Server, SiteError,
    authority::{Authority, Peer},
    calling::Calls,
    enrol::direct_child,
    link::Children,
};

/// Who is sent how much, and a word whenever that may have changed.
pub(crate) struct Sending {
    pub(crate) sender: Sender,
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) bytes: std::collections::BTreeMap<PlaceId, u64>,
}

impl Default for Sending {
    fn default() -> Self {
        let changed = watch::Sender::new(0);
        Self { sender: Sender::default(), changed, bytes: std::collections::BTreeMap::new() }
    }
}

impl Server {
    /// Its code.
    pub fn code(&self) -> SiteCode {
        self.desk().site().code().clone()
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn children(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a key counts as a child's.
    pub(crate) fn is_child(&self, peer: &Peer) -> bool {
        let desk = self.desk();
        direct_child(desk.site(), &peer.code).is_ok()
            && desk.fact(&format!("child:{}", peer.code)) == Some(&peer.key)
    }

    pub(crate) fn feed_stamp(&self) -> Stamp {
        self.desk().site().feed_stamp()
    }

    /// What the parent is to be told and asked.
    pub(crate) fn exchange_up(&self) -> Result<Exchange, SiteError> {
        Ok(self.desk().durable()?.exchange())
    }

    /// A child's word is taken in, and answered.
    pub(crate) fn exchange(
        self: &Arc<Self>,
        from: SiteCode,
        exchange: Exchange,
    ) -> Result<Feed, SiteError> {
        let mut answer = None;
        let mut wrong: Option<Quarantined> = None;
        for effect in self.decide(Event::FromChild { from, exchange }, Vec::new())? {
            match effect {
                Effect::Answer { feed, .. } => answer = Some(feed),
                Effect::Quarantine { why, .. } => {
                    wrong = Some(why);
                    self.perform(effect);
                }
                other => self.perform(other),
            }
        }
        answer.ok_or_else(|| {
            let why =
                wrong.map_or_else(|| "it was not understood".to_owned(), |why| why.to_string());
            SiteError::Said { message: format!("the report was set aside: {why}"), conflict: true }
        })
    }

    /// The parent's word is taken in. Answers with how far it has been heard now.
    pub(crate) fn take_feed(
        self: &Arc<Self>,
        from: SiteCode,
        feed: Feed,
        was_down: bool,
    ) -> Result<Stamp, SiteError> {
        if was_down {
            self.event(Event::Reached(PlaceId::OWN))?;
        }
        self.heard_of_trust(feed.trust);
        self.event(Event::FromParent { from, feed })?;
        Ok(self.desk().site().seen())
    }

    /// A child more, and how it may be sent to.
    pub fn add_child(
        self: &Arc<Self>,
        code: &str,
        address: &AddressSettings,
    ) -> Result<SiteCode, SiteError> {
        let code = SiteCode::new(code)?;
        address.to_address()?;
        let facts = vec![address_fact(&code, address)];
        self.event_with(Event::AddChild { code: code.clone(), reach: Reach::Pull }, facts)?;
        self.set_addresses();
        Ok(code)
    }

    /// The child is none any more; its key does not count from now on.
    pub fn remove_child(self: &Arc<Self>, code: &SiteCode) -> Result<(), SiteError> {
        let place = direct_child(self.desk().site(), code)?;
        let facts = ["token", "child", "address"].map(|name| (format!("{name}:{code}"), None));
        self.event_with(Event::RemoveChild(code.clone()), facts.into())?;
        self.with_sender(|sending| sending.sender.remove_address(place));
        self.set_addresses();
        // Who waits on the line is to hear of it now.
        self.children().wake(code);
        Ok(())
    }

    /// How a child may be sent to from now on; transfers under way feel it with their next unit.
    pub fn set_address(
        self: &Arc<Self>,
        code: &SiteCode,
        address: &AddressSettings,
    ) -> Result<(), SiteError> {
        address.to_address()?;
        {
            let mut desk = self.desk();
            direct_child(desk.site(), code)?;
            // Where it waits is no matter of how much it may be sent.
            let known = desk.fact(&format!("address:{code}"));
            let known = known.and_then(|text| serde_json::from_str::<AddressSettings>(text).ok());
            let call = address.call.clone().or_else(|| known?.call).filter(|call| !call.is_empty());
            let address = AddressSettings { call, ..address.clone() };
            desk.keep(vec![address_fact(code, &address)])?;
        }
        self.set_addresses();
        Ok(())
    }

    /// All addresses as they are kept.
    pub(crate) fn set_addresses(&self) {
        let addresses: Vec<(PlaceId, policy::Address)> = {
            let desk = self.desk();
            let places = desk.site().places().filter_map(|(id, place)| match &place.kind {
                PlaceKind::Child { code, .. } => Some((id, code)),
                _ => None,
            });
            let address = |code: &SiteCode| {
                let kept = desk.fact(&format!("address:{code}"))?;
                let settings: AddressSettings = serde_json::from_str(kept).ok()?;
                settings.to_address().ok()
            };
            let open = AddressSettings::default().to_address().ok();
            places.filter_map(|(id, code)| Some((id, address(code).or(open.clone())?))).collect()
        };
        let calls = self.to_call();
        self.calls.send_if_modified(|known| std::mem::replace(known, calls.clone()) != calls);
        let at = self.steady();
        self.with_sender(|sending| {
            for (place, address) in addresses {
                sending.sender.set_address(at, place, address);
            }
        });
    }

    /// Children that cannot call, and where they wait.
    fn to_call(&self) -> Calls {
        let desk = self.desk();
        let children = desk.facts().filter_map(|(name, settings)| {
            let code = SiteCode::new(name.strip_prefix("address:")?).ok()?;
            let settings: AddressSettings = serde_json::from_str(settings).ok()?;
            Some((code, settings.call?))
        });
        children.collect()
    }

    fn steady(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Changes who may send, and says so to whoever waits.
    fn with_sender<T>(&self, change: impl FnOnce(&mut Sending) -> T) -> T {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut sending);
        sending.changed.send_modify(|count| *count += 1);
        changed
    }

    /// Sees whenever who may send has changed.
    pub(crate) fn sending(&self) -> watch::Receiver<u64> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner).changed.subscribe()
    }

    pub(crate) fn may_send(
        &self,
        place: PlaceId,
        stream: (StreamId, u8),
        available: u64,
    ) -> Result<Grant, Hold> {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let wall = i64::try_from(wall).unwrap_or(i64::MAX);
        let at = self.steady();
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.sender.ask(at, wall, place, stream, available)
    }

    /// A grant was used: whoever stands in line may be next.
    pub(crate) fn sent(&self, place: PlaceId, bytes: u64) {
        self.with_sender(|sending| *sending.bytes.entry(place).or_default() += bytes);
    }

    pub(crate) fn end_stream(&self, place: PlaceId, stream: StreamId) {
        self.with_sender(|sending| sending.sender.close(place, stream));
    }

    pub(crate) fn priority(&self, name: &PackageName) -> u8 {
        let desk = self.desk();
        let package = desk.site().package_id(name).and_then(|id| desk.site().package(id));
        package.map_or(0, |package| package.priority)
    }

    /// Bytes this process has sent to a child.
    pub(crate) fn sent_to(&self, code: &SiteCode) -> u64 {
        let Ok(place) = direct_child(self.desk().site(), code) else { return 0 };
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        sending.bytes.get(&place).copied().unwrap_or_default()
    }

    pub(crate) fn package_name(&self, id: policy::PackageId) -> Option<PackageName> {
        self.desk().site().package(id).map(|package| package.name.clone())
    }

    /// Whether it is to end.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop_word.subscribe();
        // The sender is as old as the server: an error is an end, too.
        let _ = stop.wait_for(|stops| *stops).await;
    }
}

fn address_fact(code: &SiteCode, address: &AddressSettings) -> (String, Option<String>) {
    (format!("address:{code}"), serde_json::to_string(address).ok())
}
