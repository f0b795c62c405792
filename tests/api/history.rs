//! What was: revisions, what differs between two of them, and the way back.

use reqwest::Method;
use serde_json::{Value, json};
use termbase::tokens::Role;

use crate::{
    desk::{Desk, at, draft, glossary, position, published, with},
    support::TestApp,
};

/// What differs, in short: member, item, before, after.
async fn differences(desk: &Desk<'_>, path: &str) -> Vec<[Value; 4]> {
    let diff = desk.get(path).await.ok();
    let short = |difference: &Value| ["member", "item", "before", "after"].map(|name| difference[name].clone());
    diff["differences"].as_array().unwrap().iter().map(short).collect()
}

#[tokio::test]
async fn every_write_is_told_with_its_author_and_its_reason() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a?message=Shorter", &json!({"definition": "Other."})).await.ok();
    editor.delete("/terms/a?message=Twice").await;
    editor.restore("/terms/a").await.ok();
    let list = editor.get("/terms/a/revisions").await.ok();
    let told: Vec<Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| json!([item["version"], item["what"], item["author"], item["message"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!([4, "restored", "test editor", null]),
            json!([3, "deleted", "test editor", "Twice"]),
            json!([2, "updated", "test editor", "Shorter"]),
            json!([1, "created", "tests", null]),
        ]
    );
    assert_eq!((&list["total"], &list["next_cursor"]), (&json!(4), &Value::Null));
}

#[tokio::test]
async fn revisions_come_in_pages_that_a_write_between_does_not_shift() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for number in 2..=5 {
        editor.patch("/terms/a", &json!({"definition": format!("D{number}.")})).await.ok();
    }
    let (mut versions, mut next) = (Vec::new(), Some("/terms/a/revisions?limit=2".to_owned()));
    while let Some(address) = next {
        let page = editor.get(&address).await;
        let link = page.headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        next = link.map(|link| link.split_once('<').unwrap().1.split_once('>').unwrap().0.to_owned());
        versions.extend(page.ok()["items"].as_array().unwrap().iter().map(|item| item["version"].as_i64().unwrap()));
        editor.patch("/terms/a", &json!({"body": format!("{}", versions.len())})).await.ok();
    }
    assert_eq!(versions, [5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn a_revision_is_the_document_of_its_day() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"related": ["b"], "definition": "Two."})).await.ok();
    let then = editor.document("/terms/a").await;
    editor.patch("/terms/b", &json!({"slug": "b2"})).await.ok();
    editor.patch("/terms/a", &json!({"definition": "Three."})).await.ok();
    let revision = editor.get("/terms/a/revisions/2").await.ok();
    assert_eq!((&revision["version"], &revision["what"]), (&json!(2), &json!("updated")));
    assert_eq!(revision["document"], then, "the neighbour's slug is that of the day, too");
}

#[tokio::test]
async fn a_version_that_there_never_was_is_not_found() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for version in ["2", "0", "-1", "x", "1.0", "99999999999999999999", "%D9%A1"] {
        let path = format!("/terms/a/revisions/{version}");
        editor.get(&path).await.problem(404, "not_found");
        editor.get(&format!("{path}/diff/1")).await.problem(404, "not_found");
        editor.get(&format!("/terms/a/revisions/1/diff/{version}")).await.problem(404, "not_found");
        editor.restore(&path).await.problem(404, "not_found");
    }
}

/// The slug was there; what was missing is the version.
#[tokio::test]
async fn a_missing_version_was_told_as_a_missing_slug() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for answer in [
        editor.get("/terms/a/revisions/2").await,
        editor.get("/terms/a/revisions/1/diff/2").await,
        editor.restore("/terms/a/revisions/2").await,
    ] {
        let problem = answer.problem(404, "not_found");
        assert!(problem["detail"].as_str().unwrap().contains("version"), "{problem}");
        assert!(answer.header("termbase-position").ends_with(&format!("-{}", position(&app).await)));
    }
}

#[tokio::test]
async fn the_history_is_for_viewers() {
    let app = glossary().await;
    let nobody = Desk::anonymous(&app);
    for path in ["/terms/a/revisions", "/terms/a/revisions/1", "/terms/a/revisions/1/diff/1", "/terms/a/document"] {
        nobody.get(path).await.problem(401, "token_required");
        assert_eq!(Desk::of(&app, Role::Viewer).await.get(path).await.header("cache-control"), "private, no-store");
    }
}

