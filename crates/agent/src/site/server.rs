//! A site that is a server. Somebody else calls it (docs/agent.md): what that one brings counts as far as the site signed it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use deployment::{ClientEnrolment, ClientWaiting, EnrolmentAnswer, POLICY_PURPOSE};
use policy::SiteCode;
use rcgen::KeyPair;
use running::{Message, write_parcel};
use serde::{Deserialize, Serialize};

use super::{Asking, CheckIn, Site, SiteError};
use crate::{
    caller::{Ask, Caller, Opening, Stream, Told, hang_up, receive, send},
    clock, durable,
    identity::Identity,
    state::StateFolder,
};

/// Who calls answers within this, whatever he waits for himself, or is replaced; he tries a minute for each address of a site.
const PATIENCE: Duration = Duration::from_mins(20);
/// So many answers wait to be heard: who tells more than he is asked has to wait himself.
const UNHEARD: usize = 4;
/// One who ended after so many milliseconds ended for no reason of his own: the site is asked at once by the next one.
const LIVED: u64 = 60_000;
/// A time at which every certificate of a site counts, in seconds since 1970: 2000-01-01. Until when they count is said by the site.
const EARLY: u64 = 946_684_800;

/// Where a site is: kept with the credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Place {
    /// Its code.
    pub(crate) site: SiteCode,
    /// Where it listens: one address after the other is tried.
    pub(crate) addresses: Vec<String>,
}

