//! The log as it is in the database: reading it, trimming it, and renewing its id.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{clock::Timestamp, editorial::Write, error::Error, state::State, tokens::Author};

/// How many changes are read at a time.
pub const PART: i64 = 1_000;
/// How many are trimmed at a time, so that no write waits long for the transaction that does it.
const TRIMMED_AT_ONCE: i64 = 5_000;
/// How often it is looked for what is to be trimmed.
const TRIM_EVERY: Duration = Duration::from_mins(10);

/// What happened, as the log has it.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its place: no gaps, in the order of the commits.
    pub position: i64,
    /// Tells it from one that another log has at this place.
    pub id: Uuid,
    /// `term`, `category` or `company`; none for a reset, which speaks of everything.
    pub kind: Option<String>,
    pub entity: Option<Uuid>,
    pub what: String,
    pub slug: Option<String>,
    pub former_slug: Option<String>,
    pub public_before: bool,
    pub public_after: bool,
    pub keys: Vec<String>,
    pub at: Timestamp,
}

impl Change {
    /// Whether everything that is derived from the log starts over here.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.what == "reset"
    }

    /// Whether anyone could see it: what was or became public, and the end of what had been.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.public_before || self.public_after || (self.what == "purged" && !self.keys.is_empty())
    }
}

/// The changes from a position on, that one included: at most [`PART`].
///
/// # Errors
/// A database that does not answer.
pub async fn read_from(conn: &mut PgConnection, position: i64) -> Result<Vec<Change>, sqlx::Error> {
    sqlx::query_as!(
        Change,
        r#"
        select position, id, kind, entity, what, slug, former_slug, public_before, public_after, keys,
               at as "at: Timestamp"
          from changes
         where position >= $1
         order by position
         limit $2
        "#,
        position,
        PART
    )
    .fetch_all(conn)
    .await
}

/// Where a log ends.
#[derive(Debug, Clone, Copy)]
pub struct End {
    pub log_id: Uuid,
    /// 0 where nothing was ever written.
    pub position: i64,
    /// Of the newest change.
    pub id: Option<Uuid>,
    /// A standby may lack what was written elsewhere.
    pub is_standby: bool,
}

/// Which log it is, and where it ends, of one snapshot.
///
/// # Errors
/// A database that does not answer.
pub async fn end(conn: &mut PgConnection) -> Result<End, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select h.log_id, c.position as "position?", c.id as "id?", pg_is_in_recovery() as "is_standby!"
          from log_head h left join (select position, id from changes order by position desc limit 1) c on true
        "#
    )
    .fetch_one(conn)
    .await?;
    Ok(End { log_id: row.log_id, position: row.position.unwrap_or_default(), id: row.id, is_standby: row.is_standby })
}

/// The changes after a position from the database, for one who is further back than what is kept ready; none where the log
/// no longer goes back so far.
///
/// # Errors
/// A database that does not answer.
pub async fn read_after(pool: &PgPool, position: i64) -> Result<Option<Vec<Change>>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let changes = read_from(&mut connection, position + 1).await?;
    match changes.first() {
        // Positions have no gaps: another one than the next was trimmed.
        Some(first) if first.position != position + 1 => Ok(None),
        Some(_) => Ok(Some(changes)),
        None => {
            let newest = end(&mut connection).await?.position;
            Ok((newest <= position).then_some(changes))
        }
    }
}

/// Gives the log another id, where it still has `known`: what was told of it before is not what it holds now. The change
/// that says so tells every other instance.
///
/// # Errors
/// A database that does not answer.
pub async fn renew(state: &State, known: Uuid) -> Result<(), Error> {
    let mut write = Write::open(state, &Author::program("termbase"), None).await?;
    begin_anew(&mut write, known).await?;
    write.close_unfollowed().await?;
    Ok(())
}

