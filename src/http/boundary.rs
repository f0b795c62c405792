//! What every request and every answer goes through, in one place: the request's id, its bounds, `HEAD`, the deadline,
//! panics, problems as bytes, CORS, and the log.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use futures_util::FutureExt;
use percent_encoding::percent_decode_str;

use super::answer;
use crate::{error::Error, state::State, transfer::http::IMPORT_SECONDS};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Path and query together, in bytes: a hundred slugs of the longest that are made fit, and a usual proxy lets it through.
const URI_MAX_BYTES: usize = 8192;
/// A request that takes longer gets a line in the log.
const SLOW_MILLIS: u128 = 500;

/// The middleware of the whole app.
///
/// # Errors
/// A finished answer, as an error, where there is no request left to answer through: after a deadline or a panic.
pub async fn boundary(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let began = Instant::now();
    let state = request.app_data::<Data<State>>().cloned().ok_or_else(|| Error::internal("the app has no state"))?;
    let context =
        Context { id: request_id(&request, &state), method: request.method().clone(), path: request.path().to_owned() };
    if let Err(error) = check_uri(&request) {
        return Ok(request.into_response(context.finish(&error).respond()));
    }
    if request.method() == Method::HEAD {
        // Answered as the GET that it is; the connection leaves the body out and keeps its length.
        request.head_mut().method = Method::GET;
    }
    // A file takes longer to come, and to be written, than any other request may.
    let patience = match request.path() {
        "/import" => Duration::from_secs(IMPORT_SECONDS),
        _ => state.http.request_timeout,
    };
    let seconds = patience.as_secs();
    let outcome = tokio::time::timeout(patience, AssertUnwindSafe(next.call(request)).catch_unwind()).await;
    let response = match outcome {
        Err(_) => Err(context.finish(&Error::TimedOut(seconds))),
        Ok(Err(panic)) => Err(context.finish(&Error::internal(panic_message(&*panic)))),
        Ok(Ok(Err(error))) => Err(context.finish(&own(&error))),
        Ok(Ok(Ok(response))) => Ok(response),
    };
    let mut response = match response {
        Ok(response) => response.map_into_boxed_body(),
        Err(finished) => return Err(finished.into()),
    };
    if response.status().is_client_error() || response.status().is_server_error() {
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
    context.add_headers(response.headers_mut());
    let millis = began.elapsed().as_millis();
    if !context.method.is_safe() {
        let status = response.status().as_u16();
        tracing::info!(request_id = %context.id, method = %context.method, path = %context.path, status, millis, "write");
    }
    if millis >= SLOW_MILLIS {
        tracing::warn!(request_id = %context.id, method = %context.method, path = %context.path, millis, "slow request");
    }
    Ok(response)
}

/// What an answer needs to know of its request, once the request is gone.
struct Context {
    id: String,
    method: Method,
    path: String,
}

impl Context {
    fn finish(&self, error: &Error) -> Finished {
        let problem = error.problem(&self.path);
        let status = error.status_code();
        // Who asks for a position that is not there yet, or for more than searching's share, is answered: nothing is wrong.
        if status.is_server_error() && !matches!(error, Error::NotSeenYet(_) | Error::SearchBusy | Error::TransferBusy)
        {
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
            | Error::TimedOut(_) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        self.add_headers(&mut headers);
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

    fn add_headers(&self, headers: &mut HeaderMap) {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            headers.insert(X_REQUEST_ID, id);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Reads are open to every page; no answer depends on cookies.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(
                "ETag, Location, Link, Termbase-Position, Retry-After, X-Request-Id, Idempotency-Replayed, Deprecation, \
                 Sunset",
            ),
        );
    }
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

/// The caller's own id, where it is harmless in a log; else a new one.
fn request_id(request: &ServiceRequest, state: &State) -> String {
    let given = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    given.filter(harmless).map_or_else(|| state.clock.id().to_string(), ToOwned::to_owned)
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
            let context = Context { id: "id".into(), method, path: "/terms".into() };
            let finished = context.finish(&Error::UnsupportedMediaType { accepted: "application/json" });
            let header = |name| finished.headers.get(name).and_then(|value| value.to_str().ok());
            assert_eq!(finished.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
            assert_eq!((header(header::ACCEPT), header(ACCEPT_PATCH)), (Some("application/json"), accept_patch));
        }
    }
}
