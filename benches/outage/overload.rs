//! Ten times what the service can do: what is taken on is done, and what is over is refused at once.
//!
//! The wire holds each message to Postgres for a while, so that what the service can do follows from its connections, and
//! not from the processors that the load takes too.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    REFUSAL, REFUSED_SOON, SLACK,
    drill::{
        self, Ground, Instance,
        ledger::{Ledger, Witness},
        report::{Broken, Table, Times, ms},
    },
    load::{self, Class, Load, Outcome},
};

const GOODPUT_STAYS: &str = "goodput stays under overload";

/// How long each message to Postgres is held.
const FAR: Duration = Duration::from_millis(20);
/// Enough to keep all connections busy, and no more.
const CLIENTS: u32 = 24;
const CAPACITY: Duration = Duration::from_secs(4);
const OVERLOAD: Duration = Duration::from_secs(6);
const TIMES: f64 = 10.0;
/// What has to be left of the goodput; the load takes some of the machine.
const LEFT: f64 = 0.5;

pub fn table() -> Table {
    let columns = [
        "requests",
        "done a second at capacity",
        "sent a second",
        "done a second",
        "of capacity",
        "503",
        "else",
        "p50 / p99 / max to refuse",
        "p50 / p99 / max of what was done",
    ];
    let mut table = Table::new("Ten times the capacity", &columns);
    table.note(format!(
        "Each message to Postgres is held for {}, so that the ten connections are what is scarce. Capacity is what {CLIENTS} clients get \
         done that send one request after the other. Beside the overload there are a hundred cached reads a second.",
        ms(FAR)
    ));
    table
}

pub async fn run(table: &mut Table) -> Result<(), Broken> {
    for (class, name) in [(Class::Cold, "uncached reads"), (Class::Write, "writes")] {
        let ground = Ground::prepare("overload").await;
        let wire = ground.wire().await;
        let instance = Instance::start(&ground, &wire, "only", &[]).await;
        drill::import(&instance, &load::documents()).await;
        let ledger = Arc::new(Ledger::default());
        let witness = Witness::begin(&ground, ledger.clone()).await;
        wire.delay(FAR);
        let result = overload(&Load::on(instance.address, ledger), class, name, table).await;
        drop((witness, instance, wire));
        ground.clear().await;
        result?;
    }
    Ok(())
}

async fn overload(load: &Arc<Load>, class: Class, name: &str, table: &mut Table) -> Result<(), Broken> {
    let capacity = load.capacity(class, CLIENTS, CAPACITY).await;
    for _ in 0..load::HOT {
        load.request(Class::Cached, Instant::now()).await;
    }
    let known = load.records().len();
    let rate = capacity * TIMES;
    let (many, cached) = (load.start(class, rate, Some(OVERLOAD)), load.start(Class::Cached, 100.0, Some(OVERLOAD)));
    many.await.unwrap();
    cached.await.unwrap();
    let records = load.records().split_off(known);
    let mut result = load.stale().map_or(Ok(()), Err);
    for (class, name, rate, capacity) in
        [(class, name, rate, Some(capacity)), (Class::Cached, "cached reads meanwhile", 100.0, None)]
    {
        let (refusals, done) = (Times::default(), Times::default());
        let mut others = 0;
        for record in records.iter().filter(|record| record.class == class) {
            match record.outcome {
                Outcome::Refused => refusals.add(record.took),
                Outcome::Done | Outcome::Aged => done.add(record.took),
                Outcome::Other(_) | Outcome::Nothing => others += 1,
            }
        }
        let goodput = f64::from(u32::try_from(done.count()).unwrap()) / OVERLOAD.as_secs_f64();
        let ratio = capacity.map(|capacity| goodput / capacity);
        table.row([
            name.to_owned(),
            capacity.map_or("-".into(), |capacity| format!("{capacity:.0}")),
            format!("{rate:.0}"),
            format!("{goodput:.0}"),
            ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")),
            refusals.count().to_string(),
            others.to_string(),
            refusals.told(),
            done.told(),
        ]);
        result = result.and_then(|()| judge(name, ratio, &refusals, others));
    }
    result
}

fn judge(name: &str, ratio: Option<f64>, refusals: &Times, others: usize) -> Result<(), Broken> {
    if others > 0 {
        let sentence =
            format!("overload: {others} of the {name} were answered neither with 200 nor with 503 and Retry-After.");
        return Err(Broken::new(crate::ALL_ANSWERED, sentence));
    }
    if refusals.longest() > REFUSAL * SLACK {
        let sentence = format!("overload: one of the {name} was refused after {}.", ms(refusals.longest()));
        return Err(Broken::new(REFUSED_SOON, sentence));
    }
    match ratio {
        Some(ratio) if ratio < LEFT => {
            Err(Broken::new(GOODPUT_STAYS, format!("overload: {ratio:.2} of the capacity was left for {name}.")))
        }
        None if refusals.count() > 0 => {
            Err(Broken::new(crate::CACHED_GO_ON, format!("overload: {} {name} were refused.", refusals.count())))
        }
        _ => Ok(()),
    }
}
