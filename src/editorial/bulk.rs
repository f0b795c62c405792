//! A write of any size: what it brings waits in a temporary table until all of it is there, and then comes in by parts.
//!
//! So references may lead forward, every mistake is told before anything is kept, and memory does not grow with the file.
//! What must be looked at as a whole (who is meant, who has the slug, who has the name) is asked of the table in sets; a
//! document itself is read, resolved, compared and stored by the same functions as any other.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{
    Applied, Entity, Kind, Names, Stored, What, Write,
    document::Choice,
    edit,
    plan::{Batch, Change, Wanted, refuse_in_use},
    refusal::{Refusal, cycle},
    staged,
    store::{By, link},
    write::{Category, Company, Term},
};
use crate::{
    clock::Timestamp,
    error::{Error, Fault},
    http::slug::Slug,
    names::Name,
    tokens::Role,
};

/// How many documents are in memory at once.
pub const PART: usize = 1_000;

/// After so many mistakes the rest is only counted.
const MISTAKES_MAX: usize = 10_000;

/// What an import does with what is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, utoipa::ToSchema)]
#[schema(as = ImportMode, rename_all = "lowercase")]
pub enum Mode {
    /// Everything must be new.
    Create,
    /// What is there is changed: a member that is absent stays as it is, a null one is cleared.
    Upsert,
    /// What is there gets the document instead of its own: a member that is absent takes its default.
    Replace,
}

impl Choice for Mode {
    const ALL: &'static [Self] = &[Mode::Create, Mode::Upsert, Mode::Replace];

    fn as_str(self) -> &'static str {
        match self {
            Mode::Create => "create",
            Mode::Upsert => "upsert",
            Mode::Replace => "replace",
        }
    }
}

/// A document that comes in, and where it stands.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Of several files the how-manieth.
    pub file: i32,
    pub line: i64,
    pub kind: Kind,
    pub document: Map<String, Value>,
    /// What an export says beside the document; an admin's alone.
    pub record: Option<Record>,
}

/// What an export says of an entity beside its document. What is absent is left to the write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub id: Option<Uuid>,
    pub version: Option<i64>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    pub published_at: Option<Timestamp>,
    pub deletion: Deletion,
    pub former_slugs: Vec<FormerSlug>,
}

/// Whether an entity is in the trash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deletion {
    /// As it is.
    #[default]
    Unsaid,
    Live,
    Deleted(Timestamp),
}

impl Deletion {
    /// When it was deleted, after the write; what is in the trash already stays there since then.
    pub(super) fn after(self, before: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Deletion::Unsaid => before,
            Deletion::Live => None,
            Deletion::Deleted(at) => before.or(Some(at)),
        }
    }
}

/// A slug that an entity had, and whether it was public under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerSlug {
    pub slug: String,
    /// Whether it leads the anonymous on.
    pub public: bool,
}

/// A version of an entity that comes in with it.
#[derive(Debug, Clone)]
pub struct IncomingRevision {
    pub file: i32,
    pub line: i64,
    pub id: Uuid,
    pub kind: Kind,
    pub entity: Uuid,
    pub version: i64,
    pub what: What,
    pub document: Value,
    pub author: String,
    pub message: Option<String>,
    pub at: Timestamp,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub file: i32,
    pub line: i64,
    pub fault: Fault,
}

/// What became, or would become, of an entity.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub kind: Kind,
    pub slug: Slug,
    pub version: i64,
    /// `None` where nothing changed.
    pub what: Option<What>,
}

/// What a large write brings, as far as it has been told.
#[derive(Default)]
pub struct Mistakes {
    pub list: Vec<Mistake>,
    /// How many there are beside those of the list.
    pub more: usize,
}

impl Mistakes {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn add(&mut self, file: i32, line: i64, fault: Fault) {
        if self.list.len() < MISTAKES_MAX {
            self.list.push(Mistake { file, line, fault });
        } else {
            self.more += 1;
        }
    }
}

/// A row of the temporary table.
struct Staged {
    seq: i64,
    file: i32,
    line: i64,
    entity: Uuid,
    existing: bool,
    slug: Option<String>,
    document: String,
    record: Option<Record>,
    revision_id: Option<Uuid>,
}

