use serde_json::{Map, Value, json};

use crate::vocabulary::{
    DEPENDS, FAILURES, FOLLOWER, FORMAT, KINDS, Key, LINE, MEANINGS, PACKAGE, PROGRAM, REPLACEMENT,
    STEP, Shape, TRIGGERS, Table, UNDO, VARIABLE,
};

/// The JSON Schema (draft 2020-12) of `package.toml`, for editors: what a script may say, with a
/// sentence on everything. What needs more than the text (does the source exist?) is left to
/// [`check`](crate::check()).
pub fn schema() -> Value {
    let steps: Vec<Value> = KINDS.iter().map(step_schema).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Packhorse script",
        "type": "object",
        "additionalProperties": false,
        "required": ["format", "package"],
        "properties": {
            "format": { "const": FORMAT, "description": "The format of the script." },
            "package": table_schema(&PACKAGE, &[]),
            "depends": table_schema(&DEPENDS, &[]),
            "variables": {
                "type": "object",
                "description": "Values the script leaves open, by name.",
                "propertyNames": { "pattern": "^(?!machine(\\.|$))[A-Za-z][A-Za-z0-9._-]*$" },
                "additionalProperties": table_schema(&VARIABLE, &[]),
            },
            "step": {
                "type": "array",
                "description": STEP.about,
                "items": { "oneOf": steps },
            },
            "program": {
                "type": "object",
                "description": "Named ways to run the package: `install`, `uninstall`, `repair`, …",
                "propertyNames": { "minLength": 1 },
                "additionalProperties": table_schema(&PROGRAM, &[]),
            },
        },
    })
}

fn step_schema(kind: &'static Table) -> Value {
    let mut schema = table_schema(kind, STEP.keys);
    if let Value::Object(schema) = &mut schema {
        schema.insert("title".to_owned(), json!(kind.name));
        let something = match kind.name {
            "edit-lines" => Some(["add", "remove"]),
            "edit-ini" | "edit-assignments" => Some(["set", "unset"]),
            _ => None,
        };
        if let Some(one_of) = something {
            let any: Vec<Value> = one_of.iter().map(|key| json!({ "required": [key] })).collect();
            schema.insert("anyOf".to_owned(), json!(any));
        }
        if kind.name == "trigger" {
            let names: Vec<Value> = TRIGGERS
                .iter()
                .map(|trigger| json!({ "const": trigger.name, "description": trigger.about }))
                .collect();
            schema.insert(
                "properties".to_owned(),
                json!({
                    "trigger": { "description": kind.keys[0].about, "oneOf": names },
                    "when": key_schema(&STEP.keys[0]),
                    "users": key_schema(&STEP.keys[1]),
                }),
            );
        }
    }
    schema
}

fn table_schema(table: &Table, common: &[Key]) -> Value {
    let keys = || table.keys.iter().chain(common);
    let properties: Map<String, Value> =
        keys().map(|key| (key.name.to_owned(), key_schema(key))).collect();
    let required: Vec<&str> = keys().filter(|key| key.required).map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": table.about,
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn key_schema(key: &Key) -> Value {
    let mut schema = shape_schema(key.shape);
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), json!(key.about));
    }
    schema
}

/// A table of this one key.
fn one_of(key: &str, value: &Value) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": [key],
        "properties": { key: value },
    })
}

/// A text with variables: every `$` begins `$$` or `${name}`.
const TEMPLATE: &str = r"^([^$]|\$\$|\$\{(0x[0-9A-Fa-f]{1,2}|[A-Za-z][A-Za-z0-9._-]*)\})*$";

fn shape_schema(shape: Shape) -> Value {
    let text = || json!({ "type": "string" });
    let template = || json!({ "type": "string", "pattern": TEMPLATE });
    match shape {
        Shape::Text | Shape::Acl => text(),
        Shape::Name | Shape::Condition => json!({ "type": "string", "pattern": "\\S" }),
        Shape::Template => template(),
        Shape::Path => {
            json!({ "type": "string", "pattern": "^(/|\\$\\{|[A-Za-z]:[\\\\/])", "allOf": [template()] })
        }
        Shape::Source => {
            json!({ "type": "string", "pattern": "^(?!(\\.{1,2}/|.*/\\.{1,2}(/|$)|.*//))[^/\\\\].*[^/]$" })
        }
        Shape::Truth => json!({ "type": "boolean" }),
        Shape::Id => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        Shape::Number => json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Words(words) => json!({ "type": "array", "items": { "enum": words } }),
        Shape::Mode => json!({ "type": "string", "pattern": "^[0-7]{3,4}$" }),
        Shape::Time => {
            json!({ "type": "string", "pattern": "^(@-?[0-9]+(\\.[0-9]{1,9})?|[-+0-9]+-.*)$" })
        }
        Shape::Duration => json!({ "type": "string", "pattern": "^0*[1-9][0-9]*(s|min|h)$" }),
        Shape::Xattrs => {
            json!({ "type": "object", "propertyNames": { "minLength": 1 }, "additionalProperties": text() })
        }
        Shape::Patterns | Shape::Texts => {
            json!({ "type": "array", "items": { "type": "string", "pattern": "\\S" } })
        }
        Shape::Templates => json!({ "type": "array", "items": template() }),
        Shape::Command => json!({ "type": "array", "minItems": 1, "items": template() }),
        Shape::Undo => json!({ "oneOf": [{ "enum": UNDO }, shape_schema(Shape::Command)] }),
        Shape::ExitCodes => json!({
            "type": "object",
            "propertyNames": { "pattern": "^(0|-?[1-9][0-9]*)$" },
            "additionalProperties": { "enum": MEANINGS },
        }),
        Shape::Lines => json!({
            "type": "array",
            "items": { "oneOf": [template(), table_schema(&LINE, &[])] },
        }),
        Shape::Assignments => json!({
            "type": "object",
            "propertyNames": { "minLength": 1, "pattern": TEMPLATE },
            "additionalProperties": template(),
        }),
        Shape::Sections => json!({
            "type": "object",
            "propertyNames": { "pattern": TEMPLATE },
            "additionalProperties": shape_schema(Shape::Assignments),
        }),
        Shape::SectionKeys => json!({
            "type": "object",
            "propertyNames": { "pattern": TEMPLATE },
            "additionalProperties": { "type": "array", "items": { "type": "string", "minLength": 1, "pattern": TEMPLATE } },
        }),
        Shape::Replacements => json!({ "type": "array", "items": table_schema(&REPLACEMENT, &[]) }),
        Shape::Values => json!({
            "type": "object",
            "propertyNames": { "pattern": TEMPLATE },
            "additionalProperties": { "oneOf": [
                template(),
                one_of("expand", &template()),
                one_of("list", &shape_schema(Shape::Templates)),
                one_of("add", &shape_schema(Shape::Templates)),
                one_of("dword", &json!({ "type": ["integer", "string"] })),
                one_of("qword", &json!({ "type": ["integer", "string"] })),
                one_of("remove", &json!({ "const": true })),
                {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["type", "data"],
                    "properties": {
                        "type": { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                        "data": { "type": "string", "pattern": "^([0-9A-Fa-f]{2})*$" },
                    },
                },
            ] },
        }),
        Shape::Recovery => json!({
            "type": "array",
            "items": { "type": "string", "pattern": format!("^({})( [0-9]+(ms|s|min|h))?$", FAILURES.join("|")) },
        }),
        Shape::Followers => json!({ "type": "array", "items": table_schema(&FOLLOWER, &[]) }),
    }
}
