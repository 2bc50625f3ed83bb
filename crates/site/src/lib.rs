//! One site: its tables in a database, its decisions carried out.
//!
//! - a [`Storage`] keeps a site's rows; [`Sqlite`] is the embedded one, [`Postgres`] the one that several processes
//!   share, and the [`conformance`] suite says what any has to do;
//! - a [`Desk`] takes events in, one transaction for those that wait, and gives effects out;
//! - a [`Server`] carries effects out: copies on distribution points, looked at after they were made;
//! - [`serve`] is all of it behind HTTP, and [`Client`] talks to that;
//! - children call over lines of their own, HTTP/2 in mutual TLS: [`attach`] makes a site one, with a [`Token`]
//!   (docs/formats/line.md).
//!
//! **Invariant:** every decision is `policy`'s. What an effect needs is durable before it is carried out, and a copy is
//! believed only when it was read back.

mod address;
mod api;
mod authority;
mod called;
mod calling;
mod chance;
mod client;
mod clients;
pub mod conformance;
mod copy;
mod courier;
mod decide;
mod desk;
mod enrol;
mod error;
mod feeding;
mod folder;
mod foreign;
mod incoming;
mod kept;
mod link;
mod locations;
mod master;
mod others;
mod postgres;
mod process;
mod readers;
mod receive;
mod relaying;
mod seal;
mod serve;
mod server;
mod settings;
mod shared;
mod sqlite;
mod status;
mod storage;
mod tree;
mod upkeep;
mod uplink;
mod watchdog;
mod wire;

pub use address::AddressSettings;
pub use api::openapi;
pub use client::Client;
pub use clients::{
    ClientDetails, ClientRequest, ClientSummary, CollectionStatus, Deployed, DeploymentOnClient,
    DeploymentStatus, NewDeployment, OnClient, SiteWindow, Target, Told, WindowStatus,
};
pub use copy::{Marker, look, marker, remove};
pub use courier::Trip;
pub use decide::Decider;
pub use desk::{Decided, Desk, Facts};
pub use enrol::{Token, Way, attach};
pub use error::SiteError;
pub use folder::{Folder, init, init_with, join};
pub use foreign::take_anything;
pub use postgres::Postgres;
pub use relaying::{TrustStatus, pin};
pub use serve::{Listen, serve};
pub use server::Server;
pub use settings::SiteSettings;
pub use sqlite::Sqlite;
pub use status::{
    ChildStatus, CopyStatus, GroupStatus, PackageStatus, ParentStatus, PointStatus, Status,
    StoreStatus,
};
pub use storage::{
    Change, Hearing, Record, RecordKind, Records, Storage, StorageError, Tables, Turn,
};
pub use upkeep::{Moved, backup, check, migrate, move_store, restore};
