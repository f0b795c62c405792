//! The log as it is told: each change once and in order, or that this is not possible.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use termbase::{changes, tokens::Role};

use crate::support::{Answer, Content, TestApp, http_settings};

/// What follows a position, read to the end in pages of so many.
async fn told(app: &TestApp, token: Option<&str>, after: &str, limit: usize) -> (Vec<Value>, String) {
    let (mut items, mut position) = (Vec::new(), after.to_owned());
    loop {
        let path = format!("/changes?after={position}&limit={limit}");
        let answer = app.send(Method::GET, &path, token, None, &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        page["position"].as_str().unwrap().clone_into(&mut position);
        assert_eq!(answer.header("termbase-position"), position);
        if !page["more"].as_bool().unwrap() {
            return (items, position);
        }
    }
}

async fn now(app: &TestApp) -> String {
    let answer = app.get("/changes").await.json();
    assert_eq!((&answer["items"], &answer["more"]), (&json!([]), &json!(false)));
    answer["position"].as_str().unwrap().to_owned()
}

/// The position with another number, of the same log.
fn numbered(position: &str, number: i64) -> String {
    format!("{}-{number}", position.rsplit_once('-').unwrap().0)
}

fn number(position: &str) -> i64 {
    position.rsplit_once('-').unwrap().1.parse().unwrap()
}

async fn done(app: &TestApp, method: Method, path: &str, token: &str, body: Option<Value>) -> Answer {
    let answer = app.send(method, path, Some(token), body.as_ref(), &[]).await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer
}

#[tokio::test]
async fn each_change_is_told_once_and_in_order_to_who_could_see_it() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let before = now(&app).await;
    let draft = json!({"name": "Draft One", "slug": "working-title", "definition": "d", "category": "core-concepts"});
    done(&app, Method::POST, "/terms", &editor, Some(draft)).await;
    let publish = json!({"slug": "draft-one", "status": "published"});
    done(&app, Method::PATCH, "/terms/working-title", &editor, Some(publish)).await;
    done(&app, Method::PATCH, "/terms/draft-one", &editor, Some(json!({"slug": "one"}))).await;
    done(&app, Method::DELETE, "/terms/one", &editor, None).await;
    let admin = app.token(Role::Admin).await;
    let trash = app.send(Method::GET, "/trash", Some(&admin), None, &[]).await.json();
    let id = trash["items"][0]["id"].as_str().unwrap().to_owned();
    done(&app, Method::DELETE, &format!("/trash/{id}"), &admin, None).await;

    let (all, end) = told(&app, Some(&editor), &before, 100).await;
    let whats: Vec<_> = all.iter().map(|change| (&change["what"], &change["slug"], &change["former_slug"])).collect();
    assert_eq!(
        json!(whats),
        json!([
            ["created", "working-title", null],
            ["updated", "draft-one", "working-title"],
            ["updated", "one", "draft-one"],
            ["deleted", "one", null],
            ["purged", "one", null]
        ])
    );
    let (open, open_end) = told(&app, None, &before, 1).await;
    let whats: Vec<_> = open.iter().map(|change| (&change["what"], &change["slug"], &change["former_slug"])).collect();
    // Under its working title nobody could read it.
    assert_eq!(
        json!(whats),
        json!([
            ["updated", "draft-one", null],
            ["updated", "one", "draft-one"],
            ["deleted", "one", null],
            // What was `410` is `404` now.
            ["purged", "one", null]
        ])
    );
    assert_eq!((&end, number(&end)), (&open_end, number(&before) + 5));
    let positions: Vec<_> = all.iter().map(|change| change["position"].as_str().unwrap().to_owned()).collect();
    let expected: Vec<_> = (1..=5).map(|step| numbered(&before, number(&before) + step)).collect();
    assert_eq!(positions, expected);
    let (public, change) = (["public_before", "public_after"], &open[0]);
    assert_eq!(public.map(|name| &change[name]), [&json!(false), &json!(true)]);
    assert_eq!((&change["kind"], &change["entity"]), (&json!("term"), &all[0]["entity"]));
    let keys: Vec<_> = change["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    assert!(keys.contains(&"terms") && keys.contains(&"slug:term/draft-one"), "{keys:?}");
    assert!(!keys.contains(&"slug:term/working-title"), "{keys:?}");
    assert!(all[1]["keys"].as_array().unwrap().contains(&json!("slug:term/working-title")));
}

#[tokio::test]
async fn an_instance_that_came_later_tells_what_was_before_it() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let end = now(&app).await;
    let later = app.beside().await;
    let start = numbered(&end, 0);
    let (here, there) = (told(&app, Some(&editor), &start, 7).await, told(&later, Some(&editor), &start, 1000).await);
    assert_eq!(here.0.len(), usize::try_from(number(&end)).unwrap());
    assert_eq!(here, there);
}

