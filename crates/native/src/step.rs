//! Steps that are no payload, as text of a shell.

use model::{
    Alternative, EditStep, ExitMeaning, Hook, LineEdit, Meta, Part, RunStep, ServiceStep,
    StartType, Template, Undo,
};

use crate::{
    System,
    shell::{quote, word},
    values::Values,
};

/// One step's part of the scripts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepText {
    /// Done once, until an update no longer wants it.
    pub once: String,
    /// How that is taken back: a script of its own.
    pub undo: String,
    /// Done at every installation and update, after `once`.
    pub always: String,
    /// Before anything is removed.
    pub before_removal: String,
    /// After everything was removed.
    pub after_removal: String,
    /// When configuration goes, too.
    pub purge: String,
    /// What people should know.
    pub remark: Option<String>,
}

type Made = Result<StepText, String>;

pub(crate) fn edit(edit: &EditStep, values: &Values) -> Made {
    let file = word(&edit.file, values)?;
    let hows = edit.edits.iter().map(|edit| how(edit, values)).collect::<Result<Vec<_>, _>>()?;
    let create = if edit.create { "create" } else { "''" };
    let mut once = format!("file={file}\nkeep \"$file\" {create}\n");
    for how in &hows {
        once.push_str(&format!("{how}\nedit \"$file\"\n"));
    }
    once.push_str("kept \"$file\"\n");
    let mut undo = format!("file={file}\nif ! put_back \"$file\"; then\n");
    for how in hows.iter().rev() {
        undo.push_str(&format!("  {how}\n  take_back \"$file\"\n"));
    }
    undo.push_str("fi\n");
    Ok(StepText { once, undo, ..StepText::default() })
}

/// A line that says what the next edit does.
fn how(edit: &LineEdit, values: &Values) -> Result<String, String> {
    let word = |template: &Template| word(template, values);
    let none = || "''".to_owned();
    let words: [String; 8] = match edit {
        LineEdit::Add { line, after } => [
            "add".to_owned(),
            none(),
            none(),
            none(),
            none(),
            word(line)?,
            after.as_ref().map_or_else(|| Ok(none()), word)?,
            none(),
        ],
        LineEdit::Remove { line } => {
            ["remove".to_owned(), none(), none(), none(), none(), word(line)?, none(), none()]
        }
        LineEdit::Ini { section, key, value } => [
            if value.is_some() { "set" } else { "unset" }.to_owned(),
            "1".to_owned(),
            word(section)?,
            word(key)?,
            value.as_ref().map_or_else(|| Ok(none()), word)?,
            none(),
            none(),
            none(),
        ],
        LineEdit::Assignment { key, value } => [
            if value.is_some() { "set" } else { "unset" }.to_owned(),
            none(),
            none(),
            word(key)?,
            value.as_ref().map_or_else(|| Ok(none()), word)?,
            none(),
            none(),
            none(),
        ],
        LineEdit::PathList { key, folder, first } => [
            "path".to_owned(),
            none(),
            none(),
            word(key)?,
            word(folder)?,
            none(),
            none(),
            if *first { "1".to_owned() } else { none() },
        ],
    };
    Ok(format!("how {}", words.join(" ")))
}

pub(crate) fn remove(path: &Template, values: &Values) -> Made {
    let path = word(path, values)?;
    Ok(StepText {
        once: format!(
            "path={path}\nif [ -e \"$path\" ] || [ -h \"$path\" ]; then\n  \
             [ -e \"$unit/taken\" ] || {{ cp -a \"$path\" \"$unit/taken.new\"; mv \"$unit/taken.new\" \"$unit/taken\"; }}\n  \
             rm -rf \"$path\"\nfi\n"
        ),
        undo: format!(
            "path={path}\nif [ -e \"$path\" ] || [ -h \"$path\" ]; then\n  say \"left as others made it: $path\"\n\
             elif [ -e \"$unit/taken\" ] || [ -h \"$unit/taken\" ]; then\n  cp -a \"$unit/taken\" \"$path\"\nfi\n"
        ),
        remark: Some(format!(
            "{path} is set aside by a script: where another package owns it, that package's update brings it back"
        )),
        ..StepText::default()
    })
}

