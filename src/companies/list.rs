//! `GET /companies`: published companies by name; those of a category or a country; those of a term, in the order of its
//! page.

use actix_web::{get, web::Data};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{CompanyCard, CompanyStatus};
use crate::{
    changes::{Keys, Seen},
    countries::is_country,
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
        ("country" = Option<String>, Query, description = "Only companies of this country: ISO 3166-1 alpha-2, in capitals.", pattern = "^[A-Z]{2}$", example = "US"),
        ("status" = Option<CompanyStatus>, Query, description = "Only companies of this status; `published` where it is absent."),
        ("limit" = Option<i32>, Query, description = "How many items a page has; 20 where it is absent.", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; it belongs to the same filters.", max_length = 4096),
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
    let country = query.take("country", |value| {
        let expected = "Expected a code of ISO 3166-1 alpha-2, two capital letters such as DE.";
        if is_country(value) { Ok(value.to_owned()) } else { Err(("unknown_country", expected.into())) }
    });
    let status: Option<CompanyStatus> = query.choice("status");
    let filters = [
        ("category", category.as_deref()),
        ("term", term.as_deref()),
        ("country", country.as_deref()),
        ("status", status.map(CompanyStatus::as_str)),
    ];
    let page = Page::take(&mut query, "/companies", &filters);
    let status = status.unwrap_or(CompanyStatus::Published);
    if status == CompanyStatus::Draft {
        reader.may_see_drafts()?;
    }
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let category = lookup::filter(&mut snapshot, &mut query, "category", Kind::Category, category.as_deref()).await?;
    let term = lookup::filter(&mut snapshot, &mut query, "term", Kind::Term, term.as_deref()).await?;
    query.finish()?;
    let term = match term {
        Some(term) => Some((term, home(&mut snapshot, term).await?)),
        None => None,
    };
    let mut keys = Keys::default();
    category.iter().for_each(|id| keys.add(format!("category:{id}/companies")));
    if let Some((term, home)) = term {
        keys.add(format!("term:{term}"));
        keys.add(format!("category:{home}/companies"));
    }
    if (term.is_none() && category.is_none()) || country.is_some() {
        keys.add("companies".into());
    }
    let narrowed = Narrowed { status, category, term, country };
    let mut rows = rows(&mut snapshot, &narrowed, &page).await?;
    let total = total(&mut snapshot, &narrowed).await?;
    let number = postgres::position(&mut snapshot).await?;
    let next_cursor = page.cut(&mut rows, Row::after);
    let items: Vec<CompanyCard> = rows.into_iter().map(|row| row.card.0).collect();
    items.iter().for_each(|card| card.add_keys(&mut keys));
    let next = next_cursor.as_deref().map(|cursor| page.address(cursor));
    let seen = Seen { position: state.position(number), keys };
    Ok(Answer::json(&CompanyList { items, next_cursor, total }, None, seen)?.with_next(next))
}

/// The category of a term.
async fn home(snapshot: &mut PgConnection, term: Uuid) -> Result<Uuid, sqlx::Error> {
    sqlx::query_scalar!("select category_id from terms where id = $1", term).fetch_one(snapshot).await
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
    let (status, category) = (CompanyStatus::Published, Some(category));
    let narrowed = Narrowed { status, category, term: None, country: None };
    let mut rows = rows(snapshot, &narrowed, &page).await?;
    let total = total(snapshot, &narrowed).await?;
    let rest = page.cut(&mut rows, Row::after).map(|cursor| page.address(&cursor));
    Ok(CompanyExcerpt { items: rows.into_iter().map(|row| row.card.0).collect(), total, rest })
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

/// Which companies a list has. Everything narrows.
struct Narrowed {
    status: CompanyStatus,
    category: Option<Uuid>,
    /// With the term's category.
    term: Option<(Uuid, Uuid)>,
    country: Option<String>,
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

/// The companies of a page in their order, and one more where there are more. There are three ways to them: all by name;
/// a term's own; and those of a category, from its own index, behind a term's own where it is the term's.
async fn rows(conn: &mut PgConnection, narrowed: &Narrowed, page: &Page<Key>) -> Result<Vec<Row>, sqlx::Error> {
    let (rank, key, id) = begin(page);
    let (term, home) = narrowed.term.unzip();
    sqlx::query_as!(
        Row,
        r#"
        select c.id as "id!", first.rank as "rank!", first.name_key as "name_key!", c.card as "card!: Json<CompanyCard>"
          from (select f.id, f.rank, f.name_key
                  from ((select k.id, 0 as rank, k.name_key
                           from companies k
                          where $2::uuid is null and $3::uuid is null
                            and ($1 = 'published' and k.is_public or $1 <> 'published' and k.status = $1 and k.deleted_at is null)
                            and ($5::text is null or k.country = $5) and (k.name_key, k.id) > ($7, $8)
                          order by k.name_key, k.id
                          limit $9)
                        union all
                        (select k.id, 0, k.name_key
                           from term_companies l join companies k on k.id = l.company_id
                          where l.term_id = $3 and $6 = 0
                            and ($1 = 'published' and k.is_public or $1 <> 'published' and k.status = $1 and k.deleted_at is null)
                            and ($5::text is null or k.country = $5) and (k.name_key, k.id) > ($7, $8)
                            and ($2::uuid is null
                                 or exists (select from company_categories o where o.company_id = k.id and o.category_id = $2))
                          order by k.name_key, k.id
                          limit $9)
                        union all
                        (select l.company_id, case when $3::uuid is null then 0 else 1 end, l.name_key
                           from company_categories l join companies k on k.id = l.company_id
                          where l.category_id = coalesce($4, $2) and l.is_public = ($1 = 'published')
                            and ($1 = 'published' and k.is_public or $1 <> 'published' and k.status = $1 and k.deleted_at is null)
                            and ($5::text is null or k.country = $5)
                            and ($3::uuid is not null and $6 = 0 or (l.name_key, l.company_id) > ($7, $8))
                            and ($3::uuid is null
                                 or not exists (select from term_companies o where o.term_id = $3 and o.company_id = k.id))
                            and ($3::uuid is null or $2::uuid is null
                                 or exists (select from company_categories o where o.company_id = k.id and o.category_id = $2))
                          order by l.name_key, l.company_id
                          limit $9)) f
                 order by f.rank, f.name_key, f.id
                 limit $9) first
          join live_company_cards c on c.id = first.id
         order by first.rank, first.name_key, first.id
        "#,
        narrowed.status.as_str(),
        narrowed.category,
        term,
        home,
        narrowed.country,
        rank,
        key,
        id,
        page.limit + 1
    )
    .fetch_all(conn)
    .await
}

/// How many companies the list has on all its pages. What is public is counted from an index alone, unless it is narrowed
/// by country.
async fn total(conn: &mut PgConnection, narrowed: &Narrowed) -> Result<i64, sqlx::Error> {
    let (term, home) = narrowed.term.unzip();
    sqlx::query_scalar!(
        r#"
        select case
                   when $2::uuid is null and $3::uuid is null then (
                       select count(*) from companies k
                        where ($1 = 'published' and k.is_public or $1 <> 'published' and k.status = $1 and k.deleted_at is null)
                          and ($5::text is null or k.country = $5))
                   else (
                       select count(*) from term_companies l join companies k on k.id = l.company_id
                        where l.term_id = $3
                          and ($1 = 'published' and k.is_public or $1 <> 'published' and k.status = $1 and k.deleted_at is null)
                          and ($5::text is null or k.country = $5)
                          and ($2::uuid is null
                               or exists (select from company_categories o where o.company_id = k.id and o.category_id = $2))
                   ) + (
                       select count(*) from company_categories l
                        where l.category_id = coalesce($4, $2) and l.is_public = ($1 = 'published')
                          and ($1 = 'published' and $5::text is null
                               or exists (select from companies k
                                           where k.id = l.company_id and ($5::text is null or k.country = $5)
                                             and ($1 = 'published' and k.is_public or $1 <> 'published' and k.status = $1 and k.deleted_at is null)))
                          and ($3::uuid is null
                               or not exists (select from term_companies o where o.term_id = $3 and o.company_id = l.company_id))
                          and ($3::uuid is null or $2::uuid is null
                               or exists (select from company_categories o where o.company_id = l.company_id and o.category_id = $2)))
               end as "total!"
        "#,
        narrowed.status.as_str(),
        narrowed.category,
        term,
        home,
        narrowed.country
    )
    .fetch_one(conn)
    .await
}
