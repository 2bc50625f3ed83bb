//! Rules of collections: CEL over an inventory, with an answer for what is not known.

mod prepare;

use std::{collections::BTreeSet, fmt, sync::Arc};

use cel::{Context, Env, ExecutionError, Value, parser::Parser};
use model::Version;

use crate::{
    Inventory, InventoryKey, InventoryPart, InventoryValue, MachineField, Truth, inventory::normal,
};

/// The expression parser recurses; longer rules fill its stack.
const MOST_OPERATORS: usize = 1_000;

/// A question about a client, written in CEL.
#[derive(Debug)]
pub struct Rule {
    text: Box<str>,
    expression: cel::IdedExpr,
    reads: Vec<Read>,
}

/// What a rule reads of a client: it is asked again when that changed, and only then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// One value.
    Key(InventoryKey),
    /// Whether a value is known: `has(machine.model)`.
    Known(MachineField),
    /// The names of a whole part.
    Names(InventoryPart),
}

/// Text that is no rule; nothing is saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at {line}:{column}; {hint}")]
pub struct InvalidRule {
    /// What is wrong.
    pub message: String,
    /// What to type instead.
    pub hint: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// What rules know, for hints.
const SUPPORTED: &str = "a rule compares `machine.os`, `.arch`, `.distribution`, `.release`, `.kernel`, `.hostname`, `.memory`, `.cpus`, `.processor`, `.vendor`, `.model`, `.disk`, `.time_zone`, `installed(…)`, `system_package(…)`, `service(…)`, `version(…)`, asks `user_exists(…)`, and looks through `packages`, `system_packages`, `users`, `services`";

impl Rule {
    /// Reads a rule. Texts in it are brought into normal form.
    ///
    /// # Errors
    /// Empty, no CEL, or nothing a site can answer: with the place and what to type instead.
    pub fn new(text: &str) -> Result<Self, InvalidRule> {
        let text = normal(text);
        let refuse = |message: String, hint: &str| InvalidRule {
            message,
            hint: hint.to_owned(),
            line: 1,
            column: 1,
        };
        if text.trim().is_empty() {
            let hint = "write what its members have in common, like `machine.os == \"linux\"`; for all clients say so (`--everybody`)";
            return Err(refuse("an empty rule".to_owned(), hint));
        }
        let operators = text.bytes().filter(|byte| b"+-*/%([{!.?<>=&|".contains(byte)).count();
        if operators > MOST_OPERATORS {
            let message =
                format!("a rule of {operators} operators, where {MOST_OPERATORS} are read");
            return Err(refuse(message, "divide it among several collections"));
        }
        let (mut expression, source) =
            Parser::new().parse_with_source_info(&text).map_err(|errors| {
                let first = errors.errors.first();
                let at = |at: isize| usize::try_from(at).unwrap_or(1).max(1);
                InvalidRule {
                    message: first.map_or("no CEL", |error| error.msg.as_str()).replace('\n', "; "),
                    hint: SUPPORTED.to_owned(),
                    line: first.map_or(1, |error| at(error.pos.0)),
                    column: first.map_or(1, |error| at(error.pos.1)),
                }
            })?;
        let mut preparing = prepare::Preparing::new(&source, &text);
        preparing.prepare(&mut expression, &mut Vec::new())?;
        let reads = preparing.reads;
        if reads.is_empty() {
            let hint = "name something of the client; for all clients say so (`--everybody`)";
            return Err(refuse("the rule asks nothing of a client".to_owned(), hint));
        }
        let rule = Self { text, expression, reads };
        match rule.asked(&prepare::sample(&rule.reads)) {
            Ok(_) | Err(Unknown::Missing(_)) => Ok(rule),
            Err(Unknown::Broken(why)) => {
                Err(refuse(format!("the rule gives no yes or no: {why}"), SUPPORTED))
            }
        }
    }

    /// The rule as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it reads.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// Whether a client is meant. What is missing, or goes wrong, makes it unknown, unless the answer does not hang on
    /// it: `machine.os == "linux" || x` is yes on Linux whatever `x` may be.
    pub fn ask(&self, inventory: &Inventory) -> Truth {
        match self.asked(inventory) {
            Ok(true) => Truth::Yes,
            Ok(false) => Truth::No,
            Err(unknown) => Truth::Unknown(unknown.to_string()),
        }
    }

