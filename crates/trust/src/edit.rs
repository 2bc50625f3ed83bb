//! The publisher's side: what is changed, and signed by whom.

mod finish;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU64,
};

use content::Release;
use jiff::{SignedDuration, Timestamp as Time};
use model::{Hash, PackageName};
use tough::schema::{
    DelegatedRole, Delegations, PathSet, RoleKeys, RoleType, Root, Signed, Snapshot, Targets,
    Timestamp,
};

pub use finish::{Change, FinishError, sign_draft};

use crate::{
    NamePattern, PublicKey, Read, Refusal, SignedRelease, Trusted, UpdateError, Verified, Want,
    client::{delegations, role_type, stated, update, verify_delegated},
    files::{MOST_OTHER, MOST_ROOT, parse, root_path, versioned},
    key::hex,
    names::package_of,
};

const SPECIFICATION: &str = "1.0.0";

/// Who signs for a role, and how many must.
#[derive(Clone, Debug)]
pub struct Party {
    /// The keys that count.
    pub keys: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: u64,
}

/// How long what is signed now is good for.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// The root.
    pub root: SignedDuration,
    /// `targets` and the teams.
    pub targets: SignedDuration,
    /// `snapshot` and `timestamp`.
    pub online: SignedDuration,
}

impl Default for Lifetimes {
    /// A year, half a year, a week.
    fn default() -> Self {
        let days = |days: i64| SignedDuration::from_hours(24 * days);
        Self { root: days(365), targets: days(180), online: days(7) }
    }
}

/// Something a publisher cannot change so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such role.
    #[error(
        "there is no role `{role}`: `packhorse trust status` lists them, `packhorse trust delegate` makes a team"
    )]
    NoRole {
        /// What was given.
        role: String,
    },
    /// A team cannot be called that.
    #[error(
        "`{name}` is no name for a team: small letters, digits and `-`, and none of `root`, `targets`, `snapshot`, `timestamp`"
    )]
    TeamName {
        /// What was given.
        name: String,
    },
    /// More signatures are asked for than there are keys.
    #[error(
        "role `{role}`: {threshold} signatures of {keys} keys cannot be: give more keys, or `--threshold`"
    )]
    Threshold {
        /// The role.
        role: String,
        /// How many must sign.
        threshold: u64,
        /// How many keys there are.
        keys: usize,
    },
    /// The role has no such key.
    #[error("role `{role}` has no key `{key}`: `packhorse trust status` lists them")]
    NoKey {
        /// The role.
        role: String,
        /// What was given.
        key: String,
    },
    /// It is none of the team's names, or the metadata is not believed.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Metadata that is being changed.
#[derive(Clone, Debug)]
pub struct Edit {
    pub(crate) old_root: Option<Root>,
    pub(crate) root: Signed<Root>,
    pub(crate) root_changed: bool,
    pub(crate) timestamp: Option<Signed<Timestamp>>,
    pub(crate) snapshot: Option<Signed<Snapshot>>,
    pub(crate) targets: Signed<Targets>,
    pub(crate) teams: BTreeMap<String, Signed<Targets>>,
    /// The bytes of `targets` and teams as they are in their files.
    pub(crate) texts: BTreeMap<String, Vec<u8>>,
    /// Roles whose content was changed.
    pub(crate) changed: BTreeSet<String>,
    /// Roles that are signed and not in the snapshot yet.
    pub(crate) staged: BTreeSet<String>,
    /// Their files, by paths.
    staged_files: BTreeMap<String, Vec<u8>>,
}

fn one() -> NonZeroU64 {
    NonZeroU64::MIN
}

