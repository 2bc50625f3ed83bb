//! A policy document written by hand, as JSON: what is left out is as deployments are unless somebody says otherwise.

use deployment::{
    Action, ClientId, ClientSettings, Deployment, DeploymentId, ExitFamily, ExitMap, ItemKind,
    PackageAction, PackageRef, PolicyDocument, Program, Quarantined, RestartRule, RunAs, Window,
};
use model::{Hash, PackageName, Version};
use policy::{SiteCode, Stamp};
use serde::Deserialize;
use serde_json::Value;

/// An identity that stands for whatever a distribution point has under the version.
pub(crate) const ANY: Hash = Hash([0; 32]);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ByHand {
    sequence: u64,
    #[serde(default)]
    deployments: Vec<Value>,
    #[serde(default)]
    windows: Vec<Window>,
    #[serde(default)]
    settings: ClientSettings,
}

/// Its place among those before it, if it can be read at all.
pub(crate) fn stamp(text: &str) -> Option<Stamp> {
    let by_hand: ByHand = serde_json::from_str(text).ok()?;
    Some(Stamp { epoch: 0, sequence: by_hand.sequence })
}

/// Reads a document; a deployment that cannot be read is set aside.
pub(crate) fn read(
    text: &str,
    client: ClientId,
    site: &SiteCode,
) -> Result<PolicyDocument, String> {
    let by_hand: ByHand = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut document = PolicyDocument {
        stamp: Stamp { epoch: 0, sequence: by_hand.sequence },
        site: site.clone(),
        client,
        made: jiff::Timestamp::UNIX_EPOCH,
        deployments: Vec::new(),
        windows: by_hand.windows,
        settings: by_hand.settings,
        quarantined: Vec::new(),
    };
    for value in by_hand.deployments {
        match read_one(&value) {
            Ok(one) => document.deployments.push(one),
            Err(reason) => {
                let name = value["id"].as_str().unwrap_or("?").into();
                let bytes = Hash::of(value.to_string().as_bytes());
                let kind = ItemKind::Deployment;
                document.quarantined.push(Quarantined { kind, name, reason, bytes });
            }
        }
    }
    Ok(document)
}

fn read_one(value: &Value) -> Result<Deployment, String> {
    let text = |at: &Value| at.as_str().map(str::to_owned);
    let id = text(&value["id"]).ok_or("it has no `id`")?;
    let id = DeploymentId::new(&id).map_err(|error| error.to_string())?;
    let named = text(&value["package"]["name"]).unwrap_or_else(|| "none".to_owned());
    let package = PackageRef {
        name: PackageName::new(&named).map_err(|error| error.to_string())?,
        version: Version::new(text(&value["package"]["version"]).unwrap_or_default()),
        identity: ANY,
    };
    let is_command = value["program"]["action"].get("command").is_some();
    let family = if is_command { ExitFamily::Script } else { ExitFamily::Packhorse };
    let program = Program {
        name: "install".into(),
        action: Action::Package(PackageAction::Install),
        run_as: RunAs::System,
        detection: None,
        requirement: None,
        exit_codes: ExitMap::of(family),
        estimate: None,
        limit: None,
        restart: RestartRule::Leave,
        rerunnable: !is_command,
        least_rate: None,
    };
    let whole = Deployment::new(id, package, program);
    let mut whole = serde_json::to_value(whole).map_err(|error| error.to_string())?;
    lay_over(&mut whole, value);
    let whole: Deployment = serde_json::from_value(whole).map_err(|error| error.to_string())?;
    whole.check().map_err(|error| error.to_string())?;
    Ok(whole)
}

/// What `above` says counts; what it leaves out stays.
fn lay_over(below: &mut Value, above: &Value) {
    match (below, above) {
        // A choice is one word of several: another word does not join it.
        (Value::Object(below), Value::Object(above)) if !is_choice(below) => {
            for (name, value) in above {
                lay_over(below.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}

fn is_choice(object: &serde_json::Map<String, Value>) -> bool {
    object.len() == 1
        && ["package", "command", "direct", "shell"].iter().any(|word| object.contains_key(*word))
}

#[cfg(test)]
mod tests {
    use deployment::{Action, ClientId, CommandLine, PackageAction};
    use policy::SiteCode;

    use super::read;

    #[test]
    fn what_is_left_out_is_as_usual_and_what_is_wrong_harms_itself() {
        let text = r#"{ "sequence": 4, "deployments": [
            { "id": "redis", "package": { "name": "redis", "version": "7.2.4" } },
            { "id": "say", "program": { "action": { "command": { "direct": ["echo", "a b"] } }, "limit": 5 } },
            { "id": "bad id" }, { "id": "odd", "purpose": "sometimes" } ] }"#;
        let site = SiteCode::new("LOCAL").unwrap();
        let document = read(text, ClientId([1; 16]), &site).unwrap();
        assert_eq!(document.deployments.len(), 2);
        let [redis, say] = &document.deployments[..] else { panic!() };
        assert_eq!(redis.program.action, Action::Package(PackageAction::Install));
        let words = vec!["echo".to_owned(), "a b".to_owned()];
        assert_eq!(say.program.action, Action::Command(CommandLine::Direct(words)));
        assert_eq!(say.program.limit, Some(5));
        let aside: Vec<&str> = document.quarantined.iter().map(|one| &*one.name).collect();
        assert_eq!(aside, ["bad id", "odd"]);
    }
}
