//! What was: the versions of an entity, what differs between two of them, and the way back.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Entity, Names,
    diff::{Difference, diff},
    document::Reference,
    edit::{Intent, rewrite},
};
use crate::{
    changes::{Keys, Seen},
    clock::Timestamp,
    error::Error,
    http::{
        answer::Answer,
        lookup::{Address, Located, locate},
        paging::{After, Page},
        query::Query,
    },
    postgres,
    state::State,
};

/// One version of an entity, without its document.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Revision {
    #[schema(minimum = 1, example = 2)]
    pub version: i64,
    /// `created`, `updated`, `deleted` or `restored`; more may come.
    #[schema(example = "updated")]
    pub what: String,
    /// The name of the token that wrote it.
    #[schema(example = "ada")]
    pub author: String,
    /// Why, in the author's words.
    #[schema(required, example = "The first paper was from 2021.")]
    pub message: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// The versions of an entity, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevisionList {
    #[schema(max_items = 100)]
    pub items: Vec<Revision>,
    /// Where the next page begins: send it as `cursor`. `null` on the last page.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// How many versions there are.
    #[schema(minimum = 1, example = 2)]
    pub total: i64,
}

/// What differs between two versions.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevisionDiff {
    #[schema(minimum = 1, example = 1)]
    pub from: i64,
    #[schema(minimum = 1, example = 2)]
    pub to: i64,
    /// By member, in the order of their names; empty where the documents say the same.
    #[schema(max_items = 1000)]
    pub differences: Vec<Difference>,
}

/// A version with its document as it was.
pub struct Version {
    pub id: Uuid,
    pub revision: Revision,
    pub document: Value,
}

/// A document's versions, the newest first.
///
/// # Errors
/// [`Error::NoEntity`], [`Error::BadRequest`]; a database that does not answer.
pub async fn list<D: Entity>(state: &State, address: &Address, mut query: Query) -> Result<Answer, Error> {
    let path = format!("/{}/{}/revisions", D::KIND.plural(), address.segment.text());
    let page: Page<i64> = Page::take(&mut query, &path, &[]);
    query.finish()?;
    let id = match located::<D>(state, address).await? {
        Located::Moved(answer) => return Ok(answer),
        Located::Here(id) => id,
    };
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let before = page.after.as_ref().map_or(i64::MAX, |after| after.key);
    let mut rows = sqlx::query!(
        r#"
        select id, version, what, author, message, at as "at: Timestamp"
          from revisions
         where entity = $1 and version < $2
         order by version desc
         limit $3
        "#,
        id,
        before,
        page.limit + 1
    )
    .fetch_all(&mut *snapshot)
    .await?;
    let total = sqlx::query_scalar!(r#"select count(*) as "total!" from revisions where entity = $1"#, id)
        .fetch_one(&mut *snapshot)
        .await?;
    let seen = seen::<D>(state, id, postgres::position(&mut snapshot).await?);
    let next_cursor = page.cut(&mut rows, |row| After { key: row.version, id: row.id });
    let next = next_cursor.as_deref().map(|cursor| page.address(cursor));
    let items = rows.into_iter().map(|row| Revision {
        version: row.version,
        what: row.what,
        author: row.author,
        message: row.message,
        at: row.at,
    });
    let list = RevisionList { items: items.collect(), next_cursor, total };
    Ok(Answer::json(&list, None, seen)?.with_next(next))
}

/// One version as `show` makes it out of the row.
///
/// # Errors
/// [`Error::NoEntity`], [`Error::NoVersion`]; a database that does not answer.
pub async fn read<D: Entity, W: Serialize>(
    state: &State,
    address: &Address,
    number: &str,
    show: impl FnOnce(Revision, Value) -> W,
) -> Result<Answer, Error> {
    let id = match located::<D>(state, address).await? {
        Located::Moved(answer) => return Ok(answer),
        Located::Here(id) => id,
    };
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let found = version(&mut snapshot, id, parse(number)).await?;
    let seen = seen::<D>(state, id, postgres::position(&mut snapshot).await?);
    let Some(found) = found else { return Err(Error::NoVersion { seen }) };
    Answer::json(&show(found.revision, found.document), Some(found.id), seen)
}

/// What differs between two versions, in either direction.
///
/// # Errors
/// [`Error::NoEntity`], [`Error::NoVersion`]; a database that does not answer.
pub async fn compare<D: Entity>(state: &State, address: &Address, from: &str, to: &str) -> Result<Answer, Error> {
    let id = match located::<D>(state, address).await? {
        Located::Moved(answer) => return Ok(answer),
        Located::Here(id) => id,
    };
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let (before, after) =
        (version(&mut snapshot, id, parse(from)).await?, version(&mut snapshot, id, parse(to)).await?);
    let seen = seen::<D>(state, id, postgres::position(&mut snapshot).await?);
    let (Some(before), Some(after)) = (before, after) else { return Err(Error::NoVersion { seen }) };
    let (old, new) = comparable::<D>(&mut snapshot, &before.document, &after.document).await?;
    // Two long texts without anything in common take their time: not on the thread that answers others.
    let differences = tokio::task::spawn_blocking(move || diff(&old, &new)).await.map_err(Error::internal)?;
    let (from, to) = (before.revision.version, after.revision.version);
    Answer::json(&RevisionDiff { from, to, differences }, None, seen)
}

/// Writes the document of an old version again, as a new one. What is public stays so: the status of an old draft is not
/// taken.
///
/// # Errors
/// What [`rewrite`] returns; [`Error::NoVersion`]; a reference of the old document that names nothing any more.
pub async fn restore<D: Entity>(
    state: &State,
    address: &Address,
    number: &str,
    intent: &Intent,
) -> Result<Answer, Error> {
    let id = match locate(state, D::KIND, address, true, false).await? {
        Located::Moved(answer) => return Ok(answer),
        Located::Here(id) => id,
    };
    let mut connection = state.database().acquire().await?;
    let found = version(&mut connection, id, parse(number)).await?;
    let newest = postgres::position(&mut connection).await?;
    drop(connection);
    let Some(found) = found else { return Err(Error::NoVersion { seen: seen::<D>(state, id, newest) }) };
    let again = |current: Value| {
        let mut document = found.document.clone();
        if let (Some(members), Some(status)) = (document.as_object_mut(), current.get("status"))
            && members.get("status").is_some_and(|status| status == "draft")
        {
            members.insert("status".into(), status.clone());
        }
        document
    };
    rewrite::<D>(state, address, intent, again).await
}

/// The document as it is: references as slugs of the day.
///
/// # Errors
/// [`Error::NoEntity`], [`Error::Gone`]; a database that does not answer.
pub async fn document<D: Entity>(state: &State, address: &Address) -> Result<Answer, Error> {
    let id = match locate(state, D::KIND, address, true, false).await? {
        Located::Moved(answer) => return Ok(answer),
        Located::Here(id) => id,
    };
    let mut snapshot = postgres::snapshot(&state.database()).await?;
    let stored = D::load(&mut snapshot, &[id]).await?.remove(&id);
    let names = Names::of_documents(&mut snapshot, stored.iter().map(|stored| &stored.document)).await?;
    let seen = seen::<D>(state, id, postgres::position(&mut snapshot).await?);
    let Some(stored) = stored.filter(|stored| stored.deleted_at.is_none()) else {
        return Err(Error::NoEntity { suggestions: vec![], is_searched: true, seen });
    };
    Answer::json(&stored.document.shown(&names), Some(stored.revision_id), seen)
}

/// The history of what is in the trash can be read as well: that is how one learns what it was.
async fn located<D: Entity>(state: &State, address: &Address) -> Result<Located, Error> {
    locate(state, D::KIND, address, true, true).await
}

/// What only those with a token read is never cached; its key is the entity's.
fn seen<D: Entity>(state: &State, id: Uuid, number: i64) -> Seen {
    let mut keys = Keys::default();
    keys.add(format!("{}:{id}", D::KIND.as_str()));
    Seen { position: state.position(number), keys }
}

/// What is no number of a version is one that there never is.
fn parse(number: &str) -> i64 {
    // One version, one address: `01` and `+1` are none.
    number.parse().ok().filter(|parsed: &i64| parsed.to_string() == number).unwrap_or(0)
}

/// A version by its number.
pub(super) async fn version(conn: &mut PgConnection, id: Uuid, number: i64) -> Result<Option<Version>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select id, version, what, author, message, at as "at: Timestamp", document
          from revisions where entity = $1 and version = $2
        "#,
        id,
        number
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Version {
        id: row.id,
        revision: Revision {
            version: row.version,
            what: row.what,
            author: row.author,
            message: row.message,
            at: row.at,
        },
        document: row.document,
    }))
}

