//! What stays as it was keeps its tag, what changed gets another, and in the end nothing is stale.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use serde_json::json;

use crate::{
    drill::{
        self,
        http::{Answer, Client, Request},
        ledger::BOUND,
        report::Broken,
    },
    scene::{Counts, Scene, address, name},
};

pub const TAGS: &str = "a change gives new tags to exactly the answers that show it";
pub const NOTHING_STAYS_STALE: &str = "nothing stays stale";

/// What one instance answers at every address.
type Shelf = BTreeMap<String, Answer>;

async fn read_all(scene: &Scene, instance: usize) -> Shelf {
    let mut client = Client::new(scene.instances[instance]);
    let mut shelf = Shelf::new();
    for path in &scene.addresses {
        shelf.insert(path.clone(), client.get(path).await.unwrap());
    }
    shelf
}

/// How many tags a rename changed, and how many it left.
pub struct Renamed {
    pub what: String,
    pub changed: usize,
    pub kept: usize,
}

/// Renames terms one after the other while nothing else is written, and compares all tags before and after.
pub async fn rename_some(scene: &Arc<Scene>) -> Result<Vec<Renamed>, Broken> {
    let mut all = Vec::new();
    // One at a time: in place, to another place in the lists, a deprecated one, a draft.
    for (term, new) in
        [(3, "Term 03 of the drill, again"), (10, "Term 57b"), (29, "Term 29 of old"), (28, "Term 28 unseen")]
    {
        let before = [read_all(scene, 0).await, read_all(scene, 1).await];
        let position = scene.ledger.newest();
        let mut client = Client::new(scene.instances[0]);
        let answer = drill::write(&mut client, "PATCH", &address(term), Some(&json!({"name": new}))).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        scene.ledger.seen(answer.position().unwrap().number).await;
        tokio::time::sleep(BOUND).await;
        let rename = Rename { old: name(term), new, touched: scene.ledger.touched_after(position) };
        let mut renamed = Renamed { what: format!("{} to {new}", name(term)), changed: 0, kept: 0 };
        for (instance, shelf) in before.iter().enumerate() {
            let mut client = Client::new(scene.instances[instance]);
            for (path, before) in shelf.iter().filter(|(_, answer)| answer.status == 200) {
                if rename.check(&mut client, instance, path, before).await? {
                    renamed.changed += 1;
                } else {
                    renamed.kept += 1;
                }
            }
        }
        all.push(renamed);
    }
    Ok(all)
}

struct Rename<'r> {
    old: String,
    new: &'r str,
    touched: BTreeSet<String>,
}

impl Rename<'_> {
    /// Whether the answer has another tag now; an error where that is not as it has to be.
    async fn check(&self, client: &mut Client, instance: usize, path: &str, before: &Answer) -> Result<bool, Broken> {
        let headers = [("if-none-match", before.tag())];
        let again = client.send(&Request { headers: &headers, ..Request::get(path) }).await.unwrap();
        let now = client.get(path).await.unwrap();
        let has_changed = again.status == 200;
        let shows = before.text().contains(&self.old) || now.text().contains(self.new);
        let keys: BTreeSet<&str> = before.header("surrogate-key").unwrap_or_default().split(' ').collect();
        let is_touched = self.touched.iter().any(|key| keys.contains(key.as_str()));
        let wrong = if has_changed != shows {
            format!("it {} the name", if shows { "shows" } else { "does not show" })
        } else if has_changed != (before.body != now.body) {
            "its bytes say otherwise".to_owned()
        } else if has_changed && !is_touched {
            format!("none of its keys was touched ({keys:?} by {:?})", self.touched)
        } else if has_changed == (now.tag() == before.tag()) || ![200, 304].contains(&again.status) {
            format!("its tag went from {} to {}, with status {}", before.tag(), now.tag(), again.status)
        } else {
            return Ok(has_changed);
        };
        let to = self.new;
        let did = if has_changed { "has another tag" } else { "kept its tag" };
        let sentence = format!(
            "after the rename of \"{}\" to \"{to}\" GET {path} on instance {instance} {did}, but {wrong}.",
            self.old
        );
        Err(Broken::new(TAGS, sentence))
    }
}

/// What was there when it was last quiet.
#[derive(Default)]
pub struct Quiet([Shelf; 2]);

