//! `GET /terms`: terms of one status by name, the published ones where nothing else is asked.

use actix_web::{get, web::Data};
use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{TermCard, TermStatus};
use crate::{
    categories,
    changes::{Keys, Seen},
    editorial::{Kind, document::Choice},
    error::Error,
    http::{
        answer::Answer,
        auth::Reader,
        lookup,
        paging::{After, Page},
        query::Query,
    },
    openapi::{TAG_TERMS, ViewerListErrors},
    postgres,
    state::State,
};

/// One page of terms.
#[derive(Debug, Serialize, ToSchema)]
pub struct TermList {
    #[schema(max_items = 100)]
    pub items: Vec<TermCard>,
    /// Where the next page begins: send it as `cursor`. `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// How many terms the list has on all its pages.
    #[schema(minimum = 0, example = 18)]
    pub total: i64,
}

/// The first terms of a list, as they show on another entity's page.
#[derive(Debug, Serialize, ToSchema)]
pub struct TermExcerpt {
    #[schema(max_items = 20)]
    pub items: Vec<TermCard>,
    /// How many terms the whole list has.
    #[schema(minimum = 0, example = 30)]
    pub total: i64,
    /// The address of those that are not shown here; `null` where all are.
    #[schema(required, format = "uri-reference", example = "/terms?category=core-concepts&cursor=eyJsaXN0Ijoi")]
    pub rest: Option<String>,
}

impl TermExcerpt {
    fn of(mut found: Found, page: &Page<String>) -> Self {
        let rest = page.cut(&mut found.rows, Row::after).map(|cursor| page.address(&cursor));
        TermExcerpt { items: found.rows.into_iter().map(|row| row.card.0).collect(), total: found.total, rest }
    }
}

/// List terms
///
/// Published terms by name, in pages. `status` lists the deprecated ones, or the drafts (which needs the token of a
/// viewer).
#[utoipa::path(
    operation_id = "list_terms",
    tag = TAG_TERMS,
    params(
        ("category" = Option<String>, Query, description = "Only terms of this category, and of those below it: a slug of the day, a former one, or an id.", example = "core-concepts", max_length = 100),
        (
            "company" = Option<String>,
            Query,
            description = "Only terms that this company is known for: a slug of the day, a former one, or an id.",
            example = "anthropic",
            max_length = 100
        ),
        ("status" = Option<TermStatus>, Query, description = "Only terms of this status; `published` where it is absent."),
        ("limit" = Option<i32>, Query, description = "How many items a page has; 20 where it is absent.", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; it belongs to the same filters.", max_length = 3000),
    ),
    responses(
        (status = 200, description = "One page of terms; the `Link` header has the address of the next one.", body = TermList, headers(("Link" = String, description = "The address of the next page, `rel=\"next\"`; absent on the last one."))),
        ViewerListErrors
    ),
    security((), ("bearer" = []))
)]
#[get("/terms")]
pub async fn list_terms(state: Data<State>, mut query: Query, reader: Reader) -> Result<Answer, Error> {
    let (category, company) = (query.text("category"), query.text("company"));
    let status: Option<TermStatus> = query.choice("status");
    let filters = [
        ("category", category.as_deref()),
        ("company", company.as_deref()),
        ("status", status.map(TermStatus::as_str)),
    ];
    let page = Page::take(&mut query, "/terms", &filters);
    let status = status.unwrap_or(TermStatus::Published);
    if status == TermStatus::Draft {
        reader.may_see_drafts()?;
    }
    let mut snapshot = postgres::snapshot(&state.database).await?;
    let category = lookup::filter(&mut snapshot, &mut query, Kind::Category, category.as_deref()).await?;
    let company = lookup::filter(&mut snapshot, &mut query, Kind::Company, company.as_deref()).await?;
    query.finish()?;
    let mut keys = Keys::default();
    let below = match category {
        Some(id) => {
            // What is written below it touches it too.
            keys.add(format!("category:{id}/terms"));
            Some(categories::with_descendants(&mut snapshot, id).await?)
        }
        None => None,
    };
    let mut found = match (company, below) {
        (Some(company), below) => {
            keys.add(format!("company:{company}/terms"));
            of_company(&mut snapshot, company, below.as_deref(), status, &page).await?
        }
        (None, Some(below)) => of_categories(&mut snapshot, &below, status, &page).await?,
        (None, None) => {
            keys.add("terms".into());
            all(&mut snapshot, status, &page).await?
        }
    };
    let number = postgres::position(&mut snapshot).await?;
    let next_cursor = page.cut(&mut found.rows, Row::after);
    let items: Vec<TermCard> = found.rows.into_iter().map(|row| row.card.0).collect();
    items.iter().for_each(|card| card.add_keys(&mut keys));
    let next = next_cursor.as_deref().map(|cursor| page.address(cursor));
    let seen = Seen { position: state.position(number), keys };
    Ok(Answer::json(&TermList { items, next_cursor, total: found.total }, None, seen)?.with_next(next))
}

