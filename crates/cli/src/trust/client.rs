use std::path::{Path, PathBuf};

use jiff::Timestamp;
use operate::Exit;
use serde_json::json;
use store::TrustSettings;
use trust::{Standing, Trusted};

use super::{done, file_error};
use crate::store::{Answer, Authority, Failure};

/// The longest root that is read, in bytes.
const MOST_ROOT: u64 = 512 << 10;

/// Whom a command believes.
#[derive(clap::Args)]
pub(crate) struct Client {
    /// Believe what this root leads to [default: the root this machine has pinned].
    #[arg(long, value_name = "FILE")]
    trust_root: Option<PathBuf>,
    /// Where what was seen last is kept [default: /var/lib/packhorse/trust].
    #[arg(long, value_name = "DIR")]
    trust_state: Option<PathBuf>,
    /// Believe whatever the distribution point has, though a root is pinned.
    #[arg(long, conflicts_with = "trust_root")]
    unsigned: bool,
}

/// What time it is: the only place that asks.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Where this machine's pinned root is.
fn pinned_path() -> PathBuf {
    let folder = std::env::var_os("PACKHORSE_CONFIG").map(PathBuf::from);
    folder.unwrap_or_else(|| PathBuf::from("/etc/packhorse")).join("trust-root.json")
}

fn state_folder() -> PathBuf {
    let home = std::env::var_os("HOME").filter(|_| !rustix::process::geteuid().is_root());
    match home {
        Some(home) => PathBuf::from(home).join(".local/state/packhorse/trust"),
        None => PathBuf::from("/var/lib/packhorse/trust"),
    }
}

impl Client {
    /// What to go by; `None` where no root is pinned, or on request.
    pub(crate) fn settings(&self) -> Result<Option<TrustSettings>, Failure> {
        if self.unsigned {
            return Ok(None);
        }
        let path = match &self.trust_root {
            Some(path) => path.clone(),
            None => pinned_path(),
        };
        let root = match std::fs::read(&path) {
            Ok(root) => root,
            Err(error)
                if self.trust_root.is_none() && error.kind() == std::io::ErrorKind::NotFound =>
            {
                return Ok(None);
            }
            // Unknown is not empty: a root that cannot be read is no reason to believe anybody.
            Err(error) => return Err(file_error("reading", &path, &error)),
        };
        let state = Some(self.trust_state.clone().unwrap_or_else(state_folder));
        Ok(Some(TrustSettings { root, state, now: now() }))
    }
}

/// What to say of a release's signature.
pub(crate) struct SignedText {
    pub(crate) text: String,
    pub(crate) json: serde_json::Value,
}

pub(crate) fn signed(signed: Option<(&str, &Standing)>) -> SignedText {
    match signed {
        None => SignedText {
            text: "not verified: no root is pinned; `packhorse trust pin FILE` pins one\n"
                .to_owned(),
            json: serde_json::Value::Null,
        },
        Some((role, Standing::Fresh { until: (_, until) })) => SignedText {
            text: format!("signed by `{role}`\n"),
            json: json!({ "role": role, "until": until.to_string() }),
        },
        Some((role, Standing::Stale { role: stale, at })) => SignedText {
            text: format!(
                "signed by `{role}`\nWARNING: the metadata of role `{stale}` expired at {at}: new content waits until \
                 whoever publishes runs `packhorse trust refresh`\n"
            ),
            json: json!({ "role": role, "stale": { "role": stale, "since": at.to_string() } }),
        },
    }
}

#[derive(clap::Args)]
pub(super) struct Pin {
    /// The root: a file from who looks after the distribution point.
    #[arg(required_unless_present = "first_use")]
    file: Option<PathBuf>,
    /// Believe the root this distribution point has now: whoever answers, answers for ever.
    #[arg(long, value_name = "URL-OR-DIR", conflicts_with = "file")]
    first_use: Option<String>,
    /// Pin it though another repository's root is pinned.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    authority: Authority,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn pin(args: &Pin) -> Result<Answer, Failure> {
    let root = root_of(args)?;
    let usage = |error: trust::Refusal| Failure::new(Exit::Usage, error);
    let new = Trusted::pinned(&root, None).map_err(usage)?;
    let path = pinned_path();
    let old = std::fs::read(&path).ok();
    let old = old.and_then(|old| Trusted::pinned(&old, None).ok());
    if let Some(old) = old.filter(|_| !args.replace)
        && (old.repository() != new.repository() || old.root_version() > new.root_version())
    {
        let text = format!(
            "another root is pinned in `{}`: version {} of repository {}; say `--replace` to pin this one",
            path.display(),
            old.root_version(),
            old.repository()
        );
        return Err(Failure::new(Exit::Decision, text));
    }
    write(&path, &root).map_err(|error| file_error("writing", &path, &error))?;
    let text = format!(
        "pinned version {} of repository {} in `{}`\n",
        new.root_version(),
        new.repository(),
        path.display()
    );
    let json =
        json!({ "file": path, "repository": new.repository(), "version": new.root_version() });
    Ok(done(text, json))
}

fn root_of(args: &Pin) -> Result<Vec<u8>, Failure> {
    if let Some(file) = &args.file {
        return std::fs::read(file).map_err(|error| file_error("reading", file, &error));
    }
    let location = args.first_use.as_deref().unwrap_or_default();
    let first = args.authority.open(location)?.read_limited(&trust::root_path(1), MOST_ROOT)?;
    let none = || format!("`{location}` is not signed: it has no `{}`", trust::root_path(1));
    first.ok_or_else(|| Failure::new(Exit::Failed, none()))
}

/// Whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}
