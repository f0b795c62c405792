//! The document of a category: its members, their rules, and how its rows are stored.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::page;
use crate::{
    clock::Timestamp,
    editorial::{
        Edit, Entity, Kind, Names, Row, Stored, Target, Touched, Which,
        document::{self as read, Members, Place, Reference},
    },
    error::{Error, Fault},
    http::{answer::Answer, slug::Slug},
    names::Name,
    state::State,
};

/// A category as editors write it, with what it refers to by slugs.
// `R`: references as they were written, ids, or slugs of the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = CategoryDocument, bound = "")]
pub struct CategoryDocument<R = Reference> {
    /// Made from the name where a new document has none; it stays as it is where a change has none, or null.
    #[schema(value_type = String, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$", max_length = 100, example = "core-concepts")]
    pub slug: Option<Slug>,
    /// Unique among the categories, case, accents and punctuation aside; 1 to 200 characters.
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "Core Concepts")]
    pub name: Name,
    /// Plain text, at most 1,000 characters.
    #[schema(max_length = 1000)]
    pub description: String,
    /// The category above, by a slug of the day, a former one, or an id; null at the top.
    #[schema(required, value_type = Option<String>, example = json!(null))]
    pub parent: Option<R>,
    /// Its place among its siblings, lowest first; equal ranks stand by name.
    #[schema(minimum = 0, maximum = 1_000_000, example = 1)]
    pub rank: i32,
}

impl CategoryDocument {
    /// Reads a document, with all its faults at once.
    ///
    /// # Errors
    /// Each fault with its JSON pointer, the rule, and what would pass.
    pub fn parse(value: &Value) -> Result<Self, Vec<Fault>> {
        read::document(value, Self::read)
    }

    fn read(place: Place<'_>, value: &Value) -> Option<Self> {
        let mut members = Members::of(place, value)?;
        let slug = members.optional("slug", read::slug);
        let name = members.required("name", read::name);
        let description =
            members.optional("description", |place, value| place.line(value, 0, 1000)).unwrap_or_default();
        let parent = members.optional("parent", read::reference);
        let rank = members.optional("rank", |place, value| place.integer(value, 0, 1_000_000)).unwrap_or_default();
        members.finish();
        // The bounds above fit.
        Some(CategoryDocument { slug, name: name?, description, parent, rank: i32::try_from(rank).unwrap_or_default() })
    }
}

impl<R> CategoryDocument<R> {
    /// The same document with another reference.
    fn map<S>(self, other: impl Fn(R) -> S) -> CategoryDocument<S> {
        let CategoryDocument { slug, name, description, parent, rank } = self;
        CategoryDocument { slug, name, description, parent: parent.map(other), rank }
    }
}

impl Entity for CategoryDocument<Uuid> {
    const KIND: Kind = Kind::Category;
    type Written = CategoryDocument;
    type Shown = CategoryDocument<String>;

    fn parse(value: &Value) -> Result<CategoryDocument, Vec<Fault>> {
        CategoryDocument::parse(value)
    }

    fn edit(target: Target, written: CategoryDocument) -> Edit {
        Edit::Category(target, written)
    }

    fn wanted_slug(written: &CategoryDocument) -> Option<&Slug> {
        written.slug.as_ref()
    }

    fn written_name(written: &CategoryDocument) -> &Name {
        &written.name
    }

    fn references(written: &CategoryDocument, add: &mut dyn FnMut(Kind, &Reference)) {
        written.parent.iter().for_each(|parent| add(Kind::Category, parent));
    }

    fn resolve(written: CategoryDocument, slug: Slug, names: &mut Names) -> Self {
        let CategoryDocument { slug: _, name, description, parent, rank } = written;
        let own = names.id(Kind::Category, &Reference::Slug(slug.clone()), || "/slug".into());
        let parent = parent.and_then(|parent| names.live_id(Kind::Category, &parent, "/parent"));
        if parent.is_some() && parent == own {
            names.fault("/parent", "itself", "A category can't be its own parent.");
        }
        CategoryDocument { slug: Some(slug), name, description, parent, rank }
    }

    fn referred(&self, add: &mut dyn FnMut(Kind, Uuid)) {
        self.parent.iter().for_each(|parent| add(Kind::Category, *parent));
    }

    fn shown(&self, names: &Names) -> CategoryDocument<String> {
        self.clone().map(|parent| names.slug(parent))
    }

    fn respelled(written: CategoryDocument, names: &Names) -> CategoryDocument<String> {
        written.map(|parent| names.respell(Kind::Category, parent))
    }

    fn without(&self, other: Uuid) -> Option<CategoryDocument> {
        let mut document = self.clone();
        document.parent = document.parent.filter(|parent| *parent != other);
        Some(document.map(Reference::Id))
    }

    fn name(&self) -> &Name {
        &self.name
    }

    fn is_public(&self) -> bool {
        true
    }

    async fn lock(conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
        sqlx::query!("select id from categories where id = any($1) order by id for no key update", ids)
            .fetch_all(conn)
            .await?;
        Ok(())
    }

