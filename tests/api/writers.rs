//! Many writers at once: nobody overwrites anybody, positions stand in the order of the commits, retries make one thing, and
//! who reads does not wait.
//!
//! `WRITERS_PATCHES`, `WRITERS_CLIENTS` and `WRITERS_COMMITS` make longer runs.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::{
    future::{join_all, poll_immediate},
    join,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgConnection;
use termbase::{
    editorial::{Edit, Kind, Write},
    error::Error,
    tokens::{Author, Role},
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    crashes::assert_whole,
    serve::{DEADLINE, count, until_locked},
    support::{Answer, Content, Database, TestApp, category, company, http_settings, setting, term, term_again},
};

fn t(slug: &str) -> Value {
    json!({"slug": slug, "name": slug, "definition": "D.", "category": "c", "status": "published"})
}

/// A glossary of these terms in one category, with enough connections that writers meet each other; their ids.
async fn glossary(slugs: &[String]) -> (TestApp, Vec<Uuid>) {
    let app = TestApp::serve(Database::create(Content::Nothing).await, http_settings(), 12).await;
    let mut edits = vec![category(&json!({"name": "C"}))];
    edits.extend(slugs.iter().map(|slug| term(&t(slug))));
    let applied = app.write(edits).await.unwrap();
    let ids = applied[1..].iter().map(|applied| applied.id).collect();
    (app, ids)
}

fn slugs(letter: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{letter}{number}")).collect()
}

/// Asserts that a write was put off, with the time after which to try again.
fn assert_put_off(answer: &Answer) {
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}

/// Sends until it is not put off any more, as a client does.
async fn send_until_done(
    app: &TestApp,
    method: Method,
    path: &str,
    token: &str,
    body: Option<&Value>,
    headers: &[(&str, &str)],
) -> Answer {
    let sending = async {
        loop {
            let answer = app.send(method.clone(), path, Some(token), body, headers).await;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return answer;
            }
            assert_put_off(&answer);
        }
    };
    timeout(DEADLINE, sending).await.expect("an answer in time")
}

// One term, many editors.

/// Each client appends a line of its own to what it has read, and reads again where somebody was quicker.
#[tokio::test]
async fn many_editors_of_one_term_overwrite_nobody() {
    let (clients, patches) = (setting("WRITERS_CLIENTS", 10), setting("WRITERS_PATCHES", 100));
    let (app, ids) = glossary(&slugs("a", 1)).await;
    let token = app.token(Role::Editor).await;
    let (stale, began) = (Cell::new(0), Instant::now());
    let editor = async |client: usize| {
        for number in 0..patches / clients {
            let mark = format!("{client}-{number}");
            loop {
                let path = if number % 2 == 0 { "/terms/a0" } else { "/terms/a0/document" };
                let read = send_until_done(&app, Method::GET, path, &token, None, &[]).await;
                let body = read.json()["body"].as_str().unwrap().to_owned();
                let body = if body.is_empty() { mark.clone() } else { format!("{body}\n{mark}") };
                let path = format!("/terms/a0?message={mark}");
                let headers = [("if-match", read.header("etag"))];
                let answer =
                    send_until_done(&app, Method::PATCH, &path, &token, Some(&json!({"body": body})), &headers).await;
                if answer.status == StatusCode::OK {
                    break;
                }
                assert_loser(&answer, &read);
                stale.set(stale.get() + 1);
            }
        }
    };
    join_all((0..clients).map(editor)).await;
    let seconds = began.elapsed().as_secs_f64();
    let done = patches / clients * clients;
    eprintln!("{done} PATCHes by {clients} clients, {} losers, in {seconds:.1} s", stale.get());

    let versions: Vec<(i64, String, Option<String>)> = sqlx::query_as(
        "select version, document ->> 'body', message from revisions where entity = $1 order by version",
    )
    .bind(ids[0])
    .fetch_all(app.pool())
    .await
    .unwrap();
    let (mut lines, mut marks) = (Vec::new(), BTreeSet::new());
    for (version, body, mark) in &versions {
        if let Some(mark) = mark {
            lines.push(mark.as_str());
            assert!(marks.insert(mark), "{mark} made two versions");
        }
        assert_eq!(*body, lines.join("\n"), "version {version} is the one before and a line of its own");
    }
    assert_eq!((marks.len(), versions.len()), (done, done + 1));
    let page = app.get("/terms/a0").await.json();
    assert_eq!(page["version"].as_u64().unwrap(), done as u64 + 1);
    assert_eq!(page["body"], lines.join("\n"));
    assert_whole(&mut app.database.connect().await).await;
}

