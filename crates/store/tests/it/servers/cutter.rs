//! A wire between a client and a server that breaks after some bytes of each answer.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

pub(crate) struct Cutter {
    pub(crate) address: SocketAddr,
    pub(crate) cuts: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Cutter {
    /// Every connection breaks after 1 to `most` bytes towards the client; which, only `seed` decides.
    pub(crate) fn start(server: SocketAddr, most: u64, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (cuts, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let shared = (Arc::clone(&cuts), Arc::clone(&end));
        let thread = std::thread::spawn(move || {
            let (cuts, end) = shared;
            let mut state = seed;
            for client in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                let left = 1 + (state >> 20) % most;
                let cuts = Arc::clone(&cuts);
                std::thread::spawn(move || carry(client.unwrap(), server, left, &cuts));
            }
        });
        Self { address, cuts, end, thread: Some(thread) }
    }
}

fn carry(client: TcpStream, server: SocketAddr, mut left: u64, cuts: &AtomicU64) -> Option<()> {
    let server = TcpStream::connect(server).ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    let mut buffer = [0; 16 << 10];
    loop {
        let read = from_server.read(&mut buffer).ok()?;
        if read == 0 {
            let _ = to_client.shutdown(Shutdown::Both);
            return None;
        }
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(read);
        to_client.write_all(&buffer[..now]).ok()?;
        left -= now as u64;
        if left == 0 {
            cuts.fetch_add(1, Ordering::SeqCst);
            let _ = to_client.shutdown(Shutdown::Both);
            let _ = from_server.shutdown(Shutdown::Both);
            return None;
        }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
