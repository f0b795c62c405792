//! What is kept of answers: given as long as it is right, and no longer.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use sqlx::PgConnection;
use termbase::tokens::Role;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Answer, Content, TestApp, category, http_settings, term};

/// How often something is tried that needs a log which was looked at within a second: a busy machine may stand still for as
/// long.
const TRIES: usize = 30;

const PAGE: &str = "/terms/foundation-model";

/// What the service has counted of one outcome.
async fn counted(app: &TestApp, viewer: &str, outcome: &str) -> u64 {
    let metrics = app.send(Method::GET, "/metrics", Some(viewer), None, &[]).await;
    let text = String::from_utf8(metrics.bytes).unwrap();
    let line = format!("termbase_cache_answers_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse().unwrap()
}

async fn define(app: &TestApp, token: &str, path: &str, definition: &str) -> Answer {
    let answer = app.send(Method::PATCH, path, Some(token), Some(&json!({"definition": definition})), &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

#[tokio::test]
async fn an_answer_is_kept_until_a_change_touches_it() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    for round in 0..TRIES {
        let (behind, then) = (format!("Behind {round}."), format!("Then {round}."));
        app.get(PAGE).await;
        app.database.behind(&format!("update terms set definition = '{behind}' where slug = 'foundation-model'")).await;
        // Of something that the page does not show.
        define(&app, &editor, "/terms/embedding", &format!("Round {round}.")).await;
        let kept = app.get(PAGE).await.json()["definition"] != *behind;
        define(&app, &editor, PAGE, &then).await;
        assert_eq!(app.get(PAGE).await.json()["definition"], *then, "what was written is read");
        if kept {
            return;
        }
    }
    panic!("nothing was kept in {TRIES} rounds");
}

#[tokio::test]
async fn a_neighbours_change_shows_at_once_and_leaves_the_tag_of_what_it_does_not_touch() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let page = app.get(PAGE).await.json();
    let neighbour = page["related"][0]["slug"].as_str().unwrap().to_owned();
    let (other, list) = (app.get("/terms/embedding").await, app.get("/letters").await);
    let renamed = json!({"name": "Quite Another Name"});
    let write = app.send(Method::PATCH, &format!("/terms/{neighbour}"), Some(&editor), Some(&renamed), &[]).await;
    assert_eq!(write.status, 200, "{write:?}");
    let names: Vec<String> = app.get(PAGE).await.json()["related"]
        .as_array()
        .unwrap()
        .iter()
        .map(|card| card["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.contains(&"Quite Another Name".to_owned()), "{names:?}");
    let again = app.request(Method::GET, "/terms/embedding", &[("if-none-match", other.header("etag"))]).await;
    assert_eq!(again.status, 304);
    assert_ne!(app.get("/letters").await.header("etag"), list.header("etag"));
}

#[tokio::test]
async fn what_was_not_there_is_seen_as_soon_as_it_is() {
    let app = TestApp::with_samples().await;
    let (editor, path) = (app.token(Role::Editor).await, "/terms/state-space-model");
    for _ in 0..2 {
        app.get(path).await.problem(404, "not_found");
    }
    let document = json!({
        "name": "State Space Model", "definition": "It carries a state.", "category": "core-concepts", "status": "published"
    });
    let made = app.send(Method::POST, "/terms", Some(&editor), Some(&document), &[]).await;
    assert_eq!(made.status, 201, "{made:?}");
    for _ in 0..2 {
        assert_eq!(app.get(path).await.status, 200);
    }
    let renamed = json!({"slug": "ssm"});
    assert_eq!(app.send(Method::PATCH, path, Some(&editor), Some(&renamed), &[]).await.status, 200);
    for _ in 0..2 {
        let moved = app.get(path).await;
        assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "/terms/ssm"));
        assert_eq!(moved.header("cache-control"), "no-cache");
    }
    assert!(app.send(Method::DELETE, "/terms/ssm", Some(&editor), None, &[]).await.status.is_success());
    for path in [path, "/terms/ssm"] {
        app.get(path).await.problem(410, "gone");
    }
}

#[tokio::test]
async fn one_asks_for_all_who_come_meanwhile() {
    let app = TestApp::with_samples().await;
    let viewer = app.token(Role::Viewer).await;
    let mut lock = app.database.connect().await;
    sqlx::raw_sql("begin; lock table term_aliases in access exclusive mode").execute(&mut lock).await.unwrap();
    let reading = async { join_all((0..20).map(|_| app.get(PAGE))).await };
    let looking = async {
        while counted(&app, &viewer, "miss").await < 20 {}
        let waiting = "select count(*) from pg_stat_activity \
                       where datname = current_database() and wait_event_type = 'Lock'";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut lock).await.unwrap();
        sqlx::raw_sql("rollback").execute(&mut lock).await.unwrap();
        waiting
    };
    let (answers, waiting) = tokio::join!(reading, looking);
    assert_eq!(waiting, 1, "the same page is asked for once at a time");
    let first = &answers[0];
    for answer in &answers {
        assert_eq!((answer.status, &answer.bytes), (first.status, &first.bytes));
        assert_eq!((answer.status.as_u16(), answer.header("etag")), (200, first.header("etag")));
    }
}

