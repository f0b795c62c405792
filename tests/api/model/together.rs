//! Several documents in one write, as files are brought in, and more companies than a term's page shows: a public answer
//! that differs before and after it has a key that it touched.
//!
//! `MODEL_SEED` and `MODEL_WRITES` repeat a run, or make a longer one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use termbase::{editorial::Edit, error::Error};
use uuid::Uuid;

use super::{Random, keys::shown, setting};
use crate::support::{TestApp, category, category_again, company, company_again, term, term_again};

const CATEGORIES: usize = 4;
/// More than a term's page shows.
const COMPANIES: usize = 14;
const TERMS: usize = 6;

#[tokio::test]
async fn what_a_write_changes_is_what_it_touches() {
    let seed = setting("MODEL_SEED").unwrap_or(20_261_124);
    let app = TestApp::empty().await;
    let mut model = Model::begin(&app, seed).await;
    for number in 0..setting("MODEL_WRITES").unwrap_or(25) {
        let paths = model.paths();
        let mut before = BTreeMap::new();
        for path in &paths {
            before.insert(path, app.get(path).await);
        }
        let (what, touched) = model.write(&app).await;
        for (path, before) in before {
            assert!(!before.status.is_server_error(), "{path}: {before:?}");
            let is_kept =
                before.headers.contains_key("surrogate-key") && before.keys().iter().all(|key| !touched.contains(key));
            if is_kept {
                let after = app.get(path).await;
                assert_eq!(
                    shown(&before),
                    shown(&after),
                    "seed {seed}, write {number} ({what:?}): {path} is stale; touched {touched:?}"
                );
            }
        }
    }
}

/// One entity: its id, and the document that was written last.
struct Entity {
    id: Uuid,
    document: Value,
}

struct Model {
    random: Random,
    categories: Vec<Entity>,
    companies: Vec<Entity>,
    terms: Vec<Entity>,
    /// Every slug that there ever was, as an address.
    addresses: BTreeSet<String>,
}

impl Model {
    async fn begin(app: &TestApp, seed: u64) -> Self {
        let documents = |count, letter: &str, rest: Value| -> Vec<Value> {
            let document = |number| {
                let mut document = rest.clone();
                document["name"] = json!(format!("{letter}{number}"));
                document["slug"] = document["name"].clone();
                document
            };
            (0..count).map(document).collect()
        };
        let made = async |documents: Vec<Value>, edit: fn(&Value) -> Edit| -> Vec<Entity> {
            let applied = app.write(documents.iter().map(edit).collect()).await.unwrap();
            applied.into_iter().zip(documents).map(|(applied, document)| Entity { id: applied.id, document }).collect()
        };
        let term_rest = json!({"definition": "D.", "category": "c0", "status": "draft"});
        Model {
            random: Random::new(seed),
            categories: made(documents(CATEGORIES, "c", json!({})), category).await,
            companies: made(documents(COMPANIES, "k", json!({"status": "draft"})), company).await,
            terms: made(documents(TERMS, "t", term_rest), term).await,
            addresses: BTreeSet::new(),
        }
    }

    /// Everything that reads: pages by every slug that was ever had and by id, and lists by every filter.
    fn paths(&mut self) -> BTreeSet<String> {
        let slug = |entity: &Entity| entity.document["slug"].as_str().unwrap().to_owned();
        for (plural, entities) in
            [("categories", &self.categories), ("companies", &self.companies), ("terms", &self.terms)]
        {
            for entity in entities {
                self.addresses.insert(format!("/{plural}/{}", slug(entity)));
                self.addresses.insert(format!("/{plural}/{}", entity.id));
            }
        }
        let mut paths = self.addresses.clone();
        paths.extend(
            ["/terms", "/terms?limit=2", "/companies", "/companies?limit=2", "/categories"].map(ToOwned::to_owned),
        );
        for category in &self.categories {
            paths.insert(format!("/terms?category={}&limit=2", slug(category)));
            paths.insert(format!("/companies?category={}", slug(category)));
        }
        paths.extend(self.companies.iter().take(5).map(|company| format!("/terms?company={}&limit=1", slug(company))));
        paths.extend(self.terms.iter().map(|term| format!("/companies?term={}&limit=2", slug(term))));
        paths
    }

