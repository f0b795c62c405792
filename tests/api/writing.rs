//! Creating, changing and renaming over HTTP.

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use reqwest::Method;
use serde_json::{Value, json};
use termbase::tokens::Role;

use crate::{
    desk::{Desk, at, glossary, position, published, slugs, with},
    support::{Answer, TestApp},
};

// POST

#[tokio::test]
async fn what_is_created_is_at_its_location_and_is_answered_as_its_page() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let documents = [
        ("/terms", with(published("new"), "related", json!(["a"]))),
        ("/categories", json!({"name": "New", "parent": "c"})),
        ("/companies", json!({"name": "New", "status": "published", "categories": ["c"]})),
    ];
    for (list, document) in documents {
        let made = editor.post(list, &document).await;
        assert_eq!((made.status.as_u16(), made.header("location")), (201, format!("{list}/new").as_str()));
        let read = app.get(made.header("location")).await;
        assert_eq!((read.status.as_u16(), read.bytes), (200, made.bytes), "{list}");
    }
}

#[tokio::test]
async fn a_new_entity_has_the_answers_headers_of_its_page() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let made = editor.post("/terms", &published("new")).await;
    let read = app.get("/terms/new").await;
    for name in ["etag", "termbase-position", "content-type"] {
        assert_eq!(made.header(name), read.header(name), "{name}");
    }
    assert_eq!(made.header("cache-control"), "private, no-store");
}

#[tokio::test]
async fn a_slug_is_made_from_the_name_and_numbered_where_it_is_taken() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let named = |name: &str| json!({"name": name, "definition": "D.", "category": "c"});
    // Names that are different, and lead to one slug.
    for (name, slug) in
        [("C++ & Co.", "c-plus-plus-and-co"), ("C plus plus and Co", "c-plus-plus-and-co-2"), ("A", "a-2")]
    {
        let answer = editor.post("/terms", &named(name)).await;
        // `A` is the name of a term already; only its number would be free.
        if slug == "a-2" {
            assert_eq!((answer.status.as_u16(), answer.faults()), (409, at(&[("/name", "name_taken")])));
        } else {
            assert_eq!((answer.status.as_u16(), answer.json()["slug"].clone()), (201, json!(slug)));
        }
    }
    for slug in ["k-2", "k-3"] {
        assert_eq!(editor.post("/companies", &json!({"name": "K"})).await.ok()["slug"], slug, "names may repeat");
    }
}

#[tokio::test]
async fn all_mistakes_of_a_document_are_told_at_once() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let before = position(&app).await;
    let document = json!({
        "name": " x", "slug": "X Y", "definiton": "D.", "category": 7, "status": "public", "reviewed_on": "2026-02-30",
        "aliases": [{"name": "z", "kind": "nick"}, {"kind": "synonym"}], "related": ["a", "a"],
        "sources": [{"title": "S", "url": "ftp://x.example"}], "a/b~c": 1,
    });
    let refused = editor.post("/terms", &document).await;
    refused.problem(422, "invalid_document");
    let expected = at(&[
        ("/slug", "bad_character"),
        ("/name", "not_trimmed"),
        ("/definition", "required"),
        ("/category", "wrong_type"),
        ("/status", "unknown_value"),
        ("/reviewed_on", "not_a_day"),
        ("/aliases/0/kind", "unknown_value"),
        ("/aliases/1/name", "required"),
        ("/related/1", "duplicate"),
        ("/sources/0/url", "not_a_web_address"),
        ("/a~1b~0c", "unknown_member"),
        ("/definiton", "unknown_member"),
    ]);
    assert_eq!(refused.faults(), expected);
    assert_eq!(position(&app).await, before);
}

