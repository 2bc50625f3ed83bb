//! What services this machine has, as its service manager says.

use std::{collections::BTreeMap, io, path::Path};

use zbus::{Connection, OwnedObjectPath};

/// A unit that is loaded, as `ListUnitsByPatterns` has it: its name, a description, `loaded` or why not, `active` and the like,
/// `running` and the like; then what is of no use here. `org.freedesktop.systemd1(5)`.
type Loaded =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// Services and what they do: `running`, `stopped`, `failed`. Nothing, where nobody can say: another machine's folder, a machine
/// without systemd.
pub(crate) fn services(root: &Path) -> Option<BTreeMap<String, &'static str>> {
    let is_here = root == Path::new("/") && Path::new("/run/systemd/system").is_dir();
    is_here.then(|| asked().ok()).flatten()
}

fn asked() -> io::Result<BTreeMap<String, &'static str>> {
    const NOTHING: [&str; 0] = [];
    let ask = async |bus: &Connection, method: &str| {
        bus.call_method(
            Some("org.freedesktop.systemd1"),
            "/org/freedesktop/systemd1",
            Some("org.freedesktop.systemd1.Manager"),
            method,
            &(&NOTHING[..], &["*.service"][..]),
        )
        .await
    };
    let (files, loaded) = zbus::block_on(async {
        let bus = Connection::system().await?;
        let files = ask(&bus, "ListUnitFilesByPatterns").await?;
        let loaded = ask(&bus, "ListUnitsByPatterns").await?;
        let files: Vec<(String, String)> = files.body().deserialize()?;
        let loaded: Vec<Loaded> = loaded.body().deserialize()?;
        zbus::Result::Ok((files, loaded))
    })
    .map_err(io::Error::other)?;
    let files = files.iter().map(|(file, _)| file.rsplit('/').next().unwrap_or(file));
    let loaded = loaded.iter().map(|one| (&*one.0, &*one.2, &*one.3, &*one.4));
    Ok(states(files, loaded))
}

/// What is there by its file does nothing unless it is loaded and does something. Masks of what is not there are no services.
fn states<'a>(
    files: impl Iterator<Item = &'a str>,
    loaded: impl Iterator<Item = (&'a str, &'a str, &'a str, &'a str)>,
) -> BTreeMap<String, &'static str> {
    let named = |unit: &str| {
        let name = unit.strip_suffix(".service")?;
        // A template is none itself.
        (!name.ends_with('@')).then(|| name.to_owned())
    };
    let mut all: BTreeMap<String, &str> =
        files.filter_map(|unit| Some((named(unit)?, "stopped"))).collect();
    for (unit, load, active, sub) in loaded {
        let Some(name) = named(unit).filter(|_| load == "loaded") else { continue };
        let state = match (active, sub) {
            ("active" | "reloading" | "deactivating", "exited") => "stopped",
            ("active" | "reloading" | "deactivating", _) => "running",
            ("failed", _) => "failed",
            _ => "stopped",
        };
        all.insert(name, state);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::states;

    #[test]
    fn services_are_those_with_files_and_those_that_are_loaded() {
        let files = ["cron.service", "getty@.service", "ssh.service"];
        let loaded = [
            ("cron.service", "loaded", "active", "running"),
            ("getty@tty1.service", "loaded", "active", "running"),
            ("once.service", "loaded", "active", "exited"),
            ("broken.service", "loaded", "failed", "failed"),
            ("gone.service", "not-found", "inactive", "dead"),
        ];
        let all = states(files.into_iter(), loaded.into_iter());
        let all: Vec<_> = all.iter().map(|(name, state)| (&**name, *state)).collect();
        let expected = [
            ("broken", "failed"),
            ("cron", "running"),
            ("getty@tty1", "running"),
            ("once", "stopped"),
            ("ssh", "stopped"),
        ];
        assert_eq!(all, expected);
    }
}
