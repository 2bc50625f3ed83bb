//! What the service manager is told: `sd_notify(3)`.

use std::{env, os::unix::net::UnixDatagram, time::Duration};

/// The service manager, if there is one that listens.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that started us. Programs started by us are not told of it.
    pub(crate) fn of_environment() -> Self {
        let path = env::var_os("NOTIFY_SOCKET");
        let watchdog = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let socket = path.and_then(|path| {
            let socket = UnixDatagram::unbound().ok()?;
            let text = path.to_string_lossy();
            match text.strip_prefix('@') {
                Some(name) => {
                    use std::os::linux::net::SocketAddrExt as _;
                    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).ok()?;
                    socket.connect_addr(&address).ok()?;
                }
                None => socket.connect(&path).ok()?,
            }
            Some(socket)
        });
        Self { socket, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// We are at work.
    pub(crate) fn ready(&self) {
        self.say("READY=1");
    }

    /// We are alive, and this is what we do.
    pub(crate) fn alive(&self, doing: &str) {
        self.say(&format!("WATCHDOG=1\nSTATUS={}", doing.replace('\n', " ")));
    }

    /// We end.
    pub(crate) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// We are to say that we are alive at least this often.
    pub(crate) fn every(&self) -> Option<Duration> {
        self.socket.as_ref()?;
        // In time even where the machine is busy.
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    fn say(&self, text: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(text.as_bytes());
        }
    }
}
