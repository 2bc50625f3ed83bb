use std::{fmt, str::FromStr};

use minicbor::{Decode, Decoder, Encode, Encoder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a package: lower-case letters, digits, `+`, `-`, `.`, `_`, starting with a letter or
/// digit (what .deb, .rpm and file systems all take).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageName(Box<str>);

/// Text that is no package name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no package name: use lower-case letters, digits, `+`, `-`, `.`, `_`, and start with a letter or digit"
)]
pub struct InvalidName {
    name: String,
}

impl PackageName {
    /// Reads a name.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-._".contains(&byte)
        };
        let starts = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if starts && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidName { name: name.to_owned() })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The machine a package is for, by Rust's names (`x86_64`, `aarch64`), or any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Architecture {
    /// Nothing in the package depends on the processor.
    #[n(0)]
    Any,
    /// One processor family.
    #[n(1)]
    Only(#[n(0)] Box<str>),
}

impl Architecture {
    /// Whether a package for this runs on a machine of `architecture`.
    pub fn runs_on(&self, architecture: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => &**only == architecture,
        }
    }
}

impl FromStr for Architecture {
    type Err = std::convert::Infallible;

    /// Takes the names in use for one thing: `amd64`, `x86-64` and `x86_64`; `arm64` and `aarch64`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "any" | "all" | "noarch" => Self::Any,
            "amd64" | "x86-64" | "x86_64" | "x64" => Self::Only("x86_64".into()),
            "arm64" | "aarch64" => Self::Only("aarch64".into()),
            other => Self::Only(other.into()),
        })
    }
}

impl fmt::Display for Architecture {
    /// `any`, or the name with a hyphen: `x86-64`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Only(only) => f.write_str(&only.replace('_', "-")),
        }
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

impl FromStr for PackageName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl<C> Encode<C> for PackageName {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for PackageName {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.str()?).map_err(minicbor::decode::Error::custom)
    }
}

impl Serialize for PackageName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PackageName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(String::deserialize(deserializer)?.parse().unwrap_or(Self::Any))
    }
}

#[cfg(test)]
mod tests {
    use super::{Architecture, PackageName};

    #[test]
    fn names() {
        assert!(PackageName::new("libstdc++6").is_ok());
        for bad in ["", "Redis", "a b", "-a", "../a", "ä"] {
            assert!(PackageName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn architectures_have_one_name() {
        let amd64: Architecture = "amd64".parse().unwrap();
        assert_eq!(amd64, "x86-64".parse().unwrap());
        assert!(amd64.runs_on("x86_64") && !amd64.runs_on("aarch64"));
        assert_eq!(amd64.to_string(), "x86-64");
    }
}
