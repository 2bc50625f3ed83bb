//! What a site knows of its clients, as records.

use std::collections::BTreeMap;

use deployment::{
    ClientId, ClientSettings, CollectionSpec, Deployment, DeploymentId, Inventory, InventoryReport,
    Offer, RolloutCourse, RolloutPlan, Window,
};
use policy::Moment;
use running::{RunId, Word};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::ddi::DeviceRow;
use crate::{Record, RecordKind};

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ClientRow {
    /// What the machine calls itself; data.
    pub(crate) name: String,
    /// Keys that count, the oldest first: while a new one comes into use, two.
    pub(crate) keys: Vec<KeyRow>,
    /// Seconds since 1970, by the site's clock.
    pub(crate) enrolled: i64,
    /// Since when it is none any more, by the site's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<i64>,
    /// How far each of its series of messages was heard; the newest last.
    #[serde(default)]
    pub(crate) series: Vec<(u64, u64)>,
    /// The last word about each run, by its name.
    #[serde(default)]
    pub(crate) results: BTreeMap<String, ResultRow>,
    /// How many of its messages nobody could read.
    #[serde(default)]
    pub(crate) unreadable: u64,
    /// It is a device that runs no agent of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<DeviceRow>,
}

/// A key of a client, and until when its certificate counts, by the site's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct KeyRow {
    /// The fingerprint.
    pub(crate) key: String,
    /// Seconds since 1970.
    pub(crate) until: i64,
}

/// The last word about a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ResultRow {
    /// Which.
    pub(crate) run: RunId,
    /// What.
    pub(crate) word: Word,
    /// Which attempt.
    pub(crate) attempt: u32,
    /// Why.
    pub(crate) cause: String,
    /// What happens next.
    pub(crate) next: String,
    /// When it was said, by the client's clock, which may lie.
    pub(crate) clock: i64,
    /// When it was heard, by the site's.
    pub(crate) at: i64,
}

/// So many series are remembered: of a machine whose history was lost, or put back, or both.
const SERIES: usize = 8;

impl ClientRow {
    /// How far a series was heard.
    pub(crate) fn heard(&self, series: u64) -> Option<u64> {
        self.series.iter().find(|(one, _)| *one == series).map(|(_, heard)| *heard)
    }

    /// It was heard so far.
    pub(crate) fn hear(&mut self, series: u64, through: u64) {
        self.series.retain(|(one, _)| *one != series);
        self.series.push((series, through));
        let surplus = self.series.len().saturating_sub(SERIES);
        self.series.drain(..surplus);
    }
}

/// Whom a deployment is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Target {
    /// All clients, now and later. Never the outcome of naming nobody.
    pub everybody: bool,
    /// Members of these collections.
    pub collections: Vec<Box<str>>,
    /// These.
    pub clients: Vec<ClientId>,
    /// But no members of these, and none of whom it is unknown.
    pub except: Vec<Box<str>>,
}

impl Target {
    /// Whether it names nobody at all.
    pub(crate) fn is_nobody(&self) -> bool {
        !self.everybody && self.clients.is_empty() && self.collections.is_empty()
    }
}

/// A deployment, as it was made; the gate and the round of attempts are those of its rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct DeploymentRow {
    /// What each of its clients is told.
    pub(crate) deployment: Deployment,
    /// Whom it is for.
    pub(crate) target: Target,
    /// In what steps.
    pub(crate) plan: RolloutPlan,
    /// When it was made, by the site's clock.
    pub(crate) made: i64,
}

/// A maintenance window, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SiteWindow {
    /// When it is open: `name`, `opens` (`from`, `zone`, `cadence`), `minutes`, `until`.
    #[schema(value_type = Object)]
    pub window: Window,
    /// Whose it is.
    #[schema(value_type = Object)]
    pub target: Target,
}

/// What was decided of a rollout; what is known of its clients is in rows of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RolloutRow {
    /// What was decided.
    pub(crate) rollout: RolloutCourse,
}

/// When a client was heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SeenRead", into = "(i64, Moment)")]
pub(crate) struct SeenRow {
    /// Seconds since 1970, by the clock of whoever heard: is shown.
    pub(crate) wall: i64,
    /// On the site's steady clock: decides.
    pub(crate) at: Moment,
}

/// As it was written, now and earlier.
#[derive(Deserialize)]
#[serde(untagged)]
enum SeenRead {
    Both(i64, Moment),
    Wall(i64),
}

impl From<SeenRead> for SeenRow {
    fn from(read: SeenRead) -> Self {
        match read {
            SeenRead::Both(wall, at) => Self { wall, at },
            SeenRead::Wall(wall) => Self { wall, at: Moment::default() },
        }
    }
}

impl From<SeenRow> for (i64, Moment) {
    fn from(row: SeenRow) -> Self {
        (row.wall, row.at)
    }
}

/// A process of the site that listens to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ProcessRow {
    /// Whom it heard of up to this moment, the tables know.
    pub(crate) through: Moment,
    /// It has ended if it says nothing until then.
    pub(crate) until: Moment,
    /// Since when there was always one that listened.
    pub(crate) since: Moment,
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TokenRow {
    /// Milliseconds on the site's steady clock.
    pub(crate) until: u64,
    /// The client it is for; for whoever comes first where unsaid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<ClientId>,
    /// The fingerprint of the key it was spent for, and who that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spent: Option<(String, ClientId)>,
}

/// A machine that asks to be a client, by the fingerprint of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RequestRow {
    /// What it calls itself; data.
    pub(crate) name: String,
    /// The identity it has already, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<ClientId>,
    /// Since when, by the site's clock; is shown.
    pub(crate) since: i64,
    /// Milliseconds on the site's steady clock: it is forgotten then.
    pub(crate) until: u64,
    /// What somebody said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) said: Option<Said>,
}

