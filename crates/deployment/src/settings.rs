use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// How a client behaves towards its site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "kebab-case")]
#[cbor(array)]
pub struct ClientSettings {
    /// Seconds between check-ins, unless the answer to one says otherwise.
    #[n(0)]
    pub check_in: u32,
    /// Seconds between reports of the inventory.
    #[n(1)]
    pub inventory: u32,
    /// The most bytes the cache of content takes; no limit where unsaid.
    #[n(2)]
    pub cache: Option<u64>,
    /// The most bytes per second content is fetched with; no limit where unsaid.
    #[n(3)]
    pub rate: Option<u64>,
    /// Whether the client keeps a question open, so that news reaches it at once.
    #[n(4)]
    pub long_poll: bool,
    /// Where packages are, in the order in which they are tried: folders, `http(s)://…`, `s3://BUCKET/FOLDER`. Where unsaid, as
    /// the agent was told by hand.
    #[n(5)]
    pub points: Option<Vec<String>>,
}

impl Default for ClientSettings {
    /// Every five minutes, an inventory a day, no limits.
    fn default() -> Self {
        Self {
            check_in: 300,
            inventory: 86_400,
            cache: None,
            rate: None,
            long_poll: false,
            points: None,
        }
    }
}
