//! Who writes: texts with their marks for the most part, and all else that changes what others show.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    drill::{
        self, Random,
        http::{Answer, Client, Request},
        ledger::{self, BOUND, marks, text},
        report::{Broken, ms},
    },
    scene::{
        CATEGORIES, COMPANIES, Counts, FIRST_CATEGORY, FIRST_COMPANY, FIRST_WANDERER, Scene, TERMS, WANDERERS, address,
        name,
    },
};

pub const AT_ONCE: &str = "with Termbase-After the other instance gives it at once";

const WRITERS: u64 = 4;
/// Between two writes of one writer: about 25 a second of all.
const PAUSE: Duration = Duration::from_millis(120);
/// How often it is asked whether the other instance shows a write.
const PROBE: Duration = Duration::from_millis(2);

pub fn start(scene: &Arc<Scene>) -> Vec<JoinHandle<()>> {
    let start = |number| tokio::spawn(Writer::new(scene.clone(), number).run());
    (1..=WRITERS).map(start).collect()
}

struct Writer {
    scene: Arc<Scene>,
    random: Random,
    clients: [Client; 2],
}

impl Writer {
    fn new(scene: Arc<Scene>, number: u64) -> Self {
        let clients = scene.instances.map(Client::new);
        Writer { scene, random: Random(number * 7_919), clients }
    }

    async fn run(mut self) {
        while !self.scene.verdict.is_over() {
            let scene = self.scene.clone();
            let writing = scene.writing.read().await;
            let instance = if scene.both_are_up() { self.random.below(2) } else { 0 };
            if self.random.below(3) < 2 {
                self.write_text(instance).await;
            } else {
                self.write_other(instance).await;
            }
            drop(writing);
            scene.verdict.pause(PAUSE).await;
        }
    }

    /// A new text for an entity, looked for on the other instance.
    async fn write_text(&mut self, instance: usize) {
        let scene = self.scene.clone();
        let (entity, member) = match self.random.below(12) {
            0 => (FIRST_CATEGORY + self.number(CATEGORIES), "description"),
            1 => (FIRST_COMPANY + self.number(COMPANIES), "description"),
            // A tenth of the terms gets most of the writes.
            2..8 => (self.number(TERMS / 10), "definition"),
            _ => (self.number(TERMS), "definition"),
        };
        let Some(turn) = scene.turns.get(&entity) else { return };
        let mut turn = turn.lock().await;
        *turn += 1;
        let (serial, path) = (*turn, address(entity));
        let watching = (scene.both_are_up() && self.random.below(2) == 0)
            .then(|| tokio::spawn(watch(scene.clone(), 1 - instance, entity, serial)));
        let Some(answer) = self.send(instance, "PATCH", &path, Some(&json!({member: text(entity, serial)}))).await
        else {
            return;
        };
        if answer.status != 200 {
            if let Some(watching) = watching {
                watching.abort();
            }
            return;
        }
        Counts::add(&scene.counts.texts);
        scene.ledger.answered(instance, entity, serial, answer.ended);
        // The answer to a write is a read, after it.
        scene.verdict.take(shows_itself(instance, &path, &answer, entity, serial));
        match watching {
            None if scene.both_are_up() => self.read_after(instance, entity, serial, &answer).await,
            None => {}
            Some(watching) => watching.await.unwrap(),
        }
    }

    /// The other instance gives it at once to who says after what.
    async fn read_after(&mut self, instance: usize, entity: u32, serial: u32, written: &Answer) {
        let Some(position) = written.header("termbase-position") else { return };
        let (scene, path) = (self.scene.clone(), address(entity));
        let headers = [("termbase-after", position)];
        let request = Request { headers: &headers, ..Request::get(&path) };
        let answer = self.clients[1 - instance].send(&request).await.unwrap();
        let shown = marks(&answer.body).into_iter().find(|(shown, _)| *shown == entity).map(|(_, serial)| serial);
        scene.after.add(answer.took());
        // A draft has no page, and shows nothing to anyone.
        if answer.status == 503 || shown.is_some_and(|shown| shown < serial) {
            scene.verdict.broken(Broken::new(
                AT_ONCE,
                format!(
                    "instance {} answered GET {path} with status {} and text {shown:?} after {}, when asked for \
                     position {position}, which has text {serial}.",
                    1 - instance,
                    answer.status,
                    ms(answer.took()),
                ),
            ));
        }
    }

