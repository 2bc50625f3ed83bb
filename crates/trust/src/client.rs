//! The client's way from the root it pinned to what is offered: the specification's chapter 5.

use std::{collections::BTreeMap, num::NonZeroU64};

use jiff::Timestamp as Time;
use model::PackageName;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tough::schema::{
    DelegatedRole, Metafile, Role, RoleType, Root, Signed, Snapshot, Targets, Timestamp,
};

use crate::{
    Read, Refusal, Standing, UpdateError, Verified,
    files::{
        Attached, MOST_OTHER, MOST_ROOT, MOST_ROOTS, MOST_TIMESTAMP, TIMESTAMP, check_stated, fits,
        parse, root_path, versioned,
    },
    names::NamePattern,
    verified::VerifiedRole,
};

/// What a client believes: a root, and what it saw last that was signed and in time.
#[derive(Clone, Debug)]
pub struct Trusted {
    root: Signed<Root>,
    root_text: String,
    kept: Kept,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    timestamp: Option<String>,
    snapshot: Option<String>,
    roles: BTreeMap<String, String>,
}

/// §5: the client's file.
#[derive(Serialize, Deserialize)]
struct Saved {
    format: u32,
    root: String,
    kept: Kept,
}

const SAVED_FORMAT: u32 = 1;

/// Whose metadata is wanted.
#[derive(Clone, Copy, Debug)]
pub enum Want<'n> {
    /// That of every role.
    Everything,
    /// That of roles which may publish this package.
    Package(&'n PackageName),
}

impl Want<'_> {
    fn includes(self, role: &DelegatedRole) -> bool {
        match self {
            Self::Everything => true,
            Self::Package(name) => {
                NamePattern::of(&role.paths).iter().any(|pattern| pattern.matches(name))
            }
        }
    }
}