#[tokio::test]
async fn mistakes_that_only_the_glossary_knows_are_told_at_once_too() {
    let app = TestApp::with_samples().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let document = json!({
        "name": "Transformer", "slug": "foundation-model", "definition": "D.", "category": "core-concept",
        "related": ["fine-tunning"], "companies": ["antropic"], "replaced_by": ["00000000-0000-7000-8000-000000000000"],
    });
    let refused = editor.post("/terms", &document).await;
    let problem = refused.problem(422, "invalid_document");
    let expected = at(&[
        ("/slug", "slug_taken"),
        ("/name", "name_taken"),
        ("/category", "unknown_reference"),
        ("/related/0", "unknown_reference"),
        ("/replaced_by/0", "unknown_reference"),
        ("/companies/0", "unknown_reference"),
    ]);
    assert_eq!(refused.faults(), expected);
    let said = problem["errors"].to_string();
    for slug in ["core-concepts", "fine-tuning", "anthropic"] {
        assert!(said.contains(&format!("did you mean \\\"{slug}\\\"")), "{slug}: {said}");
    }
}

#[tokio::test]
async fn who_has_a_name_or_a_slug_is_told() {
    let app = TestApp::with_samples().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let named =
        |name: &str, slug: &str| json!({"name": name, "slug": slug, "definition": "D.", "category": "training"});
    let holder = json!({"kind": "term", "slug": "fine-tuning", "name": "Fine-Tuning"});
    for (document, place, code) in
        [(named("FINE TUNING", "other"), "/name", "name_taken"), (named("Other", "fine-tuning"), "/slug", "slug_taken")]
    {
        let refused = editor.post("/terms", &document).await;
        let problem = refused.problem(409, "conflict");
        assert_eq!((refused.faults(), &problem["conflicts"]), (at(&[(place, code)]), &json!([holder])));
    }
}

#[tokio::test]
async fn a_former_slug_is_its_entitys_alone() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"slug": "a-new"})).await.ok();
    let thief = with(published("a"), "name", "thief");
    for refused in [editor.post("/terms", &thief).await, editor.patch("/terms/b", &json!({"slug": "a"})).await] {
        refused.problem(409, "conflict");
        assert_eq!(refused.faults(), at(&[("/slug", "slug_taken")]));
    }
    assert_eq!(editor.patch("/terms/a-new", &json!({"slug": "a"})).await.ok()["slug"], "a");
}

// PATCH

#[tokio::test]
async fn absent_null_and_a_value_are_three_things() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let whole = json!({
        "body": "B.", "reviewed_on": "2026-11-24", "aliases": [{"name": "x", "kind": "synonym"}], "related": ["b"],
        "companies": ["k"], "sources": [{"title": "S", "url": "https://x.example", "publisher": null, "published_on": null}],
    });
    editor.patch("/terms/a", &whole).await.ok();
    let before = editor.document("/terms/a").await;
    // Absent: all stays as it is.
    editor.patch("/terms/a", &json!({"definition": "Other."})).await.ok();
    assert_eq!(editor.document("/terms/a").await, with(before.clone(), "definition", "Other."));
    // Null: the member's default.
    let nulls: Value = whole.as_object().unwrap().keys().map(|name| (name.clone(), Value::Null)).collect();
    editor.patch("/terms/a", &nulls).await.ok();
    let cleared = editor.document("/terms/a").await;
    assert_eq!((&cleared["body"], &cleared["reviewed_on"]), (&json!(""), &Value::Null));
    for list in ["aliases", "related", "companies", "sources"] {
        assert_eq!(cleared[list], json!([]), "{list}");
    }
}

#[tokio::test]
async fn null_on_a_required_member_is_a_mistake() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let refused = editor.patch("/terms/a", &json!({"name": null, "definition": null, "category": null})).await;
    refused.problem(422, "invalid_document");
    assert_eq!(refused.faults(), at(&[("/name", "required"), ("/definition", "required"), ("/category", "required")]));
}

#[tokio::test]
async fn a_null_slug_keeps_the_slug() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let page = editor.patch("/terms/a", &json!({"slug": null, "name": "Another"})).await.ok();
    assert_eq!((&page["slug"], &page["name"]), (&json!("a"), &json!("Another")));
}

