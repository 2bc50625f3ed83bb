//! A policy document written by hand, as JSON: what is left out is as deployments are unless somebody says otherwise.

use std::collections::BTreeSet;

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
    windows: Vec<Value>,
    #[serde(default)]
    settings: Option<Value>,
}

/// Reads a document; a deployment or a window that cannot be read is set aside.
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
        windows: Vec::new(),
        settings: settings(by_hand.settings.as_ref())
            .map_err(|reason| format!("its settings: {reason}"))?,
        quarantined: Vec::new(),
    };
    let mut ids = BTreeSet::new();
    for (number, value) in (1..).zip(&by_hand.deployments) {
        // One that cannot be told from others might be any of them: nothing is taken for withdrawn.
        let id = value["id"].as_str().ok_or_else(|| format!("deployment {number} has no `id`"))?;
        let read = if ids.insert(id) {
            read_one(value, id)
        } else {
            Err("another deployment of the document has the same id".to_owned())
        };
        match read {
            Ok(one) => document.deployments.push(one),
            Err(reason) => {
                document.quarantined.push(aside(ItemKind::Deployment, id, reason, value));
            }
        }
    }
    for value in &by_hand.windows {
        match read_window(value) {
            Ok(window) => document.windows.push(window),
            Err(reason) => {
                let name = value["name"].as_str().unwrap_or("?");
                document.quarantined.push(aside(ItemKind::Window, name, reason, value));
            }
        }
    }
    Ok(document)
}

fn aside(kind: ItemKind, name: &str, reason: String, value: &Value) -> Quarantined {
    let bytes = Hash::of(value.to_string().as_bytes());
    Quarantined { kind, name: name.into(), reason, bytes }
}

fn settings(value: Option<&Value>) -> Result<ClientSettings, String> {
    let Some(value) = value else { return Ok(ClientSettings::default()) };
    let text = |error: serde_json::Error| error.to_string();
    let mut whole = serde_json::to_value(ClientSettings::default()).map_err(text)?;
    lay_over(&mut whole, value)?;
    serde_json::from_value(whole).map_err(text)
}

fn read_window(value: &Value) -> Result<Window, String> {
    let window: Window =
        serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    window.check().map_err(|error| error.to_string())?;
    Ok(window)
}

fn read_one(value: &Value, id: &str) -> Result<Deployment, String> {
    let text = |at: &Value| at.as_str().map(str::to_owned);
    let id = DeploymentId::new(id).map_err(|error| error.to_string())?;
    let is_command = value["program"]["action"].get("command").is_some();
    let named = match text(&value["package"]["name"]) {
        Some(named) => named,
        None if is_command => "none".to_owned(),
        None => return Err("it names neither a package nor a command".to_owned()),
    };
    let package = PackageRef {
        name: PackageName::new(&named).map_err(|error| error.to_string())?,
        version: Version::new(text(&value["package"]["version"]).unwrap_or_default()),
        identity: ANY,
    };
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
        grace: None,
    };
    let whole = Deployment::new(id, package, program);
    let mut whole = serde_json::to_value(whole).map_err(|error| error.to_string())?;
    lay_over(&mut whole, value)?;
    let whole: Deployment = serde_json::from_value(whole).map_err(|error| error.to_string())?;
    whole.check().map_err(|error| error.to_string())?;
    Ok(whole)
}

/// What `above` says counts; what it leaves out stays. A word nobody knows is no word: it may be a wrong letter in one.
fn lay_over(below: &mut Value, above: &Value) -> Result<(), String> {
    match (below, above) {
        // A choice is one word of several: another word does not join it. Exit codes are any numbers.
        (Value::Object(below), Value::Object(above)) if !is_choice(below) => {
            for (name, value) in above {
                match below.get_mut(name) {
                    Some(below) if name == "own" => *below = value.clone(),
                    Some(below) => lay_over(below, value)?,
                    None => {
                        let known = below.keys().map(|name| format!("`{name}`"));
                        let known = known.collect::<Vec<_>>().join(", ");
                        return Err(format!("`{name}` means nothing there; known are {known}"));
                    }
                }
            }
        }
        (below, above) => *below = above.clone(),
    }
    Ok(())
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

    fn site() -> SiteCode {
        SiteCode::new("LOCAL").unwrap()
    }

    #[test]
    fn what_cannot_be_told_from_others_is_taken_for_none_of_them() {
        let refused = |text: &str| read(text, ClientId([1; 16]), &site()).unwrap_err();
        let nameless = r#"{ "sequence": 4, "deployments": [{ "id": "one" }, { "ID": "two" }] }"#;
        assert_eq!(refused(nameless), "deployment 2 has no `id`");
        let odd = r#"{ "sequence": 4, "settings": { "chek-in": 5 } }"#;
        assert!(refused(odd).starts_with("its settings: `chek-in` means nothing there"));
    }

    #[test]
    fn settings_are_laid_over_the_usual_ones_and_bad_windows_are_windows() {
        let text =
            r#"{ "sequence": 1, "settings": { "check-in": 5 }, "windows": [{ "name": "night" }] }"#;
        let document = read(text, ClientId([1; 16]), &site()).unwrap();
        assert_eq!((document.settings.check_in, document.settings.inventory), (5, 86_400));
        assert!(document.windows.is_empty() && document.has_windows());
    }

    #[test]
    fn the_second_of_one_id_is_set_aside() {
        let one = r#"{ "id": "one", "package": { "name": "redis" } }"#;
        let text =
            format!(r#"{{ "sequence": 1, "deployments": [{one}, {one}, {{ "id": "two" }}] }}"#);
        let document = read(&text, ClientId([1; 16]), &site()).unwrap();
        assert_eq!((document.deployments.len(), document.quarantined.len()), (1, 2));
    }

    #[test]
    fn what_is_left_out_is_as_usual_and_what_is_wrong_harms_itself() {
        let text = r#"{ "sequence": 4, "deployments": [
            { "id": "redis", "package": { "name": "redis", "version": "7.2.4" } },
            { "id": "say", "program": { "action": { "command": { "direct": ["echo", "a b"] } }, "limit": 5 } },
            { "id": "bad id" }, { "id": "odd", "purpose": "sometimes" },
            { "id": "letter", "package": { "name": "redis" }, "dedline": null } ] }"#;
        let document = read(text, ClientId([1; 16]), &site()).unwrap();
        assert_eq!(document.deployments.len(), 2);
        let [redis, say] = &document.deployments[..] else { panic!() };
        assert_eq!(redis.program.action, Action::Package(PackageAction::Install));
        let words = vec!["echo".to_owned(), "a b".to_owned()];
        assert_eq!(say.program.action, Action::Command(CommandLine::Direct(words)));
        assert_eq!(say.program.limit, Some(5));
        let aside: Vec<&str> = document.quarantined.iter().map(|one| &*one.name).collect();
        assert_eq!(aside, ["bad id", "odd", "letter"]);
        let reason = &document.quarantined[2].reason;
        assert!(reason.starts_with("`dedline` means nothing there"), "{reason}");
        assert!(reason.contains("`deadline`"), "{reason}");
    }
}
