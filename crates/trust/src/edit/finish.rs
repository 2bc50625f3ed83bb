//! Signing what was changed, and the files that come of it, in the order they are written.

use std::{collections::HashMap, num::NonZeroU64};

use jiff::{SignedDuration, Timestamp as Time};
use sha2::{Digest as _, Sha256};
use tough::schema::{Hashes, Metafile, Role, Root, Signed, Snapshot, Timestamp, decoded::Decoded};

use super::{Edit, Lifetimes, SPECIFICATION, one};
use crate::{
    SigningKey,
    files::{Attached, MOST_ATTACHED, TIMESTAMP, parse, root_path, versioned},
    verified::key_ids,
};

/// Files to write, in this order.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Files that did not exist: their paths and bytes.
    pub files: Vec<(String, Vec<u8>)>,
    /// The timestamp, which switches readers over; `None` if no online key was given, and the change waits for one.
    pub switch: Option<(String, Vec<u8>)>,
    /// Roles that were signed.
    pub signed: Vec<String>,
}

/// A change that cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinishError {
    /// Too few of a role's keys were given.
    #[error(
        "role `{role}`: {have} of the {need} signatures it needs: give with `--key` the files of keys {keys}"
    )]
    Keys {
        /// The role.
        role: String,
        /// Signatures that could be made.
        have: usize,
        /// Signatures that are needed.
        need: u64,
        /// The keys that count.
        keys: String,
        /// The root as it is signed so far, if that is what lacks signatures.
        draft: Option<String>,
    },
    /// It does not become text.
    #[error("role `{role}`: its metadata cannot be written: {reason}")]
    Encode {
        /// The role.
        role: String,
        /// Why.
        reason: String,
    },
}

/// Adds a key's signature to a drafted root.
pub fn sign_draft(draft: &[u8], key: &SigningKey) -> Result<Vec<u8>, FinishError> {
    let encode = |reason: String| FinishError::Encode { role: "root".to_owned(), reason };
    let mut root: Signed<Root> =
        parse("root", "the draft", draft).map_err(|error| encode(error.to_string()))?;
    add_signatures("root", &mut root, &[key])?;
    serde_json::to_vec(&root).map_err(|error| encode(error.to_string()))
}

fn add_signatures<T: Role>(
    role: &str,
    signed: &mut Signed<T>,
    keys: &[&SigningKey],
) -> Result<(), FinishError> {
    let message = signed.signed.canonical_form().map_err(|error| FinishError::Encode {
        role: role.to_owned(),
        reason: error.to_string(),
    })?;
    for key in keys {
        let signature = key.sign(&message);
        signed.signatures.retain(|old| old.keyid != signature.keyid);
        signed.signatures.push(signature);
    }
    Ok(())
}

fn encode<T: serde::Serialize>(role: &str, value: &T) -> Result<Vec<u8>, FinishError> {
    serde_json::to_vec(value)
        .map_err(|error| FinishError::Encode { role: role.to_owned(), reason: error.to_string() })
}

fn after(now: Time, lifetime: SignedDuration) -> Time {
    let at = now.checked_add(lifetime).unwrap_or(Time::MAX);
    // Whole seconds, as the specification has them.
    Time::from_second(at.as_second()).unwrap_or(at)
}

fn next(version: u64) -> NonZeroU64 {
    NonZeroU64::new(version.saturating_add(1)).unwrap_or(NonZeroU64::MIN)
}

impl Edit {
    /// Signs what was changed with those of `keys` that count.
    ///
    /// Without an online key roles are signed and wait: who has one takes them in with a later [`Edit::begin`].
    pub fn finish(
        mut self,
        keys: &[SigningKey],
        now: Time,
        lifetimes: &Lifetimes,
    ) -> Result<Change, FinishError> {
        let mut change = Change::default();
        if self.root_changed {
            self.sign_root(keys, now, lifetimes, &mut change)?;
        }
        self.sign_roles(keys, now, lifetimes, &mut change)?;
        let is_online = |role| self.counting(role, keys).len() as u64 >= self.threshold(role);
        if is_online("snapshot") && is_online("timestamp") {
            self.switch(keys, now, lifetimes, &mut change)?;
        } else if self.root_changed || change.files.is_empty() {
            // A root that is not switched to is none; a change of nothing is for the online key alone.
            return Err(self.lacking("timestamp", keys));
        }
        Ok(change)
    }

