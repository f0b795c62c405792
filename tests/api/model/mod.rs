//! Random writes over HTTP against a plain model in memory, and against every address that reads.
//!
//! `MODEL_SEED` and `MODEL_SEQUENCES` repeat a run, or make a longer one. A sequence that fails is shortened, and printed
//! with its seed.

mod keys;
mod operations;
mod state;
mod together;
mod views;

use std::fmt::Write;

use futures_util::{StreamExt, stream};
use reqwest::Method;
use termbase::{editorial::Kind, tokens::Role};

use self::{
    keys::Keys,
    operations::{Draw, FIRST, Operation, Tag},
    state::State,
    views::{Expected, matches},
};
use crate::support::{Answer, TestApp};

const OPERATIONS: usize = 50;
/// Sequences that run at once: one writes while the database of another is made.
const AT_ONCE: usize = 3;
/// In one of so many steps all reads are compared, and in one of so many that change something the keys.
const READS: usize = 29;
const KEYS: usize = 12;
/// How often a failing sequence is tried again, to find a shorter one.
const ATTEMPTS: usize = 300;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[tokio::test]
async fn random_writes_leave_what_a_plain_model_says() {
    let first = setting("MODEL_SEED").unwrap_or(20_261_124);
    let count = setting("MODEL_SEQUENCES");
    let keys = Keys::default();
    let mut sequences = stream::iter(first..first + count.unwrap_or(100))
        .map(async |seed| (seed, Sequence::random(seed, &keys).await))
        .buffer_unordered(AT_ONCE);
    let mut done = 0;
    while let Some((seed, result)) = sequences.next().await {
        done += 1;
        if count.is_some() && done % 100 == 0 {
            eprintln!("{done} sequences");
        }
        if let Err(failure) = result {
            eprintln!("seed {seed}, operation {}: {}\nshortening …", failure.operations.len(), failure.message);
            let Failure { operations, message, .. } = shorten(failure).await;
            let mut text = String::new();
            for operation in &operations {
                writeln!(text, "    {operation:?}").unwrap();
            }
            panic!("seed {seed}: {message}\n{} operations do it:\n{text}", operations.len());
        }
    }
    if count.is_some() {
        eprintln!("{keys}");
    }
}

/// The operations up to the one that failed, and what was wrong.
struct Failure {
    operations: Vec<Operation>,
    message: String,
    /// What to look at, to see it again.
    look: Look,
}

/// Leaves out half of the operations, then a quarter, down to each, and then what is in them, as long as the rest still
/// fails.
async fn shorten(mut failure: Failure) -> Failure {
    // Again, with a look after each operation: it may have been wrong before it was looked at.
    let everything = Look { reads: true, ..failure.look };
    if let Err(earlier) = Sequence::repeat(&failure.operations, everything).await {
        failure = earlier;
    }
    let mut attempts = 0..ATTEMPTS;
    let mut part = failure.operations.len() / 2;
    while part > 0 {
        let (mut from, before) = (0, failure.operations.len());
        while from < failure.operations.len() && attempts.next().is_some() {
            let mut fewer = failure.operations.clone();
            fewer.drain(from..(from + part).min(fewer.len()));
            match Sequence::repeat(&fewer, failure.look).await {
                Err(shorter) => failure = shorter,
                Ok(()) => from += part,
            }
        }
        // What could not go before may go now.
        if part > 1 || failure.operations.len() == before {
            part /= 2;
        }
        if part == 0 && simplify(&mut failure, &mut attempts).await {
            part = 1;
        }
    }
    failure
}

/// Whether something in an operation could go.
async fn simplify(failure: &mut Failure, attempts: &mut std::ops::Range<usize>) -> bool {
    let mut is_simpler = false;
    let mut index = 0;
    while index < failure.operations.len() {
        let simpler = failure.operations[index].simpler().into_iter();
        let mut found = None;
        for operation in simpler.filter(|_| attempts.next().is_some()) {
            let mut operations = failure.operations.clone();
            operations[index] = operation;
            if let Err(shorter) = Sequence::repeat(&operations, failure.look).await {
                found = Some(shorter);
                break;
            }
        }
        match found {
            Some(shorter) => (*failure, is_simpler) = (shorter, true),
            None => index += 1,
        }
    }
    is_simpler
}

