//! `GET /sitemap.xml`: the site's pages of terms, for search engines (sitemaps.org); of a large glossary an index of
//! parts.

use actix_web::{
    get,
    web::{Bytes, Data, Path},
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{TermUrl, xml};
use crate::{
    changes::{Keys, Seen},
    clock::Timestamp,
    error::Error,
    http::{answer::Answer, auth::Reader, query::Query},
    openapi::{SiteErrors, SitemapPartErrors, TAG_SITE},
    postgres,
    state::State,
};

const NAMESPACE: &str = "http://www.sitemaps.org/schemas/sitemap/0.9";
const XML: &str = "application/xml";

/// How many pages one file lists. The protocol allows 50,000; a fifth of it is read, and compressed, in a moment.
const PART_TERMS_MAX: i64 = 10_000;

/// Read the sitemap
///
/// The addresses of all terms on the site, deprecated ones too, each with the time of its last change, as sitemaps.org has
/// it. Beyond 10,000 terms it is an index of `/sitemaps/{first}.xml`. The site passes it on from its own root.
#[utoipa::path(
    operation_id = "read_sitemap",
    tag = TAG_SITE,
    responses((status = 200, description = "The sitemap, or the index of its parts.", body = String, content_type = "application/xml"), SiteErrors),
    security((), ("bearer" = []))
)]
#[get("/sitemap.xml")]
pub async fn read_sitemap(state: Data<State>, query: Query, _reader: Reader) -> Result<Answer, Error> {
    query.finish()?;
    let site = state.http.site.term_url()?;
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let pages = pages(&mut snapshot, Uuid::nil(), PART_TERMS_MAX + 1).await?;
    let document = if i64::try_from(pages.len()).is_ok_and(|count| count <= PART_TERMS_MAX) {
        list(site, &pages)?
    } else {
        index(site, &parts(&mut snapshot).await?)?
    };
    answer(&state, &mut snapshot, document).await
}

/// Read a part of the sitemap
///
/// Up to 10,000 addresses, from the term with the id `first` on. `/sitemap.xml` names the parts.
#[utoipa::path(
    operation_id = "read_sitemap_part",
    tag = TAG_SITE,
    params(("first" = String, Path, description = "The id of the first term, as the index has it.", example = "01a20c78-4513-7096-a7ca-781f7eec597d", max_length = 36)),
    responses((status = 200, description = "A part of the sitemap.", body = String, content_type = "application/xml"), SitemapPartErrors),
    security((), ("bearer" = []))
)]
#[get("/sitemaps/{first}.xml")]
pub async fn read_sitemap_part(
    state: Data<State>,
    first: Path<String>,
    query: Query,
    _reader: Reader,
) -> Result<Answer, Error> {
    query.finish()?;
    let site = state.http.site.term_url()?;
    let first = Uuid::try_parse(&first).ok().filter(|id| id.to_string() == *first).ok_or(Error::NoAddress)?;
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let pages = pages(&mut snapshot, first, PART_TERMS_MAX).await?;
    if pages.is_empty() {
        return Err(Error::NoAddress);
    }
    answer(&state, &mut snapshot, list(site, &pages)?).await
}

async fn answer(state: &State, snapshot: &mut PgConnection, document: Bytes) -> Result<Answer, Error> {
    let number = postgres::position(snapshot).await?;
    let mut keys = Keys::default();
    // Whatever is written of what is public touches it.
    keys.add("terms/updated".into());
    Ok(Answer::of(XML, document, None, Seen { position: state.position(number), keys }))
}

struct Page {
    slug: String,
    updated_at: Timestamp,
}

/// In the order in which the terms were made, so that what is new stands at the end, and the parts before it stay.
async fn pages(conn: &mut PgConnection, first: Uuid, limit: i64) -> Result<Vec<Page>, sqlx::Error> {
    sqlx::query_as!(
        Page,
        r#"
        select slug, updated_at as "updated_at: Timestamp" from terms
         where id >= $1 and status <> 'draft' and deleted_at is null
         order by id
         limit $2
        "#,
        first,
        limit
    )
    .fetch_all(conn)
    .await
}

struct Part {
    first: Uuid,
    updated_at: Timestamp,
}

async fn parts(conn: &mut PgConnection) -> Result<Vec<Part>, sqlx::Error> {
    sqlx::query_as!(
        Part,
        r#"
        select (array_agg(id order by id))[1] as "first!", max(updated_at) as "updated_at!: Timestamp"
          from (select id, updated_at, (row_number() over (order by id) - 1) / $1 as part
                  from terms
                 where status <> 'draft' and deleted_at is null) numbered
         group by part
         order by part
        "#,
        PART_TERMS_MAX
    )
    .fetch_all(conn)
    .await
}

fn list(site: &TermUrl, pages: &[Page]) -> Result<Bytes, Error> {
    let entries = pages.iter().map(|page| (site.term(&page.slug), page.updated_at));
    entries_in("urlset", "url", entries)
}

fn index(site: &TermUrl, parts: &[Part]) -> Result<Bytes, Error> {
    let entries = parts.iter().map(|part| (site.root(&format!("/sitemaps/{}.xml", part.first)), part.updated_at));
    entries_in("sitemapindex", "sitemap", entries)
}

fn entries_in(root: &str, name: &str, entries: impl Iterator<Item = (String, Timestamp)>) -> Result<Bytes, Error> {
    xml::document(root, NAMESPACE, |xml| {
        for (address, updated_at) in entries {
            xml.create_element(name).write_inner_content(|xml| {
                xml::text(xml, "loc", &address)?;
                xml::text(xml, "lastmod", &updated_at.to_string())
            })?;
        }
        Ok(())
    })
}
