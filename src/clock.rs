//! What can't be repeated: the time, and random identifiers. Both come from [`State`](crate::state::State), so that a
//! test can have an exact answer.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use time::{
    Date, Duration, OffsetDateTime, PrimitiveDateTime, UtcOffset,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};
use uuid::{Builder, Uuid};

/// A point in time, in UTC, to the microsecond (what `timestamptz` keeps); RFC 3339 of a fixed width on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct Timestamp(OffsetDateTime);

const TIMESTAMP: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

impl Timestamp {
    /// Anything finer than a microsecond is dropped: Postgres would, and the answer before the write would then differ
    /// from the one after it.
    #[must_use]
    pub fn truncate(time: OffsetDateTime) -> Self {
        let micros = time.nanosecond() / 1_000 * 1_000;
        Timestamp(time.to_offset(UtcOffset::UTC).replace_nanosecond(micros).unwrap_or(time))
    }

    /// Reads RFC 3339 with any offset; `None` also for a time that is in no year of four digits in UTC.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
        (0..=9999).contains(&time.year()).then(|| Timestamp::truncate(time))
    }

    /// So many days later; `None` beyond the last year that a timestamp can have.
    #[must_use]
    pub fn plus_days(self, days: u16) -> Option<Self> {
        self.0.checked_add(Duration::days(days.into())).map(Timestamp)
    }

    fn unix_millis(self) -> u64 {
        u64::try_from(self.0.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.format(TIMESTAMP).map_err(|_unshown| std::fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = PrimitiveDateTime::parse(&text, TIMESTAMP).map_err(D::Error::custom)?;
        Ok(Timestamp(time.assume_utc()))
    }
}

/// A calendar day without a time zone, `2021-08-16` (RFC 3339's full-date).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct Day(Date);

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

impl Day {
    /// Reads `2021-08-16`; any other form, and a day that the calendar does not have, is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 10 {
            return None;
        }
        // Postgres has no year 0: it would give it back as one before Christ.
        Date::parse(text, DAY).ok().filter(|day| day.year() >= 1).map(Day)
    }
}

impl Day {
    /// When the day begins, in UTC.
    #[must_use]
    pub fn begin(self) -> Timestamp {
        Timestamp(self.0.midnight().assume_utc())
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.format(DAY).map_err(|_unshown| std::fmt::Error)?)
    }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Day::parse(&text).ok_or_else(|| D::Error::custom("not a day such as 2021-08-16"))
    }
}

/// Where the time and the randomness of this process come from.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> OffsetDateTime + Send + Sync>,
    random: Arc<dyn Fn() -> [u8; 10] + Send + Sync>,
}

impl Clock {
    /// The machine's clock, and the operating system's randomness.
    #[must_use]
    pub fn system() -> Self {
        Clock::new(OffsetDateTime::now_utc, || {
            let mut bytes = [0; 10];
            // Where the system has no randomness to give, ids that still differ by their time are better than none;
            // a clash is refused by the primary key.
            let _ = getrandom::fill(&mut bytes);
            bytes
        })
    }

    /// A clock of one's own, for tests.
    pub fn new(
        now: impl Fn() -> OffsetDateTime + Send + Sync + 'static,
        random: impl Fn() -> [u8; 10] + Send + Sync + 'static,
    ) -> Self {
        Clock { now: Arc::new(now), random: Arc::new(random) }
    }

    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::truncate((self.now)())
    }

    /// A new identifier: a UUID of version 7 (RFC 9562), so that ids grow with time and indexes stay compact.
    #[must_use]
    pub fn id(&self) -> Uuid {
        Builder::from_unix_timestamp_millis(self.now().unix_millis(), &(self.random)()).into_uuid()
    }
}
