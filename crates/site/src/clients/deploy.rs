//! What people decide about clients: deployments, how they go on, who belongs together.

use std::collections::BTreeMap;

use deployment::{
    Action, Audience, ClientId, CollectionSpec, CommandLine, Deployment, DeploymentId, ExitFamily,
    ExitMap, HaltRule, Meaning, PackageAction, PackageRef, Preview, Program, Purpose, Recurrence,
    RestartRule, RetryLimits, RetryWhom, Rollout, RolloutEffect, RolloutEvent, RolloutPlan, Rule,
    RunAs, Supersedence, Wave, When, Why, WindowRule, Withdrawal, normal,
};
use model::{Condition, Hash, PackageName, Version};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Clients,
    fleet::{no_collection, written},
    row::{Change, DeploymentRow, RolloutRow, Target},
    wall,
};
use crate::{Server, SiteError, server::log};

/// An identity that stands for no content.
const NONE: Hash = Hash([0; 32]);
/// So many clients of each kind are named in a preview.
const NAMED: usize = 10;

/// A deployment to be made: a package that was published here, or a command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own in the document")]
pub struct NewDeployment {
    /// Its id: 1 to 64 letters, digits, `-`, `.`, `_`.
    pub id: String,
    /// What people call it; its id where unsaid.
    pub title: Option<String>,
    /// The package.
    #[schema(value_type = Option<String>)]
    pub package: Option<PackageName>,
    /// Which version of it; the newest where unsaid.
    pub version: Option<String>,
    /// What is done with the package: `install`, `uninstall`, `repair`.
    #[schema(value_type = Option<String>)]
    pub action: Option<PackageAction>,
    /// A command instead: `{"direct": [WORD, …]}` or `{"shell": LINE}`.
    #[schema(value_type = Option<Object>)]
    pub command: Option<CommandLine>,
    /// Whom it is for.
    #[schema(value_type = Object)]
    pub target: Target,
    /// It runs once for each of these users, when they are logged on, and on their accounts where it is a command.
    pub users: Vec<Box<str>>,
    /// It runs once for every user, when they are logged on, and on their accounts where it is a command.
    pub every_user: bool,
    /// For users, but on the system's account.
    pub as_system: bool,
    /// It may run, and does not have to.
    pub available: bool,
    /// Not before: an instant.
    #[schema(value_type = Option<Object>)]
    pub start: Option<When>,
    /// By then it is to be done.
    #[schema(value_type = Option<Object>)]
    pub deadline: Option<When>,
    /// Not any longer.
    #[schema(value_type = Option<Object>)]
    pub expiry: Option<When>,
    /// Maintenance windows do not count.
    pub ignore_windows: bool,
    /// From its deadline on they do not.
    pub windows_until_deadline: bool,
    /// It runs again and again: `from`, `zone`, `cadence`.
    #[schema(value_type = Option<Object>)]
    pub recurrence: Option<Recurrence>,
    /// Deployments that must be done before.
    #[schema(value_type = Vec<String>)]
    pub depends_on: Vec<DeploymentId>,
    /// Deployments whose place it takes.
    #[schema(value_type = Vec<String>)]
    pub supersedes: Vec<DeploymentId>,
    /// It is done where this is so; asked before and after.
    #[schema(value_type = Option<Object>)]
    pub detection: Option<Condition>,
    /// It is nothing for a machine where this is not so.
    #[schema(value_type = Option<Object>)]
    pub requirement: Option<Condition>,
    /// Seconds it takes: it starts only where a maintenance window is open that long.
    pub estimate: Option<u32>,
    /// What exit codes mean, where it is not as usual: `done`, `restart`, `restarting`, `busy`, `retry`, `not-applicable`, `failed`.
    #[schema(value_type = Object)]
    pub exit_codes: BTreeMap<i32, Meaning>,
    /// What becomes of a restart of the machine: `leave`, `by-itself`, `{"if-asked": {"countdown": SECONDS}}`, `{"always": …}`.
    #[schema(value_type = Option<Object>)]
    pub restart: Option<RestartRule>,
    /// Seconds until a program is ended.
    pub limit: Option<u32>,
    /// A command that was cut off may simply be run again.
    pub rerunnable: bool,
    /// The package is uninstalled where the deployment is withdrawn.
    pub uninstall_when_withdrawn: bool,
    /// How failures are answered.
    #[schema(value_type = Option<Object>)]
    pub retry: Option<RetryLimits>,
    /// In what steps; everybody at once where there are none.
    #[schema(value_type = Vec<Object>)]
    pub waves: Vec<Wave>,
    /// When it stops by itself.
    #[schema(value_type = Option<Object>)]
    pub halt: Option<HaltRule>,
}

