//! Maintainer scripts, put together from what the steps want.

use package::{Action, Header};

use crate::{
    Remark, System, account,
    condition::{Answer, translate},
    pattern::as_search,
    shell::{EDIT, LIBRARY, quote},
    step::{self, StepText},
    values::Values,
};

/// What the scripts do, phase by phase; each is text of a shell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phases {
    /// Says no where the machine is none for this package.
    pub requires: String,
    /// Users and groups.
    pub accounts: String,
    /// What the payload could not carry of its entries.
    pub entries: String,
    /// The steps, in order.
    pub steps: String,
    /// The marks of everything that is done once.
    marks: Vec<String>,
    pub before_removal: String,
    pub generated: String,
    pub after_removal: String,
    pub purge: String,
    /// Triggers of dpkg's own.
    pub activates: Vec<&'static str>,
    /// Whether text files are edited.
    edits: bool,
}

/// Goes through the steps; what cannot be said is refused.
pub(crate) fn phases(
    header: &Header,
    values: &Values,
    system: System,
    remarks: &mut Vec<Remark>,
    refusals: &mut Vec<Remark>,
) -> Phases {
    let mut phases = Phases::default();
    if let Some(requires) = header.programs.get("install").and_then(|it| it.requires.as_ref()) {
        match translate(requires, values, system) {
            Ok(Answer::Yes) => {}
            Ok(Answer::No) => refusals.push(Remark::new(None, "`requires` is never so")),
            Ok(Answer::Asked(question)) => {
                phases.requires = format!(
                    "if ! {{ {question}; }}; then\n  say \"this machine is not what the package requires\"\n  exit 1\nfi\n"
                );
            }
            Err(reason) => refusals.push(Remark::new(None, format!("`requires`: {reason}"))),
        }
    }
    for (index, one) in header.steps.iter().enumerate() {
        let number = index + 1;
        let question = match one.when.as_ref().map(|when| translate(when, values, system)) {
            // Trees say for themselves.
            _ if matches!(one.action, Action::Tree(_)) => continue,
            None | Some(Ok(Answer::Yes)) => None,
            Some(Ok(Answer::No)) => {
                let text = "left out: its condition is never so on these machines";
                remarks.push(Remark::new(number, text));
                continue;
            }
            Some(Ok(Answer::Asked(question))) => Some(question),
            Some(Err(reason)) => {
                refusals.push(Remark::new(number, reason));
                continue;
            }
        };
        match step_text(&one.action, values, system, &mut phases) {
            Ok(text) => phases.take(number, question.as_deref(), text, remarks),
            Err(reason) => refusals.push(Remark::new(number, reason)),
        }
    }
    for generated in &header.generated {
        match values.text(generated).map(|pattern| (as_search(&pattern), pattern)) {
            Ok((Some((folder, expression)), _)) => phases.generated.push_str(&format!(
                "[ ! -e {0} ] || find {0} -depth -regextype posix-extended -regex {1} -exec rm -rf {{}} +\n",
                quote(&folder),
                quote(&expression)
            )),
            Ok((None, pattern)) => {
                let text = format!("`generated`: `{pattern}` would search the whole machine");
                refusals.push(Remark::new(None, text));
            }
            Err(reason) => {
                refusals.push(Remark::new(None, format!("`generated`: {reason}")));
            }
        }
    }
    phases
}

fn step_text(
    action: &Action,
    values: &Values,
    system: System,
    phases: &mut Phases,
) -> Result<StepText, String> {
    match action {
        Action::Tree(_) => Ok(StepText::default()),
        Action::Remove { path } => step::remove(path, values),
        Action::SetMetadata { path, meta } => step::set_metadata(path, meta, values),
        Action::Edit(edit) => {
            phases.edits = true;
            step::edit(edit, values)
        }
        Action::Account(one) => {
            let text = account::create(one, values)?;
            phases.accounts.push_str(&text);
            Ok(StepText::default())
        }
        Action::Service(service) => Ok(step::service(service, system)),
        Action::Alternative(alternative) => step::alternative(alternative, values),
        Action::Trigger(name) if system == System::Deb && **name == *"ldconfig" => {
            phases.activates.push("ldconfig");
            Ok(StepText::default())
        }
        Action::Trigger(name) => step::trigger(name),
        Action::Run(run) => step::run(run, values),
        Action::Registry(_) => Err("the registry is Windows'".to_owned()),
        Action::Setup(_) => Err("a service of Windows' service manager".to_owned()),
        Action::Task(_) => Err("a scheduled task of Windows".to_owned()),
        Action::Library(_) => Err("a library of Windows".to_owned()),
    }
}

