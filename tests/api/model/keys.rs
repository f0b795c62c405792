//! A public answer that differs before and after a write has a key that the write touched: otherwise a cache would keep it
//! for ever. And how many answers were touched without need.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use termbase::editorial::Kind;

use super::{operations::Operation, state::State};
use crate::support::{Answer, TestApp};

/// By kind of write: how many answers and keys it touched, and how many of them for nothing.
#[derive(Default)]
pub struct Keys {
    counts: RefCell<BTreeMap<String, Counts>>,
    /// How often each status was answered: a model whose writes are all refused would show nothing.
    statuses: RefCell<BTreeMap<u16, usize>>,
}

#[derive(Default)]
struct Counts {
    writes: usize,
    answers: usize,
    answers_same: usize,
    keys: usize,
    keys_same: usize,
}

pub struct Before {
    answers: Vec<(String, Answer)>,
    position: i64,
}

async fn read(app: &TestApp, paths: Vec<String>) -> Vec<(String, Answer)> {
    stream::iter(paths)
        .map(async |path| {
            let answer = app.get(&path).await;
            (path, answer)
        })
        .buffered(4)
        .collect()
        .await
}

impl Keys {
    pub fn answered(&self, status: u16) {
        *self.statuses.borrow_mut().entry(status).or_default() += 1;
    }

    /// Every public answer as it is, those that a write is about to change among them.
    pub async fn before(&self, app: &TestApp, state: &State, pool: &[(Kind, String)]) -> Before {
        let reads = state.expectations(pool).into_iter().filter(|expected| !expected.as_viewer);
        // Where a list is cut, more can change than its items.
        let cut = ["/terms?limit=2", "/companies?limit=1", "/terms?status=deprecated&limit=1"];
        let others = cut.into_iter().chain(["/sitemap.xml", "/feed.atom"]).map(ToOwned::to_owned);
        let answers = read(app, reads.map(|expected| expected.path).chain(others).collect()).await;
        Before { answers, position: state.position }
    }

    pub async fn after(&self, app: &TestApp, operation: &Operation, before: Before) -> Result<(), String> {
        let touched: Vec<String> = sqlx::query_scalar("select unnest(keys) from changes where position > $1")
            .bind(before.position)
            .fetch_all(app.pool())
            .await
            .unwrap();
        let touched: BTreeSet<String> = touched.into_iter().collect();
        let answers = read(app, before.answers.iter().map(|(path, _)| path.clone()).collect()).await;
        let mut counts = Counts { writes: 1, keys: touched.len(), ..Counts::default() };
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for ((path, was), (_, is)) in before.answers.into_iter().zip(answers) {
            if !was.headers.contains_key("surrogate-key") {
                continue;
            }
            let met: Vec<String> = was.keys().into_iter().filter(|key| touched.contains(key)).collect();
            let is_same = shown(&was) == shown(&is);
            if met.is_empty() && !is_same {
                return Err(format!(
                    "{operation:?}: {path} is stale: made from {:?}, touched {touched:?}; was {} {}, is {} {}",
                    was.keys(),
                    was.status,
                    String::from_utf8_lossy(&was.bytes),
                    is.status,
                    String::from_utf8_lossy(&is.bytes)
                ));
            }
            counts.answers += usize::from(!met.is_empty());
            counts.answers_same += usize::from(!met.is_empty() && is_same);
            if !is_same {
                needed.extend(met);
            }
        }
        counts.keys_same = touched.difference(&needed).count();
        if !touched.is_empty() {
            self.counts.borrow_mut().entry(operation.action.label()).or_default().add(&counts);
        }
        Ok(())
    }
}

/// What a client sees, less what may be a minute old: the suggestions.
pub fn shown(answer: &Answer) -> (u16, Option<String>, Value) {
    let location = answer.headers.get("location").map(|location| location.to_str().unwrap().to_owned());
    let mut body: Value =
        serde_json::from_slice(&answer.bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&answer.bytes)));
    if answer.status.is_client_error() {
        body = json!(body["code"]);
    }
    (answer.status.as_u16(), location, body)
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        let Counts { writes, answers, answers_same, keys, keys_same } = other;
        self.writes += writes;
        self.answers += answers;
        self.answers_same += answers_same;
        self.keys += keys;
        self.keys_same += keys_same;
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:40} {:>6} {:>16} {:>16}", "write", "writes", "answers, same", "keys, no use")?;
        let mut total = Counts::default();
        let row = |f: &mut fmt::Formatter<'_>, name: &str, counts: &Counts| {
            let Counts { writes, answers, answers_same, keys, keys_same } = counts;
            writeln!(f, "{name:40} {writes:6} {answers:8} {answers_same:7} {keys:8} {keys_same:7}")
        };
        for (name, counts) in self.counts.borrow().iter() {
            row(f, name, counts)?;
            total.add(counts);
        }
        row(f, "all", &total)?;
        writeln!(f, "statuses {:?}", self.statuses.borrow())
    }
}
