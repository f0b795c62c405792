//! What was written, and when it was committed, as a witness beside the instances sees it; and whether an answer is as new
//! as it has to be.
//!
//! Each text that a drill writes bears a mark, `[[entity#serial]]`: whatever shows an entity, its own page, another's or a
//! list, shows by it of which write it is. A serial counts the entity's texts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use uuid::Uuid;

use super::{
    Ground, PATIENCE,
    http::Answer,
    report::{Broken, ms},
};

pub const OWN_WRITE: &str = "who wrote through an instance reads it there";
pub const WITHIN_A_SECOND: &str = "another instance shows a write within a second";
pub const AS_ITS_POSITION_SAYS: &str = "an answer is as new as its position says";
pub const NEVER_BACK: &str = "what one reader sees never goes back";

/// How long after its commit a write may be unseen elsewhere.
pub const BOUND: Duration = Duration::from_secs(1);
/// `Age` counts whole seconds, and begins when the answer was last known to be true.
const AGE_GRAIN: Duration = Duration::from_secs(1);
/// How often the witness looks where nothing wakes it.
const WITHOUT_NOTICE: Duration = Duration::from_millis(20);

/// A text with its mark.
pub fn text(entity: u32, serial: u32) -> String {
    format!("A text of the drill, by its mark [[{entity}#{serial}]].")
}

/// The marks in it: entities and serials, each pair once.
pub fn marks(bytes: &[u8]) -> BTreeSet<(u32, u32)> {
    let text = String::from_utf8_lossy(bytes);
    let marks = text.split("[[").skip(1).filter_map(|part| part.split_once("]]")?.0.split_once('#'));
    marks.filter_map(|(entity, serial)| Some((entity.parse().ok()?, serial.parse().ok()?))).collect()
}

#[derive(Clone, Copy)]
struct Commit {
    serial: u32,
    position: i64,
    /// Not before this it was certainly committed: when the witness saw it.
    at: Instant,
}

#[derive(Default)]
struct Entity {
    commits: Vec<Commit>,
    /// By which instance, when and with which text a write was answered.
    answered: Vec<(usize, Instant, u32)>,
}

#[derive(Default)]
pub struct Ledger {
    entities: Mutex<HashMap<u32, Entity>>,
    /// The keys that each change touched.
    keys: Mutex<Vec<(i64, Vec<String>)>>,
    newest: watch::Sender<i64>,
}

impl Ledger {
    pub fn newest(&self) -> i64 {
        *self.newest.borrow()
    }

    /// Waits until the witness has seen this position.
    pub async fn seen(&self, position: i64) {
        let mut newest = self.newest.subscribe();
        let seen = timeout(PATIENCE, newest.wait_for(|newest| *newest >= position)).await;
        assert!(seen.is_ok(), "the witness has not seen position {position}");
    }

    /// The keys touched after a position.
    pub fn touched_after(&self, position: i64) -> BTreeSet<String> {
        let keys = self.keys.lock().unwrap();
        keys.iter().filter(|(at, _)| *at > position).flat_map(|(_, keys)| keys.iter().cloned()).collect()
    }

    /// An instance has answered a write: from now on it shows it.
    pub fn answered(&self, instance: usize, entity: u32, serial: u32, at: Instant) {
        self.entities.lock().unwrap().entry(entity).or_default().answered.push((instance, at, serial));
    }

    /// When a text was committed, once the witness has seen it.
    pub fn committed(&self, entity: u32, serial: u32) -> Option<Instant> {
        let entities = self.entities.lock().unwrap();
        entities.get(&entity)?.commits.iter().find(|commit| commit.serial == serial).map(|commit| commit.at)
    }

    /// Whether an answer is as new as it has to be, once all is known that it may have seen.
    pub async fn check(&self, instance: usize, path: &str, answer: &Answer) -> Result<(), Broken> {
        let Some(position) = answer.position() else { return Ok(()) };
        self.seen(position.number).await;
        let entities = self.entities.lock().unwrap();
        marks(&answer.body).into_iter().try_for_each(|(number, serial)| {
            let Some(entity) = entities.get(&number) else { return Ok(()) };
            entity.check(number, serial, instance, path, answer, position.number)
        })
    }
}

impl Entity {
    fn check(
        &self,
        number: u32,
        shown: u32,
        instance: usize,
        path: &str,
        answer: &Answer,
        position: i64,
    ) -> Result<(), Broken> {
        let broken = |promise, wanted: u32, why: String| {
            Err(Broken::new(
                promise,
                format!(
                    "instance {instance} answered GET {path} at position {position}{} with text {shown} of entity {number}; \
                     text {wanted} {why}.",
                    answer.age().map(|age| format!(" and Age {age}")).unwrap_or_default()
                ),
            ))
        };
        let own = self.answered.iter().rev().find(|(by, at, _)| *by == instance && *at < answer.began);
        if let Some((_, at, wanted)) = own
            && shown < *wanted
        {
            let before = ms(answer.began - *at);
            return broken(
                OWN_WRITE,
                *wanted,
                format!("had been acknowledged there {before} before the request was sent"),
            );
        }
        let is_due = |commit: &&Commit| commit.at + allowed(answer) < answer.began;
        if let Some(due) = self.commits.iter().rev().find(is_due)
            && shown < due.serial
        {
            let before = ms(answer.began - due.at);
            return broken(
                WITHIN_A_SECOND,
                due.serial,
                format!("had been committed {before} before the request was sent"),
            );
        }
        let of_position = self.commits.iter().rev().find(|commit| commit.position <= position);
        match of_position {
            Some(of_position) if shown < of_position.serial => broken(
                AS_ITS_POSITION_SAYS,
                of_position.serial,
                format!("is what position {} made it", of_position.position),
            ),
            _ => Ok(()),
        }
    }
}

