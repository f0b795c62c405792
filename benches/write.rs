//! Commits a second of 1, 8 and 32 writers, each changing a term of its own.
//!
//! `cargo bench --bench write` measures three things in turns, on the same connections of the same server, for under three
//! minutes: a `PATCH` over HTTP, the one write without HTTP, and their peer, a bare transaction of one `update` and one
//! `insert` into tables without a log, which is the least that a service with a history does. What the log's order costs,
//! and what the checks, revisions and keys do, is the ratio to the peer.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that fails is to stop here")]

mod stage;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use actix_web::web::Data;
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::Connection;
use stage::{Stage, client};
use termbase::{
    categories::CategoryDocument,
    editorial::{self, Edit, Target},
    postgres,
    state::State,
    terms::TermDocument,
    tokens::{self, Author, Role, TokenCreate},
};
use uuid::Uuid;

const WRITERS: [usize; 3] = [1, 8, 32];
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(1_500);
/// The service's own default.
const CONNECTIONS: u32 = 10;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Http,
    Write,
    Peer,
}

const WAYS: [(Way, &str); 3] =
    [(Way::Http, "PATCH over HTTP"), (Way::Write, "the write itself"), (Way::Peer, "update + insert")];

#[tokio::main]
async fn main() {
    let stage = Stage::set("write", CONNECTIONS).await;
    let bench = Bench::begin(&stage).await;
    let mut commits = vec![vec![Vec::new(); WAYS.len()]; WRITERS.len()];
    for round in 0..=ROUNDS {
        for (writers, ways) in WRITERS.iter().zip(&mut commits) {
            for ((way, _), rounds) in WAYS.iter().zip(ways) {
                let measured = bench.round(*way, *writers).await;
                // The first one warms up.
                if round > 0 {
                    rounds.push(measured);
                }
            }
        }
    }
    print(&commits);
    bench.server.stop(false).await;
    stage.clear().await;
}

/// Commits a second, by writers, ways and rounds.
fn print(commits: &[Vec<Vec<f64>>]) {
    println!("commits a second, median of {ROUNDS} rounds of {:.1} s (least to most):", ROUND.as_secs_f64());
    let [one, some, many] = WRITERS;
    println!("{:<26}{one:>28}{some:>28}{many:>28}", "writers");
    for (index, (_, name)) in WAYS.iter().enumerate() {
        let cells = commits.iter().map(|ways| spread(&ways[index], 0)).collect::<String>();
        println!("{name:<26}{cells}");
    }
    let peer = WAYS.iter().position(|(way, _)| *way == Way::Peer).unwrap();
    for (index, (way, name)) in WAYS.iter().enumerate() {
        if *way != Way::Peer {
            let ratios = |ways: &Vec<Vec<f64>>| -> Vec<f64> {
                ways[index].iter().zip(&ways[peer]).map(|(ours, peers)| ours / peers).collect()
            };
            let cells = commits.iter().map(|ways| spread(&ratios(ways), 2)).collect::<String>();
            println!("{:<26}{cells}", format!("{name}, of peer"));
        }
    }
}

fn spread(values: &[f64], digits: usize) -> String {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let (least, median, most) = (values[0], values[values.len() / 2], values[values.len() - 1]);
    format!("{:>28}", format!("{median:.digits$} ({least:.digits$} to {most:.digits$})"))
}

struct Bench {
    state: Data<State>,
    address: String,
    client: reqwest::Client,
    token: String,
    terms: Vec<Uuid>,
    /// No two definitions are the same: what changes nothing makes no version.
    number: AtomicU64,
    server: actix_web::dev::ServerHandle,
}