/// A deployment that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Deployed {
    /// Its id.
    pub deployment: String,
    /// What its author should know.
    pub warnings: Vec<String>,
}

fn said(error: impl std::fmt::Display) -> SiteError {
    SiteError::refused(error.to_string())
}

fn no_deployment(id: &str) -> SiteError {
    SiteError::refused(format!("there is no deployment `{id}`: `packhorse site deployment list`"))
}

impl NewDeployment {
    /// The program, and what it needs.
    fn program(&self) -> Result<Program, SiteError> {
        let action = match (&self.command, &self.package) {
            (Some(command), None) => Action::Command(command.clone()),
            (None, Some(_)) => Action::Package(self.action.unwrap_or(PackageAction::Install)),
            (Some(_), Some(_)) => {
                return Err(SiteError::refused("name a package or a command, not both".to_owned()));
            }
            (None, None) => {
                return Err(SiteError::refused(
                    "it names neither a package nor a command".to_owned(),
                ));
            }
        };
        let is_command = matches!(action, Action::Command(_));
        let family = if is_command { ExitFamily::Script } else { ExitFamily::Packhorse };
        Ok(Program {
            exit_codes: ExitMap { family, own: self.exit_codes.clone() },
            limit: self.limit,
            estimate: self.estimate,
            restart: self.restart.unwrap_or(RestartRule::Leave),
            detection: self.detection.clone(),
            requirement: self.requirement.clone(),
            rerunnable: self.rerunnable || !is_command,
            run_as: match self.audience()? {
                Audience::Machine => RunAs::System,
                _ if self.as_system => RunAs::System,
                _ => RunAs::User,
            },
            ..Program::new("install", action)
        })
    }

    /// Whether it is for the machine or for users.
    fn audience(&self) -> Result<Audience, SiteError> {
        let refused = |why: &str| Err(SiteError::refused(why.to_owned()));
        match (self.every_user, &*self.users) {
            (false, []) if self.as_system => {
                refused("only what is for users says on whose account")
            }
            (false, []) => Ok(Audience::Machine),
            _ if self.command.is_none() => {
                refused("a package is installed for the machine; only a command runs for users")
            }
            (true, []) => Ok(Audience::EveryUser),
            (false, users) => Ok(Audience::Users(users.to_vec())),
            (true, _) => refused("it is for every user, or for those that are named"),
        }
    }

    fn plan(&self) -> Result<RolloutPlan, SiteError> {
        let mut plan = RolloutPlan::at_once();
        if !self.waves.is_empty() {
            plan.waves.clone_from(&self.waves);
        }
        plan.halt = self.halt.unwrap_or(plan.halt);
        plan.check().map_err(said)?;
        Ok(plan)
    }
}

impl Server {
    /// The release of a package that is meant.
    fn release_meant(
        &self,
        name: &PackageName,
        version: Option<&str>,
    ) -> Result<PackageRef, SiteError> {
        let unknown = || {
            SiteError::refused(format!(
                "no package `{name}` here: `packhorse site publish` brings one"
            ))
        };
        let newest = {
            let desk = self.desk();
            let id = desk.site().package_id(name).ok_or_else(unknown)?;
            desk.site().package(id).and_then(|package| package.newest).ok_or_else(unknown)?.manifest
        };
        let index = store::releases(self.store(), name)?.ok_or_else(unknown)?;
        let is_meant = |release: &&content::Release| match version {
            Some(version) => release.version.as_str() == version,
            None => release.identity == newest,
        };
        let release = index.releases.iter().find(is_meant).ok_or_else(|| {
            let known: Vec<&str> = index.releases.iter().map(|one| one.version.as_str()).collect();
            let version = version.unwrap_or("the newest");
            SiteError::refused(format!(
                "`{name}` {version} is not here; here are: {}",
                known.join(", ")
            ))
        })?;
        Ok(PackageRef {
            name: name.clone(),
            version: release.version.clone(),
            identity: release.identity,
        })
    }

