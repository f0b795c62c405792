//! The service's own addresses: its index, its description and docs, the explanations of problems, and its state.

use std::time::Instant;

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{self, Accept, Header},
    web::{Bytes, Data, Path},
};
use serde::Serialize;
use utoipa::{ToSchema, openapi::OpenApi};

use crate::{
    error::{Error, PROBLEMS},
    http::{answer, position},
    openapi::{self, ProblemTypeErrors, ReadinessErrors, Routes, ServiceErrors, TAG_SERVICE},
    postgres,
    state::State,
};

pub fn routes(routes: &mut Routes<'_>) {
    routes
        .service(read_index)
        .service(read_description)
        .service(read_description_3_0)
        .service(open_docs)
        .service(read_problem_type)
        .service(read_health)
        .service(read_readiness);
}

/// The addresses to begin with.
#[derive(Debug, Serialize, ToSchema)]
pub struct Index {
    #[schema(example = "/terms")]
    pub terms: &'static str,
    #[schema(example = "/letters")]
    pub letters: &'static str,
    #[schema(example = "/categories")]
    pub categories: &'static str,
    #[schema(example = "/category-tree")]
    pub category_tree: &'static str,
    #[schema(example = "/companies")]
    pub companies: &'static str,
    #[schema(example = "/search")]
    pub search: &'static str,
    #[schema(example = "/suggest")]
    pub suggest: &'static str,
    #[schema(example = "/sitemap.xml")]
    pub sitemap: &'static str,
    #[schema(example = "/feed.atom")]
    pub feed: &'static str,
    /// What has changed, to follow it.
    #[schema(example = "/changes")]
    pub changes: &'static str,
    /// The OpenAPI description.
    #[schema(example = "/openapi.json")]
    pub description: &'static str,
    /// The same for a person.
    #[schema(example = "/docs")]
    pub docs: &'static str,
    /// Whether the service can answer.
    #[schema(example = "/readyz")]
    pub readiness: &'static str,
    #[schema(example = "0.1.0")]
    pub version: &'static str,
}

/// Read the index
///
/// The addresses to begin with. A browser is led to the docs.
#[utoipa::path(
    operation_id = "read_index",
    tag = TAG_SERVICE,
    responses(
        (status = 200, description = "The addresses to begin with.", body = Index),
        (status = 303, description = "For a browser: the docs."),
        ServiceErrors
    ),
    security(())
)]
#[get("/")]
async fn read_index(request: HttpRequest) -> HttpResponse {
    let wants_page =
        Accept::parse(&request).is_ok_and(|accept| accept.preference().to_string().starts_with("text/html"));
    if wants_page {
        return HttpResponse::SeeOther()
            .insert_header((header::LOCATION, "docs"))
            .insert_header((header::VARY, "Accept"))
            .finish();
    }
    HttpResponse::Ok().insert_header((header::VARY, "Accept")).json(Index {
        terms: "/terms",
        letters: "/letters",
        categories: "/categories",
        category_tree: "/category-tree",
        companies: "/companies",
        search: "/search",
        suggest: "/suggest",
        sitemap: "/sitemap.xml",
        feed: "/feed.atom",
        changes: "/changes",
        description: "/openapi.json",
        docs: "/docs",
        readiness: "/readyz",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Read the description
///
/// This description, as OpenAPI 3.1.
#[utoipa::path(
    operation_id = "read_description",
    tag = TAG_SERVICE,
    responses((status = 200, description = "The description.", body = serde_json::Value), ServiceErrors),
    security(())
)]
#[get("/openapi.json")]
async fn read_description(request: HttpRequest, description: Data<Description>) -> Result<HttpResponse, Error> {
    answer::constant(&request, "application/json", description.newest.clone())
}

/// Read the description in 3.0
///
/// The same as OpenAPI 3.0, for generators that read no 3.1.
#[utoipa::path(
    operation_id = "read_description_3_0",
    tag = TAG_SERVICE,
    responses((status = 200, description = "The description.", body = serde_json::Value), ServiceErrors),
    security(())
)]
#[get("/openapi-3.0.json")]
async fn read_description_3_0(request: HttpRequest, description: Data<Description>) -> Result<HttpResponse, Error> {
    answer::constant(&request, "application/json", description.in_3_0.clone())
}

/// The description, ready to be sent.
pub struct Description {
    newest: Bytes,
    in_3_0: Bytes,
}

