//! Load in an open loop: each request is sent at its time, whatever became of those before it, and counted from that time.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};

use crate::drill::{
    self,
    http::{Answer, Client, Request},
    ledger::{Ledger, text},
    report::Broken,
};

/// Terms that nobody writes, and everybody reads.
pub const HOT: u32 = 20;
/// Terms that are written, one after the other.
pub const WRITTEN: u32 = 4_000;
/// Terms that are asked for in ever new pairs.
pub const COLD: u32 = 1_000;
/// How soon a client that was refused tries again, where only what is done counts.
const AGAIN: Duration = Duration::from_millis(50);
/// After this a client has had enough.
pub const ENOUGH: Duration = Duration::from_secs(15);

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// One of a few pages that nobody writes.
    Cached,
    /// A list that nobody has asked for before.
    Cold,
    Write,
    /// A page that was written a moment ago.
    Written,
}

pub const CLASSES: [(Class, &str); 4] = [
    (Class::Cached, "cached reads"),
    (Class::Cold, "uncached reads"),
    (Class::Write, "writes"),
    (Class::Written, "reads of what was written"),
];

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Done,
    /// `200` with `Age`.
    Aged,
    /// `503` with `Retry-After`.
    Refused,
    /// Any other status.
    Other(u16),
    /// The connection failed, or no answer came in time.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
pub struct Record {
    pub class: Class,
    pub outcome: Outcome,
    /// When it was to be sent.
    pub due: Instant,
    pub took: Duration,
}

/// What requests share.
pub struct Load {
    address: SocketAddr,
    pub ledger: Arc<Ledger>,
    clients: Mutex<Vec<Client>>,
    records: Mutex<Vec<Record>>,
    /// The first answer that was older than it may be.
    stale: Mutex<Option<Broken>>,
    next: AtomicU32,
    hot: AtomicU32,
    /// Written terms of which it is not known whether the last write was made: they are left alone.
    unknown: Mutex<BTreeSet<u32>>,
    serials: Mutex<Vec<u32>>,
    /// The written term whose write was acknowledged last.
    acknowledged: AtomicU32,
    is_over: AtomicBool,
}

impl Load {
    pub fn on(address: SocketAddr, ledger: Arc<Ledger>) -> Arc<Self> {
        Arc::new(Load {
            address,
            ledger,
            clients: Mutex::default(),
            records: Mutex::default(),
            stale: Mutex::default(),
            next: AtomicU32::new(0),
            hot: AtomicU32::new(0),
            unknown: Mutex::default(),
            serials: Mutex::new(vec![1; WRITTEN as usize]),
            acknowledged: AtomicU32::new(0),
            is_over: AtomicBool::new(false),
        })
    }

    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    pub fn stale(&self) -> Option<Broken> {
        self.stale.lock().unwrap().clone()
    }

    /// Nothing is sent any more; what was sent is waited for.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Sends requests of a class, so many a second, for a time or until the end.
    pub fn start(self: &Arc<Self>, class: Class, a_second: f64, time: Option<Duration>) -> JoinHandle<()> {
        let load = self.clone();
        tokio::spawn(async move {
            let (began, gap) = (Instant::now(), Duration::from_secs_f64(1.0 / a_second));
            let (mut number, mut sent) = (0, JoinSet::new());
            while time.is_none_or(|time| began.elapsed() < time) && !load.is_over.load(Ordering::Relaxed) {
                let due = began + gap * number;
                tokio::time::sleep_until(due.into()).await;
                let load = load.clone();
                sent.spawn(async move { load.request(class, due).await });
                while sent.try_join_next().is_some() {}
                number += 1;
            }
            while sent.join_next().await.is_some() {}
        })
    }

