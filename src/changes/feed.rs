//! `GET /changes` and `GET /changes/stream`: the log, for caches in front, frontends and mirrors.
//!
//! A change says what a frontend needs to revalidate without asking again: kind, slug, former slug, and the public keys that
//! it touches. Whoever was away goes on from the last position, or is told (`410`) that this is not possible.

use std::{sync::Arc, time::Duration};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    get,
    http::header::{self, HeaderName, HeaderValue},
    web::{Bytes, Data},
};
use futures_util::stream;
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep_until},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Position,
    log::{self, Change},
    recent::{Following, Told},
};
use crate::{
    clock::Timestamp,
    error::{Error, Fault},
    http::{answer::TERMBASE_POSITION, auth::Reader, position, query::Query},
    openapi::{ChangesErrors, Routes, StreamErrors, TAG_CHANGES},
    state::State,
};

/// How many changes a page has where the request does not say, and at most.
const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// How many seconds a request may wait for a change.
pub const WAIT_MAX_SECONDS: u64 = 30;
/// How many changes go into one piece of a stream.
const PIECE: usize = 100;
/// How often a stream says that it lives, and up to where it has told everything.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a stream lasts that a token has opened more to: the token may have been revoked meanwhile.
const OPENED: Duration = Duration::from_mins(10);
/// How many streams an instance has at a time.
const STREAMS_MAX: usize = 10_000;
/// How many of those that are far behind read the log at a time.
const CATCHING_UP: usize = 2;

pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

pub fn routes(routes: &mut Routes<'_>) {
    routes.service(list_changes).service(stream_changes);
}

/// What those who follow the log share.
pub struct Feed {
    streams: Arc<Semaphore>,
    catching_up: Semaphore,
}

impl Default for Feed {
    fn default() -> Self {
        Feed { streams: Arc::new(Semaphore::new(STREAMS_MAX)), catching_up: Semaphore::new(CATCHING_UP) }
    }
}

impl Feed {
    /// How many streams are open.
    #[must_use]
    pub fn streams(&self) -> usize {
        STREAMS_MAX - self.streams.available_permits()
    }
}

/// A change of one entity, or of everything.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Change)]
pub struct ChangeItem {
    /// Its place in the log: no gaps, in the order of the commits. What is not shown to the caller has places too.
    #[schema(example = "018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42", pattern = "^[0-9a-f]{32}-[1-9][0-9]*$")]
    pub position: String,
    pub id: Uuid,
    /// `term`, `category` or `company`; more may come. `null` for a `reset`.
    #[schema(required, example = "term")]
    pub kind: Option<String>,
    /// The id of what was changed; `null` for a `reset`.
    #[schema(required)]
    pub entity: Option<Uuid>,
    /// `created`, `updated`, `deleted`, `restored`, `purged` or `reset` (everything may have changed: read all of it again);
    /// more may come.
    #[schema(example = "updated")]
    pub what: String,
    /// Its slug after the change; `null` for a `reset`.
    #[schema(required, example = "foundation-model")]
    pub slug: Option<String>,
    /// The slug before, where the change gave it another.
    #[schema(required, example = json!(null))]
    pub former_slug: Option<String>,
    /// Whether everyone could read it before.
    pub public_before: bool,
    /// Whether everyone can read it now.
    pub public_after: bool,
    /// The keys that the change touches: an answer whose `Surrogate-Key` has one of them, and whose `Termbase-Position` is
    /// before this one, is stale.
    #[schema(example = json!(["term:01a20c78-4513-7096-a7ca-781f7eec597d", "terms/updated"]))]
    pub keys: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

impl ChangeItem {
    /// As the caller may see it. The slug under which nobody could read something stays hidden from those who can't see
    /// drafts.
    pub(super) fn of(change: &Change, log_id: Uuid, drafts: bool) -> Self {
        let Change { position, id, kind, entity, what, slug, former_slug, public_before, public_after, mut keys, at } =
            change.clone();
        let hidden = former_slug.as_ref().filter(|_| !drafts && !public_before);
        if let (Some(kind), Some(hidden)) = (&kind, hidden) {
            let key = format!("slug:{kind}/{hidden}");
            keys.retain(|touched| *touched != key);
        }
        ChangeItem {
            position: Position { log_id, number: position }.to_string(),
            id,
            kind,
            entity,
            what,
            slug,
            former_slug: former_slug.filter(|_| drafts || public_before),
            public_before,
            public_after,
            keys,
            at,
        }
    }
}

/// A part of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeList {
    /// In their order.
    #[schema(max_items = 1000)]
    pub items: Vec<ChangeItem>,
    /// Everything up to here has been told: send it as `after` for what comes next.
    #[schema(example = "018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42", pattern = "^[0-9a-f]{32}-(0|[1-9][0-9]*)$")]
    pub position: String,
    /// Whether there is more to read at once.
    pub more: bool,
}