#[tokio::test]
async fn a_list_in_a_patch_replaces_the_whole_list() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"related": ["b"]})).await.ok();
    editor.patch("/terms/a", &json!({"related": ["d"]})).await.ok();
    assert_eq!(editor.document("/terms/a").await["related"], json!(["d"]));
}

#[tokio::test]
async fn a_patch_is_taken_as_either_type_and_as_no_other() {
    let app = glossary().await;
    let token = app.token(Role::Editor).await;
    for (kind, status) in [
        ("application/json", 200),
        ("application/merge-patch+json", 200),
        ("application/json-patch+json", 415),
        ("text/plain", 415),
    ] {
        let request = app.client.request(Method::PATCH, format!("{}/terms/a", app.address)).bearer_auth(&token);
        let sent = request.header("content-type", kind).body(r#"{"definition": "Other."}"#).send().await.unwrap();
        let answer = Answer::of(sent).await;
        assert_eq!(answer.status, status, "{kind}");
        if status == 415 {
            assert_eq!(answer.header("accept-patch"), "application/merge-patch+json, application/json");
        }
    }
}

#[tokio::test]
async fn what_comes_back_unchanged_makes_no_version_and_no_position() {
    let app = TestApp::with_samples().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for path in ["/terms/foundation-model", "/categories/training", "/companies/anthropic"] {
        let (before, version) = (position(&app).await, editor.version(path).await);
        let document = editor.document(path).await;
        let put = editor.put(&format!("{path}/document"), &document).await;
        for answer in [put, editor.patch(path, &document).await, editor.patch(path, &json!({})).await] {
            assert_eq!(answer.ok()["version"].as_i64(), Some(version), "{path}");
        }
        assert_eq!(position(&app).await, before, "{path}");
    }
}

#[tokio::test]
async fn a_refused_patch_leaves_readers_what_they_had() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let before = app.get("/terms/a").await;
    editor
        .patch("/terms/a", &json!({"definition": "Other.", "category": "nowhere"}))
        .await
        .problem(422, "invalid_document");
    let after = app.get("/terms/a").await;
    assert_eq!((after.header("etag"), &after.bytes), (before.header("etag"), &before.bytes));
}

// PUT …/document

#[tokio::test]
async fn put_creates_where_nothing_is() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let document = json!({"name": "New", "definition": "D.", "category": "c", "status": "published"});
    let made = editor.put("/terms/of-its-own/document", &document).await;
    assert_eq!((made.status.as_u16(), made.header("location")), (201, "/terms/of-its-own"));
    assert_eq!(app.get("/terms/of-its-own").await.bytes, made.bytes);
    let again = editor.put("/terms/of-its-own/document", &document).await;
    assert_eq!((again.status.as_u16(), again.json()["version"].clone()), (200, json!(1)));
}

#[tokio::test]
async fn put_takes_posts_defaults_for_what_is_absent() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"body": "B.", "related": ["b"], "aliases": [{"name": "x"}]})).await.ok();
    let least = json!({"name": "a", "definition": "D.", "category": "c", "status": "published"});
    editor.put("/terms/a/document", &least).await.ok();
    let document = editor.document("/terms/a").await;
    assert_eq!(
        (&document["body"], &document["related"], &document["aliases"], &document["slug"]),
        (&json!(""), &json!([]), &json!([]), &json!("a"))
    );
}

#[tokio::test]
async fn another_slug_inside_a_put_is_a_rename() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let renamed = editor.put("/terms/a/document", &with(published("a"), "slug", "a-new")).await.ok();
    assert_eq!((&renamed["slug"], &renamed["version"]), (&json!("a-new"), &json!(2)));
    assert_eq!(app.get("/terms/a").await.header("location"), "/terms/a-new");
}

