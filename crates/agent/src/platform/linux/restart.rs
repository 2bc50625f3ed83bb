//! The machine restarted: logind(8) does it, tells whoever is logged on, and lets an administrator call it off (`shutdown -c`).

use std::path::Path;

use jiff::Timestamp;
use zbus::{Connection, zvariant::DynamicType};

/// Whether the machine of a root folder can be restarted from here: this one, if systemd has booted it. `sd_booted(3)`.
pub(crate) fn is_possible(root: &Path) -> bool {
    root == Path::new("/") && Path::new("/run/systemd/system").is_dir()
}

/// Has the machine restart at a moment, or at once where that is past.
pub(crate) fn schedule(at: Timestamp, why: &str) -> Result<(), String> {
    let at = u64::try_from(at.max(Timestamp::now()).as_microsecond()).unwrap_or(0);
    let done = zbus::block_on(async {
        let bus = Connection::system().await?;
        call(&bus, "SetWallMessage", &(why, true)).await?;
        call(&bus, "ScheduleShutdown", &("reboot", at)).await
    });
    done.map_err(|error| error.to_string())
}

/// Calls it off.
pub(crate) fn call_off() -> Result<(), String> {
    let done = zbus::block_on(async {
        let bus = Connection::system().await?;
        call(&bus, "CancelScheduledShutdown", &()).await
    });
    done.map_err(|error| error.to_string())
}

/// `org.freedesktop.login1(5)`.
async fn call<B>(bus: &Connection, method: &str, body: &B) -> zbus::Result<()>
where
    B: serde::Serialize + DynamicType,
{
    const NAME: &str = "org.freedesktop.login1";
    let manager = "org.freedesktop.login1.Manager";
    bus.call_method(Some(NAME), "/org/freedesktop/login1", Some(manager), method, body)
        .await
        .map(drop)
}