    /// Makes a deployment; whom it is for hears of it at once.
    pub fn deploy(&self, new: &NewDeployment) -> Result<Deployed, SiteError> {
        let id = DeploymentId::new(&new.id).map_err(said)?;
        let program = new.program()?;
        let package = match &new.package {
            Some(name) => self.release_meant(name, new.version.as_deref())?,
            None => PackageRef {
                name: PackageName::new("none").map_err(said)?,
                version: Version::new(String::new()),
                identity: NONE,
            },
        };
        let plan = new.plan()?;
        let target = new.target.clone();
        if target.is_nobody() {
            return Err(SiteError::refused(
                "it is for nobody: name a collection or clients; for all clients say so (`--everybody`)".to_owned(),
            ));
        }
        let withdrawal = if new.uninstall_when_withdrawn {
            Withdrawal::Run(Action::Package(PackageAction::Uninstall))
        } else {
            Withdrawal::Leave
        };
        let deployment = Deployment {
            title: new.title.as_deref().unwrap_or(id.as_str()).into(),
            purpose: if new.available { Purpose::Available } else { Purpose::Required },
            start: new.start.clone(),
            deadline: new.deadline.clone(),
            expiry: new.expiry.clone(),
            recurrence: new.recurrence.clone(),
            windows: match (new.ignore_windows, new.windows_until_deadline) {
                (true, _) => WindowRule::Ignore,
                (false, true) => WindowRule::UntilDeadline,
                (false, false) => WindowRule::Inside,
            },
            depends_on: new.depends_on.clone(),
            supersedes: new
                .supersedes
                .iter()
                .map(|old| Supersedence { deployment: old.clone(), first: None })
                .collect(),
            audience: new.audience()?,
            withdrawal,
            retry: new.retry.unwrap_or_default(),
            ..Deployment::new(id.clone(), package, program)
        };
        deployment.check().map_err(said)?;
        let now = self.clients().now();
        let warnings = self.clients().write(|fleet| {
            if fleet.deployments.contains_key(&id) {
                return Err(SiteError::refused(format!(
                    "there is a deployment `{id}` already: `packhorse site deployment remove {id}` first, or take another id"
                )));
            }
            fleet.check_target(&target)?;
            let members: Vec<ClientId> = fleet.members(&target).collect();
            let row = DeploymentRow {
                deployment: deployment.clone(),
                target: target.clone(),
                plan: plan.clone(),
                made: wall(),
            };
            let (fatal, worth) = fleet.review(&row, &members);
            if !fatal.is_empty() {
                return Err(SiteError::refused(format!("`{id}`: {}", fatal.join("; "))));
            }
            let rollout =
                Rollout::start(id.clone(), plan.clone(), members, now).map_err(said)?;
            // Of what had this id before, results are no longer of interest.
            let mut changes: Vec<Change> = Vec::new();
            for (client, known) in &fleet.clients {
                if known.results.values().any(|one| *one.run.deployment == *id.as_str()) {
                    let mut row = known.clone();
                    row.results.retain(|_, one| *one.run.deployment != *id.as_str());
                    changes.push(Change::Client(*client, Box::new(row)));
                }
            }
            changes.push(Change::Deployment(id.clone(), Some(Box::new(row))));
            let rollout = RolloutRow { rollout: rollout.course().clone() };
            changes.push(Change::Rollout(id.clone(), Some(Box::new(rollout))));
            Ok((worth, changes))
        })?;
        log("deployed", &json!({ "deployment": id, "package": new.package, "warnings": warnings }));
        Ok(Deployed { deployment: id.to_string(), warnings })
    }

    /// Takes a deployment away: clients hear that it is withdrawn.
    pub fn remove_deployment(&self, id: &str) -> Result<(), SiteError> {
        let known = DeploymentId::new(id).map_err(said)?;
        self.clients().write(|fleet| {
            if !fleet.deployments.contains_key(&known) {
                return Err(no_deployment(id));
            }
            let offers = fleet.rollouts.get(&known).into_iter().flat_map(Rollout::clients);
            let offers = offers.map(|client| Change::Offer(known.clone(), client, None));
            let gone =
                [Change::Deployment(known.clone(), None), Change::Rollout(known.clone(), None)];
            Ok(((), offers.chain(gone).collect()))
        })?;
        log("withdrawn", &json!({ "deployment": id }));
        self.sweep_artifacts();
        Ok(())
    }

    /// Somebody says how a deployment goes on.
    fn steer(&self, id: &str, event: RolloutEvent) -> Result<(), SiteError> {
        let known = DeploymentId::new(id).map_err(said)?;
        if !self.clients().fleet().rollouts.contains_key(&known) {
            return Err(no_deployment(id));
        }
        self.clients().rollout(&known, &event)
    }

