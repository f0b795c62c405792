//! How much may be in flight: what is over is refused at once, so that what is taken on is done in time.

use std::time::Duration;

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::error::Error;

/// How many requests may be there for each connection: those that wait are done within a fraction of a second.
const PLACES: usize = 16;

/// The requests that need the database. Reads and writes have places of their own, so that neither keeps the other out.
pub struct Load {
    reads: Semaphore,
    writes: Semaphore,
    /// Of the writes, those that are worked on. A write asks Postgres many times, and first who sends it; one that would
    /// be refused after all that took the time of one that could be done.
    at_work: Semaphore,
}

/// A place for as long as a request is worked on.
pub struct Place<'a> {
    _place: SemaphorePermit<'a>,
    _at_work: Option<SemaphorePermit<'a>>,
}

impl Load {
    #[must_use]
    pub fn of(connections: usize) -> Self {
        Load {
            reads: Semaphore::new(connections * PLACES),
            writes: Semaphore::new(connections * PLACES),
            at_work: Semaphore::new(connections),
        }
    }

    /// A place for a read, if there is one.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where all are taken.
    pub fn read(&self) -> Result<Place<'_>, Error> {
        let place = self.reads.try_acquire().map_err(|_none_left| Error::Overloaded)?;
        Ok(Place { _place: place, _at_work: None })
    }

    /// A place for a write, which waits in line for `patience` at most.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where the line is full, or the wait was over.
    pub async fn write(&self, patience: Duration) -> Result<Place<'_>, Error> {
        let place = self.writes.try_acquire().map_err(|_none_left| Error::Overloaded)?;
        match timeout(patience, self.at_work.acquire()).await {
            Ok(Ok(at_work)) => Ok(Place { _place: place, _at_work: Some(at_work) }),
            _ => Err(Error::Overloaded),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        task::{Context, Waker},
    };

    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    #[tokio::test]
    async fn a_write_waits_for_its_turn_in_a_line_that_has_an_end() {
        let load = Load::of(1);
        let first = load.write(LONG).await;
        assert!(first.is_ok());
        assert!(load.write(Duration::ZERO).await.is_err(), "it waits no longer than it may");
        let mut line: Vec<_> = (1..PLACES).map(|_| Box::pin(load.write(LONG))).collect();
        for waiting in &mut line {
            let mut context = Context::from_waker(Waker::noop());
            assert!(waiting.as_mut().poll(&mut context).is_pending());
        }
        assert!(load.write(LONG).await.is_err(), "at the end of the line nobody waits");
        assert!(load.read().is_ok(), "reads have places of their own");
        drop(first);
        assert!(line.remove(0).await.is_ok(), "who came first is next");
    }
}
