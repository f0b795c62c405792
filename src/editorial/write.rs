//! The one way to write: [`Write::open`], [`Write::apply`], [`Write::close`]; only `close` commits.
//!
//! Everything is done in sets, so that a file of 100,000 documents takes as many statements as one document.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::{
    Applied, Edit, Entity, Kind, Names, Row, Stored, Target, Touched,
    document::Reference,
    touch::{self, Asking},
};
use crate::{
    app::State,
    categories::CategoryDocument,
    changes::Position,
    clock::{Clock, Timestamp},
    companies::CompanyDocument,
    error::{Conflict, Error, Fault},
    http::slug::Slug,
    terms::TermDocument,
};

// What is stored: documents with their references resolved.
type Term = TermDocument<Uuid>;
type Category = CategoryDocument<Uuid>;
type Company = CompanyDocument<Uuid>;

/// How many rows travel in one statement: a large write must not hold all of its rows a second time.
const PART: usize = 2_000;

/// A writing transaction. Dropping it rolls everything back.
pub struct Write {
    transaction: Transaction<'static, Postgres>,
    clock: Clock,
    author: String,
    message: Option<String>,
    at: Timestamp,
    pending: Vec<Pending>,
    renames: Vec<(Kind, Uuid, String)>,
}

/// A change that waits for its position.
struct Pending {
    kind: Kind,
    id: Uuid,
    created: bool,
    slug: String,
    former_slug: Option<String>,
    public_before: bool,
    public_after: bool,
    touched: Touched,
}

impl Pending {
    fn asking(&mut self) -> Asking<'_> {
        Asking { id: self.id, is_public: self.public_after, touched: &mut self.touched }
    }
}

/// What a document asks for, its entity's id given.
struct Wanted<W> {
    edit: usize,
    id: Uuid,
    written: W,
    existing: bool,
    slug: Option<Slug>,
}

/// Runs `edits` in a write, and again where another transaction stood in the way (a deadlock, or a name or slug that
/// was taken between the look and the write): three times at most.
///
/// # Errors
/// What `edits` returns; [`Error::Unavailable`] where the others were quicker three times.
pub async fn write<T>(
    state: &State,
    author: &str,
    message: Option<&str>,
    mut edits: impl AsyncFnMut(&mut Write) -> Result<T, Error>,
) -> Result<(T, Position), Error> {
    let mut attempt = 1;
    loop {
        let result = async {
            let mut write = Write::open(state, author, message).await?;
            let value = edits(&mut write).await?;
            Ok((value, write.close().await?))
        };
        match result.await {
            Err(error) if attempt < 3 && is_collision(&error) => attempt += 1,
            Err(Error::Internal(cause)) if is_collision_cause(&*cause) => {
                return Err(match cause.downcast::<sqlx::Error>() {
                    Ok(cause) => Error::Unavailable(*cause),
                    Err(cause) => Error::Internal(cause),
                });
            }
            result => return result,
        }
    }
}

fn is_collision(error: &Error) -> bool {
    match error {
        Error::Unavailable(cause) => is_collision_cause(cause),
        Error::Internal(cause) => is_collision_cause(&**cause),
        _ => false,
    }
}

