//! The outage drill: Postgres stands still, dies, is out of reach, or is kept busy, in the middle of load; then ten times
//! the load that the service can bear.
//!
//! `cargo bench --bench outage [-- record]` prints what became of each request, how long a refusal took, and how soon all
//! was well again; it ends with 1 where a promise was broken. Times have twice the promised bound before that counts, since
//! load, service and Postgres share the machine; the tables say what was measured. Words choose among `frozen`, `killed`,
//! `blackholed`, `cut`, `locked`, `row` and `overload`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement that fails is to stop here"
)]

#[path = "../drill/mod.rs"]
mod drill;
mod load;
mod overload;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use drill::{
    Ground, Instance,
    ledger::{Ledger, Witness},
    report::{Broken, Table, Times, asked, conclude, ms},
    wire::Wire,
};
use load::{CLASSES, Class, Load, Outcome, Record};
use nix::sys::signal::{Signal, kill};
use sqlx::Connection;

const CACHED_GO_ON: &str = "cached reads go on while Postgres is away";
const REFUSED_SOON: &str = "what can't be done is refused within a second";
const ALL_ANSWERED: &str = "every request is answered with 200, or with 503 and Retry-After";
const BACK_SOON: &str = "all is well within two seconds once Postgres is back";

const REFUSAL: Duration = Duration::from_secs(1);
/// How long a write waits for a row that is locked: a setting of its own transaction.
const LOCK: Duration = Duration::from_secs(5);
const RECOVERY: Duration = Duration::from_secs(2);
/// Times that only depend on how busy the machine is have so many times their bound.
const SLACK: u32 = 2;

const BEFORE: Duration = Duration::from_secs(3);
const OUTAGE: Duration = Duration::from_secs(8);
const AFTER: Duration = Duration::from_secs(5);

/// Requests a second.
const RATES: [(Class, f64); 4] =
    [(Class::Cached, 200.0), (Class::Cold, 40.0), (Class::Write, 20.0), (Class::Written, 40.0)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Frozen,
    Killed,
    Blackholed,
    Cut,
    Locked,
    Row,
}

const SCENARIOS: [(Scenario, &str, &str); 6] = [
    (Scenario::Frozen, "frozen", "SIGSTOP of all of Postgres"),
    (Scenario::Killed, "killed", "kill -9 of Postgres"),
    (Scenario::Blackholed, "blackholed", "every byte lost"),
    (Scenario::Cut, "cut", "connections closed and refused"),
    (Scenario::Locked, "locked", "a full pool: all statements wait for a lock"),
    (Scenario::Row, "row", "writes wait for locked rows"),
];

#[tokio::main]
async fn main() -> ExitCode {
    drill::whole(drill_all()).await
}

async fn drill_all() -> ExitCode {
    let is_chosen = |word: &str| asked(word);
    let none = !SCENARIOS.iter().any(|(_, word, _)| is_chosen(word)) && !is_chosen("overload");
    let columns = [
        "what",
        "requests",
        "sent meanwhile",
        "200",
        "200 with Age",
        "503",
        "else",
        "p50 / p99 / max to refuse",
        "well again after",
    ];
    let mut outages = Table::new("Outages", &columns);
    let mut overloads = overload::table();
    let mut broken = None;
    for (scenario, word, title) in SCENARIOS {
        if (none || is_chosen(word)) && broken.is_none() {
            eprintln!("{title} …");
            broken = drill_one(scenario, title, &mut outages).await.err();
        }
    }
    if (none || is_chosen("overload")) && broken.is_none() {
        eprintln!("overload …");
        broken = overload::run(&mut overloads).await.err();
    }
    let rates: Vec<String> = RATES
        .iter()
        .map(|(class, rate)| format!("{rate:.0} {}", CLASSES.iter().find(|known| known.0 == *class).unwrap().1))
        .collect();
    outages.note(format!(
        "In an open loop, a second: {}. Each outage lasts {} s, but for the kill, after which Postgres is started again at once. \
         Times are from when a request was due.",
        rates.join(", "),
        OUTAGE.as_secs()
    ));
    let about = "Made by `cargo bench --bench outage -- record`: one instance with the default settings on a Postgres of its own, in the \
                 middle of load. It fails where a refusal takes more than twice a second, where all is not well within twice \
                 two seconds, where a cached read fails, or where an answer is older than what was acknowledged.";
    conclude("outage", "Outages and overload", about, &[outages, overloads], broken.as_ref())
}

/// One outage on ground of its own.
async fn drill_one(scenario: Scenario, title: &str, table: &mut Table) -> Result<(), Broken> {
    let ground = Ground::prepare("outage").await;
    let wire = ground.wire().await;
    let instance = Instance::start(&ground, &wire, "only", &[]).await;
    drill::import(&instance, &load::documents()).await;
    let ledger = Arc::new(Ledger::default());
    let witness = Witness::begin(&ground, ledger.clone()).await;
    let load = Load::on(instance.address, ledger);
    let senders = RATES.map(|(class, rate)| load.start(class, rate, None));
    tokio::time::sleep(BEFORE).await;
    let began = Instant::now();
    let back = outage(scenario, &ground, &wire).await;
    tokio::time::sleep(AFTER).await;
    load.end();
    for sender in senders {
        sender.await.unwrap();
    }
    let told = Told { scenario, title, records: load.records(), began, back };
    let result = told.tell(table).and_then(|()| load.stale().map_or(Ok(()), Err));
    drop((witness, instance, wire));
    ground.clear().await;
    result
}

