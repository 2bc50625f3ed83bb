//! How a site becomes a child: by a token its parent made, which counts once.

use std::{path::Path, time::Duration};

use policy::{Event, PlaceKind, SiteCode};
use serde::{Deserialize, Serialize};

use crate::{
    Folder, Server, SiteError,
    authority::{self, PublicKey},
    called, chance,
    folder::write_durably,
    relaying::pin,
    shared,
    uplink::Line,
};

/// A token counts for so many milliseconds of the parent's steady clock.
const VALID: u64 = 7 * 24 * 3_600_000;
/// The format of tokens.
const FORMAT: u32 = 1;
/// A parent answers within this; one that has to call first takes longer, for it pauses between its calls.
const PATIENCE: Duration = Duration::from_secs(30);
const CALL_PATIENCE: Duration = Duration::from_mins(2);

/// What a child brings to be enrolled; to be kept secret until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Token {
    /// Of this file.
    pub format: u32,
    /// The site that made it.
    #[schema(value_type = String)]
    pub parent: SiteCode,
    /// The site it is for.
    #[schema(value_type = String)]
    pub child: SiteCode,
    /// What nobody else knows.
    pub secret: String,
    /// The parent's authority: nobody else is believed to be the parent.
    pub authority: String,
    /// The root of trust metadata, if the parent believes one: what comes has to be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
}

/// A child asks for its certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Enrolment {
    pub(crate) child: SiteCode,
    pub(crate) secret: String,
    /// Its public key in hexadecimal digits.
    pub(crate) key: String,
}

/// It has one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Enrolled {
    pub(crate) certificate: String,
}

/// What the parent keeps of a token.
#[derive(Serialize, Deserialize)]
struct Kept {
    hash: model::Hash,
    /// On the steady clock of the parent's database.
    until: u64,
    /// The fingerprint of the key it was spent for.
    spent: Option<String>,
}

impl Server {
    /// A token for a child; those made before count no longer.
    pub fn token(&self, child: &SiteCode) -> Result<Token, SiteError> {
        let root = self.root()?.and_then(|root| String::from_utf8(root).ok());
        let secret = chance::secret()?;
        let mut desk = self.desk();
        direct_child(desk.site(), child)?;
        let until = desk.event_moment().saturating_add(VALID);
        let kept = Kept { hash: model::Hash::of(secret.as_bytes()), until, spent: None };
        desk.keep(vec![(format!("token:{child}"), serde_json::to_string(&kept).ok())])?;
        Ok(Token {
            format: FORMAT,
            parent: desk.site().code().clone(),
            child: child.clone(),
            secret,
            authority: self.authority().certificate().to_owned(),
            root,
        })
    }

    /// Gives a child its certificate. The same token for the same key gives it again: an answer may be lost.
    pub(crate) fn enrol(&self, asked: &Enrolment) -> Result<Enrolled, SiteError> {
        let child = &asked.child;
        let key = PublicKey::parse(&asked.key)
            .ok_or_else(|| SiteError::refused("the key is none on the curve P-256".to_owned()))?;
        let unknown = || {
            SiteError::refused(format!(
                "the token does not count here: `packhorse site child token {child}` makes one"
            ))
        };
        self.desk().keep_after(|desk| {
        direct_child(desk.site(), child).map_err(|_| unknown())?;
        let kept = desk.fact(&format!("token:{child}")).ok_or_else(unknown)?;
        let kept: Kept = serde_json::from_str(kept).map_err(|_| unknown())?;
        if kept.hash != model::Hash::of(asked.secret.as_bytes()) {
            return Err(unknown());
        }
        let fingerprint = key.fingerprint();
        match &kept.spent {
            Some(spent) if *spent == fingerprint => {}
            Some(_) => {
                return Err(SiteError::refused(format!(
                    "the token was used already, by another key: `packhorse site child token {child}` makes another"
                )));
            }
            None if desk.event_moment() > kept.until => {
                return Err(SiteError::refused(format!(
                    "the token is more than a week old: `packhorse site child token {child}` makes another"
                )));
            }
            None => {}
        }
        let certificate = self.authority().certify(child, &key)?;
        let spent = Kept { spent: Some(fingerprint.clone()), ..kept };
        let facts = vec![
            (format!("token:{child}"), serde_json::to_string(&spent).ok()),
            (format!("child:{child}"), Some(fingerprint)),
        ];
        Ok((Enrolled { certificate }, facts))
        })
    }
}

