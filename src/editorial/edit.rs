//! One request that writes one entity: create, change, delete, restore.
//!
//! A change is made on the document as it is under the row's lock, and the whole of it is validated: there is one
//! validation, whichever way a document comes. What goes out is the page, read after the commit.

use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::{Edit, Entity, Names, Stored, Target, Which, Write, diff, history, plan, write};
use crate::{
    changes::{Keys, Seen},
    error::{Error, Fault},
    http::{
        answer::Answer,
        body::Body,
        idempotency::{Claim, IdempotencyKey},
        lookup::{Address, Located, Segment, locate},
        precondition::{IfMatch, IfNoneMatchAny},
        query::Query,
    },
    state::State,
    tokens::Author,
};

/// How many characters a message may have.
pub const MESSAGE_MAX: usize = 500;

/// How often a write begins anew because its entity moved away under it.
const ATTEMPTS: usize = 3;

/// What comes with every write: in whose name, why, and which version it builds on.
pub struct Intent {
    pub author: Author,
    pub message: Option<String>,
    pub if_match: IfMatch,
    /// A file has none: it has a turn of its own.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Intent {
    /// What [`Intent::parse`] takes, once the write has its turn, which it keeps as long as this is there.
    ///
    /// # Errors
    /// [`Error::BadRequest`] with every mistake of the query; [`Error::Overloaded`].
    pub async fn read(state: &State, author: Author, query: Query, if_match: IfMatch) -> Result<Self, Error> {
        let intent = Intent::parse(author, query, if_match)?;
        Ok(Intent { _turn: Some(state.load.turn(state.http.patience).await?), ..intent })
    }

    /// Takes `message`, and whatever is left of the query is unknown.
    ///
    /// It is a parameter and no header, because headers hold no text beyond ASCII that all clients agree on.
    ///
    /// # Errors
    /// [`Error::BadRequest`] with every mistake of the query.
    pub fn parse(author: Author, mut query: Query, if_match: IfMatch) -> Result<Self, Error> {
        let message = query.take("message", |text| {
            let length = text.chars().count();
            if text.trim().is_empty() || length > MESSAGE_MAX || text.chars().any(char::is_control) {
                return Err(("bad_message", format!("Expected one line of 1 to {MESSAGE_MAX} characters.")));
            }
            Ok(text.trim().to_owned())
        });
        query.finish()?;
        Ok(Intent { author, message, if_match, _turn: None })
    }
}

/// `POST` to the list: a new entity; or, for a retry, the one that it has made already.
///
/// # Errors
/// [`Error::Refused`], [`Error::Forbidden`], [`Error::IdempotencyKeyReused`].
pub async fn create<D: Entity>(
    state: &State,
    intent: &Intent,
    key: &IdempotencyKey,
    body: &Body,
) -> Result<Answer, Error> {
    let ((id, replayed), _) = write(state, &intent.author, intent.message.as_deref(), async |write| {
        let claim = key.claim(write.connection(), &intent.author, body, state.clock.now()).await?;
        let id = match &claim {
            Claim::Done(id) => return Ok((*id, true)),
            Claim::Unkeyed | Claim::First(_) => bring_in::<D>(write, Target::New, &body.value, None).await?,
        };
        if let Claim::First(retries) = claim {
            retries.keep(write.connection(), id).await?;
        }
        Ok((id, false))
    })
    .await?;
    let answer = created::<D>(state, id).await?;
    Ok(if replayed { answer.replayed() } else { answer })
}

/// Brings a document in, or tells all of its mistakes at once: those of its own form, and those that only the glossary
/// knows, such as a name that is taken. For these the members that can't be read stay as they are, and the write is
/// dropped.
async fn bring_in<D: Entity>(
    write: &mut Write,
    target: Target,
    document: &Value,
    current: Option<&Value>,
) -> Result<Uuid, Error> {
    let mut faults = match D::parse(document) {
        Ok(written) => {
            let applied = write.apply(vec![D::edit(target, written)]).await?;
            return applied
                .first()
                .map(|applied| applied.id)
                .ok_or_else(|| Error::internal("an edit without an outcome"));
        }
        Err(faults) => faults,
    };
    let Some(rest) = readable::<D>(document, current, &faults) else { return Err(invalid(faults)) };
    match write.apply(vec![D::edit(target, rest)]).await {
        Err(Error::Refused { faults: more, conflicts }) => {
            let told: Vec<String> = faults.iter().map(|fault| member(fault).to_owned()).collect();
            let count = faults.len();
            faults.extend(more.into_iter().filter(|fault| !told.iter().any(|told| told == member(fault))));
            let conflicts = if faults.len() == count { vec![] } else { conflicts };
            Err(Error::Refused { faults, conflicts })
        }
        Ok(_) => Err(invalid(faults)),
        Err(error) => Err(error),
    }
}