    fn asked(&self, inventory: &Inventory) -> Result<bool, Unknown> {
        let mut context = Context::with_env(environment());
        context
            .add_function("compare_versions", compare)
            .map_err(|error| Unknown::Broken(error.to_string()))?;
        for (number, read) in self.reads.iter().enumerate() {
            if let Some(value) = read.value(inventory) {
                context.add_variable_from_value(prepare::variable(number), value);
            }
        }
        match Value::resolve(&self.expression, &context) {
            Ok(Value::Bool(truth)) => Ok(truth),
            Ok(other) => Err(Unknown::Broken(format!("it gives {:?}", other.type_of()))),
            Err(ExecutionError::UndeclaredReference(name)) => {
                let read = prepare::number(&name).and_then(|number| self.reads.get(number));
                Err(match read {
                    Some(read) => Unknown::Missing(read.to_string()),
                    None => Unknown::Broken(format!("no `{name}`")),
                })
            }
            Err(error) => Err(Unknown::Broken(error.to_string())),
        }
    }

    /// What it reads, with the values a client has, for people.
    pub fn read_of(&self, inventory: &Inventory) -> Vec<String> {
        let said = |read: &Read| match read.value(inventory) {
            Some(Value::String(text)) if text.is_empty() => format!("{read} is not there"),
            Some(Value::String(text)) => format!("{read} is `{text}`"),
            Some(Value::Int(number)) => format!("{read} is {number}"),
            Some(Value::Bool(truth)) => format!("{read} is {truth}"),
            Some(Value::List(list)) => format!("{read} are {}", list.len()),
            Some(_) | None => format!("{read} is not known"),
        };
        self.reads.iter().map(said).collect()
    }
}

/// Why a rule has no answer.
enum Unknown {
    Missing(String),
    Broken(String),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "{what} is not known"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// CEL's own functions, made once.
fn environment() -> Arc<Env> {
    static ENVIRONMENT: std::sync::OnceLock<Arc<Env>> = std::sync::OnceLock::new();
    ENVIRONMENT.get_or_init(|| Arc::new(Env::stdlib())).clone()
}

/// The order of two versions: negative, 0, positive. What is not installed has none.
fn compare(one: Arc<String>, other: Arc<String>) -> Result<i64, ExecutionError> {
    if one.is_empty() || other.is_empty() {
        let why = "what is not there has no version; ask `installed(…) != \"\"` first";
        return Err(ExecutionError::function_error("version", why));
    }
    let order = Version::new(one.as_str()).cmp(&Version::new(other.as_str()));
    Ok(order as i64)
}

impl Read {
    /// What a client has of it; `None` where that is not known.
    fn value(&self, inventory: &Inventory) -> Option<Value> {
        match self {
            Self::Key(InventoryKey::User(name)) => {
                let there = inventory.get(&InventoryKey::User(name.clone())).is_some();
                inventory.has(InventoryPart::Users).then_some(Value::Bool(there))
            }
            Self::Key(key) => match (inventory.get(key), key.part()) {
                (Some(InventoryValue::Text(text)), _) => Some(Value::from(&**text)),
                (Some(InventoryValue::Number(number)), _) => Some(Value::Int(*number)),
                (None, Some(part)) => inventory.has(part).then(|| Value::from("")),
                (None, None) => None,
            },
            Self::Known(field) => {
                Some(Value::Bool(inventory.get(&InventoryKey::Machine(*field)).is_some()))
            }
            Self::Names(part) => inventory.has(*part).then(|| {
                let names: Vec<Value> =
                    inventory.of(*part).filter_map(|key| key.name()).map(Value::from).collect();
                Value::from(names)
            }),
        }
    }

    /// The reads a change of a value touches.
    pub(crate) fn touched_by(key: &InventoryKey) -> impl Iterator<Item = Self> + use<> {
        let known = match key {
            InventoryKey::Machine(field) => Some(Self::Known(*field)),
            _ => None,
        };
        [Self::Key(key.clone())].into_iter().chain(known).chain(key.part().map(Self::Names))
    }