pub(crate) fn set_metadata(path: &Template, meta: &Meta, values: &Values) -> Made {
    if !meta.xattrs.is_empty() || meta.acl.is_some() || meta.default_acl.is_some() {
        return Err("attributes and access lists of something that is there already cannot be \
                    put back by a script: set them by `run` with an undo"
            .to_owned());
    }
    let path = word(path, values)?;
    let who = quote(&format!("{}:{}", meta.owner, meta.group));
    let (mode, seconds) = (meta.mode, meta.modified.seconds);
    Ok(StepText {
        once: format!("set_metadata {mode:04o} {who} {seconds} {path}\n"),
        undo: format!("reset_metadata {path}\n"),
        ..StepText::default()
    })
}

pub(crate) fn alternative(alternative: &Alternative, values: &Values) -> Made {
    let Alternative { name, link, path, priority, followers } = alternative;
    let (name, link, path) = (quote(name), word(link, values)?, word(path, values)?);
    let mut once = format!("update-alternatives --install {link} {name} {path} {priority}");
    for (name, link, path) in followers {
        let (name, link, path) = (quote(name), word(link, values)?, word(path, values)?);
        once.push_str(&format!(" \\\n  --slave {link} {name} {path}"));
    }
    once.push('\n');
    let undo = format!("update-alternatives --remove {name} {path}\n");
    Ok(StepText { once, undo, ..StepText::default() })
}

pub(crate) fn service(service: &ServiceStep, system: System) -> StepText {
    match system {
        System::Deb => deb_service(service),
        System::Rpm => rpm_service(service),
    }
}

/// As debhelper does it: what an administrator chose is remembered until purge.
fn deb_service(service: &ServiceStep) -> StepText {
    let unit = quote(&service.unit);
    let enable = match service.start {
        StartType::Automatic => format!(
            "deb-systemd-helper unmask {unit} >/dev/null || :\n\
             if deb-systemd-helper --quiet was-enabled {unit}; then\n  \
             deb-systemd-helper enable {unit} >/dev/null || :\nelse\n  \
             deb-systemd-helper update-state {unit} >/dev/null || :\nfi\n"
        ),
        StartType::Manual => String::new(),
        StartType::Disabled => format!("deb-systemd-helper mask {unit} >/dev/null || :\n"),
    };
    let start = if service.now {
        format!(
            "  deb-systemd-invoke \"${{upgraded:+re}}start\" {unit} >/dev/null || say {unit} does not start\n"
        )
    } else {
        format!(
            "  ! systemctl --quiet is-active {unit} || deb-systemd-invoke restart {unit} >/dev/null || :\n"
        )
    };
    let purge = format!(
        "deb-systemd-helper unmask {unit} >/dev/null || :\ndeb-systemd-helper purge {unit} >/dev/null || :\n"
    );
    StepText {
        undo: format!(
            "! is_running || deb-systemd-invoke stop {unit} >/dev/null || :\n\
             if [ \"$2\" = drop ]; then\n{purge}fi\n"
        ),
        always: format!(
            "{enable}if is_running; then\n  systemctl --system daemon-reload >/dev/null || :\n{start}fi\n"
        ),
        after_removal: "! is_running || systemctl --system daemon-reload >/dev/null || :\n"
            .to_owned(),
        purge,
        ..StepText::default()
    }
}

fn rpm_service(service: &ServiceStep) -> StepText {
    let unit = quote(&service.unit);
    let (enable, disable) = match service.start {
        StartType::Automatic => ("enable", "disable"),
        StartType::Manual => ("", ""),
        StartType::Disabled => ("mask", "unmask"),
    };
    let systemctl = |word: &str| match word {
        "" => String::new(),
        word => format!(
            "! command -v systemctl >/dev/null || systemctl --quiet --no-reload {word} {unit} || :\n"
        ),
    };
    let start = if service.now {
        format!("  [ -n \"$upgraded\" ] || systemctl start {unit} || say {unit} does not start\n")
    } else {
        String::new()
    };
    StepText {
        once: systemctl(enable),
        undo: format!("! is_running || systemctl stop {unit} || :\n{}", systemctl(disable)),
        always: format!(
            "if is_running; then\n  systemctl daemon-reload || :\n{start}  [ -z \"$upgraded\" ] || systemctl try-restart {unit} || :\nfi\n"
        ),
        after_removal: "! is_running || systemctl daemon-reload || :\n".to_owned(),
        ..StepText::default()
    }
}

