//! A child that cannot call waits to be called: connections the parent opened take the place of those it would open.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What stands before the address in place of a parent's.
const CALLED: &str = "called:";
/// Connections that wait to be used. A parent opens one at a time; more come when it dies and begins again.
const WAITING: usize = 8;
/// A pause after a fault of our own.
const BREATH: Duration = Duration::from_millis(100);

/// The address a site waits at for its parent, written as that parent's.
pub(crate) fn waits_at(address: SocketAddr) -> String {
    format!("{CALLED}{address}")
}

/// Where a site waits for its parent, if it does.
pub(crate) fn waiting_place(parent: &str) -> Option<SocketAddr> {
    parent.strip_prefix(CALLED)?.parse().ok()
}

/// Connections of the parent, the newest last.
#[derive(Debug, Default)]
struct Waiting {
    streams: Mutex<VecDeque<TcpStream>>,
    more: Notify,
}

impl Waiting {
    fn put(&self, stream: TcpStream) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.push_back(stream);
        if streams.len() > WAITING {
            streams.pop_front();
        }
        drop(streams);
        self.more.notify_one();
    }

    /// The newest that lives: older ones may be of a parent that is no more.
    async fn take(&self) -> TcpStream {
        loop {
            let newest = self.streams.lock().unwrap_or_else(PoisonError::into_inner).pop_back();
            match newest {
                // It says nothing before it is spoken to: whatever there is to be read is its end.
                Some(stream) if is_silent(&stream) => return stream,
                Some(_) => {}
                None => self.more.notified().await,
            }
        }
    }
}

fn is_silent(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0]);
    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// As [`wait`], when the address can be had: another may have it now, or its network be away. `why` is told once
/// of each reason.
pub(crate) async fn wait_at_last(
    address: SocketAddr,
    mut why: impl FnMut(&io::Error),
) -> SocketAddr {
    let mut told = None;
    loop {
        match wait(address).await {
            Ok(here) => return here,
            Err(error) => {
                if told != Some(error.kind()) {
                    why(&error);
                    told = Some(error.kind());
                }
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// Waits for the parent at `address`, and answers with an address of this machine: who calls that talks to the parent.
pub(crate) async fn wait(address: SocketAddr) -> io::Result<SocketAddr> {
    let outer = TcpListener::bind(address).await?;
    let inner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let here = inner.local_addr()?;
    let waiting = Arc::new(Waiting::default());
    let come = Arc::clone(&waiting);
    tokio::spawn(async move {
        loop {
            match outer.accept().await {
                Ok((stream, _)) => come.put(stream),
                Err(_) => tokio::time::sleep(BREATH).await,
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let Ok((mut own, _)) = inner.accept().await else {
                tokio::time::sleep(BREATH).await;
                continue;
            };
            let waiting = Arc::clone(&waiting);
            tokio::spawn(async move {
                let mut parents = waiting.take().await;
                let _ = (own.set_nodelay(true), parents.set_nodelay(true));
                // How it ends is seen at both ends.
                let _ = tokio::io::copy_bidirectional(&mut own, &mut parents).await;
            });
        }
    });
    Ok(here)
}
