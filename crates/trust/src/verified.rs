use std::collections::BTreeSet;

use jiff::Timestamp as Time;
use model::PackageName;
use serde::Serialize;
use tough::schema::{
    DelegatedRole, Metafile, RoleKeys, Root, Signed, Snapshot, Targets, Timestamp,
};

use crate::{
    Refusal, SignedRelease,
    client::role_type,
    files::{MOST_OTHER, MOST_ROOT, fits, root_path, versioned},
    key::hex,
    names::{NamePattern, package_of},
};

/// Whether what was verified is of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is; the role that ends first, and when.
    Fresh {
        /// The role and its time.
        until: (String, Time),
    },
    /// What is offered is out of time: this is what was seen last. New content waits.
    Stale {
        /// The role that is out of time.
        role: String,
        /// Since when.
        at: Time,
    },
}

/// Metadata that is signed, of one time, and not older than what was seen.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Whether it is of now.
    pub standing: Standing,
    pub(crate) root: Root,
    pub(crate) timestamp: Signed<Timestamp>,
    pub(crate) snapshot: Signed<Snapshot>,
    pub(crate) targets: Signed<Targets>,
    pub(crate) roles: Vec<VerifiedRole>,
    pub(crate) refused: Vec<(Option<DelegatedRole>, Refusal)>,
}

#[derive(Clone, Debug)]
pub(crate) struct VerifiedRole {
    pub(crate) delegation: DelegatedRole,
    pub(crate) role: Signed<Targets>,
}

/// What there is to say of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RoleStatus {
    /// `root`, `targets`, `snapshot`, `timestamp`, or a team.
    pub role: String,
    /// Its version, 0 if it has none yet.
    pub version: u64,
    /// When it ends.
    pub expires: Option<Time>,
    /// The keys that count.
    pub keys: Vec<String>,
    /// How many must sign.
    pub threshold: u64,
    /// The names a team may publish.
    pub names: Vec<String>,
    /// How many releases it signed.
    pub releases: usize,
    /// Why it is not believed.
    pub refused: Option<String>,
}

/// A file of metadata, and what is stated of it.
#[derive(Clone, Debug)]
pub struct StatedFile {
    /// Where it is.
    pub path: String,
    /// Its length, or the most there may be.
    pub length: u64,
    stated: Option<Metafile>,
}

impl StatedFile {
    /// Whether these are its bytes; of a root, whether they may be.
    pub fn is(&self, bytes: &[u8]) -> bool {
        match &self.stated {
            Some(stated) => fits(bytes, stated),
            None => serde_json::from_slice::<Signed<Root>>(bytes)
                .is_ok_and(|root| root.signed.verify_role(&root).is_ok()),
        }
    }
}

impl Verified {
    pub(crate) fn new(
        root: Root,
        timestamp: Signed<Timestamp>,
        snapshot: Signed<Snapshot>,
        targets: Signed<Targets>,
        standing: Standing,
    ) -> Self {
        let (roles, refused) = (Vec::new(), Vec::new());
        Self { standing, root, timestamp, snapshot, targets, roles, refused }
    }

    /// What is not believed of single roles.
    pub fn refused(&self) -> impl Iterator<Item = &Refusal> {
        self.refused.iter().map(|(_, refusal)| refusal)
    }

    /// Teams that signed what is none of their names.
    pub(crate) fn find_strangers(&mut self) {
        for verified in &self.roles {
            let patterns = NamePattern::of(&verified.delegation.paths);
            let strangers: BTreeSet<&str> = verified
                .role
                .signed
                .targets
                .keys()
                .map(package_of)
                .filter(|name| !may(&patterns, name))
                .collect();
            for name in strangers {
                let role = verified.delegation.name.clone();
                let refusal = Refusal::NotItsName { role, name: name.to_owned() };
                self.refused.push((None, refusal));
            }
        }
    }

    /// All releases of a package somebody signed who may; the first role counts (5.6.7).
    ///
    /// None is an error where a role that could have signed one is not believed.
    pub fn releases(&self, name: &PackageName) -> Result<Vec<SignedRelease>, Refusal> {
        let mut all = Vec::new();
        collect("targets", &self.targets.signed, name, &mut all);
        for delegation in crate::client::delegations(&self.targets.signed) {
            let patterns = NamePattern::of(&delegation.paths);
            if !patterns.iter().any(|pattern| pattern.matches(name)) {
                continue;
            }
            if let Some(verified) =
                self.roles.iter().find(|verified| verified.delegation.name == delegation.name)
            {
                collect(&delegation.name, &verified.role.signed, name, &mut all);
            }
            if delegation.terminating {
                break;
            }
        }
        if all.is_empty()
            && let Some(refusal) = self.about(name)
        {
            return Err(refusal.clone());
        }
        Ok(all)
    }

    /// Why there may be less of a package than there should be.
    pub fn about(&self, name: &PackageName) -> Option<&Refusal> {
        let concerns = |(delegation, refusal): &&(Option<DelegatedRole>, Refusal)| match delegation
        {
            Some(delegation) => {
                NamePattern::of(&delegation.paths).iter().any(|pattern| pattern.matches(name))
            }
            None => {
                matches!(refusal, Refusal::NotItsName { name: theirs, .. } if theirs == name.as_str())
            }
        };
        self.refused.iter().find(concerns).map(|(_, refusal)| refusal)
    }