impl Trusted {
    /// What a client believes that has pinned this root (§5.2), and wrote `saved` the last time.
    ///
    /// What was saved counts only if it is of the same repository and not older than the pinned root.
    pub fn pinned(pinned: &[u8], saved: Option<&[u8]>) -> Result<Self, Refusal> {
        let refuse = |reason: String| Refusal::Pinned { reason };
        let text = String::from_utf8(pinned.to_vec()).map_err(|error| refuse(error.to_string()))?;
        let root: Signed<Root> =
            serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))?;
        root.signed.verify_role(&root).map_err(|error| refuse(error.to_string()))?;
        let pinned = Self { root, root_text: text, kept: Kept::default() };
        let saved: Option<Saved> = saved.and_then(|saved| serde_json::from_slice(saved).ok());
        let Some(saved) = saved.filter(|saved| saved.format == SAVED_FORMAT) else {
            return Ok(pinned);
        };
        let Ok(root) = serde_json::from_str::<Signed<Root>>(&saved.root) else { return Ok(pinned) };
        let is_later = root.signed.version >= pinned.root.signed.version;
        let is_same = repository(&root.signed) == repository(&pinned.root.signed);
        Ok(match (is_same, is_later) {
            (true, true) => Self { root, root_text: saved.root, kept: saved.kept },
            (true, false) => Self { kept: saved.kept, ..pinned },
            (false, _) => pinned,
        })
    }

    /// What is to be saved: bytes that [`Trusted::pinned`] takes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (root, kept) = (self.root_text.clone(), self.kept.clone());
        serde_json::to_vec(&Saved { format: SAVED_FORMAT, root, kept }).unwrap_or_default()
    }

    /// The root's bytes: what another machine may pin.
    pub fn root(&self) -> &[u8] {
        self.root_text.as_bytes()
    }

    /// The version of the root.
    pub fn root_version(&self) -> u64 {
        self.root.signed.version.get()
    }

    /// What tells this repository from others: stated by its root, or else the root's own bytes.
    pub fn repository(&self) -> String {
        repository(&self.root.signed)
            .unwrap_or_else(|| model::Hash::of(self.root_text.as_bytes()).to_string())
    }

    /// The bytes of roles' files, as they were read last.
    pub(crate) fn role_texts(&self) -> BTreeMap<String, Vec<u8>> {
        let bytes = |(role, text): (&String, &String)| (role.clone(), text.clone().into_bytes());
        self.kept.roles.iter().map(bytes).collect()
    }

    /// §5.3: follows the roots, each signed by the one before and by itself.
    fn follow_roots<E>(
        &mut self,
        hint: Option<u64>,
        read: Read<'_, E>,
    ) -> Result<(), UpdateError<E>> {
        for _ in 0..MOST_ROOTS {
            let next = self.root_version().saturating_add(1);
            // Without the hint every update would ask for a root that is not there. Who could lie with it, could as
            // well withhold the root.
            if hint.is_some_and(|newest| newest < next) {
                return Ok(());
            }
            let path = root_path(next);
            let Some(bytes) = read(&path, MOST_ROOT).map_err(UpdateError::Read)? else {
                if hint.is_some() {
                    return Err(Refusal::Missing { role: "root".to_owned(), path }.into());
                }
                return Ok(());
            };
            self.take_root(&path, &bytes, next)?;
        }
        Ok(())
    }

    fn take_root(&mut self, path: &str, bytes: &[u8], next: u64) -> Result<(), Refusal> {
        limit("root", path, bytes, MOST_ROOT)?;
        let root: Signed<Root> = parse("root", path, bytes)?;
        // 5.3.4: by the old keys and by the new.
        signed(&self.root.signed, &root, "root")?;
        signed(&root.signed, &root, "root")?;
        // 5.3.5
        let version = root.signed.version.get();
        if version != next {
            let (role, wanted) = ("root".to_owned(), next);
            return Err(Refusal::Mixed { role, wanted, offered: version });
        }
        if repository(&root.signed) != repository(&self.root.signed) {
            return Err(Refusal::AnotherRepository { role: "root".to_owned(), version });
        }
        self.root_text = String::from_utf8_lossy(bytes).into_owned();
        self.root = root;
        Ok(())
    }

    /// What was saved and still counts under the root of now: keys that were rotated away count no more, and so does
    /// what they signed (5.3.11).
    fn before(&self) -> Before {
        fn text<T: DeserializeOwned>(text: Option<&String>) -> Option<T> {
            serde_json::from_str(text?).ok()
        }
        let root = &self.root.signed;
        let timestamp: Option<Signed<Timestamp>> = text(self.kept.timestamp.as_ref());
        let snapshot: Option<Signed<Snapshot>> = text(self.kept.snapshot.as_ref());
        let targets: Option<Signed<Targets>> = text(self.kept.roles.get("targets"));
        Before {
            timestamp: timestamp.filter(|kept| root.verify_role(kept).is_ok()),
            snapshot: snapshot.filter(|kept| root.verify_role(kept).is_ok()),
            targets: targets.filter(|kept| root.verify_role(kept).is_ok()),
        }
    }

    /// Goes on with what was saved while what is offered is out of time (law 10).
    fn go_on(&self, before: Before, role: &str, at: Time) -> Result<Verified, Refusal> {
        let (Some(timestamp), Some(snapshot), Some(targets)) =
            (before.timestamp, before.snapshot, before.targets)
        else {
            return Err(Refusal::Expired { role: role.to_owned(), at });
        };
        let standing = Standing::Stale { role: role.to_owned(), at };
        let mut verified =
            Verified::new(self.root.signed.clone(), timestamp, snapshot, targets, standing);
        for delegation in delegations(&verified.targets.signed) {
            let text = self.kept.roles.get(&delegation.name);
            if let Some(role) = text.and_then(|text| serde_json::from_str(text).ok())
                && verify_delegated(&verified.targets.signed, &role, &delegation.name).is_ok()
            {
                verified.roles.push(VerifiedRole { delegation, role });
            }
        }
        Ok(verified)
    }
}

struct Before {
    timestamp: Option<Signed<Timestamp>>,
    snapshot: Option<Signed<Snapshot>>,
    targets: Option<Signed<Targets>>,
}

fn repository(root: &Root) -> Option<String> {
    Some(root._extra.get("repository")?.as_str()?.to_owned())
}

