//! What every request and every answer goes through, in one place: the request's id, its bounds, `HEAD`, the deadline,
//! panics, problems as bytes, CORS, and the log.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use futures_util::FutureExt;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use super::{
    answer::{self, TERMBASE_POSITION},
    kept::{self, Answered},
};
use crate::{cache::Entry, changes::WAIT_MAX_SECONDS, error::Error, state::State, transfer::http::IMPORT_SECONDS};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Path and query together, in bytes: a hundred slugs of the longest that are made fit, and a usual proxy lets it through.
const URI_MAX_BYTES: usize = 8192;
/// A request that takes longer gets a line in the log.
const SLOW_MILLIS: u128 = 500;
/// What waits for something to happen, and holds no place meanwhile.
const CHANGES: &str = "/changes";
/// What answers without the database, whatever its state.
const WITHOUT_DATABASE: [&str; 5] = ["/docs", "/openapi", "/problems", "/healthz", "/readyz"];

/// The middleware of the whole app.
///
/// # Errors
/// A finished answer, as an error, where there is no request left to answer through: after a deadline or a panic.
pub async fn boundary(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let state = request.app_data::<Data<State>>().cloned().ok_or_else(|| Error::internal("the app has no state"))?;
    let answered = answer(&state, request, next).await;
    state.metrics.count(match &answered {
        Ok(response) => response.status().as_u16(),
        Err(error) => error.as_response_error().status_code().as_u16(),
    });
    answered
}

async fn answer(
    state: &Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let began = Instant::now();
    let address = kept::address(&request);
    let found = address.and_then(|address| kept::find(state, address, began));
    if let Some((entry, age)) = &found
        && let Ok(coding) = entry.coding(request.headers())
        && entry.has(coding)
    {
        let mut response = entry.respond(request.headers(), coding, *age);
        add_headers(response.headers_mut(), &request_id(request.headers(), state));
        return Ok(request.into_response(response));
    }
    let address = address.map(ToOwned::to_owned);
    // On the heap: a hit should not have to carry about what all else needs.
    Box::pin(answer_otherwise(state, request, next, began, address, found)).await
}

/// What is not given as it is kept: it is asked for, or encoded.
async fn answer_otherwise(
    state: &Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    began: Instant,
    address: Option<String>,
    found: Option<(Arc<Entry>, Option<Duration>)>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let context = Context {
        id: request_id(request.headers(), state),
        method: request.method().clone(),
        path: request.path().to_owned(),
        is_away: state.followed.is_away(),
    };
    let answered = match (&address, found) {
        (Some(address), Some((entry, age))) => {
            let response = kept::respond(state, address, &entry, request.headers(), age).await;
            response.map(|response| Answered::Through(request.into_response(response)))
        }
        _ => work(state, address.as_deref(), request, &next).await,
    };
    let mut response = match answered {
        Ok(Answered::Through(response)) => response,
        Ok(Answered::Alone(mut response)) => {
            add_headers(response.headers_mut(), &context.id);
            return Err(InternalError::from_response("the request is gone", response).into());
        }
        Err(error) => return Err(context.finish(&error).into()),
    };
    let is_refused = response.status().is_client_error() || response.status().is_server_error();
    // What is kept is finished, refusals too.
    if is_refused && !response.headers().contains_key(TERMBASE_POSITION) {
        let mut finished = match response.response().error() {
            Some(error) => match error.as_error::<Error>() {
                Some(error) => context.finish_with(error, response.request()),
                None => context.finish(&own(error)),
            },
            None => context.finish(&Error::framework(response.status())),
        };
        keep_headers(response.headers(), &mut finished.headers);
        return Ok(response.into_response(finished.respond()));
    }
    add_headers(response.headers_mut(), &context.id);
    context.log(response.status(), began);
    // What has no end would never be left out to its end.
    if context.method == Method::HEAD && response.response().body().size() == BodySize::Stream {
        response = response.map_body(|_, _| BoxBody::new(()));
    }
    Ok(response)
}

/// What is not answered by what is kept.
async fn work<B: MessageBody + 'static>(
    state: &Data<State>,
    address: Option<&str>,
    mut request: ServiceRequest,
    next: &Next<B>,
) -> Result<Answered, Error> {
    check_uri(&request)?;
    if request.method() == Method::HEAD {
        // Answered as the GET that it is; the connection leaves the body out and keeps its length.
        request.head_mut().method = Method::GET;
    }
    match address {
        Some(address) => kept::miss(state, address, request, next).await,
        None => handle(state, request, next).await.map(Answered::Through),
    }
}

