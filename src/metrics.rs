//! What the service counts, and `GET /metrics`, which shows it as `OpenMetrics`.

use std::time::Instant;

use actix_web::{HttpResponse, get, http::header, web::Data};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::{
    error::Error,
    http::{auth::Viewer, query::Query},
    openapi::{MetricsErrors, Routes, TAG_SERVICE},
    state::State,
};

pub fn routes(routes: &mut Routes<'_>) {
    routes.service(read_metrics);
}

type Labelled = Family<Vec<(&'static str, String)>, Counter>;

/// Counters are taken out of their families once: to look one up for each answer would cost more than counting.
pub struct Metrics {
    registry: Registry,
    /// By status, from 100 on.
    responses: Vec<Counter>,
    pub hits: Counter,
    pub misses: Counter,
    pub stale: Counter,
    pub unchecked: Counter,
    cache_bytes: Gauge,
    log_position: Gauge,
    look_age: Gauge<f64, std::sync::atomic::AtomicU64>,
    streams: Gauge,
}

/// The statuses that this service answers with; others are counted as the first of their hundred.
const STATUSES: [u16; 26] = [
    200, 201, 204, 300, 303, 304, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 412, 413, 414, 415, 422, 428, 429,
    500, 501, 503,
];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("termbase");
        let statuses = Labelled::default();
        registry.register("responses", "Answers by status", statuses.clone());
        let other = statuses.get_or_create(&vec![("status", "other".into())]).clone();
        let mut responses = vec![other; 600];
        for status in STATUSES {
            if let Some(place) = responses.get_mut(usize::from(status)) {
                *place = statuses.get_or_create(&vec![("status", status.to_string())]).clone();
            }
        }
        let answers = Labelled::default();
        let help = "What was found of those reads whose answers are kept: given as it was, not there, there and no longer right, \
                    given without having been checked since the database is away";
        registry.register("cache_answers", help, answers.clone());
        let outcome = |name: &str| answers.get_or_create(&vec![("outcome", name.into())]).clone();
        let metrics = Metrics {
            responses,
            hits: outcome("hit"),
            misses: outcome("miss"),
            stale: outcome("stale"),
            unchecked: outcome("outage"),
            cache_bytes: Gauge::default(),
            log_position: Gauge::default(),
            look_age: Gauge::default(),
            streams: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register_with_unit("cache", "What the kept answers take", Unit::Bytes, metrics.cache_bytes.clone());
        registry.register("log_position", "Up to which change the log has been followed", metrics.log_position.clone());
        let help = "How long ago the last completed look at the log began; -1 before the first";
        registry.register_with_unit("log_look_age", help, Unit::Seconds, metrics.look_age.clone());
        registry.register("streams", "Open streams of changes", metrics.streams.clone());
        Metrics { registry, ..metrics }
    }
}

impl Metrics {
    pub fn count(&self, status: u16) {
        if let Some(counter) = self.responses.get(usize::from(status)) {
            counter.inc();
        }
    }

    fn text(&self, state: &State) -> Result<String, std::fmt::Error> {
        self.cache_bytes.set(i64::try_from(state.cache.bytes()).unwrap_or(i64::MAX));
        self.log_position.set(state.followed.position());
        self.look_age.set(state.followed.look_age(Instant::now()).map_or(-1.0, |age| age.as_secs_f64()));
        self.streams.set(i64::try_from(state.feed.streams()).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Read the metrics
///
/// What the service counts, for Prometheus: answers by status, what the cache gave, how far the log has been followed.
#[utoipa::path(
    operation_id = "read_metrics",
    tag = TAG_SERVICE,
    responses(
        (
            status = 200,
            description = "The metrics, as OpenMetrics has them.",
            body = String,
            content_type = "application/openmetrics-text",
            example = json!("# HELP termbase_streams Open streams of changes.\n# TYPE termbase_streams gauge\ntermbase_streams 0\n# EOF\n")
        ),
        MetricsErrors
    ),
    security(("bearer" = ["viewer"]))
)]
#[get("/metrics")]
async fn read_metrics(state: Data<State>, _: Viewer, query: Query) -> Result<HttpResponse, Error> {
    query.finish()?;
    let text = state.metrics.text(&state).map_err(Error::internal)?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "private, no-store"))
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(text))
}