/// A deadlock, or a name or slug that the look before had found free.
fn is_collision_cause(cause: &(dyn std::error::Error + 'static)) -> bool {
    let Some(sqlx::Error::Database(database)) = cause.downcast_ref::<sqlx::Error>() else { return false };
    let taken = database.constraint().is_some_and(|name| {
        ["terms", "categories", "companies"]
            .iter()
            .any(|table| name.strip_prefix(table).is_some_and(|what| ["_name", "_slug", "_slug_taken"].contains(&what)))
    });
    database.code().as_deref() == Some("40P01") || taken
}

impl Write {
    /// Begins a transaction that may write, in the name of `author` (a token's name, shown in revisions).
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the database does not answer.
    pub async fn open(state: &State, author: &str, message: Option<&str>) -> Result<Self, Error> {
        let mut transaction = state.database.begin_with("begin isolation level read committed").await?;
        // The mark that the guard trigger looks for; and the time that a statement of a large file may take.
        sqlx::query!(
            r#"
            select set_config('termbase.write', pg_current_xact_id()::text, true) as mark,
                   set_config('statement_timeout', '10min', true) as timeout
            "#
        )
        .fetch_one(&mut *transaction)
        .await?;
        Ok(Write {
            transaction,
            clock: state.clock.clone(),
            author: author.to_owned(),
            message: message.map(ToOwned::to_owned),
            at: state.clock.now(),
            pending: Vec::new(),
            renames: Vec::new(),
        })
    }

    /// Whether nothing was ever written here: looked at inside the write, under the head's lock, so that of several
    /// instances that start at once on an empty database only one sees it empty.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the database does not answer.
    pub async fn is_first(&mut self) -> Result<bool, Error> {
        let position =
            sqlx::query_scalar!("select position from log_head for update").fetch_one(&mut *self.transaction).await?;
        Ok(position == 0)
    }

    /// Brings many documents in, entities first and their links after, so that they may refer to each other.
    ///
    /// An edit that changes something makes one version, one revision and one change; one that changes nothing makes
    /// none. The answer has one [`Applied`] an edit, in their order.
    ///
    /// # Errors
    /// [`Error::Refused`] with every fault of every document (the pointer begins with the edit's index where there is
    /// more than one edit); after it the transaction can only be dropped.
    pub async fn apply(&mut self, edits: Vec<Edit>) -> Result<Vec<Applied>, Error> {
        let many = edits.len() > 1;
        let count = edits.len();
        let (mut categories, mut companies, mut terms) = (Vec::new(), Vec::new(), Vec::new());
        for (edit, change) in edits.into_iter().enumerate() {
            match change {
                Edit::Category(target, written) => categories.push(self.want::<Category>(edit, target, written)),
                Edit::Company(target, written) => companies.push(self.want::<Company>(edit, target, written)),
                Edit::Term(target, written) => terms.push(self.want::<Term>(edit, target, written)),
            }
        }
        let mut refusal = Refusal { many, ..Refusal::default() };
        let conn = &mut *self.transaction;

        let mut references = BTreeSet::new();
        refer::<Category>(&categories, &mut references);
        refer::<Company>(&companies, &mut references);
        refer::<Term>(&terms, &mut references);
        let mut names = Names::look_up(conn, &references).await?;

        let categories_before = lock::<Category>(conn, &categories).await?;
        let companies_before = lock::<Company>(conn, &companies).await?;
        let terms_before = lock::<Term>(conn, &terms).await?;
        claim_slugs::<Category>(conn, &mut categories, &categories_before, &mut names, &mut refusal).await?;
        claim_slugs::<Company>(conn, &mut companies, &companies_before, &mut names, &mut refusal).await?;
        claim_slugs::<Term>(conn, &mut terms, &terms_before, &mut names, &mut refusal).await?;
        names.look_up_closest(conn, &references).await?;

        claim_names::<Category>(conn, &categories, &mut refusal).await?;
        claim_names::<Term>(conn, &terms, &mut refusal).await?;

        let mut applied = vec![None; count];
        let categories = self.rows::<Category>(categories, categories_before, &mut names, &mut refusal, &mut applied);
        let companies = self.rows::<Company>(companies, companies_before, &mut names, &mut refusal, &mut applied);
        let terms = self.rows::<Term>(terms, terms_before, &mut names, &mut refusal, &mut applied);
        refusal.end()?;

        let stored = async {
            let conn = &mut *self.transaction;
            let by = By { author: &self.author, message: self.message.as_deref(), at: self.at };
            by.store(conn, &categories, &names).await?;
            by.store(conn, &companies, &names).await?;
            by.store(conn, &terms, &names).await?;
            link(conn, &categories).await?;
            link(conn, &companies).await?;
            link(conn, &terms).await
        };
        stored.await.map_err(|error| cycle(error, many, &applied))?;
        self.note(&categories);
        self.note(&companies);
        self.note(&terms);
        Ok(applied.into_iter().flatten().collect())
    }

    /// Takes the positions, writes the changes, and commits. A write that changed nothing takes no position, and
    /// returns the newest one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the database went away: then nothing of the write is there, unless it went away
    /// after the commit reached it.
    pub async fn close(mut self) -> Result<Position, Error> {
        let conn = &mut *self.transaction;
        // Nothing may wait, or fail, behind the head; and a session that freezes while it holds the head is ended.
        sqlx::query("set constraints all immediate").execute(&mut *conn).await?;
        sqlx::query("set local idle_in_transaction_session_timeout = '2s'").execute(&mut *conn).await?;
        for kind in [Kind::Category, Kind::Company, Kind::Term] {
            let (ids, slugs): (Vec<Uuid>, Vec<String>) =
                self.renames.iter().filter(|rename| rename.0 == kind).map(|(_, id, slug)| (*id, slug.clone())).unzip();
            if !ids.is_empty() {
                match kind {
                    Kind::Category => Category::rename(conn, &ids, &slugs).await?,
                    Kind::Company => Company::rename(conn, &ids, &slugs).await?,
                    Kind::Term => Term::rename(conn, &ids, &slugs).await?,
                }
            }
        }
        let count = i64::try_from(self.pending.len()).map_err(Error::internal)?;
        let head = sqlx::query!("update log_head set position = position + $1 returning position, log_id", count)
            .fetch_one(&mut *conn)
            .await?;
        touch::look_up(conn, &mut self.pending.iter_mut().map(Pending::asking).collect::<Vec<_>>()).await?;
        insert_changes(conn, &self.clock, self.at, &self.pending, head.position - count).await?;
        self.transaction.commit().await?;
        Ok(Position { log_id: head.log_id, number: head.position })
    }

    fn want<D: Entity>(&self, edit: usize, target: Target, written: D::Written) -> Wanted<D::Written> {
        let (id, existing) = match target {
            Target::New => (self.clock.id(), false),
            Target::Existing(id) => (id, true),
        };
        Wanted { edit, id, written, existing, slug: None }
    }

    /// Resolves the documents, compares them with what is there, and keeps those that change something.
    fn rows<D: Entity>(
        &self,
        wanted: Vec<Wanted<D::Written>>,
        mut before: HashMap<Uuid, Stored<D>>,
        names: &mut Names,
        refusal: &mut Refusal,
        applied: &mut [Option<Applied>],
    ) -> Vec<Row<D>> {
        let mut rows = Vec::new();
        for Wanted { edit, id, written, existing, slug } in wanted {
            let before = before.remove(&id);
            let Some(slug) = slug else { continue };
            let after = D::resolve(written, slug.clone(), names);
            refusal.add(edit, names.take_faults());
            if existing && before.as_ref().is_none_or(|before| before.deleted) {
                refusal.add(
                    edit,
                    vec![Fault::body("", "not_there", "The entity does not exist, or is deleted; restore it first.")],
                );
                continue;
            }
            if let Some(before) = before.as_ref().filter(|before| before.document.is_public() && !after.is_public()) {
                let conflict = Conflict {
                    kind: D::KIND.as_str().into(),
                    slug: before.slug.to_string(),
                    name: before.document.name().to_string(),
                };
                let fault = Fault::body(
                    "/status",
                    "already_public",
                    "What was public never goes back to draft; deprecate or delete it.",
                );
                refusal.clash(edit, fault, conflict);
            }
            let changed = before.as_ref().is_none_or(|before| before.document != after);
            let version = before.as_ref().map_or(0, |before| before.version) + i64::from(changed);
            if let Some(place) = applied.get_mut(edit) {
                *place = Some(Applied { id, slug: slug.clone(), version, changed });
            }
            if changed {
                let published_at = match &before {
                    Some(before) if before.published_at.is_some() => before.published_at,
                    _ => after.is_public().then_some(self.at),
                };
                rows.push(Row {
                    id,
                    slug,
                    before,
                    after,
                    version,
                    revision_id: self.clock.id(),
                    published_at,
                    at: self.at,
                });
            }
        }
        rows
    }

    fn note<D: Entity>(&mut self, rows: &[Row<D>]) {
        for row in rows {
            let (slug, former) = (&row.slug, row.former_slug());
            if former.is_some() {
                self.renames.push((D::KIND, row.id, slug.to_string()));
            }
            let mut touched = Touched::default();
            D::touch(row, &mut touched);
            self.pending.push(Pending {
                kind: D::KIND,
                id: row.id,
                created: row.before.is_none(),
                slug: slug.to_string(),
                former_slug: former.map(ToString::to_string),
                public_before: row.was_public(),
                public_after: row.after.is_public(),
                touched,
            });
        }
    }
}

/// Who writes, and when: what stands in every revision of a write.
struct By<'w> {
    author: &'w str,
    message: Option<&'w str>,
    at: Timestamp,
}

