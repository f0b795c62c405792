//! Which entity an address is about: what has its slug of the day; else where it is now, for an id and a former slug;
//! else that it is deleted, or nothing, with the closest slugs.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use percent_encoding::percent_decode_str;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{answer::Answer, auth::Reader, query::Query, slug::Slug};
use crate::{
    changes::{Keys, Seen},
    editorial::{self, Entity, Kind, Which},
    error::{Error, Fault},
    names, postgres,
    state::State,
};

/// An address of an entity, or below it: `/terms/{slug}`, `/terms/{slug}/document`.
pub struct Address {
    pub segment: Segment,
    /// What follows the segment, query included: the same of an entity that has moved.
    rest: String,
}

impl FromRequest for Address {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let segment = percent_decode_str(request.match_info().query("slug")).decode_utf8_lossy();
        // `/plural/slug/rest`
        let below = request.path().splitn(4, '/').nth(3).map_or_else(String::new, |below| format!("/{below}"));
        let query = request.query_string();
        let rest = if query.is_empty() { below } else { format!("{below}?{query}") };
        ready(Ok(Address { segment: Segment::of(&segment), rest }))
    }
}

impl Address {
    /// The same of an address whose segment goes on with `ending`: `/terms/{slug}.jsonld`.
    #[must_use]
    pub fn ending(self, ending: &str) -> Self {
        Address { rest: format!("{ending}{}", self.rest), ..self }
    }

    /// The address under an id.
    #[must_use]
    pub fn of(id: Uuid) -> Self {
        Address { segment: Segment::Id(id), rest: String::new() }
    }
}

/// What stands for an entity in a path or a parameter.
pub enum Segment {
    Slug(Slug),
    /// `/terms/{id}` leads to the slug of the day, so an address can outlive every rename.
    Id(Uuid),
    /// What can be no slug: nothing is there, but something close may be meant.
    Neither(String),
}

impl Segment {
    #[must_use]
    pub fn of(path: &str) -> Self {
        match Slug::parse(path) {
            Ok(slug) => Segment::Slug(slug),
            // Only the hyphenated form is an id: one entity, one address.
            Err(_) => match Uuid::try_parse(path).ok().filter(|id| id.to_string() == path.to_ascii_lowercase()) {
                Some(id) => Segment::Id(id),
                None => Segment::Neither(path.chars().take(100).collect()),
            },
        }
    }

    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Segment::Slug(slug) => slug.to_string(),
            Segment::Id(id) => id.to_string(),
            Segment::Neither(text) => text.clone(),
        }
    }
}

/// The public entity that a filter names, by a slug of the day, a former one, or an id. One that names nothing is a fault
/// of the query, with the closest slug; the query's other mistakes are still found.
///
/// # Errors
/// A database that does not answer.
pub async fn filter(
    snapshot: &mut PgConnection,
    query: &mut Query,
    parameter: &'static str,
    kind: Kind,
    value: Option<&str>,
) -> Result<Option<Uuid>, sqlx::Error> {
    let Some(value) = value else { return Ok(None) };
    let found = match Segment::of(value) {
        Segment::Neither(_) => None,
        Segment::Slug(slug) => find(&mut *snapshot, kind, Some(slug.as_str()), None, false).await?.0,
        Segment::Id(id) => find(&mut *snapshot, kind, None, Some(id), false).await?.0,
    };
    if let Some(found) = found.filter(|found| !found.deleted) {
        return Ok(Some(found.id));
    }
    let shown: String = value.chars().take(100).collect();
    let (_, closest) = closest(snapshot, kind, &shown).await?;
    let detail = editorial::unknown(kind, &shown, closest.first());
    query.fault(Fault::query(parameter, "unknown_reference", detail));
    Ok(None)
}

/// How often a page is looked for that comes and goes.
const LOOKS: usize = 5;

/// What an address leads to.
pub enum Located {
    Here(Uuid),
    /// `308`: the entity has another slug now, or was asked for by its id.
    Moved(Answer),
}

/// The page of the entity at an address, for whoever asks.
///
/// # Errors
/// [`Error::Gone`] and [`Error::NoEntity`], or a database that does not answer.
pub async fn page<D: Entity>(state: &State, address: &Address, reader: &Reader) -> Result<Answer, Error> {
    read(state, D::KIND, address, reader, async |which, drafts| D::page(state, which, drafts).await).await
}

