//! A term's members, one at a time: relations, companies, aliases and sources have addresses of their own, so that adding
//! one needs no resending of the others, and two editors who each add one do not overwrite each other.
//!
//! Each is a change of the document like any other: validated whole, a version where it changes something. A mistake is
//! told by its place in the document that the change would make.

use actix_web::{
    delete, put,
    web::{Data, Path},
};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{TermDocument, document::AliasKind, page::TermPage};
use crate::{
    editorial::{
        Kind, LINK_ADDED, LINK_REMOVED,
        edit::{self, Intent, MessageParam, rewrite},
        link_operation,
    },
    error::{Error, Fault},
    http::{
        answer::Answer,
        auth::Contributor,
        body::{Body, OptionalBody},
        lookup::{self, Address},
        precondition::IfMatch,
        query::Query,
    },
    names::fold,
    openapi::{EditErrors, Routes, TAG_TERMS},
    state::State,
};

pub(super) fn routes(routes: &mut Routes<'_>) {
    routes
        .service(put_related)
        .service(delete_related)
        .service(put_broader)
        .service(delete_broader)
        .service(put_replacement)
        .service(delete_replacement)
        .service(put_company)
        .service(delete_company)
        .service(put_alias)
        .service(delete_alias)
        .service(put_source)
        .service(delete_source);
}

const PAIR_REMOVED: &str = "`related` is symmetric, and either side may have written it: the pair is removed from both documents, \
                            each of which gets a new version where it had the link. The answer is the page of the path's term, \
                            with which `If-Match` is compared.";

link_operation! {
    put put_related "put_term_related": "Add a related term", LINK_ADDED;
    TermDocument => TermPage, TAG_TERMS, "foundation-model";
    "/terms/{slug}/related/{other}", "related", Kind::Term, "transformer", edit::put_link::<TermDocument<Uuid>>;
}

link_operation! {
    delete delete_related "delete_term_related": "Remove a related term", PAIR_REMOVED;
    TermDocument => TermPage, TAG_TERMS, "foundation-model";
    "/terms/{slug}/related/{other}", "related", Kind::Term, "transformer", edit::delete_pair::<TermDocument<Uuid>>;
}

link_operation! {
    put put_broader "put_term_broader": "Add a broader term", LINK_ADDED;
    TermDocument => TermPage, TAG_TERMS, "foundation-model";
    "/terms/{slug}/broader/{other}", "broader", Kind::Term, "machine-learning-model", edit::put_link::<TermDocument<Uuid>>;
}

link_operation! {
    delete delete_broader "delete_term_broader": "Remove a broader term", LINK_REMOVED;
    TermDocument => TermPage, TAG_TERMS, "foundation-model";
    "/terms/{slug}/broader/{other}", "broader", Kind::Term, "machine-learning-model", edit::delete_link::<TermDocument<Uuid>>;
}

link_operation! {
    put put_replacement "put_term_replaced_by": "Add a term that replaces this one", LINK_ADDED;
    TermDocument => TermPage, TAG_TERMS, "foundation-model";
    "/terms/{slug}/replaced_by/{other}", "replaced_by", Kind::Term, "transformer", edit::put_link::<TermDocument<Uuid>>;
}

link_operation! {
    delete delete_replacement "delete_term_replaced_by": "Remove a term that replaces this one", LINK_REMOVED;
    TermDocument => TermPage, TAG_TERMS, "foundation-model";
    "/terms/{slug}/replaced_by/{other}", "replaced_by", Kind::Term, "transformer", edit::delete_link::<TermDocument<Uuid>>;
}

link_operation! {
    put put_company "put_term_company": "Link a company to a term", LINK_ADDED;
    TermDocument => TermPage, TAG_TERMS, "foundation-model";
    "/terms/{slug}/companies/{other}", "companies", Kind::Company, "anthropic", edit::put_link::<TermDocument<Uuid>>;
}

