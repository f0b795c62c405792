//! The description as OpenAPI 3.0, for the tools that read no 3.1: made from the same, and saying the same.
//!
//! Only what this description has is translated: a test with a parser of 3.0 would see what is missing here.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi as Description;

use crate::transfer::http::NDJSON;

type Object = Map<String, Value>;

/// The 3.0 form of a description in 3.1.
#[must_use]
pub fn as_3_0(description: &Description) -> Value {
    let mut description = json!(description);
    if let Some(version) = description.get_mut("openapi") {
        *version = json!("3.0.3");
    }
    if let Some(license) = description.pointer_mut("/info/license").and_then(Value::as_object_mut)
        && let Some(Value::String(identifier)) = license.remove("identifier")
    {
        license.insert("url".into(), json!(format!("https://spdx.org/licenses/{identifier}.html")));
    }
    translate(&mut description);
    bytes_for_lines(&mut description);
    description
}

/// All schemas below `value`, which is none itself. Examples are data, whatever their members are called.
fn translate(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match name.as_str() {
                    "example" | "examples" => {}
                    "schema" => translate_schema(member),
                    "schemas" => each(member, translate_schema),
                    "content" => {
                        type_problems(member);
                        translate(member);
                    }
                    _ => translate(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(translate),
        _ => {}
    }
}

/// Generators of 3.0 know no NDJSON; bytes are taken for it as well.
fn bytes_for_lines(description: &mut Value) {
    let content = description.pointer_mut("/paths/~1import/post/requestBody/content").and_then(Value::as_object_mut);
    if let Some(content) = content
        && content.remove(NDJSON).is_some()
    {
        let bytes = json!({ "schema": { "type": "string", "format": "binary" } });
        content.insert("application/octet-stream".into(), bytes);
    }
}

/// Generators of 3.0 know `application/json` alone, and would give an error no type. The body is the same.
fn type_problems(content: &mut Value) {
    let Some(content) = content.as_object_mut() else { return };
    if let Some(schema) = content.get("application/problem+json").and_then(|problem| problem.get("schema")).cloned() {
        content.insert("application/json".into(), json!({ "schema": schema }));
    }
}

fn translate_schema(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    if members.contains_key("$ref") {
        // 3.0 ignores what stands beside a reference, and linters warn of it.
        members.retain(|name, _| name == "$ref");
        return;
    }
    translate_type(members);
    if let Some(Value::Array(examples)) = members.remove("examples")
        && let Some(first) = examples.into_iter().next()
    {
        members.insert("example".into(), first);
    }
    if let Some(value) = members.remove("const") {
        members.insert("enum".into(), json!([value]));
    }
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(value) = members.remove(exclusive) {
            members.insert(bound.into(), value);
            members.insert(exclusive.into(), json!(true));
        }
    }
    for (name, member) in members.iter_mut() {
        match name.as_str() {
            "properties" | "allOf" | "anyOf" | "oneOf" => each(member, translate_schema),
            "items" | "additionalProperties" | "not" => translate_schema(member),
            _ => {}
        }
    }
}

/// `[T, null]` is a nullable `T`. What may be of several types has none in 3.0.
fn translate_type(members: &mut Object) {
    let Some(Value::Array(mut types)) = members.get("type").cloned() else { return };
    let all = types.len();
    types.retain(|kind| kind != "null");
    if types.len() < all {
        members.insert("nullable".into(), json!(true));
    }
    match types.as_slice() {
        [one] => members.insert("type".into(), one.clone()),
        _ => members.remove("type"),
    };
}

fn each(values: &mut Value, translate: fn(&mut Value)) {
    match values {
        Value::Object(members) => members.values_mut().for_each(translate),
        Value::Array(items) => items.iter_mut().for_each(translate),
        _ => {}
    }
}
