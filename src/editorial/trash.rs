//! `/trash`: what was deleted, and can come back or go for good.

use actix_web::{
    delete, get,
    web::{Data, Path},
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{edit::Intent, write};
use crate::{
    changes::{Keys, Seen},
    clock::Timestamp,
    error::Error,
    http::{
        answer::Answer,
        auth::{Admin, Viewer},
        paging::{After, Page},
        precondition::IfMatch,
        query::Query,
    },
    openapi::{PurgeErrors, Routes, TAG_TRASH, ViewerListErrors},
    postgres,
    state::State,
};

pub fn routes(routes: &mut Routes<'_>) {
    routes.service(list_trash).service(purge);
}

/// Something in the trash.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrashItem {
    pub id: Uuid,
    /// `term`, `category` or `company`; more may come.
    #[schema(example = "term")]
    pub kind: String,
    /// It keeps its slug; its name is free for others.
    #[schema(example = "neural-symbolic-model")]
    pub slug: String,
    #[schema(example = "Neural-Symbolic Model")]
    pub name: String,
    /// Whether it was public: then its address answers `410`.
    pub was_public: bool,
    #[schema(value_type = String, format = DateTime)]
    pub deleted_at: Timestamp,
    /// The name of the token that deleted it.
    #[schema(example = "ada")]
    pub deleted_by: String,
    /// The version that its deletion made.
    #[schema(minimum = 2, example = 2)]
    pub version: i64,
}

/// One page of the trash.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrashList {
    #[schema(max_items = 100)]
    pub items: Vec<TrashItem>,
    /// Where the next page begins: send it as `cursor`. `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// How many things are in the trash.
    #[schema(minimum = 0, example = 1)]
    pub total: i64,
}

/// List the trash
///
/// What was deleted, the last first. `POST /terms/{slug}/restore` brings it back with all of its links; `DELETE
/// /trash/{id}` removes it for good.
#[utoipa::path(
    operation_id = "list_trash",
    tag = TAG_TRASH,
    params(
        ("limit" = Option<i32>, Query, description = "How many items a page has; 20 where it is absent.", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before.", max_length = 4096),
    ),
    responses(
        (status = 200, description = "One page of the trash; the `Link` header has the address of the next one.", body = TrashList, headers(("Link" = String, description = "The address of the next page, `rel=\"next\"`; absent on the last one."))),
        ViewerListErrors
    ),
    security(("bearer" = ["viewer"]))
)]
#[get("/trash")]
pub async fn list_trash(state: Data<State>, _: Viewer, mut query: Query) -> Result<Answer, Error> {
    let page: Page<Timestamp> = Page::take(&mut query, "/trash", &[]);
    query.finish()?;
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let (at, id) = page.after.as_ref().map_or((None, Uuid::nil()), |after| (Some(after.key), after.id));
    let mut rows = sqlx::query!(
        r#"
        select d.id as "id!", d.kind as "kind!", d.slug as "slug!", d.name as "name!", d.was_public as "was_public!",
               d.deleted_at as "deleted_at!: Timestamp", r.author as "deleted_by!", r.version as "version!"
          from ((select id, kind, slug, name, published_at is not null as was_public, deleted_at from terms
                  where deleted_at is not null and ($1::timestamptz is null or (deleted_at, id) < ($1, $2))
                  order by deleted_at desc, id desc limit $3)
                union all
                (select id, kind, slug, name, true, deleted_at from categories
                  where deleted_at is not null and ($1::timestamptz is null or (deleted_at, id) < ($1, $2))
                  order by deleted_at desc, id desc limit $3)
                union all
                (select id, kind, slug, name, published_at is not null, deleted_at from companies
                  where deleted_at is not null and ($1::timestamptz is null or (deleted_at, id) < ($1, $2))
                  order by deleted_at desc, id desc limit $3)) d
          -- The newest revision may be another: what is in the trash loses links by others' writes.
          join lateral (select author, version from revisions
                         where entity = d.id and what = 'deleted'
                         order by version desc limit 1) r on true
         order by d.deleted_at desc, d.id desc
         limit $3
        "#,
        at as Option<Timestamp>,
        id,
        page.limit + 1
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let total = sqlx::query_scalar!(
        r#"
        select (select count(*) from terms where deleted_at is not null)
             + (select count(*) from categories where deleted_at is not null)
             + (select count(*) from companies where deleted_at is not null) as "total!"
        "#
    )
    .fetch_one(&mut *snapshot)
    .await?;
    let seen = Seen { position: state.position(postgres::position(&mut snapshot).await?), keys: Keys::default() };
    let next_cursor = page.cut(&mut rows, |row| After { key: row.deleted_at, id: row.id });
    let next = next_cursor.as_deref().map(|cursor| page.address(cursor));
    let items = rows.into_iter().map(|row| TrashItem {
        id: row.id,
        kind: row.kind,
        slug: row.slug,
        name: row.name,
        was_public: row.was_public,
        deleted_at: row.deleted_at,
        deleted_by: row.deleted_by,
        version: row.version,
    });
    let trash = TrashList { items: items.collect(), next_cursor, total };
    Ok(Answer::json(&trash, None, seen)?.with_next(next))
}

/// Purge
///
/// Removes something from the trash for good: its document, its revisions, and every link to it (each document that had
/// one gets a new version). Its slugs are free, and its addresses answer `404`.
#[utoipa::path(
    operation_id = "purge",
    tag = TAG_TRASH,
    params(
        ("id" = Uuid, Path, description = "The id of something in the trash."),
        ("message" = Option<String>, Query, description = "Why; it stands in the history of the documents that had a link. One line.", min_length = 1, max_length = 500, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$"),
    ),
    responses((status = 204, description = "It is gone."), PurgeErrors),
    security(("bearer" = ["admin"]))
)]
#[delete("/trash/{id}")]
pub async fn purge(
    state: Data<State>,
    Admin(author): Admin,
    path: Path<String>,
    query: Query,
) -> Result<Answer, Error> {
    let intent = Intent::read(&state, author, query, IfMatch::Absent).await?;
    // What is no id is one that nothing has.
    let id = Uuid::try_parse(&path).unwrap_or_default();
    let (purged, position) =
        write(&state, &intent.author, intent.message.as_deref(), async |write| write.purge(id).await).await?;
    let seen = Seen { position, keys: Keys::default() };
    if purged { Ok(Answer::empty(seen)) } else { Err(Error::NotInTrash { seen }) }
}