pub(crate) fn delegations(targets: &Targets) -> Vec<DelegatedRole> {
    targets.delegations.iter().flat_map(|delegations| delegations.roles.iter().cloned()).collect()
}

fn limit(role: &str, path: &str, bytes: &[u8], limit: u64) -> Result<(), Refusal> {
    if bytes.len() as u64 > limit {
        return Err(Refusal::Length { role: role.to_owned(), path: path.to_owned(), limit });
    }
    Ok(())
}

fn signed<T: Role>(root: &Root, role: &Signed<T>, name: &str) -> Result<(), Refusal> {
    root.verify_role(role)
        .map_err(|error| Refusal::Signatures { role: name.to_owned(), reason: error.to_string() })
}

pub(crate) fn verify_delegated(
    targets: &Targets,
    role: &Signed<Targets>,
    name: &str,
) -> Result<(), Refusal> {
    let refuse = |reason| Refusal::Signatures { role: name.to_owned(), reason };
    let delegations = targets
        .delegations
        .as_ref()
        .ok_or_else(|| refuse("it is delegated to nobody".to_owned()))?;
    delegations.verify_role(role, name).map_err(|error| refuse(error.to_string()))
}

/// Leads `trusted` to what is offered.
///
/// Without a time, expiry is not looked at: for who publishes, and is about to end it. A root that was verified stays
/// in `trusted` even if what follows is refused; everything else only if all of it is well.
pub fn update<E>(
    trusted: &mut Trusted,
    now: Option<Time>,
    want: Want<'_>,
    read: Read<'_, E>,
) -> Result<Verified, UpdateError<E>> {
    let shipped = read(TIMESTAMP, MOST_TIMESTAMP).map_err(UpdateError::Read)?.ok_or_else(|| {
        Refusal::Missing { role: "timestamp".to_owned(), path: TIMESTAMP.to_owned() }
    })?;
    limit("timestamp", TIMESTAMP, &shipped, MOST_TIMESTAMP)?;
    let attached = Attached::of(&shipped);
    trusted.follow_roots(attached.as_ref().map(|attached| attached.root), read)?;
    let before = trusted.before();
    let root = trusted.root.signed.clone();
    if let Some(at) = expired(&root, now) {
        return Ok(trusted.go_on(before, "root", at)?);
    }
    let timestamp = take_timestamp(&root, &shipped, before.timestamp.as_ref())?;
    if let Some(at) = expired(&timestamp.signed, now) {
        return Ok(trusted.go_on(before, "timestamp", at)?);
    }
    let mut files = Files { attached: attached.unwrap_or_default(), kept: &trusted.kept, read };
    let (snapshot, snapshot_text) = files.snapshot(&root, &timestamp.signed)?;
    not_older(&snapshot.signed, before.snapshot.as_ref())?;
    if let Some(at) = expired(&snapshot.signed, now) {
        return Ok(trusted.go_on(before, "snapshot", at)?);
    }
    let stated = stated(&snapshot.signed.meta, "targets")?;
    let (targets, targets_text): (Signed<Targets>, _) = files.role("targets", &stated)?;
    signed(&root, &targets, "targets")?;
    if let Some(at) = expired(&targets.signed, now) {
        return Ok(trusted.go_on(before, "targets", at)?);
    }
    let until = soonest(&root, &timestamp.signed, &snapshot.signed, &targets.signed);
    let mut kept = Kept {
        // Without what came along: that is kept by its own.
        timestamp: serde_json::to_string(&timestamp).ok(),
        snapshot: Some(snapshot_text),
        roles: trusted.kept.roles.clone(),
    };
    kept.roles.insert("targets".to_owned(), targets_text);
    let mut verified = Verified::new(root, timestamp, snapshot, targets, Standing::Fresh { until });
    for delegation in delegations(&verified.targets.signed) {
        if !want.includes(&delegation) {
            continue;
        }
        let taken = files.delegated(&verified, &delegation, now)?;
        match taken {
            Ok(None) => {}
            Ok(Some((role, text))) => {
                kept.roles.insert(delegation.name.clone(), text);
                verified.roles.push(VerifiedRole { delegation, role });
            }
            // One bad role harms itself only. One that is out of time goes on with what was saved of it.
            Err(refusal) => {
                let old = kept.roles.get(&delegation.name);
                if let (Refusal::Expired { .. }, Some(role)) =
                    (&refusal, old.and_then(|text| serde_json::from_str(text).ok()))
                    && verify_delegated(&verified.targets.signed, &role, &delegation.name).is_ok()
                {
                    let delegation = delegation.clone();
                    verified.roles.push(VerifiedRole { delegation, role });
                }
                verified.refused.push((Some(delegation), refusal));
            }
        }
    }
    verified.find_strangers();
    trusted.kept = kept;
    Ok(verified)
}