/// The first terms of a category and of those below it, for the category's page.
///
/// # Errors
/// A database that does not answer.
pub async fn first_of_category(snapshot: &mut PgConnection, slug: &str, below: &[Uuid]) -> Result<TermExcerpt, Error> {
    let page = Page::first("/terms", &[("category", Some(slug))], 20);
    Ok(TermExcerpt::of(of_categories(snapshot, below, TermStatus::Published, &page).await?, &page))
}

/// The first terms of a company, for the company's page.
///
/// # Errors
/// A database that does not answer.
pub async fn first_of_company(snapshot: &mut PgConnection, slug: &str, company: Uuid) -> Result<TermExcerpt, Error> {
    let page = Page::first("/terms", &[("company", Some(slug))], 20);
    Ok(TermExcerpt::of(of_company(snapshot, company, None, TermStatus::Published, &page).await?, &page))
}

struct Found {
    rows: Vec<Row>,
    total: i64,
}

struct Row {
    id: Uuid,
    name_key: String,
    card: Json<TermCard>,
}

impl Row {
    fn after(&self) -> After<String> {
        After { key: self.name_key.clone(), id: self.id }
    }
}

async fn all(conn: &mut PgConnection, status: TermStatus, page: &Page<String>) -> Result<Found, sqlx::Error> {
    let (key, id) = begin(page);
    let rows = sqlx::query_as!(
        Row,
        r#"
        select id as "id!", name_key as "name_key!", card as "card!: Json<TermCard>"
          from live_term_cards
         where status = $4 and (name_key, id) > ($1, $2)
         order by name_key, id
         limit $3
        "#,
        key,
        id,
        page.limit + 1,
        status.as_str()
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"select count(*) as "total!" from terms where status = $1 and deleted_at is null"#,
        status.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok(Found { rows, total })
}

async fn of_categories(
    conn: &mut PgConnection,
    categories: &[Uuid],
    status: TermStatus,
    page: &Page<String>,
) -> Result<Found, sqlx::Error> {
    let (key, id) = begin(page);
    // A page's worth of each category, in the order of the index, and the first of them all: the work grows with the
    // number of categories, not with that of their terms.
    let rows = sqlx::query_as!(
        Row,
        r#"
        select k.id as "id!", k.name_key as "name_key!", k.card as "card!: Json<TermCard>"
          from (select f.id, f.name_key
                  from unnest($1::uuid[]) as c (id)
                 cross join lateral (
                     select t.id, t.name_key from terms t
                      where t.category_id = c.id and t.status = $5 and t.deleted_at is null
                        and (t.name_key, t.id) > ($2, $3)
                      order by t.name_key, t.id
                      limit $4) f
                 order by f.name_key, f.id
                 limit $4) first
          join live_term_cards k on k.id = first.id
         order by k.name_key, k.id
        "#,
        categories,
        key,
        id,
        page.limit + 1,
        status.as_str()
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"
        select count(*) as "total!" from terms
         where category_id = any($1) and status = $2 and deleted_at is null
        "#,
        categories,
        status.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok(Found { rows, total })
}

/// The terms of a company, narrowed to some categories where asked.
async fn of_company(
    conn: &mut PgConnection,
    company: Uuid,
    categories: Option<&[Uuid]>,
    status: TermStatus,
    page: &Page<String>,
) -> Result<Found, sqlx::Error> {
    let (key, id) = begin(page);
    let rows = sqlx::query_as!(
        Row,
        r#"
        select k.id as "id!", k.name_key as "name_key!", k.card as "card!: Json<TermCard>"
          from (select t.id
                  from term_companies l join terms t on t.id = l.term_id
                 where l.company_id = $1 and t.status = $6 and t.deleted_at is null
                   and (t.name_key, t.id) > ($2, $3)
                   and ($4::uuid[] is null or t.category_id = any($4))
                 order by t.name_key, t.id
                 limit $5) first
          join live_term_cards k on k.id = first.id
         order by k.name_key, k.id
        "#,
        company,
        key,
        id,
        categories,
        page.limit + 1,
        status.as_str()
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"
        select count(*) as "total!" from term_companies l join terms t on t.id = l.term_id
         where l.company_id = $1 and t.status = $3 and t.deleted_at is null
           and ($2::uuid[] is null or t.category_id = any($2))
        "#,
        company,
        categories,
        status.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok(Found { rows, total })
}

/// Before every name key there is: no key is empty.
fn begin(page: &Page<String>) -> (&str, Uuid) {
    page.after.as_ref().map_or(("", Uuid::nil()), |after| (&after.key, after.id))
}