impl Bench {
    async fn begin(stage: &Stage) -> Self {
        let mut connection = stage.connect().await;
        sqlx::raw_sql(
            "create table bench_terms (id uuid primary key, definition text not null, version bigint not null);
             create table bench_revisions (id uuid primary key, entity uuid not null, version bigint not null,
                                           document jsonb not null, at timestamptz not null default now(),
                                           unique (entity, version))",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        connection.close().await.unwrap();
        let state = stage.state.clone();
        let terms = write_terms(&state).await;
        let wanted = TokenCreate { name: "bench".into(), role: Role::Editor, expires_at: None };
        let token = tokens::create(&state, wanted).await.unwrap().1.expose_secret().to_owned();
        let (address, server) = stage.serve();
        Bench { state, address, client: client(), token, terms, number: AtomicU64::new(0), server }
    }

    /// Commits a second of so many writers.
    async fn round(&self, way: Way, writers: usize) -> f64 {
        let began = Instant::now();
        let counts = join_all((0..writers).map(|writer| async move {
            let mut commits = 0_u32;
            while began.elapsed() < ROUND {
                let definition = format!("Definition number {}.", self.number.fetch_add(1, Ordering::Relaxed));
                match way {
                    Way::Http => self.over_http(writer, &definition).await,
                    Way::Write => self.directly(writer, &definition).await,
                    Way::Peer => self.bare(writer, &definition).await,
                }
                commits += 1;
            }
            commits
        }));
        let commits: u32 = counts.await.into_iter().sum();
        f64::from(commits) / began.elapsed().as_secs_f64()
    }

    async fn over_http(&self, writer: usize, definition: &str) {
        let request = self.client.patch(format!("{}/terms/term-{writer}", self.address)).bearer_auth(&self.token);
        let response = request.json(&json!({"definition": definition})).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap();
    }

    async fn directly(&self, writer: usize, definition: &str) {
        let edit = Edit::Term(
            Target::Existing(self.terms[writer]),
            TermDocument::parse(&document(writer, definition)).unwrap(),
        );
        let author = Author::program("bench");
        editorial::write(&self.state, &author, None, async |write| write.apply(vec![edit.clone()]).await)
            .await
            .unwrap();
    }

    async fn bare(&self, writer: usize, definition: &str) {
        let mut transaction = postgres::begin(&self.state.database(), "begin").await.unwrap();
        let version: i64 = sqlx::query_scalar(
            "update bench_terms set definition = $2, version = version + 1 where id = $1 returning version",
        )
        .bind(self.terms[writer])
        .bind(definition)
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
        sqlx::query("insert into bench_revisions (id, entity, version, document) values ($1, $2, $3, $4)")
            .bind(self.state.clock.id())
            .bind(self.terms[writer])
            .bind(version)
            .bind(document(writer, definition))
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
    }
}

fn document(writer: usize, definition: &str) -> Value {
    json!({
        "slug": format!("term-{writer}"), "name": format!("Term {writer}"), "status": "published", "category": "c",
        "definition": definition,
        "body": "A paragraph of the explanation, with *emphasis* and a [link](https://example.org).\n\n".repeat(5),
        "aliases": [{"name": format!("T{writer}"), "kind": "acronym"}],
        "related": [format!("term-{}", WRITERS[2]), format!("term-{}", WRITERS[2] + 1)],
        "sources": [{"title": "A source", "url": format!("https://example.org/{writer}")}],
    })
}

/// A term for each writer, and two more that all of them refer to; the same ids in the peer's table.
async fn write_terms(state: &State) -> Vec<Uuid> {
    let mut edits =
        vec![Edit::Category(Target::New, CategoryDocument::parse(&json!({"slug": "c", "name": "C"})).unwrap())];
    for writer in 0..WRITERS[2] + 2 {
        let mut document = document(writer, "To begin with.");
        if writer >= WRITERS[2] {
            document["related"] = json!([]);
        }
        edits.push(Edit::Term(Target::New, TermDocument::parse(&document).unwrap()));
    }
    let author = Author::program("bench");
    let (applied, _) =
        editorial::write(state, &author, None, async |write| write.apply(edits.clone()).await).await.unwrap();
    let ids: Vec<Uuid> = applied[1..].iter().map(|applied| applied.id).collect();
    sqlx::query("insert into bench_terms select id, 'To begin with.', 1 from unnest($1) id")
        .bind(&ids)
        .execute(&state.database())
        .await
        .unwrap();
    ids
}
