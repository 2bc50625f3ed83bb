//! A rule's expression with each thing it reads made a variable, so that what is missing is simply not bound.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, LiteralValue, SourceInfo, operators},
};

use super::{InvalidRule, Read, SUPPORTED};
use crate::{
    Inventory, InventoryKey, InventoryPart, InventoryValue,
    MachineField::{
        self, Arch, Cpus, Disk, Distribution, HostName, Kernel, Memory, Model, Os, Processor,
        Release, TimeZone, Vendor,
    },
    inventory::normal,
};

/// What every machine has one of, by its word in rules.
const FIELDS: [(&str, MachineField); 13] = [
    ("os", Os),
    ("arch", Arch),
    ("distribution", Distribution),
    ("release", Release),
    ("kernel", Kernel),
    ("hostname", HostName),
    ("memory", Memory),
    ("cpus", Cpus),
    ("processor", Processor),
    ("vendor", Vendor),
    ("model", Model),
    ("disk", Disk),
    ("time_zone", TimeZone),
];

/// Whole parts, by their words in rules.
const PARTS: [(&str, InventoryPart); 4] = [
    ("packages", InventoryPart::Packages),
    ("system_packages", InventoryPart::SystemPackages),
    ("users", InventoryPart::Users),
    ("services", InventoryPart::Services),
];

/// What of CEL's own functions rules may call.
const FUNCTIONS: [&str; 12] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "string",
    "double",
    "min",
    "max",
    "bool",
    "compare_versions",
    operators::NOT_STRICTLY_FALSE,
];

/// Lists are looked through at most so deep.
const MOST_NESTED: usize = 2;

const COMPARISONS: [&str; 6] = [
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
];

pub(super) fn field_name(field: MachineField) -> &'static str {
    FIELDS.iter().find(|(_, known)| *known == field).map_or("", |(name, _)| name)
}

/// The variable of a read. No rule can spell it.
pub(super) fn variable(number: usize) -> String {
    format!("@read{number}")
}

pub(super) fn number(variable: &str) -> Option<usize> {
    variable.strip_prefix("@read")?.parse().ok()
}

pub(super) struct Preparing<'a> {
    pub(super) reads: Vec<Read>,
    source: &'a SourceInfo,
    text: &'a str,
}

/// What a value is, as far as that is plain from the rule alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Truth,
}

impl<'a> Preparing<'a> {
    pub(super) fn new(source: &'a SourceInfo, text: &'a str) -> Self {
        Self { reads: Vec::new(), source, text }
    }

