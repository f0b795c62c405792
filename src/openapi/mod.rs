//! The OpenAPI 3.1 description: title, conventions, tags and security are said here, the paths come from the handlers.
//!
//! [`Routes`] is the one list: a handler that it takes is both routed and described. What holds for every operation
//! (headers, problems, examples) is added once, in [`describe`].

use actix_web::{dev::HttpServiceFactory, web::ServiceConfig};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{
    IntoParams, OpenApi, PartialSchema, ToSchema,
    openapi::{
        Content, Header, ObjectBuilder, OpenApi as Description, Ref, RefOr, Response,
        example::ExampleBuilder,
        extensions::ExtensionsBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, Paths},
        schema::{AdditionalProperties, Components, Schema, Type},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_actix_web::OpenApiFactory;

pub use form_3_0::as_3_0;
pub use problems::*;
pub use written::{items, patched, required, written};

use crate::{
    changes::LastEventId,
    error::{Conflict, Fault, Problem},
    http::{
        idempotency::IdempotencyKey,
        precondition::{IfMatch, IfNoneMatchAny},
    },
    transfer::http::NDJSON,
};

mod form_3_0;
mod problems;
mod written;

pub const TAG_TERMS: &str = "terms";
pub const TAG_CATEGORIES: &str = "categories";
pub const TAG_COMPANIES: &str = "companies";
pub const TAG_SEARCH: &str = "search";
pub const TAG_SITE: &str = "site";
pub const TAG_CHANGES: &str = "changes";
pub const TAG_TOKENS: &str = "tokens";
pub const TAG_TRASH: &str = "trash";
pub const TAG_TRANSFER: &str = "transfer";
pub const TAG_SERVICE: &str = "service";

/// Takes each handler once: registers its route, and keeps its path and schemas for the description.
pub struct Routes<'c> {
    config: &'c mut ServiceConfig,
    collected: &'c mut Collected,
}

/// What the handlers say of themselves. Schemas are kept unmerged, so that a test can see a clash of names.
#[derive(Default)]
pub struct Collected {
    pub paths: Paths,
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

impl<'c> Routes<'c> {
    pub fn new(config: &'c mut ServiceConfig, collected: &'c mut Collected) -> Self {
        Routes { config, collected }
    }

    pub fn service<F: HttpServiceFactory + OpenApiFactory + 'static>(&mut self, handler: F) -> &mut Self {
        self.collected.paths.merge(handler.paths());
        handler.schemas(&mut self.collected.schemas);
        self.config.service(handler);
        self
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "termbase",
        description = include_str!("../../openapi/conventions.md"),
        license(name = "MIT", identifier = "MIT"),
        contact(name = "The termbase authors")
    ),
    servers((url = "/", description = "This server")),
    security((), ("bearer" = [])),
    tags(
        (name = "terms", description = "The glossary's terms."),
        (name = "categories", description = "The tree that the terms stand in."),
        (name = "companies", description = "The companies that work with them."),
        (name = "search", description = "All three by what they are called, and by what is said of them."),
        (name = "site", description = "What the site that shows the glossary passes on: its sitemap and its feed."),
        (name = "changes", description = "What has changed, for caches, frontends and mirrors that follow the glossary."),
        (name = "tokens", description = "Who may do what: tokens and their roles."),
        (name = "trash", description = "What was deleted, and can come back or go for good."),
        (name = "transfer", description = "The glossary as a file, and files as the glossary."),
        (name = "service", description = "The service itself: its index, its state, its description."),
    )
)]
struct Head;

/// The whole description of what was collected.
#[must_use]
pub fn describe(collected: Collected) -> Description {
    let Collected { paths, schemas } = collected;
    let mut description = Head::openapi();
    description.paths = paths;
    let mut components = Components::new();
    components.schemas = schemas.into_iter().collect();
    for (name, schema) in
        [(Problem::name(), Problem::schema()), (Fault::name(), Fault::schema()), (Conflict::name(), Conflict::schema())]
    {
        components.schemas.insert(name.into_owned(), schema);
    }
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("tb_…".into());
    bearer.description = Some(
        "A token of this service. Public reads need none; an operation that needs one names the lowest role that will do, as \
         `x-role` too: `viewer`, `contributor`, `editor` or `admin`, each with all that those before it may do."
            .into(),
    );
    components.security_schemes.insert("bearer".into(), SecurityScheme::Http(bearer).into());
    for (name, read) in PAGES {
        components.examples.insert(name.into(), ExampleBuilder::new().value(example(read)).build().into());
    }
    for item in description.paths.paths.values_mut() {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten();
        for operation in operations {
            close_body(operation, &mut components);
            finish(operation);
        }
    }
    description.components = Some(components);
    description
}

