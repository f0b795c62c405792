//! `If-Match`: nobody overwrites what he has not seen.

use reqwest::Method;
use serde_json::{Value, json};
use termbase::{state::HttpSettings, tokens::Role};

use crate::{
    desk::{Desk, draft, glossary, position, with},
    support::{Answer, Content, TestApp, http_settings},
};

async fn patch(desk: &Desk<'_>, tags: &[&str], definition: &str) -> Answer {
    let headers: Vec<(&str, &str)> = tags.iter().map(|tag| ("if-match", *tag)).collect();
    desk.send(Method::PATCH, "/terms/a", Some(&json!({"definition": definition})), &headers).await
}

/// A term that is large enough to be compressed.
async fn large() -> TestApp {
    let app = glossary().await;
    Desk::of(&app, Role::Editor).await.patch("/terms/a", &json!({"body": "Words. ".repeat(1000)})).await.ok();
    app
}

#[tokio::test]
async fn a_tag_of_any_coding_of_the_page_protects_a_write() {
    let app = large().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for coding in ["identity", "gzip", "br"] {
        for method in [Method::GET, Method::HEAD] {
            let read = app.request(method.clone(), "/terms/a", &[("accept-encoding", coding)]).await;
            let tag = read.header("etag");
            assert!(tag.ends_with(&format!(".{coding}\"")), "{tag}");
            let written = patch(&editor, &[tag], &format!("{coding} {method}.")).await;
            assert_eq!(written.status, 200, "{coding} {method}");
            patch(&editor, &[tag], "Again.").await.problem(412, "precondition_failed");
        }
    }
}

#[tokio::test]
async fn a_tag_of_the_document_protects_a_write() {
    let app = large().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for coding in ["identity", "gzip", "br"] {
        let read = editor.send(Method::GET, "/terms/a/document", None, &[("accept-encoding", coding)]).await;
        let tag = read.header("etag");
        assert_eq!(patch(&editor, &[tag], coding).await.status, 200, "{coding}");
        patch(&editor, &[tag], "Again.").await.problem(412, "precondition_failed");
    }
}

#[tokio::test]
async fn a_tag_of_the_answer_to_a_write_protects_the_next() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let mut tag = editor.patch("/terms/a", &json!({"definition": "0."})).await.header("etag").to_owned();
    for number in 1..4 {
        tag = patch(&editor, &[&tag], &format!("{number}.")).await.header("etag").to_owned();
    }
    assert_eq!(editor.version("/terms/a").await, 5);
}

#[tokio::test]
async fn a_tag_of_the_newest_revision_protects_a_write() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"definition": "Two."})).await.ok();
    let tag = async |version: u8| editor.get(&format!("/terms/a/revisions/{version}")).await.header("etag").to_owned();
    patch(&editor, &[&tag(1).await], "Three.").await.problem(412, "precondition_failed");
    patch(&editor, &[&tag(2).await], "Three.").await.ok();
}

#[tokio::test]
async fn a_tag_is_taken_as_proxies_and_lists_write_it() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let spellings: [fn(&str) -> Vec<String>; 5] = [
        |tag| vec![format!("W/{tag}")],
        |tag| vec![format!("\"other\", {tag}, W/\"more\"")],
        |tag| vec!["\"other\"".into(), tag.into()],
        |tag| vec![tag.replace(".identity", ".br-gzip")],
        |_| vec!["*".into()],
    ];
    for (number, spelling) in spellings.iter().enumerate() {
        let tag = app.get("/terms/a").await.header("etag").to_owned();
        let tags = spelling(&tag);
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        assert_eq!(patch(&editor, &tags, &format!("{number}.")).await.status, 200, "{tags:?}");
    }
}

#[tokio::test]
async fn what_is_no_tag_is_refused() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for tag in ["x", "1", "\"a\" \"b\"", "*, \"a\""] {
        let refused = patch(&editor, &[tag], "Other.").await;
        refused.problem(400, "bad_request");
        assert_eq!(refused.faults(), [("If-Match".to_owned(), "bad_entity_tag".to_owned())], "{tag}");
    }
}

#[tokio::test]
async fn a_tag_of_another_entity_or_of_a_list_matches_nothing() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for path in ["/terms/b", "/terms", "/categories/c"] {
        let tag = app.get(path).await.header("etag").to_owned();
        let problem = patch(&editor, &[&tag], "Other.").await.problem(412, "precondition_failed");
        assert!(problem["detail"].as_str().unwrap().contains("none of its versions"), "{path}: {problem}");
    }
}

#[tokio::test]
async fn a_stale_tag_is_told_the_version_its_author_and_what_has_changed() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let tag = app.get("/terms/a").await.header("etag").to_owned();
    editor.patch("/terms/a", &json!({"definition": "Theirs.", "related": ["b"]})).await.ok();
    editor.patch("/terms/b", &json!({"slug": "b2"})).await.ok();
    editor.patch("/terms/a", &json!({"aliases": [{"name": "x"}]})).await.ok();
    let before = position(&app).await;
    let refused = patch(&editor, &[&tag], "Mine.").await;
    let problem = refused.problem(412, "precondition_failed");
    let places: Vec<String> = refused.faults().into_iter().map(|(place, code)| format!("{place} {code}")).collect();
    assert_eq!(
        places,
        ["If-Match stale", "/aliases changed_since", "/definition changed_since", "/related changed_since"]
    );
    let detail = problem["detail"].as_str().unwrap();
    for said in ["at version 3", "written by test editor at 2026-", "the tag is of version 1"] {
        assert!(detail.contains(said), "{said}: {detail}");
    }
    assert_eq!(problem["conflicts"], json!([{"kind": "term", "slug": "a", "name": "a"}]));
    assert_eq!(position(&app).await, before);
}

