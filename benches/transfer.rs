//! Import and export of a large glossary, and Postgres' own `COPY` of the same rows into the same tables.
//!
//! `cargo bench --bench transfer` makes a file of 100,000 terms (two aliases, 5 relations and 3 companies each), imports it,
//! exports it, and copies the rows that came of it into empty tables with all their indexes, constraints and triggers.
//! A number as argument makes it so many terms.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is to stop here")]
#![expect(clippy::cast_precision_loss, reason = "figures for a person")]

mod stage;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};

use serde_json::json;
use stage::{Random, Stage};
use termbase::{
    editorial::Mode,
    tokens::Author,
    transfer::{
        export::Export,
        import::{self, Format, Plan, Source},
    },
};

const TERMS: usize = 100_000;
const CATEGORIES: usize = 50;
const COMPANIES: usize = 5_000;

#[tokio::main]
async fn main() {
    let terms = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(TERMS);
    let stage = Stage::set("transfer", 2).await;
    let path = std::env::temp_dir().join(format!("termbase-bench-transfer-{}.ndjson", std::process::id()));
    let documents = write_glossary(&path, terms);
    let before = resident_mib("VmRSS");
    let began = Instant::now();
    let source = Source { name: "glossary".into(), file: File::open(&path).unwrap(), format: Format::Ndjson };
    let plan = Plan { mode: Mode::Create, dry_run: false };
    let verbose = std::env::var_os("VERBOSE").is_some();
    let report = import::import(&stage.state, &Author::program("bench"), None, plan, &[source], &mut |progress| {
        if verbose {
            match progress {
                import::Progress::Read { documents, .. } => {
                    eprintln!("{:.1} read {documents}", began.elapsed().as_secs_f64());
                }
                import::Progress::Done(part) => eprintln!("{:.1} done {}", began.elapsed().as_secs_f64(), part.len()),
            }
        }
    })
    .await
    .unwrap();
    assert!(report.mistakes.is_empty(), "{:?}", report.mistakes.list.first());
    let imported = began.elapsed();
    println!("import   {documents} documents: {:.1} s", imported.as_secs_f64());
    println!("cpu      {:.1} s of this process", cpu_seconds());
    println!("memory   {before} MiB before, {} MiB at most", resident_mib("VmHWM"));
    let began = Instant::now();
    let (mut export, mut bytes) = (Export::begin(&stage.state, false).await.unwrap(), 0);
    while let Some(part) = export.part().await.unwrap() {
        bytes += part.len();
    }
    drop(export);
    println!("export   {:.1} MB: {:.1} s", bytes as f64 / 1e6, began.elapsed().as_secs_f64());
    let copied = copy(&stage).await;
    println!(
        "COPY     of the same rows: {copied:.1} s; the import takes {:.2} times as long",
        imported.as_secs_f64() / copied
    );
    std::fs::remove_file(path).unwrap();
    stage.clear().await;
}

