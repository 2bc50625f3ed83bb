use deployment::{
    Action, ClientId, CommandLine, Deployment, DeploymentId, PackageAction, PackageRef, Program,
};
use jiff::Timestamp;
use model::{Hash, PackageName, Version};
use policy::SiteCode;

pub(crate) fn site() -> SiteCode {
    SiteCode::new("HQ").unwrap()
}

pub(crate) fn client() -> ClientId {
    "000102030405060708090a0b0c0d0e0f".parse().unwrap()
}

pub(crate) fn id(text: &str) -> DeploymentId {
    DeploymentId::new(text).unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn package(name: &str, version: &str) -> PackageRef {
    PackageRef {
        name: PackageName::new(name).unwrap(),
        version: Version::new(version),
        identity: Hash::of(format!("{name} {version}").as_bytes()),
    }
}

/// A package that is installed, once, at once.
pub(crate) fn install(name: &str) -> Deployment {
    let action = Action::Package(PackageAction::Install);
    Deployment::new(id(name), package(&name.to_lowercase(), "1.0"), Program::new("install", action))
}

/// A command, once, at once.
pub(crate) fn command(name: &str) -> Deployment {
    let line = CommandLine::Direct(vec!["/bin/true".to_owned()]);
    Deployment::new(
        id(name),
        package(&name.to_lowercase(), "1.0"),
        Program::new("run", Action::Command(line)),
    )
}
