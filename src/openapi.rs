//! The OpenAPI 3.1 description: title, conventions, tags and security are said here, the paths come from the handlers.
//!
//! [`Routes`] is the one list: a handler that it takes is both routed and described. What holds for every operation
//! (headers, problems, examples) is added once, in [`describe`].

use std::collections::BTreeMap;

use actix_web::{dev::HttpServiceFactory, web::ServiceConfig};
use serde_json::{Value, json};
use utoipa::{
    IntoParams, IntoResponses, OpenApi, PartialSchema, ToSchema,
    openapi::{
        Content, Header, ObjectBuilder, OpenApi as Description, Ref, RefOr, Response, ResponseBuilder,
        example::ExampleBuilder,
        extensions::ExtensionsBuilder,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn, Paths},
        schema::{AdditionalProperties, ArrayItems, Components, Schema, SchemaType, Type},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_actix_web::OpenApiFactory;
use uuid::Uuid;

use crate::{
    changes::{Keys, Position, Seen},
    editorial::document::Choice,
    error::{Conflict, Error, Fault, Problem, ProblemType},
    http::{
        body::BODY_MAX_BYTES,
        idempotency::IdempotencyKey,
        precondition::{IfMatch, IfNoneMatchAny},
    },
    tokens::{self, Role},
};

pub const TAG_TERMS: &str = "terms";
pub const TAG_CATEGORIES: &str = "categories";
pub const TAG_COMPANIES: &str = "companies";
pub const TAG_TOKENS: &str = "tokens";
pub const TAG_TRASH: &str = "trash";
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
        description = include_str!("../openapi/conventions.md"),
        license(name = "MIT", identifier = "MIT"),
        contact(name = "The termbase authors")
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "terms", description = "The glossary's terms."),
        (name = "categories", description = "The tree that the terms stand in."),
        (name = "companies", description = "The companies that work with them."),
        (name = "tokens", description = "Who may do what: tokens and their roles."),
        (name = "trash", description = "What was deleted, and can come back or go for good."),
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
    description.components = Some(components);
    for item in description.paths.paths.values_mut() {
        let operations =
            [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten();
        operations.for_each(finish);
    }
    description
}

