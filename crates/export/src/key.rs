use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use pgp::{
    composed::{
        ArmorOptions, CleartextSignedMessage, Deserializable as _, DetachedSignature, KeyType,
        SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
    },
    crypto::{hash::HashAlgorithm, public_key::PublicKeyAlgorithm},
    packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData},
    ser::Serialize as _,
    types::{KeyDetails as _, KeyVersion, Password, Timestamp},
};

/// A key that signs repositories: `OpenPGP`, RSA with 3,072 bits, since that is what every apt and rpm reads.
pub struct Key {
    secret: SignedSecretKey,
}

/// A key that cannot be had or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file cannot be read or written.
    #[error("the key `{}` cannot be {doing}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no secret key, or one with a password.
    #[error("`{}` holds no OpenPGP secret key this can use: an armoured one without a password, as `packhorse export --create-key OWNER --key FILE` makes", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: pgp::errors::Error,
    },
    /// It does not sign.
    #[error("the key does not sign")]
    Sign(#[source] pgp::errors::Error),
}

impl Key {
    /// Makes a new key for `owner`, `Name <mail@example.org>`, and writes it to a file only its owner can read, which
    /// must not be there.
    pub fn create(path: &Path, owner: &str) -> Result<Self, KeyError> {
        let mut params = SecretKeyParamsBuilder::default();
        params
            .key_type(KeyType::Rsa(3072))
            .can_certify(true)
            .can_sign(true)
            .primary_user_id(owner.to_owned());
        let params = params.build().map_err(|error| {
            KeyError::Sign(pgp::errors::Error::Message {
                message: error.to_string(),
                backtrace: None,
            })
        })?;
        let secret = params.generate(rand::rngs::OsRng).map_err(KeyError::Sign)?;
        let text = secret.to_armored_string(ArmorOptions::default()).map_err(KeyError::Sign)?;
        let unwritable =
            |source| KeyError::File { path: path.to_owned(), doing: "written", source };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(unwritable)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(unwritable)?;
        Ok(Self { secret })
    }

    /// Reads a key.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let text = fs::read_to_string(path).map_err(|source| KeyError::File {
            path: path.to_owned(),
            doing: "read",
            source,
        })?;
        let (secret, _) = SignedSecretKey::from_string(&text)
            .map_err(|source| KeyError::Malformed { path: path.to_owned(), source })?;
        let key = Self { secret };
        // A password shows itself at the first signature; better now than halfway.
        key.sign(b"").map_err(|error| match error {
            KeyError::Sign(source) => KeyError::Malformed { path: path.to_owned(), source },
            other => other,
        })?;
        Ok(key)
    }

    /// Its fingerprint in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        self.secret.fingerprint().to_string()
    }

    /// Whether it is of the kind RSA.
    pub fn is_rsa(&self) -> bool {
        matches!(self.secret.algorithm(), PublicKeyAlgorithm::RSA | PublicKeyAlgorithm::RSASign)
    }

    /// What clients pin: the public half, armoured and bare.
    pub fn public(&self) -> Result<(String, Vec<u8>), KeyError> {
        let public = SignedPublicKey::from(self.secret.clone());
        let text = public.to_armored_string(ArmorOptions::default()).map_err(KeyError::Sign)?;
        Ok((text, public.to_bytes().map_err(KeyError::Sign)?))
    }

    /// A signature over bytes, bare.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, KeyError> {
        let config = self.config(SignatureType::Binary)?;
        let signature = config
            .sign(&self.secret.primary_key, &Password::empty(), bytes)
            .map_err(KeyError::Sign)?;
        DetachedSignature::new(signature).to_bytes().map_err(KeyError::Sign)
    }

    /// A signature over bytes, armoured.
    pub fn sign_armored(&self, bytes: &[u8]) -> Result<String, KeyError> {
        let config = self.config(SignatureType::Binary)?;
        let signature = config
            .sign(&self.secret.primary_key, &Password::empty(), bytes)
            .map_err(KeyError::Sign)?;
        DetachedSignature::new(signature)
            .to_armored_string(ArmorOptions::default())
            .map_err(KeyError::Sign)
    }

    /// A text with its signature in it.
    pub fn sign_text(&self, text: &str) -> Result<String, KeyError> {
        let config = self.config(SignatureType::Text)?;
        CleartextSignedMessage::new(text, config, &self.secret.primary_key, &Password::empty())
            .and_then(|message| message.to_armored_string(ArmorOptions::default()))
            .map_err(KeyError::Sign)
    }

    fn config(&self, kind: SignatureType) -> Result<SignatureConfig, KeyError> {
        let key = &self.secret.primary_key;
        let mut config = if key.version() == KeyVersion::V4 {
            SignatureConfig::v4(kind, key.algorithm(), HashAlgorithm::Sha256)
        } else {
            SignatureConfig::from_key(rand::rngs::OsRng, key, kind).map_err(KeyError::Sign)?
        };
        let seconds = seconds_now();
        let created = SubpacketData::SignatureCreationTime(Timestamp::from_secs(
            u32::try_from(seconds).unwrap_or(u32::MAX),
        ));
        let hashed = [created, SubpacketData::IssuerFingerprint(key.fingerprint())];
        config.hashed_subpackets = hashed
            .into_iter()
            .map(Subpacket::regular)
            .collect::<Result<_, _>>()
            .map_err(KeyError::Sign)?;
        if key.version() <= KeyVersion::V4 {
            let issuer = SubpacketData::IssuerKeyId(key.legacy_key_id());
            config.unhashed_subpackets = vec![Subpacket::regular(issuer).map_err(KeyError::Sign)?];
        }
        Ok(config)
    }
}

/// Seconds since 1970 by this machine's clock.
pub(crate) fn seconds_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
