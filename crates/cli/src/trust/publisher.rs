use std::path::PathBuf;

use jiff::SignedDuration;
use model::Hash;
use operate::Exit;
use serde_json::json;
use store::{Point, TrustLock, apply_trust, edit_trust};
use trust::{Edit, FinishError, Lifetimes, NamePattern, Party, PublicKey, SigningKey, TIMESTAMP};

use super::{Client, Keys, client, done, file_error, keys, now};
use crate::store::{Answer, Authority, Failure};

/// A distribution point that is changed.
#[derive(clap::Args)]
pub(super) struct At {
    /// The distribution point: a folder, or a bucket (`s3://BUCKET/FOLDER`, `gs://…`, `az://…`).
    #[arg(value_name = "URL-OR-DIR")]
    point: String,
    #[command(flatten)]
    authority: Authority,
    /// How many days the root is good for.
    #[arg(long, value_name = "DAYS", default_value = "365")]
    root_days: i64,
    /// How many days what owners and teams sign is good for.
    #[arg(long, value_name = "DAYS", default_value = "180")]
    days: i64,
    /// How many days what the online key signs is good for.
    #[arg(long, value_name = "DAYS", default_value = "7")]
    online_days: i64,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl At {
    fn lifetimes(&self) -> Lifetimes {
        let days = |days: i64| SignedDuration::from_hours(days.saturating_mul(24));
        Lifetimes {
            root: days(self.root_days),
            targets: days(self.days),
            online: days(self.online_days),
        }
    }
}

/// What distribution points may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Points {
    /// Whoever has less hides it, and is refused.
    HaveEverything,
    /// A point may have older releases, or none of a package.
    MayLag,
}

#[derive(clap::Args)]
pub(super) struct Init {
    #[command(flatten)]
    pub(super) at: At,
    /// The keys of the root.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    root_key: Vec<PathBuf>,
    /// How many of them must sign a root.
    #[arg(long, value_name = "N", default_value = "1")]
    threshold: u64,
    /// The keys that may publish everything, and delegate.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    owner_key: Vec<PathBuf>,
    /// How many of them must sign.
    #[arg(long, value_name = "N", default_value = "1")]
    owner_threshold: u64,
    /// The key that states what is newest.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    online_key: Vec<PathBuf>,
    /// Whether distribution points may have less than everything that is signed, as those of sites do.
    #[arg(long, value_enum, default_value = "have-everything")]
    points: Points,
    /// Where to write the root that clients pin.
    #[arg(long, value_name = "FILE")]
    root_out: Option<PathBuf>,
    #[command(flatten)]
    keys: Keys,
}

pub(super) fn init(args: &Init) -> Result<Answer, Failure> {
    let point = args.at.authority.open(&args.at.point)?;
    let _lock = TrustLock::take(&point)?;
    if point.read_limited(TIMESTAMP, 1 << 20)?.is_some() {
        let text = format!(
            "`{}` is signed already: `packhorse trust status` says by whom, `packhorse trust rotate` changes it",
            args.at.point
        );
        return Err(Failure::new(Exit::Decision, text));
    }
    let root = args.keys.read_or_create(&args.root_key)?;
    let owner = args.keys.read_or_create(&args.owner_key)?;
    let online = args.keys.read_or_create(&args.online_key)?;
    let party = |keys: &[SigningKey], threshold| Party {
        keys: keys.iter().map(SigningKey::public).collect(),
        threshold,
    };
    let mut edit = Edit::create(
        &party(&root, args.threshold),
        &party(&owner, args.owner_threshold),
        &party(&online, 1),
        Hash(keys::random()?),
    )?;
    edit.let_points_lag(args.points == Points::MayLag);
    let all: Vec<SigningKey> = root.into_iter().chain(owner).chain(online).collect();
    let signed = write(&point, edit, &all, &args.at)?;
    let path = trust::root_path(1);
    if let Some(out) = &args.root_out {
        let root = point.read_limited(&path, 512 << 10)?.unwrap_or_default();
        client::write(out, &root).map_err(|error| file_error("writing", out, &error))?;
    }
    let pin = args.root_out.as_ref().map_or(path, |out| out.display().to_string());
    let text =
        format!("signed: {}\nclients pin it with `packhorse trust pin {pin}`\n", signed.join(", "));
    Ok(done(text, json!({ "signed": signed, "root": pin })))
}

