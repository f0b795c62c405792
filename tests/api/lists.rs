//! Lists: order, pages, filters, totals.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::{TestApp, category, company, term};

fn forged(cursor: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(cursor)
}

async fn walk(app: &TestApp, path: &str) -> (Vec<String>, i64) {
    let (mut names, mut total, mut next) = (Vec::new(), 0, Some(path.to_owned()));
    while let Some(address) = next {
        let answer = app.get(&address).await;
        let list = answer.json();
        names.extend(list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        total = list["total"].as_i64().unwrap();
        next =
            answer.headers.get("link").map(|link| link.to_str().unwrap().split(['<', '>']).nth(1).unwrap().to_owned());
        assert_eq!(next.is_some(), !list["next_cursor"].is_null(), "the header and the member agree");
        if let (Some(next), Some(cursor)) = (&next, list["next_cursor"].as_str()) {
            assert!(next.ends_with(cursor));
        }
    }
    (names, total)
}

async fn tree() -> TestApp {
    let app = TestApp::empty().await;
    let mut edits = vec![
        category(&json!({"name": "Top", "rank": 2})),
        category(&json!({"name": "Below", "parent": "top", "rank": 1})),
        category(&json!({"name": "Deep", "parent": "below"})),
        category(&json!({"name": "Other", "rank": 1})),
    ];
    for (number, home) in ["top", "below", "deep", "other"].iter().cycle().take(47).enumerate() {
        edits.push(term(
            &json!({"name": format!("Term {number:02}"), "definition": "D.", "category": home, "status": "published"}),
        ));
    }
    edits.push(term(&json!({"name": "Term old", "definition": "D.", "category": "top", "status": "deprecated", "replaced_by": ["term-00"]})));
    app.write(edits).await.unwrap();
    app
}

#[tokio::test]
async fn pages_hold_each_item_once_whatever_their_size() {
    let app = tree().await;
    let (all, total) = walk(&app, "/terms?limit=100").await;
    let mut sorted = all.clone();
    sorted.sort();
    assert_eq!((all.len(), total, &all), (47, 47, &sorted), "published terms by name, deprecated ones left out");
    for limit in [1, 2, 7, 20, 46, 47, 48] {
        assert_eq!(walk(&app, &format!("/terms?limit={limit}")).await, (all.clone(), 47), "limit {limit}");
    }
}

#[tokio::test]
async fn a_category_has_the_terms_of_those_below() {
    let app = tree().await;
    for (slug, count) in [("top", 36), ("below", 24), ("deep", 12), ("other", 11)] {
        let (names, total) = walk(&app, &format!("/terms?category={slug}&limit=5")).await;
        assert_eq!((names.len(), total), (count, i64::try_from(count).unwrap()), "{slug}");
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted, "{slug}");
    }
}

#[tokio::test]
async fn a_companys_page_begins_the_list_of_its_terms() {
    let app = TestApp::empty().await;
    let mut edits = vec![
        category(&json!({"name": "C"})),
        category(&json!({"name": "D"})),
        company(&json!({"name": "K", "status": "published"})),
    ];
    for number in 0..45 {
        let home = if number % 3 == 0 { "d" } else { "c" };
        let companies: &[&str] = if number < 40 { &["k"] } else { &[] };
        edits.push(term(&json!({"name": format!("Term {number:02}"), "definition": "D.", "category": home, "status": "published", "companies": companies})));
    }
    app.write(edits).await.unwrap();
    let terms = app.get("/companies/k").await.json()["terms"].clone();
    assert_eq!((terms["items"].as_array().unwrap().len(), terms["total"].as_i64()), (20, Some(40)));
    let (all, total) = walk(&app, "/terms?company=k&limit=7").await;
    assert_eq!((all.len(), total), (40, 40));
    let (rest, _) = walk(&app, terms["rest"].as_str().unwrap()).await;
    assert_eq!(rest, all[20..], "the rest goes on where the page ends");
    let (narrowed, total) = walk(&app, "/terms?company=k&category=d&limit=3").await;
    assert_eq!((narrowed.len(), total), (14, 14), "filters narrow each other");
}

