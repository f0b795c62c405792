//! The cache: answers to anonymous `GET`s as ready bytes, each with its position and the keys that it was made from.
//!
//! An answer is fresh while none of its keys has changed after its position, and the log was looked at less than a second ago.
//! A hit compares two numbers and the clock's; only after some change it looks at its keys, once. What is stale stays, for the
//! time that Postgres does not answer, until the answer that replaces it comes.
//!
//! Nothing is written here but by a miss, from one snapshot: a slow read that ends after a write carries an older position,
//! and so can't leave a stale answer behind.

mod entry;
mod flight;
mod touched;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use quick_cache::{Weighter, sync};

pub use entry::{Content, Entry, Verdict};
pub use flight::{Flight, Flights, Joined, Landed};

use crate::changes::{Derived, Followed, Told};
use touched::Touched;

/// A sixteenth of the bound is for what is not there, apart: scanning unknown slugs evicts nothing that is.
const NEGATIVE_PART: u64 = 16;
/// About as large as an answer is with what belongs to it; only how the cache's tables begin.
const USUAL_BYTES: u64 = 8 * 1024;

/// Answers by their address: path and query, as they came.
type Kept = sync::Cache<Box<str>, Arc<Entry>, Weight>;

#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Arc<Entry>> for Weight {
    fn weight(&self, address: &Box<str>, entry: &Arc<Entry>) -> u64 {
        (address.len() + entry.weight()) as u64
    }
}

pub struct Cache {
    positive: Kept,
    negative: Kept,
    touched: Touched,
    /// Held by those who keep something, so that what is encoded later takes the place of nothing newer.
    keeping: Mutex<()>,
    pub flights: Flights,
}

impl Cache {
    /// At most so many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let of = |bytes: u64| {
            let items = usize::try_from(bytes / USUAL_BYTES).unwrap_or(usize::MAX).max(1);
            Kept::with_weighter(items, bytes, Weight)
        };
        let negative = bytes / NEGATIVE_PART;
        Cache {
            positive: of(bytes - negative),
            negative: of(negative),
            touched: Touched::default(),
            keeping: Mutex::default(),
            flights: Flights::default(),
        }
    }

    /// What is kept of an address, and what is known of it.
    #[must_use]
    pub fn get(&self, address: &str, followed: &Followed, now: Instant) -> Option<(Arc<Entry>, Verdict)> {
        let entry = self.positive.get(address).or_else(|| self.negative.get(address))?;
        let verdict = self.verdict(&entry, followed, now);
        Some((entry, verdict))
    }

    #[must_use]
    pub fn verdict(&self, entry: &Entry, followed: &Followed, now: Instant) -> Verdict {
        entry.verdict(&self.touched, followed, now)
    }

    /// Keeps an answer in place of an earlier one.
    pub fn keep(&self, address: &str, entry: &Arc<Entry>) {
        let (keeps, drops) =
            if entry.is_negative() { (&self.negative, &self.positive) } else { (&self.positive, &self.negative) };
        let _keeping = self.keeping.lock();
        drops.remove(address);
        keeps.insert(address.into(), entry.clone());
    }

    /// Keeps an answer with one more coding, where nothing newer has come meanwhile.
    pub fn keep_encoded(&self, address: &str, former: &Arc<Entry>, encoded: Entry) {
        let _keeping = self.keeping.lock();
        if self.positive.peek(address).is_some_and(|now| Arc::ptr_eq(&now, former)) {
            self.positive.insert(address.into(), Arc::new(encoded));
        }
    }

    /// How many bytes are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.positive.weight() + self.negative.weight()
    }
}

/// How old what is kept may be, in the words of `Age` (RFC 9111): since the log was last looked at.
#[must_use]
pub fn age(followed: &Followed, now: Instant) -> Duration {
    followed.look_age(now).unwrap_or_default()
}

impl Derived for Cache {
    const NAME: &'static str = "cache";

    fn apply(&self, changes: &[Arc<Told>]) {
        self.touched.add(changes.iter().map(|told| &told.change));
    }

    fn start_over(&self, position: i64) {
        self.touched.start_over(position);
    }
}
