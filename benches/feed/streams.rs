//! A thousand open streams cost one reader of the log, not a thousand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    clients::note,
    documents,
    drill::{
        self, Ground, Instance,
        http::{Client, Stream},
        report::{Broken, Table},
        wire::Wire,
    },
    truth::{Place, Segment},
};

pub const ONE_READER: &str = "a thousand open streams cost one reader of the log";

const STREAMS: usize = 1_000;
const WINDOW: Duration = Duration::from_secs(8);
const WRITES_A_SECOND: u32 = 10;
/// Looks that the follower makes by itself fall into one window or the other.
const SLACK: f64 = 1.1;

/// Counts statements while the same is written with no stream and with a thousand.
pub async fn count(table: &mut Table) -> Result<(), Broken> {
    let ground = Ground::prepare("streams").await;
    let wire = ground.wire().await;
    let instance = Instance::start(&ground, &wire, "only", &[]).await;
    drill::import(&instance, &documents()).await;
    let without = window(&wire, &instance).await;
    let events = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        streams.push(Stream::open(instance.address, "/changes/stream", &[]).await.unwrap().unwrap());
    }
    let opened = began.elapsed();
    let from = instance.client().get("/changes").await.unwrap().position().unwrap();
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::spawn(listen(stream, Place { position: from, id: None }, events.clone())))
        .collect();
    let with = window(&wire, &instance).await;
    // Until all have got the last one.
    let writes = u64::from(WRITES_A_SECOND) * WINDOW.as_secs();
    let wanted = writes * STREAMS as u64;
    while events.load(Ordering::Relaxed) < wanted && began.elapsed() < drill::PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seen = events.load(Ordering::Relaxed);
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    drop(instance);
    drop(wire);
    ground.clear().await;
    table.row(["a thousand streams opened within", &drill::report::ms(opened)]);
    table.row([format!("statements in {} s with {writes} writes, no stream", WINDOW.as_secs()), without.to_string()]);
    table.row(["the same with a thousand streams".to_owned(), format!("{with}, and {seen} events of {wanted}")]);
    if seen != wanted {
        return Err(Broken::new(
            ONE_READER,
            format!("{seen} events came of {writes} changes on {STREAMS} streams, not {wanted}."),
        ));
    }
    if f64::from(u32::try_from(with).unwrap()) > f64::from(u32::try_from(without).unwrap()) * SLACK {
        return Err(Broken::new(
            ONE_READER,
            format!("Postgres completed {with} statements with them, {without} without."),
        ));
    }
    Ok(())
}

/// Statements that are completed while so much is written.
async fn window(wire: &Wire, instance: &Instance) -> u64 {
    let (before, began) = (wire.statements(), Instant::now());
    let mut client = instance.client();
    for number in 0..WRITES_A_SECOND * u32::try_from(WINDOW.as_secs()).unwrap() {
        tokio::time::sleep_until((began + number * Duration::from_secs(1) / WRITES_A_SECOND).into()).await;
        patch(&mut client, number).await;
    }
    tokio::time::sleep_until((began + WINDOW).into()).await;
    wire.statements() - before
}

async fn patch(client: &mut Client, number: u32) {
    let definition = format!("Number {number}, {:?}.", Instant::now());
    let answer = drill::write(client, "PATCH", "/terms/t0", Some(&json!({"definition": definition}))).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn listen(mut stream: Stream, from: Place, events: Arc<AtomicU64>) {
    let mut segment = Segment { from, seen: Vec::new(), until: from.position.number, drafts: false };
    let mut last = from;
    while let Ok(Some(event)) = stream.next().await {
        let before = segment.seen.len();
        last = note(&mut segment, last, &event).unwrap();
        if segment.seen.len() > before {
            let next = from.position.number + i64::try_from(segment.seen.len()).unwrap();
            assert_eq!(segment.seen.last().map(|seen| seen.0), Some(next), "nothing else is written");
            events.fetch_add(1, Ordering::Relaxed);
        }
    }
}
