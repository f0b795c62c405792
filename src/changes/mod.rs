//! The change log: one number orders everything that was ever written.
//!
//! Writers take their positions from the one row of `log_head` as the last thing before they commit, so positions have
//! no gaps and stand in the order of the commits. A reader reads `max(position)` of `changes` in the same statement as
//! its content, so each answer knows up to which change it is true.
//!
//! One [follower](follow) an instance reads the log, and hands each change to all that is derived from it: the
//! [cache](crate::cache), and the changes that are kept [ready](Recent) for [`GET /changes`](routes). [`Followed`] says how far
//! that has come.

mod feed;
mod followed;
mod follower;
mod log;
mod recent;

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hasher},
};

use uuid::Uuid;

pub use feed::{ChangeItem, ChangeList, Feed, LastEventId, WAIT_MAX_SECONDS, routes};
pub use followed::{FRESH, Followed, Owed};
pub use follower::{Derived, follow};
pub use log::{Change, settle, trim};
pub use recent::{Recent, Told};

/// A place in the log; `Termbase-Position: <log id>-<number>` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Another id means another log: the database was restored, and numbers of the old one say nothing.
    pub log_id: Uuid,
    /// From 0, when nothing has been written yet.
    pub number: i64,
}

impl Position {
    /// Reads what `Display` writes, and no other spelling of it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (log_id, number) = text.rsplit_once('-')?;
        let position = Position { log_id: Uuid::try_parse(log_id).ok()?, number: number.parse().ok()? };
        (position.to_string() == text).then_some(position)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.log_id.simple(), self.number)
    }
}

/// What an answer was made from: the position of its snapshot, and the keys that it read. A change that touches one of
/// the keys after the position makes the answer stale.
#[derive(Debug, Clone)]
pub struct Seen {
    pub position: Position,
    pub keys: Keys,
}

/// The key of what is found by searching: whatever is written of what is public can change it.
pub const SEARCH_KEY: &str = "search";

/// A set of keys such as `term:<id>` or `category:<id>/terms`; the same on the reading and on the writing side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(BTreeSet<String>);

impl Keys {
    pub fn add(&mut self, key: String) {
        self.0.insert(key);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key as a number that stands for it: two keys of one number would be taken for one, which makes an answer stale
    /// too early and never too late.
    #[must_use]
    pub fn hashes(&self) -> Box<[u64]> {
        self.0.iter().map(|key| hash(key)).collect()
    }

    /// Separated by spaces, as `Surrogate-Key` wants it; no key has a space in it.
    #[must_use]
    pub fn joined(&self) -> String {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// The number that stands for a key, in this process alone.
#[must_use]
pub fn hash(key: &str) -> u64 {
    // Unseeded: keys are made of ids and slugs, and a clash that somebody finds only costs him a read.
    let mut hasher = DefaultHasher::new();
    hasher.write(key.as_bytes());
    hasher.finish()
}
