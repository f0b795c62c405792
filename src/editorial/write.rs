//! The one way to write: [`Write::open`], [`Write::apply`], [`Write::close`]; only `close` commits.
//!
//! Everything is done in sets, and in parts of some thousand rows, so that a file of 100,000 documents fits.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::{
    Applied, Edit, Entity, Kind, Names, Row, Stored, Target, Touched,
    claim::{Wanted, claim_names, claim_slugs},
    document::Reference,
    refusal::{Refusal, cycle},
    touch::{self, Asking},
};
use crate::{
    categories::CategoryDocument,
    changes::Position,
    clock::{Clock, Timestamp},
    companies::CompanyDocument,
    error::{Conflict, Error, Fault},
    state::State,
    terms::TermDocument,
    tokens::Author,
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
    author: Author,
    message: Option<String>,
    at: Timestamp,
    pending: Vec<Pending>,
    renames: Vec<(Kind, Uuid, String)>,
    reset: bool,
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

/// Runs `edits` in a write, and again where another transaction stood in the way (a deadlock, or a name or slug that
/// was taken between the look and the write): three times at most.
///
/// # Errors
/// What `edits` returns; [`Error::Unavailable`] where the others were quicker three times.
pub async fn write<T>(
    state: &State,
    author: &Author,
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
    /// Begins a transaction that may write, in the name of `author`, whom revisions show.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the database does not answer.
    pub async fn open(state: &State, author: &Author, message: Option<&str>) -> Result<Self, Error> {
        let mut transaction = state.database.begin_with("begin isolation level read committed").await?;
        // The mark that the guard trigger looks for; the time that a statement of a large file may take; and the time after
        // which a session that froze gives its rows back.
        sqlx::query!(
            r#"
            select set_config('termbase.write', pg_current_xact_id()::text, true) as mark,
                   set_config('statement_timeout', '10min', true) as statement,
                   set_config('idle_in_transaction_session_timeout', '1min', true) as idle
            "#
        )
        .fetch_one(&mut *transaction)
        .await?;
        Ok(Write {
            transaction,
            clock: state.clock.clone(),
            author: author.clone(),
            message: message.map(ToOwned::to_owned),
            at: state.clock.now(),
            pending: Vec::new(),
            renames: Vec::new(),
            reset: false,
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
        let mut refusal = Refusal::of(many);
        let mut seen = BTreeSet::new();
        for (edit, change) in edits.into_iter().enumerate() {
            if let Edit::Category(Target::Existing(id), _)
            | Edit::Company(Target::Existing(id), _)
            | Edit::Term(Target::Existing(id), _) = &change
                && !seen.insert(*id)
            {
                refusal.add(edit, vec![Fault::body("", "duplicate", "Another document here is for the same entity.")]);
                continue;
            }
            match change {
                Edit::Category(target, written) => categories.push(self.want::<Category>(edit, target, written)),
                Edit::Company(target, written) => companies.push(self.want::<Company>(edit, target, written)),
                Edit::Term(target, written) => terms.push(self.want::<Term>(edit, target, written)),
            }
        }
        self.rename().await?;
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
            let by = By { author: &self.author.name, message: self.message.as_deref(), at: self.at };
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
        // A large write gets the time that its keys take: a tenth of a millisecond a change.
        let patience_millis = 2_000 + self.pending.len() / 10;
        sqlx::query!(
            "select set_config('idle_in_transaction_session_timeout', $1, true)",
            format!("{patience_millis}ms")
        )
        .fetch_one(&mut *conn)
        .await?;
        self.rename().await?;
        let conn = &mut *self.transaction;
        let edits = i64::try_from(self.pending.len()).map_err(Error::internal)?;
        let count = edits + i64::from(self.reset);
        let head = sqlx::query!("update log_head set position = position + $1 returning position, log_id", count)
            .fetch_one(&mut *conn)
            .await?;
        touch::look_up(conn, &mut self.pending.iter_mut().map(Pending::asking).collect::<Vec<_>>()).await?;
        insert_changes(conn, &self.clock, self.at, &self.pending, head.position - count).await?;
        if self.reset {
            sqlx::query!(
                r#"
                insert into changes (position, id, what, public_before, public_after, keys, at)
                values ($1, $2, 'reset', true, true, '{}', $3)
                "#,
                head.position,
                self.clock.id(),
                self.at as Timestamp
            )
            .execute(&mut *conn)
            .await?;
        }
        self.transaction.commit().await?;
        Ok(Position { log_id: head.log_id, number: head.position })
    }

    /// Writes the slugs that have waited: before the head, or before another look at the rows that bear them.
    async fn rename(&mut self) -> Result<(), sqlx::Error> {
        let conn = &mut *self.transaction;
        let renames = std::mem::take(&mut self.renames);
        for kind in [Kind::Category, Kind::Company, Kind::Term] {
            let (ids, slugs): (Vec<Uuid>, Vec<String>) =
                renames.iter().filter(|rename| rename.0 == kind).map(|(_, id, slug)| (*id, slug.clone())).unzip();
            if !ids.is_empty() {
                match kind {
                    Kind::Category => Category::rename(conn, &ids, &slugs).await?,
                    Kind::Company => Company::rename(conn, &ids, &slugs).await?,
                    Kind::Term => Term::rename(conn, &ids, &slugs).await?,
                }
            }
        }
        Ok(())
    }

    /// The transaction itself, for content that is derived from documents, and so makes no version.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Reports that derived content has changed: everything that was made from it starts over.
    pub(crate) fn reset(&mut self) {
        self.reset = true;
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
        // Names that this write gives up are free for its other documents: two entities may swap theirs.
        let (renamed, given_up) = Row::changed(rows, |document| document.name().key().to_owned());
        if !renamed.is_empty() && !given_up.is_empty() {
            D::give_up_names(conn, &given_up).await?;
        }
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
