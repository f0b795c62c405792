//! [`State`], and [`routes`]: the only place where routes and middleware are put together. The server, the tests and the
//! benches all start it through [`serve`].

use std::{net::TcpListener, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::Server,
    http::header::HeaderValue,
    middleware::from_fn,
    web::{self, Bytes, Data, ServiceConfig},
};
use sqlx::PgPool;
use utoipa_swagger_ui::{Config, SwaggerUi};
use uuid::Uuid;

use crate::{
    categories,
    changes::{Keys, Position, Seen},
    clock::Clock,
    companies,
    http::{
        boundary,
        fallback::{Addresses, fallback},
    },
    openapi::{self, Collected, Routes},
    service, terms,
};

/// What every handler may use.
pub struct State {
    pub database: PgPool,
    pub clock: Clock,
    pub http: HttpSettings,
    /// The log that positions belong to; read once, since a restored database is another start.
    pub log_id: Uuid,
    /// `/openapi.json`, ready to be sent.
    pub description: Bytes,
    addresses: Addresses,
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
    #[must_use]
    pub fn new(database: PgPool, clock: Clock, http: HttpSettings, log_id: Uuid) -> Self {
        let description = openapi::describe();
        let addresses = Addresses::of(&description);
        State { database, clock, http, log_id, description: openapi::to_json(&description).into(), addresses }
    }

    /// A place in this database's log.
    #[must_use]
    pub fn position(&self, number: i64) -> Position {
        Position { log_id: self.log_id, number }
    }
}

/// Every route there is, each named once.
pub fn routes(routes: &mut Routes<'_>) {
    service::routes(routes);
    terms::routes(routes);
    categories::routes(routes);
    companies::routes(routes);
}

/// The routes, the docs page and what no route takes.
fn app(config: &mut ServiceConfig, state: &Data<State>) {
    routes(&mut Routes::new(config, &mut Collected::default()));
    config
        .app_data(state.clone())
        .app_data(Data::new(state.addresses.clone()))
        .service(SwaggerUi::new("/docs/{_:.*}").config(Config::from("/openapi.json").validator_url("none")))
        .default_service(web::to(fallback));
}

/// Starts answering on `listener`. The server ends when its handle says so; signals are the caller's.
///
/// # Errors
/// Where the operating system refuses the threads or the socket.
pub fn serve(state: Data<State>, listener: TcpListener) -> std::io::Result<Server> {
    let (workers, drain) = (state.http.workers, state.http.drain_timeout.as_secs());
    let server = HttpServer::new(move || {
        let state = state.clone();
        App::new().configure(move |config| app(config, &state)).wrap(from_fn(boundary::boundary))
    });
    Ok(server.workers(workers).disable_signals().shutdown_timeout(drain).listen(listener)?.run())
}

/// For examples of problems in the description.
#[must_use]
pub fn nothing_seen() -> Seen {
    Seen { position: Position { log_id: Uuid::nil(), number: 0 }, keys: Keys::default() }
}
