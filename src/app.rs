//! The only place where routes and middleware are put together. The server, the tests and the benches all start the app
//! through [`serve`].

use std::net::TcpListener;

use actix_web::{
    App, HttpServer,
    body::BoxBody,
    dev::{Server, Service, ServiceResponse},
    middleware::from_fn,
    test::{TestRequest, init_service},
    web::{self, Data, ServiceConfig},
};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    categories, changes, companies, editorial,
    http::{
        boundary,
        fallback::{Addresses, fallback},
    },
    metrics,
    openapi::{self, Collected, Routes},
    search,
    service::{self, Description},
    site,
    state::State,
    terms, tokens, transfer,
};

/// Every route there is, each named once.
fn routes(routes: &mut Routes<'_>) {
    service::routes(routes);
    terms::routes(routes);
    categories::routes(routes);
    companies::routes(routes);
    search::routes(routes);
    site::routes(routes);
    changes::routes(routes);
    tokens::routes(routes);
    editorial::trash::routes(routes);
    transfer::http::routes(routes);
    metrics::routes(routes);
}

/// What all handlers say of themselves.
#[must_use]
pub fn collect() -> Collected {
    let mut collected = Collected::default();
    // An app that is never started: only to hear what its handlers are.
    let _ = App::new().configure(|config| routes(&mut Routes::new(config, &mut collected)));
    collected
}

/// The whole OpenAPI description.
#[must_use]
pub fn describe() -> OpenApi {
    openapi::describe(collect())
}

/// Starts answering on `listener`, and following the log. The server ends when its handle says so, the follower when the state
/// does; signals are the caller's.
///
/// # Errors
/// Where the operating system refuses the threads or the socket.
pub fn serve(state: Data<State>, listener: TcpListener) -> std::io::Result<Server> {
    let (workers, drain) = (state.http.workers, state.http.drain_timeout.as_secs());
    changes::follow(&state);
    let configure = configuration(state);
    let server = HttpServer::new(move || App::new().configure(&configure).wrap(from_fn(boundary::boundary)));
    // Who closes its side has left, and what is done for it is dropped: a search is cancelled.
    let server = server.h1_allow_half_closed(false);
    Ok(server.workers(workers).disable_signals().shutdown_timeout(drain).listen(listener)?.run())
}

/// The same app without a server: what it answers to a `GET` are the bytes that a server would send.
pub async fn in_process(
    state: Data<State>,
) -> impl AsyncFn(&str) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let app = init_service(App::new().configure(configuration(state)).wrap(from_fn(boundary::boundary))).await;
    async move |address| app.call(TestRequest::get().uri(address).to_request()).await
}

/// All that answers, and what it answers from.
fn configuration(state: Data<State>) -> impl Fn(&mut ServiceConfig) + Clone {
    let description = describe();
    let addresses = Data::new(Addresses::of(&description));
    let description = Data::new(Description::of(&description));
    move |config| {
        routes(&mut Routes::new(config, &mut Collected::default()));
        config
            .app_data(state.clone())
            .app_data(addresses.clone())
            .app_data(description.clone())
            .service(SwaggerUi::new("/docs/{_:.*}").config(Config::from("/openapi.json").validator_url("none")))
            .default_service(web::to(fallback));
    }
}