    fn sign_root(
        &mut self,
        keys: &[SigningKey],
        now: Time,
        lifetimes: &Lifetimes,
        change: &mut Change,
    ) -> Result<(), FinishError> {
        // A draft has its version already, and signatures that must stay good.
        let old = self.old_root.as_ref().map_or(0, |old| old.version.get());
        if self.root.signed.version.get() != old + 1 || self.root.signed.expires == Time::UNIX_EPOCH
        {
            self.root.signed.version = next(old);
            self.root.signed.expires = after(now, lifetimes.root);
            self.root.signatures.clear();
        }
        let mut mine = self.counting("root", keys);
        if let Some(old) = &self.old_root {
            let old_ids = old.roles.get(&tough::schema::RoleType::Root);
            let is_old = |key: &&SigningKey| {
                old_ids.is_some_and(|old| old.keyids.contains(&key.public().key_id()))
            };
            mine.extend(keys.iter().filter(is_old));
        }
        add_signatures("root", &mut self.root, &mine)?;
        let by_old = self.old_root.as_ref().is_none_or(|old| old.verify_role(&self.root).is_ok());
        if !by_old || self.root.signed.verify_role(&self.root).is_err() {
            let draft = encode("root", &self.root)?;
            let mut error = self.lacking("root", keys);
            if let FinishError::Keys { draft: place, have, .. } = &mut error {
                *have = self.root.signatures.len();
                *place = Some(String::from_utf8_lossy(&draft).into_owned());
            }
            return Err(error);
        }
        let path = root_path(self.root.signed.version.get());
        change.files.push((path, encode("root", &self.root)?));
        change.signed.push("root".to_owned());
        Ok(())
    }

    /// Signs `targets` and teams: those that were changed, and those whose signatures count no more.
    fn sign_roles(
        &mut self,
        keys: &[SigningKey],
        now: Time,
        lifetimes: &Lifetimes,
        change: &mut Change,
    ) -> Result<(), FinishError> {
        for name in self.roles() {
            let Some(role) = self.role(&name).cloned() else { continue };
            let is_changed = self.changed.contains(&name);
            let counts = self.verify(&name, &role).is_ok();
            let mine = self.counting(&name, keys);
            let can = !mine.is_empty() && mine.len() as u64 >= self.threshold(&name);
            // A team's keys are not here after one was revoked: its releases wait until it signs again.
            if (counts && !is_changed) || (!is_changed && !can && name != "targets") {
                continue;
            }
            if !can {
                return Err(self.lacking(&name, keys));
            }
            let mut signed = Signed { signed: role.signed, signatures: Vec::new() };
            let version = signed.signed.version.get().max(self.stated_version(&name));
            let is_first = self.stated_version(&name) == 0 && !self.staged.contains(&name);
            signed.signed.version = if is_first { one() } else { next(version) };
            signed.signed.expires = after(now, lifetimes.targets);
            add_signatures(&name, &mut signed, &mine)?;
            let path = versioned(&name, signed.signed.version.get());
            let bytes = encode(&name, &signed)?;
            change.files.push((path, bytes.clone()));
            change.signed.push(name.clone());
            self.staged.insert(name.clone());
            self.put_role(&name, signed, bytes);
        }
        Ok(())
    }

