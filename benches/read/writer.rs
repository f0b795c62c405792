//! Someone who writes at a steady pace while others read.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use super::server::{Server, TOKEN};
use crate::{
    glossary,
    stage::{Random, client},
};

/// Writes a second.
const RATE: u32 = 50;

/// What is written, and where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// Bodies of any of so many terms.
    Bodies(usize),
    /// Of ten writes six change a body, three a definition, and one a name; of any of so many terms.
    Mixed(usize),
    /// The body of this one.
    One(usize),
}

pub struct Writer {
    inner: Arc<Inner>,
}

struct Inner {
    client: reqwest::Client,
    base: String,
    what: What,
    random: Mutex<Random>,
    /// No two texts are the same: what changes nothing makes no version.
    number: AtomicU64,
    failed: AtomicU64,
}

/// A writer at work.
pub struct Writing {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Writer {
    pub fn new(server: &Server, what: What) -> Self {
        let inner = Inner {
            client: client(),
            base: server.url(""),
            what,
            random: Mutex::new(Random(11)),
            number: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        Writer { inner: Arc::new(inner) }
    }

    /// Writes from now on, each at its time, whether those before it are done or not.
    pub fn start(&self) -> Writing {
        let (inner, stop) = (Arc::clone(&self.inner), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut times = interval(Duration::from_secs(1) / RATE);
            times.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut writes = JoinSet::new();
            while !stopped.load(Ordering::Relaxed) {
                times.tick().await;
                let inner = Arc::clone(&inner);
                writes.spawn(async move { inner.write().await });
            }
            writes.join_all().await;
        });
        Writing { stop, task }
    }

    /// How many it has begun, and how many of them were refused.
    pub fn count(&self) -> (u64, u64) {
        (self.inner.number.load(Ordering::Relaxed), self.inner.failed.load(Ordering::Relaxed))
    }
}

impl Writing {
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

impl Inner {
    async fn write(&self) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (term, patch) = self.choose(number);
        let request = self.client.patch(format!("{}{}", self.base, glossary::address(term)));
        let answered = request.bearer_auth(TOKEN).json(&patch).send().await;
        if !answered.is_ok_and(|response| response.status().is_success()) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn choose(&self, number: u64) -> (usize, Value) {
        let body = json!({"body": format!("Version {number}. {}", "It is explained in a paragraph of usual length. ".repeat(40))});
        let mut random = self.random.lock().unwrap();
        let mut any = |terms: usize| glossary::public(random.below(terms));
        match self.what {
            What::One(term) => (term, body),
            What::Bodies(terms) => (any(terms), body),
            What::Mixed(terms) => {
                let term = any(terms);
                let patch = match number % 10 {
                    0 => json!({"name": format!("Renamed {number} of {term}")}),
                    1..=3 => json!({"definition": format!("It is defined by sentence number {number}, and no other.")}),
                    _ => body,
                };
                (term, patch)
            }
        }
    }
}