impl By<'_> {
    async fn store<D: Entity>(
        &self,
        conn: &mut PgConnection,
        rows: &[Row<D>],
        names: &Names,
    ) -> Result<(), sqlx::Error> {
        for part in rows.chunks(PART) {
            self.store_part(conn, part, names).await?;
        }
        Ok(())
    }

    /// Revisions, slugs, then the rows that point at both.
    async fn store_part<D: Entity>(
        &self,
        conn: &mut PgConnection,
        rows: &[Row<D>],
        names: &Names,
    ) -> Result<(), sqlx::Error> {
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let revision_ids: Vec<Uuid> = rows.iter().map(|row| row.revision_id).collect();
        let versions: Vec<i64> = rows.iter().map(|row| row.version).collect();
        let documents = rows
            .iter()
            .map(|row| serde_json::to_value(row.after.shown(names)))
            .collect::<Result<Vec<Value>, _>>()
            .map_err(sqlx::Error::decode)?;
        sqlx::query!(
            r#"
            insert into revisions (id, kind, entity, version, document, author, message, at)
            select id, $1, entity, version, document, $6, $7, $8
              from unnest($2::uuid[], $3::uuid[], $4::bigint[], $5::jsonb[]) as r (id, entity, version, document)
            "#,
            D::KIND.as_str(),
            &revision_ids,
            &ids,
            &versions,
            &documents,
            self.author,
            self.message,
            self.at as Timestamp
        )
        .execute(&mut *conn)
        .await?;
        let slugs: Vec<&str> = rows.iter().map(|row| row.slug.as_str()).collect();
        let public: Vec<bool> = rows.iter().map(|row| row.after.is_public()).collect();
        sqlx::query!(
            r#"
            insert into slug_history (kind, slug, entity, public)
            select $1, slug, entity, public from unnest($2::text[], $3::uuid[], $4::boolean[]) as h (slug, entity, public)
            on conflict (kind, slug) do update set public = slug_history.public or excluded.public
             where slug_history.entity = excluded.entity and excluded.public and not slug_history.public
            "#,
            D::KIND.as_str(),
            &slugs as &[&str],
            &ids,
            &public
        )
        .execute(&mut *conn)
        .await?;
        D::store(conn, rows).await
    }
}