/// One sequence of operations on a database of its own.
struct Sequence {
    app: TestApp,
    tokens: Vec<(Role, String)>,
    state: State,
    pool: Vec<(Kind, String)>,
}

impl Sequence {
    async fn begin() -> Self {
        let app = TestApp::empty().await;
        let mut tokens = Vec::new();
        for role in [Role::Viewer, Role::Contributor, Role::Editor, Role::Admin] {
            tokens.push((role, app.token(role).await));
        }
        Sequence { app, tokens, state: State::new(), pool: operations::pool() }
    }

    async fn random(seed: u64, keys: &Keys) -> Result<(), Failure> {
        let mut random = Random::new(seed);
        let mut sequence = Sequence::begin().await;
        let mut operations = Vec::new();
        for number in 1..=FIRST.len() + OPERATIONS {
            let mut draw = Draw { random: &mut random, state: &sequence.state };
            let operation = match FIRST.get(number - 1) {
                Some(kind) => draw.first(*kind),
                None => draw.operation(),
            };
            operations.push(operation.clone());
            let changes = {
                let mut after = sequence.state.clone();
                after.apply(&operation);
                after.position > sequence.state.position
            };
            let look = Look { reads: number % READS == 0, keys: changes && random.one_in(KEYS) };
            if let Err((message, look)) = sequence.step(&operation, look, keys).await {
                return Err(Failure { operations, message, look });
            }
        }
        Ok(())
    }

    /// The same operations again.
    async fn repeat(operations: &[Operation], look: Look) -> Result<(), Failure> {
        let keys = Keys::default();
        let mut sequence = Sequence::begin().await;
        for (index, operation) in operations.iter().enumerate() {
            if let Err((message, look)) = sequence.step(operation, look, &keys).await {
                return Err(Failure { operations: operations[..=index].to_vec(), message, look });
            }
        }
        Ok(())
    }

    async fn step(&mut self, operation: &Operation, look: Look, keys: &Keys) -> Result<(), (String, Look)> {
        let before = if look.keys { Some(keys.before(&self.app, &self.state, &self.pool).await) } else { None };
        let answered = self.write(operation).await;
        keys.answered(answered.map_err(|message| (message, Look { reads: false, keys: false }))?);
        if let Some(before) = before {
            let at_keys = |message| (message, Look { reads: false, keys: true });
            keys.after(&self.app, operation, before).await.map_err(at_keys)?;
        }
        let at_reads = |message| (message, Look { reads: true, keys: false });
        if look.reads { self.compare().await.map_err(at_reads) } else { Ok(()) }
    }

    /// Does it, and compares the answer, and how many changes the log has, with what the model says.
    async fn write(&mut self, operation: &Operation) -> Result<u16, String> {
        let (method, path, body) = operation.action.request(&self.state);
        let tag = self.tag(operation).await;
        let headers: Vec<(&str, &str)> = tag.iter().map(|tag| ("if-match", tag.as_str())).collect();
        let said = format!("{} {method} {path} {} {headers:?}", operation.role, body.clone().unwrap_or_default());
        let end = self.state.apply(operation);
        let answer = self.send(method, &path, operation.role, body.as_ref(), &headers).await;
        if answer.status.as_u16() != end.status {
            let text = String::from_utf8_lossy(&answer.bytes);
            return Err(format!("{said}: {} instead of {}: {text}", answer.status, end.status));
        }
        if let Some(number) = end.entity {
            let page = answer.json();
            if end.status == 201 {
                let entity = self.state.entities.get_mut(&number).unwrap();
                page["id"].as_str().unwrap_or_default().clone_into(&mut entity.id);
                if answer.header("location") != entity.address() {
                    return Err(format!("{said}: made at {}", answer.header("location")));
                }
            }
            let expected = self.state.page(number);
            if !matches(&expected, &page) {
                return Err(format!("{said}: answered\n{page}\ninstead of\n{expected}"));
            }
        }
        let position: i64 =
            sqlx::query_scalar("select position from log_head").fetch_one(self.app.pool()).await.unwrap();
        if position != self.state.position {
            return Err(format!("{said}: position {position} instead of {}", self.state.position));
        }
        Ok(end.status)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        role: Role,
        body: Option<&serde_json::Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let token = self.tokens.iter().find(|token| token.0 == role).map(|token| token.1.as_str());
        self.app.send(method, path, token, body, headers).await
    }