/// The document with its faulty members as they are now, or without them; what must be there gets a stand-in that nothing
/// else is called.
fn readable<D: Entity>(document: &Value, current: Option<&Value>, faults: &[Fault]) -> Option<D::Written> {
    let mut members = document.as_object()?.clone();
    for name in faults.iter().map(member) {
        members.remove(name);
        if let Some(value) = current.and_then(|current| current.get(name)) {
            members.insert(name.to_owned(), value.clone());
        }
    }
    let missing = D::parse(&Value::Object(members.clone())).err().unwrap_or_default();
    let stand_in = format!("stand-in-{}", Uuid::now_v7().simple());
    missing.iter().for_each(|fault| drop(members.insert(member(fault).to_owned(), json!(stand_in))));
    D::parse(&Value::Object(members)).ok()
}

/// The member of the document that a fault is about.
fn member(fault: &Fault) -> &str {
    fault.pointer.as_deref().unwrap_or_default().split('/').nth(1).unwrap_or_default()
}

/// `201` with the page. `Location` is the address that the entity was made under: a retry gets the same one, and it
/// leads on whatever the entity is called by then.
async fn created<D: Entity>(state: &State, id: Uuid) -> Result<Answer, Error> {
    let slug = history::first_slug(state, id).await?;
    let answer = page::<D>(state, id).await?;
    Ok(match slug {
        Some(slug) => answer.created(format!("/{}/{slug}", D::KIND.plural())),
        None => answer,
    })
}

/// The page of what was just written, or the news that it has gone since.
pub(crate) async fn page<D: Entity>(state: &State, id: Uuid) -> Result<Answer, Error> {
    for _ in 0..ATTEMPTS {
        if let Some(answer) = D::page(state, Which::Id(id), true).await? {
            return Ok(answer);
        }
        // Where it is back already, the next look finds it.
        if let Located::Moved(answer) = locate(state, D::KIND, &Address::of(id), true, false).await? {
            return Ok(answer);
        }
    }
    Err(Error::Overtaken)
}

/// `PATCH`: a merge patch (RFC 7396) on the document.
///
/// # Errors
/// What [`rewrite`] returns.
pub async fn patch<D: Entity>(
    state: &State,
    address: &Address,
    intent: &Intent,
    patch: &Value,
) -> Result<Answer, Error> {
    rewrite::<D>(state, address, intent, |document| merge(document, patch)).await
}

/// Documents have no objects as members, so one level is all; and a null stays, because of an unknown or required member
/// it is a mistake that must be told.
pub(super) fn merge(mut document: Value, patch: &Value) -> Value {
    match (document.as_object_mut(), patch.as_object()) {
        (Some(members), Some(changes)) => {
            members.extend(changes.iter().map(|(name, value)| (name.clone(), value.clone())));
            document
        }
        _ => patch.clone(),
    }
}

/// `PUT …/document`: the whole document, of what is there or of something new.
///
/// # Errors
/// What [`rewrite`] returns, or [`create`].
pub async fn put<D: Entity>(
    state: &State,
    address: &Address,
    intent: &Intent,
    only_new: IfNoneMatchAny,
    document: &Value,
) -> Result<Answer, Error> {
    let mut refused = None;
    for _ in 0..ATTEMPTS {
        let slug = match (locate(state, D::KIND, address, true, false).await, &address.segment) {
            (Ok(Located::Moved(answer)), _) => return Ok(answer),
            (Ok(Located::Here(id)), _) if only_new.0 => return Err(exists::<D>(state, id).await?),
            (Ok(Located::Here(_)), _) => {
                // Without a slug in it the entity keeps the one that it has.
                return rewrite::<D>(state, address, intent, |_| document.clone()).await;
            }
            (Err(Error::NoEntity { .. }), Segment::Slug(slug)) => match refused {
                Some(error) => return Err(error),
                None => json!(slug.as_str()),
            },
            (Err(error), _) => return Err(error),
        };
        if intent.if_match != IfMatch::Absent {
            let detail = "There is nothing here that could have this version; leave If-Match out to create it.";
            let faults = vec![Fault::header("If-Match", "stale", detail)];
            return Err(Error::PreconditionFailed { faults, conflicts: vec![] });
        }
        let whole = with_slug(document, &slug);
        if whole.get("slug").is_some_and(|own| own.is_string() && *own != slug) {
            let detail = format!("The address says {slug}; write the same slug, or leave it out.");
            return Err(invalid(vec![Fault::body("/slug", "other_slug", detail)]));
        }
        let made = write(state, &intent.author, intent.message.as_deref(), async |write| {
            bring_in::<D>(write, Target::New, &whole, None).await
        });
        match made.await {
            // The slug or the name is taken, perhaps by who has made it meanwhile: then the next look finds it.
            Err(error @ Error::Refused { .. }) => refused = Some(error),
            Err(error) => return Err(error),
            Ok((id, _)) => return created::<D>(state, id).await,
        }
    }
    Err(Error::Overtaken)
}