#[tokio::test]
async fn who_leaves_leaves_the_others_their_answer() {
    let app = TestApp::with_samples().await;
    let viewer = app.token(Role::Viewer).await;
    let mut lock = app.database.connect().await;
    sqlx::raw_sql("begin; lock table term_aliases in access exclusive mode").execute(&mut lock).await.unwrap();
    let (client, address) = (app.client.clone(), format!("{}{PAGE}", app.address));
    let first = tokio::spawn(async move { client.get(address).send().await });
    while counted(&app, &viewer, "miss").await < 1 {}
    let others = async { join_all((0..5).map(|_| app.get(PAGE))).await };
    let leaving = async {
        while counted(&app, &viewer, "miss").await < 6 {}
        first.abort();
        assert!(first.await.is_err());
        sqlx::raw_sql("rollback").execute(&mut lock).await.unwrap();
    };
    let (answers, ()) = tokio::join!(others, leaving);
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
}

#[tokio::test]
async fn more_than_can_be_done_is_refused_at_once_and_the_rest_is_done() {
    let app = TestApp::with_samples().await;
    let mut lock = app.database.connect().await;
    sqlx::raw_sql("begin; lock table term_aliases in access exclusive mode").execute(&mut lock).await.unwrap();
    // Three connections have 48 places.
    let paths: Vec<String> = (0..60).map(|number| format!("/terms?limit={}", number + 1)).collect();
    let mut asked: Vec<_> =
        paths.iter().map(|path| tokio::spawn(app.client.get(format!("{}{path}", app.address)).send())).collect();
    let refused = |asked: &[tokio::task::JoinHandle<_>]| asked.iter().filter(|one| one.is_finished()).count();
    while refused(&asked) < 12 {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("rollback").execute(&mut lock).await.unwrap();
    let mut statuses = Vec::new();
    for one in asked.drain(..) {
        let answer = Answer::of(one.await.unwrap().unwrap()).await;
        if answer.status == 503 {
            answer.problem(503, "unavailable");
            assert_eq!(answer.header("retry-after"), "1");
        }
        statuses.push(answer.status.as_u16());
    }
    let (done, refused) = statuses.into_iter().partition::<Vec<_>, _>(|status| *status == 200);
    assert_eq!((done.len(), refused.len()), (48, 12), "{refused:?}");
}

#[tokio::test]
async fn who_sends_slowly_keeps_no_other_write_out() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let mut slow = Vec::new();
    // Twice as many of either as there are connections.
    for (path, content_type) in [("/terms", "application/json"), ("/import", "application/x-ndjson")].repeat(6) {
        let mut stream = TcpStream::connect(app.address.trim_start_matches("http://")).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: termbase\r\nAuthorization: Bearer {editor}\r\nContent-Type: {content_type}\r\n\
             Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).await.unwrap();
        assert_eq!(&line, b"HTTP/1.1 100");
        slow.push(stream);
    }
    define(&app, &editor, PAGE, "Written meanwhile.").await;
    assert_eq!(app.get(PAGE).await.json()["definition"], "Written meanwhile.");
}

