//! A term's and a company's members, each at an address of its own.

use reqwest::Method;
use serde_json::{Value, json};
use termbase::tokens::Role;

use crate::{
    desk::{Desk, at, draft, glossary, position, published, slugs, with},
    support::{Answer, TestApp},
};

/// Each kind of member: its address, its body, where its document has it, and what is there after one `PUT`.
fn members() -> Vec<(&'static str, Option<Value>, &'static str, &'static str, Value)> {
    vec![
        ("/terms/a/related/b", None, "/terms/a", "related", json!(["b"])),
        ("/terms/a/broader/b", None, "/terms/a", "broader", json!(["b"])),
        ("/terms/a/replaced_by/b", None, "/terms/a", "replaced_by", json!(["b"])),
        ("/terms/a/companies/k", None, "/terms/a", "companies", json!(["k"])),
        ("/companies/k/categories/c", None, "/companies/k", "categories", json!(["c"])),
        (
            "/terms/a/aliases?name=Other+Name",
            Some(json!({"kind": "acronym"})),
            "/terms/a",
            "aliases",
            json!([{"name": "Other Name", "kind": "acronym"}]),
        ),
        (
            "/terms/a/sources?url=https%3A%2F%2Fx.example%2F%3Fa%3Db",
            Some(json!({"title": "S", "published_on": "2021-08-16"})),
            "/terms/a",
            "sources",
            json!([{"title": "S", "url": "https://x.example/?a=b", "publisher": null, "published_on": "2021-08-16"}]),
        ),
    ]
}

#[tokio::test]
async fn a_member_is_put_once_and_deleted_once() {
    for (address, body, entity, member, there) in members() {
        let app = glossary().await;
        let editor = Desk::of(&app, Role::Editor).await;
        for (method, body, version, expected) in [
            (Method::PUT, body.as_ref(), 2, &there),
            (Method::PUT, body.as_ref(), 2, &there),
            (Method::DELETE, None, 3, &json!([])),
            (Method::DELETE, None, 3, &json!([])),
        ] {
            let before = position(&app).await;
            let answer = editor.send(method.clone(), address, body, &[]).await;
            assert_eq!(answer.status, 200, "{method} {address}: {}", String::from_utf8_lossy(&answer.bytes));
            assert_eq!(answer.bytes, app.get(entity).await.bytes, "{method} {address} answers with the page");
            assert_eq!(answer.json()["version"], version, "{method} {address}");
            assert_eq!(editor.document(entity).await[member], *expected, "{method} {address}");
            let is_repeat = position(&app).await == before;
            assert_eq!(is_repeat, answer.header("termbase-position").ends_with(&format!("-{before}")), "{address}");
        }
        assert_eq!(editor.version(entity).await, 3, "{address}: a repeat makes no version");
    }
}

#[tokio::test]
async fn a_member_leaves_the_others_as_they_are() {
    let app = TestApp::with_samples().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let before = editor.document("/terms/foundation-model").await;
    let base = "/terms/foundation-model";
    for (address, body) in [
        ("related/hallucination", None),
        ("broader/embedding", None),
        ("replaced_by/prompting", None),
        ("companies/cohere", None),
        ("aliases?name=X", Some(json!({}))),
        ("sources?url=https://x.example", Some(json!({"title": "S"}))),
    ] {
        let address = format!("{base}/{address}");
        editor.send(Method::PUT, &address, body.as_ref(), &[]).await.ok();
        assert_ne!(editor.document(base).await, before, "{address}");
        editor.delete(&address).await.ok();
        assert_eq!(editor.document(base).await, before, "{address}");
    }
}

#[tokio::test]
async fn two_who_each_add_a_member_both_keep_it() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let puts = ["related/b", "related/d", "companies/k", "companies/l", "broader/b", "broader/d"]
        .map(|member| async move { member })
        .map(|member| {
            let editor = &editor;
            async move { editor.link(&format!("/terms/a/{}", member.await)).await.ok() }
        });
    futures_util::future::join_all(puts).await;
    let document = editor.document("/terms/a").await;
    assert_eq!(
        (&document["related"], &document["broader"], &document["companies"]),
        (&json!(["b", "d"]), &json!(["b", "d"]), &json!(["k", "l"]))
    );
    assert_eq!(editor.version("/terms/a").await, 7);
}