/// Who was too late learns which version is there, whose it is, and what has changed.
fn assert_loser(answer: &Answer, read: &Answer) {
    let problem = answer.problem(412, "precondition_failed");
    let errors = problem["errors"].as_array().unwrap();
    assert_eq!((&errors[0]["parameter"], &errors[0]["code"]), (&json!("If-Match"), &json!("stale")), "{problem}");
    let detail = errors[0]["detail"].as_str().unwrap();
    assert!(detail.contains("is at version ") && detail.contains("written by test editor at "), "{detail}");
    assert!(detail.contains("the tag is of version "), "{detail}");
    let changed: Vec<&Value> = errors[1..].iter().map(|error| &error["pointer"]).collect();
    assert_eq!(changed, ["/body"], "{problem}");
    assert_eq!(problem["conflicts"][0]["slug"], "a0");
    if let Some(version) = read.json()["version"].as_u64() {
        assert!(detail.contains(&format!("the tag is of version {version}.")), "{detail}");
    }
}

/// Links belong to the document that wrote them.
#[tokio::test]
async fn a_relation_from_the_other_side_survives_a_save() {
    let (app, _) = glossary(&slugs("a", 2)).await;
    app.write(vec![company(&json!({"slug": "k", "name": "K", "status": "published"}))]).await.unwrap();
    let token = app.token(Role::Editor).await;
    let send = async |method: Method, path: &str, body: Option<&Value>, headers: &[(&str, &str)]| {
        app.send(method, path, Some(&token), body, headers).await
    };
    for (held, link, shown) in
        [("/terms/a0", "/terms/a1/related/a0", "related"), ("/companies/k", "/terms/a1/companies/k", "terms")]
    {
        let document = send(Method::GET, &format!("{held}/document"), None, &[]).await;
        assert_eq!(send(Method::PUT, link, None, &[]).await.status, 200);
        let mut changed = document.json();
        let text = if held == "/companies/k" { "description" } else { "definition" };
        changed[text] = json!("Saved.");
        let headers = [("if-match", document.header("etag"))];
        let saved = send(Method::PUT, &format!("{held}/document"), Some(&changed), &headers).await;
        assert_eq!((saved.status.as_u16(), &saved.json()[text]), (200, &json!("Saved.")), "{saved:?}");
        let page = app.get(held).await.json();
        let links = if page[shown].is_array() { &page[shown] } else { &page[shown]["items"] };
        assert_eq!(links[0]["slug"], "a1", "{held}: {page}");
    }
    let mut connection = app.database.connect().await;
    assert_whole(&mut connection).await;
}

// The order of the log.

/// What a follower of the log gets: it asks for what comes after the last position that it has, that one included.
#[derive(Default)]
struct Follower {
    got: Vec<(i64, Uuid)>,
    /// Positions that were not there when a higher one was.
    missing: BTreeSet<i64>,
}

impl Follower {
    async fn look(&mut self, connection: &mut PgConnection) {
        let last = self.got.last().copied();
        let rows: Vec<(i64, Uuid)> =
            sqlx::query_as("select position, id from changes where position >= $1 order by position")
                .bind(last.map_or(0, |last| last.0))
                .fetch_all(connection)
                .await
                .unwrap();
        assert!(last.is_none() || last == rows.first().copied(), "the log begins anew");
        for row in rows.into_iter().skip(usize::from(last.is_some())) {
            let next = self.got.last().map_or(1, |last| last.0 + 1);
            self.missing.extend(next..row.0);
            self.got.push(row);
        }
    }