#[tokio::test]
async fn a_new_document_whose_slug_is_not_its_address_is_refused() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let refused = editor.put("/terms/new/document", &published("other")).await;
    refused.problem(422, "invalid_document");
    assert_eq!(refused.faults(), at(&[("/slug", "other_slug")]));
}

#[tokio::test]
async fn if_none_match_star_only_creates() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let only_new = [("if-none-match", "*")];
    let put = async |slug: &str| {
        editor
            .send(
                Method::PUT,
                &format!("/terms/{slug}/document"),
                Some(&with(published(slug), "definition", "Mine.")),
                &only_new,
            )
            .await
    };
    let refused = put("a").await;
    refused.problem(412, "precondition_failed");
    assert_eq!((refused.faults(), refused.conflicts()), (at(&[("If-None-Match", "exists")]), vec!["a".into()]));
    assert_eq!(app.get("/terms/a").await.json()["definition"], "D.");
    assert_eq!(put("new").await.status, 201);
}

#[tokio::test]
async fn of_two_who_only_create_at_once_one_is_refused() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for round in 0..5 {
        let address = format!("/terms/n{round}/document");
        let put = async |definition: &str| {
            let document = with(published(&format!("n{round}")), "definition", definition);
            editor.send(Method::PUT, &address, Some(&document), &[("if-none-match", "*")]).await
        };
        let (mine, theirs) = tokio::join!(put("Mine."), put("Theirs."));
        let mut statuses = [mine.status.as_u16(), theirs.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 412]);
        let kept = if mine.status == 201 { "Mine." } else { "Theirs." };
        assert_eq!(app.get(&format!("/terms/n{round}")).await.ok()["definition"], kept);
    }
}

#[tokio::test]
async fn an_id_that_nobody_has_is_no_address_to_create_at() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for segment in ["00000000-0000-7000-8000-000000000000", "Not-A-Slug"] {
        editor.put(&format!("/terms/{segment}/document"), &published("new")).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn post_put_and_patch_refuse_a_document_alike() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let bad = json!({"name": "\u{202e}x", "definition": "", "category": "sea", "status": "deprecated", "related": ["nobody"], "x": 1});
    let all = [
        editor.post("/terms", &bad).await,
        editor.put("/terms/new/document", &bad).await,
        editor.put("/terms/a/document", &bad).await,
        editor.patch("/terms/a", &bad).await,
    ];
    for answer in &all {
        answer.problem(422, "invalid_document");
        assert_eq!(answer.faults(), all[0].faults());
    }
}

// The message

#[tokio::test]
async fn a_message_stands_in_the_history() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a?message=%C3%9Cber+Gr%C3%B6%C3%9Fe", &json!({"definition": "Other."})).await.ok();
    let newest = editor.get("/terms/a/revisions").await.ok()["items"][0].clone();
    assert_eq!((&newest["message"], &newest["author"]), (&json!("Über Größe"), &json!("test editor")));
}

#[tokio::test]
async fn a_message_is_one_line_of_500_characters_at_most() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let long = "ü".repeat(501);
    for message in ["", "+", "a%0Ab", "a%00b", &long] {
        let refused = editor.patch(&format!("/terms/a?message={message}"), &json!({"definition": "Other."})).await;
        refused.problem(400, "bad_request");
    }
    editor.patch(&format!("/terms/a?message={}", "ü".repeat(500)), &json!({"definition": "Other."})).await.ok();
}

#[tokio::test]
async fn an_unknown_parameter_of_a_write_is_refused() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let refused = editor.patch("/terms/a?mesage=x", &json!({"definition": "Other."})).await;
    let problem = refused.problem(400, "bad_request");
    assert_eq!(refused.faults(), at(&[("mesage", "unknown_parameter")]));
    assert!(problem["detail"].as_str().unwrap().contains("message"), "{problem}");
}

// Addresses

