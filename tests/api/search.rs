//! Searching: what is found and in which order, what is shown of it, and that reading goes on meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use termbase::{editorial::Edit, tokens::Role};
use tokio::time::timeout;

use crate::{
    desk::{Desk, at, slugs, with},
    support::{Content, Database, TestApp, category, company, http_settings, term},
};

/// Whatever takes longer hangs.
const DEADLINE: Duration = Duration::from_mins(1);

/// A published term of the category `c` by its name; the slug is made from it.
fn named(name: &str) -> Value {
    json!({"name": name, "definition": "D.", "category": "c", "status": "published"})
}

async fn app_of(documents: &[Value]) -> TestApp {
    let app = TestApp::empty().await;
    let mut edits = vec![category(&json!({"name": "C"}))];
    edits.extend(documents.iter().map(term));
    app.write(edits).await.unwrap();
    app
}

fn path(question: &str) -> String {
    let mut path = url::form_urlencoded::Serializer::new("/search?".to_owned());
    path.append_pair("q", question).finish()
}

/// Name and tier of what is found.
async fn found(app: &TestApp, question: &str) -> Vec<(String, String)> {
    let results = app.get(&path(question)).await.ok();
    let pair = |item: &Value| (item["name"].as_str().unwrap().to_owned(), item["tier"].as_str().unwrap().to_owned());
    results["items"].as_array().unwrap().iter().map(pair).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, tier)| ((*name).to_owned(), (*tier).to_owned())).collect()
}

// The order

#[tokio::test]
async fn what_is_called_that_stands_before_all_that_begins_like_that() {
    let app = app_of(&[
        named("Aid"),
        named("Air Conditioning"),
        with(named("Artificial Intelligence"), "aliases", json!([{"name": "AI", "kind": "acronym"}])),
        named("Applied AI"),
        with(named("Machine"), "definition", "What AI runs on."),
        named("Main"),
    ])
    .await;
    let expected = pairs(&[
        ("Artificial Intelligence", "alias"),
        ("Aid", "prefix"),
        ("Air Conditioning", "prefix"),
        ("Applied AI", "words"),
        ("Machine", "text"),
    ]);
    assert_eq!(found(&app, "AI").await, expected);
    assert_eq!(found(&app, "  ai ").await, expected, "case and space don't matter");
}

#[tokio::test]
async fn names_of_signs_are_told_apart() {
    let names = ["C", "C++", "C#", "R", ".NET", "Caching", "Recall", "Net"];
    let app = app_of(&names.map(|name| with(named(name), "definition", format!("It is {name}.")))).await;
    for name in ["C", "C++", "C#", "R", ".NET", "Net"] {
        assert_eq!(found(&app, name).await[0], (name.to_owned(), "name".to_owned()));
    }
    assert!(found(&app, "net").await.contains(&(".NET".to_owned(), "words".to_owned())), "without its sign");
}

