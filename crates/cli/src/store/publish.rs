use std::{path::PathBuf, sync::Arc, time::Duration};

use model::Version;
use operate::Exit;
use serde_json::json;
use store::{PublishOptions, Signed, Signing};

use crate::trust;

use super::{Answer, Authority, Failure, answer::Bar};

/// Publish a package: into a folder or share, or an S3-compatible bucket, from where clients fetch it.
///
/// Readers see the release whole or not at all. Interrupted, the same command goes on with what is there.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  packhorse publish redis-7.2.4.package --to /srv/packages\n  \
packhorse publish redis-7.2.4.package --to s3://packages/main --base 7.2.3\n  \
packhorse publish redis-7.2.4.package --to /srv/packages --key caches.key --role caches\n\n\
Exit codes: 0 done, 1 failed and nothing changed, 2 usage, 4 the version is taken, or a key is lacking, 5 damaged package, 6 in use, 7 no \
space, 9 it was there already")]
pub(crate) struct Args {
    /// The package, or an installer.
    package: PathBuf,
    /// The distribution point: a folder, or a bucket (`s3://BUCKET/FOLDER`, `gs://…`, `az://…`).
    #[arg(long, value_name = "URL-OR-DIR")]
    to: String,
    /// Make deltas from these versions [default: the last three].
    #[arg(long, value_name = "VERSION", num_args = 1..)]
    base: Option<Vec<String>>,
    /// Make no deltas.
    #[arg(long, conflicts_with = "base")]
    no_base: bool,
    /// Seconds making deltas may take; after that the next best is kept.
    #[arg(long, value_name = "SECONDS")]
    budget: Option<u64>,
    /// Replace other content published under the same version.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    keys: trust::Keys,
    /// The team that signs [default: the owner of everything].
    #[arg(long, value_name = "TEAM", requires = "key")]
    role: Option<String>,
    #[command(flatten)]
    client: trust::Client,
    #[command(flatten)]
    authority: Authority,
    /// Print the result as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Args {
    fn signing(&self) -> Result<Option<Arc<Signing>>, Failure> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let root = self.client.settings()?.map(|settings| settings.root);
        let role = self.role.clone().unwrap_or_else(|| "targets".to_owned());
        let keys = self.keys.read()?;
        let (now, lifetimes) = (trust::now(), ::trust::Lifetimes::default());
        Ok(Some(Arc::new(Signing { root, role, keys, now, lifetimes })))
    }
}

pub(crate) fn run(args: &Args) -> Result<Answer, Failure> {
    let point = args.authority.open(&args.to)?;
    let named = args.base.as_ref().map(|bases| bases.iter().map(|base| Version::new(&**base)));
    let bases = if args.no_base { Some(Vec::new()) } else { named.map(Iterator::collect) };
    let options = PublishOptions {
        bases,
        budget: args.budget.map(Duration::from_secs),
        replace: args.replace,
        signing: args.signing()?,
        ..PublishOptions::default()
    };
    let bar = Bar::new(args.json);
    let published = store::publish(&point, &args.package, &options, &mut |doing, done, of| {
        bar.show(doing, done, of);
    })?;
    drop(bar);
    let release = &published.release;
    let signed = published.signed.as_ref();
    let deltas = release
        .deltas
        .iter()
        .map(|delta| json!({ "base": delta.base, "bytes": delta.object.length }));
    let json = json!({
        "version": release.version,
        "identity": release.identity,
        "manifest": release.manifest,
        "written-bytes": published.written,
        "already": published.already,
        "signed": signed.map(|signed| json!({ "role": signed.role, "visible": signed.switched })),
        "deltas": deltas.collect::<Vec<_>>(),
    });
    let mut text = if published.already {
        format!("version {} is there already\n", release.version)
    } else {
        format!("version {} published, {} bytes written\n", release.version, published.written)
    };
    for delta in &release.deltas {
        text += &format!("delta of {} bytes from {}\n", delta.object.length, delta.base);
    }
    text += &signed.map(signed_text).unwrap_or_default();
    let exit = if published.already { Exit::Nothing } else { Exit::Done };
    Ok(Answer { exit, text, json })
}

/// Who signed, and whether readers see it.
pub(crate) fn signed_text(signed: &Signed) -> String {
    if signed.switched {
        return format!("signed by `{}`\n", signed.role);
    }
    format!(
        "signed by `{}`; clients see it after `packhorse trust refresh` with the online key\n",
        signed.role
    )
}
