//! The checker of 'never stale': readers and writers over two instances of one database, and each answer compared with
//! what was committed when.
//!
//! `cargo bench --bench stale [-- SECONDS] [MODE...] [record]` ends with 1 and a sentence on the first broken promise. The
//! modes, all of them where none is named: `calm` runs for SECONDS (60); in `stopped` the second instance gets SIGSTOP
//! for half as long, in `blackholed` its connections to Postgres lose every byte for as long, in `deaf` no notification
//! reaches anyone. `scripts/prove-stale` shows that it finds the faults for which there are patches in `drill/faults`.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that fails is to stop here")]

#[path = "../drill/mod.rs"]
mod drill;
mod readers;
mod scene;
mod tags;
mod writers;

use std::{
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use drill::{
    Ground, Instance,
    http::Client,
    ledger::{Ledger, Memory, Witness},
    report::{Broken, Table, asked, conclude, ms, seconds},
    wire::Wire,
};
use nix::sys::signal::Signal;
use scene::Scene;
use tags::{Quiet, Renamed};

const USUALLY_SOON: &str = "while NOTIFY works 99 of 100 writes are seen elsewhere within 50 ms";
const SOON: Duration = Duration::from_millis(50);
/// Times that only depend on how busy the machine is have so many times their bound; the table says what was measured.
const SLACK: u32 = 2;
const BACK_AGAIN: &str = "an instance whose Postgres is back is itself again within two seconds";
const BACK: Duration = Duration::from_secs(2);

/// Between two comparisons of all that is kept.
const ROUND: Duration = Duration::from_secs(4);
/// How long both instances run before one stands still, and after it goes on.
const AROUND: Duration = Duration::from_secs(3);
/// How many requests wait at the door of an instance that goes on.
const WAITING: usize = 40;
/// Those wait for the terms that are written most.
const HOT: usize = 6;
/// Short enough that the server has not closed a connection that lay idle for as long.
const SHORT_STOP: Duration = Duration::from_secs(3);
const SHORT_STOPS: u32 = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Calm,
    Stopped,
    Blackholed,
    Deaf,
}

const MODES: [(Mode, &str); 4] =
    [(Mode::Calm, "calm"), (Mode::Stopped, "stopped"), (Mode::Blackholed, "blackholed"), (Mode::Deaf, "deaf")];

#[tokio::main]
async fn main() -> ExitCode {
    drill::whole(drill_all()).await
}

async fn drill_all() -> ExitCode {
    let time = seconds(60);
    let modes: Vec<_> = MODES.into_iter().filter(|(_, word)| asked(word)).collect();
    let modes = if modes.is_empty() { MODES.to_vec() } else { modes };
    let mut report = Report::new(time);
    for (mode, word) in modes {
        eprintln!("{word} …");
        report.broken = run(mode, word, time, &mut report).await;
        if report.broken.is_some() {
            break;
        }
    }
    report.conclude()
}