    /// How many changes came too late for it, and how many numbers were never taken.
    async fn lost(&self, connection: &mut PgConnection) -> (usize, usize) {
        let all: Vec<i64> =
            sqlx::query_scalar("select position from changes order by position").fetch_all(connection).await.unwrap();
        let got: BTreeSet<i64> = self.got.iter().map(|row| row.0).collect();
        let late = all.iter().filter(|position| !got.contains(position)).count();
        let newest = all.last().copied().unwrap_or_default();
        (late, usize::try_from(newest).unwrap() - all.len())
    }
}

/// 50 writers, half of them over HTTP, with delays, rollbacks, and killed sessions.
struct Race<'a> {
    app: &'a TestApp,
    token: String,
    slugs: &'a [String],
    ids: &'a [Uuid],
    commits: Cell<usize>,
    rollbacks: Cell<usize>,
    killed: Cell<usize>,
    put_off: Cell<usize>,
    is_over: Cell<bool>,
    enough: usize,
}

const WRITERS: usize = 50;

impl<'a> Race<'a> {
    async fn new(app: &'a TestApp, slugs: &'a [String], ids: &'a [Uuid], enough: usize) -> Self {
        let token = app.token(Role::Editor).await;
        let [commits, rollbacks, killed, put_off] = Default::default();
        Race { app, token, slugs, ids, commits, rollbacks, killed, put_off, is_over: Cell::new(false), enough }
    }

    async fn run(&self) {
        join_all((0..WRITERS).map(|number| self.writer(number))).await;
        self.is_over.set(true);
    }

    async fn writer(&self, number: usize) {
        let mut random = Random(number as u64 + 1);
        let mut step = 0;
        while !self.is_over.get() {
            step += 1;
            let index = random.below(self.ids.len());
            let text = format!("Step {step} of {number}.");
            let committed = if number.is_multiple_of(2) {
                self.over_http(index, &text).await
            } else {
                self.directly(index, &text, &mut random).await
            };
            if committed {
                self.commits.set(self.commits.get() + 1);
                if self.commits.get() >= self.enough {
                    self.is_over.set(true);
                } else if self.commits.get().is_multiple_of(10) {
                    self.kill_one().await;
                }
            }
        }
    }

    async fn over_http(&self, index: usize, text: &str) -> bool {
        let (path, change) = (format!("/terms/{}", self.slugs[index]), json!({"definition": text}));
        let answer = self.app.send(Method::PATCH, &path, Some(&self.token), Some(&change), &[]).await;
        if answer.status != StatusCode::OK {
            assert_put_off(&answer);
            self.put_off.set(self.put_off.get() + 1);
        }
        answer.status == StatusCode::OK
    }

