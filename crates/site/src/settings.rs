//! `site.toml`: what is the same for all processes of a site, and can be changed without Packhorse.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::SiteError;

/// Where a site listens if nothing is said.
const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7480);

/// What is written in a site's `site.toml`. Whatever is left out is as it comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SiteSettings {
    /// A PostgreSQL database, such as `postgres://site@/top?host=/run/postgresql`; without it, `site.db` in the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Where the site's own copies are: a bucket, such as `s3://packages/top`; without it, `store` in the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Where this machine keeps what it uses of a bucket with the site's own copies; without it, `cache` in the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// The bytes that may take while they are not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_size: Option<u64>,
    /// A file whose key seals what is secret in the tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Where to listen for people and programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Where to listen for child sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<SocketAddr>,
    /// Where to listen for those who read packages; then the site is a distribution point itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<SocketAddr>,
    /// Where to listen for devices that speak hawkBit's protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ddi: Option<SocketAddr>,
    /// A worker that shows no progress for so many seconds has lost its job. At least 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<u64>,
    /// Attempts under way at the same time, all places together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Attempts under way at one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_per_place: Option<u32>,
    /// Bytes of copies hashed per second when nobody asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<u64>,
    /// Where damaged own copies may be mended from besides the site's points: folders, `http(s)://…`, buckets. Nobody has to trust
    /// them: objects are known by their hash.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mend_from: Vec<String>,
    /// Seconds between check-ins of clients. At least 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_check_in: Option<u32>,
    /// The most bytes per second a client fetches content with. At least 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_rate: Option<u64>,
    /// The most bytes of content a client keeps for later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_cache: Option<u64>,
    /// For how many seconds the certificate of a client counts; it is renewed at two thirds of that. At least 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<u32>,
}

/// The shortest lease, in seconds: a worker says a word every five.
const SHORTEST_LEASE: u64 = 15;

/// The shortest time between check-ins, in seconds.
const SHORTEST_CHECK_IN: u32 = 10;
/// Clients check in every so many seconds unless somebody says otherwise.
const CHECK_IN: u32 = 300;
/// With less, nothing would ever come.
const LEAST_RATE: u64 = 1_000;
/// The shortest life of a certificate, in seconds.
const SHORTEST_LIFE: u32 = 6;
/// A certificate of a client counts so many seconds unless somebody says otherwise: 90 days.
const LIFE: u32 = 90 * 86_400;

impl SiteSettings {
    /// Reads the text of the file; a file that is not there is an empty one.
    pub fn parse(path: PathBuf, text: &str) -> Result<Self, SiteError> {
        match toml_edit::de::from_str(text) {
            Ok(settings) => Self::check(settings, path),
            Err(error) => Err(SiteError::Settings { path, reason: error.to_string() }),
        }
    }

    /// As they are, if they can be followed.
    pub(crate) fn checked(self) -> Result<Self, SiteError> {
        self.check("site.toml".into())
    }

    fn check(self, path: PathBuf) -> Result<Self, SiteError> {
        let settings = self;
        let wrong = |reason: String| SiteError::Settings { path: path.clone(), reason };
        if let Some(store) = &settings.store {
            let is_bucket = store.split_once("://").is_some_and(|(scheme, rest)| {
                !rest.is_empty() && !["file", "http", "https"].contains(&scheme)
            });
            if !is_bucket {
                return Err(wrong(format!(
                    "`store` is a bucket, such as `s3://packages/top`, and not `{store}`; without it, the own copies are in the site's folder"
                )));
            }
        }
        if settings.lease.is_some_and(|lease| lease < SHORTEST_LEASE) {
            return Err(wrong(format!("`lease` is at least {SHORTEST_LEASE} seconds")));
        }
        if settings.client_check_in.is_some_and(|every| every < SHORTEST_CHECK_IN) {
            return Err(wrong(format!(
                "`client-check-in` is at least {SHORTEST_CHECK_IN} seconds"
            )));
        }
        if settings.client_rate.is_some_and(|rate| rate < LEAST_RATE) {
            return Err(wrong(format!("`client-rate` is at least {LEAST_RATE} bytes per second")));
        }
        if settings.client_certificate.is_some_and(|life| life < SHORTEST_LIFE) {
            return Err(wrong(format!("`client-certificate` is at least {SHORTEST_LIFE} seconds")));
        }
        if settings.attempts == Some(0) || settings.attempts_per_place == Some(0) {
            return Err(wrong("with no attempts under way nothing happens: at least 1".to_owned()));
        }
        Ok(settings)
    }

    /// The same, but for what is said here about where everything is.
    pub(crate) fn with(self, said: Self) -> Self {
        Self {
            database: said.database.or(self.database),
            store: said.store.or(self.store),
            cache: said.cache.or(self.cache),
            cache_size: said.cache_size.or(self.cache_size),
            key_file: said.key_file.or(self.key_file),
            ..self
        }
    }

    /// As the file has it.
    pub fn to_text(&self) -> String {
        toml_edit::ser::to_string_pretty(self).unwrap_or_default()
    }

    /// Where to listen for people and programs.
    pub fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or(LISTEN)
    }

    /// Seconds between check-ins of clients.
    pub(crate) fn client_check_in(&self) -> u32 {
        self.client_check_in.unwrap_or(CHECK_IN)
    }

    /// Seconds the certificate of a client counts.
    pub(crate) fn client_certificate(&self) -> i64 {
        self.client_certificate.unwrap_or(LIFE).into()
    }

    /// What decisions depend on.
    pub(crate) fn policy(&self) -> policy::Settings {
        let settings = policy::Settings::default();
        policy::Settings {
            lease: self.lease.map_or(settings.lease, |seconds| seconds.saturating_mul(1_000)),
            slots: self.attempts.unwrap_or(settings.slots),
            slots_per_place: self.attempts_per_place.unwrap_or(settings.slots_per_place),
            ..settings
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SiteSettings;

    fn parse(text: &str) -> Result<SiteSettings, String> {
        SiteSettings::parse("site.toml".into(), text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = "database = \"postgres://site@/top\"\nlisten = \"[::]:7480\"\nlease = 30\n";
        let settings = parse(text).unwrap();
        assert_eq!(settings.to_text(), text);
        assert_eq!((settings.policy().lease, settings.policy().slots), (30_000, 64));
        assert_eq!(parse("").unwrap(), SiteSettings::default());
    }

    #[test]
    fn what_means_nothing_is_named() {
        assert!(parse("leese = 30").unwrap_err().contains("leese"));
        assert!(parse("lease = 3").unwrap_err().contains("at least 15"));
        assert!(parse("client-rate = 0").unwrap_err().contains("at least 1000"));
        assert!(parse("listen = \"here\"").unwrap_err().contains("listen"));
        for store in ["/srv/store", "http://x/y", "file:///srv", "s3://"] {
            assert!(parse(&format!("store = \"{store}\"")).unwrap_err().contains("is a bucket"));
        }
        assert!(parse("store = \"s3://packages/top\"").is_ok());
        assert!(parse("attempts = 0").unwrap_err().contains("at least 1"));
    }
}