#[tokio::test]
async fn the_other_end_may_be_said_by_a_former_slug_or_an_id() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let id = editor.patch("/terms/b", &json!({"slug": "b2"})).await.ok()["id"].as_str().unwrap().to_owned();
    for other in ["b", "b2", &id] {
        assert_eq!(slugs(&editor.link(&format!("/terms/a/related/{other}")).await.ok()["related"]), ["b2"]);
    }
    assert_eq!(editor.version("/terms/a").await, 2, "it is one link");
    assert_eq!(editor.delete("/terms/a/related/b").await.ok()["related"], json!([]));
}

#[tokio::test]
async fn an_unknown_other_end_is_a_404_with_the_closest() {
    let app = TestApp::with_samples().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for (address, closest) in [
        ("/terms/transformer/related/foundation-modle", "foundation-model"),
        ("/terms/transformer/companies/antropic", "anthropic"),
        ("/companies/openai/categories/core-concept", "core-concepts"),
    ] {
        for method in [Method::PUT, Method::DELETE] {
            let answer = editor.send(method.clone(), address, None, &[]).await;
            let problem = answer.problem(404, "not_found");
            assert_eq!(problem["suggestions"][0], closest, "{method} {address}");
        }
    }
}

#[tokio::test]
async fn a_term_has_no_relation_to_itself() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for member in ["related", "broader", "replaced_by"] {
        let refused = editor.link(&format!("/terms/a/{member}/a")).await;
        refused.problem(422, "invalid_document");
        assert_eq!(refused.faults(), at(&[(&format!("/{member}"), "itself")]));
    }
}

#[tokio::test]
async fn a_member_that_closes_a_circle_is_refused() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for member in ["broader", "replaced_by"] {
        editor.link(&format!("/terms/a/{member}/b")).await.ok();
        editor.link(&format!("/terms/b/{member}/d")).await.ok();
        let refused = editor.link(&format!("/terms/d/{member}/a")).await;
        refused.problem(422, "invalid_document");
        assert_eq!(refused.faults(), at(&[(&format!("/{member}"), "cycle")]));
    }
}

// Order

#[tokio::test]
async fn replacements_keep_the_order_in_which_they_came() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for other in ["d", "b", "d"] {
        editor.link(&format!("/terms/a/replaced_by/{other}")).await.ok();
    }
    assert_eq!(slugs(&app.get("/terms/a").await.ok()["replaced_by"]), ["d", "b"]);
    editor.delete("/terms/a/replaced_by/d").await.ok();
    editor.link("/terms/a/replaced_by/d").await.ok();
    assert_eq!(slugs(&app.get("/terms/a").await.ok()["replaced_by"]), ["b", "d"]);
}

#[tokio::test]
async fn the_last_replacement_of_a_deprecated_term_stays() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.patch("/terms/a", &json!({"status": "deprecated", "replaced_by": ["b", "d"]})).await.ok();
    editor.delete("/terms/a/replaced_by/b").await.ok();
    let refused = editor.delete("/terms/a/replaced_by/d").await;
    refused.problem(422, "invalid_document");
    assert_eq!(refused.faults(), at(&[("/replaced_by", "replacement_required")]));
    assert_eq!(slugs(&app.get("/terms/a").await.ok()["replaced_by"]), ["d"]);
}

// Aliases and sources

#[tokio::test]
async fn an_alias_is_told_by_its_folded_name_and_changes_in_its_place() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let put = async |name: &str, body: Value| editor.put(&format!("/terms/a/aliases?name={name}"), &body).await.ok();
    put("Caf%C3%A9", json!({})).await;
    put("Second", json!({"kind": "spelling"})).await;
    put("CAFE", json!({"kind": "acronym"})).await;
    assert_eq!(
        editor.document("/terms/a").await["aliases"],
        json!([{"name": "CAFE", "kind": "acronym"}, {"name": "Second", "kind": "spelling"}])
    );
    editor.delete("/terms/a/aliases?name=caf%C3%A9").await.ok();
    assert_eq!(editor.document("/terms/a").await["aliases"], json!([{"name": "Second", "kind": "spelling"}]));
}

