//! The document of a term: its members, their rules, and how its rows are stored.
//!
//! To add a member: a migration, then [`TermDocument`] (the compiler names every place that must know it, since the
//! struct is taken apart without `..`), the page in `page.rs`, and the test.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
};

use serde::Serialize;
use serde_json::Value;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use super::{links, page};
use crate::{
    clock::{Day, Timestamp},
    editorial::{
        Edit, Entity, Kind, Names, Row, Stored, Target, Touched, Which,
        document::{self as read, Choice, Members, Place, Reference},
    },
    error::{Error, Fault},
    http::{answer::Answer, slug::Slug},
    markdown::{self, Body},
    names::Name,
    state::State,
};

/// Where a term stands: never back to draft once it was public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TermStatus {
    Draft,
    Published,
    /// Still read, says so, and names what replaces it; lists leave it out.
    Deprecated,
}

impl Choice for TermStatus {
    const ALL: &'static [Self] = &[TermStatus::Draft, TermStatus::Published, TermStatus::Deprecated];

    fn as_str(self) -> &'static str {
        match self {
            TermStatus::Draft => "draft",
            TermStatus::Published => "published",
            TermStatus::Deprecated => "deprecated",
        }
    }
}

impl TermStatus {
    /// The status that a row has.
    ///
    /// # Errors
    /// One that a newer version has stored.
    pub(super) fn of(column: &str) -> Result<Self, Error> {
        let known = Self::ALL.iter().find(|status| status.as_str() == column).copied();
        known.ok_or_else(|| Error::internal("a status that this version does not know"))
    }
}

/// What kind of name an alias is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AliasKind {
    Synonym,
    Acronym,
    Spelling,
    /// Found, and shown as no longer to be used.
    Deprecated,
    /// Found by search, and never shown (SKOS's `hiddenLabel`).
    Hidden,
}

impl Choice for AliasKind {
    const ALL: &'static [Self] =
        &[AliasKind::Synonym, AliasKind::Acronym, AliasKind::Spelling, AliasKind::Deprecated, AliasKind::Hidden];

    fn as_str(self) -> &'static str {
        match self {
            AliasKind::Synonym => "synonym",
            AliasKind::Acronym => "acronym",
            AliasKind::Spelling => "spelling",
            AliasKind::Deprecated => "deprecated",
            AliasKind::Hidden => "hidden",
        }
    }
}

/// Another name of a term.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Alias {
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "Base model")]
    pub name: Name,
    pub kind: AliasKind,
}

/// A citation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Source {
    /// One line, 1 to 300 characters.
    #[schema(min_length = 1, max_length = 300, example = "On the Opportunities and Risks of Foundation Models")]
    pub title: String,
    /// An absolute address, http or https, at most 2,000 characters; once a term.
    #[schema(format = "uri", max_length = 2000, example = "https://arxiv.org/abs/2108.07258")]
    pub url: String,
    #[schema(required, min_length = 1, max_length = 200, example = "Stanford CRFM")]
    pub publisher: Option<String>,
    #[schema(required, value_type = Option<String>, format = Date, example = "2021-08-16")]
    pub published_on: Option<Day>,
}

/// A term as editors write it, with what it refers to by slugs.
// `R`: references as they were written, ids, or slugs of the day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[schema(as = TermDocument, bound = "")]
pub struct TermDocument<R = Reference> {
    /// Made from the name where a new document has none; it stays as it is where a change has none, or null.
    #[schema(value_type = String, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$", max_length = 100, example = "foundation-model")]
    pub slug: Option<Slug>,
    /// Unique in the glossary, case, accents and punctuation aside; 1 to 200 characters.
    #[schema(value_type = String, min_length = 1, max_length = 200, example = "Foundation Model")]
    pub name: Name,
    /// Plain text of one to three sentences, 1 to 1,000 characters.
    #[schema(min_length = 1, max_length = 1000)]
    pub definition: String,
    /// The explanation: Markdown, at most 65,536 bytes.
    #[schema(value_type = String)]
    pub body: Body,
    /// A slug of the day, a former one, or an id; as all references.
    #[schema(value_type = String, pattern = "^[a-z0-9]+(-[a-z0-9]+)*$", max_length = 100, example = "core-concepts")]
    pub category: R,
    /// `draft` where it is absent. Never back to draft once it was public.
    pub status: TermStatus,
    /// When an editor last checked that all of it still holds.
    #[schema(required, value_type = Option<String>, format = Date, example = "2026-11-02")]
    pub reviewed_on: Option<Day>,
    /// In the editor's order; at most 50.
    #[schema(max_items = 50)]
    pub aliases: Vec<Alias>,
    /// A set, at most 100; the page shows the union of what both ends wrote.
    #[schema(value_type = Vec<String>, max_items = 100)]
    pub related: Vec<R>,
    /// What this term is a kind or a part of: a set, at most 20, without cycles.
    #[schema(value_type = Vec<String>, max_items = 20)]
    pub broader: Vec<R>,
    /// In the editor's order, at most 20, without cycles; a deprecated term has at least one.
    #[schema(value_type = Vec<String>, max_items = 20)]
    pub replaced_by: Vec<R>,
    /// The companies that are known for the term: a set, at most 100.
    #[schema(value_type = Vec<String>, max_items = 100)]
    pub companies: Vec<R>,
    /// In the editor's order, at most 50.
    #[schema(max_items = 50)]
    pub sources: Vec<Source>,
}

