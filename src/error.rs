//! What can go wrong, as an answer: a closed [`Error`], and [`Problem`], the RFC 9457 body that each becomes.
//!
//! [`PROBLEMS`] is the one table of codes, statuses and explanations; `/problems/{code}` serves it, and each problem's
//! `type` leads there. Errors are turned into bytes, and logged, in one place: the boundary in [`app`](crate::app).

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    changes::{Position, Seen},
    editorial::{self, Kind},
    tokens::Role,
};

/// A kind of problem: what its `type` leads to.
#[derive(Debug)]
pub struct ProblemType {
    pub code: &'static str,
    pub status: StatusCode,
    pub title: &'static str,
    /// For a person: what it means, and what to do.
    pub explanation: &'static str,
}

macro_rules! problems {
    ($($name:ident = $code:literal $status:ident $title:literal: $explanation:literal)*) => {
        $(pub const $name: &ProblemType = &ProblemType {
            code: $code, status: StatusCode::$status, title: $title, explanation: $explanation,
        };)*
        /// Every problem that this service can answer with, by status.
        pub const PROBLEMS: &[&ProblemType] = &[$($name),*];
    };
}

problems! {
    BAD_REQUEST = "bad_request" BAD_REQUEST "The request can't be read":
        "A parameter, a header or the syntax of the body is wrong. `errors` lists every mistake with its place, the rule, \
         and what would pass. Correct them and send the request again."
    INVALID_TOKEN = "invalid_token" UNAUTHORIZED "The token is not valid":
        "The `Authorization` header is not `Bearer tb_…`, or its token is unknown, expired or revoked. Public reads need no \
         token: leave the header out, or ask an administrator for a new token."
    TOKEN_REQUIRED = "token_required" UNAUTHORIZED "A token is needed":
        "This operation is not open to everyone, and the request has no `Authorization` header. Send a token of this service \
         as `Authorization: Bearer tb_…`; an administrator makes one by `POST /tokens` or `termbase token create`."
    FORBIDDEN = "forbidden" FORBIDDEN "The token's role is too low":
        "The token is valid, but its role may not do this; `detail` names the role that may. Each role has all of the one \
         before: viewer, contributor, editor, admin. Use a token of that role, or ask an administrator for one."
    NOT_FOUND = "not_found" NOT_FOUND "Nothing is here":
        "No such address, or nothing public under this slug. `suggestions` names the closest slugs, where there are any."
    NO_SITE = "no_site" NOT_FOUND "The site is not known":
        "The sitemap and the feed hold addresses of the site that shows the glossary, and this service has not been told where \
         that is. Whoever runs it sets `TERMBASE_SITE_TERM_URL`."
    METHOD_NOT_ALLOWED = "method_not_allowed" METHOD_NOT_ALLOWED "The method is not allowed here":
        "The address exists, but not for this method. The `Allow` header lists the methods that it has."
    NOT_ACCEPTABLE = "not_acceptable" NOT_ACCEPTABLE "No acceptable form":
        "The `Accept-Encoding` header refuses every coding that this service has, the plain one included. Allow one of br, \
         gzip and identity."
    CONFLICT = "conflict" CONFLICT "Something stands in the way":
        "The change clashes with what is there: a name or a slug that is taken, or a status that can't be taken back. \
         `conflicts` names what stands in the way. Change one of the two, then write again."
    GONE = "gone" GONE "It was here, and is deleted":
        "This entity was public and has been deleted. Remove links to it. Until it is purged, who may write it can bring it \
         back: `POST …/restore`."
    CHANGES_TRIMMED = "changes_trimmed" GONE "The change log no longer goes back so far":
        "What came after this position has been removed: the log is kept for some months. Take a new position (`GET /changes`), \
         read again what you keep, and go on from that position."
    LOG_RESTARTED = "log_restarted" GONE "The change log has begun anew":
        "`Termbase-After`, `after` or `Last-Event-ID` names a position of another change log: this database was restored, or replaced by another. Take \
         a new position (`GET /changes`), read again what you keep, without the old one, and go on from the new position."
    PRECONDITION_FAILED = "precondition_failed" PRECONDITION_FAILED "Somebody else was quicker":
        "`If-Match` names a version that is not the current one, or `If-None-Match: *` met something that exists. `errors` \
         names what has changed since. Read the document again, bring your change into it, and send it with the new tag."
    CONTENT_TOO_LARGE = "content_too_large" PAYLOAD_TOO_LARGE "The body is too large":
        "The body of the request is larger than the limit. Send it in smaller parts."
    URI_TOO_LONG = "uri_too_long" URI_TOO_LONG "The address is too long":
        "Path and query together may have 8,192 bytes. Shorten the query."
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body's type is not supported":
        "Send JSON in UTF-8 with `Content-Type: application/json`, for `PATCH` also `application/merge-patch+json`, and \
         without `Content-Encoding`. The `Accept` header lists what is read here."
    INVALID_DOCUMENT = "invalid_document" UNPROCESSABLE_ENTITY "The document breaks a rule":
        "The document can be read, but is not valid. `errors` lists every mistake with its JSON pointer, the rule, and what \
         would pass. Nothing was written."
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused" UNPROCESSABLE_ENTITY "The key belongs to another request":
        "This `Idempotency-Key` came with another body, or another message, within the last day. A retry sends the same \
         request; a new request takes a new key."
    PRECONDITION_REQUIRED = "precondition_required" PRECONDITION_REQUIRED "A precondition is missing":
        "This service takes no change without `If-Match`, so that nobody overwrites what he has not seen. Read the entity, \
         and send its `ETag` as `If-Match`; `If-Match: *` overwrites whatever is there."
    INTERNAL_ERROR = "internal_error" INTERNAL_SERVER_ERROR "The service failed":
        "This is a defect of the service, not of the request; it has been logged under the `X-Request-Id` of the answer. \
         Report that id."
    UNAVAILABLE = "unavailable" SERVICE_UNAVAILABLE "Not available just now":
        "The database does not answer, there is more work than the service can do, or the position in `Termbase-After` has not \
         been seen here yet. `Retry-After` says in how many seconds to try again. Whether a write was made is not known: send it again with the same `Idempotency-Key` or \
         `If-Match`, which does no harm, or read first."
    SEARCH_BUSY = "search_busy" SERVICE_UNAVAILABLE "Too many are searching":
        "Searching has a bounded share of the service, so that reading goes on whatever is searched for, and that share is taken. \
         Try again in a moment, as `Retry-After` says; while somebody types, ask less often."
    TRANSFER_BUSY = "transfer_busy" SERVICE_UNAVAILABLE "Too many are importing or exporting":
        "Each import and export holds a connection to the database for as long as it takes, and as many run as may at a time. Try \
         again when another has ended."
    TIMED_OUT = "timed_out" SERVICE_UNAVAILABLE "The request took too long":
        "The service gave up on this request to keep others quick. Try again later, or ask for less at once. Whether a \
         write was made is not known: send it again with the same `Idempotency-Key` or `If-Match`, or read first."
}

