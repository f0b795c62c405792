//! Import and export: what goes out comes in as it was, and what is wrong is told where it stands.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use termbase::tokens::Role;

use crate::support::{Answer, TestApp, category, term};

async fn export(app: &TestApp, query: &str) -> String {
    let token = app.token(Role::Viewer).await;
    let answer = app.send(Method::GET, &format!("/export{query}"), Some(&token), None, &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    String::from_utf8(answer.bytes).unwrap()
}

async fn import(app: &TestApp, query: &str, role: Role, lines: &str) -> Answer {
    let token = app.token(role).await;
    app.send(Method::POST, &format!("/import{query}"), Some(&token), Some(&json!(lines)), &[]).await
}

fn lines(records: &[Value]) -> String {
    records.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n"
}

fn of_term(document: &Value) -> Value {
    json!({"kind": "term", "document": document})
}

/// How many entities an import says that it left as they were, and how many not.
fn unchanged(report: &Value) -> (u64, u64) {
    let sum = |members: &[&str]| -> u64 {
        let counts = report["counts"].as_array().unwrap();
        counts.iter().flat_map(|count| members.iter().map(|member| count[*member].as_u64().unwrap())).sum()
    };
    (sum(&["unchanged"]), sum(&["created", "updated", "deleted", "restored"]))
}

/// The samples with a history: a rename, a deletion, a draft, texts that are hard to write.
async fn lived_in() -> TestApp {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let send = async |method, path: &str, body: Option<Value>| {
        let answer = app.send(method, path, Some(&editor), body.as_ref(), &[]).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    };
    send(Method::PATCH, "/terms/embedding", Some(json!({"slug": "vector-embedding"}))).await;
    send(Method::PATCH, "/terms/hallucination", Some(json!({"body": "a\r\n\ttab \u{1f600} \"quoted\" # no\n"}))).await;
    send(Method::DELETE, "/terms/constitutional-ai?message=Too%20long", None).await;
    send(Method::DELETE, "/companies/cohere", None).await;
    send(Method::POST, "/companies", Some(json!({"name": "NO", "country": "NO"}))).await;
    app
}

#[tokio::test]
async fn an_export_makes_the_same_export_in_an_empty_database() {
    let (app, other) = (lived_in().await, TestApp::empty().await);
    let whole = export(&app, "?revisions=true").await;
    let report = import(&other, "", Role::Admin, &whole).await;
    assert_eq!(report.status, 200, "{:?}", report.json()["errors"]);
    assert_eq!(export(&other, "?revisions=true").await, whole);
    assert_eq!(export(&other, "").await, export(&app, "").await);
    let moved = other.get("/terms/embedding").await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "/terms/vector-embedding"));
    assert_eq!(other.get("/terms/constitutional-ai").await.status, 410);
    for path in
        ["/categories", "/category-tree", "/terms?limit=100", "/letters", "/companies", "/terms/foundation-model"]
    {
        assert_eq!(other.get(path).await.json(), app.get(path).await.json(), "{path}");
    }
}

#[tokio::test]
async fn an_unchanged_export_makes_no_new_version() {
    let app = lived_in().await;
    let whole = export(&app, "?revisions=true").await;
    for mode in ["upsert", "replace"] {
        let report = import(&app, &format!("?mode={mode}"), Role::Admin, &whole).await.json();
        assert_eq!(unchanged(&report).1, 0, "{mode}: {}", report["items"]);
    }
    assert_eq!(export(&app, "?revisions=true").await, whole);
}

