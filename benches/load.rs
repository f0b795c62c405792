//! A large glossary in one write: 100,000 terms of 5 relations each, 50 categories of 400 companies each.
//!
//! `cargo bench --bench load` prints how long that took and the memory it needed. What reading it costs is in
//! `tests/api/plans.rs`.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is to stop here")]

mod stage;

use std::{fs, time::Instant};

use serde_json::json;
use stage::{Random, Stage};
use termbase::{
    categories::CategoryDocument,
    companies::CompanyDocument,
    editorial::{self, Edit, Target},
    terms::TermDocument,
    tokens::Author,
};

const TERMS: usize = 100_000;
const CATEGORIES: usize = 50;
const COMPANIES: usize = 5_000;

#[tokio::main]
async fn main() {
    let terms = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(TERMS);
    let stage = Stage::set("load", 2).await;
    let edits = glossary(terms);
    let before = resident_mib("VmRSS");
    let began = Instant::now();
    let author = Author::program("bench");
    editorial::write(&stage.state, &author, None, async |write| write.apply(edits.clone()).await).await.unwrap();
    println!("write      {} documents in one write: {:.1} s", edits.len(), began.elapsed().as_secs_f64());
    println!("memory     {before} MiB with the documents, {} MiB at most while writing", resident_mib("VmHWM"));
    stage.clear().await;
}

/// Every term of the same make; relations lead to random others, `broader` only to earlier ones.
fn glossary(terms: usize) -> Vec<Edit> {
    let mut random = Random(7);
    let mut edits = Vec::new();
    for number in 0..CATEGORIES {
        let document = json!({"name": format!("Category {number}"), "description": "One of fifty.", "rank": number});
        edits.push(Edit::Category(Target::New, CategoryDocument::parse(&document).unwrap()));
    }
    for number in 0..COMPANIES {
        let categories: Vec<String> = (0..CATEGORIES * 400 / COMPANIES)
            .map(|step| format!("category-{}", (number + step * 13) % CATEGORIES))
            .collect();
        let document = json!({
            "name": format!("Company {number}"), "description": "It makes models, and says so in one sentence.",
            "website": format!("https://company-{number}.example"), "country": "DE", "founded_year": 2000,
            "status": "published", "categories": categories,
        });
        edits.push(Edit::Company(Target::New, CompanyDocument::parse(&document).unwrap()));
    }
    for number in 0..terms {
        let mut others = std::collections::BTreeSet::new();
        while others.len() < 4 {
            let other = random.below(terms);
            if other != number {
                others.insert(format!("term-{other}"));
            }
        }
        let broader: Vec<String> = (number > 0).then(|| format!("term-{}", random.below(number))).into_iter().collect();
        let related: Vec<&String> = others.iter().filter(|other| !broader.contains(other)).collect();
        let document = json!({
            "slug": format!("term-{number}"), "name": format!("Term {number}"),
            "status": if number % 100 == 50 { "draft" } else { "published" },
            "definition": "A term of a large glossary, which is defined by one sentence of usual length, and then by another.",
            "body": "A paragraph of the explanation, with *emphasis* and a [link](https://example.org).\n\n".repeat(5),
            "category": format!("category-{}", number % CATEGORIES), "related": related, "broader": broader,
            "aliases": [{"name": format!("T{number}"), "kind": "acronym"}],
            "companies": (0..3).map(|_| format!("company-{}", random.below(COMPANIES))).collect::<std::collections::BTreeSet<_>>(),
            "sources": [{"title": "A source", "url": format!("https://example.org/{number}")}],
        });
        edits.push(Edit::Term(Target::New, TermDocument::parse(&document).unwrap()));
    }
    edits
}

/// What the kernel says of this process's memory.
fn resident_mib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}