/// What `form` shows of the entity at an address, for whoever asks.
///
/// # Errors
/// [`Error::Gone`] and [`Error::NoEntity`], or a database that does not answer.
pub async fn read(
    state: &State,
    kind: Kind,
    address: &Address,
    reader: &Reader,
    form: impl AsyncFn(Which<'_>, bool) -> Result<Option<Answer>, Error>,
) -> Result<Answer, Error> {
    let drafts = reader.0.is_some();
    for _ in 0..LOOKS {
        if let Segment::Slug(slug) = &address.segment
            && let Some(answer) = form(Which::Slug(slug), drafts).await?
        {
            return Ok(answer);
        }
        // Where it is here now, it has become visible between the two looks.
        if let Located::Moved(answer) = locate(state, kind, address, drafts, false).await? {
            return Ok(answer);
        }
    }
    Err(Error::Overtaken)
}

/// The entity at the end of a link, in whatever state: drafts and what is in the trash can be linked, and wait.
///
/// # Errors
/// [`Error::NoOtherEnd`]; a database that does not answer.
pub async fn other_end(state: &State, kind: Kind, segment: &str) -> Result<Uuid, Error> {
    let address = Address { segment: Segment::of(segment), rest: String::new() };
    let mut connection = postgres::snapshot(&state.database()).await?;
    let found = match &address.segment {
        Segment::Neither(_) => None,
        Segment::Slug(slug) => find(&mut connection, kind, Some(slug.as_str()), None, true).await?.0,
        Segment::Id(id) => find(&mut connection, kind, None, Some(*id), true).await?.0,
    };
    if let Some(found) = found {
        return Ok(found.id);
    }
    let (number, suggestions) = closest(&mut connection, kind, segment).await?;
    let seen = Seen { position: state.position(number), keys: Keys::default() };
    Err(Error::NoOtherEnd { kind, other: address.segment.text(), suggestions, seen })
}

/// Which entity an address is about, from one statement. With `drafts` also those that were never public; with
/// `trash` those that are deleted as well.
///
/// Only those slugs lead the anonymous on under which the entity was public: for others it never existed.
///
/// # Errors
/// [`Error::Gone`] and [`Error::NoEntity`], or a database that does not answer.
pub async fn locate(state: &State, kind: Kind, address: &Address, drafts: bool, trash: bool) -> Result<Located, Error> {
    let text = address.segment.text();
    let mut keys = Keys::default();
    // What can be no slug will never be one.
    if !matches!(address.segment, Segment::Neither(_)) {
        keys.add(format!("slug:{}/{text}", kind.as_str()));
    }
    let (slug, id) = match &address.segment {
        Segment::Neither(_) => (None, None),
        Segment::Slug(slug) => (Some(slug.as_str()), None),
        Segment::Id(id) => (None, Some(*id)),
    };
    let mut connection = state.database().acquire().await?;
    let (found, number) = find(&mut connection, kind, slug, id, drafts).await?;
    let position = state.position(number);
    if let Some(found) = found {
        keys.add(format!("{}:{}/card", kind.as_str(), found.id));
        if found.deleted && !trash {
            return Err(Error::Gone { seen: Seen { position, keys } });
        }
        if found.slug == text {
            return Ok(Located::Here(found.id));
        }
        let location = format!("/{}/{}{}", kind.plural(), found.slug, address.rest);
        return Ok(Located::Moved(Answer::moved(location, Seen { position, keys })));
    }
    // Whoever tries out addresses is told that they are not there, one at a time what is close to them.
    let (suggestions, is_searched) = match state.suggestions.try_acquire() {
        Ok(_turn) => (closest(&mut connection, kind, &text).await?.1, true),
        Err(_taken) => (Vec::new(), false),
    };
    Err(Error::NoEntity { suggestions, is_searched, seen: Seen { position, keys } })
}

struct Found {
    id: Uuid,
    slug: String,
    deleted: bool,
}

/// What a slug or an id leads to, and the position at which it does.
async fn find(
    conn: &mut PgConnection,
    kind: Kind,
    slug: Option<&str>,
    id: Option<Uuid>,
    drafts: bool,
) -> Result<(Option<Found>, i64), sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select e.id as "id?", e.slug as "slug?", e.deleted as "deleted?", log.position as "position!"
          from (select coalesce(max(position), 0) as position from changes) log
          left join lateral (
              select found.id, found.slug, found.deleted
                from (select h.entity as id from slug_history h where h.kind = $1 and h.slug = $2 and (h.public or $4)
                      union all
                      select $3::uuid where $3::uuid is not null) asked
                join lateral (
                    select t.id, t.slug, t.deleted_at is not null as deleted from terms t
                     where $1 = 'term' and t.id = asked.id and (t.published_at is not null or $4)
                    union all
                    select c.id, c.slug, c.deleted_at is not null from categories c where $1 = 'category' and c.id = asked.id
                    union all
                    select k.id, k.slug, k.deleted_at is not null from companies k
                     where $1 = 'company' and k.id = asked.id and (k.published_at is not null or $4)
                ) found on true
          ) e on true
        "#,
        kind.as_str(),
        slug,
        id,
        drafts
    )
    .fetch_one(conn)
    .await?;
    let found = match (row.id, row.slug, row.deleted) {
        (Some(id), Some(slug), Some(deleted)) => Some(Found { id, slug, deleted }),
        _ => None,
    };
    Ok((found, row.position))
}

/// Up to five slugs of public entities that are meant, probably, and the position at which they were: first the terms of
/// which it is another name (`llm`, `base-model`), then those that are spelt most like it.
///
/// # Errors
/// A database that does not answer.
async fn closest(conn: &mut PgConnection, kind: Kind, text: &str) -> Result<(i64, Vec<String>), sqlx::Error> {
    let found = sqlx::query!(
        r#"
        select coalesce((select max(position) from changes), 0) as "position!",
               array(
                   select slug
                     from (select t.slug, 2 as likeness
                             from term_aliases a join terms t on t.id = a.term_id
                            where $1 = 'term' and a.name_key = $3 and t.deleted_at is null and t.status <> 'draft'
                           union all
                           select h.slug, similarity(h.slug, $2)
                             from slug_history h
                            where h.kind = $1 and h.public and (h.slug || '') % $2
                              and (exists (select from terms t
                                            where $1 = 'term' and t.slug = h.slug and t.deleted_at is null and t.status <> 'draft')
                                or exists (select from categories c where $1 = 'category' and c.slug = h.slug and c.deleted_at is null)
                                or exists (select from companies k where $1 = 'company' and k.slug = h.slug and k.is_public))
                          ) close
                    group by slug
                    order by max(likeness) desc, slug
                    limit 5
               ) as "suggestions!"
        "#,
        kind.as_str(),
        text,
        names::fold(text)
    )
    .fetch_one(conn)
    .await?;
    Ok((found.position, found.suggestions))
}