/// Refuses a code that is no direct child's.
pub(crate) fn direct_child(
    site: &policy::Site,
    code: &SiteCode,
) -> Result<policy::PlaceId, SiteError> {
    let id = site.child_id(code).filter(|id| {
        let kind = site.place(*id).map(|place| &place.kind);
        matches!(kind, Some(PlaceKind::Child { code: child, .. }) if child == code)
    });
    id.ok_or_else(|| policy::Refused::NoPlace(code.to_string()).into())
}

/// Reads a token.
fn read_token(path: &Path) -> Result<Token, SiteError> {
    let text = std::fs::read_to_string(path).map_err(SiteError::file("reading", path))?;
    let wrong = |reason: String| SiteError::Token { path: path.to_owned(), reason };
    let token: Token = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if token.format != FORMAT {
        return Err(wrong(format!("it has format {}, known is {FORMAT}", token.format)));
    }
    Ok(token)
}

/// How a child and its parent come together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The child calls the parent at an address, or at one of several with commas between them.
    Calls(String),
    /// The child cannot call, and waits here for the parent's calls.
    Called(std::net::SocketAddr),
    /// A courier goes between them.
    Courier,
}

/// Asks the parent for a certificate, or waits for its call and asks then.
fn ask(
    address: &str,
    parent: &SiteCode,
    authority: &str,
    asked: &Enrolment,
) -> Result<Enrolled, SiteError> {
    let Some(place) = called::waiting_place(address) else {
        // A parent of several processes has several addresses.
        let first = address.split(',').next().unwrap_or(address).trim();
        return Line::new(parent, first, authority, None)?.enrol(asked, PATIENCE);
    };
    let cannot = SiteError::file("waiting for the parent's call at", address);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let waits = runtime.and_then(|runtime| Ok((runtime.block_on(called::wait(place))?, runtime)));
    let (here, _runtime) = waits.map_err(cannot)?;
    Line::new(parent, &here.to_string(), authority, None)?.enrol(asked, CALL_PATIENCE)
}

/// Makes the site in a folder a child of the one that made the token. The site must not run. Interrupted anywhere, it is done again with the same token.
pub fn attach(folder: &Folder, way: &Way, token: &Path) -> Result<SiteCode, SiteError> {
    let settings = folder.settings()?;
    let _alone = folder.alone(&settings)?;
    let token = read_token(token)?;
    let mut desk = folder.desk()?;
    shared::settle(folder, &settings, &mut desk)?;
    let code = desk.site().code().clone();
    if token.child != code {
        return Err(SiteError::refused(format!(
            "the token is for `{}`, and this is `{code}`",
            token.child
        )));
    }
    if let Some(parent) = desk.site().parent().filter(|parent| **parent != token.parent) {
        return Err(policy::Refused::HasParent(parent.clone()).into());
    }
    if let Some(root) = &token.root {
        pin(folder, root.as_bytes(), false)?;
    }
    let own = folder.link();
    let key = authority::key(&own.join("key.pem"))?;
    let address = match way {
        Way::Calls(address) => Some(address.clone()),
        Way::Called(place) => Some(called::waits_at(*place)),
        Way::Courier => None,
    };
    if let Some(address) = &address {
        let asked = Enrolment { child: code, secret: token.secret, key: PublicKey::text_of(&key) };
        let enrolled = ask(address, &token.parent, &token.authority, &asked)?;
        write_durably(&own.join("certificate.pem"), enrolled.certificate.as_bytes(), 0o644)?;
    } else {
        write_durably(&own.join("secret"), token.secret.as_bytes(), 0o600)?;
    }
    write_durably(&own.join("parent.pem"), token.authority.as_bytes(), 0o644)?;
    let names = ["link/key.pem", "link/certificate.pem", "link/parent.pem", "link/secret"];
    let mut facts = shared::facts_of(folder, &settings, &names)?;
    facts.push(("parent".to_owned(), address));
    desk.event_with(Event::Attach(token.parent.clone()), facts)?;
    Ok(token.parent)
}
