//! Lists: order, pages, filters, totals.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use termbase::tokens::Role;

use crate::{
    desk::Desk,
    model::Random,
    support::{TestApp, category, company, setting, term},
};

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

async fn slugs(app: &TestApp, path: &str) -> Vec<String> {
    let list: Value = app.get(path).await.json();
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{path}: {list}"));
    items.iter().map(|item| item["slug"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn letters_hold_what_their_list_holds() {
    let app = TestApp::empty().await;
    let mut edits = vec![category(&json!({"name": "C"})), category(&json!({"name": "D", "parent": "c"}))];
    for (number, name) in ["Élan", "eel", "Zebra", "7z", ".NET", "模型", "Æther", "draft"].iter().enumerate() {
        let status = if *name == "draft" { "draft" } else { "published" };
        let home = if number % 2 == 0 { "c" } else { "d" };
        edits.push(term(
            &json!({"name": name, "slug": format!("s{number}"), "definition": "D.", "category": home, "status": status}),
        ));
    }
    app.write(edits).await.unwrap();
    for (path, total) in [("/letters", 7), ("/letters?category=c", 7), ("/letters?category=d", 3)] {
        let letters = app.get(path).await.json();
        assert_eq!((letters["items"].as_array().unwrap().len(), &letters["total"]), (27, &json!(total)), "{path}");
        let narrowed = path.split_once('?').map_or(String::new(), |(_, query)| format!("&{query}"));
        for item in letters["items"].as_array().unwrap() {
            let letter = item["letter"].as_str().unwrap().replace('#', "%23");
            let (names, total) = walk(&app, &format!("/terms?limit=1&letter={letter}{narrowed}")).await;
            assert_eq!(
                (json!(names.len()), json!(total)),
                (item["count"].clone(), item["count"].clone()),
                "{path} {letter}"
            );
        }
    }
    assert_eq!(slugs(&app, "/terms?letter=E").await, ["s1", "s0"]);
    assert_eq!(slugs(&app, "/terms?letter=A").await, ["s6"]);
    assert_eq!(slugs(&app, "/terms?letter=%23").await, ["s4", "s3", "s5"]);
    assert_eq!(slugs(&app, "/terms?letter=%23&sort=-name").await, ["s5", "s3", "s4"]);
}

#[tokio::test]
async fn changed_terms_are_listed_since_then() {
    let app = tree().await;
    let token = app.token(Role::Editor).await;
    for slug in ["term-07", "term-02"] {
        let answer =
            app.send(Method::PATCH, &format!("/terms/{slug}"), Some(&token), Some(&json!({"body": "New."})), &[]).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(slugs(&app, "/terms?sort=-updated_at&limit=3").await[..2], ["term-02", "term-07"]);
    let since = app.get("/terms/term-07").await.json()["updated_at"].as_str().unwrap().to_owned();
    for (path, expected) in [
        (format!("/terms?updated_since={since}"), vec!["term-02", "term-07"]),
        (format!("/terms?updated_since={since}&sort=updated_at"), vec!["term-07", "term-02"]),
        (format!("/terms?updated_since={since}&category=deep"), vec!["term-02"]),
        ("/terms?updated_since=9999-12-31T23:59:59Z".into(), vec![]),
    ] {
        let answer = app.get(&path).await;
        assert!(answer.keys().contains(&"terms/updated".to_owned()), "{path}");
        assert_eq!(answer.json()["total"], json!(expected.len()), "{path}");
        assert_eq!(slugs(&app, &path).await, expected, "{path}");
    }
    // An offset is read, and written in one way: the cursor belongs to the same list.
    let offset = "/terms?updated_since=2020-01-01T02:00:00%2B02:00&limit=1";
    let next = app.get(offset).await.header("link").to_owned();
    assert!(next.contains("updated_since=2020-01-01T00%3A00%3A00.000000Z"), "{next}");
}

#[tokio::test]
async fn related_terms_are_listed_from_both_ends() {
    let app = TestApp::empty().await;
    let document = |slug: &str, status: &str, related: &[&str]| {
        term(
            &json!({"name": slug, "slug": slug, "definition": "D.", "category": "c", "status": status, "related": related}),
        )
    };
    app.write(vec![
        category(&json!({"name": "C"})),
        document("a", "published", &["b", "draft"]),
        document("b", "published", &["a"]),
        document("c", "published", &["a"]),
        document("d", "published", &["c"]),
        document("draft", "draft", &[]),
    ])
    .await
    .unwrap();
    assert_eq!(slugs(&app, "/terms?related_to=a").await, ["b", "c"]);
    assert_eq!(slugs(&app, "/terms?related_to=c&sort=-name").await, ["d", "a"]);
    let problem = app.get("/terms?related_to=draft&company=nope").await.problem(400, "bad_request");
    let parameters: Vec<&Value> = problem["errors"].as_array().unwrap().iter().map(|one| &one["parameter"]).collect();
    assert_eq!(parameters, ["company", "related_to"], "a draft is what never existed");
}

#[tokio::test]
async fn terms_asked_for_one_by_one_come_in_that_order() {
    let app = tree().await;
    let token = app.token(Role::Editor).await;
    let renamed = app.send(Method::PATCH, "/terms/term-05", Some(&token), Some(&json!({"slug": "fifth"})), &[]).await;
    let id = renamed.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/terms?slugs=term-09,nope,term-05,{id},No%20Slug,term-old,term-09,{}", uuid::Uuid::nil());
    let answer = app.get(&path).await;
    let list = answer.json();
    assert_eq!(slugs(&app, &path).await, ["term-09", "fifth", "fifth", "term-old", "term-09"]);
    assert_eq!(list["missing"], json!(["nope", "No Slug", uuid::Uuid::nil()]));
    assert_eq!((&list["total"], &list["next_cursor"]), (&json!(5), &Value::Null));
    for key in ["slug:term/nope", "slug:term/term-05", "slug:term/term-09", &format!("slug:term/{id}")] {
        assert!(answer.keys().contains(&key.to_owned()), "{key}");
    }
    // A hundred of the longest that are made.
    let long = vec!["a".repeat(80); 100].join(",");
    assert_eq!(app.get(&format!("/terms?slugs={long}")).await.json()["missing"].as_array().unwrap().len(), 100);
}

/// What had been deleted under a former slug came back unnoticed.
#[tokio::test]
async fn a_former_slug_of_what_comes_back_makes_its_list_stale() {
    let app = tree().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/term-09", &json!({"slug": "nine"})).await.ok();
    editor.delete("/terms/nine").await;
    let missing = app.get("/terms?slugs=term-09").await;
    assert_eq!(missing.json()["missing"], json!(["term-09"]));
    editor.restore("/terms/nine").await.ok();
    let keys = "select keys from changes order by position desc limit 1";
    let touched: Vec<String> = sqlx::query_scalar(keys).fetch_one(app.pool()).await.unwrap();
    assert!(missing.keys().iter().any(|key| touched.contains(key)), "{:?} and {touched:?}", missing.keys());
    assert_eq!(slugs(&app, "/terms?slugs=term-09").await, ["nine"]);
}

#[tokio::test]
async fn what_does_not_go_together_is_refused() {
    let app = tree().await;
    let many = vec!["a"; 101].join(",");
    for (query, mistakes) in [
        ("slugs=a&limit=5&sort=name&nope=1", vec!["sort", "limit", "nope"]),
        ("slugs=", vec!["slugs"]),
        ("slugs=a,,b", vec!["slugs"]),
        (&format!("slugs={many}"), vec!["slugs"]),
        ("slugs=a&slugs=b", vec!["slugs"]),
        ("descendants=false", vec!["descendants"]),
        ("descendants=no&category=top", vec!["descendants"]),
        ("sort=rank", vec!["sort"]),
        ("letter=e", vec!["letter"]),
        ("letter=AB", vec!["letter"]),
        ("letter=%C3%89", vec!["letter"]),
        ("updated_since=yesterday", vec!["updated_since"]),
        ("updated_since=2026-11-02T00:00:00+01:00", vec!["updated_since"]),
    ] {
        let problem = app.get(&format!("/terms?{query}")).await.problem(400, "bad_request");
        let found: Vec<&str> =
            problem["errors"].as_array().unwrap().iter().map(|error| error["parameter"].as_str().unwrap()).collect();
        assert_eq!(found, mistakes, "{query}: {problem}");
    }
    let token = app.token(Role::Viewer).await;
    let drafts = app.send(Method::GET, "/terms?status=draft&sort=-published_at", Some(&token), None, &[]).await;
    assert_eq!(drafts.problem(400, "bad_request")["errors"][0]["parameter"], "sort");
    for country in ["de", "XX", "DEU", ""] {
        let problem = app.get(&format!("/companies?country={country}")).await.problem(400, "bad_request");
        assert_eq!(problem["errors"][0]["parameter"], "country");
    }
    // A cursor of the other order is another list's, a forged one of this list has a key of the wrong type.
    let cursor = app.get("/terms?sort=-name&limit=1").await.json()["next_cursor"].as_str().unwrap().to_owned();
    let name_for_date =
        r#"{"list":"/terms?sort=updated_at","key":{"name":"x"},"id":"00000000-0000-0000-0000-000000000000"}"#;
    for path in [
        format!("/terms?sort=name&cursor={cursor}"),
        format!("/terms?cursor={cursor}"),
        format!("/terms?sort=updated_at&cursor={}", forged(name_for_date)),
    ] {
        assert_eq!(app.get(&path).await.problem(400, "bad_request")["errors"][0]["code"], "bad_cursor", "{path}");
    }
}

/// Each list is walked in every order while terms are made, renamed, changed and deleted: what nobody touched comes once. `LISTS_SEED` is
/// for another run.
#[tokio::test]
async fn pages_lose_no_item_that_stays_while_others_come_and_go() {
    let app = TestApp::empty().await;
    let document = |name: &str| json!({"name": name, "definition": "D.", "category": "c", "status": "published"});
    app.write(vec![category(&json!({"name": "C"}))]).await.unwrap();
    let names: Vec<String> = (0..60).map(|number| format!("n{:02} {}", number * 37 % 60, number % 7)).collect();
    let (still, moving): (Vec<_>, Vec<_>) = names.iter().enumerate().partition(|(number, _)| number % 3 > 0);
    // In lots, each at one moment: dates are equal, and the ids decide.
    for lot in names.chunks(20) {
        app.write(lot.iter().map(|name| term(&document(name))).collect()).await.unwrap();
    }
    let mut still: Vec<String> = still.into_iter().map(|(_, name)| name.clone()).collect();
    still.sort();
    let mut moving: Vec<String> = moving.into_iter().map(|(_, name)| name.replace(' ', "-")).collect();
    let token = app.token(Role::Editor).await;
    let mut random = Random::new(u64::try_from(setting("LISTS_SEED", 6)).unwrap());
    let write = async |random: &mut Random, moving: &mut Vec<String>, made: usize| {
        let slug = moving[random.below(moving.len())].clone();
        let address = format!("/terms/{slug}");
        let (method, path, change) = match random.below(4) {
            0 => (Method::PATCH, address, Some(json!({"name": format!("n{:02} again {made}", random.below(60))}))),
            1 => (Method::PATCH, address, Some(json!({"body": format!("Body {made}.")}))),
            2 if moving.len() > 5 => {
                moving.retain(|other| *other != slug);
                (Method::DELETE, address, None)
            }
            _ => {
                moving.push(format!("made-{made}"));
                let mut new = document(&format!("n{:02} new {made}", random.below(60)));
                new["slug"] = json!(format!("made-{made}"));
                (Method::POST, "/terms".into(), Some(new))
            }
        };
        let answer = app.send(method, &path, Some(&token), change.as_ref(), &[]).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    };
    let mut made = 0;
    for filter in ["", "&category=c", "&letter=N"] {
        for sort in ["name", "-name", "updated_at", "-updated_at", "published_at", "-published_at"] {
            let (mut seen, mut next) = (Vec::new(), Some(format!("/terms?sort={sort}&limit=7{filter}")));
            while let Some(address) = next {
                let list = app.get(&address).await.json();
                let page =
                    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned());
                seen.extend(page.filter(|name| still.contains(name)));
                let cursor = list["next_cursor"].as_str();
                next = cursor.map(|cursor| format!("/terms?sort={sort}&limit=7{filter}&cursor={cursor}"));
                for _ in 0..random.below(4) {
                    made += 1;
                    write(&mut random, &mut moving, made).await;
                }
            }
            if sort.ends_with("name") {
                let mut expected = still.clone();
                if sort.starts_with('-') {
                    expected.reverse();
                }
                assert_eq!(seen, expected, "{sort}{filter}");
            }
            seen.sort();
            assert_eq!(seen, still, "{sort}{filter}");
        }
    }
}
