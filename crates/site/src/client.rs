use std::{fs::File, path::Path};

use model::PackageName;
use reqwest::{
    Url,
    blocking::{Body, Client as Http, RequestBuilder},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    AddressSettings, Folder, SiteError, Status, Token, Trip,
    api::{Assignment, Medium, Members, NewChild, NewPoint, ReadAt, Retry},
    process::Process,
};

/// Talks to a site that runs.
#[derive(Debug)]
pub struct Client {
    http: Http,
    address: String,
    token: String,
}

impl Client {
    /// The site in a folder of this machine.
    pub fn local(folder: &Folder) -> Result<Self, SiteError> {
        let path = folder.address();
        let living = Process::addresses(folder);
        let address = std::fs::read_to_string(&path).map_err(|source| {
            if source.kind() == std::io::ErrorKind::NotFound {
                SiteError::Said {
                    message: "the site does not run: `packhorse site serve` starts it".to_owned(),
                    conflict: true,
                }
            } else {
                SiteError::file("reading", &path)(source)
            }
        })?;
        let address = address.trim();
        // The one that began last may have been killed, and another lives on.
        let address = match living.first() {
            Some(other) if !living.iter().any(|living| living == address) => other,
            _ => address,
        };
        Self::new(&format!("http://{address}"), &folder.token()?)
    }

    /// The site at a URL, with its token.
    pub fn new(address: &str, token: &str) -> Result<Self, SiteError> {
        let address = address.trim_end_matches('/').to_owned();
        let http = Http::builder()
            .timeout(None)
            .connect_timeout(std::time::Duration::from_secs(10))
            .no_proxy()
            .build()
            .map_err(|source| SiteError::NoAnswer { address: address.clone(), source })?;
        Ok(Self { http, address, token: token.to_owned() })
    }

