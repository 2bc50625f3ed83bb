use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, LiteralValue, operators},
};
use model::{Fact, Part, Template, Value, Version};

use super::{
    ConditionError, SUPPORTED, TEXT_FACTS,
    translate::{Kind, Translated, Translation, comparison},
};
use crate::problem::did_you_mean;

impl Translation<'_> {
    pub(super) fn value(&self, node: &IdedExpr) -> Translated<(Value, Kind)> {
        match &node.expr {
            Expr::Literal(literal) => self.literal(node, literal),
            Expr::Ident(_) | Expr::Select(_) => self.named(node),
            Expr::Call(call) if call.target.is_none() => self.call(node, call),
            Expr::Call(call) => Err(self.unknown_method(node, call)),
            Expr::List(_) => {
                Err(self.error(node, "a list stands only after `in`".to_owned(), SUPPORTED))
            }
            _ => Err(self.error(node, "an installer does not know this".to_owned(), SUPPORTED)),
        }
    }

    fn literal(&self, node: &IdedExpr, literal: &LiteralValue) -> Translated<(Value, Kind)> {
        match literal {
            LiteralValue::String(text) => {
                let text = text.inner();
                if let Some(name) = variable_inside(text) {
                    return Err(self.error(
                        node,
                        format!("`${{{name}}}` is not expanded inside a condition"),
                        format!(
                            "write `{name} + \"…\"`; if the text itself is meant, `\"$\" + \"{{…\"`"
                        ),
                    ));
                }
                Ok((Value::Text(literal_template(text.as_bytes())), Kind::Text))
            }
            LiteralValue::Bytes(bytes) => {
                Ok((Value::Text(literal_template(bytes.inner())), Kind::Text))
            }
            LiteralValue::Int(number) => Ok((Value::Number(*number.inner()), Kind::Number)),
            LiteralValue::UInt(number) => i64::try_from(*number.inner())
                .map(|number| (Value::Number(number), Kind::Number))
                .map_err(|_| self.too_great(node)),
            LiteralValue::Boolean(truth) => Ok((Value::Truth(*truth.inner()), Kind::Truth)),
            LiteralValue::Double(_) => Err(self.error(
                node,
                "a fraction".to_owned(),
                "numbers are whole; sizes are in bytes: `500 * 1024 * 1024`",
            )),
            LiteralValue::Null => Err(self.error(
                node,
                "`null` is nothing to compare with".to_owned(),
                "ask `exists(\"/path\")` or `installed(\"name\")`",
            )),
        }
    }

    /// `machine.os`, or a variable, whose name may have dots.
    fn named(&self, node: &IdedExpr) -> Translated<(Value, Kind)> {
        let mut parts = Vec::new();
        let mut at = node;
        loop {
            match &at.expr {
                Expr::Select(select) if !select.test => {
                    parts.push(select.field.as_str());
                    at = &select.operand;
                }
                Expr::Ident(name) => {
                    parts.push(name.as_str());
                    break;
                }
                _ => {
                    return Err(self.error(
                        node,
                        "an installer does not know this".to_owned(),
                        SUPPORTED,
                    ));
                }
            }
        }
        parts.reverse();
        if parts.first() != Some(&"machine") {
            return Ok((Value::Fact(Fact::Variable(parts.join(".").into())), Kind::Text));
        }
        let names = || TEXT_FACTS.iter().map(|(name, _)| *name).chain(["memory"]);
        match parts.as_slice() {
            [_, "memory"] => Ok((Value::Fact(Fact::Memory), Kind::Number)),
            [_, name] if names().any(|known| known == *name) => {
                let fact = TEXT_FACTS.iter().find(|(known, _)| known == name);
                Ok((Value::Fact(fact.map_or(Fact::Os, |(_, fact)| fact.clone())), Kind::Text))
            }
            _ => {
                let name = parts[1..].join(".");
                let hint = match did_you_mean(&name, names()) {
                    Some(meant) => format!("did you mean `machine.{meant}`?"),
                    None => SUPPORTED.to_owned(),
                };
                Err(self.error(node, format!("a machine does not say its `{name}`"), hint))
            }
        }
    }

    fn call(&self, node: &IdedExpr, call: &CallExpr) -> Translated<(Value, Kind)> {
        let fact = |fact, kind| Ok((Value::Fact(fact), kind));
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operator, [_, _]) if is_arithmetic(operator) => self.arithmetic(node),
            (operators::NEGATE, [arg]) => {
                let number = self.number(arg)?.checked_neg().ok_or_else(|| self.too_great(node))?;
                Ok((Value::Number(number), Kind::Number))
            }
            ("version", [arg]) => self.version(arg),
            ("exists", [path]) => fact(Fact::Exists(self.path(path)?), Kind::Truth),
            ("free", [path]) => fact(Fact::FreeSpace(self.path(path)?), Kind::Number),
            ("installed", [name]) => fact(Fact::Installed(self.name(name)?), Kind::Version),
            ("system_package", [name]) => {
                fact(Fact::SystemPackage(self.name(name)?), Kind::Version)
            }
            ("registry", [key, value]) => {
                let (key, value) = (self.template(key)?, self.template(value)?);
                fact(Fact::Registry { key, value }, Kind::Text)
            }
            ("user_exists", [name]) => fact(Fact::UserExists(self.name(name)?), Kind::Truth),
            ("variable", [name]) => {
                let text = self.name(name)?;
                if !Template::is_variable_name(&text) {
                    return Err(self.error(
                        name,
                        format!("`{text}` is no variable name"),
                        "use letters, digits, `-`, `_`, `.`, and start with a letter",
                    ));
                }
                fact(Fact::Variable(text), Kind::Text)
            }
            ("file", [_]) => Err(self.error(
                node,
                "a file compares only by its version".to_owned(),
                "write `version(file(\"/path\"))`",
            )),
            (operators::CONDITIONAL, _) => Err(self.error(
                node,
                "`… ? … : …` is not supported".to_owned(),
                "write two steps, each with its own condition",
            )),
            (
                operators::LOGICAL_AND
                | operators::LOGICAL_OR
                | operators::LOGICAL_NOT
                | operators::IN,
                _,
            ) => Err(self.error(
                node,
                "a yes or no made of others cannot be compared".to_owned(),
                "join it with `&&` or `||`",
            )),
            (name, _) if comparison(name).is_some() => Err(self.error(
                node,
                "a comparison cannot be compared".to_owned(),
                "join it with `&&` or `||`",
            )),
            (name, args) => Err(self.unknown_function(node, name, args.len())),
        }
    }

    fn version(&self, arg: &IdedExpr) -> Translated<(Value, Kind)> {
        if let Expr::Call(CallExpr { func_name, target: None, args }) = &arg.expr
            && let ("file", [path]) = (func_name.as_str(), args.as_slice())
        {
            return Ok((Value::Fact(Fact::FileVersion(self.path(path)?)), Kind::Version));
        }
        let (value, kind) = self.value(arg)?;
        if kind != Kind::Text {
            let message = format!("`version` reads a text, not {}", kind.noun());
            return Err(self.error(arg, message, "write `version(\"7.2\")`"));
        }
        Ok((Value::Version(Box::new(value)), Kind::Version))
    }

    /// `a + b * c …`, all constant: numbers are calculated, texts put together.
    ///
    /// The chain is walked, not recursed into: it may be long.
    fn arithmetic(&self, node: &IdedExpr) -> Translated<(Value, Kind)> {
        let mut terms = Vec::new();
        let mut at = node;
        while let Expr::Call(CallExpr { func_name, target: None, args }) = &at.expr
            && let ([left, right], true) = (args.as_slice(), is_arithmetic(func_name))
        {
            terms.push((func_name.as_str(), at, right));
            at = left;
        }
        let (first, kind) = self.value(at)?;
        if kind == Kind::Number {
            let mut result = self.demand_number(at, &first)?;
            for (operator, node, term) in terms.into_iter().rev() {
                let term = self.number(term)?;
                result = calculate(operator, result, term).ok_or_else(|| self.too_great(node))?;
            }
            return Ok((Value::Number(result), Kind::Number));
        }
        let mut joined = Template(Vec::new());
        append(&mut joined, self.demand_template(at, first)?);
        for (operator, node, term) in terms.into_iter().rev() {
            if operator != operators::ADD {
                return Err(self.error(
                    node,
                    "one does not calculate with texts".to_owned(),
                    "texts are joined by `+`",
                ));
            }
            append(&mut joined, self.template(term)?);
        }
        Ok((Value::Text(joined), Kind::Text))
    }

    fn number(&self, node: &IdedExpr) -> Translated<i64> {
        let (value, _) = self.value(node)?;
        self.demand_number(node, &value)
    }

    fn demand_number(&self, node: &IdedExpr, value: &Value) -> Translated<i64> {
        match value {
            Value::Number(number) => Ok(*number),
            Value::Fact(Fact::Memory | Fact::FreeSpace(_)) => Err(self.error(
                node,
                "an installer does not calculate with what a machine says".to_owned(),
                "calculate on the other side: `machine.memory >= 2 * 1024 * 1024 * 1024`",
            )),
            _ => Err(self.error(
                node,
                "a text is added to a number".to_owned(),
                "texts have quotes, numbers none",
            )),
        }
    }

    fn path(&self, node: &IdedExpr) -> Translated<Template> {
        let path = self.template(node)?;
        match path.0.first() {
            Some(Part::Variable(_)) => Ok(path),
            Some(Part::Literal(bytes)) if bytes.first() == Some(&b'/') => Ok(path),
            _ => Err(self.error(
                node,
                format!("`{path}` is no path on the machine"),
                "start it with `/` or a variable: `prefix + \"/bin\"`",
            )),
        }
    }

    fn template(&self, node: &IdedExpr) -> Translated<Template> {
        let (value, _) = self.value(node)?;
        self.demand_template(node, value)
    }

    fn demand_template(&self, node: &IdedExpr, value: Value) -> Translated<Template> {
        match value {
            Value::Text(template) => Ok(template),
            Value::Fact(Fact::Variable(name)) => Ok(Template(vec![Part::Variable(name)])),
            Value::Fact(fact) if TEXT_FACTS.iter().any(|(_, known)| *known == fact) => {
                let name = TEXT_FACTS.iter().find(|(_, known)| *known == fact);
                let name = name.map_or_else(String::new, |(name, _)| format!("machine.{name}"));
                Ok(Template(vec![Part::Variable(name.into())]))
            }
            _ => Err(self.error(
                node,
                "a text is needed here".to_owned(),
                "write `\"…\"`, a variable, or both joined by `+`",
            )),
        }
    }

    fn name(&self, node: &IdedExpr) -> Translated<Box<str>> {
        if let Expr::Literal(LiteralValue::String(text)) = &node.expr
            && !text.inner().is_empty()
        {
            return Ok(text.inner().into());
        }
        Err(self.error(
            node,
            "a name is a text that is not empty".to_owned(),
            "write it in quotes: `installed(\"redis\")`",
        ))
    }

    fn unknown_function(&self, node: &IdedExpr, name: &str, arguments: usize) -> ConditionError {
        const KNOWN: &[&str] = &[
            "exists",
            "file",
            "free",
            "installed",
            "registry",
            "system_package",
            "user_exists",
            "variable",
            "version",
        ];
        if KNOWN.contains(&name) {
            let wanted = if name == "registry" { "two arguments" } else { "one argument" };
            return self.error(
                node,
                format!("`{name}` takes {wanted}, not {arguments}"),
                SUPPORTED,
            );
        }
        let hint = match did_you_mean(name, KNOWN.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => SUPPORTED.to_owned(),
        };
        self.error(node, format!("an installer does not know `{name}`"), hint)
    }
}

