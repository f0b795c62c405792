//! The glossary of the checker, its addresses, and what writers and readers share.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::sync::{Mutex, RwLock};

use crate::drill::{
    ledger::{Ledger, text},
    report::{Times, Verdict},
};

pub const TERMS: u32 = 60;
pub const CATEGORIES: u32 = 4;
pub const COMPANIES: u32 = 6;
/// Terms that change their slug all the time, there and back.
pub const WANDERERS: u32 = 2;
/// Slugs that nothing ever has.
const UNKNOWN: u32 = 8;

/// The numbers of entities, by kind.
pub const FIRST_CATEGORY: u32 = 1_000;
pub const FIRST_COMPANY: u32 = 2_000;
pub const FIRST_WANDERER: u32 = 3_000;
pub const FIRST_NEW: u32 = 10_000;

/// What all tasks of a run share.
pub struct Scene {
    pub instances: [SocketAddr; 2],
    pub ledger: Arc<Ledger>,
    pub verdict: Verdict,
    pub addresses: Vec<String>,
    /// By the number of an entity: whose turn it is to write it, and the serial of its last text.
    pub turns: BTreeMap<u32, Mutex<u32>>,
    /// Held shared by each write, alone by who wants quiet.
    pub writing: RwLock<()>,
    /// Nobody writes through the second instance while it can't answer.
    pub second_is_down: AtomicBool,
    pub counts: Counts,
    /// From the commit until the other instance has shown it.
    pub visible: Times,
    /// How long a read with `Termbase-After` on the other instance took.
    pub after: Times,
    /// From the answer to a creation or a deletion until the other instance has told so.
    pub slugs: Times,
    /// Numbers that are taken once in a run.
    pub next: AtomicU32,
}

#[derive(Default)]
pub struct Counts {
    pub reads: AtomicU64,
    pub texts: AtomicU64,
    pub others: AtomicU64,
    /// Writes that were refused, because another had changed what they were about.
    pub clashes: AtomicU64,
    /// `503`, or no answer.
    pub refused: AtomicU64,
    /// Reads answered with `Age`.
    pub aged: AtomicU64,
    pub compared: AtomicU64,
    pub not_modified: AtomicU64,
}

impl Counts {
    pub fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Scene {
    pub fn new(instances: [SocketAddr; 2], ledger: Arc<Ledger>) -> Self {
        let numbers = (0..TERMS)
            .chain((0..CATEGORIES).map(|number| FIRST_CATEGORY + number))
            .chain((0..COMPANIES).map(|number| FIRST_COMPANY + number))
            .chain((0..WANDERERS).map(|number| FIRST_WANDERER + number));
        Scene {
            instances,
            ledger,
            verdict: Verdict::default(),
            addresses: addresses(),
            turns: numbers.map(|number| (number, Mutex::new(1))).collect(),
            writing: RwLock::default(),
            second_is_down: AtomicBool::new(false),
            counts: Counts::default(),
            visible: Times::default(),
            after: Times::default(),
            slugs: Times::default(),
            next: AtomicU32::new(FIRST_NEW),
        }
    }

    pub fn both_are_up(&self) -> bool {
        !self.second_is_down.load(Ordering::Relaxed)
    }
}

/// Where a term, a category or a company is read.
pub fn address(entity: u32) -> String {
    match entity {
        FIRST_CATEGORY..FIRST_COMPANY => format!("/categories/c{}", entity - FIRST_CATEGORY),
        FIRST_COMPANY..FIRST_WANDERER => format!("/companies/k{}", entity - FIRST_COMPANY),
        FIRST_WANDERER..FIRST_NEW => format!("/terms/w{}-home", entity - FIRST_WANDERER),
        FIRST_NEW.. => format!("/terms/new-{entity}"),
        _ => format!("/terms/t{entity}"),
    }
}

/// The name that a term has at first.
pub fn name(term: u32) -> String {
    format!("Term {term:02} of the drill")
}

/// What there is at the beginning, in the order of the references.
pub fn documents() -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for number in 0..CATEGORIES {
        let parent = (number == 1).then_some("c0");
        let description = text(FIRST_CATEGORY + number, 1);
        let name = format!("Category {number}");
        let slug = format!("c{number}");
        let document =
            json!({"slug": slug, "name": name, "description": description, "parent": parent, "rank": number});
        all.push(("category", document));
    }
    for number in 0..COMPANIES {
        let description = text(FIRST_COMPANY + number, 1);
        let categories = [format!("c{}", number % CATEGORIES)];
        let (slug, name) = (format!("k{number}"), format!("Company {number}"));
        let document = json!({
            "slug": slug, "name": name, "description": description, "status": "published", "categories": categories,
        });
        all.push(("company", document));
    }
    for number in 0..TERMS {
        let status = match number % 15 {
            13 => "draft",
            14 => "deprecated",
            _ => "published",
        };
        let related = [format!("t{}", (number + 1) % TERMS), format!("t{}", (number + 7) % TERMS)];
        let replaced_by: Vec<&str> = (status == "deprecated").then_some("t0").into_iter().collect();
        let broader: Vec<String> = (number > 3).then(|| format!("t{}", number / 3)).into_iter().collect();
        all.push((
            "term",
            json!({
                "slug": format!("t{number}"), "name": name(number), "definition": text(number, 1), "status": status,
                "body": "A paragraph of the explanation, with *emphasis* and a [link](https://example.org).\n\n".repeat(5),
                "category": format!("c{}", number % CATEGORIES), "related": related, "broader": broader,
                "replaced_by": replaced_by,
                "companies": [format!("k{}", number % COMPANIES)],
                "aliases": [{"name": format!("T{number}D"), "kind": "acronym"}],
            }),
        ));
    }
    for number in 0..WANDERERS {
        let entity = FIRST_WANDERER + number;
        let (slug, name) = (format!("w{number}-home"), format!("Wanderer {number}"));
        let definition = text(entity, 1);
        let document = json!({
            "slug": slug, "name": name, "definition": definition, "status": "published", "category": "c0", "related": ["t0"],
        });
        all.push(("term", document));
    }
    all
}

/// All that is read.
fn addresses() -> Vec<String> {
    let mut all: Vec<String> = (0..TERMS).map(address).collect();
    all.extend((0..6).map(|number| format!("/terms/t{number}.jsonld")));
    all.extend((0..CATEGORIES).map(|number| address(FIRST_CATEGORY + number)));
    all.extend((0..COMPANIES).map(|number| address(FIRST_COMPANY + number)));
    all.extend((0..WANDERERS).flat_map(|number| ["home", "away"].map(|place| format!("/terms/w{number}-{place}"))));
    all.extend((0..UNKNOWN).map(|number| format!("/terms/nothing-{number}")));
    let lists = [
        "/terms",
        "/terms?limit=5",
        "/terms?limit=100",
        "/terms?category=c0",
        "/terms?category=c1",
        "/terms?category=c2&limit=3",
        "/terms?letter=T",
        "/terms?letter=W",
        "/terms?sort=-updated_at&limit=5",
        "/terms?status=deprecated",
        "/terms?related_to=t1",
        "/terms?related_to=t10",
        "/terms?company=k1",
        "/terms?slugs=t1,t2,t52,nothing",
        "/letters",
        "/letters?category=c0",
        "/categories",
        "/category-tree",
        "/companies",
        "/companies?limit=2",
        "/companies?category=c1",
        "/companies?term=t2",
    ];
    all.extend(lists.map(str::to_owned));
    all
}