impl Edit {
    /// A new repository; nothing of it is signed or written yet. `repository` tells it from others: random bytes.
    pub fn create(
        root: &Party,
        targets: &Party,
        online: &Party,
        repository: Hash,
    ) -> Result<Self, EditError> {
        let mut signed = Root {
            spec_version: SPECIFICATION.to_owned(),
            consistent_snapshot: true,
            version: one(),
            expires: Time::UNIX_EPOCH,
            keys: HashMap::new(),
            roles: HashMap::new(),
            _extra: HashMap::from([("repository".to_owned(), repository.to_string().into())]),
        };
        let parties = [
            (RoleType::Root, "root", root),
            (RoleType::Targets, "targets", targets),
            (RoleType::Snapshot, "snapshot", online),
            (RoleType::Timestamp, "timestamp", online),
        ];
        for (kind, role, party) in parties {
            let keys = role_keys(role, party)?;
            signed.keys.extend(party.keys.iter().map(|key| (key.key_id(), key.to_key())));
            signed.roles.insert(kind, keys);
        }
        let targets = Targets::new(SPECIFICATION.to_owned(), one(), Time::UNIX_EPOCH);
        Ok(Self {
            old_root: None,
            root: Signed { signed, signatures: Vec::new() },
            root_changed: true,
            timestamp: None,
            snapshot: None,
            targets: Signed { signed: targets, signatures: Vec::new() },
            teams: BTreeMap::new(),
            texts: BTreeMap::new(),
            changed: BTreeSet::from(["targets".to_owned()]),
            staged: BTreeSet::new(),
            staged_files: BTreeMap::new(),
        })
    }

    /// Reads what is there, and what was signed without the online key since: both verified from the pinned root, or,
    /// without one, from the first root that is there.
    pub fn begin<E>(pinned: Option<&[u8]>, read: Read<'_, E>) -> Result<Self, UpdateError<E>> {
        let first = if let Some(pinned) = pinned {
            pinned.to_vec()
        } else {
            let path = root_path(1);
            let first = read(&path, MOST_ROOT).map_err(UpdateError::Read)?;
            first.ok_or(Refusal::Missing { role: "root".to_owned(), path })?
        };
        let mut trusted = Trusted::pinned(&first, None)?;
        let verified = update(&mut trusted, None, Want::Everything, read)?;
        let root = serde_json::from_slice(trusted.root()).map_err(|error| Refusal::Unreadable {
            role: "root".to_owned(),
            path: root_path(trusted.root_version()),
            reason: error.to_string(),
        })?;
        let mut edit = Self::unchanged(verified, root, trusted.role_texts());
        edit.find_staged(read)?;
        Ok(edit)
    }

    fn unchanged(verified: Verified, root: Signed<Root>, texts: BTreeMap<String, Vec<u8>>) -> Self {
        let teams = verified.roles.into_iter().map(|one| (one.delegation.name, one.role)).collect();
        Self {
            old_root: Some(root.signed.clone()),
            root,
            root_changed: false,
            timestamp: Some(verified.timestamp),
            snapshot: Some(verified.snapshot),
            targets: verified.targets,
            teams,
            texts,
            changed: BTreeSet::new(),
            staged: BTreeSet::new(),
            staged_files: BTreeMap::new(),
        }
    }

    /// Takes in what roles signed beyond the snapshot: each version by whom it may be, and of its names only.
    fn find_staged<E>(&mut self, read: Read<'_, E>) -> Result<(), UpdateError<E>> {
        let mut names = vec!["targets".to_owned()];
        names.extend(delegations(&self.targets.signed).into_iter().map(|role| role.name));
        for name in names {
            let mut next = self.stated_version(&name) + 1;
            loop {
                let path = versioned(&name, next);
                let Some(bytes) = read(&path, MOST_OTHER).map_err(UpdateError::Read)? else {
                    break;
                };
                // Whoever may write files may write such a one: what is not signed is not there.
                let Some(staged) = self.staged_role(&name, &path, &bytes, next) else { break };
                self.staged_files.insert(path, bytes.clone());
                self.put_role(&name, staged, bytes);
                self.staged.insert(name.clone());
                next += 1;
            }
        }
        Ok(())
    }

