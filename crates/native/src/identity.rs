use model::Architecture;
use package::Header;

use crate::{Remark, System};

/// The package in another system's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub name: String,
    pub epoch: Option<u32>,
    /// Without epoch; for an .rpm without release, too.
    pub version: String,
    /// An .rpm's.
    pub release: String,
    pub architecture: String,
}

impl Identity {
    pub(crate) fn of(
        header: &Header,
        system: System,
        remarks: &mut Vec<Remark>,
        refusals: &mut Vec<Remark>,
    ) -> Self {
        let name = header.name.as_str().to_owned();
        let mut refuse = |text: String| refusals.push(Remark::new(None, text));
        if system == System::Deb && (name.len() < 2 || name.contains('_')) {
            refuse(format!(
                "a .deb cannot be called `{name}`: two characters at least, and no `_`"
            ));
        }
        let text = header.version.as_str();
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) => (epoch.parse().ok(), rest),
            None => (None, text),
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".+~-".contains(&byte);
        if rest.is_empty()
            || !rest.bytes().all(allowed)
            || !rest.starts_with(|first: char| first.is_ascii_digit())
            || (text.contains(':') && epoch.is_none())
        {
            refuse(format!(
                "`{text}` is no version of a {system}: a digit first, then letters, digits, `.`, `+`, `~`, `-`"
            ));
        }
        let (version, release) = match (system, rest.rsplit_once('-')) {
            (System::Deb, _) => (rest.to_owned(), String::new()),
            (System::Rpm, None) => (rest.to_owned(), "1".to_owned()),
            (System::Rpm, Some((version, release))) => {
                if version.contains('-') {
                    remarks
                        .push(Remark::new(None, "an .rpm's version holds no `-`: it becomes `.`"));
                }
                (version.replace('-', "."), release.to_owned())
            }
        };
        let architecture = match (&header.architecture, system) {
            (Architecture::Any, System::Deb) => "all".to_owned(),
            (Architecture::Any, System::Rpm) => "noarch".to_owned(),
            (Architecture::Only(only), System::Rpm) => only.to_string(),
            (Architecture::Only(only), System::Deb) => match &**only {
                "x86_64" => "amd64".to_owned(),
                "aarch64" => "arm64".to_owned(),
                "x86" | "i686" => "i386".to_owned(),
                "riscv64" | "s390x" => only.to_string(),
                "powerpc64le" | "ppc64le" => "ppc64el".to_owned(),
                other => {
                    refuse(format!("Debian has no architecture `{other}`"));
                    other.to_owned()
                }
            },
        };
        Self { name, epoch, version, release, architecture }
    }

    /// `redis_7.2.4_amd64.deb`, `redis-7.2.4-1.x86_64.rpm`.
    pub(crate) fn file_name(&self, system: System) -> String {
        let Self { name, version, release, architecture, .. } = self;
        match system {
            System::Deb => format!("{name}_{version}_{architecture}.deb"),
            System::Rpm => format!("{name}-{version}-{release}.{architecture}.rpm"),
        }
    }

    /// With the epoch, as a control file says it.
    pub(crate) fn deb_version(&self) -> String {
        match self.epoch {
            Some(epoch) => format!("{epoch}:{}", self.version),
            None => self.version.clone(),
        }
    }
}
