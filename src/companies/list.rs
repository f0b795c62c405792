//! `GET /companies`: published companies by name; those of a category; those of a term, in the order of its page.

use actix_web::{get, web::Data};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{CompanyCard, CompanyStatus};
use crate::{
    changes::{Keys, Seen},
    editorial::{Kind, document::Choice},
    error::Error,
    http::{
        answer::Answer,
        auth::Reader,
        lookup,
        paging::{After, DEFAULT_LIMIT, Page},
        query::Query,
    },
    openapi::{TAG_COMPANIES, ViewerListErrors},
    postgres,
    state::State,
};

/// One page of companies.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompanyList {
    #[schema(max_items = 100)]
    pub items: Vec<CompanyCard>,
    /// Where the next page begins: send it as `cursor`. `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// How many companies the list has on all its pages.
    #[schema(minimum = 0, example = 10)]
    pub total: i64,
}

/// The first companies of a list, as they show on another entity's page.
#[derive(Debug, Serialize, ToSchema)]
pub struct CompanyExcerpt {
    #[schema(max_items = 20)]
    pub items: Vec<CompanyCard>,
    /// How many companies the whole list has.
    #[schema(minimum = 0, example = 30)]
    pub total: i64,
    /// The address of those that are not shown here; `null` where all are.
    #[schema(required, format = "uri-reference", example = "/companies?category=training&cursor=eyJsaXN0Ijoi")]
    pub rest: Option<String>,
}

/// The first companies of a term: those linked to it stand before those of its category.
#[derive(Debug, Serialize, ToSchema)]
pub struct TermCompanies {
    #[schema(max_items = 12)]
    pub items: Vec<CompanyCard>,
    /// How many of the total are linked to the term itself; they come first.
    #[schema(minimum = 0, example = 4)]
    pub linked: i64,
    /// How many companies there are, those of the category included.
    #[schema(minimum = 0, example = 30)]
    pub total: i64,
    /// The address of those that are not shown here; `null` where all are.
    #[schema(required, format = "uri-reference", example = "/companies?term=foundation-model&cursor=eyJsaXN0Ijoi")]
    pub rest: Option<String>,
}

/// A place in a list of companies: those linked to the term (rank 0) stand before those of its category (rank 1).
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Key {
    rank: i32,
    name_key: String,
}

/// List companies
///
/// Published companies by name, in pages; or the drafts, which needs the token of a viewer. With `term`, the companies linked to the term come first, then those of its
/// category: the order in which the term's page begins.
#[utoipa::path(
    operation_id = "list_companies",
    tag = TAG_COMPANIES,
    params(
        ("category" = Option<String>, Query, description = "Only companies that name this category: a slug of the day, a former one, or an id.", example = "core-concepts", max_length = 100),
        ("term" = Option<String>, Query, description = "Only companies linked to this term or to its category: a slug of the day, a former one, or an id.", example = "foundation-model", max_length = 100),
        ("status" = Option<CompanyStatus>, Query, description = "Only companies of this status; `published` where it is absent."),
        ("limit" = Option<i32>, Query, description = "How many items a page has; 20 where it is absent.", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; it belongs to the same filters.", max_length = 3000),
    ),
    responses(
        (status = 200, description = "One page of companies; the `Link` header has the address of the next one.", body = CompanyList, headers(("Link" = String, description = "The address of the next page, `rel=\"next\"`; absent on the last one."))),
        ViewerListErrors
    ),
    security((), ("bearer" = []))
)]
#[get("/companies")]
pub async fn list_companies(state: Data<State>, mut query: Query, reader: Reader) -> Result<Answer, Error> {
    let (category, term) = (query.text("category"), query.text("term"));
    let status: Option<CompanyStatus> = query.choice("status");
    let filters =
        [("category", category.as_deref()), ("term", term.as_deref()), ("status", status.map(CompanyStatus::as_str))];
    let page = Page::take(&mut query, "/companies", &filters);
    let status = status.unwrap_or(CompanyStatus::Published);
    if status == CompanyStatus::Draft {
        reader.may_see_drafts()?;
    }
    let mut snapshot = postgres::snapshot(&state.database).await?;
    let category = lookup::filter(&mut snapshot, &mut query, Kind::Category, category.as_deref()).await?;
    let term = lookup::filter(&mut snapshot, &mut query, Kind::Term, term.as_deref()).await?;
    query.finish()?;
    let mut keys = Keys::default();
    category.iter().for_each(|id| keys.add(format!("category:{id}/companies")));
    let mut found = match (term, category) {
        (Some(term), category) => {
            let home = sqlx::query_scalar!("select category_id from terms where id = $1", term)
                .fetch_one(&mut *snapshot)
                .await?;
            keys.add(format!("term:{term}"));
            keys.add(format!("category:{home}/companies"));
            of_term(&mut snapshot, term, home, category, status, &page).await?
        }
        (None, Some(category)) => of_category(&mut snapshot, category, status, &page).await?,
        (None, None) => {
            keys.add("companies".into());
            all(&mut snapshot, status, &page).await?
        }
    };
    let number = postgres::position(&mut snapshot).await?;
    let next_cursor = page.cut(&mut found.rows, Row::after);
    let items: Vec<CompanyCard> = found.rows.into_iter().map(|row| row.card.0).collect();
    items.iter().for_each(|card| card.add_keys(&mut keys));
    let next = next_cursor.as_deref().map(|cursor| page.address(cursor));
    let seen = Seen { position: state.position(number), keys };
    Ok(Answer::json(&CompanyList { items, next_cursor, total: found.total }, None, seen)?.with_next(next))
}