impl TermDocument {
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
        let definition = members.required("definition", |place, value| place.line(value, 1, 1000));
        let body = members.optional("body", read::markdown).unwrap_or_default();
        let category = members.required("category", read::reference);
        let status = members.optional("status", read::choice).unwrap_or(TermStatus::Draft);
        let reviewed_on = members.optional("reviewed_on", read::day);
        let aliases =
            members.optional("aliases", |place, value| read_aliases(place, value, name.as_ref())).unwrap_or_default();
        let related =
            members.optional("related", |place, value| read_references(place, value, 100)).unwrap_or_default();
        let broader = members.optional("broader", |place, value| read_references(place, value, 20)).unwrap_or_default();
        let replaced_by =
            members.optional("replaced_by", |place, value| read_references(place, value, 20)).unwrap_or_default();
        if status == TermStatus::Deprecated && replaced_by.is_empty() && !members.is_faulty("replaced_by") {
            members.fault(
                "replaced_by",
                "replacement_required",
                "A deprecated term names at least one term that replaces it.",
            );
        }
        let companies =
            members.optional("companies", |place, value| read_references(place, value, 100)).unwrap_or_default();
        let sources = members.optional("sources", read_sources).unwrap_or_default();
        members.finish();
        Some(TermDocument {
            slug,
            name: name?,
            definition: definition?,
            body,
            category: category?,
            status,
            reviewed_on,
            aliases,
            related,
            broader,
            replaced_by,
            companies,
            sources,
        })
    }
}

impl<R> TermDocument<R> {
    /// All that the document refers to, where it stands.
    fn references(&self, add: &mut dyn FnMut(Kind, &R)) {
        let TermDocument { category, related, broader, replaced_by, companies, .. } = self;
        add(Kind::Category, category);
        related.iter().chain(broader).chain(replaced_by).for_each(|term| add(Kind::Term, term));
        companies.iter().for_each(|company| add(Kind::Company, company));
    }

    /// The same document with other references; sets are kept sorted.
    fn map<S: Ord>(self, other: impl Fn(Kind, R) -> S) -> TermDocument<S> {
        let TermDocument {
            slug,
            name,
            definition,
            body,
            category,
            status,
            reviewed_on,
            aliases,
            related,
            broader,
            replaced_by,
            companies,
            sources,
        } = self;
        let list = |kind: Kind, references: Vec<R>| -> Vec<S> {
            references.into_iter().map(|reference| other(kind, reference)).collect()
        };
        let set = |kind: Kind, references: Vec<R>| -> Vec<S> {
            let mut references = list(kind, references);
            references.sort_unstable();
            references
        };
        TermDocument {
            slug,
            name,
            definition,
            body,
            category: other(Kind::Category, category),
            status,
            reviewed_on,
            aliases,
            related: set(Kind::Term, related),
            broader: set(Kind::Term, broader),
            replaced_by: list(Kind::Term, replaced_by),
            companies: set(Kind::Company, companies),
            sources,
        }
    }
}

fn read_aliases(place: &mut Place<'_>, value: &Value, own: Option<&Name>) -> Option<Vec<Alias>> {
    let aliases = place.list(value, 50, |place, value| {
        let mut members = Members::within(place, value)?;
        let name = members.required("name", |place, value| {
            let name = read::name(place, value)?;
            match own {
                Some(own) if own.key() == name.key() => {
                    place.fault("own_name", "The term has this name already; leave the alias out.")
                }
                _ => Some(name),
            }
        });
        let kind = members.optional("kind", read::choice).unwrap_or(AliasKind::Synonym);
        members.finish();
        Some(Alias { name: name?, kind })
    })?;
    place.distinct(&aliases, |alias| alias.name.key().to_owned());
    Some(aliases)
}

