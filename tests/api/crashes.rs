//! `kill -9` of termbase, of its Postgres and of both, while 200 clients write: what was acknowledged is there, and nothing
//! is there by half.
//!
//! `CRASH_ROUNDS` makes a longer run, with figures of each round: `CRASH_ROUNDS=20 cargo test crashes -- --nocapture`.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures_util::future::join_all;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{sync::Notify, time::timeout};

use crate::{
    cluster::Folder,
    serve::{AT_ONCE, DEADLINE, TOKEN, Termbase, private, serves_again},
    support::{Answer, client, setting},
};

const CLIENTS: usize = 200;
/// Terms that all clients change.
const SHARED: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Termbase,
    Postgres,
    Both,
}

#[tokio::test]
async fn a_killed_termbase_has_lost_no_acknowledged_write() {
    crash(Victim::Termbase).await;
}

#[tokio::test]
async fn a_killed_postgres_has_lost_no_acknowledged_write() {
    crash(Victim::Postgres).await;
}

#[tokio::test]
async fn both_killed_at_once_have_lost_no_acknowledged_write() {
    crash(Victim::Both).await;
}

/// Each round goes on with the data of the one before.
async fn crash(victim: Victim) {
    let folder = Folder::new("crash");
    let variables =
        [("TERMBASE_ADMIN_TOKEN", TOKEN), ("TERMBASE_SAMPLES", "false"), ("TERMBASE_REQUEST_SECONDS", "30")];
    let mut termbase = Termbase::serve(&folder, &variables);
    let mut address = termbase.address().await;
    let mut load = Load::begin(&address).await;
    for round in 0..setting("CRASH_ROUNDS", 1) {
        load.round(&address, round, async |enough| {
            enough.notified().await;
            let server = folder.server();
            if victim != Victim::Termbase {
                kill(server, Signal::SIGKILL).unwrap();
            }
            if victim != Victim::Postgres {
                termbase.signal(Signal::SIGKILL);
            }
            server
        })
        .await;
        let (server, began) = load.killed.unwrap();
        if victim == Victim::Postgres {
            serves_again(&address, &folder, server).await;
        } else {
            termbase.end(AT_ONCE).await;
            termbase = Termbase::serve(&folder, &variables);
            address = termbase.address().await;
        }
        let restart = began.elapsed();
        let mut connection = PgConnection::connect_with(&private(&folder)).await.unwrap();
        let figures = load.check(&mut connection, &address).await;
        connection.close().await.unwrap();
        eprintln!("{victim:?} round {round}: {figures}; {} ms from the kill to the next answer", restart.as_millis());
        if victim == Victim::Postgres {
            // Its supervisor starts it again three times a minute; a new one begins to count anew.
            termbase.stop(Signal::SIGTERM).await;
            termbase = Termbase::serve(&folder, &variables);
            address = termbase.address().await;
        }
    }
    assert_eq!(termbase.stop(Signal::SIGTERM).await, Some(0), "{:?}", termbase.said);
    folder.assert_ends();
}

/// A write that was acknowledged, or one that may have happened. Its mark is its message, and so stands in its revision.
struct Sent {
    mark: String,
    slug: String,
    what: &'static str,
    /// The position of the answer.
    acknowledged: Option<i64>,
}

/// The clients, and all that they have ever sent.
struct Load {
    client: reqwest::Client,
    sent: Mutex<Vec<Sent>>,
    acknowledged: AtomicUsize,
    stop: AtomicBool,
    /// The server of that moment, and when it was.
    killed: Option<(Pid, Instant)>,
}

