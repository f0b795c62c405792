//! The table `changes` itself, as it was before it was trimmed and before it was restored: what every client must have seen.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection};
use termbase::changes::Position;
use tokio::sync::watch;
use uuid::Uuid;

use crate::drill::{
    PATIENCE,
    report::{Broken, Verdict},
};

pub const SEEN_ONCE: &str = "each change is seen once and in order, or a 410";
pub const A_REASON: &str = "a 410 comes where the log is trimmed or restored, and nowhere else";

/// How often the table is read.
const EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub id: Uuid,
    pub is_public: bool,
}

/// A log from its beginning, by position. A restored database is another one, which shares its beginning.
type Log = BTreeMap<i64, Row>;

#[derive(Default)]
pub struct Truth {
    /// The newest last.
    logs: Mutex<Vec<Log>>,
    /// Up to where the newest has been read.
    newest: watch::Sender<i64>,
    /// Up to where changes were deleted.
    trimmed: Mutex<i64>,
    restores: Mutex<u32>,
    being_restored: AtomicBool,
    has_ended: AtomicBool,
}

/// What a client knows of where it is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub position: Position,
    /// The change there, where it was seen.
    pub id: Option<Uuid>,
}

/// What a client has seen from one place to another.
pub struct Segment {
    pub from: Place,
    pub seen: Vec<(i64, Uuid)>,
    /// Up to here everything has been told.
    pub until: i64,
    /// Whether drafts belong to it.
    pub drafts: bool,
}

impl Truth {
    /// Reads the table as long as the run lasts.
    pub async fn follow(&self, mut connection: PgConnection, verdict: &Verdict) {
        while !verdict.is_over() {
            self.look(&mut connection).await.unwrap();
            verdict.pause(EVERY).await;
        }
        self.has_ended.store(true, Ordering::SeqCst);
        connection.close().await.unwrap();
    }

    async fn look(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let restores = self.restores();
        let rows: Vec<(i64, Uuid, bool)> = sqlx::query_as(
            "select position, id, public_before or public_after from changes where position > $1 order by position",
        )
        .bind(self.newest())
        .fetch_all(connection)
        .await?;
        let mut logs = self.logs();
        // What was read before a restore is not of the log after it.
        if restores == self.restores() && !self.is_being_restored() {
            if logs.is_empty() {
                logs.push(Log::new());
            }
            let Some(log) = logs.last_mut() else { return Ok(()) };
            log.extend(rows.into_iter().map(|(position, id, is_public)| (position, Row { id, is_public })));
            self.newest.send_replace(log.keys().next_back().copied().unwrap_or_default());
        }
        Ok(())
    }

    fn logs(&self) -> MutexGuard<'_, Vec<Log>> {
        self.logs.lock().unwrap()
    }

    pub fn newest(&self) -> i64 {
        *self.newest.borrow()
    }

    pub fn restores(&self) -> u32 {
        *self.restores.lock().unwrap()
    }

    pub fn is_being_restored(&self) -> bool {
        self.being_restored.load(Ordering::SeqCst)
    }

    /// From now on what is read may be of the restored database.
    pub fn restoring(&self) {
        self.being_restored.store(true, Ordering::SeqCst);
    }

    /// Everything after `position` is gone: the database was restored.
    pub fn restored(&self, position: i64) {
        let mut logs = self.logs();
        let mut log = logs.last().cloned().unwrap_or_default();
        log.retain(|at, _| *at <= position);
        logs.push(log);
        self.newest.send_replace(position);
        *self.restores.lock().unwrap() += 1;
        self.being_restored.store(false, Ordering::SeqCst);
    }

    pub fn trimmed(&self, until: i64) {
        *self.trimmed.lock().unwrap() = until;
    }

    /// How many changes there were in all, and how many of them public.
    pub fn counts(&self) -> (usize, usize) {
        let logs = self.logs();
        // What two logs share is one change.
        let all: BTreeMap<Uuid, bool> = logs.iter().flat_map(Log::values).map(|row| (row.id, row.is_public)).collect();
        (all.len(), all.values().filter(|is_public| **is_public).count())
    }

    /// Whether nothing is missing in what was seen, nothing came twice, and all stood in order.
    pub async fn check(&self, client: &str, segment: &Segment) -> Result<(), Broken> {
        let began = Instant::now();
        loop {
            // Before the logs are looked at: what is read meanwhile is looked at again.
            let is_read = !self.is_being_restored() && self.newest() >= segment.until;
            {
                let logs = self.logs();
                // Once the run is over nothing more is read to compare with.
                let has_ended = !is_read && self.has_ended.load(Ordering::SeqCst);
                if has_ended || logs.iter().rev().any(|log| fits(log, segment)) {
                    return Ok(());
                }
                if let Some(log) = logs.last()
                    && (is_read || began.elapsed() > PATIENCE)
                {
                    return Err(Broken::new(SEEN_ONCE, format!("{client} {}", difference(log, segment))));
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Whether a client had to be told to start over.
    pub fn check_410(&self, client: &str, place: Place, code: &str) -> Result<(), Broken> {
        let trimmed = *self.trimmed.lock().unwrap();
        let has_reason = match code {
            "changes_trimmed" => place.position.number < trimmed,
            "log_restarted" => self.restores() > 0 || self.is_being_restored(),
            _ => false,
        };
        if has_reason {
            return Ok(());
        }
        let position = place.position;
        Err(Broken::new(
            A_REASON,
            format!(
                "{client} was sent away with {code} from {position}; changes were deleted up to {trimmed} only, the newest \
                 is {}, and there were {} restores.",
                self.newest(),
                self.restores()
            ),
        ))
    }
}

/// What of a log a client has to see between two places.
fn expected(log: &Log, segment: &Segment) -> Vec<(i64, Uuid)> {
    let Segment { from, until, drafts, .. } = segment;
    let after = from.position.number + 1;
    let rows = (after <= *until).then(|| log.range(after..=*until)).into_iter().flatten();
    rows.filter(|(_, row)| *drafts || row.is_public).map(|(position, row)| (*position, row.id)).collect()
}

fn fits(log: &Log, segment: &Segment) -> bool {
    let known = |position: &i64, id: Uuid| log.get(position).is_some_and(|row| row.id == id);
    segment.from.id.is_none_or(|id| known(&segment.from.position.number, id)) && expected(log, segment) == segment.seen
}

fn difference(log: &Log, segment: &Segment) -> String {
    let (from, expected) = (segment.from.position, expected(log, segment));
    let pairs = expected
        .iter()
        .map(Some)
        .chain(std::iter::repeat(None))
        .zip(segment.seen.iter().map(Some).chain(std::iter::repeat(None)));
    let first = pairs.take(expected.len().max(segment.seen.len())).find(|(one, other)| one != other);
    match first {
        Some((Some(wanted), Some(seen))) => {
            format!("resumed at {from} and was told of change {} where {} comes next.", seen.0, wanted.0)
        }
        Some((Some(wanted), None)) => format!(
            "resumed at {from} and was told that all up to {} was told, without change {}.",
            segment.until, wanted.0
        ),
        Some((None, Some(seen))) => {
            format!("resumed at {from} and was told of change {}, which is not one for it.", seen.0)
        }
        _ => format!("resumed at {from}, of a change that this log does not have, and was told of what came after it."),
    }
}