/// Every row that came of the import, in files of Postgres' own, copied into the emptied tables in one transaction.
async fn copy(stage: &Stage) -> f64 {
    let mut connection = stage.connect().await;
    let tables = [
        "revisions",
        "slug_history",
        "categories",
        "companies",
        "company_categories",
        "terms",
        "term_aliases",
        "term_sources",
        "term_companies",
        "term_relations",
        "changes",
        "category_counts",
    ];
    let mut data = Vec::new();
    for table in tables {
        let columns: String = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "select string_agg(quote_ident(column_name), ', ' order by ordinal_position) from information_schema.columns
              where table_name = '{table}' and table_schema = 'public' and is_generated = 'NEVER'"
        )))
        .fetch_one(&mut connection)
        .await
        .unwrap();
        let path = std::env::temp_dir().join(format!("termbase-bench-copy-{}-{table}", std::process::id()));
        let mut file = BufWriter::new(File::create(&path).unwrap());
        {
            use futures_util::TryStreamExt;
            let mut rows = connection
                .copy_out_raw(&format!("copy (select {columns} from {table}) to stdout (format binary)"))
                .await
                .unwrap();
            while let Some(chunk) = rows.try_next().await.unwrap() {
                file.write_all(&chunk).unwrap();
            }
        }
        file.flush().unwrap();
        data.push((table, columns, path));
    }
    sqlx::raw_sql("begin; select set_config('termbase.write', pg_current_xact_id()::text, true);")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("truncate {}", tables.join(", "))))
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::raw_sql("commit; checkpoint; begin; select set_config('termbase.write', pg_current_xact_id()::text, true);")
        .execute(&mut connection)
        .await
        .unwrap();
    let began = Instant::now();
    for (table, columns, path) in &data {
        let each = Instant::now();
        let mut copy =
            connection.copy_in_raw(&format!("copy {table} ({columns}) from stdin (format binary)")).await.unwrap();
        let file = tokio::fs::File::open(path).await.unwrap();
        copy.read_from(file).await.unwrap();
        copy.finish().await.unwrap();
        if std::env::var_os("VERBOSE").is_some() {
            eprintln!("  {table} {:.1} s", each.elapsed().as_secs_f64());
        }
    }
    sqlx::raw_sql("commit").execute(&mut connection).await.unwrap();
    let took = began.elapsed().as_secs_f64();
    data.iter().for_each(|(_, _, path)| std::fs::remove_file(path).unwrap());
    took
}

/// Every term of the same make; relations lead to random others, `broader` only to earlier ones.
fn write_glossary(path: &Path, terms: usize) -> usize {
    let mut random = Random(7);
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut line = |kind: &str, document: serde_json::Value| {
        serde_json::to_writer(&mut file, &json!({"kind": kind, "document": document})).unwrap();
        file.write_all(b"\n").unwrap();
    };
    for number in 0..CATEGORIES {
        line("category", json!({"name": format!("Category {number}"), "description": "One of fifty.", "rank": number}));
    }
    for number in 0..COMPANIES {
        let categories: Vec<String> = (0..CATEGORIES * 400 / COMPANIES)
            .map(|step| format!("category-{}", (number + step * 13) % CATEGORIES))
            .collect();
        line(
            "company",
            json!({
                "name": format!("Company {number}"), "description": "It makes models, and says so in one sentence.",
                "website": format!("https://company-{number}.example"), "country": "DE", "founded_year": 2000,
                "status": "published", "categories": categories,
            }),
        );
    }
    for number in 0..terms {
        let mut others = BTreeSet::new();
        while others.len() < 4 {
            let other = random.below(terms);
            if other != number {
                others.insert(format!("term-{other}"));
            }
        }
        let broader: Vec<String> = (number > 0).then(|| format!("term-{}", random.below(number))).into_iter().collect();
        let related: Vec<&String> = others.iter().filter(|other| !broader.contains(other)).collect();
        line(
            "term",
            json!({
                "slug": format!("term-{number}"), "name": format!("Term {number}"),
                "status": if number % 100 == 50 { "draft" } else { "published" },
                "definition": "A term of a large glossary, which is defined by one sentence of usual length, and then by another.",
                "body": "A paragraph of the explanation, with *emphasis* and a [link](https://example.org).\n\n".repeat(5),
                "category": format!("category-{}", number % CATEGORIES), "related": related, "broader": broader,
                "aliases": [{"name": format!("T{number}"), "kind": "acronym"}, {"name": format!("Expression {number}"), "kind": "synonym"}],
                "companies": (0..3).map(|_| format!("company-{}", random.below(COMPANIES))).collect::<BTreeSet<_>>(),
                "sources": [{"title": "A source", "url": format!("https://example.org/{number}")}],
            }),
        );
    }
    file.flush().unwrap();
    CATEGORIES + COMPANIES + terms
}

/// What this process has computed so far: the rest of the time is Postgres'.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    // In ticks, of which Linux has a hundred a second.
    fields.iter().sum::<u64>() as f64 / 100.0
}

/// What the kernel says of this process's memory.
fn resident_mib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}