    async fn tag(&self, operation: &Operation) -> Option<String> {
        let entity = self.state.find(operation.action.kind(), operation.action.slug());
        let version = entity.map_or(0, |entity| entity.revisions.len());
        let path = match (operation.tag, entity) {
            (Tag::None, _) | (Tag::Current, None) => return None,
            (Tag::Stale, _) if version < 2 => return Some("\"01a20c7845137096a7ca781f7eec597d.x.br\"".into()),
            (Tag::Stale, Some(entity)) => format!("{}/revisions/{}", entity.address(), version - 1),
            (Tag::Current, Some(entity)) if entity.is_live() => entity.address(),
            (_, Some(entity)) => format!("{}/revisions/{version}", entity.address()),
            (Tag::Stale, None) => return None,
        };
        let answer = self.send(Method::GET, &path, Role::Viewer, None, &[]).await;
        Some(answer.header("etag").to_owned())
    }

    /// Everything that reads, against the model.
    async fn compare(&self) -> Result<(), String> {
        let read = async |expected: Expected| {
            let role = if expected.as_viewer { Role::Viewer } else { Role::Admin };
            let token = self.tokens.iter().find(|token| token.0 == role && expected.as_viewer);
            let token = token.map(|token| token.1.as_str());
            let answer = self.app.send(Method::GET, &expected.path, token, None, &[]).await;
            let location = answer.headers.get("location").map(|location| location.to_str().unwrap().to_owned());
            let is_as_expected = answer.status.as_u16() == expected.status
                && location == expected.location
                && (expected.body.is_null() || matches(&expected.body, &answer.json()));
            let text = String::from_utf8_lossy(&answer.bytes);
            if is_as_expected {
                Ok(())
            } else {
                Err(format!("expected {expected:#?}, found {} {location:?} {text}", answer.status))
            }
        };
        let mut answers = stream::iter(self.state.expectations(&self.pool)).map(read).buffer_unordered(4);
        while let Some(answer) = answers.next().await {
            answer?;
        }
        self.count().await
    }

    /// What categories count is kept by each write; here it is counted.
    async fn count(&self) -> Result<(), String> {
        let wrong: Vec<(uuid::Uuid, i64, i64)> = sqlx::query_as(
            "select category_id, coalesce(terms, 0), coalesce(companies, 0)
               from (select category_id, terms, companies from category_counts) kept
               full join (select c.id as category_id,
                                 (select count(*) from terms t
                                   where t.category_id = c.id and t.status = 'published' and t.deleted_at is null) as own_terms,
                                 (select count(*) from company_categories l
                                   where l.category_id = c.id and l.is_public) as own_companies
                            from categories c) counted using (category_id)
              where (coalesce(terms, 0), coalesce(companies, 0)) is distinct from (own_terms, own_companies)",
        )
        .fetch_all(self.app.pool())
        .await
        .unwrap();
        if wrong.is_empty() { Ok(()) } else { Err(format!("kept counts that are wrong: {wrong:?}")) }
    }
}

/// What is compared after a step.
#[derive(Clone, Copy)]
struct Look {
    reads: bool,
    keys: bool,
}

/// Marsaglia's xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds begin far apart.
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).unwrap()
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }
}