fn with_slug(document: &Value, slug: &Value) -> Value {
    let mut document = document.clone();
    if let Some(members) = document.as_object_mut()
        && members.get("slug").is_none_or(Value::is_null)
    {
        members.insert("slug".into(), slug.clone());
    }
    document
}

/// Changes a document: `change` gets it as it is under the lock, references as ids, and makes the new one of it.
///
/// # Errors
/// [`Error::PreconditionRequired`], [`Error::PreconditionFailed`], [`Error::Forbidden`], [`Error::Refused`];
/// [`Error::NoEntity`] and [`Error::Gone`].
pub async fn rewrite<D: Entity>(
    state: &State,
    address: &Address,
    intent: &Intent,
    change: impl Fn(Value) -> Value,
) -> Result<Answer, Error> {
    let edit = |_: Uuid, current: &Stored<D>| Ok(Next::Document(change(with_ids(current)?)));
    match on_current::<D>(state, address, intent, false, edit).await? {
        Done::Moved(answer) => Ok(answer),
        Done::Written(id, _) => page::<D>(state, id).await,
    }
}

/// The edit that `change` makes of an entity as it is, validated as a whole.
///
/// # Errors
/// [`Error::Refused`].
pub(crate) fn rewritten<D: Entity>(
    id: Uuid,
    current: &Stored<D>,
    change: impl Fn(Value) -> Value,
) -> Result<Edit, Error> {
    let written = D::parse(&change(with_ids(current)?)).map_err(invalid)?;
    Ok(D::edit(Target::Existing(id), written))
}

/// The document with its references as ids: nobody can rename them meanwhile.
pub(super) fn with_ids<D: Entity>(current: &Stored<D>) -> Result<Value, Error> {
    serde_json::to_value(current.document.shown(&Names::default())).map_err(Error::internal)
}

/// `PUT …/{member}/{other}`: one link more, at the end where the order counts. A repeat changes nothing.
///
/// # Errors
/// What [`rewrite`] returns; [`Error::NoEntity`] where the other end is nothing.
pub async fn put_link<D: Entity>(
    state: &State,
    address: &Address,
    intent: &Intent,
    member: &str,
    other: Uuid,
) -> Result<Answer, Error> {
    rewrite::<D>(state, address, intent, |mut document| {
        let other = json!(other);
        if let Some(links) = document.get_mut(member).and_then(Value::as_array_mut)
            && !links.contains(&other)
        {
            links.push(other);
        }
        document
    })
    .await
}

/// `DELETE …/{member}/{other}`: one link less. A repeat changes nothing.
///
/// # Errors
/// What [`rewrite`] returns; [`Error::NoEntity`] where the other end is nothing.
pub async fn delete_link<D: Entity>(
    state: &State,
    address: &Address,
    intent: &Intent,
    member: &str,
    other: Uuid,
) -> Result<Answer, Error> {
    rewrite::<D>(state, address, intent, |document| unlinked(document, member, other)).await
}

