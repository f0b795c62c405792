//! Whether the private server answers, and our database in it.
//!
//! `pg_isready` and `createdb` would do, but they are the client's programs, which some systems package apart. Opening
//! a session also proves more than that a server is there: our role can log in.

use std::{path::Path, time::Duration};

use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

/// The superuser of a private cluster, and the role that termbase uses.
pub const USER: &str = "termbase";

/// Part of the socket's name; nothing listens on a port.
pub const PORT: u16 = 5432;

/// The database of the glossary in a private cluster.
pub const DATABASE: &str = "termbase";

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// Why there was no session, or no result.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SessionError(#[from] sqlx::Error);

impl SessionError {
    fn refusal(&self) -> Option<(String, &str)> {
        let error = self.0.as_database_error()?;
        Some((error.code()?.into_owned(), error.message()))
    }

    /// Whether it may be another answer in a moment: nobody there, coming, going, or no connection left for us.
    pub fn may_pass(&self) -> bool {
        self.refusal().is_none_or(|(code, _)| code.starts_with("57") || code == "53300")
    }

    /// Whether the server is there and recovering: it needs time, not help.
    pub fn is_starting(&self) -> bool {
        self.refusal().is_some_and(|(code, message)| code == "57P03" && !message.contains("shutting down"))
    }
}

/// Makes our database where it is missing: `initdb` only makes `postgres`. It blocks.
pub fn ensure_database(socket: &Path) -> Result<(), SessionError> {
    run(async {
        let mut session = open(socket).await?;
        let missing = "select not exists(select from pg_database where datname = $1)";
        if sqlx::query_scalar(missing).bind(DATABASE).fetch_one(&mut session).await? {
            sqlx::raw_sql("create database termbase").execute(&mut session).await?;
        }
        session.close().await
    })
}

async fn open(socket: &Path) -> Result<PgConnection, sqlx::Error> {
    // sqlx takes the folder; the file in it has the name that the server gives it.
    let folder = socket.parent().unwrap_or(socket);
    // All of it: what is left out would come from the PG… variables of whoever starts us.
    let options = PgConnectOptions::new_without_pgpass()
        .socket(folder)
        .port(PORT)
        .ssl_mode(PgSslMode::Disable)
        .username(USER)
        .database("postgres");
    PgConnection::connect_with(&options).await
}

/// On a runtime of its own, since the callers are plain threads.
fn run(session: impl Future<Output = Result<(), sqlx::Error>>) -> Result<(), SessionError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(sqlx::Error::Io)?;
    runtime.block_on(async {
        let silent = |_elapsed| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        tokio::time::timeout(SILENCE, session).await.map_err(silent)?.map_err(SessionError)
    })
}
