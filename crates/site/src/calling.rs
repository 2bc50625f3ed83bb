//! Lines that a parent opens, to children that cannot call: once one is open, everything on it is as if the child had
//! called (docs/formats/line.md §5).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use policy::SiteCode;
use tokio::{
    net::TcpStream,
    task::{AbortHandle, JoinSet},
};

use crate::{Server, SiteError, link::Answering, uplink::pause};

/// A child that does not take the connection within this does not.
const PATIENCE: Duration = Duration::from_secs(10);

/// The children that are called, and where.
pub(crate) type Calls = BTreeMap<SiteCode, String>;

/// Keeps a line open to each child that is to be called, until the task ends.
pub(crate) async fn call(server: Arc<Server>) -> Result<(), SiteError> {
    let answering = Answering::new(&server)?;
    let mut calls = server.calls.subscribe();
    let mut lines = JoinSet::new();
    let mut kept = BTreeMap::new();
    loop {
        let wanted = calls.borrow_and_update().clone();
        kept.retain(|(code, address): &(SiteCode, String), line: &mut AbortHandle| {
            let stays = wanted.get(code) == Some(address);
            if !stays {
                line.abort();
            }
            stays
        });
        for (code, address) in wanted {
            let line = keep(Arc::clone(&server), answering.clone(), code.clone(), address.clone());
            kept.entry((code, address)).or_insert_with(|| lines.spawn(line));
        }
        while lines.try_join_next().is_some() {}
        if calls.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// One connection waits for the child to use it; then there is another.
async fn keep(server: Arc<Server>, answering: Answering, code: SiteCode, address: String) {
    let mut failures = 0;
    loop {
        let why = match tokio::time::timeout(PATIENCE, TcpStream::connect(&address)).await {
            Err(_) => Some(format!("nothing came for {} s", PATIENCE.as_secs())),
            Ok(Err(error)) => Some(error.to_string()),
            Ok(Ok(stream)) => {
                server.children().called(&code, None);
                // It is the child that speaks first.
                let spoke = stream.peek(&mut [0]).await;
                if matches!(spoke, Ok(1..)) {
                    tokio::spawn(answering.clone().answer(stream));
                    failures = 0;
                    continue;
                }
                Some(
                    "it hung up: does it wait to be called? `packhorse site attach --called`"
                        .to_owned(),
                )
            }
        };
        failures += 1;
        server.children().called(&code, why);
        tokio::time::sleep(pause(failures)).await;
    }
}
