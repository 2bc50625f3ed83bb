//! What is secret in the tables, closed with a key that is in a file: whoever reads the tables, or a backup, does not have it.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::{
    SiteError, SiteSettings,
    chance::{hex, random},
    folder::write_durably,
};

/// What stands before something closed.
const CLOSED: &str = "sealed:";
/// The bytes of a key, and those that are never used twice with it.
const KEY: usize = 32;
const NONCE: usize = 12;

/// A key, if there is one; without it, everything stays open.
pub(crate) struct Seal(Option<(LessSafeKey, PathBuf)>);

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let is_hex = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| text.as_bytes().chunks(2).map(pair).collect()).flatten()
}

/// Makes a file with a new key, unless there is one.
pub(crate) fn make_key(path: &Path) -> Result<(), SiteError> {
    if path.exists() {
        return Ok(());
    }
    write_durably(path, format!("{}\n", hex(&random::<KEY>()?)).as_bytes(), 0o600)
}

impl Seal {
    /// With the key that `site.toml` names, if it does.
    pub(crate) fn of(settings: &SiteSettings) -> Result<Self, SiteError> {
        let Some(path) = &settings.key_file else { return Ok(Self(None)) };
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(4096).read_to_string(&mut text))
            .map_err(SiteError::file("reading", path))?;
        let key = unhex(text.trim()).filter(|key| key.len() == KEY);
        let key =
            key.and_then(|key| UnboundKey::new(&AES_256_GCM, &key).ok()).ok_or_else(|| {
                SiteError::refused(format!(
                    "`{}` has no key: it is {} hexadecimal digits",
                    path.display(),
                    2 * KEY
                ))
            })?;
        Ok(Self(Some((LessSafeKey::new(key), path.clone()))))
    }

    /// A file as the value of a fact, closed if it is secret and there is a key.
    pub(crate) fn close(
        &self,
        name: &str,
        bytes: &[u8],
        is_secret: bool,
    ) -> Result<String, SiteError> {
        let Some((key, path)) = self.0.as_ref().filter(|_| is_secret) else {
            return String::from_utf8(bytes.to_vec())
                .map_err(|_| SiteError::refused(format!("`{name}` is no text")));
        };
        let nonce = random::<NONCE>()?;
        let mut closed = bytes.to_vec();
        let aad = Aad::from(name.as_bytes());
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut closed)
            .map_err(|_| {
                SiteError::refused(format!("`{name}` is not closed with `{}`", path.display()))
            })?;
        Ok(format!("{CLOSED}{}{}", hex(&nonce), hex(&closed)))
    }

    /// Whether something open is to be closed.
    pub(crate) fn is_to_close(&self, value: &str) -> bool {
        self.0.is_some() && !value.starts_with(CLOSED)
    }

    /// What a fact has closed, or has open.
    pub(crate) fn open(&self, name: &str, value: &str) -> Result<Vec<u8>, SiteError> {
        let Some(closed) = value.strip_prefix(CLOSED) else { return Ok(value.as_bytes().to_vec()) };
        let Some((key, path)) = &self.0 else {
            return Err(SiteError::refused(format!(
                "`{name}` in the tables is sealed: copy the key's file from another machine of this site, and name it in `site.toml` as `key-file`"
            )));
        };
        let unusable = || {
            SiteError::refused(format!(
                "`{name}` in the tables was sealed with another key than `{}` has: copy that file from another machine of this site",
                path.display()
            ))
        };
        let mut bytes = unhex(closed).filter(|bytes| bytes.len() > NONCE).ok_or_else(unusable)?;
        let mut closed = bytes.split_off(NONCE);
        let nonce = Nonce::try_assume_unique_for_key(&bytes).map_err(|_| unusable())?;
        let open = key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut closed);
        Ok(open.map_err(|_| unusable())?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::{Seal, make_key};
    use crate::SiteSettings;

    #[test]
    fn what_is_sealed_opens_with_its_key_and_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let seal = |name: &str| {
            let key = folder.path().join(name);
            make_key(&key).unwrap();
            let settings = SiteSettings { key_file: Some(key), ..SiteSettings::default() };
            Seal::of(&settings).unwrap()
        };
        let (one, other, none) = (seal("one"), seal("other"), Seal(None));
        let closed = one.close("a", b"secret", true).unwrap();
        assert!(!closed.contains("secret"));
        assert_eq!(one.open("a", &closed).unwrap(), b"secret");
        assert_eq!(seal("one").open("a", &closed).unwrap(), b"secret", "a key is made once");
        assert!(one.open("b", &closed).is_err(), "it is not taken for anything else");
        let why = |seal: &Seal, value: &str| seal.open("a", value).unwrap_err().to_string();
        assert!(why(&other, &closed).contains("another key"));
        assert!(why(&none, &closed).contains("key-file"));
        for bad in ["sealed:", "sealed:zz", "sealed:é", &closed[..closed.len() - 2]] {
            assert!(why(&one, bad).contains("another key"), "{bad}");
        }
        assert_eq!(one.close("a", b"open", false).unwrap(), "open");
        assert_eq!(none.open("a", &none.close("a", b"open", true).unwrap()).unwrap(), b"open");
    }
}
