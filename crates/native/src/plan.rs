//! A package seen from another package system: what is payload, what scripts do, what cannot be.

use std::{
    collections::BTreeSet,
    io::{Read, Seek},
};

use model::{Export, Owner, Time};
use package::{Action, Header, PackageReader};

use crate::{
    ExportError, Remark, System, capabilities,
    entries::{Item, ItemNode, collect},
    identity::Identity,
    pattern::matches_any,
    scripts::{Phases, phases},
    shell::quote,
    values::Values,
};

/// Everything but content, decided.
pub(crate) struct Plan {
    pub identity: Identity,
    pub export: Export,
    pub summary: String,
    /// In the order of the records.
    pub items: Vec<Option<Item>>,
    pub phases: Phases,
    /// Packages (.deb) or files (.rpm) the scripts need.
    pub needs: BTreeSet<&'static str>,
    pub remarks: Vec<Remark>,
    /// The newest time of any entry, in seconds: that of what is made on the way.
    pub time: u64,
    configuration: Vec<String>,
}

/// Reads header and records, and decides; all refusals at once.
pub(crate) fn plan<R: Read + Seek>(
    package: &mut PackageReader<R>,
    system: System,
) -> Result<Plan, ExportError> {
    let header = package.header().clone();
    let values = Values::of(&header);
    let entries = collect(package, &values)?;
    let (mut remarks, mut refusals) = (entries.remarks, entries.refusals);
    let identity = Identity::of(&header, system, &mut remarks, &mut refusals);
    let phases = phases(&header, &values, system, &mut remarks, &mut refusals);
    let export = export(&header, system, &mut remarks);
    let newest = entries.items.iter().flatten().map(|item| item.meta.modified.seconds).max();
    let mut plan = Plan {
        identity,
        export,
        summary: header.summary.clone(),
        items: entries.items,
        phases,
        needs: BTreeSet::new(),
        remarks,
        time: u64::try_from(newest.unwrap_or(0)).unwrap_or(0),
        configuration: header.configuration.clone(),
    };
    if !plan.phases.accounts.is_empty() {
        plan.needs.insert(if system == System::Deb { "passwd" } else { "/usr/sbin/useradd" });
    }
    if system == System::Rpm
        && header.steps.iter().any(|step| matches!(step.action, Action::Alternative(_)))
    {
        plan.needs.insert("/usr/sbin/update-alternatives");
    }
    // A folder or link without a time of its own has that of what is made on the way.
    let time = i64::try_from(plan.time).unwrap_or(0);
    for item in plan.items.iter_mut().flatten() {
        let is_made = !matches!(item.node, ItemNode::File(_) | ItemNode::HardLink(_));
        if is_made && item.meta.modified == Time::default() {
            item.meta.modified.seconds = time;
        }
    }
    plan.finish_entries(system, &mut refusals);
    if refusals.is_empty() {
        return Ok(plan);
    }
    refusals.sort_by_key(|refusal| refusal.step);
    let package = format!("{} {}", header.name, header.version);
    Err(ExportError::Refused { package, kind: system.kind(), refusals })
}

/// What the header says for other systems, with what they insist on.
fn export(header: &Header, system: System, remarks: &mut Vec<Remark>) -> Export {
    let mut export = header.export.as_deref().cloned().unwrap_or_default();
    if export.maintainer.is_empty() && system == System::Deb {
        remarks.push(Remark::new(
            None,
            "`[package]` names no `maintainer`, which every .deb has: `Unknown <unknown@invalid>` stands there",
        ));
        "Unknown <unknown@invalid>".clone_into(&mut export.maintainer);
    }
    if export.license.is_empty() {
        remarks.push(Remark::new(None, "`[package]` names no `license`: `unknown` stands there"));
        "unknown".clone_into(&mut export.license);
    }
    export
}

impl Plan {
    /// Whether an administrator may change the file at this item: by the script's patterns, and below /etc always, as
    /// both systems' policies have it.
    pub(crate) fn is_configuration(&self, item: &Item) -> bool {
        matches!(item.node, ItemNode::File(_) | ItemNode::HardLink(_))
            && (item.path.as_bytes().starts_with(b"/etc/")
                || matches_any(&self.configuration, &item.path))
    }

