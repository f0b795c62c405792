//! `/categories`.

use serde_json::json;

use crate::support::{TestApp, category, company, term};

#[tokio::test]
async fn a_category_has_its_page() {
    let app = TestApp::with_samples().await;
    let answer = app.get("/categories/training").await;
    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!(answer.json());
}

#[tokio::test]
async fn categories_stand_in_the_order_of_the_tree_with_their_counts() {
    let app = TestApp::empty().await;
    app.write(vec![
        category(&json!({"name": "Z first", "rank": 1})),
        category(&json!({"name": "B below", "parent": "z-first", "rank": 5})),
        category(&json!({"name": "C below", "parent": "z-first", "rank": 4})),
        category(&json!({"name": "A second", "rank": 2})),
        category(&json!({"name": "Aa third", "rank": 2})),
        term(&json!({"name": "T", "definition": "D.", "category": "b-below", "status": "published"})),
        company(&json!({"name": "K", "status": "published", "categories": ["b-below", "a-second"]})),
    ])
    .await
    .unwrap();
    let list = app.get("/categories").await.json();
    let shown: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|card| {
            (
                card["slug"].as_str().unwrap(),
                card["parent"].as_str(),
                card["term_count"].as_i64().unwrap(),
                card["company_count"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("z-first", None, 1, 0),
            ("c-below", Some("z-first"), 0, 0),
            ("b-below", Some("z-first"), 1, 1),
            ("a-second", None, 0, 1),
            ("aa-third", None, 0, 0)
        ]
    );
    assert_eq!((list["total"].as_i64(), &list["next_cursor"]), (Some(5), &json!(null)));
    let page = app.get("/categories/b-below").await.json();
    assert_eq!(page["ancestors"][0]["slug"], "z-first");
    assert_eq!(app.get("/categories/z-first").await.json()["children"][1]["slug"], "b-below");
}
