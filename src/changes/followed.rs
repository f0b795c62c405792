//! How far this instance has followed the log, and what that allows: the numbers that a kept answer is compared with.

use std::{
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
    /// Which log it is, counted: what was kept or begun under another is of no use.
    log: AtomicU64,
    has_begun: AtomicBool,
    has_ended: AtomicBool,
    moved: watch::Sender<i64>,
    looks: watch::Sender<u64>,
    away: watch::Sender<bool>,
    /// Counts the logs: streams of an earlier one end.
    logs: watch::Sender<u64>,
    /// Asks for a look at once.
    pub(super) wake: Notify,
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
            log: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            moved: watch::Sender::new(0),
            looks: watch::Sender::new(0),
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

    /// Whether what no change has touched may be given without asking: the log was looked at a moment ago, and what this
    /// instance wrote itself has been followed.
    #[must_use]
    pub fn is_current(&self, now: Instant) -> bool {
        self.look_age(now).is_some_and(|age| age < FRESH)
            && self.look.load(Ordering::Acquire) > self.owed.load(Ordering::Acquire)
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

    /// Ends once Postgres has not answered for a moment: whoever waits for it need not wait any longer.
    pub async fn gone_away(&self) {
        let mut away = self.away.subscribe();
        loop {
            // The sender is here, so it is never closed.
            let _ = away.wait_for(|away| *away).await;
            if tokio::time::timeout(GRACE, away.wait_for(|away| !away)).await.is_err() {
                return;
            }
        }
    }

    /// After a commit of this instance: waits until its own follower has completed a look that began after it, whatever log
    /// it finds. Until then every kept answer is asked for anew, so that whoever wrote sees what was written.
    pub async fn committed(&self) {
        if !self.is_followed() {
            return;
        }
        let committed = self.micros(Instant::now());
        self.owed.fetch_max(committed, Ordering::AcqRel);
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
    async fn what_is_owed_makes_every_hit_a_miss_until_it_is_followed() {
        let followed = followed();
        let before = Instant::now();
        followed.looked(before);
        followed.committed().await;
        assert!(!followed.is_current(Instant::now()));
        followed.looked(before);
        assert!(!followed.is_current(Instant::now()), "a look that began before the commit may not have seen it");
        followed.looked(Instant::now());
        assert!(followed.is_current(Instant::now()));
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