    /// What the payload cannot carry of its entries goes into the scripts.
    fn finish_entries(&mut self, system: System, refusals: &mut Vec<Remark>) {
        let mut own: Vec<(String, Vec<String>)> = Vec::new();
        let mut text = String::new();
        let mut rounded = false;
        for item in self.items.iter().flatten() {
            let needed = script_for(item, system);
            rounded |= item.meta.modified.nanoseconds != 0;
            if item.meta.modified < (Time { seconds: 0, nanoseconds: 0 }) {
                let text = format!("`{}` is from before 1970, which becomes 1970", item.path);
                self.remarks.push(Remark::new(item.step, text));
            }
            if needed.is_nothing() {
                continue;
            }
            let Ok(path) = std::str::from_utf8(item.path.as_bytes()) else {
                let text =
                    format!("`{}` is no text, and a script would have to name it", item.path);
                refusals.push(Remark::new(item.step, text));
                continue;
            };
            let path = quote(path);
            if needed.owner {
                let who = quote(&format!("{}:{}", item.meta.owner, item.meta.group));
                match own.last_mut() {
                    Some((last, paths)) if *last == who => paths.push(path.clone()),
                    _ => own.push((who, vec![path.clone()])),
                }
            }
            needed.write(item, &path, system, &mut text, &mut self.needs, refusals);
            if needed.made {
                self.phases.generated.push_str(&format!("rm -f {path}\n"));
            }
        }
        for (who, paths) in own {
            for some in paths.chunks(100) {
                self.phases
                    .entries
                    .push_str(&format!("own {who} \\\n  {}\n", some.join(" \\\n  ")));
            }
        }
        self.phases.entries.push_str(&text);
        if rounded {
            self.remarks.push(Remark::new(None, "times keep whole seconds"));
        }
    }
}

/// What scripts must do about an entry.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a line of a script of its own")]
struct Needed {
    /// Made by the script altogether.
    made: bool,
    owner: bool,
    /// The mode once the owner is right, which takes special bits away.
    mode: bool,
    xattrs: bool,
    holes: bool,
}

fn script_for(item: &Item, system: System) -> Needed {
    if item.node == ItemNode::Carrier || matches!(item.node, ItemNode::HardLink(_)) {
        return Needed::default();
    }
    let meta = &item.meta;
    let is_root = |owner: &Owner| *owner == Owner::root() || *owner == Owner::Id(0);
    let deb = system == System::Deb;
    let owner = deb && !(is_root(&meta.owner) && is_root(&meta.group));
    let of_rpm = |name: &[u8], value: &[u8]| {
        !deb && name == capabilities::ATTRIBUTE && capabilities::text(value).is_some()
    };
    Needed {
        made: matches!(item.node, ItemNode::Fifo | ItemNode::Device { .. }),
        owner,
        mode: owner && meta.mode & 0o6000 != 0 && !matches!(item.node, ItemNode::Symlink(_)),
        xattrs: meta.xattrs.iter().any(|(name, value)| !of_rpm(name, value))
            || meta.acl.is_some()
            || meta.default_acl.is_some(),
        holes: matches!(&item.node, ItemNode::File(file) if file.has_holes),
    }
}

impl Needed {
    fn is_nothing(self) -> bool {
        !(self.made || self.owner || self.mode || self.xattrs || self.holes)
    }

    fn write(
        self,
        item: &Item,
        path: &str,
        system: System,
        text: &mut String,
        needs: &mut BTreeSet<&'static str>,
        refusals: &mut Vec<Remark>,
    ) {
        let meta = &item.meta;
        let mut need = |deb, rpm| needs.insert(if system == System::Deb { deb } else { rpm });
        match item.node {
            ItemNode::Fifo => text.push_str(&format!("[ -p {path} ] || mkfifo {path}\n")),
            ItemNode::Device { block, major, minor } => {
                let kind = if block { 'b' } else { 'c' };
                text.push_str(&format!("[ -e {path} ] || mknod {path} {kind} {major} {minor}\n"));
            }
            _ => {}
        }
        if self.made {
            let who = quote(&format!("{}:{}", meta.owner, meta.group));
            text.push_str(&format!("chown {who} {path}\n"));
        }
        if self.mode || self.made {
            text.push_str(&format!("chmod {:04o} {path}\n", meta.mode));
        }
        if self.holes {
            text.push_str(&format!("fallocate --dig-holes {path} 2>/dev/null || :\n"));
        }
        if !self.xattrs {
            return;
        }
        for (list, flag) in [(&meta.acl, ""), (&meta.default_acl, " --default")] {
            if let Some(list) = list {
                need("acl", "/usr/bin/setfacl");
                text.push_str(&format!(
                    "setfacl{flag} --set {} {path}\n",
                    quote(&list.to_string())
                ));
            }
        }
        for (name, value) in &meta.xattrs {
            let capabilities =
                (**name == *capabilities::ATTRIBUTE).then(|| capabilities::text(value)).flatten();
            if let Some(capabilities) = capabilities {
                if system == System::Deb {
                    need("libcap2-bin", "");
                    text.push_str(&format!("setcap {} {path}\n", quote(&capabilities)));
                }
                continue;
            }
            let Ok(name) = std::str::from_utf8(name) else {
                let reason = format!("`{}` has an attribute whose name is no text", item.path);
                refusals.push(Remark::new(item.step, reason));
                continue;
            };
            need("attr", "/usr/bin/setfattr");
            let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            text.push_str(&format!("setfattr -h -n {} -v 0x{value} {path}\n", quote(name)));
        }
    }
}