/// A key's public half, as text: the 130 hexadecimal digits of its uncompressed point.
pub(crate) fn public(key: &KeyPair) -> String {
    key.public_key_raw().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Somebody who calls a site for us, and what he tells.
#[derive(Debug)]
struct Calling {
    stream: Stream,
    answers: Receiver<(Told, Vec<u8>)>,
}

impl Calling {
    /// Starts one. `news` is replaced when there is news.
    fn start(opening: Opening, held: &[u8], news: Option<PathBuf>) -> io::Result<Self> {
        let caller = Caller::start("__line", &[])?;
        let stream = caller.stream.try_clone()?;
        send(&stream, &Ask::Open(Box::new(opening)), held)?;
        let (sender, answers) = sync_channel(UNHEARD);
        thread::Builder::new().name("line".to_owned()).stack_size(1 << 20).spawn(move || {
            let began = clock::steady();
            let ask_at_once = || news.as_ref().map(|news| durable::write(news, b""));
            while let Ok(Some(said)) = receive::<Told>(&caller.stream) {
                if let (Told::News, _) = said {
                    // Whoever looks after the folder is woken, and asks.
                    let _ = ask_at_once();
                } else if sender.send(said).is_err() {
                    return;
                }
            }
            if clock::steady().saturating_sub(began) > LIVED {
                let _ = ask_at_once();
            }
        })?;
        Ok(Self { stream, answers })
    }

    /// Asks, and hears the answer; what is told in between, and is none, `other` takes.
    fn ask(
        &self,
        ask: &Ask,
        bytes: &[u8],
        other: &mut dyn FnMut(&Told, &[u8]) -> Option<Ask>,
    ) -> io::Result<(Told, Vec<u8>)> {
        send(&self.stream, ask, bytes)?;
        let mut patience = PATIENCE;
        loop {
            let (told, carried) = self.answers.recv_timeout(patience).map_err(|error| {
                io::Error::other(match error {
                    RecvTimeoutError::Timeout => "it does not answer",
                    RecvTimeoutError::Disconnected => "it ended",
                })
            })?;
            if !matches!(told, Told::Own | Told::Waiting(_)) {
                return Ok((told, carried));
            }
            // He asks the site again after that time, and not before.
            if let Told::Waiting(waiting) = &told {
                patience = PATIENCE + Duration::from_secs(waiting.next.into());
            }
            if let Some(ask) = other(&told, &carried) {
                send(&self.stream, &ask, b"")?;
            }
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        // The thread that hears him sees it, and ends him.
        hang_up(&self.stream);
    }
}

fn of_caller(place: &Place, error: &io::Error) -> SiteError {
    SiteError::Unreachable {
        address: place.addresses.first().cloned().unwrap_or_default(),
        reason: format!("the part of the agent that calls it: {error}"),
        retry_after: None,
    }
}

fn unasked(place: &Place) -> SiteError {
    of_caller(place, &io::Error::other("it answers what nobody asked"))
}

/// Asks to become a client. Blocks; while somebody has to approve the machine it asks again and again, if that is to be waited for.
pub(crate) fn enroll(
    place: &Place,
    authority: String,
    asked: &ClientEnrolment,
    waits: bool,
    say: &mut dyn FnMut(&ClientWaiting),
) -> Result<EnrolmentAnswer, SiteError> {
    let opening = Opening { place: place.clone(), authority, own: None };
    let calling = Calling::start(opening, b"", None).map_err(|error| of_caller(place, &error))?;
    let ask = Ask::Enroll(Box::new(asked.clone()), waits);
    let answer = calling.ask(&ask, b"", &mut |told, _| {
        if let Told::Waiting(waiting) = told {
            say(waiting);
        }
        None
    });
    match answer.map_err(|error| of_caller(place, &error))? {
        (Told::Enrolled(answer), _) => Ok(*answer),
        (Told::Failed(error), _) => Err(error),
        _ => Err(unasked(place)),
    }
}

/// A site that is a server.
#[derive(Debug)]
pub struct ServerSite {
    state: StateFolder,
    identity: Identity,
    place: Place,
    authority: String,
    calling: Option<Calling>,
}

/// Why a machine that is to be a client cannot call its site.
#[derive(Debug, thiserror::Error)]
pub enum OpenSiteError {
    /// It never was enrolled, or its credentials are gone.
    #[error(
        "this machine is enrolled at no site: `packhorse-agent enroll --token FILE` does that; `--policy FILE` needs none"
    )]
    NotEnrolled,
    /// The disk.
    #[error(
        "`{path}` cannot be read; nothing is taken for new, and `packhorse-agent enroll` with a new token replaces it"
    )]
    Disk {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn read(path: &Path) -> Result<String, OpenSiteError> {
    let disk = |source| OpenSiteError::Disk { path: path.display().to_string(), source };
    let bytes = durable::read(path).map_err(disk)?.ok_or(OpenSiteError::NotEnrolled)?;
    String::from_utf8(bytes).map_err(|error| disk(io::Error::other(error)))
}

impl ServerSite {
    /// The site a machine was enrolled at.
    ///
    /// # Errors
    /// It was not, or what it was given cannot be read.
    pub fn open(state: &StateFolder, identity: Identity) -> Result<Self, OpenSiteError> {
        let path = state.line().join("site.json");
        let place: Place = serde_json::from_str(&read(&path)?).map_err(|error| {
            OpenSiteError::Disk { path: path.display().to_string(), source: error.into() }
        })?;
        if identity.site != place.site {
            return Err(OpenSiteError::NotEnrolled);
        }
        read(&state.credentials())?;
        let authority = read(&state.line().join("authority.pem"))?;
        Ok(Self { state: state.clone(), identity, place, authority, calling: None })
    }

    /// Who calls, started where nobody does.
    fn calling(&mut self) -> io::Result<&Calling> {
        let calling = if let Some(calling) = self.calling.take() {
            calling
        } else {
            let own = read(&self.state.credentials()).map_err(io::Error::other)?;
            let opening = Opening {
                place: self.place.clone(),
                authority: self.authority.clone(),
                own: Some((own, self.identity.clone())),
            };
            let held = durable::read(&self.state.policy())?.unwrap_or_default();
            Calling::start(opening, &held, Some(self.state.news()))?
        };
        Ok(self.calling.insert(calling))
    }

    fn ask(&mut self, ask: &Ask, bytes: &[u8]) -> Result<(Told, Vec<u8>), SiteError> {
        let (credentials, authority) = (self.state.credentials(), self.authority.clone());
        let mut keep = |told: &Told, own: &[u8]| {
            let is_own = matches!(told, Told::Own);
            is_own.then(|| Ask::Kept(keep(&credentials, &authority, own)))
        };
        let was_there = self.calling.is_some();
        let mut answer = self.calling().and_then(|calling| calling.ask(ask, bytes, &mut keep));
        // Who ended while nobody asked him is replaced; whatever is asked may be asked twice.
        if was_there && answer.is_err() {
            self.calling = None;
            answer = self.calling().and_then(|calling| calling.ask(ask, bytes, &mut keep));
        }
        match answer {
            Ok((Told::Failed(error), _)) => Err(error),
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.calling = None;
                Err(of_caller(&self.place, &error))
            }
        }
    }

    /// What answers otherwise than asked is not asked again.
    fn unasked<T>(&mut self) -> Result<T, SiteError> {
        self.calling = None;
        Err(unasked(&self.place))
    }
}

