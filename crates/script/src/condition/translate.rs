use std::ops::Range;

use cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, SourceInfo, operators},
};
use model::{Comparison, Condition, Fact, Value};

use super::ConditionError;
use super::SUPPORTED;

/// Translates what the CEL parser read; what an installer does not know is refused.
pub(super) fn translate(
    expression: &IdedExpr,
    source: &SourceInfo,
    text: &str,
) -> Result<Condition, ConditionError> {
    Translation { source, text }.truth(expression)
}

pub(super) struct Translation<'t> {
    source: &'t SourceInfo,
    text: &'t str,
}

/// What a value is: only values of one kind compare.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Version,
    Truth,
}

pub(super) type Translated<T> = Result<T, ConditionError>;

impl Translation<'_> {
    fn truth(&self, node: &IdedExpr) -> Translated<Condition> {
        let Expr::Call(call) = &node.expr else {
            let (value, kind) = self.value(node)?;
            return match value {
                Value::Truth(constant) => Ok(Condition::Constant(constant)),
                value => self.demand_truth(node, value, kind),
            };
        };
        if call.target.is_some() {
            return Err(self.unknown_method(node, call));
        }
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, args) => {
                let mut all = Vec::new();
                for arg in args {
                    match self.truth(arg)? {
                        Condition::All(inner) => all.extend(inner),
                        other => all.push(other),
                    }
                }
                Ok(Condition::All(all))
            }
            (operators::LOGICAL_OR, args) => {
                let mut any = Vec::new();
                for arg in args {
                    match self.truth(arg)? {
                        Condition::Any(inner) => any.extend(inner),
                        other => any.push(other),
                    }
                }
                Ok(Condition::Any(any))
            }
            (operators::LOGICAL_NOT, [arg]) => Ok(Condition::Not(Box::new(self.truth(arg)?))),
            (operators::IN, [left, right]) => self.membership(node, left, right),
            (name, [left, right]) if comparison(name).is_some() => {
                let (left_value, left_kind) = self.value(left)?;
                let (right_value, right_kind) = self.value(right)?;
                let relation = comparison(name).unwrap_or(Comparison::Equal);
                self.check_kinds(
                    node,
                    relation,
                    (&left_value, left_kind),
                    (&right_value, right_kind),
                )?;
                Ok(Condition::Compare {
                    left: left_value,
                    comparison: relation,
                    right: right_value,
                })
            }
            _ => {
                let (value, kind) = self.value(node)?;
                self.demand_truth(node, value, kind)
            }
        }
    }

    /// A value where a yes or a no is needed.
    fn demand_truth(&self, node: &IdedExpr, value: Value, kind: Kind) -> Translated<Condition> {
        match (value, kind) {
            (value, Kind::Truth) => Ok(Condition::Holds(value)),
            (value @ Value::Fact(Fact::Installed(_) | Fact::SystemPackage(_)), _) => {
                Ok(super::print::is_there(value))
            }
            (_, kind) => Err(self.error(
                node,
                format!("{} is no yes or no", kind.noun()),
                "compare it with something: `machine.os == \"linux\"`",
            )),
        }
    }

    fn membership(
        &self,
        node: &IdedExpr,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Translated<Condition> {
        let Expr::List(list) = &right.expr else {
            return Err(self.error(
                right,
                "`in` needs a list".to_owned(),
                "write `machine.distribution in [\"debian\", \"ubuntu\"]`",
            ));
        };
        let (left, left_kind) = self.value(left)?;
        let mut any = Vec::with_capacity(list.elements.len());
        for element in &list.elements {
            let (right, right_kind) = self.value(element)?;
            self.check_kinds(element, Comparison::Equal, (&left, left_kind), (&right, right_kind))?;
            any.push(Condition::Compare {
                left: left.clone(),
                comparison: Comparison::Equal,
                right,
            });
        }
        match any.len() {
            0 => Err(self.error(
                node,
                "nothing is in an empty list".to_owned(),
                "write `false` if that is meant",
            )),
            1 => Ok(any.remove(0)),
            _ => Ok(Condition::Any(any)),
        }
    }

    fn check_kinds(
        &self,
        node: &IdedExpr,
        relation: Comparison,
        left: (&Value, Kind),
        right: (&Value, Kind),
    ) -> Translated<()> {
        if left.1 != right.1 {
            let hint = match (left.1, right.1) {
                (Kind::Version, Kind::Text) | (Kind::Text, Kind::Version) => {
                    "make the text a version: `version(\"7.2\")`"
                }
                (Kind::Number, Kind::Text) | (Kind::Text, Kind::Number) => {
                    "a number has no quotes: `machine.memory >= 2 * 1024 * 1024 * 1024`"
                }
                _ => "compare values of one kind",
            };
            let message = format!("{} is compared with {}", left.1.noun(), right.1.noun());
            return Err(self.error(node, message, hint));
        }
        let equality = matches!(relation, Comparison::Equal | Comparison::NotEqual);
        match left.1 {
            Kind::Text if !equality => Err(self.error(
                node,
                "texts have no order one could rely on: `9` would come after `12`".to_owned(),
                "compare versions: `version(machine.release) >= version(\"12\")`",
            )),
            Kind::Truth if !equality => {
                Err(self.error(node, "yes and no have no order".to_owned(), "use `==` or `!=`"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn unknown_method(&self, node: &IdedExpr, call: &CallExpr) -> ConditionError {
        let message = format!("an installer does not know `.{}(…)`", call.func_name);
        self.error(node, message, SUPPORTED)
    }

    pub(super) fn too_great(&self, node: &IdedExpr) -> ConditionError {
        self.error(
            node,
            "the number has no value in 64 bits".to_owned(),
            "sizes are in bytes, at most 9223372036854775807",
        )
    }

    pub(super) fn error(
        &self,
        node: &IdedExpr,
        message: String,
        hint: impl Into<String>,
    ) -> ConditionError {
        ConditionError { message, hint: hint.into(), span: self.span(node) }
    }

    /// Where a node's first word stands. For a call or a field the parser knows the place of its `(` or
    /// `.` alone; the name around it is taken in. Its ranges include their last byte.
    fn span(&self, node: &IdedExpr) -> Range<usize> {
        let Some((start, end)) = self.source.offset_for(node.id) else { return 0..self.text.len() };
        let bytes = self.text.as_bytes();
        let (mut start, mut end) = (start as usize, (end as usize).saturating_add(1));
        let is_name = |at: usize| {
            bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(byte))
        };
        let mark = bytes.get(start).copied();
        if let Some(b'(' | b'.') = mark {
            while start > 0 && is_name(start - 1) {
                start -= 1;
            }
        }
        if mark == Some(b'(') && start + 1 < end {
            end -= 1;
        }
        while mark == Some(b'.') && is_name(end) {
            end += 1;
        }
        let floor = |at: usize| self.text.floor_char_boundary(at);
        floor(start)..floor(end.max(start))
    }
}

impl Kind {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Version => "a version",
            Self::Truth => "a yes or no",
        }
    }
}

pub(super) fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::AtMost,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::AtLeast,
        _ => return None,
    })
}