/// Has a request answered by its handler, within its bounds: a place, the deadline, and a Postgres that answers.
///
/// # Errors
/// What those bounds are, and a panic; what a handler returns is in the response.
pub async fn handle<B: MessageBody + 'static>(
    state: &Data<State>,
    request: ServiceRequest,
    next: &Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let bounds = Bounds::of(&request, state);
    let silent = || Error::Unavailable(sqlx::Error::PoolTimedOut);
    if bounds.needs_database && state.followed.is_away() {
        return Err(silent());
    }
    let _place = if bounds.takes_place { Some(state.load.place(!request.method().is_safe())?) } else { None };
    let work = AssertUnwindSafe(next.call(request)).catch_unwind();
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(bounds.patience, work) => outcome,
        () = state.followed.gone_away(), if bounds.is_cut => return Err(silent()),
    };
    match outcome {
        Err(_elapsed) => Err(Error::TimedOut(bounds.patience.as_secs())),
        Ok(Err(panic)) => Err(Error::internal(panic_message(&*panic))),
        Ok(Ok(Err(error))) => Err(own(&error)),
        Ok(Ok(Ok(response))) => Ok(response.map_into_boxed_body()),
    }
}

/// What a request is bounded by.
struct Bounds {
    needs_database: bool,
    /// Whether it holds a place: not where it only waits.
    takes_place: bool,
    /// Whether it ends when Postgres does not answer. A file is worth waiting for.
    is_cut: bool,
    patience: Duration,
}

impl Bounds {
    fn of(request: &ServiceRequest, state: &State) -> Self {
        let path = request.path();
        let needs_database = path != "/" && !WITHOUT_DATABASE.iter().any(|free| path.starts_with(free));
        let is_file = matches!(path, "/import" | "/export");
        let waits = path.starts_with(CHANGES);
        let usual = state.http.request_timeout;
        let patience = match path {
            // A file takes longer to come, and to be written, than any other request may.
            "/import" => Duration::from_secs(IMPORT_SECONDS),
            CHANGES => usual + Duration::from_secs(WAIT_MAX_SECONDS),
            _ => usual,
        };
        Bounds { needs_database, takes_place: needs_database && !waits, is_cut: needs_database && !is_file, patience }
    }
}

/// What a request that was not answered by what is kept needs to know, once the request is gone.
struct Context {
    id: String,
    method: Method,
    path: String,
    /// Whether Postgres was known to be away when it came: then that it is refused is no news.
    is_away: bool,
}

impl Context {
    fn log(&self, status: StatusCode, began: Instant) {
        let millis = began.elapsed().as_millis();
        if !self.method.is_safe() {
            let status = status.as_u16();
            tracing::info!(request_id = %self.id, method = %self.method, path = %self.path, status, millis, "write");
        }
        // Who follows the changes waits for them.
        if millis >= SLOW_MILLIS && !self.path.starts_with(CHANGES) {
            tracing::warn!(request_id = %self.id, method = %self.method, path = %self.path, millis, "slow request");
        }
    }

