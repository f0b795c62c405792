//! What a write stores beside the entities' own rows: revisions, slugs, and the changes themselves.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Entity, Names, Row, write::Pending};
use crate::clock::{Clock, Timestamp};

/// How many rows travel in one statement: a large write must not hold all of its rows a second time.
const PART: usize = 2_000;

/// Who writes, and when: what stands in every revision of a write.
pub(super) struct By<'w> {
    pub author: &'w str,
    pub message: Option<&'w str>,
    pub at: Timestamp,
}

impl By<'_> {
    pub async fn store<D: Entity>(
        &self,
        conn: &mut PgConnection,
        rows: &[Row<D>],
        names: &Names,
    ) -> Result<(), sqlx::Error> {
        // Names that this write gives up are free for its other documents: two entities may swap theirs.
        let (renamed, given_up) = Row::changed(rows, |document| document.name().key().to_owned());
        if !renamed.is_empty() && !given_up.is_empty() {
            D::give_up_names(conn, &given_up).await?;
        }
        for part in rows.chunks(PART) {
            self.store_part(conn, part, names).await?;
        }
        Ok(())
    }

    /// Revisions, slugs, then the rows that point at both.
    async fn store_part<D: Entity>(
        &self,
        conn: &mut PgConnection,
        rows: &[Row<D>],
        names: &Names,
    ) -> Result<(), sqlx::Error> {
        let new: Vec<&Row<D>> = rows.iter().filter(|row| !row.revised).collect();
        let entities: Vec<Uuid> = new.iter().map(|row| row.id).collect();
        let revision_ids: Vec<Uuid> = new.iter().map(|row| row.revision_id).collect();
        let versions: Vec<i64> = new.iter().map(|row| row.version).collect();
        let whats: Vec<&str> = new.iter().map(|row| row.what().as_str()).collect();
        let documents = new
            .iter()
            .map(|row| serde_json::to_value(row.after.shown(names)))
            .collect::<Result<Vec<Value>, _>>()
            .map_err(sqlx::Error::decode)?;
        sqlx::query!(
            r#"
            insert into revisions (id, kind, entity, version, what, document, author, message, at)
            select id, $1, entity, version, what, document, $7, $8, $9
              from unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::jsonb[])
                as r (id, entity, version, what, document)
            "#,
            D::KIND.as_str(),
            &revision_ids,
            &entities,
            &versions,
            &whats as &[&str],
            &documents,
            self.author,
            self.message,
            self.at as Timestamp
        )
        .execute(&mut *conn)
        .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let slugs: Vec<&str> = rows.iter().map(|row| row.slug.as_str()).collect();
        let public: Vec<bool> = rows.iter().map(Row::is_public).collect();
        sqlx::query!(
            r#"
            insert into slug_history (kind, slug, entity, public)
            select $1, slug, entity, public from unnest($2::text[], $3::uuid[], $4::boolean[]) as h (slug, entity, public)
            on conflict (kind, slug) do update set public = slug_history.public or excluded.public
             where slug_history.entity = excluded.entity and excluded.public and not slug_history.public
            "#,
            D::KIND.as_str(),
            &slugs as &[&str],
            &ids,
            &public
        )
        .execute(&mut *conn)
        .await?;
        D::store(conn, rows).await
    }
}

/// What hangs on the entities, once those of all kinds are there.
pub(super) async fn link<D: Entity>(conn: &mut PgConnection, rows: &[Row<D>]) -> Result<(), sqlx::Error> {
    for part in rows.chunks(PART) {
        D::link(conn, part).await?;
    }
    Ok(())
}

/// Writes the changes, from the position after `before` on; the last position that they take.
pub(super) async fn insert_changes(
    conn: &mut PgConnection,
    clock: &Clock,
    at: Timestamp,
    changes: &[Pending],
    before: i64,
) -> Result<i64, sqlx::Error> {
    let positions: Vec<i64> = (before + 1..).take(changes.len()).collect();
    let last = positions.last().copied().unwrap_or(before);
    let ids: Vec<Uuid> = changes.iter().map(|_| clock.id()).collect();
    let kinds: Vec<&str> = changes.iter().map(|change| change.kind.as_str()).collect();
    let entities: Vec<Uuid> = changes.iter().map(|change| change.id).collect();
    let whats: Vec<&str> = changes.iter().map(|change| change.what.as_str()).collect();
    let slugs: Vec<&str> = changes.iter().map(|change| change.slug.as_str()).collect();
    let former: Vec<Option<&str>> = changes.iter().map(|change| change.former_slug.as_deref()).collect();
    let public_before: Vec<bool> = changes.iter().map(|change| change.public_before).collect();
    let public_after: Vec<bool> = changes.iter().map(|change| change.public_after).collect();
    // `unnest` flattens a list of lists, so each set of keys travels as one text; no key has a space in it.
    let keys: Vec<String> = changes.iter().map(|change| change.touched.keys.joined()).collect();
    sqlx::query!(
        r#"
        insert into changes (position, id, kind, entity, what, slug, former_slug, public_before, public_after, keys, at)
        select position, id, kind, entity, what, slug, former_slug, public_before, public_after,
               case keys when '' then '{}' else string_to_array(keys, ' ') end, $11
          from unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[],
                      $8::boolean[], $9::boolean[], $10::text[])
            as c (position, id, kind, entity, what, slug, former_slug, public_before, public_after, keys)
        "#,
        &positions,
        &ids,
        &kinds as &[&str],
        &entities,
        &whats as &[&str],
        &slugs as &[&str],
        &former as &[Option<&str>],
        &public_before,
        &public_after,
        &keys,
        at as Timestamp
    )
    .execute(conn)
    .await?;
    Ok(last)
}
