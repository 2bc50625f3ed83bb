use operate::Exit;
use serde_json::json;
use store::{TrustSettings, update_trust};
use trust::{RoleStatus, Standing, Want};

use super::{Client, now};
use crate::store::{Answer, Authority, Failure};

#[derive(clap::Args)]
pub(super) struct Status {
    /// The distribution point: a folder, `http(s)://…`, or a bucket (`s3://BUCKET/FOLDER`, `gs://…`, `az://…`).
    #[arg(value_name = "URL-OR-DIR")]
    point: String,
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    authority: Authority,
    /// Print the result as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &Status) -> Result<Answer, Failure> {
    let point = args.authority.open(&args.point)?;
    let pinned = args.client.settings()?;
    let is_pinned = pinned.is_some();
    let settings = if let Some(settings) = pinned {
        settings
    } else {
        let root = point.read_limited(&trust::root_path(1), 512 << 10)?;
        let none = || format!("`{}` is not signed: `packhorse trust init` begins", args.point);
        let root = root.ok_or_else(|| Failure::new(Exit::Failed, none()))?;
        TrustSettings { root, state: None, now: now() }
    };
    let verified = update_trust(&point, &settings, Want::Everything)?;
    let roles = verified.status();
    let refused: Vec<String> = verified.refused().map(ToString::to_string).collect();
    let mut text: String = roles.iter().map(line).collect();
    if !is_pinned {
        text += "no root is pinned here: this is what the distribution point says of itself\n";
    }
    for refusal in &refused {
        text += &format!("refused: {refusal}\n");
    }
    let (exit, standing) = match &verified.standing {
        Standing::Stale { role, at } => {
            text += &format!("out of time: role `{role}` expired at {at}; new content waits\n");
            (Exit::Decision, json!({ "stale": role, "since": at.to_string() }))
        }
        Standing::Fresh { until: (role, at) } => {
            text += &format!("good until {at}, when role `{role}` ends\n");
            (Exit::Done, json!({ "until": at.to_string(), "role": role }))
        }
    };
    let exit = if refused.is_empty() { exit } else { Exit::Damaged };
    let json = json!({
        "roles": roles,
        "standing": standing,
        "refused": refused,
        "pinned": is_pinned,
    });
    Ok(Answer { exit, text, json })
}

fn line(role: &RoleStatus) -> String {
    let ends = role.expires.map_or_else(|| "never signed".to_owned(), |at| format!("until {at}"));
    let names = if role.names.is_empty() {
        String::new()
    } else {
        format!(", may publish {}", role.names.join(" "))
    };
    let mut text = format!(
        "{} version {}, {ends}, {} releases{names}, {} of {} keys\n",
        role.role,
        role.version,
        role.releases,
        role.threshold,
        role.keys.len()
    );
    for key in &role.keys {
        text += &format!("  {key}\n");
    }
    text
}
