//! Keys: Ed25519, in files any tool for keys reads (PKCS #8 in PEM, encrypted or not).

use std::{collections::HashMap, fmt};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use pkcs8::{
    EncryptedPrivateKeyInfo, LineEnding, ObjectIdentifier, PrivateKeyInfo, SecretDocument,
    der::{Decode as _, Document, Encode as _, asn1::BitStringRef},
    pkcs5::{pbes2, scrypt},
    spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef},
};
use tough::schema::{
    Signature,
    decoded::{Decoded, Hex},
    key::{Ed25519Key, Ed25519Scheme, Key},
};

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// A private key inside its file: an octet string of 32 bytes.
const SEED_HEAD: [u8; 2] = [0x04, 0x20];

/// A key that signs.
pub struct SigningKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A key file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadKeyError {
    /// It is no key of ours.
    #[error("it holds no Ed25519 key in PEM: {reason}; `packhorse trust key FILE` makes one")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
    /// It is encrypted, and no passphrase was given.
    #[error("it is encrypted: give its passphrase with `--passphrase-file FILE`")]
    Encrypted,
    /// The passphrase is not its.
    #[error("the passphrase does not open it")]
    Passphrase,
}

fn malformed(error: impl fmt::Display) -> ReadKeyError {
    ReadKeyError::Malformed { reason: error.to_string() }
}

/// Opening a key costs what its file says: no more than a minute of work or 256 MiB.
fn affordable(sealed: &EncryptedPrivateKeyInfo<'_>) -> Result<(), ReadKeyError> {
    let is_affordable = match sealed.encryption_algorithm.pbes2().map(|how| &how.kdf) {
        Some(pbes2::Kdf::Scrypt(cost)) => {
            cost.cost_parameter <= 1 << 18 && cost.block_size <= 8 && cost.parallelization <= 4
        }
        Some(pbes2::Kdf::Pbkdf2(cost)) => cost.iteration_count <= 10_000_000,
        _ => false,
    };
    if is_affordable { Ok(()) } else { Err(malformed("it is sealed in a way this does not open")) }
}

fn algorithm() -> AlgorithmIdentifierRef<'static> {
    AlgorithmIdentifierRef { oid: ED25519, parameters: None }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().id())
    }
}

impl SigningKey {
    /// The key of 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, ReadKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(malformed)?;
        Ok(Self { seed, pair })
    }

    /// Reads a key file.
    pub fn read(text: &str, passphrase: Option<&str>) -> Result<Self, ReadKeyError> {
        let (label, document) = SecretDocument::from_pem(text).map_err(malformed)?;
        let document = match label {
            "PRIVATE KEY" => document,
            "ENCRYPTED PRIVATE KEY" => {
                let passphrase = passphrase.ok_or(ReadKeyError::Encrypted)?;
                let sealed =
                    EncryptedPrivateKeyInfo::from_der(document.as_bytes()).map_err(malformed)?;
                affordable(&sealed)?;
                sealed.decrypt(passphrase).map_err(|_| ReadKeyError::Passphrase)?
            }
            other => return Err(malformed(format!("it is a `{other}`"))),
        };
        let info = PrivateKeyInfo::from_der(document.as_bytes()).map_err(malformed)?;
        let seed = info
            .private_key
            .strip_prefix(&SEED_HEAD)
            .filter(|_| info.algorithm.oid == ED25519)
            .and_then(|seed| seed.try_into().ok())
            .ok_or_else(|| malformed("it is another kind of key"))?;
        Self::from_seed(seed)
    }

    /// The text of its file. `lock` is a passphrase with 16 random bytes of salt and 16 of start, or nothing.
    pub fn to_pem(&self, lock: Option<(&str, [u8; 16], [u8; 16])>) -> Result<String, ReadKeyError> {
        let octets = [&SEED_HEAD[..], &self.seed].concat();
        let info = PrivateKeyInfo::new(algorithm(), &octets);
        let (label, document) = match &lock {
            None => {
                let der = info.to_der().map_err(malformed)?;
                ("PRIVATE KEY", SecretDocument::try_from(der).map_err(malformed)?)
            }
            Some((passphrase, salt, start)) => {
                // 16 MiB of memory: with more, OpenSSL refuses to read the file.
                let slow = scrypt::Params::new(14, 8, 1, 32).map_err(malformed)?;
                let how =
                    pbes2::Parameters::scrypt_aes256cbc(slow, salt, start).map_err(malformed)?;
                let sealed = info.encrypt_with_params(how, passphrase).map_err(malformed)?;
                ("ENCRYPTED PRIVATE KEY", sealed)
            }
        };
        let text = document.to_pem(label, LineEnding::LF).map_err(malformed)?;
        Ok(text.as_str().to_owned())
    }

    /// What verifies its signatures.
    pub fn public(&self) -> PublicKey {
        let bytes = self.pair.public_key();
        PublicKey(bytes.as_ref().try_into().unwrap_or([0; 32]))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Signature {
        let sig = self.pair.sign(message).as_ref().to_vec();
        Signature { keyid: self.public().key_id(), sig: Decoded::from(sig) }
    }
}