/// `DELETE` of a link that either side may have written: it goes from both documents, in one write.
///
/// # Errors
/// What [`rewrite`] returns; [`Error::Forbidden`] also where the other side is not the author's to change.
pub async fn delete_pair<D: Entity>(
    state: &State,
    address: &Address,
    intent: &Intent,
    member: &str,
    other: Uuid,
) -> Result<Answer, Error> {
    for _ in 0..ATTEMPTS {
        let id = match locate(state, D::KIND, address, true, false).await? {
            Located::Moved(answer) => return Ok(answer),
            Located::Here(id) => id,
        };
        let (written, _) = write(state, &intent.author, intent.message.as_deref(), async |write| {
            let mut ids = [id, other];
            ids.sort_unstable();
            D::lock(write.connection(), &ids).await?;
            let mut both = D::load(write.connection(), &ids).await?;
            let Some(current) = both.remove(&id).filter(|current| current.deleted_at.is_none()) else {
                return Ok(false);
            };
            intent.check(state, write.connection(), id, &current).await?;
            let mut edits = vec![rewritten(id, &current, |document| unlinked(document, member, other))?];
            // A side that has not written the link gives up nothing, so nobody needs the right to change it.
            if let Some(other_side) = both.remove(&other)
                && is_linked(&other_side, member, id)?
            {
                edits.push(rewritten(other, &other_side, |document| unlinked(document, member, id))?);
            }
            // The other side may be in the trash: its link is as real.
            write.bring_in(edits, true).await?;
            Ok(true)
        })
        .await?;
        if written {
            return page::<D>(state, id).await;
        }
    }
    Err(Error::Overtaken)
}

fn is_linked<D: Entity>(current: &Stored<D>, member: &str, other: Uuid) -> Result<bool, Error> {
    Ok(with_ids(current)?.get(member).and_then(Value::as_array).is_some_and(|links| links.contains(&json!(other))))
}

/// A document whose references are ids, without one of them.
pub(crate) fn unlinked(mut document: Value, member: &str, other: Uuid) -> Value {
    if let Some(links) = document.get_mut(member).and_then(Value::as_array_mut) {
        let other = json!(other);
        links.retain(|link| *link != other);
    }
    document
}

/// `DELETE`: into the trash. `204`, with the position of the deletion.
///
/// # Errors
/// What [`rewrite`] returns; [`Error::Conflict`] with what stands in a category.
pub async fn delete<D: Entity>(state: &State, address: &Address, intent: &Intent) -> Result<Answer, Error> {
    let edit = |id: Uuid, _: &Stored<D>| Ok(Next::Edit(Box::new(Edit::Delete(D::KIND, id))));
    Ok(match on_current::<D>(state, address, intent, false, edit).await? {
        Done::Moved(answer) => answer,
        Done::Written(_, seen) => Answer::empty(seen),
    })
}

/// `POST …/restore`: out of the trash. What is not in it stays as it is.
///
/// # Errors
/// What [`rewrite`] returns; a name that somebody else has by now.
pub async fn restore<D: Entity>(state: &State, address: &Address, intent: &Intent) -> Result<Answer, Error> {
    let edit = |id: Uuid, current: &Stored<D>| {
        Ok(if current.deleted_at.is_some() { Next::Edit(Box::new(Edit::Restore(D::KIND, id))) } else { Next::Nothing })
    };
    match on_current::<D>(state, address, intent, true, edit).await? {
        Done::Moved(answer) => Ok(answer),
        Done::Written(id, _) => page::<D>(state, id).await,
    }
}

/// What is to become of an entity, seen as it is.
enum Next {
    Nothing,
    /// A deletion or a restoration.
    Edit(Box<Edit>),
    Document(Value),
}

enum Done {
    Moved(Answer),
    Written(Uuid, Seen),
}

/// Locates the entity, holds it, and applies what `edit` makes of it as it is.
async fn on_current<D: Entity>(
    state: &State,
    address: &Address,
    intent: &Intent,
    trash: bool,
    next: impl Fn(Uuid, &Stored<D>) -> Result<Next, Error>,
) -> Result<Done, Error> {
    for _ in 0..ATTEMPTS {
        let id = match locate(state, D::KIND, address, true, trash).await? {
            Located::Moved(answer) => return Ok(Done::Moved(answer)),
            Located::Here(id) => id,
        };
        if let IfMatch::Revisions(_) = intent.if_match {
            // A revision that has passed never comes back, so who comes too late need not wait for the lock to hear it.
            let mut connection = state.database().acquire().await?;
            if let Some(current) = D::load(&mut connection, &[id]).await?.remove(&id) {
                intent.check(state, &mut connection, id, &current).await?;
            }
        }
        let (written, position) = write(state, &intent.author, intent.message.as_deref(), async |write| {
            let Some(current) = hold::<D>(write, id, trash).await? else { return Ok(false) };
            intent.check(state, write.connection(), id, &current).await?;
            match next(id, &current)? {
                Next::Nothing => {}
                Next::Edit(edit) => drop(write.apply(vec![*edit]).await?),
                Next::Document(document) => {
                    let now = with_ids(&current)?;
                    bring_in::<D>(write, Target::Existing(id), &document, Some(&now)).await?;
                }
            }
            Ok(true)
        })
        .await?;
        if written {
            let mut keys = Keys::default();
            keys.add(format!("{}:{id}", D::KIND.as_str()));
            return Ok(Done::Written(id, Seen { position, keys }));
        }
        // Deleted or purged since it was located: the next look says so.
    }
    Err(Error::Overtaken)
}

