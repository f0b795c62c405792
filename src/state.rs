//! [`State`]: what every handler may use.

use std::time::Duration;

use actix_web::http::header::HeaderValue;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{changes::Position, clock::Clock};

/// What every handler may use. Nothing in it changes: what does is in Postgres.
pub struct State {
    pub database: PgPool,
    pub clock: Clock,
    pub http: HttpSettings,
    /// The log that positions belong to; read once, since a restored database is another start.
    pub log_id: Uuid,
}

/// How answers are sent.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// `Cache-Control` of public answers.
    pub cache_control: HeaderValue,
    /// Whether answers carry the keys that they were made from, as `Surrogate-Key`.
    pub surrogate_keys: bool,
    /// After this a request is given up.
    pub request_timeout: Duration,
    /// After this requests in flight are given up when the server stops.
    pub drain_timeout: Duration,
    /// How many threads answer requests.
    pub workers: usize,
}

impl State {
    /// A place in this database's log.
    #[must_use]
    pub fn position(&self, number: i64) -> Position {
        Position { log_id: self.log_id, number }
    }
}
