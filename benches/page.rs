//! A term's page on a large glossary: 100,000 terms of 5 relations each, 50 categories of 400 companies each.
//!
//! `cargo bench --bench page` writes them by the one write, and prints how long that took and the memory it needed; then
//! the plan of the page's prepared statement for 200 random slugs: planning and execution in milliseconds, and every
//! table of more than 1,000 rows that was read whole (there must be none).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that fails is to stop here")]

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use actix_web::http::header::HeaderValue;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use termbase::{
    categories::CategoryDocument,
    clock::Clock,
    companies::CompanyDocument,
    editorial::{self, Edit, Kind, Target},
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
const PAGES: usize = 200;

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
    let (applied, _) =
        editorial::write(&state, &author, None, async |write| write.apply(edits.clone()).await).await.unwrap();
    println!("write      {} documents in one write: {:.1} s", edits.len(), began.elapsed().as_secs_f64());
    println!("memory     {before} MiB with the documents, {} MiB at most while writing", resident_mib("VmHWM"));
    drop(edits);
    let trash = applied.iter().skip(CATEGORIES + COMPANIES).step_by(100);
    let deletions: Vec<Edit> = trash.map(|applied| Edit::Delete(Kind::Term, applied.id)).collect();
    editorial::write(&state, &author, None, async |write| write.apply(deletions.clone()).await).await.unwrap();

    let mut connection = PgConnection::connect_with(&address).await.unwrap();
    sqlx::raw_sql("vacuum analyze").execute(&mut connection).await.unwrap();
    explain(&mut connection, terms, "the page", "category!: Json<CategoryTrail>", |term| {
        format!("'term-{term}', null, false")
    })
    .await;
    explain(&mut connection, terms, "the closest slugs", "as \"suggestions!\"", |term| {
        format!("'term', 'trem-{term}', 'trem {term}'")
    })
    .await;
    explain(&mut connection, terms, "where an address leads", "and (h.public or $4)", |term| {
        format!("'term', 'term-{term}', null, true")
    })
    .await;
    // Lists are planned for their filters.
    sqlx::raw_sql("set plan_cache_mode = force_custom_plan").execute(&mut connection).await.unwrap();
    explain(&mut connection, terms, "a page of drafts", "from live_term_cards\n         where status = $4", |term| {
        format!("'term {term}', '00000000-0000-0000-0000-000000000000', 21, 'draft'")
    })
    .await;
    explain(
        &mut connection,
        terms,
        "a page of published terms",
        "from live_term_cards\n         where status = $4",
        |term| format!("'term {term}', '00000000-0000-0000-0000-000000000000', 21, 'published'"),
    )
    .await;
    explain(&mut connection, terms, "a page of the trash", "r.author as deleted_by", |_| {
        "now(), '00000000-0000-0000-0000-000000000000', 21".into()
    })
    .await;
    connection.close().await.unwrap();
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

/// A statement, as the committed check of it has it.
fn statement(mark: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx");
    let queries = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let queries =
        queries.map(|text| serde_json::from_str::<Value>(&text).unwrap()["query"].as_str().unwrap().to_owned());
    queries.into_iter().find(|query| query.contains(mark)).unwrap()
}

/// The plans of one statement for random terms; `mark` is what tells it from the others.
async fn explain(connection: &mut PgConnection, terms: usize, title: &str, mark: &str, arguments: fn(usize) -> String) {
    println!("{title}:");
    let prepare = format!("deallocate all; prepare read as {}", statement(mark));
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
    let large: Vec<String> =
        sqlx::query_scalar("select relname::text from pg_class where relkind = 'r' and reltuples > 1000")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    let mut random = Random(11);
    let (mut planning, mut execution, mut both, mut whole) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAGES {
        let explain =
            format!("explain (analyze, buffers, format json) execute read ({})", arguments(random.below(terms)));
        let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&mut *connection).await.unwrap();
        let (plans, executes) =
            (plan[0]["Planning Time"].as_f64().unwrap(), plan[0]["Execution Time"].as_f64().unwrap());
        planning.push(plans);
        execution.push(executes);
        both.push(plans + executes);
        read_whole(&plan[0]["Plan"], &large, &mut whole);
    }
    for (name, times) in [("planning", &mut planning), ("execution", &mut execution), ("both", &mut both)] {
        times.sort_by(f64::total_cmp);
        let at = |share: usize| times[(PAGES - 1) * share / 100];
        println!("  {name:<10} median {:.3} ms, 95 of 100 within {:.3} ms, worst {:.3} ms", at(50), at(95), at(100));
    }
    whole.sort();
    whole.dedup();
    println!("  read whole: tables over 1,000 rows: {whole:?}");
    assert!(whole.is_empty());
}

fn read_whole(plan: &Value, large: &[String], found: &mut Vec<String>) {
    if let (Some("Seq Scan"), Some(table)) = (plan["Node Type"].as_str(), plan["Relation Name"].as_str())
        && large.iter().any(|name| name == table)
    {
        found.push(table.to_owned());
    }
    plan["Plans"].as_array().into_iter().flatten().for_each(|plan| read_whole(plan, large, found));
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