/// The entity as it is, locked until the write ends; `None` where it has gone.
pub(crate) async fn hold<D: Entity>(write: &mut Write, id: Uuid, trash: bool) -> Result<Option<Stored<D>>, Error> {
    D::lock(write.connection(), &[id]).await?;
    let current = D::load(write.connection(), &[id]).await?.remove(&id);
    Ok(current.filter(|current| trash || current.deleted_at.is_none()))
}

impl Intent {
    /// Whether the author may write this entity, and has seen what is there.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::PreconditionRequired`], [`Error::PreconditionFailed`].
    pub(crate) async fn check<D: Entity>(
        &self,
        state: &State,
        conn: &mut PgConnection,
        id: Uuid,
        current: &Stored<D>,
    ) -> Result<(), Error> {
        let (needed, has) = (plan::required_role(D::KIND, current.document.is_public()), self.author.role);
        if has < needed {
            return Err(Error::Forbidden { needed, has });
        }
        // In the trash there is nothing that a change could overwrite.
        if self.if_match == IfMatch::Absent && state.http.require_if_match && current.deleted_at.is_none() {
            return Err(Error::PreconditionRequired);
        }
        if self.if_match.matches(current.revision_id) {
            return Ok(());
        }
        Err(stale(conn, id, current, &self.if_match).await?)
    }
}

/// The current version, its author, and what has changed since the one that the request builds on.
async fn stale<D: Entity>(
    conn: &mut PgConnection,
    id: Uuid,
    current: &Stored<D>,
    if_match: &IfMatch,
) -> Result<Error, Error> {
    let newest = history::version(&mut *conn, id, current.version).await?;
    let by = newest.map(|newest| format!(", written by {} at {}", newest.revision.author, newest.revision.at));
    let by = by.unwrap_or_default();
    let known = match if_match {
        IfMatch::Revisions(revisions) => history::latest_of(&mut *conn, id, revisions).await?,
        IfMatch::Absent | IfMatch::Any => None,
    };
    let mut faults = Vec::new();
    let since = match known {
        None => "; the tag is of none of its versions".to_owned(),
        Some((known, document)) => {
            let now = with_ids(current)?;
            let (before, after) = history::comparable::<D>(conn, &document, &now).await?;
            faults.extend(diff::changed_members(&before, &after).into_iter().map(|member| {
                Fault::body(format!("/{member}"), "changed_since", format!("Changed since version {known}."))
            }));
            format!(", and the tag is of version {known}")
        }
    };
    let detail = format!(
        "The {} is at version {}{by}{since}. Read it again, and bring your change into it.",
        D::KIND.as_str(),
        current.version
    );
    faults.insert(0, Fault::header("If-Match", "stale", detail));
    Ok(Error::PreconditionFailed { faults, conflicts: vec![current.conflict()] })
}

/// `If-None-Match: *` met something.
async fn exists<D: Entity>(state: &State, id: Uuid) -> Result<Error, Error> {
    let mut connection = state.database().acquire().await?;
    let current = D::load(&mut connection, &[id]).await?.remove(&id);
    let detail = "It exists already; leave If-None-Match out, and send its ETag as If-Match, to replace it.";
    let faults = vec![Fault::header("If-None-Match", "exists", detail)];
    Ok(Error::PreconditionFailed { faults, conflicts: current.iter().map(Stored::conflict).collect() })
}

/// A document that breaks rules, before anything else is looked at.
pub(crate) fn invalid(faults: Vec<Fault>) -> Error {
    Error::Refused { faults, conflicts: vec![] }
}

/// `message`, for the description; [`Intent::parse`] takes it.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MessageParam {
    /// Why: it stands in the history. One line.
    #[param(
        min_length = 1,
        max_length = 500,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$",
        example = "The first paper was from 2021."
    )]
    pub message: Option<String>,
}
