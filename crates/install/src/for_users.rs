//! A package whose steps for several users are spelled out, one by one.

use std::collections::{BTreeMap, BTreeSet};

use model::{LineEdit, Part, RegistryStep, Template, Users, ValueEdit};
use package::{Action, Header, Node, Record, Step};

use crate::{Facts, InstallError, Payload, PayloadError, Pour, Profile, Stop};

/// The package as one machine with these users sees it: a step for several users is as many steps, and a tree of such
/// a step as many trees. Their records come behind all others, one user after the other, for which the package is
/// read again.
pub(crate) struct ForUsers<'p> {
    payload: &'p mut dyn Payload,
    header: Header,
    rounds: Vec<Round>,
    /// What people should know.
    pub(crate) notes: Vec<String>,
}

/// What one user gets.
struct Round {
    profile: Profile,
    /// The numbers of trees, and of this user's copies of them.
    trees: BTreeMap<u32, u32>,
}

impl<'p> ForUsers<'p> {
    pub(crate) fn new(
        payload: &'p mut dyn Payload,
        facts: &dyn Facts,
    ) -> Result<Self, InstallError> {
        let mut header = payload.header().clone();
        let asked = |step: &Step| step.users.is_some();
        if !header.steps.iter().any(asked) {
            return Ok(Self { payload, header, rounds: Vec::new(), notes: Vec::new() });
        }
        crate::settings::expect(|| "what users have of their own".to_owned())?;
        let profiles = facts.profiles();
        let mut rounds = rounds(&header, profiles);
        for round in &mut rounds {
            for (tree, copy) in &mut round.trees {
                let Some(mut tree) = header.trees.get(*tree as usize).cloned() else { continue };
                tree.to = round.profile.within(&tree.to);
                *copy = u32::try_from(header.trees.len()).unwrap_or(u32::MAX);
                header.trees.push(tree);
            }
        }
        let mut notes = Vec::new();
        for users in [Users::Existing, Users::Future] {
            let is_asked = |step: &Step| step.users.as_ref().is_some_and(|it| it.contains(&users));
            if header.steps.iter().any(is_asked)
                && !rounds.iter().any(|round| round.profile.users == users)
            {
                notes.push(format!(
                    "there is no profile of {} users, so that what is for them is left out",
                    users.word()
                ));
            }
        }
        let mut steps = Vec::with_capacity(header.steps.len());
        for step in header.steps {
            let Some(users) = &step.users else {
                steps.push(step);
                continue;
            };
            for round in rounds.iter().filter(|round| users.contains(&round.profile.users)) {
                let action = round.profile.action(&step.action, &round.trees);
                steps.push(Step { when: step.when.clone(), action, users: None });
            }
            if users.contains(&Users::Current) {
                steps.push(Step { users: None, ..step });
            }
        }
        header.steps = steps;
        Ok(Self { payload, header, rounds, notes })
    }
}

/// A round for each user some step is for; the copies of trees have no numbers yet.
fn rounds(header: &Header, profiles: Vec<Profile>) -> Vec<Round> {
    let trees_for = |users: Users| -> BTreeSet<u32> {
        let steps = header.steps.iter();
        let asked = steps.filter(|step| step.users.as_ref().is_some_and(|it| it.contains(&users)));
        asked
            .filter_map(|step| match step.action {
                Action::Tree(number) => Some(number),
                _ => None,
            })
            .collect()
    };
    let others = profiles.into_iter().filter(|profile| profile.users != Users::Current);
    others
        .map(|profile| {
            let trees = trees_for(profile.users).into_iter().map(|tree| (tree, 0)).collect();
            Round { profile, trees }
        })
        .collect()
}

impl Payload for ForUsers<'_> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn records(
        &mut self,
        each: &mut dyn FnMut(&Record) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        self.payload.records(each)?;
        for round in shown(&self.rounds) {
            self.payload.records(&mut |record| match round.copy(record) {
                Some(copy) => each(&copy),
                None => Ok(()),
            })?;
        }
        Ok(())
    }

    fn contents(
        &mut self,
        each: &mut dyn FnMut(&Record, &mut dyn Pour) -> Result<(), Stop>,
    ) -> Result<(), PayloadError> {
        self.payload.contents(each)?;
        for round in shown(&self.rounds) {
            self.payload.contents(&mut |record, pour| match round.copy(record) {
                Some(copy) => each(&copy, pour),
                None => Ok(()),
            })?;
        }
        Ok(())
    }
}