#[tokio::test]
async fn of_two_who_write_on_one_version_one_is_refused() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for round in 0..5 {
        let tag = app.get("/terms/a").await.header("etag").to_owned();
        let tags = [tag.as_str()];
        let (mine, theirs) = (format!("Mine {round}."), format!("Theirs {round}."));
        let (first, second) = tokio::join!(patch(&editor, &tags, &mine), patch(&editor, &tags, &theirs));
        let mut statuses = [first.status.as_u16(), second.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412]);
        let kept = if first.status == 200 { mine } else { theirs };
        assert_eq!(app.get("/terms/a").await.ok()["definition"], kept);
    }
}

#[tokio::test]
async fn a_neighbours_rename_makes_no_tag_stale_for_writing() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.link("/terms/a/related/b").await.ok();
    let read = app.get("/terms/a").await;
    editor.patch("/terms/b", &json!({"slug": "b2", "name": "Other"})).await.ok();
    assert_ne!(app.get("/terms/a").await.header("etag"), read.header("etag"), "to readers it is another page");
    patch(&editor, &[read.header("etag")], "Mine.").await.ok();
}

#[tokio::test]
async fn a_stale_tag_stops_every_kind_of_write() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for (path, change) in
        [("/terms/a", "definition"), ("/categories/c", "description"), ("/companies/k", "description")]
    {
        let tag = app.get(path).await.header("etag").to_owned();
        editor.patch(path, &json!({ change: "Theirs." })).await.ok();
        let document = with(editor.document(path).await, change, "Mine.");
        for (method, rest, body) in [
            (Method::PATCH, "", Some(&document)),
            (Method::PUT, "/document", Some(&document)),
            (Method::POST, "/revisions/1/restore", None),
            (Method::DELETE, "", None),
        ] {
            let answer = editor.send(method.clone(), &format!("{path}{rest}"), body, &[("if-match", &tag)]).await;
            assert_eq!(
                answer.problem(412, "precondition_failed")["conflicts"][0]["slug"],
                path.rsplit('/').next().unwrap(),
                "{method} {path}{rest}"
            );
        }
    }
}

#[tokio::test]
async fn an_old_tag_is_stale_after_the_trash() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let tag = app.get("/terms/a").await.header("etag").to_owned();
    editor.delete("/terms/a").await;
    let back = editor.restore("/terms/a").await;
    let problem = patch(&editor, &[&tag], "Mine.").await.problem(412, "precondition_failed");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "the document is as it was: {problem}");
    patch(&editor, &[back.header("etag")], "Mine.").await.ok();
}

#[tokio::test]
async fn a_tag_on_what_is_not_there_is_refused() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for tag in ["*", "\"0123456789abcdef0123456789abcdef.x.br\""] {
        let put = editor.send(Method::PUT, "/terms/new/document", Some(&draft("new")), &[("if-match", tag)]).await;
        put.problem(412, "precondition_failed");
    }
}

#[tokio::test]
async fn a_change_that_is_there_already_still_needs_the_right_tag() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let tag = app.get("/terms/a").await.header("etag").to_owned();
    patch(&editor, &[&tag], "Same.").await.ok();
    patch(&editor, &[&tag], "Same.").await.problem(412, "precondition_failed");
}

// TERMBASE_REQUIRE_IF_MATCH

async fn strict() -> TestApp {
    let app = TestApp::start(Content::Samples, HttpSettings { require_if_match: true, ..http_settings() }).await;
    assert!(app.state.http.require_if_match);
    app
}

#[tokio::test]
async fn a_service_that_requires_if_match_answers_428_without() {
    let app = strict().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let path = "/terms/transformer";
    let document = editor.document(path).await;
    let writes: Vec<(Method, &str, Option<Value>)> = vec![
        (Method::PATCH, "", Some(json!({}))),
        (Method::PUT, "/document", Some(document)),
        (Method::DELETE, "", None),
        (Method::POST, "/revisions/1/restore", None),
        (Method::PUT, "/aliases?name=x", None),
        (Method::DELETE, "/related/foundation-model", None),
    ];
    for (method, rest, body) in writes {
        let answer = editor.send(method.clone(), &format!("{path}{rest}"), body.as_ref(), &[]).await;
        answer.problem(428, "precondition_required");
    }
    assert_eq!(editor.version(path).await, 1);
    let tag = app.get(path).await.header("etag").to_owned();
    for tag in [tag.as_str(), "*"] {
        let change = json!({"definition": format!("{}.", tag.len())});
        editor.send(Method::PATCH, path, Some(&change), &[("if-match", tag)]).await.ok();
    }
}

#[tokio::test]
async fn what_is_new_or_in_the_trash_needs_no_tag() {
    let app = strict().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let new = |slug: &str| json!({"name": slug, "slug": slug, "definition": "D.", "category": "training"});
    assert_eq!(editor.post("/terms", &new("n")).await.status, 201);
    assert_eq!(editor.put("/terms/m/document", &new("m")).await.status, 201);
    let deleted = editor.send(Method::DELETE, "/terms/n", None, &[("if-match", "*")]).await;
    assert_eq!(deleted.status, 204);
    editor.restore("/terms/n").await.ok();
}