#[tokio::test]
async fn aliases_are_found_by_their_kinds_and_shown_unless_they_are_hidden() {
    let aliases = |name: &str, kind: &str| json!([{"name": name, "kind": kind}]);
    let app = app_of(&[
        with(named("By synonym"), "aliases", aliases("Same", "synonym")),
        with(named("By hidden name"), "aliases", aliases("Same", "hidden")),
        with(named("By acronym"), "aliases", aliases("Same", "acronym")),
        named("Same"),
        with(named("Secret"), "aliases", aliases("Misspelt nmae", "hidden")),
    ])
    .await;
    let results = app.get("/search?q=same").await.ok();
    let shown: Vec<(&str, &Value)> = results["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["name"].as_str().unwrap(), &item["alias"]))
        .collect();
    let (same, none) = (json!("Same"), Value::Null);
    assert_eq!(shown, [("Same", &none), ("By acronym", &same), ("By synonym", &same), ("By hidden name", &none)]);
    for question in ["Misspelt nmae", "misspelt", "nmae"] {
        for address in ["/search", "/suggest"] {
            let answer = app.get(&path(question).replace("/search", address)).await;
            assert_eq!(slugs(&answer.ok()["items"]), ["secret"], "{address} {question}");
            assert!(!String::from_utf8_lossy(&answer.bytes).contains("nmae"), "what is hidden is shown nowhere");
        }
    }
}

#[tokio::test]
async fn accents_width_and_scripts_are_searched_as_they_are_folded() {
    let app = app_of(&[named("Déjà Vu"), named("深度学习"), named("ディープラーニング"), named("Эмбеддинг")]).await;
    for (question, name) in [
        ("deja vu", "Déjà Vu"),
        ("ＤＥＪＡ　ＶＵ", "Déjà Vu"),
        ("学习", "深度学习"),
        ("度", "深度学习"),
        ("ラーニング", "ディープラーニング"),
        ("ЭМБЕДДИНГ", "Эмбеддинг"),
    ] {
        assert_eq!(found(&app, question).await.first().map(|found| found.0.as_str()), Some(name), "{question}");
    }
    assert_eq!(found(&app, "度学").await, pairs(&[("深度学习", "words")]));
    assert_eq!(found(&app, "习深").await, [], "not in any order");
}

#[tokio::test]
async fn a_few_wrong_letters_are_forgiven_where_no_name_is_found() {
    let app = app_of(&[
        named("Transformer"),
        named("Transform"),
        named("Perceptron"),
        named("Bias"),
        named("Loss"),
        named("Foundation Model"),
        named("The Scaling Law of All"),
    ])
    .await;
    for (question, name) in [
        ("Transfromer", "Transformer"),
        ("rtansformer", "Transformer"),
        ("tranformar", "Transformer"),
        ("perseptron", "Perceptron"),
        ("perzeptrom", "Perceptron"),
        ("baias", "Bias"),
    ] {
        let first = found(&app, question).await.into_iter().next();
        assert_eq!(first, Some((name.to_owned(), "typo".to_owned())), "{question}");
    }
    for (question, name) in
        [("foundtion", "Foundation Model"), ("transfrm", "Transformer"), ("scaling lwa", "The Scaling Law of All")]
    {
        let names: Vec<String> = found(&app, question).await.into_iter().map(|found| found.0).collect();
        assert!(names.contains(&name.to_owned()), "a part of a name: {question} finds {names:?}");
    }
    assert_eq!(
        found(&app, "transform").await,
        pairs(&[("Transform", "name"), ("Transformer", "prefix")]),
        "a name is found"
    );
    assert_eq!(found(&app, "lo").await, pairs(&[("Loss", "prefix")]));
    assert_eq!(found(&app, "los x").await, [], "too far");
}

#[tokio::test]
async fn words_of_texts_are_found_in_all_their_forms_and_definitions_stand_first() {
    let app = app_of(&[
        with(named("In a body"), "body", "A long text. Networks are *trained* on it."),
        with(
            named("In a long definition"),
            "definition",
            "Of the many kinds of network this one was trained by hand, slowly.",
        ),
        with(named("In a definition"), "definition", "Trains a network."),
        with(named("Of a trained"), "definition", "A network."),
        named("Nothing of it"),
    ])
    .await;
    let edits =
        vec![company(&json!({"name": "Trainers", "description": "They train networks.", "status": "published"}))];
    app.write(edits).await.unwrap();
    let names: Vec<String> = found(&app, "training networks").await.into_iter().map(|found| found.0).collect();
    assert_eq!(names, ["Of a trained", "In a definition", "Trainers", "In a long definition", "In a body"]);
    let hyphens = with(named("Hyphens"), "definition", "It came after GPT-3, and was self-supervised.");
    app.write(vec![term(&with(hyphens, "slug", "hyphens"))]).await.unwrap();
    for question in ["gpt-3", "gpt 3", "GPT–3", "self supervised"] {
        assert_eq!(found(&app, question).await, pairs(&[("Hyphens", "text")]), "{question}");
    }
    assert_eq!(found(&app, "the").await, [], "a word that stands in every text finds nothing by itself");
}

// What is shown

#[tokio::test]
async fn highlights_are_safe_and_mark_what_was_asked() {
    let app = app_of(&[json!({
        "name": "<b>Mark</b> & Co", "slug": "m", "category": "c", "status": "published",
        "definition": "\"Marks\" <script>alert('1')</script> & more.", "body": "Before. **Bold** <i>after</i> the `needle` & the rest.",
    })])
    .await;
    let highlights = |results: &Value| results["items"][0]["highlights"].clone();
    let shown = highlights(&app.get("/search?q=mark").await.ok());
    assert_eq!(shown["name"], "&lt;b&gt;<mark>Mark</mark>&lt;/b&gt; &amp; Co");
    assert_eq!(
        shown["text"],
        "&quot;<mark>Marks</mark>&quot; &lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; more."
    );
    assert_eq!(shown["body"], Value::Null);
    let shown = highlights(&app.get("/search?q=needle").await.ok());
    assert_eq!(shown["body"], "Before. Bold after the <mark>needle</mark> &amp; the rest.");
    let whole = highlights(&app.get(&path("<B>mark</B> & co")).await.ok());
    assert_eq!(whole["name"], "<mark>&lt;b&gt;Mark&lt;/b&gt; &amp; Co</mark>");
}

#[tokio::test]
async fn suggestions_are_the_names_that_may_be_meant() {
    let app = app_of(&[
        with(named("Foundation Model"), "aliases", json!([{"name": "FM", "kind": "acronym"}])),
        named("Model Card"),
        with(named("Other"), "definition", "About a model."),
    ])
    .await;
    let suggested = async |question: &str| -> Vec<(String, Value, Value)> {
        let items = app.get(&format!("/suggest?q={question}")).await.ok()["items"].clone();
        let of = |item: &Value| {
            (item["slug"].as_str().unwrap().to_owned(), item["alias"].clone(), item["highlight"].clone())
        };
        items.as_array().unwrap().iter().map(of).collect()
    };
    let expected = [
        ("model-card".to_owned(), Value::Null, json!("<mark>Mod</mark>el Card")),
        ("foundation-model".to_owned(), Value::Null, json!("Foundation <mark>Model</mark>")),
    ];
    assert_eq!(suggested("mod").await, expected);
    assert_eq!(suggested("fm").await, [("foundation-model".to_owned(), json!("FM"), json!("<mark>FM</mark>"))]);
    assert_eq!(suggested("mod&limit=1").await, expected[..1]);
    assert_eq!(suggested("fuondation+model").await[0].0, "foundation-model");
}

// Filters and pages

async fn library() -> TestApp {
    let app = TestApp::empty().await;
    let mut edits = vec![
        category(&json!({"name": "Top"})),
        category(&json!({"name": "Below", "parent": "top"})),
        category(&json!({"name": "Model theory"})),
        company(&json!({"name": "Model makers", "categories": ["below"], "status": "published"})),
        company(&json!({"name": "Model hiders", "categories": ["below"]})),
    ];
    for (number, home) in ["top", "below", "below", "model-theory"].iter().cycle().take(30).enumerate() {
        let document = with(with(named(&format!("Model {number:02}")), "category", *home), "definition", "A thing.");
        edits.push(term(&document));
    }
    edits.push(term(&with(with(named("Model draft"), "category", "top"), "status", "draft")));
    let old = with(with(named("Model of old"), "category", "top"), "status", "deprecated");
    edits.push(term(&with(old, "replaced_by", json!(["model-00"]))));
    app.write(edits).await.unwrap();
    app
}

#[tokio::test]
async fn a_search_is_narrowed_and_counted() {
    let app = library().await;
    for (filter, total) in [
        ("", 32),
        ("&kind=term", 30),
        ("&kind=company", 1),
        ("&kind=category", 1),
        ("&category=top", 24),
        ("&category=below", 16),
        ("&category=below&kind=term", 15),
        ("&category=model-theory", 8),
        ("&status=deprecated", 1),
    ] {
        let results = app.get(&format!("/search?q=model{filter}")).await.ok();
        assert_eq!(results["total"], total, "{filter}");
    }
    let counts = app.get("/search?q=model&limit=1").await.ok()["categories"].clone();
    let counts: Vec<(&str, i64)> = counts
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["category"]["slug"].as_str().unwrap(), one["count"].as_i64().unwrap()))
        .collect();
    assert_eq!(counts, [("top", 24), ("below", 16), ("model-theory", 8)], "of all that is found, not of the page");
    for (slug, count) in counts {
        let narrowed = app.get(&format!("/search?q=model&category={slug}")).await.ok();
        assert_eq!(narrowed["total"], count, "as many as the filter leaves: {slug}");
    }
}