link_operation! {
    delete delete_company "delete_term_company": "Unlink a company from a term", LINK_REMOVED;
    TermDocument => TermPage, TAG_TERMS, "foundation-model";
    "/terms/{slug}/companies/{other}", "companies", Kind::Company, "anthropic", edit::delete_link::<TermDocument<Uuid>>;
}

/// What `PUT …/aliases` takes beside the name.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by the document's own rules; this is what the description shows")]
pub struct TermAliasWrite {
    /// `synonym` where it is absent.
    #[schema(required = false)]
    kind: AliasKind,
}

/// Add an alias, or change its kind
///
/// The alias is told by its name, case, accents and punctuation aside; a new one comes last. The answer is the page.
#[utoipa::path(
    operation_id = "put_term_alias",
    tag = TAG_TERMS,
    params(
        ("slug" = String, Path, description = "The slug.", example = "foundation-model", max_length = 100),
        ("name" = String, Query, description = "The alias.", example = "Base model", min_length = 1, max_length = 200),
        MessageParam,
        IfMatch
    ),
    request_body(content = TermAliasWrite, description = "Its kind.", content_type = "application/json", example = json!({"kind": "acronym"})),
    responses((status = 200, description = "The page.", body = TermPage), EditErrors),
    security(("bearer" = ["contributor"]))
)]
#[put("/terms/{slug}/aliases")]
pub async fn put_alias(
    state: Data<State>,
    Contributor(author): Contributor,
    address: Address,
    mut query: Query,
    if_match: IfMatch,
    body: OptionalBody,
) -> Result<Answer, Error> {
    let name = needed(&mut query, "name");
    let intent = Intent::read(&state, author, query, if_match).await?;
    let alias = item("name", name, body.0)?;
    rewrite::<TermDocument<Uuid>>(&state, &address, &intent, |mut document| {
        put(&mut document, "aliases", &alias, |there| is_named(there, &alias));
        document
    })
    .await
}

/// Remove an alias
///
/// The alias is told by its name, case, accents and punctuation aside. The answer is the page. One that is not there
/// changes nothing.
#[utoipa::path(
    operation_id = "delete_term_alias",
    tag = TAG_TERMS,
    params(
        ("slug" = String, Path, description = "The slug.", example = "foundation-model", max_length = 100),
        ("name" = String, Query, description = "The alias.", example = "Base model", min_length = 1, max_length = 200),
        MessageParam,
        IfMatch
    ),
    responses((status = 200, description = "The page.", body = TermPage), EditErrors),
    security(("bearer" = ["contributor"]))
)]
#[delete("/terms/{slug}/aliases")]
pub async fn delete_alias(
    state: Data<State>,
    Contributor(author): Contributor,
    address: Address,
    mut query: Query,
    if_match: IfMatch,
) -> Result<Answer, Error> {
    let name = needed(&mut query, "name");
    let intent = Intent::read(&state, author, query, if_match).await?;
    let alias = json!({"name": name});
    rewrite::<TermDocument<Uuid>>(&state, &address, &intent, |mut document| {
        remove(&mut document, "aliases", |there| is_named(there, &alias));
        document
    })
    .await
}

/// What `PUT …/sources` takes beside the address.
#[derive(ToSchema)]
#[expect(dead_code, reason = "read by the document's own rules; this is what the description shows")]
pub struct TermSourceWrite {
    /// One line, 1 to 300 characters.
    #[schema(min_length = 1, max_length = 300, example = "On the Opportunities and Risks of Foundation Models")]
    title: String,
    #[schema(min_length = 1, max_length = 200, example = "Stanford CRFM")]
    publisher: Option<String>,
    #[schema(value_type = Option<String>, format = Date, example = "2021-08-16")]
    published_on: Option<String>,
}

