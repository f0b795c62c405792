//! The JSON Schema of a file for people, which an editor completes and checks it by while it is written.

use serde_json::{Map, Value, json};

use crate::{app, openapi};

/// What the schema is called, beside the files.
pub const FILE_NAME: &str = "glossary.schema.json";

/// The schemas that the documents of a file have in the API's description.
const DOCUMENTS: [&str; 3] = ["CategoryCreate", "CompanyCreate", "TermCreate"];

/// The schema as it stands beside the files. It is made from the API's own description, so that what an editor allows is
/// what an import takes.
#[must_use]
pub fn schema() -> String {
    let description = serde_json::to_value(app::describe()).unwrap_or_default();
    let known = description.pointer("/components/schemas").and_then(Value::as_object);
    let mut definitions = Map::new();
    for name in DOCUMENTS {
        define(name, known, &mut definitions);
    }
    // A term's category is that of its file.
    if let Some(Value::Array(required)) = definitions.get_mut("Term").and_then(|term| term.get_mut("required")) {
        required.retain(|member| member != "category");
    }
    openapi::to_json(&json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A file of a termbase glossary",
        "description": "A category and the terms that stand in it, or companies.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {
            "category": { "$ref": "#/$defs/Category" },
            "terms": {
                "description": "The terms of the category; in a file without one, each names its own.",
                "type": ["array", "null"],
                "items": { "$ref": "#/$defs/Term" }
            },
            "companies": { "type": ["array", "null"], "items": { "$ref": "#/$defs/Company" } }
        },
        "$defs": definitions
    }))
}

/// Takes a schema, and all that it refers to, out of the description.
fn define(name: &str, known: Option<&Map<String, Value>>, definitions: &mut Map<String, Value>) {
    let own = own_name(name);
    if definitions.contains_key(own) {
        return;
    }
    let Some(mut schema) = known.and_then(|known| known.get(name)).cloned() else { return };
    let mut below = Vec::new();
    adapt(&mut schema, &mut below);
    definitions.insert(own.into(), schema);
    for name in below {
        define(&name, known, definitions);
    }
}

/// Documents are called as in the files, not as what a request creates.
fn own_name(name: &str) -> &str {
    name.strip_suffix("Create").unwrap_or(name)
}

/// What OpenAPI says in its own way, as JSON Schema says it; `below` is what the schema refers to.
fn adapt(schema: &mut Value, below: &mut Vec<String>) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| adapt(item, below)),
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
                below.push(name.to_owned());
                let reference = json!(format!("#/$defs/{}", own_name(name)));
                members.insert("$ref".into(), reference);
            }
            // A member may be called `example` as well; then it is a schema.
            if let Some(example) = members.get("example").filter(|example| !example.is_object()).cloned() {
                members.remove("example");
                members.insert("examples".into(), json!([example]));
            }
            members.values_mut().for_each(|member| adapt(member, below));
        }
        _ => {}
    }
}
