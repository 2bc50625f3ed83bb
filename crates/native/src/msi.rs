//! A package as an .msi, for machines that know Windows Installer and not us.

mod cabinets;
mod database;
mod draft;
mod payload;
mod places;
mod product;
mod registry;
mod services;
mod summary;
mod tables;

use std::io::{Read, Seek, SeekFrom, Write};

use model::Users;
use package::{Action, PackageReader};

use self::{cabinets::Cabinets, database::File, draft::Draft};
use crate::{ExportError, Exported, Remark};

/// What it becomes.
const KIND: &str = ".msi";
/// Bytes a compound file with small sectors has at most, and with it an .msi.
const LARGEST: u64 = 1 << 31;

/// Writes a package as an .msi to `out`, which must be empty.
///
/// # Errors
/// What an .msi cannot say, all of it; a damaged package; an output that takes no more.
pub fn write_msi<R: Read + Seek, W: Read + Write + Seek>(
    package: &mut PackageReader<R>,
    mut out: W,
) -> Result<Exported, ExportError> {
    let header = package.header().clone();
    let identity = package.identity().to_string();
    let mut draft = Draft::new(&header);
    draft.payload(package)?;
    draft.steps();
    let summary = draft.product(&identity);
    let Draft { files, mut database, remarks, refusals, .. } = draft;
    let cabinets = Cabinets::of(&files);
    cabinets.rows(&mut database);
    let refused = |mut refusals: Vec<Remark>| {
        refusals.sort_by_key(|refusal| refusal.step);
        let package = format!("{} {}", header.name, header.version);
        Err(ExportError::Refused { package, kind: KIND, refusals })
    };
    if !refusals.is_empty() {
        return refused(refusals);
    }
    let failed = ExportError::io(KIND);
    let mut file = File::create(&mut out).map_err(&failed)?;
    database.write(&mut file).map_err(&failed)?;
    file.write(summary::NAME, &summary.encode()).map_err(&failed)?;
    cabinets.write(package, &files, &mut file).map_err(&failed)?;
    file.finish().map_err(&failed)?;
    let length = out.seek(SeekFrom::End(0)).map_err(&failed)?;
    if length > LARGEST {
        let text = format!("{length} bytes: an .msi has less than 2 GiB");
        return refused(vec![Remark::new(None, text)]);
    }
    Ok(Exported {
        file_name: format!("{}-{}.msi", header.name, header.version.as_str().replace('/', "_")),
        remarks,
        files: files.iter().flatten().count() as u64,
        length,
    })
}

impl Draft<'_> {
    /// All that is no payload.
    fn steps(&mut self) {
        let header = self.header;
        for (number, step) in (1..).zip(&header.steps) {
            if step.users.iter().flatten().any(|users| *users != Users::Current) {
                self.refuse(number, "for users but whoever installs");
            }
            if matches!(step.action, Action::Tree(_)) || !self.happens(number) {
                continue;
            }
            let done = match &step.action {
                Action::Tree(_) => Ok(()),
                Action::Registry(registry) => {
                    let registry = product::hidden(registry);
                    self.registry(number, &registry)
                }
                Action::Setup(setup) => self.service(setup),
                Action::Edit(edit) => self.ini(number, edit),
                Action::Remove { path } => {
                    Err(format!("`{path}` goes: an .msi would never bring it back"))
                }
                Action::SetMetadata { path, .. } => Err(format!("metadata of `{path}`")),
                Action::Run(_) => Err("a program that is run".to_owned()),
                Action::Task(task) => Err(format!("the scheduled task `{}`", task.name)),
                Action::Library(library) => {
                    Err(format!("`{}`, a library that registers itself", library.file))
                }
                Action::Account(_) => Err("users and groups".to_owned()),
                Action::Service(service) => Err(format!("`{}`, a unit of systemd", service.unit)),
                Action::Alternative(_) => Err("alternatives are Debian's".to_owned()),
                Action::Trigger(name) => Err(format!("trigger `{name}`")),
            };
            if let Err(reason) = done {
                self.refuse(number, reason);
            }
        }
    }
}
