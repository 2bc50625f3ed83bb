use jiff::Timestamp;

/// What a distribution point offers, and a client does not believe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The pinned root is none.
    #[error(
        "the pinned root cannot be used: {reason}; get the root file from who looks after the distribution point, and `packhorse trust pin FILE`"
    )]
    Pinned {
        /// What is wrong.
        reason: String,
    },
    /// A file is not there.
    #[error(
        "role `{role}`: the distribution point has no `{path}`; it is not signed, or not whole: try another, or run `packhorse trust status` where it is published"
    )]
    Missing {
        /// The role.
        role: String,
        /// The file.
        path: String,
    },
    /// A file is no metadata.
    #[error(
        "role `{role}`: `{path}` cannot be read: {reason}; try another distribution point, or publish again"
    )]
    Unreadable {
        /// The role.
        role: String,
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Not signed by whom it should be.
    #[error(
        "role `{role}`: its metadata is not signed by enough of its keys: {reason}; who has a key that counts signs again with `packhorse trust refresh --key FILE`"
    )]
    Signatures {
        /// The role.
        role: String,
        /// How many, of how many.
        reason: String,
    },
    /// Older than what was seen.
    #[error(
        "role `{role}`: version {offered} is offered, and {seen} was seen before: a rollback; try another distribution point, or bring this one up to date"
    )]
    Rollback {
        /// The role.
        role: String,
        /// The version that was seen.
        seen: u64,
        /// The version that is offered.
        offered: u64,
    },
    /// The same version, and another content.
    #[error(
        "role `{role}`: version {version} is offered with other content than was seen before: publish a newer one with `packhorse trust refresh`"
    )]
    Changed {
        /// The role.
        role: String,
        /// The version.
        version: u64,
    },
    /// Parts of different times.
    #[error(
        "role `{role}`: version {offered} is there where {wanted} is stated: parts of different times are mixed; try again, or another distribution point"
    )]
    Mixed {
        /// The role.
        role: String,
        /// The version another role states.
        wanted: u64,
        /// The version that came.
        offered: u64,
    },
    /// A part another role stated before is stated no longer.
    #[error(
        "role `{role}`: the snapshot states it no longer: parts of different times are mixed; try again, or another distribution point"
    )]
    Unlisted {
        /// The role.
        role: String,
    },
    /// Longer, or shorter, than stated.
    #[error(
        "role `{role}`: `{path}` is not of the {limit} bytes that are stated or allowed; try another distribution point"
    )]
    Length {
        /// The role.
        role: String,
        /// The file.
        path: String,
        /// The length stated, or the most that is read.
        limit: u64,
    },
    /// Other bytes than stated.
    #[error(
        "role `{role}`: `{path}` has another hash than is stated; try again, or another distribution point"
    )]
    Hash {
        /// The role.
        role: String,
        /// The file.
        path: String,
    },
    /// Its time is over.
    #[error(
        "role `{role}`: its metadata expired at {at}, and nothing newer is offered: new content waits, what is here goes on; whoever publishes runs `packhorse trust refresh`"
    )]
    Expired {
        /// The role.
        role: String,
        /// When.
        at: Timestamp,
    },
    /// A team names what is not its own.
    #[error(
        "role `{role}`: it signed `{name}`, which is none of its names; give it the name with `packhorse trust delegate {role} --names …`, or publish with another key"
    )]
    NotItsName {
        /// The role.
        role: String,
        /// The package.
        name: String,
    },
    /// It leads to something else.
    #[error(
        "role `{role}`: version {version} is of another repository than the pinned root; pin the right one with `packhorse trust pin FILE`"
    )]
    AnotherRepository {
        /// The role.
        role: String,
        /// The version that is offered.
        version: u64,
    },
    /// The signed release is not in the index.
    #[error(
        "role `{role}`: it signed version `{version}` of `{name}`, and the distribution point hides it; try again, or another distribution point, or `packhorse dp repair`"
    )]
    Hidden {
        /// The role.
        role: String,
        /// The package.
        name: String,
        /// The version.
        version: String,
    },
    /// Nobody signed it.
    #[error(
        "version `{version}` of `{name}` is signed by nobody who may; publish it with `packhorse publish --key FILE`"
    )]
    Unsigned {
        /// The package.
        name: String,
        /// The version.
        version: String,
    },
}

impl Refusal {
    /// The role it is about.
    pub fn role(&self) -> &str {
        match self {
            Self::Pinned { .. } => "root",
            Self::Unsigned { .. } => "targets",
            Self::Missing { role, .. }
            | Self::Unreadable { role, .. }
            | Self::Signatures { role, .. }
            | Self::Rollback { role, .. }
            | Self::Changed { role, .. }
            | Self::Mixed { role, .. }
            | Self::Unlisted { role }
            | Self::Length { role, .. }
            | Self::Hash { role, .. }
            | Self::Expired { role, .. }
            | Self::AnotherRepository { role, .. }
            | Self::NotItsName { role, .. }
            | Self::Hidden { role, .. } => role,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pinned { .. } => "trust.pinned",
            Self::Missing { .. } => "trust.missing",
            Self::Unreadable { .. } => "trust.unreadable",
            Self::Signatures { .. } => "trust.signatures",
            Self::Rollback { .. } => "trust.rollback",
            Self::Changed { .. } => "trust.changed",
            Self::Mixed { .. } => "trust.mixed",
            Self::Unlisted { .. } => "trust.unlisted",
            Self::Length { .. } => "trust.length",
            Self::Hash { .. } => "trust.hash",
            Self::Expired { .. } => "trust.expired",
            Self::NotItsName { .. } => "trust.not-its-name",
            Self::AnotherRepository { .. } => "trust.another-repository",
            Self::Hidden { .. } => "trust.hidden",
            Self::Unsigned { .. } => "trust.unsigned",
        }
    }
}

/// An update of trust that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError<E> {
    /// What was read is not believed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be read.
    #[error("reading the trust metadata stopped")]
    Read(#[source] E),
}
