//! Clients, deployments and collections, as a running site is asked about them.

use deployment::{ClientToken, CollectionSpec};
use serde_json::Value;

use super::{
    ClientDetails, ClientRequest, ClientSummary, CollectionStatus, Deployed, DeploymentStatus,
    NewDeployment, OnClient, SiteWindow, WindowStatus,
    api::{ForeignKey, NewClientToken, NewForeign, RequestAnswer, Steering},
};
use crate::{Client, SiteError};

/// A name as a part of an address.
fn part(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut part = String::new();
    for byte in name.bytes() {
        if is_plain(byte) {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("%{byte:02X}"));
        }
    }
    part
}

impl Client {
    /// All clients.
    pub fn clients(&self) -> Result<Vec<ClientSummary>, SiteError> {
        self.send(self.http().get(self.url("clients")))
    }

    /// A token a machine becomes a client with.
    pub fn client_token(
        &self,
        client: Option<&str>,
        hours: Option<u32>,
        at: Option<&str>,
    ) -> Result<ClientToken, SiteError> {
        let asked = NewClientToken {
            client: client.map(str::to_owned),
            hours,
            at: at.map(str::to_owned),
            by_approval: false,
        };
        self.send(self.http().post(self.url("client-tokens")).json(&asked))
    }

    /// A token without a secret: machines that bring it wait until somebody approves them.
    pub fn open_client_token(&self, at: Option<&str>) -> Result<ClientToken, SiteError> {
        let at = at.map(str::to_owned);
        let asked = NewClientToken { at, by_approval: true, ..NewClientToken::default() };
        self.send(self.http().post(self.url("client-tokens")).json(&asked))
    }

    /// Machines that ask to be clients.
    pub fn client_requests(&self) -> Result<Vec<ClientRequest>, SiteError> {
        self.send(self.http().get(self.url("client-requests")))
    }

    /// Approves a machine that asks, by the fingerprint of its key; as a known client, where one is named.
    pub fn approve(&self, key: &str, client: Option<&str>) -> Result<(), SiteError> {
        self.answer(key, &RequestAnswer { approve: true, client: client.map(str::to_owned) })
    }

    /// Refuses a machine that asks.
    pub fn refuse(&self, key: &str) -> Result<(), SiteError> {
        self.answer(key, &RequestAnswer { approve: false, client: None })
    }

    fn answer(&self, key: &str, said: &RequestAnswer) -> Result<(), SiteError> {
        let url = self.url(&format!("client-requests/{}", part(key)));
        self.send::<Value>(self.http().post(url).json(said)).map(drop)
    }

    /// A device that speaks hawkBit's protocol becomes a client; the key it shows.
    pub fn add_foreign(&self, name: &str) -> Result<String, SiteError> {
        let asked = NewForeign { name: name.to_owned() };
        let answer: ForeignKey =
            self.send(self.http().post(self.url("foreign-clients")).json(&asked))?;
        Ok(answer.key)
    }

    /// All that is known of a client.
    pub fn client(&self, client: &str) -> Result<ClientDetails, SiteError> {
        self.send(self.http().get(self.url(&format!("clients/{}", part(client)))))
    }

    /// A client is none any more.
    pub fn revoke(&self, client: &str) -> Result<(), SiteError> {
        let url = self.url(&format!("clients/{}", part(client)));
        self.send::<Value>(self.http().delete(url)).map(drop)
    }

    /// All deployments, and how they go.
    pub fn deployments(&self) -> Result<Vec<DeploymentStatus>, SiteError> {
        self.send(self.http().get(self.url("deployments")))
    }

    /// How a deployment is with each of its clients.
    pub fn deployment(&self, id: &str) -> Result<Vec<OnClient>, SiteError> {
        self.send(self.http().get(self.url(&format!("deployments/{}", part(id)))))
    }

    /// Deploys a package or a command.
    pub fn deploy(&self, new: &NewDeployment) -> Result<Deployed, SiteError> {
        self.send(self.http().post(self.url("deployments")).json(new))
    }

    /// Withdraws a deployment.
    pub fn remove_deployment(&self, id: &str) -> Result<(), SiteError> {
        let url = self.url(&format!("deployments/{}", part(id)));
        self.send::<Value>(self.http().delete(url)).map(drop)
    }

    /// Says how a deployment goes on: `pause`, `resume`, `stop`, `approve`, `next-wave`, `retry`.
    pub fn steer(
        &self,
        id: &str,
        what: &str,
        by: &str,
        clients: &[String],
    ) -> Result<(), SiteError> {
        let steering =
            Steering { what: what.to_owned(), by: by.to_owned(), clients: clients.to_vec() };
        let url = self.url(&format!("deployments/{}", part(id)));
        self.send::<Value>(self.http().post(url).json(&steering)).map(drop)
    }

    /// All collections.
    pub fn collections(&self) -> Result<Vec<CollectionStatus>, SiteError> {
        self.send(self.http().get(self.url("collections")))
    }

    /// Saves a collection.
    pub fn save_collection(&self, spec: &CollectionSpec) -> Result<(), SiteError> {
        self.send::<Value>(self.http().post(self.url("collections")).json(spec)).map(drop)
    }

    /// Who belongs to a collection.
    pub fn collection(&self, name: &str) -> Result<Vec<ClientSummary>, SiteError> {
        self.send(self.http().get(self.url(&format!("collections/{}", part(name)))))
    }

    /// Removes a collection nobody names.
    pub fn remove_collection(&self, name: &str) -> Result<(), SiteError> {
        let url = self.url(&format!("collections/{}", part(name)));
        self.send::<Value>(self.http().delete(url)).map(drop)
    }

    /// All maintenance windows.
    pub fn windows(&self) -> Result<Vec<WindowStatus>, SiteError> {
        self.send(self.http().get(self.url("windows")))
    }

    /// Saves a maintenance window.
    pub fn save_window(&self, new: &SiteWindow) -> Result<(), SiteError> {
        self.send::<Value>(self.http().post(self.url("windows")).json(new)).map(drop)
    }

    /// Removes a maintenance window.
    pub fn remove_window(&self, name: &str) -> Result<(), SiteError> {
        let url = self.url(&format!("windows/{}", part(name)));
        self.send::<Value>(self.http().delete(url)).map(drop)
    }

    /// What a rule would catch: `size`, `clients`, `sample`, `unknown`.
    pub fn preview(&self, rule: &str) -> Result<Value, SiteError> {
        let url = format!("{}?rule={}", self.url("collection-preview"), part(rule));
        self.send(self.http().get(url))
    }

    /// Why a client is in a collection, or not: `membership`, `because`.
    pub fn why(&self, client: &str, collection: &str) -> Result<Value, SiteError> {
        let query = format!("client={}&collection={}", part(client), part(collection));
        self.send(self.http().get(format!("{}?{query}", self.url("collection-why"))))
    }
}