#[tokio::test]
async fn two_instances_show_what_was_written_through_either() {
    let one = TestApp::with_samples().await;
    let other = one.beside().await;
    let editor = one.token(Role::Editor).await;
    for round in 0..5 {
        let definition = format!("Round {round}.");
        other.get(PAGE).await;
        let written = define(&one, &editor, PAGE, &definition).await;
        assert_eq!(one.get(PAGE).await.json()["definition"], *definition, "where it was written, at once");
        let after = [("termbase-after", written.header("termbase-position"))];
        let there = other.request(Method::GET, PAGE, &after).await;
        if there.status != 503 {
            assert_eq!(there.json()["definition"], *definition, "elsewhere at once, for who asks for it");
            assert_eq!(there.header("cache-control"), "private, no-store");
        }
        while other.get(PAGE).await.json()["definition"] != *definition {}
    }
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_scanning_leaves_pages_alone() {
    let mut settings = http_settings();
    settings.cache_bytes = 1024 * 1024;
    let app = TestApp::start(Content::Samples, settings).await;
    let viewer = app.token(Role::Viewer).await;
    for number in 1..=100 {
        assert_eq!(app.get(&format!("/terms?limit={number}")).await.status, 200);
    }
    for number in 0..300 {
        app.get(&format!("/terms/nothing-{number}")).await.problem(404, "not_found");
    }
    let metrics = app.send(Method::GET, "/metrics", Some(&viewer), None, &[]).await;
    let text = String::from_utf8(metrics.bytes).unwrap();
    let bytes: f64 = text.lines().find_map(|line| line.strip_prefix("termbase_cache_bytes ")).unwrap().parse().unwrap();
    assert!((1.0..=1024.0 * 1024.0).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn while_the_database_is_away_what_is_kept_is_answered_with_its_age_and_all_else_refused() {
    let mut settings = http_settings();
    settings.patience = Duration::from_millis(500);
    let app = TestApp::start(Content::Samples, settings).await;
    let editor = app.token(Role::Editor).await;
    let before = loop {
        let answer = app.get(PAGE).await;
        if answer.status == 200 {
            break answer;
        }
    };
    app.database.close().await;
    let aged = loop {
        let answer = app.get(PAGE).await;
        assert_eq!((answer.status.as_u16(), &answer.bytes), (200, &before.bytes), "{answer:?}");
        if answer.headers.contains_key("age") {
            break answer;
        }
    };
    assert_eq!(aged.header("etag"), before.header("etag"));
    let encoded = app.request(Method::GET, PAGE, &[("accept-encoding", "br")]).await;
    assert_eq!((encoded.status.as_u16(), encoded.header("content-encoding")), (200, "br"));
    let known = app.request(Method::GET, PAGE, &[("if-none-match", before.header("etag"))]).await;
    assert_eq!(known.status, 304);
    for answer in [
        app.get("/terms/embedding").await,
        app.get("/changes").await,
        app.send(Method::PATCH, PAGE, Some(&editor), Some(&json!({"definition": "No."})), &[]).await,
        app.get("/readyz").await,
    ] {
        answer.problem(503, "unavailable");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(app.get("/healthz").await.status, 200);
    app.database.open().await;
    while app.get("/readyz").await.status != 200 {}
    let written = loop {
        let body = json!({"definition": "After it."});
        let answer = app.send(Method::PATCH, PAGE, Some(&editor), Some(&body), &[]).await;
        if answer.status == 200 {
            break answer;
        }
    };
    assert_eq!(written.json()["definition"], "After it.");
    let after = loop {
        let answer = app.get(PAGE).await;
        if answer.status == 200 {
            break answer;
        }
    };
    assert_eq!(after.json()["definition"], "After it.", "{after:?}");
    assert!(!after.headers.contains_key("age"));
}

/// By a proxy that lets none grow old, say: Postgres answers all the while.
#[tokio::test]
async fn a_follower_whose_connection_is_cut_takes_another_and_nobody_is_refused() {
    let app = TestApp::with_samples().await;
    let mut postgres = app.database.connect().await;
    for _ in 0..5 {
        let cut = loop {
            if let Some(process) = follower(&mut postgres).await {
                break process;
            }
        };
        // Its first look may not be done: two connections that are cut in one look are as good as none.
        let seen = Instant::now();
        while app.get("/readyz").await.json()["look_age_ms"].as_f64().unwrap() >= seen.elapsed().as_secs_f64() * 1_000.0
        {
        }
        sqlx::query("select pg_terminate_backend($1)").bind(cut).execute(&mut postgres).await.unwrap();
        while follower(&mut postgres).await.is_none_or(|process| process == cut) {
            assert_eq!(app.get("/readyz").await.status, 200);
            assert_eq!(app.get("/search?q=model").await.status, 200);
        }
    }
}

/// The process of Postgres at the follower's connection.
async fn follower(postgres: &mut PgConnection) -> Option<i32> {
    let processes = "select pid from pg_stat_activity
                      where datname = current_database() and pid <> pg_backend_pid()
                        and query like '%from changes%position >=%'";
    sqlx::query_scalar(processes).fetch_optional(postgres).await.unwrap()
}

#[tokio::test]
async fn a_category_that_is_made_shows_in_what_lists_them() {
    let app = TestApp::empty().await;
    for name in ["A", "B"] {
        let (list, tree) = (app.get("/categories").await.json(), app.get("/category-tree").await);
        app.write(vec![category(&json!({"name": name}))]).await.unwrap();
        let now = app.get("/categories").await.json();
        assert_eq!(now["total"].as_i64(), list["total"].as_i64().map(|total| total + 1));
        assert_ne!(app.get("/category-tree").await.header("etag"), tree.header("etag"));
    }
    let document = json!({"name": "T", "definition": "d", "category": "a", "status": "published"});
    assert_eq!(app.get("/terms").await.json()["total"], 0);
    app.write(vec![term(&document)]).await.unwrap();
    assert_eq!(app.get("/terms").await.json()["total"], 1);
}