impl Write {
    /// Takes documents in, to be written by [`take_in`](Write::take_in).
    ///
    /// # Errors
    /// [`Error::Forbidden`] where something comes with what only an admin's import sets; a database that does not answer.
    pub async fn stage(&mut self, first: i64, part: &[Incoming]) -> Result<(), Error> {
        if self.author.role < Role::Admin && part.iter().any(|incoming| incoming.record.is_some()) {
            return Err(Error::Forbidden { needed: Role::Admin, has: self.author.role });
        }
        self.make_staging().await?;
        let text = |incoming: &Incoming, member: &str| {
            incoming.document.get(member).and_then(Value::as_str).map(ToOwned::to_owned)
        };
        let names: Vec<Option<Name>> =
            part.iter().map(|it| text(it, "name").and_then(|name| Name::parse(&name).ok())).collect();
        let slugs: Vec<Option<String>> = part
            .iter()
            .zip(&names)
            .map(|(incoming, name)| match incoming.document.get("slug") {
                None | Some(Value::Null) if incoming.record.as_ref().is_some_and(|record| record.id.is_some()) => None,
                None | Some(Value::Null) => name.as_ref().map(|name| Slug::from_name(name.as_str()).to_string()),
                Some(slug) => slug.as_str().and_then(|slug| Slug::parse(slug).ok()).map(|slug| slug.to_string()),
            })
            .collect();
        let id = |incoming: &Incoming| incoming.record.as_ref().and_then(|record| record.id);
        let public = |incoming: &Incoming| {
            let status = text(incoming, "status");
            incoming.kind == Kind::Category || status.is_some_and(|status| status != "draft")
        };
        let deletion = |incoming: &Incoming| incoming.record.as_ref().map(|record| record.deletion).unwrap_or_default();
        let documents = part.iter().map(|it| serde_json::to_string(&it.document)).collect::<Result<Vec<_>, _>>();
        let records = part.iter().map(|it| it.record.as_ref().map(serde_json::to_value).transpose());
        sqlx::query!(
            r#"
            insert into incoming (seq, file, line, kind, entity, identified, slug, name_key, public, deleted, document, record)
            select $1 + at - 1, file, line, kind, entity, identified, slug, name_key, public, deleted, document, record
              from unnest($2::integer[], $3::bigint[], $4::text[], $5::uuid[], $6::boolean[], $7::text[], $8::text[],
                          $9::boolean[], $10::boolean[], $11::text[], $12::jsonb[]) with ordinality
                as i (file, line, kind, entity, identified, slug, name_key, public, deleted, document, record, at)
            "#,
            first,
            &part.iter().map(|incoming| incoming.file).collect::<Vec<_>>(),
            &part.iter().map(|incoming| incoming.line).collect::<Vec<_>>(),
            &part.iter().map(|incoming| incoming.kind.as_str()).collect::<Vec<_>>() as &[&str],
            &part.iter().map(|it| id(it).unwrap_or_else(|| self.clock.id())).collect::<Vec<_>>(),
            &part.iter().map(|incoming| id(incoming).is_some()).collect::<Vec<_>>(),
            &slugs as &[Option<String>],
            &names.iter().map(|name| name.as_ref().map(Name::key)).collect::<Vec<_>>() as &[Option<&str>],
            &part.iter().map(public).collect::<Vec<_>>(),
            &part.iter().map(|it| match deletion(it) {
                Deletion::Unsaid => None,
                Deletion::Live => Some(false),
                Deletion::Deleted(_) => Some(true),
            }).collect::<Vec<_>>() as &[Option<bool>],
            &documents.map_err(Error::internal)?,
            &records.collect::<Result<Vec<_>, _>>().map_err(Error::internal)? as &[Option<Value>]
        )
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Takes versions in, for those of the documents that are new here: the history of what is there is never rewritten.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for who is no admin; a database that does not answer.
    pub async fn stage_revisions(&mut self, first: i64, part: &[IncomingRevision]) -> Result<(), Error> {
        if self.author.role < Role::Admin {
            return Err(Error::Forbidden { needed: Role::Admin, has: self.author.role });
        }
        self.make_staging().await?;
        sqlx::query!(
            r#"
            insert into incoming_revisions (seq, file, line, id, kind, entity, version, what, document, author, message, at)
            select $1 + number - 1, file, line, id, kind, entity, version, what, document, author, message, at
              from unnest($2::integer[], $3::bigint[], $4::uuid[], $5::text[], $6::uuid[], $7::bigint[], $8::text[],
                          $9::jsonb[], $10::text[], $11::text[], $12::timestamptz[]) with ordinality
                as r (file, line, id, kind, entity, version, what, document, author, message, at, number)
            "#,
            first,
            &part.iter().map(|revision| revision.file).collect::<Vec<_>>(),
            &part.iter().map(|revision| revision.line).collect::<Vec<_>>(),
            &part.iter().map(|revision| revision.id).collect::<Vec<_>>(),
            &part.iter().map(|revision| revision.kind.as_str()).collect::<Vec<_>>() as &[&str],
            &part.iter().map(|revision| revision.entity).collect::<Vec<_>>(),
            &part.iter().map(|revision| revision.version).collect::<Vec<_>>(),
            &part.iter().map(|revision| revision.what.as_str()).collect::<Vec<_>>() as &[&str],
            &part.iter().map(|revision| revision.document.clone()).collect::<Vec<_>>(),
            &part.iter().map(|revision| revision.author.as_str()).collect::<Vec<_>>() as &[&str],
            &part.iter().map(|revision| revision.message.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
            &part.iter().map(|revision| revision.at).collect::<Vec<_>>() as &[Timestamp]
        )
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// The temporary tables hide the patterns that they are made from, until the transaction ends.
    async fn make_staging(&mut self) -> Result<(), sqlx::Error> {
        if !self.staging {
            sqlx::raw_sql(
                "create temporary table incoming (like incoming including defaults including indexes) on commit drop;
                 create temporary table incoming_revisions (like incoming_revisions including indexes) on commit drop;
                 create temporary table incoming_changes (like incoming_changes including identity including indexes)
                     on commit drop;",
            )
            .execute(&mut *self.transaction)
            .await?;
            self.staging = true;
        }
        Ok(())
    }

    /// Brings in all that was staged, entities first and their links after, or tells every mistake of it. With mistakes, those
    /// that `mistakes` has already included, nothing is stored, and the write can only be dropped.
    ///
    /// `report` gets the outcomes of each part as it is done.
    ///
    /// # Errors
    /// [`Error::Forbidden`]; a database that does not answer.
    pub async fn take_in(
        &mut self,
        mode: Mode,
        mistakes: &mut Mistakes,
        report: &mut dyn FnMut(Vec<Outcome>),
    ) -> Result<(), Error> {
        self.make_staging().await?;
        let conn = &mut *self.transaction;
        sqlx::raw_sql("analyze incoming; analyze incoming_revisions").execute(&mut *conn).await?;
        staged::identify(&mut *conn).await?;
        staged::lock::<Category>(&mut *conn).await?;
        staged::lock::<Company>(&mut *conn).await?;
        staged::lock::<Term>(&mut *conn).await?;
        staged::complete(&mut *conn).await?;
        staged::refuse_repeats(&mut *conn, mistakes).await?;
        staged::claim_slugs(&mut *conn, mistakes).await?;
        sqlx::raw_sql("analyze slug_history").execute(&mut *conn).await?;
        staged::claim_names(&mut *conn, mistakes).await?;
        staged::take_in_revisions(&mut *conn, mistakes).await?;
        sqlx::raw_sql("savepoint staged").execute(&mut *conn).await?;
        let stored = async {
            self.by_parts::<Category>(mode, mistakes, report).await?;
            self.by_parts::<Company>(mode, mistakes, report).await?;
            self.by_parts::<Term>(mode, mistakes, report).await?;
            self.analyze().await?;
            sqlx::raw_sql("set constraints all immediate").execute(&mut *self.transaction).await?;
            Ok(())
        };
        match stored.await {
            Ok(()) => {}
            // The database tells of one cycle; all of them are looked for.
            Err(refused @ Error::Refused { .. }) => {
                sqlx::raw_sql("rollback to savepoint staged").execute(&mut *self.transaction).await?;
                staged::find_cycles(&mut self.transaction, mistakes).await?;
                // A tree that is too deep, say: it was refused, whether its line is found or not.
                return if mistakes.is_empty() { Err(refused) } else { Ok(()) };
            }
            Err(error) => return Err(error),
        }
        if mistakes.is_empty() { Ok(()) } else { staged::find_cycles(&mut self.transaction, mistakes).await }
    }

    /// The staged documents of one kind, in the order in which they came. A part is read while the one before it is stored.
    async fn by_parts<D: Entity>(
        &mut self,
        mode: Mode,
        mistakes: &mut Mistakes,
        report: &mut dyn FnMut(Vec<Outcome>),
    ) -> Result<(), Error> {
        let (mut parts, mut analyzed) = (0, 1);
        let mut reading = self.read_after::<D>(mode, -1).await?;
        while let Some((last, read)) = reading {
            let part = read.await.map_err(Error::internal)??;
            reading = self.read_after::<D>(mode, last).await?;
            let outcomes = self.part::<D>(part, mistakes).await?;
            report(outcomes);
            parts += 1;
            // Tables that were empty a moment ago: Postgres plans for what it last knew of them.
            if parts == analyzed {
                self.analyze().await?;
                analyzed *= 8;
            }
        }
        Ok(())
    }

    /// The next documents of a kind, which are being read, and where they end.
    async fn read_after<D: Entity>(
        &mut self,
        mode: Mode,
        after: i64,
    ) -> Result<Option<(i64, JoinHandle<Result<Part<D>, Error>>)>, Error> {
        let staged = next_part(&mut self.transaction, D::KIND, after).await?;
        let Some(last) = staged.last().map(|last| last.seq) else { return Ok(None) };
        let existing: Vec<Uuid> = staged.iter().filter(|staged| staged.existing).map(|staged| staged.entity).collect();
        let before =
            if existing.is_empty() { HashMap::new() } else { D::load(&mut self.transaction, &existing).await? };
        Ok(Some((last, tokio::task::spawn_blocking(move || Part::read(mode, staged, before)))))
    }

    /// Lets Postgres look at what it holds by now; nobody but its own housekeeping waits for that.
    async fn analyze(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(
            "analyze categories; analyze companies; analyze company_categories; analyze terms; analyze term_aliases;
             analyze term_sources; analyze term_companies; analyze term_relations; analyze revisions;",
        )
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    async fn part<D: Entity>(&mut self, part: Part<D>, mistakes: &mut Mistakes) -> Result<Vec<Outcome>, Error> {
        let Part { staged: part, batch, mut refusal } = part;
        let conn = &mut *self.transaction;
        let mut references = BTreeSet::new();
        batch.refer(&mut references);
        let mut names = Names::look_up(&mut *conn, &references).await?;
        for want in &batch.wanted {
            if let Some(slug) = &want.slug {
                names.add(D::KIND, slug, want.id);
            }
        }
        names.mark_staged(&mut *conn).await?;
        names.look_up_closest(&mut *conn, &references).await?;
        if D::KIND == Kind::Category {
            refuse_deletions(&mut *conn, &batch, &mut refusal).await?;
        }
        let mut applied = vec![None; part.len()];
        let rows = batch.rows(&self.clock, self.at, &mut names, &mut refusal, &mut applied);
        for (index, fault) in refusal.into_faults(self.author.role)? {
            if let Some(staged) = part.get(index) {
                mistakes.add(staged.file, staged.line, fault);
            }
        }
        if !mistakes.is_empty() {
            return Ok(Vec::new());
        }
        let by = By { author: &self.author.name, message: self.message.as_deref(), at: self.at };
        by.store(&mut *conn, &rows, &names).await.map_err(|error| cycle(error, &applied))?;
        link(&mut *conn, &rows).await.map_err(|error| cycle(error, &applied))?;
        let whats: Vec<(Uuid, What)> = rows.iter().map(|row| (row.id, row.what())).collect();
        self.note(&rows);
        self.spill().await?;
        Ok(outcomes(D::KIND, applied, &whats))
    }
}

/// What was made of each document; those that changed something stand in `whats` in the same order.
fn outcomes(kind: Kind, applied: Vec<Option<Applied>>, whats: &[(Uuid, What)]) -> Vec<Outcome> {
    let mut whats = whats.iter().peekable();
    let outcome = |applied: Applied| {
        let what = whats.next_if(|(id, _)| *id == applied.id).map(|(_, what)| *what);
        Outcome { kind, slug: applied.slug, version: applied.version, what }
    };
    applied.into_iter().flatten().map(outcome).collect()
}

/// The next documents of a kind.
async fn next_part(conn: &mut PgConnection, kind: Kind, after: i64) -> Result<Vec<Staged>, Error> {
    let rows = sqlx::query!(
        r#"
        select seq, file, line, entity, existing, slug, document, record, revision_id
          from incoming where kind = $1 and seq > $2 order by seq limit $3
        "#,
        kind.as_str(),
        after,
        i64::try_from(PART).unwrap_or(i64::MAX)
    )
    .fetch_all(conn)
    .await?;
    let staged = rows.into_iter().map(|row| {
        Ok(Staged {
            seq: row.seq,
            file: row.file,
            line: row.line,
            entity: row.entity,
            existing: row.existing,
            slug: row.slug,
            document: row.document,
            record: row.record.map(serde_json::from_value).transpose().map_err(Error::internal)?,
            revision_id: row.revision_id,
        })
    });
    staged.collect()
}

/// Documents that were read, and what is wrong with the others.
struct Part<D: Entity> {
    staged: Vec<Staged>,
    batch: Batch<D>,
    refusal: Refusal,
}

impl<D: Entity> Part<D> {
    /// Reads each document: as it stands, or on top of the one that is there.
    fn read(mode: Mode, staged: Vec<Staged>, before: HashMap<Uuid, Stored<D>>) -> Result<Self, Error> {
        let mut part = Part { staged, batch: Batch::new(), refusal: Refusal::of(false) };
        part.batch.before = before;
        for (edit, staged) in part.staged.iter().enumerate() {
            let document: Value = serde_json::from_str(&staged.document).map_err(Error::internal)?;
            let whole = match (part.batch.before.get(&staged.entity), mode) {
                (Some(current), Mode::Create) => {
                    part.refusal.add(edit, vec![Fault::body("", "exists", exists(current))]);
                    continue;
                }
                (Some(current), Mode::Upsert) => edit::merge(edit::with_ids(current)?, &document),
                (Some(_), Mode::Replace) | (None, _) => document,
            };
            match D::parse(&whole) {
                Ok(written) => part.batch.wanted.push(Wanted {
                    edit,
                    id: staged.entity,
                    existing: staged.existing,
                    change: Change::Document(written),
                    slug: staged.slug.as_deref().and_then(|slug| Slug::parse(slug).ok()),
                    record: staged.record.clone(),
                    revision_id: staged.revision_id,
                }),
                Err(faults) => part.refusal.add(edit, faults),
            }
        }
        Ok(part)
    }
}

fn exists<D: Entity>(current: &Stored<D>) -> String {
    let (kind, slug) = (D::KIND.as_str(), &current.slug);
    format!("The {kind} \"{slug}\" is there already; leave it out, or choose the mode upsert.")
}

/// A category that something stands in can't go into the trash.
async fn refuse_deletions<D: Entity>(
    conn: &mut PgConnection,
    batch: &Batch<D>,
    refusal: &mut Refusal,
) -> Result<(), Error> {
    for want in &batch.wanted {
        let is_live = batch.before.get(&want.id).is_some_and(|before| before.deleted_at.is_none());
        let deletion = want.record.as_ref().map(|record| record.deletion).unwrap_or_default();
        if is_live && matches!(deletion, Deletion::Deleted(_)) {
            match refuse_in_use(conn, &[want.id]).await {
                Err(Error::Conflict { detail, .. }) => {
                    refusal.add(want.edit, vec![Fault::body("", "in_use", detail)]);
                }
                other => other?,
            }
        }
    }
    Ok(())
}
