//! The account files of a machine: read for numbers, edited line by line.
//!
//! passwd(5), group(5), shadow(5), gshadow(5). Numbers for new accounts come from the ranges that
//! Debian Policy §9.2.2 gives: 100 to 999 for the system's, 1000 to 59999 for people's.

use std::collections::{BTreeMap, BTreeSet};

use change::{MachineError, Observe, RawMeta};
use minicbor::{Decode, Encode};
use model::{AccountStep, Acl, AclTag, MachinePath, Meta, Owner, Xattrs};

/// The users and groups of a machine, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: BTreeMap<Box<str>, u32>,
    groups: BTreeMap<Box<str>, u32>,
}

/// A name that stands for no account of the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no {kind} `{name}` on this machine: create it with a `create-{kind}` step before it is needed"
)]
pub struct UnknownAccount {
    /// `user` or `group`.
    pub kind: &'static str,
    /// The name.
    pub name: String,
}

/// A line that an account step wants in an account file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountLine {
    /// The file's name in `/etc`.
    pub file: &'static str,
    /// What to do.
    pub change: LineChange,
}

/// What happens to an account file.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LineChange {
    /// A line of its own, at the end.
    #[n(0)]
    Add(#[n(0)] String),
    /// The member `user` in the list that is field `field` (from 0) of the line that starts with `group:`.
    #[n(1)]
    Member {
        /// Who.
        #[n(0)]
        user: Box<str>,
        /// Where.
        #[n(1)]
        group: Box<str>,
        /// Which field.
        #[n(2)]
        field: usize,
    },
}

impl Accounts {
    /// Reads the machine's own files. A missing file has no accounts.
    pub fn read(machine: &(impl Observe + ?Sized)) -> Result<Self, MachineError> {
        let table = |name: &str| -> Result<BTreeMap<Box<str>, u32>, MachineError> {
            let Ok(path) = MachinePath::new(format!("/etc/{name}")) else {
                return Ok(BTreeMap::new());
            };
            let path = machine.resolve(&path)?;
            Ok(if machine.look(&path)?.is_some() {
                numbers(&machine.read(&path)?)
            } else {
                BTreeMap::new()
            })
        };
        Ok(Self { users: table("passwd")?, groups: table("group")? })
    }

    /// The number of a user.
    pub fn user(&self, owner: &Owner) -> Result<u32, UnknownAccount> {
        number(&self.users, owner, "user")
    }

    /// The number of a group.
    pub fn group(&self, owner: &Owner) -> Result<u32, UnknownAccount> {
        number(&self.groups, owner, "group")
    }