    /// One request, from a client that is free.
    pub async fn request(&self, class: Class, due: Instant) -> Outcome {
        let client = self.clients.lock().unwrap().pop();
        let mut client = client.unwrap_or_else(|| Client::new(self.address));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let answer = match class {
            Class::Cached => {
                let number = self.hot.fetch_add(1, Ordering::Relaxed);
                self.read(&mut client, &format!("/terms/hot-{}", number % HOT)).await
            }
            Class::Cold => {
                let path = format!("/terms?slugs=t{},t{}", number / COLD % COLD, number % COLD);
                self.read(&mut client, &path).await
            }
            Class::Written => {
                let path = format!("/terms/w{}", self.acknowledged.load(Ordering::Relaxed));
                self.read(&mut client, &path).await
            }
            Class::Write => self.write(&mut client).await,
        };
        let outcome = outcome(answer.as_ref());
        self.clients.lock().unwrap().push(client);
        self.records.lock().unwrap().push(Record { class, outcome, due, took: due.elapsed() });
        outcome
    }

    async fn read(&self, client: &mut Client, path: &str) -> Option<Answer> {
        let answer = client.send_within(&Request::get(path), ENOUGH).await.ok()?;
        if answer.status == 200
            && let Err(broken) = self.ledger.check(0, path, &answer).await
        {
            self.stale.lock().unwrap().get_or_insert(broken);
        }
        Some(answer)
    }

    /// The next of the written terms of which all is known.
    async fn write(&self, client: &mut Client) -> Option<Answer> {
        let mut numbers = (0..WRITTEN).map(|_| self.next.fetch_add(1, Ordering::Relaxed) % WRITTEN);
        // Taken until its answer has come: then it is written by one at a time.
        let number = numbers.find(|number| self.unknown.lock().unwrap().insert(*number));
        let number = number.expect("a term of which it is known whether the last write was made");
        let serial = {
            let mut serials = self.serials.lock().unwrap();
            serials[number as usize] += 1;
            serials[number as usize]
        };
        let (path, body) = (format!("/terms/w{number}"), json!({"definition": text(number, serial)}).to_string());
        let headers = [drill::AUTHORIZATION, ("content-type", "application/json")];
        let request = Request { method: "PATCH", path: &path, headers: &headers, body: Some(&body) };
        let answer = client.send_within(&request, ENOUGH).await.ok()?;
        if answer.status == 200 {
            self.ledger.answered(0, number, serial, answer.ended);
            self.unknown.lock().unwrap().remove(&number);
            self.acknowledged.store(number, Ordering::Relaxed);
        }
        Some(answer)
    }

    /// Requests of one class a second that are done, where so many clients send one after the other.
    pub async fn capacity(self: &Arc<Self>, class: Class, clients: u32, time: Duration) -> f64 {
        let began = Instant::now();
        let client = |load: Arc<Load>| async move {
            let mut done = 0;
            while began.elapsed() < time {
                if load.request(class, Instant::now()).await == Outcome::Done {
                    done += 1;
                } else {
                    tokio::time::sleep(AGAIN).await;
                }
            }
            done
        };
        let done = futures_util::future::join_all((0..clients).map(|_| client(self.clone()))).await;
        f64::from(done.into_iter().sum::<u32>()) / began.elapsed().as_secs_f64()
    }
}

fn outcome(answer: Option<&Answer>) -> Outcome {
    let Some(answer) = answer else { return Outcome::Nothing };
    match answer.status {
        200 if answer.age().is_some() => Outcome::Aged,
        200 => Outcome::Done,
        503 if answer.header("retry-after").is_some() => Outcome::Refused,
        status => Outcome::Other(status),
    }
}

/// What there is at the beginning.
pub fn documents() -> Vec<(&'static str, serde_json::Value)> {
    let term = |slug: String, definition: String| {
        let name = format!("Term {slug}");
        json!({"slug": slug, "name": name, "definition": definition, "category": "c", "status": "published"})
    };
    let mut all = vec![("category", json!({"slug": "c", "name": "C"}))];
    all.extend((0..HOT).map(|number| ("term", term(format!("hot-{number}"), "Read by everybody.".into()))));
    all.extend((0..WRITTEN).map(|number| ("term", term(format!("w{number}"), text(number, 1)))));
    all.extend((0..COLD).map(|number| ("term", term(format!("t{number}"), "One of many.".into()))));
    all
}