/// Add a source, or replace it
///
/// The source is told by its address; a new one comes last. The answer is the page.
#[utoipa::path(
    operation_id = "put_term_source",
    tag = TAG_TERMS,
    params(
        ("slug" = String, Path, description = "The slug.", example = "foundation-model", max_length = 100),
        ("url" = String, Query, description = "The source's address.", example = "https://arxiv.org/abs/2108.07258", min_length = 1, max_length = 2000),
        MessageParam,
        IfMatch
    ),
    request_body(content = TermSourceWrite, description = "The rest of the source.", content_type = "application/json", example = json!({"title": "On the Opportunities and Risks of Foundation Models", "publisher": "Stanford CRFM", "published_on": "2021-08-16"})),
    responses((status = 200, description = "The page.", body = TermPage), EditErrors),
    security(("bearer" = ["contributor"]))
)]
#[put("/terms/{slug}/sources")]
pub async fn put_source(
    state: Data<State>,
    Contributor(author): Contributor,
    address: Address,
    mut query: Query,
    if_match: IfMatch,
    body: Body,
) -> Result<Answer, Error> {
    let url = needed(&mut query, "url");
    let intent = Intent::read(&state, author, query, if_match).await?;
    let source = item("url", url, Some(body))?;
    rewrite::<TermDocument<Uuid>>(&state, &address, &intent, |mut document| {
        put(&mut document, "sources", &source, |there| there.get("url") == source.get("url"));
        document
    })
    .await
}

/// Remove a source
///
/// The answer is the page. A source that is not there changes nothing.
#[utoipa::path(
    operation_id = "delete_term_source",
    tag = TAG_TERMS,
    params(
        ("slug" = String, Path, description = "The slug.", example = "foundation-model", max_length = 100),
        ("url" = String, Query, description = "The source's address.", example = "https://arxiv.org/abs/2108.07258", min_length = 1, max_length = 2000),
        MessageParam,
        IfMatch
    ),
    responses((status = 200, description = "The page.", body = TermPage), EditErrors),
    security(("bearer" = ["contributor"]))
)]
#[delete("/terms/{slug}/sources")]
pub async fn delete_source(
    state: Data<State>,
    Contributor(author): Contributor,
    address: Address,
    mut query: Query,
    if_match: IfMatch,
) -> Result<Answer, Error> {
    let url = needed(&mut query, "url");
    let intent = Intent::read(&state, author, query, if_match).await?;
    rewrite::<TermDocument<Uuid>>(&state, &address, &intent, |mut document| {
        remove(&mut document, "sources", |there| there.get("url").and_then(Value::as_str) == Some(url.as_str()));
        document
    })
    .await
}

/// A parameter without which there is nothing to do; its absence is told by `finish`, with the other mistakes.
fn needed(query: &mut Query, name: &'static str) -> String {
    query.required(name, "say which one", |value| Ok(value.to_owned())).unwrap_or_default()
}

/// An item of the document: what names it, from the query, and the rest from the body.
fn item(key: &str, value: String, body: Option<Body>) -> Result<Value, Error> {
    let rest = body.map_or_else(|| Value::Object(Map::new()), |body| body.value);
    let Value::Object(mut members) = rest else {
        return Err(edit::invalid(vec![Fault::body("", "wrong_type", "Expected an object.")]));
    };
    if members.insert(key.to_owned(), Value::String(value)).is_some() {
        let detail = format!("The query says the {key}; leave it out of the body.");
        return Err(edit::invalid(vec![Fault::body(format!("/{key}"), "unknown_member", detail)]));
    }
    Ok(Value::Object(members))
}

fn put(document: &mut Value, member: &str, item: &Value, same: impl Fn(&Value) -> bool) {
    let Some(items) = document.get_mut(member).and_then(Value::as_array_mut) else { return };
    match items.iter_mut().find(|there| same(there)) {
        Some(there) => *there = item.clone(),
        None => items.push(item.clone()),
    }
}

fn remove(document: &mut Value, member: &str, same: impl Fn(&Value) -> bool) {
    if let Some(items) = document.get_mut(member).and_then(Value::as_array_mut) {
        items.retain(|there| !same(there));
    }
}

fn is_named(there: &Value, alias: &Value) -> bool {
    let key = |value: &Value| value.get("name").and_then(Value::as_str).map(fold);
    key(there) == key(alias)
}