impl Description {
    #[must_use]
    pub fn of(description: &OpenApi) -> Self {
        Description {
            newest: openapi::to_json(description).into(),
            in_3_0: openapi::to_json(&openapi::as_3_0(description)).into(),
        }
    }
}

/// Open the docs
///
/// The description for a person, as a page.
#[utoipa::path(
    operation_id = "open_docs",
    tag = TAG_SERVICE,
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html", example = "<!doctype html>…"),
        ServiceErrors
    ),
    security(())
)]
#[get("/docs")]
async fn open_docs(request: HttpRequest) -> Result<HttpResponse, Error> {
    answer::constant(&request, HTML, Bytes::from_static(DOCS.as_bytes()))
}

const HTML: &str = "text/html; charset=utf-8";

/// Addresses are relative, so that the page works below any path of a proxy.
const DOCS: &str = r##"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>termbase</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({ url: "openapi.json", dom_id: "#swagger-ui", validatorUrl: "none", deepLinking: true })</script>
</html>
"##;

/// Read about a problem
///
/// What a problem's `type` leads to: what it means and what to do.
#[utoipa::path(
    operation_id = "read_problem_type",
    tag = TAG_SERVICE,
    params(("code" = String, Path, description = "The problem's `code`.", example = "not_found", max_length = 100)),
    responses((status = 200, description = "The explanation, as a page.", body = String, content_type = "text/html", example = "<!doctype html>…"), ProblemTypeErrors),
    security(())
)]
#[get("/problems/{code}")]
async fn read_problem_type(request: HttpRequest, code: Path<String>) -> Result<HttpResponse, Error> {
    let problem = PROBLEMS.iter().find(|problem| problem.code == code.as_str()).ok_or(Error::NoAddress)?;
    // The texts are ours: they have backticks, and nothing that HTML would take for its own.
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>body{{font:1rem/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}}</style>\n\
         <h1>{title}</h1>\n<p><code>{code}</code>, status {status}</p>\n<p>{explanation}</p>\n<p><a href=\"../docs\">The docs</a></p>\n</html>\n",
        title = problem.title,
        code = problem.code,
        status = problem.status,
        explanation = marked_up(problem.explanation),
    );
    answer::constant(&request, HTML, html.into())
}

fn marked_up(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 0 { part.to_owned() } else { format!("<code>{part}</code>") }).collect()
}

/// Whether the process works.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Always `ok`: what is not is a problem.
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// Check that the process lives
///
/// `200` as long as the process answers at all; it does not ask the database. For a liveness probe.
#[utoipa::path(
    operation_id = "read_health",
    tag = TAG_SERVICE,
    responses((status = 200, description = "The process lives.", body = Health), ServiceErrors),
    security(())
)]
#[get("/healthz")]
async fn read_health() -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "private, no-store")).json(Health { status: "ok" })
}

/// Whether the service works, and how far it has followed the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Always `ok`: what is not is a problem.
    #[schema(example = "ok")]
    pub status: &'static str,
    /// Every change up to here has been taken in.
    #[schema(example = "018f2a6c4b1e7c3d9a5b0c1d2e3f4a5b-42")]
    pub position: String,
    /// How many milliseconds ago the last look at the log began that was completed: below a thousand as long as all is well.
    #[schema(minimum = 0, example = 120)]
    pub look_age_ms: u64,
}

/// Check that the service can answer
///
/// `200` where the database answers, has the tables that this version needs, and its log is followed. For a readiness probe.
#[utoipa::path(
    operation_id = "read_readiness",
    tag = TAG_SERVICE,
    responses(
        (status = 200, description = "The service can answer.", body = Readiness),
        ReadinessErrors
    ),
    security(())
)]
#[get("/readyz")]
async fn read_readiness(state: Data<State>) -> Result<HttpResponse, Error> {
    let followed = &state.followed;
    // The follower has a connection of its own: it knows at once, and an answer of it does not wait for others.
    if followed.is_away() {
        return Err(Error::NotReady("The database does not answer.".into()));
    }
    position::wait_for_log(&state).await?;
    let age = followed.look_age(Instant::now()).unwrap_or_default();
    let database = state.database();
    let checked = tokio::time::timeout(state.http.patience, postgres::check(&database)).await;
    let checked = checked.unwrap_or_else(|_elapsed| Err("The database does not answer.".into()));
    checked.map_err(Error::NotReady)?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "private, no-store")).json(Readiness {
        status: "ok",
        position: state.position(followed.position()).to_string(),
        look_age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
    }))
}
