use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use operate::Exit;
use serde_json::json;
use trust::{PublicKey, ReadKeyError, SigningKey};

use super::{done, file_error};
use crate::store::{Answer, Failure};

/// The keys a command signs with.
#[derive(clap::Args)]
pub(crate) struct Keys {
    /// Sign with the keys in these files; each is used for the roles it counts for.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    key: Vec<PathBuf>,
    /// The passphrase of encrypted keys: the first line of this file. More than one are tried in turn.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    passphrase_file: Vec<PathBuf>,
}

impl Keys {
    pub(crate) fn is_empty(&self) -> bool {
        self.key.is_empty()
    }

    /// All of them.
    pub(crate) fn read(&self) -> Result<Vec<SigningKey>, Failure> {
        let passphrases = self.passphrases()?;
        self.key.iter().map(|path| read(path, &passphrases)).collect()
    }

    fn passphrases(&self) -> Result<Vec<String>, Failure> {
        self.passphrase_file.iter().map(|path| passphrase(path)).collect()
    }

    /// Those in these files; what is not there is made.
    pub(crate) fn read_or_create(&self, paths: &[PathBuf]) -> Result<Vec<SigningKey>, Failure> {
        let passphrases = self.passphrases()?;
        let each = |path: &PathBuf| {
            if path.exists() {
                read(path, &passphrases)
            } else {
                write_new(path, passphrases.first().map(String::as_str))
            }
        };
        paths.iter().map(each).collect()
    }
}

fn passphrase(path: &Path) -> Result<String, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|error| file_error("reading", path, &error))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn refused(path: &Path, error: &ReadKeyError) -> Failure {
    let exit = if *error == ReadKeyError::Encrypted { Exit::Decision } else { Exit::Usage };
    Failure::new(exit, format!("the key `{}`: {error}", path.display()))
}

fn read(path: &Path, passphrases: &[String]) -> Result<SigningKey, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|error| file_error("reading", path, &error))?;
    let mut result = SigningKey::read(&text, None);
    for passphrase in passphrases {
        if matches!(result, Err(ReadKeyError::Encrypted | ReadKeyError::Passphrase)) {
            result = SigningKey::read(&text, Some(passphrase));
        }
    }
    result.map_err(|error| refused(path, &error))
}

/// The public key in a file: given away as `.pub`, or that of a signing key.
pub(super) fn read_public(path: &Path) -> Result<PublicKey, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|error| file_error("reading", path, &error))?;
    // A key that is encrypted has its public one beside it.
    match PublicKey::read(&text, None) {
        Err(ReadKeyError::Encrypted) => {
            let beside = public_path(path);
            let text = std::fs::read_to_string(&beside)
                .map_err(|error| file_error("reading", &beside, &error))?;
            PublicKey::read(&text, None).map_err(|error| refused(&beside, &error))
        }
        result => result.map_err(|error| refused(path, &error)),
    }
}

/// What metadata calls a key that was given by its file, or so already.
pub(super) fn id_of(key: &str) -> Result<String, Failure> {
    let is_id = key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { Ok(key.to_owned()) } else { Ok(read_public(Path::new(key))?.id()) }
}

fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Random bytes of the machine.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags)
            .map_err(|error| Failure::new(Exit::Failed, format!("no random bytes: {error}")))?;
    }
    Ok(bytes)
}

fn write_new(path: &Path, passphrase: Option<&str>) -> Result<SigningKey, Failure> {
    let key = SigningKey::from_seed(random()?).map_err(|error| refused(path, &error))?;
    let lock = match passphrase {
        Some(passphrase) => Some((passphrase, random()?, random()?)),
        None => None,
    };
    let text = key.to_pem(lock).map_err(|error| refused(path, &error))?;
    write_file(path, &text, 0o600)?;
    let public = key.public().to_pem().map_err(|error| refused(path, &error))?;
    write_file(&public_path(path), &public, 0o644)?;
    Ok(key)
}

fn write_file(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(|error| file_error("writing", path, &error))
}

pub(super) fn create(path: &Path, passphrase_file: Option<&Path>) -> Result<Answer, Failure> {
    let passphrase = passphrase_file.map(passphrase).transpose()?;
    let key = write_new(path, passphrase.as_deref())?;
    let (id, public) = (key.public().id(), public_path(path));
    let text = format!(
        "{id}\n`{}` is to be kept, `{}` to be given away\n",
        path.display(),
        public.display()
    );
    Ok(done(text, json!({ "key": id, "file": path, "public": public })))
}
