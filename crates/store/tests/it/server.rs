//! A web server that serves a folder, and cuts answers off where it is told.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// One request that came: its path and the first byte that was asked for.
pub(crate) type Asked = (String, u64);

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    /// Bytes of bodies until the next cut; none are cut where it is `None`.
    pub(crate) until_cut: Arc<Mutex<Option<usize>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, until_cut) = (Arc::default(), Arc::new(Mutex::new(None)));
        let end = Arc::new(AtomicBool::new(false));
        let shared: (Arc<Mutex<Vec<Asked>>>, _, _, PathBuf) =
            (Arc::clone(&asked), Arc::clone(&until_cut), Arc::clone(&end), root.to_owned());
        let thread = std::thread::spawn(move || {
            let (asked, until_cut, end, root) = shared;
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (asked, until_cut, root) =
                    (Arc::clone(&asked), Arc::clone(&until_cut), root.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &root, &asked, &until_cut));
            }
        });
        Self { url: format!("http://{address}"), asked, until_cut, end, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    stream: TcpStream,
    root: &Path,
    asked: &Mutex<Vec<Asked>>,
    until_cut: &Mutex<Option<usize>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut out = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).ok()? == 0 {
            return None;
        }
        let path = first.split(' ').nth(1)?.trim_start_matches('/').to_owned();
        let mut range = None;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                let (from, to) = value.trim().split_once('-')?;
                range = Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?));
            }
        }
        asked.lock().ok()?.push((path.clone(), range.map_or(0, |(from, _)| from as u64)));
        let Ok(bytes) = std::fs::read(root.join(&path)) else {
            out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").ok()?;
            continue;
        };
        let (status, body) = match range {
            None => ("200 OK", &bytes[..]),
            Some((from, to)) => ("206 Partial Content", &bytes[from..(to + 1).min(bytes.len())]),
        };
        let content_range = range.map_or_else(String::new, |(from, _)| {
            format!("Content-Range: bytes {from}-{}/{}\r\n", from + body.len() - 1, bytes.len())
        });
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\nETag: \"x\"\r\n{content_range}\r\n",
            body.len()
        );
        out.write_all(head.as_bytes()).ok()?;
        let cut = {
            let mut until = until_cut.lock().ok()?;
            match *until {
                Some(left) if left < body.len() => {
                    *until = None;
                    Some(left)
                }
                Some(left) => {
                    *until = Some(left - body.len());
                    None
                }
                None => None,
            }
        };
        if let Some(cut) = cut {
            out.write_all(&body[..cut]).ok()?;
            return None;
        }
        out.write_all(body).ok()?;
    }
}
