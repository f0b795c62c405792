//! Postgres: the pool, the migrations, the snapshots that answers are read from, and the private [`cluster`] that runs
//! when no `DATABASE_URL` is set.

pub mod cluster;
mod data;
pub mod fetch;
mod locate;
pub mod locks;
mod log;
pub mod place;
mod processes;
pub mod session;
pub mod supervisor;

use std::time::{Duration, Instant};

use sqlx::{
    Connection, PgConnection, PgPool, Postgres, Transaction,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

/// The tables, step by step. Steps that a newer version has made are left alone: an older instance goes on beside it.
static MIGRATIONS: Migrator = Migrator { ignore_missing: true, ..sqlx::migrate!() };

/// How long one attempt to connect may take: a host that swallows what is sent to it would hold us for minutes.
const SILENCE: Duration = Duration::from_secs(10);

const IDLE_UNASKED: Duration = Duration::from_millis(500);

/// A pool of at most `connections`. All are opened at once and kept, by the runtime that calls this: a connection's
/// I/O stays with the runtime that opened it, and one that a busy worker had opened would wait for that worker. A request
/// waits for one for `patience` at most.
pub fn pool(options: PgConnectOptions, connections: u32, patience: Duration) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .min_connections(connections)
        .acquire_timeout(patience)
        // A connection that was used a moment ago is not asked first whether it lives: that would be a second round
        // trip for each page. One that lay idle is, so that a restart of Postgres costs no request its answer.
        .test_before_acquire(false)
        .before_acquire(|connection, usage| {
            Box::pin(async move {
                if usage.idle_for > IDLE_UNASKED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// The same pool, with connections of its own.
#[must_use]
pub fn again(pool: &PgPool) -> PgPool {
    pool.options().clone().connect_lazy_with((*pool.connect_options()).clone())
}

/// Brings the tables to this version's state, under a lock, so that several instances may start at once.
///
/// # Errors
/// A database that does not answer, or refuses a migration.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), sqlx::migrate::MigrateError> {
    let mut connection = PgConnection::connect_with(options).await?;
    // That a table of sqlx's own is there already is no news to anybody.
    sqlx::raw_sql("set client_min_messages = warning").execute(&mut connection).await?;
    MIGRATIONS.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Waits for a Postgres of one's own that is still starting, and looks whether termbase can live in it.
///
/// # Errors
/// For a person: it does not answer within `patience`, or it is not one that will do.
pub async fn wait_for(options: &PgConnectOptions, patience: Duration) -> Result<(), String> {
    let began = Instant::now();
    let mut connection = loop {
        let silent = |_elapsed| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        let connecting = tokio::time::timeout(SILENCE, PgConnection::connect_with(options));
        match connecting.await.map_err(silent).flatten() {
            Ok(connection) => break connection,
            // A refused password or an unknown database does not mend itself.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() != Some("57P03") => {
                return Err(error.message().to_owned());
            }
            Err(error) if began.elapsed() > patience => return Err(error.to_string()),
            Err(error) => {
                tracing::info!("waiting for Postgres: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    };
    let server = sqlx::query!(
        r#"
        select current_setting('server_version_num')::integer as "version!", current_setting('server_encoding') as "encoding!",
               exists(select from pg_available_extensions where name = 'pg_trgm') as "trigrams!"
        "#
    )
    .fetch_one(&mut connection)
    .await
    .map_err(|error| error.to_string())?;
    if server.version < 140_000 {
        return Err(format!("it is Postgres {}; termbase needs 14 or later", server.version / 10_000));
    }
    if server.encoding != "UTF8" {
        return Err(format!(
            "its encoding is {}; make the database with `create database … encoding 'UTF8' template template0`",
            server.encoding
        ));
    }
    if !server.trigrams {
        return Err("it lacks the extension pg_trgm; install the server's contrib package".into());
    }
    Ok(())
}

/// The log that this database's positions belong to.
///
/// # Errors
/// A database that does not answer.
pub async fn log_id(pool: &PgPool) -> Result<Uuid, sqlx::Error> {
    sqlx::query_scalar!("select log_id from log_head").fetch_one(pool).await
}

/// Whether the database answers and has this version's tables; the reason, for a person, where it does not.
///
/// # Errors
/// The reason.
pub async fn check(pool: &PgPool) -> Result<(), String> {
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let applied = sqlx::query_scalar!(
        r#"select count(*) as "count!" from _sqlx_migrations where version = $1 and success"#,
        newest
    )
    .fetch_one(pool)
    .await;
    match applied {
        Ok(1..) => Ok(()),
        Ok(_) => Err(format!("The database lacks migration {newest}; start termbase again to run it.")),
        Err(error) if error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42P01")) => {
            Err("The database has no tables of termbase; start termbase again to make them.".into())
        }
        Err(_) => Err("The database does not answer.".into()),
    }
}

/// A transaction whose statements all see one state, for answers of more than one statement. Plans are made anew for
/// each: a list's filters differ too much for one plan.
///
/// # Errors
/// A database that does not answer.
pub async fn snapshot(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    begin(pool, "begin isolation level repeatable read, read only; set local plan_cache_mode = force_custom_plan").await
}

/// Begins a transaction, to the end, even where whoever asked for it has left: sqlx takes one back that is dropped, but not
/// yet while it begins. The connection would go back with it open, and all that is done on it later with it.
///
/// # Errors
/// A database that does not answer.
#[expect(clippy::disallowed_methods, reason = "the one place that sees it through")]
pub async fn begin(pool: &PgPool, statement: &'static str) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let pool = pool.clone();
    let beginning = tokio::spawn(async move { pool.begin_with(statement).await });
    beginning.await.unwrap_or_else(|_ended| Err(sqlx::Error::WorkerCrashed))
}

/// The newest position that a snapshot sees.
///
/// # Errors
/// A database that does not answer.
pub async fn position(snapshot: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"select coalesce(max(position), 0) as "position!" from changes"#).fetch_one(snapshot).await
}