    /// §2.4: whether points may have older releases, or none of a package.
    pub fn points_may_lag(&self) -> bool {
        may_lag(&self.targets.signed)
    }

    /// What there is to say of each role.
    pub fn status(&self) -> Vec<RoleStatus> {
        let of_root = |role: &str, version: u64, expires: Time, releases: usize| {
            let keys = role_type(role).and_then(|kind| self.root.roles.get(&kind));
            RoleStatus {
                role: role.to_owned(),
                version,
                expires: Some(expires),
                keys: keys.map(key_ids).unwrap_or_default(),
                threshold: keys.map_or(0, |keys| keys.threshold.get()),
                names: Vec::new(),
                releases,
                refused: None,
            }
        };
        let (timestamp, snapshot) = (&self.timestamp.signed, &self.snapshot.signed);
        let targets = &self.targets.signed;
        let mut all = vec![
            of_root("root", self.root.version.get(), self.root.expires, 0),
            of_root("timestamp", timestamp.version.get(), timestamp.expires, 0),
            of_root("snapshot", snapshot.version.get(), snapshot.expires, 0),
            of_root("targets", targets.version.get(), targets.expires, targets.targets.len()),
        ];
        let delegations = crate::client::delegations(targets);
        all.extend(delegations.into_iter().map(|delegation| self.team(&delegation)));
        all
    }

    fn team(&self, delegation: &DelegatedRole) -> RoleStatus {
        let verified = self.roles.iter().find(|one| one.delegation.name == delegation.name);
        let role = verified.map(|verified| &verified.role.signed);
        let refused = self.refused.iter().find(|(_, refusal)| refusal.role() == delegation.name);
        RoleStatus {
            role: delegation.name.clone(),
            version: role.map_or(0, |role| role.version.get()),
            expires: role.map(|role| role.expires),
            keys: key_ids(&delegation.keys()),
            threshold: delegation.threshold.get(),
            names: NamePattern::of(&delegation.paths).iter().map(ToString::to_string).collect(),
            releases: role.map_or(0, |role| role.targets.len()),
            refused: refused.map(|(_, refusal)| refusal.to_string()),
        }
    }

    /// The files all of this is in, but for the timestamp.
    pub fn files(&self) -> Vec<StatedFile> {
        let roots = (1..=self.root.version.get()).map(|version| StatedFile {
            path: root_path(version),
            length: MOST_ROOT,
            stated: None,
        });
        let of = |role: &str, meta: &Metafile| StatedFile {
            path: versioned(role, meta.version.get()),
            length: meta.length.unwrap_or(MOST_OTHER),
            stated: Some(meta.clone()),
        };
        let teams = crate::client::delegations(&self.targets.signed);
        let roles =
            std::iter::once("targets".to_owned()).chain(teams.into_iter().map(|team| team.name));
        let of_snapshot = &self.snapshot.signed.meta;
        let roles =
            roles.filter_map(|role| Some(of(&role, of_snapshot.get(&format!("{role}.json"))?)));
        let snapshot =
            self.timestamp.signed.meta.get("snapshot.json").map(|meta| of("snapshot", meta));
        roots.chain(roles).chain(snapshot).collect()
    }

    /// Every release of every package that is believed.
    pub fn all_releases(&self) -> Vec<SignedRelease> {
        let mut names: BTreeSet<&str> =
            self.targets.signed.targets.keys().map(package_of).collect();
        for verified in &self.roles {
            names.extend(verified.role.signed.targets.keys().map(package_of));
        }
        let names = names.into_iter().filter_map(|name| PackageName::new(name).ok());
        names.filter_map(|name| self.releases(&name).ok()).flatten().collect()
    }
}

/// §2.4: a member of `targets`.
const POINTS: &str = "points";
const MAY_LAG: &str = "may-lag";

fn may_lag(targets: &Targets) -> bool {
    targets._extra.get(POINTS).and_then(|word| word.as_str()) == Some(MAY_LAG)
}

/// Says whether points may lag; whether that is something new.
pub(crate) fn let_lag(targets: &mut Targets, may: bool) -> bool {
    if may_lag(targets) == may {
        return false;
    }
    if may {
        targets._extra.insert(POINTS.to_owned(), MAY_LAG.into());
    } else {
        targets._extra.remove(POINTS);
    }
    true
}

fn may(patterns: &[NamePattern], name: &str) -> bool {
    PackageName::new(name).is_ok_and(|name| patterns.iter().any(|pattern| pattern.matches(&name)))
}

pub(crate) fn key_ids(keys: &RoleKeys) -> Vec<String> {
    keys.keyids.iter().map(|id| hex(id)).collect()
}

fn collect(role: &str, targets: &Targets, name: &PackageName, all: &mut Vec<SignedRelease>) {
    let mine = targets.targets.iter().filter(|(path, _)| package_of(path) == name.as_str());
    for (path, target) in mine {
        if let Some(release) = SignedRelease::read(role, path, target) {
            let is_known = all.iter().any(|known| {
                known.version.as_str() == release.version.as_str()
                    && known.architecture == release.architecture
            });
            if !is_known {
                all.push(release);
            }
        }
    }
    all.sort_by(|a, b| a.version.cmp(&b.version).then(a.identity.cmp(&b.identity)));
}