/// What is written has no members but those of its schema: others are refused.
fn close_body(operation: &Operation, components: &mut Components) {
    let Some(RefOr::T(body)) = &operation.request_body else { return };
    let references = body.content.values().filter_map(|content| match content {
        RefOr::T(Content { schema: Some(RefOr::Ref(reference)), .. }) => reference.ref_location.rsplit('/').next(),
        _ => None,
    });
    for name in references {
        if let Some(RefOr::T(Schema::Object(schema))) = components.schemas.get_mut(name) {
            schema.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

/// Adds what is the same for many operations: headers, the parameters that stand for them, the role, and the example.
fn finish(operation: &mut Operation) {
    tell_role(operation);
    let responses = &mut operation.responses.responses;
    let has_tag = responses.contains_key("304");
    let may_have_token = responses.contains_key("401");
    let id = operation.operation_id.clone().unwrap_or_default();
    let of_glossary =
        operation.tags.iter().flatten().any(|tag| ![TAG_TOKENS, TAG_SERVICE, TAG_CHANGES].contains(&tag.as_str()));
    let successes = responses.iter_mut().filter_map(|(status, response)| match response {
        RefOr::T(response) if status.starts_with('2') => Some(response),
        _ => None,
    });
    for success in successes {
        if of_glossary {
            add_headers(success);
            if has_tag {
                let mut age = Header::new(ObjectBuilder::new().schema_type(Type::Integer).build());
                age.description =
                    Some("How many seconds ago it was last checked; only while the database is away.".into());
                success.headers.insert("Age".into(), age.into());
            }
        }
        if let Some(RefOr::T(content)) = success.content.values_mut().next() {
            match page(content) {
                // A page is long, and many operations answer with it: said once, and referred to.
                Some((name, _)) => {
                    let reference = RefOr::Ref(Ref::new(format!("#/components/examples/{name}")));
                    content.examples.insert("page".into(), reference);
                }
                None => content.example = example(&id).or(content.example.take()),
            }
        }
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body
        && let Some(RefOr::T(content)) = body.content.values_mut().next()
        && let Some(noun) = id.strip_prefix("replace_")
    {
        // What is read can be sent back.
        content.example = example(&format!("read_{noun}"));
    }
    let added = [has_tag.then(if_none_match), may_have_token.then(termbase_after)];
    let mut parameters = operation.parameters.take().unwrap_or_default();
    parameters.extend(added.into_iter().flatten().map(RefOr::from));
    operation.parameters = Some(parameters).filter(|parameters| !parameters.is_empty());
}

/// A handler names the role that it needs as a scope of its security, where a person looks for it. To tools only an OAuth
/// flow has scopes, so the description says it in words, and as `x-role` to programs. What a token may be sent to stands
/// once, for the whole description: some generators make a token required wherever an operation names one.
fn tell_role(operation: &mut Operation) {
    let security = serde_json::to_value(&operation.security).unwrap_or_default();
    if security == json!([{}, { "bearer": [] }]) {
        operation.security = None;
        return;
    }
    if security == json!([{}]) {
        operation.security = Some(vec![]);
        return;
    }
    let Some(role) = security.pointer("/0/bearer/0").and_then(Value::as_str) else { return };
    operation.security = Some(vec![SecurityRequirement::new("bearer", [""; 0])]);
    operation.extensions = Some(ExtensionsBuilder::new().add("x-role", role).build());
    let description = operation.description.take().unwrap_or_default();
    operation.description = Some(format!("{description}\n\nNeeds the role `{role}`."));
}

/// The same as JSON, as it is served and committed: one line a value, with a line break at the end.
#[must_use]
pub fn to_json(description: &impl Serialize) -> String {
    // A description that is made of strings and maps always serialises.
    let mut text = serde_json::to_string_pretty(description).unwrap_or_default();
    text.push('\n');
    text
}

/// Headers that every answer of the glossary has.
fn add_headers(response: &mut Response) {
    // What is empty has no tag, nor has what is sent while it is read.
    let tag = usize::from(response.content.is_empty() || response.content.contains_key(NDJSON));
    for (name, description, value) in [
        (
            "ETag",
            "A strong entity tag; send it as `If-None-Match` for a `304`.",
            "\"01a20c7845137096a7ca781f7eec597d.0fSQ4cPvBtKkTnUw.br\"",
        ),
        (
            "Termbase-Position",
            "The place in the change log up to which the answer is true.",
            "018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42",
        ),
        (
            "Cache-Control",
            "How long the answer may be kept, and by whom.",
            "public, max-age=0, s-maxage=60, stale-while-revalidate=30, stale-if-error=86400",
        ),
        ("X-Request-Id", "The id of this request, in the log too.", "01a20c7863297576ab4a6952bacc2af5-17"),
    ]
    .into_iter()
    .skip(tag)
    {
        let schema = ObjectBuilder::new().schema_type(Type::String).examples([Value::from(value)]).build();
        let mut header = Header::new(schema);
        header.description = Some(description.into());
        response.headers.insert(name.into(), header.into());
    }
}

fn if_none_match() -> Parameter {
    header("If-None-Match", "Entity tags of answers that the client has: `304` if one is still right.", None)
}

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "The `ETag` of the page or the document that the change builds on, of any coding: `412` if it was written since. \
                           A setting of the service makes it required (`428`).";
        vec![header("If-Match", description, Some("\"01a20c7845137096a7ca781f7eec597d.0fSQ4cPvBtKkTnUw.br\""))]
    }
}

impl IntoParams for IfNoneMatchAny {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![header("If-None-Match", "`*` writes only where there is nothing yet: else `412`.", Some("*"))]
    }
}

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "A random key of the client's, the same in each retry of one request: within a day it creates once. Up to 200 \
                           visible characters, in quotes or not.";
        let example = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        vec![patterned(header("Idempotency-Key", description, Some(example)), KEY)]
    }
}

