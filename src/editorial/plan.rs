//! From edits to rows: what each edit makes of its entity, or why it can't.

use std::collections::{BTreeSet, HashMap};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Applied, Entity, Kind, Names, Record, Row, Stored, Target, document::Reference, refusal::Refusal};
use crate::{
    clock::{Clock, Timestamp},
    error::{Conflict, Error, Fault},
    http::slug::Slug,
    tokens::Role,
};

/// How many of the things that stand in the way of a deletion are named.
const NAMED_MAX: i64 = 100;

/// What an edit asks of its entity.
#[derive(Debug, Clone)]
pub(super) enum Change<W> {
    Document(W),
    Delete,
    Restore,
}

/// What an edit asks for, its entity's id given.
pub(super) struct Wanted<D: Entity> {
    pub edit: usize,
    pub id: Uuid,
    pub existing: bool,
    pub change: Change<D::Written>,
    pub slug: Option<Slug>,
    /// What an export says of it beside the document.
    pub record: Option<Record>,
    pub revision_id: Option<Uuid>,
}

/// The edits of one kind, and their entities as they are, locked.
pub(super) struct Batch<D: Entity> {
    pub wanted: Vec<Wanted<D>>,
    pub before: HashMap<Uuid, Stored<D>>,
}

impl<D: Entity> Batch<D> {
    pub fn new() -> Self {
        Batch { wanted: Vec::new(), before: HashMap::new() }
    }

    pub fn push(&mut self, clock: &Clock, edit: usize, target: Target, change: Change<D::Written>) {
        let (id, existing) = match target {
            Target::New => (clock.id(), false),
            Target::Existing(id) => (id, true),
        };
        self.wanted.push(Wanted { edit, id, existing, change, slug: None, record: None, revision_id: None });
    }