/// What may be sent to an entity, and what may be sent below it.
fn below() -> Vec<(Method, &'static str, Option<Value>)> {
    vec![
        (Method::GET, "", None),
        (Method::HEAD, "", None),
        (Method::PATCH, "?message=why", Some(json!({"definition": "Other."}))),
        (Method::DELETE, "?message=why", None),
        (Method::POST, "/restore", None),
        (Method::GET, "/document", None),
        (Method::PUT, "/document?message=why", Some(published("x"))),
        (Method::GET, "/revisions?limit=1", None),
        (Method::GET, "/revisions/1", None),
        (Method::GET, "/revisions/1/diff/1", None),
        (Method::POST, "/revisions/1/restore", None),
        (Method::PUT, "/related/b", None),
        (Method::DELETE, "/related/b", None),
        (Method::PUT, "/broader/b", None),
        (Method::DELETE, "/broader/b", None),
        (Method::PUT, "/replaced_by/b", None),
        (Method::DELETE, "/replaced_by/b", None),
        (Method::PUT, "/companies/k", None),
        (Method::DELETE, "/companies/k", None),
        (Method::PUT, "/aliases?name=a+b", Some(json!({"kind": "acronym"}))),
        (Method::DELETE, "/aliases?name=a+b", None),
        (Method::PUT, "/sources?url=https%3A%2F%2Fx.example%2F%3Fa%3D1%26b", Some(json!({"title": "S"}))),
        (Method::DELETE, "/sources?url=https%3A%2F%2Fx.example%2F", None),
    ]
}

#[tokio::test]
async fn a_former_slug_and_an_id_lead_on_with_every_method_path_and_query() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let id = editor.patch("/terms/a", &json!({"slug": "a-new"})).await.ok()["id"].as_str().unwrap().to_owned();
    let before = position(&app).await;
    for segment in ["a", id.as_str()] {
        for (method, rest, body) in below() {
            let answer = editor.send(method.clone(), &format!("/terms/{segment}{rest}"), body.as_ref(), &[]).await;
            assert_eq!(
                answer.status,
                308,
                "{method} /terms/{segment}{rest}: {}",
                String::from_utf8_lossy(&answer.bytes)
            );
            assert_eq!(answer.header("location"), format!("/terms/a-new{rest}"), "{method}");
            assert_eq!(answer.header("cache-control"), "no-cache", "{method} {rest}");
        }
    }
    assert_eq!(position(&app).await, before, "nothing was written under the way there");
}

#[tokio::test]
async fn categories_and_companies_lead_on_too() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/categories/c", &json!({"slug": "sea"})).await.ok();
    editor.patch("/companies/k", &json!({"slug": "kay"})).await.ok();
    for (method, path, location) in [
        (Method::PATCH, "/categories/c", "/categories/sea"),
        (Method::GET, "/categories/c/document", "/categories/sea/document"),
        (Method::PUT, "/companies/k/categories/e?message=x", "/companies/kay/categories/e?message=x"),
        (Method::DELETE, "/companies/k", "/companies/kay"),
    ] {
        let body = (method == Method::PATCH).then(|| json!({}));
        let answer = editor.send(method, path, body.as_ref(), &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (308, location));
    }
}

#[tokio::test]
async fn an_unknown_slug_is_a_404_with_the_closest_ones_whatever_the_method() {
    let app = TestApp::with_samples().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for (method, rest, body) in below() {
        // There is nothing to make of the other end here, and a PUT of a document makes what is not there.
        if rest.contains("/b") || rest.contains("/k") || (rest.starts_with("/document") && method == Method::PUT) {
            continue;
        }
        let answer = editor.send(method.clone(), &format!("/terms/foundation-modle{rest}"), body.as_ref(), &[]).await;
        assert_eq!(answer.status, 404, "{method} {rest}");
        if method != Method::HEAD {
            assert_eq!(answer.problem(404, "not_found")["suggestions"][0], "foundation-model", "{method} {rest}");
        }
    }
}