/// Keeps the next credentials, if this site's authority gave them, and for the key that is with them.
fn keep(credentials: &Path, authority: &str, own: &[u8]) -> bool {
    let Ok(own) = std::str::from_utf8(own) else { return false };
    let key = own.find("-----BEGIN PRIVATE KEY").and_then(|at| own.get(at..));
    let Some(key) = key.and_then(|text| KeyPair::from_pem(text).ok()) else { return false };
    trust::has_certified(authority, own, key.public_key_raw(), EARLY)
        && durable::write(credentials, own.as_bytes()).is_ok()
}

impl Site for ServerSite {
    fn check_in(&mut self, asking: &Asking) -> Result<CheckIn, SiteError> {
        let (Told::CheckedIn(checked), bytes) = self.ask(&Ask::CheckIn(*asking), b"")? else {
            return self.unasked();
        };
        let is_signed = |signature: &String| {
            trust::has_signed(&self.authority, POLICY_PURPOSE, &bytes, signature)
        };
        if checked.has_document && !checked.signature.as_ref().is_some_and(is_signed) {
            return Err(SiteError::Refused {
                address: self.place.addresses.first().cloned().unwrap_or_default(),
                reason: format!(
                    "the policy document that came is not signed by the authority of site {}, and changes nothing; `packhorse-agent \
                     check-in` asks again, `packhorse-agent enroll` with a new token takes what is there now for the site",
                    self.place.site
                ),
            });
        }
        Ok(CheckIn {
            document: checked.has_document.then_some(bytes),
            heard: checked.heard.map(|heard| (asking.series, heard)),
            next: checked.next.map(Duration::from_secs),
        })
    }

    fn deliver(&mut self, messages: &[Message]) -> Result<u64, SiteError> {
        match self.ask(&Ask::Deliver, &write_parcel(messages))? {
            (Told::Delivered(through), _) => Ok(through),
            _ => self.unasked(),
        }
    }

    fn deliver_inventory(&mut self, inventory: &[u8]) -> Result<bool, SiteError> {
        match self.ask(&Ask::Inventory, inventory)? {
            (Told::Inventoried(taken), _) => Ok(taken),
            _ => self.unasked(),
        }
    }

    fn wants_inventory(&self) -> bool {
        true
    }

    fn points(&self) -> Vec<String> {
        Vec::new()
    }

    fn watched(&self) -> Option<PathBuf> {
        Some(self.state.news())
    }
}