#[tokio::test]
async fn a_member_that_is_left_out_stays_as_it_is() {
    let app = lived_in().await;
    let whole = export(&app, "").await;
    let records: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let members = |part: &dyn Fn(&Value) -> Value| -> BTreeSet<String> {
        records
            .iter()
            .flat_map(|record| part(record).as_object().unwrap().keys().cloned().collect::<Vec<_>>())
            .collect()
    };
    for member in members(&|record| record["document"].clone()) {
        let mut less = records.clone();
        less.iter_mut().for_each(|record| drop(record["document"].as_object_mut().unwrap().remove(&member)));
        let report = import(&app, "", Role::Admin, &lines(&less)).await;
        assert_eq!(unchanged(&report.json()).1, 0, "{member}: {:?}", report.json()["items"]);
    }
    for member in members(&Value::clone).iter().filter(|member| !["kind", "document"].contains(&member.as_str())) {
        let mut less = records.clone();
        less.iter_mut().for_each(|record| drop(record.as_object_mut().unwrap().remove(member)));
        let report = import(&app, "", Role::Admin, &lines(&less)).await;
        assert_eq!(unchanged(&report.json()).1, 0, "{member}: {:?}", report.json()["items"]);
    }
    assert_eq!(export(&app, "").await, whole);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_writes_nothing() {
    let app = TestApp::with_samples().await;
    let before = export(&app, "?revisions=true").await;
    let file = lines(&[
        of_term(
            &json!({"name": "Perplexity", "definition": "D.", "category": "evaluation", "related": ["transformer"]}),
        ),
        json!({"kind": "category", "document": {"name": "Evaluation"}}),
        of_term(&json!({"slug": "transformer", "definition": "Another."})),
    ]);
    let report = import(&app, "?dry_run=true", Role::Editor, &file).await.json();
    assert_eq!(report["dry_run"], true);
    let items: Vec<String> = report["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| format!("{} {} {} {}", item["what"], item["kind"], item["slug"], item["version"]).replace('"', ""))
        .collect();
    assert_eq!(items, ["created category evaluation 1", "created term perplexity 1", "updated term transformer 2"]);
    assert_eq!(export(&app, "?revisions=true").await, before);
}

#[tokio::test]
async fn two_terms_of_one_file_may_swap_their_names() {
    let app = TestApp::with_samples().await;
    let swapped = [("transformer", "Embedding"), ("embedding", "Transformer")];
    let swapped: Vec<Value> =
        swapped.iter().map(|(slug, name)| of_term(&json!({"slug": slug, "name": name, "aliases": []}))).collect();
    let report = import(&app, "", Role::Editor, &lines(&swapped)).await;
    assert_eq!(report.status, 200, "{:?}", report.json()["errors"]);
    assert_eq!(app.get("/terms/embedding").await.json()["name"], "Transformer");
}

#[tokio::test]
async fn only_an_admin_sets_more_than_the_document() {
    let app = TestApp::with_samples().await;
    let line =
        json!({"kind": "term", "version": 7, "document": {"name": "New", "definition": "D.", "category": "training"}});
    import(&app, "", Role::Editor, &lines(std::slice::from_ref(&line))).await.problem(403, "forbidden");
    assert_eq!(import(&app, "", Role::Admin, &lines(&[line])).await.status, 200);
    assert_eq!(app.get("/terms/new").await.status, 404, "it is a draft");
    let draft = of_term(&json!({"name": "A Draft", "definition": "D.", "category": "training"}));
    assert_eq!(import(&app, "", Role::Contributor, &lines(&[draft])).await.status, 200);
    let public = of_term(&json!({"slug": "transformer", "definition": "Mine."}));
    import(&app, "", Role::Contributor, &lines(&[public])).await.problem(403, "forbidden");
}

/// A kind of mistake: makes a line with it, of its own for each number; `None` is a line that is right.
type Plant = (&'static str, &'static str, fn(usize) -> String);

fn planted(number: usize, with: &Value) -> Value {
    let mut document = json!({"slug": format!("planted-{number}"), "name": format!("Planted {number}"), "definition": "D.", "category": "training"});
    document.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    of_term(&document)
}

const PLANTS: [Plant; 31] = [
    ("syntax", "", |_| "{\"kind\": \"term\"".into()),
    ("duplicate_member", "/document/name", |n| {
        planted(n, &json!({})).to_string().replace("\"name\"", "\"name\":\"A\",\"name\"")
    }),
    ("null_byte", "/document/body", |n| planted(n, &json!({"body": "a\u{0}b"})).to_string()),
    ("required", "/kind", |_| json!({"document": {}}).to_string()),
    ("unknown_value", "/kind", |_| json!({"kind": "trem", "document": {}}).to_string()),
    ("required", "/document", |_| json!({"kind": "term"}).to_string()),
    ("wrong_type", "/document", |_| json!({"kind": "term", "document": 3}).to_string()),
    ("unknown_member", "/docment", |n| {
        let mut l = planted(n, &json!({}));
        l["docment"] = json!(1);
        l.to_string()
    }),
    ("unknown_member", "/defintion", |n| planted(n, &json!({"defintion": "D."})).to_string()),
    ("wrong_type", "/definition", |n| planted(n, &json!({"definition": 3})).to_string()),
    ("required", "/definition", |n| planted(n, &json!({"definition": null})).to_string()),
    ("too_long", "/definition", |n| planted(n, &json!({"definition": "x".repeat(1001)})).to_string()),
    ("surrounding_space", "/definition", |n| planted(n, &json!({"definition": " x"})).to_string()),
    ("control_character", "/definition", |n| planted(n, &json!({"definition": "x\ny"})).to_string()),
    ("unknown_reference", "/category", |n| planted(n, &json!({"category": "trainig"})).to_string()),
    ("unknown_reference", "/related/0", |n| planted(n, &json!({"related": ["transfomer"]})).to_string()),
    ("itself", "/broader", |n| planted(n, &json!({"broader": [format!("planted-{n}")]})).to_string()),
    ("duplicate", "/related/1", |n| planted(n, &json!({"related": ["transformer", "transformer"]})).to_string()),
    ("replacement_required", "/replaced_by", |n| planted(n, &json!({"status": "deprecated"})).to_string()),
    ("unknown_value", "/status", |n| planted(n, &json!({"status": "publish"})).to_string()),
    ("not_a_day", "/reviewed_on", |n| planted(n, &json!({"reviewed_on": "2026-02-30"})).to_string()),
    ("own_name", "/aliases/0/name", |n| {
        planted(n, &json!({"aliases": [{"name": format!("PLANTED {n}")}]})).to_string()
    }),
    ("not_a_web_address", "/sources/0/url", |n| {
        planted(n, &json!({"sources": [{"title": "T", "url": "ftp://x"}]})).to_string()
    }),
    ("unknown_country", "/country", |n| {
        json!({"kind": "company", "document": {"slug": format!("planted-{n}"), "name": "P", "country": "UK"}})
            .to_string()
    }),
    ("out_of_range", "/founded_year", |n| {
        json!({"kind": "company", "document": {"slug": format!("planted-{n}"), "name": "P", "founded_year": 1}})
            .to_string()
    }),
    ("name_taken", "/name", |n| planted(n, &json!({"name": "Transformer"})).to_string()),
    ("slug_taken", "/slug", |_| planted(0, &json!({})).to_string()),
    ("already_public", "/status", |n| {
        of_term(&json!({"slug": PUBLIC[n % PUBLIC.len()], "status": "draft"})).to_string()
    }),
    ("cycle", "/broader", |n| planted(n, &json!({"broader": [format!("loop-{n}")]})).to_string()),
    ("not_an_id", "/id", |n| {
        let mut l = planted(n, &json!({}));
        l["id"] = json!("x");
        l.to_string()
    }),
    ("not_a_time", "/created_at", |n| {
        let mut l = planted(n, &json!({}));
        l["created_at"] = json!("yesterday");
        l.to_string()
    }),
];

const PUBLIC: [&str; 16] = [
    "transformer",
    "embedding",
    "hallucination",
    "ai-alignment",
    "prompting",
    "fine-tuning",
    "pre-training",
    "scaling-law",
    "transfer-learning",
    "self-supervised-learning",
    "in-context-learning",
    "large-language-model",
    "mixture-of-experts",
    "machine-learning-model",
    "foundation-model",
    "retrieval-augmented-generation",
];

#[tokio::test]
async fn each_of_five_hundred_mistakes_is_told_where_it_stands_and_nothing_else() {
    let app = TestApp::with_samples().await;
    let before = export(&app, "?revisions=true").await;
    let mut file = format!("{}\n", planted(0, &json!({})));
    let mut expected: BTreeMap<(u64, String), String> = BTreeMap::new();
    let mut line = 1;
    for round in 0..16 {
        for (at, (code, pointer, plant)) in PLANTS.iter().enumerate() {
            let number = 1 + round * PLANTS.len() + at;
            // One that is public is changed once.
            let number = if *code == "already_public" { round } else { number };
            line += 1;
            file += &plant(number);
            file.push('\n');
            expected.insert((line, (*code).to_owned()), (*pointer).to_owned());
            if *code == "cycle" {
                // The other half of the loop.
                line += 1;
                let other = json!({"slug": format!("loop-{number}"), "name": format!("Loop {number}"), "broader": [format!("planted-{number}")]});
                file += &planted(number, &other).to_string();
                file.push('\n');
                expected.insert((line, "cycle".into()), "/broader".into());
            }
        }
    }
    let problem = import(&app, "", Role::Admin, &file).await.problem(422, "invalid_document");
    let found: BTreeMap<(u64, String), String> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| {
            let text = |member: &str| fault[member].as_str().unwrap().to_owned();
            ((fault["line"].as_u64().unwrap(), text("code")), text("pointer"))
        })
        .collect();
    let missing: Vec<_> = expected.iter().filter(|(key, _)| !found.contains_key(key)).take(5).collect();
    let more: Vec<_> = found.iter().filter(|(key, _)| !expected.contains_key(key)).take(5).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing {missing:?}, more {more:?}");
    let elsewhere = expected.iter().find(|(key, pointer)| !found[*key].ends_with(pointer.as_str()));
    assert_eq!(elsewhere, None);
    assert_eq!((found.len(), problem["errors"].as_array().unwrap().len()), (expected.len(), expected.len()));
    assert!(expected.len() >= 500);
    assert_eq!(export(&app, "?revisions=true").await, before);
}

#[tokio::test]
async fn counts_and_lists_are_right_after_a_large_import() {
    let app = TestApp::empty().await;
    app.write(vec![
        category(&json!({"name": "Training"})),
        term(&json!({"name": "First", "definition": "D.", "category": "training", "status": "published"})),
    ])
    .await
    .unwrap();
    let many: Vec<Value> = (0..2_500)
        .map(|number| {
            let next = (number + 1) % 2_500;
            planted(number, &json!({"status": "published", "related": [format!("planted-{next}")]}))
        })
        .collect();
    let report = import(&app, "?mode=create", Role::Editor, &lines(&many)).await;
    assert_eq!(report.status, 200);
    assert_eq!(
        (report.json()["items"].as_array().unwrap().len(), report.json()["more"].as_u64()),
        (1_000, Some(1_500))
    );
    assert_eq!(app.get("/terms").await.json()["total"], 2_501);
    assert_eq!(app.get("/categories/training").await.json()["term_count"], 2_501);
    let page = app.get("/terms/planted-7").await.json();
    assert_eq!(page["related"].as_array().unwrap().len(), 2);
    let again = import(&app, "?mode=create", Role::Editor, &lines(&many)).await.problem(422, "invalid_document");
    assert_eq!(again["errors"][0]["code"], "exists");
}

#[tokio::test]
async fn what_the_database_refuses_is_refused_whole() {
    let app = with_depths().await;
    let before = export(&app, "").await;
    let deep = json!({"kind": "category", "document": {"slug": "level-20", "name": "Level 20", "parent": "level-19"}});
    let other = of_term(&json!({"slug": "unrelated", "name": "Unrelated", "definition": "D.", "category": "level-0"}));
    let problem = import(&app, "", Role::Admin, &lines(&[deep, other])).await.problem(422, "invalid_document");
    assert_eq!(problem["errors"][0]["code"], "too_deep");
    let ids = ["01a20c78-4513-7096-a7ca-781f7eec5971", "01a20c78-4513-7096-a7ca-781f7eec5972"];
    let term = |own: usize, other: usize| {
        json!({"kind": "term", "id": ids[own], "document": {"slug": format!("loop-{own}"), "name": format!("Loop {own}"),
               "definition": "D.", "category": "level-0", "broader": [ids[other]]}})
    };
    let problem =
        import(&app, "", Role::Admin, &lines(&[term(0, 1), term(1, 0)])).await.problem(422, "invalid_document");
    assert_eq!((&problem["errors"][0]["code"], problem["errors"].as_array().unwrap().len()), (&json!("cycle"), 2));
    assert_eq!(export(&app, "").await, before);
    let editor = app.token(Role::Editor).await;
    let made = json!({"slug": "unrelated", "name": "Unrelated", "definition": "D.", "category": "level-0"});
    assert_eq!(app.send(Method::POST, "/terms", Some(&editor), Some(&made), &[]).await.status, 201);
}

/// As deep a tree as there may be.
async fn with_depths() -> TestApp {
    let app = TestApp::empty().await;
    let level = |number: usize| {
        let parent = number.checked_sub(1).map(|above| format!("level-{above}"));
        category(&json!({"slug": format!("level-{number}"), "name": format!("Level {number}"), "parent": parent}))
    };
    app.write((0..20).map(level).collect()).await.unwrap();
    app
}

#[tokio::test]
async fn a_name_that_a_later_line_deletes_is_free() {
    let app = TestApp::with_samples().await;
    let whole = export(&app, "").await;
    let old = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut old = old.into_iter().find(|record| record["document"]["slug"] == "embedding").unwrap();
    old["deleted_at"] = json!("2026-11-24T12:00:00Z");
    let new = of_term(&json!({"slug": "embedding-2", "name": "Embedding", "definition": "D.", "category": "training"}));
    let report = import(&app, "", Role::Admin, &lines(&[new, old])).await;
    assert_eq!(report.status, 200, "{:?}", report.json()["errors"]);
}