    async fn directly(&self, index: usize, text: &str, random: &mut Random) -> bool {
        let mut document = t(&self.slugs[index]);
        document["definition"] = json!(text);
        let written = async {
            let mut write = Write::open(&self.app.state, &Author::program("tests"), None).await?;
            delay(random).await;
            write.apply(vec![term_again(self.ids[index], &document)]).await?;
            delay(random).await;
            if random.below(5) == 0 {
                self.rollbacks.set(self.rollbacks.get() + 1);
                return Ok(false);
            }
            write.close().await.map(|_| true)
        };
        match written.await {
            Ok(committed) => committed,
            Err(Error::Unavailable(_)) => {
                self.put_off.set(self.put_off.get() + 1);
                false
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Ends one of the sessions that are writing at this moment.
    async fn kill_one(&self) {
        let mut connection = self.app.database.connect().await;
        let killed = count(
            &mut connection,
            "select count(pg_terminate_backend(pid))
               from (select pid from pg_stat_activity
                      where datname = current_database() and backend_xid is not null and pid <> pg_backend_pid()
                      order by random() limit 1) writing",
        )
        .await;
        self.killed.set(self.killed.get() + usize::try_from(killed).unwrap());
    }

    fn figures(&self) -> String {
        let [commits, rollbacks, killed, put_off] =
            [&self.commits, &self.rollbacks, &self.killed, &self.put_off].map(Cell::get);
        format!("{commits} commits, {rollbacks} rollbacks, {killed} sessions killed, {put_off} writes put off")
    }
}

async fn delay(random: &mut Random) {
    tokio::time::sleep(Duration::from_millis(random.below(6) as u64)).await;
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).unwrap()
    }
}

#[tokio::test]
async fn positions_stand_in_the_order_of_the_commits_and_answers_are_of_their_position() {
    let slugs = slugs("a", 5);
    let (app, ids) = glossary(&slugs).await;
    // Their pages show each other's definitions.
    for (slug, other) in slugs.iter().zip(slugs.iter().cycle().skip(1)) {
        let mut document = t(slug);
        document["related"] = json!([other]);
        let index = slugs.iter().position(|one| one == slug).unwrap();
        app.write(vec![term_again(ids[index], &document)]).await.unwrap();
    }
    let race = Race::new(&app, &slugs, &ids, setting("WRITERS_COMMITS", 200)).await;
    let mut follower = Follower::default();
    let following = async {
        let mut connection = app.database.connect().await;
        while !race.is_over.get() {
            follower.look(&mut connection).await;
        }
        follower.look(&mut connection).await;
    };
    let reading = async {
        let mut answers = Vec::new();
        let mut paths = ["/terms/a0", "/terms/a1", "/terms"].iter().cycle();
        while !race.is_over.get() {
            answers.push(app.get(paths.next().unwrap()).await);
        }
        answers
    };
    let all = async { join!(race.run(), following, reading) };
    let ((), (), answers) = timeout(DEADLINE * 5, all).await.expect("an end in time");
    let mut connection = app.database.connect().await;
    // Writes that were killed may have ended meanwhile.
    follower.look(&mut connection).await;
    assert_eq!((follower.missing.len(), follower.lost(&mut connection).await), (0, (0, 0)), "{:?}", follower.missing);
    assert_whole(&mut connection).await;
    let definitions = assert_of_their_position(&mut connection, &answers).await;
    eprintln!("{}; {} answers, {definitions} definitions in them", race.figures(), answers.len());
}

/// What an answer shows is what the log says was there at its position.
async fn assert_of_their_position(connection: &mut PgConnection, answers: &[Answer]) -> usize {
    let rows: Vec<(String, i64, i64, String)> = sqlx::query_as(
        "select c.slug, c.position, r.version, r.document ->> 'definition'
           from (select slug, entity, position, row_number() over (partition by entity order by position) as version
                   from changes where kind = 'term') c
           join revisions r on r.entity = c.entity and r.version = c.version
          order by c.position",
    )
    .fetch_all(connection)
    .await
    .unwrap();
    let mut log: BTreeMap<String, Vec<(i64, i64, String)>> = BTreeMap::new();
    for (slug, position, version, definition) in rows {
        log.entry(slug).or_default().push((position, version, definition));
    }
    let mut definitions = 0;
    for answer in answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        let position = answer.header("termbase-position").rsplit_once('-').unwrap().1.parse::<i64>().unwrap();
        let body = answer.json();
        let shown: Vec<&Value> = match body["items"].as_array() {
            Some(items) => items.iter().collect(),
            None => std::iter::once(&body).chain(body["related"].as_array().unwrap()).collect(),
        };
        for entity in shown {
            let changes = &log[entity["slug"].as_str().unwrap()];
            let (_, version, definition) = changes.iter().rfind(|change| change.0 <= position).unwrap();
            assert_eq!(entity["definition"], *definition, "at position {position}: {entity}");
            assert!(entity.get("version").is_none_or(|shown| *shown == *version), "at {position}: {entity}");
            definitions += 1;
        }
    }
    definitions
}