    /// No starts until it is resumed.
    pub fn pause_deployment(&self, id: &str, by: &str) -> Result<(), SiteError> {
        self.steer(id, RolloutEvent::Pause(by.into()))
    }

    /// It goes on.
    pub fn resume_deployment(&self, id: &str) -> Result<(), SiteError> {
        self.steer(id, RolloutEvent::Resume)
    }

    /// No starts any more.
    pub fn stop_deployment(&self, id: &str, by: &str) -> Result<(), SiteError> {
        self.steer(id, RolloutEvent::Stop(by.into()))
    }

    /// Somebody agrees that the next wave begins, once all else it waits for is there.
    pub fn approve_deployment(&self, id: &str) -> Result<(), SiteError> {
        self.steer(id, RolloutEvent::Approve)
    }

    /// The next wave begins now.
    pub fn next_wave(&self, id: &str) -> Result<(), SiteError> {
        self.steer(id, RolloutEvent::NextWave)
    }

    /// Another try for these clients, or for all that failed.
    pub fn retry_deployment(&self, id: &str, clients: &[ClientId]) -> Result<(), SiteError> {
        let whom = if clients.is_empty() {
            RetryWhom::All
        } else {
            RetryWhom::Some(clients.iter().copied().collect())
        };
        self.steer(id, RolloutEvent::Retry(whom))
    }

    /// Saves a collection, new or changed.
    pub fn save_collection(&self, spec: &CollectionSpec) -> Result<(), SiteError> {
        self.clients().write(|fleet| {
            // What is wrong with it is found where it does no harm: nobody is asked about it yet.
            fleet.collections.check(spec.clone()).map_err(said)?;
            let spec = CollectionSpec { name: normal(&spec.name), ..spec.clone() };
            Ok(((), vec![Change::Collection(spec.name.clone(), Some(Box::new(spec)))]))
        })
    }

    /// Removes a collection nobody names, and nothing is deployed to.
    pub fn remove_collection(&self, name: &str) -> Result<(), SiteError> {
        let name = normal(name);
        self.clients().write(|fleet| {
            if fleet.collections.get(&name).is_none() {
                return Err(no_collection(&name));
            }
            let mut by = fleet.users_of(&name);
            by.extend(fleet.collections.named_by(&name).iter().map(|one| format!("`{one}`")));
            if !by.is_empty() {
                let by = by.join(", ");
                return Err(SiteError::refused(format!(
                    "`{name}` is named by {by}: change those first"
                )));
            }
            Ok(((), vec![Change::Collection(name.clone(), None)]))
        })
    }

    /// What a rule would catch.
    pub fn preview(&self, rule: &str) -> Result<Preview, SiteError> {
        let rule = Rule::new(rule).map_err(said)?;
        let fleet = self.clients().fleet();
        let living = fleet.clients.iter().filter(|(_, row)| row.revoked.is_none());
        let clients = fleet.inventories.for_rules(rule.reads(), living.map(|(id, _)| *id));
        Ok(rule.preview(clients, NAMED))
    }

    /// Why a client is in a collection, or not.
    pub fn why(&self, client: ClientId, collection: &str) -> Result<Why, SiteError> {
        let fleet = self.clients().fleet();
        if !fleet.clients.contains_key(&client) {
            return Err(SiteError::refused(format!(
                "there is no client {client}: `packhorse site client list`"
            )));
        }
        let inventory = fleet.inventories.of(client).unwrap_or_default();
        fleet
            .collections
            .why(client, &inventory, collection)
            .ok_or_else(|| no_collection(collection))
    }
}

/// What somebody who reads the log should know.
pub(super) fn tell(id: &DeploymentId, effects: &[RolloutEffect]) {
    for effect in effects {
        if let RolloutEffect::Tell(note) = effect {
            log("rollout", &json!({ "deployment": id, "note": note }));
        }
    }
}

impl Clients {
    /// Something happened to a rollout; what follows is durable when this returns.
    pub(crate) fn rollout(&self, id: &DeploymentId, event: &RolloutEvent) -> Result<(), SiteError> {
        let now = self.now();
        let effects = self.write(|fleet| {
            let Some(rollout) = fleet.rollouts.get(id) else { return Ok((Vec::new(), Vec::new())) };
            let (changes, effects) = written(id, rollout.decide(event, now).map_err(said)?);
            Ok((effects, changes))
        })?;
        tell(id, &effects);
        Ok(())
    }
}