/// Adds what is the same for many operations: headers, the parameters that stand for them, the role, and the example.
fn finish(operation: &mut Operation) {
    tell_role(operation);
    let responses = &mut operation.responses.responses;
    let has_tag = responses.contains_key("304");
    let may_have_token = responses.contains_key("401");
    let id = operation.operation_id.clone().unwrap_or_default();
    let of_glossary = operation.tags.iter().flatten().any(|tag| ![TAG_TOKENS, TAG_SERVICE].contains(&tag.as_str()));
    let successes = responses.iter_mut().filter_map(|(status, response)| match response {
        RefOr::T(response) if status.starts_with('2') => Some(response),
        _ => None,
    });
    for success in successes {
        if of_glossary {
            add_headers(success);
        }
        if let Some(RefOr::T(content)) = success.content.values_mut().next() {
            match page(content) {
                // A page is long, and many operations answer with it: said once, and referred to.
                Some((name, _)) => {
                    let reference = RefOr::Ref(Ref::new(format!("#/components/examples/{name}")));
                    content.examples.insert("page".into(), reference);
                }
                None => content.example = example(&id),
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
/// flow has scopes, so the description says it in words, and as `x-role` to programs.
fn tell_role(operation: &mut Operation) {
    let security = serde_json::to_value(&operation.security).unwrap_or_default();
    let Some(role) = security.pointer("/0/bearer/0").and_then(Value::as_str) else { return };
    operation.security = Some(vec![SecurityRequirement::new("bearer", [""; 0])]);
    operation.extensions = Some(ExtensionsBuilder::new().add("x-role", role).build());
    let description = operation.description.take().unwrap_or_default();
    operation.description = Some(format!("{description}\n\nNeeds the role `{role}`."));
}

/// The same as JSON, as it is served and committed: one line a value, with a line break at the end.
#[must_use]
pub fn to_json(description: &Description) -> String {
    // A description that is made of strings and maps always serialises.
    let mut text = serde_json::to_string_pretty(description).unwrap_or_default();
    text.push('\n');
    text
}

/// Headers that every answer of the glossary has.
fn add_headers(response: &mut Response) {
    // What is empty has no tag.
    let tag = usize::from(response.content.is_empty());
    for (name, description, value) in [
        ("ETag", "A strong entity tag; send it as `If-None-Match` for a `304`.", "\"6f3b….0f5a….br\""),
        ("Termbase-Position", "The place in the change log up to which the answer is true.", "018f…-42"),
        ("Cache-Control", "How long the answer may be kept, and by whom.", "public, max-age=0, s-maxage=60"),
        ("X-Request-Id", "The id of this request, in the log too.", "01a20c78-6329-7576-ab4a-6952bacc2af5"),
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
        vec![header("If-Match", description, Some("\"6f3b….0f5a….br\""))]
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
        vec![header("Idempotency-Key", description, Some("8e03978e-40d5-43dd-bc93-6894a57f9324"))]
    }
}

fn header(name: &str, description: &str, example: Option<&str>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .example(example.map(Value::from))
        .build()
}

fn termbase_after() -> Parameter {
    ParameterBuilder::new()
        .name("Termbase-After")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "A `Termbase-Position`: the answer is at that place in the change log or later, so that you read your own writes.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// Answers to the requests that the examples of the parameters make, on the samples. A test keeps them true.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("read_term", include_str!("../openapi/examples/read_term.json")),
    ("list_terms", include_str!("../openapi/examples/list_terms.json")),
    ("list_letters", include_str!("../openapi/examples/list_letters.json")),
    ("read_category", include_str!("../openapi/examples/read_category.json")),
    ("list_categories", include_str!("../openapi/examples/list_categories.json")),
    ("read_category_tree", include_str!("../openapi/examples/read_category_tree.json")),
    ("read_company", include_str!("../openapi/examples/read_company.json")),
    ("list_companies", include_str!("../openapi/examples/list_companies.json")),
    ("read_term_document", include_str!("../openapi/examples/read_term_document.json")),
    ("list_term_revisions", include_str!("../openapi/examples/list_term_revisions.json")),
    ("read_term_revision", include_str!("../openapi/examples/read_term_revision.json")),
    ("compare_term_revisions", include_str!("../openapi/examples/compare_term_revisions.json")),
    ("read_category_document", include_str!("../openapi/examples/read_category_document.json")),
    ("list_category_revisions", include_str!("../openapi/examples/list_category_revisions.json")),
    ("read_category_revision", include_str!("../openapi/examples/read_category_revision.json")),
    ("compare_category_revisions", include_str!("../openapi/examples/compare_category_revisions.json")),
    ("read_company_document", include_str!("../openapi/examples/read_company_document.json")),
    ("list_company_revisions", include_str!("../openapi/examples/list_company_revisions.json")),
    ("read_company_revision", include_str!("../openapi/examples/read_company_revision.json")),
    ("compare_company_revisions", include_str!("../openapi/examples/compare_company_revisions.json")),
    ("list_trash", include_str!("../openapi/examples/list_trash.json")),
    ("read_me", include_str!("../openapi/examples/read_me.json")),
    ("list_tokens", include_str!("../openapi/examples/list_tokens.json")),
    ("create_token", include_str!("../openapi/examples/create_token.json")),
    ("read_token", include_str!("../openapi/examples/read_token.json")),
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

/// Where examples of problems were seen.
fn nowhere() -> Seen {
    Seen { position: Position { log_id: Uuid::nil(), number: 0 }, keys: Keys::default() }
}

/// What the reads of one entity can answer beside `200`.
pub struct EntityErrors;

impl IntoResponses for EntityErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = read_problems(
            "/terms/foundation-modle",
            vec![
                Error::BadRequest(vec![Fault::query("lang", "unknown_parameter", "This address takes no parameters.")]),
                Error::NoEntity { suggestions: vec!["foundation-model".into()], seen: nowhere() },
                Error::Gone { seen: nowhere() },
            ],
        );
        responses.insert("308".into(), moved());
        responses
    }
}

fn moved() -> RefOr<Response> {
    let location = ObjectBuilder::new().schema_type(Type::String).build();
    let mut header = Header::new(location);
    header.description = Some("The address under the slug of the day.".into());
    let response = ResponseBuilder::new()
        .description("A former slug, or an id: the entity is at `Location` now.")
        .header("Location", header)
        .build();
    response.into()
}

/// What the reads of viewers can answer beside `200`: a document, a history.
pub struct ViewErrors;

impl IntoResponses for ViewErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = EntityErrors::responses();
        responses.extend(problems("/terms/foundation-modle/document", token_errors(Role::Viewer)));
        responses
    }
}

/// What the lists of viewers can answer beside `200`.
pub struct ViewerListErrors;

impl IntoResponses for ViewerListErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut responses = ListErrors::responses();
        responses.extend(problems("/trash", token_errors(Role::Viewer)));
        responses
    }
}

