//! 'Nothing is lost in the feed': fifty writers over two instances, two hundred streams that come and go, polls that wait,
//! instances that are killed, a log that is trimmed beneath them, and in the end a restored database. What each client saw
//! is compared with the table `changes` itself.
//!
//! `cargo bench --bench feed [-- SECONDS] [PART...] [record]` ends with 1 and a sentence on the first broken promise. The parts,
//! all of them where none is named: `streams` counts the statements that Postgres completes with no stream and with a
//! thousand open ones; in `storm` all of the above happens for SECONDS (60); in `restore` the database
//! is restored meanwhile, and in `cold` while no instance runs.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that fails is to stop here")]

mod clients;
#[path = "../drill/mod.rs"]
mod drill;
mod restore;
mod streams;
mod truth;

use std::{
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use clients::{Counts, Follower, Habit, Shared};
use drill::{
    Ground, Instance, Random,
    report::{Broken, Table, Verdict, asked, conclude, ms, seconds},
};
use serde_json::{Value, json};
use sqlx::Connection;
use tokio::{sync::RwLock, task::JoinHandle};
use truth::Truth;

const WRITERS: u64 = 50;
const STREAMS: u64 = 200;
const POLLERS: u64 = 10;
const TERMS: usize = 100;
/// The last terms are drafts, and stay it.
const DRAFTS: usize = 20;
/// Between two writes of one writer: about 60 a second of all, since each of them goes to two hundred streams.
const PAUSE_MS: usize = 1_600;
/// Between two deaths of an instance, and how long it is away.
const BETWEEN_DEATHS: Duration = Duration::from_secs(5);
const DEAD: Duration = Duration::from_millis(300);
/// How often the log is trimmed, and how many changes are left.
const TRIM_EVERY: Duration = Duration::from_secs(3);
const KEPT: i64 = 300;

/// What a whole run has.
struct Stage {
    ground: Ground,
    instances: [Instance; 2],
    shared: Arc<Shared>,
    /// Held shared by each write, alone by who wants quiet.
    writing: Arc<RwLock<()>>,
}

#[tokio::main]
async fn main() -> ExitCode {
    drill::whole(drill_all()).await
}

async fn drill_all() -> ExitCode {
    let time = seconds(60);
    let parts = ["streams", "storm", "restore", "cold"].map(asked);
    let [streams, storm, restore, cold] = if parts.contains(&true) { parts } else { [true; 4] };
    let mut table = Table::new("Runs", &["what", "figures"]);
    let mut broken = None;
    if streams {
        eprintln!("a thousand streams …");
        broken = streams::count(&mut table).await.err();
    }
    if broken.is_none() && (storm || restore) {
        broken = all_at_once(storm.then_some(time), restore, &mut table).await;
    }
    if broken.is_none() && cold {
        eprintln!("restoring while no instance runs …");
        broken = restore::cold(&mut table).await.err();
    }
    done(time, &[table], broken.as_ref())
}

/// Writers and clients, and what is done to them meanwhile.
async fn all_at_once(storm: Option<Duration>, restore: bool, table: &mut Table) -> Option<Broken> {
    let ground = Ground::prepare("feed").await;
    let wires = [ground.wire().await, ground.wire().await];
    let first = Instance::start(&ground, &wires[0], "first", &[]).await;
    let second = Instance::start(&ground, &wires[1], "second", &[]).await;
    drill::import(&first, &documents()).await;
    let instances = [first.address, second.address];
    let (truth, verdict, counts) = (Truth::default(), Verdict::default(), Counts::default());
    let shared = Arc::new(Shared { instances, truth, verdict, counts });
    let mut stage = Stage { ground, instances: [first, second], shared: shared.clone(), writing: Arc::default() };
    let tasks = stage.start().await;
    if let Some(time) = storm {
        eprintln!("writers, streams, deaths and trimming …");
        stage.storm(time, table).await;
    }
    if restore && !shared.verdict.is_over() {
        eprintln!("restoring …");
        stage.restore(table).await;
    }
    shared.verdict.end();
    for task in tasks {
        task.await.unwrap();
    }
    stage.tell(table);
    let Stage { ground, instances, .. } = stage;
    drop((instances, wires));
    ground.clear().await;
    shared.verdict.first().cloned()
}

fn done(time: Duration, tables: &[Table], broken: Option<&Broken>) -> ExitCode {
    let about = format!(
        "Made by `cargo bench --bench feed -- {} record`: {WRITERS} writers over two instances on one Postgres, {STREAMS} \
         streams that come and go and {POLLERS} pollers, each with the position it has got to. What each one saw from one position to \
         another is compared with the table `changes`.",
        time.as_secs()
    );
    conclude("feed", "Nothing is lost in the feed", &about, tables, broken)
}

fn documents() -> Vec<(&'static str, Value)> {
    let mut all = vec![("category", json!({"slug": "c", "name": "C"}))];
    for number in 0..TERMS {
        let status = if number < TERMS - DRAFTS { "published" } else { "draft" };
        let (slug, name) = (format!("t{number}"), format!("Term {number}"));
        let document =
            json!({"slug": slug, "name": name, "definition": "To begin with.", "category": "c", "status": status});
        all.push(("term", document));
    }
    all
}

impl Stage {
    async fn start(&self) -> Vec<JoinHandle<()>> {
        let mut tasks = Vec::new();
        let (shared, connection) = (self.shared.clone(), self.ground.connect().await);
        tasks.push(tokio::spawn(async move { shared.truth.follow(connection, &shared.verdict).await }));
        for number in 0..STREAMS + POLLERS {
            // Some are away for so long that the log is trimmed before they are back.
            let away_ms = if number % 20 == 0 { 15_000 } else { 400 };
            let habit = Habit { number, polls: number >= STREAMS, drafts: number % 5 == 1, away_ms };
            let follower = Follower::new(self.shared.clone(), habit);
            tasks.push(tokio::spawn(follower.run()));
        }
        for number in 1..=WRITERS {
            tasks.push(tokio::spawn(write(self.shared.clone(), self.writing.clone(), number)));
        }
        tasks
    }

    /// Instances die and come back, and the log is trimmed.
    async fn storm(&mut self, time: Duration, table: &mut Table) {
        let shared = self.shared.clone();
        let trimming = tokio::spawn(trim(shared.clone(), self.ground.connect().await));
        let (began, mut random, mut deaths) = (Instant::now(), Random(31), 0);
        while began.elapsed() < time && !shared.verdict.is_over() {
            let pause = BETWEEN_DEATHS.mul_f64(0.5 + f64::from(u32::try_from(random.below(100)).unwrap()) / 100.0);
            shared.verdict.pause(pause.min(time.saturating_sub(began.elapsed()))).await;
            if began.elapsed() >= time || shared.verdict.is_over() {
                break;
            }
            let instance = &mut self.instances[random.below(2)];
            instance.kill().await;
            shared.verdict.pause(DEAD).await;
            instance.start_again().await;
            deaths += 1;
        }
        trimming.abort();
        table.row(["time", &format!("{} s", began.elapsed().as_secs())]);
        table.row(["instances killed", &deaths.to_string()]);
    }

    fn tell(&self, table: &mut Table) {
        let Shared { truth, counts, .. } = &*self.shared;
        let Counts { sessions, events, polls, trimmed, restarted, twice, failed, commits, refused } = counts;
        let (all, public) = truth.counts();
        table.row(["changes", &format!("{all}, {public} of them public")]);
        let rows = [
            ("writes acknowledged", commits),
            ("writes refused, or without an answer", refused),
            ("streams opened", sessions),
            ("polls", polls),
            ("changes seen by clients", events),
            ("410 changes_trimmed", trimmed),
            ("410 log_restarted", restarted),
            ("of these: content kept from before, so the feed said where to begin", twice),
            ("sessions that failed, and were tried again", failed),
        ];
        rows.iter().for_each(|(what, count)| table.row([*what, &count.load(Ordering::Relaxed).to_string()]));
    }
}

/// One of those who write: mostly definitions, now and then a term that comes and goes.
async fn write(shared: Arc<Shared>, writing: Arc<RwLock<()>>, number: u64) {
    let (mut random, mut step) = (Random(number * 32_452_843), 0);
    let mut clients = shared.instances.map(drill::http::Client::new);
    while !shared.verdict.is_over() {
        step += 1;
        let turn = writing.read().await;
        let client = &mut clients[random.below(2)];
        let (slug, text) = (format!("extra-{number}-{step}"), format!("Step {step} of {number}."));
        let answer = if random.below(10) == 0 {
            let name = format!("Extra {number} {step}");
            let new = json!({"slug": slug, "name": name, "definition": text, "category": "c", "status": "published"});
            match drill::write(client, "POST", "/terms", Some(&new)).await {
                Ok(made) if made.status == 201 => drill::write(client, "DELETE", &format!("/terms/{slug}"), None).await,
                other => other,
            }
        } else {
            let path = format!("/terms/t{}", random.below(TERMS));
            drill::write(client, "PATCH", &path, Some(&json!({"definition": text}))).await
        };
        drop(turn);
        let counter = if answer.is_ok_and(|answer| answer.status < 300) {
            &shared.counts.commits
        } else {
            &shared.counts.refused
        };
        counter.fetch_add(1, Ordering::Relaxed);
        shared.verdict.pause(Duration::from_millis(random.below(PAUSE_MS) as u64)).await;
    }
}

/// Deletes old changes as the service does, only sooner: never the last one, and none that has not been read for the
/// comparison.
async fn trim(shared: Arc<Shared>, mut connection: sqlx::PgConnection) {
    while !shared.verdict.is_over() {
        shared.verdict.pause(TRIM_EVERY).await;
        let until = shared.truth.newest() - KEPT;
        if until <= 0 {
            continue;
        }
        // Before it is done: whoever is sent away may be told before we are.
        shared.truth.trimmed(until);
        let mut transaction = connection.begin().await.unwrap();
        let mark = "select set_config('termbase.write', pg_current_xact_id()::text, true)";
        sqlx::query(mark).execute(&mut *transaction).await.unwrap();
        sqlx::query("delete from changes where position <= $1").bind(until).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

/// For tables: a duration, told as in a sentence.
fn within(duration: Duration) -> String {
    format!("within {}", ms(duration))
}