impl Phases {
    fn take(
        &mut self,
        number: usize,
        question: Option<&str>,
        text: StepText,
        remarks: &mut Vec<Remark>,
    ) {
        let mut block = String::new();
        if !text.once.is_empty() || !text.undo.is_empty() {
            let hash = blake3::hash(format!("{}\0{}", text.once, text.undo).as_bytes()).to_hex();
            let mark = &hash[..12];
            let undo = &text.undo;
            block.push_str(&format!(
                "if begin {number:06} {mark} <<'{mark}'\nunit=$1\n. \"${{1%/*}}/library\"\n{undo}{mark}\nthen\n{}  end\nfi\n",
                text.once
            ));
            self.marks.push(mark.to_owned());
        }
        block.push_str(&text.always);
        let asked = |block: &str| match question {
            Some(question) if !block.is_empty() => {
                format!("if {question}; then\n{block}fi\n")
            }
            _ => block.to_owned(),
        };
        if !block.is_empty() {
            self.steps.push_str(&format!("# step {number}\n{}", asked(&block)));
        }
        for (phase, text) in [
            (&mut self.before_removal, &text.before_removal),
            (&mut self.after_removal, &text.after_removal),
            (&mut self.purge, &text.purge),
        ] {
            let text = asked(text);
            if !phase.contains(&text) {
                phase.push_str(&text);
            }
        }
        if let Some(remark) = text.remark {
            remarks.push(Remark::new(number, remark));
        }
    }

    /// Whether anything is to be done on the machine.
    fn is_empty(&self) -> bool {
        let texts = [
            &self.accounts,
            &self.entries,
            &self.steps,
            &self.before_removal,
            &self.generated,
            &self.after_removal,
            &self.purge,
        ];
        texts.iter().all(|text| text.is_empty())
    }

    fn preamble(name: &str) -> String {
        format!("name={name}\nstate=/var/lib/packhorse-export/$name\n{LIBRARY}")
    }

    /// After the payload has come; `upgraded` is set where an older version was there.
    fn configure(&self, name: &str) -> String {
        let mut text = String::from("umask 022\nmkdir -p \"$state\"\n");
        let mut library = Self::preamble(name);
        if self.edits {
            library.push_str(&format!("edit_program={}\n", quote(EDIT)));
        }
        // A delimiter no line of ours is.
        text.push_str(&format!("cat > \"$state/library\" <<'LIBRARY-END'\n{library}LIBRARY-END\n"));
        text.push_str(". \"$state/library\"\n");
        text.push_str(&self.accounts);
        text.push_str(&self.entries);
        text.push_str(&format!("drop_others {}\n", quote(&self.marks.join(" "))));
        text.push_str(&self.steps);
        text
    }

    fn removal(&self) -> String {
        let mut text = self.before_removal.clone();
        text.push_str("undo_all\n");
        text.push_str(&self.generated);
        text
    }

    const FORGET: &str = "rm -f \"$state/library\"\nrmdir \"$state\" 2>/dev/null || :\nrmdir \"${state%/*}\" 2>/dev/null || :\n";

    /// preinst, postinst, prerm, postrm; those that would do nothing are left out.
    pub(crate) fn deb(&self, name: &str) -> Vec<(&'static str, String)> {
        let mut scripts = Vec::new();
        let head = format!("#!/bin/sh\nset -e\n{}", Self::preamble(name));
        if !self.requires.is_empty() {
            let body = &self.requires;
            scripts.push((
                "preinst",
                format!("{head}case \"$1\" in install|upgrade)\n{body}  ;;\nesac\nexit 0\n"),
            ));
        }
        if self.is_empty() {
            return scripts;
        }
        let configure = self.configure(name);
        scripts.push((
            "postinst",
            format!(
                "#!/bin/sh\nset -e\nname={name}\nstate=/var/lib/packhorse-export/$name\n\
                 case \"$1\" in configure|abort-upgrade|abort-remove|abort-deconfigure) ;; *) exit 0 ;; esac\n\
                 upgraded=\n[ \"$1\" != configure ] || upgraded=$2\n{configure}exit 0\n"
            ),
        ));
        scripts.push((
            "prerm",
            format!("{head}[ \"$1\" = remove ] || exit 0\n{}exit 0\n", self.removal()),
        ));
        scripts.push((
            "postrm",
            format!(
                "{head}if [ \"$1\" = remove ]; then\n  :\n{}fi\nif [ \"$1\" = purge ]; then\n{}{}{}fi\nexit 0\n",
                self.after_removal,
                self.purge,
                account::REMOVE,
                Self::FORGET,
            ),
        ));
        scripts
    }

    /// The bodies of `%pre`, `%post`, `%preun` and `%postun`.
    pub(crate) fn rpm(&self, name: &str) -> Vec<(&'static str, String)> {
        let mut scripts = Vec::new();
        let head = format!("set -e\n{}", Self::preamble(name));
        if !self.requires.is_empty() || !self.accounts.is_empty() {
            let mut text = format!("{head}{}", self.requires);
            if !self.accounts.is_empty() {
                text.push_str("mkdir -p \"$state\"\n");
                text.push_str(&self.accounts);
            }
            scripts.push(("pre", text));
        }
        if self.is_empty() {
            return scripts;
        }
        let configure = self.configure(name);
        scripts.push((
            "post",
            format!(
                "set -e\nname={name}\nstate=/var/lib/packhorse-export/$name\nupgraded=\n[ \"$1\" -le 1 ] || upgraded=1\n{configure}"
            ),
        ));
        scripts.push(("preun", format!("{head}[ \"$1\" -eq 0 ] || exit 0\n{}", self.removal())));
        scripts.push((
            "postun",
            format!(
                "{head}[ \"$1\" -eq 0 ] || exit 0\n{}{}{}{}",
                self.after_removal,
                self.purge,
                account::REMOVE,
                Self::FORGET
            ),
        ));
        scripts
    }
}
