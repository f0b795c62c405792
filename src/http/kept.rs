//! Reads that are answered by what is kept, and misses that make it: one in flight an address.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    HttpMessage, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap},
        uri::PathAndQuery,
    },
    middleware::Next,
    web::Data,
};

use super::{boundary, position::TERMBASE_AFTER};
use crate::{
    cache::{self, Content, Entry, Flight, Joined, Landed, Verdict},
    error::Error,
    state::State,
};

/// Tells a handler's [`Answer`](super::answer::Answer) to hand its content over instead of representing it.
pub struct Keeping;

/// What is kept: pages and lists, and what the site passes on. Searches are not: hardly one is asked twice.
const KEPT: [&str; 7] = ["/terms", "/categories", "/companies", "/letters", "/category-tree", "/sitemap", "/feed.atom"];

/// An answer, with the request that it answers where that is still there.
pub enum Answered {
    Through(ServiceResponse<BoxBody>),
    Alone(HttpResponse),
}

/// The address that the answer to a request is kept under, where it is one of those that are: everyone's, and not asked for
/// at a position of the caller's.
#[must_use]
pub fn address(request: &ServiceRequest) -> Option<&str> {
    let (headers, path) = (request.headers(), request.uri().path());
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let is_open = !headers.contains_key(header::AUTHORIZATION) && !headers.contains_key(TERMBASE_AFTER);
    // Whoever names another type than JSON may get another form of a page.
    let may_differ = || headers.get_all(header::ACCEPT).any(|value| value.as_bytes().contains(&b'+'));
    if !is_read || !is_open || !KEPT.iter().any(|kept| path.starts_with(kept)) || may_differ() {
        return None;
    }
    request.uri().path_and_query().map(PathAndQuery::as_str)
}

/// What may be given without asking Postgres, and how old it is where that could not be checked.
#[must_use]
pub fn find(state: &State, address: &str, now: Instant) -> Option<(Arc<Entry>, Option<Duration>)> {
    let (entry, verdict) = state.cache.get(address, &state.followed, now)?;
    match verdict {
        Verdict::Fresh => {
            state.metrics.hits.inc();
            Some((entry, None))
        }
        Verdict::Unsure if state.followed.is_away() => Some((entry, Some(unchecked(state, now)))),
        Verdict::Unsure | Verdict::Overtaken => {
            state.metrics.stale.inc();
            None
        }
    }
}

/// Counts an answer that is given although it could not be checked, and says its age.
fn unchecked(state: &State, now: Instant) -> Duration {
    state.metrics.unchecked.inc();
    cache::age(&state.followed, now)
}

/// A kept answer in the coding that is wanted, which is kept too.
///
/// # Errors
/// [`Error::NotAcceptable`].
pub async fn respond(
    state: &State,
    address: &str,
    entry: &Arc<Entry>,
    headers: &HeaderMap,
    age: Option<Duration>,
) -> Result<HttpResponse, Error> {
    let coding = entry.coding(headers)?;
    if entry.has(coding) {
        return Ok(entry.respond(headers, coding, age));
    }
    let encoded = entry.with(coding).await?;
    let response = encoded.respond(headers, coding, age);
    state.cache.keep_encoded(address, entry, encoded);
    Ok(response)
}