#[tokio::test]
async fn differences_are_told_member_by_member_and_item_by_item() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor
        .patch("/terms/a", &json!({"aliases": [{"name": "x"}], "related": ["b"], "reviewed_on": "2026-11-01"}))
        .await
        .ok();
    let change = json!({
        "definition": "Another.", "aliases": [{"name": "x", "kind": "acronym"}], "related": ["d"], "reviewed_on": null,
        "category": "e",
    });
    editor.patch("/terms/a", &change).await.ok();
    let found = differences(&editor, "/terms/a/revisions/2/diff/3").await;
    let expected = [
        json!(["definition", null, "D.", "Another."]),
        json!(["category", null, "c", "e"]),
        json!(["reviewed_on", null, "2026-11-01", null]),
        json!(["aliases", "x", "synonym", "acronym"]),
        json!(["related", "b", "b", null]),
        json!(["related", "d", null, "d"]),
    ];
    let sorted = |rows: Vec<Value>| {
        let mut rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
        rows.sort();
        rows
    };
    assert_eq!(sorted(found.into_iter().map(|row| json!(row)).collect()), sorted(expected.into()));
    let back = differences(&editor, "/terms/a/revisions/3/diff/2").await;
    assert!(back.contains(&[json!("definition"), Value::Null, json!("Another."), json!("D.")]), "{back:?}");
}

#[tokio::test]
async fn a_neighbours_rename_is_no_difference() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let links = json!({"related": ["b"], "replaced_by": ["d"], "companies": ["k"], "definition": "Two."});
    editor.patch("/terms/a", &links).await.ok();
    for (path, slug) in [("/terms/b", "b2"), ("/terms/d", "d2"), ("/companies/k", "k2"), ("/categories/c", "c2")] {
        editor.patch(path, &json!({"slug": slug})).await.ok();
    }
    editor.patch("/terms/a", &json!({"definition": "Three."})).await.ok();
    let found = differences(&editor, "/terms/a/revisions/2/diff/3").await;
    assert_eq!(found, [[json!("definition"), Value::Null, json!("Two."), json!("Three.")]]);
}

#[tokio::test]
async fn a_version_does_not_differ_from_itself() {
    let app = TestApp::with_samples().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for path in ["/terms/foundation-model", "/categories/training", "/companies/anthropic"] {
        assert_eq!(differences(&editor, &format!("{path}/revisions/1/diff/1")).await, Vec::<[Value; 4]>::new());
    }
}

// The way back

#[tokio::test]
async fn an_old_version_is_restored_as_a_new_one() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let first = editor.document("/terms/a").await;
    let change = json!({"definition": "Two.", "related": ["b"], "aliases": [{"name": "x"}], "companies": ["k"], "category": "e"});
    editor.patch("/terms/a", &change).await.ok();
    let page = editor.restore("/terms/a/revisions/1").await;
    assert_eq!((page.status.as_u16(), &page.bytes), (200, &app.get("/terms/a").await.bytes));
    assert_eq!((&page.json()["version"], editor.document("/terms/a").await), (&json!(3), first));
    assert_eq!(differences(&editor, "/terms/a/revisions/1/diff/3").await, Vec::<[Value; 4]>::new());
}

#[tokio::test]
async fn restoring_what_is_there_already_makes_no_version() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let before = position(&app).await;
    assert_eq!(editor.restore("/terms/a/revisions/1").await.ok()["version"], 1);
    assert_eq!(position(&app).await, before);
}

#[tokio::test]
async fn an_old_name_and_slug_come_back_too() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"slug": "a2", "name": "Second"})).await.ok();
    let page = editor.restore("/terms/a2/revisions/1").await.ok();
    assert_eq!((&page["slug"], &page["name"]), (&json!("a"), &json!("a")));
    assert_eq!(app.get("/terms/a2").await.header("location"), "/terms/a");
}

#[tokio::test]
async fn an_old_drafts_status_is_not_taken() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.post("/terms", &draft("n")).await.ok();
    editor.patch("/terms/n", &json!({"status": "published", "definition": "Public."})).await.ok();
    let page = editor.restore("/terms/n/revisions/1").await.ok();
    assert_eq!((&page["status"], &page["definition"]), (&json!("published"), &json!("D.")));
    editor.patch("/terms/n", &json!({"status": "deprecated", "replaced_by": ["a"], "definition": "Old."})).await.ok();
    // As deprecated it needs a replacement, which the first version does not name.
    let refused = editor.restore("/terms/n/revisions/1").await;
    assert_eq!((refused.status.as_u16(), refused.faults()), (422, at(&[("/replaced_by", "replacement_required")])));
    assert_eq!(editor.restore("/terms/n/revisions/2").await.ok()["status"], "published", "any other status is");
}