/// How old an answer may be: it says so itself where it was kept through an outage.
fn allowed(answer: &Answer) -> Duration {
    answer.age().map_or(BOUND, |age| BOUND + AGE_GRAIN + Duration::from_secs(age))
}

/// What one reader has seen: of each address the newest text of each entity.
#[derive(Default)]
pub struct Memory(HashMap<String, HashMap<u32, u32>>);

impl Memory {
    /// Whether an answer shows nothing older than an earlier one did.
    pub fn check(&mut self, instance: usize, path: &str, answer: &Answer) -> Result<(), Broken> {
        let known = self.0.entry(path.to_owned()).or_default();
        for (entity, serial) in marks(&answer.body) {
            let newest = known.entry(entity).or_insert(serial);
            if serial < *newest {
                return Err(Broken::new(
                    NEVER_BACK,
                    format!(
                        "instance {instance} answered GET {path} with text {serial} of entity {entity}, after the same reader \
                         had seen text {newest} there."
                    ),
                ));
            }
            *newest = serial;
        }
        Ok(())
    }
}

/// Follows the log on connections of its own, past the wires, and writes down what was committed.
pub struct Witness(JoinHandle<()>);

impl Witness {
    pub async fn begin(ground: &Ground, ledger: Arc<Ledger>) -> Self {
        let options: PgConnectOptions = ground.url().parse().unwrap();
        let mut listener = PgListener::connect(&ground.url()).await.unwrap();
        listener.listen("termbase_changes").await.unwrap();
        let mut looking = Looking { connection: ground.connect().await, versions: HashMap::new() };
        looking.look(&ledger).await.unwrap();
        Witness(tokio::spawn(async move {
            loop {
                let _ = timeout(WITHOUT_NOTICE, listener.recv()).await;
                // The database may be away: what was missed is read when it is back.
                if looking.look(&ledger).await.is_err() {
                    tokio::time::sleep(WITHOUT_NOTICE).await;
                    if let Ok(connection) = PgConnection::connect_with(&options).await {
                        looking.connection = connection;
                    }
                }
            }
        }))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Looking {
    connection: PgConnection,
    /// Each change of an entity is a version of it.
    versions: HashMap<Uuid, i64>,
}

impl Looking {
    async fn look(&mut self, ledger: &Ledger) -> Result<(), sqlx::Error> {
        let changes: Vec<(i64, Option<Uuid>, Vec<String>)> =
            sqlx::query_as("select position, entity, keys from changes where position > $1 order by position")
                .bind(ledger.newest())
                .fetch_all(&mut self.connection)
                .await?;
        let Some((newest, ..)) = changes.last() else { return Ok(()) };
        let (newest, at) = (*newest, Instant::now());
        let mut versions = self.versions.clone();
        let mut wanted = Vec::new();
        for (position, entity, _) in &changes {
            let Some(entity) = entity else { continue };
            let version = versions.entry(*entity).or_default();
            *version += 1;
            wanted.push((*position, *entity, *version));
        }
        let texts: Vec<(i64, String)> = sqlx::query_as(
            "select w.position, coalesce(r.document ->> 'definition', r.document ->> 'description', '')
               from unnest($1::bigint[], $2::uuid[], $3::bigint[]) as w (position, entity, version)
               join revisions r on r.entity = w.entity and r.version = w.version
              order by w.position",
        )
        .bind(wanted.iter().map(|row| row.0).collect::<Vec<_>>())
        .bind(wanted.iter().map(|row| row.1).collect::<Vec<_>>())
        .bind(wanted.iter().map(|row| row.2).collect::<Vec<_>>())
        .fetch_all(&mut self.connection)
        .await?;
        self.versions = versions;
        let mut entities = ledger.entities.lock().unwrap();
        for (position, text) in texts {
            for (entity, serial) in marks(text.as_bytes()) {
                let commits = &mut entities.entry(entity).or_default().commits;
                if commits.last().is_none_or(|last| last.serial < serial) {
                    commits.push(Commit { serial, position, at });
                }
            }
        }
        drop(entities);
        ledger.keys.lock().unwrap().extend(changes.into_iter().map(|(position, _, keys)| (position, keys)));
        ledger.newest.send_replace(newest);
        Ok(())
    }
}