#[tokio::test]
async fn who_waits_is_answered_by_the_change_and_not_before() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let before = now(&app).await;
    let waiting = app.get(&format!("/changes?wait=1&after={before}")).await.json();
    assert_eq!((&waiting["items"], &waiting["position"]), (&json!([]), &json!(before)));
    let path = format!("{}/changes?wait=30&after={before}", app.address);
    let waiting = tokio::spawn(app.client.get(path).send());
    done(&app, Method::PATCH, "/terms/embedding", &editor, Some(json!({"definition": "New."}))).await;
    let answer = Answer::of(waiting.await.unwrap().unwrap()).await.json();
    assert_eq!(answer["items"][0]["slug"], "embedding", "{answer}");
    assert_eq!(answer["items"].as_array().unwrap().len(), 1);
}

/// The events of a stream as they come.
struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    async fn open(app: &TestApp, last: Option<&str>) -> Self {
        let mut request = app.client.get(format!("{}/changes/stream", app.address));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut events = Events { response, text: String::new() };
        assert!(events.next().await.unwrap().starts_with("retry: "));
        events
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = event.to_owned();
                self.text = rest.into();
                return Some(event);
            }
            self.text += std::str::from_utf8(&self.response.chunk().await.unwrap()?).unwrap();
        }
    }

    /// The next change: its id, and what it says.
    async fn change(&mut self) -> (String, Value) {
        loop {
            let event = self.next().await.unwrap();
            let line = |name| event.lines().find_map(|line| line.strip_prefix(name)).map(ToOwned::to_owned);
            if let Some(data) = line("data: ") {
                assert_eq!(line("event: ").unwrap(), "change");
                return (line("id: ").unwrap(), serde_json::from_str(&data).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn a_stream_tells_each_change_and_is_resumed_where_it_broke_off() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let define = async |definition: &str| {
        let body = json!({"definition": definition});
        done(&app, Method::PATCH, "/terms/embedding", &editor, Some(body)).await.header("termbase-position").to_owned()
    };
    let (mut one, mut other) = (Events::open(&app, None).await, Events::open(&app, None).await);
    let first = define("One.").await;
    for events in [&mut one, &mut other] {
        let (id, change) = events.change().await;
        assert_eq!((&id, &change["position"], &change["slug"]), (&first, &json!(first), &json!("embedding")));
    }
    drop(one);
    let (second, third) = (define("Two.").await, define("Three.").await);
    let mut again = Events::open(&app, Some(&first)).await;
    for expected in [&second, &third] {
        assert_eq!(&again.change().await.0, expected);
        assert_eq!(&other.change().await.0, expected);
    }
    // An instance that came later has what is missed from the log.
    let later = app.beside().await;
    let mut there = Events::open(&later, Some(&first)).await;
    for expected in [&second, &third] {
        assert_eq!(&there.change().await.0, expected);
    }
    let head = app.request(Method::HEAD, "/changes/stream", &[]).await;
    assert_eq!((head.status.as_u16(), head.header("content-type")), (200, "text/event-stream"));
    app.state.unfollow();
    assert_eq!(again.next().await, None, "a service that stops ends its streams");
}

#[tokio::test]
async fn a_position_that_cannot_be_gone_on_from_is_a_410() {
    let mut settings = http_settings();
    settings.changes_kept = Duration::ZERO;
    let app = TestApp::start(Content::Samples, settings).await;
    let end = now(&app).await;
    assert!(changes::trim(&app.state).await.unwrap() > 0);
    assert_eq!(changes::trim(&app.state).await.unwrap(), 0, "the newest stays");
    // The one that has read them before tells them still.
    let later = app.beside().await;
    let other_log = "0123456789abcdef0123456789abcdef-1";
    for path in ["/changes", "/changes/stream"] {
        let ask = async |after: &str| later.get(&format!("{path}?after={after}")).await;
        ask(&numbered(&end, 0)).await.problem(410, "changes_trimmed");
        ask(&numbered(&end, number(&end) - 2)).await.problem(410, "changes_trimmed");
        ask(other_log).await.problem(410, "log_restarted");
        ask(&numbered(&end, number(&end) + 1)).await.problem(503, "unavailable");
        ask("nonsense").await.problem(400, "bad_request");
        assert_eq!(ask(&end).await.status, 200);
    }
    let last = [("last-event-id", other_log)];
    later.request(Method::GET, "/changes/stream", &last).await.problem(410, "log_restarted");
    later.request(Method::GET, "/changes/stream", &[("last-event-id", "x")]).await.problem(400, "bad_request");
    assert_eq!(later.request(Method::GET, "/changes/stream", &[("last-event-id", "")]).await.status, 200);
    // What is kept answers from where it was checked, which the log still has.
    let position = later.get("/terms").await.header("termbase-position").to_owned();
    assert_eq!(later.get(&format!("/changes?after={position}")).await.status, 200);
}

/// One that nobody follows while it is restored is known at the next start by where it is.
#[tokio::test]
async fn a_database_that_is_elsewhere_begins_another_log() {
    let app = TestApp::with_samples().await;
    let before = now(&app).await;
    for _ in 0..2 {
        changes::settle(&app.state).await.unwrap();
        assert_eq!(now(&app).await, before);
    }
    app.database.behind("update log_head set place = 'elsewhere'").await;
    changes::settle(&app.state).await.unwrap();
    while now(&app).await.split_once('-').unwrap().0 == before.split_once('-').unwrap().0 {}
    app.get(&format!("/changes?after={before}")).await.problem(410, "log_restarted");
    let after = now(&app).await;
    changes::settle(&app.state).await.unwrap();
    assert_eq!(now(&app).await, after);
}

#[tokio::test]
async fn a_restored_database_begins_another_log() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let other = app.beside().await;
    for app in [&app, &other] {
        app.get("/terms/embedding").await;
    }
    let restored_to = now(&app).await;
    let mut events = Events::open(&app, None).await;
    let written = done(&app, Method::PATCH, "/terms/embedding", &editor, Some(json!({"definition": "Lost."}))).await;
    let lost = written.header("termbase-position").to_owned();
    assert_eq!(events.change().await.0, lost);
    while now(&other).await != lost {}
    // What is kept shows what is lost.
    for app in [&app, &other] {
        assert_eq!(app.get("/terms/embedding").await.json()["definition"], "Lost.");
    }
    let to = number(&restored_to);
    app.database
        .behind(&format!(
            "delete from changes where position > {to}; update log_head set position = {to}; \
             update terms set definition = 'As it was.' where slug = 'embedding'"
        ))
        .await;
    while events.next().await.is_some() {}
    for app in [&app, &other] {
        while now(app).await.split_once('-').unwrap().0 == lost.split_once('-').unwrap().0 {}
        app.get(&format!("/changes?after={lost}")).await.problem(410, "log_restarted");
        let old = [("termbase-after", &*lost)];
        app.request(Method::GET, "/terms/embedding", &old).await.problem(410, "log_restarted");
        assert_eq!(app.get("/terms/embedding").await.json()["definition"], "As it was.");
    }
    assert_eq!(now(&app).await.split_once('-').unwrap().0, now(&other).await.split_once('-').unwrap().0);
    let again = done(&app, Method::PATCH, "/terms/embedding", &editor, Some(json!({"definition": "New."}))).await;
    let after = [("termbase-after", again.header("termbase-position"))];
    let there = other.request(Method::GET, "/terms/embedding", &after).await;
    assert_eq!(there.json()["definition"], "New.");
}
