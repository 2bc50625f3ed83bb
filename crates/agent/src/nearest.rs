//! Which distribution point is nearest: how long a connection to each takes, measured when something is to be fetched.

use std::{
    net::{TcpStream, ToSocketAddrs as _},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// What does not answer within this is asked last.
const PATIENCE: Duration = Duration::from_secs(3);
/// With one of these set, a connection says how far the proxy is, and nothing of the point.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];

/// How far a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Distance {
    /// A connection takes so long.
    Away(Duration),
    /// It does not answer.
    Silent,
    /// Nobody can tell: a folder, a bucket, what is behind a proxy.
    Unknown,
}

impl Distance {
    /// Times within a factor of two are the same: then it counts who was named first.
    fn rank(self) -> u32 {
        match self {
            Self::Away(time) => u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1).ilog2(),
            Self::Silent | Self::Unknown => u32::MAX,
        }
    }
}

/// How far each is.
pub(crate) fn measured(points: &[String]) -> Vec<Distance> {
    let is_set = |name: &str| {
        [name.to_owned(), name.to_uppercase()]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
    };
    if PROXIES.iter().any(|name| is_set(name)) {
        vec![Distance::Unknown; points.len()]
    } else {
        connected(points)
    }
}

/// Those that could be measured are put in order; the others keep their places.
pub(crate) fn ordered(points: &[String], distances: &[Distance]) -> Vec<(String, Distance)> {
    let all = || points.iter().cloned().zip(distances.iter().copied());
    let mut known: Vec<_> = all().filter(|(_, distance)| *distance != Distance::Unknown).collect();
    known.sort_by_key(|(_, distance)| distance.rank());
    let mut known = known.into_iter();
    all()
        .filter_map(|one| if one.1 == Distance::Unknown { Some(one) } else { known.next() })
        .collect()
}

fn connected(points: &[String]) -> Vec<Distance> {
    let (sender, answers) = mpsc::channel();
    let mut distances = vec![Distance::Unknown; points.len()];
    let mut open = 0;
    for (at, point) in points.iter().enumerate() {
        let url = Url::parse(point).ok().filter(|url| url.scheme().starts_with("http"));
        let Some((host, port)) = url.as_ref().and_then(|url| {
            Some((
                url.host_str()?.trim_matches(['[', ']']).to_owned(),
                url.port_or_known_default()?,
            ))
        }) else {
            continue;
        };
        distances[at] = Distance::Silent;
        let sender = sender.clone();
        // Whoever asks a name server waits as long as that likes: nobody waits for him.
        let asked = thread::Builder::new().spawn(move || {
            let places = (host.as_str(), port).to_socket_addrs();
            let away = places.ok().and_then(|places| {
                places.into_iter().find_map(|place| {
                    let began = Instant::now();
                    let connected = TcpStream::connect_timeout(&place, PATIENCE);
                    connected.ok().map(|_| began.elapsed())
                })
            });
            let _ = sender.send((at, away));
        });
        open += usize::from(asked.is_ok());
    }
    let until = Instant::now() + PATIENCE;
    while open > 0 {
        let left = until.saturating_duration_since(Instant::now());
        let Ok((at, away)) = answers.recv_timeout(left) else { break };
        distances[at] = away.map_or(Distance::Silent, Distance::Away);
        open -= 1;
    }
    distances
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn names(all: Vec<(String, Distance)>) -> Vec<String> {
        all.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_is_measured_is_put_in_order_and_the_rest_stays_where_it_is() {
        let points = ["far", "/srv", "near", "also-near", "silent"].map(str::to_owned);
        let away = |ms| Distance::Away(Duration::from_millis(ms));
        let distances = [away(80), Distance::Unknown, away(3), away(2), Distance::Silent];
        let expected = ["near", "/srv", "also-near", "far", "silent"];
        assert_eq!(names(ordered(&points, &distances)), expected);
    }

    #[test]
    fn who_answers_is_asked_before_who_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = format!("http://{}", listener.local_addr().unwrap());
        let not_there = format!("http://{}/packages", testkit::free_address());
        let found = connected(&[not_there.clone(), there.clone(), "/srv/packages".to_owned()]);
        assert_eq!((found[0], found[2]), (Distance::Silent, Distance::Unknown));
        assert!(matches!(found[1], Distance::Away(_)), "{found:?}");
    }
}