#[cfg(test)]
mod tests {
    use deployment::ClientId;
    use policy::Stamp;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, SigningKey as _};

    use super::*;
    use crate::caller::Checked;

    struct Authority {
        key: KeyPair,
        params: CertificateParams,
        pem: String,
    }

    impl Authority {
        fn new() -> Self {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            let pem = params.self_signed(&key).unwrap().pem();
            Self { key, params, pem }
        }

        fn signature(&self, purpose: &str, word: &[u8]) -> String {
            let signature = self.key.sign(&trust::for_purpose(purpose, word)).unwrap();
            signature.iter().map(|byte| format!("{byte:02x}")).collect()
        }

        /// A client's certificate, and the key it is for or another.
        fn credentials(&self, is_for_it: bool) -> String {
            let (one, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
            let mut params = CertificateParams::new(vec!["client-1-0.packhorse".into()]).unwrap();
            params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            let issuer = Issuer::from_params(&self.params, &self.key);
            let certificate = params.signed_by(&one, &issuer).unwrap().pem();
            certificate + &(if is_for_it { one } else { other }).serialize_pem()
        }
    }

    /// A site of that authority, and who plays the one that calls it.
    fn site(authority: &Authority) -> (tempfile::TempDir, ServerSite, Stream, Player) {
        let temp = tempfile::tempdir().unwrap();
        let state = StateFolder::at(temp.path());
        state.make().unwrap();
        let (stream, its) = Stream::pair().unwrap();
        let (told, answers) = sync_channel(UNHEARD);
        let code = SiteCode::new("TOP").unwrap();
        let site = ServerSite {
            state,
            identity: Identity { client: ClientId([7; 16]), site: code.clone() },
            place: Place { site: code, addresses: vec!["top:7481".to_owned()] },
            authority: authority.pem.clone(),
            calling: Some(Calling { stream, answers }),
        };
        (temp, site, its, told)
    }

    type Player = std::sync::mpsc::SyncSender<(Told, Vec<u8>)>;

    fn checked(signature: Option<String>) -> Told {
        Told::CheckedIn(Checked { signature, has_document: true, next: None, heard: None })
    }

    #[test]
    fn only_what_the_sites_authority_signed_as_a_policy_comes_through() {
        let (authority, other) = (Authority::new(), Authority::new());
        let asking = Asking { known: Some(Stamp::default()), series: 1, boot: 1 };
        let document = b"a document".to_vec();
        let signature = authority.signature(POLICY_PURPOSE, &document);
        let (_temp, mut site, _its, told) = site(&authority);
        let mut answer = |signature: Option<String>| {
            told.send((checked(signature), document.clone())).unwrap();
            site.check_in(&asking)
        };
        let taken = answer(Some(signature.clone())).unwrap();
        assert_eq!(taken.document.as_deref(), Some(&b"a document"[..]));
        let forged = [
            None,
            Some(String::new()),
            Some("zz".repeat(70)),
            Some(signature.replace('a', "b")),
            Some(other.signature(POLICY_PURPOSE, &document)),
            Some(authority.signature("packhorse courier word", &document)),
            Some(authority.signature(POLICY_PURPOSE, b"another")),
        ];
        for signature in forged {
            let refused = answer(signature.clone()).unwrap_err();
            assert!(matches!(refused, SiteError::Refused { .. }), "{signature:?}");
            assert!(refused.to_string().contains("not signed by the authority of site TOP"));
        }
    }

    #[test]
    fn only_credentials_of_the_sites_authority_are_kept() {
        let (authority, other) = (Authority::new(), Authority::new());
        let asking = Asking { known: None, series: 1, boot: 1 };
        let (_temp, mut site, its, told) = site(&authority);
        let credentials = site.state.credentials();
        durable::write(&credentials, b"those in use").unwrap();
        let mut renewed = |own: &str| {
            told.send((Told::Own, own.as_bytes().to_vec())).unwrap();
            told.send((Told::Delivered(3), Vec::new())).unwrap();
            assert_eq!(site.deliver(&[]).unwrap(), 3);
            let asked: Option<(Ask, _)> = receive(&its).unwrap();
            assert!(matches!(asked, Some((Ask::Deliver, _))));
            let answered: Option<(Ask, _)> = receive(&its).unwrap();
            let Some((Ask::Kept(kept), _)) = answered else { panic!("{answered:?}") };
            kept
        };
        for own in ["", "nothing", &other.credentials(true), &authority.credentials(false)] {
            assert!(!renewed(own), "{own}");
            assert_eq!(std::fs::read(&credentials).unwrap(), b"those in use");
        }
        let own = authority.credentials(true);
        assert!(renewed(&own));
        assert_eq!(std::fs::read_to_string(&credentials).unwrap(), own);
        // Who answers what nobody asked is not asked again.
        told.send((Told::Delivered(3), Vec::new())).unwrap();
        assert!(site.check_in(&asking).unwrap_err().to_string().contains("nobody asked"));
        assert!(site.calling.is_none());
    }
}
