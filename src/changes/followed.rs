//! How far this instance has followed the log, and what that allows: the numbers that a kept answer is compared with.

use std::{
    collections::HashSet,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};
use uuid::Uuid;

/// How old the last completed look at the log may be for a kept answer to be given without asking Postgres.
pub const FRESH: Duration = Duration::from_secs(1);
/// How long an instance that has committed a write waits for its own follower.
const OWN_PATIENCE: Duration = Duration::from_millis(500);
/// How long a request goes on once Postgres is known not to answer: it may be among the last that it answers.
const GRACE: Duration = Duration::from_millis(100);

/// What an instance knows of the log. The follower alone writes it, but for what is owed.
pub struct Followed {
    log_id: RwLock<Uuid>,
    /// Where the clock of `look` begins.
    epoch: Instant,
    /// Every change up to here has been handed to all that is derived from the log.
    position: AtomicI64,
    /// When the last completed look began, in microseconds after `epoch`; 0 before the first.
    look: AtomicU64,
    /// When this instance last committed something itself, in microseconds after `epoch`: a look that began before it may not
    /// have seen that.
    owed: AtomicU64,
    /// What that has touched; whoever wrote must not be given it as it was.
    owed_keys: RwLock<Owed>,
    /// Which log it is, counted: what was kept or begun under another is of no use.
    log: AtomicU64,
    has_begun: AtomicBool,
    has_ended: AtomicBool,
    moved: watch::Sender<i64>,
    looks: watch::Sender<u64>,
    /// Counts how often the connections were made anew.
    renewals: watch::Sender<u64>,
    away: watch::Sender<bool>,
    /// Counts the logs: streams of an earlier one end.
    logs: watch::Sender<u64>,
    /// Asks for a look at once.
    pub(super) wake: Notify,
}

/// What an instance has written, and not followed yet.
pub enum Owed {
    These(HashSet<u64>),
    All,
}

impl Default for Owed {
    fn default() -> Self {
        Owed::These(HashSet::new())
    }
}

impl Owed {
    fn add(&mut self, other: Owed) {
        match (&mut *self, other) {
            (Owed::These(owed), Owed::These(more)) => owed.extend(more),
            _ => *self = Owed::All,
        }
    }
}

impl Followed {
    #[must_use]
    pub fn new(log_id: Uuid) -> Self {
        Followed {
            log_id: RwLock::new(log_id),
            epoch: Instant::now(),
            position: AtomicI64::new(0),
            look: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            owed_keys: RwLock::default(),
            log: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            moved: watch::Sender::new(0),
            looks: watch::Sender::new(0),
            renewals: watch::Sender::new(0),
            away: watch::Sender::new(false),
            logs: watch::Sender::new(0),
            wake: Notify::new(),
        }
    }

    #[must_use]
    pub fn log_id(&self) -> Uuid {
        *self.log_id.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which log is followed, counted from 0, before the first.
    #[must_use]
    pub fn log(&self) -> u64 {
        self.log.load(Ordering::Acquire)
    }

    /// Up to which change all has been handed out.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position.load(Ordering::Acquire)
    }

    /// How long ago the last completed look began; none before the first.
    #[must_use]
    pub fn look_age(&self, now: Instant) -> Option<Duration> {
        let look = self.look.load(Ordering::Acquire);
        let since_epoch = now.saturating_duration_since(self.epoch);
        (look > 0).then(|| since_epoch.saturating_sub(Duration::from_micros(look)))
    }

    /// Whether what no change has touched may be given without asking: the log was looked at a moment ago.
    #[must_use]
    pub fn is_current(&self, now: Instant) -> bool {
        self.look_age(now).is_some_and(|age| age < FRESH)
    }

    /// Whether this instance has written something itself that touches one of `keys`, and has not followed that yet.
    #[must_use]
    pub fn is_owed(&self, keys: &[u64]) -> bool {
        if self.look.load(Ordering::Acquire) > self.owed.load(Ordering::Acquire) {
            return false;
        }
        match &*self.owed_keys.read().unwrap_or_else(PoisonError::into_inner) {
            Owed::All => true,
            Owed::These(owed) => keys.iter().any(|key| owed.contains(key)),
        }
    }

    /// Whether Postgres does not answer, as far as the follower knows.
    #[must_use]
    pub fn is_away(&self) -> bool {
        *self.away.borrow()
    }