async fn begin_anew(write: &mut Write, known: Uuid) -> Result<(), sqlx::Error> {
    let renewed = sqlx::query!("update log_head set log_id = gen_random_uuid() where log_id = $1", known)
        .execute(write.connection())
        .await?;
    if renewed.rows_affected() > 0 {
        write.reset();
    }
    Ok(())
}

/// Looks, at the start and whenever the follower connects anew, whether this is the database that the log was written in, and not one that was restored while nobody
/// followed it: then the log's id is renewed.
///
/// A dump has another table, another database or another cluster; a cluster that was brought back to an earlier time, or has
/// failed over, another timeline. What can't be told is a copy of the files of a stopped server.
///
/// # Errors
/// A database that does not answer.
pub async fn settle(state: &State) -> Result<(), Error> {
    let mut connection = state.database().acquire().await?;
    let Some(Place { here, .. }) = place(&mut connection).await? else { return Ok(()) };
    drop(connection);
    let mut write = Write::open(state, &Author::program("termbase"), None).await?;
    let before = sqlx::query!("select log_id, place from log_head for update").fetch_one(write.connection()).await?;
    if before.place.as_deref() == Some(&*here) {
        return Ok(());
    }
    sqlx::query!("update log_head set place = $1", here).execute(write.connection()).await?;
    if before.place.is_some() {
        tracing::warn!("the database is not the one that its log was written in: it was restored; the log begins anew");
        begin_anew(&mut write, before.log_id).await?;
    }
    write.close_unfollowed().await?;
    Ok(())
}

/// Which database this is, and in which its log was written.
pub struct Place {
    pub here: String,
    /// None before it was first served.
    pub written: Option<String>,
}

/// None where that can't be said: on a standby, and for a role that may not read the server's control data.
///
/// # Errors
/// A database that does not answer.
pub async fn place(conn: &mut PgConnection) -> Result<Option<Place>, sqlx::Error> {
    // The timeline as it is written to: what the last checkpoint says is behind it after a promotion.
    let row = sqlx::query!(
        r#"
        select case when not pg_is_in_recovery() then
                   concat_ws('-', s.system_identifier, d.oid, 'log_head'::regclass::oid,
                             left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))
               end as here,
               (select place from log_head) as written
          from pg_control_system() s, pg_database d
         where d.datname = current_database()
        "#
    )
    .fetch_one(conn)
    .await;
    match row {
        Ok(row) => Ok(row.here.map(|here| Place { here, written: row.written })),
        Err(error) if error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42501")) => {
            tracing::debug!(
                "this role may not read the server's control data: that a database was restored is known by its changes alone"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Removes what is older than the log is kept, now and then, for as long as the service runs. The newest change always
/// stays: answers take their position from it.
pub(super) async fn keep_trimmed(state: &State) {
    loop {
        tokio::time::sleep(TRIM_EVERY).await;
        match trim(state).await {
            Ok(0) => {}
            Ok(trimmed) => tracing::info!(trimmed, "removed changes that are older than the log is kept"),
            Err(error) => tracing::warn!("the log can't be trimmed: {error}"),
        }
    }
}

/// Removes what is older than the log is kept; how many changes that were.
///
/// # Errors
/// A database that does not answer.
pub async fn trim(state: &State) -> Result<u64, Error> {
    let kept_seconds = state.http.changes_kept.as_secs_f64();
    let mut trimmed = 0;
    loop {
        let mut write = Write::open(state, &Author::program("termbase"), None).await?;
        let removed = sqlx::query!(
            r#"
            with old as (
                select position from changes
                 where position < (select max(position) from changes)
                 order by position
                 limit $1
            )
            delete from changes c using old where c.position = old.position and c.at < now() - make_interval(secs => $2)
            "#,
            TRIMMED_AT_ONCE,
            kept_seconds
        )
        .execute(write.connection())
        .await?
        .rows_affected();
        write.close().await?;
        trimmed += removed;
        if removed < TRIMMED_AT_ONCE.unsigned_abs() {
            return Ok(trimmed);
        }
    }
}