/// One mistake of a request, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Where the mistake is: `body`, `query`, `path` or `header`.
    #[serde(rename = "in")]
    #[schema(example = "query")]
    pub place: String,
    /// In a body: the JSON pointer of the member (RFC 6901); the empty string is the whole document.
    #[schema(required, example = json!(null))]
    pub pointer: Option<String>,
    /// In a query, path or header: the parameter's name.
    #[schema(required, example = "limit")]
    pub parameter: Option<String>,
    /// In an import: the line, from 1.
    #[schema(required, minimum = 1, example = json!(null))]
    pub line: Option<i64>,
    /// The rule that is broken, for programs. Known so far: `syntax`, `unknown_parameter`, `unknown_reference`,
    /// `out_of_range`, `duplicate`, `duplicate_member`, `null_byte`, `bad_cursor` and `bad_entity_tag`; more may come.
    #[schema(example = "out_of_range")]
    pub code: String,
    /// The rule, and what would pass, for a person.
    #[schema(example = "Expected a whole number from 1 to 100.")]
    pub detail: String,
}

impl Fault {
    pub fn body(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Fault {
            place: "body".into(),
            pointer: Some(pointer.into()),
            parameter: None,
            line: None,
            code: code.into(),
            detail: detail.into(),
        }
    }

    pub fn path(parameter: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Fault {
            place: "path".into(),
            pointer: None,
            parameter: Some(parameter.into()),
            line: None,
            code: code.into(),
            detail: detail.into(),
        }
    }

    pub fn query(parameter: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Fault {
            place: "query".into(),
            pointer: None,
            parameter: Some(parameter.into()),
            line: None,
            code: code.into(),
            detail: detail.into(),
        }
    }

    /// Of the header `parameter`.
    pub fn header(parameter: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Fault { place: "header".into(), ..Fault::query(parameter, code, detail) }
    }
}

/// As many faults as an answer may list.
pub const FAULTS_MAX: usize = 1000;

