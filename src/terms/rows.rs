//! The SQL of every list of terms: one statement an order, whatever narrows it, so that each is read from its index.

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{TermCard, TermStatus};
use crate::{
    clock::Timestamp,
    editorial::document::Choice,
    http::paging::{After, Page},
    names::Runs,
};

/// In which order a list of terms stands; a minus turns it round. Equal ones stand by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub enum TermSort {
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDown,
    #[serde(rename = "updated_at")]
    Updated,
    #[serde(rename = "-updated_at")]
    UpdatedDown,
    #[serde(rename = "published_at")]
    Published,
    #[serde(rename = "-published_at")]
    PublishedDown,
}

impl Choice for TermSort {
    const ALL: &'static [Self] = &[
        TermSort::Name,
        TermSort::NameDown,
        TermSort::Updated,
        TermSort::UpdatedDown,
        TermSort::Published,
        TermSort::PublishedDown,
    ];

    fn as_str(self) -> &'static str {
        match self {
            TermSort::Name => "name",
            TermSort::NameDown => "-name",
            TermSort::Updated => "updated_at",
            TermSort::UpdatedDown => "-updated_at",
            TermSort::Published => "published_at",
            TermSort::PublishedDown => "-published_at",
        }
    }
}

impl TermSort {
    fn key(self, row: &Row) -> Key {
        match self {
            TermSort::Name | TermSort::NameDown => Key::Name(row.name_key.clone()),
            TermSort::Updated | TermSort::UpdatedDown => Key::At(row.updated_at),
            // Drafts alone were never published, and are not sorted by it.
            TermSort::Published | TermSort::PublishedDown => Key::At(row.published_at.unwrap_or(row.updated_at)),
        }
    }

    /// Whether a cursor's key is of this order.
    pub(super) fn fits(self, key: &Key) -> bool {
        matches!(self, TermSort::Name | TermSort::NameDown) == matches!(key, Key::Name(_))
    }

    pub(super) fn after(self, row: &Row) -> After<Key> {
        After { key: self.key(row), id: row.id }
    }
}

/// A place in a list of terms, by what the list is sorted by.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Key {
    Name(String),
    At(Timestamp),
}

/// Which terms a list has. Everything narrows.
pub(super) struct Narrowed {
    pub status: TermStatus,
    /// Those of a category, and of all below it.
    pub categories: Option<Vec<Uuid>>,
    /// Those that are linked to something.
    pub ids: Option<Vec<Uuid>>,
    /// Those whose keys stand in some runs of all keys: those of a letter.
    pub runs: Runs,
    pub updated_since: Option<Timestamp>,
}

impl Narrowed {
    pub(super) fn published() -> Self {
        let (status, runs) = (TermStatus::Published, Runs::default());
        Narrowed { status, categories: None, ids: None, runs, updated_since: None }
    }
}

pub(super) struct Row {
    pub id: Uuid,
    name_key: String,
    updated_at: Timestamp,
    published_at: Option<Timestamp>,
    pub card: Json<TermCard>,
}

