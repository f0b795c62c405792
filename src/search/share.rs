//! Searching's own share of the connections, so that it can't starve reading: what is over is refused at once, and a query
//! whose client has left is cancelled.

use std::{sync::Arc, time::Duration};

use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    changes::{Keys, SEARCH_KEY, Seen},
    error::Error,
    postgres,
    state::State,
};

/// How many searches may wait for each one that runs.
const WAITING: usize = 32;
/// How long a search waits for its turn.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the cancelling of one may take.
const CANCEL: Duration = Duration::from_secs(5);

/// What Postgres says of a search that took longer than it may.
pub fn too_long(error: sqlx::Error) -> Error {
    match error.as_database_error().and_then(sqlx::error::DatabaseError::code) {
        Some(code) if code == QUERY_CANCELED => Error::TimedOut(SECONDS),
        _ => error.into(),
    }
}

/// The SQLSTATE of a statement that was ended.
const QUERY_CANCELED: &str = "57014";
/// How long a search may take.
const SECONDS: u64 = 2;

/// How many searches may run, and how many may be there at all.
pub struct Share {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Share {
    #[must_use]
    pub fn of(connections: usize) -> Self {
        Share {
            turns: Arc::new(Semaphore::new(connections)),
            places: Arc::new(Semaphore::new(connections * (1 + WAITING))),
        }
    }
}

/// A connection in a snapshot of its own, for one search. Dropped before its [`end`](Searching::end), as happens when the
/// client leaves, it cancels what Postgres is doing, and gives its turn to the next one after that.
pub struct Searching {
    snapshot: Option<Transaction<'static, Postgres>>,
    /// The process of Postgres that serves it.
    process: i32,
    database: PgPool,
    permits: Option<[OwnedSemaphorePermit; 2]>,
    /// Up to which change the snapshot sees.
    position: i64,
    /// The words of what is asked, as Postgres keeps them: stems, without those that stand in every text.
    pub stems: Vec<String>,
}

impl Searching {
    /// Waits for a turn, and begins. `asked` is what is looked for in texts,
    /// `likeness` how much of their trigrams names share that are alike, from 0 to 1.
    ///
    /// # Errors
    /// [`Error::SearchBusy`] where too many are searching; a database that does not answer.
    pub async fn begin(state: &State, asked: &str, likeness: f32) -> Result<Self, Error> {
        let busy = |_full| Error::SearchBusy;
        let place = state.searches.places.clone().try_acquire_owned().map_err(busy)?;
        let turn = timeout(PATIENCE, state.searches.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Error::SearchBusy) };
        let mut snapshot =
            postgres::begin(&state.database(), "begin isolation level repeatable read, read only").await?;
        // One plan does for whatever is asked: planning costs more than finding. And it is one by the indexes: to compare
        // names costs far more than the planner thinks.
        let row = sqlx::query!(
            r#"
            select pg_backend_pid() as "process!", coalesce((select max(position) from changes), 0) as "position!",
                   tsvector_to_array(text_words($1)) as "stems!",
                   set_config('plan_cache_mode', 'force_generic_plan', true) as plan,
                   set_config('enable_seqscan', 'off', true) as scan,
                   set_config('statement_timeout', $3, true) as statement,
                   set_config('pg_trgm.similarity_threshold', $2::real::text, true) as likeness,
                   set_config('pg_trgm.word_similarity_threshold', '0.4', true) as part
            "#,
            asked,
            likeness,
            format!("{SECONDS}s")
        )
        .fetch_one(&mut *snapshot)
        .await?;
        Ok(Searching {
            snapshot: Some(snapshot),
            process: row.process,
            database: state.database(),
            permits: Some([place, turn]),
            position: row.position,
            stems: row.stems,
        })
    }

    /// The connection.
    ///
    /// # Errors
    /// Never: it is there until the search ends, which takes it.
    pub fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        self.snapshot.as_deref_mut().ok_or_else(|| Error::internal("the search has ended"))
    }

    /// Gives the connection back, and says what the answer was made from.
    pub fn end(mut self, state: &State) -> Seen {
        self.snapshot = None;
        let mut keys = Keys::default();
        keys.add(SEARCH_KEY.into());
        Seen { position: state.position(self.position), keys }
    }
}

impl Drop for Searching {
    fn drop(&mut self) {
        let Some(snapshot) = self.snapshot.take() else { return };
        let (database, process, permits) = (self.database.clone(), self.process, self.permits.take());
        let cancelling = async move {
            // The connection is ours until the end, so the process does nothing of anybody else's.
            if let Err(error) = sqlx::query!("select pg_cancel_backend($1)", process).fetch_one(&database).await {
                tracing::warn!("a search could not be cancelled, and ends by its time-out: {error}");
            }
            // Returns once Postgres has said how the query ended.
            let _ = snapshot.rollback().await;
        };
        tokio::spawn(async move {
            let _ = timeout(CANCEL, cancelling).await;
            drop(permits);
        });
    }
}
