//! The schemas of what is written, made from those of the documents.

use serde_json::{Value, json};
use utoipa::{
    ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{AdditionalProperties, ArrayItems, Schema, SchemaType, Type},
    },
};

use crate::error::Fault;

/// The members that a document must have, by its own reading.
pub fn required<D>(parse: fn(&Value) -> Result<D, Vec<Fault>>) -> Vec<String> {
    required_at(parse, &json!({}), "/")
}

/// What is missing at `place` of a document that has nothing there.
fn required_at<D>(parse: fn(&Value) -> Result<D, Vec<Fault>>, document: &Value, place: &str) -> Vec<String> {
    let faults = parse(document).err().unwrap_or_default();
    let missing = faults.into_iter().filter(|fault| fault.code == "required").filter_map(|fault| fault.pointer);
    missing.filter_map(|pointer| pointer.strip_prefix(place).map(ToOwned::to_owned)).collect()
}

/// The schemas below a document's, and those of its lists' objects as they are written: what has a default may be absent.
pub fn items<D: ToSchema, W>(parse: fn(&Value) -> Result<W, Vec<Fault>>, schemas: &mut Vec<(String, RefOr<Schema>)>) {
    let mut below = Vec::new();
    D::schemas(&mut below);
    let RefOr::T(Schema::Object(document)) = D::schema() else { return };
    for (member, property) in &document.properties {
        let Some(name) = item_name(property) else { continue };
        let Some((_, schema)) = below.iter().find(|(known, _)| *known == name) else { continue };
        let required = required_at(parse, &json!({ member: [{}] }), &format!("/{member}/0/"));
        below.push((as_written(&name), request(schema, &required, &required)));
    }
    schemas.append(&mut below);
}

/// The schema that a list's items refer to.
fn item_name(property: &RefOr<Schema>) -> Option<String> {
    let RefOr::T(Schema::Array(array)) = property else { return None };
    let ArrayItems::RefOrSchema(items) = &array.items else { return None };
    let RefOr::Ref(reference) = &**items else { return None };
    reference.ref_location.rsplit('/').next().map(ToOwned::to_owned)
}

fn as_written(name: &str) -> String {
    format!("{name}Create")
}

/// A document's schema as it is written whole: all but the `required` members may be absent or null.
#[must_use]
pub fn written(document: &RefOr<Schema>, required: &[String]) -> RefOr<Schema> {
    request(document, required, required)
}

/// A document's schema as a merge patch: every member may be absent.
#[must_use]
pub fn patched(document: &RefOr<Schema>, required: &[String]) -> RefOr<Schema> {
    request(document, required, &[])
}

fn request(document: &RefOr<Schema>, not_null: &[String], required: &[String]) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(object)) = document else { return document.clone() };
    let mut object = object.clone();
    object.required = required.to_vec();
    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    for (name, property) in &mut object.properties {
        // A reference stays as it is: a nullable one makes bad clients, and leaving the member out says the same.
        if not_null.contains(name) {
            continue;
        }
        let item = item_name(property);
        match property {
            RefOr::T(Schema::Object(object)) => object.schema_type = nullable(&object.schema_type),
            RefOr::T(Schema::Array(array)) => {
                array.schema_type = nullable(&array.schema_type);
                if let Some(name) = item {
                    let written = RefOr::Ref(Ref::from_schema_name(as_written(&name)));
                    array.items = ArrayItems::RefOrSchema(Box::new(written));
                }
            }
            _ => {}
        }
    }
    Schema::Object(object).into()
}

fn nullable(kind: &SchemaType) -> SchemaType {
    let mut kinds = match kind {
        SchemaType::Type(kind) => vec![kind.clone()],
        SchemaType::Array(kinds) => kinds.clone(),
        SchemaType::AnyValue => return SchemaType::AnyValue,
    };
    if !kinds.contains(&Type::Null) {
        kinds.push(Type::Null);
    }
    SchemaType::Array(kinds)
}
