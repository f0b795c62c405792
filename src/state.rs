//! [`State`]: what every handler may use.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use actix_web::http::header::HeaderValue;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

use crate::{
    cache::Cache,
    changes::{Feed, Followed, Position, Recent},
    clock::Clock,
    http::boundary::RequestIds,
    load::Load,
    metrics::Metrics,
    postgres,
    search::Share,
    site::SiteSettings,
    transfer::http::Turns,
};

/// What every handler may use. What is served is in Postgres; all that is kept here is derived from it.
pub struct State {
    database: RwLock<PgPool>,
    pub clock: Clock,
    pub http: HttpSettings,
    pub(crate) followed: Arc<Followed>,
    pub(crate) cache: Cache,
    pub(crate) recent: Recent,
    pub(crate) feed: Feed,
    pub(crate) load: Load,
    pub(crate) metrics: Metrics,
    pub(crate) request_ids: RequestIds,
    /// One at a time is told what is close to an address that nothing has: it is the dearest that a stranger can ask.
    pub(crate) suggestions: Semaphore,
    /// One permit for each connection that may be writing at a time.
    pub(crate) writers: Arc<Semaphore>,
    pub(crate) searches: Share,
    pub(crate) transfers: Turns,
}

/// How requests are answered.
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
    /// How many bytes of answers are kept: `TERMBASE_CACHE_MIB`, in MiB, 1 to 1,048,576. Default 128.
    pub cache_bytes: u64,
    /// How long a change stays in the log: `TERMBASE_CHANGES_DAYS`, 1 to 36,500. Default 90.
    pub changes_kept: Duration,
    /// How long a request waits for a connection, and a write for its turn, and how long a look at the log may take before
    /// Postgres counts as away: `TERMBASE_PATIENCE_MILLIS`, 100 to 60,000. Default 500.
    pub patience: Duration,
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
        State {
            followed: Arc::new(Followed::new(log_id)),
            cache: Cache::new(http.cache_bytes),
            recent: Recent::default(),
            feed: Feed::default(),
            load: Load::of(connections),
            metrics: Metrics::default(),
            request_ids: RequestIds::of(Uuid::now_v7()),
            suggestions: Semaphore::new(1),
            database: RwLock::new(database),
            clock,
            http,
            writers,
            searches,
            transfers,
        }
    }

    /// The connections to Postgres.
    #[must_use]
    pub fn database(&self) -> PgPool {
        self.database.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Other connections in place of those that may lead to a server that is no more: whoever waits for an answer on one
    /// of them holds its place, perhaps for a quarter of an hour.
    pub(crate) fn renew_database(&self) {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let again = postgres::again(&database);
        let former = std::mem::replace(&mut *database, again);
        drop(database);
        self.followed.renewed();
        tokio::spawn(async move { former.close().await });
    }

    /// Ends what waits for changes: streams, and the follower itself.
    pub fn unfollow(&self) {
        self.followed.end();
    }

    /// A place in this database's log.
    #[must_use]
    pub fn position(&self, number: i64) -> Position {
        Position { log_id: self.followed.log_id(), number }
    }
}