/// Those with trees; none in installers for machines that have no such users, which are smaller for it.
fn shown(rounds: &[Round]) -> impl Iterator<Item = &Round> {
    let rounds = if cfg!(feature = "settings") { rounds } else { &[] };
    rounds.iter().filter(|round| !round.trees.is_empty())
}

impl Round {
    /// A record as this user gets it.
    fn copy(&self, record: &Record) -> Option<Record> {
        let mut copy = Record { tree: *self.trees.get(&record.tree)?, ..record.clone() };
        match &mut copy.node {
            Node::File(content) => {
                for substitution in &mut content.substitutions {
                    substitution.with = self.profile.within(&substitution.with);
                }
            }
            Node::Symlink(target) => *target = self.profile.within(target),
            Node::HardLink { tree, .. } => *tree = self.trees.get(tree).copied().unwrap_or(*tree),
            _ => {}
        }
        Some(copy)
    }
}

impl Profile {
    /// A template with this user's folders in place of the variables.
    fn within(&self, template: &Template) -> Template {
        let part = |part: &Part| match part {
            Part::Variable(name) => match self.folders.iter().find(|(own, _)| own == name) {
                Some((_, folder)) => Part::Literal(folder.clone().into_bytes()),
                None => part.clone(),
            },
            Part::Literal(_) => part.clone(),
        };
        Template(template.0.iter().map(part).collect())
    }

    /// What a step does for this user.
    fn action(&self, action: &Action, trees: &BTreeMap<u32, u32>) -> Action {
        match action {
            Action::Tree(number) => Action::Tree(trees.get(number).copied().unwrap_or(*number)),
            Action::Registry(step) => Action::Registry(self.registry(step)),
            Action::Remove { path } => Action::Remove { path: self.within(path) },
            Action::Edit(edit) => {
                let mut edit = edit.clone();
                edit.file = self.within(&edit.file);
                for one in &mut edit.edits {
                    self.line(one);
                }
                Action::Edit(edit)
            }
            other => other.clone(),
        }
    }

    fn registry(&self, step: &RegistryStep) -> RegistryStep {
        let mut key = self.within(&step.key);
        if let Some(Part::Literal(bytes)) = key.0.first_mut() {
            let end = bytes.iter().position(|byte| *byte == b'\\').unwrap_or(bytes.len());
            bytes.splice(..end, format!(r"HKU\{}", self.hive).into_bytes());
        }
        let values = step.values.iter().map(|(name, edit)| {
            let list = |all: &Vec<Template>| all.iter().map(|one| self.within(one)).collect();
            let edit = match edit {
                ValueEdit::Text(text) => ValueEdit::Text(self.within(text)),
                ValueEdit::Expand(text) => ValueEdit::Expand(self.within(text)),
                ValueEdit::List(all) => ValueEdit::List(list(all)),
                ValueEdit::AddToPath(all) => ValueEdit::AddToPath(list(all)),
                other => other.clone(),
            };
            (self.within(name), edit)
        });
        RegistryStep { key, values: values.collect(), remove: step.remove }
    }

    fn line(&self, edit: &mut LineEdit) {
        let all: [Option<&mut Template>; 3] = match edit {
            LineEdit::Add { line, after } => [Some(line), after.as_mut(), None],
            LineEdit::Remove { line } => [Some(line), None, None],
            LineEdit::Ini { section, key, value } => [Some(section), Some(key), value.as_mut()],
            LineEdit::Assignment { key, value } => [Some(key), value.as_mut(), None],
            LineEdit::PathList { key, folder, .. } => [Some(key), Some(folder), None],
        };
        for text in all.into_iter().flatten() {
            *text = self.within(text);
        }
    }
}