/// The first companies of a category, for the category's page.
///
/// # Errors
/// A database that does not answer.
pub async fn first_of_category(
    snapshot: &mut PgConnection,
    slug: &str,
    category: Uuid,
) -> Result<CompanyExcerpt, Error> {
    let page = Page::first("/companies", &[("category", Some(slug))], 20);
    let mut found = of_category(snapshot, category, CompanyStatus::Published, &page).await?;
    let rest = page.cut(&mut found.rows, Row::after).map(|cursor| page.address(&cursor));
    Ok(CompanyExcerpt { items: found.rows.into_iter().map(|row| row.card.0).collect(), total: found.total, rest })
}

/// The first companies of a term, which its page read in its own round trip, with the address of the rest. `linked` of
/// the `total` are the term's own; `last_key` is the name key of the last item.
#[must_use]
pub fn excerpt_of_term(
    slug: &str,
    items: Vec<CompanyCard>,
    last_key: Option<String>,
    linked: i64,
    total: i64,
) -> TermCompanies {
    let page = Page::first("/companies", &[("term", Some(slug))], DEFAULT_LIMIT);
    let shown = i64::try_from(items.len()).unwrap_or(total);
    let rest = match (items.last(), last_key) {
        (Some(last), Some(name_key)) if shown < total => {
            let key = Key { rank: i32::from(linked < shown), name_key };
            page.address_after(After { key, id: last.id })
        }
        _ => None,
    };
    TermCompanies { items, linked, total, rest }
}

struct Found {
    rows: Vec<Row>,
    total: i64,
}

struct Row {
    id: Uuid,
    rank: i32,
    name_key: String,
    card: Json<CompanyCard>,
}

impl Row {
    fn after(&self) -> After<Key> {
        After { key: Key { rank: self.rank, name_key: self.name_key.clone() }, id: self.id }
    }
}

/// Before every company there is: no name key is empty.
fn begin(page: &Page<Key>) -> (i32, &str, Uuid) {
    page.after.as_ref().map_or((0, "", Uuid::nil()), |after| (after.key.rank, &after.key.name_key, after.id))
}