    /// Whether a follower runs: not in a command, nor in what sees one snapshot.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.has_begun.load(Ordering::Acquire) && !self.has_ended()
    }

    /// Whether the service stops.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Ends once Postgres has not answered for a moment, or does so on other connections than now: whoever waits for it need
    /// not wait any longer.
    pub async fn gone_away(&self) {
        let (mut away, mut renewals) = (self.away.subscribe(), self.renewals.subscribe());
        let silent = async {
            loop {
                // The sender is here, so it is never closed.
                let _ = away.wait_for(|away| *away).await;
                if tokio::time::timeout(GRACE, away.wait_for(|away| !away)).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = silent => {}
            _ = renewals.changed() => {}
        }
    }

    /// The connections were made anew: what waits on one of before may wait for ever.
    pub fn renewed(&self) {
        self.renewals.send_modify(|renewals| *renewals += 1);
    }

    /// After a commit of this instance that touches `keys`, or perhaps everything: waits until its own follower has completed a
    /// look that began after it, whatever log it finds. Until then what the commit has touched is asked for anew, so that whoever
    /// wrote sees what was written.
    pub async fn committed(&self, keys: Owed) {
        if !self.is_followed() {
            return;
        }
        let committed = {
            let mut owed = self.owed_keys.write().unwrap_or_else(PoisonError::into_inner);
            if self.look.load(Ordering::Acquire) > self.owed.load(Ordering::Acquire) {
                *owed = Owed::default();
            }
            owed.add(keys);
            let committed = self.micros(Instant::now());
            self.owed.fetch_max(committed, Ordering::AcqRel);
            committed
        };
        let mut looks = self.looks.subscribe();
        self.wake.notify_one();
        let _ = tokio::time::timeout(OWN_PATIENCE, looks.wait_for(|look| *look > committed)).await;
    }

    fn micros(&self, instant: Instant) -> u64 {
        let micros = instant.saturating_duration_since(self.epoch).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX).max(1)
    }

    /// Ends once the log is followed: before, nothing is known of it.
    pub async fn begun(&self) {
        let _ = self.logs.subscribe().wait_for(|_| self.has_begun.load(Ordering::Acquire)).await;
    }

    /// Ends once every change up to `number` has been handed out; asks for a look at once.
    pub async fn reached(&self, number: i64) {
        let mut moved = self.moved.subscribe();
        if *moved.borrow() < number {
            self.wake.notify_one();
            let _ = moved.wait_for(|position| *position >= number).await;
        }
    }

    /// Tells of every step forward.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<i64> {
        self.moved.subscribe()
    }

    /// Tells when the log begins anew, and when nobody follows it any longer.
    #[must_use]
    pub fn watch_log(&self) -> watch::Receiver<u64> {
        self.logs.subscribe()
    }

    /// What was kept or begun under the log so far is of no use any more.
    pub(super) fn leave(&self) {
        self.log.fetch_add(1, Ordering::AcqRel);
    }

    /// A follower begins at `position`.
    pub(super) fn begin(&self, log_id: Uuid, position: i64) {
        *self.log_id.write().unwrap_or_else(PoisonError::into_inner) = log_id;
        self.position.store(position, Ordering::Release);
        self.has_begun.store(true, Ordering::Release);
        self.moved.send_replace(position);
        self.logs.send_modify(|logs| *logs += 1);
    }

    /// All changes up to `position` have been handed out.
    pub(super) fn advance(&self, position: i64) {
        self.position.store(position, Ordering::Release);
        self.moved.send_replace(position);
    }

    /// A look that began then has been completed.
    pub(super) fn looked(&self, began: Instant) {
        let look = self.micros(began);
        self.look.store(look, Ordering::Release);
        self.looks.send_replace(look);
        self.away.send_if_modified(|away| std::mem::replace(away, false));
    }

    /// Postgres did not answer a look.
    pub(super) fn lost(&self) {
        self.away.send_if_modified(|away| !std::mem::replace(away, true));
    }

    /// Ends what waits for changes: the service stops.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.logs.send_modify(|logs| *logs += 1);
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed() -> Followed {
        let followed = Followed::new(Uuid::nil());
        followed.begin(Uuid::nil(), 5);
        followed
    }

    #[test]
    fn a_look_is_good_for_a_second() {
        let followed = followed();
        let began = Instant::now();
        assert!(!followed.is_current(began), "nothing was looked at yet");
        followed.looked(began);
        assert!(followed.is_current(began + Duration::from_millis(990)));
        assert!(!followed.is_current(began + FRESH + Duration::from_millis(1)));
    }

    #[tokio::test]
    async fn what_was_written_here_is_owed_until_it_is_followed() {
        let followed = followed();
        let before = Instant::now();
        followed.looked(before);
        followed.committed(Owed::These([1, 2].into())).await;
        assert!(followed.is_owed(&[2, 3]) && !followed.is_owed(&[3]));
        followed.looked(before);
        assert!(followed.is_owed(&[1]), "a look that began before the commit may not have seen it");
        followed.looked(Instant::now());
        assert!(!followed.is_owed(&[1]));
        followed.committed(Owed::All).await;
        assert!(followed.is_owed(&[3]));
    }

    #[tokio::test]
    async fn a_short_absence_sends_nobody_away() {
        let followed = std::sync::Arc::new(followed());
        followed.lost();
        let waiting = tokio::spawn({
            let followed = followed.clone();
            async move { followed.gone_away().await }
        });
        followed.looked(Instant::now());
        assert!(!followed.is_away());
        followed.lost();
        waiting.await.unwrap();
        assert!(followed.is_away());
    }
}