/// What a trigger runs, and whether it speaks to the running system.
fn trigger_command(name: &str) -> Option<(&'static str, bool)> {
    Some(match name {
        "sysusers" => ("systemd-sysusers", false),
        "tmpfiles" => ("systemd-tmpfiles --create", true),
        "ldconfig" => ("ldconfig", false),
        "depmod" => ("depmod -a", true),
        "ca-certificates" => ("update-ca-certificates", false),
        "sysctl" => ("sysctl --quiet --system", true),
        "udev" => ("udevadm control --reload", true),
        "systemd-reload" => ("systemctl daemon-reload", true),
        "dbus-reload" => ("systemctl reload dbus.service", true),
        "glib-schemas" => ("glib-compile-schemas /usr/share/glib-2.0/schemas", false),
        "mime-database" => ("update-mime-database /usr/share/mime", false),
        "desktop-database" => ("update-desktop-database -q", false),
        "icon-cache" => ("gtk-update-icon-cache -q -t -f /usr/share/icons/hicolor", false),
        "fontconfig" => ("fc-cache -s", false),
        "info-dir" => ("update-info-dir", false),
        "mandb" => ("mandb -q", false),
        _ => return None,
    })
}

pub(crate) fn trigger(name: &str) -> Made {
    let Some((command, live)) = trigger_command(name) else {
        return Err(format!("`{name}` is no trigger this exporter knows"));
    };
    let program = command.split(' ').next().unwrap_or(command);
    let running = if live { "! is_running || " } else { "" };
    let text = format!(
        "{running}! command -v {program} >/dev/null || {command} >/dev/null || say {program} failed\n"
    );
    // Accounts stay; everything else is made anew without what went.
    let after_removal = if name == "sysusers" { String::new() } else { text.clone() };
    Ok(StepText { always: text, after_removal, ..StepText::default() })
}

pub(crate) fn run(run: &RunStep, values: &Values) -> Made {
    let command = command(&run.command, run, values)?;
    match run.at {
        Hook::BeforeUninstall => {
            return Ok(StepText { before_removal: command, ..StepText::default() });
        }
        Hook::AfterUninstall => {
            return Ok(StepText { after_removal: command, ..StepText::default() });
        }
        Hook::Install => {}
    }
    let mut part = StepText { always: command, ..StepText::default() };
    match &run.undo {
        Undo::Irreversible => {
            part.remark = Some("nothing takes back what its program does".to_owned());
        }
        Undo::Command(words) => part.undo = self::command(words, run, values)?,
        Undo::Outputs => {
            for (number, output) in run.outputs.iter().enumerate() {
                let path = word(output, values)?;
                part.once.push_str(&format!("save {path} {number}\n"));
                part.always.push_str(&format!("saved {path} {number}\n"));
                part.undo.insert_str(0, &format!("restore {path} {number}\n"));
            }
        }
    }
    Ok(part)
}

fn command(words: &[Template], run: &RunStep, values: &Values) -> Result<String, String> {
    let is_arguments = |word: &&Template| !matches!(&*word.0, [Part::Variable(name)] if **name == *"installer.arguments");
    let words = words
        .iter()
        .filter(is_arguments)
        .map(|template| word(template, values))
        .collect::<Result<Vec<_>, _>>()?
        .join(" ");
    if !run.wait {
        return Ok(format!("(setsid {words} </dev/null >/dev/null 2>&1 &)\n"));
    }
    let mut cases = String::new();
    for (code, meaning) in &run.exit_codes {
        match meaning {
            ExitMeaning::Done => cases.push_str(&format!("  {code}) ;;\n")),
            ExitMeaning::Restart => {
                cases.push_str(&format!("  {code}) say \"the machine must restart\" ;;\n"));
            }
            ExitMeaning::Retry | ExitMeaning::Failed => {
                cases.push_str(&format!(
                    "  {code}) say \"a program ended with $code\"; exit 1 ;;\n"
                ));
            }
        }
    }
    if !run.exit_codes.contains_key(&0) {
        cases.push_str("  0) ;;\n");
    }
    cases.push_str("  *) say \"a program ended with $code\"; exit 1 ;;\n");
    let limit = run.limit;
    Ok(format!("code=0\ntimeout {limit} {words} || code=$?\ncase $code in\n{cases}esac\n"))
}
