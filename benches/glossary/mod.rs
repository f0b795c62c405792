//! A glossary of any size, made by the database itself: a million terms in minutes.
//!
//! It is made of blocks of a thousand terms with twenty categories and two hundred companies of their own, so that a page of
//! the millionth term costs what one of the first does: what a measurement finds on more terms comes from their number. In
//! each block a few terms are named by many others, as in any glossary. A page has about 14 kB, of which the explanation is 2.
#![expect(clippy::unwrap_used, reason = "a measurement that fails is to stop here")]
#![allow(dead_code, reason = "each measurement uses a part of it")]

mod texts;

use std::time::Instant;

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use termbase::markdown;

use texts::Texts;

/// Terms of one block; a glossary has whole ones.
pub const BLOCK: usize = 1_000;
/// Categories of one block.
pub const CATEGORIES: usize = 20;
/// Companies of one block.
pub const COMPANIES: usize = 200;

/// Rows of one statement: none of them holds its transaction open for long.
const PART: usize = 20_000;
/// As many as the machine that this was written on has cores.
const WRITERS: usize = 2;

const BEFORE: &str = include_str!("before.sql");
const PEOPLE: &str = include_str!("people.sql");
const TERMS: &str = include_str!("terms.sql");
const AFTER: &str = include_str!("after.sql");

/// The address of the term with this number.
pub fn address(number: usize) -> String {
    format!("/terms/term-{number}")
}

/// Two of a hundred are drafts.
pub fn is_draft(number: usize) -> bool {
    number % 50 == 33
}

/// Whatever number comes, one of a term that everyone may read.
pub fn public(number: usize) -> usize {
    if is_draft(number) { number + 1 } else { number }
}

/// Fills the tables that the service has made, and brings the indexes and what the planner knows in step.
///
/// Past the triggers, whose rules it keeps: what they look up for each row would take hours. The log has one change, that
/// everything is new, as after a migration that changes content.
pub async fn fill(options: &PgConnectOptions, terms: usize) {
    assert!(terms > 0 && terms.is_multiple_of(BLOCK), "a glossary has whole blocks of {BLOCK} terms");
    let began = Instant::now();
    let mut connection = writer(options).await;
    run(&mut connection, BEFORE).await;
    write_texts(&mut connection).await;
    let indexes = drop_indexes(&mut connection).await;
    run(&mut connection, &PEOPLE.replace(":blocks", &(terms / BLOCK).to_string())).await;
    let parts = (0..terms).step_by(PART).map(|from| {
        let to = (from + PART).min(terms);
        TERMS.replace(":from", &from.to_string()).replace(":to", &to.to_string())
    });
    together(options, parts.collect()).await;
    together(options, indexes).await;
    for statement in [AFTER, "vacuum analyze", "checkpoint"] {
        run(&mut connection, statement).await;
    }
    connection.close().await.unwrap();
    eprintln!("wrote {terms} terms in {:.0} s", began.elapsed().as_secs_f64());
}

async fn writer(options: &PgConnectOptions) -> PgConnection {
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    let settings =
        "set session_replication_role = replica; set maintenance_work_mem = '512MB'; set synchronous_commit = off";
    run(&mut connection, settings).await;
    connection
}

async fn run(connection: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.unwrap();
}

/// All of the statements, by several connections.
async fn together(options: &PgConnectOptions, statements: Vec<String>) {
    let queue = std::sync::Mutex::new(statements.into_iter());
    let work = (0..WRITERS).map(async |_| {
        let mut connection = writer(options).await;
        loop {
            let Some(statement) = queue.lock().unwrap().next() else { break };
            run(&mut connection, &statement).await;
        }
        connection.close().await.unwrap();
    });
    futures_util::future::join_all(work).await;
}

/// An index that is made of rows that are all there takes a fraction of the time. What makes them again.
async fn drop_indexes(connection: &mut PgConnection) -> Vec<String> {
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
           from pg_index i join pg_class t on t.oid = i.indrelid
          where t.relnamespace = 'public'::regnamespace
            and t.relname in ('terms', 'term_aliases', 'term_relations', 'term_companies', 'slug_history', 'companies', 'company_categories')
            and not exists (select from pg_constraint c where c.conindid = i.indexrelid)",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    for (name, _) in &indexes {
        run(connection, &format!("drop index {name}")).await;
    }
    indexes.into_iter().map(|(_, definition)| definition).collect()
}

/// The texts that terms share, with the HTML that the service makes of them.
async fn write_texts(connection: &mut PgConnection) {
    let mut texts = Texts::new();
    let (mut definitions, mut bodies, mut html) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..texts::COUNT {
        let body = texts.body();
        definitions.push(texts.definition());
        html.push(markdown::render(&body).unwrap());
        bodies.push(body);
    }
    sqlx::query(
        "insert into bench.texts (number, definition, body, html, renderer)
         select place - 1, definition, body, html, $4
           from unnest($1::text[], $2::text[], $3::text[]) with ordinality as t (definition, body, html, place)",
    )
    .bind(definitions)
    .bind(bodies)
    .bind(html)
    .bind(markdown::RENDERER_VERSION)
    .execute(connection)
    .await
    .unwrap();
}