    /// The reads a part touches that begins or ceases to be reported: all of it.
    pub(crate) fn belongs_to(&self, parts: &BTreeSet<InventoryPart>) -> bool {
        match self {
            Self::Key(key) => key.part().is_some_and(|part| parts.contains(&part)),
            Self::Names(part) => parts.contains(part),
            Self::Known(_) => false,
        }
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(InventoryKey::Machine(field)) => {
                write!(f, "`machine.{}`", prepare::field_name(*field))
            }
            Self::Key(InventoryKey::Package(name)) => write!(f, "`installed(\"{name}\")`"),
            Self::Key(InventoryKey::SystemPackage(name)) => {
                write!(f, "`system_package(\"{name}\")`")
            }
            Self::Key(InventoryKey::User(name)) => write!(f, "`user_exists(\"{name}\")`"),
            Self::Key(InventoryKey::Service(name)) => write!(f, "`service(\"{name}\")`"),
            Self::Known(field) => write!(f, "`has(machine.{})`", prepare::field_name(*field)),
            Self::Names(InventoryPart::Packages) => f.write_str("`packages`"),
            Self::Names(InventoryPart::SystemPackages) => f.write_str("`system_packages`"),
            Self::Names(InventoryPart::Users) => f.write_str("`users`"),
            Self::Names(InventoryPart::Services) => f.write_str("`services`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> Inventory {
        let mut inventory = Inventory::default();
        inventory.text(InventoryKey::Machine(MachineField::Os), "linux");
        inventory.text(InventoryKey::Machine(MachineField::HostName), "web-07");
        inventory.number(InventoryKey::Machine(MachineField::Memory), 8 << 30);
        inventory.text(InventoryKey::package("redis"), "7.2.10");
        inventory.text(InventoryKey::user("O'Brien"), "1000");
        inventory
    }

    fn ask(text: &str) -> String {
        match Rule::new(text).unwrap().ask(&web()) {
            Truth::Yes => "yes".to_owned(),
            Truth::No => "no".to_owned(),
            Truth::Unknown(why) => format!("unknown: {why}"),
        }
    }

    #[test]
    fn rules_are_answered() {
        for yes in [
            "machine.os == \"linux\" && machine.memory >= 4 * 1024 * 1024 * 1024",
            "machine.hostname.startsWith(\"web-\")",
            "version(installed(\"redis\")) > version(\"7.2.9\")",
            "installed(\"redis\") != \"\" && installed(\"nginx\") == \"\"",
            "user_exists(\"O'Brien\") && !user_exists(\"Jos\u{e9}\")",
            "users.exists(name, name.contains(\"Bri\"))",
            "size(packages) == 1 && \"redis\" in packages",
            "machine.os in [\"windows\", \"linux\"]",
            "!has(machine.model)",
        ] {
            assert_eq!(ask(yes), "yes", "{yes}");
        }
        assert_eq!(ask("installed(\"redis\") == \"7.2\""), "no");
    }

    /// What is not known is neither a match nor its opposite; what does not matter does not matter.
    #[test]
    fn missing_data_never_matches() {
        insta::assert_snapshot!(ask("machine.model == \"X1\""), @"unknown: `machine.model` is not known");
        insta::assert_snapshot!(ask("machine.model != \"X1\""), @"unknown: `machine.model` is not known");
        insta::assert_snapshot!(ask("!(machine.model == \"X1\")"), @"unknown: `machine.model` is not known");
        insta::assert_snapshot!(ask("service(\"sshd\") == \"\""), @"unknown: `service(\"sshd\")` is not known");
        assert_eq!(ask("machine.model == \"X1\" || machine.os == \"linux\""), "yes");
        assert_eq!(ask("machine.model == \"X1\" && machine.os == \"windows\""), "no");
        insta::assert_snapshot!(ask("version(installed(\"nginx\")) < version(\"2\")"), @r#"unknown: Error executing function 'version': what is not there has no version; ask `installed(…) != ""` first"#);
    }

    /// Q273204: empty, unnamed, default or broken rules are refused, with the place; none becomes *all clients*.
    #[test]
    fn q273204_what_is_no_rule_is_refused() {
        let refused = |text: &str| Rule::new(text).unwrap_err().to_string();
        insta::assert_snapshot!(refused(" \n "), @r#"an empty rule at 1:1; write what its members have in common, like `machine.os == "linux"`; for all clients say so (`--everybody`)"#);
        insta::assert_snapshot!(refused("true"), @"the rule asks nothing of a client at 1:1; name something of the client; for all clients say so (`--everybody`)");
        assert!(refused("machine.os ==").contains(" at 1:14; "), "{}", refused("machine.os =="));
        for (text, message) in [
            ("machine.colour == \"red\"", "no `machine.colour` at 1:8"),
            ("machine.os", "the rule gives no yes or no: it gives String"),
            ("machine.os == \"linux\" && devices == 3", "no `devices` at 1:26"),
            ("installed(machine.os) == \"\"", "`installed` needs a name in quotes at 1:10"),
            ("file(\"/etc/passwd\") != \"\"", "no function `file` at 1:5"),
            ("machine.memory != \"8\"", "a number is compared with a text at 1:16"),
            ("installed(\"a\") > 3", "a text is compared with a number at 1:16"),
            ("machine.release >= \"9\"", "texts have no order"),
            ("machine == 3", "no `machine` at 1:1"),
        ] {
            assert!(refused(text).starts_with(message), "{text}: {}", refused(text));
        }
        let long = vec!["machine.os == \"a\""; 2_000].join(" || ");
        assert!(refused(&long).starts_with("a rule of "), "{}", refused(&long));
    }
}