impl IntoParams for LastEventId {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let description = "The `id` of the last event that was read: the stream goes on after it.";
        vec![patterned(header("Last-Event-ID", description, None), POSITION)]
    }
}

/// What [`IdempotencyKey`] reads, in quotes or not.
const KEY: &str = r#"^([!#-~]{1,200}|"[!#-~]{1,200}")$"#;

fn header(name: &str, description: &str, example: Option<&str>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .example(example.map(Value::from))
        .build()
}

/// What [`Position::parse`](crate::changes::Position::parse) reads.
const POSITION: &str = "^[0-9a-f]{32}-(0|[1-9][0-9]{0,17})$";

fn termbase_after() -> Parameter {
    let description = "A `Termbase-Position`: the answer is at that place in the change log or later, so that you read your own writes.";
    patterned(header("Termbase-After", description, None), POSITION)
}

fn patterned(mut parameter: Parameter, pattern: &str) -> Parameter {
    parameter.schema = Some(ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).into());
    parameter
}

/// Answers to the requests that the examples of the parameters make, on the glossary of the tests. A test keeps them true.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("read_term", include_str!("../../openapi/examples/read_term.json")),
    ("list_terms", include_str!("../../openapi/examples/list_terms.json")),
    ("read_category", include_str!("../../openapi/examples/read_category.json")),
    ("list_categories", include_str!("../../openapi/examples/list_categories.json")),
    ("read_company", include_str!("../../openapi/examples/read_company.json")),
    ("list_companies", include_str!("../../openapi/examples/list_companies.json")),
    ("list_letters", include_str!("../../openapi/examples/list_letters.json")),
    ("read_category_tree", include_str!("../../openapi/examples/read_category_tree.json")),
    ("search", include_str!("../../openapi/examples/search.json")),
    ("suggest", include_str!("../../openapi/examples/suggest.json")),
    ("read_term_jsonld", include_str!("../../openapi/examples/read_term_jsonld.json")),
    ("read_sitemap", include_str!("../../openapi/examples/read_sitemap.json")),
    ("read_sitemap_part", include_str!("../../openapi/examples/read_sitemap_part.json")),
    ("read_feed", include_str!("../../openapi/examples/read_feed.json")),
    ("read_term_document", include_str!("../../openapi/examples/read_term_document.json")),
    ("list_term_revisions", include_str!("../../openapi/examples/list_term_revisions.json")),
    ("read_term_revision", include_str!("../../openapi/examples/read_term_revision.json")),
    ("compare_term_revisions", include_str!("../../openapi/examples/compare_term_revisions.json")),
    ("read_category_document", include_str!("../../openapi/examples/read_category_document.json")),
    ("list_category_revisions", include_str!("../../openapi/examples/list_category_revisions.json")),
    ("read_category_revision", include_str!("../../openapi/examples/read_category_revision.json")),
    ("compare_category_revisions", include_str!("../../openapi/examples/compare_category_revisions.json")),
    ("read_company_document", include_str!("../../openapi/examples/read_company_document.json")),
    ("list_company_revisions", include_str!("../../openapi/examples/list_company_revisions.json")),
    ("read_company_revision", include_str!("../../openapi/examples/read_company_revision.json")),
    ("compare_company_revisions", include_str!("../../openapi/examples/compare_company_revisions.json")),
    ("list_trash", include_str!("../../openapi/examples/list_trash.json")),
    ("read_me", include_str!("../../openapi/examples/read_me.json")),
    ("list_tokens", include_str!("../../openapi/examples/list_tokens.json")),
    ("create_token", include_str!("../../openapi/examples/create_token.json")),
    ("read_token", include_str!("../../openapi/examples/read_token.json")),
];

fn example(operation_id: &str) -> Option<Value> {
    let (_, text) = EXAMPLES.iter().find(|(id, _)| *id == operation_id)?;
    serde_json::from_str(text).ok()
}

/// The pages, which reads and writes answer with: the schema's name, and whose answer is the example.
const PAGES: [(&str, &str); 3] =
    [("TermPage", "read_term"), ("CategoryPage", "read_category"), ("CompanyPage", "read_company")];

fn page(content: &Content) -> Option<(&'static str, &'static str)> {
    let Some(RefOr::Ref(reference)) = &content.schema else { return None };
    let name = reference.ref_location.rsplit('/').next()?;
    PAGES.into_iter().find(|(page, _)| *page == name)
}