/// What a `POST` that creates can answer beside `201`.
pub struct CreateErrors;

impl IntoResponses for CreateErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut errors = body_errors();
        // What a retry meets when the entity was deleted, or purged, meanwhile.
        errors.extend([Error::Gone { seen: nowhere() }, Error::NoEntity { suggestions: vec![], seen: nowhere() }]);
        problems("/terms", errors)
    }
}

/// What a change of one entity can answer beside `200`.
pub struct EditErrors;

impl IntoResponses for EditErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut errors = body_errors();
        errors.extend([
            Error::NoEntity { suggestions: vec!["foundation-model".into()], seen: nowhere() },
            Error::Gone { seen: nowhere() },
            stale(),
            Error::PreconditionRequired,
        ]);
        let mut responses = problems("/terms/foundation-model", errors);
        responses.insert("308".into(), moved());
        responses
    }
}

/// What `PUT …/document` can answer beside `200` and `201`.
pub type PutErrors = EditErrors;

/// What purging can answer beside `204`.
pub struct PurgeErrors;

impl IntoResponses for PurgeErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut errors = token_errors(Role::Admin);
        errors.extend([
            Error::BadRequest(vec![Fault::query(
                "why",
                "unknown_parameter",
                "Unknown parameter; did you mean \"message\"?",
            )]),
            Error::NotInTrash { seen: nowhere() },
            Error::Conflict {
                detail: "A deprecated term names nothing else that replaces it; give it another replacement first."
                    .into(),
                conflicts: vec![example_conflict()],
            },
        ]);
        problems("/trash/01a20c78-4513-7096-a7ca-781f7eec597d", errors)
    }
}

/// What an operation that needs a role can be refused for.
fn token_errors(needed: Role) -> Vec<Error> {
    let mut errors = vec![Error::TokenRequired];
    // Where the least role is enough, none is too low.
    errors
        .extend(Role::ALL.iter().rev().find(|role| **role < needed).map(|has| Error::Forbidden { needed, has: *has }));
    errors.extend(caller_problems());
    errors
}

/// What every write of a document can be refused for.
fn body_errors() -> Vec<Error> {
    let mut errors = token_errors(Role::Editor);
    errors.extend([
        Error::BadRequest(vec![Fault::body("/aliases/0/name", "null_byte", "A null byte can't stand here; leave it out.")]),
        Error::Refused {
            faults: vec![Fault::body("/name", "name_taken", "The name is that of \"Foundation Model\" (foundation-model), case, accents and punctuation aside; choose another.")],
            conflicts: vec![example_conflict()],
        },
        Error::ContentTooLarge(BODY_MAX_BYTES),
        Error::UnsupportedMediaType { accepted: "application/json" },
        Error::Refused {
            faults: vec![Fault::body("/category", "unknown_reference", "There is no category \"core-concept\"; did you mean \"core-concepts\"?")],
            conflicts: vec![],
        },
        Error::IdempotencyKeyReused,
    ]);
    errors
}

fn stale() -> Error {
    let detail = "The term is at version 3, written by ada at 2026-11-24T12:00:00.000000Z, and the tag is of version 2. Read it \
                  again, and bring your change into it.";
    Error::PreconditionFailed {
        faults: vec![
            Fault::header("If-Match", "stale", detail),
            Fault::body("/definition", "changed_since", "Changed since version 2."),
        ],
        conflicts: vec![example_conflict()],
    }
}

fn example_conflict() -> Conflict {
    Conflict { kind: "term".into(), slug: "foundation-model".into(), name: "Foundation Model".into() }
}

/// What the lists can answer beside `200`.
pub struct ListErrors;

impl IntoResponses for ListErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let limit = Fault::query("limit", "out_of_range", "Expected a whole number from 1 to 100.");
        read_problems("/terms", vec![Error::BadRequest(vec![limit])])
    }
}

/// What reading about oneself can answer beside `200`.
pub struct MeErrors;

impl IntoResponses for MeErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems("/me", [no_parameters()].into_iter().chain(token_errors(Role::Viewer)))
    }
}

/// What listing tokens can answer beside `200`.
pub struct TokenListErrors;

impl IntoResponses for TokenListErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let limit = Fault::query("limit", "out_of_range", "Expected a whole number from 1 to 100.");
        admin_problems("/tokens", [Error::BadRequest(vec![limit])])
    }
}

