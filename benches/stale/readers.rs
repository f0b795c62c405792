//! Who reads: every address on both instances, and slugs that come and go.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::{
    drill::{
        self, Random,
        http::{Answer, Client, Request},
        ledger::{BOUND, Memory, text},
        report::{Broken, ms},
    },
    scene::{Counts, Scene, address},
};

pub const SLUGS: &str = "a slug is found once it is there, and gone once it is deleted";
pub const ANSWERS: &str = "whoever reads gets an answer";

const READERS_OF_EACH: u64 = 4;
/// Between two reads of one reader: about 500 a second of all, which leaves the machine room.
const PAUSE: Duration = Duration::from_millis(15);
/// Between two slugs that come and go.
const BETWEEN_SLUGS: Duration = Duration::from_millis(400);
const PROBE: Duration = Duration::from_millis(2);

pub fn start(scene: &Arc<Scene>) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for instance in 0..2 {
        for number in 1..=READERS_OF_EACH {
            tasks.push(tokio::spawn(read(scene.clone(), instance, number)));
        }
    }
    tasks.push(tokio::spawn(come_and_go(scene.clone())));
    tasks
}

/// One reader of one instance. What it sees never goes back.
async fn read(scene: Arc<Scene>, instance: usize, number: u64) {
    let mut client = Client::new(scene.instances[instance]);
    let (mut random, mut memory) = (Random(number * 104_729 + instance as u64), Memory::default());
    while !scene.verdict.is_over() {
        let path = random.of(&scene.addresses);
        let codings = ["identity", "identity", "br", "gzip"];
        let headers = [("accept-encoding", *random.of(&codings))];
        let reading = client.send(&Request { headers: &headers, ..Request::get(path) }).await;
        let Ok(answer) = reading else {
            Counts::add(&scene.counts.refused);
            if scene.both_are_up() && !scene.verdict.is_over() {
                let sentence = format!("GET {path} on instance {instance} got none: {}.", reading.unwrap_err());
                scene.verdict.broken(Broken::new(ANSWERS, sentence));
            }
            scene.verdict.pause(PAUSE).await;
            continue;
        };
        Counts::add(&scene.counts.reads);
        if answer.status == 503 {
            Counts::add(&scene.counts.refused);
        }
        if answer.age().is_some() {
            Counts::add(&scene.counts.aged);
        }
        scene.verdict.take(scene.ledger.check(instance, path, &answer).await);
        scene.verdict.take(memory.check(instance, path, &answer));
        scene.verdict.pause(PAUSE + Duration::from_millis(random.below(6) as u64)).await;
    }
}

/// Makes terms and deletes them, and reads their slugs before, between and after: what was not there is kept as well.
async fn come_and_go(scene: Arc<Scene>) {
    let mut visitor = Visitor { clients: scene.instances.map(Client::new), scene };
    while !visitor.scene.verdict.is_over() {
        let scene = visitor.scene.clone();
        let writing = scene.writing.read().await;
        if scene.both_are_up() {
            let result = visitor.visit().await;
            if !scene.verdict.is_over() {
                scene.verdict.take(result);
            }
        }
        drop(writing);
        scene.verdict.pause(BETWEEN_SLUGS).await;
    }
}

struct Visitor {
    scene: Arc<Scene>,
    clients: [Client; 2],
}

impl Visitor {
    async fn visit(&mut self) -> Result<(), Broken> {
        let number = self.scene.next.fetch_add(1, Ordering::Relaxed);
        let (path, instance) = (address(number), number as usize % 2);
        for _ in 0..2 {
            self.both(instance, &path, 404, None).await?;
        }
        // Every other one is a draft at first, which nobody sees.
        let is_draft = number % 4 < 2;
        let (slug, status) = (format!("new-{number}"), if is_draft { "draft" } else { "published" });
        let name = format!("New {number}");
        let document = json!({
            "slug": slug, "name": name, "definition": text(number, 1), "category": "c2", "related": ["t5"], "status": status,
        });
        let mut written = self.write(instance, "POST", "/terms", Some(&document), 201).await?;
        if is_draft {
            self.both(instance, &path, 404, None).await?;
            let change = json!({"status": "published"});
            written = self.write(instance, "PATCH", &path, Some(&change), 200).await?;
        }
        self.both(instance, &path, 200, Some(written)).await?;
        let other = 1 - instance;
        let written = self.write(other, "DELETE", &path, None, 204).await?;
        self.both(other, &path, 410, Some(written)).await?;
        if number.is_multiple_of(3) {
            let written = self.write(instance, "POST", &format!("{path}/restore"), None, 200).await?;
            self.both(instance, &path, 200, Some(written)).await?;
        }
        Ok(())
    }

    async fn write(
        &mut self,
        instance: usize,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
        status: u16,
    ) -> Result<Instant, Broken> {
        let answer = drill::write(&mut self.clients[instance], method, path, body).await.map_err(|error| {
            Broken::new(ANSWERS, format!("{method} {path} on instance {instance} got none: {error}."))
        })?;
        Counts::add(&self.scene.counts.others);
        if answer.status / 100 == status / 100 {
            return Ok(answer.ended);
        }
        let sentence =
            format!("{method} {path} on instance {instance} was answered with {}: {}", answer.status, answer.text());
        Err(Broken::new(ANSWERS, sentence))
    }

    /// That an instance says so at once, and the other one within a second of the answer to the write.
    async fn both(&mut self, instance: usize, path: &str, status: u16, written: Option<Instant>) -> Result<(), Broken> {
        let answer = self.get(instance, path).await?;
        if answer.status != status {
            let sentence = format!(
                "instance {instance} answered GET {path} with {} at {}, though a write had been acknowledged there that makes \
                 it {status}.",
                answer.status,
                answer.header("termbase-position").unwrap_or("no position"),
            );
            return Err(Broken::new(SLUGS, sentence));
        }
        let other = 1 - instance;
        loop {
            let answer = self.get(other, path).await?;
            let since = written.map_or(Duration::ZERO, |written| answer.began.saturating_duration_since(written));
            if answer.status == status {
                if let Some(written) = written {
                    self.scene.slugs.add(answer.ended.saturating_duration_since(written));
                }
                return Ok(());
            }
            if written.is_none() || since > BOUND {
                let sentence = format!(
                    "instance {other} answered GET {path} with {} at {}, {} after instance {instance} had acknowledged the write \
                     that makes it {status}.",
                    answer.status,
                    answer.header("termbase-position").unwrap_or("no position"),
                    ms(since)
                );
                return Err(Broken::new(SLUGS, sentence));
            }
            tokio::time::sleep(PROBE).await;
        }
    }

    async fn get(&mut self, instance: usize, path: &str) -> Result<Answer, Broken> {
        Counts::add(&self.scene.counts.reads);
        let answer = self.clients[instance].get(path).await;
        answer.map_err(|error| Broken::new(ANSWERS, format!("GET {path} on instance {instance} got none: {error}.")))
    }
}
