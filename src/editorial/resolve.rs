//! What the slugs and ids in documents stand for: what is in the database, and what this write makes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Entity, Kind,
    document::{self, Reference},
};
use crate::{error::Fault, http::slug::Slug};

/// A file with thousands of dead references needs a few hints, not thousands of searches.
const CLOSEST_MAX: usize = 100;

/// Ids by the kind of their entities.
type Entities = BTreeMap<Kind, BTreeSet<Uuid>>;

/// Entities by the names that documents use for them.
#[derive(Debug, Default)]
pub struct Names {
    ids: HashMap<(Kind, Reference), Uuid>,
    /// The slug of the day of each entity that is referred to.
    slugs: HashMap<Uuid, Slug>,
    /// What is in the trash: still linked, but nothing can stand in it.
    deleted: HashSet<Uuid>,
    closest: HashMap<(Kind, Reference), String>,
    /// Of the document that is being resolved.
    faults: Vec<Fault>,
}

impl Names {
    /// What documents refer to, looked up at once: by slug of the day, former slug, or id.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn look_up(
        conn: &mut PgConnection,
        references: &BTreeSet<(Kind, Reference)>,
    ) -> Result<Self, sqlx::Error> {
        if references.is_empty() {
            return Ok(Names::default());
        }
        let slugs = |of: Kind| -> Vec<&str> {
            let slugs = references.iter().filter_map(|(kind, reference)| match reference {
                Reference::Slug(slug) if *kind == of => Some(slug.as_str()),
                Reference::Slug(_) | Reference::Id(_) => None,
            });
            slugs.collect()
        };
        let ids = references.iter().filter_map(|(_, reference)| match reference {
            Reference::Id(id) => Some(*id),
            Reference::Slug(_) => None,
        });
        // By lists, and not by a join with what is asked: how much that is Postgres could only guess, and a wrong guess
        // made it read the whole table for each.
        let found = sqlx::query!(
            r#"
            select kind as "kind!", slug as "slug!", entity as "entity!" from slug_history where kind = 'term' and slug = any($1)
            union all
            select kind, slug, entity from slug_history where kind = 'category' and slug = any($2)
            union all
            select kind, slug, entity from slug_history where kind = 'company' and slug = any($3)
            union all
            select kind, slug, entity from slug_history where entity = any($4)
            "#,
            &slugs(Kind::Term) as &[&str],
            &slugs(Kind::Category) as &[&str],
            &slugs(Kind::Company) as &[&str],
            &ids.collect::<Vec<Uuid>>()
        )
        .fetch_all(&mut *conn)
        .await?;
        let mut names = Names::default();
        let mut entities = Entities::new();
        for row in found {
            if let (Some(kind), Ok(slug)) = (Kind::parse(&row.kind), Slug::parse(&row.slug)) {
                // A large write has given slugs to all that it makes before the first of it is there.
                names.add(kind, &slug, row.entity);
                entities.entry(kind).or_default().insert(row.entity);
            }
        }
        names.look_up_slugs(conn, entities).await?;
        Ok(names)
    }

    /// What documents of one kind refer to, looked up at once.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn of_documents<D: Entity>(
        conn: &mut PgConnection,
        documents: impl IntoIterator<Item = &D>,
    ) -> Result<Self, sqlx::Error> {
        let mut entities = Entities::new();
        for document in documents {
            document.referred(&mut |kind, id| {
                entities.entry(kind).or_default().insert(id);
            });
        }
        let mut names = Names::default();
        names.look_up_slugs(conn, entities).await?;
        Ok(names)
    }

    /// Their slugs of the day, and which of them are in the trash.
    async fn look_up_slugs(&mut self, conn: &mut PgConnection, mut entities: Entities) -> Result<(), sqlx::Error> {
        let mut of = |kind| entities.remove(&kind).unwrap_or_default().into_iter().collect::<Vec<Uuid>>();
        let found = sqlx::query!(
            r#"
            select id as "id!", 'term' as "kind!", slug as "slug!", deleted_at is not null as "deleted!" from terms where id = any($1)
            union all
            select id, 'category', slug, deleted_at is not null from categories where id = any($2)
            union all
            select id, 'company', slug, deleted_at is not null from companies where id = any($3)
            "#,
            &of(Kind::Term),
            &of(Kind::Category),
            &of(Kind::Company)
        )
        .fetch_all(conn)
        .await?;
        for row in found {
            if let (Some(kind), Ok(slug)) = (Kind::parse(&row.kind), Slug::parse(&row.slug)) {
                self.add(kind, &slug, row.id);
                self.mark(row.id, row.deleted);
            }
        }
        Ok(())
    }

    /// What this write makes or renames can be referred to as well.
    pub(crate) fn add(&mut self, kind: Kind, slug: &Slug, id: Uuid) {
        self.ids.insert((kind, Reference::Slug(slug.clone())), id);
        self.ids.insert((kind, Reference::Id(id)), id);
        self.slugs.insert(id, slug.clone());
    }

    /// What this write deletes or restores.
    pub(crate) fn mark(&mut self, id: Uuid, deleted: bool) {
        if deleted {
            self.deleted.insert(id);
        } else {
            self.deleted.remove(&id);
        }
    }

    /// What a large write deletes and restores, of what was looked up.
    pub(super) async fn mark_staged(&mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let ids: Vec<Uuid> = self.slugs.keys().copied().collect();
        let marks = sqlx::query!(
            r#"select entity, deleted as "deleted!" from incoming where kind = 'category' and deleted is not null and entity = any($1)"#,
            &ids
        );
        for row in marks.fetch_all(conn).await? {
            self.mark(row.entity, row.deleted);
        }
        Ok(())
    }

    #[must_use]
    pub fn is_deleted(&self, id: Uuid) -> bool {
        self.deleted.contains(&id)
    }

    /// The same without a database: the closest of the slugs that were [added](Names::add).
    pub(crate) fn guess_closest(&mut self, references: &BTreeSet<(Kind, Reference)>) {
        for (kind, reference) in references.iter().filter(|asked| !self.ids.contains_key(*asked)).take(CLOSEST_MAX) {
            if let Some(closest) = self.nearest(*kind, &reference.to_string()) {
                self.closest.insert((*kind, reference.clone()), closest);
            }
        }
    }

    /// The slug of an entity of this kind that is spelt most like `text`.
    pub(crate) fn nearest(&self, kind: Kind, text: &str) -> Option<String> {
        let slugs = self.ids.keys().filter_map(|(known, reference)| match reference {
            Reference::Slug(slug) if *known == kind => Some(slug.as_str()),
            _ => None,
        });
        let mut slugs: Vec<&str> = slugs.collect();
        slugs.sort_unstable();
        document::nearest(text, &slugs).map(ToOwned::to_owned)
    }

    /// The entity that a reference stands for.
    pub(crate) fn get(&self, kind: Kind, reference: &Reference) -> Option<Uuid> {
        self.ids.get(&(kind, reference.clone())).copied()
    }

    /// The closest slugs to those that don't exist, for their faults.
    pub(super) async fn look_up_closest(
        &mut self,
        conn: &mut PgConnection,
        references: &BTreeSet<(Kind, Reference)>,
    ) -> Result<(), sqlx::Error> {
        let missing = references.iter().filter(|asked| !self.ids.contains_key(*asked)).take(CLOSEST_MAX);
        for (kind, reference) in missing.cloned().collect::<Vec<_>>() {
            if let Some(closest) = closest(conn, kind, &reference.to_string()).await? {
                self.closest.insert((kind, reference), closest);
            }
        }
        Ok(())
    }

    /// The faults of the document that has just been resolved.
    pub(crate) fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    /// The entity that a reference at `pointer` stands for; a fault where there is none.
    pub fn id(&mut self, kind: Kind, reference: &Reference, pointer: impl FnOnce() -> String) -> Option<Uuid> {
        let asked = (kind, reference.clone());
        if let Some(id) = self.ids.get(&asked) {
            return Some(*id);
        }
        let detail = unknown(kind, &reference.to_string(), self.closest.get(&asked));
        self.faults.push(Fault::body(pointer(), "unknown_reference", detail));
        None
    }

    /// The same for what something can only stand in while it is there: a category.
    pub fn live_id(&mut self, kind: Kind, reference: &Reference, pointer: &str) -> Option<Uuid> {
        let id = self.id(kind, reference, || pointer.to_owned())?;
        if self.is_deleted(id) {
            let detail = format!("The {} \"{reference}\" is deleted; restore it, or choose another.", kind.as_str());
            self.faults.push(Fault::body(pointer, "deleted_reference", detail));
        }
        Some(id)
    }

    /// The entities of a list of references, each once, in the order of the list.
    pub fn ids(&mut self, kind: Kind, references: &[Reference], member: &str) -> Vec<Uuid> {
        let mut ids = Vec::with_capacity(references.len());
        for (index, reference) in references.iter().enumerate() {
            let Some(id) = self.id(kind, reference, || format!("/{member}/{index}")) else { continue };
            // A slug and an id, or a former slug, may name one entity twice; that is one link.
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// A set of references: order does not matter, so it is kept by id.
    pub fn id_set(&mut self, kind: Kind, references: &[Reference], member: &str) -> Vec<Uuid> {
        let mut ids = self.ids(kind, references, member);
        ids.sort_unstable();
        ids
    }

    pub fn fault(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.faults.push(Fault::body(pointer, code, detail));
    }

    /// The slug of the day of an entity that a document refers to.
    #[must_use]
    pub fn slug(&self, id: Uuid) -> String {
        self.slugs.get(&id).map_or_else(|| id.to_string(), ToString::to_string)
    }

    /// The slug of the day of what a reference names; the reference itself where it names nothing any more.
    #[must_use]
    pub fn respell(&self, kind: Kind, reference: Reference) -> String {
        let asked = (kind, reference);
        match self.ids.get(&asked) {
            Some(id) => self.slug(*id),
            None => asked.1.to_string(),
        }
    }
}

/// What is said of a reference that names nothing.
#[must_use]
pub fn unknown(kind: Kind, reference: &str, closest: Option<&String>) -> String {
    let hint = closest.map_or_else(|| ".".into(), |slug| format!("; did you mean \"{slug}\"?"));
    format!("There is no {} \"{reference}\"{hint}", kind.as_str())
}

/// The slug, of the day or a former one, drafts included, that is spelt most like `text`: for those who may write.
async fn closest(conn: &mut PgConnection, kind: Kind, text: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        select h.slug from slug_history h
         where h.kind = $1 and (h.slug || '') % $2
         order by similarity(h.slug || '', $2) desc, h.slug
         limit 1
        "#,
        kind.as_str(),
        text
    )
    .fetch_optional(conn)
    .await
}