fn read_references(place: &mut Place<'_>, value: &Value, max: usize) -> Option<Vec<Reference>> {
    let references = place.list(value, max, read::reference)?;
    place.distinct(&references, Clone::clone);
    Some(references)
}

fn read_sources(place: &mut Place<'_>, value: &Value) -> Option<Vec<Source>> {
    let sources = place.list(value, 50, |place, value| {
        let mut members = Members::within(place, value)?;
        let title = members.required("title", |place, value| place.line(value, 1, 300));
        let url = members.required("url", read::web_address);
        let publisher = members.optional("publisher", |place, value| place.line(value, 1, 200));
        let published_on = members.optional("published_on", read::day);
        members.finish();
        Some(Source { title: title?, url: url?, publisher, published_on })
    })?;
    place.distinct(&sources, |source| source.url.clone());
    Some(sources)
}

impl Entity for TermDocument<Uuid> {
    const KIND: Kind = Kind::Term;
    type Written = TermDocument;
    type Shown = TermDocument<String>;

    fn parse(value: &Value) -> Result<TermDocument, Vec<Fault>> {
        TermDocument::parse(value)
    }

    fn edit(target: Target, written: TermDocument) -> Edit {
        Edit::Term(target, written)
    }

    fn wanted_slug(written: &TermDocument) -> Option<&Slug> {
        written.slug.as_ref()
    }

    fn written_name(written: &TermDocument) -> &Name {
        &written.name
    }

    fn references(written: &TermDocument, add: &mut dyn FnMut(Kind, &Reference)) {
        written.references(add);
    }

    fn resolve(written: TermDocument, slug: Slug, names: &mut Names) -> Self {
        let TermDocument {
            slug: _,
            name,
            definition,
            body,
            category,
            status,
            reviewed_on,
            aliases,
            related,
            broader,
            replaced_by,
            companies,
            sources,
        } = written;
        let own = names.id(Kind::Term, &Reference::Slug(slug.clone()), || "/slug".into());
        let resolved = TermDocument {
            slug: Some(slug),
            name,
            definition,
            body,
            // An unknown category is a fault, so the nil id is never stored.
            category: names.live_id(Kind::Category, &category, "/category").unwrap_or_default(),
            status,
            reviewed_on,
            aliases,
            related: names.id_set(Kind::Term, &related, "related"),
            broader: names.id_set(Kind::Term, &broader, "broader"),
            replaced_by: names.ids(Kind::Term, &replaced_by, "replaced_by"),
            companies: names.id_set(Kind::Company, &companies, "companies"),
            sources,
        };
        for (member, ids) in
            [("related", &resolved.related), ("broader", &resolved.broader), ("replaced_by", &resolved.replaced_by)]
        {
            if own.is_some_and(|own| ids.contains(&own)) {
                names.fault(format!("/{member}"), "itself", "A term can't have a relation to itself; leave it out.");
            }
        }
        resolved
    }

    fn referred(&self, add: &mut dyn FnMut(Kind, Uuid)) {
        self.references(&mut |kind, id| add(kind, *id));
    }

    fn shown(&self, names: &Names) -> TermDocument<String> {
        self.clone().map(|_, id| names.slug(id))
    }

    fn respelled(written: TermDocument, names: &Names) -> TermDocument<String> {
        written.map(|kind, reference| names.respell(kind, reference))
    }

    fn without(&self, other: Uuid) -> Option<TermDocument> {
        let mut document = self.clone();
        let TermDocument { related, broader, replaced_by, companies, .. } = &mut document;
        [related, broader, replaced_by, companies].into_iter().for_each(|links| links.retain(|id| *id != other));
        let stranded = document.status == TermStatus::Deprecated && document.replaced_by.is_empty();
        (!stranded).then(|| document.map(|_, id| Reference::Id(id)))
    }

    fn name(&self) -> &Name {
        &self.name
    }

    fn is_public(&self) -> bool {
        self.status != TermStatus::Draft
    }