/// Answers what is not kept: by asking, or by waiting for one who asks already.
///
/// # Errors
/// Where the deadline has passed, or Postgres does not answer; a handler's panic.
pub async fn miss<B: MessageBody + 'static>(
    state: &Data<State>,
    address: &str,
    request: ServiceRequest,
    next: &Next<B>,
) -> Result<Answered, Error> {
    let arrived = Instant::now();
    state.metrics.misses.inc();
    loop {
        let waiting = match state.cache.flights.join(address) {
            Joined::Lead(flight) => return lead(state, address, flight, request, next).await,
            Joined::Wait(waiting) => waiting,
        };
        let landed = tokio::select! {
            landed = waiting.landed() => landed,
            () = state.followed.gone_away() => Landed::Refused,
            () = tokio::time::sleep(state.http.request_timeout) => {
                return Err(Error::TimedOut(state.http.request_timeout.as_secs()));
            }
        };
        match landed {
            // Its snapshot is from after the request came, or no change is known to have touched it since.
            Landed::Kept(entry, began)
                if began >= arrived
                    || state.cache.verdict(&entry, &state.followed, Instant::now()) == Verdict::Fresh =>
            {
                let response = respond(state, address, &entry, request.headers(), None).await?;
                return Ok(Answered::Through(request.into_response(response)));
            }
            Landed::Kept(..) | Landed::Left => {}
            Landed::Private => return boundary::handle(state, request, next).await.map(Answered::Through),
            Landed::Refused => {
                let spare = Spare::of(state, address, request.headers()).ok_or_else(silent)?;
                let response = spare.respond(state, address).await?;
                return Ok(Answered::Through(request.into_response(response)));
            }
        }
    }
}

fn silent() -> Error {
    Error::Unavailable(sqlx::Error::PoolTimedOut)
}

/// Asks, keeps what comes, and tells those who wait.
async fn lead<B: MessageBody + 'static>(
    state: &Data<State>,
    address: &str,
    flight: Flight,
    request: ServiceRequest,
    next: &Next<B>,
) -> Result<Answered, Error> {
    let spare = Spare::of(state, address, request.headers());
    // Before it is asked for: what is read while the log begins anew is of neither.
    let log = state.followed.log();
    request.extensions_mut().insert(Keeping);
    let (refused, response) = match boundary::handle(state, request, next).await {
        Ok(response) => (response.status() == StatusCode::SERVICE_UNAVAILABLE, Ok(response)),
        Err(error) => (error.status_code() == StatusCode::SERVICE_UNAVAILABLE, Err(error)),
    };
    if refused {
        flight.refused();
        return match spare {
            Some(spare) => spare.respond(state, address).await.map(Answered::Alone),
            None => response.map(Answered::Through),
        };
    }
    let mut response = response?;
    let Some(content) = content(&mut response) else {
        flight.private();
        return Ok(Answered::Through(response));
    };
    let entry = Arc::new(Entry::of(content, log, &state.http)?);
    state.cache.keep(address, &entry);
    flight.kept(entry.clone());
    let (request, _) = response.into_parts();
    let response = respond(state, address, &entry, request.headers(), None).await?;
    Ok(Answered::Through(ServiceResponse::new(request, response)))
}

/// What is kept, and could not be checked: for the case that Postgres does not answer.
struct Spare {
    entry: Arc<Entry>,
    headers: HeaderMap,
}

impl Spare {
    /// What a change is known to have touched is not given any more.
    fn of(state: &State, address: &str, headers: &HeaderMap) -> Option<Self> {
        let (entry, verdict) = state.cache.get(address, &state.followed, Instant::now())?;
        (verdict != Verdict::Overtaken).then(|| Spare { entry, headers: headers.clone() })
    }

    async fn respond(self, state: &State, address: &str) -> Result<HttpResponse, Error> {
        let age = unchecked(state, Instant::now());
        respond(state, address, &self.entry, &self.headers, Some(age)).await
    }
}

/// What a handler has handed over; or that nothing is there, which is kept too.
fn content(response: &mut ServiceResponse<BoxBody>) -> Option<Content> {
    if let Some(content) = response.response_mut().extensions_mut().remove::<Content>() {
        return Some(content);
    }
    let error = response.response().error()?.as_error::<Error>()?;
    let (Error::NoEntity { is_searched: true, seen, .. } | Error::Gone { seen }) = error else { return None };
    let problem = error.problem(response.request().path());
    Some(Content {
        status: error.status_code(),
        content_type: "application/problem+json",
        bytes: serde_json::to_vec(&problem).ok()?.into(),
        revision: None,
        seen: seen.clone(),
        negotiated: false,
        headers: Vec::new(),
    })
}