    fn staged_role(
        &self,
        name: &str,
        path: &str,
        bytes: &[u8],
        version: u64,
    ) -> Option<Signed<Targets>> {
        let staged: Signed<Targets> = parse(name, path, bytes).ok()?;
        if staged.signed.version.get() != version || self.verify(name, &staged).is_err() {
            return None;
        }
        let mine = |path| name == "targets" || self.is_its_name(name, package_of(path));
        staged.signed.targets.keys().all(mine).then_some(staged)
    }

    pub(crate) fn stated_version(&self, role: &str) -> u64 {
        let snapshot = self.snapshot.as_ref();
        let stated = snapshot.and_then(|snapshot| stated(&snapshot.signed.meta, role).ok());
        stated.map_or(0, |stated| stated.version.get())
    }

    pub(crate) fn verify(&self, name: &str, role: &Signed<Targets>) -> Result<(), Refusal> {
        if name != "targets" {
            return verify_delegated(&self.targets.signed, role, name);
        }
        self.root.signed.verify_role(role).map_err(|error| Refusal::Signatures {
            role: name.to_owned(),
            reason: error.to_string(),
        })
    }

    fn put_role(&mut self, name: &str, role: Signed<Targets>, text: Vec<u8>) {
        self.texts.insert(name.to_owned(), text);
        if name == "targets" {
            self.targets = role;
        } else {
            self.teams.insert(name.to_owned(), role);
        }
    }

    pub(crate) fn role(&self, name: &str) -> Option<&Signed<Targets>> {
        if name == "targets" { Some(&self.targets) } else { self.teams.get(name) }
    }

    fn is_its_name(&self, team: &str, name: &str) -> bool {
        let delegation = self.delegation(team);
        let patterns = delegation.map(|role| NamePattern::of(&role.paths)).unwrap_or_default();
        PackageName::new(name).is_ok_and(|name| patterns.iter().any(|one| one.matches(&name)))
    }

    fn delegation(&self, team: &str) -> Option<&DelegatedRole> {
        let delegations = self.targets.signed.delegations.as_ref()?;
        delegations.roles.iter().find(|role| role.name == team)
    }

    fn delegations_mut(&mut self) -> &mut Delegations {
        self.changed.insert("targets".to_owned());
        self.targets.signed.delegations.get_or_insert_with(Delegations::new)
    }

    /// Signs a release, in the name of `targets` or of a team; other content under the same version goes.
    pub fn put(
        &mut self,
        role: &str,
        name: &PackageName,
        release: &Release,
        manifest: &[u8],
    ) -> Result<(), EditError> {
        let (path, target) = SignedRelease::target(name, release, manifest);
        if role != "targets" {
            if self.delegation(role).is_none() {
                return Err(EditError::NoRole { role: role.to_owned() });
            }
            if !self.is_its_name(role, name.as_str()) {
                let (role, name) = (role.to_owned(), name.to_string());
                return Err(Refusal::NotItsName { role, name }.into());
            }
            if !self.teams.contains_key(role) {
                let mut targets = Targets::new(SPECIFICATION.to_owned(), one(), Time::UNIX_EPOCH);
                targets.delegations = None;
                let first = Signed { signed: targets, signatures: Vec::new() };
                self.teams.insert(role.to_owned(), first);
            }
        }
        let signed =
            if role == "targets" { Some(&mut self.targets) } else { self.teams.get_mut(role) };
        let Some(signed) = signed else { return Err(EditError::NoRole { role: role.to_owned() }) };
        if signed.signed.targets.get(&path) != Some(&target) {
            signed.signed.add_target(path, target);
            self.changed.insert(role.to_owned());
        }
        Ok(())
    }

    /// Whether a release is signed in the name of a role.
    pub fn has(&self, role: &str, name: &PackageName, release: &Release) -> bool {
        let signed = self.role(role).into_iter().flat_map(|role| &role.signed.targets);
        let mut mine = signed.filter(|(path, _)| package_of(path) == name.as_str());
        mine.any(|(path, target)| {
            SignedRelease::read(role, path, target).is_some_and(|signed| signed.is(release))
        })
    }