/// The statement of one order. Filters that are not asked for are no part of its plan, because plans of a snapshot are made
/// for their values.
///
/// There are four ways to the terms of a page, two of which are open at most: all of them in the order of an index, for one
/// run of names and for another (`#` is what stands before A and after Z); and a page's worth of each category in the order
/// of its index, so that the work grows with the number of categories, not with that of their terms. Linked terms are few,
/// and found by their ids.
macro_rules! in_order {
    ($conn:expr, $narrowed:expr, $after:expr, $limit:expr, $column:literal, $type:literal, $than:literal, $down:literal) => {
        in_order!(
            @statement $conn, $narrowed, $after, $limit, $column, $down,
            [" and t.status = $1 and t.deleted_at is null and ($3::uuid[] is null or t.id = any($3))
               and ($7::timestamptz is null or t.updated_at >= $7)
               and ($8::", $type, " is null or (t.", $column, ", t.id) ", $than, " ($8, $9))
             order by t.", $column, $down, ", t.id", $down, "
             limit $10"],
            ["($4::text is null or t.name_key >= $4) and ($5::text is null or t.name_key < $5)"],
            ["$6::text is not null and t.name_key >= $6"],
            ["($2::uuid[] is null or $3::uuid[] is not null) and ($2::uuid[] is null or t.category_id = any($2))"]
        )
    };
    (
        @statement $conn:expr, $narrowed:expr, $after:expr, $limit:expr, $column:literal, $down:literal,
        [$($rest:literal),*], [$run:literal], [$beyond:literal], [$all:literal]
    ) => {{
        let Narrowed { status, categories, ids, runs, updated_since } = $narrowed;
        let (key, id) = $after;
        sqlx::query_as!(
            Row,
            "select k.id as \"id!\", k.name_key as \"name_key!\", k.updated_at as \"updated_at!: Timestamp\",
                    k.published_at as \"published_at: Timestamp\", k.card as \"card!: Json<TermCard>\"
               from (select f.id, f.key
                       from ((select t.id, t." + $column + " as key from terms t where " + $all + " and " + $run + $($rest +)* ")
                             union all
                             (select t.id, t." + $column + " from terms t where " + $all + " and " + $beyond + $($rest +)* ")
                             union all
                             (select o.id, o.key
                                from unnest($2::uuid[]) as c (id)
                               cross join lateral (select t.id, t." + $column + " as key from terms t
                                                    where $3::uuid[] is null and t.category_id = c.id and " + $run + $($rest +)* ") o)
                             union all
                             (select o.id, o.key
                                from unnest($2::uuid[]) as c (id)
                               cross join lateral (select t.id, t." + $column + " as key from terms t
                                                    where $3::uuid[] is null and t.category_id = c.id and " + $beyond + $($rest +)* ") o)
                            ) f
                      order by f.key" + $down + ", f.id" + $down + "
                      limit $10) first
               join live_term_cards k on k.id = first.id
              order by first.key" + $down + ", first.id" + $down,
            status.as_str(),
            categories.as_deref(),
            ids.as_deref(),
            runs.from.as_deref(),
            runs.until.as_deref(),
            runs.and_from.as_deref(),
            *updated_since as Option<Timestamp>,
            key as _,
            id,
            $limit
        )
        .fetch_all($conn)
        .await
    }};
}

/// The terms of a page in their order, and one more where there are more.
pub(super) async fn rows(
    conn: &mut PgConnection,
    narrowed: &Narrowed,
    sort: TermSort,
    page: &Page<Key>,
) -> Result<Vec<Row>, sqlx::Error> {
    let limit = page.limit + 1;
    let (mut name, mut at, mut id) = (None, None, None);
    if let Some(after) = &page.after {
        id = Some(after.id);
        match &after.key {
            Key::Name(key) => name = Some(key.as_str()),
            Key::At(key) => at = Some(*key),
        }
    }
    match sort {
        TermSort::Name => in_order!(conn, narrowed, (name, id), limit, "name_key", "text", ">", ""),
        TermSort::NameDown => in_order!(conn, narrowed, (name, id), limit, "name_key", "text", "<", " desc"),
        TermSort::Updated => in_order!(conn, narrowed, (at, id), limit, "updated_at", "timestamptz", ">", ""),
        TermSort::UpdatedDown => in_order!(conn, narrowed, (at, id), limit, "updated_at", "timestamptz", "<", " desc"),
        TermSort::Published => in_order!(conn, narrowed, (at, id), limit, "published_at", "timestamptz", ">", ""),
        TermSort::PublishedDown => {
            in_order!(conn, narrowed, (at, id), limit, "published_at", "timestamptz", "<", " desc")
        }
    }
}

/// How many terms the list has on all its pages.
pub(super) async fn total(conn: &mut PgConnection, narrowed: &Narrowed) -> Result<i64, sqlx::Error> {
    let Narrowed { status, categories, ids, runs, updated_since } = narrowed;
    sqlx::query_scalar!(
        r#"
        select count(*) as "total!" from terms t
         where t.status = $1 and t.deleted_at is null
           and ($2::uuid[] is null or t.category_id = any($2))
           and ($3::uuid[] is null or t.id = any($3))
           and (($4::text is null or t.name_key >= $4) and ($5::text is null or t.name_key < $5) or t.name_key >= $6)
           and ($7::timestamptz is null or t.updated_at >= $7)
        "#,
        status.as_str(),
        categories.as_deref(),
        ids.as_deref(),
        runs.from.as_deref(),
        runs.until.as_deref(),
        runs.and_from.as_deref(),
        *updated_since as Option<Timestamp>
    )
    .fetch_one(conn)
    .await
}

/// The terms that are linked to all that is asked for, whatever their status; `None` where nothing is.
pub(super) async fn linked(
    conn: &mut PgConnection,
    company: Option<Uuid>,
    related_to: Option<Uuid>,
) -> Result<Option<Vec<Uuid>>, sqlx::Error> {
    if company.is_none() && related_to.is_none() {
        return Ok(None);
    }
    sqlx::query_scalar!(
        r#"
        with related (id) as (
            select other from term_relations where owner = $2 and kind = 'related'
            union
            select owner from term_relations where other = $2 and kind = 'related'
        )
        select l.term_id as "id!" from term_companies l
         where l.company_id = $1 and ($2::uuid is null or l.term_id in (select id from related))
        union all
        select id from related where $1::uuid is null
        "#,
        company,
        related_to
    )
    .fetch_all(conn)
    .await
    .map(Some)
}