#[tokio::test]
async fn an_alias_is_a_synonym_where_nothing_else_is_said() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    assert_eq!(editor.link("/terms/a/aliases?name=x").await.ok()["aliases"], json!([{"name": "x", "kind": "synonym"}]));
}

#[tokio::test]
async fn a_hidden_alias_is_in_the_document_and_on_no_page() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let page = editor.put("/terms/a/aliases?name=x", &json!({"kind": "hidden"})).await.ok();
    assert_eq!(page["aliases"], json!([]));
    assert_eq!(editor.document("/terms/a").await["aliases"], json!([{"name": "x", "kind": "hidden"}]));
}

#[tokio::test]
async fn the_mistakes_of_an_alias_are_those_of_the_document() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    for (query, body, status, places) in [
        ("name=A", json!({}), 422, [("/aliases/0/name", "own_name")]),
        ("name=+x", json!({}), 422, [("/aliases/0/name", "not_trimmed")]),
        ("name=x", json!({"kind": "nick"}), 422, [("/aliases/0/kind", "unknown_value")]),
        ("name=x", json!({"kin": "acronym"}), 422, [("/aliases/0/kin", "unknown_member")]),
        ("name=x", json!({"name": "y"}), 422, [("/name", "unknown_member")]),
        ("name=x", json!([]), 422, [("", "wrong_type")]),
        ("", json!({}), 400, [("name", "required")]),
    ] {
        let refused = editor.put(&format!("/terms/a/aliases?{query}"), &body).await;
        assert_eq!((refused.status.as_u16(), refused.faults()), (status, at(&places)), "{query} {body}");
    }
    assert_eq!(editor.version("/terms/a").await, 1);
}

#[tokio::test]
async fn a_source_is_told_by_its_address_and_replaced_in_its_place() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let put = async |url: &str, body: Value| editor.put(&format!("/terms/a/sources?url={url}"), &body).await.ok();
    put("https://x.example/1", json!({"title": "One", "publisher": "P"})).await;
    put("https://x.example/2", json!({"title": "Two"})).await;
    put("https://x.example/1", json!({"title": "Again"})).await;
    let sources = editor.document("/terms/a").await["sources"].clone();
    let shown = |index: usize| (sources[index]["title"].clone(), sources[index]["publisher"].clone());
    assert_eq!((shown(0), shown(1)), ((json!("Again"), Value::Null), (json!("Two"), Value::Null)));
}

// Pairs

#[tokio::test]
async fn a_related_pair_goes_from_both_documents_with_a_version_of_each() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.link("/terms/a/related/b").await.ok();
    editor.link("/terms/b/related/a").await.ok();
    let before = position(&app).await;
    assert_eq!(editor.delete("/terms/a/related/b?message=Not+alike").await.ok()["related"], json!([]));
    assert_eq!(position(&app).await, before + 2);
    for path in ["/terms/a", "/terms/b"] {
        assert_eq!(editor.document(path).await["related"], json!([]), "{path}");
        let newest = editor.get(&format!("{path}/revisions")).await.ok()["items"][0].clone();
        assert_eq!((&newest["version"], &newest["message"]), (&json!(3), &json!("Not alike")), "{path}");
    }
}

#[tokio::test]
async fn a_pair_that_one_side_wrote_is_deleted_from_the_other_side() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.link("/terms/b/related/a").await.ok();
    assert_eq!(slugs(&app.get("/terms/a").await.ok()["related"]), ["b"]);
    editor.delete("/terms/a/related/b").await.ok();
    assert_eq!((editor.version("/terms/a").await, editor.version("/terms/b").await), (1, 3));
    assert_eq!(app.get("/terms/b").await.ok()["related"], json!([]));
}

#[tokio::test]
async fn a_pair_is_deleted_from_what_is_in_the_trash_as_well() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.link("/terms/b/related/a").await.ok();
    editor.delete("/terms/b").await;
    editor.delete("/terms/a/related/b").await.ok();
    editor.restore("/terms/b").await.ok();
    assert_eq!(editor.document("/terms/b").await["related"], json!([]));
}