/// What stands in the way of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// `term`, `category` or `company`; more may come.
    #[schema(example = "term")]
    pub kind: String,
    #[schema(example = "foundation-model")]
    pub slug: String,
    #[schema(example = "Foundation Model")]
    pub name: String,
}

/// An error's body (RFC 9457, `application/problem+json`). All lists are always there.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Leads to the explanation of this kind of problem, relative to this service.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", example = "/problems/bad_request")]
    pub kind: String,
    /// The kind of problem, in words.
    #[schema(example = "The request can't be read")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 400, minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened this time, and what to do.
    #[schema(example = "limit: Expected a whole number from 1 to 100.")]
    pub detail: String,
    /// The path of the request.
    #[schema(format = "uri-reference", example = "/terms")]
    pub instance: String,
    /// The kind of problem, for programs: the last segment of `type`. Known so far: `bad_request`, `invalid_token`,
    /// `token_required`, `forbidden`, `not_found`, `no_site`, `method_not_allowed`, `not_acceptable`, `conflict`, `gone`,
    /// `log_restarted`, `changes_trimmed`, `precondition_failed`, `content_too_large`, `uri_too_long`, `unsupported_media_type`,
    /// `invalid_document`, `idempotency_key_reused`, `precondition_required`, `internal_error`, `unavailable`,
    /// `search_busy` and `timed_out`; more may come.
    #[schema(example = "bad_request")]
    pub code: String,
    /// Every mistake of the request; empty where the request as such was right.
    #[schema(max_items = 1000)]
    pub errors: Vec<Fault>,
    /// The closest slugs to one that does not exist.
    #[schema(max_items = 5, example = json!([]))]
    pub suggestions: Vec<String>,
    /// What stands in the way of the change.
    #[schema(max_items = 1000, example = json!([]))]
    pub conflicts: Vec<Conflict>,
}