#[tokio::test]
async fn pages_of_a_search_hold_each_thing_once() {
    let app = library().await;
    let all = slugs(&app.get("/search?q=model&limit=100").await.ok()["items"]);
    for limit in [1, 7, 31, 32] {
        let (mut walked, mut next) = (Vec::new(), Some(format!("/search?q=model&limit={limit}")));
        while let Some(address) = next {
            let answer = app.get(&address).await;
            walked.extend(slugs(&answer.ok()["items"]));
            let link = answer.headers.get("link").map(|link| link.to_str().unwrap().to_owned());
            assert_eq!(link.is_some(), !answer.json()["next_cursor"].is_null());
            next = link.map(|link| link.split(['<', '>']).nth(1).unwrap().to_owned());
        }
        assert_eq!(walked, all, "limit {limit}");
    }
    let cursor = app.get("/search?q=model&limit=1").await.ok()["next_cursor"].as_str().unwrap().to_owned();
    app.get(&format!("/search?q=other&cursor={cursor}")).await.problem(400, "bad_request");
}

#[tokio::test]
async fn what_is_not_public_is_found_by_nobody_without_a_token() {
    let app = library().await;
    for question in ["model draft", "model hiders", "hiders", "draft"] {
        let results = app.get(&path(question)).await.ok();
        assert!(
            !slugs(&results["items"]).iter().any(|slug| slug.contains("hiders") || slug.contains("draft")),
            "{question}"
        );
    }
    app.get("/search?q=model&status=draft").await.problem(401, "token_required");
    app.get("/suggest?q=model&status=draft").await.problem(401, "token_required");
    let viewer = Desk::of(&app, Role::Viewer).await;
    let mut drafts = slugs(&viewer.get("/search?q=model&status=draft").await.ok()["items"]);
    drafts.sort();
    assert_eq!(drafts, ["model-draft", "model-hiders"]);
    let editor = Desk::of(&app, Role::Editor).await;
    editor.delete("/terms/model-00").await;
    editor.delete("/companies/model-makers").await;
    assert_eq!(app.get("/search?q=model").await.ok()["total"], 30);
    assert!(!slugs(&app.get("/search?q=model+00").await.ok()["items"]).contains(&"model-00".to_owned()));
}