fn is_arithmetic(operator: &str) -> bool {
    use operators::{ADD, DIVIDE, MODULO, MULTIPLY, SUBSTRACT};
    [ADD, SUBSTRACT, MULTIPLY, DIVIDE, MODULO].contains(&operator)
}

fn calculate(operator: &str, left: i64, right: i64) -> Option<i64> {
    match operator {
        operators::ADD => left.checked_add(right),
        operators::SUBSTRACT => left.checked_sub(right),
        operators::MULTIPLY => left.checked_mul(right),
        operators::DIVIDE => left.checked_div(right),
        _ => left.checked_rem(right),
    }
}

/// The version an absent package compares as.
pub(super) fn no_version() -> Value {
    Value::Version(Box::new(Value::Text(literal_template(Version::new("").as_str().as_bytes()))))
}

fn literal_template(bytes: &[u8]) -> Template {
    if bytes.is_empty() { Template(Vec::new()) } else { Template::literal(bytes) }
}

/// Puts `more` at the end of `template`, as if both had been written as one.
fn append(template: &mut Template, more: Template) {
    for part in more.0 {
        match (template.0.last_mut(), part) {
            (Some(Part::Literal(end)), Part::Literal(bytes)) => end.extend(bytes),
            (_, part) => template.0.push(part),
        }
    }
}

/// The name in the first `${name}` of a text.
fn variable_inside(text: &str) -> Option<&str> {
    text.match_indices("${").find_map(|(at, _)| {
        let (name, _) = text[at + 2..].split_once('}')?;
        Template::is_variable_name(name).then_some(name)
    })
}
