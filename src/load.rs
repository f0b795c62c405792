//! How much may be in flight: what is over is refused at once, so that what is taken on is done in time.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::Error;

/// How many requests may be there for each connection: those that wait are done within a fraction of a second.
const PLACES: usize = 16;

/// The requests that need the database. Reads and writes have places of their own, so that neither keeps the other out.
pub struct Load {
    reads: Semaphore,
    writes: Semaphore,
}

impl Load {
    #[must_use]
    pub fn of(connections: usize) -> Self {
        Load { reads: Semaphore::new(connections * PLACES), writes: Semaphore::new(connections * PLACES) }
    }

    /// A place for as long as a request is worked on.
    ///
    /// # Errors
    /// [`Error::Overloaded`] where all are taken.
    pub fn place(&self, is_write: bool) -> Result<SemaphorePermit<'_>, Error> {
        let places = if is_write { &self.writes } else { &self.reads };
        places.try_acquire().map_err(|_none_left| Error::Overloaded)
    }
}
