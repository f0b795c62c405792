//! Export: all of the glossary from one snapshot, a part at a time.

use std::collections::HashMap;

use sqlx::{Postgres, Transaction};
use tokio::task::JoinHandle;
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
    /// The part that is being made into lines.
    ahead: Option<JoinHandle<Lines>>,
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
        let mut snapshot = postgres::snapshot(&state.database()).await?;
        let position = state.position(postgres::position(&mut snapshot).await?);
        Ok(Export {
            snapshot,
            position,
            lines: 0,
            revisions,
            next: Next::After(Kind::Category, String::new()),
            ahead: None,
        })
    }

    /// The next part as NDJSON: categories, companies, then terms, each in the order of their slugs. `None` at the end. While
    /// a part is made into lines, the one after it is read.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn part(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let current = match self.ahead.take() {
            Some(current) => Some(current),
            None => self.read().await?,
        };
        let Some(current) = current else { return Ok(None) };
        self.ahead = self.read().await?;
        let (bytes, lines) = current.await.map_err(Error::internal)??;
        self.lines += lines;
        Ok(Some(bytes))
    }

    /// Reads the next part, if there is one, and lets lines be made of it.
    async fn read(&mut self) -> Result<Option<JoinHandle<Lines>>, Error> {
        loop {
            let Next::After(kind, slug) = std::mem::replace(&mut self.next, Next::End) else { return Ok(None) };
            let making = match kind {
                Kind::Category => self.entities::<CategoryDocument<Uuid>>(&slug, Kind::Company).await?,
                Kind::Company => self.entities::<CompanyDocument<Uuid>>(&slug, Kind::Term).await?,
                Kind::Term => self.entities::<TermDocument<Uuid>>(&slug, Kind::Term).await?,
            };
            if making.is_some() {
                return Ok(making);
            }
        }
    }

    /// The next entities of a kind, the trash included; after them come those of the kind `then`.
    async fn entities<D: Entity>(&mut self, after: &str, then: Kind) -> Result<Option<JoinHandle<Lines>>, Error> {
        let rows = sqlx::query!(
            r#"
            select id as "id!", slug as "slug!" from (
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
        .fetch_all(&mut *self.snapshot)
        .await?;
        let Some(last) = rows.last() else {
            self.next = if then == D::KIND { Next::End } else { Next::After(then, String::new()) };
            return Ok(None);
        };
        self.next = Next::After(D::KIND, last.slug.clone());
        let ids: Vec<Uuid> = rows.into_iter().map(|row| row.id).collect();
        let stored = D::load(&mut self.snapshot, &ids).await?;
        let documents = stored.values().map(|stored| &stored.document);
        let names = Names::of_documents(&mut self.snapshot, documents).await?;
        let former = self.former_slugs(&ids).await?;
        let revisions = if self.revisions { self.revisions(&ids).await? } else { HashMap::new() };
        let part = Part { ids, stored, names, former, revisions };
        Ok(Some(tokio::task::spawn_blocking(move || part.lines())))
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

/// Lines, and how many they are.
type Lines = Result<(Vec<u8>, usize), Error>;

/// What was read, and is to be made into lines.
struct Part<D> {
    ids: Vec<Uuid>,
    stored: HashMap<Uuid, Stored<D>>,
    names: Names,
    former: HashMap<Uuid, Vec<FormerSlug>>,
    revisions: HashMap<Uuid, Vec<ExportedRevision>>,
}

impl<D: Entity> Part<D> {
    fn lines(mut self) -> Lines {
        let (mut lines, mut count) = (Vec::new(), 0);
        for id in self.ids {
            let Some(stored) = self.stored.remove(&id) else { continue };
            let line = ExportedEntity {
                kind: D::KIND.as_str().into(),
                id,
                version: stored.version,
                created_at: stored.created_at,
                updated_at: stored.updated_at,
                published_at: stored.published_at.filter(|_| D::KIND != Kind::Category),
                deleted_at: stored.deleted_at,
                former_slugs: self.former.remove(&id).unwrap_or_default(),
                document: serde_json::to_value(stored.document.shown(&self.names)).map_err(Error::internal)?,
            };
            write_line(&mut lines, &line)?;
            count += 1;
            for revision in self.revisions.remove(&id).into_iter().flatten() {
                write_line(&mut lines, &revision)?;
                count += 1;
            }
        }
        Ok((lines, count))
    }
}

fn write_line(lines: &mut Vec<u8>, line: &impl serde::Serialize) -> Result<(), Error> {
    serde_json::to_writer(&mut *lines, line).map_err(Error::internal)?;
    lines.push(b'\n');
    Ok(())
}