#[tokio::test]
async fn a_pair_is_deleted_with_rights_on_both_sides() {
    let app = glossary().await;
    let (editor, contributor) = (Desk::of(&app, Role::Editor).await, Desk::of(&app, Role::Contributor).await);
    contributor.post("/terms", &draft("mine")).await.ok();
    editor.link("/terms/a/related/mine").await.ok();
    contributor.link("/terms/mine/related/a").await.ok();
    // The draft is the contributor's, and what `a` wrote is the editors'.
    contributor.delete("/terms/mine/related/a").await.problem(403, "forbidden");
    assert_eq!(editor.document("/terms/mine").await["related"], json!(["a"]));
    editor.delete("/terms/mine/related/a").await.ok();
    assert_eq!(editor.document("/terms/a").await["related"], json!([]));
}

/// She was refused, because the other side was public: though it had written nothing, and nothing of it was to change.
#[tokio::test]
async fn a_pair_that_only_a_contributors_draft_wrote_was_not_hers_to_delete() {
    let app = glossary().await;
    let contributor = Desk::of(&app, Role::Contributor).await;
    contributor.post("/terms", &with(draft("mine"), "related", json!(["a"]))).await.ok();
    contributor.delete("/terms/mine/related/a").await.ok();
    assert_eq!(contributor.document("/terms/mine").await["related"], json!([]));
}

/// What had been public was the contributors' to change as soon as it was in the trash.
#[tokio::test]
async fn a_contributor_deleted_a_link_of_what_had_been_public() {
    let app = glossary().await;
    let (editor, contributor) = (Desk::of(&app, Role::Editor).await, Desk::of(&app, Role::Contributor).await);
    contributor.post("/terms", &draft("mine")).await.ok();
    editor.link("/terms/a/related/mine").await.ok();
    editor.delete("/terms/a").await;
    contributor.delete("/terms/mine/related/a").await.problem(403, "forbidden");
    editor.restore("/terms/a").await.ok();
    assert_eq!(editor.document("/terms/a").await["related"], json!(["mine"]));
}

#[tokio::test]
async fn a_contributor_changes_no_member_of_what_is_public() {
    let app = glossary().await;
    let contributor = Desk::of(&app, Role::Contributor).await;
    for (address, body, ..) in members() {
        for method in [Method::PUT, Method::DELETE] {
            let body = body.as_ref().filter(|_| method == Method::PUT);
            contributor.send(method.clone(), address, body, &[]).await.problem(403, "forbidden");
        }
    }
}

// Preconditions

#[tokio::test]
async fn if_match_is_compared_with_the_entity_of_the_path() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    let tag = async |path: &str| app.get(path).await.header("etag").to_owned();
    for (address, body, entity, ..) in members() {
        let other = if entity == "/terms/a" { "/terms/b" } else { "/companies/l" };
        let (own, others) = (tag(entity).await, tag(other).await);
        let send = async |method: Method, tag: &str| -> Answer {
            let body = body.as_ref().filter(|_| method == Method::PUT);
            editor.send(method, address, body, &[("if-match", tag)]).await
        };
        send(Method::PUT, &others).await.problem(412, "precondition_failed");
        let put = send(Method::PUT, &own).await;
        put.ok();
        send(Method::DELETE, &own).await.problem(412, "precondition_failed");
        send(Method::DELETE, put.header("etag")).await.ok();
    }
}

#[tokio::test]
async fn a_neighbours_version_is_no_precondition_of_a_pair() {
    let app = glossary().await;
    let editor = Desk::of(&app, Role::Editor).await;
    editor.link("/terms/b/related/a").await.ok();
    let tag = app.get("/terms/a").await.header("etag").to_owned();
    editor.patch("/terms/b", &with(published("b"), "related", json!(["a", "d"]))).await.ok();
    let deleted = editor.send(Method::DELETE, "/terms/a/related/b", None, &[("if-match", &tag)]).await;
    assert_eq!(deleted.status, 200);
    assert_eq!(editor.document("/terms/b").await["related"], json!(["d"]));
}
