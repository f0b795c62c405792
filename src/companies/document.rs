//! The document of a company: its members, their rules, and how its rows are stored.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::page;
use crate::{
    clock::Timestamp,
    countries::is_country,
    editorial::{
        Edit, Entity, Kind, Names, Row, Stored, Target, Touched, Which,
        document::{self as read, Choice, Members, Place, Reference},
    },
    error::{Error, Fault},
    http::{answer::Answer, slug::Slug},
    names::Name,
    state::State,
};

/// Where a company stands: never back to draft once it was public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompanyStatus {
    Draft,
    Published,
}

impl Choice for CompanyStatus {
    const ALL: &'static [Self] = &[CompanyStatus::Draft, CompanyStatus::Published];

    fn as_str(self) -> &'static str {
        match self {
            CompanyStatus::Draft => "draft",
            CompanyStatus::Published => "published",
        }
    }
}

impl CompanyStatus {
    /// The status that a row has.
    ///
    /// # Errors
    /// One that a newer version has stored.
    pub(super) fn of(column: &str) -> Result<Self, Error> {
        let known = Self::ALL.iter().find(|status| status.as_str() == column).copied();
        known.ok_or_else(|| Error::internal("a status that this version does not know"))
    }
}

/// A company as editors write it, with what it refers to by slugs.
// `R`: references as they were written, ids, or slugs of the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = CompanyDocument, bound = "")]
pub struct CompanyDocument<R = Reference> {
    /// Made from the name where a new document has none; it stays as it is where a change has none, or null.
    #[schema(value_type = String, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$", max_length = 100, example = "anthropic")]
    pub slug: Option<Slug>,
    /// 1 to 200 characters; two companies may bear one name.
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "Anthropic")]
    pub name: Name,
    /// Plain text, at most 1,000 characters.
    #[schema(max_length = 1000)]
    pub description: String,
    /// An absolute address, http or https.
    #[schema(required, format = "uri", example = "https://www.anthropic.com")]
    pub website: Option<String>,
    /// ISO 3166-1 alpha-2, upper case.
    #[schema(required, pattern = "^[A-Z]{2}$", example = "US")]
    pub country: Option<String>,
    #[schema(required, minimum = 1000, maximum = 2999, example = 2021)]
    pub founded_year: Option<i16>,
    /// `draft` where it is absent. Never back to draft once it was public.
    pub status: CompanyStatus,
    /// Slugs of the day, former ones, or ids: a set, at most 50.
    #[schema(value_type = Vec<String>, max_items = 50)]
    pub categories: Vec<R>,
}

impl CompanyDocument {
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
        let website = members.optional("website", read::web_address);
        let country = members.optional("country", |place, value| {
            let code = place.line(value, 2, 2)?;
            if is_country(&code) {
                Some(code)
            } else {
                place.fault("unknown_country", "Expected a code of ISO 3166-1 alpha-2 in upper case, such as US or DE.")
            }
        });
        let founded_year = members.optional("founded_year", |place, value| place.integer(value, 1000, 2999));
        let status = members.optional("status", read::choice).unwrap_or(CompanyStatus::Draft);
        let categories = members.optional("categories", |place, value| {
            let categories = place.list(value, 50, read::reference)?;
            place.distinct(&categories, Clone::clone);
            Some(categories)
        });
        members.finish();
        Some(CompanyDocument {
            slug,
            name: name?,
            description,
            website,
            country,
            // The bounds above fit.
            founded_year: founded_year.and_then(|year| i16::try_from(year).ok()),
            status,
            categories: categories.unwrap_or_default(),
        })
    }
}

impl<R> CompanyDocument<R> {
    /// The same document with other references, kept sorted.
    fn map<S: Ord>(self, other: impl Fn(R) -> S) -> CompanyDocument<S> {
        let CompanyDocument { slug, name, description, website, country, founded_year, status, categories } = self;
        let mut categories: Vec<S> = categories.into_iter().map(other).collect();
        categories.sort_unstable();
        CompanyDocument { slug, name, description, website, country, founded_year, status, categories }
    }
}

impl Entity for CompanyDocument<Uuid> {
    const KIND: Kind = Kind::Company;
    type Written = CompanyDocument;
    type Shown = CompanyDocument<String>;

    fn parse(value: &Value) -> Result<CompanyDocument, Vec<Fault>> {
        CompanyDocument::parse(value)
    }

    fn edit(target: Target, written: CompanyDocument) -> Edit {
        Edit::Company(target, written)
    }

