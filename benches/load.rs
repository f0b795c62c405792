//! A large glossary in one write: 100,000 terms of 5 relations each, 50 categories of 400 companies each.
//!
//! `cargo bench --bench load` prints how long that took and the memory it needed. What reading it costs is in
//! `tests/api/plans.rs`.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is to stop here")]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use actix_web::http::header::HeaderValue;
use serde_json::json;
use termbase::{
    categories::CategoryDocument,
    clock::Clock,
    companies::CompanyDocument,
    editorial::{self, Edit, Target},
    postgres::{
        self,
        cluster::{Cluster, Options},
    },
    site::SiteSettings,
    state::{HttpSettings, Origins, State},
    terms::TermDocument,
    tokens::Author,
};

const TERMS: usize = 100_000;
const CATEGORIES: usize = 50;
const COMPANIES: usize = 5_000;

#[tokio::main]
async fn main() {
    let terms = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(TERMS);
    let folder = std::env::temp_dir().join(format!("termbase-bench-{}", std::process::id()));
    let options = Options {
        program: env!("CARGO_BIN_EXE_termbase").into(),
        data_dir: folder.clone(),
        bin_dir: std::env::var_os("PG_BIN_DIR").map(PathBuf::from),
        path: std::env::var_os("PATH"),
        cache_dir: None,
        linger: Duration::ZERO,
    };
    let cluster = std::thread::spawn(move || Cluster::attach(&options, &mut |line| eprintln!("{line}")).unwrap());
    let cluster = cluster.join().unwrap();
    let address = cluster.url("termbase").parse().unwrap();
    postgres::migrate(&address).await.unwrap();
    let pool = postgres::pool(address.clone(), 2);
    let log_id = postgres::log_id(&pool).await.unwrap();
    let http = HttpSettings {
        cache_control: HeaderValue::from_static("no-store"),
        surrogate_keys: false,
        write_origins: Origins::These(Vec::new()),
        require_if_match: false,
        site: SiteSettings::default(),
        request_timeout: Duration::from_secs(10),
        drain_timeout: Duration::ZERO,
        workers: 1,
    };
    let state = State::new(pool, Clock::system(), http, log_id);

    let edits = glossary(terms);
    let before = resident_mib("VmRSS");
    let began = Instant::now();
    let author = Author::program("bench");
    editorial::write(&state, &author, None, async |write| write.apply(edits.clone()).await).await.unwrap();
    println!("write      {} documents in one write: {:.1} s", edits.len(), began.elapsed().as_secs_f64());
    println!("memory     {before} MiB with the documents, {} MiB at most while writing", resident_mib("VmHWM"));
    state.database.close().await;
    drop(cluster);
    let _ = fs::remove_dir_all(folder);
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

/// Marsaglia's xorshift: the same glossary in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}