// What is asked

#[tokio::test]
async fn nothing_that_is_asked_is_a_syntax_error() {
    let app = library().await;
    let signs = [
        "a & b",
        "a | !b",
        "(a",
        "a)",
        "a:*",
        "a:b",
        "'",
        "''",
        "\\",
        "\\'",
        "\"a b\"",
        "\"",
        "a <-> b",
        "%",
        "_",
        "a%_\\",
        "-a",
        "--",
        "*",
        "?",
        "C++ && C#",
        "a\u{301}",
        "\u{1f600}",
        "<script>",
        "{}",
        "[]",
        "$1",
        ";",
        "; drop table terms",
        "\u{7f}",
        "a\u{200b}b",
        "~",
        "@@",
        "&",
        "|",
        "!",
        "度:*",
        "\u{fffd}",
        "\u{10ffff}",
        "or",
        "and not",
        "null",
    ];
    for question in signs {
        for address in ["/search", "/suggest"] {
            let answer = app.get(&path(question).replace("/search", address)).await;
            assert!([200, 400].contains(&answer.status.as_u16()), "{address} {question:?}: {answer:?}");
            if answer.status == 400 {
                assert_eq!(answer.faults(), at(&[("q", "nothing_visible")]), "{question:?}");
            }
        }
    }
    for word in ["a".repeat(200), "度".repeat(200), "a b ".repeat(50), "\u{fdfa}".repeat(200)] {
        assert_eq!(app.get(&path(&word)).await.status, 200, "{word}");
    }
}