#[tokio::test]
async fn what_is_deleted_is_gone_to_every_write_but_its_restoration() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    assert_eq!(editor.delete("/terms/a").await.status, 204);
    for (method, rest, body) in below() {
        if method == Method::HEAD || rest == "/restore" || (method == Method::GET && rest.starts_with("/revisions")) {
            continue;
        }
        let answer = editor.send(method.clone(), &format!("/terms/a{rest}"), body.as_ref(), &[]).await;
        assert_eq!(answer.status, 410, "{method} {rest}: {}", String::from_utf8_lossy(&answer.bytes));
        answer.problem(410, "gone");
    }
    assert_eq!(editor.restore("/terms/a").await.status, 200);
}

// Renames

/// What readers see of everyone, by slug: relations from both ends, companies, and counts.
async fn seen(app: &TestApp, path: &str) -> Value {
    let page = app.get(path).await.ok();
    let ends = ["related", "broader", "narrower", "replaced_by", "replaces"].map(|list| json!(slugs(&page[list])));
    json!({"ends": ends, "companies": slugs(&page["companies"]["items"]), "linked": page["companies"]["linked"]})
}

/// `a` in the middle: related by both, broader and narrower, replaced and replacing, with companies.
async fn web() -> TestApp {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"related": ["b"], "broader": ["d"], "companies": ["k", "l"]})).await.ok();
    editor.post("/terms", &with(published("e"), "broader", json!(["a"]))).await.ok();
    editor.post("/terms", &with(published("f"), "related", json!(["a"]))).await.ok();
    let old = with(with(published("old"), "status", "deprecated"), "replaced_by", json!(["d", "a"]));
    editor.post("/terms", &old).await.ok();
    app
}

/// Everything that shows the term that is called `slug` now, with `…` in the place of that.
async fn everywhere(app: &TestApp, slug: &str) -> Value {
    let mut all = json!({"itself": seen(app, &format!("/terms/{slug}")).await});
    for other in ["b", "d", "e", "f", "old"] {
        all[other] = seen(app, &format!("/terms/{other}")).await;
    }
    for list in ["/terms", "/terms?category=c", "/terms?company=k", &format!("/companies?term={slug}")] {
        let answer = app.get(list).await.ok();
        all["lists"][list.replace(&format!("term={slug}"), "term=…")] =
            json!([answer["total"], slugs(&answer["items"])]);
    }
    all["counts"] = app.get("/categories").await.ok()["items"].clone();
    serde_json::from_str(&all.to_string().replace(&format!("\"{slug}\""), "\"…\"")).unwrap()
}

#[tokio::test]
async fn a_rename_there_and_back_changes_nothing_that_is_seen() {
    let app = web().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let before = everywhere(&app, "a").await;
    editor.patch("/terms/a", &json!({"slug": "a-longer"})).await.ok();
    assert_eq!(everywhere(&app, "a-longer").await, before);
    assert_eq!(app.get("/terms/a").await.header("location"), "/terms/a-longer");
    editor.patch("/terms/a-longer", &json!({"slug": "a"})).await.ok();
    assert_eq!(everywhere(&app, "a").await, before);
    assert_eq!(app.get("/terms/a-longer").await.header("location"), "/terms/a");
    assert_eq!(app.get("/terms/a").await.status, 200, "the way back does not loop");
}

#[tokio::test]
async fn every_former_slug_leads_there_in_one_hop() {
    let app = web().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let before = everywhere(&app, "a").await;
    editor.patch("/terms/a", &json!({"slug": "a2"})).await.ok();
    editor.patch("/terms/a2", &json!({"slug": "a3"})).await.ok();
    assert_eq!(everywhere(&app, "a3").await, before);
    for former in ["a", "a2"] {
        assert_eq!(app.get(&format!("/terms/{former}")).await.header("location"), "/terms/a3");
    }
}