/// The same race, with numbers from a sequence instead of the head: the follower does lose changes. So the test above
/// would notice.
#[tokio::test]
async fn with_a_sequence_instead_of_the_head_a_follower_loses_changes() {
    let slugs = slugs("a", 5);
    let (app, ids) = glossary(&slugs).await;
    let swap = "
        alter table log_head rename to log_head_of_old;
        create sequence positions;
        select setval('positions', (select position from log_head_of_old));
        create view log_head as
            select only_row, log_id, (select last_value from positions) as position from log_head_of_old;
        create function take_position() returns trigger language plpgsql as $$
        begin
            new.position := nextval('positions');
            return new;
        end $$;
        create trigger take_position instead of update on log_head for each row execute function take_position();";
    sqlx::raw_sql(swap).execute(&mut app.database.connect().await).await.unwrap();
    let race = Race::new(&app, &slugs, &ids, usize::MAX).await;
    let mut follower = Follower::default();
    let following = async {
        let mut connection = app.database.connect().await;
        while follower.missing.is_empty() {
            follower.look(&mut connection).await;
        }
        race.is_over.set(true);
    };
    timeout(DEADLINE, async { join!(race.run(), following) }).await.expect("a change that comes too late");
    let mut connection = app.database.connect().await;
    follower.look(&mut connection).await;
    let (late, gaps) = follower.lost(&mut connection).await;
    assert!(late + gaps > 0, "{:?}", follower.missing);
    eprintln!("with a sequence, after {}: {late} changes lost, {gaps} numbers never taken", race.figures());
}

// The head, held.

/// A process that stops while it holds the head (a laptop that is closed, a machine that swaps) ends after two seconds for
/// the others, not after ten minutes.
#[tokio::test]
async fn a_writer_that_freezes_at_the_head_holds_the_others_up_for_two_seconds() {
    let slugs = slugs("a", 6);
    let (app, ids) = glossary(&slugs).await;
    let token = app.token(Role::Editor).await;
    let mut frozen = Write::open(&app.state, &Author::program("tests"), None).await.unwrap();
    let mut document = t("a5");
    document["definition"] = json!("Frozen.");
    frozen.apply(vec![term_again(ids[5], &document)]).await.unwrap();
    let mut close = pin!(frozen.close());
    let mut connection = app.database.connect().await;
    // What it does behind the head waits for this, so that it can't get to its end before it is seen to hold the head.
    let mut barrier = app.database.connect().await;
    sqlx::raw_sql("begin; lock table changes in share row exclusive mode").execute(&mut barrier).await.unwrap();
    let is_free = "select count(*) from (select from log_head for update skip locked) head";
    let freezing = async {
        while count(&mut connection, is_free).await == 1 {
            assert!(poll_immediate(&mut close).await.is_none(), "it went on to its end");
        }
    };
    timeout(DEADLINE, freezing).await.expect("a write that holds the head");
    // From here on nobody polls it.
    sqlx::raw_sql("commit").execute(&mut barrier).await.unwrap();
    let began = Instant::now();
    let patch = async |slug: &String| {
        let change = json!({"definition": "Later."});
        let answer = send_until_done(&app, Method::PATCH, &format!("/terms/{slug}"), &token, Some(&change), &[]).await;
        (answer.status.as_u16(), began.elapsed().as_millis())
    };
    let answers = join_all(slugs[..5].iter().map(patch)).await;
    eprintln!("statuses and milliseconds after the freeze: {answers:?}");
    assert!(answers.iter().all(|answer| answer.0 == 200), "{answers:?}");
    // It is told when it wakes up, and has written nothing.
    assert!(matches!(close.await, Err(Error::Unavailable(_))));
    assert_eq!(app.get("/terms/a5").await.json()["version"], 1);
    assert_whole(&mut connection).await;
}