#[tokio::test]
async fn references_that_lead_nowhere_any_more_are_told() {
    let app = glossary().await;
    let (editor, admin) = (Desk::of(&app, Role::Editor).await, Desk::of(&app, Role::Admin).await);
    editor.patch("/terms/a", &json!({"related": ["b", "d"], "companies": ["k"]})).await.ok();
    for path in ["/terms/b", "/companies/k"] {
        let id = app.get(path).await.ok()["id"].as_str().unwrap().to_owned();
        admin.delete(path).await;
        assert_eq!(admin.delete(&format!("/trash/{id}")).await.status, 204);
    }
    let before = editor.document("/terms/a").await;
    let refused = editor.restore("/terms/a/revisions/2").await;
    refused.problem(422, "invalid_document");
    assert_eq!(refused.faults(), at(&[("/related/0", "unknown_reference"), ("/companies/0", "unknown_reference")]));
    assert_eq!(editor.document("/terms/a").await, before);
}

#[tokio::test]
async fn a_restored_name_that_is_taken_names_its_holder() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"name": "Second"})).await.ok();
    editor.post("/terms", &with(published("thief"), "name", "A")).await.ok();
    let refused = editor.restore("/terms/a/revisions/1").await;
    refused.problem(409, "conflict");
    assert_eq!((refused.faults(), refused.conflicts()), (at(&[("/name", "name_taken")]), vec!["thief".into()]));
}

#[tokio::test]
async fn a_restoration_looks_at_if_match() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let old = app.get("/terms/a").await.header("etag").to_owned();
    let new = editor.patch("/terms/a", &json!({"definition": "Two."})).await.header("etag").to_owned();
    let restore =
        async |tag: &str| editor.send(Method::POST, "/terms/a/revisions/1/restore", None, &[("if-match", tag)]).await;
    restore(&old).await.problem(412, "precondition_failed");
    restore(&new).await.ok();
}

#[tokio::test]
async fn a_contributor_restores_drafts_alone() {
    let app = glossary().await;
    let contributor = Desk::of(&app, Role::Contributor).await;
    contributor.post("/terms", &draft("n")).await.ok();
    contributor.patch("/terms/n", &json!({"definition": "Two."})).await.ok();
    assert_eq!(contributor.restore("/terms/n/revisions/1").await.ok()["definition"], "D.");
    contributor.restore("/terms/a/revisions/1").await.problem(403, "forbidden");
}

// The trash

#[tokio::test]
async fn the_history_of_what_is_in_the_trash_can_be_read() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"definition": "Two."})).await.ok();
    editor.delete("/terms/a").await;
    assert_eq!(editor.get("/terms/a/revisions").await.ok()["total"], 3);
    assert_eq!(editor.get("/terms/a/revisions/3").await.ok()["what"], "deleted");
    assert_eq!(differences(&editor, "/terms/a/revisions/1/diff/2").await.len(), 1);
    assert_eq!(differences(&editor, "/terms/a/revisions/2/diff/3").await, Vec::<[Value; 4]>::new());
}

#[tokio::test]
async fn an_old_version_of_what_is_in_the_trash_is_not_restored_past_the_trash() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.delete("/terms/a").await;
    editor.restore("/terms/a/revisions/1").await.problem(410, "gone");
}

#[tokio::test]
async fn categories_and_companies_have_a_history_too() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for (path, change, member) in [
        ("/categories/c", json!({"parent": "e", "rank": 3, "description": "New."}), "description"),
        ("/companies/k", json!({"categories": ["c"], "country": "DE", "description": "New."}), "description"),
    ] {
        let first = editor.document(path).await;
        editor.patch(path, &change).await.ok();
        let found = differences(&editor, &format!("{path}/revisions/1/diff/2")).await;
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().any(|difference| difference[0] == member));
        editor.restore(&format!("{path}/revisions/1")).await.ok();
        assert_eq!(editor.document(path).await, first, "{path}");
    }
}
