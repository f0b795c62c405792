//! [`State`]: what every handler may use.

use std::{sync::Arc, time::Duration};

use actix_web::http::header::HeaderValue;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

use crate::{changes::Position, clock::Clock, search::Share, site::SiteSettings, transfer::http::Turns};

/// What every handler may use. Nothing in it that is served changes: what does is in Postgres.
pub struct State {
    pub database: PgPool,
    pub clock: Clock,
    pub http: HttpSettings,
    /// The log that positions belong to; read once, since a restored database is another start.
    pub log_id: Uuid,
    /// One permit for each connection that may be writing at a time.
    pub(crate) writers: Arc<Semaphore>,
    pub(crate) searches: Share,
    pub(crate) transfers: Turns,
}

/// How answers are sent.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `Cache-Control` of public answers.
    pub cache_control: HeaderValue,
    /// Whether answers carry the keys that they were made from, as `Surrogate-Key`.
    pub surrogate_keys: bool,
    /// Whose pages may write, from the browser of someone with a token.
    pub write_origins: Origins,
    /// Whether a change without `If-Match` is refused.
    pub require_if_match: bool,
    /// Whose addresses stand in answers that leave this service.
    pub site: SiteSettings,
    /// After this a request is given up.
    pub request_timeout: Duration,
    /// After this requests in flight are given up when the server stops.
    pub drain_timeout: Duration,
    /// How many threads answer requests.
    pub workers: usize,
}

/// Origins of web pages (RFC 6454), spelt as browsers send them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    All,
    These(Vec<String>),
}

impl Origins {
    /// Reads `*`, or origins such as `https://editor.example`, separated by commas.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Origins::All);
        }
        let is_origin = |origin: &&str| {
            Url::parse(origin).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == *origin
            })
        };
        let origins = text.split(',').map(|origin| Some(origin.trim()).filter(is_origin).map(ToOwned::to_owned));
        origins.collect::<Option<_>>().map(Origins::These)
    }

    #[must_use]
    pub fn contain(&self, origin: &str) -> bool {
        match self {
            Origins::All => true,
            Origins::These(origins) => origins.iter().any(|known| known == origin),
        }
    }
}

impl State {
    /// Writers get half of the pool (they wait for each other, at the head of the log above all), searches a third, imports
    /// and exports a quarter, and reading is to go on meanwhile.
    #[must_use]
    pub fn new(database: PgPool, clock: Clock, http: HttpSettings, log_id: Uuid) -> Self {
        let connections = usize::try_from(database.options().get_max_connections()).unwrap_or(1);
        let writers = Arc::new(Semaphore::new((connections / 2).max(1)));
        let searches = Share::of((connections / 3).max(1));
        let transfers = Turns::of((connections / 4).max(1));
        State { database, clock, http, log_id, writers, searches, transfers }
    }

    /// A place in this database's log.
    #[must_use]
    pub fn position(&self, number: i64) -> Position {
        Position { log_id: self.log_id, number }
    }
}
