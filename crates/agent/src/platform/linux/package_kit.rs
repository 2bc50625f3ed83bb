//! `PackageKit`: what it is doing to the machine's packages, asked over the system's bus and heard there when it is done.

use std::{collections::HashMap, future::poll_fn, path::Path, pin::Pin, time::Duration};

use zbus::{
    Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, connection::Builder,
    export::futures_core::Stream as _,
};

/// Who, and the interface; below it are those of transactions and of the bus itself.
const NAME: &str = "org.freedesktop.PackageKit";
const PATH: &str = "/org/freedesktop/PackageKit";
const TRANSACTION: &str = "org.freedesktop.PackageKit.Transaction";
const BUS: &str = "org.freedesktop.DBus";
/// One that does not answer within this is nobody we could wait for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of the flags of a transaction: it is only tried, or only fetches (`PkTransactionFlagEnum`).
const NOTHING_CHANGES: u64 = 1 << 2 | 1 << 3;

/// A transaction that changes packages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    /// Its object on the bus.
    pub(crate) path: String,
    /// What it does.
    pub(crate) doing: &'static str,
    /// Who asked for it, if the bus says.
    pub(crate) process: Option<u32>,
}

/// The transaction that is under way or will be, if there is one. `PackageKit` is not started for it.
pub(crate) fn under_way(root: &Path) -> Option<Transaction> {
    // The bus is this machine's.
    if root != Path::new("/") || !Path::new("/run/dbus/system_bus_socket").exists() {
        return None;
    }
    zbus::block_on(async { first(&open().await?).await }).ok().flatten()
}

/// Waits until there is none.
pub(crate) fn wait() -> zbus::Result<()> {
    zbus::block_on(async {
        let bus = open().await?;
        // Heard of before anything is asked: nothing comes between.
        let changed = MatchRule::builder().sender(NAME).member("TransactionListChanged").build();
        let gone = MatchRule::builder().sender(BUS).member("NameOwnerChanged").arg(0, NAME);
        let _gone = MessageStream::for_match_rule(gone.build()?, &bus, None).await?;
        let _changed = MessageStream::for_match_rule(changed?, &bus, None).await?;
        let mut all = MessageStream::from(&bus);
        while first(&bus).await?.is_some() {
            // Whatever is said: more is found out by asking.
            if poll_fn(|context| Pin::new(&mut all).poll_next(context)).await.is_none() {
                break;
            }
        }
        Ok(())
    })
}

async fn open() -> zbus::Result<Connection> {
    Builder::system().method_timeout(PATIENCE).build().await
}

async fn first(bus: &Connection) -> zbus::Result<Option<Transaction>> {
    let owned =
        bus.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), "NameHasOwner", &NAME);
    if !owned.await?.body().deserialize::<bool>()? {
        return Ok(None);
    }
    let list = bus.call_method(Some(NAME), PATH, Some(NAME), "GetTransactionList", &()).await?;
    let list: Vec<OwnedObjectPath> = list.body().deserialize()?;
    for path in list {
        let asked = bus.call_method(
            Some(NAME),
            &path,
            Some("org.freedesktop.DBus.Properties"),
            "GetAll",
            &TRANSACTION,
        );
        // It may be over by now.
        let Ok(answer) = asked.await else { continue };
        let known: HashMap<String, OwnedVariant> = answer.body().deserialize()?;
        let number = |name: &str| -> Option<u64> {
            let value = known.get(name)?;
            u64::try_from(value).or_else(|_| u32::try_from(value).map(u64::from)).ok()
        };
        let is_idle = number("TransactionFlags").unwrap_or_default() & NOTHING_CHANGES != 0;
        let Some(doing) = doing(number("Role")).filter(|_| !is_idle) else { continue };
        let process = match known.get("Sender").and_then(|sender| <&str>::try_from(sender).ok()) {
            Some(sender) => {
                let asked = bus.call_method(
                    Some(BUS),
                    "/org/freedesktop/DBus",
                    Some(BUS),
                    "GetConnectionUnixProcessID",
                    &sender,
                );
                asked.await.ok().and_then(|answer| answer.body().deserialize().ok())
            }
            None => None,
        };
        return Ok(Some(Transaction { path: path.to_string(), doing, process }));
    }
    Ok(None)
}

/// What a transaction does to packages, by the number of its role; nothing, for one that only asks (`PkRoleEnum`).
fn doing(role: Option<u64>) -> Option<&'static str> {
    match role? {
        10 => Some("installs files"),
        11 => Some("installs packages"),
        14 => Some("removes packages"),
        22 => Some("updates packages"),
        29 => Some("repairs packages"),
        33 => Some("upgrades the system"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::doing;

    #[test]
    fn what_only_asks_is_not_waited_for() {
        assert_eq!(doing(Some(11)), Some("installs packages"));
        // A search, a list of updates, and what a newer PackageKit may do.
        assert_eq!([Some(18), Some(9), Some(99), None].map(doing), [None; 4]);
    }
}