#[tokio::test]
async fn a_renamed_neighbour_changes_no_document_but_in_its_spelling() {
    let app = web().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let before = position(&app).await;
    editor.patch("/terms/a", &json!({"slug": "zz"})).await.ok();
    assert_eq!(position(&app).await, before + 1);
    for (path, member, expected) in [
        ("/terms/e", "broader", json!(["zz"])),
        ("/terms/f", "related", json!(["zz"])),
        ("/terms/old", "replaced_by", json!(["d", "zz"])),
    ] {
        assert_eq!(editor.version(path).await, 1, "{path}");
        assert_eq!(editor.document(path).await[member], expected, "{path}");
    }
}

// Names

/// Names of the kinds that others' services could not reach again: signs of addresses and of SQL, emoji, right-to-left,
/// combining marks, scripts without spaces, what has no width, and what is no name at all.
fn any_name() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        4 => "[ -~]{1,8}",
        2 => "[%./'\"\\\\?#&;:~+ -]{1,4}",
        2 => "[\u{300}-\u{36f}a-e]{1,6}",
        2 => "[\u{590}-\u{5ff}\u{600}-\u{6ff}]{1,6}",
        2 => "[\u{3040}-\u{30ff}\u{4e00}-\u{4fff}\u{ac00}-\u{ad00}]{1,6}",
        2 => "[\u{1f300}-\u{1f6ff}\u{200d}\u{fe0f}]{1,5}",
        1 => "[\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}\u{ad}\u{feff}]{1,3}",
        1 => "\\PC{1,6}",
        1 => any::<String>(),
    ];
    prop_oneof![
        8 => prop::collection::vec(pieces, 1..4).prop_map(|pieces| pieces.concat()),
        1 => "[a-zäö深 ]{195,205}",
        1 => Just(String::new()),
    ]
}

/// Whether a document is taken, or the codes of its mistakes.
fn verdict(answer: &Answer) -> Result<(), Vec<(String, String)>> {
    if answer.status.is_success() { Ok(()) } else { Err(answer.faults()) }
}

/// `NAMES` cases, of `NAMES_SEED`.
#[tokio::test]
async fn a_name_is_taken_by_all_or_by_none_and_read_back_under_its_slug() {
    let setting = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (cases, seed) = (setting("NAMES", 150), setting("NAMES_SEED", 20_261_124));
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let mut random = [0; 32];
    random[..8].copy_from_slice(&u64::to_le_bytes(seed));
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &random);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), random);
    let mut taken = 0;
    for case in 0..cases {
        let name = any_name().new_tree(&mut runner).unwrap().current();
        let said = format!("seed {seed}, case {case}: {name:?}");
        let document = json!({"name": name, "definition": "D.", "category": "c", "status": "published"});
        let made = editor.post("/terms", &document).await;
        let address = format!("/terms/p{case}/document");
        if made.status == 201 {
            taken += 1;
            let page = made.json();
            let read = app.get(&format!("/terms/{}", page["slug"].as_str().unwrap())).await.ok();
            assert_eq!((&read["name"], &read["slug"]), (&json!(name), &page["slug"]), "{said}");
            let own = editor.document(made.header("location")).await;
            assert_eq!(own["name"], name, "{said}");
            // To all others it is taken now, whichever way they come.
            let all = [
                editor.post("/terms", &document).await,
                editor.put(&address, &document).await,
                editor.patch("/terms/b", &json!({"name": name})).await,
            ];
            for answer in &all {
                assert_eq!((answer.status.as_u16(), answer.faults()), (409, at(&[("/name", "name_taken")])), "{said}");
            }
            continue;
        }
        let refused = verdict(&made);
        assert!(made.status.is_client_error(), "{said}: {made:?}");
        assert_eq!(verdict(&editor.put(&address, &document).await), refused, "{said}");
        assert_eq!(verdict(&editor.patch("/terms/b", &json!({"name": name})).await), refused, "{said}");
    }
    assert!((cases / 4..cases).contains(&taken), "{taken} of {cases} are names: neither all nor none should be");
}