    /// Links, names, slugs, statuses, deletions: what makes other answers stale than the entity's own.
    async fn write_other(&mut self, instance: usize) {
        let (one, other) = (self.number(TERMS), self.number(TERMS));
        let is_on = self.random.below(2) == 0;
        let turn = if is_on { "PUT" } else { "DELETE" };
        match self.random.below(9) {
            0 => self.other(one, instance, turn, &format!("/terms/t{one}/related/t{other}"), None).await,
            1 => {
                let category = format!("c{}", self.number(CATEGORIES));
                self.other(one, instance, "PATCH", &address(one), Some(json!({"category": category}))).await;
            }
            2 => {
                let one = 40 + one % 10;
                let change = if is_on {
                    json!({"status": "published", "replaced_by": []})
                } else {
                    json!({"status": "deprecated", "replaced_by": [format!("t{}", other % 40)]})
                };
                self.other(one, instance, "PATCH", &address(one), Some(change)).await;
            }
            3 => {
                let one = 50 + one % 10;
                let path = address(one);
                if is_on {
                    self.other(one, instance, "POST", &format!("{path}/restore"), None).await;
                } else {
                    self.other(one, instance, "DELETE", &path, None).await;
                }
            }
            4 => {
                let path = format!("/terms/t{one}/aliases?name=OTHER{}", other % 3);
                self.other(one, instance, turn, &path, is_on.then(|| json!({"kind": "acronym"}))).await;
            }
            5 => {
                let name = format!("{} {}", if is_on { name(one) } else { format!("Also {}", name(one)) }, other % 5);
                self.other(one, instance, "PATCH", &address(one), Some(json!({"name": name}))).await;
            }
            6 => self.wander(instance, is_on).await,
            7 => self.write_company(instance, is_on).await,
            _ => self.write_category(instance, is_on).await,
        }
    }

    /// It is at one of the two places; where it is not, the answer leads there, and nothing is written.
    async fn wander(&mut self, instance: usize, is_on: bool) {
        let number = self.number(WANDERERS);
        let (from, to) = if is_on { ("home", "away") } else { ("away", "home") };
        let (path, slug) = (format!("/terms/w{number}-{from}"), format!("w{number}-{to}"));
        self.other(FIRST_WANDERER + number, instance, "PATCH", &path, Some(json!({"slug": slug}))).await;
    }

    async fn write_company(&mut self, instance: usize, is_on: bool) {
        let number = self.number(COMPANIES);
        let path = address(FIRST_COMPANY + number);
        let entity = FIRST_COMPANY + number;
        match self.random.below(3) {
            0 => {
                let name = format!("Company {number}{}", if is_on { " and others" } else { "" });
                self.other(entity, instance, "PATCH", &path, Some(json!({"name": name}))).await;
            }
            1 => {
                let path = format!("{path}/categories/c{}", self.number(CATEGORIES));
                self.other(entity, instance, if is_on { "PUT" } else { "DELETE" }, &path, None).await;
            }
            _ => {
                let path = format!("/terms/t{}/companies/k{number}", self.number(TERMS));
                self.other(entity, instance, if is_on { "PUT" } else { "DELETE" }, &path, None).await;
            }
        }
    }

    async fn write_category(&mut self, instance: usize, is_on: bool) {
        let number = self.number(CATEGORIES);
        let entity = FIRST_CATEGORY + number;
        let change = match self.random.below(3) {
            0 => json!({"name": format!("Category {number}{}", if is_on { " and more" } else { "" })}),
            1 => json!({"rank": self.random.below(10)}),
            _ if number == 3 => json!({"parent": is_on.then_some("c0")}),
            _ => return,
        };
        self.other(entity, instance, "PATCH", &address(entity), Some(change)).await;
    }

    async fn other(&mut self, entity: u32, instance: usize, method: &str, path: &str, body: Option<Value>) {
        let scene = self.scene.clone();
        let Some(turn) = scene.turns.get(&entity) else { return };
        let _turn = turn.lock().await;
        if self.send(instance, method, path, body.as_ref()).await.is_some_and(|answer| answer.status < 300) {
            Counts::add(&scene.counts.others);
        }
    }

    async fn send(&mut self, instance: usize, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let answer = drill::write(&mut self.clients[instance], method, path, body).await;
        let counts = &self.scene.counts;
        match answer {
            Ok(answer) if answer.status == 503 => Counts::add(&counts.refused),
            Ok(answer) => {
                if answer.status >= 300 {
                    Counts::add(&counts.clashes);
                }
                return Some(answer);
            }
            Err(_) => Counts::add(&counts.refused),
        }
        None
    }

    fn number(&mut self, bound: u32) -> u32 {
        u32::try_from(self.random.below(bound as usize)).unwrap()
    }
}

fn shows_itself(instance: usize, path: &str, answer: &Answer, entity: u32, serial: u32) -> Result<(), Broken> {
    let shown = marks(&answer.body).into_iter().filter(|(shown, _)| *shown == entity);
    match shown.map(|(_, serial)| serial).min() {
        Some(shown) if shown < serial => Err(Broken::new(
            ledger::OWN_WRITE,
            format!("instance {instance} answered PATCH {path} with text {shown} where it had written text {serial}."),
        )),
        _ => Ok(()),
    }
}

/// Asks an instance until it shows a text that is being written through the other one, and notes how long after the
/// commit that was.
async fn watch(scene: Arc<Scene>, instance: usize, entity: u32, serial: u32) {
    let (mut client, path, began) = (Client::new(scene.instances[instance]), address(entity), Instant::now());
    while !scene.verdict.is_over() && began.elapsed() < 10 * BOUND {
        let Ok(answer) = client.get(&path).await else { return };
        // It may be a draft, or deleted.
        if answer.status != 200 {
            return;
        }
        scene.verdict.take(scene.ledger.check(instance, &path, &answer).await);
        if marks(&answer.body).into_iter().any(|(shown, newest)| shown == entity && newest >= serial) {
            if let Some(committed) = scene.ledger.committed(entity, serial) {
                scene.visible.add(answer.ended.saturating_duration_since(committed));
            }
            return;
        }
        scene.counts.reads.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PROBE).await;
    }
}