    fn wanted_slug(written: &CompanyDocument) -> Option<&Slug> {
        written.slug.as_ref()
    }

    fn written_name(written: &CompanyDocument) -> &Name {
        &written.name
    }

    fn references(written: &CompanyDocument, add: &mut dyn FnMut(Kind, &Reference)) {
        written.categories.iter().for_each(|category| add(Kind::Category, category));
    }

    fn resolve(written: CompanyDocument, slug: Slug, names: &mut Names) -> Self {
        let CompanyDocument { slug: _, name, description, website, country, founded_year, status, categories } =
            written;
        let categories = names.id_set(Kind::Category, &categories, "categories");
        CompanyDocument { slug: Some(slug), name, description, website, country, founded_year, status, categories }
    }

    fn referred(&self, add: &mut dyn FnMut(Kind, Uuid)) {
        self.categories.iter().for_each(|category| add(Kind::Category, *category));
    }

    fn shown(&self, names: &Names) -> CompanyDocument<String> {
        self.clone().map(|category| names.slug(category))
    }

    fn respelled(written: CompanyDocument, names: &Names) -> CompanyDocument<String> {
        written.map(|category| names.respell(Kind::Category, category))
    }

    fn without(&self, other: Uuid) -> Option<CompanyDocument> {
        let mut document = self.clone();
        document.categories.retain(|category| *category != other);
        Some(document.map(Reference::Id))
    }

    fn name(&self) -> &Name {
        &self.name
    }

    fn is_public(&self) -> bool {
        self.status == CompanyStatus::Published
    }

    async fn lock(conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
        sqlx::query!("select id from companies where id = any($1) order by id for no key update", ids)
            .fetch_all(conn)
            .await?;
        Ok(())
    }

    async fn load(conn: &mut PgConnection, ids: &[Uuid]) -> Result<HashMap<Uuid, Stored<Self>>, Error> {
        let rows = sqlx::query!(
            r#"
            select k.id, k.slug, k.name, k.description, k.website, k.country, k.founded_year, k.status, k.version, k.revision_id,
                   k.published_at as "published_at: Timestamp", k.created_at as "created_at: Timestamp",
                   k.updated_at as "updated_at: Timestamp", k.deleted_at as "deleted_at: Timestamp",
                   array(select l.category_id from company_categories l where l.company_id = k.id order by l.category_id) as "categories!"
              from companies k where k.id = any($1)
            "#,
            ids
        )
        .fetch_all(conn)
        .await?;
        let stored = rows.into_iter().map(|row| {
            let slug = Slug::parse(&row.slug).map_err(Error::internal)?;
            let document = CompanyDocument {
                slug: Some(slug.clone()),
                name: Name::parse(&row.name).map_err(Error::internal)?,
                description: row.description,
                website: row.website,
                country: row.country,
                founded_year: row.founded_year,
                status: CompanyStatus::of(&row.status)?,
                categories: row.categories,
            };
            let (version, revision_id) = (row.version, row.revision_id);
            let (published_at, deleted_at) = (row.published_at, row.deleted_at);
            let (created_at, updated_at) = (row.created_at, row.updated_at);
            Ok((
                row.id,
                Stored { slug, document, version, revision_id, published_at, created_at, updated_at, deleted_at },
            ))
        });
        stored.collect()
    }

