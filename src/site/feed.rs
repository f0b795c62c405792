//! `GET /feed.atom`: the terms that were changed last, as an Atom feed (RFC 4287).

use std::io;

use actix_web::{get, web::Data};
use uuid::Uuid;

use super::{
    SiteSettings, TermUrl,
    xml::{self, Xml},
};
use crate::{
    changes::{Keys, Seen},
    clock::Timestamp,
    error::Error,
    http::{answer::Answer, auth::Reader, query::Query},
    openapi::{SiteErrors, TAG_SITE},
    postgres,
    state::State,
};

const NAMESPACE: &str = "http://www.w3.org/2005/Atom";
const ATOM: &str = "application/atom+xml";

const ENTRIES_MAX: i64 = 50;

/// A feed has a date even where nothing was ever published.
const NEVER: &str = "1970-01-01T00:00:00Z";

/// Read the feed
///
/// The 50 published terms that were changed last, the newest first, as an Atom feed (RFC 4287) that links to the site. An
/// entry's `id` stays through every rename. The site passes it on from its own root.
#[utoipa::path(
    operation_id = "read_feed",
    tag = TAG_SITE,
    responses((status = 200, description = "The feed.", body = String, content_type = "application/atom+xml"), SiteErrors),
    security((), ("bearer" = []))
)]
#[get("/feed.atom")]
pub async fn read_feed(state: Data<State>, query: Query, _reader: Reader) -> Result<Answer, Error> {
    query.finish()?;
    let site = &state.http.site;
    let term_url = site.term_url()?;
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let entries = sqlx::query_as!(
        Entry,
        r#"
        select t.id, t.slug, t.name, t.definition, t.published_at as "published_at!: Timestamp",
               t.updated_at as "updated_at: Timestamp", c.id as category_id, c.slug as category_slug, c.name as category_name
          from terms t join categories c on c.id = t.category_id
         where t.status = 'published' and t.deleted_at is null
         order by t.updated_at desc, t.id desc
         limit $1
        "#,
        ENTRIES_MAX
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let number = postgres::position(&mut snapshot).await?;
    let mut keys = Keys::default();
    // Whatever is written of what is public touches it.
    keys.add("terms/updated".into());
    entries.iter().for_each(|entry| keys.add(format!("category:{}/card", entry.category_id)));
    let document = xml::document("feed", NAMESPACE, |xml| write(xml, site, term_url, &entries))?;
    Ok(Answer::of(ATOM, document, None, Seen { position: state.position(number), keys }))
}

struct Entry {
    id: Uuid,
    slug: String,
    name: String,
    definition: String,
    published_at: Timestamp,
    updated_at: Timestamp,
    category_id: Uuid,
    category_slug: String,
    category_name: String,
}

fn write(xml: &mut Xml, site: &SiteSettings, term_url: &TermUrl, entries: &[Entry]) -> io::Result<()> {
    let own = term_url.root("/feed.atom");
    xml::text(xml, "id", &own)?;
    xml::text(xml, "title", &site.name)?;
    xml::text(xml, "updated", &entries.first().map_or(NEVER.into(), |newest| newest.updated_at.to_string()))?;
    xml::attributes(xml, "link", &[("rel", "self"), ("type", ATOM), ("href", &own)])?;
    xml::attributes(xml, "link", &[("rel", "alternate"), ("href", term_url.glossary())])?;
    xml.create_element("author").write_inner_content(|xml| xml::text(xml, "name", &site.name))?;
    for entry in entries {
        xml.create_element("entry").write_inner_content(|xml| {
            xml::text(xml, "id", &entry.id.urn().to_string())?;
            xml::text(xml, "title", &entry.name)?;
            xml::text(xml, "updated", &entry.updated_at.to_string())?;
            xml::text(xml, "published", &entry.published_at.to_string())?;
            xml::attributes(xml, "link", &[("rel", "alternate"), ("href", &term_url.term(&entry.slug))])?;
            xml::attributes(xml, "category", &[("term", &entry.category_slug), ("label", &entry.category_name)])?;
            xml::text(xml, "summary", &entry.definition)
        })?;
    }
    Ok(())
}