    fn finish(&self, error: &Error) -> Finished {
        let problem = error.problem(&self.path);
        let status = error.status_code();
        // Who asks for a position that is not there yet, or for more than there is room for, is answered: nothing is wrong. That
        // Postgres is away the follower says, once.
        let is_expected = match error {
            Error::NotSeenYet(_) | Error::NotReady(_) | Error::SearchBusy | Error::TransferBusy | Error::Overloaded => {
                true
            }
            Error::Unavailable(_) => self.is_away,
            _ => false,
        };
        if status.is_server_error() && !is_expected {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(request_id = %self.id, method = %self.method, path = %self.path, status = status.as_u16(), cause, "{error}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match error {
            // RFC 6750, section 3: no error is named to a request that came without a token.
            Error::TokenRequired => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"termbase\""));
            }
            Error::InvalidToken(_) => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"termbase\", error=\"invalid_token\""),
                );
            }
            Error::Forbidden { .. } => {
                headers.insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Bearer realm=\"termbase\", error=\"insufficient_scope\""),
                );
            }
            Error::MethodNotAllowed { allow } => {
                if let Ok(allow) = HeaderValue::from_str(allow) {
                    headers.insert(header::ALLOW, allow);
                }
            }
            Error::UnsupportedMediaType { accepted } => {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accepted));
                // RFC 5789, section 2.2.
                if self.method == Method::PATCH {
                    headers.insert(ACCEPT_PATCH, HeaderValue::from_static(accepted));
                }
            }
            Error::Unavailable(_)
            | Error::NotReady(_)
            | Error::NotSeenYet(_)
            | Error::Overtaken
            | Error::SearchBusy
            | Error::TransferBusy
            | Error::Overloaded
            | Error::TimedOut(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        add_headers(&mut headers, &self.id);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        Finished { status, headers, body }
    }

    /// The same with what only the request knows: how long a `404` or a `410` may be kept.
    fn finish_with(&self, error: &Error, request: &actix_web::HttpRequest) -> Finished {
        let mut finished = self.finish(error);
        if let Error::NoEntity { seen, .. }
        | Error::NoOtherEnd { seen, .. }
        | Error::NoVersion { seen }
        | Error::NotInTrash { seen }
        | Error::Gone { seen } = error
        {
            answer::cache_headers(request, &mut finished.headers, seen);
        }
        finished
    }
}

/// What every answer has.
fn add_headers(headers: &mut HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Reads are open to every page; no answer depends on cookies.
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "Age, ETag, Location, Link, Surrogate-Key, Termbase-Position, Retry-After, X-Request-Id, Idempotency-Replayed, \
             Deprecation, Sunset",
        ),
    );
}

/// An answer that is complete without its request.
#[derive(Debug)]
struct Finished {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Finished {
    fn respond(&self) -> HttpResponse {
        let mut response = HttpResponse::with_body(self.status, BoxBody::new(self.body.clone()));
        for (name, value) in &self.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        response
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.status.fmt(f)
    }
}

impl ResponseError for Finished {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.respond()
    }
}

/// An error of the framework's, as one of ours.
fn own(error: &actix_web::Error) -> Error {
    Error::framework(error.as_response_error().status_code())
}

/// What a refused answer said beside its body, such as its redirect.
fn keep_headers(from: &HeaderMap, to: &mut HeaderMap) {
    for name in [header::LOCATION, header::LINK] {
        if let Some(value) = from.get(&name) {
            to.insert(name, value.clone());
        }
    }
}

/// Ids of requests: what this process has for its own, and a number. Randomness for each would cost as much as all else that a
/// hit needs.
pub struct RequestIds {
    process: String,
    next: AtomicU64,
}

impl RequestIds {
    #[must_use]
    pub fn of(process: Uuid) -> Self {
        RequestIds { process: process.simple().to_string(), next: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("{}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// The caller's own id, where it is harmless in a log; else a new one.
fn request_id(headers: &HeaderMap, state: &State) -> String {
    let given = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    given.filter(harmless).map_or_else(|| state.request_ids.next(), ToOwned::to_owned)
}

/// A null byte, an encoded slash or bytes that are no UTF-8 name nothing; the router would pass them on.
fn check_uri(request: &ServiceRequest) -> Result<(), Error> {
    let uri = request.uri();
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    if length > URI_MAX_BYTES {
        return Err(Error::UriTooLong(length));
    }
    let hidden = ["%2f", "%2F", "%00", "%5c", "%5C"].iter().any(|escape| uri.path().contains(escape));
    let readable = percent_decode_str(uri.path()).decode_utf8().is_ok();
    if hidden || !readable {
        return Err(Error::NoAddress);
    }
    Ok(())
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("a handler panicked: {}", message.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends_the_wrong_type_is_told_the_right_ones() {
        for (method, accept_patch) in [(Method::POST, None), (Method::PATCH, Some("application/json"))] {
            let context = Context { id: "id".into(), method, path: "/terms".into(), is_away: false };
            let finished = context.finish(&Error::UnsupportedMediaType { accepted: "application/json" });
            let header = |name| finished.headers.get(name).and_then(|value| value.to_str().ok());
            assert_eq!(finished.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
            assert_eq!((header(header::ACCEPT), header(ACCEPT_PATCH)), (Some("application/json"), accept_patch));
        }
    }
}