    fn switch(
        &mut self,
        keys: &[SigningKey],
        now: Time,
        lifetimes: &Lifetimes,
        change: &mut Change,
    ) -> Result<(), FinishError> {
        let old = self.snapshot.as_ref();
        let mut meta = old.map(|old| old.signed.meta.clone()).unwrap_or_default();
        let mut texts = Vec::new();
        for name in self.roles() {
            let (Some(role), Some(bytes)) = (self.role(&name), self.texts.get(&name)) else {
                continue;
            };
            if self.staged.contains(&name) || !meta.contains_key(&format!("{name}.json")) {
                meta.insert(format!("{name}.json"), metafile(bytes, role.signed.version));
            }
            texts.push((versioned(&name, role.signed.version.get()), bytes.clone()));
        }
        let version = next(old.map_or(0, |old| old.signed.version.get()));
        let expires = after(now, lifetimes.online);
        let mut snapshot = Snapshot::new(SPECIFICATION.to_owned(), version, expires);
        snapshot.meta = meta;
        let mut snapshot = Signed { signed: snapshot, signatures: Vec::new() };
        add_signatures("snapshot", &mut snapshot, &self.counting("snapshot", keys))?;
        let bytes = encode("snapshot", &snapshot)?;
        let path = versioned("snapshot", version.get());
        let stated = metafile(&bytes, version);
        change.files.push((path.clone(), bytes.clone()));
        texts.push((path, bytes));

        let version = next(self.timestamp.as_ref().map_or(0, |old| old.signed.version.get()));
        let mut timestamp = Timestamp::new(SPECIFICATION.to_owned(), version, expires);
        if let Some(repository) = self.root.signed._extra.get("repository") {
            timestamp._extra.insert("repository".to_owned(), repository.clone());
        }
        timestamp.meta = HashMap::from([("snapshot.json".to_owned(), stated)]);
        let mut timestamp = Signed { signed: timestamp, signatures: Vec::new() };
        add_signatures("timestamp", &mut timestamp, &self.counting("timestamp", keys))?;
        let attached = attach(self.root.signed.version.get(), texts);
        let whole = serde_json::json!({
            "signed": timestamp.signed,
            "signatures": timestamp.signatures,
            "attached": attached,
        });
        change.switch = Some((TIMESTAMP.to_owned(), encode("timestamp", &whole)?));
        change.signed.extend(["snapshot".to_owned(), "timestamp".to_owned()]);
        Ok(())
    }

    /// Those of `keys` that count for a role, each once.
    pub(super) fn counting<'k>(&self, role: &str, keys: &'k [SigningKey]) -> Vec<&'k SigningKey> {
        let ids = self.keys_of(role).map(|keys| keys.keyids).unwrap_or_default();
        let mut mine: Vec<&SigningKey> = Vec::new();
        for key in keys.iter().filter(|key| ids.contains(&key.public().key_id())) {
            if mine.iter().all(|other| other.public() != key.public()) {
                mine.push(key);
            }
        }
        mine
    }

    pub(super) fn threshold(&self, role: &str) -> u64 {
        self.keys_of(role).map_or(u64::MAX, |keys| keys.threshold.get())
    }

    fn lacking(&self, role: &str, keys: &[SigningKey]) -> FinishError {
        let ids = self.keys_of(role).map(|keys| key_ids(&keys)).unwrap_or_default();
        FinishError::Keys {
            role: role.to_owned(),
            have: self.counting(role, keys).len(),
            need: self.threshold(role),
            keys: ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", "),
            draft: None,
        }
    }
}

/// What is stated of a file.
fn metafile(bytes: &[u8], version: NonZeroU64) -> Metafile {
    let sha256 = Decoded::from(Sha256::digest(bytes).to_vec());
    Metafile {
        length: Some(bytes.len() as u64),
        hashes: Some(Hashes { sha256, _extra: HashMap::new() }),
        version,
        _extra: HashMap::new(),
    }
}

/// §3: the smallest files first, as many as there is room for.
fn attach(root: u64, mut texts: Vec<(String, Vec<u8>)>) -> Attached {
    texts.sort_by_key(|(path, bytes)| (bytes.len(), path.clone()));
    let mut room = MOST_ATTACHED;
    let mut attached = Attached { root, ..Attached::default() };
    for (path, bytes) in texts {
        let Some(left) = room.checked_sub(bytes.len()) else { break };
        room = left;
        attached.files.insert(path, String::from_utf8_lossy(&bytes).into_owned());
    }
    attached
}