#[tokio::test]
async fn the_mistakes_of_a_question_are_told_at_once() {
    let app = library().await;
    assert_eq!(app.get("/search").await.faults(), at(&[("q", "required")]));
    assert_eq!(app.get("/search?q=").await.faults(), at(&[("q", "nothing_visible")]));
    assert_eq!(app.get(&path(&"x".repeat(201))).await.faults(), at(&[("q", "too_long")]));
    let answer = app.get("/search?q=%00&kind=terms&category=nope&status=new&limit=0&sort=name").await;
    let expected = at(&[
        ("q", "null_byte"),
        ("kind", "unknown_value"),
        ("status", "unknown_value"),
        ("limit", "out_of_range"),
        ("category", "unknown_reference"),
        ("sort", "unknown_parameter"),
    ]);
    assert_eq!(answer.faults(), expected);
    assert_eq!(app.get("/suggest?q=a&limit=21").await.faults(), at(&[("limit", "out_of_range")]));
}

// Its share

/// An app whose searches wait, and whose other reads don't, until the connection commits.
async fn held() -> (TestApp, PgConnection) {
    let app = TestApp::serve(Database::create(Content::Samples).await, http_settings(), 4).await;
    let mut connection = app.database.connect().await;
    sqlx::raw_sql("begin; lock table term_aliases in access exclusive mode").execute(&mut connection).await.unwrap();
    (app, connection)
}