    /// Replaces what is read; `bound` are the variables of comprehensions around.
    pub(super) fn prepare(
        &mut self,
        node: &mut IdedExpr,
        bound: &mut Vec<String>,
    ) -> Result<(), InvalidRule> {
        let id = node.id;
        match &mut node.expr {
            Expr::Ident(name) if bound.contains(name) => Ok(()),
            Expr::Ident(name) => {
                let part = PARTS.iter().find(|(word, _)| word == name);
                let (_, part) = part.ok_or_else(|| self.refuse(id, format!("no `{name}`")))?;
                node.expr = self.read(Read::Names(*part));
                Ok(())
            }
            Expr::Select(select) => {
                let is_machine =
                    matches!(&select.operand.expr, Expr::Ident(name) if name == "machine");
                if !is_machine {
                    return Err(self.refuse(id, format!("no field `{}` here", select.field)));
                }
                let field = FIELDS.iter().find(|(word, _)| *word == select.field);
                let (_, field) = field
                    .ok_or_else(|| self.refuse(id, format!("no `machine.{}`", select.field)))?;
                let read = if select.test {
                    Read::Known(*field)
                } else {
                    Read::Key(InventoryKey::Machine(*field))
                };
                node.expr = self.read(read);
                Ok(())
            }
            Expr::Call(call) => match self.call(id, call, bound)? {
                Some(read) => {
                    node.expr = self.read(read);
                    Ok(())
                }
                None => Ok(()),
            },
            Expr::List(list) => {
                list.elements.iter_mut().try_for_each(|element| self.prepare(element, bound))
            }
            Expr::Comprehension(all) => {
                self.prepare(&mut all.iter_range, bound)?;
                let outer = bound.len();
                // Each further one multiplies what a client costs.
                if outer >= 2 * MOST_NESTED {
                    let message = format!("looks through lists {} deep", MOST_NESTED + 1);
                    return Err(self.refuse(id, message));
                }
                bound.extend([all.iter_var.clone(), all.accu_var.clone()]);
                bound.extend(all.iter_var2.clone());
                for inner in
                    [&mut all.accu_init, &mut all.loop_cond, &mut all.loop_step, &mut all.result]
                {
                    self.prepare(inner, bound)?;
                }
                bound.truncate(outer);
                Ok(())
            }
            Expr::Literal(_) => Ok(()),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.refuse(id, "rules have no maps and messages".to_owned()))
            }
        }
    }

    /// What a call reads, if it is one of ours; else its arguments are prepared.
    fn call(
        &mut self,
        id: u64,
        call: &mut CallExpr,
        bound: &mut Vec<String>,
    ) -> Result<Option<Read>, InvalidRule> {
        let ours: Option<fn(&str) -> InventoryKey> = match call.func_name.as_str() {
            "installed" => Some(InventoryKey::package),
            "system_package" => Some(InventoryKey::system_package),
            "user_exists" => Some(InventoryKey::user),
            "service" => Some(InventoryKey::service),
            _ => None,
        };
        if let (Some(key), None) = (ours, &call.target) {
            let [IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] = &*call.args
            else {
                return Err(self.refuse(id, format!("`{}` needs a name in quotes", call.func_name)));
            };
            return Ok(Some(Read::Key(key(name.inner()))));
        }
        versions(call);
        self.check_kinds(id, call)?;
        let is_operator = !call.func_name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !is_operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
            return Err(self.refuse(id, format!("no function `{}`", call.func_name)));
        }
        if let Some(target) = &mut call.target {
            self.prepare(target, bound)?;
        }
        call.args.iter_mut().try_for_each(|argument| self.prepare(argument, bound))?;
        Ok(None)
    }

    fn read(&mut self, read: Read) -> Expr {
        let known = self.reads.iter().position(|known| *known == read);
        let number = known.unwrap_or_else(|| {
            self.reads.push(read);
            self.reads.len() - 1
        });
        Expr::Ident(variable(number))
    }

    fn refuse(&self, id: u64, message: String) -> InvalidRule {
        let offset = self.source.offset_for(id).map_or(0, |(start, _)| start);
        let before = self.text.chars().take(usize::try_from(offset).unwrap_or(0));
        let (mut line, mut column) = (1, 1);
        for letter in before {
            (line, column) = if letter == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        InvalidRule { message, hint: SUPPORTED.to_owned(), line, column }
    }

    /// Values of different kinds are never equal: whoever compares them means something else. Texts have no order.
    fn check_kinds(&self, id: u64, call: &CallExpr) -> Result<(), InvalidRule> {
        let [left, right] = &*call.args else { return Ok(()) };
        if !COMPARISONS.contains(&call.func_name.as_str()) {
            return Ok(());
        }
        let is_order = ![operators::EQUALS, operators::NOT_EQUALS].contains(&&*call.func_name);
        match (kind(left), kind(right)) {
            (Some(left), Some(right)) if left != right => {
                let message = format!("{} is compared with {}", noun(left), noun(right));
                Err(self.refuse(id, message))
            }
            (Some(Kind::Text), Some(Kind::Text)) if is_order => {
                let message =
                    "texts have no order, `9` would come after `12`: compare `version(…)`";
                Err(self.refuse(id, message.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

fn kind(node: &IdedExpr) -> Option<Kind> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(_)) => Some(Kind::Text),
        Expr::Literal(LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_)) => {
            Some(Kind::Number)
        }
        Expr::Literal(LiteralValue::Boolean(_)) => Some(Kind::Truth),
        Expr::Select(select) if select.test => Some(Kind::Truth),
        Expr::Select(select) => match &*select.field {
            "memory" | "cpus" | "disk" => Some(Kind::Number),
            _ => Some(Kind::Text),
        },
        Expr::Call(call) => match &*call.func_name {
            "installed" | "system_package" | "service" => Some(Kind::Text),
            "user_exists" => Some(Kind::Truth),
            "size" => Some(Kind::Number),
            _ => None,
        },
        _ => None,
    }
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Number => "a number",
        Kind::Truth => "a yes or no",
    }
}

/// `version(a) < version(b)` becomes `compare_versions(a, b) < 0`.
fn versions(call: &mut CallExpr) {
    let is_version = |node: &IdedExpr| matches!(&node.expr, Expr::Call(call) if call.func_name == "version" && call.target.is_none() && call.args.len() == 1);
    if !COMPARISONS.contains(&call.func_name.as_str()) || !call.args.iter().all(is_version) {
        return;
    }
    let id = call.args.first().map_or(0, |first| first.id);
    let inner = call.args.drain(..).filter_map(|node| match node.expr {
        Expr::Call(mut version) => version.args.pop(),
        _ => None,
    });
    let args: Vec<IdedExpr> = inner.collect();
    let compare = CallExpr { func_name: "compare_versions".to_owned(), target: None, args };
    let zero = Expr::Literal(LiteralValue::Int(0.into()));
    call.args = vec![IdedExpr { id, expr: Expr::Call(compare) }, IdedExpr { id, expr: zero }];
}

/// A client of which everything is known that is read, to see whether a rule has an answer at all.
pub(super) fn sample(reads: &[Read]) -> Inventory {
    let mut sample = Inventory::default();
    for (_, part) in PARTS {
        sample.report(part);
    }
    for read in reads {
        if let Read::Key(key) = read {
            let value = match key {
                InventoryKey::Machine(Memory | Cpus | Disk) => InventoryValue::Number(1),
                _ => InventoryValue::Text(normal("1")),
            };
            sample.set(key.clone(), value);
        }
    }
    sample
}