impl PublicKey {
    /// Reads a public key, or that of a signing key's file.
    pub fn read(text: &str, passphrase: Option<&str>) -> Result<Self, ReadKeyError> {
        let (label, document) = Document::from_pem(text).map_err(malformed)?;
        if label != "PUBLIC KEY" {
            return Ok(SigningKey::read(text, passphrase)?.public());
        }
        let info = SubjectPublicKeyInfoRef::from_der(document.as_bytes()).map_err(malformed)?;
        let bytes = info.subject_public_key.as_bytes().filter(|_| info.algorithm.oid == ED25519);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        Ok(Self(bytes.ok_or_else(|| malformed("it is another kind of key"))?))
    }

    /// The text of its file.
    pub fn to_pem(&self) -> Result<String, ReadKeyError> {
        let subject_public_key = BitStringRef::from_bytes(&self.0).map_err(malformed)?;
        let info = SubjectPublicKeyInfoRef { algorithm: algorithm(), subject_public_key };
        let der = info.to_der().map_err(malformed)?;
        let document = Document::try_from(der).map_err(malformed)?;
        document.to_pem("PUBLIC KEY", LineEnding::LF).map_err(malformed)
    }

    /// What metadata calls it: 64 hexadecimal digits.
    pub fn id(&self) -> String {
        hex(&self.key_id())
    }

    pub(crate) fn key_id(&self) -> Decoded<Hex> {
        // A key of ours always has canonical bytes.
        self.to_key().key_id().unwrap_or_else(|_| Decoded::from(Vec::new()))
    }

    pub(crate) fn to_key(&self) -> Key {
        Key::Ed25519 {
            keyval: Ed25519Key { public: Decoded::from(self.0.to_vec()), _extra: HashMap::new() },
            scheme: Ed25519Scheme::Ed25519,
            _extra: HashMap::new(),
        }
    }
}

/// Hexadecimal digits of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{PublicKey, ReadKeyError, SigningKey};

    #[test]
    fn a_key_file_comes_back() {
        let key = SigningKey::from_seed([7; 32]).unwrap();
        let text = key.to_pem(None).unwrap();
        assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{text}");
        assert_eq!(SigningKey::read(&text, None).unwrap().public(), key.public());
        let public = key.public().to_pem().unwrap();
        assert_eq!(PublicKey::read(&public, None), Ok(key.public()));
        assert_eq!(PublicKey::read(&text, None), Ok(key.public()));
        assert_eq!(key.public().id().len(), 64);
    }

    #[test]
    fn an_encrypted_file_opens_with_its_passphrase_only() {
        let key = SigningKey::from_seed([7; 32]).unwrap();
        let text = key.to_pem(Some(("horse", [1; 16], [2; 16]))).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{text}");
        assert_eq!(SigningKey::read(&text, None).unwrap_err(), ReadKeyError::Encrypted);
        assert_eq!(SigningKey::read(&text, Some("cow")).unwrap_err(), ReadKeyError::Passphrase);
        assert_eq!(SigningKey::read(&text, Some("horse")).unwrap().public(), key.public());
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_way_to_one() {
        let error = SigningKey::read("hello", None).unwrap_err().to_string();
        assert!(error.ends_with("`packhorse trust key FILE` makes one"), "{error}");
    }
}
