//! The plan of every statement that reads, on a large glossary: no table is read whole where an index serves, and a deep
//! page costs what the first one does. It counts blocks, never seconds.
//!
//! `PLANS_TERMS=100000 cargo test plans -- --nocapture` prints the times, too.

use std::{collections::BTreeMap, fs};

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::support::{Content, Database, setting};

/// How often a statement is run; the middle one of its times counts.
const RUNS: usize = 5;
/// Tables with fewer rows may be read whole.
const LARGE_ROWS: i32 = 1_000;
/// More blocks than the first page, for the levels of an index and where a page of items happens to lie.
const DEEPER_BLOCKS: u64 = 60;

#[tokio::test]
async fn no_read_grows_with_the_glossary() {
    let (database, terms) = (Database::create(Content::Nothing).await, setting("PLANS_TERMS", 20_000));
    let mut connection = database.connect().await;
    let fill = include_str!("plans.sql").replace("20_000", &terms.to_string());
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut connection).await.unwrap();
    // As in a snapshot: each plan for its values.
    sqlx::raw_sql("set plan_cache_mode = force_custom_plan").execute(&mut connection).await.unwrap();
    sqlx::raw_sql("vacuum analyze").execute(&mut connection).await.unwrap();
    let mut plans = Plans::new(connection).await;
    plans.lists_of_terms().await;
    plans.lists_of_companies().await;
    plans.pages().await;
    plans.rest().await;
    plans.searches().await;
    plans.end();
}

struct Plans {
    connection: PgConnection,
    /// What the committed checks of the queries have, and whether it was looked at.
    statements: BTreeMap<String, bool>,
    large: Vec<String>,
    faults: Vec<String>,
}