/// Follow the changes
///
/// What has changed after a position, in the order of the commits: nothing is left out, and nothing comes twice. Without
/// `after` it says where the log is now, which is where to begin. With `wait` the answer comes as soon as there is something
/// to tell. Everyone is told what was or became public; a viewer's token shows drafts as well. The log is kept for some
/// months: a position that it no longer goes back to, or one of another log (the database was restored), is a `410`. Then take a
/// new position (without `after`), read again what you keep, and go on from that position.
#[utoipa::path(
    operation_id = "list_changes",
    tag = TAG_CHANGES,
    params(
        ("after" = Option<String>, Query, description = "A `Termbase-Position`, or the `position` of the page before.", pattern = "^[0-9a-f]{32}-(0|[1-9][0-9]{0,17})$"),
        ("limit" = Option<i32>, Query, description = "How many changes a page has; 100 where it is absent.", minimum = 1, maximum = 1000),
        ("wait" = Option<i32>, Query, description = "How many seconds to wait for a change where there is none yet; 0 where it is absent.", minimum = 0, maximum = 30),
    ),
    responses(
        (status = 200, description = "What has changed.", body = ChangeList, headers(("Termbase-Position" = String, description = "The same as `position`.")), example = json!({
            "items": [{
                "position": "018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42",
                "id": "01a20c78-6329-7576-ab4a-6952bacc2af5",
                "kind": "term",
                "entity": "01a20c78-4513-7096-a7ca-781f7eec597d",
                "what": "updated",
                "slug": "foundation-model",
                "former_slug": null,
                "public_before": true,
                "public_after": true,
                "keys": ["search", "term:01a20c78-4513-7096-a7ca-781f7eec597d", "terms/updated"],
                "at": "2026-11-24T12:00:00.000000Z"
            }],
            "position": "018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42",
            "more": false
        })),
        ChangesErrors
    ),
    security((), ("bearer" = []))
)]
#[get("/changes")]
async fn list_changes(state: Data<State>, mut query: Query, reader: Reader) -> Result<HttpResponse, Error> {
    let after = take_after(&mut query);
    let out_of_range = |max: u64, min: u64| ("out_of_range", format!("Expected a whole number from {min} to {max}."));
    let limit = query.take("limit", |value| match value.parse() {
        Ok(limit) if (1..=LIMIT_MAX).contains(&limit) => Ok(limit),
        _ => Err(out_of_range(LIMIT_MAX as u64, 1)),
    });
    let wait = query.take("wait", |value| match value.parse() {
        Ok(wait) if wait <= WAIT_MAX_SECONDS => Ok(wait),
        _ => Err(out_of_range(WAIT_MAX_SECONDS, 0)),
    });
    query.finish()?;
    let mut reading = Reading::begin(&state, after, reader.0.is_some()).await?;
    let until = Instant::now() + Duration::from_secs(wait.unwrap_or_default());
    let limit = limit.unwrap_or(LIMIT);
    let mut moved = state.followed.watch();
    let mut logs = state.followed.watch_log();
    let (items, more) = loop {
        moved.mark_unchanged();
        let (items, more) = reading.page(limit).await?;
        if !items.is_empty() || more || Instant::now() >= until {
            break (items, more);
        }
        tokio::select! {
            _ = moved.changed() => {}
            // The log begins anew, or the service stops.
            _ = logs.changed() => break (items, more),
            () = sleep_until(until) => break (items, more),
        }
    };
    let position = reading.position().to_string();
    let header = HeaderValue::from_str(&position).map_err(Error::internal)?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "private, no-store")).insert_header((TERMBASE_POSITION, header));
    Ok(response.json(ChangeList { items, position, more }))
}