fn expired<T: Role>(role: &T, now: Option<Time>) -> Option<Time> {
    Some(role.expires()).filter(|at| now.is_some_and(|now| now >= *at))
}

fn soonest(
    root: &Root,
    timestamp: &Timestamp,
    snapshot: &Snapshot,
    targets: &Targets,
) -> (String, Time) {
    let all = [
        ("timestamp", timestamp.expires),
        ("snapshot", snapshot.expires),
        ("targets", targets.expires),
        ("root", root.expires),
    ];
    let (role, at) = all.into_iter().min_by_key(|(_, at)| *at).unwrap_or(all[0]);
    (role.to_owned(), at)
}

/// 5.4
fn take_timestamp(
    root: &Root,
    shipped: &[u8],
    before: Option<&Signed<Timestamp>>,
) -> Result<Signed<Timestamp>, Refusal> {
    let timestamp: Signed<Timestamp> = parse("timestamp", TIMESTAMP, shipped)?;
    signed(root, &timestamp, "timestamp")?;
    // One online key may serve several repositories: each says which it is.
    let theirs = timestamp.signed._extra.get("repository").and_then(|theirs| theirs.as_str());
    if theirs.is_some_and(|theirs| repository(root).is_some_and(|ours| ours != theirs)) {
        let version = timestamp.signed.version.get();
        return Err(Refusal::AnotherRepository { role: "timestamp".to_owned(), version });
    }
    if let Some(before) = before {
        let (seen, offered) = (before.signed.version.get(), timestamp.signed.version.get());
        if offered < seen {
            return Err(Refusal::Rollback { role: "timestamp".to_owned(), seen, offered });
        }
        if offered == seen && before.signed != timestamp.signed {
            return Err(Refusal::Changed { role: "timestamp".to_owned(), version: seen });
        }
        let of = |timestamp: &Timestamp| stated(&timestamp.meta, "snapshot").map(version);
        if let (Ok(seen), offered) = (of(&before.signed), of(&timestamp.signed)?)
            && offered < seen
        {
            return Err(Refusal::Rollback { role: "snapshot".to_owned(), seen, offered });
        }
    }
    Ok(timestamp)
}

fn version(meta: Metafile) -> u64 {
    meta.version.get()
}

/// 5.5.5: no role older than in the snapshot that was seen, and none gone.
fn not_older(snapshot: &Snapshot, before: Option<&Signed<Snapshot>>) -> Result<(), Refusal> {
    for (file, seen) in before.iter().flat_map(|before| &before.signed.meta) {
        let role = file.strip_suffix(".json").unwrap_or(file).to_owned();
        let Some(offered) = snapshot.meta.get(file) else { return Err(Refusal::Unlisted { role }) };
        let (seen, offered) = (seen.version.get(), offered.version.get());
        if offered < seen {
            return Err(Refusal::Rollback { role, seen, offered });
        }
    }
    Ok(())
}

/// What another role's metadata states of a role.
pub(crate) fn stated(
    meta: &std::collections::HashMap<String, Metafile>,
    role: &str,
) -> Result<Metafile, Refusal> {
    meta.get(&format!("{role}.json"))
        .cloned()
        .ok_or_else(|| Refusal::Unlisted { role: role.to_owned() })
}

/// Files by what is stated of them: attached, saved, or read.
struct Files<'a, E> {
    attached: Attached,
    kept: &'a Kept,
    read: Read<'a, E>,
}

