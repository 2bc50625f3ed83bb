//! What the service manager is told.

use std::time::Duration;

/// The service manager, if one started us.
#[derive(Debug, Default)]
pub(crate) struct Manager;

impl Manager {
    /// The one that started us.
    pub(crate) fn of_environment() -> Self {
        Self
    }

    /// We are at work.
    #[expect(clippy::unused_self, reason = "as where it is somebody")]
    pub(crate) fn ready(&self) {
        machine_windows::ready();
    }

    /// It asks nobody whether he is alive.
    #[expect(clippy::unused_self, reason = "as where it is somebody")]
    pub(crate) fn alive(&self, _: &str) {}

    /// We end.
    #[expect(clippy::unused_self, reason = "as where it is somebody")]
    pub(crate) fn stopping(&self) {
        machine_windows::stopping();
    }

    /// How often it is to be told that we are alive.
    #[expect(clippy::unused_self, reason = "as where it is somebody")]
    pub(crate) fn every(&self) -> Option<Duration> {
        None
    }
}