/// Stream the changes
///
/// The same as server-sent events, for as long as the client stays: events are named `change`, `id` is the position, `data` a
/// change. A browser's `EventSource` resumes by itself, unless it was told `410` or `503`; others send the last `id` as
/// `Last-Event-ID`, or as `after`. An event without data comes at once and every 15 seconds, and says up to where everything was
/// told. A reader that is too slow is cut off, and resumes; a stream that a token has opened ends after ten minutes, and is
/// resumed with it.
#[utoipa::path(
    operation_id = "stream_changes",
    tag = TAG_CHANGES,
    params(
        ("after" = Option<String>, Query, description = "Where to begin; from now on where it is absent. `Last-Event-ID` goes before it.", pattern = "^[0-9a-f]{32}-(0|[1-9][0-9]{0,17})$"),
        LastEventId,
    ),
    responses(
        (status = 200, description = "The changes as they come.", body = String, content_type = "text/event-stream", example = json!(EVENT)),
        StreamErrors
    ),
    security((), ("bearer" = []))
)]
#[get("/changes/stream")]
async fn stream_changes(
    state: Data<State>,
    mut query: Query,
    last: LastEventId,
    reader: Reader,
) -> Result<HttpResponse, Error> {
    let after = take_after(&mut query);
    query.finish()?;
    let permit = state.feed.streams.clone().try_acquire_owned().map_err(|_none_left| Error::Overloaded)?;
    let drafts = reader.0.is_some();
    position::wait_for_log(&state).await?;
    // Before the log is read: what comes in between wakes the stream, or ends it.
    let (moved, logs) = (state.followed.watch(), state.followed.watch_log());
    let reading = Reading::begin(&state, last.0.or(after), drafts).await?;
    reading.check().await?;
    let ends = drafts.then(|| Instant::now() + OPENED);
    let stream = Stream { reading, has_caught_up: false, has_begun: false, moved, logs, ends, _permit: permit };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        // nginx would keep events back to fill its buffer.
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"));
    Ok(response.streaming(stream::unfold(stream, Stream::next)))
}

const EVENT: &str = "id: 018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42\nevent: change\ndata: {\"position\":\"018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42\",\"id\":\"01a20c78-6329-7576-ab4a-6952bacc2af5\",\"kind\":\"term\",\"entity\":\"01a20c78-4513-7096-a7ca-781f7eec597d\",\"what\":\"updated\",\"slug\":\"foundation-model\",\"former_slug\":null,\"public_before\":true,\"public_after\":true,\"keys\":[\"term:01a20c78-4513-7096-a7ca-781f7eec597d\",\"terms/updated\"],\"at\":\"2026-11-24T12:00:00.000000Z\"}\n\n";

fn take_after(query: &mut Query) -> Option<Position> {
    query.take("after", |value| {
        let expected = "Expected what Termbase-Position said, such as 018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42.";
        Position::parse(value).ok_or_else(|| ("not_a_position", expected.into()))
    })
}

/// `Last-Event-ID`; an empty one is what a client sends that has read none.
pub struct LastEventId(Option<Position>);

impl FromRequest for LastEventId {
    type Error = Error;
    type Future = std::future::Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let value = request.headers().get(LAST_EVENT_ID).filter(|value| !value.is_empty());
        std::future::ready(match value.map(|value| value.to_str().ok().and_then(Position::parse)) {
            None => Ok(LastEventId(None)),
            Some(Some(position)) => Ok(LastEventId(Some(position))),
            Some(None) => Err(Error::BadRequest(vec![Fault::header(
                "Last-Event-ID",
                "not_a_position",
                "Expected the id of an event, such as 018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42.",
            )])),
        })
    }
}

/// Someone's place in the log.
struct Reading {
    state: Data<State>,
    log_id: Uuid,
    /// Everything up to here has been told.
    told: i64,
    drafts: bool,
}

impl Reading {
    /// Begins after a position, or where the log is now.
    ///
    /// # Errors
    /// [`Error::LogRestarted`] for a position of another log, [`Error::NotSeenYet`] for one that this instance has not
    /// reached in time.
    async fn begin(state: &Data<State>, after: Option<Position>, drafts: bool) -> Result<Self, Error> {
        match after {
            Some(after) => position::wait_for(state, after).await?,
            None => position::wait_for_log(state).await?,
        }
        let log_id = state.followed.log_id();
        let told = after.map_or_else(|| state.followed.position(), |after| after.number);
        Ok(Reading { state: state.clone(), log_id, told, drafts })
    }

