//! The changes of late, kept ready for whoever follows them over HTTP: one reader of the log serves all of them.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use actix_web::web::Bytes;
use uuid::Uuid;

use super::{feed::ChangeItem, follower::Derived, log::Change};

/// How many changes are kept ready, and how many bytes of them.
const CHANGES_MAX: usize = 10_000;
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What follows a position, as far as it is kept ready.
pub enum Following {
    /// At most as many as were asked for.
    Ready(Vec<Arc<Told>>),
    /// They are no longer ready, or not yet: the log has them.
    Behind,
}

pub struct Recent(RwLock<Ring>);

struct Ring {
    /// The position before the first that is kept.
    before: i64,
    changes: VecDeque<Arc<Told>>,
    bytes: usize,
}

impl Default for Recent {
    /// Nothing is ready before the log is followed, however far back one is.
    fn default() -> Self {
        Recent(RwLock::new(Ring::after(i64::MAX)))
    }
}

impl Recent {
    /// The changes after `position`, `limit` at most.
    #[must_use]
    pub fn after(&self, position: i64, limit: usize) -> Following {
        let ring = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // Positions have no gaps, so the place in the queue follows from the position.
        let Ok(skipped) = usize::try_from(position - ring.before) else { return Following::Behind };
        Following::Ready(ring.changes.iter().skip(skipped).take(limit).cloned().collect())
    }
}

impl Ring {
    fn after(before: i64) -> Self {
        Ring { before, changes: VecDeque::new(), bytes: 0 }
    }

    fn forget_oldest(&mut self) {
        while self.changes.len() > CHANGES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.changes.pop_front() else { return };
            self.before = oldest.change.position;
            self.bytes -= weight(&oldest);
        }
    }
}

/// What a change takes, with one event of it.
fn weight(told: &Told) -> usize {
    let keys: usize = told.change.keys.iter().map(String::len).sum();
    size_of::<Told>() + told.change.keys.len() * size_of::<String>() + 2 * keys + 600
}

impl Derived for Recent {
    const NAME: &'static str = "feed";

    fn apply(&self, changes: &[Arc<Told>]) {
        let mut ring = self.0.write().unwrap_or_else(PoisonError::into_inner);
        ring.bytes += changes.iter().map(|told| weight(told)).sum::<usize>();
        ring.changes.extend(changes.iter().cloned());
        ring.forget_oldest();
    }

    fn start_over(&self, position: i64) {
        let mut ring = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *ring = Ring::after(position);
    }
}

/// A change that is told to many: each form of its event is made once for all of them.
#[derive(Debug)]
pub struct Told {
    pub change: Change,
    /// For everyone, and for those who may see drafts.
    events: [OnceLock<Bytes>; 2],
}

impl From<Change> for Told {
    fn from(change: Change) -> Self {
        Told { change, events: Default::default() }
    }
}

impl Told {
    /// The change as an event of a stream (the HTML standard, server-sent events). A log has one id as long as its changes are
    /// kept here.
    pub fn event(&self, log_id: Uuid, drafts: bool) -> &Bytes {
        let [open, all] = &self.events;
        let event = if drafts { all } else { open };
        event.get_or_init(|| {
            let item = ChangeItem::of(&self.change, log_id, drafts);
            // Wire types always serialise.
            let json = serde_json::to_string(&item).unwrap_or_default();
            format!("id: {}\nevent: change\ndata: {json}\n\n", item.position).into()
        })
    }
}