impl Load {
    async fn begin(address: &str) -> Self {
        let load = Load {
            client: client(),
            sent: Mutex::new(Vec::new()),
            acknowledged: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            killed: None,
        };
        let mut documents = vec![
            ("/categories", json!({"slug": "c", "name": "C"})),
            ("/companies", json!({"slug": "k", "name": "K", "status": "published", "categories": ["c"]})),
        ];
        documents.extend((0..SHARED).map(|number| {
            let slug = format!("shared-{number}");
            let document =
                json!({"slug": slug, "name": slug, "definition": "D.", "category": "c", "status": "published"});
            ("/terms", document)
        }));
        for (path, document) in documents {
            let answer = load.ask(Method::POST, &format!("{address}{path}"), Some(&document)).await.unwrap();
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        load
    }

    async fn ask(&self, method: Method, url: &str, body: Option<&Value>) -> Result<Answer, reqwest::Error> {
        let request = self.client.request(method, url).bearer_auth(TOKEN).timeout(DEADLINE);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await?;
        // An answer that breaks off is none.
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, bytes: response.bytes().await?.to_vec() })
    }

    /// All clients write until `kill` has killed something, which it does as soon as enough is acknowledged.
    async fn round(&mut self, address: &str, round: usize, kill: impl AsyncFnOnce(&Notify) -> Pid) {
        *self.acknowledged.get_mut() = 0;
        *self.stop.get_mut() = false;
        // Another number of writes in each round, so that the kill meets another moment.
        let enough_at = 300 + (round * 37) % 100;
        let enough = Notify::new();
        let clients = join_all((0..CLIENTS).map(|number| self.client(address, round, number, enough_at, &enough)));
        let killing = async {
            let killed = kill(&enough).await;
            self.stop.store(true, Ordering::SeqCst);
            (killed, Instant::now())
        };
        let both = async { tokio::join!(clients, killing) };
        let (_, killed) = timeout(2 * DEADLINE, both).await.expect("an end of all requests");
        self.killed = Some(killed);
    }

    /// One client: creates, changes, changes what all change, deletes, and begins again.
    async fn client(&self, address: &str, round: usize, number: usize, enough_at: usize, enough: &Notify) {
        let mut own: Option<String> = None;
        let mut step = number;
        while !self.stop.load(Ordering::SeqCst) {
            step += 1;
            let mark = format!("m{round}-{number}-{step}");
            let shared = |offset: usize| format!("shared-{}", (number + step + offset) % SHARED);
            let (what, method, slug, body) = match (step % 4, own.take()) {
                (3, Some(slug)) => ("deleted", Method::DELETE, slug, None),
                (1, Some(slug)) => {
                    own = Some(slug.clone());
                    let aliases = json!([{"name": format!("{mark} one")}, {"name": format!("{mark} two")}]);
                    let change =
                        json!({"definition": mark, "aliases": aliases, "related": [shared(1)], "companies": []});
                    ("updated", Method::PATCH, slug, Some(change))
                }
                (2, kept) => {
                    own = kept;
                    ("updated", Method::PATCH, shared(0), Some(json!({"definition": mark})))
                }
                _ => {
                    let document = json!({
                        "slug": mark, "name": mark, "definition": mark, "category": "c", "status": "published",
                        "aliases": [{"name": format!("{mark} alias"), "kind": "acronym"}], "related": [shared(1), shared(2)],
                        "companies": ["k"], "sources": [{"title": "S", "url": format!("https://example.org/{mark}")}],
                    });
                    ("created", Method::POST, mark.clone(), Some(document))
                }
            };
            let path = if what == "created" { "/terms".to_owned() } else { format!("/terms/{slug}") };
            let answer = self.ask(method, &format!("{address}{path}?message={mark}"), body.as_ref()).await;
            let acknowledged = answer.ok().and_then(|answer| position(&answer));
            if acknowledged.is_some() {
                if what == "created" {
                    own = Some(slug.clone());
                }
                if self.acknowledged.fetch_add(1, Ordering::SeqCst) + 1 == enough_at {
                    enough.notify_one();
                }
            }
            self.sent.lock().unwrap().push(Sent { mark, slug, what, acknowledged });
        }
    }

    /// Compares what is there with all that was ever acknowledged.
    async fn check(&mut self, connection: &mut PgConnection, address: &str) -> String {
        assert_whole(connection).await;
        let rows: Vec<(String, String, String, Value)> = sqlx::query_as(
            "select r.message, r.what, h.slug, r.document from revisions r join slug_history h on h.entity = r.entity \
              where r.message is not null",
        )
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        let count = rows.len();
        let mut revisions: BTreeMap<String, (String, String, Value)> =
            rows.into_iter().map(|(mark, what, slug, document)| (mark, (what, slug, document))).collect();
        assert_eq!(revisions.len(), count, "a request was written twice");
        let newest: i64 =
            sqlx::query_scalar("select max(position) from changes").fetch_one(&mut *connection).await.unwrap();
        let sent = self.sent.get_mut().unwrap();
        let (mut acknowledged, mut silently) = (BTreeMap::new(), 0);
        for Sent { mark, slug, what, acknowledged: position } in &*sent {
            let revision = revisions.remove(mark);
            match (position, revision) {
                (Some(position), Some((was, of, document))) => {
                    assert_eq!((was.as_str(), &of), (*what, slug), "{mark}");
                    assert!(*what == "deleted" || document["definition"] == *mark, "{mark}: {document}");
                    assert!(*position <= newest, "{mark} was acknowledged at {position}, and the log ends at {newest}");
                    *acknowledged.entry(*what).or_insert(0) += 1;
                }
                (Some(position), None) => panic!("{mark} was acknowledged at {position}, and is lost"),
                (None, Some(_)) => silently += 1,
                (None, None) => {}
            }
        }
        assert!(revisions.is_empty(), "nobody has sent {:?}", revisions.keys());
        let shown = self.check_documents(connection, address).await;
        let sent = self.sent.get_mut().unwrap().len();
        format!(
            "{sent} sent, {acknowledged:?} acknowledged, {silently} written without an answer, 1..{newest}, {shown} documents"
        )
    }

    /// What the API shows is what the newest revision says.
    async fn check_documents(&self, connection: &mut PgConnection, address: &str) -> usize {
        let newest: Vec<(String, Value)> = sqlx::query_as(
            "select t.slug, r.document from terms t join revisions r on r.id = t.revision_id where t.deleted_at is null",
        )
        .fetch_all(connection)
        .await
        .unwrap();
        for (slug, document) in &newest {
            let answer = self.ask(Method::GET, &format!("{address}/terms/{slug}/document"), None).await.unwrap();
            assert_eq!((answer.status.as_u16(), &answer.json()), (200, document), "{slug}");
        }
        newest.len()
    }
}

