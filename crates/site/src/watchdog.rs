//! Whether the site still does what it is for, told to the service manager (`sd_notify(3)`): who is alive and decides nothing is as
//! good as dead, and is started again.

use std::{sync::Arc, thread, time::Duration};

use sd_notify::NotifyState;
use serde_json::json;

use crate::{Server, server::log};

/// Where nobody says how often.
const BEAT: Duration = Duration::from_secs(30);

/// Says that the site is at work, from now on again and again as long as it is: decisions come about, and no component has ended.
pub(crate) fn begin(server: &Arc<Server>) {
    // Nobody may listen.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    // In time even where the machine is busy.
    let beat = sd_notify::watchdog_enabled().map_or(BEAT, |within| within / 3);
    let server = Arc::downgrade(server);
    thread::spawn(move || {
        let mut ended = None;
        while let Some(server) = server.upgrade().filter(|server| !server.is_stopping()) {
            // Whoever decides has the desk, and gives it back within the patience of the database.
            let jobs = server.desk().site().live_jobs();
            let gone = server
                .components()
                .iter()
                .find(|(_, thread)| thread.is_finished())
                .map(|one| one.0);
            match gone {
                None => {
                    let status = format!("{jobs} jobs");
                    let _ =
                        sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
                }
                Some(name) if ended != Some(name) && !server.is_stopping() => {
                    log("component-ended", &json!({ "component": name }));
                    ended = Some(name);
                }
                Some(_) => {}
            }
            drop(server);
            thread::park_timeout(beat);
        }
    });
}

/// Says that it ends.
pub(crate) fn end() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}
