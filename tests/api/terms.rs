//! `/terms/{slug}`: the page.

use reqwest::Method;
use serde_json::json;
use termbase::tokens::Role;

use crate::support::{TestApp, category, company, term, term_again};

#[tokio::test]
async fn a_term_has_its_whole_page() {
    let app = TestApp::with_samples().await;
    let answer = app.get("/terms/foundation-model").await;
    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!(answer.json(), { ".body" => "[body]", ".body_html" => "[html]" });
}

#[tokio::test]
async fn a_body_is_shown_as_safe_html_too() {
    let app = TestApp::empty().await;
    let body = "A [paper](https://example.org), [a term](/terms/x)[^1] and <script>alert(1)</script>.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[^1]: Note.";
    app.write(vec![
        category(&json!({"name": "C"})),
        term(&json!({"name": "T", "definition": "D.", "body": body, "category": "c", "status": "published"})),
    ])
    .await
    .unwrap();
    let html = app.get("/terms/t").await.json()["body_html"].as_str().unwrap().to_owned();
    assert!(html.contains(r#"<a href="https://example.org" rel="noopener nofollow">paper</a>"#), "{html}");
    assert!(html.contains(r#"<a href="/terms/x">a term</a>"#), "{html}");
    assert!(html.contains("<table>") && html.contains("footnote"), "{html}");
    assert!(!html.contains("<script"), "{html}");
}

/// Both ends may write a `related` pair; each page shows it once. The inverses are never written.
#[tokio::test]
async fn relations_show_on_both_ends_once() {
    let app = TestApp::empty().await;
    let document = |name: &str| json!({"name": name, "definition": "D.", "category": "c", "status": "published"});
    let with = |name: &str, member: &str, others: &[&str]| {
        let mut document = document(name);
        document[member] = json!(others);
        document
    };
    app.write(vec![
        category(&json!({"name": "C"})),
        term(&with("A", "related", &["b"])),
        term(&with("B", "related", &["a"])),
        term(&with("D", "broader", &["a"])),
        term(&json!({"name": "E", "definition": "D.", "category": "c", "status": "deprecated", "replaced_by": ["b", "a"]})),
    ])
    .await
    .unwrap();
    let slugs = |page: &serde_json::Value, member: &str| -> Vec<String> {
        page[member].as_array().unwrap().iter().map(|card| card["slug"].as_str().unwrap().to_owned()).collect()
    };
    let a = app.get("/terms/a").await.json();
    let b = app.get("/terms/b").await.json();
    let e = app.get("/terms/e").await.json();
    assert_eq!((slugs(&a, "related"), slugs(&b, "related")), (vec!["b".into()], vec!["a".into()]));
    assert_eq!((slugs(&a, "narrower"), slugs(&a, "replaces")), (vec!["d".into()], vec!["e".into()]));
    assert_eq!(slugs(&app.get("/terms/d").await.json(), "broader"), ["a"]);
    assert_eq!(
        (e["status"].as_str(), slugs(&e, "replaced_by")),
        (Some("deprecated"), vec!["b".into(), "a".into()]),
        "in the editor's order"
    );
}

/// Those of the term come first, then those of its category; `rest` goes on where the page ends.
#[tokio::test]
async fn a_page_shows_twelve_companies_and_the_address_of_the_rest() {
    let app = TestApp::empty().await;
    let mut edits = vec![category(&json!({"name": "C"}))];
    for number in 10..40 {
        edits.push(company(&json!({"name": format!("Company {number}"), "status": "published", "categories": ["c"]})));
    }
    edits.push(company(&json!({"name": "Zeta", "status": "published"})));
    edits.push(company(&json!({"name": "Draft", "categories": ["c"]})));
    edits.push(term(&json!({"name": "T", "definition": "D.", "category": "c", "status": "published", "companies": ["zeta", "company-30", "draft"]})));
    app.write(edits).await.unwrap();

    let companies = app.get("/terms/t").await.json()["companies"].clone();
    assert_eq!(companies["total"], 31);
    let mut names: Vec<String> =
        companies["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names[..3], ["Company 30", "Zeta", "Company 10"]);
    assert_eq!(names.len(), 12);

    let mut next = companies["rest"].as_str().map(ToOwned::to_owned);
    while let Some(address) = next {
        let list = app.get(&address).await;
        assert_eq!(list.json()["total"], 31);
        names.extend(
            list.json()["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        next = list.headers.get("link").map(|link| link.to_str().unwrap().split(['<', '>']).nth(1).unwrap().to_owned());
    }
    let all: Vec<String> = app.get("/companies?term=t&limit=100").await.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, all, "the page and the rest are the list");
    assert_eq!(all.len(), 31);
}

#[tokio::test]
async fn an_id_and_a_former_slug_lead_to_the_slug_of_the_day() {
    let app = TestApp::empty().await;
    let document =
        |slug: &str| json!({"slug": slug, "name": "T", "definition": "D.", "category": "c", "status": "published"});
    let applied = app.write(vec![category(&json!({"name": "C"})), term(&document("first"))]).await.unwrap();
    let id = applied[1].id;
    for slug in ["second", "third", "first", "fourth"] {
        app.write(vec![term_again(id, &document(slug))]).await.unwrap();
    }
    assert_eq!(app.get("/terms/fourth").await.status, 200);
    for former in ["first", "second", "third", &id.to_string(), &id.to_string().to_uppercase()] {
        let answer = app.get(&format!("/terms/{former}")).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (308, "/terms/fourth"), "{former}");
        assert_eq!(answer.header("cache-control"), "no-cache");
    }
}

/// A draft answers exactly as what never existed, on every address and in every list, count and suggestion.
#[tokio::test]
async fn a_draft_is_nowhere_to_be_seen() {
    let app = TestApp::empty().await;
    let applied = app
        .write(vec![
            category(&json!({"name": "C"})),
            company(&json!({"name": "Open", "status": "published", "categories": ["c"]})),
            company(&json!({"name": "Secret company", "categories": ["c"]})),
            term(&json!({"name": "Open term", "definition": "D.", "category": "c", "status": "published",
                         "related": ["secret-term"], "broader": ["secret-term"], "companies": ["open", "secret-company"]})),
            term(&json!({"name": "Secret term", "definition": "D.", "category": "c", "companies": ["open"], "replaced_by": ["open-term"]})),
        ])
        .await
        .unwrap();
    let (company_id, term_id) = (applied[2].id, applied[4].id);
    for path in [
        "/terms/secret-term",
        "/companies/secret-company",
        &format!("/terms/{term_id}"),
        &format!("/companies/{company_id}"),
        "/terms/secret-ter",
        "/companies/secret-compan",
    ] {
        let problem = app.get(path).await.problem(404, "not_found");
        let shown = problem["suggestions"].to_string() + problem["detail"].as_str().unwrap();
        assert!(!shown.contains("secret"), "{path}: {problem}");
    }
    for path in [
        "/terms",
        "/terms?category=c",
        "/terms/open-term",
        "/companies",
        "/companies?term=open-term",
        "/companies?category=c",
        "/companies/open",
        "/categories",
        "/categories/c",
    ] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        let text = String::from_utf8_lossy(&answer.bytes).to_lowercase() + &answer.keys().join(" ");
        assert!(
            !text.contains("secret") && !text.contains(&term_id.to_string()) && !text.contains(&company_id.to_string()),
            "{path}: {text}"
        );
    }
    assert_eq!(app.get("/terms").await.json()["total"], 1);
    assert_eq!(app.get("/companies").await.json()["total"], 1);
    let card = &app.get("/categories").await.json()["items"][0];
    assert_eq!((card["term_count"].as_i64(), card["company_count"].as_i64()), (Some(1), Some(1)));
    app.get("/companies?term=secret-term").await.problem(400, "bad_request");
}

/// Published in either order, the relation shows once both ends are public.
#[tokio::test]
async fn a_relation_to_a_draft_waits_for_it() {
    let app = TestApp::empty().await;
    let b = |status: &str| json!({"name": "B", "definition": "D.", "category": "c", "status": status});
    let applied = app
        .write(vec![
            category(&json!({"name": "C"})),
            term(&json!({"name": "A", "definition": "D.", "category": "c", "status": "published", "related": ["b"]})),
            term(&b("draft")),
        ])
        .await
        .unwrap();
    assert_eq!(app.get("/terms/a").await.json()["related"], json!([]));
    app.write(vec![term_again(applied[2].id, &b("published"))]).await.unwrap();
    assert_eq!(app.get("/terms/a").await.json()["related"][0]["slug"], "b");
    assert_eq!(app.get("/terms/b").await.json()["related"][0]["slug"], "a");
}

#[tokio::test]
async fn a_hidden_alias_is_not_shown() {
    let app = TestApp::empty().await;
    let aliases = json!([{"name": "Tee", "kind": "hidden"}, {"name": "TT", "kind": "acronym"}, {"name": "Old", "kind": "deprecated"}]);
    app.write(vec![
        category(&json!({"name": "C"})),
        term(&json!({"name": "T", "definition": "D.", "category": "c", "status": "published", "aliases": aliases})),
    ])
    .await
    .unwrap();
    let page = app.get("/terms/t").await.json();
    assert_eq!(page["aliases"], json!([{"name": "TT", "kind": "acronym"}, {"name": "Old", "kind": "deprecated"}]));
    assert_eq!(app.get("/terms").await.json()["items"][0]["acronyms"], json!(["TT"]));
}

#[tokio::test]
async fn an_unknown_slug_is_told_the_closest() {
    let app = TestApp::with_samples().await;
    for (path, closest) in [
        ("/terms/foundation-modle", "foundation-model"),
        ("/terms/Foundation-Model", "foundation-model"),
        // Other names of a term are no slugs of it, and still what people try.
        ("/terms/llm", "large-language-model"),
        ("/terms/Base%20model", "foundation-model"),
        ("/terms/base-model", "foundation-model"),
        ("/companies/antropic", "anthropic"),
        ("/categories/core-concept", "core-concepts"),
    ] {
        let problem = app.get(path).await.problem(404, "not_found");
        assert_eq!(problem["suggestions"][0], closest, "{path}");
        assert_eq!(problem["instance"], path);
    }
}

/// A start of a newer renderer makes what an older one has made anew, once, and says so in the log; no version is made.
#[tokio::test]
async fn bodies_of_an_older_renderer_are_rendered_anew() {
    let app = TestApp::with_samples().await;
    let before = app.get("/terms/foundation-model").await;
    let older = "update terms set body_html = 'old', body_renderer = 0 where slug <> 'transformer'";
    app.database.behind(older).await;
    let viewer = app.token(Role::Viewer).await;
    // With a token, since what is kept does not know of it.
    let old = app.send(Method::GET, "/terms/foundation-model", Some(&viewer), None, &[]).await;
    assert_eq!(old.json()["body_html"], "old");
    let (first, second) =
        tokio::join!(termbase::terms::render_again(&app.state), termbase::terms::render_again(&app.state));
    assert_eq!(first.unwrap() + second.unwrap(), 19);
    let after = app.get("/terms/foundation-model").await;
    assert_eq!((after.json(), after.header("etag")), (before.json(), before.header("etag")));
    let resets: i64 =
        sqlx::query_scalar("select count(*) from changes where what = 'reset'").fetch_one(app.pool()).await.unwrap();
    assert!(resets >= 1);
    assert_eq!(termbase::terms::render_again(&app.state).await.unwrap(), 0);
}