/// The position of a write's answer, if that says that it was done.
fn position(answer: &Answer) -> Option<i64> {
    let done = [StatusCode::OK, StatusCode::CREATED, StatusCode::NO_CONTENT].contains(&answer.status);
    if !done {
        // Never our fault, and never theirs.
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
        return None;
    }
    answer.header("termbase-position").rsplit_once('-').map(|(_, number)| number.parse().unwrap())
}

/// Asserts that nothing is there by half: positions from 1 without a gap, as many versions as revisions and as changes, and
/// rows and links as the newest revision has them. (For terms that no neighbour's rename has spelt otherwise.)
pub async fn assert_whole(connection: &mut PgConnection) {
    let (count, newest, head): (i64, i64, i64) =
        sqlx::query_as("select count(*), coalesce(max(position), 0), (select position from log_head) from changes")
            .fetch_one(&mut *connection)
            .await
            .unwrap();
    assert_eq!((count, newest), (head, head), "positions have gaps");
    for (what, query) in [
        (
            "versions, revisions and changes differ in number",
            "with entities as (select id, version, revision_id from terms
                               union all select id, version, revision_id from categories
                               union all select id, version, revision_id from companies),
                  revised as (select entity, count(*) as n, max(version) as newest from revisions group by entity),
                  changed as (select entity, count(*) as n from changes where entity is not null group by entity)
             select coalesce(e.id, r.entity, c.entity)::text
               from entities e full join revised r on r.entity = e.id full join changed c on c.entity = r.entity
              where (e.version = r.n and r.n = r.newest and r.n = c.n) is not true
                 or not exists (select from revisions r where r.id = e.revision_id and r.version = e.version)",
        ),
        (
            "a change says something else than its revision",
            "select c.position::text
               from (select position, entity, what, row_number() over (partition by entity order by position) as version
                       from changes where entity is not null) c
               left join revisions r on r.entity = c.entity and r.version = c.version
              where r.what is distinct from c.what",
        ),
        (
            "rows differ from the newest revision",
            "select t.slug from terms t join revisions r on r.id = t.revision_id, jsonb_to_record(r.document)
                    as d (definition text, body text, category text, aliases jsonb, sources jsonb, related jsonb, companies jsonb)
              where t.definition <> d.definition or t.body <> d.body
                 or d.category <> (select slug from categories where id = t.category_id)
                 or array(select name from term_aliases where term_id = t.id order by position)
                    <> array(select a ->> 'name' from jsonb_array_elements(d.aliases) a)
                 or array(select url from term_sources where term_id = t.id order by position)
                    <> array(select s ->> 'url' from jsonb_array_elements(d.sources) s)
                 or array(select o.slug::text from term_relations l join terms o on o.id = l.other
                           where l.owner = t.id and l.kind = 'related' order by o.slug)
                    <> array(select jsonb_array_elements_text(d.related))
                 or array(select k.slug::text from term_companies l join companies k on k.id = l.company_id
                           where l.term_id = t.id order by k.slug)
                    <> array(select jsonb_array_elements_text(d.companies))",
        ),
    ] {
        let found: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut *connection).await.unwrap();
        assert_eq!(found, Vec::<String>::new(), "{what}");
    }
}