    async fn load(conn: &mut PgConnection, ids: &[Uuid]) -> Result<HashMap<Uuid, Stored<Self>>, Error> {
        let rows = sqlx::query!(
            r#"
            select id, slug, name, description, parent_id, rank, version, revision_id,
                   created_at as "created_at: Timestamp", updated_at as "updated_at: Timestamp", deleted_at as "deleted_at: Timestamp"
              from categories where id = any($1)
            "#,
            ids
        )
        .fetch_all(conn)
        .await?;
        let stored = rows.into_iter().map(|row| {
            let slug = Slug::parse(&row.slug).map_err(Error::internal)?;
            let document = CategoryDocument {
                slug: Some(slug.clone()),
                name: Name::parse(&row.name).map_err(Error::internal)?,
                description: row.description,
                parent: row.parent_id,
                rank: row.rank,
            };
            let (version, revision_id) = (row.version, row.revision_id);
            let (created_at, updated_at, deleted_at) = (row.created_at, row.updated_at, row.deleted_at);
            Ok((
                row.id,
                Stored {
                    slug,
                    document,
                    version,
                    revision_id,
                    published_at: Some(created_at),
                    created_at,
                    updated_at,
                    deleted_at,
                },
            ))
        });
        stored.collect()
    }

    async fn give_up_names(conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
        sqlx::query!("update categories set name_key = id::text where id = any($1)", ids).execute(conn).await?;
        Ok(())
    }

    async fn store(conn: &mut PgConnection, rows: &[Row<Self>]) -> Result<(), sqlx::Error> {
        sqlx::query!(
            r#"
            insert into categories (id, slug, name, name_key, description, parent_id, rank, version, revision_id, deleted_at,
                                    created_at, updated_at)
            select id, slug, name, name_key, description, parent_id, rank, version, revision_id, deleted_at, created_at, updated_at
              from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::integer[], $8::bigint[],
                          $9::uuid[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[])
                as c (id, slug, name, name_key, description, parent_id, rank, version, revision_id, deleted_at, created_at,
                      updated_at)
            on conflict (id) do update set
                name = excluded.name, name_key = excluded.name_key, description = excluded.description,
                parent_id = excluded.parent_id, rank = excluded.rank, version = excluded.version,
                revision_id = excluded.revision_id, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at
            "#,
            &rows.iter().map(|row| row.id).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.slug.as_str()).collect::<Vec<_>>() as &[&str],
            &rows.iter().map(|row| row.after.name.as_str()).collect::<Vec<_>>() as &[&str],
            &rows.iter().map(|row| row.after.name.key()).collect::<Vec<_>>() as &[&str],
            &rows.iter().map(|row| row.after.description.as_str()).collect::<Vec<_>>() as &[&str],
            &rows.iter().map(|row| row.after.parent).collect::<Vec<_>>() as &[Option<Uuid>],
            &rows.iter().map(|row| row.after.rank).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.version).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.revision_id).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.deleted_at).collect::<Vec<_>>() as &[Option<Timestamp>],
            &rows.iter().map(|row| row.created_at).collect::<Vec<_>>() as &[Timestamp],
            &rows.iter().map(|row| row.updated_at).collect::<Vec<_>>() as &[Timestamp]
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    /// Nothing hangs on a category.
    async fn link(_: &mut PgConnection, _: &[Row<Self>]) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn rename(conn: &mut PgConnection, ids: &[Uuid], slugs: &[String]) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update categories c set slug = n.slug from unnest($1::uuid[], $2::text[]) as n (id, slug) where c.id = n.id",
            ids,
            slugs
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn remove(conn: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from categories where id = $1", id).execute(conn).await?;
        Ok(())
    }

    async fn page(state: &State, which: Which<'_>, _: bool) -> Result<Option<Answer>, Error> {
        page::answer(state, which).await
    }

    fn touch(row: &Row<Self>, touched: &mut Touched) {
        let (id, after) = (row.id, &row.after);
        let (was, is) = (row.was_public(), row.is_public());
        if !was && !is {
            return;
        }
        let before = row.before.as_ref().map(|before| &before.document);
        touched.key(format!("category:{id}"));
        touched.key(format!("category:{id}/card"));
        touched.key("categories".into());
        if was != is {
            // Under its id it answered as what never existed, or as what is deleted; and so do lists that it narrows.
            touched.key(format!("slug:category/{id}"));
            touched.key(format!("category:{id}/terms"));
            touched.key(format!("category:{id}/companies"));
        }
        if was != is && before.is_some() {
            // The pages of companies that name it.
            touched.flip();
        }
        if was != is || before.is_none_or(|before| before.slug != after.slug) {
            row.former_slug()
                .into_iter()
                .chain([&row.slug])
                .for_each(|slug| touched.key(format!("slug:category/{slug}")));
        }
        // The list of children on the parent's page.
        before
            .into_iter()
            .chain([after])
            .filter_map(|document| document.parent)
            .for_each(|parent| touched.key(format!("category:{parent}")));
        if before.is_none_or(|before| before.parent != after.parent) {
            before
                .into_iter()
                .chain([after])
                .filter_map(|document| document.parent)
                .for_each(|parent| touched.lists_of(parent));
        }
    }
}