    /// Whether a role is signed, and readers do not see it yet.
    pub fn is_staged(&self, role: &str) -> bool {
        self.staged.contains(role)
    }

    /// Lets a team publish packages of these names, and no others; a team that is there is changed.
    pub fn delegate(
        &mut self,
        team: &str,
        party: &Party,
        names: &[NamePattern],
    ) -> Result<(), EditError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if team.is_empty() || !team.bytes().all(plain) || role_type(team).is_some() {
            return Err(EditError::TeamName { name: team.to_owned() });
        }
        let keys = role_keys(team, party)?;
        let role = DelegatedRole {
            name: team.to_owned(),
            keyids: keys.keyids,
            threshold: keys.threshold,
            paths: PathSet::Paths(names.iter().filter_map(NamePattern::to_path).collect()),
            terminating: true,
            targets: None,
        };
        let delegations = self.delegations_mut();
        delegations.keys.extend(party.keys.iter().map(|key| (key.key_id(), key.to_key())));
        match delegations.roles.iter_mut().find(|role| role.name == team) {
            Some(old) => *old = role,
            None => delegations.roles.push(role),
        }
        self.drop_unused_keys();
        Ok(())
    }

    /// Takes a team's right to publish, or one of its keys. What it signed is then signed by nobody.
    pub fn revoke(&mut self, team: &str, key: Option<&str>) -> Result<(), EditError> {
        let no_role = || EditError::NoRole { role: team.to_owned() };
        let delegations = self.targets.signed.delegations.as_mut().ok_or_else(no_role)?;
        let at = delegations.roles.iter().position(|role| role.name == team).ok_or_else(no_role)?;
        match key {
            None => {
                delegations.roles.remove(at);
                self.teams.remove(team);
                self.changed.remove(team);
                self.staged.remove(team);
            }
            Some(key) => {
                let role = &mut delegations.roles[at];
                role.keyids = without(team, &role.keyids, key)?;
                check_threshold(team, role.threshold.get(), role.keyids.len())?;
            }
        }
        self.changed.insert("targets".to_owned());
        self.drop_unused_keys();
        Ok(())
    }

    fn drop_unused_keys(&mut self) {
        if let Some(delegations) = &mut self.targets.signed.delegations {
            let Delegations { keys, roles } = delegations;
            keys.retain(|id, _| roles.iter().any(|role| role.keyids.contains(id)));
        }
    }

    /// Makes a new root: with other keys for its roles, or only for longer.
    ///
    /// `add` and `remove` are roles with a key or a key's name; `online` stands for `snapshot` and `timestamp`.
    pub fn rotate(
        &mut self,
        add: &[(String, PublicKey)],
        remove: &[(String, String)],
        thresholds: &[(String, u64)],
    ) -> Result<(), EditError> {
        let root = &mut self.root.signed;
        for (role, key) in add {
            for kind in kinds(role)? {
                root.keys.insert(key.key_id(), key.to_key());
                let keys = root.roles.get_mut(&kind).ok_or_else(|| no_role(role))?;
                if !keys.keyids.contains(&key.key_id()) {
                    keys.keyids.push(key.key_id());
                }
            }
        }
        for (role, key) in remove {
            for kind in kinds(role)? {
                let keys = root.roles.get_mut(&kind).ok_or_else(|| no_role(role))?;
                keys.keyids = without(role, &keys.keyids, key)?;
            }
        }
        for (role, threshold) in thresholds {
            for kind in kinds(role)? {
                let keys = root.roles.get_mut(&kind).ok_or_else(|| no_role(role))?;
                let refuse = || EditError::Threshold {
                    role: role.clone(),
                    threshold: *threshold,
                    keys: keys.keyids.len(),
                };
                keys.threshold = NonZeroU64::new(*threshold).ok_or_else(refuse)?;
            }
        }
        let Root { keys, roles, .. } = root;
        for (kind, of_role) in roles.iter() {
            check_threshold(&kind.to_string(), of_role.threshold.get(), of_role.keyids.len())?;
        }
        keys.retain(|id, _| roles.values().any(|role| role.keyids.contains(id)));
        self.root_changed = true;
        Ok(())
    }

    /// Takes a drafted root that others signed meanwhile.
    pub fn adopt(&mut self, draft: &[u8]) -> Result<(), EditError> {
        let draft: Signed<Root> = parse("root", "the draft", draft)?;
        let (wanted, offered) = (self.root.signed.version.get() + 1, draft.signed.version.get());
        if offered != wanted {
            return Err(Refusal::Mixed { role: "root".to_owned(), wanted, offered }.into());
        }
        self.root = draft;
        self.root_changed = true;
        Ok(())
    }

    /// Says whether distribution points may have older releases than the newest, or none of a package: those of sites do.
    pub fn let_points_lag(&mut self, may: bool) {
        if crate::verified::let_lag(&mut self.targets.signed, may) {
            self.changed.insert("targets".to_owned());
        }
    }

    /// Files of roles that were signed and wait for the online key, by their paths.
    pub fn staged_files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.staged_files
    }

    /// Has a role signed again though nothing of it changes: for longer.
    pub fn renew(&mut self, role: &str) {
        if self.role(role).is_some() {
            self.changed.insert(role.to_owned());
        }
    }

    /// Whether these keys are enough to sign for a role.
    pub fn can_sign(&self, role: &str, keys: &[crate::SigningKey]) -> bool {
        let mine = self.counting(role, keys).len() as u64;
        mine > 0 && mine >= self.threshold(role)
    }

    /// The roles that are there: `targets`, and teams that published.
    pub fn roles(&self) -> Vec<String> {
        std::iter::once("targets".to_owned()).chain(self.teams.keys().cloned()).collect()
    }

    /// Keys and threshold of a role.
    pub(crate) fn keys_of(&self, role: &str) -> Option<RoleKeys> {
        match role_type(role) {
            Some(kind) => self.root.signed.roles.get(&kind).cloned(),
            None => self.delegation(role).map(DelegatedRole::keys),
        }
    }
}

