//! `GET /terms`: terms in some order, narrowed by whatever is asked; or those that are asked for one by one.

use actix_web::{get, web::Data};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    TermCard, TermStatus,
    rows::{self, Key, Narrowed, TermSort},
    slugs,
};
use crate::{
    categories,
    changes::{Keys, Seen},
    clock::Timestamp,
    editorial::{Kind, document::Choice},
    error::{Error, Fault},
    http::{
        answer::Answer,
        auth::Reader,
        lookup,
        paging::{BAD_CURSOR, Page},
        query::Query,
    },
    names,
    openapi::{TAG_TERMS, ViewerListErrors},
    postgres,
    state::State,
};

/// One page of terms.
#[derive(Debug, Serialize, ToSchema)]
pub struct TermList {
    #[schema(max_items = 100)]
    pub items: Vec<TermCard>,
    /// Those of `slugs` that lead to nothing public, as they were spelt; without `slugs` there are none.
    #[schema(max_items = 100, example = json!([]))]
    pub missing: Vec<String>,
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

/// List terms
///
/// Published terms by name, in pages; `sort` orders them otherwise, and all filters narrow each other. `status` lists the
/// deprecated ones, or the drafts (which needs the token of a viewer). `slugs` stands alone: it asks for up to 100 terms
/// by name, published or deprecated, as a page of text needs them for its links; the others are in `missing`.
#[utoipa::path(
    operation_id = "list_terms",
    tag = TAG_TERMS,
    params(
        ("category" = Option<String>, Query, description = "Only terms of this category, and of those below it: a slug of the day, a former one, or an id.", example = "core-concepts", max_length = 100),
        ("descendants" = Option<bool>, Query, description = "`false` leaves out the terms of the categories below `category`."),
        (
            "company" = Option<String>,
            Query,
            description = "Only terms that this company is known for: a slug of the day, a former one, or an id.",
            example = "anthropic",
            max_length = 100
        ),
        ("letter" = Option<String>, Query, description = "Only terms under this letter, `A` to `Z` (É stands under E), or `#`, sent as `%23`: digits, symbols and other scripts.", pattern = "^[A-Z#]$", example = "F"),
        ("status" = Option<TermStatus>, Query, description = "Only terms of this status; `published` where it is absent."),
        ("updated_since" = Option<String>, Query, description = "Only terms that were changed then or later: RFC 3339, with `+` sent as `%2B`.", format = DateTime, example = "2026-11-02T00:00:00Z"),
        ("related_to" = Option<String>, Query, description = "Only terms that this term's page shows as related, of the status that is asked for: a slug of the day, a former one, or an id.", example = "foundation-model", max_length = 100),
        ("slugs" = Option<String>, Query, description = "These terms, in this order, one item for each that is found: 1 to 100 slugs of the day, former ones or ids, separated by commas. Nothing else goes with it.", example = "transformer,foundation-model", pattern = "^[^,]+(,[^,]+){0,99}$"),
        ("sort" = inline(Option<TermSort>), Query, description = "By what, and a minus for the other way round; `name` where it is absent. Drafts have no `published_at`."),
        ("limit" = Option<i32>, Query, description = "How many items a page has; 20 where it is absent.", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before; it belongs to the same filters and order.", max_length = 4096),
    ),
    responses(
        (status = 200, description = "One page of terms; the `Link` header has the address of the next one.", body = TermList, headers(("Link" = String, description = "The address of the next page, `rel=\"next\"`; absent on the last one."))),
        ViewerListErrors
    ),
    security((), ("bearer" = []))
)]
#[get("/terms")]
pub async fn list_terms(state: Data<State>, mut query: Query, reader: Reader) -> Result<Answer, Error> {
    if let Some(asked) = slugs::take(&mut query) {
        return slugs::answer(&state, query, &asked).await;
    }
    let asked = Asked::take(&mut query);
    if asked.status() == TermStatus::Draft {
        reader.may_see_drafts()?;
    }
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let mut keys = Keys::default();
    let narrowed = asked.look_up(&mut snapshot, &mut query, &mut keys).await?;
    query.finish()?;
    let mut rows = rows::rows(&mut snapshot, &narrowed, asked.sort, &asked.page).await?;
    let total = rows::total(&mut snapshot, &narrowed).await?;
    let number = postgres::position(&mut snapshot).await?;
    let next_cursor = asked.page.cut(&mut rows, |row| asked.sort.after(row));
    let items: Vec<TermCard> = rows.into_iter().map(|row| row.card.0).collect();
    items.iter().for_each(|card| card.add_keys(&mut keys));
    let next = next_cursor.as_deref().map(|cursor| asked.page.address(cursor));
    let seen = Seen { position: state.position(number), keys };
    Ok(Answer::json(&TermList { items, missing: vec![], next_cursor, total }, None, seen)?.with_next(next))
}

/// What a request asks for, as it is written.
struct Asked {
    category: Option<String>,
    descendants: Option<Descendants>,
    company: Option<String>,
    letter: Option<char>,
    status: Option<TermStatus>,
    updated_since: Option<Timestamp>,
    related_to: Option<String>,
    sort: TermSort,
    page: Page<Key>,
}

/// Whether a category's list has the terms of those below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Descendants {
    With,
    Without,
}

impl Choice for Descendants {
    const ALL: &'static [Self] = &[Descendants::With, Descendants::Without];

    fn as_str(self) -> &'static str {
        match self {
            Descendants::With => "true",
            Descendants::Without => "false",
        }
    }
}