    /// Companies' names are not unique.
    async fn give_up_names(_: &mut PgConnection, _: &[Uuid]) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn store(conn: &mut PgConnection, rows: &[Row<Self>]) -> Result<(), sqlx::Error> {
        sqlx::query!(
            r#"
            insert into companies (id, slug, name, name_key, description, website, country, founded_year, status, published_at,
                                   version, revision_id, deleted_at, created_at, updated_at)
            select id, slug, name, name_key, description, website, country, founded_year, status, published_at,
                   version, revision_id, deleted_at, created_at, updated_at
              from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::smallint[],
                          $9::text[], $10::timestamptz[], $11::bigint[], $12::uuid[], $13::timestamptz[],
                          $14::timestamptz[], $15::timestamptz[])
                as k (id, slug, name, name_key, description, website, country, founded_year, status, published_at, version,
                      revision_id, deleted_at, created_at, updated_at)
            on conflict (id) do update set
                name = excluded.name, name_key = excluded.name_key, description = excluded.description,
                website = excluded.website, country = excluded.country, founded_year = excluded.founded_year,
                status = excluded.status, published_at = excluded.published_at, version = excluded.version,
                revision_id = excluded.revision_id, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at
            "#,
            &rows.iter().map(|row| row.id).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.slug.as_str()).collect::<Vec<_>>() as &[&str],
            &rows.iter().map(|row| row.after.name.as_str()).collect::<Vec<_>>() as &[&str],
            &rows.iter().map(|row| row.after.name.key()).collect::<Vec<_>>() as &[&str],
            &rows.iter().map(|row| row.after.description.as_str()).collect::<Vec<_>>() as &[&str],
            &rows.iter().map(|row| row.after.website.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
            &rows.iter().map(|row| row.after.country.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
            &rows.iter().map(|row| row.after.founded_year).collect::<Vec<_>>() as &[Option<i16>],
            &rows.iter().map(|row| row.after.status.as_str()).collect::<Vec<_>>() as &[&str],
            &rows.iter().map(|row| row.published_at).collect::<Vec<_>>() as &[Option<Timestamp>],
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

    async fn link(conn: &mut PgConnection, rows: &[Row<Self>]) -> Result<(), sqlx::Error> {
        let (changed, replaced) = Row::changed(rows, |document| &document.categories);
        if changed.is_empty() {
            return Ok(());
        }
        sqlx::query!("delete from company_categories where company_id = any($1)", &replaced)
            .execute(&mut *conn)
            .await?;
        let links = changed.iter().flat_map(|row| row.after.categories.iter().map(|category| (row.id, *category)));
        let (companies, categories): (Vec<Uuid>, Vec<Uuid>) = links.unzip();
        sqlx::query!(
            r#"
            insert into company_categories (company_id, category_id, name_key, is_public)
            select l.company_id, l.category_id, k.name_key, k.is_public
              from unnest($1::uuid[], $2::uuid[]) as l (company_id, category_id) join companies k on k.id = l.company_id
            "#,
            &companies,
            &categories
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn rename(conn: &mut PgConnection, ids: &[Uuid], slugs: &[String]) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update companies k set slug = n.slug from unnest($1::uuid[], $2::text[]) as n (id, slug) where k.id = n.id",
            ids,
            slugs
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn remove(conn: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from company_categories where company_id = $1", id).execute(&mut *conn).await?;
        sqlx::query!("delete from companies where id = $1", id).execute(conn).await?;
        Ok(())
    }

    async fn page(state: &State, which: Which<'_>, drafts: bool) -> Result<Option<Answer>, Error> {
        page::answer(state, which, drafts).await
    }

    fn touch(row: &Row<Self>, touched: &mut Touched) {
        let (was, is) = (row.was_public(), row.is_public());
        if !was && !is {
            return;
        }
        let (id, after) = (row.id, &row.after);
        let before = row.before.as_ref().map(|before| &before.document);
        let shown = |document: &Self| {
            let CompanyDocument { slug, name, description, website, country, founded_year: _, status, categories: _ } =
                document.clone();
            (slug, name, description, website, country, status)
        };
        // Lists narrowed by country are made from the key of all lists.
        let narrowed = before.is_none_or(|before| before.country != after.country);
        let listed = was != is || before.is_none_or(|before| before.name != after.name);
        touched.key(format!("company:{id}"));
        let named = |document: Option<&Self>| document.map(|document| document.categories.clone()).unwrap_or_default();
        named(row.public_before()).into_iter().for_each(|category| touched.counts.companies(category, -1));
        named(row.public_after()).into_iter().for_each(|category| touched.counts.companies(category, 1));
        if was != is || before.is_none_or(|before| shown(before) != shown(after)) {
            touched.key(format!("company:{id}/card"));
        }
        if was != is {
            touched.key("categories".into());
            // Lists of its terms can be asked for while it is public.
            touched.key(format!("company:{id}/terms"));
            // Under its id it answered as what never existed.
            touched.key(format!("slug:company/{id}"));
        }
        if listed && row.before.is_some() {
            // A term's page shows its first companies by name: another name may bring it in, or push it out.
            touched.flip();
        }
        if was != is || before.is_none_or(|before| before.slug != after.slug) {
            row.former_slug()
                .into_iter()
                .chain([&row.slug])
                .for_each(|slug| touched.key(format!("slug:company/{slug}")));
        }
        if listed || narrowed {
            touched.key("companies".into());
        }
        let old = before.map(|before| before.categories.as_slice()).unwrap_or_default();
        for category in old.iter().chain(&after.categories) {
            if listed || !(old.contains(category) && after.categories.contains(category)) {
                touched.key(format!("category:{category}/companies"));
                touched.key("categories".into());
            }
        }
    }
}
