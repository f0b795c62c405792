//! The follower: one task an instance that reads the log and hands each change to all that is derived from it.
//!
//! It is woken by `NOTIFY`, by a write of its own instance, and every [`EVERY`] without either. It reads from its own position
//! *inclusive*, and compares the change's id: another one, or none, means that the database was restored or has lost writes.
//! Then the log's id is renewed, and everything derived starts over.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    log::{self, Change, End, PART},
    recent::Told,
};
use crate::{error::Error, state::State};
use actix_web::web::Data;
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{task::JoinHandle, time::timeout};

/// How long the follower waits for a wake-up before it looks by itself.
const EVERY: Duration = Duration::from_millis(300);
/// How soon it tries again where Postgres does not answer.
const AGAIN: Duration = Duration::from_millis(100);
/// After so long a silence a pool's connections may lead to a server that is no more: they are made anew.
const LONG: Duration = Duration::from_millis(500);

const CHANNEL: &str = "termbase_changes";

/// Something that is derived from the log.
pub trait Derived {
    const NAME: &'static str;
    /// Takes changes in, in their order.
    fn apply(&self, changes: &[Arc<Told>]);
    /// Forgets all that was derived up to `position`.
    fn start_over(&self, position: i64);
}

/// Follows the log until the service stops.
pub fn follow(state: &Data<State>) {
    let listening = listen(state);
    let trimming = tokio::spawn({
        let state = state.clone();
        async move { log::keep_trimmed(&state).await }
    });
    let state = state.clone();
    tokio::spawn(async move {
        let mut follower =
            Follower { state: &state, connection: None, at: None, listening, found: Instant::now(), has_failed: false };
        follower.run().await;
        follower.listening.abort();
        trimming.abort();
    });
}

struct Follower<'s> {
    state: &'s Data<State>,
    connection: Option<PgConnection>,
    /// None before the first look.
    at: Option<End>,
    listening: JoinHandle<()>,
    /// When Postgres last answered.
    found: Instant,
    /// Whether a connection to it has failed since then.
    has_failed: bool,
}

impl Follower<'_> {
    async fn run(&mut self) {
        let followed = &self.state.followed;
        let mut stopped = followed.watch_log();
        while !followed.has_ended() {
            let began = Instant::now();
            match self.look().await {
                Ok(()) => self.found(began),
                Err(error) => self.missed(&error),
            }
            let pause = if followed.is_away() { AGAIN } else { EVERY };
            let next = tokio::time::Instant::from_std(began) + pause;
            tokio::select! {
                () = followed.wake.notified(), if !followed.is_away() => {}
                () = tokio::time::sleep_until(next) => {}
                _ = stopped.wait_for(|_| followed.has_ended()) => {}
            }
        }
    }

    /// Reads everything after the last change, and hands it out. That a connection was cut does not mean that Postgres does not
    /// answer: that, only another one tells.
    async fn look(&mut self) -> Result<(), Error> {
        if let Some(connection) = self.connection.take() {
            match self.look_on(connection).await {
                Err(error) if is_cut(&error) => {
                    tracing::debug!(cause = ?error, "the follower's connection was cut");
                    self.has_failed = true;
                }
                looked => return looked,
            }
        }
        let connection = self.connect().await?;
        self.look_on(connection).await
    }

    async fn look_on(&mut self, mut connection: PgConnection) -> Result<(), Error> {
        let Some(mut at) = self.at else {
            self.begin(&mut connection).await?;
            self.connection = Some(connection);
            return Ok(());
        };
        loop {
            let mut changes = self.soon(log::read_from(&mut connection, at.position)).await?;
            if let Some(id) = at.id {
                if changes.first().map(|first| first.id) != Some(id) {
                    self.start_anew(&mut connection, at).await?;
                    self.connection = Some(connection);
                    return Ok(());
                }
                changes.remove(0);
            }
            let is_last = changes.len() + 1 < usize::try_from(PART).unwrap_or(usize::MAX);
            if let Some(last) = changes.last() {
                at = End { position: last.position, id: Some(last.id), ..at };
                let is_reset = changes.iter().any(Change::is_reset);
                self.hand_out(
                    &changes.into_iter().map(|change| Arc::new(change.into())).collect::<Vec<_>>(),
                    at.position,
                );
                self.at = Some(at);
                if is_reset {
                    let log_id = self.soon(log::end(&mut connection)).await?.log_id;
                    if log_id != at.log_id {
                        at.log_id = log_id;
                        self.adopt(at);
                    }
                }
            }
            if is_last {
                self.connection = Some(connection);
                return Ok(());
            }
        }
    }

    /// Connects, perhaps to another server than before: what that one had lost before it was read here, but not before it
    /// was shown, only its place tells.
    async fn connect(&mut self) -> Result<PgConnection, Error> {
        let options = self.state.database().connect_options();
        let mut connection = self.soon(PgConnection::connect_with(&options)).await?;
        let place = self.soon(log::place(&mut connection)).await?;
        if place.is_some_and(|place| place.written.is_some_and(|written| written != place.here)) {
            log::settle(self.state).await?;
            self.begin(&mut connection).await?;
        }
        Ok(connection)
    }

    /// Begins where the log is now: nothing was derived from what came before.
    async fn begin(&mut self, connection: &mut PgConnection) -> Result<(), Error> {
        let end = self.soon(log::end(connection)).await?;
        self.adopt(end);
        Ok(())
    }

    /// The last change is another, or gone.
    async fn start_anew(&mut self, connection: &mut PgConnection, at: End) -> Result<(), Error> {
        let now = self.soon(log::end(&mut *connection)).await?;
        if now.is_standby {
            // It may get there yet.
            return Err(Error::NotReady("The standby lacks what was read before.".into()));
        }
        if now.log_id == at.log_id {
            tracing::warn!(
                position = at.position,
                "the database has lost changes that were read: it was restored; the log begins anew"
            );
            log::renew(self.state, now.log_id).await?;
        }
        self.begin(connection).await
    }

    /// What Postgres answers within the time that it has.
    async fn soon<T>(&self, asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
        let answered = timeout(self.state.http.patience, asked).await;
        Ok(answered.map_err(|_elapsed| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))??)
    }

    /// Everything derived starts over, at a place in a log.
    fn adopt(&mut self, at: End) {
        self.at = Some(at);
        self.state.followed.leave();
        start_over(&self.state.cache, at.position);
        start_over(&self.state.recent, at.position);
        self.state.followed.begin(at.log_id, at.position);
    }

    fn hand_out(&self, changes: &[Arc<Told>], position: i64) {
        hand_to(&self.state.cache, changes, position);
        hand_to(&self.state.recent, changes, position);
        self.state.followed.advance(position);
    }

    fn found(&mut self, began: Instant) {
        let silence = std::mem::replace(&mut self.found, Instant::now()).elapsed();
        if self.state.followed.is_away() {
            tracing::info!(seconds = silence.as_secs_f32(), "Postgres answers again");
        }
        // Where another connection answered at once, too: others of the failed one's age may lead nowhere, and not know it yet.
        if std::mem::take(&mut self.has_failed) && silence > LONG {
            self.state.renew_database();
            // Its peer may be dead, and would never say so.
            self.listening.abort();
            self.listening = listen(self.state);
        }
        // Last: whoever comes once Postgres counts as there is not cut off with the connections of before.
        self.state.followed.looked(began);
    }

    fn missed(&mut self, error: &Error) {
        self.connection = None;
        self.has_failed = true;
        if !self.state.followed.is_away() {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(
                cause,
                "Postgres does not answer. Kept answers go on, with their age; all else is refused."
            );
        }
        self.state.followed.lost();
    }
}

