//! What an operation can answer beside what it is for, with examples made by the errors themselves.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use serde_json::json;
use utoipa::{
    IntoResponses,
    openapi::{
        Content, Header, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, example::ExampleBuilder, schema::Type,
    },
};
use uuid::Uuid;

use crate::{
    changes::{Keys, Position, Seen},
    editorial::document::Choice,
    error::{Conflict, Error, Fault, ProblemType},
    http::body::BODY_MAX_BYTES,
    tokens::{self, Role},
    transfer::http::{IMPORT_MAX_BYTES, NDJSON},
};

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
                Error::NoEntity { suggestions: vec!["foundation-model".into()], is_searched: true, seen: nowhere() },
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

/// What the sitemap and the feed can answer beside `200`.
pub struct SiteErrors;

impl IntoResponses for SiteErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        read_problems("/sitemap.xml", vec![no_parameters(), Error::NoSite])
    }
}

/// What a part of the sitemap can answer beside `200`.
pub struct SitemapPartErrors;

impl IntoResponses for SitemapPartErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let address = "/sitemaps/01a20c78-4513-7096-a7ca-781f7eec597d.xml";
        read_problems(address, vec![no_parameters(), Error::NoSite, Error::NoAddress])
    }
}

/// What following the changes can answer beside `200`.
pub struct ChangesErrors;

impl IntoResponses for ChangesErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let limit = Fault::query("limit", "out_of_range", "Expected a whole number from 1 to 1000.");
        let errors = [Error::BadRequest(vec![limit]), Error::ChangesTrimmed];
        problems("/changes", errors.into_iter().chain(caller_problems()))
    }
}

/// What a stream of them can answer beside `200`.
pub struct StreamErrors;

impl IntoResponses for StreamErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let expected = "Expected the id of an event, such as 018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42.";
        let last = Fault::header("Last-Event-ID", "not_a_position", expected);
        let errors = [Error::BadRequest(vec![last]), Error::ChangesTrimmed];
        problems("/changes/stream", errors.into_iter().chain(caller_problems()))
    }
}

/// What the metrics can answer beside `200`.
pub struct MetricsErrors;

impl IntoResponses for MetricsErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems("/metrics", [no_parameters()].into_iter().chain(token_errors(Role::Viewer)))
    }
}

/// What searching can answer beside `200`.
pub struct SearchErrors;

impl IntoResponses for SearchErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut errors = token_errors(Role::Viewer);
        errors.push(Error::BadRequest(vec![Fault::query(
            "q",
            "required",
            "The parameter \"q\" is missing; say what to look for.",
        )]));
        errors.push(Error::SearchBusy);
        read_problems("/search", errors)
    }
}

/// What an import can answer beside `200`.
pub struct ImportErrors;

impl IntoResponses for ImportErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let unknown = "There is no category \"core-concept\"; did you mean \"core-concepts\"?";
        let fault = Fault { line: Some(1), ..Fault::body("/document/category", "unknown_reference", unknown) };
        let mut errors = token_errors(Role::Contributor);
        errors.extend([
            Error::BadRequest(vec![Fault::query("mode", "unknown_value", "Expected one of create, upsert, replace.")]),
            Error::Refused { faults: vec![fault], conflicts: vec![] },
            Error::ContentTooLarge(IMPORT_MAX_BYTES),
            Error::UnsupportedMediaType { accepted: NDJSON },
            Error::TransferBusy,
        ]);
        problems("/import", errors)
    }
}

/// What an export can answer beside `200`.
pub struct ExportErrors;

impl IntoResponses for ExportErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let flag = Fault::query("revisions", "unknown_value", "Expected one of true, false.");
        let mut errors = token_errors(Role::Viewer);
        errors.extend([Error::BadRequest(vec![flag]), Error::TransferBusy]);
        problems("/export", errors)
    }
}

/// What a `POST` that creates can answer beside `201`.
pub struct CreateErrors;

impl IntoResponses for CreateErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut errors = body_errors();
        // What a retry meets when the entity was deleted, or purged, meanwhile.
        errors.extend([
            Error::Gone { seen: nowhere() },
            Error::NoEntity { suggestions: vec![], is_searched: true, seen: nowhere() },
        ]);
        problems("/terms", errors)
    }
}

/// What a change of one entity can answer beside `200`.
pub struct EditErrors;

impl IntoResponses for EditErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut errors = body_errors();
        errors.extend([
            Error::NoEntity { suggestions: vec!["foundation-model".into()], is_searched: true, seen: nowhere() },
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

/// What the probe of readiness can answer beside `200`.
pub struct ReadinessErrors;

impl IntoResponses for ReadinessErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        problems("/readyz", [Error::NotReady("The database does not answer.".into())])
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
    for error in errors.into_iter().chain([Error::UriTooLong(9000), Error::internal("example")]) {
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
    let mut response = ResponseBuilder::new()
        .description(explanations.join("\n\n"))
        .content("application/problem+json", content)
        .build();
    if kinds.values().any(|error| error.problem_type().status == StatusCode::SERVICE_UNAVAILABLE) {
        let mut header = Header::new(ObjectBuilder::new().schema_type(Type::Integer).build());
        header.description = Some("In how many seconds to try again.".into());
        response.headers.insert("Retry-After".into(), header.into());
    }
    response
}