/// What a list is narrowed to: as a plain condition, and as the arguments `$1` to `$7` of its statements.
struct Narrowed {
    title: &'static str,
    condition: &'static str,
    arguments: [&'static str; 7],
}

const PUBLISHED: &str = "'published'";
const IN_TREE: &str = "(select array_agg(id) from categories where id = category(0) or parent_id = category(0))";
const KNOWN: &str = "(select array_agg(term_id) from term_companies where company_id = company(0))";
const RELATED: &str = "(select array_agg(other) from term_relations where owner = term(9) and kind = 'related')";
/// The last hundredth of what was changed.
const SINCE: &str = "(select max(updated_at) - (max(updated_at) - min(updated_at)) / 100 from terms)";

const NARROWED: [Narrowed; 13] = [
    of("all", "true", [PUBLISHED, "null", "null", "null", "null", "null", "null"]),
    of("deprecated", "true", ["'deprecated'", "null", "null", "null", "null", "null", "null"]),
    of("drafts", "true", ["'draft'", "null", "null", "null", "null", "null", "null"]),
    of(
        "a category",
        "category_id = category(20)",
        [PUBLISHED, "array[category(20)]", "null", "null", "null", "null", "null"],
    ),
    of("ten categories", "category_id = any($2)", [PUBLISHED, IN_TREE, "null", "null", "null", "null", "null"]),
    of("a company", "id = any($3)", [PUBLISHED, "null", KNOWN, "null", "null", "null", "null"]),
    of(
        "a company in a category",
        "id = any($3) and category_id = category(20)",
        [PUBLISHED, "array[category(20)]", KNOWN, "null", "null", "null", "null"],
    ),
    of("related", "id = any($3)", [PUBLISHED, "null", RELATED, "null", "null", "null", "null"]),
    of("a letter", "name_key >= 's' and name_key < 't'", [PUBLISHED, "null", "null", "'s'", "'t'", "null", "null"]),
    of("no letter", "(name_key < 'a' or name_key >= '{')", [PUBLISHED, "null", "null", "null", "'a'", "'{'", "null"]),
    of(
        "no letter of ten categories",
        "category_id = any($2) and (name_key < 'a' or name_key >= '{')",
        [PUBLISHED, IN_TREE, "null", "null", "'a'", "'{'", "null"],
    ),
    of("changed since", "updated_at >= $7", [PUBLISHED, "null", "null", "null", "null", "null", SINCE]),
    of(
        "changed since, of ten categories",
        "updated_at >= $7 and category_id = any($2)",
        [PUBLISHED, IN_TREE, "null", "null", "null", "null", SINCE],
    ),
];

const fn of(title: &'static str, condition: &'static str, arguments: [&'static str; 7]) -> Narrowed {
    Narrowed { title, condition, arguments }
}

/// What selects, but for a write, a start, or a table that stays small.
const NO_READS: [&str; 31] = [
    "pg_export_snapshot",
    // Of a large write: it looks at all that it brings.
    "incoming",
    // Of an export, a thousand by their keys: it looks at everything, whatever the plan.
    "limit $3)) e order by slug",
    "select address as \"address!\"",
    "and category_id = $2 and deleted_at is null union all select id, slug from categories",
    "from slug_history h where h.entity = any($1)",
    "from revisions where entity = any($1) order by entity",
    "for no key update",
    "set_config(",
    "pg_cancel_backend",
    "with more as (",
    "'term' as \"kind!\"",
    "(h.slug || '') % $2 order by similarity",
    "coalesce(t.name, c.name, k.name)",
    "status <> 'draft' and deleted_at is null union all select id from companies",
    "as \"in_trash!\"",
    "any($1) union all select other, owner",
    "t.name_key = any($2)",
    "with recursive up (list, id)",
    "document ->> 'slug'",
    "id = any($2) order by version desc",
    "idempotency_keys",
    "log_head",
    "api_tokens",
    "as \"newest!\"",
    "as \"any!\"",
    "as \"behind!\"",
    "server_version_num",
    "_sqlx_migrations",
    "from term_cards t order by (select count(*) from term_relations",
    // Removes what is old, from its oldest end on.
    "delete from changes",
];

/// What one run of a statement took.
struct Figures {
    blocks: u64,
    planning: f64,
    execution: f64,
}

impl Plans {
    async fn new(mut connection: PgConnection) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/.sqlx");
        let files = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        let query = |text: String| serde_json::from_str::<Value>(&text).unwrap()["query"].as_str().unwrap().to_owned();
        let statements = files.map(|text| (query(text), false)).collect();
        let large = sqlx::query_scalar("select relname::text from pg_class where relkind = 'r' and reltuples > $1")
            .bind(LARGE_ROWS)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        println!("{:60} {:>7} {:>10} {:>10}", "", "blocks", "plan, ms", "run, ms");
        Plans { connection, statements, large, faults: Vec::new() }
    }

    async fn lists_of_terms(&mut self) {
        for (column, kind) in [("name_key", "text"), ("updated_at", "timestamptz"), ("published_at", "timestamptz")] {
            for (than, down) in [(">", ""), ("<", " desc")] {
                for narrowed in &NARROWED {
                    if narrowed.title == "drafts" && column == "published_at" {
                        continue;
                    }
                    let arguments = self.values(&narrowed.arguments).await;
                    let place = self.deep(narrowed, &arguments, column, kind, down).await;
                    let mark = format!("(t.{column}, t.id) {than} ($8, $9)");
                    let title = format!("terms, {}, by {column}{down}", narrowed.title);
                    let first = format!("{}, null, null, 21", arguments.join(", "));
                    let deep = format!("{}, {place}, 21", arguments.join(", "));
                    self.first_and_deep(&title, &mark, &first, &deep).await;
                }
            }
        }
        for narrowed in &NARROWED {
            let arguments = self.values(&narrowed.arguments).await.join(", ");
            self.explain(
                &format!("terms, {}, total", narrowed.title),
                "count(*) as \"total!\" from terms t\n",
                &arguments,
            )
            .await;
        }
        for (title, below) in [("all", "null"), ("ten categories", IN_TREE)] {
            let below = self.values(&[below]).await;
            self.explain(&format!("letters, {title}"), "as \"letter!\", count(*)", &below[0]).await;
        }
    }

    async fn lists_of_companies(&mut self) {
        let term = "term(9), category(9)";
        for (title, category, term, country) in [
            ("all", "null", "null, null", "null"),
            ("a category", "category(20)", "null, null", "null"),
            ("a country", "null", "null, null", "'DE'"),
            ("a category and a country", "category(20)", "null, null", "'DE'"),
            ("a term", "null", term, "null"),
            ("a term and a country", "null", term, "'DE'"),
        ] {
            let narrowed = format!("'published', {category}, {term}, {country}");
            let nil = "'00000000-0000-0000-0000-000000000000'";
            let rank = i32::from(title.contains("a term"));
            self.first_and_deep(
                &format!("companies, {title}"),
                "first.rank as \"rank!\"",
                &format!("{narrowed}, 0, '', {nil}, 21"),
                &format!("{narrowed}, {rank}, 'company 4', {nil}, 21"),
            )
            .await;
            self.explain(
                &format!("companies, {title}, total"),
                "when $2::uuid is null and $3::uuid is null then",
                &narrowed,
            )
            .await;
        }
    }

    async fn pages(&mut self) {
        for (title, mark, arguments) in [
            ("the page of a term", "category!: Json<CategoryTrail>", "'term-76', null, false"),
            ("the page of a category", "children!: Json<Vec<CategoryCard>>", "'category-0', null"),
            ("the page of a company", "where l.company_id = k.id) as \"categories!", "'company-7', null, false"),
            ("a category and those below", "with recursive below (id, depth)", "category(0)"),
            ("the terms of a company", "with related (id)", "company(0), null"),
            ("the terms related to one", "with related (id)", "null, term(9)"),
            ("the category of a term", "select category_id from terms", "term(9)"),
            ("all categories", "items!: Json<Vec<CategoryCard>>", ""),
            (
                "a hundred slugs",
                "json_build_array(a.number, ",
                &format!(
                    "array[{}], array_fill(null::uuid, array[100])",
                    (1..=100).map(|n| format!("'term-{n}'")).collect::<Vec<_>>().join(", ")
                ),
            ),
            ("where an address leads", "and (h.public or $4)", "'term', 'term-76', null, true"),
            ("where an id leads", "and (h.public or $4)", "'company', null, company(7), false"),
            ("the closest slugs", "as \"suggestions!\"", "'term', 'trem-77', 'trem 77'"),
        ] {
            self.explain(title, mark, arguments).await;
        }
    }

    async fn rest(&mut self) {
        let nil = "'00000000-0000-0000-0000-000000000000'";
        for (title, mark, arguments) in [
            (
                "the document of a term",
                "as \"sources!: Json<Vec<Source>>\"\n              from terms t where t.id = any",
                "array[term(77)]",
            ),
            (
                "the document of a category",
                "name, description, parent_id, rank, version, revision_id",
                "array[category(7)]",
            ),
            ("the document of a company", "order by l.category_id) as \"categories!\"", "array[company(7)]"),
            (
                "the references of a document",
                "slug_history where entity = any($4)",
                "array['term-77'], array['category-7'], array['company-7'], array[term(77)]",
            ),
            (
                "the slugs of a document",
                "'term' as \"kind!\", slug as \"slug!\"",
                "array[term(77)], array[category(7)], array[company(7)]",
            ),
            ("revisions", "and version < $2", "term(77), 9, 21"),
            ("revisions, total", "count(*) as \"total!\" from revisions", "term(77)"),
            ("a revision", "and version = $2", "term(77), 1"),
            ("the trash", "as \"deleted_by!\"", &format!("now(), {nil}, 21")),
            ("the trash, total", "from terms where deleted_at is not null)\n", ""),
            ("a term for a page of a site", "as \"aliases!\"", "'term-76', null, false"),
            ("a part of the sitemap", "where id >= $1 and status <> 'draft'", &format!("{nil}, 10000")),
            ("the sitemap's index", "/ $1 as part", "10000"),
            ("the feed", "c.name as category_name", "50"),
            ("the log, from a position on", "from changes\n         where position >= $1", "1, 1000"),
            ("the end of the log", "select position, id from changes order by position desc", ""),
            ("the position", "coalesce(max(position), 0) as \"position!\" from changes", ""),
        ] {
            self.explain(title, mark, arguments).await;
        }
    }

    /// As searching has it: one plan for whatever is asked.
    async fn searches(&mut self) {
        sqlx::raw_sql("set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set pg_trgm.similarity_threshold = 0.25")
            .execute(&mut self.connection)
            .await
            .unwrap();
        let below = self.values(&[IN_TREE]).await;
        for (title, asked, narrowed) in [
            ("a letter", "s", "null, null"),
            ("the beginning of a name", "s wo", "null, null"),
            ("words of names", "word", "null, null"),
            ("a misspelt name", "b wrod 3", "null, null"),
            ("an acronym", "t77", "null, null"),
            ("words of all texts", "glossary sentence", "null, null"),
            ("a company", "company 7", "'company', null"),
            ("words of ten categories", "dimensions", &format!("null, {}", below[0])),
        ] {
            let alone = !asked.contains(' ');
            let arguments = format!("'{asked}', '{asked}', 'published', {narrowed}, 1000, true, true, {alone}");
            self.explain(&format!("search, {title}"), "name_query($1)", &arguments).await;
        }
        sqlx::raw_sql("set pg_trgm.word_similarity_threshold = 0.4").execute(&mut self.connection).await.unwrap();
        self.explain("search, a misspelt part of a name", "n.name_key %> $1", "'wrod', 'published', null, null").await;
        let shown = "(select array_agg(term(n)) || array_agg(company(n)) from generate_series(1, 10) n)";
        let ids = self.values(&[shown, "array[term(1), term(2)]", "array[category(0)]"]).await.join(", ");
        self.explain("search, what is shown", "select unnest($3::uuid[]) union", &ids).await;
    }

    /// The values of some expressions, as literals: a statement gets its arguments ready.
    async fn values(&mut self, expressions: &[&str]) -> Vec<String> {
        let columns: Vec<String> = expressions.iter().map(|one| format!("({one})::text")).collect();
        let row = format!("select array[{}]", columns.join(", "));
        let values: Vec<Option<String>> =
            sqlx::query_scalar(AssertSqlSafe(row)).fetch_one(&mut self.connection).await.unwrap();
        values.into_iter().map(|value| value.map_or("null".into(), |value| format!("'{value}'"))).collect()
    }

    /// Key and id of the item after nine tenths of a list.
    async fn deep(
        &mut self,
        narrowed: &Narrowed,
        arguments: &[String],
        column: &str,
        kind: &str,
        down: &str,
    ) -> String {
        let mut condition = narrowed.condition.to_owned();
        for (number, kind) in [(2, "uuid[]"), (3, "uuid[]"), (7, "timestamptz")] {
            condition = condition.replace(&format!("${number}"), &format!("{}::{kind}", arguments[number - 1]));
        }
        let wanted = format!("status = {} and deleted_at is null and {condition}", arguments[0]);
        let row = format!(
            "select format('%L::{kind}, %L', {column}, id) from terms where {wanted}
              order by {column}{down}, id{down} limit 1 offset (select count(*) * 9 / 10 from terms where {wanted})"
        );
        sqlx::query_scalar(AssertSqlSafe(row)).fetch_one(&mut self.connection).await.unwrap()
    }

    async fn first_and_deep(&mut self, title: &str, mark: &str, first: &str, deep: &str) {
        let first = self.explain(title, mark, first).await.blocks;
        let deep = self.explain(&format!("{title}, deep"), mark, deep).await.blocks;
        if deep > 3 * first + DEEPER_BLOCKS {
            self.faults.push(format!("{title}: {deep} blocks for a deep page, {first} for the first"));
        }
    }

    /// Runs the statement that `mark` tells from all others.
    async fn explain(&mut self, title: &str, mark: &str, arguments: &str) -> Figures {
        let mut found = self.statements.iter_mut().filter(|(statement, _)| statement.contains(mark));
        let (statement, looked_at) = found.next().unwrap_or_else(|| panic!("{title}: no statement has {mark}"));
        assert!(found.next().is_none(), "{title}: two statements have {mark}");
        *looked_at = true;
        let prepare = format!("prepare read as {statement}");
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut self.connection).await.unwrap();
        let arguments = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
        let explain = format!("explain (analyze, buffers, format json) execute read{arguments}");
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain.clone()))
                .persistent(false)
                .fetch_one(&mut self.connection)
                .await
                .unwrap();
            runs.push(plan[0].clone());
        }
        sqlx::raw_sql("deallocate read").execute(&mut self.connection).await.unwrap();
        runs.sort_by(|a, b| f64::total_cmp(&time(a, "Execution Time"), &time(b, "Execution Time")));
        let plan = &runs[RUNS / 2];
        let root = &plan["Plan"];
        let blocks = root["Shared Hit Blocks"].as_u64().unwrap() + root["Shared Read Blocks"].as_u64().unwrap();
        let figures =
            Figures { blocks, planning: time(plan, "Planning Time"), execution: time(plan, "Execution Time") };
        println!("{title:60} {:>7} {:>10.2} {:>10.2}", figures.blocks, figures.planning, figures.execution);
        read_whole(root, &self.large, title, &mut self.faults);
        figures
    }

    fn end(mut self) {
        let others = self.statements.iter().filter(|(_, looked_at)| !**looked_at);
        for statement in others.map(|(statement, _)| statement.split_whitespace().collect::<Vec<_>>().join(" ")) {
            let reads = statement.starts_with("select") || statement.starts_with("with");
            if reads && !NO_READS.iter().any(|mark| statement.contains(mark)) {
                self.faults.push(format!("not looked at, and none of NO_READS: {statement}"));
            }
        }
        assert!(self.faults.is_empty(), "{:#?}", self.faults);
    }
}

fn time(plan: &Value, name: &str) -> f64 {
    plan[name].as_f64().unwrap()
}

fn read_whole(plan: &Value, large: &[String], title: &str, faults: &mut Vec<String>) {
    if let (Some("Seq Scan"), Some(table)) = (plan["Node Type"].as_str(), plan["Relation Name"].as_str())
        && large.iter().any(|name| name == table)
        // A branch of a statement that is not taken.
        && plan["Actual Loops"] != 0
    {
        faults.push(format!("{title}: reads {table} whole"));
    }
    plan["Plans"].as_array().into_iter().flatten().for_each(|plan| read_whole(plan, large, title, faults));
}