impl Quiet {
    /// Once nobody has written for a second: what each instance answers is what the database says, tags go with bytes, and
    /// what has not changed since the last time is still known by its tag.
    pub async fn compare(&mut self, scene: &Scene) -> Result<(), Broken> {
        let _quiet = scene.writing.write().await;
        tokio::time::sleep(BOUND).await;
        let position = scene.ledger.newest();
        for (instance, last) in self.0.iter_mut().enumerate() {
            let mut client = Client::new(scene.instances[instance]);
            for path in &scene.addresses {
                if scene.verdict.is_over() {
                    return Ok(());
                }
                let kept = client.get(path).await.unwrap();
                let truth = truth(&mut client, path, &kept, position).await;
                same(instance, path, &kept, &truth)?;
                if kept.status == 200
                    && let Some(before) = last.get(path)
                {
                    known_again(scene, &mut client, instance, path, before, &kept).await?;
                }
                Counts::add(&scene.counts.compared);
                last.insert(path.clone(), kept);
            }
        }
        Ok(())
    }
}

/// The same address from the database, past what is kept.
async fn truth(client: &mut Client, path: &str, kept: &Answer, position: i64) -> Answer {
    let log_id = kept.position().unwrap().log_id;
    let position = termbase::changes::Position { log_id, number: position }.to_string();
    let headers = [("termbase-after", position.as_str())];
    client.send(&Request { headers: &headers, ..Request::get(path) }).await.unwrap()
}

fn same(instance: usize, path: &str, kept: &Answer, truth: &Answer) -> Result<(), Broken> {
    // Suggestions in a 404 may be a minute old.
    let is_same = kept.status == truth.status && (kept.status >= 400 || kept.body == truth.body);
    let headers = ["location", "etag", "link"];
    let differs = headers.into_iter().find(|name| kept.header(name) != truth.header(name));
    if is_same && differs.is_none() && kept.age().is_none() {
        return Ok(());
    }
    let told = |answer: &Answer| {
        format!("{} at {}", answer.status, answer.header("termbase-position").unwrap_or("no position"))
    };
    let what = match (differs, is_same) {
        (Some(name), _) => format!("{name} {:?} and {:?}", kept.header(name), truth.header(name)),
        (None, true) => format!("Age {:?}", kept.age()),
        (None, false) => difference(&kept.text(), &truth.text()),
    };
    Err(Broken::new(
        NOTHING_STAYS_STALE,
        format!(
            "a second after the last write instance {instance} answered GET {path} with {}, and the database with {}: {what}.",
            told(kept),
            told(truth)
        ),
    ))
}

/// Where two texts part, with what stands there.
fn difference(one: &str, other: &str) -> String {
    let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    let from = |text: &str| text.chars().skip(same.saturating_sub(60)).take(120).collect::<String>();
    format!("“…{}…” and “…{}…”", from(one), from(other))
}

/// An answer whose bytes are as before has its old tag, and another one a new tag.
async fn known_again(
    scene: &Scene,
    client: &mut Client,
    instance: usize,
    path: &str,
    before: &Answer,
    now: &Answer,
) -> Result<(), Broken> {
    if before.status != 200 {
        return Ok(());
    }
    let headers = [("if-none-match", before.tag())];
    let again = client.send(&Request { headers: &headers, ..Request::get(path) }).await.unwrap();
    let is_same = before.body == now.body;
    // A new version of an entity is another tag, though the answer may show nothing of what is new in it.
    if is_same && revision(before) != revision(now) {
        return Ok(());
    }
    let wanted = if is_same { 304 } else { 200 };
    if again.status == wanted && (before.tag() == now.tag()) == is_same {
        if is_same {
            scene.counts.not_modified.fetch_add(1, Ordering::Relaxed);
        }
        return Ok(());
    }
    let bytes = if is_same { "are as before" } else { "have changed" };
    Err(Broken::new(
        TAGS,
        format!(
            "instance {instance} answered GET {path} with {} to the tag {}; its bytes {bytes}, and its tag is {}.",
            again.status,
            before.tag(),
            now.tag()
        ),
    ))
}

/// The first part of an entity's tag; a list's has none.
fn revision(answer: &Answer) -> Option<&str> {
    let tag = answer.tag();
    (tag.matches('.').count() == 2).then(|| tag.split('.').next()).flatten()
}
