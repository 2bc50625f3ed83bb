//! What a client and its site say to each other before there is a policy document (docs/formats/client-line.md).

use policy::SiteCode;
use serde::{Deserialize, Serialize};

use crate::{ClientId, InvalidClientId};

/// The format of tokens and of what is said when somebody enrolls.
pub const CLIENT_LINE_FORMAT: u32 = 1;
/// What a site's authority signs policy documents for.
pub const POLICY_PURPOSE: &str = "packhorse policy document";
/// A name a machine goes by is no longer than this, in bytes.
pub const LONGEST_CLIENT_NAME: usize = 255;

/// What a machine brings to become a client. With a secret it counts once, and is to be kept secret until then; without, each
/// machine that brings it waits until somebody approves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientToken {
    /// Of this file.
    pub format: u32,
    /// The site that made it.
    pub site: SiteCode,
    /// Where that site listens, as far as whoever made it knows.
    #[serde(default)]
    pub at: Option<String>,
    /// What nobody else knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The site's authority: nobody else is believed to be the site.
    pub authority: String,
}

/// A machine asks to be a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ClientEnrolment {
    /// Of these words.
    pub format: u32,
    /// From the token.
    #[serde(default)]
    pub secret: Option<String>,
    /// Its public key in hexadecimal digits: an uncompressed point on the curve P-256.
    pub key: String,
    /// The identity it has already, with its history; kept if the site does not know it as somebody else's.
    pub client: Option<ClientId>,
    /// What the machine is called; data.
    pub name: String,
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EnrolmentAnswer {
    /// It is one.
    Enrolled(ClientEnrolled),
    /// Somebody has to approve it first.
    Waiting(ClientWaiting),
}

/// Somebody has to approve a machine before it is a client; it asks again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClientWaiting {
    /// Of these words.
    pub format: u32,
    /// Where it waits.
    pub site: SiteCode,
    /// The fingerprint of the key it asks for, by which people tell it from others: hexadecimal digits.
    pub waiting: String,
    /// Seconds until it is to ask again.
    pub next: u32,
}

/// It is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClientEnrolled {
    /// Of these words.
    pub format: u32,
    /// Who it is from now on.
    pub client: ClientId,
    /// Whose it is.
    pub site: SiteCode,
    /// Its certificate, in PEM.
    pub certificate: String,
}

/// A client asks for its next certificate, with the one it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Renewal {
    /// Of these words.
    pub format: u32,
    /// The key it is to be for; the one in use, or another.
    pub key: String,
}

/// What became of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Taken {
    /// The sequence number up to which they are durable.
    pub through: u64,
}

/// What became of an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InventoryTaken {
    /// Whether it counts; if not, a whole one is asked for.
    pub taken: bool,
}

/// The name a client has in certificates: no site's, whatever it is called.
pub fn client_host_name(client: ClientId) -> String {
    format!("client-{client}-0.packhorse")
}

/// The client a name in a certificate stands for.
pub fn client_of_host_name(name: &str) -> Option<ClientId> {
    let id = name.strip_prefix("client-")?.strip_suffix("-0.packhorse")?;
    let id: Result<ClientId, InvalidClientId> = id.parse();
    // One client has one name.
    id.ok().filter(|id| client_host_name(*id) == name)
}

/// The name a site has in certificates, whatever address it is called at.
pub fn site_host_name(code: &SiteCode) -> String {
    // Codes may end in a hyphen, names may not.
    format!("site-{}-0.packhorse", code.as_str().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use policy::SiteCode;

    use super::{client_host_name, client_of_host_name, site_host_name};
    use crate::ClientId;

    #[test]
    fn names_and_clients_stand_for_each_other_and_for_no_site() {
        let client = ClientId([0xab; 16]);
        assert_eq!(client_of_host_name(&client_host_name(client)), Some(client));
        let site = SiteCode::new("CLIENT-1").unwrap();
        let upper = client_host_name(client).to_uppercase().to_lowercase().replace("ab", "AB");
        for wrong in [site_host_name(&site), upper, "client--0.packhorse".to_owned()] {
            assert_eq!(client_of_host_name(&wrong), None, "{wrong}");
        }
    }
}