/// One mode, on ground of its own.
async fn run(mode: Mode, word: &str, time: Duration, report: &mut Report) -> Option<Broken> {
    let ground = Ground::prepare("stale").await;
    let wires = [ground.wire().await, ground.wire().await];
    let settings = [("TERMBASE_SURROGATE_KEYS", "true")];
    let first = Instance::start(&ground, &wires[0], "first", &settings).await;
    let second = Instance::start(&ground, &wires[1], "second", &settings).await;
    drill::import(&first, &scene::documents()).await;
    let ledger = Arc::new(Ledger::default());
    let witness = Witness::begin(&ground, ledger.clone()).await;
    let scene = Arc::new(Scene::new([first.address, second.address], ledger));
    let began = Instant::now();
    if mode == Mode::Calm {
        match tags::rename_some(&scene).await {
            Ok(renamed) => report.renamed = renamed,
            Err(broken) => scene.verdict.broken(broken),
        }
    }
    let tasks: Vec<_> = writers::start(&scene).into_iter().chain(readers::start(&scene)).collect();
    let mut quiet = Quiet::default();
    let back = match mode {
        Mode::Calm => {
            rounds(&scene, &mut quiet, time).await;
            None
        }
        Mode::Deaf => {
            wires.iter().for_each(|wire| wire.deafen(true));
            rounds(&scene, &mut quiet, time / 3).await;
            None
        }
        Mode::Stopped | Mode::Blackholed => {
            rounds(&scene, &mut quiet, AROUND).await;
            let back = stand_still(mode, &scene, &second, &wires[1], time / 2).await;
            rounds(&scene, &mut quiet, AROUND).await;
            Some(back)
        }
    };
    // Unoptimised, the clients take their share of that time.
    if mode == Mode::Calm && !cfg!(debug_assertions) && scene.visible.percentile(99) > SOON * SLACK {
        let p99 = ms(scene.visible.percentile(99));
        scene.verdict.broken(Broken::new(USUALLY_SOON, format!("99 of 100 were seen within {p99} of their commits.")));
    }
    scene.verdict.end();
    for task in tasks {
        task.await.unwrap();
    }
    let hits = if scene.verdict.first().is_none() { Some(hits(&first).await + hits(&second).await) } else { None };
    report.row(word, began.elapsed(), &scene, hits, back);
    drop((witness, first, second, wires));
    ground.clear().await;
    scene.verdict.first().cloned()
}

/// Lets all run, and compares now and then, at the end for certain.
async fn rounds(scene: &Scene, quiet: &mut Quiet, time: Duration) {
    let began = Instant::now();
    loop {
        let left = time.saturating_sub(began.elapsed());
        scene.verdict.pause(ROUND.min(left)).await;
        if scene.verdict.is_over() {
            return;
        }
        scene.verdict.take(quiet.compare(scene).await);
        if began.elapsed() >= time {
            return;
        }
    }
}

