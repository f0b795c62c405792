//! What terms, categories and companies share as things that editors write: documents, and the one write.
//!
//! A resource's module says what its document is and how its rows are stored ([`Entity`]); this module brings many
//! documents of all three kinds into the database at once, as one transaction with its revisions and changes.

mod bulk;
mod claim;
mod count;
pub mod diff;
pub mod document;
pub mod edit;
pub mod history;
mod operations;
mod plan;
mod purge;
mod refusal;
mod resolve;
mod spill;
mod staged;
mod store;
mod touch;
pub mod trash;
mod write;

pub use bulk::{Deletion, FormerSlug, Incoming, IncomingRevision, Mistake, Mistakes, Mode, Outcome, PART, Record};
pub(crate) use operations::{LINK_ADDED, LINK_REMOVED, link_operation, operations};
pub use resolve::{Names, unknown};
pub use touch::Touched;
pub use write::{Ending, Write, write, write_or_not};

use std::collections::HashMap;

use document::Choice as _;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    categories::CategoryDocument,
    clock::Timestamp,
    companies::CompanyDocument,
    error::{Conflict, Error, Fault},
    http::{answer::Answer, slug::Slug},
    names::Name,
    state::State,
    terms::TermDocument,
};

/// The three kinds of entity.
// Spelled as in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Kind {
    Term,
    Category,
    Company,
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        document::Choice::as_str(self)
    }

    /// What the addresses of its entities begin with.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Term => "terms",
            Kind::Category => "categories",
            Kind::Company => "companies",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Kind::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }
}

impl document::Choice for Kind {
    const ALL: &'static [Self] = &[Kind::Term, Kind::Category, Kind::Company];

    fn as_str(self) -> &'static str {
        match self {
            Kind::Term => "term",
            Kind::Category => "category",
            Kind::Company => "company",
        }
    }
}

/// Whether an edit makes an entity or replaces the document of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    New,
    Existing(Uuid),
}

/// What is to become of one entity. A document's references may name what another edit of the same write makes.
#[derive(Debug, Clone)]
pub enum Edit {
    Term(Target, TermDocument),
    Category(Target, CategoryDocument),
    Company(Target, CompanyDocument),
    /// Into the trash: nobody sees it, its links are kept, its name is free.
    Delete(Kind, Uuid),
    /// Out of the trash, with all of its links.
    Restore(Kind, Uuid),
}

/// What a change did, spelled as in the log and in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Created,
    Updated,
    Deleted,
    Restored,
    Purged,
}

impl What {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            What::Created => "created",
            What::Updated => "updated",
            What::Deleted => "deleted",
            What::Restored => "restored",
            What::Purged => "purged",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [What::Created, What::Updated, What::Deleted, What::Restored, What::Purged]
            .into_iter()
            .find(|what| what.as_str() == text)
    }
}

/// What became of an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub id: Uuid,
    pub slug: Slug,
    /// The entity's version after it; the same as before where the edit changed nothing.
    pub version: i64,
    pub changed: bool,
}

/// An entity as it is in the database, locked by this transaction.
#[derive(Debug, Clone)]
pub struct Stored<D> {
    pub slug: Slug,
    pub document: D,
    pub version: i64,
    pub revision_id: Uuid,
    pub published_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
}

impl<D: Entity> Stored<D> {
    /// Whether anyone may see it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.deleted_at.is_none() && self.document.is_public()
    }

    /// As what stands in the way of something.
    #[must_use]
    pub fn conflict(&self) -> Conflict {
        Conflict { kind: D::KIND.as_str().into(), slug: self.slug.to_string(), name: self.document.name().to_string() }
    }
}

/// A document about to be stored: `before` is what it replaces.
#[derive(Debug)]
pub struct Row<D> {
    pub id: Uuid,
    pub slug: Slug,
    pub before: Option<Stored<D>>,
    pub after: D,
    pub version: i64,
    pub revision_id: Uuid,
    /// Whether that revision came with an import, and is there already.
    pub revised: bool,
    pub published_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
}

impl<D: Entity> Row<D> {
    #[must_use]
    pub fn was_public(&self) -> bool {
        self.before.as_ref().is_some_and(Stored::is_public)
    }

    #[must_use]
    pub fn is_public(&self) -> bool {
        self.deleted_at.is_none() && self.after.is_public()
    }

    /// The document that readers saw.
    #[must_use]
    pub fn public_before(&self) -> Option<&D> {
        self.before.as_ref().filter(|before| before.is_public()).map(|before| &before.document)
    }

    /// The document that readers see from now on.
    #[must_use]
    pub fn public_after(&self) -> Option<&D> {
        self.is_public().then_some(&self.after)
    }

    fn what(&self) -> What {
        match &self.before {
            // An import may bring what was deleted where it comes from.
            None if self.deleted_at.is_some() => What::Deleted,
            None => What::Created,
            Some(before) => match (before.deleted_at, self.deleted_at) {
                (None, Some(_)) => What::Deleted,
                (Some(_), None) => What::Restored,
                _ => What::Updated,
            },
        }
    }

