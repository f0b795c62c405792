//! The afternoon version: the page of a term as a good developer writes it in an afternoon, on the service's own tables and
//! with its members. One joined query, typed rows, JSON; no cache, no compression, no tag, no position, no problems.
//!
//! It has the service's settings: as many workers, as many connections, all of them opened at once and none asked whether it
//! still lives before each query, which would be a second round trip.

use std::time::Duration;

use actix_web::{App, HttpResponse, get, web};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool, types::Json};
use termbase::{
    clock::{Day, Timestamp},
    postgres,
};
use uuid::Uuid;

use super::{peers, server::CONNECTIONS};

/// The service's own default.
const PATIENCE: Duration = Duration::from_secs(1);

/// pgbench asks the same.
pub const QUERY: &str = include_str!("afternoon.sql");

#[derive(Debug, Serialize, Deserialize)]
struct Alias {
    name: String,
    kind: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Source {
    title: String,
    url: String,
    publisher: Option<String>,
    published_on: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Category {
    id: Uuid,
    slug: String,
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Trail {
    id: Uuid,
    slug: String,
    name: String,
    ancestors: Vec<Category>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TermCard {
    id: Uuid,
    slug: String,
    name: String,
    acronyms: Vec<String>,
    definition: String,
    category: Category,
    status: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct CompanyCard {
    id: Uuid,
    slug: String,
    name: String,
    description: String,
    website: Option<String>,
    country: Option<String>,
    status: String,
}

#[derive(Debug, FromRow)]
struct Row {
    id: Uuid,
    slug: String,
    name: String,
    status: String,
    definition: String,
    body: String,
    body_html: String,
    reviewed_on: Option<Day>,
    published_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: i64,
    aliases: Json<Vec<Alias>>,
    sources: Json<Vec<Source>>,
    category: Json<Trail>,
    related: Json<Vec<TermCard>>,
    broader: Json<Vec<TermCard>>,
    narrower: Json<Vec<TermCard>>,
    replaced_by: Json<Vec<TermCard>>,
    replaces: Json<Vec<TermCard>>,
    linked: i64,
    of_category: i64,
    companies: Json<Vec<CompanyCard>>,
}

#[derive(Debug, Serialize)]
struct Companies {
    items: Vec<CompanyCard>,
    linked: i64,
    total: i64,
    rest: Option<String>,
}

#[derive(Debug, Serialize)]
struct Page {
    id: Uuid,
    slug: String,
    name: String,
    status: String,
    acronyms: Vec<String>,
    definition: String,
    body: String,
    body_html: String,
    aliases: Vec<Alias>,
    category: Trail,
    related: Vec<TermCard>,
    broader: Vec<TermCard>,
    narrower: Vec<TermCard>,
    replaced_by: Vec<TermCard>,
    replaces: Vec<TermCard>,
    companies: Companies,
    sources: Vec<Source>,
    reviewed_on: Option<Day>,
    published_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    version: i64,
}

impl From<Row> for Page {
    fn from(row: Row) -> Self {
        let acronyms = row.aliases.iter().filter(|alias| alias.kind == "acronym").map(|alias| alias.name.clone());
        let total = row.linked + row.of_category;
        let shown = i64::try_from(row.companies.len()).unwrap_or(total);
        let rest = (shown < total).then(|| format!("/companies?term={}&offset={shown}", row.slug));
        Page {
            acronyms: acronyms.collect(),
            companies: Companies { items: row.companies.0, linked: row.linked, total, rest },
            id: row.id,
            slug: row.slug,
            name: row.name,
            status: row.status,
            definition: row.definition,
            body: row.body,
            body_html: row.body_html,
            aliases: row.aliases.0,
            category: row.category.0,
            related: row.related.0,
            broader: row.broader.0,
            narrower: row.narrower.0,
            replaced_by: row.replaced_by.0,
            replaces: row.replaces.0,
            sources: row.sources.0,
            reviewed_on: row.reviewed_on,
            published_at: row.published_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

#[get("/terms/{slug}")]
async fn read_term(pool: web::Data<PgPool>, slug: web::Path<String>) -> HttpResponse {
    match sqlx::query_as::<_, Row>(QUERY).bind(slug.as_str()).fetch_optional(pool.get_ref()).await {
        Ok(Some(row)) => HttpResponse::Ok().json(Page::from(row)),
        Ok(None) => HttpResponse::NotFound().finish(),
        Err(error) => {
            eprintln!("{error}");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// `serve-afternoon`.
pub async fn serve(url: &str) {
    let pool = web::Data::new(postgres::pool(url.parse().unwrap(), CONNECTIONS, PATIENCE));
    peers::serve(move || App::new().app_data(pool.clone()).service(read_term)).await;
}