    /// Whether there is a user of this name.
    pub fn has_user(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// `meta` in this machine's numbers.
    pub fn raw(&self, meta: &Meta) -> Result<RawMeta, UnknownAccount> {
        let mut xattrs: Xattrs = meta.xattrs.clone();
        for (name, acl) in [
            ("system.posix_acl_access", &meta.acl),
            ("system.posix_acl_default", &meta.default_acl),
        ] {
            if let Some(acl) = acl {
                xattrs.insert(name.as_bytes().into(), self.acl(acl)?.into());
            }
        }
        Ok(RawMeta {
            mode: meta.mode,
            user: self.user(&meta.owner)?,
            group: self.group(&meta.group)?,
            modified: meta.modified,
            xattrs,
        })
    }

    /// A list in the form of the kernel's attribute, version 2: `linux/posix_acl_xattr.h`.
    fn acl(&self, acl: &Acl) -> Result<Vec<u8>, UnknownAccount> {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for entry in &acl.0 {
            let (tag, id) = match &entry.tag {
                AclTag::OwningUser => (0x01_u16, u32::MAX),
                AclTag::User(user) => (0x02, self.user(user)?),
                AclTag::OwningGroup => (0x04, u32::MAX),
                AclTag::Group(group) => (0x08, self.group(group)?),
                AclTag::Mask => (0x10, u32::MAX),
                AclTag::Other => (0x20, u32::MAX),
            };
            bytes.extend(tag.to_le_bytes());
            bytes.extend(u16::from(entry.permissions).to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        Ok(bytes)
    }

    /// The lines `step` wants, and what the machine's accounts are after it. Empty where it is so already.
    pub fn plan(
        &mut self,
        step: &AccountStep,
        home: &str,
        shell: &str,
    ) -> Result<Vec<AccountLine>, UnknownAccount> {
        let add = |file, line| AccountLine { file, change: LineChange::Add(line) };
        match step {
            AccountStep::Group { name, system, id } => {
                if self.groups.contains_key(name) {
                    return Ok(Vec::new());
                }
                let id = id.unwrap_or_else(|| self.free(*system));
                self.groups.insert(name.clone(), id);
                Ok(vec![
                    add("group", format!("{name}:x:{id}:")),
                    add("gshadow", format!("{name}:!::")),
                ])
            }
            AccountStep::User { name, system, id, group, comment, .. } => {
                if self.users.contains_key(name) {
                    return Ok(Vec::new());
                }
                let id = id.unwrap_or_else(|| self.free(*system));
                let mut lines = Vec::new();
                let group = match group {
                    Some(group) => self.group(&Owner::Name(group.clone()))?,
                    None => {
                        if let Some(group) = self.groups.get(name) {
                            *group
                        } else {
                            self.groups.insert(name.clone(), id);
                            lines.push(add("group", format!("{name}:x:{id}:")));
                            lines.push(add("gshadow", format!("{name}:!::")));
                            id
                        }
                    }
                };
                self.users.insert(name.clone(), id);
                lines
                    .push(add("passwd", format!("{name}:x:{id}:{group}:{comment}:{home}:{shell}")));
                lines.push(add("shadow", format!("{name}:!:::::::")));
                Ok(lines)
            }
            AccountStep::Membership { user, group } => {
                self.user(&Owner::Name(user.clone()))?;
                self.group(&Owner::Name(group.clone()))?;
                let member = |file, field| AccountLine {
                    file,
                    change: LineChange::Member { user: user.clone(), group: group.clone(), field },
                };
                Ok(vec![member("group", 3), member("gshadow", 3)])
            }
        }
    }

    /// The highest number of the system's range that neither a user nor a group has, as Debian's
    /// adduser gives them out for people from below and for the system from above; from below for both
    /// here, so that a machine's numbers stay dense.
    fn free(&self, system: bool) -> u32 {
        let taken: BTreeSet<u32> =
            self.users.values().chain(self.groups.values()).copied().collect();
        let mut range = if system { 100..1000_u32 } else { 1000..60_000 };
        range.find(|id| !taken.contains(id)).unwrap_or(60_000)
    }
}

impl LineChange {
    /// The file's new text; the same where nothing is to be done, `None` where the line it changes is missing.
    pub fn apply(&self, text: &str) -> Option<String> {
        match self {
            Self::Add(line) => {
                let mut text = text.to_owned();
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(line);
                text.push('\n');
                Some(text)
            }
            Self::Member { user, group, field } => with_member(text, user, group, *field, true),
        }
    }

    /// The file's text without what [`apply`](Self::apply) added; `None` where somebody changed it since.
    pub fn take_back(&self, text: &str) -> Option<String> {
        match self {
            Self::Add(line) => {
                let start = line_start(text, line)?;
                let end = (start + line.len() + 1).min(text.len());
                Some([&text[..start], &text[end..]].concat())
            }
            Self::Member { user, group, field } => with_member(text, user, group, *field, false),
        }
    }
}

fn line_start(text: &str, line: &str) -> Option<usize> {
    let mut start = 0;
    for candidate in text.split_inclusive('\n') {
        if candidate.strip_suffix('\n').unwrap_or(candidate) == line {
            return Some(start);
        }
        start += candidate.len();
    }
    None
}

/// `text` with `user` in, or not in, the list that is field `field` of the line of `group`.
fn with_member(text: &str, user: &str, group: &str, field: usize, wanted: bool) -> Option<String> {
    let mut found = false;
    let mut changed = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
        let mut fields: Vec<&str> = body.split(':').collect();
        if found || fields.first() != Some(&group) || fields.len() <= field {
            changed.push_str(line);
            continue;
        }
        found = true;
        let mut members: Vec<&str> =
            fields[field].split(',').filter(|member| !member.is_empty()).collect();
        if !wanted {
            members.retain(|member| *member != user);
        } else if !members.contains(&user) {
            members.push(user);
        }
        let members = members.join(",");
        fields[field] = &members;
        changed.push_str(&fields.join(":"));
        changed.push_str(end);
    }
    found.then_some(changed)
}

fn numbers(text: &[u8]) -> BTreeMap<Box<str>, u32> {
    String::from_utf8_lossy(text)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (name, number) = (fields.next()?, fields.nth(1)?);
            Some((name.into(), number.parse().ok()?))
        })
        .collect()
}