/// What somebody said to a machine that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Said {
    /// No.
    Refused,
    /// It is to be this client.
    Approved(ClientId),
    /// It has heard so, and is.
    Taken(ClientId),
}

/// One record, understood.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A client.
    Client(ClientId, Box<ClientRow>),
    /// What it reported of itself.
    Inventory(ClientId, Box<Inventory>),
    /// A deployment; gone.
    Deployment(DeploymentId, Option<Box<DeploymentRow>>),
    /// How it reaches its clients; gone.
    Rollout(DeploymentId, Option<Box<RolloutRow>>),
    /// A collection; gone.
    Collection(Box<str>, Option<Box<CollectionSpec>>),
    /// A maintenance window; gone.
    Window(Box<str>, Option<Box<SiteWindow>>),
    /// A token by the hash of its secret; gone.
    Token(String, Option<TokenRow>),
    /// A machine that asks to be a client, by the fingerprint of its key; gone.
    Request(String, Option<Box<RequestRow>>),
    /// How clients behave, and where packages are.
    Settings(Box<ClientSettings>),
    /// What is known of a rollout on one client; gone with the rollout.
    Offer(DeploymentId, ClientId, Option<Offer>),
    /// When the clients whose ids begin with this byte were heard of.
    Seen(u8, BTreeMap<ClientId, SeenRow>),
    /// A process of the site, by its name; gone.
    Process(String, Option<ProcessRow>),
    /// Something a client said, by its name; not kept any longer.
    Message(String, Option<Vec<u8>>),
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn read_if<T: DeserializeOwned>(body: Option<&[u8]>) -> Result<Option<T>, String> {
    body.map(read).transpose()
}

impl Change {
    /// As the database keeps it.
    pub(crate) fn record(&self) -> Record {
        let (kind, name, body) = match self {
            Self::Client(id, row) => (RecordKind::Client, id.to_string(), Some(json(row))),
            Self::Inventory(id, inventory) => {
                let report = InventoryReport::Whole((**inventory).clone());
                (RecordKind::Inventory, id.to_string(), Some(report.write()))
            }
            Self::Deployment(id, row) => {
                (RecordKind::Deployment, id.to_string(), row.as_ref().map(json))
            }
            Self::Rollout(id, row) => (RecordKind::Rollout, id.to_string(), row.as_ref().map(json)),
            Self::Offer(id, client, offer) => {
                (RecordKind::Offer, format!("{id}/{client}"), offer.as_ref().map(json))
            }
            Self::Process(name, row) => (RecordKind::Process, name.clone(), row.as_ref().map(json)),
            Self::Collection(name, spec) => {
                (RecordKind::Collection, name.to_string(), spec.as_ref().map(json))
            }
            Self::Window(name, row) => {
                (RecordKind::Window, name.to_string(), row.as_ref().map(json))
            }
            Self::Token(hash, row) => (RecordKind::Token, hash.clone(), row.as_ref().map(json)),
            Self::Request(key, row) => (RecordKind::Request, key.clone(), row.as_ref().map(json)),
            Self::Settings(settings) => {
                (RecordKind::Settings, "clients".to_owned(), Some(json(settings)))
            }
            Self::Seen(block, seen) => (RecordKind::Seen, format!("{block:02x}"), Some(json(seen))),
            Self::Message(name, body) => (RecordKind::Message, name.clone(), body.clone()),
        };
        Record { kind, name, body }
    }

    /// What a record says, or why nobody can tell.
    pub(crate) fn of(record: &Record) -> Result<Self, String> {
        let Record { kind, name, body } = record;
        let body = body.as_deref();
        let there = || body.ok_or_else(|| "it has no body".to_owned());
        let client = || name.parse::<ClientId>().map_err(|error| error.to_string());
        let deployment = || DeploymentId::new(name).map_err(|error| error.to_string());
        Ok(match kind {
            RecordKind::Client => Self::Client(client()?, read(there()?)?),
            RecordKind::Inventory => match InventoryReport::read(there()?) {
                Ok(InventoryReport::Whole(inventory)) => {
                    Self::Inventory(client()?, Box::new(inventory))
                }
                Ok(InventoryReport::Delta(_)) => return Err("it is no whole inventory".to_owned()),
                Err(error) => return Err(error.to_string()),
            },
            RecordKind::Deployment => Self::Deployment(deployment()?, read_if(body)?),
            RecordKind::Rollout => Self::Rollout(deployment()?, read_if(body)?),
            RecordKind::Offer => {
                let (id, client) = name.split_once('/').ok_or("its name is of no client")?;
                let id = DeploymentId::new(id).map_err(|error| error.to_string())?;
                let client = client.parse::<ClientId>().map_err(|error| error.to_string())?;
                Self::Offer(id, client, read_if(body)?)
            }
            RecordKind::Process => Self::Process(name.clone(), read_if(body)?),
            RecordKind::Collection => Self::Collection(name.as_str().into(), read_if(body)?),
            RecordKind::Window => Self::Window(name.as_str().into(), read_if(body)?),
            RecordKind::Token => Self::Token(name.clone(), read_if(body)?),
            RecordKind::Request => Self::Request(name.clone(), read_if(body)?),
            RecordKind::Settings => Self::Settings(read(there()?)?),
            RecordKind::Seen => {
                let block = u8::from_str_radix(name, 16).map_err(|error| error.to_string())?;
                Self::Seen(block, read(there()?)?)
            }
            RecordKind::Message => Self::Message(name.clone(), body.map(<[u8]>::to_vec)),
        })
    }
}