/// Waiting writers held every connection, and reading was refused.
#[tokio::test]
async fn reading_goes_on_while_twenty_writers_wait() {
    let slugs = slugs("a", 20);
    let (app, _) = glossary(&slugs).await;
    let token = app.token(Role::Editor).await;
    let mut head = app.database.connect().await;
    let hold = "begin; select set_config('termbase.write', pg_current_xact_id()::text, true);
                update log_head set position = position";
    sqlx::raw_sql(hold).execute(&mut head).await.unwrap();
    let put_off = Cell::new(0);
    let writing = join_all(slugs.iter().map(async |slug| {
        let (path, change) = (format!("/terms/{slug}"), json!({"definition": "Later."}));
        let answer = app.send(Method::PATCH, &path, Some(&token), Some(&change), &[]).await;
        if answer.status != StatusCode::OK {
            assert_put_off(&answer);
            put_off.set(put_off.get() + 1);
        }
        answer
    }));
    let reading = async {
        let (mut reads, mut slowest) = (0, Duration::ZERO);
        // Until the first of those who wait for a connection gives up: then the others had theirs all the time.
        while put_off.get() == 0 {
            let began = Instant::now();
            assert_eq!(app.get("/terms/a0").await.status, 200);
            reads += 1;
            slowest = slowest.max(began.elapsed());
        }
        sqlx::raw_sql("commit").execute(&mut head).await.unwrap();
        (reads, slowest)
    };
    let (answers, (reads, slowest)) = timeout(DEADLINE, async { join!(writing, reading) }).await.expect("an end");
    let done = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    eprintln!(
        "{reads} reads meanwhile, the slowest {} ms; {done} writes went on, {} were put off",
        slowest.as_millis(),
        put_off.get()
    );
    assert!(done > 0);
    let again = app.send(Method::PATCH, "/terms/a0", Some(&token), Some(&json!({"definition": "Last."})), &[]).await;
    assert_eq!(again.status, 200);
    assert_whole(&mut app.database.connect().await).await;
}

// Retries.

#[tokio::test]
async fn two_hundred_retries_at_once_create_once() {
    let (app, _) = glossary(&[]).await;
    let token = app.token(Role::Editor).await;
    let key = [("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324")];
    let document = json!({"name": "Once", "definition": "D.", "category": "c", "status": "published"});
    let retries = (0..200).map(|_| send_until_done(&app, Method::POST, "/terms", &token, Some(&document), &key));
    let answers = join_all(retries).await;
    let mut replayed = 0;
    for answer in &answers {
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!((answer.header("location"), &answer.bytes), ("/terms/once", &answers[0].bytes));
        if answer.headers.contains_key("idempotency-replayed") {
            assert_eq!(answer.header("idempotency-replayed"), "true");
            replayed += 1;
        }
    }
    assert_eq!(replayed, 199);
    let mut connection = app.database.connect().await;
    assert_eq!(count(&mut connection, "select count(*) from terms").await, 1);
    assert_whole(&mut connection).await;

    // The key with another body is no retry.
    let mut other = document.clone();
    other["name"] = json!("Other");
    app.send(Method::POST, "/terms", Some(&token), Some(&other), &key).await.problem(422, "idempotency_key_reused");
    // Another's key is a key of its own: it meets the name, and what it makes is new.
    let another = app.token(Role::Editor).await;
    app.send(Method::POST, "/terms", Some(&another), Some(&document), &key).await.problem(409, "conflict");
    let made = app.send(Method::POST, "/terms", Some(&another), Some(&other), &key).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, "/terms/other"));
    assert!(!made.headers.contains_key("idempotency-replayed"));
}

