//! What a target is called, what it says, and which names a team may use.

use std::{collections::HashMap, fmt, str::FromStr};

use content::{Object, ObjectKind, Release};
use globset::{GlobBuilder, GlobMatcher};
use model::{Architecture, Hash, PackageName, Version};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tough::{
    TargetName,
    schema::{Hashes, PathPattern, PathSet, Target, decoded::Decoded},
};

/// A release as somebody signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignedRelease {
    /// Who signed: `targets`, or a team.
    pub role: String,
    /// The package.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// The machines it is for.
    pub architecture: Architecture,
    /// What a client ends with.
    pub identity: Hash,
    /// What it is and where its content lies.
    pub manifest: Object,
}

/// Names of packages a team publishes: a name, or with `*` and `?` for what may be anything.
#[derive(Clone, Debug)]
pub struct NamePattern {
    text: String,
    glob: GlobMatcher,
}

/// No pattern of package names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no pattern of package names, such as `redis` or `redis-*`")]
pub struct InvalidPattern {
    text: String,
}

impl FromStr for NamePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || InvalidPattern { text: text.to_owned() };
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-._*?".contains(&byte)
        };
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(refuse());
        }
        let glob = GlobBuilder::new(text).literal_separator(true).build().map_err(|_| refuse())?;
        Ok(Self { text: text.to_owned(), glob: glob.compile_matcher() })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl NamePattern {
    /// Whether a package's name is one of these.
    pub fn matches(&self, name: &PackageName) -> bool {
        self.glob.is_match(name.as_str())
    }

    /// Those of a delegation. What does not read as ours matches nothing.
    pub(crate) fn of(paths: &PathSet) -> Vec<Self> {
        let PathSet::Paths(paths) = paths else { return Vec::new() };
        let name = |path: &PathPattern| path.value().strip_suffix("/*/*")?.parse().ok();
        paths.iter().filter_map(name).collect()
    }

    pub(crate) fn to_path(&self) -> Option<PathPattern> {
        PathPattern::new(format!("{}/*/*", self.text)).ok()
    }
}

impl SignedRelease {
    /// What is signed of a release whose manifest has these bytes.
    pub(crate) fn target(
        name: &PackageName,
        release: &Release,
        manifest: &[u8],
    ) -> (TargetName, Target) {
        let custom = HashMap::from([
            ("version".to_owned(), release.version.as_str().into()),
            ("architecture".to_owned(), release.architecture.to_string().into()),
            ("identity".to_owned(), release.identity.to_string().into()),
            ("manifest".to_owned(), release.manifest.hash.to_string().into()),
        ]);
        let sha256 = Decoded::from(Sha256::digest(manifest).to_vec());
        let target = Target {
            length: release.manifest.length,
            hashes: Hashes { sha256, _extra: HashMap::new() },
            custom,
            _extra: HashMap::new(),
        };
        (target_name(name, &release.version, &release.architecture), target)
    }

    /// What a target says, `None` if it is none of ours.
    pub(crate) fn read(role: &str, path: &TargetName, target: &Target) -> Option<Self> {
        let name = PackageName::new(path.raw().split('/').next()?).ok()?;
        let text = |key: &str| target.custom.get(key)?.as_str();
        let release = Self {
            role: role.to_owned(),
            name,
            version: Version::new(text("version")?),
            architecture: text("architecture")?.parse().ok()?,
            identity: text("identity")?.parse().ok()?,
            manifest: Object {
                kind: ObjectKind::Manifest,
                hash: text("manifest")?.parse().ok()?,
                length: target.length,
            },
        };
        // One release, one name: whatever resolves to it or spells it differently is none.
        let canonical = target_name(&release.name, &release.version, &release.architecture);
        (canonical == *path).then_some(release)
    }

    /// Whether a release of an index is this one.
    pub fn is(&self, release: &Release) -> bool {
        self.identity == release.identity
            && self.manifest == release.manifest
            && self.version.as_str() == release.version.as_str()
            && self.architecture == release.architecture
    }
}

/// The package a target is of, whatever else it says.
pub(crate) fn package_of(path: &TargetName) -> &str {
    path.resolved().split('/').next().unwrap_or_default()
}

fn target_name(name: &PackageName, version: &Version, architecture: &Architecture) -> TargetName {
    let text =
        format!("{name}/{}/{}", component(version.as_str()), component(&architecture.to_string()));
    // Components are neither empty nor dots, so it is always a name.
    TargetName::new(text).unwrap_or_else(|_| unreachable_name())
}

#[expect(clippy::panic, reason = "a name of three components that are no dots is always valid")]
fn unreachable_name() -> TargetName {
    panic!("a target's name is valid by its making")
}

/// Text as one component of a path: what is not plain, as `%` and two digits.
fn component(text: &str) -> String {
    let plain_dots = !text.bytes().all(|byte| byte == b'.');
    let escape = |byte: u8| {
        let plain =
            byte.is_ascii_alphanumeric() || b"-_~+".contains(&byte) || (byte == b'.' && plain_dots);
        if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    let escaped: String = text.bytes().map(escape).collect();
    if escaped.is_empty() { "%".to_owned() } else { escaped }
}

#[cfg(test)]
mod tests {
    use model::PackageName;

    use super::{NamePattern, component};

    #[test]
    fn a_team_has_its_names_only() {
        let name = |text| PackageName::new(text).unwrap();
        let pattern: NamePattern = "redis-*".parse().unwrap();
        assert!(pattern.matches(&name("redis-tools")));
        assert!(!pattern.matches(&name("redis")));
        assert!(!pattern.matches(&name("nginx")));
        for bad in ["", "a/b", "{a,b}", "[a]", "A", "**/x"] {
            assert!(bad.parse::<NamePattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn any_version_is_one_component() {
        assert_eq!(component("1:7.2.4~rc1+b/2"), "1%3A7.2.4~rc1+b%2F2");
        assert_eq!(component(".."), "%2E%2E");
        assert_eq!(component(""), "%");
    }
}