async fn link<D: Entity>(conn: &mut PgConnection, rows: &[Row<D>]) -> Result<(), sqlx::Error> {
    for part in rows.chunks(PART) {
        D::link(conn, part).await?;
    }
    Ok(())
}

async fn insert_changes(
    conn: &mut PgConnection,
    clock: &Clock,
    at: Timestamp,
    changes: &[Pending],
    before: i64,
) -> Result<(), sqlx::Error> {
    let positions: Vec<i64> = (before + 1..).take(changes.len()).collect();
    let ids: Vec<Uuid> = changes.iter().map(|_| clock.id()).collect();
    let kinds: Vec<&str> = changes.iter().map(|change| change.kind.as_str()).collect();
    let entities: Vec<Uuid> = changes.iter().map(|change| change.id).collect();
    let whats: Vec<&str> = changes.iter().map(|change| if change.created { "created" } else { "updated" }).collect();
    let slugs: Vec<&str> = changes.iter().map(|change| change.slug.as_str()).collect();
    let former: Vec<Option<&str>> = changes.iter().map(|change| change.former_slug.as_deref()).collect();
    let public_before: Vec<bool> = changes.iter().map(|change| change.public_before).collect();
    let public_after: Vec<bool> = changes.iter().map(|change| change.public_after).collect();
    // `unnest` flattens a list of lists, so each set of keys travels as one text; no key has a space in it.
    let keys: Vec<String> = changes.iter().map(|change| change.touched.keys.joined()).collect();
    sqlx::query!(
        r#"
        insert into changes (position, id, kind, entity, what, slug, former_slug, public_before, public_after, keys, at)
        select position, id, kind, entity, what, slug, former_slug, public_before, public_after,
               case keys when '' then '{}' else string_to_array(keys, ' ') end, $11
          from unnest($1::bigint[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::text[],
                      $8::boolean[], $9::boolean[], $10::text[])
            as c (position, id, kind, entity, what, slug, former_slug, public_before, public_after, keys)
        "#,
        &positions,
        &ids,
        &kinds as &[&str],
        &entities,
        &whats as &[&str],
        &slugs as &[&str],
        &former as &[Option<&str>],
        &public_before,
        &public_after,
        &keys,
        at as Timestamp
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn refer<D: Entity>(wanted: &[Wanted<D::Written>], references: &mut BTreeSet<(Kind, Reference)>) {
    for want in wanted {
        D::references(&want.written, &mut |kind, reference| {
            references.insert((kind, reference.clone()));
        });
    }
}

async fn lock<D: Entity>(
    conn: &mut PgConnection,
    wanted: &[Wanted<D::Written>],
) -> Result<HashMap<Uuid, Stored<D>>, Error> {
    let mut ids: Vec<Uuid> = wanted.iter().filter(|want| want.existing).map(|want| want.id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    ids.sort_unstable();
    D::load(conn, &ids).await
}

/// Gives each document its slug: the one that it asks for, the one that its entity has, or one made from its name and
/// numbered where that is taken.
async fn claim_slugs<D: Entity>(
    conn: &mut PgConnection,
    wanted: &mut [Wanted<D::Written>],
    before: &HashMap<Uuid, Stored<D>>,
    names: &mut Names,
    refusal: &mut Refusal,
) -> Result<(), Error> {
    for want in wanted.iter_mut() {
        let kept = before.get(&want.id).map(|stored| &stored.slug);
        want.slug = D::wanted_slug(&want.written).or(kept).cloned();
    }
    let asked: Vec<&str> = wanted.iter().filter_map(|want| want.slug.as_ref()).map(Slug::as_str).collect();
    let taken = taken(conn, D::KIND, &asked).await?;
    let mut claimed: HashMap<Slug, Uuid> = HashMap::new();
    for want in wanted.iter() {
        let Some(slug) = &want.slug else { continue };
        let holder = taken.get(slug.as_str()).filter(|(id, _)| *id != want.id);
        if let Some((_, name)) = holder {
            let conflict = Conflict { kind: D::KIND.as_str().into(), slug: slug.to_string(), name: name.clone() };
            let detail = format!("The slug \"{slug}\" belongs to \"{name}\", now or formerly; choose another.");
            refusal.clash(want.edit, Fault::body("/slug", "slug_taken", detail), conflict);
        } else if claimed.insert(slug.clone(), want.id).is_some_and(|other| other != want.id) {
            refusal.add(
                want.edit,
                vec![Fault::body("/slug", "slug_taken", format!("Another document here has the slug \"{slug}\" too."))],
            );
        }
    }
    let mut number = 1;
    while wanted.iter().any(|want| want.slug.is_none()) {
        let candidate = |want: &Wanted<D::Written>| {
            let slug = Slug::from_name(D::written_name(&want.written).as_str());
            if number == 1 { slug } else { slug.numbered(number) }
        };
        let candidates: Vec<Slug> = wanted.iter().filter(|want| want.slug.is_none()).map(candidate).collect();
        let asked: Vec<&str> = candidates.iter().map(Slug::as_str).collect();
        let taken = self::taken(conn, D::KIND, &asked).await?;
        for (want, slug) in wanted.iter_mut().filter(|want| want.slug.is_none()).zip(candidates) {
            if !taken.contains_key(slug.as_str()) && !claimed.contains_key(&slug) {
                claimed.insert(slug.clone(), want.id);
                want.slug = Some(slug);
            }
        }
        number += 1;
    }
    for want in wanted.iter() {
        if let Some(slug) = &want.slug {
            names.add(D::KIND, slug, want.id);
        }
    }
    Ok(())
}

/// Who holds these slugs, now or formerly, and under which name.
async fn taken(
    conn: &mut PgConnection,
    kind: Kind,
    slugs: &[&str],
) -> Result<HashMap<String, (Uuid, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select h.slug, h.entity, coalesce(t.name, c.name, k.name) as "name!"
          from slug_history h
          left join terms t on h.kind = 'term' and t.id = h.entity
          left join categories c on h.kind = 'category' and c.id = h.entity
          left join companies k on h.kind = 'company' and k.id = h.entity
         where h.kind = $1 and h.slug = any($2)
        "#,
        kind.as_str(),
        slugs as &[&str]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.slug, (row.entity, row.name))).collect())
}

/// A name is unique among the live terms, and among the live categories.
async fn claim_names<D: Entity>(
    conn: &mut PgConnection,
    wanted: &[Wanted<D::Written>],
    refusal: &mut Refusal,
) -> Result<(), Error> {
    let ids: Vec<Uuid> = wanted.iter().map(|want| want.id).collect();
    let keys: Vec<&str> = wanted.iter().map(|want| D::written_name(&want.written).key()).collect();
    let rows = sqlx::query!(
        r#"
        select t.name_key as "name_key!", t.slug as "slug!", t.name as "name!" from terms t
         where $1 = 'term' and t.deleted_at is null and t.name_key = any($2) and t.id <> all($3)
        union all
        select c.name_key, c.slug, c.name from categories c
         where $1 = 'category' and c.deleted_at is null and c.name_key = any($2) and c.id <> all($3)
        "#,
        D::KIND.as_str(),
        &keys as &[&str],
        &ids
    )
    .fetch_all(conn)
    .await?;
    let held: HashMap<String, (String, String)> =
        rows.into_iter().map(|row| (row.name_key, (row.slug, row.name))).collect();
    let mut seen = HashSet::new();
    for (want, key) in wanted.iter().zip(keys) {
        if let Some((slug, name)) = held.get(key) {
            let conflict = Conflict { kind: D::KIND.as_str().into(), slug: slug.clone(), name: name.clone() };
            let detail = format!(
                "The name is that of \"{name}\" ({slug}), case, accents and punctuation aside; choose another."
            );
            refusal.clash(want.edit, Fault::body("/name", "name_taken", detail), conflict);
        } else if !seen.insert(key) {
            let detail = "Another document here has the same name, case, accents and punctuation aside.";
            refusal.add(want.edit, vec![Fault::body("/name", "name_taken", detail)]);
        }
    }
    Ok(())
}

/// The database's word for a cycle, as a fault of the document whose relations lead back to it.
fn cycle(error: sqlx::Error, many: bool, applied: &[Option<Applied>]) -> Error {
    use sqlx::postgres::PgDatabaseError;
    let found = error.as_database_error().and_then(|database| database.try_downcast_ref::<PgDatabaseError>());
    let Some(found) = found.filter(|found| found.constraint().is_some_and(|name| name.ends_with("_no_cycle"))) else {
        return error.into();
    };
    let member = found.column().unwrap_or("parent").to_owned();
    let looped = found.detail().unwrap_or_default().to_owned();
    let edit =
        applied.iter().position(|applied| applied.as_ref().is_some_and(|applied| applied.id.to_string() == looped));
    let mut refusal = Refusal { many, ..Refusal::default() };
    let fault = Fault::body(
        format!("/{member}"),
        "cycle",
        format!("The {member} relations lead back to where they began; leave one of them out."),
    );
    refusal.add(edit.unwrap_or(0), vec![fault]);
    refusal.into_error()
}

/// Every fault of every edit, before anything is written.
#[derive(Default)]
struct Refusal {
    many: bool,
    faults: Vec<(usize, Fault)>,
    conflicts: Vec<Conflict>,
}

impl Refusal {
    fn add(&mut self, edit: usize, faults: Vec<Fault>) {
        self.faults.extend(faults.into_iter().map(|fault| (edit, fault)));
    }

    fn clash(&mut self, edit: usize, fault: Fault, conflict: Conflict) {
        self.add(edit, vec![fault]);
        self.conflicts.push(conflict);
    }

    fn end(self) -> Result<(), Error> {
        if self.faults.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }

    fn into_error(mut self) -> Error {
        self.faults.sort_by_key(|(edit, _)| *edit);
        let many = self.many;
        let at_edit = |(edit, mut fault): (usize, Fault)| {
            if many {
                fault.pointer = fault.pointer.map(|pointer| format!("/{edit}{pointer}"));
            }
            fault
        };
        Error::Refused { faults: self.faults.into_iter().map(at_edit).collect(), conflicts: self.conflicts }
    }
}