/// Makes it, and mends it; the moment when it was mended.
async fn outage(scenario: Scenario, ground: &Ground, wire: &Wire) -> Instant {
    match scenario {
        Scenario::Frozen => {
            let frozen = ground.freeze();
            tokio::time::sleep(OUTAGE).await;
            drop(frozen);
        }
        Scenario::Killed => {
            let first = ground.postmaster().unwrap();
            kill(first, Signal::SIGKILL).unwrap();
            while ground.postmaster() == Some(first) || !ground.answers().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Scenario::Blackholed => {
            wire.swallow();
            tokio::time::sleep(OUTAGE).await;
            wire.mend();
        }
        Scenario::Cut => {
            wire.cut();
            tokio::time::sleep(OUTAGE).await;
            wire.mend();
        }
        Scenario::Locked => hold(ground, "lock table terms in access exclusive mode").await,
        Scenario::Row => hold(ground, "select from terms where slug like 'w%' for update").await,
    }
    Instant::now()
}

/// Holds what a statement locks.
async fn hold(ground: &Ground, statement: &'static str) {
    let mut connection = ground.connect().await;
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query(statement).execute(&mut *transaction).await.unwrap();
    tokio::time::sleep(OUTAGE).await;
    transaction.rollback().await.unwrap();
}

/// What became of the requests of one outage.
struct Told<'t> {
    scenario: Scenario,
    title: &'t str,
    records: Vec<Record>,
    began: Instant,
    back: Instant,
}

impl Told<'_> {
    fn tell(&self, table: &mut Table) -> Result<(), Broken> {
        let mut result = Ok(());
        for (class, name) in CLASSES {
            let all: Vec<&Record> = self.records.iter().filter(|record| record.class == class).collect();
            let meanwhile: Vec<&Record> =
                all.iter().copied().filter(|record| record.due >= self.began && record.due < self.back).collect();
            let count = |wanted: fn(Outcome) -> bool| {
                meanwhile.iter().filter(|record| wanted(record.outcome)).count().to_string()
            };
            let refusals = Times::default();
            let refused = |record: &&&Record| record.due >= self.began && record.outcome == Outcome::Refused;
            all.iter().filter(refused).for_each(|record| refusals.add(record.took));
            let well = self.well_again(&all);
            table.row([
                self.title.to_owned(),
                name.to_owned(),
                meanwhile.len().to_string(),
                count(|outcome| outcome == Outcome::Done),
                count(|outcome| outcome == Outcome::Aged),
                count(|outcome| outcome == Outcome::Refused),
                count(|outcome| matches!(outcome, Outcome::Other(_) | Outcome::Nothing)),
                refusals.told(),
                ms(well),
            ]);
            result = result.and_then(|()| self.judge(class, name, &all, &refusals, well));
        }
        result
    }

    /// How long after the end of the outage the last request was due that was not done, or was done of old.
    fn well_again(&self, all: &[&Record]) -> Duration {
        let bad = |record: &&&Record| record.due >= self.back && record.outcome != Outcome::Done;
        all.iter().filter(bad).map(|record| record.due - self.back).max().unwrap_or_default()
    }

    fn judge(&self, class: Class, name: &str, all: &[&Record], refusals: &Times, well: Duration) -> Result<(), Broken> {
        let title = self.title;
        let odd = |record: &&&Record| matches!(record.outcome, Outcome::Other(_) | Outcome::Nothing);
        if let Some(odd) = all.iter().find(odd) {
            let when = odd.due.saturating_duration_since(self.began);
            let what = match odd.outcome {
                Outcome::Other(503) => "with 503 without Retry-After".to_owned(),
                Outcome::Other(status) => format!("with {status}"),
                _ => format!("with nothing for {}", ms(odd.took)),
            };
            let sentence =
                format!("{title}: one of the {name}, due {} after its beginning, was answered {what}.", ms(when));
            return Err(Broken::new(ALL_ANSWERED, sentence));
        }
        // A table that is locked is no outage: what is kept is confirmed all the while, and given.
        if class == Class::Cached && refusals.count() > 0 {
            return Err(Broken::new(CACHED_GO_ON, format!("{title}: {} cached reads were refused.", refusals.count())));
        }
        // A row that somebody else writes is worth waiting for, as long as other requests find a connection.
        let waits = self.scenario == Scenario::Row && class == Class::Write;
        if refusals.longest() > if waits { LOCK } else { Duration::ZERO } + REFUSAL * SLACK {
            let sentence = format!("{title}: one of the {name} was refused after {}.", ms(refusals.longest()));
            return Err(Broken::new(REFUSED_SOON, sentence));
        }
        if well > RECOVERY * SLACK {
            let sentence = format!("{title}: one of the {name} that was due {} after its end was not done.", ms(well));
            return Err(Broken::new(BACK_SOON, sentence));
        }
        let aged = all.iter().any(|record| record.outcome == Outcome::Aged);
        let is_away = matches!(self.scenario, Scenario::Frozen | Scenario::Blackholed | Scenario::Cut);
        if class == Class::Cached && is_away && !aged {
            return Err(Broken::new(CACHED_GO_ON, format!("{title}: no answer said its Age.")));
        }
        Ok(())
    }
}