/// What making a token can answer beside `201`.
pub struct TokenCreateErrors;

impl IntoResponses for TokenCreateErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let twice =
            Fault::body("/role", "duplicate_member", "The member stands more than once in its object; leave it once.");
        let role = Fault::body("/role", "unknown_value", "Expected one of viewer, contributor, editor, admin.");
        let errors = [
            Error::BadRequest(vec![twice]),
            Error::ContentTooLarge(BODY_MAX_BYTES),
            Error::UnsupportedMediaType { accepted: "application/json" },
            Error::Refused { faults: vec![role], conflicts: vec![] },
        ];
        admin_problems("/tokens", errors)
    }
}

/// What reading a token can answer beside `200`.
pub struct TokenErrors;

impl IntoResponses for TokenErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        admin_problems(A_TOKEN, [no_parameters(), Error::NoToken])
    }
}

/// What revoking a token can answer beside `204`.
pub struct TokenRevokeErrors;

impl IntoResponses for TokenRevokeErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        admin_problems(A_TOKEN, [no_parameters(), Error::NoToken, tokens::last_admin()])
    }
}

const A_TOKEN: &str = "/tokens/01a20c78-4513-7096-a7ca-781f7eec597d";

fn no_parameters() -> Error {
    Error::BadRequest(vec![Fault::query("name", "unknown_parameter", "This address takes no parameters.")])
}

/// What an operation for administrators can answer, and `errors`.
fn admin_problems(instance: &str, errors: impl IntoIterator<Item = Error>) -> BTreeMap<String, RefOr<Response>> {
    problems(instance, errors.into_iter().chain(token_errors(Role::Admin)))
}

/// What any other operation can answer beside what it is for.
pub struct ServiceErrors;

impl IntoResponses for ServiceErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems("/", [])
    }
}

/// What the explanation of a problem can answer beside `200`.
pub struct ProblemTypeErrors;

impl IntoResponses for ProblemTypeErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems("/problems/nothing", [Error::NoAddress])
    }
}

/// What any read of the glossary can answer, and `errors`.
fn read_problems(instance: &str, errors: Vec<Error>) -> BTreeMap<String, RefOr<Response>> {
    let mut all = errors;
    all.push(Error::NotAcceptable);
    let mut responses = problems(instance, all.into_iter().chain(caller_problems()));
    let not_modified =
        ResponseBuilder::new().description("`If-None-Match` names the tag of what would be answered.").build();
    responses.insert("304".into(), not_modified.into());
    responses
}

/// What finding out who asks can answer, and waiting for the position that is asked for.
fn caller_problems() -> impl Iterator<Item = Error> {
    [
        Error::InvalidToken("it is unknown, expired or revoked"),
        Error::LogRestarted,
        Error::Unavailable(sqlx::Error::PoolTimedOut),
        Error::TimedOut(10),
    ]
    .into_iter()
}

/// Problem answers with examples made by the errors themselves, and those that any operation can answer.
fn problems(instance: &str, errors: impl IntoIterator<Item = Error>) -> BTreeMap<String, RefOr<Response>> {
    let mut statuses: BTreeMap<u16, BTreeMap<&str, Error>> = BTreeMap::new();
    for error in errors.into_iter().chain([Error::UriTooLong(5000), Error::internal("example")]) {
        let ProblemType { status, code, .. } = error.problem_type();
        statuses.entry(status.as_u16()).or_default().insert(code, error);
    }
    statuses
        .into_iter()
        .map(|(status, kinds)| (status.to_string(), problem_response(instance, &kinds).into()))
        .collect()
}

/// The answer of one status: one kind of problem, or several, each with its code.
fn problem_response(instance: &str, kinds: &BTreeMap<&str, Error>) -> Response {
    let mut content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
    let mut explanations = Vec::new();
    for (code, error) in kinds {
        let explanation = error.problem_type().explanation;
        let value = json!(error.problem(instance));
        if kinds.len() == 1 {
            explanations.push(explanation.to_owned());
            content.example = Some(value);
        } else {
            explanations.push(format!("`{code}`: {explanation}"));
            let example = ExampleBuilder::new().summary(error.problem_type().title).value(Some(value)).build();
            content.examples.insert((*code).to_owned(), example.into());
        }
    }
    ResponseBuilder::new().description(explanations.join("\n\n")).content("application/problem+json", content).build()
}

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