/// Whether a connection has failed at once: one that is silent has taken all the time that Postgres has for an answer.
fn is_cut(error: &Error) -> bool {
    matches!(error, Error::Unavailable(cause)
        if !matches!(cause, sqlx::Error::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut))
}

/// A panic in one that is derived does not stop the others: it starts over, which makes all that it had kept misses.
fn hand_to<D: Derived>(derived: &D, changes: &[Arc<Told>], position: i64) {
    if catch_unwind(AssertUnwindSafe(|| derived.apply(changes))).is_err() {
        tracing::error!(derived = D::NAME, position, "what is derived from the log panicked, and starts over");
        start_over(derived, position);
    }
}

fn start_over<D: Derived>(derived: &D, position: i64) {
    if catch_unwind(AssertUnwindSafe(|| derived.start_over(position))).is_err() {
        tracing::error!(derived = D::NAME, position, "what is derived from the log can't start over");
    }
}

/// Wakes the follower when somebody writes. Where a proxy takes no `LISTEN`, it goes on without.
fn listen(state: &Data<State>) -> JoinHandle<()> {
    let state = state.clone();
    tokio::spawn(async move {
        let options = state.database().connect_options();
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with((*options).clone());
        loop {
            if let Err(error) = wake(&state, &pool).await {
                tracing::debug!("not woken by writes: {error}");
            }
            tokio::time::sleep(EVERY).await;
        }
    })
}

async fn wake(state: &State, pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let notification = listener.recv().await?;
        let written: i64 = notification.payload().parse().unwrap_or(i64::MAX);
        if written > state.followed.position() {
            state.followed.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    struct Panics(AtomicI64);

    impl Derived for Panics {
        const NAME: &'static str = "panics";

        fn apply(&self, _: &[Arc<Told>]) {
            panic!("on purpose");
        }

        fn start_over(&self, position: i64) {
            self.0.store(position, Ordering::Relaxed);
        }
    }

    #[test]
    fn one_that_panics_starts_over_and_stops_nobody() {
        let derived = Panics(AtomicI64::new(0));
        hand_to(&derived, &[], 7);
        assert_eq!(derived.0.load(Ordering::Relaxed), 7);
    }
}
