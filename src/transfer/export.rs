//! Export: all of the glossary from one snapshot, a part at a time.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::ndjson::{ExportedEntity, ExportedRevision};
use crate::{
    categories::CategoryDocument,
    changes::Position,
    clock::Timestamp,
    companies::CompanyDocument,
    editorial::{Entity, FormerSlug, Kind, Names, PART, Stored},
    error::Error,
    postgres,
    state::State,
    terms::TermDocument,
};

/// What an export is read from: one state of the database, whatever is written meanwhile.
pub struct Export {
    snapshot: Transaction<'static, Postgres>,
    /// The place in the log that it shows: what comes after it is in `/changes`.
    pub position: Position,
    /// How many were written so far.
    pub lines: usize,
    revisions: bool,
    next: Next,
}

/// Where the next part begins: after this slug of this kind.
enum Next {
    After(Kind, String),
    End,
}

impl Export {
    /// Begins an export; with all versions of everything where `revisions`.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn begin(state: &State, revisions: bool) -> Result<Self, Error> {
        let mut snapshot = postgres::snapshot(&state.database).await?;
        let position = state.position(postgres::position(&mut snapshot).await?);
        Ok(Export { snapshot, position, lines: 0, revisions, next: Next::After(Kind::Category, String::new()) })
    }

    /// The next part as NDJSON: categories, companies, then terms, each in the order of their slugs. `None` at the end.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn part(&mut self) -> Result<Option<Vec<u8>>, Error> {
        loop {
            let Next::After(kind, slug) = std::mem::replace(&mut self.next, Next::End) else { return Ok(None) };
            let lines = match kind {
                Kind::Category => self.lines::<CategoryDocument<Uuid>>(slug, Kind::Company).await?,
                Kind::Company => self.lines::<CompanyDocument<Uuid>>(slug, Kind::Term).await?,
                Kind::Term => self.lines::<TermDocument<Uuid>>(slug, Kind::Term).await?,
            };
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
    }

    async fn lines<D: Entity>(&mut self, after: String, then: Kind) -> Result<Vec<u8>, Error> {
        let entities = self.entities::<D>(&after).await?;
        self.next = match entities.last() {
            Some(last) => Next::After(D::KIND, last.slug.clone()),
            None if then == D::KIND => Next::End,
            None => Next::After(then, String::new()),
        };
        let ids: Vec<Uuid> = entities.iter().map(|entity| entity.id).collect();
        let mut former = self.former_slugs(&ids).await?;
        let mut revisions = if self.revisions { self.revisions(&ids).await? } else { HashMap::new() };
        let mut lines = Vec::new();
        for entity in entities {
            let line = ExportedEntity {
                kind: D::KIND.as_str().into(),
                id: entity.id,
                version: entity.version,
                created_at: entity.created_at,
                updated_at: entity.updated_at,
                published_at: entity.published_at.filter(|_| D::KIND != Kind::Category),
                deleted_at: entity.deleted_at,
                former_slugs: former.remove(&entity.id).unwrap_or_default(),
                document: entity.document,
            };
            write_line(&mut lines, &line)?;
            self.lines += 1;
            for revision in revisions.remove(&entity.id).into_iter().flatten() {
                write_line(&mut lines, &revision)?;
                self.lines += 1;
            }
        }
        Ok(lines)
    }

    /// The next entities of a kind, the trash included.
    async fn entities<D: Entity>(&mut self, after: &str) -> Result<Vec<Exported>, Error> {
        let conn = &mut *self.snapshot;
        let rows = sqlx::query!(
            r#"
            select id as "id!" from (
                (select id, slug from terms where $1 = 'term' and slug > $2 order by slug limit $3)
                union all
                (select id, slug from categories where $1 = 'category' and slug > $2 order by slug limit $3)
                union all
                (select id, slug from companies where $1 = 'company' and slug > $2 order by slug limit $3)) e
             order by slug
            "#,
            D::KIND.as_str(),
            after,
            i64::try_from(PART).unwrap_or(i64::MAX)
        )
        .fetch_all(&mut *conn)
        .await?;
        let ids: Vec<Uuid> = rows.into_iter().map(|row| row.id).collect();
        let mut stored = D::load(&mut *conn, &ids).await?;
        let names = Names::of_documents(conn, stored.values().map(|stored| &stored.document)).await?;
        let exported = ids.into_iter().filter_map(|id| stored.remove(&id).map(|stored| (id, stored)));
        exported.map(|(id, stored)| Exported::of(id, stored, &names)).collect()
    }

    async fn former_slugs(&mut self, ids: &[Uuid]) -> Result<HashMap<Uuid, Vec<FormerSlug>>, Error> {
        let rows = sqlx::query!(
            r#"
            select h.entity, h.slug, h.public
              from slug_history h
             where h.entity = any($1)
               and not exists (select from terms where id = h.entity and slug = h.slug)
               and not exists (select from categories where id = h.entity and slug = h.slug)
               and not exists (select from companies where id = h.entity and slug = h.slug)
             order by h.slug
            "#,
            ids
        )
        .fetch_all(&mut *self.snapshot)
        .await?;
        let mut former: HashMap<Uuid, Vec<FormerSlug>> = HashMap::new();
        for row in rows {
            former.entry(row.entity).or_default().push(FormerSlug { slug: row.slug, public: row.public });
        }
        Ok(former)
    }

    async fn revisions(&mut self, ids: &[Uuid]) -> Result<HashMap<Uuid, Vec<ExportedRevision>>, Error> {
        let rows = sqlx::query!(
            r#"
            select id, kind, entity, version, what, author, message, at as "at: Timestamp", document
              from revisions where entity = any($1) order by entity, version
            "#,
            ids
        )
        .fetch_all(&mut *self.snapshot)
        .await?;
        let mut revisions: HashMap<Uuid, Vec<ExportedRevision>> = HashMap::new();
        for row in rows {
            revisions.entry(row.entity).or_default().push(ExportedRevision {
                kind: "revision".into(),
                id: row.id,
                entity_kind: row.kind,
                entity: row.entity,
                version: row.version,
                what: row.what,
                author: row.author,
                message: row.message,
                at: row.at,
                document: row.document,
            });
        }
        Ok(revisions)
    }
}

/// An entity with its document as it is shown.
struct Exported {
    id: Uuid,
    slug: String,
    version: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    published_at: Option<Timestamp>,
    deleted_at: Option<Timestamp>,
    document: Value,
}

impl Exported {
    fn of<D: Entity>(id: Uuid, stored: Stored<D>, names: &Names) -> Result<Self, Error> {
        let document = serde_json::to_value(stored.document.shown(names)).map_err(Error::internal)?;
        let Stored { slug, document: _, version, revision_id: _, published_at, created_at, updated_at, deleted_at } =
            stored;
        let slug = slug.to_string();
        Ok(Exported { id, slug, version, created_at, updated_at, published_at, deleted_at, document })
    }
}

fn write_line(lines: &mut Vec<u8>, line: &impl serde::Serialize) -> Result<(), Error> {
    serde_json::to_writer(&mut *lines, line).map_err(Error::internal)?;
    lines.push(b'\n');
    Ok(())
}