    /// How it is asked.
    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    pub(crate) fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, SiteError> {
        let no_answer = |source| SiteError::NoAnswer { address: self.address.clone(), source };
        let answer = request.bearer_auth(&self.token).send().map_err(no_answer)?;
        let status = answer.status();
        if status.is_success() {
            return answer.json().map_err(no_answer);
        }
        let said: Value = answer.json().unwrap_or_default();
        let message = said["error"].as_str().map_or_else(|| status.to_string(), str::to_owned);
        Err(SiteError::Said { message, conflict: status.is_client_error() })
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.address)
    }

    /// Where everything is, and why not elsewhere.
    pub fn status(&self) -> Result<Status, SiteError> {
        self.send(self.http.get(self.url("status")))
    }

    /// Has every copy looked at, then the same.
    pub fn verify(&self) -> Result<Status, SiteError> {
        self.send(self.http.post(self.url("verify")))
    }

    /// Publishes a package file; whether it was new.
    pub fn publish(&self, package: &Path, replace: bool) -> Result<bool, SiteError> {
        let file = File::open(package).map_err(SiteError::file("opening", package))?;
        // What is no package is refused under its own name, before it travels.
        store::package_name(package)?;
        let url = format!("{}?replace={replace}", self.url("packages"));
        let said: Value = self.send(self.http.post(url).body(Body::new(file)))?;
        Ok(said["new"].as_bool().unwrap_or_default())
    }

    /// Removes a package everywhere.
    pub fn retire(&self, package: &PackageName) -> Result<(), SiteError> {
        self.send::<Value>(self.http.delete(self.url(&format!("packages/{package}")))).map(drop)
    }

    /// Says which points are to hold a package, or no longer.
    pub fn assign(
        &self,
        package: &PackageName,
        points: &[String],
        wanted: bool,
    ) -> Result<(), SiteError> {
        self.assign_with_groups(package, points, &[], wanted)
    }

    /// The same, and all points of groups, now and later.
    pub fn assign_with_groups(
        &self,
        package: &PackageName,
        points: &[String],
        groups: &[String],
        wanted: bool,
    ) -> Result<(), SiteError> {
        let (points, groups) = (points.to_vec(), groups.to_vec());
        let url = self.url(&format!("packages/{package}/assignment"));
        let assignment = Assignment { points, groups, wanted };
        self.send::<Value>(self.http.post(url).json(&assignment)).map(drop)
    }

    /// Says which points belong to a group, or not any longer.
    pub fn group(&self, name: &str, points: &[String], belong: bool) -> Result<(), SiteError> {
        let mut url =
            Url::parse(&self.url("groups")).map_err(|_| SiteError::GroupName(name.to_owned()))?;
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.extend([name, "points"]);
        }
        let members = Members { points: points.to_vec(), belong };
        self.send::<Value>(self.http.post(url).json(&members)).map(drop)
    }

    /// Adds a point.
    pub fn add_point(&self, name: &str, location: &str) -> Result<(), SiteError> {
        self.add_point_read_at(name, location, None)
    }

    /// Adds a point that clients read somewhere else than where the site writes it.
    pub fn add_point_read_at(
        &self,
        name: &str,
        location: &str,
        read_at: Option<&str>,
    ) -> Result<(), SiteError> {
        let (name, location) = (name.to_owned(), location.to_owned());
        let point = NewPoint { name, location, read_at: read_at.map(str::to_owned) };
        self.send::<Value>(self.http.post(self.url("points")).json(&point)).map(drop)
    }

    /// Says where clients read a point; where the site writes it, if nothing is said.
    pub fn read_point_at(&self, name: &str, location: Option<&str>) -> Result<(), SiteError> {
        let read_at = ReadAt { read_at: location.map(str::to_owned) };
        let url = self.url(&format!("points/{name}"));
        self.send::<Value>(self.http.put(url).json(&read_at)).map(drop)
    }

    /// Removes a point: cleaned first, or forgotten as it is.
    pub fn remove_point(&self, name: &str, force: bool) -> Result<(), SiteError> {
        let url = self.url(&format!("points/{name}?force={force}"));
        self.send::<Value>(self.http.delete(url)).map(drop)
    }

    /// Adds a child; with the token it brings, it is enrolled.
    pub fn add_child(&self, code: &str, address: AddressSettings) -> Result<Token, SiteError> {
        let child = NewChild { code: code.to_owned(), address };
        self.send(self.http.post(self.url("children")).json(&child))
    }

    /// Another token for a child; earlier ones count no longer.
    pub fn token(&self, code: &str) -> Result<Token, SiteError> {
        self.send(self.http.post(self.url(&format!("children/{code}/token"))))
    }

    /// Says how a child may be sent to from now on.
    pub fn set_address(&self, code: &str, address: &AddressSettings) -> Result<(), SiteError> {
        let url = self.url(&format!("children/{code}/address"));
        self.send::<Value>(self.http.put(url).json(address)).map(drop)
    }

    /// The child is none any more.
    pub fn remove_child(&self, code: &str) -> Result<(), SiteError> {
        let url = self.url(&format!("children/{code}"));
        self.send::<Value>(self.http.delete(url)).map(drop)
    }

    /// Says how urgent a package is; greater goes first.
    pub fn prioritise(&self, package: &PackageName, priority: u8) -> Result<(), SiteError> {
        let url = self.url(&format!("packages/{package}/priority"));
        self.send::<Value>(self.http.put(url).json(&priority)).map(drop)
    }

    /// Writes onto a medium what children lack, and the report to the parent.
    pub fn courier_export(&self, to: &Path, only: &[String]) -> Result<Vec<Trip>, SiteError> {
        let medium = Medium { folder: absolute(to)?, children: only.to_vec() };
        self.send(self.http.post(self.url("courier/export")).json(&medium))
    }

    /// Takes in whatever a medium has for this site.
    pub fn courier_import(&self, from: &Path) -> Result<Vec<Trip>, SiteError> {
        let medium = Medium { folder: absolute(from)?, children: Vec::new() };
        self.send(self.http.post(self.url("courier/import")).json(&medium))
    }

    /// Tries again at once.
    pub fn retry(
        &self,
        point: Option<&str>,
        package: Option<&PackageName>,
    ) -> Result<(), SiteError> {
        let retry = Retry { point: point.map(str::to_owned), package: package.cloned() };
        self.send::<Value>(self.http.post(self.url("retry")).json(&retry)).map(drop)
    }
}

/// The site runs in a folder of its own.
fn absolute(path: &Path) -> Result<std::path::PathBuf, SiteError> {
    std::path::absolute(path).map_err(SiteError::file("finding", path))
}
