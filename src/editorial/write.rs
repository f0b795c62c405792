//! The one way to write: [`Write::open`], [`Write::apply`], [`Write::close`]; only `close` commits.
//!
//! Everything is done in sets, and in parts of some thousand rows, so that a file of 100,000 documents fits.

use std::{collections::BTreeSet, sync::Arc};

use sqlx::{PgConnection, Postgres, Transaction};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::{
    Applied, Edit, Entity, Kind, Names, Row, Target, Touched, What,
    claim::{claim_names, claim_slugs},
    count::{self, Counts},
    plan::{Batch, Change, refuse_in_use},
    refusal::{Refusal, cycle},
    spill::{spill, spilled},
    store::{By, insert_changes, link},
    touch::{self, Asking},
};
use crate::{
    categories::CategoryDocument,
    changes::{Followed, Owed, Position, SEARCH_KEY},
    clock::{Clock, Timestamp},
    companies::CompanyDocument,
    error::{Error, Fault},
    postgres,
    state::State,
    terms::TermDocument,
    tokens::Author,
};

// What is stored: documents with their references resolved.
pub(super) type Term = TermDocument<Uuid>;
pub(super) type Category = CategoryDocument<Uuid>;
pub(super) type Company = CompanyDocument<Uuid>;

/// How often a write that met another is tried.
const ATTEMPTS: u32 = 10;

/// A writing transaction. Dropping it rolls everything back.
pub struct Write {
    pub(super) transaction: Transaction<'static, Postgres>,
    pub(super) clock: Clock,
    pub(super) author: Author,
    pub(super) message: Option<String>,
    pub(super) at: Timestamp,
    /// Whether the temporary tables of a large write are there.
    pub(super) staging: bool,
    pending: Vec<Pending>,
    /// How many changes wait in a temporary table instead, and what they count otherwise.
    spilled: i64,
    counts: Counts,
    renames: Vec<(Kind, Uuid, String)>,
    reset: bool,
    /// What is told of the commit.
    followed: Arc<Followed>,
    /// One of the connections that may be writing; it goes back with the transaction.
    _permit: OwnedSemaphorePermit,
}

/// A change that waits for its position.
pub(super) struct Pending {
    pub kind: Kind,
    pub id: Uuid,
    pub what: What,
    pub slug: String,
    pub former_slug: Option<String>,
    pub public_before: bool,
    pub public_after: bool,
    pub touched: Touched,
}

impl Pending {
    fn asking(&mut self) -> Asking<'_> {
        Asking { id: self.id, is_public: self.public_after, touched: &mut self.touched }
    }
}

/// Runs `edits` in a write, and again where another transaction stood in the way (a deadlock, or something that was
/// taken or removed between the look and the write): ten times at most, since of many who make the same slug at once each
/// finds the next one taken.
///
/// # Errors
/// What `edits` returns; [`Error::Overtaken`] where the others were quicker each time.
pub async fn write<T>(
    state: &State,
    author: &Author,
    message: Option<&str>,
    mut edits: impl AsyncFnMut(&mut Write) -> Result<T, Error>,
) -> Result<(T, Position), Error> {
    let edits = async |write: &mut Write| Ok((edits(write).await?, Ending::Commit));
    match write_or_not(state, author, message, edits).await? {
        (value, Some(position)) => Ok((value, position)),
        (_, None) => Err(Error::internal("a write that was to be kept was not")),
    }
}

/// How a write ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Commit,
    /// Nothing of it was ever there.
    RollBack,
}

/// The same, where `edits` says whether they are kept; the position is of those that are.
///
/// # Errors
/// What [`write()`] returns.
pub async fn write_or_not<T>(
    state: &State,
    author: &Author,
    message: Option<&str>,
    mut edits: impl AsyncFnMut(&mut Write) -> Result<(T, Ending), Error>,
) -> Result<(T, Option<Position>), Error> {
    let mut attempt = 1;
    loop {
        let result = async {
            let mut write = Write::open(state, author, message).await?;
            let (value, ending) = edits(&mut write).await?;
            let position = match ending {
                Ending::Commit => Some(write.close().await?),
                Ending::RollBack => None,
            };
            Ok((value, position))
        };
        match result.await {
            Err(error) if attempt < ATTEMPTS && is_collision(&error) => attempt += 1,
            Err(error) if is_collision(&error) => return Err(Error::Overtaken),
            result => return result,
        }
    }
}