/// Everything that a handler can fail with. Each variant says its status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 400: syntax or parameters.
    #[error("{}", summary(.0))]
    BadRequest(Vec<Fault>),
    /// 401: a token that does not open anything.
    #[error("The token in the Authorization header is not valid: {0}.")]
    InvalidToken(&'static str),
    /// 401: no token, where one is needed.
    #[error("This needs a token; send one as \"Authorization: Bearer tb_…\".")]
    TokenRequired,
    /// 403: a valid token of too low a role.
    #[error(
        "This needs the role {needed}, and the token has the role {has}; use a token whose role is {needed} or above, or ask an administrator for one."
    )]
    Forbidden { needed: Role, has: Role },
    /// 404: no such entity, as of the position at which it was looked for.
    #[error("{}", not_found(.suggestions))]
    NoEntity {
        suggestions: Vec<String>,
        /// Whether what is close was looked for: not where too many are asking for it.
        is_searched: bool,
        seen: Seen,
    },
    /// 404: the entity is there, a version of it with this number is not.
    #[error("It has no such version; the list of its revisions has all there are.")]
    NoVersion { seen: Seen },
    /// 404: what has this id, if anything, is not in the trash.
    #[error("Nothing in the trash has this id; GET /trash lists what is there.")]
    NotInTrash { seen: Seen },
    /// 404: the other end of a link is nothing, as of the position at which it was looked for.
    #[error("{}", editorial::unknown(*.kind, .other, .suggestions.first()))]
    NoOtherEnd { kind: Kind, other: String, suggestions: Vec<String>, seen: Seen },
    /// 404: no such token.
    #[error("There is no token with this id; GET /tokens lists them.")]
    NoToken,
    /// 404: no such address.
    #[error("There is no such address; / lists what there is.")]
    NoAddress,
    /// 404: what shows the site's addresses, where no setting names them.
    #[error(
        "This holds addresses of the site that shows the glossary, which this service does not know; set TERMBASE_SITE_TERM_URL."
    )]
    NoSite,
    /// 405, with the methods that the address has.
    #[error("This address knows the methods {allow}.")]
    MethodNotAllowed { allow: String },
    /// 406: no coding is left.
    #[error("Accept-Encoding refuses br, gzip and identity; allow one of them.")]
    NotAcceptable,
    /// 409 where conflicts alone stand in the way of a write, else 422.
    #[error("{}", summary(.faults))]
    Refused { faults: Vec<Fault>, conflicts: Vec<Conflict> },
    /// 409: something else than a member of the document stands in the way.
    #[error("{detail}")]
    Conflict { detail: String, conflicts: Vec<Conflict> },
    /// 410: was public and is deleted, as of the position at which it was looked for.
    #[error("It was deleted. Until it is purged, who may write it can bring it back: POST …/restore.")]
    Gone { seen: Seen },
    /// 410: a position of another log.
    #[error(
        "The position is of another change log than the one that is here now; take a new one (GET /changes), read again what you keep, and go on from it."
    )]
    LogRestarted,
    /// 410: a position that the log no longer goes back to.
    #[error(
        "The change log no longer goes back to this position; take a new one (GET /changes), read again what you keep, and go on from it."
    )]
    ChangesTrimmed,
    /// 412: not the version that the request builds on.
    #[error("{}", summary(.faults))]
    PreconditionFailed { faults: Vec<Fault>, conflicts: Vec<Conflict> },
    /// 413: the body is larger than this many bytes.
    #[error("The body of the request may have at most {0} bytes.")]
    ContentTooLarge(usize),
    /// 414: path and query beyond their bound.
    #[error("Path and query have {0} bytes; at most 8192 are read.")]
    UriTooLong(usize),
    /// 415: the body is not of a type that is read here, or it is compressed.
    #[error("The body must be {accepted} in UTF-8, said so by Content-Type, without a Content-Encoding.")]
    UnsupportedMediaType { accepted: &'static str },
    /// 422: a retry that is none.
    #[error("This Idempotency-Key came with another request within the last day; a new request takes a new key.")]
    IdempotencyKeyReused,
    /// 428: a change without `If-Match`, where the service asks for one.
    #[error("Send If-Match with the ETag of what you have read, so that nobody's change is overwritten.")]
    PreconditionRequired,
    /// 503: the database does not answer, or has no room.
    #[error("The database does not answer; try again in a moment.")]
    Unavailable(#[source] sqlx::Error),
    /// 503: the readiness probe's answer, with the reason.
    #[error("{0}")]
    NotReady(String),
    /// 503: a position that `Termbase-After` asks for, and that no snapshot has seen in time.
    #[error("The position {0}, which is asked for, has not been seen here; try again in a moment.")]
    NotSeenYet(Position),
    /// 503: others wrote the same thing at the same moment, again and again.
    #[error("Others were writing the same at this moment; try again.")]
    Overtaken,
    /// 503: searching's share of the connections is taken.
    #[error("As many are searching already as may at a time; try again in a moment.")]
    SearchBusy,
    /// 503: as many imports and exports run as may.
    #[error("As many imports and exports are running as may at a time; try again when one has ended.")]
    TransferBusy,
    /// 503: more is in flight than can be done in time.
    #[error("There is more to do than the service can; try again in a moment.")]
    Overloaded,
    /// 503: the request's own deadline has passed.
    #[error("The request was given up after {0} seconds.")]
    TimedOut(u64),
    /// 500: a defect of ours. The cause is logged, and never shown.
    #[error("The service failed; the log has the cause under this request's id.")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the framework refused before a handler ran, by its status.
    #[error("{detail}")]
    Framework { problem: &'static ProblemType, detail: String },
}

fn summary(faults: &[Fault]) -> String {
    let Some(first) = faults.first() else { return "The request is not valid.".into() };
    let place = first.pointer.as_deref().or(first.parameter.as_deref()).unwrap_or_default();
    let place = if place.is_empty() { &first.place } else { place };
    match faults.len() {
        1 => format!("{place}: {}", first.detail),
        n => format!("{place}: {} (and {} more)", first.detail, n - 1),
    }
}

fn not_found(suggestions: &[String]) -> String {
    match suggestions.first() {
        Some(first) => format!("There is nothing under this slug; did you mean {first}?"),
        None => "There is nothing under this slug.".into(),
    }
}

impl Error {
    #[must_use]
    pub fn problem_type(&self) -> &'static ProblemType {
        match self {
            Error::BadRequest(_) => BAD_REQUEST,
            Error::InvalidToken(_) => INVALID_TOKEN,
            Error::TokenRequired => TOKEN_REQUIRED,
            Error::Forbidden { .. } => FORBIDDEN,
            Error::NoEntity { .. }
            | Error::NoOtherEnd { .. }
            | Error::NoVersion { .. }
            | Error::NotInTrash { .. }
            | Error::NoToken
            | Error::NoAddress => NOT_FOUND,
            Error::NoSite => NO_SITE,
            Error::MethodNotAllowed { .. } => METHOD_NOT_ALLOWED,
            Error::NotAcceptable => NOT_ACCEPTABLE,
            Error::Refused { faults, conflicts } if faults.len() == conflicts.len() => CONFLICT,
            Error::Conflict { .. } => CONFLICT,
            Error::Refused { .. } => INVALID_DOCUMENT,
            Error::Gone { .. } => GONE,
            Error::LogRestarted => LOG_RESTARTED,
            Error::ChangesTrimmed => CHANGES_TRIMMED,
            Error::ContentTooLarge(_) => CONTENT_TOO_LARGE,
            Error::UriTooLong(_) => URI_TOO_LONG,
            Error::UnsupportedMediaType { .. } => UNSUPPORTED_MEDIA_TYPE,
            Error::PreconditionFailed { .. } => PRECONDITION_FAILED,
            Error::IdempotencyKeyReused => IDEMPOTENCY_KEY_REUSED,
            Error::PreconditionRequired => PRECONDITION_REQUIRED,
            Error::Unavailable(_)
            | Error::NotReady(_)
            | Error::NotSeenYet(_)
            | Error::Overtaken
            | Error::Overloaded => UNAVAILABLE,
            Error::SearchBusy => SEARCH_BUSY,
            Error::TransferBusy => TRANSFER_BUSY,
            Error::TimedOut(_) => TIMED_OUT,
            Error::Internal(_) => INTERNAL_ERROR,
            Error::Framework { problem, .. } => problem,
        }
    }

    /// The answer's body, for a request to `instance` (its path).
    #[must_use]
    pub fn problem(&self, instance: &str) -> Problem {
        let kind = self.problem_type();
        let (errors, suggestions, conflicts) = match self {
            Error::BadRequest(faults) => (faults.clone(), vec![], vec![]),
            Error::Refused { faults, conflicts } | Error::PreconditionFailed { faults, conflicts } => {
                (faults.clone(), vec![], conflicts.clone())
            }
            Error::Conflict { conflicts, .. } => (vec![], vec![], conflicts.clone()),
            Error::NoEntity { suggestions, .. } => (vec![], suggestions.clone(), vec![]),
            Error::NoOtherEnd { suggestions, .. } => {
                (vec![Fault::path("other", "unknown_reference", self.to_string())], suggestions.clone(), vec![])
            }
            Error::InvalidToken(_)
            | Error::TokenRequired
            | Error::Forbidden { .. }
            | Error::NoVersion { .. }
            | Error::NotInTrash { .. }
            | Error::NoToken
            | Error::NoAddress
            | Error::NoSite
            | Error::MethodNotAllowed { .. }
            | Error::NotAcceptable
            | Error::Gone { .. }
            | Error::LogRestarted
            | Error::ChangesTrimmed
            | Error::ContentTooLarge(_)
            | Error::UriTooLong(_)
            | Error::UnsupportedMediaType { .. }
            | Error::IdempotencyKeyReused
            | Error::PreconditionRequired
            | Error::Unavailable(_)
            | Error::NotReady(_)
            | Error::NotSeenYet(_)
            | Error::Overtaken
            | Error::SearchBusy
            | Error::TransferBusy
            | Error::Overloaded
            | Error::TimedOut(_)
            | Error::Internal(_)
            | Error::Framework { .. } => (vec![], vec![], vec![]),
        };
        Problem {
            kind: format!("/problems/{}", kind.code),
            title: kind.title.into(),
            status: kind.status.as_u16(),
            detail: self.to_string(),
            instance: instance.into(),
            code: kind.code.into(),
            errors,
            suggestions,
            conflicts,
        }
    }

    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Internal(cause.into())
    }

    /// What the framework answered with `status`: a problem of that status, or the nearest one of its class.
    #[must_use]
    pub fn framework(status: StatusCode) -> Self {
        let problem = match status {
            StatusCode::NOT_FOUND => return Error::NoAddress,
            StatusCode::PAYLOAD_TOO_LARGE => CONTENT_TOO_LARGE,
            status if status.is_client_error() => BAD_REQUEST,
            _ => INTERNAL_ERROR,
        };
        Error::Framework { problem, detail: problem.explanation.into() }
    }
}

/// Only a status: the boundary in `app.rs` makes the body, since it knows the path.
impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.problem_type().status
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

/// A database that does not answer or has no room is `503`; all else that a query can fail with is a defect of ours,
/// because a constraint that a request can break is looked for by name where it is written.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let away = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            // Classes of SQLSTATE: connection, authorisation and catalog (both only while connecting), resources, operator's
            // intervention, rollback by the server, prerequisite state (a lock that took too long; not accepting connections).
            sqlx::Error::Database(database) => database.code().is_some_and(|code| {
                ["08", "28", "3D", "53", "57", "40", "55", "25P03"].iter().any(|class| code.starts_with(class))
            }),
            _ => false,
        };
        if away { Error::Unavailable(error) } else { Error::internal(error) }
    }
}