impl Asked {
    fn take(query: &mut Query) -> Self {
        let category = query.text("category");
        let descendants = query.choice::<Descendants>("descendants");
        let company = query.text("company");
        let letter = query.take("letter", |value| {
            let only = value.parse().ok().filter(|letter: &char| letter.is_ascii_uppercase() || *letter == '#');
            only.ok_or_else(|| ("unknown_value", "Expected one capital letter from A to Z, or # (sent as %23).".into()))
        });
        let status = query.choice::<TermStatus>("status");
        let updated_since = query.take("updated_since", |value| {
            let expected = "Expected a timestamp such as 2026-11-02T12:00:00Z (RFC 3339; a + is sent as %2B).";
            Timestamp::parse(value).ok_or_else(|| ("bad_timestamp", expected.into()))
        });
        let related_to = query.text("related_to");
        let sort = query.choice::<TermSort>("sort");
        let (initial, since) = (letter.map(String::from), updated_since.map(|since| since.to_string()));
        // What is said although it is so anyway makes no other list.
        let filters = [
            ("category", category.as_deref()),
            ("descendants", descendants.filter(|one| *one == Descendants::Without).map(Descendants::as_str)),
            ("company", company.as_deref()),
            ("letter", initial.as_deref()),
            ("status", status.filter(|one| *one != TermStatus::Published).map(TermStatus::as_str)),
            ("updated_since", since.as_deref()),
            ("related_to", related_to.as_deref()),
            ("sort", sort.filter(|one| *one != TermSort::Name).map(TermSort::as_str)),
        ];
        let page: Page<Key> = Page::take(query, "/terms", &filters);
        let sort = sort.unwrap_or(TermSort::Name);
        let refused = [
            (
                descendants.is_some() && category.is_none(),
                "descendants",
                "Only with `category`: add that, or leave this out.",
            ),
            (
                status == Some(TermStatus::Draft) && matches!(sort, TermSort::Published | TermSort::PublishedDown),
                "sort",
                "Drafts were never published; sort them by `name` or `updated_at`.",
            ),
        ];
        for (_, parameter, detail) in refused.into_iter().filter(|refused| refused.0) {
            query.fault(Fault::query(parameter, "combination", detail));
        }
        if page.after.as_ref().is_some_and(|after| !sort.fits(&after.key)) {
            query.fault(Fault::query("cursor", "bad_cursor", BAD_CURSOR));
        }
        Asked { category, descendants, company, letter, status, updated_since, related_to, sort, page }
    }

    fn status(&self) -> TermStatus {
        self.status.unwrap_or(TermStatus::Published)
    }

    /// Finds what the filters name, and adds the keys that tell when the list changes.
    async fn look_up(
        &self,
        snapshot: &mut PgConnection,
        query: &mut Query,
        keys: &mut Keys,
    ) -> Result<Narrowed, sqlx::Error> {
        let category = lookup::filter(snapshot, query, "category", Kind::Category, self.category.as_deref()).await?;
        let company = lookup::filter(snapshot, query, "company", Kind::Company, self.company.as_deref()).await?;
        let related_to = lookup::filter(snapshot, query, "related_to", Kind::Term, self.related_to.as_deref()).await?;
        // What is written below a category touches it too.
        category.iter().for_each(|id| keys.add(format!("category:{id}/terms")));
        company.iter().for_each(|id| keys.add(format!("company:{id}/terms")));
        related_to.iter().for_each(|id| keys.add(format!("term:{id}")));
        if category.is_none() && company.is_none() {
            // Of a related term that is not on this page only the link is the other's.
            keys.add("terms".into());
        }
        if self.updated_since.is_some() || matches!(self.sort, TermSort::Updated | TermSort::UpdatedDown) {
            keys.add("terms/updated".into());
        }
        let categories = match category {
            Some(id) if self.descendants == Some(Descendants::Without) => Some(vec![id]),
            Some(id) => Some(categories::with_descendants(snapshot, id).await?),
            None => None,
        };
        Ok(Narrowed {
            status: self.status(),
            categories,
            ids: rows::linked(snapshot, company, related_to).await?,
            runs: self.letter.map(names::runs).unwrap_or_default(),
            updated_since: self.updated_since,
        })
    }
}

/// The first terms of a category and of those below it, for the category's page.
///
/// # Errors
/// A database that does not answer.
pub async fn first_of_category(
    snapshot: &mut PgConnection,
    slug: &str,
    below: Vec<Uuid>,
) -> Result<TermExcerpt, Error> {
    let page = Page::first("/terms", &[("category", Some(slug))], 20);
    excerpt(snapshot, &Narrowed { categories: Some(below), ..Narrowed::published() }, &page).await
}

/// The first terms of a company, for the company's page.
///
/// # Errors
/// A database that does not answer.
pub async fn first_of_company(snapshot: &mut PgConnection, slug: &str, company: Uuid) -> Result<TermExcerpt, Error> {
    let page = Page::first("/terms", &[("company", Some(slug))], 20);
    let ids = rows::linked(snapshot, Some(company), None).await?;
    excerpt(snapshot, &Narrowed { ids, ..Narrowed::published() }, &page).await
}

async fn excerpt(snapshot: &mut PgConnection, narrowed: &Narrowed, page: &Page<Key>) -> Result<TermExcerpt, Error> {
    let mut rows = rows::rows(snapshot, narrowed, TermSort::Name, page).await?;
    let total = rows::total(snapshot, narrowed).await?;
    let rest = page.cut(&mut rows, |row| TermSort::Name.after(row)).map(|cursor| page.address(&cursor));
    Ok(TermExcerpt { items: rows.into_iter().map(|row| row.card.0).collect(), total, rest })
}