/// The newest of these revisions that is one of the entity's: its number, and its document.
pub(super) async fn latest_of(
    conn: &mut PgConnection,
    id: Uuid,
    revisions: &[Uuid],
) -> Result<Option<(i64, Value)>, sqlx::Error> {
    let row = sqlx::query!(
        "select version, document from revisions where entity = $1 and id = any($2) order by version desc limit 1",
        id,
        revisions
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.version, row.document)))
}

/// The slug that an entity was made under.
pub(super) async fn first_slug(state: &State, id: Uuid) -> Result<Option<String>, sqlx::Error> {
    let slug = sqlx::query_scalar!("select document ->> 'slug' from revisions where entity = $1 and version = 1", id)
        .fetch_optional(&state.database())
        .await?;
    Ok(slug.flatten())
}

/// Two documents with their references spelled alike: a neighbour's rename between them is no difference.
pub(super) async fn comparable<D: Entity>(
    conn: &mut PgConnection,
    before: &Value,
    after: &Value,
) -> Result<(Map<String, Value>, Map<String, Value>), Error> {
    let documents = [before, after].map(|document| D::parse(document).ok());
    let mut references = BTreeSet::new();
    for document in documents.iter().flatten() {
        D::references(document, &mut |kind, reference: &Reference| {
            references.insert((kind, reference.clone()));
        });
    }
    let names = Names::look_up(conn, &references).await?;
    // A document of an older version that breaks a rule of this one is compared as it is.
    let respell = |raw: &Value, written: Option<D::Written>| -> Result<Map<String, Value>, Error> {
        let value = match written {
            Some(written) => serde_json::to_value(D::respelled(written, &names)).map_err(Error::internal)?,
            None => raw.clone(),
        };
        Ok(value.as_object().cloned().unwrap_or_default())
    };
    let [old, new] = documents;
    Ok((respell(before, old)?, respell(after, new)?))
}