    /// Writes one to three entities at once, and says what was changed, and the keys that were touched. What breaks a
    /// rule is refused as a whole, and tried again with something else.
    async fn write(&mut self, app: &TestApp) -> (Vec<String>, BTreeSet<String>) {
        loop {
            let mut picked: BTreeMap<(u64, usize), (String, Value)> = BTreeMap::new();
            for _ in 0..=self.random.below(3) {
                let (kind, count) = [(0, CATEGORIES), (1, COMPANIES), (2, TERMS), (2, TERMS)][self.random.below(4)];
                let index = self.random.below(count);
                let change = match kind {
                    0 => self.change_category(index),
                    1 => self.change_company(index),
                    _ => self.change_term(index),
                };
                picked.insert((kind, index), change);
            }
            let edit = |((kind, index), (_, document)): (&(u64, usize), &(String, Value))| match kind {
                0 => category_again(self.categories[*index].id, document),
                1 => company_again(self.companies[*index].id, document),
                _ => term_again(self.terms[*index].id, document),
            };
            let before: i64 = sqlx::query_scalar("select position from log_head").fetch_one(app.pool()).await.unwrap();
            match app.write(picked.iter().map(edit).collect()).await {
                Err(Error::Refused { .. }) => continue,
                result => drop(result.unwrap()),
            }
            let mut what = Vec::new();
            for ((kind, index), (change, document)) in picked {
                let entities = [&mut self.categories, &mut self.companies, &mut self.terms];
                let [categories, companies, terms] = entities;
                let entity = match kind {
                    0 => &mut categories[index],
                    1 => &mut companies[index],
                    _ => &mut terms[index],
                };
                entity.document = document;
                what.push(change);
            }
            let keys: Vec<String> = sqlx::query_scalar("select unnest(keys) from changes where position > $1")
                .bind(before)
                .fetch_all(app.pool())
                .await
                .unwrap();
            return (what, keys.into_iter().collect());
        }
    }

    fn change_category(&mut self, index: usize) -> (String, Value) {
        let mut document = self.categories[index].document.clone();
        let member = ["parent", "slug", "name", "rank", "description"][self.random.below(5)];
        document[member] = match member {
            "parent" if self.random.below(3) == 0 => Value::Null,
            "parent" => json!(self.categories[self.random.below(CATEGORIES)].id),
            "slug" => json!(format!("c{index}-{}", self.random.below(3))),
            "name" => json!(format!("{}c{index}", self.random.below(9))),
            "rank" => json!(self.random.below(4)),
            _ => json!(format!("{}", self.random.below(9))),
        };
        (format!("category {member}"), document)
    }

    fn change_company(&mut self, index: usize) -> (String, Value) {
        let mut document = self.companies[index].document.clone();
        let member = ["status", "status", "slug", "name", "categories", "country"][self.random.below(6)];
        document[member] = match member {
            "status" => json!("published"),
            "slug" => json!(format!("k{index}-{}", self.random.below(3))),
            "name" => json!(format!("{}k{index}", letter(&mut self.random))),
            "categories" => some(&mut self.random, &self.categories, 3),
            _ => json!(["US", "DE"][self.random.below(2)]),
        };
        (format!("company {member}"), document)
    }

    fn change_term(&mut self, index: usize) -> (String, Value) {
        let mut document = self.terms[index].document.clone();
        let members = [
            "status",
            "status",
            "slug",
            "name",
            "category",
            "related",
            "broader",
            "replaced_by",
            "companies",
            "aliases",
            "definition",
        ];
        let member = members[self.random.below(members.len())];
        document[member] = match member {
            "status" => json!(["published", "published", "deprecated"][self.random.below(3)]),
            "slug" => json!(format!("t{index}-{}", self.random.below(3))),
            "name" => json!(format!("{}t{index}", letter(&mut self.random))),
            "category" => json!(self.categories[self.random.below(CATEGORIES)].id),
            "related" | "broader" => some(&mut self.random, &self.terms, 3),
            "replaced_by" => some(&mut self.random, &self.terms, 2),
            "companies" => some(&mut self.random, &self.companies, COMPANIES),
            "aliases" => {
                let kind = ["acronym", "hidden", "synonym"][self.random.below(3)];
                json!([{"name": format!("X{}", self.random.below(5)), "kind": kind}])
            }
            _ => json!(format!("D{}", self.random.below(9))),
        };
        if document["status"] == "deprecated" && document["replaced_by"].as_array().is_none_or(Vec::is_empty) {
            document["replaced_by"] = json!([self.terms[(index + 1) % TERMS].id]);
        }
        (format!("term {member}"), document)
    }
}

fn letter(random: &mut Random) -> char {
    char::from(b'a' + u8::try_from(random.below(26)).unwrap())
}

/// Some of the entities, by id.
fn some(random: &mut Random, entities: &[Entity], most: usize) -> Value {
    let count = random.below(most + 1);
    let ids: BTreeSet<Uuid> = (0..count).map(|_| random.pick(entities).id).collect();
    json!(ids)
}
