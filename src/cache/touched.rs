//! When each key was last touched: what a kept answer is compared with.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    sync::{PoisonError, RwLock},
};

use crate::changes::{Change, hash};

/// How many touches are remembered: answers from before them count as touched.
const TOUCHES_MAX: usize = 200_000;

/// The keys that were touched of late.
pub struct Touched(RwLock<Touches>);

#[derive(Default)]
struct Touches {
    /// What was touched up to here is not known any more.
    since: i64,
    last: HashMap<u64, i64, BuildHasherDefault<Hashed>>,
    /// In their order, to forget the oldest.
    order: VecDeque<(i64, u64)>,
}

impl Default for Touched {
    fn default() -> Self {
        // Before the log is followed nothing is known of any answer.
        Touched(RwLock::new(Touches { since: i64::MAX, ..Touches::default() }))
    }
}

impl Touched {
    /// Whether no change after `position` has touched one of `keys`, as far as they were handed out.
    pub fn is_untouched(&self, keys: &[u64], position: i64) -> bool {
        let touches = self.0.read().unwrap_or_else(PoisonError::into_inner);
        position >= touches.since
            && keys.iter().all(|key| touches.last.get(key).is_none_or(|touched| *touched <= position))
    }

    pub fn add<'c>(&self, changes: impl IntoIterator<Item = &'c Change>) {
        let mut touches = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            if change.is_reset() {
                *touches = Touches { since: change.position, ..Touches::default() };
            }
            for key in change.keys.iter().map(|key| hash(key)) {
                touches.last.insert(key, change.position);
                touches.order.push_back((change.position, key));
            }
        }
        touches.forget_oldest();
    }

    /// Everything up to `position` counts as touched.
    pub fn start_over(&self, position: i64) {
        let mut touches = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *touches = Touches { since: position, ..Touches::default() };
    }
}

impl Touches {
    fn forget_oldest(&mut self) {
        while self.order.len() > TOUCHES_MAX {
            let Some((position, key)) = self.order.pop_front() else { return };
            self.since = self.since.max(position);
            if self.last.get(&key) == Some(&position) {
                self.last.remove(&key);
            }
        }
    }
}

/// A key is a hash already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;
    use crate::clock::Timestamp;

    fn change(position: i64, what: &str, keys: &[&str]) -> Change {
        Change {
            position,
            id: Uuid::nil(),
            kind: None,
            entity: None,
            what: what.into(),
            slug: None,
            former_slug: None,
            public_before: true,
            public_after: true,
            keys: keys.iter().map(ToString::to_string).collect(),
            at: Timestamp::truncate(OffsetDateTime::UNIX_EPOCH),
        }
    }

    #[test]
    fn an_answer_is_touched_by_later_changes_of_its_keys_alone() {
        let touched = Touched::default();
        let keys = [hash("term:a"), hash("terms")];
        assert!(!touched.is_untouched(&keys, 100), "nothing is followed yet");
        touched.start_over(5);
        assert!(touched.is_untouched(&keys, 5));
        assert!(!touched.is_untouched(&keys, 4), "what is from before is not known");
        touched.add(&[change(6, "updated", &["term:b"]), change(7, "updated", &["terms"])]);
        assert!(!touched.is_untouched(&keys, 6));
        assert!(touched.is_untouched(&keys, 7));
        touched.add(&[change(8, "reset", &[])]);
        assert!(!touched.is_untouched(&keys, 7));
        assert!(touched.is_untouched(&keys, 8));
    }

    #[test]
    fn what_is_forgotten_counts_as_touched() {
        let touched = Touched::default();
        touched.start_over(0);
        let many: Vec<String> = (0..=TOUCHES_MAX).map(|number| format!("term:{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        touched.add(&[change(1, "updated", &["first"])]);
        touched.add(&[change(2, "updated", &many)]);
        assert!(!touched.is_untouched(&[hash("other")], 1));
        assert!(touched.is_untouched(&[hash("other")], 2));
        assert!(!touched.is_untouched(&[hash("first")], 0));
    }
}