    async fn lock(conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
        sqlx::query!("select id from terms where id = any($1) order by id for no key update", ids)
            .fetch_all(conn)
            .await?;
        Ok(())
    }

    async fn load(conn: &mut PgConnection, ids: &[Uuid]) -> Result<HashMap<Uuid, Stored<Self>>, Error> {
        let rows = sqlx::query!(
            r#"
            select t.id, t.slug, t.name, t.definition, t.body, t.category_id, t.status, t.version, t.revision_id,
                   t.reviewed_on as "reviewed_on: Day", t.published_at as "published_at: Timestamp",
                   t.created_at as "created_at: Timestamp", t.updated_at as "updated_at: Timestamp",
                   t.deleted_at as "deleted_at: Timestamp",
                   (select coalesce(json_agg(json_build_object('name', a.name, 'kind', a.kind) order by a.position), '[]')
                      from term_aliases a where a.term_id = t.id) as "aliases!: Json<Vec<Alias>>",
                   array(select r.other from term_relations r where r.owner = t.id and r.kind = 'related' order by r.other) as "related!",
                   array(select r.other from term_relations r where r.owner = t.id and r.kind = 'broader' order by r.other) as "broader!",
                   array(select r.other from term_relations r where r.owner = t.id and r.kind = 'replaced_by' order by r.position) as "replaced_by!",
                   array(select l.company_id from term_companies l where l.term_id = t.id order by l.company_id) as "companies!",
                   (select coalesce(json_agg(json_build_object('title', s.title, 'url', s.url, 'publisher', s.publisher,
                                                               'published_on', s.published_on) order by s.position), '[]')
                      from term_sources s where s.term_id = t.id) as "sources!: Json<Vec<Source>>"
              from terms t where t.id = any($1)
            "#,
            ids
        )
        .fetch_all(conn)
        .await?;
        let stored = rows.into_iter().map(|row| {
            let slug = Slug::parse(&row.slug).map_err(Error::internal)?;
            let document = TermDocument {
                slug: Some(slug.clone()),
                name: Name::parse(&row.name).map_err(Error::internal)?,
                definition: row.definition,
                body: Body::stored(row.body),
                category: row.category_id,
                status: TermStatus::of(&row.status)?,
                reviewed_on: row.reviewed_on,
                aliases: row.aliases.0,
                related: row.related,
                broader: row.broader,
                replaced_by: row.replaced_by,
                companies: row.companies,
                sources: row.sources.0,
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

    async fn give_up_names(conn: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
        sqlx::query!("update terms set name_key = id::text where id = any($1)", ids).execute(conn).await?;
        Ok(())
    }

    async fn store(conn: &mut PgConnection, rows: &[Row<Self>]) -> Result<(), sqlx::Error> {
        let column = |get: fn(&Row<Self>) -> String| rows.iter().map(get).collect::<Vec<String>>();
        let bodies: Vec<&str> = rows.iter().map(|row| row.after.body.as_str()).collect();
        let html: Vec<Cow<'_, str>> = rows.iter().map(|row| row.after.body.html()).collect();
        sqlx::query!(
            r#"
            insert into terms (id, slug, name, name_key, definition, body, body_html, body_renderer, category_id, status,
                               published_at, reviewed_on, version, revision_id, deleted_at, created_at, updated_at)
            select id, slug, name, name_key, definition, body, body_html, $17, category_id, status,
                   published_at, reviewed_on, version, revision_id, deleted_at, created_at, updated_at
              from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[],
                          $9::text[], $10::timestamptz[], $11::date[], $12::bigint[], $13::uuid[], $14::timestamptz[],
                          $15::timestamptz[], $16::timestamptz[])
                as t (id, slug, name, name_key, definition, body, body_html, category_id, status, published_at, reviewed_on,
                      version, revision_id, deleted_at, created_at, updated_at)
            on conflict (id) do update set
                name = excluded.name, name_key = excluded.name_key, definition = excluded.definition, body = excluded.body,
                body_html = excluded.body_html, body_renderer = excluded.body_renderer, category_id = excluded.category_id,
                status = excluded.status, published_at = excluded.published_at, reviewed_on = excluded.reviewed_on,
                version = excluded.version, revision_id = excluded.revision_id, deleted_at = excluded.deleted_at,
                updated_at = excluded.updated_at
            "#,
            &rows.iter().map(|row| row.id).collect::<Vec<_>>(),
            &column(|row| row.slug.to_string()),
            &column(|row| row.after.name.as_str().to_owned()),
            &column(|row| row.after.name.key().to_owned()),
            &column(|row| row.after.definition.clone()),
            &bodies as &[&str],
            &html as &[Cow<'_, str>],
            &rows.iter().map(|row| row.after.category).collect::<Vec<_>>(),
            &column(|row| row.after.status.as_str().to_owned()),
            &rows.iter().map(|row| row.published_at).collect::<Vec<_>>() as &[Option<Timestamp>],
            &rows.iter().map(|row| row.after.reviewed_on).collect::<Vec<_>>() as &[Option<Day>],
            &rows.iter().map(|row| row.version).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.revision_id).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.deleted_at).collect::<Vec<_>>() as &[Option<Timestamp>],
            &rows.iter().map(|row| row.created_at).collect::<Vec<_>>() as &[Timestamp],
            &rows.iter().map(|row| row.updated_at).collect::<Vec<_>>() as &[Timestamp],
            markdown::RENDERER_VERSION
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn link(conn: &mut PgConnection, rows: &[Row<Self>]) -> Result<(), sqlx::Error> {
        links::store_aliases(conn, rows).await?;
        links::store_sources(conn, rows).await?;
        links::store_companies(conn, rows).await?;
        links::store_relations(conn, rows).await
    }

    async fn rename(conn: &mut PgConnection, ids: &[Uuid], slugs: &[String]) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "update terms t set slug = n.slug from unnest($1::uuid[], $2::text[]) as n (id, slug) where t.id = n.id",
            ids,
            slugs
        )
        .execute(conn)
        .await?;
        Ok(())
    }

    async fn remove(conn: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
        links::remove(&mut *conn, id).await?;
        sqlx::query!("delete from terms where id = $1", id).execute(conn).await?;
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
        touched.key(format!("term:{id}"));
        touched.key("terms/updated".into());
        let counted = |document: &&Self| document.status == TermStatus::Published;
        row.public_before().filter(counted).iter().for_each(|document| touched.counts.terms(document.category, -1));
        row.public_after().filter(counted).iter().for_each(|document| touched.counts.terms(document.category, 1));
        let before = row.before.as_ref().map(|before| &before.document);
        let acronyms = |document: &Self| -> Vec<Alias> {
            document.aliases.iter().filter(|alias| alias.kind == AliasKind::Acronym).cloned().collect()
        };
        let differs = |part: &dyn Fn(&Self, &Self) -> bool| before.is_none_or(|before| part(before, after));
        let listed = was != is || differs(&|a, b| a.name != b.name || a.status != b.status);
        let moved = differs(&|a, b| a.category != b.category);
        let renamed = differs(&|a, b| a.slug != b.slug);
        if listed || moved || renamed || differs(&|a, b| a.definition != b.definition || acronyms(a) != acronyms(b)) {
            touched.key(format!("term:{id}/card"));
        }
        if listed || moved {
            touched.key("terms".into());
            before.into_iter().chain([after]).for_each(|document| touched.lists_of(document.category));
            // Those that it keeps; those that come or go are ends of a link that changes.
            after.companies.iter().for_each(|company| touched.end(Kind::Company, *company));
        }
        if was != is
            || moved
            || differs(&|a, b| (a.status == TermStatus::Published) != (b.status == TermStatus::Published))
        {
            touched.key("categories".into());
        }
        if was != is && row.before.is_some() {
            touched.flip();
        }
        if was != is {
            // Under its id it answered as what never existed.
            touched.key(format!("slug:term/{id}"));
        }
        if was != is || renamed {
            row.former_slug().into_iter().chain([&row.slug]).for_each(|slug| touched.key(format!("slug:term/{slug}")));
        }
        // By kind: a link that changes its kind moves from one list of the other page to another.
        let links = |document: &Self| -> BTreeSet<(&'static str, Kind, Uuid)> {
            let TermDocument { related, broader, replaced_by, companies, .. } = document;
            let terms = [("related", related), ("broader", broader), ("replaced_by", replaced_by)];
            let terms = terms.into_iter().flat_map(|(link, ids)| ids.iter().map(move |id| (link, Kind::Term, *id)));
            terms.chain(companies.iter().map(|id| ("companies", Kind::Company, *id))).collect()
        };
        let (old, new) = (before.map(links).unwrap_or_default(), links(after));
        old.symmetric_difference(&new).for_each(|(_, kind, id)| touched.end(*kind, *id));
    }
}
