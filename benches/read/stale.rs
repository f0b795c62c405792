//! How many answers one write makes stale: those whose keys meet the keys of its change.
//!
//! Every answer that the glossary has is asked for with its `Surrogate-Key`; then something is written, and `/changes` says
//! what it touched.

use std::collections::{HashMap, HashSet};

use reqwest::Method;
use serde_json::{Value, json};

use super::server::{Server, TOKEN};
use crate::{
    glossary::{self, BLOCK, CATEGORIES, COMPANIES},
    stage::{Random, client},
};

/// What one write makes stale.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    pub pages: usize,
    pub lists: usize,
}

pub struct Stale {
    /// How many answers there are.
    pub answers: usize,
    pub kinds: Vec<(&'static str, Vec<Count>)>,
}

/// A request that writes: method, address, and what is sent.
type Write = (Method, String, Value);

/// Writes of one kind: what is counted, and what takes it back, uncounted, so that each begins with the same glossary.
type Kind = (&'static str, fn(usize, usize) -> (Write, Option<Write>));

/// Of terms, by number, in a glossary of so many.
const OF_TERMS: [Kind; 8] = [
    ("the body of a term", |term, _| (patch(term, json!({"body": format!("Another explanation of {term}.")})), None)),
    ("its definition", |term, _| (patch(term, json!({"definition": format!("Another definition of {term}.")})), None)),
    ("its name", |term, _| (patch(term, json!({"name": format!("Another name of {term}")})), None)),
    ("its slug", |term, _| {
        let (old, new) = (format!("term-{term}"), format!("other-{term}"));
        let back = (Method::PATCH, format!("/terms/{new}"), json!({"slug": old}));
        (patch(term, json!({"slug": new})), Some(back))
    }),
    ("its status, to deprecated", |term, terms| {
        let other = glossary::public((term + 7) % terms);
        let back = patch(term, json!({"status": "published", "replaced_by": []}));
        (patch(term, json!({"status": "deprecated", "replaced_by": [format!("term-{other}")]})), Some(back))
    }),
    ("a link of it to another", |term, terms| {
        let link = format!("/terms/term-{term}/related/term-{}", glossary::public((term + 501) % terms));
        ((Method::PUT, link.clone(), Value::Null), Some((Method::DELETE, link, Value::Null)))
    }),
    ("its deletion", |term, _| {
        let back = (Method::POST, format!("/terms/term-{term}/restore"), Value::Null);
        ((Method::DELETE, format!("/terms/term-{term}"), Value::Null), Some(back))
    }),
    ("a new term, published", |term, terms| {
        let document = json!({
            "slug": format!("new-{term}"), "name": format!("A new one, {term}"), "definition": "It is new.", "status": "published",
            "category": format!("category-{}", term / BLOCK * CATEGORIES + term % CATEGORIES),
            "related": [format!("term-{}", glossary::public((term + 3) % terms))],
        });
        ((Method::POST, "/terms".into(), document), None)
    }),
];

/// Of what stands beside the terms, by number.
const OF_OTHERS: [(Kind, usize); 4] = [
    (
        ("the name of a company", |company, _| {
            (of_company(company, json!({"name": format!("Another name {company}")})), None)
        }),
        COMPANIES,
    ),
    (("its description", |company, _| (of_company(company, json!({"description": "Another one."})), None)), COMPANIES),
    (
        ("the name of a category", |category, _| {
            (of_category(category, json!({"name": format!("Another name {category}")})), None)
        }),
        CATEGORIES,
    ),
    (
        ("its description", |category, _| (of_category(category, json!({"description": "Another one."})), None)),
        CATEGORIES,
    ),
];

fn patch(term: usize, patch: Value) -> Write {
    (Method::PATCH, glossary::address(term), patch)
}

fn of_company(company: usize, patch: Value) -> Write {
    (Method::PATCH, format!("/companies/company-{company}"), patch)
}

fn of_category(category: usize, patch: Value) -> Write {
    (Method::PATCH, format!("/categories/category-{category}"), patch)
}

/// Writes `each` of every kind, those that most others refer to first.
pub async fn count(server: &Server, terms: usize, each: usize) -> Stale {
    let mut desk = Desk { server, client: client(), position: String::new() };
    let addresses = desk.addresses(terms).await;
    let mut kinds = Vec::new();
    let mut random = Random(31);
    for (name, write) in OF_TERMS {
        let chosen = choose(each, || glossary::public(random.below(terms)), |term| term % 100 != 35);
        kinds.push((name, desk.kind(&addresses, &chosen, |term| write(term, terms)).await));
    }
    // Each draft once: it is public from then on.
    let drafts: Vec<usize> = (0..terms).filter(|&term| glossary::is_draft(term)).take(each).collect();
    let publish = |term| (patch(term, json!({"status": "published"})), None);
    kinds.push(("the status of a draft, to published", desk.kind(&addresses, &drafts, publish).await));
    for ((name, write), in_block) in OF_OTHERS {
        let others = terms / BLOCK * in_block;
        let chosen = choose(each, || random.below(others), |company| in_block == CATEGORIES || company % 40 != 7);
        kinds.push((name, desk.kind(&addresses, &chosen, |other| write(other, terms)).await));
    }
    Stale { answers: addresses.len(), kinds }
}

/// The first ten, and others by chance, each once.
fn choose(each: usize, mut any: impl FnMut() -> usize, fits: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut chosen: Vec<usize> = (0..10).filter(|&number| fits(number)).take(each).collect();
    // Of few there may be fewer than wanted.
    for _ in 0..20 * each {
        let number = any();
        if chosen.len() < each && fits(number) && !chosen.contains(&number) {
            chosen.push(number);
        }
    }
    chosen
}

struct Desk<'s> {
    server: &'s Server,
    client: reqwest::Client,
    /// Up to where the changes were read.
    position: String,
}

impl Desk<'_> {
    /// Pages and lists: all that a reader finds by following links, but for the further parts of lists.
    async fn addresses(&mut self, terms: usize) -> Vec<String> {
        let blocks = terms / BLOCK;
        let mut addresses: Vec<String> =
            (0..terms).filter(|&term| !glossary::is_draft(term)).map(glossary::address).collect();
        addresses.extend(
            (0..blocks * COMPANIES)
                .filter(|company| company % 40 != 7)
                .map(|company| format!("/companies/company-{company}")),
        );
        addresses.extend((0..blocks * CATEGORIES).map(|category| format!("/categories/category-{category}")));
        let lists = [
            "/terms",
            "/terms?sort=-updated_at",
            "/terms?sort=-published_at",
            "/companies",
            "/categories",
            "/category-tree",
            "/letters",
        ];
        addresses.extend(lists.map(ToOwned::to_owned));
        addresses.extend(('A'..='Z').map(|letter| format!("/terms?letter={letter}")));
        let of_category = |category| ["terms", "companies"].map(|list| format!("/{list}?category=category-{category}"));
        addresses.extend((0..blocks * CATEGORIES).flat_map(of_category));
        self.position = self.changes().await.1;
        addresses
    }