impl<E> Files<'_, E> {
    fn bytes(&mut self, role: &str, stated: &Metafile) -> Result<String, UpdateError<E>> {
        let path = versioned(role, stated.version.get());
        let kept = if role == "snapshot" {
            self.kept.snapshot.as_ref()
        } else {
            self.kept.roles.get(role)
        };
        let near = [self.attached.files.get(&path), kept];
        if let Some(text) = near.into_iter().flatten().find(|text| fits(text.as_bytes(), stated)) {
            return Ok(text.clone());
        }
        let most = stated.length.unwrap_or(MOST_OTHER).min(MOST_OTHER);
        let bytes = (self.read)(&path, most).map_err(UpdateError::Read)?;
        let bytes =
            bytes.ok_or_else(|| Refusal::Missing { role: role.to_owned(), path: path.clone() })?;
        limit(role, &path, &bytes, most)?;
        check_stated(role, &path, &bytes, stated)?;
        String::from_utf8(bytes).map_err(|error| {
            let (role, reason) = (role.to_owned(), error.to_string());
            Refusal::Unreadable { role, path, reason }.into()
        })
    }

    fn parsed<T: Role + DeserializeOwned>(
        &mut self,
        role: &str,
        stated: &Metafile,
    ) -> Result<(Signed<T>, String), UpdateError<E>> {
        let text = self.bytes(role, stated)?;
        let path = versioned(role, stated.version.get());
        let parsed: Signed<T> = parse(role, &path, text.as_bytes())?;
        same_version(role, stated.version, parsed.signed.version())?;
        Ok((parsed, text))
    }

    /// 5.5
    fn snapshot(
        &mut self,
        root: &Root,
        timestamp: &Timestamp,
    ) -> Result<(Signed<Snapshot>, String), UpdateError<E>> {
        let stated = stated(&timestamp.meta, "snapshot")?;
        let (snapshot, text) = self.parsed::<Snapshot>("snapshot", &stated)?;
        signed(root, &snapshot, "snapshot")?;
        Ok((snapshot, text))
    }

    /// 5.6
    fn role(
        &mut self,
        role: &str,
        stated: &Metafile,
    ) -> Result<(Signed<Targets>, String), UpdateError<E>> {
        self.parsed::<Targets>(role, stated)
    }

    /// 5.6.7: a team's metadata; `None` if it has published nothing yet.
    #[expect(clippy::type_complexity, reason = "what is read, what is refused, what is not there")]
    fn delegated(
        &mut self,
        verified: &Verified,
        delegation: &DelegatedRole,
        now: Option<Time>,
    ) -> Result<Result<Option<(Signed<Targets>, String)>, Refusal>, UpdateError<E>> {
        let name = &delegation.name;
        let Ok(stated) = stated(&verified.snapshot.signed.meta, name) else { return Ok(Ok(None)) };
        let (role, text) = match self.role(name, &stated) {
            Ok(taken) => taken,
            Err(UpdateError::Refused(refusal)) => return Ok(Err(refusal)),
            Err(error) => return Err(error),
        };
        let checked = verify_delegated(&verified.targets.signed, &role, name).and_then(|()| {
            match expired(&role.signed, now) {
                Some(at) => Err(Refusal::Expired { role: name.clone(), at }),
                None => Ok(()),
            }
        });
        Ok(checked.map(|()| Some((role, text))))
    }
}

fn same_version(role: &str, wanted: NonZeroU64, offered: NonZeroU64) -> Result<(), Refusal> {
    if wanted == offered {
        return Ok(());
    }
    let (wanted, offered) = (wanted.get(), offered.get());
    Err(Refusal::Mixed { role: role.to_owned(), wanted, offered })
}

/// The keys and the threshold of a role, by the root.
pub(crate) fn role_type(role: &str) -> Option<RoleType> {
    match role {
        "root" => Some(RoleType::Root),
        "targets" => Some(RoleType::Targets),
        "snapshot" => Some(RoleType::Snapshot),
        "timestamp" => Some(RoleType::Timestamp),
        _ => None,
    }
}
