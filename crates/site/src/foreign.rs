//! What comes over a line or on a medium, read from any bytes.

use deployment::{ClientEnrolment, ClientToken, Renewal};
use policy::{Event, Exchange, Feed, Moment, Now, Reach, Settings, Site, SiteCode};
use serde::de::DeserializeOwned;

use crate::{
    Token, courier,
    enrol::Enrolment,
    wire::{Frames, Held},
};

/// For fuzz targets: bytes as each document that crosses a line, taken in by a site that knows nothing. Everything may be
/// refused, and nothing may go wrong.
#[doc(hidden)]
pub fn take_anything(bytes: &[u8]) {
    let mut frames = Frames::default();
    let _ = bytes.chunks(11).try_for_each(|piece| frames.take(piece).map(drop));
    let _ = (read::<Token>(bytes), read::<Enrolment>(bytes), read::<Held>(bytes));
    let _ = (read::<ClientToken>(bytes), read::<ClientEnrolment>(bytes), read::<Renewal>(bytes));
    courier::read_anything(bytes);
    let (Ok(code), Ok(child)) = (SiteCode::new("TOP"), SiteCode::new("CHILD")) else { return };
    if let Some(exchange) = read::<Exchange>(bytes) {
        let mut site = Site::new(code.clone(), None, Settings::default());
        let now = Now { at: Moment(1), dice: 1 };
        let _ = site.next(now, Event::AddChild { code: child.clone(), reach: Reach::Pull });
        let _ = site.next(now, Event::FromChild { from: child.clone(), exchange });
    }
    if let Some(feed) = read::<Feed>(bytes) {
        let mut site = Site::new(child, Some(code.clone()), Settings::default());
        let _ = site.next(Now { at: Moment(1), dice: 1 }, Event::FromParent { from: code, feed });
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}