async fn all(conn: &mut PgConnection, status: CompanyStatus, page: &Page<Key>) -> Result<Found, sqlx::Error> {
    let (_, key, id) = begin(page);
    let rows = sqlx::query_as!(
        Row,
        r#"
        select id as "id!", 0 as "rank!", name_key as "name_key!", card as "card!: Json<CompanyCard>"
          from live_company_cards
         where status = $4 and is_public = ($4 = 'published') and (name_key, id) > ($1, $2)
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
        r#"
        select count(*) as "total!" from companies
         where status = $1 and is_public = ($1 = 'published') and deleted_at is null
        "#,
        status.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok(Found { rows, total })
}

async fn of_category(
    conn: &mut PgConnection,
    category: Uuid,
    status: CompanyStatus,
    page: &Page<Key>,
) -> Result<Found, sqlx::Error> {
    let (_, key, id) = begin(page);
    let rows = sqlx::query_as!(
        Row,
        r#"
        select f.company_id as "id!", 0 as "rank!", f.name_key as "name_key!", c.card as "card!: Json<CompanyCard>"
          from (select l.company_id, l.name_key
                  from company_categories l join live_company_cards k on k.id = l.company_id and k.status = $5
                 where l.category_id = $1 and l.is_public = ($5 = 'published') and (l.name_key, l.company_id) > ($2, $3)
                 order by l.name_key, l.company_id
                 limit $4) f
          join live_company_cards c on c.id = f.company_id
         order by f.name_key, f.company_id
        "#,
        category,
        key,
        id,
        page.limit + 1,
        status.as_str()
    )
    .fetch_all(&mut *conn)
    .await?;
    // What is public is counted from one index; of drafts there are few.
    let total = match status {
        CompanyStatus::Published => {
            sqlx::query_scalar!(
                r#"select count(*) as "total!" from company_categories where category_id = $1 and is_public"#,
                category
            )
            .fetch_one(conn)
            .await?
        }
        CompanyStatus::Draft => {
            sqlx::query_scalar!(
                r#"
                select count(*) as "total!" from company_categories l join live_company_cards k on k.id = l.company_id
                 where l.category_id = $1 and not l.is_public and k.status = 'draft'
                "#,
                category
            )
            .fetch_one(conn)
            .await?
        }
    };
    Ok(Found { rows, total })
}

/// The union of the term's own companies and those of its category (`home`), narrowed to another category where asked.
async fn of_term(
    conn: &mut PgConnection,
    term: Uuid,
    home: Uuid,
    category: Option<Uuid>,
    status: CompanyStatus,
    page: &Page<Key>,
) -> Result<Found, sqlx::Error> {
    let (rank, key, id) = begin(page);
    let rows = sqlx::query_as!(
        Row,
        r#"
        select f.id as "id!", f.rank as "rank!", f.name_key as "name_key!", c.card as "card!: Json<CompanyCard>"
          from (select k.id, k.name_key, l.rank
                  from (select company_id, min(rank) as rank
                          from (select company_id, 0 as rank from term_companies where term_id = $1
                                union all
                                select company_id, 1 from company_categories where category_id = $2) both_ways
                         group by company_id) l
                  join live_company_cards k on k.id = l.company_id and k.status = $8
                 where (l.rank, k.name_key, k.id) > ($3, $4, $5)
                   and ($6::uuid is null
                        or exists (select from company_categories o where o.company_id = k.id and o.category_id = $6))
                 order by l.rank, k.name_key, k.id
                 limit $7) f
          join live_company_cards c on c.id = f.id
         order by f.rank, f.name_key, f.id
        "#,
        term,
        home,
        rank,
        key,
        id,
        category,
        page.limit + 1,
        status.as_str()
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"
        select count(*) as "total!"
          from (select company_id from term_companies where term_id = $1
                union
                select company_id from company_categories where category_id = $2) l
          join live_company_cards k on k.id = l.company_id and k.status = $4
         where $3::uuid is null or exists (select from company_categories o where o.company_id = k.id and o.category_id = $3)
        "#,
        term,
        home,
        category,
        status.as_str()
    )
    .fetch_one(conn)
    .await?;
    Ok(Found { rows, total })
}