fn is_collision(error: &Error) -> bool {
    match error {
        Error::Unavailable(cause) => is_collision_cause(cause),
        Error::Internal(cause) => is_collision_cause(&**cause),
        Error::Overtaken => true,
        _ => false,
    }
}

/// A deadlock, a name or slug that the look before had found free, or something that it had still found.
fn is_collision_cause(cause: &(dyn std::error::Error + 'static)) -> bool {
    let Some(sqlx::Error::Database(database)) = cause.downcast_ref::<sqlx::Error>() else { return false };
    let taken = database.constraint().is_some_and(|name| {
        ["terms", "categories", "companies"]
            .iter()
            .any(|table| name.strip_prefix(table).is_some_and(|what| ["_name", "_slug", "_slug_taken"].contains(&what)))
    });
    let vanished = database.is_foreign_key_violation();
    database.code().as_deref() == Some("40P01") || taken || vanished
}

impl Write {
    /// Begins a transaction that may write, in the name of `author` (the name is shown in revisions, the role
    /// says what it may do).
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the database does not answer; [`Error::Overloaded`] where the others who write are too many.
    pub async fn open(state: &State, author: &Author, message: Option<&str>) -> Result<Self, Error> {
        let permit = tokio::time::timeout(state.http.patience, state.writers.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Error::Overloaded) };
        let mut transaction = postgres::begin(&state.database(), "begin isolation level read committed").await?;
        // The mark that the guard trigger looks for; the time that a statement of a large file may take, and that it may
        // wait for another's rows; and the time after which a session that froze gives its rows back.
        sqlx::query!(
            r#"
            select set_config('termbase.write', pg_current_xact_id()::text, true) as mark,
                   set_config('statement_timeout', '10min', true) as statement,
                   set_config('lock_timeout', '5s', true) as lock,
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
            staging: false,
            pending: Vec::new(),
            spilled: 0,
            counts: Counts::default(),
            renames: Vec::new(),
            reset: false,
            followed: state.followed.clone(),
            _permit: permit,
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
        self.bring_in(edits, false).await
    }

    /// The same; `trash` lets documents of what is in the trash be written, which stays there.
    pub(super) async fn bring_in(&mut self, edits: Vec<Edit>, trash: bool) -> Result<Vec<Applied>, Error> {
        let mut refusal = Refusal::of(edits.len() > 1);
        let mut applied = vec![None; edits.len()];
        let (mut categories, mut companies, mut terms) = self.sort(edits, &mut refusal);
        // Slugs that an earlier part of this write has changed are looked at below.
        self.rename().await?;
        let conn = &mut *self.transaction;
        categories.lock(conn, trash, &mut refusal).await?;
        companies.lock(conn, trash, &mut refusal).await?;
        terms.lock(conn, trash, &mut refusal).await?;

        let mut references = BTreeSet::new();
        categories.refer(&mut references);
        companies.refer(&mut references);
        terms.refer(&mut references);
        let mut names = Names::look_up(conn, &references).await?;
        categories.mark(&mut names);
        companies.mark(&mut names);
        terms.mark(&mut names);
        claim_slugs(conn, &mut categories, &mut names, &mut refusal).await?;
        claim_slugs(conn, &mut companies, &mut names, &mut refusal).await?;
        claim_slugs(conn, &mut terms, &mut names, &mut refusal).await?;
        names.look_up_closest(conn, &references).await?;
        claim_names(conn, &categories, &mut refusal).await?;
        claim_names(conn, &terms, &mut refusal).await?;
        let in_use = refuse_in_use(conn, &categories.deleted()).await;

        let Self { clock, at, .. } = self;
        let categories = categories.rows(clock, *at, &mut names, &mut refusal, &mut applied);
        let companies = companies.rows(clock, *at, &mut names, &mut refusal, &mut applied);
        let terms = terms.rows(clock, *at, &mut names, &mut refusal, &mut applied);
        refusal.end(self.author.role)?;
        in_use?;
        self.store(&categories, &companies, &terms, &names).await.map_err(|error| cycle(error, &applied))?;
        self.note(&categories);
        self.note(&companies);
        self.note(&terms);
        Ok(applied.into_iter().flatten().collect())
    }

    /// The edits by kind; a second one for the same entity is a fault.
    fn sort(&self, edits: Vec<Edit>, refusal: &mut Refusal) -> (Batch<Category>, Batch<Company>, Batch<Term>) {
        let (mut categories, mut companies, mut terms) = (Batch::new(), Batch::new(), Batch::new());
        let clock = &self.clock;
        let mut seen = BTreeSet::new();
        for (edit, change) in edits.into_iter().enumerate() {
            if let Edit::Category(Target::Existing(id), _)
            | Edit::Company(Target::Existing(id), _)
            | Edit::Term(Target::Existing(id), _)
            | Edit::Delete(_, id)
            | Edit::Restore(_, id) = &change
                && !seen.insert(*id)
            {
                refusal.add(edit, vec![Fault::body("", "duplicate", "Another edit here is for the same entity.")]);
                continue;
            }
            match change {
                Edit::Category(target, written) => categories.push(clock, edit, target, Change::Document(written)),
                Edit::Company(target, written) => companies.push(clock, edit, target, Change::Document(written)),
                Edit::Term(target, written) => terms.push(clock, edit, target, Change::Document(written)),
                Edit::Delete(Kind::Category, id) => categories.push(clock, edit, Target::Existing(id), Change::Delete),
                Edit::Delete(Kind::Company, id) => companies.push(clock, edit, Target::Existing(id), Change::Delete),
                Edit::Delete(Kind::Term, id) => terms.push(clock, edit, Target::Existing(id), Change::Delete),
                Edit::Restore(Kind::Category, id) => {
                    categories.push(clock, edit, Target::Existing(id), Change::Restore);
                }
                Edit::Restore(Kind::Company, id) => companies.push(clock, edit, Target::Existing(id), Change::Restore),
                Edit::Restore(Kind::Term, id) => terms.push(clock, edit, Target::Existing(id), Change::Restore),
            }
        }
        (categories, companies, terms)
    }

    /// Entities first, their links after, so that they may refer to each other.
    async fn store(
        &mut self,
        categories: &[Row<Category>],
        companies: &[Row<Company>],
        terms: &[Row<Term>],
        names: &Names,
    ) -> Result<(), sqlx::Error> {
        let conn = &mut *self.transaction;
        let by = By { author: &self.author.name, message: self.message.as_deref(), at: self.at };
        by.store(conn, categories, names).await?;
        by.store(conn, companies, names).await?;
        by.store(conn, terms, names).await?;
        link(conn, categories).await?;
        link(conn, companies).await?;
        link(conn, terms).await
    }

    /// Takes the positions, writes the changes, and commits; then waits a moment for what is derived from the log here, so
    /// that whoever wrote finds what was written. A write that changed nothing takes no position, and returns the newest one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the database went away: then nothing of the write is there, unless it went away
    /// after the commit reached it.
    pub async fn close(self) -> Result<Position, Error> {
        let (position, written) = self.commit().await?;
        if let Some((followed, touched)) = written {
            followed.committed(touched).await;
        }
        Ok(position)
    }

    /// The same for the follower itself, which can't wait for itself.
    pub(crate) async fn close_unfollowed(self) -> Result<Position, Error> {
        self.commit().await.map(|(position, _)| position)
    }

    /// The position; and where something was written, who is told of it, and what it touches.
    async fn commit(mut self) -> Result<(Position, Option<(Arc<Followed>, Owed)>), Error> {
        if self.spilled > 0 {
            self.spill().await?;
        }
        let edits = self.spilled + i64::try_from(self.pending.len()).map_err(Error::internal)?;
        if edits == 0 && !self.reset {
            let head = sqlx::query!("select position, log_id from log_head").fetch_one(&mut *self.transaction).await?;
            self.transaction.commit().await?;
            return Ok((Position { log_id: head.log_id, number: head.position }, None));
        }
        let conn = &mut *self.transaction;
        // Nothing may wait, or fail, behind the head; and a session that freezes while it holds the head is ended.
        sqlx::query("set constraints all immediate").execute(&mut *conn).await?;
        // A large write gets the time that its keys take: a tenth of a millisecond a change.
        let patience_millis = 2_000 + edits / 10;
        sqlx::query!(
            "select set_config('idle_in_transaction_session_timeout', $1, true)",
            format!("{patience_millis}ms")
        )
        .fetch_one(&mut *conn)
        .await?;
        self.rename().await?;
        let conn = &mut *self.transaction;
        let count = edits + i64::from(self.reset);
        let head = sqlx::query!("update log_head set position = position + $1 returning position, log_id", count)
            .fetch_one(&mut *conn)
            .await?;
        let mut before = head.position - count;
        if self.spilled > 0 {
            let mut after = 0;
            while let Some(mut part) = spilled(conn, &mut after).await? {
                touch::look_up(conn, &mut part.iter_mut().map(Pending::asking).collect::<Vec<_>>()).await?;
                before = insert_changes(conn, &self.clock, self.at, &part, before).await?;
            }
        }
        touch::look_up(conn, &mut self.pending.iter_mut().map(Pending::asking).collect::<Vec<_>>()).await?;
        insert_changes(conn, &self.clock, self.at, &self.pending, before).await?;
        self.pending.iter().for_each(|change| self.counts.add(&change.touched.counts));
        count_categories(conn, std::mem::take(&mut self.counts), &self.pending).await?;
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
        let position = Position { log_id: head.log_id, number: head.position };
        let touched = if self.spilled > 0 || self.reset {
            Owed::All
        } else {
            Owed::These(self.pending.iter().flat_map(|change| change.touched.keys.hashes()).collect())
        };
        Ok((position, Some((self.followed, touched))))
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

    pub(super) fn note<D: Entity>(&mut self, rows: &[Row<D>]) {
        for row in rows {
            let (slug, former) = (&row.slug, row.former_slug());
            if former.is_some() {
                self.renames.push((D::KIND, row.id, slug.to_string()));
            }
            let mut touched = Touched::default();
            D::touch(row, &mut touched);
            if row.was_public() || row.is_public() {
                touched.key(SEARCH_KEY.into());
            }
            self.pending.push(Pending {
                kind: D::KIND,
                id: row.id,
                what: row.what(),
                slug: slug.to_string(),
                former_slug: former.map(ToString::to_string),
                public_before: row.was_public(),
                public_after: row.is_public(),
                touched,
            });
        }
    }

    /// Puts the changes that wait for their positions into a temporary table, so that a large write holds few of them.
    pub(super) async fn spill(&mut self) -> Result<(), sqlx::Error> {
        let part = std::mem::take(&mut self.pending);
        part.iter().for_each(|change| self.counts.add(&change.touched.counts));
        self.spilled += i64::try_from(part.len()).unwrap_or_default();
        spill(&mut self.transaction, &part).await
    }

    pub(super) fn pend(&mut self, pending: Pending) {
        self.pending.push(pending);
    }
}

/// Keeps what categories count in step with all that the write has changed.
async fn count_categories(conn: &mut PgConnection, counts: Counts, changes: &[Pending]) -> Result<(), sqlx::Error> {
    counts.store(&mut *conn).await?;
    let is_gone = |change: &&Pending| change.kind == Kind::Category && change.what == What::Purged;
    count::forget(conn, &changes.iter().filter(is_gone).map(|change| change.id).collect::<Vec<_>>()).await
}