    /// Writes all of one kind, and counts for each which of the answers of before it are stale.
    async fn kind(
        &mut self,
        addresses: &[String],
        chosen: &[usize],
        write: impl Fn(usize) -> (Write, Option<Write>),
    ) -> Vec<Count> {
        let answers = self.answers(addresses).await;
        let mut counts = Vec::new();
        for &number in chosen {
            let (counted, back) = write(number);
            // A link may be there already.
            if !self.write(counted).await {
                continue;
            }
            let keys = self.told().await;
            let stale: HashSet<&str> = keys.iter().filter_map(|key| answers.get(key)).flatten().copied().collect();
            let lists = stale.iter().filter(|address| address.matches('/').count() < 2).count();
            counts.push(Count { pages: stale.len() - lists, lists });
            if let Some(back) = back {
                assert!(self.write(back).await, "what was written is taken back");
                self.told().await;
            }
        }
        counts
    }

    /// The answers that were made from each key.
    async fn answers<'a>(&self, addresses: &'a [String]) -> HashMap<String, Vec<&'a str>> {
        let mut answers: HashMap<String, Vec<&str>> = HashMap::new();
        for address in addresses {
            let response = self.client.get(self.server.url(address)).send().await.unwrap();
            let keys =
                response.headers().get("surrogate-key").unwrap_or_else(|| panic!("{address}: {}", response.status()));
            for key in keys.to_str().unwrap().split(' ') {
                answers.entry(key.to_owned()).or_default().push(address);
            }
            response.bytes().await.unwrap();
        }
        answers
    }

    /// Whether it changes anything.
    async fn write(&self, (method, address, body): Write) -> bool {
        let mut request = self.client.request(method.clone(), self.server.url(&address)).bearer_auth(TOKEN);
        if body != Value::Null {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let position = response.headers().get("termbase-position").cloned();
        assert!(status.is_success(), "{method} {address}: {status} {}", response.text().await.unwrap());
        position.unwrap() != *self.position
    }

    /// All that the changes since the last time touched; at least one there is.
    async fn told(&mut self) -> HashSet<String> {
        let mut keys = HashSet::new();
        loop {
            let (items, position, more) = self.changes().await;
            let touched = items.iter().flat_map(|item| item["keys"].as_array().into_iter().flatten());
            keys.extend(touched.map(|key| key.as_str().unwrap().to_owned()));
            let advanced = position != self.position;
            self.position = position;
            if advanced && !more {
                return keys;
            }
        }
    }

    async fn changes(&self) -> (Vec<Value>, String, bool) {
        let after = if self.position.is_empty() { String::new() } else { format!("&after={}&wait=5", self.position) };
        let address = self.server.url(&format!("/changes?limit=1000{after}"));
        let response = self.client.get(address).bearer_auth(TOKEN).send().await.unwrap();
        let mut page: Value = response.error_for_status().unwrap().json().await.unwrap();
        let Value::Array(items) = page["items"].take() else { panic!("no items") };
        (items, page["position"].as_str().unwrap().to_owned(), page["more"].as_bool().unwrap_or(false))
    }
}