/// Signs and writes a change.
fn write(point: &Point, edit: Edit, keys: &[SigningKey], at: &At) -> Result<Vec<String>, Failure> {
    let change = edit.finish(keys, now(), &at.lifetimes())?;
    apply_trust(point, &change, true)?;
    Ok(change.signed)
}

/// What a change of an existing repository has in common.
#[derive(clap::Args)]
pub(super) struct Changing {
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    client: Client,
}

impl Changing {
    fn root(&self) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.client.settings()?.map(|settings| settings.root))
    }

    /// Changes a repository under its lock.
    fn change(
        &self,
        at: &At,
        change: impl FnOnce(&mut Edit, &[SigningKey]) -> Result<(), Failure>,
    ) -> Result<Answer, Failure> {
        let point = at.authority.open(&at.point)?;
        let root = self.root()?;
        let keys = self.keys.read()?;
        let lock = TrustLock::take(&point)?;
        let mut edit = edit_trust(&point, root.as_deref())?;
        change(&mut edit, &keys)?;
        let signed = write(&point, edit, &keys, at)?;
        lock.settle_all(&point, root.as_deref())?;
        Ok(done(format!("signed: {}\n", signed.join(", ")), json!({ "signed": signed })))
    }
}

#[derive(clap::Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    pub(super) at: At,
    #[command(flatten)]
    changing: Changing,
    /// Keys to add: `root=FILE`, `targets=FILE`, `online=FILE`.
    #[arg(long, value_name = "ROLE=FILE", num_args = 1.., value_parser = pair)]
    add: Vec<(String, String)>,
    /// Keys to take away: their public files, or what `packhorse trust status` calls them.
    #[arg(long, value_name = "ROLE=KEY", num_args = 1.., value_parser = pair)]
    remove: Vec<(String, String)>,
    /// How many of a role's keys must sign from now on.
    #[arg(long, value_name = "ROLE=N", num_args = 1.., value_parser = pair)]
    threshold: Vec<(String, String)>,
    /// Where the new root waits for signatures: written if some are lacking, taken from there if it is there.
    #[arg(long, value_name = "FILE")]
    draft: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (role, value) = text.split_once('=').ok_or("give ROLE=VALUE, such as `online=new.key`")?;
    Ok((role.to_owned(), value.to_owned()))
}

pub(super) fn rotate(args: &Rotate) -> Result<Answer, Failure> {
    let drafted = args.draft.as_ref().filter(|draft| draft.exists());
    let mut lacking = None;
    let result = args.changing.change(&args.at, |edit, keys| {
        if let Some(draft) = drafted {
            let bytes =
                std::fs::read(draft).map_err(|error| file_error("reading", draft, &error))?;
            edit.adopt(&bytes)?;
        } else {
            edit.rotate(&args.added()?, &args.removed()?, &args.thresholds()?)?;
        }
        // What is written as a draft is what would have been signed.
        if let Err(FinishError::Keys { draft: Some(draft), .. }) =
            edit.clone().finish(keys, now(), &args.at.lifetimes())
        {
            lacking = Some(draft);
        }
        Ok(())
    });
    if let (Err(_), Some(text), Some(draft)) = (&result, lacking, &args.draft) {
        client::write(draft, text.as_bytes())
            .map_err(|error| file_error("writing", draft, &error))?;
    }
    result
}

