//! How this machine becomes a client of a site.

use std::{io, path::Path};

use deployment::{
    CLIENT_LINE_FORMAT, ClientEnrolment, ClientToken, ClientWaiting, EnrolmentAnswer,
};
use operate::Exit;
use rcgen::KeyPair;

use crate::{
    clock, durable,
    identity::{Identity, IdentityError, identity},
    journal::{Journal, JournalError},
    lock::{TakeError, become_only},
    platform::machine,
    site::{Place, SiteError, enroll, public},
    state::StateFolder,
};

/// Why it does not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrollError {
    /// An agent is at work.
    #[error(transparent)]
    Taken(#[from] TakeError),
    /// It is not known who this machine is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its history cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The token.
    #[error("`{path}` is no token: {reason}; `packhorse site client token` at the site makes one")]
    Token {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// Nobody said where the site is.
    #[error("the token does not say where site {0} is: `--site HOST:PORT`")]
    Nowhere(policy::SiteCode),
    /// The site.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// Somebody has to approve it, and nobody waits for that.
    #[error(
        "this machine waits for approval at site {site}: `packhorse site client approve {key}` there, then the same command again"
    )]
    Waiting {
        /// Where.
        site: policy::SiteCode,
        /// The beginning of its key's fingerprint.
        key: String,
    },
    /// The disk.
    #[error("{doing} stopped")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl EnrollError {
    /// What the program ends with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Taken(TakeError::Taken { .. }) => Exit::InUse,
            Self::Token { .. } | Self::Nowhere(_) => Exit::Usage,
            Self::Site(SiteError::Refused { .. }) | Self::Waiting { .. } => Exit::Decision,
            Self::Disk { source, .. } if durable::is_full(source) => Exit::NoSpace,
            _ => Exit::Failed,
        }
    }
}

fn disk(doing: &'static str) -> impl Fn(io::Error) -> EnrollError {
    move |source| EnrollError::Disk { doing, source }
}

fn read_token(path: &Path) -> Result<ClientToken, EnrollError> {
    let wrong = |reason: String| EnrollError::Token { path: path.display().to_string(), reason };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let token: ClientToken =
        serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if token.format != CLIENT_LINE_FORMAT {
        return Err(wrong(format!(
            "it has format {}, known is {CLIENT_LINE_FORMAT}",
            token.format
        )));
    }
    Ok(token)
}

/// How a machine becomes a client.
#[derive(Debug)]
pub(crate) struct Enrolling<'a> {
    /// The file with the token.
    pub(crate) token: &'a Path,
    /// Where the site listens, unless the token says so.
    pub(crate) site: Option<&'a str>,
    /// It is a new one, whoever it was.
    pub(crate) is_new: bool,
    /// Whether it waits until somebody has approved it.
    pub(crate) waits: bool,
}

/// The digits of a fingerprint by which people name a key.
fn short(fingerprint: &str) -> &str {
    fingerprint.get(..16).unwrap_or(fingerprint)
}

/// Makes this machine a client. Interrupted anywhere, it is done again with the same token. Who has an identity keeps it with its
/// history, unless the machine is to be a new one: a copy of another's disk.
pub(crate) fn enrol(
    state: &StateFolder,
    root: &Path,
    enrolling: &Enrolling<'_>,
) -> Result<Identity, EnrollError> {
    let Enrolling { token, site, is_new, waits } = *enrolling;
    let token = read_token(token)?;
    state.make().map_err(disk("making the agent's state folder"))?;
    let _only = become_only(state.path())?;
    let [one, two] = state.identity();
    let (held, is_first) = identity([&one, &two])?;
    // Who has an identity has a history, or lost it: one that begins here has an empty one.
    Journal::open(state.history(), !is_first, clock::dice())?;
    let at = site.map(str::to_owned).or(token.at);
    let at = at.ok_or_else(|| EnrollError::Nowhere(token.site.clone()))?;
    let addresses = at.split(',').map(|one| one.trim().to_owned()).collect();
    let place = Place { site: token.site.clone(), addresses };
    // The key is here before the site hears of it: asked again with the same token, it is the same.
    let pending = state.line().join("key.pem");
    let key = key(state, &pending, is_new)?;
    let asked = ClientEnrolment {
        format: CLIENT_LINE_FORMAT,
        secret: token.secret,
        key: public(&key),
        client: (!is_new).then_some(held.client),
        name: machine::name(root),
    };
    let mut is_said = false;
    let answer = enroll(&place, token.authority.clone(), &asked, waits, &mut |waiting| {
        if !is_said {
            is_said = true;
            eprintln!(
                "packhorse-agent: waiting until somebody approves this machine: `packhorse site client approve {}` at site {}",
                short(&waiting.waiting),
                waiting.site
            );
        }
    })?;
    let enrolled = match answer {
        EnrolmentAnswer::Enrolled(enrolled) => enrolled,
        EnrolmentAnswer::Waiting(ClientWaiting { site, waiting, .. }) => {
            return Err(EnrollError::Waiting { site, key: short(&waiting).to_owned() });
        }
    };
    let known = Identity { client: enrolled.client, site: enrolled.site };
    if known.site != token.site {
        return Err(SiteError::Refused {
            address: at,
            reason: format!("it is site {}, and the token is of {}", known.site, token.site),
        }
        .into());
    }
    let keeping = disk("keeping what the site gave");
    if known != held {
        // What another site, or somebody else, was told is in force no longer; nothing is taken for withdrawn by that.
        for path in [state.policy(), state.memory(), state.inventory()] {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(keeping(error));
                }
                _ => {}
            }
        }
    }
    let own = enrolled.certificate + &key.serialize_pem();
    let place = serde_json::to_vec(&place).unwrap_or_default();
    durable::write(&state.credentials(), own.as_bytes()).map_err(&keeping)?;
    durable::write(&state.line().join("authority.pem"), token.authority.as_bytes())
        .map_err(&keeping)?;
    durable::write(&state.line().join("site.json"), &place).map_err(&keeping)?;
    let bytes = serde_json::to_vec(&known).unwrap_or_default();
    for path in [&one, &two] {
        durable::write(path, &bytes).map_err(&keeping)?;
    }
    // From here on it is in the credentials.
    let _ = std::fs::remove_file(&pending);
    Ok(known)
}

/// The key of an enrolment that was interrupted, that of this client, or a new one.
fn key(state: &StateFolder, pending: &Path, is_new: bool) -> Result<KeyPair, EnrollError> {
    let making = disk("making a key");
    for path in [pending.to_owned(), state.credentials()] {
        let is_own = path != *pending;
        if is_own && is_new {
            continue;
        }
        let held = durable::read(&path).map_err(&making)?;
        let held = held.and_then(|bytes| String::from_utf8(bytes).ok());
        let start = held.as_deref().and_then(|text| text.find("-----BEGIN PRIVATE KEY"));
        let text = held.as_deref().zip(start).and_then(|(text, start)| text.get(start..));
        if let Some(key) = text.and_then(|text| KeyPair::from_pem(text).ok()) {
            return Ok(key);
        }
    }
    let key = KeyPair::generate().map_err(|error| making(io::Error::other(error)))?;
    durable::write(pending, key.serialize_pem().as_bytes()).map_err(&making)?;
    Ok(key)
}