#[tokio::test]
async fn a_request_that_failed_leaves_its_key_free() {
    let (app, _) = glossary(&slugs("a", 1)).await;
    let token = app.token(Role::Editor).await;
    let key = [("idempotency-key", "k")];
    let post = async |document: Value| app.send(Method::POST, "/terms", Some(&token), Some(&document), &key).await;
    let mut document = t("new");
    document["definition"] = json!("");
    post(document).await.problem(422, "invalid_document");
    let mut document = t("new");
    document["name"] = json!("a0");
    post(document).await.problem(409, "conflict");
    let mut document = t("new");
    document["category"] = json!("nowhere");
    post(document).await.problem(422, "invalid_document");
    let made = post(t("new")).await;
    assert_eq!((made.status.as_u16(), made.headers.contains_key("idempotency-replayed")), (201, false));
    assert_eq!(post(t("new")).await.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn of_twenty_who_put_a_new_document_one_creates_it() {
    let (app, _) = glossary(&[]).await;
    let token = app.token(Role::Editor).await;
    for number in 0..6 {
        let (headers, others) = if number % 2 == 0 { (&[("if-none-match", "*")][..], 412) } else { (&[][..], 200) };
        let (path, document) = (format!("/terms/a{number}/document"), t(&format!("a{number}")));
        let puts = (0..20).map(|_| send_until_done(&app, Method::PUT, &path, &token, Some(&document), headers));
        let mut statuses: Vec<u16> = join_all(puts).await.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable_by_key(|status| (*status != 201, *status));
        let mut expected = vec![others; 20];
        expected[0] = 201;
        assert_eq!(statuses, expected, "{path}");
        assert_eq!(app.get(&format!("/terms/a{number}")).await.json()["version"], 1);
    }
    assert_whole(&mut app.database.connect().await).await;
}

// Two that exclude each other.

const ORPHANS: &str = "select count(*) from terms t join categories c on c.id = t.category_id
                        where t.deleted_at is null and c.deleted_at is not null";

#[tokio::test]
async fn a_term_that_moves_into_a_category_that_is_being_deleted_is_refused() {
    let (app, _) = glossary(&slugs("a", 1)).await;
    let gone = app.write(vec![category(&json!({"name": "Gone"}))]).await.unwrap()[0].id;
    let token = app.token(Role::Editor).await;
    let mut connection = app.database.connect().await;
    let mut deleting = Write::open(&app.state, &Author::program("tests"), None).await.unwrap();
    deleting.apply(vec![Edit::Delete(Kind::Category, gone)]).await.unwrap();
    let moved = json!({"category": "gone"});
    let moving = app.send(Method::PATCH, "/terms/a0", Some(&token), Some(&moved), &[]);
    let ending = async {
        until_locked(&mut connection).await;
        deleting.close().await.unwrap();
    };
    let (answer, ()) = join!(moving, ending);
    answer.problem(422, "invalid_document");
    assert_eq!(count(&mut connection, ORPHANS).await, 0);
    assert_eq!(app.get("/terms/a0").await.json()["category"]["slug"], "c");
}

#[tokio::test]
async fn a_category_that_a_term_is_moving_into_is_not_deleted() {
    let (app, ids) = glossary(&slugs("a", 1)).await;
    app.write(vec![category(&json!({"name": "Gone"}))]).await.unwrap();
    let token = app.token(Role::Editor).await;
    let mut connection = app.database.connect().await;
    let mut moving = Write::open(&app.state, &Author::program("tests"), None).await.unwrap();
    let mut document = t("a0");
    document["category"] = json!("gone");
    moving.apply(vec![term_again(ids[0], &document)]).await.unwrap();
    let deleting = app.send(Method::DELETE, "/categories/gone", Some(&token), None, &[]);
    let ending = async {
        until_locked(&mut connection).await;
        moving.close().await.unwrap();
    };
    let (answer, ()) = join!(deleting, ending);
    let problem = answer.problem(409, "conflict");
    assert_eq!(problem["conflicts"][0]["slug"], "a0", "{problem}");
    assert_eq!(count(&mut connection, ORPHANS).await, 0);
    assert_eq!(app.get("/terms/a0").await.json()["category"]["slug"], "gone");
}
