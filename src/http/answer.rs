//! A successful read as bytes with what it was made from, and the headers that follow from both.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, Responder,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue},
    },
    web::{Bytes, Data},
};
use serde::Serialize;
use uuid::Uuid;

use super::{kept::Keeping, negotiate::Coding, position::TERMBASE_AFTER, precondition};
use crate::{cache::Content, changes::Seen, error::Error, state::State};

pub const TERMBASE_POSITION: HeaderName = HeaderName::from_static("termbase-position");
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// What a public answer depends on beside its address; and where `Accept` chooses too.
pub const VARY: HeaderValue = HeaderValue::from_static("Accept-Encoding, Authorization, Termbase-After");
pub const VARY_ACCEPT: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding, Authorization, Termbase-After");

/// What a read answers: its bytes, the position and the keys that they were made from.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    content_type: &'static str,
    bytes: Bytes,
    /// The revision of the entity that the answer is about; lists have none.
    revision: Option<Uuid>,
    seen: Seen,
    /// Whether the request's `Accept` chose it.
    negotiated: bool,
    headers: Vec<(HeaderName, String)>,
}

impl Answer {
    /// `200` with a JSON body.
    ///
    /// # Errors
    /// Never in practice: wire types always serialise.
    pub fn json(body: &impl Serialize, revision: Option<Uuid>, seen: Seen) -> Result<Self, Error> {
        let bytes = serde_json::to_vec(body).map_err(Error::internal)?.into();
        Ok(Answer::of("application/json", bytes, revision, seen))
    }

    /// `200` with a body of whatever type.
    #[must_use]
    pub fn of(content_type: &'static str, bytes: Bytes, revision: Option<Uuid>, seen: Seen) -> Self {
        Answer { status: StatusCode::OK, content_type, bytes, revision, seen, negotiated: false, headers: Vec::new() }
    }

    /// `308`: the entity's slug of the day is another.
    #[must_use]
    pub fn moved(location: String, seen: Seen) -> Self {
        let headers = vec![(header::LOCATION, location)];
        Answer { status: StatusCode::PERMANENT_REDIRECT, headers, ..Answer::empty(seen) }
    }

    /// `204`, after a write that leaves nothing to show.
    #[must_use]
    pub fn empty(seen: Seen) -> Self {
        Answer { status: StatusCode::NO_CONTENT, ..Answer::of("", Bytes::new(), None, seen) }
    }

    /// `201`: the entity was made, and is at `location`.
    #[must_use]
    pub fn created(mut self, location: String) -> Self {
        self.status = StatusCode::CREATED;
        self.headers.push((header::LOCATION, location));
        self
    }

    /// What a retry gets: the request had its effect already.
    #[must_use]
    pub fn replayed(mut self) -> Self {
        self.headers.push((IDEMPOTENCY_REPLAYED, "true".into()));
        self
    }

    /// Says that the request's `Accept` chose between this and another form.
    #[must_use]
    pub fn negotiated(mut self) -> Self {
        self.negotiated = true;
        self
    }

    /// Adds `Link: <…>; rel="next"` (RFC 8288).
    #[must_use]
    pub fn with_next(mut self, next: Option<String>) -> Self {
        self.headers.extend(next.map(|next| (header::LINK, format!("<{next}>; rel=\"next\""))));
        self
    }

    fn respond(self, request: &HttpRequest) -> Result<HttpResponse, Error> {
        let Answer { status, content_type, bytes, revision, seen, negotiated, headers } = self;
        let mut response = HttpResponse::new(status);
        let headers = headers.into_iter().map(|(name, value)| Ok((name, HeaderValue::from_str(&value)?)));
        let headers = headers.collect::<Result<Vec<_>, InvalidHeaderValue>>().map_err(Error::internal)?;
        if request.extensions().contains::<Keeping>() {
            let content = Content { status, content_type, bytes, revision, seen, negotiated, headers };
            response.extensions_mut().insert(content);
            return Ok(response);
        }
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        cache_headers(request, response.headers_mut(), &seen);
        if negotiated {
            response.headers_mut().insert(header::VARY, VARY_ACCEPT);
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(response);
        }
        if status.is_redirection() {
            // A browser keeps a bare 308 for ever: a rename there and back would loop.
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            return Ok(response);
        }
        represent(request, response, content_type, bytes, revision)
    }
}

/// What is the same for everyone until the next version of the program: a page, the description.
///
/// # Errors
/// [`Error::NotAcceptable`].
pub fn constant(request: &HttpRequest, content_type: &'static str, bytes: Bytes) -> Result<HttpResponse, Error> {
    let mut response = HttpResponse::new(StatusCode::OK);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    represent(request, response, content_type, bytes, None)
}

/// The bytes in the coding that is wanted, with their tag; or `304`, where the tag is known already.
fn represent(
    request: &HttpRequest,
    mut response: HttpResponse,
    content_type: &'static str,
    bytes: Bytes,
    revision: Option<Uuid>,
) -> Result<HttpResponse, Error> {
    let coding = Coding::of(request.headers(), bytes.len())?;
    let tag = precondition::entity_tag(revision, &bytes, coding);
    // HEAD is a GET by now; to any other method 304 would say that it did nothing (RFC 9110, section 13.1.2).
    let known = request.method() == Method::GET && precondition::none_match_names(request.headers(), tag.as_bytes());
    response.headers_mut().insert(header::ETAG, HeaderValue::from_str(&tag).map_err(Error::internal)?);
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if coding != Coding::Identity {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    }
    Ok(response.set_body(coding.encode(bytes).map_err(Error::internal)?).map_into_boxed_body())
}

impl Responder for Answer {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        self.respond(request).unwrap_or_else(HttpResponse::from_error)
    }
}

/// How long the answer may be kept, by whom, and what it was made from; the same on a `200`, a `404` and a `410`.
pub fn cache_headers(request: &HttpRequest, headers: &mut HeaderMap, seen: &Seen) {
    // State is there in every app that `app::serve` builds; without it, nothing may be kept.
    let http = request.app_data::<Data<State>>().map(|state| &state.http);
    let private =
        request.headers().contains_key(header::AUTHORIZATION) || request.headers().contains_key(TERMBASE_AFTER);
    let cache_control = match http {
        Some(http) if !private => http.cache_control.clone(),
        _ => HeaderValue::from_static("private, no-store"),
    };
    headers.insert(header::CACHE_CONTROL, cache_control);
    headers.insert(header::VARY, VARY);
    // Both are made of hexadecimal digits, letters and punctuation of ASCII.
    if let Ok(position) = HeaderValue::from_str(&seen.position.to_string()) {
        headers.insert(TERMBASE_POSITION, position);
    }
    if http.is_some_and(|http| http.surrogate_keys)
        && !seen.keys.is_empty()
        && let Ok(keys) = HeaderValue::from_str(&seen.keys.joined())
    {
        headers.insert(SURROGATE_KEY, keys);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_a_get_is_answered_by_not_modified() {
        for (method, status) in [(Method::GET, 304), (Method::POST, 200), (Method::PATCH, 200), (Method::DELETE, 200)] {
            let request = TestRequest::default().method(method.clone()).append_header((header::IF_NONE_MATCH, "*"));
            let response = constant(&request.to_http_request(), "text/plain", Bytes::from_static(b"text")).unwrap();
            assert_eq!(response.status(), status, "{method}");
            assert!(response.headers().contains_key(header::ETAG), "{method}");
        }
    }
}
