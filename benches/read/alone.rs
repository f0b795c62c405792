//! Whether two queries of one page ever run at once on one instance.
//!
//! A query of a millisecond is easily missed by whoever looks. So the page's query is made slow by a sleep in a view that it
//! reads: an overlap then lasts, and is seen. The writer writes through a second instance, whose own answers are queries of
//! the same text; the instances are told apart by the name that each gives its connections.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{
    load::{self, Requests},
    race::Plan,
    scene,
    server::Server,
    writer::{What, Writer},
};
use crate::stage::Ground;

const READER: &str = "bench-reader";
const WRITER: &str = "bench-writer";
/// How the page's statement begins, with its spaces as one.
const PAGE: &str = "select t.id, t.slug, t.name, t.status, t.definition, t.body, t.body_html%";

/// What was seen of one instance's queries of the page.
#[derive(Debug, Default)]
pub struct Seen {
    pub looks: usize,
    /// By process and start.
    pub queries: BTreeSet<(i32, String)>,
    pub most: usize,
}

/// Readers of one page on one instance, a writer of it on another, and a look at all queries as often as possible.
pub async fn watch(plan: Plan, ground: &Ground, database: &str, term: usize) -> [(&'static str, Seen); 2] {
    let instance = |name: &str| Server::termbase_at(ground, &ground.url_as(database, name), 128, &[]);
    let (reader, writer) = (instance(READER), instance(WRITER));
    let mut connection = ground.connect(database).await;
    let quick = slow_down(&mut connection).await;
    let writing = Writer::new(&writer, What::One(term)).start();
    let requests = Requests::of(reader.address, 200, scene::asks(&[term]));
    let round = plan.round * u32::try_from(plan.sized(10, 6)).unwrap();
    let reading = tokio::spawn(async move { load::closed(&requests, plan.connections, round).await });
    let end = Instant::now() + round;
    let mut seen = [
        ("the instance that all read from", Seen::default()),
        ("the instance that is written through", Seen::default()),
    ];
    while Instant::now() < end {
        look(&mut connection, &mut seen).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    reading.await.unwrap();
    writing.stop().await;
    sqlx::raw_sql(AssertSqlSafe(quick)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert!(seen.iter().all(|(_, seen)| !seen.queries.is_empty()), "the page's statement begins otherwise by now");
    seen
}

async fn look(connection: &mut PgConnection, seen: &mut [(&'static str, Seen); 2]) {
    let rows: Vec<(String, i32, String)> = sqlx::query_as(
        r"select application_name, pid, query_start::text from pg_stat_activity
           where state = 'active' and application_name in ($1, $2) and btrim(regexp_replace(left(query, 200), '\s+', ' ', 'g')) like $3",
    )
    .bind(READER)
    .bind(WRITER)
    .bind(PAGE)
    .fetch_all(connection)
    .await
    .unwrap();
    for ((_, seen), name) in seen.iter_mut().zip([READER, WRITER]) {
        let active = rows.iter().filter(|(application, ..)| application == name);
        seen.looks += 1;
        seen.most = seen.most.max(active.clone().count());
        seen.queries.extend(active.map(|(_, pid, start)| (*pid, start.clone())));
    }
}

/// Puts a sleep into the view of companies, which the page reads once a query. What takes it out again.
async fn slow_down(connection: &mut PgConnection) -> String {
    let view: String = sqlx::query_scalar("select pg_get_viewdef('company_cards'::regclass)")
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    let view = view.trim_end().trim_end_matches(';');
    let slow = format!(
        "create or replace view company_cards as select v.* from ({view}) v where (select pg_sleep(0.02)) is not null"
    );
    sqlx::raw_sql(AssertSqlSafe(slow)).execute(connection).await.unwrap();
    format!("create or replace view company_cards as {view}")
}