fn no_role(role: &str) -> EditError {
    EditError::NoRole { role: role.to_owned() }
}

fn kinds(role: &str) -> Result<Vec<RoleType>, EditError> {
    if role == "online" {
        return Ok(vec![RoleType::Snapshot, RoleType::Timestamp]);
    }
    Ok(vec![role_type(role).ok_or_else(|| no_role(role))?])
}

type KeyIds = Vec<tough::schema::decoded::Decoded<tough::schema::decoded::Hex>>;

fn without(role: &str, ids: &KeyIds, key: &str) -> Result<KeyIds, EditError> {
    let left: KeyIds = ids.iter().filter(|id| hex(id) != key).cloned().collect();
    if left.len() == ids.len() {
        return Err(EditError::NoKey { role: role.to_owned(), key: key.to_owned() });
    }
    Ok(left)
}

fn check_threshold(role: &str, threshold: u64, keys: usize) -> Result<(), EditError> {
    if threshold == 0 || threshold > keys as u64 {
        return Err(EditError::Threshold { role: role.to_owned(), threshold, keys });
    }
    Ok(())
}

fn role_keys(role: &str, party: &Party) -> Result<RoleKeys, EditError> {
    let mut keyids: KeyIds = Vec::new();
    for key in &party.keys {
        // The same key twice is one key.
        if !keyids.contains(&key.key_id()) {
            keyids.push(key.key_id());
        }
    }
    check_threshold(role, party.threshold, keyids.len())?;
    let threshold = NonZeroU64::new(party.threshold).unwrap_or(NonZeroU64::MIN);
    Ok(RoleKeys { keyids, threshold, _extra: HashMap::new() })
}