/// The second instance stands still, or its Postgres is out of its reach; how long it took to be itself again.
async fn stand_still(mode: Mode, scene: &Arc<Scene>, second: &Instance, wire: &Wire, time: Duration) -> Duration {
    {
        // Nobody writes through it at this moment.
        let _quiet = scene.writing.write().await;
        scene.second_is_down.store(true, Ordering::Relaxed);
    }
    if mode == Mode::Stopped {
        stop(scene, second, time).await;
        for _ in 0..SHORT_STOPS {
            stop(scene, second, SHORT_STOP).await;
        }
    } else {
        wire.swallow();
        scene.verdict.pause(time).await;
        wire.mend();
    }
    let back = Instant::now();
    let mut client = Client::new(second.address);
    let is_itself = async |client: &mut Client| {
        let answers = [client.get("/readyz").await, client.get("/terms/t0").await];
        answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200 && answer.age().is_none()))
    };
    while !is_itself(&mut client).await && !scene.verdict.is_over() {
        if back.elapsed() > BACK * SLACK {
            let sentence = format!("the second instance was not after {}.", ms(back.elapsed()));
            scene.verdict.broken(Broken::new(BACK_AGAIN, sentence));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = back.elapsed();
    scene.second_is_down.store(false, Ordering::Relaxed);
    took
}

/// Stops the second instance for a while. When it goes on, requests wait at its door, on connections that it knows: those
/// are answered before anything else can happen there.
async fn stop(scene: &Arc<Scene>, second: &Instance, time: Duration) {
    let mut clients = Vec::new();
    for number in 0..WAITING {
        let mut client = Client::new(second.address).keeping(SHORT_STOP * 2);
        let _ = client.get(&scene.addresses[number % HOT]).await;
        clients.push(client);
    }
    second.signal(Signal::SIGSTOP);
    scene.verdict.pause(time).await;
    let waiting = clients.into_iter().enumerate();
    let waiting: Vec<_> =
        waiting.map(|(number, client)| tokio::spawn(ask(scene.clone(), client, number % HOT))).collect();
    // They are with the kernel by then; that they are answered at all shows only afterwards.
    tokio::time::sleep(Duration::from_millis(200)).await;
    second.signal(Signal::SIGCONT);
    for task in waiting {
        task.await.unwrap();
    }
}

/// A request that waits until the instance goes on, and some after it: they get nothing that was old when they were sent.
async fn ask(scene: Arc<Scene>, mut client: Client, number: usize) {
    let mut memory = Memory::default();
    for step in 0..5 {
        let path = &scene.addresses[number + step * HOT];
        // A connection that was closed meanwhile says nothing.
        if let Ok(answer) = client.get(path).await {
            scene.verdict.take(scene.ledger.check(1, path, &answer).await);
            scene.verdict.take(memory.check(1, path, &answer));
        }
    }
}

/// How many answers came from the cache.
async fn hits(instance: &Instance) -> f64 {
    instance.metric("termbase_cache_answers_total", "outcome=\"hit\"").await
}

struct Report {
    time: Duration,
    runs: Table,
    latencies: Table,
    renamed: Vec<Renamed>,
    broken: Option<Broken>,
}

impl Report {
    fn new(time: Duration) -> Self {
        let runs = Table::new(
            "Runs",
            &[
                "mode",
                "seconds",
                "reads",
                "hits",
                "texts",
                "other writes",
                "clashes",
                "503",
                "with Age",
                "compared",
                "304",
                "back",
            ],
        );
        let latencies = Table::new(
            "How soon (p50 / p99 / max)",
            &[
                "mode",
                "seen on the other instance, after the commit",
                "read there with Termbase-After",
                "slug there, or gone, after the answer",
            ],
        );
        Report { time, runs, latencies, renamed: Vec::new(), broken: None }
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for a person")]
    fn row(&mut self, word: &str, took: Duration, scene: &Scene, hits: Option<f64>, back: Option<Duration>) {
        let counts = &scene.counts;
        let reads = counts.reads.load(Ordering::Relaxed);
        // Comparisons read as well, and are hits for the most part.
        let all = reads + counts.compared.load(Ordering::Relaxed);
        let hits = hits.map_or("-".into(), |hits| format!("{:.0} %", (hits / all as f64 * 100.0).min(100.0)));
        let [texts, others, clashes, refused, aged, compared, known] = [
            &counts.texts,
            &counts.others,
            &counts.clashes,
            &counts.refused,
            &counts.aged,
            &counts.compared,
            &counts.not_modified,
        ]
        .map(|count| count.load(Ordering::Relaxed).to_string());
        let back = back.map_or("-".into(), ms);
        let seconds = took.as_secs().to_string();
        self.runs.row([
            word.into(),
            seconds,
            reads.to_string(),
            hits,
            texts,
            others,
            clashes,
            refused,
            aged,
            compared,
            known,
            back,
        ]);
        self.latencies.row([word.to_owned(), scene.visible.told(), scene.after.told(), scene.slugs.told()]);
    }

    fn conclude(self) -> ExitCode {
        let Report { time, runs, latencies, renamed, broken } = self;
        let mut tables = vec![runs, latencies];
        if !renamed.is_empty() {
            let mut table =
                Table::new("Renames: answers of both instances", &["rename", "with another tag", "still 304"]);
            renamed.into_iter().for_each(|row| table.row([row.what, row.changed.to_string(), row.kept.to_string()]));
            tables.push(table);
        }
        let about = format!(
            "Made by `cargo bench --bench stale -- {} record`. Two instances on one Postgres, readers and writers over both; each answer \
             is compared with what was committed when, and now and then, a second after the last write, every kept answer \
             with the database. `scripts/prove-stale` shows that this checker finds faults that are built in.",
            time.as_secs()
        );
        conclude("stale", "Never stale", &about, &tables, broken.as_ref())
    }
}