/// The same the other way round: what `PUT` and `PATCH` take, `POST` would have taken.
#[tokio::test]
async fn names_that_others_could_not_reach_are_reached() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let long = "深".repeat(200);
    for name in [
        "100 %",
        "a.b/c",
        "O'Reilly",
        "../..",
        "%00",
        "🎉👩‍🚀",
        "שלום עולם",
        "e\u{301}\u{302}",
        "中\u{200d}文",
        "null",
        "?#",
        &long,
    ] {
        let renamed = editor.patch("/terms/b", &json!({"name": name, "slug": null})).await.ok();
        assert_eq!((&renamed["name"], &renamed["slug"]), (&json!(name), &json!("b")));
        editor.patch("/terms/b", &json!({"name": "b"})).await.ok();
        let made = editor
            .post("/terms", &json!({"name": name, "definition": "D.", "category": "c", "status": "published"}))
            .await;
        assert_eq!(app.get(made.header("location")).await.ok()["name"], name);
        let list = app.get("/terms?limit=100").await.ok();
        assert!(list["items"].as_array().unwrap().iter().any(|card| card["name"] == name), "{name}");
    }
}

/// What the form of the document says, and what only the glossary knows, in one answer; nothing twice, nothing written.
#[tokio::test]
async fn mistakes_of_the_form_and_of_the_glossary_are_told_together() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let document = json!({
        "name": "Transformer", "category": "trainig", "body": 7, "related": ["embeding"], "companies": ["OpenAI"], "note": null
    });
    for (method, path) in
        [(Method::POST, "/terms"), (Method::PUT, "/terms/new/document"), (Method::PATCH, "/terms/fine-tuning")]
    {
        let mut document = document.clone();
        if method == Method::PATCH {
            document["definition"] = Value::Null;
        }
        let answer = app.send(method.clone(), path, Some(&editor), Some(&document), &[]).await;
        let problem = answer.problem(422, "invalid_document");
        let mut found: Vec<(&str, &str)> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| (error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap()))
            .collect();
        found.sort_unstable();
        assert_eq!(
            found,
            [
                ("/body", "wrong_type"),
                ("/category", "unknown_reference"),
                ("/companies/0", "bad_character"),
                ("/definition", "required"),
                ("/name", "name_taken"),
                ("/note", "unknown_member"),
                ("/related/0", "unknown_reference"),
            ],
            "{method} {path}"
        );
        assert_eq!(problem["conflicts"][0]["slug"], "transformer");
    }
    let written: i64 =
        sqlx::query_scalar("select count(*) from revisions where version > 1 or author <> 'termbase samples'")
            .fetch_one(app.pool())
            .await
            .unwrap();
    assert_eq!(written, 0);
}

/// A mistake is told a thousand times at most: an answer never grows with what is wrong.
#[tokio::test]
async fn thousands_of_mistakes_make_a_short_answer() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let mut document: serde_json::Map<String, Value> =
        (0..20_000).map(|number| (format!("m{number}"), json!(1))).collect();
    document.insert("x".repeat(100_000), json!(1));
    let answer = app.send(Method::POST, "/terms", Some(&editor), Some(&Value::Object(document)), &[]).await;
    assert_eq!(answer.problem(422, "invalid_document")["errors"].as_array().unwrap().len(), 1000);
    assert!(answer.bytes.len() < 500_000, "{}", answer.bytes.len());
}

/// Companies may bear one name: each gets the next number, also when all come at once.
#[tokio::test]
async fn companies_of_one_name_that_come_at_once_are_all_made() {
    let app = TestApp::with_samples().await;
    let editor = app.token(Role::Editor).await;
    let document = json!({"name": "Same"});
    let posts = (0..6).map(|_| app.send(Method::POST, "/companies", Some(&editor), Some(&document), &[]));
    for answer in futures_util::future::join_all(posts).await {
        assert_eq!(answer.status, 201, "{}", answer.json());
    }
}