fn number(
    table: &BTreeMap<Box<str>, u32>,
    owner: &Owner,
    kind: &'static str,
) -> Result<u32, UnknownAccount> {
    match owner {
        Owner::Id(id) => Ok(*id),
        Owner::Name(name) => match table.get(name) {
            Some(id) => Ok(*id),
            // Root is 0 on every machine, one without account files too.
            None if &**name == "root" => Ok(0),
            None => Err(UnknownAccount { kind, name: name.to_string() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use model::AccountStep;

    use super::{Accounts, LineChange, numbers};

    fn accounts() -> Accounts {
        Accounts {
            users: numbers(b"root:x:0:0::/root:/bin/sh\nmail:x:8:8::/:\n_apt:x:100:65534::/:\n"),
            groups: numbers(b"root:x:0:\nmail:x:8:\nadm:x:4:\nsyslog:x:101:\n"),
        }
    }

    #[test]
    fn a_system_user_gets_a_free_number_and_its_own_group() {
        let user = AccountStep::User {
            name: "redis".into(),
            system: true,
            id: None,
            group: None,
            home: model::Template::literal("/x"),
            shell: model::Template::literal("/y"),
            comment: "Redis".to_owned(),
        };
        let mut accounts = accounts();
        let lines = accounts.plan(&user, "/var/lib/redis", "/usr/sbin/nologin").unwrap();
        let lines: Vec<String> =
            lines.iter().map(|line| format!("{}: {:?}", line.file, line.change)).collect();
        assert_eq!(
            lines,
            [
                r#"group: Add("redis:x:102:")"#,
                r#"gshadow: Add("redis:!::")"#,
                r#"passwd: Add("redis:x:102:102:Redis:/var/lib/redis:/usr/sbin/nologin")"#,
                r#"shadow: Add("redis:!:::::::")"#,
            ]
        );
        assert_eq!(accounts.plan(&user, "/", "/").unwrap(), [], "it is there already");
    }

    #[test]
    fn members_come_and_go() {
        let change = LineChange::Member { user: "redis".into(), group: "adm".into(), field: 3 };
        let text = "root:x:0:\nadm:x:4:syslog\nx:x:9:redis\n";
        let with = change.apply(text).unwrap();
        assert_eq!(with, "root:x:0:\nadm:x:4:syslog,redis\nx:x:9:redis\n");
        assert_eq!(change.apply(&with).unwrap(), with);
        assert_eq!(change.take_back(&with).unwrap(), text);
        assert_eq!(change.apply("root:x:0:\n"), None);
    }

    #[test]
    fn lines_come_and_go() {
        let change = LineChange::Add("redis:x:102:".to_owned());
        assert_eq!(change.apply("a:x:1:").unwrap(), "a:x:1:\nredis:x:102:\n");
        assert_eq!(change.take_back("a:x:1:\nredis:x:102:\nb:x:2:\n").unwrap(), "a:x:1:\nb:x:2:\n");
        assert_eq!(change.take_back("a:x:1:\nredis:x:102:mail\n"), None, "somebody changed it");
    }
}