    /// The slug that it had, where this write changes it.
    #[must_use]
    pub fn former_slug(&self) -> Option<&Slug> {
        self.before.as_ref().map(|before| &before.slug).filter(|former| **former != self.slug)
    }

    /// The rows whose part of the document changed, and so is written anew; and the ids of those that had one before.
    pub fn changed<'r, T: PartialEq>(rows: &'r [Self], part: impl Fn(&'r D) -> T) -> (Vec<&'r Self>, Vec<Uuid>) {
        let differs =
            |row: &&'r Self| row.before.as_ref().is_none_or(|before| part(&before.document) != part(&row.after));
        let changed: Vec<&Self> = rows.iter().filter(differs).collect();
        let replaced = changed.iter().filter(|row| row.before.is_some()).map(|row| row.id).collect();
        (changed, replaced)
    }
}

/// A kind's document with its references resolved to ids: what the write compares, and stores in sets.
///
/// Adding a member to a kind touches its implementation of this alone.
pub trait Entity: Clone + PartialEq + Send + Sized + 'static {
    const KIND: Kind;
    /// The document as it came, with references as they were written.
    type Written: Clone + Send;
    /// The document as a revision keeps it, with references as slugs of the day.
    type Shown: Serialize;

    /// Reads a document, with all its faults at once.
    fn parse(value: &Value) -> Result<Self::Written, Vec<Fault>>;
    fn edit(target: Target, written: Self::Written) -> Edit;
    /// The slug that the document asks for; `None` makes one from the name.
    fn wanted_slug(written: &Self::Written) -> Option<&Slug>;
    fn written_name(written: &Self::Written) -> &Name;
    /// All that the document refers to, so that it can be looked up at once.
    fn references(written: &Self::Written, add: &mut dyn FnMut(Kind, &document::Reference));
    /// References become ids; an unknown one is a fault at its pointer.
    fn resolve(written: Self::Written, slug: Slug, names: &mut Names) -> Self;
    /// All that the document refers to.
    fn referred(&self, add: &mut dyn FnMut(Kind, Uuid));
    /// Ids become slugs of the day.
    fn shown(&self, names: &Names) -> Self::Shown;
    /// References become slugs of the day where they still name something: an old document, to compare it with a newer.
    fn respelled(written: Self::Written, names: &Names) -> Self::Shown;
    /// The document without its links to `other`; none where it can't be without.
    fn without(&self, other: Uuid) -> Option<Self::Written>;

    fn name(&self) -> &Name;
    /// Whether anyone may see it, as long as it is not deleted.
    fn is_public(&self) -> bool;

    /// Locks the rows in the order of their ids.
    fn lock(conn: &mut PgConnection, ids: &[Uuid]) -> impl Future<Output = Result<(), sqlx::Error>>;
    /// Reads what the rows hold, and what hangs on them. After [`lock`](Entity::lock) it is a statement of its own, whose
    /// snapshot sees what the last holder of the locks committed.
    fn load(conn: &mut PgConnection, ids: &[Uuid]) -> impl Future<Output = Result<HashMap<Uuid, Stored<Self>>, Error>>;
    /// Sets the keys of names aside that are about to change, so that others may take them in the same write.
    fn give_up_names(conn: &mut PgConnection, ids: &[Uuid]) -> impl Future<Output = Result<(), sqlx::Error>>;
    /// Inserts or updates the entities' own rows, all but a changed slug.
    fn store(conn: &mut PgConnection, rows: &[Row<Self>]) -> impl Future<Output = Result<(), sqlx::Error>>;
    /// Writes what hangs on the entities: called once the entities of all kinds are there.
    fn link(conn: &mut PgConnection, rows: &[Row<Self>]) -> impl Future<Output = Result<(), sqlx::Error>>;
    /// Changed slugs, last before the head: an update of a referenced key would hold up others' links to the row.
    fn rename(conn: &mut PgConnection, ids: &[Uuid], slugs: &[String])
    -> impl Future<Output = Result<(), sqlx::Error>>;
    /// Removes the entity's own rows, for good.
    fn remove(conn: &mut PgConnection, id: Uuid) -> impl Future<Output = Result<(), sqlx::Error>>;
    /// Names the keys that the change touches.
    fn touch(row: &Row<Self>, touched: &mut Touched);

    /// Its page, drafts included where asked.
    fn page(state: &State, which: Which<'_>, drafts: bool) -> impl Future<Output = Result<Option<Answer>, Error>>;
}

/// Which entity a page is asked for: by its address; or by its id, after a write.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    Slug(&'a Slug),
    Id(Uuid),
}

impl Which<'_> {
    #[must_use]
    pub fn slug(&self) -> Option<&str> {
        match self {
            Which::Slug(slug) => Some(slug.as_str()),
            Which::Id(_) => None,
        }
    }

    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Which::Slug(_) => None,
            Which::Id(id) => Some(*id),
        }
    }
}