    fn position(&self) -> Position {
        Position { log_id: self.log_id, number: self.told }
    }

    fn shows(&self, change: &Change) -> bool {
        self.drafts || change.is_public()
    }

    /// Whether the log still goes back so far.
    async fn check(&self) -> Result<(), Error> {
        match self.state.recent.after(self.told, 0) {
            Following::Ready(_) => Ok(()),
            Following::Behind => self.read_log().await.map(drop),
        }
    }

    /// What comes next as far as the caller may see it, and whether there is more. It goes over what he may not see.
    async fn page(&mut self, limit: usize) -> Result<(Vec<ChangeItem>, bool), Error> {
        let changes = match self.state.recent.after(self.told, LIMIT_MAX) {
            Following::Ready(changes) => changes,
            Following::Behind => self.read_log().await?,
        };
        let mut items = Vec::new();
        for Told { change, .. } in changes.iter().map(AsRef::as_ref) {
            if items.len() == limit {
                return Ok((items, true));
            }
            self.told = change.position;
            if self.shows(change) {
                items.push(ChangeItem::of(change, self.log_id, self.drafts));
            }
        }
        Ok((items, self.told < self.state.followed.position()))
    }

    /// From the database: few at a time, since it is work that others' reads wait for.
    async fn read_log(&self) -> Result<Vec<Arc<Told>>, Error> {
        let _turn = self.state.feed.catching_up.acquire().await.map_err(Error::internal)?;
        let mut changes = log::read_after(&self.state.database(), self.told).await?.ok_or(Error::ChangesTrimmed)?;
        // What is not followed yet may be of another log than the one that is known.
        let followed = self.state.followed.position();
        changes.retain(|change| change.position <= followed);
        Ok(changes.into_iter().map(|change| Arc::new(change.into())).collect())
    }
}

/// A stream, between two of its pieces.
struct Stream {
    reading: Reading,
    /// Whether it has been where the changes are kept ready: falling behind again, it is cut off.
    has_caught_up: bool,
    has_begun: bool,
    moved: watch::Receiver<i64>,
    logs: watch::Receiver<u64>,
    ends: Option<Instant>,
    _permit: OwnedSemaphorePermit,
}

impl Stream {
    async fn next(mut self) -> Option<(Result<Bytes, Error>, Self)> {
        let heartbeat = Instant::now() + HEARTBEAT;
        if !std::mem::replace(&mut self.has_begun, true) {
            // How soon a browser comes back, in milliseconds, and where it begins.
            let hello = format!("retry: 1000\nid: {}\n\n", self.reading.position());
            return Some((Ok(hello.into()), self));
        }
        loop {
            if self.logs.has_changed().unwrap_or(true) || self.ends.is_some_and(|ends| ends <= Instant::now()) {
                return None;
            }
            self.moved.mark_unchanged();
            let changes = match self.reading.state.recent.after(self.reading.told, PIECE) {
                Following::Ready(changes) => {
                    self.has_caught_up = true;
                    changes
                }
                Following::Behind if self.has_caught_up => return None,
                Following::Behind => self.reading.read_log().await.ok()?,
            };
            let piece = self.reading.piece(&changes);
            if !piece.is_empty() {
                return Some((Ok(piece.into()), self));
            }
            if !changes.is_empty() {
                continue;
            }
            tokio::select! {
                _ = self.moved.changed() => {}
                _ = self.logs.changed() => return None,
                () = sleep_until(heartbeat) => {
                    let beat = format!(": \nid: {}\n\n", self.reading.position());
                    return Some((Ok(beat.into()), self));
                }
            }
        }
    }
}

impl Reading {
    /// Changes as events, as far as the caller may see them.
    fn piece(&mut self, changes: &[Arc<Told>]) -> Vec<u8> {
        let mut piece = Vec::new();
        for told in changes {
            self.told = told.change.position;
            if self.shows(&told.change) {
                piece.extend_from_slice(told.event(self.log_id, self.drafts));
            }
        }
        piece
    }
}