impl Rotate {
    fn added(&self) -> Result<Vec<(String, PublicKey)>, Failure> {
        let read = |(role, file): &(String, String)| {
            Ok((role.clone(), keys::read_public(&PathBuf::from(file))?))
        };
        self.add.iter().map(read).collect()
    }

    fn removed(&self) -> Result<Vec<(String, String)>, Failure> {
        let named = |(role, key): &(String, String)| Ok((role.clone(), keys::id_of(key)?));
        self.remove.iter().map(named).collect()
    }

    fn thresholds(&self) -> Result<Vec<(String, u64)>, Failure> {
        let parse = |(role, number): &(String, String)| match number.parse() {
            Ok(number) => Ok((role.clone(), number)),
            Err(_) => Err(Failure::new(Exit::Usage, format!("`{number}` is no number"))),
        };
        self.threshold.iter().map(parse).collect()
    }
}

#[derive(clap::Args)]
pub(super) struct Sign {
    /// The draft `packhorse trust rotate` wrote.
    draft: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn sign(args: &Sign) -> Result<Answer, Failure> {
    let mut bytes =
        std::fs::read(&args.draft).map_err(|error| file_error("reading", &args.draft, &error))?;
    let keys = args.keys.read()?;
    if keys.is_empty() {
        return Err(Failure::new(Exit::Usage, "give the key to sign with: `--key FILE`"));
    }
    for key in &keys {
        bytes = trust::sign_draft(&bytes, key)?;
    }
    client::write(&args.draft, &bytes)
        .map_err(|error| file_error("writing", &args.draft, &error))?;
    let ids: Vec<String> = keys.iter().map(|key| key.public().id()).collect();
    Ok(done(format!("signed with {}\n", ids.join(", ")), json!({ "keys": ids })))
}

#[derive(clap::Args)]
pub(super) struct Delegate {
    #[command(flatten)]
    pub(super) at: At,
    /// The team.
    team: String,
    /// The names of its packages; `*` and `?` stand for what may be anything.
    #[arg(long, value_name = "PATTERN", num_args = 1.., required = true)]
    names: Vec<NamePattern>,
    /// The team's public keys.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    team_key: Vec<PathBuf>,
    /// How many of them must sign.
    #[arg(long, value_name = "N", default_value = "1")]
    threshold: u64,
    #[command(flatten)]
    changing: Changing,
}

pub(super) fn delegate(args: &Delegate) -> Result<Answer, Failure> {
    let keys = args.team_key.iter().map(|path| keys::read_public(path));
    let party = Party { keys: keys.collect::<Result<_, _>>()?, threshold: args.threshold };
    args.changing.change(&args.at, |edit, _| Ok(edit.delegate(&args.team, &party, &args.names)?))
}

#[derive(clap::Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    pub(super) at: At,
    /// The team.
    team: String,
    /// Only this key of it: its public file, or what `packhorse trust status` calls it.
    #[arg(long, value_name = "KEY")]
    team_key: Option<String>,
    #[command(flatten)]
    changing: Changing,
}

pub(super) fn revoke(args: &Revoke) -> Result<Answer, Failure> {
    args.changing.change(&args.at, |edit, _| Ok(edit.revoke(&args.team, args.team_key.as_deref())?))
}

#[derive(clap::Args)]
pub(super) struct Refresh {
    #[command(flatten)]
    pub(super) at: At,
    /// From now on, distribution points may have less than everything that is signed, or not; the owner's key signs that.
    #[arg(long, value_enum)]
    points: Option<Points>,
    #[command(flatten)]
    changing: Changing,
}

pub(super) fn refresh(args: &Refresh) -> Result<Answer, Failure> {
    args.changing.change(&args.at, |edit, keys| {
        if let Some(points) = args.points {
            edit.let_points_lag(points == Points::MayLag);
        }
        // Who gives an owner's or a team's keys has that signed for longer, too.
        for role in edit.roles() {
            if edit.can_sign(&role, keys) {
                edit.renew(&role);
            }
        }
        Ok(())
    })
}