    /// Locks the entities, and reads them. What is not there any more, or is in the trash where the edit needs it out
    /// of there, is a fault; `trash` lets documents of the trash be written.
    pub async fn lock(&mut self, conn: &mut PgConnection, trash: bool, refusal: &mut Refusal) -> Result<(), Error> {
        let mut ids: Vec<Uuid> = self.wanted.iter().filter(|want| want.existing).map(|want| want.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        ids.sort_unstable();
        D::lock(conn, &ids).await?;
        self.before = D::load(conn, &ids).await?;
        let before = &self.before;
        self.wanted.retain(|want| {
            let there = match (before.get(&want.id), &want.change) {
                (None, _) => !want.existing,
                (Some(_), Change::Restore) => true,
                (Some(before), Change::Document(_)) => trash || before.deleted_at.is_none(),
                (Some(before), Change::Delete) => before.deleted_at.is_none(),
            };
            if !there {
                let fault = "The entity does not exist, or is deleted; restore it first.";
                refusal.add(want.edit, vec![Fault::body("", "not_there", fault)]);
            }
            there
        });
        Ok(())
    }

    /// What is to be deleted.
    pub fn deleted(&self) -> Vec<Uuid> {
        let is_deleted = |want: &&Wanted<D>| matches!(want.change, Change::Delete);
        self.wanted.iter().filter(is_deleted).map(|want| want.id).collect()
    }

    /// All that the documents refer to: those that are written, and those that stay as they are.
    pub fn refer(&self, references: &mut BTreeSet<(Kind, Reference)>) {
        for want in &self.wanted {
            match (&want.change, self.before.get(&want.id)) {
                (Change::Document(written), _) => D::references(written, &mut |kind, reference| {
                    references.insert((kind, reference.clone()));
                }),
                (Change::Delete | Change::Restore, Some(before)) => before.document.referred(&mut |kind, id| {
                    references.insert((kind, Reference::Id(id)));
                }),
                (Change::Delete | Change::Restore, None) => {}
            }
        }
    }

    /// What this write deletes and restores is so for its other documents too.
    pub fn mark(&self, names: &mut Names) {
        for want in &self.wanted {
            match want.change {
                Change::Document(_) => {}
                Change::Delete => names.mark(want.id, true),
                Change::Restore => names.mark(want.id, false),
            }
        }
    }

    /// Resolves the documents, compares them with what is there, and keeps those that change something.
    pub fn rows(
        mut self,
        clock: &Clock,
        at: Timestamp,
        names: &mut Names,
        refusal: &mut Refusal,
        applied: &mut [Option<Applied>],
    ) -> Vec<Row<D>> {
        let mut rows = Vec::new();
        for Wanted { edit, id, existing: _, change, slug, record, revision_id } in self.wanted {
            let before = self.before.remove(&id);
            let Some(slug) = slug else { continue };
            let (after, deleted_at) = match (change, &before) {
                (Change::Document(written), before) => {
                    let deleted_at = before.as_ref().and_then(|before| before.deleted_at);
                    let deletion = record.as_ref().map(|record| record.deletion).unwrap_or_default();
                    (D::resolve(written, slug.clone(), names), deletion.after(deleted_at))
                }
                (Change::Delete, Some(before)) => (before.document.clone(), Some(at)),
                (Change::Restore, Some(before)) => (before.document.clone(), None),
                (Change::Delete | Change::Restore, None) => continue,
            };
            refusal.add(edit, names.take_faults());
            // Of an entity that is there its own numbers and dates stay.
            let record = record.filter(|_| before.is_none()).unwrap_or_default();
            let row = Row {
                id,
                version: before.as_ref().map_or(record.version.unwrap_or(1), |before| before.version + 1),
                revision_id: revision_id.unwrap_or_else(|| clock.id()),
                revised: revision_id.is_some(),
                published_at: match &before {
                    Some(before) if before.published_at.is_some() => before.published_at,
                    _ => after.is_public().then_some(record.published_at.unwrap_or(at)),
                },
                created_at: record.created_at.unwrap_or(at),
                updated_at: record.updated_at.unwrap_or(at),
                slug,
                before,
                after,
                deleted_at,
            };
            // In the trash as well: what was public will be so again.
            let public_before = row.before.as_ref().is_some_and(|before| before.document.is_public());
            refusal.needs(required_role(D::KIND, public_before || row.after.is_public()));
            check(edit, &row, names, refusal);
            let changed = row.before.as_ref().is_none_or(|before| {
                before.document != row.after || before.deleted_at.is_some() != row.deleted_at.is_some()
            });
            if let Some(place) = applied.get_mut(edit) {
                let version = row.version - i64::from(!changed);
                *place = Some(Applied { id, slug: row.slug.clone(), version, changed });
            }
            if changed {
                rows.push(row);
            }
        }
        rows
    }
}

/// Who may write an entity of this kind: what readers see, before or after, is the editors'.
pub(super) fn required_role(kind: Kind, public: bool) -> Role {
    if kind == Kind::Category || public { Role::Editor } else { Role::Contributor }
}

/// The rules about where an entity comes from.
fn check<D: Entity>(edit: usize, row: &Row<D>, names: &Names, refusal: &mut Refusal) {
    let Some(before) = &row.before else { return };
    if before.document.is_public() && !row.after.is_public() {
        let detail = "What was public never goes back to draft; deprecate or delete it.";
        refusal.clash(edit, Fault::body("/status", "already_public", detail), before.conflict());
    }
    // A term's category is there as long as the term is, in the trash or not.
    if D::KIND == Kind::Category && before.deleted_at.is_some() && row.deleted_at.is_none() {
        row.after.referred(&mut |kind, id| {
            if names.is_deleted(id) {
                let slug = names.slug(id);
                let detail = format!("The parent \"{slug}\" is deleted; restore it first.");
                let conflict = Conflict { kind: kind.as_str().into(), name: slug.clone(), slug };
                refusal.clash(edit, Fault::body("/parent", "deleted_reference", detail), conflict);
            }
        });
    }
}

/// A category that something stands in can't be deleted.
///
/// # Errors
/// [`Error::Conflict`] with what stands in one of those that are to be deleted; a database that does not answer.
pub(super) async fn refuse_in_use(conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let inside = sqlx::query!(
        r#"
        select kind as "kind!", slug as "slug!", name as "name!", in_trash as "in_trash!"
          from (select 'category' as kind, slug, name, false as in_trash from categories
                 where parent_id = any($1) and deleted_at is null and id <> all($1)
                union all
                select 'term', slug, name, deleted_at is not null from terms where category_id = any($1)) inside
         order by kind, slug
         limit $2
        "#,
        ids,
        NAMED_MAX + 1
    )
    .fetch_all(conn)
    .await?;
    if inside.is_empty() {
        return Ok(());
    }
    let in_trash = inside.iter().any(|thing| thing.in_trash);
    let hint = if in_trash { " Some are in the trash: restore and move them, or purge them." } else { "" };
    let detail = format!("Something stands in the category; move it into another one first.{hint}");
    let conflicts = inside.into_iter().take(usize::try_from(NAMED_MAX).unwrap_or(usize::MAX));
    let conflicts = conflicts.map(|thing| Conflict { kind: thing.kind, slug: thing.slug, name: thing.name }).collect();
    Err(Error::Conflict { detail, conflicts })
}