#[tokio::test]
async fn a_cursor_belongs_to_its_filters() {
    let app = tree().await;
    let cursor = app.get("/terms?category=top&limit=5").await.json()["next_cursor"].as_str().unwrap().to_owned();
    for path in [
        format!("/terms?limit=5&cursor={cursor}"),
        format!("/terms?category=other&cursor={cursor}"),
        format!("/companies?cursor={cursor}"),
        format!("/terms?category=top&cursor=x{cursor}"),
        "/terms?cursor=".into(),
        format!(
            "/terms?cursor={}",
            forged(r#"{"list":"/terms","key":"\u0000","id":"00000000-0000-0000-0000-000000000000"}"#)
        ),
        format!("/terms?cursor={}", forged(r#"{"list":"/terms","key":7,"id":"00000000-0000-0000-0000-000000000000"}"#)),
        format!(
            "/companies?cursor={}",
            forged(
                r#"{"list":"/companies","key":{"rank":99999999999,"name_key":"a"},"id":"00000000-0000-0000-0000-000000000000"}"#
            )
        ),
        "/terms?cursor=eyJsaXN0IjoiL3Rlcm1zIn0".into(),
    ] {
        let problem = app.get(&path).await.problem(400, "bad_request");
        assert_eq!(problem["errors"][0]["parameter"], "cursor", "{path}");
    }
    assert_eq!(
        app.get(&format!("/terms?category=top&limit=7&cursor={cursor}")).await.status,
        200,
        "another limit is fine"
    );
}

#[tokio::test]
async fn every_mistake_of_a_query_is_named_at_once() {
    let app = TestApp::empty().await;
    let problem =
        app.get("/terms?limti=5&limit=101&category=Core%20Concepts&limit=3").await.problem(400, "bad_request");
    let mistakes: Vec<(&str, &str)> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["parameter"].as_str().unwrap(), error["code"].as_str().unwrap()))
        .collect();
    assert_eq!(mistakes, [("limit", "duplicate"), ("category", "unknown_reference"), ("limti", "unknown_parameter")]);
    let problem = app.get("/companies?term=nope&category=nope&limit=900").await.problem(400, "bad_request");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 3, "{problem}");
    for limit in ["0", "-1", "101", "1.5", "many", "", "99999999999999999999"] {
        let problem = app.get(&format!("/terms?limit={limit}")).await.problem(400, "bad_request");
        assert_eq!(problem["errors"][0]["code"], "out_of_range", "{limit}");
    }
}

#[tokio::test]
async fn a_filter_that_names_nothing_says_what_is_close() {
    let app = TestApp::with_samples().await;
    let problem = app.get("/terms?category=core-concept").await.problem(400, "bad_request");
    assert_eq!(problem["errors"][0]["code"], "unknown_reference");
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("core-concepts"), "{problem}");
    let id = app.get("/categories/training").await.json()["id"].as_str().unwrap().to_owned();
    let (by_id, by_slug) = (app.get(&format!("/terms?category={id}")).await, app.get("/terms?category=training").await);
    assert_eq!(by_id.json()["items"], by_slug.json()["items"], "an id does as well");
}

#[tokio::test]
async fn companies_are_listed_by_name_and_narrowed() {
    let app = TestApp::empty().await;
    let mut edits = vec![category(&json!({"name": "C"})), category(&json!({"name": "D"}))];
    for number in 0..25 {
        let categories: Vec<&str> = if number % 2 == 0 { vec!["c"] } else { vec!["c", "d"] };
        edits.push(company(&json!({"name": format!("Same name {}", number / 5), "slug": format!("k{number}"), "status": "published", "categories": categories})));
    }
    edits.push(term(
        &json!({"name": "T", "definition": "D.", "category": "c", "status": "published", "companies": ["k24"]}),
    ));
    app.write(edits).await.unwrap();
    let slugs = async |path: &str| -> Vec<String> {
        let list: Value = app.get(path).await.json();
        list["items"].as_array().unwrap().iter().map(|item| item["slug"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(slugs("/companies?limit=100").await.len(), 25);
    assert_eq!(slugs("/companies?category=d&limit=100").await.len(), 12);
    let of_term = slugs("/companies?term=t&limit=100").await;
    assert_eq!((of_term.len(), of_term[0].as_str()), (25, "k24"));
    assert_eq!(slugs("/companies?term=t&category=d&limit=100").await.len(), 12, "filters narrow each other");
    for limit in [1, 3, 24] {
        let (names, total) = walk(&app, &format!("/companies?limit={limit}")).await;
        assert_eq!((names.len(), total), (25, 25), "equal names neither repeat nor get lost");
    }
}