/// Postgres' processes that are searching.
async fn searching(connection: &mut PgConnection) -> i64 {
    let running = "select count(*) from pg_stat_activity
                    where datname = current_database() and state = 'active' and query like '%search_names%' and pid <> pg_backend_pid()";
    sqlx::query_scalar(running).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn searches_beyond_their_share_are_refused_at_once_and_reading_goes_on() {
    let (app, connection) = held().await;
    let mut look = app.database.connect().await;
    let crowd = join_all((0..60).map(async |_| app.get("/search?q=model").await));
    let reading = async {
        while searching(&mut look).await == 0 {}
        for _ in 0..50 {
            assert_eq!(app.get("/companies").await.status, 200);
        }
        assert!(searching(&mut look).await <= 1, "a third of four connections");
        connection.close().await.unwrap();
    };
    let (answers, ()) = timeout(DEADLINE, async { tokio::join!(crowd, reading) }).await.expect("an end");
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    // One runs, and 32 wait.
    assert!(refused.len() >= 60 - 33, "{} refused", refused.len());
    for answer in refused {
        // The one that ran may have met its time-out.
        assert!(["search_busy", "timed_out"].contains(&answer.json()["code"].as_str().unwrap()), "{answer:?}");
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    }
    assert_eq!(app.get("/search?q=model").await.status, 200);
}

#[tokio::test]
async fn a_search_whose_client_has_left_is_cancelled() {
    let (app, connection) = held().await;
    let mut look = app.database.connect().await;
    // Nobody else ends it before its time-out of two seconds, since the lock outlasts that. A machine that stands still for
    // so long says nothing, so there are a few tries.
    let mut seconds = Vec::new();
    while seconds.iter().all(|seconds| *seconds > 1.9) {
        assert!(seconds.len() < 5, "ended by their time-outs, not by their clients: {seconds:?}");
        let leaving = async { while searching(&mut look).await == 0 {} };
        tokio::select! {
            answer = app.get("/search?q=model") => panic!("{answer:?}"),
            () = leaving => {}
        }
        seconds.push(timeout(DEADLINE, ended(&mut look)).await.expect("the end of the query"));
    }
    connection.close().await.unwrap();
    assert_eq!(app.get("/search?q=model").await.status, 200, "its turn came back");
}

/// For how many seconds a search had run when it was last seen.
async fn ended(look: &mut PgConnection) -> f64 {
    let running = "select extract(epoch from clock_timestamp() - min(query_start))::float8 from pg_stat_activity
                    where datname = current_database() and state = 'active' and query like '%search_names%' and pid <> pg_backend_pid()";
    let mut seconds = 0.0;
    while let Some(running) = sqlx::query_scalar::<_, Option<f64>>(running).fetch_one(&mut *look).await.unwrap() {
        seconds = running;
    }
    seconds
}

#[tokio::test]
async fn a_search_is_stale_once_anything_public_is_written() {
    let app = library().await;
    assert_eq!(app.get("/search?q=model").await.keys(), ["search"]);
    let touched = async || -> bool {
        let keys = "select 'search' = any(keys) from changes order by position desc limit 1";
        sqlx::query_scalar(keys).fetch_one(app.pool()).await.unwrap()
    };
    let editor = Desk::of(&app, Role::Editor).await;
    for (path, change, expected) in [
        ("/terms/model-00", json!({"body": "New."}), true),
        ("/terms/model-00", json!({"aliases": [{"name": "X", "kind": "hidden"}]}), true),
        ("/companies/model-makers", json!({"description": "New."}), true),
        ("/categories/below", json!({"description": "New."}), true),
        ("/terms/model-draft", json!({"body": "New."}), false),
        ("/companies/model-hiders", json!({"description": "New."}), false),
        ("/terms/model-draft", json!({"status": "published"}), true),
    ] {
        editor.patch(path, &change).await.ok();
        assert_eq!(touched().await, expected, "{path} {change}");
    }
    assert_eq!(editor.send(Method::DELETE, "/terms/model-draft", None, &[]).await.status, 204);
    assert!(touched().await);
}

/// One thing's many aliases took the place of others that are meant as well.
#[tokio::test]
async fn many_names_of_one_thing_leave_others_their_place() {
    let aliases: Vec<Value> = (0..30).map(|number| json!({"name": format!("Zyxw {number}")})).collect();
    let longer = json!([{"name": "Zyxw with a longer name"}]);
    let app = app_of(&[with(named("Many"), "aliases", aliases), with(named("One"), "aliases", longer)]).await;
    assert_eq!(slugs(&app.get("/suggest?q=zyxw&limit=2").await.ok()["items"]), ["many", "one"]);
}

/// What is searched for follows what is written: no index of its own has to be told.
#[tokio::test]
async fn what_was_written_is_found_at_once() {
    let app = library().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor
        .patch("/terms/model-00", &json!({"name": "Renamed", "definition": "Zebras.", "body": "Quaggas."}))
        .await
        .ok();
    for question in ["renamed", "zebra", "quagga"] {
        assert_eq!(slugs(&app.get(&path(question)).await.ok()["items"]), ["model-00"], "{question}");
    }
    let edits: Vec<Edit> = vec![category(&json!({"name": "Zoology"}))];
    app.write(edits).await.unwrap();
    assert_eq!(slugs(&app.get("/suggest?q=zoo").await.ok()["items"]), ["zoology"]);
}
