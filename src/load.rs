//! How much may be in flight: what is over is refused, so that what is taken on is done in time.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::error::Error;

/// How many requests may be there for each connection: those that wait are done within a fraction of a second.
const PLACES: usize = 16;

/// The requests that need the database. Reads and writes have places of their own, so that neither keeps the other out.
pub struct Load {
    reads: Semaphore,
    writes: Semaphore,
    /// Of the writes, those that are worked on. A write asks Postgres many times: what is refused only after some of that
    /// has taken the time of what could be done.
    at_work: Arc<Semaphore>,
}

impl Load {
    #[must_use]
    pub fn of(connections: usize) -> Self {
        Load {
            reads: Semaphore::new(connections * PLACES),
            writes: Semaphore::new(connections * PLACES),
            at_work: Arc::new(Semaphore::new(connections)),
        }
    }

    /// A place for as long as a request is there.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where all are taken.
    pub fn place(&self, is_write: bool) -> Result<SemaphorePermit<'_>, Error> {
        let places = if is_write { &self.writes } else { &self.reads };
        places.try_acquire().map_err(|_none_left| Error::Overloaded)
    }

    /// The turn of a write that is there as a whole, its body too: whoever sends slowly keeps nobody waiting. First come,
    /// first served.
    ///
    /// # Errors
    /// [`Error::Overloaded`] after `patience`.
    pub async fn turn(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Error> {
        match timeout(patience, self.at_work.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Error::Overloaded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_waits_for_its_turn_and_no_longer_than_it_may() {
        let load = Load::of(1);
        let first = load.turn(Duration::ZERO).await;
        assert!(first.is_ok());
        assert!(load.turn(Duration::ZERO).await.is_err());
        let (second, ()) = tokio::join!(load.turn(Duration::from_mins(10)), async { drop(first) });
        assert!(second.is_ok(), "who waits is next");
    }

    #[test]
    fn reads_and_writes_have_places_of_their_own() {
        let load = Load::of(1);
        let writes: Vec<_> = (0..PLACES).map(|_| load.place(true)).collect();
        assert!(writes.iter().all(Result::is_ok));
        assert!(load.place(true).is_err());
        assert!(load.place(false).is_ok());
    }
}
